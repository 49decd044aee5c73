// Package blobtest is the contract of blob.Store in code.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/ecruhq/ecru/blob"
)

// Run checks a kind of store. open returns an empty one; reopen, which may be
// nil, ends a store as a crash of the process would and returns it opened
// again.
func Run(t *testing.T, open func(t *testing.T) blob.Store, reopen func(t *testing.T, s blob.Store) blob.Store) {
	if reopen == nil {
		reopen = func(_ *testing.T, s blob.Store) blob.Store { return s }
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s blob.Store, again func(blob.Store) blob.Store)
	}{
		{"an object is readable after its commit, not before", committed},
		{"a range of an object is readable", ranges},
		{"an upload goes on where it was suspended", suspended},
		{"an upload is resumed at what was suspended, whatever was written since", surplus},
		{"delete frees an object, and is idempotent", deleted},
		{"abort frees an object", aborted},
		{"a key is created once", once},
		{"keys come in order, with their state", keys},
		{"a key that is none is refused", invalid},
		{"objects can be written at the same time", concurrent},
		{"a context that has ended ends the call", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, open(t), func(s blob.Store) blob.Store { return reopen(t, s) })
		})
	}
}

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func write(t *testing.T, w io.Writer, data []byte) {
	t.Helper()
	must[int](t)(w.Write(data))
}

func put(t *testing.T, s blob.Store, data []byte) blob.Key {
	t.Helper()
	key := blob.NewKey()
	w := must[blob.Writer](t)(s.Create(t.Context(), key))
	write(t, w, data)
	if err := w.Commit(digest); err != nil {
		t.Fatal(err)
	}
	return key
}

func read(t *testing.T, s blob.Store, key blob.Key, off, n int64) []byte {
	t.Helper()
	r := must[io.ReadCloser](t)(s.Open(t.Context(), key, off, n))
	defer r.Close()
	if n < 0 {
		return must[[]byte](t)(io.ReadAll(r))
	}
	return must[[]byte](t)(io.ReadAll(io.LimitReader(r, n)))
}

func absent(t *testing.T, s blob.Store, key blob.Key) {
	t.Helper()
	if r, err := s.Open(t.Context(), key, 0, -1); !errors.Is(err, fs.ErrNotExist) {
		if r != nil {
			r.Close()
		}
		t.Errorf("Open(%s): %v, want fs.ErrNotExist", key, err)
	}
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(%s): %v, want fs.ErrNotExist", key, err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	r.Read(b)
	return b
}

func committed(t *testing.T, s blob.Store, again func(blob.Store) blob.Store) {
	for _, n := range []int{0, 1, 4096, 9<<20 + 1} {
		data := random(n)
		key := blob.NewKey()
		w := must[blob.Writer](t)(s.Create(t.Context(), key))
		for rest := data; len(rest) > 0; {
			k := min(len(rest), 1<<20)
			write(t, w, rest[:k])
			rest = rest[k:]
		}
		absent(t, s, key)
		if w.Size() != int64(n) {
			t.Errorf("Size is %d, want %d", w.Size(), n)
		}
		if err := w.Commit(digest); err != nil {
			t.Fatal(err)
		}
		s = again(s)
		if !bytes.Equal(read(t, s, key, 0, -1), data) {
			t.Errorf("%d bytes came back different", n)
		}
		info := must[blob.Info](t)(s.Stat(t.Context(), key))
		if info.Key != key || info.Size != int64(n) || !info.Committed || info.Digest != digest && info.Digest != "" || info.ModTime.IsZero() {
			t.Errorf("Stat: %+v", info)
		}
	}
}

func ranges(t *testing.T, s blob.Store, _ func(blob.Store) blob.Store) {
	data := random(10_000)
	key := put(t, s, data)
	for _, r := range []struct{ off, n, end int64 }{{0, 10_000, 10_000}, {0, 1, 1}, {9_999, 1, 10_000}, {5_000, 100, 5_100}, {10_000, 0, 10_000}, {7, -1, 10_000}, {9_000, 5_000, 10_000}} {
		if got := read(t, s, key, r.off, r.n); !bytes.Equal(got, data[r.off:r.end]) {
			t.Errorf("%d bytes from %d: got %d bytes, or others", r.n, r.off, len(got))
		}
	}
}

func suspended(t *testing.T, s blob.Store, again func(blob.Store) blob.Store) {
	for _, durable := range []bool{false, true} {
		key := blob.NewKey()
		var all []byte
		w := must[blob.Writer](t)(s.Create(t.Context(), key))
		for n := range 3 {
			part := random(1000 + n)
			write(t, w, part)
			all = append(all, part...)
			state := must[[]byte](t)(w.Suspend(durable))
			absent(t, s, key)
			s = again(s)
			w = must[blob.Writer](t)(s.Resume(t.Context(), key, state))
			if w.Size() != int64(len(all)) {
				t.Fatalf("resumed at %d, want %d", w.Size(), len(all))
			}
		}
		if err := w.Commit(digest); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(t, s, key, 0, -1), all) {
			t.Error("the parts came back different")
		}
	}
}

