package ociapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/ecr"
)

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestParse(t *testing.T) {
	const id = "0f8fad5b-d9cb-469f-a165-70867728950e"
	for _, test := range []struct {
		method, path string
		want         request
	}{
		{"GET", "/v2/", request{kind: kindPing}},
		{"GET", "/v2", request{kind: kindPing}},
		{"GET", "/v2/_catalog", request{kind: kindCatalog}},
		{"GET", "/v2/a/tags/list", request{kind: kindTags, name: "a"}},
		{"GET", "/v2/a/manifests/v1", request{kind: kindManifestGet, name: "a", ref: ecr.ImageID{Tag: "v1"}}},
		{"HEAD", "/v2/a/b/manifests/" + digest, request{kind: kindManifestHead, name: "a/b", ref: ecr.ImageID{Digest: digest}}},
		{"PUT", "/v2/manifests/blobs/tags/manifests/uploads", request{kind: kindManifestPut, name: "manifests/blobs/tags", ref: ecr.ImageID{Tag: "uploads"}}},
		{"GET", "/v2/tags/list/tags/list", request{kind: kindTags, name: "tags/list"}},
		{"GET", "/v2/a/blobs/" + digest, request{kind: kindBlobGet, name: "a", digest: digest}},
		{"DELETE", "/v2/a/blobs/" + digest, request{kind: kindBlobDelete, name: "a", digest: digest}},
		{"POST", "/v2/a/blobs/uploads/", request{kind: kindUploadStart, name: "a"}},
		{"POST", "/v2/a/blobs/uploads", request{kind: kindUploadStart, name: "a"}},
		{"PATCH", "/v2/a/blobs/blobs/uploads/" + id, request{kind: kindUploadPatch, name: "a/blobs", upload: id}},
		{"GET", "/v2/a/referrers/" + digest, request{kind: kindReferrers, name: "a", digest: digest}},
	} {
		got, err := parse(test.method, &url.URL{Path: test.path})
		if err != nil || got != test.want {
			t.Errorf("%s %s: %+v, %v, want %+v", test.method, test.path, got, err, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v2/a", 404},
		{"GET", "/v2//tags/list", 400},
		{"GET", "/v2/A/tags/list", 400},
		{"GET", "/v2/a//b/tags/list", 400},
		{"GET", "/v2/../a/tags/list", 400},
		{"GET", "/v2/a/./tags/list", 400},
		{"GET", "/v2/" + strings.Repeat("a", 257) + "/tags/list", 400},
		{"GET", "/v2/a/manifests/.hidden", 404},
		{"GET", "/v2/a/manifests/" + strings.Repeat("t", 129), 404},
		{"GET", "/v2/a/manifests/sha256:zz", 400},
		{"GET", "/v2/a/blobs/md5:aa", 400},
		{"POST", "/v2/a/tags/list", 405},
		{"PUT", "/v2/", 405},
	} {
		got, err := parse(test.method, &url.URL{Path: test.path})
		if err == nil || err.status != test.status {
			t.Errorf("%s %.80s: %+v, %+v, want HTTP %d", test.method, test.path, got, err, test.status)
		}
		if err != nil && err.status == http.StatusMethodNotAllowed && err.allow == "" {
			t.Errorf("%s %s: 405 without Allow", test.method, test.path)
		}
	}
	if _, err := parse("GET", &url.URL{Path: "/v2/a/b/tags/list", RawPath: "/v2/a%2Fb/tags/list"}); err == nil {
		t.Error("an encoded slash must not be a slash")
	}
}

// FuzzParse: what is understood is well formed, and means its own path.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"/v2/", "/v2/a/manifests/v1", "/v2/a/blobs/" + digest, "/v2/a/blobs/uploads/0f8fad5b-d9cb-469f-a165-70867728950e", "/v2/a/tags/list"} {
		f.Add("GET", path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		r, err := parse(method, &url.URL{Path: path})
		if err != nil {
			if err.status < 400 || err.status > 499 || err.message == "" || err.code == "" {
				t.Errorf("%+v", err)
			}
			return
		}
		if r.name != "" && (len(r.name) > maxName || !strings.HasPrefix(path, "/v2/"+r.name+"/") || strings.Contains(r.name, "..") || strings.Contains(r.name, "//")) {
			t.Errorf("%q has the repository %q", path, r.name)
		}
		for _, part := range []string{r.ref.Tag, r.ref.Digest, r.digest, r.upload} {
			if !strings.HasSuffix(path, part) || strings.ContainsAny(part, "/\\\x00 ") {
				t.Errorf("%q has the part %q", path, part)
			}
		}
	})
}

