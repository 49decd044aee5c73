package vuln

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/osv-scalibr/semantic"
)

// naiveAffects evaluates a raw record as the OSV schema's pseudocode does
// ("Evaluation"), without compiling anything.
func naiveAffects(t *testing.T, r *record, id Identity) bool {
	t.Helper()
	before := func(a, b string) bool { // a < b
		if b == "0" || a == b {
			return false
		}
		if a == "0" {
			return true
		}
		v, err := semantic.Parse(a, id.Ecosystem)
		if err != nil {
			t.Fatalf("%s: %s: %v", r.ID, a, err)
		}
		c, err := v.CompareStr(b)
		if err != nil {
			t.Fatalf("%s: %s: %v", r.ID, b, err)
		}
		return c < 0
	}
	for _, a := range r.Affected {
		eco := Ecosystem(a.Package.Ecosystem)
		if eco != id.Ecosystem || KeyName(eco, a.Package.Name) != id.Name {
			continue
		}
		if slices.Contains(a.Versions, id.Version) {
			return true
		}
		for _, rg := range a.Ranges {
			if rg.Type == "GIT" {
				continue
			}
			events := slices.Clone(rg.Events)
			at := func(e recordEvent) string { return firstOf(e.Introduced, e.Fixed, e.LastAffected) }
			slices.SortStableFunc(events, func(x, y recordEvent) int {
				switch {
				case before(at(x), at(y)):
					return -1
				case before(at(y), at(x)):
					return 1
				}
				return 0
			})
			affected := false
			for _, e := range events {
				switch {
				case e.Introduced != "":
					affected = affected || !before(id.Version, e.Introduced)
				case e.Fixed != "":
					affected = affected && before(id.Version, e.Fixed)
				case e.LastAffected != "":
					affected = affected && !before(e.LastAffected, id.Version)
				}
			}
			if affected {
				return true
			}
		}
	}
	return false
}

// TestAgainstPseudocode asks each record of the test set about all versions that
// it names.
func TestAgainstPseudocode(t *testing.T) {
	asked, affected := 0, 0
	for _, eco := range []string{"npm", "Maven", "NuGet", "Packagist", "crates.io", "Debian", "Alpine", "PyPI", "RubyGems", "Go", "Wolfi", "Rocky Linux", "Red Hat"} {
		n := 0
		rawRecords(t, eco, func(name string, data []byte) {
			if n++; testing.Short() && n%10 != 0 {
				return
			}
			a, err := ParseOSV(data)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var r record
			if err := json.Unmarshal(data, &r); err != nil {
				t.Fatal(err)
			}
			if a.Withdrawn != 0 {
				return
			}
			for _, f := range r.Affected {
				for _, v := range mentioned(&f) {
					id := identity(Ecosystem(f.Package.Ecosystem), f.Package.Name, v)
					if strings.Contains(v, moduleMark) || strings.HasPrefix(id.Ecosystem, "Ubuntu:Pro") {
						continue
					}
					asked++
					want := naiveAffects(t, &r, id)
					if want {
						affected++
					}
					if got := a.Affects(id); got != want {
						t.Errorf("%s %s %s: %v, want %v", a.ID, id.Name, v, got, want)
					}
				}
			}
		})
	}
	t.Logf("%d questions, %d times affected", asked, affected)
	if affected < asked/20 || affected > asked*19/20 {
		t.Errorf("%d of %d are affected: the test asks one-sidedly", affected, asked)
	}
}

// mentioned are versions that an affected package's ranges name, and some of its
// explicit ones.
func mentioned(f *recordAffected) []string {
	var out []string
	for _, rg := range f.Ranges {
		if rg.Type == "GIT" {
			continue
		}
		for _, e := range rg.Events {
			if v := firstOf(e.Introduced, e.Fixed, e.LastAffected); v != "0" && v != "" {
				out = append(out, v)
			}
		}
	}
	out = append(out, f.Versions[:min(len(f.Versions), 3)]...)
	slices.Sort(out)
	return slices.Compact(out)
}

