package extract

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A limitError is a bound that was met.
type limitError struct{ message string }

func (e *limitError) Error() string { return e.message }

func limitf(format string, args ...any) error {
	return &limitError{fmt.Sprintf(format, args...)}
}

// errNoArchive is content that is not a layer's.
var errNoArchive = errors.New("not a tar archive")

// A stream is a layer's archive, inflated, within its limits.
type stream struct {
	late   func() error // of the context of the one call of Read
	lim    Limits
	packed *counter // the blob
	plain  io.Reader
	close  func()
	n      int64 // bytes inflated
	err    error // the limit that was met; it stays
}

// openStream sees from the first bytes how a blob is compressed. Media types say
// it too, and are wrong at times.
func openStream(ctx context.Context, blob io.Reader, lim Limits) (*stream, error) {
	packed := &counter{r: blob}
	br := bufio.NewReaderSize(packed, int(256*kib))
	s := &stream{late: ctx.Err, lim: lim, packed: packed, close: func() {}}
	magic, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		s.plain = z
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}): // a skippable frame first: eStargz, zstd:chunked
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(uint64(128*mib)), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		s.plain, s.close = z, z.Close
	case bytes.HasPrefix(magic, []byte("BZh")):
		return nil, fmt.Errorf("%w: compressed with bzip2, which layers are not", errNoArchive)
	case bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X'}):
		return nil, fmt.Errorf("%w: compressed with xz, which layers are not", errNoArchive)
	default:
		s.plain = br
	}
	return s, nil
}

// archive is the stream from its start, once its first block has been seen to
// be a tar header, or the end of an archive without files.
func (s *stream) archive() (io.Reader, error) {
	br := bufio.NewReaderSize(s, int(128*kib))
	block, err := br.Peek(512)
	switch {
	case err == io.EOF && len(block) == 0 && s.packed.n == 0:
		return nil, fmt.Errorf("%w: it is empty", errNoArchive)
	case err == io.EOF && len(block) < 512:
		return nil, fmt.Errorf("%w: %d bytes", errNoArchive, len(block))
	case err != nil:
		return nil, err
	case !tarHeader(block):
		return nil, errNoArchive
	}
	return br, nil
}

// tarHeader tells by its checksum (POSIX pax, ustar header block) whether a
// block is a header; a block of zeros ends an archive.
func tarHeader(b []byte) bool {
	zeros, sum, signed := true, int64(0), int64(0)
	for i, c := range b {
		if c != 0 {
			zeros = false
		}
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
		signed += int64(int8(c))
	}
	if zeros {
		return true
	}
	want := int64(0)
	for _, c := range bytes.Trim(b[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want*8 + int64(c-'0')
	}
	return want == sum || want == signed
}

// Read inflates. It fails for good when a limit is met.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.plain.Read(p)
	s.n += int64(n)
	switch {
	case s.n > s.lim.Inflated:
		s.err = limitf("the layer inflates to more than %d bytes", s.lim.Inflated)
	case s.n > ratioFrom && s.n/s.lim.Ratio > s.packed.n:
		s.err = limitf("the layer inflates to more than %d times its size", s.lim.Ratio)
	case s.late() != nil:
		s.err = limitf("reading the layer took longer than %v", s.lim.Time)
	}
	if s.err != nil {
		return n, s.err
	}
	return n, err
}

// A counter counts the bytes that are read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
