package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecruhq/ecru/test/harness"
)

// A realLayer is a layer made of published packages, and what the packages' own
// tools say is in it: "name version" of each package manager that the API names.
type realLayer struct {
	blob     []byte
	packages map[string][]string
	// sources are Debian's source packages, "name version", of the OS packages.
	sources []string
}

const (
	debootstrapProgram = "/usr/sbin/debootstrap"
	npmProgram         = "/usr/bin/npm"
	debianMirror       = "http://deb.debian.org/debian"
)

// makeDebian makes $1/layer and $1/packages, in memory and in name spaces of
// its own: nothing stays mounted, whatever happens. ECRU_TEST_DEBIAN names a
// folder with a Debian that debootstrap has made, to make one for several runs.
const makeDebian = `
ulimit -n 1024 # programs close what they might have open
tree=${ECRU_TEST_DEBIAN:-}
if [ -z "$tree" ]; then
	mkdir "$1/memory"
	mount -t tmpfs -o size=2g tmpfs "$1/memory"
	tree=$1/memory/debian
	debootstrap --variant=minbase bookworm "$tree" "$2" >"$1/log" 2>&1 || { tail -n 20 "$1/log" >&2; exit 1; }
fi
tar -cC "$tree" --exclude=./proc --exclude=./sys --exclude=./dev --exclude=./var/cache . | gzip -1 >"$1/layer"
dpkg-query --admindir="$tree/var/lib/dpkg" -W -f='${db:Status-Status} ${Package} ${Version} ${source:Package} ${source:Version}\n' >"$1/packages"
`

// realDebian is Debian bookworm from the mirror that this machine installs from.
func realDebian(t *testing.T) realLayer {
	t.Helper()
	harness.Need(t, debootstrapProgram)
	if os.Getuid() != 0 {
		harness.Unavailable(t, "debootstrap needs root")
	}
	began := time.Now()
	mirror := debianMirror
	targets, _ := exec.Command("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages").Output() // without apt, there is the default
	for line := range strings.Lines(string(targets)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "bookworm" && strings.Contains(f[1], "debian") {
			mirror = f[1]
		}
	}
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-ec", makeDebian, "sh", dir, mirror)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		harness.Unavailable(t, fmt.Sprintf("debootstrap: %v\n%s", err, out))
	}
	l := realLayer{packages: map[string][]string{}}
	var err error
	l.blob, err = os.ReadFile(filepath.Join(dir, "layer"))
	must(t, l.blob, err)
	list, err := os.ReadFile(filepath.Join(dir, "packages"))
	for line := range strings.Lines(string(must(t, list, err))) {
		if f := strings.Fields(line); len(f) == 5 && f[0] == "installed" {
			l.packages["OS"] = append(l.packages["OS"], f[1]+" "+f[2])
			l.sources = append(l.sources, f[3]+" "+f[4])
		}
	}
	slices.Sort(l.sources)
	l.sources = slices.Compact(l.sources)
	t.Logf("a Debian of %d packages, %d MiB as a layer, after %v", len(l.packages["OS"]), len(l.blob)>>20, time.Since(began).Round(time.Second))
	return l
}

// realLanguages has npm packages, a Go program, and a Python package, a gem and
// a jar that no package manager of the system knows of.
func realLanguages(t *testing.T) realLayer {
	t.Helper()
	root := t.TempDir()
	l := realLayer{packages: map[string][]string{}}
	l.packages["NODEPKG"] = npmPackages(t, filepath.Join(root, "app"))
	l.packages["GOBINARY"] = goProgram(t, filepath.Join(root, "usr", "local", "bin", "program"))
	l.packages["PYTHONPKG"], l.packages["GEMSPEC"], l.packages["JAR"] = debianFiles(t, root)
	var b bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "tar", "-czC", root, ".")
	cmd.Stdout = &b
	must(t, cmd, cmd.Run())
	l.blob = b.Bytes()
	return l
}

