package replicate

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/meta"
)

// backfill works on one backfill until it has ended, or its destination cannot
// be reached.
func (r *Replicator) backfill(ctx context.Context, j meta.Job) error {
	account, id := string(j.Payload), j.Key
	b, err := r.reg.PrepareBackfill(ctx, account, id, r.wants)
	for err == nil && b.Status == ecr.BackfillPreparing {
		b, err = r.reg.PrepareBackfill(ctx, account, id, r.wants)
	}
	if known, ok := errors.AsType[*ecr.Error](err); ok && known.Code == ecr.BackfillNotFound {
		return nil
	}
	if err != nil || !b.Status.Active() {
		return err
	}
	t := r.targets[b.To.Region]
	if t == nil && b.Status != ecr.BackfillStopping {
		return fmt.Errorf("region %s is not in the setting replication-region any more", b.To.Region)
	}
	for {
		if b.Status == ecr.BackfillStopping { // nothing is under way
			_, _, err := r.reg.NextBackfillItems(ctx, account, id, 0)
			return err
		}
		if wait := t.closed(r.now()); wait > 0 {
			return job.Later(min(wait, mostPause)) // so that a stop is seen
		}
		var items []ecr.BackfillItem
		b, items, err = r.reg.NextBackfillItems(ctx, account, id, 4*t.Workers)
		if err != nil || len(items) == 0 {
			return err
		}
		if err := r.backfillItems(ctx, t, b, items); err != nil {
			return r.postpone(ctx, t, nil, err)
		}
	}
}

// backfillItems copies images of a backfill, several at a time; the first error
// that is to be tried again ends it.
func (r *Replicator) backfillItems(ctx context.Context, t *target, b *ecr.Backfill, items []ecr.BackfillItem) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	free := make(chan struct{}, t.Workers)
	for _, item := range items {
		free <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-free }()
			if err := r.backfillItem(ctx, t, b, item); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (r *Replicator) backfillItem(ctx context.Context, t *target, b *ecr.Backfill, item ecr.BackfillItem) error {
	c := r.copier(t, ecr.RepositoryID{Account: b.Account, Name: item.Repository}, b.To)
	err := c.send(ctx, item.Image)
	if err == nil {
		err = r.followTag(ctx, c, item.Image)
	}
	reason := ""
	item.Status = ecr.ReplicationComplete
	var no *refusal
	switch {
	case err == nil:
	case errors.Is(err, errGone):
		item.Status, item.Code, reason = ecr.ReplicationFailed, "ImageNotFound", "the image was deleted before its turn came"
	case errors.As(err, &no):
		item.Status, item.Code, reason = ecr.ReplicationFailed, no.Code, no.Error()
		if no.child {
			item.SubCodes = []string{no.Code}
		}
	default:
		return err
	}
	return r.reg.FinishBackfillItem(ctx, b, item, reason)
}

// followTag has a tag sent that was moved while a backfill sent it: another
// process may have sent the newer image before.
func (r *Replicator) followTag(ctx context.Context, c *copier, image ecr.ImageID) error {
	tag, err := c.current(ctx, image)
	if err != nil || tag == image.Tag {
		return err
	}
	m, err := r.reg.ReplicationImage(ctx, c.repo, ecr.ImageID{Tag: image.Tag})
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	rep := ecr.Replication{Repository: c.repo, Image: ecr.ImageID{Digest: m.Digest, Tag: image.Tag}, To: c.to, QueuedAt: r.now()}
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.QueueReplication(rep); err != nil {
			return err
		}
		return tx.Enqueue(queue(c.to.Region), keyOf(rep), payloadOf(rep), rep.QueuedAt, rep.QueuedAt)
	})
}
