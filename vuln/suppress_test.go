package vuln

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// found is an image with three findings: one of two packages.
func found() (*Image, []Finding) {
	img := &Image{OS: OSRelease{ID: "debian", VersionID: "12"}, Packages: []Installed{
		{Package: Package{Name: "libc6", Version: "2.36-9", SourceName: "glibc"}, Kind: Dpkg, Path: "var/lib/dpkg/status"},
		{Package: Package{Name: "libc-bin", Version: "2.36-9", SourceName: "glibc"}, Kind: Dpkg, Path: "var/lib/dpkg/status"},
		{Package: pkg("lodash", "4.17.15"), Kind: NPM, Path: "app/node_modules/lodash/package.json"},
		{Package: pkg("lodash", "4.17.15"), Kind: NPM, Path: "tools/node_modules/lodash/package.json"},
	}}
	rated := func(s Severity) Rating { return Rating{Severity: s} }
	return img, img.Findings(Enhanced, func(id Identity) []Match {
		if id.Name == "glibc" {
			return []Match{{Vulnerability: "CVE-2023-4911", Advisories: []string{"DSA-5514-1"}, Rating: rated(High)}}
		}
		return []Match{
			{Vulnerability: "CVE-2021-23337", Aliases: []string{"GHSA-35jh-r3h4-6jhm"}, Rating: rated(Critical)},
			{Vulnerability: "CVE-2020-8203", Rating: rated(High)},
		}
	})
}

var here = Place{"123456789012", "team/app", "sha256:a"}

func TestFindings(t *testing.T) {
	_, fs := found()
	if len(fs) != 3 || fs[0].Vulnerability != "CVE-2021-23337" || !reflect.DeepEqual(fs[0].Packages, []int{2, 3}) || !reflect.DeepEqual(fs[2].Packages, []int{0, 1}) {
		t.Errorf("%+v", fs)
	}
	img, _ := found()
	if sets := img.Identities(Basic); len(sets) != 1 || sets[0].Name != "glibc" {
		t.Errorf("basic scanning looks at %+v", sets)
	}
}

func TestCombineFix(t *testing.T) {
	for _, c := range []struct {
		fixes []Fix
		want  Fix
	}{{nil, FixNo}, {[]Fix{FixYes}, FixYes}, {[]Fix{FixNo, FixNo}, FixNo}, {[]Fix{FixYes, FixYes, FixNo}, FixPartial}, {[]Fix{FixPartial}, FixPartial}} {
		if got := CombineFix(c.fixes...); got != c.want {
			t.Errorf("%v: %s", c.fixes, got)
		}
	}
}

