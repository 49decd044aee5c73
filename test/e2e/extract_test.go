package e2e

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/ecruhq/ecru/scan/extract"
	"github.com/ecruhq/ecru/test/harness"
	"github.com/ecruhq/ecru/vuln"
)

// The ecru program is its own worker.
func TestExtractLayer(t *testing.T) {
	var blob bytes.Buffer
	w := tar.NewWriter(&blob)
	body := `{"name":"left-pad","version":"1.3.0"}`
	if err := w.WriteHeader(&tar.Header{Name: "app/node_modules/left-pad/package.json", Mode: 0o644, Size: int64(len(body))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := extract.New(extract.Config{Command: []string{harness.Binary(t)}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := e.Extract(t.Context(), &blob, int64(blob.Len()))
	if err != nil || l.Status != vuln.LayerComplete || len(l.Files) != 1 || l.Files[0].Packages[0].Name != "left-pad" {
		t.Errorf("%+v, %v", l, err)
	}
}
