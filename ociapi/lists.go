package ociapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/oci"
)

// listQuery reads n and last; n is 0 if it is not given, and none says that
// it was given as 0.
func listQuery(r *http.Request) (q url.Values, n int, none bool, err error) {
	q, parseErr := url.ParseQuery(r.URL.RawQuery)
	if parseErr != nil {
		return nil, 0, false, &routeError{status: http.StatusBadRequest, code: "UNSUPPORTED", message: "malformed query"}
	}
	text := q.Get("n")
	if text == "" {
		return q, 0, false, nil
	}
	n, parseErr = strconv.Atoi(text)
	if parseErr != nil || n < 0 {
		return nil, 0, false, &routeError{status: http.StatusBadRequest, code: "PAGINATION_NUMBER_INVALID", message: "n must be a number of items"}
	}
	return q, n, n == 0, nil
}

// link sets the header that leads to the next page.
func link(w http.ResponseWriter, path string, q url.Values) {
	w.Header().Set("Link", "<"+(&url.URL{Path: path, RawQuery: q.Encode()}).String()+`>; rel="next"`)
}

type tagList struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

// tags is end-8: tags in order, by pages. A page costs what is on it.
func (s *Server) tags(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, _ request) error {
	q, n, none, err := listQuery(r)
	if err != nil {
		return err
	}
	after := q.Get("last")
	tags, more, err := s.reg.ListTags(r.Context(), c, id, after, n)
	if err != nil {
		return err
	}
	if none {
		tags, more = nil, false
	}
	if tags == nil {
		tags = []string{}
	}
	if more {
		next := url.Values{"last": {tags[len(tags)-1]}}
		if n > 0 {
			next.Set("n", strconv.Itoa(n))
		}
		link(w, "/v2/"+id.Name+"/tags/list", next)
	}
	writeJSON(w, r, http.StatusOK, "application/json", tagList{id.Name, tags})
	return nil
}

type catalogList struct {
	Repositories []string `json:"repositories"`
}

// catalog lists the repositories of the registry that the host names.
func (s *Server) catalog(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, _ request) error {
	q, n, none, err := listQuery(r)
	if err != nil {
		return err
	}
	names, more, err := s.reg.Catalog(r.Context(), c, id.Account, q.Get("last"), n)
	if err != nil {
		return err
	}
	if none {
		names, more = nil, false
	}
	if names == nil {
		names = []string{}
	}
	if more {
		next := url.Values{"last": {names[len(names)-1]}}
		if n > 0 {
			next.Set("n", strconv.Itoa(n))
		}
		link(w, "/v2/_catalog", next)
	}
	writeJSON(w, r, http.StatusOK, "application/json", catalogList{names})
	return nil
}

// An index is the answer of end-12 (OCI image spec, image-index.md).
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// referrersPage is how many referrers a page has, unless n asks for fewer.
const referrersPage = 500

// referrers is end-12.
func (s *Server) referrers(w http.ResponseWriter, r *http.Request, c ecr.Caller, id ecr.RepositoryID, req request) error {
	q, n, _, err := listQuery(r)
	if err != nil {
		return err
	}
	if n == 0 || n > referrersPage {
		n = referrersPage
	}
	var types []string
	if t := q.Get("artifactType"); t != "" {
		types = []string{t}
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	images, next, err := s.reg.ListImageReferrers(r.Context(), c, id, req.digest, types, ecr.Page{Token: q.Get("next"), Limit: n})
	if err != nil {
		return err
	}
	out := index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []descriptor{}}
	for _, i := range images {
		out.Manifests = append(out.Manifests, descriptor{i.MediaType, i.Digest, i.ManifestSize, i.ArtifactType, i.Annotations})
	}
	if next != "" {
		q.Set("next", next)
		link(w, "/v2/"+id.Name+"/referrers/"+req.digest, q)
	}
	writeJSON(w, r, http.StatusOK, oci.MediaTypeIndex, out)
	return nil
}
