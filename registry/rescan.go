package registry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

const (
	// changedKey begins the key of a job that counts images anew which have
	// package versions that its payload names.
	changedKey = "changed/"
	// takeBatch is how many package versions one such job is about.
	takeBatch = 20_000
	// syncBatch is of how many one transaction writes the history.
	syncBatch = 500
	// recountBatch is how many images one transaction counts anew.
	recountBatch = 250
)

// TakeChanges hands package versions whose findings have changed to jobs of
// ScanQueue, and returns how many.
func (r *Registry) TakeChanges(ctx context.Context) (n int, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		pvs, err := tx.TakeChangedPVs(takeBatch)
		n = len(pvs)
		if err != nil || n == 0 {
			return err
		}
		payload := make([]byte, 0, 3*n)
		last := int64(0)
		for _, pv := range pvs {
			payload = binary.AppendUvarint(payload, uint64(pv-last))
			last = pv
		}
		h := fnv.New128a()
		h.Write(payload)
		now := r.now()
		return tx.Enqueue(ScanQueue, changedKey+hex.EncodeToString(h.Sum(nil)), payload, now, now)
	})
	return n, err
}

// IsChanged reports whether a job of ScanQueue is one of TakeChanges, for
// Changed.
func IsChanged(key string) bool { return strings.HasPrefix(key, changedKey) }

// IsRefresh reports whether a job of ScanQueue is one that counts anew the images
// of a repository, or of an account, and which; for Refresh.
func IsRefresh(key string) (id ecr.RepositoryID, ok bool) {
	rest, ok := strings.CutPrefix(key, refreshKey)
	id.Account, id.Name, _ = strings.Cut(rest, "/")
	return id, ok
}

// Changed counts anew the images that have package versions which a payload
// names, and returns how many of these have other findings than before. It reads
// no layer.
func (r *Registry) Changed(ctx context.Context, payload []byte) (changed int, err error) {
	var pvs []int64
	last := int64(0)
	for len(payload) > 0 {
		d, n := binary.Uvarint(payload)
		if n <= 0 {
			return 0, errors.New("registry: a list of changed package versions is damaged")
		}
		last, payload = last+int64(d), payload[n:]
		pvs = append(pvs, last)
	}
	for part := range slices.Chunk(pvs, syncBatch) {
		if err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.SyncSeen(part, r.now()) }); err != nil {
			return 0, err
		}
	}
	var images []int64
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		layers, err := tx.LayersWith(pvs)
		if err != nil {
			return err
		}
		images, err = tx.ImagesWithLayers(layers)
		return err
	})
	if err != nil {
		return 0, err
	}
	return r.recountAll(ctx, images, func(i *meta.ImageInventory) bool { return i.Has(pvs, false) })
}

// Refresh counts the images of a repository anew, or of an account if id.Name is
// "", because overrides have changed.
func (r *Registry) Refresh(ctx context.Context, id ecr.RepositoryID) error {
	for after := int64(0); ; {
		var images []int64
		err := r.db.View(ctx, func(tx *meta.Tx) error {
			row := int64(0)
			if id.Name != "" {
				repo, err := tx.Repository(id)
				if errors.Is(err, meta.ErrNotFound) {
					return nil
				}
				if err != nil {
					return err
				}
				row = repo.Row
			}
			var err error
			images, err = tx.ImagesInventoried(id.Account, row, after, recountBatch)
			return err
		})
		if err != nil || len(images) == 0 {
			return err
		}
		if _, err := r.recountAll(ctx, images, func(*meta.ImageInventory) bool { return true }); err != nil {
			return err
		}
		after = images[len(images)-1]
	}
}

// recountAll counts those of images anew that are wanted, and returns how many
// have changed.
func (r *Registry) recountAll(ctx context.Context, images []int64, want func(*meta.ImageInventory) bool) (changed int, err error) {
	rc := &recount{r: r, pvs: map[int64][meta.SeverityRanks]int32{}}
	for part := range slices.Chunk(images, recountBatch) {
		var n int
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			n, err = rc.run(tx, part, want)
			return err
		})
		if err != nil {
			return changed, err
		}
		changed += n
	}
	return changed, nil
}

// A recount counts findings of images by those of their package versions.
type recount struct {
	r   *Registry
	pvs map[int64][meta.SeverityRanks]int32 // what is wrong, as far as it has been asked
}

