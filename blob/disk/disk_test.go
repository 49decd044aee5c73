package disk_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/blob/blobtest"
	"github.com/ecruhq/ecru/blob/disk"
)

func open(tb testing.TB, dir string) *disk.Store {
	tb.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	dirs := map[blob.Store]string{}
	blobtest.Run(t, func(t *testing.T) blob.Store {
		dir := t.TempDir()
		s := open(t, dir)
		dirs[s] = dir
		t.Cleanup(func() { s.Close() })
		return s
	}, func(t *testing.T, s blob.Store) blob.Store {
		dir := dirs[s]
		if err := s.(*disk.Store).Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir)
		dirs[again] = dir
		t.Cleanup(func() { again.Close() })
		return again
	})
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	if _, err := disk.Open(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second Open: %v, want an error that names the folder", err)
	}
	r, err := disk.OpenReadOnly(dir)
	if err != nil {
		t.Errorf("a reader beside the writer: %v", err)
	}
	for range r.Keys(t.Context()) {
		t.Error("the store should be empty")
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	key := blob.NewKey()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit("sha256:x"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "b", string(key[:2]), string(key)))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", info.Mode(), err)
	}
}

func BenchmarkCommitSmall(b *testing.B) {
	data := make([]byte, 4096)
	for _, parallel := range []int{1, 8} { // times GOMAXPROCS
		name := "1 writer"
		if parallel > 1 {
			name = "16 writers"
		}
		b.Run(name, func(b *testing.B) {
			s := open(b, b.TempDir())
			defer s.Close()
			commit := func() {
				w, err := s.Create(b.Context(), blob.NewKey())
				if err == nil {
					_, err = w.Write(data)
				}
				if err == nil {
					err = w.Commit("sha256:x")
				}
				if err != nil {
					b.Error(err)
				}
			}
			if parallel == 1 {
				for b.Loop() {
					commit()
				}
				return
			}
			b.SetParallelism(parallel)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					commit()
				}
			})
		})
	}
}

// BenchmarkBareFile is the same bytes written, synced and renamed, with the
// folder synced, and nothing else: what BenchmarkCommitSmall is held against.
func BenchmarkBareFile(b *testing.B) {
	data := make([]byte, 4096)
	dir := b.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	for b.Loop() {
		name := filepath.Join(dir, string(blob.NewKey()))
		f, err := os.Create(name + ".tmp")
		if err != nil {
			b.Fatal(err)
		}
		f.Write(data)
		f.Sync()
		f.Close()
		os.Rename(name+".tmp", name)
		d.Sync()
	}
}

func BenchmarkWriteLarge(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.Close()
	const size = 256 << 20
	buf := make([]byte, 256<<10)
	b.SetBytes(size)
	for b.Loop() {
		key := blob.NewKey()
		w, err := s.Create(b.Context(), key)
		if err != nil {
			b.Fatal(err)
		}
		for range size / len(buf) {
			if _, err := w.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Commit("sha256:x"); err != nil {
			b.Fatal(err)
		}
		s.Delete(b.Context(), key)
	}
}

// BenchmarkSendFile copies an object to a loopback connection.
func BenchmarkSendFile(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.Close()
	const size = 64 << 20
	key := blob.NewKey()
	w, err := s.Create(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	w.Write(make([]byte, size))
	if err := w.Commit("sha256:x"); err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.Copy(io.Discard, c)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetBytes(size)
	for b.Loop() {
		r, err := s.Open(b.Context(), key, 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(c, r); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
