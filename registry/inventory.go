package registry

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"slices"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// An Inventory is what is in an image, merged of its layers.
type Inventory struct {
	vuln.Image
	Layers []ScannedLayer
	Sets   []PVSet // each package that can be matched is in one of them
	Config ImageConfig
}

// A ScannedLayer is a layer as the inventory of an image has it.
type ScannedLayer struct {
	Digest   string
	Status   string
	Inflated int64
}

// A PVSet is the packages of an image that are matched as one.
type PVSet struct {
	PV int64 // key of pvs
	vuln.Set
}

// os reports whether the set is of packages of the operating system.
func (inv *Inventory) os(s PVSet) bool { return inv.Packages[s.Packages[0]].Kind.OS() }

// An ImageConfig is what an image's configuration tells (OCI image spec,
// "Image Configuration").
type ImageConfig struct {
	OS, Architecture, Variant string
	Author                    string
	User                      string
	Entrypoint, Command       []string
	Created                   time.Time
}

// Platform is as in linux/arm64/v8.
func (c ImageConfig) Platform() string {
	p := c.OS
	for _, part := range []string{c.Architecture, c.Variant} {
		if part != "" {
			p += "/" + part
		}
	}
	return p
}

// ReadConfig reads the configuration of a plan's image. What cannot be read
// tells nothing.
func (r *Registry) ReadConfig(ctx context.Context, p *ScanPlan) (c ImageConfig, err error) {
	b, err := r.readBlob(ctx, p.Config, maxConfig)
	if err != nil || b == nil {
		return c, err
	}
	var in struct {
		OS           string    `json:"os"`
		Architecture string    `json:"architecture"`
		Variant      string    `json:"variant"`
		Author       string    `json:"author"`
		Created      time.Time `json:"created"`
		Config       struct {
			User       string
			Entrypoint []string
			Cmd        []string
		} `json:"config"`
	}
	if json.Unmarshal(b, &in) != nil {
		return c, nil
	}
	const most = 256
	text := func(s string) string { return clean(s, most) }
	list := func(in []string) (out []string) {
		for _, s := range in[:min(len(in), 64)] {
			out = append(out, text(s))
		}
		return out
	}
	c = ImageConfig{
		OS: text(in.OS), Architecture: text(in.Architecture), Variant: text(in.Variant), Author: text(in.Author), User: text(in.Config.User),
		Entrypoint: list(in.Config.Entrypoint), Command: list(in.Config.Cmd), Created: in.Created.UTC(),
	}
	return c, nil
}

// inventory returns that of an image, or meta.ErrNotFound.
func inventory(tx *meta.Tx, image int64) (*Inventory, error) {
	stored, err := tx.ImageInventory(image)
	if err != nil {
		return nil, err
	}
	return decodeInventory(stored.Body)
}

// stored is the record of an inventory.
func (inv *Inventory) stored(image int64) (i meta.ImageInventory, err error) {
	i = meta.ImageInventory{Image: image, Chain: chain(inv.Layers)}
	for _, s := range inv.Sets {
		if inv.os(s) {
			i.OS = append(i.OS, s.PV)
		} else {
			i.Other = append(i.Other, s.PV)
		}
	}
	for _, list := range []*[]int64{&i.OS, &i.Other} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	i.Body, err = inv.encode()
	return i, err
}

// chain is the hash that stands for layers in their order.
func chain(layers []ScannedLayer) int64 {
	h := fnv.New64a()
	for _, l := range layers {
		io.WriteString(h, l.Digest+"\n")
	}
	return int64(h.Sum64())
}

// FinishScan keeps the inventory of an image whose scan was planned, and what is
// wrong with it. pvs are the keys of the inventory's identities, all matched, in
// the order of vuln.Image.Identities(vuln.Enhanced).
func (r *Registry) FinishScan(ctx context.Context, p *ScanPlan, inv *Inventory, pvs []int64) error {
	inv.Layers = nil
	for _, l := range p.Layers {
		inv.Layers = append(inv.Layers, ScannedLayer{l.Digest, l.Status, l.Inflated})
	}
	inv.Sets = nil
	for i, set := range inv.Identities(vuln.Enhanced) {
		inv.Sets = append(inv.Sets, PVSet{pvs[i], set})
	}
	stored, err := inv.stored(p.Image.Row)
	if err != nil {
		return err
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		img, repo, err := tx.ImageOf(p.Image.Row)
		if errors.Is(err, meta.ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if err := tx.PutImageInventory(stored); err != nil {
			return err
		}
		if err := putLayerPackages(tx, p, inv); err != nil {
			return err
		}
		if err := tx.SyncSeen(pvs, r.now()); err != nil {
			return err
		}
		s, err := r.judge(tx, repo, img, inv, p.Type)
		if err != nil {
			return err
		}
		return r.endScan(tx, img, s)
	})
}

