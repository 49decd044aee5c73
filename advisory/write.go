package advisory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// maxBody bounds a stored advisory, inflated.
const maxBody = 64 << 20

// A Record is a record of a feed, as it is read.
type Record struct {
	ID       string    // as the feed's list has it
	Modified time.Time // as the feed's list has it; zero: as the record has it
	JSON     []byte
}

// Options say what is kept of a feed.
type Options struct {
	// NoMalicious leaves out the records of malicious packages (MAL-…), which
	// are most of npm's.
	NoMalicious bool
}

// A Compiler turns records into what is kept. It belongs to one goroutine.
type Compiler struct {
	o   Options
	zip *zstd.Encoder
}

// NewCompiler returns a Compiler.
func NewCompiler(o Options) (*Compiler, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	return &Compiler{o, z}, err
}

// A Compiled is a record that is ready to be written.
type Compiled struct {
	list meta.FeedRecord
	kept *meta.Advisory // nil if it is of no use
}

// Compile reads a record. The error is of one that is not as OSV's schema has
// it: what was kept under its ID before, stays.
func (c *Compiler) Compile(r Record) (Compiled, error) {
	out := Compiled{list: meta.FeedRecord{ID: r.ID, Modified: r.Modified}}
	if c.o.NoMalicious && strings.HasPrefix(r.ID, "MAL-") {
		return out, nil
	}
	a, err := vuln.ParseOSV(r.JSON)
	if errors.Is(err, vuln.ErrNotSecurity) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	if a.ID != r.ID {
		return out, fmt.Errorf("the record under %q calls itself %q", r.ID, a.ID)
	}
	if r.Modified.IsZero() {
		out.list.Modified = time.UnixMilli(a.Modified).UTC()
	}
	out.list.Kept = true
	out.kept, err = c.keep(a)
	return out, err
}

func (c *Compiler) keep(a *vuln.Advisory) (*meta.Advisory, error) {
	body, err := a.Encode()
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("%s: more than %d bytes", a.ID, maxBody)
	}
	kept := &meta.Advisory{
		ID: a.ID, Modified: time.UnixMilli(a.Modified).UTC(), Withdrawn: a.Withdrawn != 0,
		Names: names(a), Body: c.zip.EncodeAll(body, nil),
	}
	if kept.Withdrawn { // it is shown, and says nothing
		return kept, nil
	}
	if kept.Lent, err = lend(a); err != nil {
		return nil, err
	}
	for _, k := range a.Keys() {
		if strings.ContainsRune(k.Ecosystem, 0) || strings.ContainsRune(k.Name, 0) {
			continue // no package has such a name
		}
		part := a.For(k)
		part.Modified, part.Published = a.Modified, a.Published
		b, err := part.Encode()
		if err != nil {
			return nil, err
		}
		kept.Parts = append(kept.Parts, meta.Part{Key: k, Body: b})
	}
	return kept, nil
}

// names are what an advisory can be asked for by.
func names(a *vuln.Advisory) []string {
	all := append([]string{a.ID}, a.Aliases...)
	all = append(all, a.CVEs()...)
	all = slices.DeleteFunc(all, func(n string) bool { return strings.ContainsRune(n, 0) })
	slices.Sort(all)
	return slices.Compact(all)
}

// lend is the severity that an advisory gives to others about the same CVE. A
// bulletin's is that of the worst of its CVEs, and what one distribution calls
// unimportant need not be so for others.
func lend(a *vuln.Advisory) (string, error) {
	r := a.Rating()
	if r.Origin == vuln.FromVendor {
		r.Origin = vuln.FromWord
		if len(r.CVSS) > 0 {
			r.Severity, r.Origin = vuln.ScoreSeverity(r.CVSS[0].Score), vuln.FromCVSS
		} else if r.Severity == vuln.Informational {
			return "", nil
		}
	}
	if a.Bundles() || r.Origin != vuln.FromCVSS && r.Origin != vuln.FromWord {
		return "", nil
	}
	b, err := json.Marshal(r)
	return string(b), err
}

// Put writes records of a feed, in transactions of bounded size: what has been
// written when an error comes, stays.
func (s *Store) Put(ctx context.Context, feed int64, list []Compiled) error {
	for part := range slices.Chunk(list, batch) {
		records := make([]meta.FeedRecord, len(part))
		var kept []meta.Advisory
		for i, c := range part {
			records[i] = c.list
			if c.kept != nil {
				kept = append(kept, *c.kept)
			}
		}
		err := s.db.Update(ctx, func(tx *meta.Tx) error { return tx.PutAdvisories(feed, records, kept) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Drop takes records out of a feed.
func (s *Store) Drop(ctx context.Context, feed int64, ids []string) error {
	for part := range slices.Chunk(ids, batch) {
		err := s.db.Update(ctx, func(tx *meta.Tx) error { return tx.DropAdvisories(feed, part) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Get returns an advisory by its ID, or meta.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (*vuln.Advisory, error) {
	var body []byte
	err := s.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		body, err = tx.AdvisoryNamed(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return Decode(body)
}

// Decode reads an advisory as meta.Tx.AdvisoryNamed returns it.
func Decode(body []byte) (*vuln.Advisory, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	text, err := z.DecodeAll(body, nil)
	if err != nil {
		return nil, fmt.Errorf("a stored advisory is damaged: %w", err)
	}
	return vuln.DecodeAdvisory(text)
}
