package extract

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// inMemory is the size up to which a file of the archive is held in memory.
const inMemory = 32 * mib

// A spool holds one file of the archive at a time for those who read it in any
// order: in memory, or if it is large in a file.
type spool struct {
	dir  string
	buf  []byte   // reused
	file *os.File // made when first needed, then reused
	size int64
	disk bool // the content is in file
}

// fill takes what r has, size bytes.
func (s *spool) fill(r io.Reader, size int64) error {
	s.size, s.disk = size, size > inMemory
	if !s.disk {
		if int64(cap(s.buf)) < size {
			s.buf = make([]byte, max(size, min(2*int64(cap(s.buf)), inMemory)))
		}
		s.buf = s.buf[:size]
		_, err := io.ReadFull(r, s.buf)
		return err
	}
	return s.toFile(r)
}

// fillFile is fill for those who need a path.
func (s *spool) fillFile(r io.Reader, size int64) error {
	s.size, s.disk = size, true
	return s.toFile(r)
}

func (s *spool) toFile(r io.Reader) error {
	if s.file == nil {
		f, err := os.OpenFile(filepath.Join(s.dir, "file"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("a file for large evidence: %w", err)
		}
		s.file = f
	}
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.CopyN(s.file, r, s.size)
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, s.size, err)
	}
	return nil
}

// path is where the content is, after fillFile.
func (s *spool) path() string { return s.file.Name() }

// reader gives the content; it is valid until the next fill.
func (s *spool) reader() *io.SectionReader {
	if s.disk {
		return io.NewSectionReader(s.file, 0, s.size)
	}
	return io.NewSectionReader(bytes.NewReader(s.buf), 0, s.size)
}

// close forgets the content.
func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}
