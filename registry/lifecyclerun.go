package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
)

const (
	// expireBatch is how many images one transaction of a run acts on.
	expireBatch = 200
	// trailWithheld is how many images the audit trail names, of a run, that
	// were withheld.
	trailWithheld = 100
	// retryRun is how long a run waits that has failed, at most.
	retryRun = time.Hour
)

// ErrRunning is the error of ExpireImages where another run of the repository's
// policy is under way.
var ErrRunning = errors.New("registry: the lifecycle policy is being applied already")

// ExpireImages applies a repository's lifecycle policy, now: deletes and
// archives what it says, the oldest first, and what refers to it together with
// it. The policy is evaluated without holding anything up, then carried out in
// small transactions, each of which decides again about the images that it is
// going to act on: what was pushed, tagged or restored meanwhile, so that the
// policy keeps it now, stays. A run that breaks off has done a part of the
// same; the next goes on. What happened is in the audit trail. The server's
// own: no policy is asked.
// Errors: RepositoryNotFound, LifecyclePolicyNotFound, ErrRunning.
func (r *Registry) ExpireImages(ctx context.Context, id ecr.RepositoryID) (ecr.LifecycleRun, error) {
	x := &execution{r: r, id: id}
	if err := x.begin(ctx); err != nil {
		return ecr.LifecycleRun{}, err
	}
	err := x.work(ctx)
	if errors.Is(err, errPolicyChanged) {
		err = nil // the next run is due by itself
	}
	return x.run, errors.Join(err, x.end(context.WithoutCancel(ctx), err))
}

// An execution is a run while it is under way.
type execution struct {
	r         *Registry
	id        ecr.RepositoryID
	repo      int64
	record    ecr.LifecyclePolicy
	policy    *lifecycle.Policy
	trail     trailPolicy
	now       time.Time // the moment that counts
	run       ecr.LifecycleRun
	withheld  []trailImageAction
	evaluated bool
}

func (x *execution) begin(ctx context.Context) error {
	r, claim := x.r, x.r.claim()
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		repo, err := tx.LockRepository(x.id)
		if errors.Is(err, meta.ErrNotFound) {
			return repositoryNotFound(x.id)
		}
		if err != nil {
			return err
		}
		x.repo = repo.Row
		switch err := tx.ClaimLifecycle(repo.Row, claim); {
		case errors.Is(err, meta.ErrExists):
			return ErrRunning
		case errors.Is(err, meta.ErrNotFound):
			return noLifecyclePolicy(x.id)
		case err != nil:
			return err
		}
		x.run = ecr.LifecycleRun{StartedAt: claim.Now}
		x.record, err = tx.LifecyclePolicy(repo.Row)
		return err
	})
}

func (x *execution) work(ctx context.Context) (err error) {
	if x.policy, err = lifecycle.Parse([]byte(x.record.Text)); err != nil {
		return fmt.Errorf("the stored policy cannot be applied; put another: %w", err)
	}
	x.trail = trailPolicyOf(x.policy, x.record)
	if err := x.r.FlushPulls(ctx); err != nil {
		return err
	}
	x.now = x.r.now()
	s, d, err := x.r.evaluate(ctx, x.repo, x.id, x.policy, x.now)
	if err != nil {
		return err
	}
	x.note(d)
	for _, due := range batches(d) {
		witnesses := d.Witnesses(due)
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return err
			}
			if more, err = x.batch(ctx, s.of(due), s.of(witnesses)); err != nil {
				return err
			}
		}
	}
	x.evaluated = true
	return nil
}

