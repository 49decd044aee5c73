package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/meta"
)

// A Sink writes the sealed records to a file, one JSON object a line, for a
// shipper to pick up: the record with a member chain, {"sequence": n, "seal":
// "…"}. No record is left out while it is kept; after a crash none is there
// twice. A file that has grown is renamed to FILE.SEQUENCE, of its last
// record, and the oldest of those are deleted.
type Sink struct {
	Path  string
	Size  int64 // from which the file is renamed, in bytes
	Files int   // renamed files that are kept; 0 means all

	file *os.File
	size int64
	last int64 // sequence number
}

// A link is the member chain of a line.
type link struct {
	Sequence int64  `json:"sequence"`
	Seal     []byte `json:"seal"`
}

// end is how a line ends: what follows the record's members.
func (c link) end() []byte {
	return fmt.Appendf(nil, ",\"chain\":{\"sequence\":%d,\"seal\":%q}}\n", c.Sequence, base64.StdEncoding.EncodeToString(c.Seal))
}

// line is what a line of a sink has beside the record.
type line struct {
	Chain link `json:"chain"`
}

// write writes the records that have been sealed since the last time.
func (s *Sink) write(ctx context.Context, db *meta.DB) error {
	if s.file != nil && s.gone() {
		_ = s.Close() // what it had is gone with it, and written again
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	for {
		var list []meta.AuditRecord
		err := db.View(ctx, func(tx *meta.Tx) (err error) {
			list, err = tx.AuditRecords(s.last, batch)
			return err
		})
		if err != nil {
			return err
		}
		if err := s.append(list); err != nil {
			err = fmt.Errorf("audit log: %w", err)
			return errors.Join(err, s.Close()) // it is opened anew, at its last whole line
		}
		if len(list) < batch {
			return nil
		}
	}
}

// gone reports whether the path no longer names the file.
func (s *Sink) gone() bool {
	named, err := os.Stat(s.Path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	opened, err := s.file.Stat()
	return err != nil || !os.SameFile(named, opened)
}

// append appends records durably.
func (s *Sink) append(list []meta.AuditRecord) error {
	if len(list) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, r := range list {
		b.Write(bytes.TrimSuffix(r.Record, []byte("}")))
		b.Write(link{r.Seq, r.Seal}.end())
	}
	if _, err := s.file.Write(b.Bytes()); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.size += int64(b.Len())
	s.last = list[len(list)-1].Seq
	if s.size >= s.Size {
		return s.rotate()
	}
	return nil
}

// open opens the file behind its last whole line.
func (s *Sink) open() error {
	s.last = 0
	if old, err := s.renamed(); err != nil {
		return err
	} else if len(old) > 0 {
		s.last = old[len(old)-1].last
	}
	f, err := os.OpenFile(s.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	end, last, err := lastLine(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err == nil {
		err = syncFolder(s.Path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.size, s.last = f, end, max(s.last, last)
	return nil
}

// lastLine returns where the last whole line ends, and its sequence number.
func lastLine(f *os.File) (end, last int64, err error) {
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		text, err := r.ReadBytes('\n')
		if err == io.EOF && torn(text) {
			return end, last, nil
		}
		if err != nil && err != io.EOF {
			return 0, 0, err
		}
		var l line
		if err == io.EOF || json.Unmarshal(text, &l) != nil || l.Chain.Sequence == 0 {
			return 0, 0, fmt.Errorf("%s is not an audit log: give another file, or move it away", f.Name())
		}
		end += int64(len(text))
		last = l.Chain.Sequence
	}
}

// torn reports whether text can be the beginning of a line that a crash cut.
func torn(text []byte) bool {
	const start = `{"eventVersion":"`
	return strings.HasPrefix(start, string(text)) || bytes.HasPrefix(text, []byte(start))
}

// rotate renames the file and begins another.
func (s *Sink) rotate() error {
	if err := s.Close(); err != nil {
		return err
	}
	if err := os.Rename(s.Path, fmt.Sprintf("%s.%012d", s.Path, s.last)); err != nil {
		return err
	}
	old, err := s.renamed()
	if err != nil {
		return err
	}
	for s.Files > 0 && len(old) > s.Files {
		if err := os.Remove(old[0].path); err != nil {
			return err
		}
		old = old[1:]
	}
	return s.open()
}

// An oldFile is one that has been renamed.
type oldFile struct {
	path string
	last int64
}

// renamed returns the renamed files, the oldest first.
func (s *Sink) renamed() (out []oldFile, err error) {
	folder, base := filepath.Split(s.Path)
	if folder == "" {
		folder = "."
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the folder %s is not there: make it", folder)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		var last int64
		suffix, ok := strings.CutPrefix(e.Name(), base+".")
		if _, err := fmt.Sscanf(suffix, "%012d", &last); ok && err == nil && len(suffix) == 12 {
			out = append(out, oldFile{filepath.Join(folder, e.Name()), last})
		}
	}
	slices.SortFunc(out, func(a, b oldFile) int { return int(a.last - b.last) })
	return out, nil
}

// syncFolder makes the names in a file's folder durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file.
func (s *Sink) Close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}

// VerifyFile proves of a file of a sink that its records are as they were
// written, with none missing between them. after is the report of the file
// before it, or nil: then the first record is not known to be whole, unless it
// is the first there ever was.
func (l *Log) VerifyFile(r io.Reader, after *Report) (report Report, err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	before := []byte(genesis)
	if after != nil {
		before, report.First, report.Last, report.head = after.head, after.Last+1, after.Last, after.head
	}
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if err == io.EOF {
			if len(text) > 0 {
				report.problem("line %d is not whole", n)
			}
			return report, nil
		}
		if err != nil {
			return report, err
		}
		var at line
		i := bytes.LastIndex(text, []byte(`,"chain":`))
		if err := json.Unmarshal(text, &at); err != nil || i < 0 || !bytes.Equal(text[i:], at.Chain.end()) {
			report.problem("line %d is not a record", n)
			return report, nil
		}
		record := append(bytes.Clone(text[:i]), '}')
		switch seq := at.Chain.Sequence; {
		case n == 1 && after == nil && seq > 1:
		case seq != report.Last+1:
			report.problem("line %d: record %d follows record %d", n, seq, report.Last)
		case !l.signer.Verify(at.Chain.Seal, recordParts(before, seq, record)...):
			report.problem("line %d: record %d, or the one before it, has been changed", n, seq)
		}
		if n == 1 {
			report.First = at.Chain.Sequence
		}
		report.Last, before, report.head = at.Chain.Sequence, at.Chain.Seal, at.Chain.Seal
		report.Bytes += int64(len(record))
		report.time(record)
	}
}

// time notes when a record was made.
func (r *Report) time(record []byte) {
	var t struct {
		EventTime time.Time `json:"eventTime"`
	}
	if json.Unmarshal(record, &t) != nil {
		return
	}
	if r.From.IsZero() {
		r.From = t.EventTime
	}
	r.To = t.EventTime
}
