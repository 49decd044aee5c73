package vuln

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// node is a file of the naive model, which really builds the file tree.
type node struct {
	children map[string]*node // of a folder
	target   string           // of a link
	file     *File            // of evidence
	os       *OSRelease
	layer    int // that brought it, if it is no folder
}

func folder() *node { return &node{children: map[string]*node{}} }

// model is a file tree that layers are unpacked into.
type model struct {
	root  *node
	layer int  // being unpacked
	stuck bool // a path led in circles, or through a file of the same layer: no such archive can be unpacked
}

// walk resolves a path through links, creating folders if make is set. The last
// component is followed only if last is.
func (m *model) walk(path string, last, make bool) (parent *node, name string) {
	steps, dirs, names := strings.Split(path, "/"), []*node{m.root}, []string{}
	for n := 0; len(steps) > 0; {
		step := steps[0]
		steps = steps[1:]
		dir := dirs[len(dirs)-1]
		if step == "" || step == "." {
			continue
		}
		if step == ".." {
			if len(dirs) > 1 {
				dirs, names = dirs[:len(dirs)-1], names[:len(names)-1]
			}
			continue
		}
		child := dir.children[step]
		if child != nil && child.target != "" && (len(steps) > 0 || last) {
			if n++; n > maxLinks {
				return nil, ""
			}
			if strings.HasPrefix(child.target, "/") {
				dirs, names = dirs[:1], nil
			}
			steps = append(strings.Split(child.target, "/"), steps...)
			continue
		}
		if len(steps) == 0 {
			return dir, step
		}
		if child == nil || child.children == nil {
			if !make || child != nil && child.layer == m.layer {
				return nil, ""
			}
			child = folder()
			dir.children[step] = child
		}
		dirs, names = append(dirs, child), append(names, step)
	}
	if len(dirs) < 2 {
		return nil, ""
	}
	return dirs[len(dirs)-2], names[len(names)-1]
}

func (m *model) apply(l *Layer, others []string) {
	type place struct {
		dir  *node
		name string
	}
	var gone []place
	for _, w := range l.Whiteouts {
		if dir, name := m.walk(w, false, false); dir != nil {
			gone = append(gone, place{dir, name})
		}
	}
	var emptied []*node
	for _, o := range l.Opaque {
		if dir, name := m.walk(o, true, false); dir != nil && dir.children[name] != nil {
			emptied = append(emptied, dir.children[name])
		}
	}
	for _, p := range gone {
		delete(p.dir.children, p.name)
	}
	for _, d := range emptied {
		if d.children != nil {
			d.children = map[string]*node{}
		}
	}
	put := func(path string, n *node) {
		if dir, name := m.walk(path, false, true); dir != nil {
			n.layer = m.layer
			dir.children[name] = n
		} else {
			m.stuck = true
		}
	}
	for _, o := range l.Links {
		put(o.Path, &node{target: o.Target})
	}
	for _, o := range others {
		put(o, &node{})
	}
	for i := range l.Files {
		put(l.Files[i].Path, &node{file: &l.Files[i]})
	}
	for i := range l.OSReleases {
		put(l.OSReleases[i].Path, &node{os: &l.OSReleases[i]})
	}
}

func (m *model) visit(f func(path string, n *node)) { visit("", m.root, f) }

func visit(path string, n *node, f func(string, *node)) {
	for name, c := range n.children {
		p := join(path, name)
		f(p, c)
		visit(p, c, f)
	}
}

// naiveMerge is what Merge is to say, found by looking at each state.
func naiveMerge(layers []*Layer, others [][]string) (list []Installed, possible bool) {
	m := &model{root: folder()}
	var since map[installKey]int
	var out []Installed
	for i, l := range layers {
		m.layer = i
		m.apply(l, others[i])
		now := map[installKey]int{}
		out = nil
		m.visit(func(path string, n *node) {
			if n.file == nil {
				return
			}
			for _, p := range n.file.Packages {
				k := (&entry{path, n.file}).key(&p)
				now[k] = i
				if first, ok := since[k]; ok {
					now[k] = first
				}
				out = append(out, Installed{Package: p, Kind: n.file.Kind, Path: path, Layer: now[k]})
			}
		})
		since = now
	}
	return out, !m.stuck
}