// TestNothingFixedIsReported: who has the version that a Match calls fixed does
// not have the Match, in the whole test set.
func TestNothingFixedIsReported(t *testing.T) {
	f := load(t, "npm", "Maven", "crates.io", "Debian", "Alpine", "PyPI", "RubyGems", "Rocky Linux", "Ubuntu")
	checked, partial := 0, 0
	n, stride := 0, 4
	if testing.Short() {
		stride = 40
	}
	for _, key := range slices.SortedFunc(maps.Keys(f.byKey), Key.compare) {
		list := f.byKey[key]
		if n++; n%stride != 0 {
			continue
		}
		for _, a := range list[:min(len(list), 2)] {
			for _, iv := range a.Affected[0].Intervals {
				id := Identity{Key: key, Version: iv.Introduced}
				if id.Version == "" {
					id.Version = "0.0.1"
				}
				if strings.Contains(iv.Fixed, moduleMark) {
					id.Version += moduleMark + "_el8.0.0+0+0"
				}
				left := map[string][]string{} // what is reported of a fixed version
				for _, m := range f.match(id) {
					if m.Fix == FixPartial {
						partial++
					}
					if m.Fix != FixYes {
						continue
					}
					checked++
					if m.Fixed == "" {
						t.Fatalf("%v %s: a fix without a version", id, m.Vulnerability)
					}
					after := id
					after.Version = m.Fixed
					if _, ok := left[m.Fixed]; !ok {
						left[m.Fixed] = vulnerabilities(f.match(after))
					}
					if slices.Contains(left[m.Fixed], m.Vulnerability) {
						t.Errorf("%v %s: fixed in %s, which is reported", id, m.Vulnerability, m.Fixed)
					}
				}
			}
		}
	}
	t.Logf("%d fixed versions, %d partial fixes", checked, partial)
	if checked < 300 {
		t.Errorf("only %d fixed versions were looked at", checked)
	}
}

// TestFixOfAliases: RUSTSEC calls 0.2.0 fixed, GHSA still affected, though it
// does not speak of the version that is installed.
func TestFixOfAliases(t *testing.T) {
	f := load(t, "crates.io")
	for _, version := range []string{"0.0.1", "0.1.42"} {
		ms := f.match(identity("crates.io", "time", version))
		if len(ms) != 1 || ms[0].Fix != FixYes || ms[0].Fixed != "0.2.1" || ms[0].Vulnerability != "CVE-2020-26235" {
			t.Errorf("%s: %+v", version, ms)
		}
	}
}