// npmPackages installs packages from the npm registry.
func npmPackages(t *testing.T, dir string) []string {
	t.Helper()
	harness.Need(t, npmProgram)
	must(t, dir, os.MkdirAll(dir, 0o755))
	writeFile(t, dir, "package.json", []byte(`{"name":"app","version":"1.0.0","private":true}`))
	home := t.TempDir()
	npm := func(args ...string) harness.Command {
		return harness.Command{Dir: dir, Env: append(os.Environ(), "HOME="+home, "npm_config_cache="+home, "npm_config_update_notifier=false"), Args: append([]string{npmProgram}, args...)}
	}
	if _, err := npm("install", "--no-audit", "--no-fund", "--ignore-scripts", "lodash@4.17.15", "minimist@1.2.0", "express@4.17.1").Output(t.Context()); err != nil {
		harness.Unavailable(t, err.Error())
	}
	var out []string
	for line := range strings.Lines(npm("ls", "--all", "--parseable", "--long").Must(t)) {
		path, id, _ := strings.Cut(strings.TrimSpace(line), ":")
		id, _, _ = strings.Cut(id, ":")
		if i := strings.LastIndex(id, "@"); i > 0 && strings.Contains(path, "/node_modules/") {
			out = append(out, id[:i]+" "+id[i+1:])
		}
	}
	return out
}

// goProgram builds a program with an old module from the Go module proxy.
func goProgram(t *testing.T, file string) []string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir, "go.mod", []byte("module example.com/program\n\ngo 1.24\n\nrequire golang.org/x/text v0.3.7\n"))
	writeFile(t, dir, "main.go", []byte("package main\n\nimport \"golang.org/x/text/language\"\n\nfunc main() { println(language.Make(\"en\").String()) }\n"))
	env := append(os.Environ(), "GOFLAGS=-mod=mod -modcacherw", "GOMODCACHE="+filepath.Join(dir, "cache"), "GOWORK=off", "CGO_ENABLED=0")
	if _, err := (harness.Command{Dir: dir, Env: env, Args: []string{"go", "build", "-o", file, "."}}).Output(t.Context()); err != nil {
		harness.Unavailable(t, err.Error())
	}
	var out []string
	for line := range strings.Lines(harness.Command{Args: []string{"go", "version", "-m", file}}.Must(t)) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && f[0] == file+":":
			out = append(out, "stdlib "+strings.TrimPrefix(f[1], "go"))
		case len(f) >= 3 && f[0] == "dep", len(f) >= 3 && f[0] == "mod" && f[2] != "(devel)":
			out = append(out, f[1]+" "+strings.TrimPrefix(f[2], "v"))
		}
	}
	return out
}

// debianFiles takes the files of three of Debian's packages, without Debian. A
// package's version begins with that of what is in it.
func debianFiles(t *testing.T, root string) (python, gem, jar []string) {
	t.Helper()
	dir := t.TempDir()
	must(t, dir, os.Chmod(dir, 0o777)) // apt downloads as a user of its own
	if _, err := (harness.Command{Dir: dir, Args: []string{"apt-get", "download", "-q", "python3-requests", "ruby-rack", "libcommons-lang3-java"}}).Output(t.Context()); err != nil {
		harness.Unavailable(t, err.Error())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	must(t, files, err)
	for _, f := range files {
		harness.Command{Args: []string{"dpkg-deb", "-x", f, root}}.Must(t)
		name, rest, _ := strings.Cut(filepath.Base(f), "_")
		version := rest[:strings.IndexAny(rest, "+-_")]
		switch name {
		case "python3-requests":
			python = []string{"requests " + version}
		case "ruby-rack":
			gem = []string{"rack " + version}
		case "libcommons-lang3-java":
			jar = []string{"org.apache.commons:commons-lang3 " + version}
		}
	}
	return python, gem, jar
}