// randomLayer makes a layer: d… are folders or links, f… evidence, o… others.
func randomLayer(r *rand.Rand) (*Layer, []string) {
	l := &Layer{Status: LayerComplete}
	pick := func(kind string) string { return fmt.Sprintf("%s%d", kind, r.IntN(3)) }
	path := func(kind string) string {
		p := ""
		for range r.IntN(3) {
			p = join(p, pick("d"))
		}
		return join(p, pick(kind))
	}
	var others []string
	used := map[string]bool{}
	// free: no path of the layer is an ancestor of another that is no folder,
	// and none goes through a link that the layer itself replaces.
	free := func(p string) bool {
		for u := range used {
			if u == p || strings.HasPrefix(u, p+"/") || strings.HasPrefix(p, u+"/") {
				return false
			}
		}
		used[p] = true
		return true
	}
	for range 1 + r.IntN(5) {
		switch r.IntN(12) {
		case 0, 1:
			if p := path("d"); free(p) {
				l.Whiteouts = append(l.Whiteouts, p)
			}
		case 2:
			if p := path("f"); free(p) {
				l.Whiteouts = append(l.Whiteouts, p)
			}
		case 3:
			l.Opaque = append(l.Opaque, path("d"))
		case 4:
			if p := pick("d"); free(p) {
				l.Links = append(l.Links, Link{p, []string{"d1/d2", "/d0", "d2", "../d1", "./d0/d0"}[r.IntN(5)]})
			}
		case 5:
			if p := path([]string{"o", "f", "d"}[r.IntN(3)]); free(p) {
				others = append(others, p)
			}
		default:
			if p := path("f"); free(p) {
				f := File{Path: p, Kind: []Kind{NPM, NPM, Dpkg}[int(p[len(p)-1]-'0')]}
				for n := range 1 + r.IntN(2) {
					f.Packages = append(f.Packages, Package{Name: fmt.Sprint("p", n), Version: fmt.Sprint(r.IntN(2))})
				}
				l.Files = append(l.Files, f)
			}
		}
	}
	for _, f := range l.Files {
		l.Paths = append(l.Paths, PathHash(f.Path))
	}
	for _, o := range l.Links {
		l.Paths = append(l.Paths, PathHash(o.Path))
	}
	for _, o := range others {
		l.Paths = append(l.Paths, PathHash(o))
	}
	slices.Sort(l.Paths)
	return l, others
}

func sorted(list []Installed) []Installed {
	slices.SortFunc(list, func(a, b Installed) int {
		return strings.Compare(fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b))
	})
	return list
}

// TestMergeProperty compares Merge with a model that unpacks the layers.
func TestMergeProperty(t *testing.T) {
	n := 20000
	if testing.Short() {
		n = 2000
	}
	visible, images := 0, 0
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		var layers []*Layer
		var others [][]string
		for range 1 + r.IntN(6) {
			l, o := randomLayer(r)
			layers, others = append(layers, l), append(others, o)
		}
		want, possible := naiveMerge(layers, others)
		if !possible {
			continue
		}
		got, want := sorted(Merge(layers).Packages), sorted(want)
		images++
		if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			for i, l := range layers {
				t.Logf("layer %d: files %+v links %v whiteouts %v opaque %v others %v", i, l.Files, l.Links, l.Whiteouts, l.Opaque, others[i])
			}
			t.Fatalf("seed %d:\n got %+v\nwant %+v", seed, got, want)
		}
		visible += len(got)
	}
	if visible < n || images < n/2 {
		t.Errorf("only %d packages were visible in %d images: the test looks at nothing", visible, images)
	}
}