// maxCounted bounds the package versions whose counts are kept.
const maxCounted = 400_000

func (rc *recount) run(tx *meta.Tx, images []int64, want func(*meta.ImageInventory) bool) (changed int, err error) {
	list, err := tx.ImagePackages(images)
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(i meta.ImageInventory) bool { return !want(&i) })
	if len(list) == 0 {
		return 0, nil
	}
	if err := rc.ask(tx, list); err != nil {
		return 0, err
	}
	rows := make([]int64, len(list))
	for i := range list {
		rows[i] = list[i].Image
	}
	names, err := tx.ImageNames(rows)
	if err != nil {
		return 0, err
	}
	var put []ecr.Scan
	var events []ecr.Event
	overridden := map[string]bool{}
	for _, t := range []ecr.ScanType{ecr.ScanBasic, ecr.ScanEnhanced} {
		scans, err := tx.Scans(rows, t)
		if err != nil {
			return 0, err
		}
		for i := range list {
			s, ok := scans[list[i].Image]
			img := names[list[i].Image]
			if !ok || img == nil || !s.Status.Done() && s.Status != ecr.ScanUnavailable {
				continue
			}
			next, err := rc.one(tx, img, &list[i], s, overridden)
			if err != nil {
				return 0, err
			}
			if maps.Equal(next.Counts, s.Counts) && maps.Equal(next.Suppressed, s.Suppressed) && next.Status == s.Status {
				continue
			}
			e := rc.r.event(scanner(img.Repository.Account), ecr.FindingsChanged, "", img.Repository)
			e.Digest, e.Code = img.Digest, string(next.Status)
			put, events = append(put, next), append(events, e)
		}
	}
	if len(put) == 0 {
		return 0, nil
	}
	return len(put), errors.Join(tx.PutScans(put), tx.AppendOwn(events))
}

// ask gets the counts of package versions that are not known yet.
func (rc *recount) ask(tx *meta.Tx, list []meta.ImageInventory) error {
	if len(rc.pvs) > maxCounted {
		rc.pvs = map[int64][meta.SeverityRanks]int32{}
	}
	var unknown []int64
	for i := range list {
		for _, pvs := range [][]int64{list[i].OS, list[i].Other} {
			for _, pv := range pvs {
				if _, ok := rc.pvs[pv]; !ok {
					rc.pvs[pv] = [meta.SeverityRanks]int32{}
					unknown = append(unknown, pv)
				}
			}
		}
	}
	slices.Sort(unknown)
	return tx.CountSeen(unknown, rc.pvs)
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
	var total [meta.SeverityRanks]int32
	add := func(pvs []int64) {
		for _, pv := range pvs {
			for rank, n := range rc.pvs[pv] {
				total[rank] += n
			}
		}
	}
	add(i.OS)
	if t == ecr.ScanEnhanced {
		add(i.Other)
	}
	out := map[string]int{}
	for _, s := range vuln.Severities() {
		if n := total[s.Rank()]; n > 0 {
			out[string(s)] = int(n)
		}
	}
	return out
}

// rejudge says anew how a scan stands, by the inventory alone.
func (r *Registry) rejudge(tx *meta.Tx, image int64, s ecr.Scan) (ecr.Scan, error) {
	img, repo, err := tx.ImageOf(image)
	if err != nil {
		return s, err
	}
	inv, err := inventory(tx, image)
	if err != nil {
		return s, err
	}
	next, err := r.judge(tx, repo, img, inv, s.Type)
	if err != nil {
		return s, err
	}
	next.RequestedAt, next.FirstAt, next.CompletedAt = s.RequestedAt, s.FirstAt, s.CompletedAt
	return next, nil
}

// RetryUnavailable looks again at images of whose distribution there were no
// advisories.
func (r *Registry) RetryUnavailable(ctx context.Context) error {
	for after := int64(0); ; {
		var images []int64
		err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
			images, err = tx.ImagesScanned(string(ecr.ScanUnavailable), after, recountBatch)
			return err
		})
		if err != nil || len(images) == 0 {
			return err
		}
		if _, err := r.recountAll(ctx, images, func(*meta.ImageInventory) bool { return true }); err != nil {
			return err
		}
		after = images[len(images)-1]
	}
}
