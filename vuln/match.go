package vuln

import (
	"slices"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// Fix says whether there is a version without the vulnerability.
type Fix string

// ECR's words for whether there is a fix.
const (
	FixYes     Fix = "YES"
	FixNo      Fix = "NO"
	FixPartial Fix = "PARTIAL" // for some of the packages, or by some of the advisories
)

// CombineFix is the word for several packages that have one vulnerability.
func CombineFix(fixes ...Fix) Fix {
	out := FixNo
	for i, f := range fixes {
		if i == 0 {
			out = f
		} else if f != out {
			return FixPartial
		}
	}
	return out
}

// A Match is one vulnerability of a package.
type Match struct {
	// Vulnerability is the CVE's id, or the record's where no CVE is known.
	Vulnerability string   `json:"id"`
	Aliases       []string `json:"al,omitempty"` // its other names, sorted
	Advisories    []string `json:"ad"`           // IDs of the records that say so, the best first
	Fixed         string   `json:"fx,omitempty"` // the first version without it
	Fix           Fix      `json:"fa"`
	Rating        Rating   `json:"r"`
	Published     int64    `json:"pub,omitempty"` // ms, the earliest of the records
	Modified      int64    `json:"mod,omitempty"` // ms, the latest of the records
}

// Match says what is wrong with a package by the advisories that are found under
// its Keys; others do no harm. rated lends the severity that other records of a
// CVE have (nil: none does). Advisories that name the same vulnerability make
// one Match; a bulletin (DSA, USN, ALSA) makes one for each of its CVEs, except
// those that have a record of their own about the package, whatever that says.
// The result is sorted by Vulnerability.
func (id Identity) Match(advisories []*Advisory, rated func(cve string) (Rating, bool)) []Match {
	v, err := parseVersion(id.Ecosystem, id.Version)
	if err != nil {
		v = version{text: id.Version} // explicit versions may still name it
	}
	var records []*Advisory // those of vulnerabilities, and the bulletins that hit
	hits := map[*Advisory]bool{}
	own := map[string]bool{} // CVEs that have a record of their own about the package
	seen := map[string]bool{}
	for _, a := range advisories {
		if a.Withdrawn != 0 || seen[a.ID] {
			continue
		}
		about := id.about(a)
		if len(about) == 0 {
			continue
		}
		seen[a.ID] = true
		if !a.Bundles() {
			for _, c := range a.CVEs() {
				own[c] = true
			}
		}
		hit := id.hit(about, v) != nil
		if hit {
			hits[a] = true
		}
		if hit || !a.Bundles() {
			records = append(records, a)
		}
	}
	if len(hits) == 0 {
		return nil
	}
	slices.SortFunc(records, byQuality)
	var out []Match
	for _, g := range groups(records, own) {
		if slices.ContainsFunc(g.records, func(a *Advisory) bool { return hits[a] }) {
			out = append(out, id.match(g, hits, v, rated))
		}
	}
	slices.SortFunc(out, func(a, b Match) int { return strings.Compare(a.Vulnerability, b.Vulnerability) })
	return out
}

// Affects reports whether the record, on its own, says that the package is
// affected. Withdrawn records say nothing.
func (a *Advisory) Affects(id Identity) bool {
	if a.Withdrawn != 0 {
		return false
	}
	v, err := parseVersion(id.Ecosystem, id.Version)
	if err != nil {
		v = version{text: id.Version}
	}
	return id.hit(id.about(a), v) != nil
}

// about are the parts of a record that count for the identity. What Ubuntu says
// of a release goes before what it says of the release under Ubuntu Pro, unless
// the package is from there. Builds of modules of rpms do not compare with
// other packages, nor with other streams.
func (id Identity) about(a *Advisory) []*Affected {
	var main, pro []*Affected
	modular := strings.Contains(id.Version, moduleMark)
	for i := range a.Affected {
		f := &a.Affected[i]
		if f.Name != id.Name || modular && a.Module != "" && id.Module != "" && a.Module != id.Module {
			continue
		}
		switch {
		case f.Ecosystem == id.Ecosystem:
			main = append(main, f)
		case id.underPro(f.Ecosystem):
			pro = append(pro, f)
		}
	}
	if strings.Contains(id.Version, "esm") {
		return append(main, pro...)
	}
	if len(main) > 0 {
		return main
	}
	return pro
}

// underPro reports whether the ecosystem is that of the identity's release of
// Ubuntu under Pro.
func (id Identity) underPro(ecosystem string) bool {
	release, ok := strings.CutPrefix(ecosystem, "Ubuntu:Pro:")
	return ok && strings.HasPrefix(id.Ecosystem, "Ubuntu:") && id.Ecosystem[len("Ubuntu:"):] == release
}

// moduleMark is in the release of an rpm that is of a module.
const moduleMark = ".module"

// hit returns the intervals that hold the version, nil if nothing does. A match
// by an explicit version is an interval without a fix.
func (id Identity) hit(about []*Affected, v version) []Interval {
	var out []Interval
	_, rpm := v.parsed.(semantic.RedHatVersion)
	modular := rpm && strings.Contains(v.text, moduleMark)
	for _, f := range about {
		if slices.Contains(f.Versions, v.text) {
			out = append(out, Interval{})
		}
		if v.parsed == nil {
			continue
		}
		for _, iv := range f.Intervals {
			if rpm && iv.Fixed != "" && strings.Contains(iv.Fixed, moduleMark) != modular {
				continue
			}
			if iv.holds(v) && !(modular && rebuilt(about, iv, v)) {
				out = append(out, iv)
			}
		}
	}
	return out
}

// rebuilt: a module is built again for each minor release, and the bulletin
// lists all the builds. Who has one of them has the fix.
func rebuilt(about []*Affected, iv Interval, v version) bool {
	build, _, ok := strings.Cut(iv.Fixed, moduleMark)
	if !ok {
		return false
	}
	for _, f := range about {
		for _, other := range f.Intervals {
			if b, _, ok := strings.Cut(other.Fixed, moduleMark); ok && b == build && other != iv {
				if c, err := v.compare(other.Fixed); err == nil && c >= 0 {
					return true
				}
			}
		}
	}
	return false
}

// byQuality puts the records of vulnerabilities before bulletins, a
// distribution's and GitHub's before others.
func byQuality(a, b *Advisory) int {
	if c := a.quality() - b.quality(); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

func (a *Advisory) quality() int {
	prefix, _, _ := strings.Cut(a.ID, "-")
	switch {
	case a.Bundles():
		return 3
	case plainCVE(a.ID) != "":
		return 0
	case prefix == "GHSA":
		return 1
	}
	return 2
}

// A group is the records that tell of one vulnerability.
type group struct {
	names   []string // all names of it, sorted
	records []*Advisory
}

// groups joins the records that share a name; a bulletin joins the groups of
// those of its CVEs that are not in own.
func groups(records []*Advisory, own map[string]bool) []group {
	parent := map[string]string{}
	var find func(string) string
	find = func(n string) string {
		p, ok := parent[n]
		if !ok || p == n {
			parent[n] = n
			return n
		}
		root := find(p)
		parent[n] = root
		return root
	}
	members := map[string][]*Advisory{} // by one name of theirs
	for _, a := range records {
		if cves := a.CVEs(); a.Bundles() {
			for _, c := range cves {
				if !own[c] {
					members[c] = append(members[c], a)
					find(c)
				}
			}
			continue
		}
		first := plain(a.ID)
		members[first] = append(members[first], a)
		find(first)
		for _, n := range a.Aliases {
			parent[find(plain(n))] = find(first)
		}
	}
	byRoot := map[string]*group{}
	for n := range parent {
		root := find(n)
		g := byRoot[root]
		if g == nil {
			g = &group{}
			byRoot[root] = g
		}
		g.names = append(g.names, n)
		g.records = append(g.records, members[n]...)
	}
	out := make([]group, 0, len(byRoot))
	for _, g := range byRoot {
		slices.Sort(g.names)
		slices.SortFunc(g.records, byQuality)
		g.records = slices.Compact(g.records)
		out = append(out, *g)
	}
	return out
}

// plain is a name with the distribution's prefix of a CVE taken off.
func plain(name string) string {
	if c := plainCVE(name); c != "" {
		return c
	}
	return name
}

// match makes one Match of a group, some of whose records are in hits. The others
// have a say in what is fixed only.
func (id Identity) match(g group, hits map[*Advisory]bool, v version, rated func(string) (Rating, bool)) Match {
	m := Match{}
	m.Fixed, m.Fix = id.fix(g.records, v)
	g.records = slices.DeleteFunc(g.records, func(a *Advisory) bool { return !hits[a] })
	m.Vulnerability = g.name()
	for _, n := range g.names {
		if n != m.Vulnerability {
			m.Aliases = append(m.Aliases, n)
		}
	}
	for _, a := range g.records {
		m.Advisories = append(m.Advisories, a.ID)
		if a.Published != 0 && (m.Published == 0 || a.Published < m.Published) {
			m.Published = a.Published
		}
		m.Modified = max(m.Modified, a.Modified)
	}
	var joined *Rating
	if rated != nil {
		if r, ok := rated(m.Vulnerability); ok {
			joined = &r
		}
	}
	keys := id.Keys()
	m.Rating = rate(g.records, func(f *Affected) bool { return slices.Contains(keys, f.Key) }, joined)
	return m
}

// name is a CVE's id, or that of the best record.
func (g group) name() string {
	for _, n := range g.names {
		if strings.HasPrefix(n, "CVE-") {
			return n
		}
	}
	return g.records[0].ID
}

// fix finds the first later version that some record calls fixed and that none
// of them calls affected. If there are only some that another record still
// calls affected, the fix is partial.
func (id Identity) fix(records []*Advisory, v version) (string, Fix) {
	candidates := id.fixes(records, v)
	if len(candidates) == 0 {
		return "", FixNo
	}
	for _, c := range candidates[:min(len(candidates), maxCandidates)] {
		if !slices.ContainsFunc(records, func(a *Advisory) bool { return id.hit(id.about(a), c) != nil }) {
			return c.text, FixYes
		}
	}
	return candidates[0].text, FixPartial
}

// maxCandidates bounds the versions that are tried.
const maxCandidates = 100

// fixes are the fixed versions after v that the records name, in order. Another
// stream of a module of rpms is no fix.
func (id Identity) fixes(records []*Advisory, v version) []version {
	var out []version
	if v.parsed == nil {
		return nil
	}
	_, rpm := v.parsed.(semantic.RedHatVersion)
	for _, a := range records {
		for _, f := range id.about(a) {
			for _, iv := range f.Intervals {
				if iv.Fixed == "" || rpm && strings.Contains(iv.Fixed, moduleMark) != strings.Contains(v.text, moduleMark) {
					continue
				}
				c, err := parseVersion(id.Ecosystem, iv.Fixed)
				if err != nil {
					continue
				}
				if n, err := c.compare(v.text); err == nil && n > 0 {
					out = append(out, c)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b version) int {
		if c, err := a.compare(b.text); err == nil && c != 0 {
			return c
		}
		return strings.Compare(a.text, b.text)
	})
	return slices.CompactFunc(out, func(a, b version) bool { return a.text == b.text })
}
