package extract

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/vuln"
)

// debianVar names a folder with a Debian that debootstrap has made, with
// --include=python3-requests,ruby-rack,libcommons-lang3-java,gron. Tests that
// make one themselves are in test/e2e.
const debianVar = "ECRU_TEST_DEBIAN"

// tree streams a folder as a layer, and gives its size.
func tree(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "layer"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	cmd := exec.CommandContext(t.Context(), "tar", "-cC", dir, "--exclude=./proc", "--exclude=./sys", "--exclude=./var/cache", ".")
	cmd.Stdout = f
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("tar: %v: %s", err, complaint.String())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

func output(t *testing.T, name string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return slices.Compact(lines)
}

// What is found in a Debian is what its own programs say is there.
func TestDebian(t *testing.T) {
	dir := os.Getenv(debianVar)
	if dir == "" {
		t.Skip(debianVar + " names no Debian; TestRealImage makes one")
	}
	f := tree(t, dir)
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newExtractor(t, Limits{}).Extract(t.Context(), f, info.Size())
	if err != nil || l.Status != vuln.LayerComplete || len(l.Warnings) != 0 {
		t.Fatalf("%s %q, warnings %q, %v", l.Status, l.Message, l.Warnings, err)
	}
	got := map[vuln.Kind][]string{}
	owned := 0
	for _, file := range l.Files {
		if _, ok := slices.BinarySearch(l.Owned, vuln.PathHash(file.Path)); ok {
			owned++
		} else if !file.Kind.OS() {
			t.Errorf("%s is Debian's, and not seen to be", file.Path)
		}
		for _, p := range file.Packages {
			s := p.Name + " " + p.Version
			if file.Kind == vuln.Dpkg {
				s = strings.Join([]string{s, p.Arch, or(p.SourceName, p.Name), or(p.SourceVersion, p.Version)}, " ")
			}
			got[file.Kind] = append(got[file.Kind], s)
		}
	}
	want := map[vuln.Kind][]string{
		vuln.Dpkg: installedOnly(output(t, "dpkg-query", "--admindir="+filepath.Join(dir, "var/lib/dpkg"), "-W",
			"-f=${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n")),
		vuln.PyPI: output(t, "chroot", dir, "python3", "-c",
			"import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"),
		vuln.Gem: output(t, "chroot", dir, "ruby", "-e", "Gem::Specification.each { |s| puts \"#{s.name} #{s.version}\" }"),
	}
	for kind, names := range want {
		have := got[kind]
		slices.Sort(have)
		have = slices.Compact(have)
		if !slices.Equal(have, names) {
			t.Errorf("%s: %d found, %d there\nmore: %q\nless: %q", kind, len(have), len(names), without(have, names), without(names, have))
		}
		t.Logf("%s: %d", kind, len(names))
	}
	if !slices.ContainsFunc(got[vuln.Maven], func(s string) bool { return strings.HasPrefix(s, "org.apache.commons:commons-lang3 3.") }) {
		t.Errorf("jars: %q", got[vuln.Maven])
	}
	if !slices.ContainsFunc(got[vuln.Go], func(s string) bool { return strings.HasPrefix(s, "stdlib 1.") }) {
		t.Errorf("Go: %q", got[vuln.Go])
	}
	if len(l.OSReleases) != 1 || l.OSReleases[0].ID != "debian" || l.OSReleases[0].VersionID != "12" {
		t.Errorf("%+v", l.OSReleases)
	}
	t.Logf("%d entries, %d MiB, %d files of evidence, %d of them Debian's, %d links, inventory of %d KiB",
		l.Entries, l.Bytes/mib, len(l.Files), owned, len(l.Links), len(Encode(l))/1024)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func installedOnly(lines []string) []string {
	var out []string
	for _, l := range lines {
		if s, ok := strings.CutPrefix(l, "installed "); ok {
			out = append(out, s)
		}
	}
	return out
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// A Go program is told as go version -m tells it.
func TestGoVersionM(t *testing.T) {
	body := moduleFile(t, scalibrModule, testdata+"language/golang/gobinary/testdata/nginx-ingress-controller")
	file := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(file, []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for _, line := range output(t, "go", "version", "-m", file) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && strings.HasSuffix(f[0], ":"):
			want = append(want, "stdlib "+strings.TrimPrefix(f[1], "go"))
		case len(f) >= 3 && f[0] == "dep", len(f) >= 3 && f[0] == "mod" && f[2] != "(devel)":
			want = append(want, f[1]+" "+strings.TrimPrefix(f[2], "v"))
		}
	}
	got := strings.Split(found(complete(t, item{name: "app", body: body})), ", ")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(got) < 10 {
		t.Errorf("%d found; more: %q, less: %q", len(got), without(got, want), without(want, got))
	}
}
