package extract

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/ecruhq/ecru/vuln"
)

// extracted is the outcome of a layer in a worker.
func extracted(t *testing.T, lim Limits, blob func(w io.Writer)) vuln.Layer {
	t.Helper()
	var b bytes.Buffer
	blob(&b)
	l, err := newExtractor(t, lim).Extract(t.Context(), &b, int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// zeros are a file of an archive that is nothing but zeros.
func zeros(w io.Writer, name string, size int64) {
	tw := tar.NewWriter(w)
	must(tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644}))
	_, err := io.CopyN(tw, nothing{}, size)
	must(err)
	must(tw.Close())
}

// nothing is zeros without end.
type nothing struct{}

func (nothing) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// bomb is a file of at least size zeros, in many members or frames of pack.
func bomb(w io.Writer, pack func([]byte) []byte, name string, size int64) {
	var head bytes.Buffer
	must(tar.NewWriter(&head).WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644}))
	_, err := w.Write(pack(head.Bytes()))
	must(err)
	const part = 32 << 20
	packed := pack(make([]byte, part))
	for n := int64(0); n < size; n += part {
		_, err := w.Write(packed)
		must(err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Each bomb ends in a status that says what it was.
func TestBombs(t *testing.T) {
	tests := []struct {
		name    string
		limits  Limits
		blob    func(io.Writer)
		status  vuln.LayerStatus
		message string
	}{
		{"gzip that inflates 1000 times", Limits{}, func(w io.Writer) {
			bomb(w, func(b []byte) []byte { return gzipped(t, b) }, "a", 2<<30)
		}, vuln.LayerLimited, "more than 300 times its size"},
		{"zstd that inflates 10,000 times", Limits{}, func(w io.Writer) {
			bomb(w, zstdFrame, "a", 2<<30)
		}, vuln.LayerLimited, "more than 300 times its size"},
		{"more than is inflated", Limits{Inflated: 10 << 20}, func(w io.Writer) {
			z := gzip.NewWriter(w)
			zeros(z, "a", 11<<20)
			must(z.Close())
		}, vuln.LayerLimited, "more than 10485760 bytes"},
		{"a database of 1 GB", Limits{Ratio: 1 << 40}, func(w io.Writer) {
			bomb(w, zstdFrame, "var/lib/dpkg/status", 1<<30)
		}, vuln.LayerLimited, "var/lib/dpkg/status has 1073741824 bytes"},
		{"a database that is one record", Limits{}, func(w io.Writer) { zeros(w, "var/lib/dpkg/status", 9<<20) }, vuln.LayerLimited, "record of more than 4 MiB"},
		{"a database of packages without end", Limits{}, func(w io.Writer) {
			z := gzip.NewWriter(w)
			_, err := z.Write(archiveOf(t, item{name: "lib/apk/db/installed", body: strings.Repeat("P:a\nV:1\n\n", 250_000)}))
			must(err)
			must(z.Close())
		}, vuln.LayerLimited, "more than 200000 packages"},
		{"too many entries", Limits{Entries: 10}, func(w io.Writer) {
			tw := tar.NewWriter(w)
			for i := range 12 {
				must(tw.WriteHeader(&tar.Header{Name: fmt.Sprint(i)}))
			}
			must(tw.Close())
		}, vuln.LayerLimited, "more than 10 entries"},
		{"links that fill the inventory", Limits{}, func(w io.Writer) {
			tw := tar.NewWriter(w)
			target := strings.Repeat("a", 4000)
			for i := range 25_000 {
				must(tw.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeSymlink, Linkname: target, Format: tar.FormatGNU}))
			}
			must(tw.Close())
		}, vuln.LayerLimited, "larger than 96 MiB"},
		{"time", Limits{Time: time.Nanosecond}, func(w io.Writer) { zeros(w, "a", 1<<20) }, vuln.LayerLimited, "longer than 1ns"},
		{"a path of 100 KB", Limits{}, func(w io.Writer) {
			_, err := w.Write(archiveOf(t, item{name: strings.Repeat("a/", 50_000) + "b"}))
			must(err)
		}, vuln.LayerLimited, "paths of more than 4096 bytes"},
		{"archives in archives", Limits{}, func(w io.Writer) {
			b := []byte("PK")
			for i := range 12 {
				b = zipOf(t, zip.Deflate, fmt.Sprintf("%d.jar", i), b)
			}
			_, err := w.Write(archiveOf(t, item{name: "app.jar", body: string(b)}))
			must(err)
		}, vuln.LayerLimited, "more than 8 deep"},
		{"an archive in an archive that inflates 1000 times", Limits{}, func(w io.Writer) {
			b := zipOf(t, zip.Deflate, "inner.jar", make([]byte, 130<<20))
			_, err := w.Write(archiveOf(t, item{name: "app.jar", body: string(b)}))
			must(err)
		}, vuln.LayerLimited, "more bytes than are held"},
		{"many archives in an archive", Limits{Nested: 10 << 20}, func(w io.Writer) {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			for i := range 12 {
				f, err := z.Create(fmt.Sprintf("%d.jar", i))
				must(err)
				_, err = f.Write(make([]byte, 1<<20))
				must(err)
			}
			must(z.Close())
			_, err := w.Write(archiveOf(t, item{name: "app.jar", body: b.String()}))
			must(err)
		}, vuln.LayerLimited, "more bytes than are read"},
		{"a manifest of 5 MB", Limits{}, func(w io.Writer) {
			b := zipOf(t, zip.Deflate, "META-INF/MANIFEST.MF", make([]byte, 5<<20))
			_, err := w.Write(archiveOf(t, item{name: "app.jar", body: string(b)}))
			must(err)
		}, vuln.LayerLimited, "manifest.mf has more than 4 MiB"},
		{"crates that inflate 1000 times", Limits{}, func(w io.Writer) {
			_, err := w.Write(archiveOf(t, item{name: "a", body: string(elfWithList(string(make([]byte, 9<<20))))}))
			must(err)
		}, vuln.LayerLimited, "list of crates has more than 8 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := extracted(t, tt.limits, tt.blob)
			if l.Status != tt.status || !strings.Contains(l.Message, tt.message) {
				t.Errorf("%s %q, warnings %q", l.Status, l.Message, l.Warnings)
			}
		})
	}
}

