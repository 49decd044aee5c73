package vuln

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Merge lays the inventories of an image's layers on each other, the lowest
// first, and says what is left (OCI image spec, "Image Layer Filesystem
// Changeset"). Writes through links that stand for folders land where the link
// points, as containerd has it. The layers are not changed.
func Merge(layers []*Layer) *Image {
	t := &tree{files: map[string]entry{}, oses: map[string]*OSRelease{}, links: map[string]string{}}
	for i, l := range layers {
		t.apply(i, l)
	}
	img := &Image{Status: LayerComplete, OS: t.osRelease()}
	for _, l := range layers {
		if worse(l.Status, img.Status) {
			img.Status, img.Message = l.Status, l.Message
		}
	}
	t.collect(img, layers)
	return img
}

// worse: an image with one layer that could not be read is no better than that.
func worse(a, b LayerStatus) bool {
	order := []LayerStatus{LayerComplete, LayerLimited, LayerUnsupported, LayerFailed}
	return slices.Index(order, a) > slices.Index(order, b)
}

// A tree is what is visible after some layers.
type tree struct {
	// All by where they really lie.
	files map[string]entry
	oses  map[string]*OSRelease
	links map[string]string // to where they point, as written

	since   map[installKey]int
	changed bool // files, since the last remember
}

// An entry is a file with packages.
type entry struct {
	path string
	file *File
}

// An installKey is what a package is recognised by from one layer to the next.
// The operating system's are the same wherever its database lies.
type installKey struct {
	kind                      Kind
	path, name, version, arch string
}

func (e *entry) key(p *Package) installKey {
	k := installKey{kind: e.file.Kind, name: p.Name, version: p.Version, arch: p.Arch}
	if !k.kind.OS() {
		k.path = e.path
	}
	return k
}

// apply lays one layer on the tree.
func (t *tree) apply(i int, l *Layer) {
	t.remove(l)
	t.hide(l)
	for _, link := range l.Links {
		t.links[t.parentOf(link.Path)] = link.Target
	}
	for n := range l.Files {
		f := &l.Files[n]
		path := t.parentOf(f.Path)
		t.files[path] = entry{path, f}
		t.changed = true
	}
	for n := range l.OSReleases {
		o := &l.OSReleases[n]
		t.oses[t.parentOf(o.Path)] = o
	}
	t.remember(i)
}

// remove does what the whiteouts of a layer say. All of them are about what was
// there before the layer, links too.
func (t *tree) remove(l *Layer) {
	if len(l.Whiteouts)+len(l.Opaque) == 0 {
		return
	}
	gone, emptied := map[string]bool{}, map[string]bool{}
	for _, w := range l.Whiteouts {
		gone[t.parentOf(w)] = true
	}
	for _, o := range l.Opaque {
		emptied[t.real(o)] = true
	}
	hidden := func(path string) bool {
		if gone[path] {
			return true
		}
		if emptied[""] {
			return true
		}
		for i := len(path) - 1; i > 0; i-- {
			if path[i] == '/' && (gone[path[:i]] || emptied[path[:i]]) {
				return true
			}
		}
		return false
	}
	t.drop(hidden)
}

func (t *tree) drop(hidden func(path string) bool) {
	before := len(t.files)
	maps.DeleteFunc(t.files, func(path string, _ entry) bool { return hidden(path) })
	maps.DeleteFunc(t.oses, func(path string, _ *OSRelease) bool { return hidden(path) })
	maps.DeleteFunc(t.links, func(path, _ string) bool { return hidden(path) })
	t.changed = t.changed || len(t.files) != before
}

// hide drops what the layer writes over: the path itself, or anything that is
// not a folder at an ancestor.
func (t *tree) hide(l *Layer) {
	if len(l.Paths) == 0 {
		return
	}
	written := func(path string) bool { return writes(l.Paths, path, 0) }
	// Links go first: what a layer writes below one that it replaces lands
	// elsewhere.
	t.drop(written)
	after := tree{links: maps.Clone(t.links)}
	for _, link := range l.Links {
		after.links[after.parentOf(link.Path)] = link.Target
	}
	folders := after.folders()
	if len(folders) == 0 {
		return
	}
	t.drop(func(path string) bool {
		return folders.spellings(path, func(s string, from int) bool { return writes(l.Paths, s, from) })
	})
}

