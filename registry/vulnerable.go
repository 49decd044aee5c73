package registry

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// A VulnerableQuery names what images are looked for by: a vulnerability, or a
// package with a range of versions.
type VulnerableQuery struct {
	Vulnerability string
	Package       string // as advisories name it
	Ecosystem     string // "" is any
	Versions      string // "", a version, or bounds with a comma between: >=2.0,<2.17.1
}

// A Vulnerable is an image that was looked for.
type Vulnerable struct {
	Image          *ecr.Image // with tags
	RepositoryTags []ecr.Tag
	// Base is the largest image of the account that this one is built on and
	// that has one of the packages already; nil if there is none.
	Base     *ecr.Image
	Packages []VulnerablePackage
}

// A VulnerablePackage is a package that was looked for.
type VulnerablePackage struct {
	FoundPackage
	Severity   vuln.Severity // "" if no vulnerability was named
	Fixed      string
	Suppressed bool // in this image the finding is set aside
}

// mostPVs bounds the package versions that one question may be about.
const mostPVs = 50_000

// FindVulnerableImages returns a page of an account's scanned images that have
// what q names, in the order of their first push.
func (r *Registry) FindVulnerableImages(ctx context.Context, c ecr.Caller, account string, q VulnerableQuery, p ecr.Page) (out []Vulnerable, next string, err error) {
	const action = "ecr:FindVulnerableImages"
	if (q.Vulnerability == "") == (q.Package == "") {
		return nil, "", ecr.InvalidParam("vulnerabilityId", "Give either vulnerabilityId or packageName")
	}
	if q.Package == "" && (q.Versions != "" || q.Ecosystem != "") {
		return nil, "", ecr.InvalidParam("packageName", "versionRange and ecosystem go with packageName")
	}
	within, err := parseVersions(q.Versions)
	if err != nil {
		return nil, "", err
	}
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	after, _, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		out, next = nil, ""
		if err := r.allowAll(tx, c, action, account); err != nil {
			return err
		}
		f := &search{r: r, tx: tx, account: account, q: q, repositories: map[ecr.RepositoryID]*ecr.Repository{}, findings: map[int64][]vuln.Match{}, bases: map[int64]*ecr.Image{}}
		if err := f.packages(within); err != nil {
			return err
		}
		images, more, err := f.images(after, n)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(images, 250) {
			list, err := f.describe(some)
			if err != nil {
				return err
			}
			out = append(out, list...)
		}
		if more {
			next = encodeCursor(images[len(images)-1], "")
		}
		return nil
	})
	return out, next, r.denied(ctx, c, action, ecr.RepositoryID{Account: account}, err)
}

// parseVersions reads a range of versions; nil means all.
func parseVersions(text string) (*vuln.Affected, error) {
	if text == "" {
		return nil, nil
	}
	bad := ecr.InvalidParam("versionRange", "Want a version, or bounds with a comma between, such as >=2.0,<2.17.1")
	var iv vuln.Interval
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		at := strings.IndexFunc(part, func(c rune) bool { return !strings.ContainsRune("<>=", c) })
		if at < 0 || len(part) > 256 {
			return nil, bad
		}
		v := strings.TrimSpace(part[at:])
		switch op := part[:at]; {
		case op == ">=" && iv.Introduced == "":
			iv.Introduced = v
		case op == "<" && iv.Fixed == "" && iv.Last == "":
			iv.Fixed = v
		case op == "<=" && iv.Fixed == "" && iv.Last == "":
			iv.Last = v
		case (op == "" || op == "=" || op == "==") && iv == (vuln.Interval{}) && !strings.Contains(text, ","):
			return &vuln.Affected{Versions: []string{v}}, nil
		default:
			return nil, bad
		}
	}
	return &vuln.Affected{Intervals: []vuln.Interval{iv}}, nil
}

// A search answers one question.
type search struct {
	r       *Registry
	tx      *meta.Tx
	account string
	q       VulnerableQuery
	names   []string // of the vulnerability
	pvs     []int64  // sorted

	// What has been looked up for images before.
	repositories map[ecr.RepositoryID]*ecr.Repository
	findings     map[int64][]vuln.Match // of package versions
	bases        map[int64]*ecr.Image   // nil: has none of the packages
}

// packages finds the package versions that are asked for.
func (f *search) packages(within *vuln.Affected) error {
	add := func(page func(after int64) ([]meta.PV, error), ok func(*meta.PV) bool) error {
		const size = 1000
		for after := int64(0); len(f.pvs) < mostPVs; {
			pvs, err := page(after)
			if err != nil {
				return err
			}
			for i := range pvs {
				after = pvs[i].ID
				if ok(&pvs[i]) {
					f.pvs = append(f.pvs, after)
				}
			}
			if len(pvs) < size {
				break
			}
		}
		return nil
	}
	var err error
	if f.q.Package != "" {
		err = add(func(after int64) ([]meta.PV, error) { return f.tx.PVsNamed(f.q.Package, f.q.Ecosystem, after, 1000) },
			func(p *meta.PV) bool { return versionIn(p.Identity, within) })
	} else {
		if f.names, err = vulnerabilityNames(f.tx, f.q.Vulnerability); err != nil {
			return err
		}
		for _, name := range f.names {
			err = errors.Join(err, add(func(after int64) ([]meta.PV, error) { return f.tx.PVsWith(name, after, 1000) }, func(*meta.PV) bool { return true }))
		}
	}
	slices.Sort(f.pvs)
	f.pvs = slices.Compact(f.pvs)
	return err
}

// vulnerabilityNames returns what findings of a vulnerability are called that is
// named by any of its names.
func vulnerabilityNames(tx *meta.Tx, name string) ([]string, error) {
	names := []string{name}
	ids, err := tx.AdvisoriesNamed(name, 50)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		body, err := tx.AdvisoryNamed(id)
		if err != nil {
			return nil, err
		}
		a, err := advisory.Decode(body)
		if err != nil {
			return nil, err
		}
		if !a.Bundles() || id == name {
			names = append(append(names, id), a.CVEs()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// versionIn reports whether a package version is in a range, by the order of its
// ecosystem.
func versionIn(id vuln.Identity, within *vuln.Affected) bool {
	if within == nil {
		return true
	}
	part := *within
	part.Key = id.Key
	a := vuln.Advisory{ID: "range", Affected: []vuln.Affected{part}}
	return a.Affects(id)
}

// images returns the images that have one of the package versions and follow
// after, n at most, and whether there are more.
func (f *search) images(after int64, n int) (out []int64, more bool, err error) {
	layers, err := f.tx.LayersWith(f.pvs)
	if err != nil {
		return nil, false, err
	}
	for {
		page, err := f.tx.ImagesOn(layers, after, n+1)
		if err != nil || len(page) == 0 {
			return out, false, err
		}
		names, err := f.tx.ImageNames(page)
		if err != nil {
			return nil, false, err
		}
		list, err := f.tx.ImagePackages(page)
		if err != nil {
			return nil, false, err
		}
		for i := range list {
			img := names[list[i].Image]
			if img == nil || img.Repository.Account != f.account || img.Status == ecr.ImageArchived || !list[i].Has(f.pvs, false) {
				continue
			}
			if len(out) == n {
				return out, true, nil
			}
			out = append(out, img.Row)
		}
		if len(page) <= n {
			return out, false, nil
		}
		after = page[len(page)-1]
	}
}
