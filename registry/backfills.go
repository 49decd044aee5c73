package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

const (
	// maxBackfills is how many backfills of a registry can be under way.
	maxBackfills = 10
	// backfillKept is how long a backfill is known after its end.
	backfillKept = 90 * 24 * time.Hour
	// backfillJudged is from how many images on a backfill fails if half of
	// them have.
	backfillJudged = 100
	// backfillBatch is how many images one transaction prepares.
	backfillBatch = 100
	// backfillScan is how many repositories one transaction passes over.
	backfillScan = 200
)

// BackfillQueue is the queue of jobs that work on backfills: the key is the
// backfill's ID, the payload its account.
const BackfillQueue = "replication-backfill"

// StartBackfill begins to copy what the rules of an account's registry would
// send to a destination (ECR API, StartReplicationBackfill). Errors:
// Validation if the configuration does not name the destination,
// BackfillUnderWay, LimitExceeded.
func (r *Registry) StartBackfill(ctx context.Context, c ecr.Caller, account string, to ecr.Destination) (*ecr.Backfill, error) {
	b := &ecr.Backfill{ID: uuid.NewString(), Account: account, To: to, Status: ecr.BackfillPreparing, StartedAt: r.now()}
	err := r.updateRegistry(ctx, c, "ecr:StartReplicationBackfill", account, func(tx *meta.Tx) error {
		cfg, err := tx.LockReplicationConfiguration(account)
		if err != nil {
			return err
		}
		if !slices.Contains(cfg.All(), to) {
			return ecr.Errorf(ecr.Validation, "The destination %s is not in the replication configuration of the registry with id '%s'", to, account)
		}
		active, err := tx.ActiveBackfills(account)
		if err != nil {
			return err
		}
		for _, other := range active {
			if other.To.Region == to.Region {
				return ecr.Errorf(ecr.BackfillUnderWay, "The replication backfill with id '%s' is in progress for the destination Region %s. Wait until it ends, or stop it", other.ID, to.Region)
			}
		}
		if len(active) >= maxBackfills {
			return ecr.Errorf(ecr.LimitExceeded, "The maximum number of replication backfills in progress per registry (%d) has been reached", maxBackfills)
		}
		if err := tx.InsertBackfill(b); err != nil {
			return err
		}
		return tx.Enqueue(BackfillQueue, b.ID, []byte(account), b.StartedAt, b.StartedAt)
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func backfillNotFound(account, id string) error {
	return ecr.Errorf(ecr.BackfillNotFound, "The replication backfill with id '%s' does not exist in the registry with id '%s'", id, account)
}

// StopBackfill stops a backfill: what it has copied stays, what is being
// copied ends. Errors: BackfillNotFound, BackfillInvalidStatus.
func (r *Registry) StopBackfill(ctx context.Context, c ecr.Caller, account, id string) (b *ecr.Backfill, err error) {
	err = r.updateRegistry(ctx, c, "ecr:StopReplicationBackfill", account, func(tx *meta.Tx) error {
		b, err = tx.LockBackfill(account, id)
		if errors.Is(err, meta.ErrNotFound) {
			return backfillNotFound(account, id)
		}
		if err != nil {
			return err
		}
		switch b.Status {
		case ecr.BackfillPreparing:
			b.Status, b.EndedAt = ecr.BackfillStopped, r.now()
		case ecr.BackfillInProgress:
			b.Status = ecr.BackfillStopping
		default:
			return ecr.Errorf(ecr.BackfillInvalidStatus, "The replication backfill with id '%s' has the status %s: it can be stopped only while it is PREPARING or IN_PROGRESS", id, b.Status)
		}
		return tx.UpdateBackfill(b)
	})
	return b, err
}

// DescribeBackfill returns a backfill and, once it has ended, a page of its
// images: all that were tried, or those with a status.
// Errors: BackfillNotFound.
func (r *Registry) DescribeBackfill(ctx context.Context, c ecr.Caller, account, id string, status ecr.ReplicationStatus, p ecr.Page) (b *ecr.Backfill, items []ecr.BackfillItem, next string, err error) {
	const action = "ecr:DescribeReplicationBackfillResults"
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, nil, "", err
	}
	after, _, err := decodeCursor(p.Token)
	if err != nil {
		return nil, nil, "", err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		if err := r.allowAll(tx, c, action, account); err != nil {
			return err
		}
		b, err = tx.Backfill(account, id)
		if errors.Is(err, meta.ErrNotFound) {
			return backfillNotFound(account, id)
		}
		if err != nil || b.Status.Active() {
			return err
		}
		items, err = tx.BackfillItems(id, status, after, n+1)
		return err
	})
	if err != nil {
		return nil, nil, "", r.denied(ctx, c, action, ecr.RepositoryID{Account: account}, err)
	}
	if len(items) > n {
		items = items[:n]
		next = encodeCursor(items[n-1].Row, "")
	}
	return b, items, next, nil
}

// ListBackfills returns a page of an account's backfills, the newest first.
func (r *Registry) ListBackfills(ctx context.Context, c ecr.Caller, account string, p ecr.Page) (list []*ecr.Backfill, next string, err error) {
	const action = "ecr:ListReplicationBackfills"
	n, err := limit(p, 25, 50)
	if err != nil {
		return nil, "", err
	}
	at, id, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	var before time.Time
	if p.Token != "" {
		before = time.UnixMilli(at)
	}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		if err := r.allowAll(tx, c, action, account); err != nil {
			return err
		}
		list, err = tx.Backfills(account, before, id, n+1)
		return err
	})
	if err != nil {
		return nil, "", r.denied(ctx, c, action, ecr.RepositoryID{Account: account}, err)
	}
	if len(list) > n {
		list = list[:n]
		next = encodeCursor(list[n-1].StartedAt.UnixMilli(), list[n-1].ID)
	}
	return list, next, nil
}

