package vuln

import (
	"encoding/json"
	"slices"
	"testing"
)

// layerOf is a layer with these files, whose paths it writes.
func layerOf(files ...File) *Layer {
	l := &Layer{Status: LayerComplete, Files: files}
	for _, f := range files {
		l.Paths = append(l.Paths, PathHash(f.Path))
	}
	slices.Sort(l.Paths)
	return l
}

func (l *Layer) withLinks(links ...Link) *Layer {
	l.Links = links
	for _, k := range links {
		l.Paths = append(l.Paths, PathHash(k.Path))
	}
	slices.Sort(l.Paths)
	return l
}

func pkg(name, version string) Package { return Package{Name: name, Version: version} }

func dpkg(packages ...Package) File {
	return File{Path: "var/lib/dpkg/status", Kind: Dpkg, Packages: packages}
}

// TestSourceLayer: a database that is written again does not bring what it had
// already; a package that was away in between came again.
func TestSourceLayer(t *testing.T) {
	img := Merge([]*Layer{
		layerOf(dpkg(pkg("libc6", "2.36"), pkg("curl", "7.88"), pkg("perl", "5.36"))),
		layerOf(dpkg(pkg("libc6", "2.36"), pkg("curl", "7.89"))),
		layerOf(),
		layerOf(dpkg(pkg("libc6", "2.36"), pkg("curl", "7.89"), pkg("perl", "5.36"))),
	})
	want := map[string]int{"libc6": 0, "curl": 1, "perl": 3}
	for _, p := range img.Packages {
		if p.Layer != want[p.Name] {
			t.Errorf("%s is of layer %d, want %d", p.Name, p.Layer, want[p.Name])
		}
	}
	if len(img.Packages) != 3 {
		t.Errorf("%d packages", len(img.Packages))
	}
}

// TestDistroless: each file of status.d is a package of its own.
func TestDistroless(t *testing.T) {
	a := File{Path: "var/lib/dpkg/status.d/base", Kind: Dpkg, Packages: []Package{pkg("base-files", "12")}}
	b := File{Path: "var/lib/dpkg/status.d/libc6", Kind: Dpkg, Packages: []Package{pkg("libc6", "2.36")}}
	img := Merge([]*Layer{layerOf(a), layerOf(b)})
	if len(img.Packages) != 2 || img.Packages[1].Layer != 1 {
		t.Errorf("%+v", img.Packages)
	}
}