func zstdFrame(b []byte) []byte { return zstdEncoder().EncodeAll(b, nil) }

func zipOf(t *testing.T, method uint16, name string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// One million files are a layer like any other.
func TestMillionFiles(t *testing.T) {
	const files = 1_000_000
	r, w := io.Pipe()
	defer r.Close()
	go func() {
		buf := bufio.NewWriterSize(w, 1<<20)
		tw := tar.NewWriter(buf)
		for i := range files {
			if tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("data/%d/%d", i%1000, i), Mode: 0o644}) != nil {
				return
			}
		}
		tw.Close()
		buf.Flush()
		w.Close()
	}()
	l, err := newExtractor(t, Limits{}).Extract(t.Context(), r, files*512+1024)
	if err != nil || l.Status != vuln.LayerComplete || l.Entries != files || len(l.Paths) != files {
		t.Errorf("%s %q: %d entries, %d paths, %v", l.Status, l.Message, l.Entries, len(l.Paths), err)
	}
}

// Evidence that is broken is a warning; the rest of the layer is told.
func TestBrokenEvidence(t *testing.T) {
	good := item{name: "node_modules/left-pad/package.json", body: leftPad}
	noise := strings.Repeat("\x00\xff\x7fELF noise", 1000)
	for _, name := range []string{
		"var/lib/rpm/Packages", "var/lib/rpm/Packages.db", "var/lib/rpm/rpmdb.sqlite", "lib/apk/db/installed",
		"a.jar", "a.egg", "node_modules/x/package.json", "vendor/composer/installed.json", "x-1.dist-info/METADATA",
		"packages/x/1/x.nuspec",
	} {
		l := read(t, archiveOf(t, item{name: name, body: noise}, good))
		if l.Status != vuln.LayerComplete || len(l.Warnings) != 1 || !strings.HasPrefix(l.Warnings[0], name+": ") {
			t.Errorf("%s: %s %q, warnings %q", name, l.Status, l.Message, l.Warnings)
		}
		if found(l) != "left-pad 1.3.0" {
			t.Errorf("%s: got %q", name, found(l))
		}
	}
	for name, body := range map[string]string{
		"truncated SQLite": "SQLite format 3\x00" + noise,
		"truncated ELF":    "\x7fELF" + noise,
	} {
		l := read(t, archiveOf(t, item{name: "var/lib/rpm/rpmdb.sqlite", body: body}, item{name: "usr/bin/a", body: body}, good))
		if l.Status != vuln.LayerComplete || found(l) != "left-pad 1.3.0" {
			t.Errorf("%s: %s %q, got %q", name, l.Status, l.Message, found(l))
		}
	}
}

