package vuln

import (
	"archive/zip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// feed are the compiled records of some ecosystems, by key.
type feed struct {
	byKey   map[Key][]*Advisory
	all     []*Advisory
	records int
}

// sharedData finds the test set of published advisories beside the repository.
func sharedData(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		data := filepath.Join(dir, "..", "shared", "advisories")
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			if _, err := os.Stat(data); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal("the test set of advisories is not at ../shared/advisories")
				}
				t.Skip("SKIPPED: the test set of advisories is not at ../shared/advisories")
			}
			return data
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above")
		}
		dir = parent
	}
}

// rawRecords calls f with each record of an ecosystem's all.zip.
func rawRecords(t testing.TB, ecosystem string, f func(name string, data []byte)) {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(sharedData(t), ecosystem, "all.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, file := range z.File {
		r, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		f(file.Name, data)
	}
}

func load(t testing.TB, ecosystems ...string) *feed {
	t.Helper()
	f := &feed{byKey: map[Key][]*Advisory{}}
	for _, eco := range ecosystems {
		rawRecords(t, eco, func(name string, data []byte) {
			f.records++
			a, err := ParseOSV(data)
			if errors.Is(err, ErrNotSecurity) {
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			f.add(a)
		})
	}
	return f
}

func (f *feed) add(a *Advisory) {
	f.all = append(f.all, a)
	for _, k := range a.Keys() {
		f.byKey[k] = append(f.byKey[k], a.For(k))
	}
}

func (f *feed) under(id Identity) []*Advisory {
	var out []*Advisory
	for _, k := range id.Keys() {
		out = append(out, f.byKey[k]...)
	}
	return out
}

// affecting are the IDs of the records that call the identity affected.
func (f *feed) affecting(id Identity) []string {
	var out []string
	for _, a := range f.under(id) {
		if a.Affects(id) {
			out = append(out, a.ID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (f *feed) match(id Identity) []Match { return id.Match(f.under(id), nil) }

func identity(eco, name, version string) Identity {
	return Identity{Key: Key{eco, KeyName(eco, name)}, Version: version}
}

func vulnerabilities(ms []Match) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Vulnerability)
	}
	return out
}

// TestKnownAnswers are the answers that the test set's README gives, checked
// there by another evaluation of the OSV schema.
func TestKnownAnswers(t *testing.T) {
	f := load(t, "npm", "Maven", "NuGet", "Packagist", "crates.io", "Debian", "Alpine", "Ubuntu")
	for _, c := range []struct{ eco, name, version, records string }{
		{"npm", "lodash", "4.17.15", "GHSA-35jh-r3h4-6jhm NSWG-ECO-516"},
		{"npm", "lodash", "4.17.21", ""},
		{"npm", "minimist", "1.2.0", "GHSA-xvch-5gv4-984h"},
		{"npm", "minimist", "0.2.4", ""},
		{"npm", "express", "4.17.1", "GHSA-rv95-896h-c2vc"},
		{"npm", "express", "5.0.0-beta.1", "GHSA-rv95-896h-c2vc"},
		{"Maven", "org.apache.logging.log4j:log4j-core", "2.14.1", "GHSA-jfh8-c2jp-5v3q"},
		{"Maven", "org.apache.logging.log4j:log4j-core", "2.12.2", ""},
		{"NuGet", "Newtonsoft.Json", "12.0.3", "GHSA-5crp-9r3c-p9vr"},
		{"Packagist", "guzzlehttp/psr7", "1.8.3", "GHSA-q7rv-6hp3-vh96"},
		{"Packagist", "guzzlehttp/psr7", "2.1.1", ""},
		{"crates.io", "time", "0.1.42", "GHSA-wcg3-cvx6-7396 RUSTSEC-2020-0071"},
		{"Debian:12", "glibc", "2.36-9+deb12u14", "DEBIAN-CVE-2010-4756"},
		{"Debian:12", "ncurses", "6.4-4", "DEBIAN-CVE-2025-6141"},
		{"Debian:11", "openssl", "1.1.1k-1+deb11u1", "DEBIAN-CVE-2022-0778 DSA-5103-1 DSA-5139-1 DSA-5169-1 DSA-5343-1"},
		{"Debian:11", "openssl", "1.1.1k-1+deb11u2", "DSA-5139-1 DSA-5169-1 DSA-5343-1"},
		{"Alpine:v3.11", "openssl", "1.1.1d-r2", "ALPINE-CVE-2019-1551"},
		{"Alpine:v3.11", "openssl", "1.1.1g-r0", ""},
		{"Ubuntu:22.04:LTS", "wayland", "1.20.0-1", "UBUNTU-CVE-2021-3782 USN-5614-1"},
	} {
		id := identity(c.eco, c.name, c.version)
		if got := strings.Join(f.affecting(id), " "); got != c.records {
			t.Errorf("%s %s %s: %q, want %q", c.eco, c.name, c.version, got, c.records)
		}
		if (c.records == "") != (len(f.match(id)) == 0) {
			t.Errorf("%s %s %s: %d matches", c.eco, c.name, c.version, len(f.match(id)))
		}
	}
	for _, c := range []struct {
		eco, name, version string
		n                  int
	}{
		{"Maven", "com.fasterxml.jackson.core:jackson-databind", "2.9.8", 53},
		{"Debian:12", "glibc", "2.36-9", 23},
		{"crates.io", "time", "0.1.42", 1},
		{"Ubuntu:22.04:LTS", "wayland", "1.20.0-1", 1},
	} {
		if got := f.match(identity(c.eco, c.name, c.version)); len(got) != c.n {
			t.Errorf("%s %s %s: %d findings, want %d: %v", c.eco, c.name, c.version, len(got), c.n, vulnerabilities(got))
		}
	}
}
