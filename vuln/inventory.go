// Package vuln is what is known of the packages in images and of their
// vulnerabilities: the inventory of a layer, the merge of layers into an
// image's, advisories (OSV schema), version ranges, matching, severities,
// suppressions and the verdict of a gate. Pure functions on values: no context,
// no I/O; time is an argument.
package vuln

// A Kind is the package manager, or the form of evidence, that tells of a
// package.
type Kind string

const (
	Dpkg     Kind = "dpkg"
	Apk      Kind = "apk"
	RPM      Kind = "rpm"
	NPM      Kind = "npm"
	PyPI     Kind = "pypi"
	Maven    Kind = "maven"
	Go       Kind = "golang"
	Gem      Kind = "gem"
	Cargo    Kind = "cargo"
	Composer Kind = "composer"
	NuGet    Kind = "nuget"
)

// OS reports whether packages of this kind are the operating system's: basic
// scanning looks at these alone.
func (k Kind) OS() bool { return k == Dpkg || k == Apk || k == RPM }

// A Package is an installed package, as one file of a layer tells of it.
type Package struct {
	Name    string // as its package manager has it; Maven: group:artifact
	Version string // whole, as its package manager writes it, epoch and release included; Go: without the v
	// The source that it was built from, where the package manager tells
	// (dpkg's Source, apk's origin, rpm's SOURCERPM); "" means the same.
	SourceName    string
	SourceVersion string
	Epoch         string // of an rpm or deb, "" if none
	Release       string // of an rpm
	Arch          string
	Module        string   // modularity label of an rpm, name:stream:version:context
	Licenses      []string // as written there
}

// A File is a file that is evidence of installed packages.
type File struct {
	Path     string // slashes, without the first one, cleaned
	Kind     Kind
	Packages []Package // in the order of the file
}

// An OSRelease is an os-release file (freedesktop.org, os-release(5)).
type OSRelease struct {
	Path       string
	ID         string // debian
	IDLike     []string
	VersionID  string // 12
	Codename   string // VERSION_CODENAME
	PrettyName string
	CPEName    string
}

// A Link is a symbolic link. Those that may stand for a directory matter:
// files written through them land elsewhere.
type Link struct {
	Path   string // as File.Path
	Target string // as in the archive: relative to Path's folder, or absolute
}

// A LayerStatus says how the inventory of a layer came out.
type LayerStatus string

const (
	LayerComplete LayerStatus = "COMPLETE"
	// LayerLimited: a bound was met (sizes, entries, time): what there is may
	// not be all. Message names the bound.
	LayerLimited LayerStatus = "LIMITED"
	// LayerFailed: it is not a layer that can be read. Message says why.
	LayerFailed LayerStatus = "FAILED"
	// LayerUnsupported: not a tar archive of files (attestations, charts, …).
	LayerUnsupported LayerStatus = "UNSUPPORTED"
)

// A Layer is the inventory of one layer (OCI image spec, "Image Layer
// Filesystem Changeset"). It depends on the layer's bytes and on the extractor's
// version alone.
type Layer struct {
	Extractor int // version of the extractors that made it
	Status    LayerStatus
	Message   string // for people, if Status is not COMPLETE

	Files      []File   // by path; of a path that is there twice, the last
	Whiteouts  []string // paths that the layer removes, without the prefix .wh.
	Opaque     []string // folders of which the layer hides what is below
	Links      []Link   // by path
	OSReleases []OSRelease
	// Paths are the hashes (PathHash), sorted, of all entries that are not
	// folders: any of them replaces a file of a lower layer.
	Paths []uint64
	// Owned are the hashes, sorted, of evidence files of other kinds that the
	// operating system's packages own: these are the distribution's to patch.
	Owned []uint64

	Warnings []string // evidence that could not be read: "path: why", bounded
	Entries  int64    // of the archive
	Bytes    int64    // of the archive, inflated
}

// The constants of FNV-1a.
const (
	hashOffset = 14695981039346656037
	hashPrime  = 1099511628211
)

// PathHash is the 64-bit FNV-1a hash of a path in the form of File.Path.
func PathHash(path string) uint64 {
	h := uint64(hashOffset)
	for i := 0; i < len(path); i++ {
		h ^= uint64(path[i])
		h *= hashPrime
	}
	return h
}
