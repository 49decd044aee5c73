package extract

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ecruhq/ecru/vuln"
)

// keep accounts for text that the inventory holds.
func (r *reader) keep(texts ...string) {
	for _, t := range texts {
		r.kept += int64(len(t)) + 32
	}
}

// limit notes a bound that was met by a part of the layer.
func (r *reader) limit(format string, args ...any) {
	if r.limited == "" {
		r.limited = fmt.Sprintf(format, args...)
	}
}

// warn notes evidence that could not be read.
func (r *reader) warn(name string, err error) {
	limit := new(limitError)
	if errors.As(err, &limit) {
		r.limit("%s: %s", clip(name), limit.message)
	}
	if len(r.layer.Warnings) < maxWarnings {
		r.layer.Warnings = append(r.layer.Warnings, clip(name)+": "+clip(err.Error()))
	}
}

// addFile takes a file's packages: those with a name and a version that can be
// stored, each once.
func (r *reader) addFile(f vuln.File) {
	seen := make(map[[4]string]bool, len(f.Packages))
	kept := f.Packages[:0:0]
	for _, p := range f.Packages {
		key := [4]string{p.Name, p.Version, p.Arch, p.Module}
		if seen[key] {
			continue
		}
		seen[key] = true
		if !storable(p) {
			r.warn(f.Path, errors.New("a package has a name or version that no package can have"))
			continue
		}
		kept = append(kept, p)
		r.keep(p.Name, p.Version, p.SourceName, p.SourceVersion, p.Epoch, p.Release, p.Arch, p.Module)
		r.keep(p.Licenses...)
	}
	if len(kept) == 0 {
		return
	}
	f.Packages = kept
	r.keep(f.Path)
	r.files[f.Path] = f
}

// storable reports whether a package's texts are such that databases, reports
// and terminals take them.
func storable(p vuln.Package) bool {
	if p.Name == "" || p.Version == "" || len(p.Name) > maxName || len(p.Version) > maxVersion ||
		len(p.SourceName) > maxName || len(p.SourceVersion) > maxVersion ||
		len(p.Epoch) > 16 || len(p.Release) > maxVersion || len(p.Arch) > 64 || len(p.Module) > maxName || len(p.Licenses) > 64 {
		return false
	}
	texts := []string{p.Name, p.Version, p.SourceName, p.SourceVersion, p.Epoch, p.Release, p.Arch, p.Module}
	for _, t := range append(texts, p.Licenses...) {
		if len(t) > 4096 || !utf8.ValidString(t) || strings.ContainsFunc(t, unicode.IsControl) {
			return false
		}
	}
	return true
}

// own notes a file that a package of the operating system has brought.
func (r *reader) own(name string) {
	name, escapes := clean(name)
	if name == "" || escapes || len(name) > maxPath {
		return
	}
	for _, n := range merged(name) {
		h := vuln.PathHash(n)
		if e := classify(n); e != nil && e.kind != "" && !e.kind.OS() || e == nil && programPath(n) {
			if len(r.owned) < maxOwned {
				r.owned = append(r.owned, h)
			}
		} else if len(r.ownedAll) < maxOwned {
			r.ownedAll = append(r.ownedAll, h)
		}
	}
}

// merged gives the paths of a file that a package lists: below the root, and
// below /usr where systems with a merged /usr have it.
func merged(name string) []string {
	top, _, _ := strings.Cut(name, "/")
	switch top {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		return []string{name, "usr/" + name}
	}
	return []string{name}
}

// programPath reports whether programs are usually there: their owner matters to
// layers below, where they may be, too.
func programPath(name string) bool {
	switch path.Base(path.Dir(name)) {
	case "bin", "sbin", "libexec", "cli-plugins", "games":
		return true
	}
	return false
}

// finish puts in order what was collected, and says what it is worth.
func (r *reader) finish(err error) vuln.Layer {
	l := &r.layer
	l.Extractor = Version
	l.Status, l.Message = vuln.LayerComplete, ""
	limit := new(limitError)
	switch {
	case errors.As(err, &limit):
		l.Status, l.Message = vuln.LayerLimited, limit.message
	case errors.Is(err, errNoArchive) && l.Entries == 0:
		l.Status, l.Message = vuln.LayerUnsupported, err.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		l.Status, l.Message = vuln.LayerFailed, fmt.Sprintf("the archive ends in the middle, after %d entries", l.Entries)
	case err != nil:
		l.Status, l.Message = vuln.LayerFailed, fmt.Sprintf("the archive cannot be read after %d entries: %s", l.Entries, clip(err.Error()))
	case r.limited != "":
		l.Status, l.Message = vuln.LayerLimited, r.limited
	}
	l.Files = inOrder(r.files)
	l.OSReleases = inOrder(r.releases)
	l.Paths = sortedSet(l.Paths)
	l.Whiteouts = sortedSet(l.Whiteouts)
	l.Opaque = sortedSet(l.Opaque)
	l.Owned = r.ownedEvidence()
	l.Links = r.folderLinks()
	return *l
}

func inOrder[T any](m map[string]T) []T {
	var out []T
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

func sortedSet[T cmp.Ordered](s []T) []T {
	slices.Sort(s)
	return slices.Clip(slices.Compact(s))
}

// ownedEvidence adds to what is evidence by its path what was evidence by its
// content.
func (r *reader) ownedEvidence() []uint64 {
	slices.Sort(r.ownedAll)
	for name, f := range r.files {
		if _, ok := slices.BinarySearch(r.ownedAll, vuln.PathHash(name)); ok && !f.Kind.OS() {
			r.owned = append(r.owned, vuln.PathHash(name))
		}
	}
	return sortedSet(r.owned)
}

// folderLinks are the links that may stand for a folder: all but those that end
// at a file of this layer. Links to os-release stay, as it is looked for by name.
func (r *reader) folderLinks() []vuln.Link {
	var out []vuln.Link
	for name, target := range r.links {
		if isOSRelease(name) || !r.endsAtFile(name, target) {
			out = append(out, vuln.Link{Path: name, Target: target})
		}
	}
	slices.SortFunc(out, func(a, b vuln.Link) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// endsAtFile follows a link through links of this layer, by name.
func (r *reader) endsAtFile(name, target string) bool {
	for range 16 {
		if !strings.HasPrefix(target, "/") {
			target = path.Join(path.Dir(name), target)
		}
		name, _ = clean(target)
		next, ok := r.links[name]
		if !ok {
			_, ok = slices.BinarySearch(r.layer.Paths, vuln.PathHash(name))
			return ok
		}
		target = next
	}
	return false
}