// writes reports whether one of the hashes is of path, or of an ancestor of it
// that is longer than from bytes.
func writes(hashes []uint64, path string, from int) bool {
	h := PathHash("")
	for i := 0; i < len(path); i++ {
		if path[i] == '/' && i > from {
			if _, ok := slices.BinarySearch(hashes, h); ok {
				return true
			}
		}
		h ^= uint64(path[i])
		h *= hashPrime
	}
	_, ok := slices.BinarySearch(hashes, h)
	return ok
}

// remember notes since which layer each package has been there.
func (t *tree) remember(i int) {
	if !t.changed {
		return
	}
	t.changed = false
	now := make(map[installKey]int, len(t.since))
	for _, e := range t.files {
		for p := range e.file.Packages {
			k := e.key(&e.file.Packages[p])
			if first, ok := t.since[k]; ok {
				now[k] = first
			} else {
				now[k] = i
			}
		}
	}
	t.since = now
}

// collect writes what is visible into the image.
func (t *tree) collect(img *Image, layers []*Layer) {
	folders := t.folders()
	for _, e := range t.files {
		for p := range e.file.Packages {
			in := Installed{Package: e.file.Packages[p], Kind: e.file.Kind, Path: e.path, Layer: t.since[e.key(&e.file.Packages[p])]}
			in.Owned = !in.Kind.OS() && folders.owned(e.path, layers[in.Layer:])
			img.Packages = append(img.Packages, in)
		}
	}
	slices.SortStableFunc(img.Packages, func(a, b Installed) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path))
	})
}

// owned reports whether the database of one of the layers, which are those from
// the one on that brought the evidence, calls the path its own. A database from
// before then spoke of another file.
func (f folders) owned(path string, layers []*Layer) bool {
	for _, l := range layers {
		has := func(s string, _ int) bool {
			_, ok := slices.BinarySearch(l.Owned, PathHash(s))
			return ok
		}
		if len(l.Owned) > 0 && (has(path, 0) || f.spellings(path, has)) {
			return true
		}
	}
	return false
}

// osRelease is etc/os-release, through links, or that of usr/lib.
func (t *tree) osRelease() OSRelease {
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		if o := t.oses[t.real(path)]; o != nil {
			return *o
		}
	}
	return OSRelease{}
}

// real follows all links of a path, the last component's too; parentOf those of
// its folders only. Links that lead in circles are left as they are.
func (t *tree) real(path string) string { return t.follow(path, true) }

func (t *tree) parentOf(path string) string { return t.follow(path, false) }

// maxLinks bounds the links that are followed in one path, as Linux does.
const maxLinks = 40

func (t *tree) follow(path string, last bool) string {
	if len(t.links) == 0 {
		return path
	}
	done, rest := "", path
	for n := 0; rest != ""; {
		name, more, deeper := strings.Cut(rest, "/")
		if name == "" || name == "." {
			rest = more
			continue
		}
		if name == ".." {
			done, rest = folderOf(done), more
			continue
		}
		here := join(done, name)
		target, ok := t.links[here]
		if !ok || !deeper && !last {
			done, rest = here, more
			continue
		}
		if n++; n > maxLinks {
			return path
		}
		if strings.HasPrefix(target, "/") {
			done = ""
		}
		rest = target + "/" + more
		if more == "" {
			rest = target
		}
	}
	return done
}

func folderOf(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ""
	}
	return path[:i]
}

func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

// folders are where links point, with the links that do.
type folders map[string][]string

func (t *tree) folders() folders {
	f := folders{}
	for link := range t.links {
		if to := t.real(link); to != link && to != "" {
			f[to] = append(f[to], link)
		}
	}
	return f
}

// spellings calls yield with the other ways to write a path, through one link,
// and the length of the link's own part, until it says true.
func (f folders) spellings(path string, yield func(s string, from int) bool) bool {
	for i := 0; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		for _, link := range f[path[:i]] {
			if yield(link+path[i:], len(link)) {
				return true
			}
		}
	}
	return false
}
