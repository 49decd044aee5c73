package extract

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ecruhq/ecru/vuln"
)

const leftPad = `{"name":"left-pad","version":"1.3.0"}`

func TestFormsOfLayers(t *testing.T) {
	plain := archiveOf(t, item{name: "app/node_modules/left-pad/package.json", body: leftPad})
	want := []string{"app/node_modules/left-pad/package.json npm: left-pad 1.3.0"}
	half := len(plain) / 2
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	skippable := binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, 3)
	skippable = append(skippable, "abc"...)
	tests := []struct {
		name    string
		blob    []byte
		status  vuln.LayerStatus
		message string
		want    []string
	}{
		{"tar", plain, vuln.LayerComplete, "", want},
		{"gzip", gzipped(t, plain), vuln.LayerComplete, "", want},
		{"gzip of several members (eStargz)", append(gzipped(t, plain[:half]), gzipped(t, plain[half:])...), vuln.LayerComplete, "", want},
		{"zstd", z.EncodeAll(plain, nil), vuln.LayerComplete, "", want},
		{"zstd of several frames, one to skip first (zstd:chunked)", append(append(skippable, z.EncodeAll(plain[:half], nil)...), z.EncodeAll(plain[half:], nil)...), vuln.LayerComplete, "", want},
		{"no files", make([]byte, 1024), vuln.LayerComplete, "", nil},
		{"nothing", nil, vuln.LayerUnsupported, "empty", nil},
		{"a document", []byte(strings.Repeat(`{"predicateType":"https://slsa.dev/provenance/v1"}`, 99)), vuln.LayerUnsupported, "not a tar archive", nil},
		{"a short document", []byte(`{}`), vuln.LayerUnsupported, "2 bytes", nil},
		{"a compressed document", gzipped(t, bytes.Repeat([]byte("text "), 1000)), vuln.LayerUnsupported, "not a tar archive", nil},
		{"xz", []byte("\xfd7zXZ\x00 and so on"), vuln.LayerUnsupported, "xz", nil},
		{"truncated tar", plain[:520], vuln.LayerFailed, "ends in the middle", nil},
		{"truncated gzip", gzipped(t, plain)[:60], vuln.LayerFailed, "", nil},
		{"truncated zstd", z.EncodeAll(plain, nil)[:60], vuln.LayerFailed, "", nil},
		{"gzip with an error", flip(gzipped(t, plain), 30), vuln.LayerFailed, "cannot be read", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := read(t, tt.blob)
			if l.Status != tt.status || !strings.Contains(l.Message, tt.message) || (l.Message == "") != (l.Status == vuln.LayerComplete) {
				t.Errorf("%s %q", l.Status, l.Message)
			}
			if got := told(l); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if l.Extractor != Version {
				t.Errorf("extractor %d", l.Extractor)
			}
		})
	}
}

func flip(b []byte, i int) []byte {
	b[i] ^= 0xff
	return b
}

func TestPathsOfALayer(t *testing.T) {
	l := complete(t,
		item{name: "./usr/", typ: tar.TypeDir},
		item{name: "./usr/a", body: "x"},
		item{name: "/dev/console", typ: tar.TypeChar},
		item{name: "run/pipe", typ: tar.TypeFifo},
		item{name: "usr/b", typ: tar.TypeLink, link: "usr/a"},
		item{name: "usr/lib/libc.so", typ: tar.TypeSymlink, link: "libc.so.6"},
		item{name: "usr/lib/libc.so.6", body: "x"},
		item{name: "lib", typ: tar.TypeSymlink, link: "usr/lib"},
		item{name: "var/run", typ: tar.TypeSymlink, link: "/run"},
		item{name: "etc/os-release", typ: tar.TypeSymlink, link: "../usr/lib/os-release"},
		item{name: "usr/lib/os-release", body: "ID=debian\n"},
		item{name: "opt/.wh.gone"},
		item{name: ".wh.top"},
		item{name: "srv/.wh..wh..opq"},
		item{name: ".wh..wh.plnk/1.2"},
		item{name: ".wh..wh.aufs"},
	)
	var want []uint64
	for _, p := range []string{"usr/a", "dev/console", "run/pipe", "usr/b", "usr/lib/libc.so", "usr/lib/libc.so.6", "lib", "var/run", "etc/os-release", "usr/lib/os-release", ".wh..wh.plnk/1.2"} {
		want = append(want, vuln.PathHash(p))
	}
	slices.Sort(want)
	if !slices.Equal(l.Paths, want) {
		t.Errorf("%d paths, want %d", len(l.Paths), len(want))
	}
	if !slices.Equal(l.Whiteouts, []string{"opt/gone", "top"}) || !slices.Equal(l.Opaque, []string{"srv"}) {
		t.Errorf("whiteouts %q, opaque %q", l.Whiteouts, l.Opaque)
	}
	links := []vuln.Link{{Path: "etc/os-release", Target: "../usr/lib/os-release"}, {Path: "lib", Target: "usr/lib"}, {Path: "var/run", Target: "/run"}}
	if !reflect.DeepEqual(l.Links, links) {
		t.Errorf("links %+v", l.Links)
	}
	if l.Entries != 16 || l.Bytes == 0 {
		t.Errorf("%d entries, %d bytes", l.Entries, l.Bytes)
	}
}

