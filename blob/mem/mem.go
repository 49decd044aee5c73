// Package mem keeps objects in memory, for tests. It checks what no store can
// forbid: that a key which was deleted never comes back.
package mem

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ecruhq/ecru/blob"
)

// A Store is a set of objects. It implements blob.Store. Its zero value is
// empty and ready.
type Store struct {
	mu      sync.Mutex
	objects map[blob.Key]*object
	deleted map[blob.Key]bool
}

var _ blob.Store = (*Store)(nil)

type object struct {
	data      []byte
	committed bool
	digest    string
	modified  time.Time
}

// ErrReused is the error of creating a key that was deleted before.
var ErrReused = errors.New("mem: a deleted key was created again")

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	if s.objects[key] != nil {
		return nil, fs.ErrExist
	}
	if s.deleted[key] {
		return nil, ErrReused
	}
	if s.objects == nil {
		s.objects = map[blob.Key]*object{}
	}
	s.objects[key] = &object{modified: time.Now()}
	return &writer{s: s, key: key}, nil
}

func (s *Store) check(ctx context.Context, key blob.Key) error {
	if !key.Valid() {
		return fmt.Errorf("blob: invalid key %q: %w", string(key), fs.ErrNotExist)
	}
	return ctx.Err()
}

// Resume implements blob.Store.
func (s *Store) Resume(ctx context.Context, key blob.Key, state []byte) (blob.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	if len(state) != 8 {
		return nil, fmt.Errorf("blob: the state of an upload has %d bytes, want 8", len(state))
	}
	size := binary.BigEndian.Uint64(state)
	o := s.objects[key]
	if o == nil || o.committed || uint64(len(o.data)) < size {
		return nil, fs.ErrNotExist
	}
	o.data = o.data[:size]
	return &writer{s: s, key: key, buf: *bytes.NewBuffer(slices.Clone(o.data))}, nil
}

// find returns a committed object.
func (s *Store) find(ctx context.Context, key blob.Key) (*object, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	if o := s.objects[key]; o != nil && o.committed {
		return o, nil
	}
	return nil, fs.ErrNotExist
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key blob.Key, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(ctx, key)
	if err != nil {
		return nil, err
	}
	data := o.data[min(off, int64(len(o.data))):]
	if n >= 0 {
		data = data[:min(n, int64(len(data)))]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key blob.Key) (blob.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	return o.info(key), nil
}

func (o *object) info(key blob.Key) blob.Info {
	return blob.Info{Key: key, Size: int64(len(o.data)), Committed: o.committed, Digest: o.digest, ModTime: o.modified}
}

// URL implements blob.Store.
func (s *Store) URL(context.Context, blob.Key, time.Duration) (string, error) { return "", nil }

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx, key); err != nil {
		return err
	}
	s.remove(key)
	return nil
}

func (s *Store) remove(key blob.Key) {
	if s.objects[key] == nil {
		return
	}
	delete(s.objects, key)
	if s.deleted == nil {
		s.deleted = map[blob.Key]bool{}
	}
	s.deleted[key] = true
}

// Keys implements blob.Store.
func (s *Store) Keys(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		s.mu.Lock()
		keys := slices.Sorted(maps.Keys(s.objects))
		s.mu.Unlock()
		for _, k := range keys {
			s.mu.Lock()
			o := s.objects[k]
			var info blob.Info
			if o != nil {
				info = o.info(k)
			}
			s.mu.Unlock()
			if o != nil && !yield(info, ctx.Err()) || ctx.Err() != nil {
				return
			}
		}
	}
}

type writer struct {
	s   *Store
	key blob.Key
	buf bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) { return w.buf.Write(p) }

func (w *writer) Size() int64 { return int64(w.buf.Len()) }

// end stores what was written; the error is fs.ErrNotExist if the object was
// deleted meanwhile.
func (w *writer) end(committed bool, digest string) error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	o := w.s.objects[w.key]
	if o == nil {
		return fs.ErrNotExist
	}
	o.data, o.committed, o.digest, o.modified = w.buf.Bytes(), committed, digest, time.Now()
	return nil
}

func (w *writer) Suspend(bool) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, uint64(w.buf.Len())), w.end(false, "")
}

func (w *writer) Commit(digest string) error { return w.end(true, digest) }

func (w *writer) Abort() error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.remove(w.key)
	return nil
}