func surplus(t *testing.T, s blob.Store, again func(blob.Store) blob.Store) {
	key := blob.NewKey()
	w := must[blob.Writer](t)(s.Create(t.Context(), key))
	write(t, w, []byte("kept "))
	state := must[[]byte](t)(w.Suspend(true))
	w = must[blob.Writer](t)(s.Resume(t.Context(), key, state))
	write(t, w, []byte("to be dropped"))
	must[[]byte](t)(w.Suspend(false))
	s = again(s)
	w = must[blob.Writer](t)(s.Resume(t.Context(), key, state))
	write(t, w, []byte("new"))
	if err := w.Commit(digest); err != nil {
		t.Fatal(err)
	}
	if got := string(read(t, s, key, 0, -1)); got != "kept new" {
		t.Errorf("got %q", got)
	}
	if _, err := s.Resume(t.Context(), key, state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resume after Commit: %v, want fs.ErrNotExist", err)
	}
	if _, err := s.Resume(t.Context(), blob.NewKey(), state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resume of nothing: %v, want fs.ErrNotExist", err)
	}
}

func deleted(t *testing.T, s blob.Store, _ func(blob.Store) blob.Store) {
	key, other := put(t, s, []byte("a")), put(t, s, []byte("b"))
	pending := blob.NewKey()
	w := must[blob.Writer](t)(s.Create(t.Context(), pending))
	must[[]byte](t)(w.Suspend(false))
	for range 2 {
		for _, k := range []blob.Key{key, pending, blob.NewKey()} {
			if err := s.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
	}
	absent(t, s, key)
	if got := read(t, s, other, 0, -1); string(got) != "b" {
		t.Errorf("another object has %q", got)
	}
	for info := range s.Keys(t.Context()) {
		if info.Key != other {
			t.Errorf("%s is left", info.Key)
		}
	}
}

func aborted(t *testing.T, s blob.Store, _ func(blob.Store) blob.Store) {
	key := blob.NewKey()
	w := must[blob.Writer](t)(s.Create(t.Context(), key))
	write(t, w, []byte("x"))
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	absent(t, s, key)
	for info := range s.Keys(t.Context()) {
		t.Errorf("%s is left", info.Key)
	}
}

func once(t *testing.T, s blob.Store, _ func(blob.Store) blob.Store) {
	key := put(t, s, []byte("x"))
	if _, err := s.Create(t.Context(), key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of a committed key: %v, want fs.ErrExist", err)
	}
	key = blob.NewKey()
	w := must[blob.Writer](t)(s.Create(t.Context(), key))
	if _, err := s.Create(t.Context(), key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of a key that is being written: %v, want fs.ErrExist", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, s blob.Store, again func(blob.Store) blob.Store) {
	want := map[blob.Key]bool{}
	for range 50 {
		want[put(t, s, []byte("x"))] = true
		key := blob.NewKey()
		w := must[blob.Writer](t)(s.Create(t.Context(), key))
		write(t, w, []byte("pending"))
		must[[]byte](t)(w.Suspend(true))
		want[key] = false
	}
	s = again(s)
	var got []blob.Key
	for info, err := range s.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		committed, ok := want[info.Key]
		if !ok || committed != info.Committed || info.Committed && info.Size != 1 {
			t.Errorf("%+v, want committed=%t", info, committed)
		}
		got = append(got, info.Key)
	}
	if len(got) != len(want) || !slices.IsSorted(got) {
		t.Errorf("%d keys, want %d, in order: %t", len(got), len(want), slices.IsSorted(got))
	}
	for info, err := range s.Keys(t.Context()) {
		if err != nil || info.Key != got[0] {
			t.Errorf("first of a second walk: %v, %v", info.Key, err)
		}
		break
	}
}

func invalid(t *testing.T, s blob.Store, _ func(blob.Store) blob.Store) {
	for _, key := range []blob.Key{"", "..", "../../etc/passwd", "0123456789abcdef0123456789abcde/", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef0"} {
		if _, err := s.Create(t.Context(), key); err == nil {
			t.Errorf("Create(%q) went through", key)
		}
		if _, err := s.Resume(t.Context(), key, make([]byte, 8)); err == nil {
			t.Errorf("Resume(%q) went through", key)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete(%q) went through", key)
		}
		absent(t, s, key)
	}
}

func concurrent(t *testing.T, s blob.Store, _ func(blob.Store) blob.Store) {
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			data := random(1000 * n)
			key := put(t, s, data)
			if !bytes.Equal(read(t, s, key, 0, -1), data) {
				t.Errorf("object %d came back different", n)
			}
		})
	}
	wg.Wait()
}

func cancelled(t *testing.T, s blob.Store, _ func(blob.Store) blob.Store) {
	key := put(t, s, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, createErr := s.Create(ctx, blob.NewKey())
	_, openErr := s.Open(ctx, key, 0, -1)
	_, statErr := s.Stat(ctx, key)
	for _, err := range []error{createErr, openErr, statErr, s.Delete(ctx, key)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
	}
	if got := read(t, s, key, 0, -1); string(got) != "x" {
		t.Error("a cancelled Delete deleted")
	}
}
