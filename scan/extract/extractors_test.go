package extract

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/php/composerlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargoauditable"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	"github.com/google/osv-scalibr/extractor/filesystem/os/rpm"
	rpmmeta "github.com/google/osv-scalibr/extractor/filesystem/os/rpm/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/simplefileapi"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"

	"github.com/ecruhq/ecru/vuln"
)

// moduleFile reads a file of a module's source, as go has it in its cache.
func moduleFile(tb testing.TB, module, name string) string {
	tb.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		tb.Fatalf("go list -m %s: %v", module, err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), filepath.FromSlash(name)))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

const (
	scalibrModule = "github.com/google/osv-scalibr"
	testdata      = "extractor/filesystem/"
	rpmModule     = "github.com/erikvarga/go-rpmdb"
)

// theirs is what an extractor of scalibr's finds in a file; its error is told as
// a package.
func theirs(tb testing.TB, newExtractor func(*cpb.PluginConfig) (filesystem.Extractor, error), name, body string) string {
	tb.Helper()
	ex, err := newExtractor(&cpb.PluginConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	if !ex.FileRequired(simplefileapi.New(name, fileInfo{name: filepath.Base(name), size: int64(len(body))})) {
		return "not looked at"
	}
	found, err := scalibr(tb.Context(), ex, name, int64(len(body)), bytes.NewReader([]byte(body)))
	var all []string
	for _, p := range found {
		all = append(all, p.Name+" "+p.Version)
	}
	if err != nil {
		all = append(all, "error")
	}
	return strings.Join(all, ", ")
}

// Each extractor of our own, where scalibr's says something else.
func TestOursAndTheirs(t *testing.T) {
	manyFiles := "P:a\nV:1-r0\np:" + strings.Repeat("so:x=1 ", 12_000) + "\n\nP:b\nV:2-r0\n\n"
	tests := []struct {
		name   string
		new    func(*cpb.PluginConfig) (filesystem.Extractor, error)
		file   string
		body   string
		theirs string
		ours   string
	}{
		{"npm: contributors of another form", packagejson.New, "node_modules/parse5/package.json",
			`{"name":"parse5","version":"7.1.2","contributors":"https://github.com/inikulin/parse5/graphs/contributors"}`, "error", "parse5 7.1.2"},
		{"npm: a test fixture", packagejson.New, "node_modules/resolve/test/resolver/baz/package.json",
			`{"name":"baz","version":"1.0.0"}`, "baz 1.0.0", ""},
		{"npm: a bundle", packagejson.New, "node_modules/next/dist/compiled/ws/package.json",
			`{"name":"ws","version":"1.0.0"}`, "ws 1.0.0", ""},
		{"npm: scoped, within another", packagejson.New, "a/node_modules/b/node_modules/@s/c/package.json",
			`{"name":"@s/c","version":"1.0.0"}`, "@s/c 1.0.0", "@s/c 1.0.0"},
		{"composer 2", composerlock.New, "app/vendor/composer/installed.json",
			`{"packages":[{"name":"monolog/monolog","version":"2.9.1","version_normalized":"2.9.1.0"},{"name":"psr/log","version":"v3.0.0"}],"dev":true}`,
			"not looked at", "monolog/monolog 2.9.1, psr/log v3.0.0"},
		{"composer 1", composerlock.New, "vendor/composer/installed.json",
			` [{"name":"a/b","version":"1.0.0"}]`, "not looked at", "a/b 1.0.0"},
		{"apk: a line of more than 64 KiB", apk.New, "lib/apk/db/installed", manyFiles, "error", "a 1-r0, b 2-r0"},
		{"dpkg: a broken record", dpkg.New, "var/lib/dpkg/status",
			"Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nno colon\nVersion: 2\n\nPackage: c\nStatus: install ok installed\nVersion: 1:3-1\n\n",
			"a 1, error", "a 1, c 1:3-1"},
		{"nuget: a package's own manifest", packagejson.New, "root/.nuget/packages/newtonsoft.json/13.0.1/newtonsoft.json.nuspec",
			`<?xml version="1.0"?><package xmlns="http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd"><metadata><id>Newtonsoft.Json</id><version>13.0.1</version></metadata></package>`,
			"not looked at", "Newtonsoft.Json 13.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := theirs(t, tt.new, tt.file, tt.body); got != tt.theirs {
				t.Errorf("scalibr finds %q, not %q: is our own extractor still needed?", got, tt.theirs)
			}
			if got := found(read(t, archiveOf(t, item{name: tt.file, body: tt.body}))); got != tt.ours {
				t.Errorf("got %q, want %q", got, tt.ours)
			}
		})
	}
}