// evaluate decides about all images of a repository.
func (r *Registry) evaluate(ctx context.Context, row int64, id ecr.RepositoryID, p *lifecycle.Policy, now time.Time) (*snapshot, *decision, error) {
	var guards lifecycle.Guards
	err := r.db.View(ctx, func(tx *meta.Tx) error {
		repo, err := tx.Repository(id)
		if errors.Is(err, meta.ErrNotFound) || err == nil && repo.Row != row {
			return errPolicyChanged
		}
		if err != nil {
			return err
		}
		guards, err = r.guards(tx, repo, now)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	s, err := r.snapshot(ctx, row)
	if err != nil {
		return nil, nil, err
	}
	return s, s.decide(p, &guards, now), nil
}

// note counts what is withheld, and keeps the first for the audit trail.
func (x *execution) note(d *decision) {
	for i, why := range d.withheld() {
		x.run.Withheld++
		if len(x.withheld) < trailWithheld {
			a := trailAction(d.Evaluation, i)
			a.FailureCode, a.FailureReason = why[0], why[1]
			x.withheld = append(x.withheld, a)
		}
		if d.Verdicts[i].HeldBy < 0 {
			x.run.Guarded++
		}
	}
}

// batches cuts what is due, but for what follows something that is due itself,
// into lists of at most expireBatch.
func batches(d *decision) (out [][]int) {
	var batch []int
	for i, outcome := range d.Due() {
		if !d.due(i) {
			continue
		}
		if d.Verdicts[i].Follows {
			if s := int(d.Images[i].Subject); d.due(s) && d.Verdicts[s].Outcome == outcome {
				continue // goes with its subject
			}
		}
		if batch = append(batch, i); len(batch) == expireBatch {
			out = append(out, batch)
			batch = nil
		}
	}
	if len(batch) > 0 {
		out = append(out, batch)
	}
	return out
}

func (s *snapshot) of(images []int) []int64 {
	rows := make([]int64, len(images))
	for n, i := range images {
		rows[n] = s.rows[i]
	}
	return rows
}

// batch acts on those of due that are still due, and on what refers to them,
// at most expireBatch in all; more says that there may be others among them.
func (x *execution) batch(ctx context.Context, due, witnesses []int64) (more bool, err error) {
	r := x.r
	var expired, archived int64
	defer r.cache.drop(x.id)
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		expired, archived = 0, 0
		repo, err := tx.LockRepository(x.id)
		if errors.Is(err, meta.ErrNotFound) || err == nil && repo.Row != x.repo {
			return errPolicyChanged
		}
		if err != nil {
			return err
		}
		held, err := tx.HoldLifecycle(x.repo, r.process, r.now().Add(lease))
		if errors.Is(err, meta.ErrNotFound) || err == nil && held.ID != x.record.ID {
			return errPolicyChanged
		}
		if err != nil {
			return err
		}
		s, e, todo, err := x.confirm(tx, repo, due, witnesses)
		if err != nil {
			return err
		}
		if more = len(todo) > expireBatch; more {
			todo = todo[:expireBatch]
		}
		actions := make([]trailImageAction, 0, len(todo))
		for _, i := range todo {
			if e.Verdicts[i].Outcome == lifecycle.Expire {
				expired++
				err = x.expire(tx, repo, s, e.Evaluation, i)
			} else {
				archived++
				err = x.archive(tx, repo, s.images[i].Digest)
			}
			if err != nil {
				return err
			}
			actions = append(actions, trailAction(e.Evaluation, i))
		}
		if len(todo) == 0 {
			return nil
		}
		if err := tx.CountLifecycle(x.repo, expired, archived); err != nil {
			return err
		}
		return r.appendLifecycle(tx, ecr.LifecyclePolicyExecuted, "PolicyExecutionEvent", x.id, x.trail, actions, nil)
	})
	if err == nil {
		x.run.Expired += expired
		x.run.Archived += archived
	}
	return more && err == nil, err
}

const actExpire = "ecr:PolicyExecutionEvent" // no action of IAM: nobody is asked

// expire deletes one image; unless Lifecycle.Undo is 0 it can be restored.
func (x *execution) expire(tx *meta.Tx, repo *ecr.Repository, s *snapshot, e *lifecycle.Evaluation, i int) error {
	r, m := x.r, &s.images[i]
	img := ecr.Image{Row: s.rows[i], Repository: x.id, Digest: m.Digest, Size: m.Size, Tags: m.Tags}
	parents, err := tx.Parents(img.Row, maxParents)
	if err != nil {
		return err
	}
	if r.cfg.Lifecycle.Undo > 0 {
		gone := &ecr.ExpiredImage{Image: img, Reason: e.Reason(i).String(), ExpiredAt: r.now(), UndoUntil: r.now().Add(r.cfg.Lifecycle.Undo), Parents: parents}
		if rule := e.Verdicts[i].Rule; rule >= 0 {
			gone.Rule = int64(e.Rules[rule].Priority)
		}
		if err := tx.ExpireImage(repo.Row, gone); err != nil {
			return err
		}
	}
	if len(parents) > 0 { // all of them archived: they hold nothing
		if err := tx.ForgetParents(img.Row); err != nil {
			return err
		}
	}
	return r.deleteImage(tx, r.expiring(x.id.Account), actExpire, repo, &img)
}

// maxParents bounds the archived indexes that are remembered of an image.
const maxParents = 1000

func (x *execution) archive(tx *meta.Tx, repo *ecr.Repository, digest string) error {
	img, err := tx.Image(repo.Row, digest)
	if err != nil {
		return err
	}
	img.Repository = x.id
	return x.r.archive(tx, x.r.expiring(x.id.Account), actExpire, img)
}

// end records how the run ended, and when the next is due.
func (x *execution) end(ctx context.Context, failed error) error {
	r := x.r
	x.run.EndedAt = r.now()
	due := r.cfg.Lifecycle.next(x.run.EndedAt, false)
	switch {
	case errors.Is(failed, context.Canceled):
		x.run.Error, due = "stopped with the server; the rest is done after its start", x.run.EndedAt
	case failed != nil:
		x.run.Error, due = clean(failed.Error(), 1000), x.run.EndedAt.Add(min(retryRun, r.cfg.Lifecycle.Interval))
	}
	evaluated := time.Time{}
	if x.evaluated {
		evaluated = x.now
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		if x.evaluated && len(x.withheld) > 0 {
			if err := r.appendLifecycle(tx, ecr.LifecyclePolicyExecuted, "PolicyExecutionEvent", x.id, x.trail, nil, x.withheld); err != nil {
				return err
			}
		}
		return tx.EndLifecycle(x.repo, r.process, x.run, evaluated, due)
	})
}
