package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

// fileSystem is a tar with one file of n random bytes.
func fileSystem(t *testing.T, seed byte, n int) []byte {
	t.Helper()
	content := make([]byte, n)
	if _, err := rand.NewChaCha8([32]byte{seed}).Read(content); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, step := range []func() error{
		func() error { return w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: int64(n)}) },
		func() error { _, err := w.Write(content); return err },
		w.Close,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func compress(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A layout is an image layout on disk (OCI Image Specification, image-layout).
type layout struct{ dir string }

func newLayout(t *testing.T, dir string) layout {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return layout{dir}
}

func (l layout) put(t *testing.T, b []byte) []byte {
	t.Helper()
	writeFile(t, filepath.Join(l.dir, "blobs", "sha256"), strings.TrimPrefix(harness.Digest(b), "sha256:"), b)
	return b
}

// image adds an image for an architecture and returns its descriptor.
func (l layout) image(t *testing.T, architecture string, seed byte) harness.Descriptor {
	t.Helper()
	files := fileSystem(t, seed, 200_000)
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`, architecture, harness.Digest(files))
	m := l.put(t, harness.Image(l.put(t, []byte(config)), l.put(t, compress(t, files))))
	d := harness.Describe(harness.ManifestType, m)
	d.Platform = &harness.Platform{Architecture: architecture, OS: "linux"}
	return d
}

// tag makes d the layout's image of that name.
func (l layout) tag(t *testing.T, d harness.Descriptor, name string) {
	t.Helper()
	writeFile(t, l.dir, "index.json", fmt.Appendf(nil,
		`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}]}`,
		d.MediaType, d.Digest, d.Size, name))
}

// tagged is the digest of the layout's only image.
func (l layout) tagged(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, "index.json"))
	var index struct{ Manifests []harness.Descriptor }
	if err := json.Unmarshal(must(t, b, err), &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("index.json: %v: %s", err, b)
	}
	return index.Manifests[0].Digest
}

// multiArch makes a layout in dir with an index of two architectures, named
// "multi", and returns the index's digest.
func multiArch(t *testing.T, dir string) (layout, string) {
	t.Helper()
	l := newLayout(t, dir)
	index := l.put(t, harness.Index(l.image(t, "amd64", 1), l.image(t, "arm64", 2)))
	l.tag(t, harness.Describe(harness.IndexType, index), "multi")
	return l, harness.Digest(index)
}
