package ociapi

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ecruhq/ecru/ecr"
)

// uploadStart is end-4a, end-4b and end-11: it begins an upload, takes a whole
// blob (?digest=), or mounts one (?mount=, &from= if the client knows where it is).
// A mount that cannot be begins an upload.
func (s *Server) uploadStart(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, _ request) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &routeError{status: http.StatusBadRequest, code: "UNSUPPORTED", message: "malformed query"}
	}
	if mount, from := q.Get("mount"), q.Get("from"); mount != "" {
		l, err := s.reg.MountLayer(r.Context(), c, id, ecr.RepositoryID{Account: id.Account, Name: from}, mount)
		if err == nil {
			created(w, id, l)
			return nil
		}
		var known *ecr.Error
		if !errors.As(err, &known) || known.Code != ecr.LayersNotFound {
			return err
		}
	}
	if digest := q.Get("digest"); digest != "" && (r.ContentLength != 0 || q.Get("mount") == "") {
		l, err := s.reg.UploadLayer(r.Context(), c, id, s.body(w, r), r.ContentLength, digest)
		if err != nil {
			return err
		}
		created(w, id, l)
		return nil
	}
	u, err := s.reg.InitiateUpload(r.Context(), c, id)
	if err != nil {
		return err
	}
	progress(w, id, u)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// created answers for a blob that is there now.
func created(w http.ResponseWriter, id ecr.RepositoryID, l ecr.Layer) {
	h := w.Header()
	h["Location"] = []string{"/v2/" + id.Name + "/blobs/" + l.Digest}
	h["Docker-Content-Digest"] = []string{l.Digest}
	h["Content-Length"] = []string{"0"}
	w.WriteHeader(http.StatusCreated)
}

// progress sets the headers that tell how far an upload has come. The last
// byte of none is 0, as in Distribution.
func progress(w http.ResponseWriter, id ecr.RepositoryID, u ecr.Upload) {
	h := w.Header()
	h["Location"] = []string{"/v2/" + id.Name + "/blobs/uploads/" + u.ID}
	h["Docker-Upload-Uuid"] = []string{u.ID}
	h["Range"] = []string{"0-" + strconv.FormatInt(max(u.Size-1, 0), 10)}
	h["Content-Length"] = []string{"0"}
}

// uploadPatch is end-5.
func (s *Server) uploadPatch(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	off, length, err := contentRange(r)
	if err != nil {
		return err
	}
	u, err := s.reg.AppendUpload(r.Context(), c, id, req.upload, off, s.body(w, r), length)
	if u.ID != "" {
		progress(w, id, u)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// contentRange returns where the body goes, or -1, and how long it is, or -1
// (OCI Distribution 1.1, "Pushing a blob in chunks": start-end, inclusive).
func contentRange(r *http.Request) (off, length int64, err error) {
	header := r.Header.Get("Content-Range")
	if header == "" {
		return -1, r.ContentLength, nil
	}
	invalid := &routeError{status: http.StatusRequestedRangeNotSatisfiable, code: "BLOB_UPLOAD_INVALID",
		message: "Content-Range must be start-end, of as many bytes as the body has"}
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes "), "-")
	last, _, _ = strings.Cut(last, "/")
	off, okFirst := parseNumber(first)
	end, okLast := parseNumber(last)
	if !ok || !okFirst || !okLast || end < off-1 || end == math.MaxInt64 {
		return 0, 0, invalid
	}
	length = end - off + 1
	if r.ContentLength >= 0 && r.ContentLength != length {
		return 0, 0, invalid
	}
	return off, length, nil
}

// uploadPut is end-6.
func (s *Server) uploadPut(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	digest := r.URL.Query().Get("digest")
	if digest == "" {
		return &routeError{status: http.StatusBadRequest, code: "DIGEST_INVALID", message: "the digest parameter is missing"}
	}
	off, length, err := contentRange(r)
	if err != nil {
		return err
	}
	l, err := s.reg.CompleteUpload(r.Context(), c, id, req.upload, off, s.body(w, r), length, digest)
	if err != nil {
		var known *ecr.Error
		if errors.As(err, &known) && known.Code == ecr.InvalidLayerPart {
			w.Header()["Location"] = []string{"/v2/" + id.Name + "/blobs/uploads/" + req.upload}
		}
		return err
	}
	created(w, id, l)
	return nil
}

// uploadStatus is end-13.
func (s *Server) uploadStatus(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	u, err := s.reg.UploadStatus(r.Context(), c, id, req.upload)
	if err != nil {
		return err
	}
	progress(w, id, u)
	w.Header().Del("Content-Length") // 204 has none
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// uploadCancel is end-14.
func (s *Server) uploadCancel(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	if err := s.reg.CancelUpload(r.Context(), c, id, req.upload); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