func TestSuppress(t *testing.T) {
	img, fs := found()
	for _, c := range []struct {
		name string
		s    Suppression
		now  int64
		want int // how many are set aside
	}{
		{"a CVE, everywhere", Suppression{Vulnerability: "CVE-2021-23337"}, 50, 1},
		{"an alias", Suppression{Vulnerability: "GHSA-35jh-r3h4-6jhm"}, 50, 1},
		{"a distribution's name of it", Suppression{Vulnerability: "DEBIAN-CVE-2023-4911"}, 50, 1},
		{"a bulletin", Suppression{Vulnerability: "DSA-5514-1"}, 50, 1},
		{"another CVE", Suppression{Vulnerability: "CVE-2021-2333"}, 50, 0},
		{"a source package", Suppression{Package: "glibc"}, 50, 1},
		{"one of two packages of a source", Suppression{Package: "libc6"}, 50, 0},
		{"a package", Suppression{Package: "lodash"}, 50, 2},
		{"a CVE in another package", Suppression{Vulnerability: "CVE-2021-23337", Package: "glibc"}, 50, 0},
		{"one of two paths", Suppression{Path: "app/node_modules/lodash/package.json"}, 50, 0},
		{"a folder", Suppression{Path: "var/lib/"}, 50, 1},
		{"no folder", Suppression{Path: "var/li"}, 50, 0},
		{"a package URL", Suppression{PURL: "pkg:npm/lodash"}, 50, 2},
		{"of another version", Suppression{PURL: "pkg:npm/lodash@4.17.16"}, 50, 0},
		{"this digest", Suppression{Package: "lodash", Digest: "sha256:a"}, 50, 2},
		{"another digest", Suppression{Package: "lodash", Digest: "sha256:b"}, 50, 0},
		{"this repository", Suppression{Package: "lodash", Registry: here.Registry, Repository: "team/app"}, 50, 2},
		{"another repository", Suppression{Package: "lodash", Registry: here.Registry, Repository: "team"}, 50, 0},
		{"another registry", Suppression{Package: "lodash", Registry: "210987654321"}, 50, 0},
		{"before it was made", Suppression{Package: "lodash"}, 9, 0},
		{"at its last moment", Suppression{Package: "lodash", Expires: 51}, 50, 2},
		{"when it has expired", Suppression{Package: "lodash", Expires: 50}, 50, 0},
		{"everything", Suppression{}, 50, 0},
	} {
		c.s.Created, c.s.Disposition, c.s.Reason = 10, FalsePositive, "looked at"
		before := Count(fs)
		a := Suppress(img, fs, []Suppression{c.s}, here, c.now)
		n := 0
		for _, by := range a.By {
			if by == 0 {
				n++
			}
		}
		open := 0
		for _, k := range a.Open {
			open += k
		}
		if n != c.want || open != 3-n || !reflect.DeepEqual(a.All, before) {
			t.Errorf("%s: %d are set aside, want %d: %+v", c.name, n, c.want, a)
		}
	}
	both := []Suppression{
		{Path: "app/", Vulnerability: "CVE-2020-8203", Disposition: Accepted, Reason: "x"},
		{Path: "tools/", Vulnerability: "CVE-2020-8203", Disposition: Accepted, Reason: "x"},
	}
	if a := Suppress(img, fs, both, here, 1); a.Open[High] != 1 || a.Open[Critical] != 1 {
		t.Errorf("two that cover it together: %+v", a)
	}
}

func TestLapsed(t *testing.T) {
	list := []Suppression{{Expires: 10}, {Expires: 20}, {Expires: 30}, {}}
	if got := Lapsed(list, 10, 30); !reflect.DeepEqual(got, []int{1, 2}) {
		t.Errorf("%v", got)
	}
}

