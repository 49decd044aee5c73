package extract

import (
	"bytes"
	"context"
	"io"
	"path"
	"strings"

	"github.com/ecruhq/ecru/vuln"
)

// An evidence is a form of file that tells of installed packages: lock files,
// which tell of intentions, are none.
type evidence struct {
	kind vuln.Kind // "" tells of ownership or of the distribution only
	max  int64     // bytes of such a file that are read
	read func(context.Context, *input) ([]vuln.Package, error)
}

// maxLarge is the size of the largest files that are read.
const maxLarge = 512 * mib

// The forms. Bounds are far above what is found in images, and far below what
// hurts.
func dpkgStatus() *evidence   { return &evidence{vuln.Dpkg, 100 * mib, readDpkg} }
func dpkgList() *evidence     { return &evidence{"", 16 * mib, readDpkgList} }
func dpkgSums() *evidence     { return &evidence{"", 16 * mib, readDpkgSums} }
func apkDB() *evidence        { return &evidence{vuln.Apk, 100 * mib, readApk} }
func rpmDB() *evidence        { return &evidence{vuln.RPM, 500 * mib, readRPM} }
func npmPackage() *evidence   { return &evidence{vuln.NPM, 1 * mib, readNPM} }
func pyMetadata() *evidence   { return &evidence{vuln.PyPI, 16 * mib, readPython} }
func pyEgg() *evidence        { return &evidence{vuln.PyPI, 100 * mib, readEgg} }
func javaArchive() *evidence  { return &evidence{vuln.Maven, 500 * mib, readJava} }
func gemSpec() *evidence      { return &evidence{vuln.Gem, 1 * mib, readGem} }
func composerLock() *evidence { return &evidence{vuln.Composer, 16 * mib, readComposer} }
func nugetDeps() *evidence    { return &evidence{vuln.NuGet, 10 * mib, readNuGetDeps} }
func nugetSpec() *evidence    { return &evidence{vuln.NuGet, 1 * mib, readNuSpec} }
func osRelease() *evidence    { return &evidence{"", 64 * kib, readOSRelease} }

// classify tells by its path what a file is evidence of; nil if nothing.
func classify(name string) *evidence {
	dir, base := path.Split(name)
	switch path.Ext(base) {
	case ".jar", ".war", ".ear", ".jmod", ".par", ".sar", ".jpi", ".hpi", ".lpkg", ".nar":
		return javaArchive()
	case ".egg":
		return pyEgg()
	case ".egg-info":
		return pyMetadata()
	case ".gemspec":
		if strings.Contains("/"+dir, "/specifications/") {
			return gemSpec()
		}
		return nil
	case ".nuspec":
		if nuspecPath(name) {
			return nugetSpec()
		}
		return nil
	case ".list":
		if dir == "var/lib/dpkg/info/" {
			return dpkgList()
		}
	case ".json":
		return classifyJSON(dir, base)
	}
	return classifyName(name, dir, base)
}

func classifyJSON(dir, base string) *evidence {
	switch {
	case base == "package.json" && installedNPM(dir):
		return npmPackage()
	case base == "installed.json" && path.Base(dir) == "composer":
		return composerLock()
	case strings.HasSuffix(base, ".deps.json"):
		return nugetDeps()
	}
	return nil
}

func classifyName(name, dir, base string) *evidence {
	switch {
	case base == "METADATA" && strings.HasSuffix(dir, ".dist-info/"),
		base == "PKG-INFO" && (strings.HasSuffix(dir, ".egg-info/") || strings.HasSuffix(dir, "EGG-INFO/")):
		return pyMetadata()
	case name == "var/lib/dpkg/status":
		return dpkgStatus()
	case dir == "var/lib/dpkg/status.d/":
		if strings.HasSuffix(base, ".md5sums") {
			return dpkgSums()
		}
		return dpkgStatus()
	case base == "installed" && (dir == "lib/apk/db/" || dir == "usr/lib/apk/db/" || dir == "var/lib/apk/db/"):
		return apkDB()
	case dir == "var/lib/rpm/" || dir == "usr/lib/sysimage/rpm/" || dir == "usr/share/rpm/":
		if base == "Packages" || base == "Packages.db" || base == "rpmdb.sqlite" {
			return rpmDB()
		}
	case isOSRelease(name):
		return osRelease()
	}
	return nil
}

// isOSRelease reports whether a path is one of os-release(5).
func isOSRelease(name string) bool { return name == "etc/os-release" || name == "usr/lib/os-release" }

// sniff tells by the first bytes whether a file that its path does not give away
// is a program, which may hold a list of what it was built from.
func (in *input) sniff() *evidence {
	if in.size < 4096 {
		return nil // less than the headers of one
	}
	head := make([]byte, 4)
	n, err := io.ReadFull(in.content, head)
	in.content = io.MultiReader(bytes.NewReader(head[:n]), in.content)
	windows := strings.EqualFold(path.Ext(in.path), ".exe")
	if err != nil || !bytes.Equal(head, []byte("\x7fELF")) && !(windows && head[0] == 'M' && head[1] == 'Z') {
		return nil
	}
	return &evidence{vuln.Go, maxLarge, readProgram}
}
