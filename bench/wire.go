package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"
)

// A wire is one HTTP/1.1 connection for one goroutine. It costs little, so
// that what is measured is the server.
type wire struct {
	target target
	c      net.Conn
	r      *bufio.Reader
	out    []byte
	buf    []byte
}

// A target is a server under measurement.
type target struct {
	name string // ecru, peer or limit
	addr string // host:port
	auth string // value of Authorization, or ""
}

// basic is the Authorization header for a registry password of Ecru.
func basic(password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("AWS:"+password))
}

// requestLimit bounds every request.
const requestLimit = 5 * time.Minute

func (t target) dial() (*wire, error) {
	c, err := net.Dial("tcp", t.addr)
	if err != nil {
		return nil, err
	}
	return &wire{target: t, c: c, r: bufio.NewReaderSize(c, 64<<10)}, nil
}

func (w *wire) close() { w.c.Close() }

// A call is a request. The body is its parts, one after the other.
type call struct {
	method, path string
	mediaType    string
	rangeFirst   int64 // with chunk: Content-Range
	chunk        bool
	body         [][]byte
	keep         bool // keep the answer's body
}

// An answer's text is valid until the next call.
type answer struct {
	status   int
	location string // path and query
	link     string
	digest   string
	length   int64
	text     []byte
}

// do sends a request and reads its answer; want is the status that it must
// have.
func (w *wire) do(want int, q call) (answer, error) {
	if err := w.send(q); err != nil {
		return answer{}, err
	}
	a, err := w.receive(q)
	if err != nil {
		return a, fmt.Errorf("%s: %s %s: %w", w.target.name, q.method, q.path, err)
	}
	if a.status != want {
		return a, fmt.Errorf("%s: %s %s: HTTP %d, want %d: %.300s", w.target.name, q.method, q.path, a.status, want, a.text)
	}
	return a, nil
}

func (w *wire) send(q call) error {
	var length int64
	for _, p := range q.body {
		length += int64(len(p))
	}
	b := append(w.out[:0], q.method...)
	b = append(append(append(b, ' '), q.path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, w.target.addr...), "\r\n"...)
	if w.target.auth != "" {
		b = append(append(append(b, "Authorization: "...), w.target.auth...), "\r\n"...)
	}
	if q.mediaType != "" {
		b = append(append(append(b, "Content-Type: "...), q.mediaType...), "\r\n"...)
	}
	if q.method == "GET" || q.method == "HEAD" {
		b = append(b, "Accept: "+manifestType+"\r\n"...)
	} else {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), length, 10), "\r\n"...)
	}
	if q.chunk {
		b = fmt.Appendf(b, "Content-Range: %d-%d\r\n", q.rangeFirst, q.rangeFirst+length-1)
	}
	b = append(b, "\r\n"...)
	if length > 0 && length < 64<<10 { // one packet train, as clients do it
		for _, p := range q.body {
			b = append(b, p...)
		}
		q.body = nil
	}
	w.out = b
	if err := w.c.SetDeadline(time.Now().Add(requestLimit)); err != nil {
		return err
	}
	if _, err := w.c.Write(b); err != nil {
		return err
	}
	for _, p := range q.body {
		if _, err := w.c.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) receive(q call) (answer, error) {
	var a answer
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(line) < 12 {
		return a, fmt.Errorf("status line %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, err
	}
	chunked := false
	for {
		line, err := w.r.ReadSlice('\n')
		if err != nil {
			return a, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		k, v, _ := bytes.Cut(line, []byte(": "))
		switch len(k) {
		case len("Link"):
			if bytes.EqualFold(k, []byte("Link")) {
				a.link = relative(string(v))
			}
		case len("Location"):
			if bytes.EqualFold(k, []byte("Location")) {
				a.location = relative(string(v))
			}
		case len("Content-Length"):
			if bytes.EqualFold(k, []byte("Content-Length")) {
				a.length, _ = strconv.ParseInt(string(v), 10, 64)
			}
		case len("Transfer-Encoding"):
			chunked = chunked || bytes.EqualFold(k, []byte("Transfer-Encoding"))
		case len("Docker-Content-Digest"):
			if q.keep && bytes.EqualFold(k, []byte("Docker-Content-Digest")) {
				a.digest = string(v)
			}
		}
	}
	if q.method == "HEAD" || a.status == 204 || a.status == 304 {
		return a, nil
	}
	return a, w.readBody(&a, q.keep, chunked)
}

func (w *wire) readBody(a *answer, keep, chunked bool) error {
	if w.buf == nil {
		w.buf = make([]byte, 1<<20)
	}
	if chunked {
		b, err := io.ReadAll(httputil.NewChunkedReader(w.r))
		if err != nil {
			return err
		}
		_, err = w.r.ReadSlice('\n') // the empty trailer
		a.text, a.length = b, int64(len(b))
		return err
	}
	if keep || a.status >= 400 {
		a.text = make([]byte, a.length)
		_, err := io.ReadFull(w.r, a.text)
		return err
	}
	for left := a.length; left > 0; {
		n, err := w.r.Read(w.buf[:min(left, int64(len(w.buf)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// relative is the path and query of a URL, which may stand in <> as in Link.
func relative(s string) string {
	if i := strings.IndexByte(s, '<'); i >= 0 {
		s, _, _ = strings.Cut(s[i+1:], ">")
	}
	if i := strings.Index(s, "://"); i >= 0 {
		j := strings.IndexByte(s[i+3:], '/')
		if j < 0 {
			return "/"
		}
		s = s[i+3+j:]
	}
	return s
}
