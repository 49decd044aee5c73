package extract

import (
	"bytes"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

// fuzzed are paths of the evidence that extractors of our own read.
var fuzzed = []string{
	"node_modules/@a/b/package.json", "vendor/composer/installed.json", "packages/x/1/x.nuspec", "app.deps.json",
	"lib/apk/db/installed", "var/lib/dpkg/status", "var/lib/dpkg/info/a.list", "var/lib/dpkg/status.d/a.md5sums",
	"etc/os-release", "var/lib/rpm/rpmdb.sqlite", "a.jar", "usr/bin/program", "a.egg", "x.dist-info/METADATA", "specifications/a.gemspec",
}

// FuzzEvidence: whatever a file of evidence holds, the layer is complete or says
// why not, and holds no text that cannot be stored.
func FuzzEvidence(f *testing.F) {
	for i, body := range []string{
		leftPad, `{"packages":[{"name":"a/b","version":"1"}]}`, `<package><metadata><id>x</id><version>1</version></metadata></package>`,
		`{"libraries":{"a/1":{"type":"package"}}}`, "P:a\nV:1\nF:usr\nR:b.jar\n\n", "Package: a\nStatus: install ok installed\nVersion: 1:2\n\n",
		"/usr/a.jar\n", "d41d  usr/a.jar\n", "ID=\"x\\\"y\"\n", "SQLite format 3\x00", "PK\x03\x04", string(elfWithList(`{"packages":[{"name":"a","version":"1"}]}`)),
	} {
		f.Add(uint8(i), []byte(body))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		name := fuzzed[int(which)%len(fuzzed)]
		if strings.Contains(name, "/rpm/") && !bytes.HasPrefix(body, []byte("SQLite format 3\x00")) {
			return // go-rpmdb panics where nobody can recover: it is read in a worker only
		}
		blob := archiveOf(t, item{name: name, body: string(body)})
		l := Read(t.Context(), bytes.NewReader(blob), Limits{Database: time.Second}, t.TempDir())
		if l.Status != vuln.LayerComplete && l.Message == "" {
			t.Errorf("%s without a reason", l.Status)
		}
		for _, file := range l.Files {
			for _, p := range file.Packages {
				if !storable(p) {
					t.Errorf("%+v", p)
				}
			}
		}
		if again, err := Decode(Encode(l)); err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%+v became %+v, %v", l, again, err)
		}
	})
}

// FuzzRead: any bytes at all are some layer.
func FuzzRead(f *testing.F) {
	plain := archiveOf(f, item{name: "a/node_modules/b/package.json", body: leftPad}, item{name: "a/.wh.c"}, item{name: "l", typ: '2', link: "a"})
	f.Add(plain)
	f.Add(gzipped(f, plain))
	f.Add(zstdFrame(plain))
	f.Fuzz(func(t *testing.T, blob []byte) {
		l := Read(t.Context(), bytes.NewReader(blob), Limits{Inflated: 1 << 20}, t.TempDir())
		if l.Status != vuln.LayerComplete && l.Message == "" {
			t.Errorf("%s without a reason", l.Status)
		}
		if !slices.IsSorted(l.Paths) || int64(len(l.Paths)) > l.Entries {
			t.Errorf("%d entries, paths %v", l.Entries, l.Paths)
		}
	})
}

// FuzzClean: a path never leads out of the layer.
func FuzzClean(f *testing.F) {
	f.Add("./a/../../b//c/")
	f.Fuzz(func(t *testing.T, name string) {
		p, _ := clean(name)
		if strings.HasPrefix(p, "/") || p == ".." || strings.HasPrefix(p, "../") || strings.Contains("/"+p+"/", "/../") {
			t.Errorf("%q became %q", name, p)
		}
		if again, _ := clean(p); again != p {
			t.Errorf("%q became %q, then %q", name, p, again)
		}
	})
}

// BenchmarkRead reads a real layer, the file that ECRU_TEST_LAYER names; compare
// with gzip -dc LAYER | tar t.
func BenchmarkRead(b *testing.B) {
	name := os.Getenv("ECRU_TEST_LAYER")
	if name == "" {
		b.Skip("ECRU_TEST_LAYER names no file")
	}
	info, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	e := newExtractor(b, Limits{})
	for b.Loop() {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		l, err := e.Extract(b.Context(), f, info.Size())
		f.Close()
		if err != nil || l.Status != vuln.LayerComplete {
			b.Fatalf("%s %q, %v", l.Status, l.Message, err)
		}
	}
}