// PrepareBackfill does a step of finding what a backfill has to copy, and
// returns it as it is then: while it is PREPARING there is another step to do.
// wants says whether the destination takes a tag. Errors: BackfillNotFound.
func (r *Registry) PrepareBackfill(ctx context.Context, account, id string, wants func(ecr.Destination, string) bool) (b *ecr.Backfill, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if b, err = r.lockBackfill(tx, account, id); err != nil || b.Status != ecr.BackfillPreparing {
			return err
		}
		at, err := tx.BackfillCursor(id)
		if err != nil {
			return err
		}
		n, at, done, err := r.prepare(tx, b, at, wants)
		if err != nil {
			return err
		}
		b.Total += n
		if done {
			b.Prepared, b.Status = true, ecr.BackfillInProgress
			if b.Total == 0 {
				b.Status, b.EndedAt = ecr.BackfillComplete, r.now()
			}
		}
		if err := tx.SetBackfillCursor(id, at); err != nil {
			return err
		}
		return tx.UpdateBackfill(b)
	})
	return b, err
}

func (r *Registry) lockBackfill(tx *meta.Tx, account, id string) (*ecr.Backfill, error) {
	b, err := tx.LockBackfill(account, id)
	if errors.Is(err, meta.ErrNotFound) {
		return nil, backfillNotFound(account, id)
	}
	return b, err
}

// prepare adds a batch of images to a backfill, and returns how many and where
// the next one goes on.
func (r *Registry) prepare(tx *meta.Tx, b *ecr.Backfill, at meta.BackfillCursor, wants func(ecr.Destination, string) bool) (n int64, _ meta.BackfillCursor, done bool, err error) {
	cfg, err := tx.ReplicationConfiguration(b.Account)
	if err != nil {
		return 0, at, false, err
	}
	if at.Repository != "" {
		repo, err := tx.Repository(ecr.RepositoryID{Account: b.Account, Name: at.Repository})
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return 0, at, false, err
		}
		if err == nil {
			images, err := tx.Images(repo.Row, ecr.ImageFilter{}, at.Image, backfillBatch)
			if err != nil {
				return 0, at, false, err
			}
			for _, img := range images {
				at.Image = img.Row
				m, err := addToBackfill(tx, b, at.Repository, img, wants)
				if err != nil {
					return 0, at, false, err
				}
				n += m
			}
			if len(images) == backfillBatch {
				return n, at, false, nil
			}
		}
	}
	names, err := tx.RepositoryNames(b.Account, at.Repository, backfillScan)
	if err != nil {
		return n, at, false, err
	}
	for _, name := range names {
		at = meta.BackfillCursor{Repository: name}
		if cfg.Matches(name, b.To) {
			return n, at, false, nil
		}
		at.Image = 1<<63 - 1 // passed over
	}
	return n, at, len(names) == 0, nil
}

