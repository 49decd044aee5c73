package extract

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	scalibrlog "github.com/google/osv-scalibr/log"

	"github.com/ecruhq/ecru/vuln"
)

// TestMain makes the test binary a worker when an Extractor runs it as one.
func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, Subcommand); i > 0 {
		os.Exit(Main(context.Background(), os.Args[i+1:], os.Stdin, os.Stdout, os.Stderr))
	}
	scalibrlog.SetLogger(silent{})
	os.Exit(m.Run())
}

// An item is an entry of an archive that a test makes.
type item struct {
	name string
	body string
	typ  byte // 0: a file
	link string
}

func archiveOf(tb testing.TB, items ...item) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Mode: 0o755, Size: int64(len(i.body)), Typeflag: i.typ, Linkname: i.link, Format: tar.FormatPAX}
		if i.typ == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(i.body)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// read makes an inventory in this process.
func read(tb testing.TB, blob []byte) vuln.Layer {
	tb.Helper()
	return Read(tb.Context(), bytes.NewReader(blob), Limits{}, tb.TempDir())
}

// complete is read, of a layer that must be readable as a whole.
func complete(tb testing.TB, items ...item) vuln.Layer {
	tb.Helper()
	l := read(tb, archiveOf(tb, items...))
	if l.Status != vuln.LayerComplete || l.Message != "" || len(l.Warnings) != 0 {
		tb.Fatalf("%s %q, warnings %q", l.Status, l.Message, l.Warnings)
	}
	return l
}

// told is "path kind: name version, …" for each file of evidence.
func told(l vuln.Layer) []string {
	var out []string
	for _, f := range l.Files {
		var ps []string
		for _, p := range f.Packages {
			ps = append(ps, p.Name+" "+p.Version)
		}
		out = append(out, f.Path+" "+string(f.Kind)+": "+strings.Join(ps, ", "))
	}
	return out
}

// newExtractor is one whose workers are this test binary.
func newExtractor(tb testing.TB, lim Limits) *Extractor {
	tb.Helper()
	e, err := New(Config{Dir: tb.TempDir(), Workers: 2, Limits: lim})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}
