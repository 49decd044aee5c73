// Package blob defines the store of immutable objects: the bytes of layers.
package blob

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/google/uuid"
)

// A Key names one object. It is chosen before the first byte is stored and is
// never used again, so a late delete cannot hit a newer upload of the same
// content. Which digest lives at which key is metadata's business.
type Key string

// NewKey returns a fresh key: 32 lower-case hexadecimal digits.
func NewKey() Key {
	u := uuid.New()
	const hex = "0123456789abcdef"
	b := make([]byte, 32)
	for i, v := range u {
		b[2*i], b[2*i+1] = hex[v>>4], hex[v&15]
	}
	return Key(b)
}

// Valid reports whether k has the form that NewKey gives. Stores refuse any
// other key, so that no key can name a path outside of them.
func (k Key) Valid() bool {
	if len(k) != 32 {
		return false
	}
	for _, c := range []byte(k) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// Info describes one object of a store.
type Info struct {
	Key       Key
	Size      int64 // bytes stored so far
	Committed bool
	Digest    string // as given to Commit; "" where the store could not keep it
	ModTime   time.Time
}

// A Store keeps immutable objects. Methods are safe for concurrent use;
// blobtest.Run is the contract in code.
type Store interface {
	// Create starts the object key. Readers see nothing before
	// Writer.Commit. The error is fs.ErrExist if key was ever created and
	// still has bytes.
	Create(ctx context.Context, key Key) (Writer, error)

	// Resume reopens an uncommitted object with the state that
	// Writer.Suspend gave, dropping whatever was written after it. The
	// error is fs.ErrNotExist if the object is gone, was committed, or has
	// fewer bytes than the state says.
	Resume(ctx context.Context, key Key, state []byte) (Writer, error)

	// Open reads n bytes from off, or to the end if n < 0. The error is
	// fs.ErrNotExist for an uncommitted, deleted or unknown key. If the
	// reader is an *os.File it is positioned at off and io.Copy to a
	// connection may use sendfile; the caller limits it to n itself.
	Open(ctx context.Context, key Key, off, n int64) (io.ReadCloser, error)

	// Stat describes a committed object; fs.ErrNotExist as with Open.
	Stat(ctx context.Context, key Key) (Info, error)

	// URL returns a link to the bytes that is valid for ttl, or "" if
	// clients must read them through us.
	URL(ctx context.Context, key Key, ttl time.Duration) (string, error)

	// Delete frees the object, committed or not. A missing key is not an
	// error.
	Delete(ctx context.Context, key Key) error

	// Keys yields every object, committed or not, in key order.
	Keys(ctx context.Context) iter.Seq2[Info, error]
}

// A Writer writes one object. It belongs to one goroutine. Exactly one of
// Suspend, Commit and Abort ends it.
type Writer interface {
	io.Writer

	// Size is the number of bytes that the object has, those of earlier
	// Writers included.
	Size() int64

	// Suspend keeps what was written, readable by nobody, and returns the
	// state from which Resume continues. What it keeps survives the
	// process; it survives power loss only if durable is set.
	Suspend(durable bool) (state []byte, err error)

	// Commit makes the object readable, and durable: when it returns nil
	// the bytes survive power loss. Digest is kept with the object. On an
	// error the object may be either; Delete it.
	Commit(digest string) error

	// Abort frees the object.
	Abort() error
}
