package registry

import (
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// describe tells of images that were found.
func (f *search) describe(images []int64) ([]Vulnerable, error) {
	records, err := f.tx.ImagesAt(images)
	if err != nil {
		return nil, err
	}
	bodies, err := f.tx.InventoryBodies(images)
	if err != nil {
		return nil, err
	}
	found, err := f.decode(images, bodies)
	if err != nil {
		return nil, err
	}
	if err := f.learn(found); err != nil {
		return nil, err
	}
	overridden, err := f.tx.Overridden(f.account)
	if err != nil {
		return nil, err
	}
	out := make([]Vulnerable, len(images))
	for i, image := range images {
		v := &out[i]
		if v.Image = records[image]; v.Image == nil {
			return nil, meta.ErrNotFound
		}
		repo, err := f.repository(v.Image.Repository)
		if err != nil {
			return nil, err
		}
		v.RepositoryTags = repo.Tags
		if v.Packages, err = f.facts(v.Image, found[i], overridden); err != nil {
			return nil, err
		}
	}
	return out, f.addBases(out, found)
}

// decode reads of inventories what is asked for, several at a time.
func (f *search) decode(images []int64, bodies map[int64][]byte) ([]*Inventory, error) {
	out, errs := make([]*Inventory, len(images)), make([]error, len(images))
	workers := min(runtime.GOMAXPROCS(0), 4)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			d := new(inventoryDecoder)
			for i := w; i < len(images); i += workers {
				out[i], errs[i] = d.decode(bodies[images[i]], f.pvs)
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// learn looks up the findings of package versions of inventories.
func (f *search) learn(found []*Inventory) error {
	var unknown []int64
	for _, inv := range found {
		for _, s := range inv.Sets {
			if _, ok := f.findings[s.PV]; !ok {
				f.findings[s.PV] = nil
				unknown = append(unknown, s.PV)
			}
		}
	}
	slices.Sort(unknown)
	matches, err := f.tx.Findings(unknown)
	for pv, list := range matches {
		f.findings[pv] = list
	}
	return err
}

func (f *search) repository(id ecr.RepositoryID) (*ecr.Repository, error) {
	repo, ok := f.repositories[id]
	if !ok {
		var err error
		if repo, err = f.tx.Repository(id); err != nil {
			return nil, err
		}
		f.repositories[id] = repo
	}
	return repo, nil
}

// facts tells of the packages of an image that are asked for, all of inv.Sets.
func (f *search) facts(img *ecr.Image, inv *Inventory, overridden bool) (out []VulnerablePackage, err error) {
	var found []vuln.Finding
	for _, s := range inv.Sets {
		for _, m := range f.findings[s.PV] {
			found = append(found, vuln.Finding{Match: m, Identity: s.Identity, Packages: s.Packages})
		}
	}
	vuln.SortFindings(found)
	var aside vuln.Aside
	if overridden {
		if aside, _, err = f.r.aside(f.tx, img, inv, found); err != nil {
			return nil, err
		}
	}
	for _, s := range inv.Sets {
		fact := VulnerablePackage{}
		for i := range found {
			if found[i].Identity == s.Identity && slices.Contains(f.names, found[i].Vulnerability) {
				fact = VulnerablePackage{Severity: found[i].Rating.Severity, Fixed: found[i].Fixed, Suppressed: overridden && aside.By[i] >= 0}
			}
		}
		for _, n := range s.Packages {
			fact.FoundPackage = inv.Found(n)
			out = append(out, fact)
		}
	}
	return out, nil
}

// addBases finds what images are built on.
func (f *search) addBases(out []Vulnerable, found []*Inventory) error {
	chains := make([][]int64, len(found)) // of each the largest first
	var all []int64
	for i, inv := range found {
		for n := len(inv.Layers) - 1; n > 0; n-- {
			chains[i] = append(chains[i], chain(inv.Layers[:n]))
		}
		all = append(all, chains[i]...)
	}
	slices.Sort(all)
	byChain, err := f.tx.ImagesOfChain(f.account, slices.Compact(all))
	if err != nil {
		return err
	}
	for i := range out {
		for _, c := range chains[i] {
			row, ok := byChain[c]
			if !ok {
				continue
			}
			base, err := f.base(row)
			if err != nil {
				return err
			}
			if base != nil {
				out[i].Base = base
				break
			}
		}
	}
	return nil
}

// base returns an image that others are built on, nil if it has none of the
// packages.
func (f *search) base(row int64) (*ecr.Image, error) {
	base, known := f.bases[row]
	if known {
		return base, nil
	}
	has, err := f.tx.ImagePackages([]int64{row})
	if err != nil {
		return nil, err
	}
	if len(has) == 1 && has[0].Has(f.pvs, false) {
		records, err := f.tx.ImagesAt([]int64{row})
		if err != nil {
			return nil, err
		}
		base = records[row]
	}
	f.bases[row] = base
	return base, nil
}