// TestModules: streams of modules and other packages do not compare, and the
// many builds of one fix are one fix.
func TestModules(t *testing.T) {
	record := `{"id":"ALSA-2021:0507","modified":"2021-02-15T07:04:31Z","summary":"Important: subversion:1.10 security update","related":["CVE-2020-17525"],
		"affected":[
		{"package":{"ecosystem":"AlmaLinux:8","name":"libserf"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.3.9-9.module_el8.3.0+2053+ac338b6d"}]}]},
		{"package":{"ecosystem":"AlmaLinux:8","name":"libserf"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.3.9-9.module_el8.6.0+2912+eb1cdf5a"}]}]}]}`
	a, err := ParseOSV([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		version, module string
		affected        bool
	}{
		{"1.3.9-8.module_el8.3.0+2000+aa", "subversion:1.10", true},
		{"1.3.9-8.module_el8.3.0+2000+aa", "subversion:1.14", false},
		{"1.3.9-8.module_el8.3.0+2000+aa", "", true},
		{"1.3.9-9.module_el8.3.0+2053+ac338b6d", "subversion:1.10", false},
		{"1.3.9-9.module_el8.6.0+2912+eb1cdf5a", "subversion:1.10", false},
		{"1.3.8-1.el8", "", false},
	} {
		id := identity("AlmaLinux:8", "libserf", c.version)
		id.Module = c.module
		if got := a.Affects(id); got != c.affected {
			t.Errorf("%s of %q: %v", c.version, c.module, got)
		}
		ms := id.Match([]*Advisory{a}, nil)
		if c.affected && (len(ms) != 1 || ms[0].Vulnerability != "CVE-2020-17525" || ms[0].Rating.Severity != High || ms[0].Fix != FixYes) {
			t.Errorf("%+v", ms)
		}
	}
}

// TestRPMVersions: an epoch of 0 may be left out, extended streams of Red Hat's
// count for the release, distributions that the library does not know have the
// order of rpms.
func TestRPMVersions(t *testing.T) {
	f := load(t, "Red Hat", "Rocky Linux")
	amazon, err := ParseOSV([]byte(`{"id":"ALAS-1","upstream":["CVE-2024-1"],"affected":[{"package":{"ecosystem":"Amazon Linux:2023","name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:2.0~rc1-1"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	f.add(amazon)
	for _, c := range []struct {
		eco, name, version string
		n                  int
	}{
		{"Red Hat:8", "git-lfs", "2.13.3-2.el8_6.1", 1},
		{"Red Hat:8", "git-lfs", "2.13.3-3.el8_6.1", 0},
		{"Red Hat:8", "git-lfs", "0:2.13.3-3.el8_6.1", 0},
		{"Rocky Linux:8", "java-11-openjdk", "1:11.0.12.0.7-0.el8_4", 10},
		{"Rocky Linux:8", "java-11-openjdk", "1:11.0.13.0.8-1.el8_4", 0},
		{"Amazon Linux:2023", "a", "1:1.9-1", 1},
		{"Amazon Linux:2023", "a", "3.0-1", 1},
		{"Amazon Linux:2023", "a", "1:2.0-1", 0},
	} {
		if got := f.match(identity(c.eco, c.name, c.version)); len(got) != c.n {
			t.Errorf("%s %s %s: %v, want %d", c.eco, c.name, c.version, vulnerabilities(got), c.n)
		}
	}
}

// TestUbuntuPro: a release's own word goes before Pro's, unless the package is
// Pro's.
func TestUbuntuPro(t *testing.T) {
	f := load(t, "Ubuntu")
	k := Key{"Ubuntu:Pro:16.04:LTS", "wayland"}
	if len(f.byKey[k]) == 0 {
		t.Fatal("the record that this test is about is not there")
	}
	for version, want := range map[string]int{"1.12.0-1~ubuntu16.04.3": 1, "1.12.0-1~ubuntu16.04.3+esm1": 0} {
		if got := f.match(identity("Ubuntu:16.04:LTS", "wayland", version)); len(got) != want {
			t.Errorf("%s: %d", version, len(got))
		}
	}
}

func TestParseOSVRefuses(t *testing.T) {
	if _, err := ParseOSV([]byte(`{"id":"ALBA-2021:1"}`)); !errors.Is(err, ErrNotSecurity) {
		t.Errorf("a bulletin about bugs: %v", err)
	}
	for _, text := range []string{``, `[]`, `{}`, `{"id":"../x"}`, `{"id":"a/b"}`, `{"id":7}`, `{"id":"` + strings.Repeat("x", 300) + `"}`} {
		if a, err := ParseOSV([]byte(text)); err == nil {
			t.Errorf("%.40q is read as %+v", text, a)
		}
	}
	a, err := ParseOSV([]byte(`{"id":"X-1","withdrawn":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"versions":["1.0.0"]}]}`))
	if err != nil || a.Withdrawn == 0 || a.Affects(identity("npm", "a", "1.0.0")) || len(identity("npm", "a", "1.0.0").Match([]*Advisory{a}, nil)) != 0 {
		t.Errorf("a withdrawn record still counts: %+v %v", a, err)
	}
}

// TestAdvisoryEncoding: what is stored is what was compiled.
func TestAdvisoryEncoding(t *testing.T) {
	for _, a := range load(t, "npm", "Ubuntu", "Debian").all {
		b, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeAdvisory(b)
		if err != nil || !reflect.DeepEqual(a, back) {
			t.Fatalf("%s: %v\n%+v\n%+v", a.ID, err, a, back)
		}
	}
}

func TestEcosystems(t *testing.T) {
	for osv, want := range map[string]string{
		"Packagist:https://packages.drupal.org/8": "Packagist", "Red Hat:rhel_aus:8.6::appstream": "Red Hat:8",
		"Red Hat:enterprise_linux:9::baseos": "Red Hat:9", "Red Hat:openshift:4.12::el8": "Red Hat:openshift:4.12::el8",
		"Debian:12": "Debian:12", "Ubuntu:Pro:16.04:LTS": "Ubuntu:Pro:16.04:LTS", "npm": "npm", "Rocky Linux:8": "Rocky Linux:8",
	} {
		if got := Ecosystem(osv); got != want {
			t.Errorf("%s is %s, want %s", osv, got, want)
		}
	}
	for _, c := range []struct{ id, version, codename, want string }{
		{"debian", "12", "", "Debian:12"}, {"debian", "", "trixie", "Debian:13"}, {"debian", "", "sid", ""},
		{"ubuntu", "22.04", "", "Ubuntu:22.04:LTS"}, {"ubuntu", "24.10", "", "Ubuntu:24.10"}, {"ubuntu", "23.04", "", "Ubuntu:23.04"},
		{"alpine", "3.20.3", "", "Alpine:v3.20"}, {"alpine", "3.22_alpha20250108", "", "Alpine:edge"}, {"alpine", "", "", ""},
		{"almalinux", "8.10", "", "AlmaLinux:8"}, {"rocky", "9.3", "", "Rocky Linux:9"}, {"rhel", "8.6", "", "Red Hat:8"},
		{"amzn", "2023", "", "Amazon Linux:2023"}, {"wolfi", "20230201", "", "Wolfi"}, {"sles", "15.5", "", "SUSE:Linux Enterprise Server 15 SP5"},
		{"opensuse-leap", "15.6", "", "openSUSE:Leap 15.6"}, {"void", "", "", ""}, {"", "", "", ""},
	} {
		if got := (OSRelease{ID: c.id, VersionID: c.version, Codename: c.codename}).Ecosystem(); got != c.want {
			t.Errorf("%s %s is %q, want %q", c.id, c.version, got, c.want)
		}
	}
}

// TestIdentities are the names that advisories use.
func TestIdentities(t *testing.T) {
	debian := OSRelease{ID: "debian", VersionID: "12"}
	alma := OSRelease{ID: "almalinux", VersionID: "8.9"}
	for _, c := range []struct {
		os   OSRelease
		kind Kind
		p    Package
		want Identity
	}{
		{debian, Dpkg, Package{Name: "libc6", Version: "2.36-9+b1", SourceName: "glibc", SourceVersion: "2.36-9"}, identity("Debian:12", "glibc", "2.36-9")},
		{debian, Dpkg, Package{Name: "curl", Version: "7.88"}, identity("Debian:12", "curl", "7.88")},
		{OSRelease{ID: "alpine", VersionID: "3.11.5"}, Apk, Package{Name: "libssl1.1", Version: "1.1.1d-r2", SourceName: "openssl"}, identity("Alpine:v3.11", "openssl", "1.1.1d-r2")},
		{alma, RPM, Package{Name: "vim-minimal", Version: "2:8.0-1.el8", Epoch: "2", SourceName: "vim"}, identity("AlmaLinux:8", "vim-minimal", "2:8.0-1.el8")},
		{alma, RPM, Package{Name: "vim-minimal", Version: "8.0-1.el8", Epoch: "2"}, identity("AlmaLinux:8", "vim-minimal", "2:8.0-1.el8")},
		{debian, PyPI, Package{Name: "Flask_SQL.Alchemy", Version: "1"}, identity("PyPI", "flask-sql-alchemy", "1")},
		{debian, Go, Package{Name: "stdlib", Version: "1.22.1 X:boringcrypto"}, identity("Go", "stdlib", "1.22.1")},
		{debian, Go, Package{Name: "go", Version: "go1.22.1"}, identity("Go", "stdlib", "1.22.1")},
		{debian, NuGet, Package{Name: "Newtonsoft.Json", Version: "12"}, identity("NuGet", "newtonsoft.json", "12")},
		{debian, Composer, Package{Name: "GuzzleHttp/psr7", Version: "v1.8"}, identity("Packagist", "guzzlehttp/psr7", "1.8")},
	} {
		got, ok := (&Image{OS: c.os}).Identity(&Installed{Package: c.p, Kind: c.kind})
		if !ok || got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.p, got, c.want)
		}
	}
	for _, p := range []Installed{{Kind: Go, Package: pkg("x", "(devel)")}, {Kind: NPM, Package: pkg("x", "")}, {Kind: Dpkg, Package: pkg("x", "1")}} {
		if id, ok := (&Image{}).Identity(&p); ok {
			t.Errorf("%+v is matched as %+v", p, id)
		}
	}
}

// FuzzParseOSV: feeds are not trusted, nor are versions in images.
func FuzzParseOSV(f *testing.F) {
	f.Add([]byte(`{"id":"X-1","modified":"2024-01-01T00:00:00Z","aliases":["CVE-2024-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],"affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.3"},{"introduced":"2"},{"last_affected":"2.1"}]}],"versions":["1.0.0","3.0"]}]}`), "1.2.3")
	f.Add([]byte(`{"id":"DSA-1","upstream":["CVE-1-1"],"affected":[{"package":{"ecosystem":"Debian:12","name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:2.0~rc1-1+b1"}]}],"ecosystem_specific":{"urgency":"unimportant"}}]}`), "1:2.0-1")
	f.Add([]byte(`{"id":"ALSA-1","summary":"Low: x:1 y","related":["CVE-1-1"],"affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1-1.module_el8+1"}]}]}]}`), "1-0.module_el8")
	for _, eco := range []string{"Maven", "PyPI", "RubyGems", "NuGet", "Packagist", "Alpine:v3.1", "Hackage", "CRAN", "Pub", "Amazon Linux:2"} {
		f.Add([]byte(`{"id":"X","affected":[{"package":{"ecosystem":"`+eco+`","name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"1.0-rc1"},{"fixed":"1.0.0.post1"}]}]}]}`), "1.0.0")
	}
	f.Fuzz(func(t *testing.T, data []byte, version string) {
		a, err := ParseOSV(data)
		if err != nil {
			return
		}
		b, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeAdvisory(b); err != nil || back.ID != a.ID {
			t.Fatalf("%v", err)
		}
		for _, k := range a.Keys() {
			id := Identity{Key: k, Version: version}
			ms := id.Match([]*Advisory{a.For(k)}, nil)
			if a.Affects(id) != (len(ms) > 0) {
				t.Errorf("%+v: affected %v, %d matches", id, a.Affects(id), len(ms))
			}
		}
	})
}