// putLayerPackages records which packages each layer has brought.
func putLayerPackages(tx *meta.Tx, p *ScanPlan, inv *Inventory) error {
	by := make([][]int64, len(p.Layers))
	for _, s := range inv.Sets {
		for _, n := range s.Packages {
			if l := inv.Packages[n].Layer; l >= 0 && l < len(by) {
				by[l] = append(by[l], s.PV)
			}
		}
	}
	for l, pvs := range by {
		slices.Sort(pvs)
		if err := tx.PutLayerPackages(p.Layers[l].ID, slices.Compact(pvs)); err != nil {
			return err
		}
	}
	return nil
}

func mode(t ecr.ScanType) vuln.Mode {
	if t == ecr.ScanEnhanced {
		return vuln.Enhanced
	}
	return vuln.Basic
}

// judge says how the scan of an image stands by its inventory and by what is
// known of its packages now.
func (r *Registry) judge(tx *meta.Tx, repo *ecr.Repository, img *ecr.Image, inv *Inventory, t ecr.ScanType) (ecr.Scan, error) {
	s := ecr.Scan{Image: img.Row, Type: t}
	if err := r.settleStatus(tx, repo, inv, &s); err != nil {
		return s, err
	}
	var err error
	if s.SourceAt, err = tx.SourceTime(); err != nil {
		return s, err
	}
	found, err := findingsOf(tx, inv, t)
	if err != nil {
		return s, err
	}
	aside, _, err := r.aside(tx, img, inv, found)
	if err != nil {
		return s, err
	}
	s.Counts, s.Suppressed = counts(aside)
	return s, nil
}

// settleStatus sets status and description of a scan by what could be read of
// the image and by what advisories there are. What may not be all is never said
// to be complete.
func (r *Registry) settleStatus(tx *meta.Tx, repo *ecr.Repository, inv *Inventory, s *ecr.Scan) error {
	switch inv.Status {
	case vuln.LayerFailed, vuln.LayerLimited:
		s.Status, s.Description = ecr.ScanFailed, "A layer could not be read as a whole: "+clean(inv.Message, 400)
		return nil
	case vuln.LayerUnsupported:
		s.Status, s.Description = ecr.ScanUnsupported, scanUnsupported
		return nil
	}
	var failed error
	covered := map[string]bool{}
	coverage, why := inv.Coverage(mode(s.Type), func(ecosystem string) bool {
		ok, known := covered[ecosystem]
		if !known {
			var err error
			ok, err = tx.Covers(ecosystem)
			failed = errors.Join(failed, err)
			covered[ecosystem] = ok
		}
		return ok
	})
	if failed != nil {
		return failed
	}
	switch coverage {
	case vuln.Unsupported:
		s.Status, s.Description = ecr.ScanUnsupported, scanUnsupported
	case vuln.Uncovered:
		s.Status, s.Description = ecr.ScanUnavailable, why
	default:
		cfg, err := scanConfiguration(tx, repo.ID.Account)
		if err != nil {
			return err
		}
		s.Status, s.Description = ecr.ScanComplete, scanCompleted
		if f, _ := cfg.For(repo.ID.Name, repo.ScanOnPush); f == ecr.ScanContinuous && s.Type == ecr.ScanEnhanced {
			s.Status, s.Description = ecr.ScanActive, scanContinuous
		}
		if coverage == vuln.Partial {
			s.Description += " " + why
		}
	}
	return nil
}

// findingsOf returns what is wrong with an image's packages, the worst first.
func findingsOf(tx *meta.Tx, inv *Inventory, t ecr.ScanType) ([]vuln.Finding, error) {
	pvs := make([]int64, 0, len(inv.Sets))
	for _, s := range inv.Sets {
		pvs = append(pvs, s.PV)
	}
	found, err := tx.Findings(pvs)
	if err != nil {
		return nil, err
	}
	var out []vuln.Finding
	for _, s := range inv.Sets {
		if t != ecr.ScanEnhanced && !inv.os(s) {
			continue
		}
		for _, m := range found[s.PV] {
			out = append(out, vuln.Finding{Match: m, Identity: s.Identity, Packages: s.Packages})
		}
	}
	vuln.SortFindings(out)
	return out, nil
}

// counts are an image's findings by severity: those that count, and those that
// are set aside.
func counts(a vuln.Aside) (open, aside map[string]int) {
	open, aside = map[string]int{}, map[string]int{}
	for s, n := range a.Open {
		open[string(s)] = n
	}
	for s, n := range a.All {
		if n -= a.Open[s]; n > 0 {
			aside[string(s)] = n
		}
	}
	return open, aside
}