// TestVEXDocument reads the test set's real document.
func TestVEXDocument(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(sharedData(t), "vex", "node.openvex.json"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseVEX(data)
	if err != nil || len(v.Statements) != 183 || v.Author != "Node.js Security WG" {
		t.Fatalf("%v: %d statements", err, len(v.Statements))
	}
	list := v.Suppressions(Place{Registry: "1"}, "admin", 0)
	if len(list) == 0 {
		t.Error("nothing is set aside")
	}
	for i := range list {
		if err := list[i].Check(); err != nil {
			t.Errorf("%+v: %v", list[i], err)
		}
	}
}

func TestVEXSuppressions(t *testing.T) {
	img, fs := found()
	statement := func(product, part, status, more string) string {
		sub := ""
		if part != "" {
			sub = `,"subcomponents":[{"@id":"` + part + `"}]`
		}
		return `{"vulnerability":{"name":"CVE-2021-23337"},"products":[{"@id":"` + product + `"` + sub + `}],"status":"` + status + `"` + more + `}`
	}
	const reason = `,"justification":"component_not_present"`
	for _, c := range []struct {
		name, statements string
		want             int
	}{
		{"a package", statement("pkg:npm/lodash@4.17.15", "", "not_affected", reason), 1},
		{"fixed", statement("pkg:npm/lodash@4.17.15", "", "fixed", ""), 1},
		{"another version", statement("pkg:npm/lodash@4.17.16", "", "not_affected", reason), 0},
		{"affected", statement("pkg:npm/lodash@4.17.15", "", "affected", ""), 0},
		{"this image", statement("pkg:oci/app@sha256%3Aa", "", "not_affected", reason), 1},
		{"another image", statement("pkg:oci/app@sha256%3Ab", "", "not_affected", reason), 0},
		{"a package in this image", statement("pkg:oci/app@sha256%3Aa", "pkg:npm/lodash", "not_affected", reason), 1},
		{"another package in this image", statement("pkg:oci/app@sha256%3Aa", "pkg:npm/react", "not_affected", reason), 0},
		{"a part of what is no image", statement("pkg:generic/thing", "pkg:npm/lodash", "not_affected", reason), 0},
		{"not a package URL", statement("lodash", "", "not_affected", reason), 0},
		{"taken back", statement("pkg:npm/lodash", "", "not_affected", reason+`,"timestamp":"2024-01-01T00:00:00Z"`) + "," +
			statement("pkg:npm/lodash", "", "affected", `,"timestamp":"2024-02-01T00:00:00Z"`), 0},
	} {
		v, err := ParseVEX([]byte(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","statements":[` + c.statements + `]}`))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		a := Suppress(img, fs, v.Suppressions(here, "me", 0), here, 1<<50)
		if got := a.All[Critical] - a.Open[Critical]; got != c.want || a.Open[High] != a.All[High] {
			t.Errorf("%s: %d are set aside, want %d", c.name, got, c.want)
		}
	}
	for _, text := range []string{`{}`, `[]`, `{"@context":"https://openvex.dev/ns","statements":[{}]}`,
		`{"@context":"https://openvex.dev/ns","statements":[` + statement("a", "", "fine", "") + `]}`,
		`{"@context":"https://openvex.dev/ns","statements":[` + statement("a", "", "not_affected", "") + `]}`,
		`{"@context":"https://openvex.dev/ns","statements":[` + statement("a", "", "not_affected", `,"justification":"because"`) + `]}`} {
		if _, err := ParseVEX([]byte(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

// TestWriteVEX: what is written sets the same aside when it is read.
func TestWriteVEX(t *testing.T) {
	img, fs := found()
	list := []Suppression{
		{Vulnerability: "CVE-2021-23337", PURL: "pkg:npm/lodash", Disposition: FalsePositive, Reason: "not called", Justification: "vulnerable_code_not_in_execute_path", Created: 5},
		{Vulnerability: "CVE-2023-4911", Disposition: FixedHere, Reason: "patched", Created: 5},
		{Vulnerability: "CVE-2020-8203", Disposition: Accepted, Reason: "a risk", Created: 5},
		{Vulnerability: "CVE-1-1", Disposition: FixedHere, Reason: "over", Created: 5, Expires: 6},
		{Vulnerability: "CVE-1-2", Path: "x", Disposition: FixedHere, Reason: "a path", Created: 5},
	}
	one, err := WriteVEX("https://example.com/vex", "us", here, list, 100)
	if err != nil {
		t.Fatal(err)
	}
	two, _ := WriteVEX("https://example.com/vex", "us", here, list, 100)
	v, err := ParseVEX(one)
	if err != nil || !bytes.Equal(one, two) || len(v.Statements) != 3 {
		t.Fatalf("%v\n%s", err, one)
	}
	a := Suppress(img, fs, v.Suppressions(here, "us", 0), here, 100)
	if a.Open[Critical] != 0 || a.Open[High] != 1 {
		t.Errorf("%+v\n%s", a, one)
	}
}

func FuzzParseVEX(f *testing.F) {
	f.Add([]byte(`{"@context":"https://openvex.dev/ns/v0.2.0","statements":[{"vulnerability":{"name":"CVE-2021-23337"},"products":[{"@id":"pkg:oci/app@sha256%3Aa","subcomponents":[{"identifiers":{"purl":"pkg:npm/lodash"}}]}],"status":"fixed"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseVEX(data)
		if err != nil {
			return
		}
		img, fs := found()
		list := v.Suppressions(here, "me", 0)
		Suppress(img, fs, list, here, 1)
		b, err := WriteVEX("x", "y", here, list, 1<<40)
		if err != nil || !json.Valid(b) {
			t.Fatalf("%v", err)
		}
	})
}
