package main

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The limit is a server that does, with Go's net/http, only what no durable
// registry can leave out: it takes the bytes, hashes them, writes, syncs and
// renames them, and knows nothing.
//
//	PUT   /put                  the bytes, durable under a name of their own
//	PATCH /append/NAME?first=N  more bytes of NAME, durable; its end with &last=1
//	GET   /blob                 a file, by http.ServeContent
//	GET   /manifest             a fixed body with a manifest's headers
type limit struct {
	dir      string
	names    atomic.Int64
	manifest []byte
	digest   string

	mu   sync.Mutex
	open map[string]*growing
}

type growing struct {
	f *os.File
	h hash.Hash
}

// serveLimit serves on a loopback port, and prints its address.
func serveLimit(dir string) error {
	l := &limit{dir: dir, open: map[string]*growing{}}
	l.manifest, l.digest = sampleManifest()
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /put", l.put)
	mux.HandleFunc("PATCH /append/{name}", l.append)
	mux.HandleFunc("GET /blob", l.blob)
	mux.HandleFunc("GET /manifest", l.serveManifest)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, mux)
}

func (l *limit) file() string {
	return filepath.Join(l.dir, strconv.FormatInt(l.names.Add(1), 10))
}

func fail(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func (l *limit) put(w http.ResponseWriter, r *http.Request) {
	name := l.file()
	f, err := os.Create(name + ".tmp")
	if err != nil {
		fail(w, err)
		return
	}
	defer f.Close()
	h := sha256.New()
	if err := copyHashed(f, h, r.Body); err != nil {
		fail(w, err)
		return
	}
	if err := l.finish(f, name); err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", h.Sum(nil)))
	w.WriteHeader(http.StatusCreated)
}

// finish makes a file durable under its final name.
func (l *limit) finish(f *os.File, name string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (l *limit) append(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	l.mu.Lock()
	g := l.open[name]
	l.mu.Unlock()
	if g == nil {
		f, err := os.Create(filepath.Join(l.dir, filepath.Base(name)+".tmp"))
		if err != nil {
			fail(w, err)
			return
		}
		g = &growing{f, sha256.New()}
		l.mu.Lock()
		l.open[name] = g
		l.mu.Unlock()
	}
	err := copyHashed(g.f, g.h, r.Body)
	if err == nil {
		err = g.f.Sync()
	}
	if err == nil && strings.HasSuffix(r.URL.RawQuery, "&last=1") {
		l.mu.Lock()
		delete(l.open, name)
		l.mu.Unlock()
		defer g.f.Close()
		g.h.Sum(nil)
		err = l.finish(g.f, strings.TrimSuffix(g.f.Name(), ".tmp"))
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

const bufferSize = 256 << 10

// buffers of the limit's process.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// copyHashed writes and hashes src: on two cores if there is much of it.
func copyHashed(dst io.Writer, h hash.Hash, src io.Reader) error {
	buf := buffers.Get().(*[bufferSize]byte)
	n, err := io.ReadFull(src, buf[:])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		defer buffers.Put(buf)
		h.Write(buf[:n])
		_, err := dst.Write(buf[:n])
		return err
	}
	if err != nil {
		return err
	}
	type filled struct {
		buf *[bufferSize]byte
		n   int
	}
	full, done := make(chan filled, 4), make(chan struct{})
	go func() {
		defer close(done)
		for f := range full {
			h.Write(f.buf[:f.n])
			buffers.Put(f.buf)
		}
	}()
	defer func() { close(full); <-done }()
	for {
		if _, err := dst.Write(buf[:n]); err != nil {
			return err
		}
		full <- filled{buf, n}
		if err != nil { // the last, short one
			return nil
		}
		buf = buffers.Get().(*[bufferSize]byte)
		n, err = io.ReadFull(src, buf[:])
		if err == io.EOF {
			return nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return err
		}
	}
}

func (l *limit) blob(w http.ResponseWriter, r *http.Request) {
	f, err := os.Open(filepath.Join(l.dir, "blob"))
	if err != nil {
		fail(w, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (l *limit) serveManifest(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", manifestType)
	h.Set("Content-Length", strconv.Itoa(len(l.manifest)))
	h.Set("Docker-Content-Digest", l.digest)
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("ETag", `"`+l.digest+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(l.manifest)
	}
}