// found is all packages of a layer.
func found(l vuln.Layer) string {
	var all []string
	for _, f := range l.Files {
		for _, p := range f.Packages {
			all = append(all, p.Name+" "+p.Version)
		}
	}
	return strings.Join(all, ", ")
}

func TestForms(t *testing.T) {
	tests := []struct{ name, file, body, want string }{
		{"dist-info", "usr/lib/python3/dist-packages/requests-2.31.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\n\nName: not me\n", "pypi: requests 2.31.0"},
		{"egg-info, a folder", "site-packages/PyYAML-6.0.egg-info/PKG-INFO", "Name: PyYAML\nVersion: 6.0\n", "pypi: PyYAML 6.0"},
		{"egg-info, a file", "site-packages/six-1.16.0.egg-info", "Name: six\nVersion: 1.16.0\n", "pypi: six 1.16.0"},
		{"gemspec", "usr/lib/ruby/gems/3.1.0/specifications/rack-2.2.4.gemspec", "# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"2.2.4\"\nend\n", "gem: rack 2.2.4"},
		{"gemspec of a source, not of an installation", "gems/rack-2.2.4/rack.gemspec", "Gem::Specification.new do |s|\n  s.name = \"rack\"\n  s.version = \"2.2.4\"\nend\n", ""},
		{"wheel that waits to be installed", "usr/share/python-wheels/pip-23.whl", "PK", ""},
		{"lock file", "app/package-lock.json", `{"packages":{"node_modules/a":{"version":"1.0.0"}}}`, ""},
		{"status.d of distroless", "var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n", "dpkg: base-files 12.4"},
		{"removed, with its settings left", "var/lib/dpkg/status", "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n", ""},
		{"deps.json", "app/app.deps.json", `{"libraries":{"app/1.0.0":{"type":"project"},"Serilog/2.10.0":{"type":"package"},"runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1":{"type":"runtimepack"}}}`,
			"nuget: Microsoft.NETCore.App.Runtime.linux-x64 8.0.1, Serilog 2.10.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := []string{}
			if tt.want != "" {
				want = append(want, tt.file+" "+tt.want)
			}
			if got := told(complete(t, item{name: tt.file, body: tt.body})); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestFieldsOfPackages(t *testing.T) {
	l := complete(t,
		item{name: "var/lib/dpkg/status", body: "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9)\nVersion: 2.36-9+deb12u1\n\n" +
			"Package: vim\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2:9.0-1\n"},
		item{name: "lib/apk/db/installed", body: "C:Q1=\nP:libcrypto3\nV:3.1.4-r2\nA:x86_64\nL:Apache-2.0\no:openssl\n\n"},
	)
	want := []vuln.File{
		{Path: "lib/apk/db/installed", Kind: vuln.Apk, Packages: []vuln.Package{
			{Name: "libcrypto3", Version: "3.1.4-r2", SourceName: "openssl", SourceVersion: "3.1.4-r2", Arch: "x86_64", Licenses: []string{"Apache-2.0"}}}},
		{Path: "var/lib/dpkg/status", Kind: vuln.Dpkg, Packages: []vuln.Package{
			{Name: "libc6", Version: "2.36-9+deb12u1", SourceName: "glibc", SourceVersion: "2.36-9", Arch: "amd64"},
			{Name: "vim", Version: "2:9.0-1", Epoch: "2", Arch: "amd64"}}},
	}
	if !reflect.DeepEqual(l.Files, want) {
		t.Errorf("got %+v", l.Files)
	}
}

// Real databases of rpm in its three forms; scalibr's extractor is the measure of
// names and versions, and lacks modules.
func TestRPM(t *testing.T) {
	tests := []struct {
		name, module, file, path string
		packages                 int
		modules                  bool
	}{
		{"Berkeley DB, CentOS 8 with modules", rpmModule, "pkg/testdata/centos8-modularitylabel/Packages", "var/lib/rpm/Packages", 0, true},
		{"Berkeley DB, CentOS 5", rpmModule, "pkg/testdata/centos5-plain/Packages", "var/lib/rpm/Packages", 0, false},
		{"Berkeley DB of big-endian", rpmModule, "pkg/testdata/ubi8-s390x/Packages", "var/lib/rpm/Packages", 0, false},
		{"SQLite, Fedora 35", rpmModule, "pkg/testdata/fedora35/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite", 0, false},
		{"SQLite, Mariner", rpmModule, "pkg/testdata/cbl-mariner-2.0/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite", 0, false},
		{"NDB, SLE 15", rpmModule, "pkg/testdata/sle15-bci/Packages.db", "usr/lib/sysimage/rpm/Packages.db", 0, false},
		{"SQLite", scalibrModule, testdata + "os/rpm/testdata/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite", 141, false},
		{"Berkeley DB", scalibrModule, testdata + "os/rpm/testdata/Packages", "var/lib/rpm/Packages", 148, false},
		{"NDB", scalibrModule, testdata + "os/rpm/testdata/Packages.db", "var/lib/rpm/Packages.db", 137, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := moduleFile(t, tt.module, tt.file)
			l := complete(t, item{name: tt.path, body: body})
			if len(l.Files) != 1 || l.Files[0].Kind != vuln.RPM {
				t.Fatalf("%d files", len(l.Files))
			}
			want, keys := scalibrRPM(t, tt.path, body)
			var got []string
			modules := 0
			for _, p := range l.Files[0].Packages {
				got = append(got, p.Name+" "+strings.TrimPrefix(p.Version, p.Epoch+":")+" "+p.Arch)
				if p.Module != "" {
					modules++
				}
				if p.SourceName == "" || !strings.Contains(p.SourceVersion, "-") || p.Release == "" || !strings.HasSuffix(p.Version, "-"+p.Release) {
					t.Errorf("%+v", p)
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%d packages are not scalibr's %d", len(got), len(want))
			}
			if tt.packages > 0 && len(got)+keys != tt.packages {
				t.Errorf("%d packages and %d keys, want %d", len(got), keys, tt.packages)
			}
			if (modules > 0) != tt.modules {
				t.Errorf("%d of modules", modules)
			}
			t.Logf("%d packages, %d of modules, %d owned", len(got), modules, len(l.Owned))
		})
	}
}

// scalibrRPM is what scalibr's extractor finds, each package once, and the number
// of keys among it.
func scalibrRPM(t *testing.T, name, body string) (want []string, keys int) {
	ex, err := rpm.New(&cpb.PluginConfig{})
	if err != nil {
		t.Fatal(err)
	}
	pkgs, err := scalibr(context.Background(), ex, name, int64(len(body)), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range pkgs {
		if p.Name == "gpg-pubkey" {
			keys++
			continue
		}
		s := p.Name + " " + p.Version + " " + p.Metadata.(*rpmmeta.Metadata).Architecture
		if !seen[s] {
			want = append(want, s)
		}
		seen[s] = true
	}
	return want, keys
}

func TestModularityLabel(t *testing.T) {
	body := moduleFile(t, rpmModule, "pkg/testdata/centos8-modularitylabel/Packages")
	l := complete(t, item{name: "var/lib/rpm/Packages", body: body})
	for _, p := range l.Files[0].Packages {
		if p.Name == "nodejs" {
			if !strings.HasPrefix(p.Module, "nodejs:") || p.Epoch != "1" || !strings.HasPrefix(p.Version, "1:") || p.SourceName != "nodejs" {
				t.Errorf("%+v", p)
			}
			return
		}
	}
	t.Error("there is no nodejs")
}

func TestGoPrograms(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	l := complete(t, item{name: "usr/bin/app", body: string(self)})
	if len(l.Files) != 1 || l.Files[0].Kind != vuln.Go {
		t.Fatalf("%q", told(l))
	}
	if got := l.Files[0].Packages[0]; got.Name != "stdlib" || !strings.HasPrefix(got.Version, "1.") {
		t.Errorf("the toolchain is %+v", got)
	}
	if got := theirs(t, gobinary.New, "usr/bin/app", string(self)); !strings.HasPrefix(got, "go 1.") {
		t.Errorf("scalibr calls the toolchain %.20q: is our own extractor still needed?", got)
	}
	old := moduleFile(t, scalibrModule, testdata+"language/golang/gobinary/testdata/binary_with_module_replacement-linux-amd64")
	if got := found(complete(t, item{name: "app", body: old})); !strings.Contains(got, "stdlib 1.") || strings.Contains(got, " v") {
		t.Errorf("got %q", got)
	}
}

func TestRustPrograms(t *testing.T) {
	dir := testdata + "language/rust/cargoauditable/testdata/"
	for _, name := range []string{"uses_serde_json/uses_serde_json", "no_deps/no_deps"} {
		body := moduleFile(t, scalibrModule, dir+name)
		l := complete(t, item{name: "usr/bin/a", body: body})
		want := theirs(t, cargoauditable.New, "usr/bin/a", body)
		if got := found(l); got != want || !strings.Contains(want, " 0.1.0") || l.Files[0].Kind != vuln.Cargo {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
