package registry

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// exploitable is the probability, by EPSS, from which an exploit counts as
// available.
const exploitable = 0.5

// Exploitable reports whether there is an exploit of a vulnerability.
func (f *FoundIn) Exploitable() bool { return vuln.ExploitAvailable(f.Known, f.EPSS, exploitable) }

// A place is where a page of findings begins: after the finding with this key.
type place struct {
	image int64
	key   string
}

// maxOrder bounds what a token of a page says of its last finding.
const maxOrder = 960

// orderOf is what findings are sorted by, the worst first.
func orderOf(f *vuln.Finding) string {
	rank := strconv.Itoa(vuln.Critical.Rank() - f.Rating.Severity.Rank())
	return clean(strings.Join([]string{rank, f.Vulnerability, f.Identity.Ecosystem, f.Identity.Name, f.Identity.Version, f.Identity.Module}, "\x1f"), maxOrder)
}

// findings fills in the page of out that follows a place, and the counts.
func (r *Registry) findings(tx *meta.Tx, out *ScanResult, t ecr.ScanType, from place, n int) error {
	images, err := r.scanned(tx, out.Image)
	if err != nil {
		return err
	}
	out.Scan.Counts, out.Scan.Suppressed = map[string]int{}, map[string]int{}
	var all []FoundIn
	pvs := map[vuln.Identity]int64{}
	for _, img := range images {
		list, aside, err := r.findingsIn(tx, img, t, pvs)
		if err != nil {
			return err
		}
		open, suppressed := counts(aside)
		for s, n := range open {
			out.Scan.Counts[s] += n
		}
		for s, n := range suppressed {
			out.Scan.Suppressed[s] += n
		}
		all = append(all, list...)
	}
	less := func(f *FoundIn, p place) int {
		return cmp.Or(cmp.Compare(f.order, p.key), cmp.Compare(f.Image.Row, p.image))
	}
	slices.SortStableFunc(all, func(a, b FoundIn) int { return less(&a, place{b.Image.Row, b.order}) })
	if from.key != "" {
		all = all[slices.IndexFunc(append(all, FoundIn{}), func(f FoundIn) bool { return f.Image == nil || less(&f, from) > 0 }):]
	}
	if len(all) > n {
		all = all[:n]
		out.Next = encodeCursor(all[n-1].Image.Row, all[n-1].order)
	}
	out.Findings = all
	if out.Scan.SourceAt, err = tx.SourceTime(); err != nil {
		return err
	}
	return r.detail(tx, out, pvs)
}

// findingsIn returns what is wrong with one image, and what of that is set
// aside; it notes the keys of package versions in pvs.
func (r *Registry) findingsIn(tx *meta.Tx, img *ecr.Image, t ecr.ScanType, pvs map[vuln.Identity]int64) ([]FoundIn, vuln.Aside, error) {
	inv, err := inventory(tx, img.Row)
	if errors.Is(err, meta.ErrNotFound) {
		return nil, vuln.Aside{}, nil // its scan could not be made
	}
	if err != nil {
		return nil, vuln.Aside{}, err
	}
	if img.Tags, err = tx.Tags(img.Row); err != nil {
		return nil, vuln.Aside{}, err
	}
	for _, s := range inv.Sets {
		pvs[s.Identity] = s.PV
	}
	found, err := findingsOf(tx, inv, t)
	if err != nil {
		return nil, vuln.Aside{}, err
	}
	aside, overrides, err := r.aside(tx, img, inv, found)
	if err != nil {
		return nil, aside, err
	}
	out := make([]FoundIn, len(found))
	for i, f := range found {
		out[i] = FoundIn{Finding: f, Image: img, Config: inv.Config, order: orderOf(&f)}
		if by := aside.By[i]; by >= 0 {
			out[i].Override = &overrides[by]
		}
		for _, n := range f.Packages {
			out[i].Packages = append(out[i].Packages, inv.Found(n))
		}
	}
	return out, aside, nil
}

// Found is a package of the inventory with its layer.
func (inv *Inventory) Found(n int) FoundPackage {
	p := FoundPackage{Installed: inv.Packages[n]}
	if p.Layer >= 0 && p.Layer < len(inv.Layers) {
		p.LayerDigest = inv.Layers[p.Layer].Digest
	}
	return p
}

// detail fills in what a page says beyond the findings themselves.
func (r *Registry) detail(tx *meta.Tx, out *ScanResult, pvs map[vuln.Identity]int64) error {
	var rows []int64
	var names []string
	for i := range out.Findings {
		f := &out.Findings[i]
		rows = append(rows, pvs[f.Identity])
		names = append(names, f.Vulnerability)
	}
	slices.Sort(rows)
	seen, err := tx.Seen(slices.Compact(rows))
	if err != nil {
		return err
	}
	type key struct {
		pv   int64
		name string
	}
	first := make(map[key]time.Time, len(seen))
	for _, s := range seen {
		first[key{s.PV, s.Vulnerability}] = s.FirstAt
	}
	slices.Sort(names)
	names = slices.Compact(names)
	known, err := tx.KEVsOf(names)
	if err != nil {
		return err
	}
	epss, err := tx.EPSSsOf(names)
	if err != nil {
		return err
	}
	var images []int64
	for i := range out.Findings {
		images = append(images, out.Findings[i].Image.Row)
	}
	scans, err := tx.Scans(slices.Compact(images), out.Scan.Type)
	if err != nil {
		return err
	}
	advisories := map[string]*vuln.Advisory{}
	for i := range out.Findings {
		f := &out.Findings[i]
		s := scans[f.Image.Row]
		f.ARN = r.findingARN(f.Image, &f.Finding)
		f.FirstAt, f.LastAt = latest(s.FirstAt, first[key{pvs[f.Identity], f.Vulnerability}]), latest(s.CompletedAt, out.Scan.SourceAt)
		_, f.Known = known[f.Vulnerability]
		f.EPSS = epss[f.Vulnerability].Score
		if f.Advisory, err = advisoryOf(tx, f.Advisories, advisories); err != nil {
			return err
		}
	}
	return nil
}

// advisoryOf returns the first of some advisories, nil if it is gone.
func advisoryOf(tx *meta.Tx, ids []string, cache map[string]*vuln.Advisory) (*vuln.Advisory, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if a, ok := cache[ids[0]]; ok {
		return a, nil
	}
	body, err := tx.AdvisoryNamed(ids[0])
	if errors.Is(err, meta.ErrNotFound) {
		cache[ids[0]] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := advisory.Decode(body)
	cache[ids[0]] = a
	return a, err
}

// findingARN names a finding: the same as long as image, package and
// vulnerability are.
func (r *Registry) findingARN(img *ecr.Image, f *vuln.Finding) string {
	h := sha256.New()
	for _, part := range []string{img.Repository.Name, img.Digest, f.Vulnerability, f.Identity.Ecosystem, f.Identity.Name, f.Identity.Version, f.Identity.Module} {
		io.WriteString(h, part+"\n")
	}
	return "arn:aws:inspector2:" + r.cfg.Region + ":" + img.Repository.Account + ":finding/" + hex.EncodeToString(h.Sum(nil)[:16])
}
