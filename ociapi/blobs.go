package ociapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

// blobHead is end-2 by HEAD.
func (s *Server) blobHead(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	l, err := s.reg.StatLayer(r.Context(), c, id, req.digest)
	if err != nil {
		return err
	}
	blobHeader(w.Header(), l)
	w.Header()["Content-Length"] = []string{strconv.FormatInt(l.Size, 10)}
	w.WriteHeader(http.StatusOK)
	return nil
}

var (
	octetStream = []string{"application/octet-stream"}
	acceptBytes = []string{"bytes"}
	immutable   = []string{"private, max-age=31536000, immutable"}
)

func blobHeader(h http.Header, l ecr.Layer) {
	h["Content-Type"] = octetStream
	h["Docker-Content-Digest"] = []string{l.Digest}
	h["Etag"] = []string{`"` + l.Digest + `"`}
	h["Accept-Ranges"] = acceptBytes
	h["Cache-Control"] = immutable
	h["X-Content-Type-Options"] = noSniff
}

// blobGet is end-2.
func (s *Server) blobGet(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	l, err := s.reg.OpenLayer(r.Context(), c, id, req.digest)
	if err != nil {
		return err
	}
	return s.serveLayer(w, r, l)
}

// signedLayer serves what a link of GetDownloadUrlForLayer names.
func (s *Server) signedLayer(w http.ResponseWriter, r *http.Request) {
	c, _ := s.identify(r) // for the request ID alone: the link is the credential
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.fail(w, r, c, &routeError{status: http.StatusMethodNotAllowed, code: "UNSUPPORTED", message: "the method is not allowed here", allow: "GET, HEAD"})
		return
	}
	l, err := s.reg.OpenSignedLayer(r.Context(), r.URL.Path, r.URL.Query())
	if err == nil {
		err = s.serveLayer(w, r, l)
	}
	if err != nil {
		s.fail(w, r, c, err)
	}
}

// serveLayer answers with the bytes of a layer, or the range of them that is
// asked for (RFC 9110, 14). It returns an error only if it has not answered.
func (s *Server) serveLayer(w http.ResponseWriter, r *http.Request, l *registry.LayerReader) error {
	if l.URL != "" {
		w.Header().Set("Location", l.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return nil
	}
	h := w.Header()
	etag := `"` + l.Digest + `"`
	if matches(r.Header.Get("If-None-Match"), etag) {
		blobHeader(h, l.Layer)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	off, n, status := int64(0), l.Size, http.StatusOK
	if rng := r.Header.Get("Range"); rng != "" && (r.Header.Get("If-Range") == "" || r.Header.Get("If-Range") == etag) {
		o, m, err := parseRange(rng, l.Size)
		if err != nil {
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(l.Size, 10))
			return &routeError{status: http.StatusRequestedRangeNotSatisfiable, code: "RANGE_INVALID", message: err.Error()}
		}
		if m >= 0 {
			off, n, status = o, m, http.StatusPartialContent
		}
	}
	var src io.ReadCloser
	if r.Method != http.MethodHead {
		var err error
		if src, err = l.Range(r.Context(), off, n); err != nil {
			return err
		}
		defer src.Close()
	}
	blobHeader(h, l.Layer)
	h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	if status == http.StatusPartialContent {
		h["Content-Range"] = []string{"bytes " + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(off+n-1, 10) + "/" + strconv.FormatInt(l.Size, 10)}
	}
	w.WriteHeader(status)
	if src != nil {
		s.send(w, src, n)
	}
	return nil
}

// piece is how many bytes are sent under one deadline.
const piece = 16 << 20

// send copies n bytes to the client: from a file by sendfile, which io.CopyN
// reaches through the connection's ReadFrom. A client that takes longer than
// the idle time for a piece is cut off.
func (s *Server) send(w http.ResponseWriter, src io.Reader, n int64) {
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }() // the connection lives on
	for n > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(s.opt.Idle)) // as for patient
		m, err := io.CopyN(w, src, min(n, piece))
		n -= m
		if err != nil {
			// The status is out; the missing bytes tell the client, as the
			// server closes a connection whose answer is short.
			return
		}
	}
}

var errRange = errors.New("the range is outside of the blob")

// parseRange reads a Range header with one range of bytes; n is -1 for a
// header that is to be passed over: of another unit, malformed, or of several
// ranges (RFC 9110, 14.2).
func parseRange(header string, size int64) (off, n int64, err error) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return 0, -1, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, -1, nil
	}
	if first == "" { // the last n bytes
		n, ok := parseNumber(last)
		if !ok {
			return 0, -1, nil
		}
		if n == 0 || size == 0 {
			return 0, 0, errRange
		}
		n = min(n, size)
		return size - n, n, nil
	}
	off, ok = parseNumber(first)
	end := size - 1
	if ok && last != "" {
		end, ok = parseNumber(last)
	}
	switch {
	case !ok:
		return 0, -1, nil
	case off >= size || end < off:
		return 0, 0, errRange
	}
	return off, min(end, size-1) - off + 1, nil
}

// parseNumber reads digits, and nothing else.
func parseNumber(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// blobDelete is end-10.
func (s *Server) blobDelete(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	if err := s.reg.DeleteLayer(r.Context(), c, id, req.digest); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
