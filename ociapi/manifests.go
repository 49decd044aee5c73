package ociapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/oci"
	"github.com/ecruhq/ecru/registry"
)

// manifestGet is end-3. A manifest is served in the type that it was pushed
// in, whatever the client accepts.
func (s *Server) manifestGet(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	m, err := s.reg.GetManifest(r.Context(), c, id, req.ref, req.kind == kindManifestHead)
	if err != nil {
		return err
	}
	h := w.Header()
	etag := `"` + m.Digest + `"`
	h["Docker-Content-Digest"] = []string{m.Digest}
	h["Etag"] = []string{etag}
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Type"] = []string{m.MediaType}
	h["X-Content-Type-Options"] = noSniff
	h["Content-Length"] = []string{strconv.Itoa(len(m.Payload))}
	w.WriteHeader(http.StatusOK)
	if req.kind == kindManifestGet {
		w.Write(m.Payload)
	}
	return nil
}

// matches reports whether an If-None-Match header names etag (RFC 9110,
// 13.1.2).
func matches(header, etag string) bool {
	if header == "" {
		return false
	}
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == "*" || part == etag {
			return true
		}
	}
	return false
}

// manifestPut is end-7; by digest it may set tags too (?tag=, more than once).
func (s *Server) manifestPut(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	payload, err := s.readManifest(w, r)
	if err != nil {
		return err
	}
	in := registry.PutImageInput{Manifest: payload, MediaType: r.Header.Get("Content-Type"), Tag: req.ref.Tag, Digest: req.ref.Digest}
	if r.URL.RawQuery != "" && in.Tag == "" {
		in.MoreTags = r.URL.Query()["tag"]
	}
	m, err := s.reg.PutImage(r.Context(), c, id, in)
	var known *ecr.Error
	if errors.As(err, &known) {
		switch {
		case known.Code == ecr.ImageAlreadyExists && m != nil:
			err = nil // to push what is there is to have pushed it
		case known.Code == ecr.LayersNotFound:
			// Here it is the manifest that cannot be accepted.
			return &routeError{status: http.StatusNotFound, code: "MANIFEST_BLOB_UNKNOWN", message: known.Message}
		}
	}
	if err != nil {
		return err
	}
	h := w.Header()
	h["Location"] = []string{"/v2/" + id.Name + "/manifests/" + m.Digest}
	h["Docker-Content-Digest"] = []string{m.Digest}
	if m.Subject != "" {
		h.Set("OCI-Subject", m.Subject)
	}
	for _, tag := range in.MoreTags {
		h.Add("OCI-Tag", tag)
	}
	h["Content-Length"] = []string{"0"}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// readManifest reads a body of at most oci.MaxManifest bytes.
func (s *Server) readManifest(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := &routeError{status: http.StatusRequestEntityTooLarge, code: "SIZE_INVALID", message: "a manifest has at most 4 MiB"}
	if r.ContentLength > oci.MaxManifest {
		return nil, tooLarge
	}
	var b bytes.Buffer
	b.Grow(int(max(r.ContentLength, 512)) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(s.body(w, r), oci.MaxManifest+1))
	if err != nil {
		return nil, &routeError{status: http.StatusBadRequest, code: "MANIFEST_INVALID", message: "the body ended early"}
	}
	if n > oci.MaxManifest {
		return nil, tooLarge
	}
	return b.Bytes(), nil
}

// manifestDelete is end-9.
func (s *Server) manifestDelete(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	if err := s.reg.DeleteManifest(r.Context(), c, id, req.ref); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
