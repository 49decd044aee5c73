package registry

import (
	"context"
	"time"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/meta"
)

// Garbage collection, one step a method; the worker decides when. Each step is
// idempotent and safe beside every other operation and beside itself on
// another node. A crash anywhere: run it again.

// ReviewLinks reviews links whose time has come, at most limit of them, each
// in a transaction of its own, and returns how many it looked at and how many
// it removed.
func (r *Registry) ReviewLinks(ctx context.Context, limit int) (seen, removed int, err error) {
	now := r.now()
	var due []meta.DueLink
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		due, err = tx.DueLinks(now, limit)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	dropped := map[int64]bool{}
	defer func() { r.cache.dropRows(dropped) }()
	for _, d := range due {
		gone := false
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			gone, err = tx.ReviewLink(d, now, now.Add(r.cfg.Times.Trash))
			return err
		})
		if err != nil {
			return seen, removed, err
		}
		seen++
		if gone {
			removed++
			dropped[d.Repository] = true
		}
	}
	return seen, removed, nil
}

// SweepTrash deletes condemned objects from the store, at most limit of them,
// and forgets them; it returns how many.
func (r *Registry) SweepTrash(ctx context.Context, limit int) (n int, err error) {
	var due []meta.Condemned
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		due, err = tx.DueTrash(r.now(), limit)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, t := range due {
		if err := r.blobs.Delete(ctx, t.Key); err != nil {
			return n, err
		}
		n++
	}
	if n == 0 {
		return 0, nil
	}
	return n, r.db.Update(ctx, func(tx *meta.Tx) error {
		for _, t := range due {
			if err := tx.Forget(t); err != nil {
				return err
			}
		}
		return nil
	})
}

// ExpireUploads ends uploads whose deadline has passed, at most limit of them,
// and returns how many.
func (r *Registry) ExpireUploads(ctx context.Context, limit int) (n int, err error) {
	var ids []string
	err = r.db.Update(ctx, func(tx *meta.Tx) (err error) {
		// A request that is writing at this moment finds out when it saves;
		// the hour is for its file to be closed by then.
		ids, err = tx.ExpireUploads(r.now(), r.now().Add(time.Hour), limit)
		return err
	})
	r.sessions.forget(ids)
	return len(ids), err
}

// orphanBatch is how many objects one look-up of SweepOrphans asks about.
const orphanBatch = 256

// SweepOrphans condemns objects of the store that no record names and that are
// older than Times.Orphan: what a crash left between store and database. It
// walks the whole store.
func (r *Registry) SweepOrphans(ctx context.Context) (n int, err error) {
	limit := r.now().Add(-r.cfg.Times.Orphan)
	var batch []blob.Key
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		m := 0
		err := r.db.Update(ctx, func(tx *meta.Tx) error {
			m = 0
			known, err := tx.Known(batch)
			if err != nil {
				return err
			}
			for _, k := range batch {
				if known[k] {
					continue
				}
				m++
				if err := tx.Trash(k, r.now()); err != nil {
					return err
				}
			}
			return nil
		})
		n += m
		batch = batch[:0]
		return err
	}
	for info, err := range r.blobs.Keys(ctx) {
		if err != nil {
			return n, err
		}
		if info.ModTime.After(limit) {
			continue
		}
		if batch = append(batch, info.Key); len(batch) == orphanBatch {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, flush()
}