// Headers that announce more than there is.
func TestLyingSizes(t *testing.T) {
	b := archiveOf(t, item{name: "var/lib/dpkg/status", body: "Package: a\n"})
	copy(b[124:136], "77777777777\x00")
	sum := 0
	copy(b[148:156], "        ")
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	l := read(t, b)
	if l.Status != vuln.LayerFailed || !strings.Contains(l.Message, "ends in the middle") {
		t.Errorf("%s %q", l.Status, l.Message)
	}
	inner := zipOf(t, zip.Deflate, "META-INF/MANIFEST.MF", make([]byte, 1<<20))
	i := bytes.LastIndex(inner, []byte("PK\x01\x02"))
	copy(inner[i+24:], "\x05\x00\x00\x00") // the size after inflating
	l = read(t, archiveOf(t, item{name: "a-1.0.jar", body: string(inner)}))
	if l.Status != vuln.LayerComplete || len(l.Warnings) != 1 {
		t.Errorf("%s %q %q", l.Status, l.Message, l.Warnings)
	}
}

// The database of rpm that sends its reader in circles (a file of scalibr's).
func TestRPMInCircles(t *testing.T) {
	body := moduleFile(t, scalibrModule, testdata+"os/rpm/testdata/timeout/Packages")
	start := time.Now()
	l := extracted(t, Limits{Database: time.Second}, func(w io.Writer) {
		_, err := w.Write(archiveOf(t, item{name: "var/lib/rpm/Packages", body: body}, item{name: "node_modules/left-pad/package.json", body: leftPad}))
		must(err)
	})
	if found(l) != "left-pad 1.3.0" || l.Status != vuln.LayerLimited || !strings.Contains(l.Message, "rpm database took longer than 1s") {
		t.Errorf("%s %q, got %q, warnings %q", l.Status, l.Message, found(l), l.Warnings)
	}
	t.Logf("%s %q after %v", l.Status, l.Message, time.Since(start))
}

// A parser that goes through the worker's memory takes its layer with it, and
// nothing else.
func TestMemoryOfAWorker(t *testing.T) {
	l := extracted(t, Limits{Memory: 24 << 20}, func(w io.Writer) {
		tw := tar.NewWriter(w)
		for i := range 300_000 {
			must(tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d", i), Typeflag: tar.TypeSymlink, Linkname: "x/y/z"}))
		}
		must(tw.Close())
	})
	if l.Status != vuln.LayerLimited || !strings.Contains(l.Message, "24 MiB of memory") {
		t.Errorf("%s %q", l.Status, l.Message)
	}
	if _, err := os.Stat("core"); err == nil {
		t.Error("a worker left a core file")
	}
}