// TestOSRelease: the topmost visible one, through the link.
func TestOSRelease(t *testing.T) {
	bookworm := OSRelease{Path: "usr/lib/os-release", ID: "debian", VersionID: "12"}
	trixie := OSRelease{Path: "usr/lib/os-release", ID: "debian", VersionID: "13"}
	fake := OSRelease{Path: "etc/os-release", ID: "alpine", VersionID: "3.20.1"}
	base := layerOf().withLinks(Link{"etc/os-release", "../usr/lib/os-release"})
	base.OSReleases = []OSRelease{bookworm}
	upgrade := &Layer{OSReleases: []OSRelease{trixie}, Paths: []uint64{PathHash("usr/lib/os-release")}}
	replace := &Layer{OSReleases: []OSRelease{fake}, Paths: []uint64{PathHash("etc/os-release")}}
	for _, c := range []struct {
		layers []*Layer
		want   string
	}{
		{[]*Layer{base}, "Debian:12"},
		{[]*Layer{base, upgrade}, "Debian:13"},
		{[]*Layer{base, upgrade, replace}, "Alpine:v3.20"},
		{[]*Layer{base, {Whiteouts: []string{"etc/os-release"}}}, "Debian:12"},
		{[]*Layer{base, {Whiteouts: []string{"usr/lib"}}}, ""},
	} {
		if got := Merge(c.layers).OS.Ecosystem(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestUsrMerge: an apk database below lib, which is a link to usr/lib.
func TestUsrMerge(t *testing.T) {
	apk := func(path, version string) File {
		return File{Path: path, Kind: Apk, Packages: []Package{pkg("musl", version)}}
	}
	base := layerOf(apk("usr/lib/apk/db/installed", "1")).withLinks(Link{"lib", "usr/lib"})
	img := Merge([]*Layer{base, layerOf(apk("lib/apk/db/installed", "2"))})
	if len(img.Packages) != 1 || img.Packages[0].Version != "2" || img.Packages[0].Path != "usr/lib/apk/db/installed" {
		t.Errorf("%+v", img.Packages)
	}
	other := &Layer{Paths: []uint64{PathHash("lib/apk/db/installed")}} // something that is no evidence
	if img := Merge([]*Layer{base, other}); len(img.Packages) != 0 {
		t.Errorf("%+v", img.Packages)
	}
	if img := Merge([]*Layer{base, layerOf().withLinks(Link{"lib", "usr/lib"})}); len(img.Packages) != 1 {
		t.Error("the link was written again, and what it points to is gone")
	}
	if img := Merge([]*Layer{base, {Whiteouts: []string{"lib/apk"}}}); len(img.Packages) != 0 {
		t.Errorf("%+v", img.Packages)
	}
}

// TestOwned: what the distribution brought is its own, also after a chmod in
// another layer, until somebody else writes another version over it.
func TestOwned(t *testing.T) {
	idna := func(version string) File {
		return File{Path: "usr/lib/python3/dist-packages/idna-3.3.egg-info", Kind: PyPI, Packages: []Package{pkg("idna", version)}}
	}
	base := layerOf(idna("3.3"))
	base.Owned = []uint64{PathHash(idna("").Path)}
	for _, c := range []struct {
		layers []*Layer
		owned  bool
	}{
		{[]*Layer{base}, true},
		{[]*Layer{base, layerOf(idna("3.3"))}, true},
		{[]*Layer{base, layerOf(idna("3.7"))}, false},
		{[]*Layer{layerOf(idna("3.3"))}, false},
	} {
		img := Merge(c.layers)
		if len(img.Packages) != 1 || img.Packages[0].Owned != c.owned {
			t.Errorf("%+v, want owned %v", img.Packages, c.owned)
		}
		if _, ok := img.Identity(&img.Packages[0]); ok == c.owned {
			t.Errorf("matched: %v", ok)
		}
	}
}

// TestMergeStatus: one layer that could not be read leaves the image in doubt.
func TestMergeStatus(t *testing.T) {
	img := Merge([]*Layer{{Status: LayerComplete}, {Status: LayerLimited, Message: "too large"}, {Status: LayerFailed, Message: "no gzip"}})
	if img.Status != LayerFailed || img.Message != "no gzip" {
		t.Errorf("%s %s", img.Status, img.Message)
	}
}

func TestFindBase(t *testing.T) {
	known := []Base{{"debian", []string{"a"}}, {"python", []string{"a", "b"}}, {"node", []string{"a", "c"}}, {"none", nil}}
	for _, c := range []struct {
		layers []string
		want   string
	}{{[]string{"a", "b", "x"}, "python"}, {[]string{"a", "x"}, "debian"}, {[]string{"b"}, ""}, {nil, ""}, {[]string{"a"}, "debian"}} {
		if got, ok := FindBase(c.layers, known); got.Name != c.want || ok != (c.want != "") {
			t.Errorf("%v: %q", c.layers, got.Name)
		}
	}
}

// FuzzMerge: layers are hostile.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`[{"Links":[{"Path":"lib","Target":"usr/lib"},{"Path":"usr/lib","Target":"../lib"}],"Files":[{"Path":"lib/x","Kind":"npm","Packages":[{"Name":"a","Version":"1"}]}]},{"Whiteouts":["lib"],"Opaque":["","lib/.."]}]`))
	f.Add([]byte(`[{"Links":[{"Path":"a","Target":"/"},{"Path":"","Target":"a"}],"OSReleases":[{"Path":"etc/os-release"}],"Paths":[3,2,1]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var layers []*Layer
		if json.Unmarshal(data, &layers) != nil || slices.Contains(layers, nil) || len(layers) > 20 {
			return
		}
		img := Merge(layers)
		files := 0
		for _, l := range layers {
			for _, f := range l.Files {
				files += len(f.Packages)
			}
		}
		if len(img.Packages) > files {
			t.Errorf("%d packages of %d", len(img.Packages), files)
		}
		for _, p := range img.Packages {
			if p.Layer < 0 || p.Layer >= len(layers) {
				t.Errorf("layer %d", p.Layer)
			}
		}
	})
}
