package vuln

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Mode is how much of an image is looked at.
type Mode string

// The modes of scanning.
const (
	Basic    Mode = "BASIC"    // the operating system's packages
	Enhanced Mode = "ENHANCED" // all packages
)

// A Finding is a vulnerability of packages of an image. Those that are built from
// one source share one.
type Finding struct {
	Match
	Identity Identity
	Packages []int // indices of Image.Packages, ascending
}

// Findings are the vulnerabilities of an image, the worst first, then by name,
// ecosystem, package and version. matches is asked once for each identity.
func (img *Image) Findings(mode Mode, matches func(Identity) []Match) []Finding {
	var out []Finding
	for _, set := range img.Identities(mode) {
		for _, m := range matches(set.Identity) {
			out = append(out, Finding{Match: m, Identity: set.Identity, Packages: set.Packages})
		}
	}
	SortFindings(out)
	return out
}

// SortFindings puts the worst first, then goes by name, ecosystem, package and
// version.
func SortFindings(list []Finding) {
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(
			b.Rating.Severity.Rank()-a.Rating.Severity.Rank(),
			strings.Compare(a.Vulnerability, b.Vulnerability),
			a.Identity.compare(b.Identity),
		)
	})
}

func (id Identity) compare(o Identity) int {
	return cmp.Or(id.Key.compare(o.Key), strings.Compare(id.Version, o.Version), strings.Compare(id.Module, o.Module))
}

// A Set is the packages of an image that have one identity.
type Set struct {
	Identity
	Packages []int // indices of Image.Packages, ascending
}

// Identities are what an image is to be matched by, sorted, each once.
func (img *Image) Identities(mode Mode) []Set {
	at := map[Identity]int{}
	var out []Set
	for i := range img.Packages {
		p := &img.Packages[i]
		if mode == Basic && !p.Kind.OS() {
			continue
		}
		id, ok := img.Identity(p)
		if !ok {
			continue
		}
		n, ok := at[id]
		if !ok {
			n = len(out)
			at[id] = n
			out = append(out, Set{Identity: id})
		}
		out[n].Packages = append(out[n].Packages, i)
	}
	slices.SortFunc(out, func(a, b Set) int { return a.Identity.compare(b.Identity) })
	return out
}

// Counts are numbers of findings by severity; what is 0 is not there.
type Counts map[Severity]int

// Count counts findings by severity.
func Count(findings []Finding) Counts {
	c := Counts{}
	for i := range findings {
		c[findings[i].Rating.Severity]++
	}
	return c
}

// Coverage says whether no findings mean that there is nothing to find.
type Coverage string

const (
	// Covered: the advisories cover what is in the image.
	Covered Coverage = "COVERED"
	// Uncovered: there are packages of a distribution whose release has no
	// advisories: it is too old, too new, or its feed is not loaded. What is
	// found is not all (FINDINGS_UNAVAILABLE).
	Uncovered Coverage = "UNCOVERED"
	// Partial: the operating system, or some of the languages, are covered, and
	// other languages' advisories are not loaded.
	Partial Coverage = "PARTIAL"
	// Unsupported: nothing in the image can be matched (UNSUPPORTED_IMAGE).
	Unsupported Coverage = "UNSUPPORTED"
)

// Coverage judges an image before it is called clean. loaded says whether there
// are advisories of an ecosystem (as Key has it). The string explains to people.
func (img *Image) Coverage(mode Mode, loaded func(ecosystem string) bool) (Coverage, string) {
	eco := img.OS.Ecosystem()
	system, other, covered := 0, 0, 0
	missing := map[string]bool{}
	for i := range img.Packages {
		p := &img.Packages[i]
		if p.Kind.OS() {
			system++
			continue
		}
		if mode == Basic || p.Owned {
			continue
		}
		if id, ok := img.Identity(p); ok {
			other++
			if !loaded(id.Ecosystem) {
				missing[id.Ecosystem] = true
			} else {
				covered++
			}
		}
	}
	name := img.OS.name()
	switch {
	case system > 0 && eco == "":
		return Uncovered, fmt.Sprintf("there are no advisories of %s", name)
	case system > 0 && !loaded(eco):
		return Uncovered, fmt.Sprintf("there are no advisories of %s (%s): it may be past its end of life, or its advisories are not loaded", name, eco)
	case len(missing) > 0:
		c := Partial
		if system == 0 && covered == 0 {
			c = Uncovered
		}
		list := make([]string, 0, len(missing))
		for e := range missing {
			list = append(list, e)
		}
		slices.Sort(list)
		return c, "no advisories are loaded of " + strings.Join(list, ", ")
	case system+other == 0:
		return Unsupported, "the image has no packages that can be matched"
	}
	return Covered, ""
}

// name is for people.
func (o OSRelease) name() string {
	switch {
	case o.PrettyName != "":
		return o.PrettyName
	case o.ID != "":
		return strings.TrimSpace(o.ID + " " + o.VersionID)
	}
	return "a distribution that does not name itself"
}
