package oci_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/oci"
)

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	dA   = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + hexA + `","size":7}`
)

func image(more string) string {
	return `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeManifest + `","config":` + dA + `,"layers":[` + dA + `]` + more + `}`
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, text, contentType string
		want                    string // part of the error, "" for none
	}{
		{"an image", image(""), oci.MediaTypeManifest, ""},
		{"an image without a content type", image(""), "", ""},
		{"a content type with parameters", image(""), oci.MediaTypeManifest + "; charset=utf-8", ""},
		{"a docker image", strings.Replace(image(""), oci.MediaTypeManifest, oci.MediaTypeDockerManifest, 1), oci.MediaTypeDockerManifest, ""},
		{"an image that does not say so", `{"schemaVersion":2,"config":` + dA + `,"layers":[]}`, "", ""},
		{"an index that does not say so", `{"schemaVersion":2,"manifests":[]}`, "", ""},
		{"an index", `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","manifests":[` + dA + `]}`, "", ""},
		{"an artifact manifest", `{"mediaType":"` + oci.MediaTypeArtifact + `","artifactType":"x","blobs":[` + dA + `]}`, "", ""},
		{"members of others", image(`,"x":{"y":[1]}`), "", ""},
		{"annotations of any case", image(`,"annotations":{"Size":"1","size":"2"}`), "", ""},
		{"another content type", image(""), oci.MediaTypeIndex, "does not match the content type"},
		{"no JSON", `{`, "", "Invalid JSON syntax"},
		{"an array", `[]`, "", "Invalid JSON syntax"},
		{"a key twice", image(`,"config":` + dA), "", "duplicate key"},
		{"a key of another case", image(`,"Layers":[]`), "", `is not "layers"`},
		{"layers of another type", `{"schemaVersion":2,"config":` + dA + `,"layers":{}}`, "", "layers cannot be"},
		{"schema 1", `{"schemaVersion":1,"name":"x"}`, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"},
		{"no type at all", `{"schemaVersion":2}`, "", "neither a mediaType"},
		{"an unknown type", `{"schemaVersion":2,"mediaType":"text/plain"}`, "", "not the media type of a manifest"},
		{"another version", strings.Replace(image(""), ":2,", ":3,", 1), "", "schemaVersion is 3"},
		{"no config", `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeManifest + `","layers":[]}`, "", "no config"},
		{"an index with layers", `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","layers":[]}`, "", "no layers"},
		{"an image with manifests", image(`,"manifests":[]`), "", "no manifests"},
		{"a bad digest", image(`,"subject":{"digest":"sha256:abc","size":1}`), "", "not a sha256"},
		{"a digest as a path", image(`,"subject":{"digest":"../../etc/passwd","size":1}`), "", "not a sha256"},
		{"a negative size", image(`,"subject":{"digest":"sha256:` + hexA + `","size":-1}`), "", "negative size"},
		{"too long", image(`,"x":"` + strings.Repeat("x", oci.MaxManifest) + `"`), "", "at most"},
		{"too many layers", `{"schemaVersion":2,"config":` + dA + `,"layers":[` + strings.Repeat(dA+",", 10_001) + dA + `]}`, "", "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := oci.Parse([]byte(tt.text), tt.contentType)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestBlobs(t *testing.T) {
	foreign := `{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"sha256:` + strings.Repeat("b", 64) + `","size":1,"urls":["https://example.com/x"]}`
	m, err := oci.Parse([]byte(strings.Replace(image(""), `"layers":[`, `"layers":[`+foreign+",", 1)), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Blobs(); len(got) != 2 || got[0].Digest != "sha256:"+hexA {
		t.Errorf("blobs %v, want config and layer, without the foreign one", got)
	}
	if m.EffectiveArtifactType() != "application/vnd.oci.image.config.v1+json" {
		t.Errorf("artifact type %q", m.EffectiveArtifactType())
	}
}

func TestParseDigest(t *testing.T) {
	for s, ok := range map[string]bool{
		"sha256:" + hexA:                  true,
		"sha512:" + hexA + hexA:           true,
		"sha256:" + strings.ToUpper(hexA): false,
		"sha256:" + hexA[1:]:              false,
		"sha512:" + hexA:                  false,
		"md5:" + hexA[:32]:                false,
		hexA:                              false,
		"sha256:" + hexA[:62] + "/.":      false,
		"":                                false,
	} {
		if _, err := oci.ParseDigest(s); (err == nil) != ok {
			t.Errorf("%q: %v, want ok=%t", s, err, ok)
		}
	}
	if got := oci.Of("sha256", nil); got != "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("digest of nothing: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(image("")), oci.MediaTypeManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[`+dA+`],"subject":`+dA+`}`), "")
	f.Fuzz(func(t *testing.T, b []byte, contentType string) {
		m, err := oci.Parse(b, contentType)
		if err != nil {
			return
		}
		for _, d := range append(m.Blobs(), m.Manifests...) {
			if _, err := oci.ParseDigest(string(d.Digest)); err != nil || d.Size < 0 {
				t.Errorf("accepted %+v", d)
			}
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + hexA)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := oci.ParseDigest(s)
		if err == nil && (string(d) != s || oci.NewHash(d.Algorithm()) == nil) {
			t.Errorf("%q became %q", s, d)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var layers []string
	for n := range 8 {
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%064x","size":%d}`, n, n))
	}
	text := []byte(`{"schemaVersion":2,"mediaType":"` + oci.MediaTypeManifest + `","config":` + dA + `,"layers":[` + strings.Join(layers, ",") + `]}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := oci.Parse(text, oci.MediaTypeManifest); err != nil {
			b.Fatal(err)
		}
	}
}