func TestTheLastOfAPathCounts(t *testing.T) {
	const name = "app/node_modules/left-pad/package.json"
	tests := []struct {
		name  string
		items []item
		want  string
	}{
		{"another version", []item{{name: name, body: leftPad}, {name: "./" + name, body: `{"name":"left-pad","version":"2.0.0"}`}}, name + " npm: left-pad 2.0.0"},
		{"nothing", []item{{name: name, body: leftPad}, {name: name, body: `{}`}}, ""},
		{"a link", []item{{name: name, body: leftPad}, {name: name, typ: tar.TypeSymlink, link: "/etc/passwd"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(told(complete(t, tt.items...)), "\n"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHardLinks(t *testing.T) {
	l := read(t, archiveOf(t,
		item{name: "a/node_modules/x/package.json", body: `{"name":"x","version":"1.0.0"}`},
		item{name: "b/node_modules/x/package.json", typ: tar.TypeLink, link: "a/node_modules/x/package.json"},
		item{name: "c/readme.json", typ: tar.TypeLink, link: "a/node_modules/x/package.json"},
		item{name: "store/0a1b", body: leftPad},
		item{name: "d/node_modules/left-pad/package.json", typ: tar.TypeLink, link: "store/0a1b"},
	))
	want := []string{"a/node_modules/x/package.json npm: x 1.0.0", "b/node_modules/x/package.json npm: x 1.0.0"}
	if got := told(l); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "hard link") {
		t.Errorf("warnings %q", l.Warnings)
	}
}

func TestPathsThatLeadOut(t *testing.T) {
	l := read(t, archiveOf(t,
		item{name: "../../etc/node_modules/left-pad/package.json", body: leftPad},
		item{name: "a/../../b", body: "x"},
		item{name: "..", body: "x"},
	))
	if got := told(l); !slices.Equal(got, []string{"etc/node_modules/left-pad/package.json npm: left-pad 1.3.0"}) {
		t.Errorf("got %q", got)
	}
	if len(l.Warnings) != 3 || len(l.Paths) != 2 {
		t.Errorf("%d paths, warnings %q", len(l.Paths), l.Warnings)
	}
}

func TestOSRelease(t *testing.T) {
	l := complete(t, item{name: "usr/lib/os-release", body: "# c\nID=\"ubuntu\"\nID_LIKE='debian other'\nVERSION_ID='22.04'\nVERSION_CODENAME=jammy\nPRETTY_NAME=\"Ubuntu \\\"22\\\"\"\nCPE_NAME=cpe:/o:x\n"})
	want := []vuln.OSRelease{{
		Path: "usr/lib/os-release", ID: "ubuntu", IDLike: []string{"debian", "other"}, VersionID: "22.04",
		Codename: "jammy", PrettyName: `Ubuntu "22"`, CPEName: "cpe:/o:x",
	}}
	if !reflect.DeepEqual(l.OSReleases, want) {
		t.Errorf("%+v", l.OSReleases)
	}
}

// What the distribution has packaged is the distribution's to patch.
func TestOwned(t *testing.T) {
	l := complete(t,
		item{name: "var/lib/dpkg/info/python3-idna.list", body: "/.\n/usr\n/usr/lib/python3/dist-packages/idna-3.3.egg-info/PKG-INFO\n/usr/share/doc/x\n/lib/x/y.jar\n"},
		item{name: "var/lib/dpkg/status.d/foo.md5sums", body: "d41d8cd98f00b204e9800998ecf8427e  usr/share/java/foo.jar\n"},
		item{name: "lib/apk/db/installed", body: "P:nodejs\nV:20.1-r0\no:nodejs\nF:usr/lib/node_modules/npm\nR:package.json\nF:usr/bin\nR:node\n\n"},
		item{name: "usr/local/lib/python3/idna-3.4.dist-info/METADATA", body: "Name: idna\nVersion: 3.4\n"},
	)
	var want []uint64
	for _, p := range []string{
		"usr/lib/python3/dist-packages/idna-3.3.egg-info/PKG-INFO", "lib/x/y.jar", "usr/lib/x/y.jar", "usr/share/java/foo.jar",
		"usr/lib/node_modules/npm/package.json", "usr/bin/node",
	} {
		want = append(want, vuln.PathHash(p))
	}
	slices.Sort(want)
	if !slices.Equal(l.Owned, want) {
		t.Errorf("%d owned, want %d", len(l.Owned), len(want))
	}
}

// Of a package's texts, those that a database cannot hold are never given on.
func TestTextsThatNothingTakes(t *testing.T) {
	for i, body := range []string{
		`{"name":"a\u0000b","version":"1"}`, `{"name":"a","version":"1\n2"}`, "{\"name\":\"a\xff\\u001b[2J\",\"version\":\"1\"}",
		fmt.Sprintf(`{"name":%q,"version":"1"}`, strings.Repeat("a", 600)),
	} {
		l := read(t, archiveOf(t, item{name: "node_modules/a/package.json", body: body}))
		if len(l.Files) != 0 || len(l.Warnings) != 1 {
			t.Errorf("%d: %q, %q", i, told(l), l.Warnings)
		}
	}
}
