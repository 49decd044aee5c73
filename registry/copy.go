package registry

import (
	"errors"
	"hash"
	"io"
	"sync"
)

const (
	chunk    = 256 << 10
	inFlight = 4 // chunks between the reader and the hash
)

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// A sourceError is a failure of the side that sends.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// copyHashed copies src to dst until it ends, and feeds h with the same bytes,
// on another goroutine if they are many. It returns how many bytes dst and h
// have both seen. A failure of src is a sourceError; what came before it has
// been written. More than most bytes are errTooLong.
func copyHashed(dst io.Writer, h hash.Hash, src io.Reader, most int64) (n int64, err error) {
	buf := chunks.Get().(*[chunk]byte)
	m, err := readFull(src, buf[:])
	if int64(m) > most {
		chunks.Put(buf)
		return 0, errTooLong
	}
	if err != nil { // all of it came at once, or nothing follows
		defer chunks.Put(buf)
		h.Write(buf[:m])
		if _, err := dst.Write(buf[:m]); err != nil {
			return 0, err
		}
		return int64(m), ended(err)
	}
	return copyMany(dst, h, src, most, buf, m)
}

var errTooLong = errors.New("registry: more bytes than allowed")

type filled struct {
	buf *[chunk]byte
	n   int
}

// copyMany is copyHashed from the first full chunk on.
func copyMany(dst io.Writer, h hash.Hash, src io.Reader, most int64, buf *[chunk]byte, m int) (n int64, err error) {
	toHash := make(chan filled, inFlight)
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		for f := range toHash {
			h.Write(f.buf[:f.n])
			chunks.Put(f.buf)
		}
	}()
	defer func() {
		close(toHash)
		<-hashed
	}()
	var readErr error
	for {
		if n+int64(m) > most {
			chunks.Put(buf)
			return n, errTooLong
		}
		if _, err := dst.Write(buf[:m]); err != nil {
			chunks.Put(buf)
			return n, err
		}
		n += int64(m)
		toHash <- filled{buf, m}
		if readErr != nil {
			return n, ended(readErr)
		}
		buf = chunks.Get().(*[chunk]byte)
		m, readErr = readFull(src, buf[:])
	}
}

// readFull fills p, or returns what came before src ended or failed.
func readFull(src io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = src.Read(p[n:])
		n += m
	}
	return n, err
}

// ended is nil for the end of the source, and a sourceError for its failure.
func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return sourceError{err}
}