func TestContentRange(t *testing.T) {
	for _, test := range []struct {
		header      string
		body        int64
		off, length int64
		bad         bool
	}{
		{"", 5, -1, 5, false},
		{"", -1, -1, -1, false},
		{"0-4", 5, 0, 5, false},
		{"5-9", -1, 5, 5, false},
		{"bytes 5-9/20", 5, 5, 5, false},
		{"5-4", 0, 5, 0, false},
		{"0-4", 6, 0, 0, true},
		{"5-3", 0, 0, 0, true},
		{"-5", 5, 0, 0, true},
		{"0-9223372036854775807", -1, 0, 0, true},
		{"0-99999999999999999999", -1, 0, 0, true},
		{"a-b", 1, 0, 0, true},
	} {
		r := httptest.NewRequest("PATCH", "/", nil)
		r.Header.Set("Content-Range", test.header)
		r.ContentLength = test.body
		off, length, err := contentRange(r)
		if (err != nil) != test.bad || err == nil && (off != test.off || length != test.length) {
			t.Errorf("%q with %d bytes: %d, %d, %v", test.header, test.body, off, length, err)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("0-4", int64(5))
	f.Add("bytes 5-9/20", int64(-1))
	f.Fuzz(func(t *testing.T, header string, body int64) {
		body = max(body, -1)
		off, length, err := contentRange(&http.Request{Header: http.Header{"Content-Range": {header}}, ContentLength: body})
		if err == nil && header != "" && (off < 0 || length < 0 || off+length < 0 || body >= 0 && length != body) {
			t.Errorf("%q with %d bytes: %d bytes from %d", header, body, length, off)
		}
	})
}

func TestRange(t *testing.T) {
	for _, test := range []struct {
		header string
		size   int64
		off, n int64
		bad    bool
	}{
		{"bytes=0-4", 10, 0, 5, false},
		{"bytes=5-", 10, 5, 5, false},
		{"bytes=-3", 10, 7, 3, false},
		{"bytes=-30", 10, 0, 10, false},
		{"bytes=5-99", 10, 5, 5, false},
		{"bytes=9-9", 10, 9, 1, false},
		{"bytes=10-", 10, 0, 0, true},
		{"bytes=5-4", 10, 0, 0, true},
		{"bytes=-0", 10, 0, 0, true},
		{"bytes=0-", 0, 0, 0, true},
		{"bytes=0-1,3-4", 10, 0, -1, false}, // several: the whole
		{"items=0-1", 10, 0, -1, false},
		{"bytes=a-1", 10, 0, -1, false},
		{"bytes=99999999999999999999-", 10, 0, -1, false},
	} {
		off, n, err := parseRange(test.header, test.size)
		if (err != nil) != test.bad || err == nil && (n != test.n || n >= 0 && off != test.off) {
			t.Errorf("%q of %d bytes: %d, %d, %v", test.header, test.size, off, n, err)
		}
	}
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-4", int64(10))
	f.Add("bytes=-3", int64(2))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		size = max(size, 0)
		off, n, err := parseRange(header, size)
		if err == nil && n >= 0 && (n == 0 || off < 0 || off+n > size || off+n < off) {
			t.Errorf("%q of %d bytes: %d bytes from %d", header, size, n, off)
		}
	})
}

// TestEveryCode: no error of the core is without a form on the wire.
func TestEveryCode(t *testing.T) {
	for code, f := range failures {
		if f.status < 400 || f.code == "" {
			t.Errorf("ecr.Code %d has the row %+v", code, f)
		}
	}
}
