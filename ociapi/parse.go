package ociapi

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/oci"
)

// A kind is what a request asks for: the endpoints of OCI Distribution 1.1,
// "Endpoints".
type kind int

const (
	kindPing           kind = iota // end-1
	kindBlobGet                    // end-2
	kindBlobHead                   // end-2
	kindManifestGet                // end-3
	kindManifestHead               // end-3
	kindUploadStart                // end-4a, end-4b, end-11
	kindUploadPatch                // end-5
	kindUploadPut                  // end-6
	kindManifestPut                // end-7
	kindTags                       // end-8a, end-8b
	kindManifestDelete             // end-9
	kindBlobDelete                 // end-10
	kindReferrers                  // end-12a, end-12b
	kindUploadStatus               // end-13
	kindUploadCancel               // end-14
	kindCatalog                    // Docker Registry HTTP API V2
	numKinds
)

// kindNames are the names that metrics and logs have for kinds.
var kindNames = [numKinds]string{"ping", "blob_get", "blob_head", "manifest_get", "manifest_head", "upload_start", "upload_patch",
	"upload_put", "manifest_put", "tags", "manifest_delete", "blob_delete", "referrers", "upload_status", "upload_cancel", "catalog"}

// Routes returns the names of all kinds of requests that are served.
func Routes() []string { return slices.Clone(kindNames[:]) }

// A request is a request to /v2/ that has been understood.
type request struct {
	kind   kind
	name   string // repository
	ref    ecr.ImageID
	digest string // of a blob or a subject
	upload string // UUID
}

// A routeError is a request that no endpoint answers.
type routeError struct {
	status  int
	code    string
	message string
	allow   string // methods, for 405
}

func (e *routeError) Error() string { return e.message }

var (
	component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagForm   = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

const maxName = 256

// parse understands a request from its method and path, which it takes as it
// came: nothing in it is cleaned or redirected.
func parse(method string, u *url.URL) (request, *routeError) {
	path := u.Path
	if path == "/v2" || path == "/v2/" {
		return choose(method, request{}, methods{http.MethodGet: kindPing, http.MethodHead: kindPing})
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return request{}, &routeError{status: http.StatusNotFound, code: "NAME_UNKNOWN", message: "the registry is under /v2/"}
	}
	if rest == "_catalog" {
		return choose(method, request{}, methods{http.MethodGet: kindCatalog, http.MethodHead: kindCatalog})
	}
	if raw := u.RawPath; raw != "" && (strings.Contains(strings.ToLower(raw), "%2f") || strings.Contains(strings.ToLower(raw), "%5c")) {
		return request{}, nameInvalid("a path has no encoded slashes")
	}
	return parseNamed(method, rest)
}

// parseNamed understands what follows /v2/, read from its end: a repository's
// name may have any of the words in it.
func parseNamed(method, rest string) (request, *routeError) {
	last, before := cutLast(rest)
	word, name := cutLast(before)
	switch {
	case word == "tags" && last == "list":
		return named(method, name, request{}, methods{http.MethodGet: kindTags, http.MethodHead: kindTags})
	case word == "manifests":
		ref, err := parseReference(last)
		if err != nil {
			return request{}, err
		}
		return named(method, name, request{ref: ref}, methods{http.MethodGet: kindManifestGet, http.MethodHead: kindManifestHead,
			http.MethodPut: kindManifestPut, http.MethodDelete: kindManifestDelete})
	case word == "uploads" && strings.HasSuffix(name, "/blobs"):
		name = strings.TrimSuffix(name, "/blobs")
		if last == "" {
			return named(method, name, request{}, methods{http.MethodPost: kindUploadStart})
		}
		return parseUpload(method, name, last)
	case word == "blobs" && last == "uploads": // without the slash at the end
		return named(method, name, request{}, methods{http.MethodPost: kindUploadStart})
	case word == "blobs":
		return digested(method, name, last, methods{http.MethodGet: kindBlobGet, http.MethodHead: kindBlobHead, http.MethodDelete: kindBlobDelete})
	case word == "referrers":
		return digested(method, name, last, methods{http.MethodGet: kindReferrers, http.MethodHead: kindReferrers})
	}
	return request{}, &routeError{status: http.StatusNotFound, code: "NAME_UNKNOWN", message: "no endpoint of the registry has this path"}
}

// cutLast cuts a path at its last slash.
func cutLast(path string) (last, before string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return path, ""
	}
	return path[i+1:], path[:i]
}

type methods map[string]kind

func choose(method string, r request, m methods) (request, *routeError) {
	k, ok := m[method]
	if !ok {
		var allow []string
		for _, name := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if _, ok := m[name]; ok {
				allow = append(allow, name)
			}
		}
		return request{}, &routeError{status: http.StatusMethodNotAllowed, code: "UNSUPPORTED", message: "the method is not allowed here",
			allow: strings.Join(allow, ", ")}
	}
	r.kind = k
	return r, nil
}

func nameInvalid(message string) *routeError {
	return &routeError{status: http.StatusBadRequest, code: "NAME_INVALID", message: message}
}

func named(method, name string, r request, m methods) (request, *routeError) {
	if len(name) > maxName {
		return request{}, nameInvalid("a repository name has at most 256 characters")
	}
	for part := range strings.SplitSeq(name, "/") {
		if !component.MatchString(part) {
			return request{}, nameInvalid("invalid repository name: parts of lower-case letters and digits, joined by . _ __ or -, with slashes between")
		}
	}
	r.name = name
	return choose(method, r, m)
}

func digested(method, name, digest string, m methods) (request, *routeError) {
	if _, err := oci.ParseDigest(digest); err != nil {
		return request{}, &routeError{status: http.StatusBadRequest, code: "DIGEST_INVALID", message: "not a sha256 or sha512 digest"}
	}
	return named(method, name, request{digest: digest}, m)
}

func parseUpload(method, name, id string) (request, *routeError) {
	if u, err := uuid.Parse(id); err != nil || u.String() != id {
		return request{}, &routeError{status: http.StatusNotFound, code: "BLOB_UPLOAD_UNKNOWN", message: "not the ID of an upload"}
	}
	return named(method, name, request{upload: id}, methods{http.MethodGet: kindUploadStatus, http.MethodHead: kindUploadStatus,
		http.MethodPatch: kindUploadPatch, http.MethodPut: kindUploadPut, http.MethodDelete: kindUploadCancel})
}

// parseReference reads a tag or a digest.
func parseReference(s string) (ecr.ImageID, *routeError) {
	if strings.ContainsRune(s, ':') {
		if _, err := oci.ParseDigest(s); err != nil {
			return ecr.ImageID{}, &routeError{status: http.StatusBadRequest, code: "DIGEST_INVALID", message: "not a sha256 or sha512 digest"}
		}
		return ecr.ImageID{Digest: s}, nil
	}
	if !tagForm.MatchString(s) {
		return ecr.ImageID{}, &routeError{status: http.StatusNotFound, code: "MANIFEST_UNKNOWN", message: "not a tag: a letter, digit or _, then at most 127 of those, . and -"}
	}
	return ecr.ImageID{Tag: s}, nil
}
