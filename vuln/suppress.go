package vuln

import (
	"errors"
	"slices"
	"strings"
)

// A Disposition is why a finding is set aside.
type Disposition string

// The reasons to set a finding aside. The first two are VEX's.
const (
	NotAffected   Disposition = "NOT_AFFECTED"
	FixedHere     Disposition = "FIXED"
	FalsePositive Disposition = "FALSE_POSITIVE"
	Accepted      Disposition = "ACCEPTED"
)

// A Suppression sets findings aside. It changes no record: it decides what is
// counted and shown as open, at one moment.
type Suppression struct {
	ID string
	// What: each that is not "" must fit. A suppression names a vulnerability, a
	// package or a path, or more than one of them.
	Vulnerability string // any of the finding's names
	Package       string // as installed, or its source
	PURL          string // of the package; what it leaves out fits all
	Path          string // of the evidence; with a slash at its end, all below
	// Where: "" is everywhere. A digest is one image, wherever it lies.
	Registry, Repository, Digest string

	Disposition   Disposition
	Justification string // VEX's word
	Reason        string
	By            string
	Created       int64 // ms; it sets nothing aside before
	Expires       int64 // ms; 0 is never
}

// Check says what is wrong with a suppression that somebody wants to make.
func (s *Suppression) Check() error {
	if s.Vulnerability == "" && s.Package == "" && s.PURL == "" && s.Path == "" {
		return errors.New("a suppression names a vulnerability, a package or a path")
	}
	if s.Repository != "" && s.Registry == "" {
		return errors.New("a suppression for a repository names its registry too")
	}
	switch s.Disposition {
	case NotAffected, FixedHere, FalsePositive, Accepted:
	default:
		return errors.New("a suppression says NOT_AFFECTED, FIXED, FALSE_POSITIVE or ACCEPTED")
	}
	if strings.TrimSpace(s.Reason) == "" && s.Justification == "" {
		return errors.New("a suppression gives a reason")
	}
	if s.Expires != 0 && s.Expires <= s.Created {
		return errors.New("a suppression expires after it is made")
	}
	return nil
}

// A Place is where an image lies.
type Place struct{ Registry, Repository, Digest string }

// Active reports whether the suppression holds at the moment (ms).
func (s *Suppression) Active(now int64) bool {
	return s.Created <= now && (s.Expires == 0 || now < s.Expires)
}

func (s *Suppression) at(p Place) bool {
	return (s.Registry == "" || s.Registry == p.Registry) &&
		(s.Repository == "" || s.Repository == p.Repository) &&
		(s.Digest == "" || s.Digest == p.Digest)
}

// An Aside is what suppressions do to the findings of an image.
type Aside struct {
	By   []int  // for each finding the index of the suppression, or -1
	All  Counts // of all findings
	Open Counts // of those that are not set aside
}

// Suppress decides which findings of an image are set aside at the moment (ms).
// A finding of several packages is, if each of them is. Of several suppressions
// the first counts.
func Suppress(img *Image, findings []Finding, list []Suppression, at Place, now int64) Aside {
	byName := map[string][]int{} // those that are active, by vulnerability; "" is any
	for i := range list {
		if s := &list[i]; s.Active(now) && s.at(at) && s.Check() == nil {
			n := plain(s.Vulnerability)
			byName[n] = append(byName[n], i)
		}
	}
	out := Aside{By: make([]int, len(findings)), All: Count(findings), Open: Counts{}}
	for i := range findings {
		out.By[i] = img.aside(&findings[i], list, candidates(&findings[i], byName))
		if out.By[i] < 0 {
			out.Open[findings[i].Rating.Severity]++
		}
	}
	return out
}

// candidates are the suppressions that may be about a finding, in order.
func candidates(f *Finding, byName map[string][]int) []int {
	out := slices.Clone(byName[""])
	for _, names := range [][]string{{f.Vulnerability}, f.Aliases, f.Advisories} {
		for _, n := range names {
			out = append(out, byName[plain(n)]...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (img *Image) aside(f *Finding, list []Suppression, active []int) int {
	by := -1
	for _, n := range f.Packages {
		i := slices.IndexFunc(active, func(i int) bool { return list[i].fits(f, img, &img.Packages[n]) })
		if i < 0 {
			return -1
		}
		if by < 0 {
			by = active[i]
		}
	}
	return by
}

func (s *Suppression) fits(f *Finding, img *Image, p *Installed) bool {
	if s.Vulnerability != "" && !f.Named(s.Vulnerability) {
		return false
	}
	if s.Package != "" && s.Package != p.Name && s.Package != p.SourceName && s.Package != f.Identity.Name {
		return false
	}
	if s.Path != "" && s.Path != p.Path && !(strings.HasSuffix(s.Path, "/") && strings.HasPrefix(p.Path, s.Path)) {
		return false
	}
	return s.PURL == "" || purlFits(s.PURL, img.PURL(p))
}

// Named reports whether the finding is that of the name: of the CVE, an alias,
// or an advisory about it.
func (m *Match) Named(name string) bool {
	same := func(n string) bool { return n == name || plain(n) == plain(name) }
	return same(m.Vulnerability) || slices.ContainsFunc(m.Aliases, same) || slices.Contains(m.Advisories, name)
}

// Lapsed are the indices of the suppressions that ended after the one moment,
// and not after the other: what they set aside is back.
func Lapsed(list []Suppression, after, until int64) []int {
	var out []int
	for i := range list {
		if e := list[i].Expires; e != 0 && after < e && e <= until {
			out = append(out, i)
		}
	}
	return out
}
