package registry

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// recountTries is how often images are counted beside the writer whose scans
// change meanwhile; then it is done by the writer, recountFew at a time.
const (
	recountTries = 3
	recountFew   = 25
	// recountWhole is from how many images on the neighbours of a package
	// version are asked for with it: one question is cheaper than many.
	recountWhole = 2000
)

// recountAll counts those of images anew that are wanted, and returns how many
// have changed. Counting is done beside the writer, which only checks that scans
// are as they were and writes. One recount of the process runs at a time, so that
// the last one has counted by the latest history.
func (r *Registry) recountAll(ctx context.Context, images []int64, want func(*meta.ImageInventory) bool) (changed int, err error) {
	select {
	case r.recounting <- struct{}{}:
		defer func() { <-r.recounting }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	type part struct {
		images []int64
		counted
		err error
	}
	parts := make(chan part, 1)
	rc := &recount{r: r, want: want, whole: len(images) >= recountWhole}
	go func() {
		defer close(parts)
		for some := range slices.Chunk(images, recountBatch) {
			p := part{images: some}
			p.counted, p.err = rc.count(ctx, some)
			select {
			case parts <- p:
			case <-ctx.Done():
				return
			}
			if p.err != nil {
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range parts { // until nobody counts any more
		}
	}()
	for p := range parts {
		if p.err != nil {
			return changed, p.err
		}
		n, err := r.putCounted(ctx, p.counted)
		if errors.Is(err, errMoved) {
			n, err = r.recountAgain(ctx, p.images, want)
		}
		if changed += n; err != nil {
			return changed, err
		}
	}
	return changed, ctx.Err()
}

// errMoved: a scan is not as it was when it was counted.
var errMoved = errors.New("registry: scans have changed meanwhile")

// counted is the outcome of counting some images.
type counted struct {
	was, next []ecr.Scan // of those that have changed
	events    []ecr.Event
}

// put writes what has been counted, or returns errMoved.
func (c *counted) put(tx *meta.Tx) error {
	if len(c.next) == 0 {
		return nil
	}
	same, err := tx.ScansStand(c.was)
	if err != nil {
		return err
	}
	if !same {
		return errMoved
	}
	return errors.Join(tx.PutScans(c.next), tx.AppendOwn(c.events))
}

func (r *Registry) putCounted(ctx context.Context, c counted) (int, error) {
	if len(c.next) == 0 {
		return 0, nil
	}
	err := r.db.Update(ctx, c.put)
	if err != nil {
		return 0, err
	}
	return len(c.next), nil
}

// recountAgain counts images whose scans change at the same time.
func (r *Registry) recountAgain(ctx context.Context, images []int64, want func(*meta.ImageInventory) bool) (int, error) {
	for range recountTries {
		c, err := (&recount{r: r, want: want}).count(ctx, images)
		if err != nil {
			return 0, err
		}
		if n, err := r.putCounted(ctx, c); !errors.Is(err, errMoved) {
			return n, err
		}
	}
	changed := 0
	for some := range slices.Chunk(images, recountFew) {
		var c counted
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			if c, err = (&recount{r: r, want: want}).run(tx, some); err != nil {
				return err
			}
			return c.put(tx)
		})
		if err != nil {
			return changed, err
		}
		changed += len(c.next)
	}
	return changed, nil
}

// A recount counts findings of images by those of their package versions. It is
// used by one goroutine.
type recount struct {
	r    *Registry
	want func(*meta.ImageInventory) bool
	// pvs is what is wrong, as far as it has been asked; with whole, in whole
	// pages.
	pvs   pvCounts
	whole bool
}

// count is run in a transaction of its own.
func (rc *recount) count(ctx context.Context, images []int64) (c counted, err error) {
	err = rc.r.db.View(ctx, func(tx *meta.Tx) (err error) {
		c, err = rc.run(tx, images)
		return err
	})
	return c, err
}

func (rc *recount) run(tx *meta.Tx, images []int64) (c counted, err error) {
	list, err := tx.ImagePackages(images)
	if err != nil {
		return c, err
	}
	list = slices.DeleteFunc(list, func(i meta.ImageInventory) bool { return !rc.want(&i) })
	if len(list) == 0 {
		return c, nil
	}
	if err := rc.ask(tx, list); err != nil {
		return c, err
	}
	rows := make([]int64, len(list))
	for i := range list {
		rows[i] = list[i].Image
	}
	names, err := tx.ImageNames(rows)
	if err != nil {
		return c, err
	}
	scans, err := tx.ScansOf(rows)
	if err != nil {
		return c, err
	}
	overridden := map[string]bool{}
	at := 0 // list and scans are in the order of images
	for _, s := range scans {
		for list[at].Image != s.Image {
			at++
		}
		img := names[s.Image]
		if img == nil || !s.Status.Done() && s.Status != ecr.ScanUnavailable {
			continue
		}
		next, err := rc.one(tx, img, &list[at], s, overridden)
		if err != nil {
			return c, err
		}
		if maps.Equal(next.Counts, s.Counts) && maps.Equal(next.Suppressed, s.Suppressed) && next.Status == s.Status {
			continue
		}
		e := rc.r.event(scanner(img.Repository.Account), ecr.FindingsChanged, "", img.Repository)
		e.Digest, e.Code = img.Digest, string(next.Status)
		c.was, c.next, c.events = append(c.was, s), append(c.next, next), append(c.events, e)
	}
	return c, nil
}

// ask gets the counts of package versions that are not known yet.
func (rc *recount) ask(tx *meta.Tx, list []meta.ImageInventory) error {
	var unknown []int64
	for i := range list {
		for _, pvs := range [][]int64{list[i].OS, list[i].Other} {
			if rc.whole {
				if err := rc.askPages(tx, pvs); err != nil {
					return err
				}
				continue
			}
			for _, pv := range pvs {
				if rc.pvs.learn(pv) {
					unknown = append(unknown, pv)
				}
			}
		}
	}
	slices.Sort(unknown)
	found, err := tx.CountSeen(unknown)
	rc.pvs.set(found)
	return err
}

// askPages gets the counts of the pages that package versions, sorted, are in.
func (rc *recount) askPages(tx *meta.Tx, pvs []int64) error {
	last := int64(-1)
	for _, pv := range pvs {
		n := pv / pvPage
		if n == last {
			continue
		}
		if last = n; rc.pvs.pages[n] != nil {
			continue
		}
		found, err := tx.CountSeenFrom(n*pvPage, (n+1)*pvPage)
		if err != nil {
			return err
		}
		rc.pvs.page(n)
		rc.pvs.set(found)
	}
	return nil
}

// one counts one scan anew. overridden has the accounts that have overrides, as
// far as it has been asked.
func (rc *recount) one(tx *meta.Tx, img *ecr.Image, i *meta.ImageInventory, s ecr.Scan, overridden map[string]bool) (ecr.Scan, error) {
	account := img.Repository.Account
	any, asked := overridden[account]
	if !asked {
		var err error
		if any, err = tx.Overridden(account); err != nil {
			return s, err
		}
		overridden[account] = any
	}
	if any || len(s.Suppressed) > 0 || s.Status == ecr.ScanUnavailable {
		overrides, err := tx.OverridesAt(img.Repository, img.Digest, rc.r.now())
		if err != nil {
			return s, err
		}
		if len(overrides) > 0 || len(s.Suppressed) > 0 || s.Status == ecr.ScanUnavailable {
			return rc.r.rejudge(tx, img.Row, s)
		}
	}
	s.Counts = rc.sum(i, s.Type)
	return s, nil
}

// sum is an image's findings by severity, none of them set aside.
func (rc *recount) sum(i *meta.ImageInventory, t ecr.ScanType) map[string]int {
	var total meta.RankCounts
	rc.pvs.add(&total, i.OS)
	if t == ecr.ScanEnhanced {
		rc.pvs.add(&total, i.Other)
	}
	out := map[string]int{}
	for _, s := range vuln.Severities() {
		if n := total[s.Rank()]; n > 0 {
			out[string(s)] = int(n)
		}
	}
	return out
}

// pvCounts are what is wrong with package versions, by rank of severity. Keys of
// these lie close together; most have nothing wrong. It takes 4 bytes for each.
type pvCounts struct {
	pages  map[int64]*[pvPage]int32 // by the upper part of the key
	counts []meta.RankCounts
}

const pvPage = 1024

// Of a package version in a page of pvCounts; from firstCount on it is the place
// in counts.
const (
	nothing    = 0
	asked      = 1 // nothing, as far as is known
	firstCount = 2
)

// page returns a page, which it makes if there is none.
func (c *pvCounts) page(n int64) *[pvPage]int32 {
	page := c.pages[n]
	if page == nil {
		if c.pages == nil {
			c.pages = map[int64]*[pvPage]int32{}
		}
		page = new([pvPage]int32)
		c.pages[n] = page
	}
	return page
}

// learn notes that a package version has been asked for, and reports whether it
// had not been.
func (c *pvCounts) learn(pv int64) bool {
	at := &c.page(pv / pvPage)[pv%pvPage]
	if *at != nothing {
		return false
	}
	*at = asked
	return true
}

// set says what is wrong with package versions.
func (c *pvCounts) set(found map[int64]meta.RankCounts) {
	for pv, n := range found {
		c.page(pv / pvPage)[pv%pvPage] = int32(firstCount + len(c.counts))
		c.counts = append(c.counts, n)
	}
}

// add adds what is wrong with package versions, sorted, to a total.
func (c *pvCounts) add(total *meta.RankCounts, pvs []int64) {
	var page *[pvPage]int32
	last := int64(-1)
	for _, pv := range pvs {
		if n := pv / pvPage; n != last {
			page, last = c.page(n), n
		}
		at := page[pv%pvPage]
		if at < firstCount {
			continue
		}
		for rank, n := range &c.counts[at-firstCount] {
			total[rank] += n
		}
	}
}
