package registry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
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
