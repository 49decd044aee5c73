package vuln

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sample has a package of each kind, and what is hard to write down.
func sample() (*Image, Subject) {
	img := &Image{
		Status: LayerComplete,
		OS:     OSRelease{ID: "debian", VersionID: "12", PrettyName: "Debian GNU/Linux 12 (bookworm)"},
		Packages: []Installed{
			{Package: Package{Name: "libc6", Version: "2.36-9", SourceName: "glibc", Arch: "amd64", Licenses: []string{"LGPL-2.1", "GPL-2"}}, Kind: Dpkg, Path: "var/lib/dpkg/status"},
			{Package: Package{Name: "libstdc++6", Version: "12.2.0-14", SourceName: "gcc-12", SourceVersion: "12.2.0-14+x", Arch: "amd64"}, Kind: Dpkg, Path: "var/lib/dpkg/status", Layer: 1},
			{Package: Package{Name: "@babel/core", Version: "7.1.0"}, Kind: NPM, Path: "app/node_modules/@babel/core/package.json", Layer: 1},
			{Package: Package{Name: "lodash", Version: "4.17.15"}, Kind: NPM, Path: "app/node_modules/lodash/package.json", Layer: 1},
			{Package: Package{Name: "lodash", Version: "4.17.15"}, Kind: NPM, Path: "app/node_modules/a/node_modules/lodash/package.json", Layer: 1},
			{Package: Package{Name: "Flask_SQLAlchemy", Version: "2.0"}, Kind: PyPI, Path: "usr/lib/x"},
			{Package: Package{Name: "idna", Version: "3.3"}, Kind: PyPI, Path: "usr/lib/idna", Owned: true},
			{Package: Package{Name: "org.apache.logging.log4j:log4j-core", Version: "2.14.1"}, Kind: Maven, Path: "app.jar"},
			{Package: Package{Name: "golang.org/x/net", Version: "0.1.0"}, Kind: Go, Path: "usr/bin/app"},
			{Package: Package{Name: "stdlib", Version: "1.22.1"}, Kind: Go, Path: "usr/bin/app"},
			{Package: Package{Name: "rails", Version: "7.0.1"}, Kind: Gem, Path: "r"},
			{Package: Package{Name: "time", Version: "0.1.42"}, Kind: Cargo, Path: "b"},
			{Package: Package{Name: "guzzlehttp/psr7", Version: "1.8.3"}, Kind: Composer, Path: "c"},
			{Package: Package{Name: "Newtonsoft.Json", Version: "12.0.3"}, Kind: NuGet, Path: "d"},
		},
	}
	return img, Subject{Repository: "team/app", Digest: "sha256:abc", Created: 1700000000000, Layers: []string{"sha256:1", "sha256:2"}}
}

func writers() map[string]func(*Image, Subject) ([]byte, error) {
	return map[string]func(*Image, Subject) ([]byte, error){"CycloneDX": (*Image).CycloneDX, "SPDX": (*Image).SPDX}
}

// TestSBOMs: what is written is read back with the same identities, and the
// bytes do not depend on the order of the inventory.
func TestSBOMs(t *testing.T) {
	for name, write := range writers() {
		img, subject := sample()
		one, err := write(img, subject)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(img.Packages)
		two, err := write(img, subject)
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: the bytes depend on the order (%v)", name, err)
		}
		back, err := ReadSBOM(one)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !back.Sourced || back.OS.ID != "debian" || back.OS.VersionID != "12" || len(back.Packages) != len(img.Packages) {
			t.Errorf("%s: %d packages of %+v", name, len(back.Packages), back.OS)
		}
		got, want := identities(back), identities(img)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
		for i := range back.Packages {
			if p := &back.Packages[i]; p.Path == "" || p.Owned != (p.Name == "idna") {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if !strings.Contains(string(one), "sha256:2") {
			t.Errorf("%s: without the digest of a layer", name)
		}
	}
}

func identities(img *Image) []Identity {
	var out []Identity
	for _, s := range img.Identities(Enhanced) {
		out = append(out, s.Identity)
	}
	return out
}

// TestRPMPURL: epoch, release and module go through.
func TestRPMPURL(t *testing.T) {
	img := &Image{OS: OSRelease{ID: "almalinux", VersionID: "8.9"}, Packages: []Installed{{
		Package: Package{Name: "nodejs", Version: "1:18.2.0-1.module_el8.9.0+1+a", Epoch: "1", Module: "nodejs:18:8090:a", Arch: "x86_64"}, Kind: RPM,
	}}}
	purl := img.PURL(&img.Packages[0])
	p, distro, ok := FromPURL(purl)
	if !ok || p.Version != img.Packages[0].Version || p.Epoch != "1" || p.Module != "nodejs:18:8090:a" || distro.VersionID != "8.9" {
		t.Errorf("%s: %+v %+v", purl, p, distro)
	}
	want, _ := img.Identity(&img.Packages[0])
	got, _ := (&Image{OS: distro}).Identity(&p)
	if got != want || want.Module != "nodejs:18" || want.Ecosystem != "AlmaLinux:8" {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestForeignSBOMs are documents as other tools write them.
func TestForeignSBOMs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []Identity
	}{
		{"syft", `{"bomFormat":"CycloneDX","specVersion":"1.5","components":[
			{"type":"library","name":"openssl","version":"1.1.1d-r2","purl":"pkg:apk/alpine/libssl1.1@1.1.1d-r2?arch=x86_64&upstream=openssl&distro=alpine-3.11.3"},
			{"type":"operating-system","name":"alpine","version":"3.11.3"},
			{"type":"library","name":"thing","purl":"pkg:generic/thing@1"},{"type":"library","name":"none"}]}`,
			[]Identity{identity("Alpine:v3.11", "openssl", "1.1.1d-r2")}},
		{"trivy, without the system", `{"bomFormat":"CycloneDX","components":[{"name":"a","components":[
			{"purl":"pkg:deb/debian/libssl1.1@1.1.1k-1?arch=amd64&distro=debian-11.2&upstream=openssl"}]}]}`,
			[]Identity{identity("Debian:11", "openssl", "1.1.1k-1")}},
		{"SPDX", `{"spdxVersion":"SPDX-2.2","packages":[{"name":"x","externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a"},
			{"referenceType":"purl","referenceLocator":"pkg:npm/%40scope/x@1.0.0"}]}]}`,
			[]Identity{identity("npm", "@scope/x", "1.0.0")}},
	} {
		img, err := ReadSBOM([]byte(c.text))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := identities(img); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	for _, text := range []string{`{}`, `[]`, `<bom/>`, `{"bomFormat":"CycloneDX","components":{}}`, `{"spdxVersion":"SPDX-3.0"}`,
		`{"bomFormat":"CycloneDX","components":` + strings.Repeat(`[{"components":`, 20) + "[]" + strings.Repeat("}]", 20) + "}"} {
		if _, err := ReadSBOM([]byte(text)); err == nil {
			t.Errorf("%.40s is read", text)
		}
	}
}

// FuzzReadSBOM: what is read can be written, and read again with the same
// identities.
func FuzzReadSBOM(f *testing.F) {
	img, subject := sample()
	for _, write := range writers() {
		b, err := write(img, subject)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"bomFormat":"CycloneDX","components":[{"purl":"pkg:rpm/rhel/a@1-2?epoch=1&rpmmod=a:b&upstream=a-1-2.src.rpm&distro=rhel-8.1"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := ReadSBOM(data)
		if err != nil {
			return
		}
		identities(img)
		for name, write := range writers() {
			b, err := write(img, Subject{Repository: "r", Digest: "sha256:0"})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := ReadSBOM(b); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}