func addToBackfill(tx *meta.Tx, b *ecr.Backfill, repository string, img *ecr.Image, wants func(ecr.Destination, string) bool) (n int64, err error) {
	tags := img.Tags
	if len(tags) == 0 {
		tags = []string{""}
	}
	for _, tag := range tags {
		if !wants(b.To, tag) {
			continue
		}
		if err := tx.AddBackfillItem(b.ID, repository, ecr.ImageID{Digest: img.Digest, Tag: tag}); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// NextBackfillItems returns a backfill and images that it has still to copy,
// limit at most: none unless it is IN_PROGRESS. One that is to stop is STOPPED
// by it: who works on it has nothing under way.
func (r *Registry) NextBackfillItems(ctx context.Context, account, id string, limit int) (b *ecr.Backfill, items []ecr.BackfillItem, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		items = nil
		if b, err = r.lockBackfill(tx, account, id); err != nil {
			return err
		}
		switch b.Status {
		case ecr.BackfillStopping:
			b.Status, b.EndedAt = ecr.BackfillStopped, r.now()
			return tx.UpdateBackfill(b)
		case ecr.BackfillInProgress:
			items, err = tx.BackfillItems(id, ecr.ReplicationInProgress, 0, limit)
		}
		return err
	})
	return b, items, err
}

// FinishBackfillItem writes how an image of a backfill ended, and with the last
// of them how the backfill did.
func (r *Registry) FinishBackfillItem(ctx context.Context, b *ecr.Backfill, item ecr.BackfillItem, reason string) error {
	now := r.now()
	rep := ecr.Replication{Repository: ecr.RepositoryID{Account: b.Account, Name: item.Repository}, Image: item.Image, To: b.To,
		Status: item.Status, Code: clean(item.Code, 100), Reason: clean(reason, 1000), QueuedAt: now, EndedAt: now}
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		current, err := r.lockBackfill(tx, b.Account, b.ID)
		if err != nil {
			return err
		}
		item.Code = rep.Code
		fresh, err := tx.FinishBackfillItem(item)
		if err != nil || !fresh {
			return err
		}
		if item.Status == ecr.ReplicationFailed {
			current.Failed++
		} else {
			current.Completed++
		}
		switch processed := current.Completed + current.Failed; {
		case !current.Status.Active():
		case processed >= backfillJudged && 2*current.Failed >= processed:
			current.Status, current.Code, current.EndedAt = ecr.BackfillFailed, "TooManyFailedReplications", now
		case processed == current.Total:
			current.Status, current.EndedAt = ecr.BackfillComplete, now
		}
		if err := tx.UpdateBackfill(current); err != nil {
			return err
		}
		return recordBackfilled(tx, rep)
	})
}

// recordBackfilled sets the record of an image that a backfill is done with, if
// the image is still there.
func recordBackfilled(tx *meta.Tx, rep ecr.Replication) error {
	repo, err := tx.Repository(rep.Repository)
	if err == nil {
		_, err = tx.Image(repo.Row, rep.Image.Digest)
	}
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := tx.QueueReplication(rep); err != nil {
		return err
	}
	return tx.FinishReplication(rep)
}

// ExpireBackfills forgets backfills that ended long ago, in steps.
func (r *Registry) ExpireBackfills(ctx context.Context) error {
	before := r.now().Add(-backfillKept)
	for done := false; !done; {
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			done, err = tx.ExpireBackfill(before, 500)
			return err
		})
		if err != nil {
			return fmt.Errorf("expire backfills: %w", err)
		}
	}
	return nil
}
