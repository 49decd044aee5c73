package vuln

import "testing"

func TestSpell(t *testing.T) {
	img := &Image{OS: OSRelease{ID: "debian", VersionID: "12"}, Packages: []Installed{
		{Package: Package{Name: "libssl3", Version: "3.0.1", SourceName: "openssl"}, Kind: Dpkg, Path: "var/lib/dpkg/status"},
		{Package: Package{Name: "openssl", Version: "3.0.1"}, Kind: Dpkg, Path: "var/lib/dpkg/status"},
		{Package: Package{Name: "left-pad", Version: "1.0.0"}, Kind: NPM, Path: "app/node_modules/left-pad/package.json"},
		{Package: Package{Name: "left-pad", Version: "1.0.0"}, Kind: NPM, Path: "old/node_modules/left-pad/package.json"},
	}}
	for name, c := range map[string]struct {
		in   Suppression
		want int
	}{
		"a vulnerability alone":        {Suppression{Vulnerability: "CVE-1"}, 1},
		"a source":                     {Suppression{Vulnerability: "CVE-1", Package: "openssl"}, 2},
		"a package in two places":      {Suppression{Vulnerability: "CVE-1", Package: "left-pad"}, 1},
		"a folder":                     {Suppression{Vulnerability: "CVE-1", Path: "app/"}, 1},
		"a package that is not there":  {Suppression{Vulnerability: "CVE-1", Package: "zlib"}, 0},
		"a package that is not in it":  {Suppression{Vulnerability: "CVE-1", Package: "openssl", Path: "app/"}, 0},
		"a package URL, left as it is": {Suppression{Vulnerability: "CVE-1", PURL: "pkg:npm/left-pad"}, 1},
	} {
		got := img.Spell([]Suppression{c.in})
		if len(got) != c.want {
			t.Errorf("%s: %+v, want %d", name, got, c.want)
		}
		for _, s := range got {
			if s.Package != "" || s.Path != "" || s.Vulnerability != "CVE-1" || c.in.Package+c.in.Path != "" && s.PURL == "" {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}
