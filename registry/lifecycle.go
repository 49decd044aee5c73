package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
)

// Lifecycle says when lifecycle policies are applied, and what becomes of what
// they delete.
type Lifecycle struct {
	// Interval is how often a policy is applied, and the longest that one
	// waits after it was put.
	Interval time.Duration
	// Hour is that of the day, UTC, in which policies are applied, once a
	// day; -1 means any, and Interval counts.
	Hour int
	// Undo is how long images that a policy deleted can be restored, and keep
	// their bytes; 0 means not at all.
	Undo time.Duration
	// GuardPulledWithin keeps what was pulled so recently from being expired
	// and archived, in repositories whose tags do not say otherwise; 0 means
	// that it does not.
	GuardPulledWithin time.Duration
	// Preview is how long the results of a preview are kept.
	Preview time.Duration
}

// DefaultLifecycle is ECR's within 24 hours, and a week for second thoughts.
func DefaultLifecycle() Lifecycle {
	return Lifecycle{Interval: 24 * time.Hour, Hour: -1, Undo: 7 * 24 * time.Hour, Preview: 24 * time.Hour}
}

// next is when a policy is applied that was put, or applied, now; spread, so
// that repositories which come together do not work together.
func (l *Lifecycle) next(now time.Time, put bool) time.Time {
	if l.Hour >= 0 {
		t := time.Date(now.Year(), now.Month(), now.Day(), l.Hour, 0, 0, 0, time.UTC).Add(rand.N(time.Hour))
		for !t.After(now) {
			t = t.Add(24 * time.Hour)
		}
		return t.Truncate(time.Millisecond)
	}
	wait := l.Interval - rand.N(l.Interval/10+1)
	if put {
		wait = rand.N(l.Interval)
	}
	return now.Add(wait).Truncate(time.Millisecond)
}

// parseLifecycle reads the text of a policy.
func parseLifecycle(text string) (*lifecycle.Policy, error) {
	p, err := lifecycle.Parse([]byte(text))
	if err != nil {
		return nil, ecr.InvalidParam("LifecyclePolicyText", "Lifecycle policy validation failure: "+clean(err.Error(), 1000))
	}
	return p, nil
}

// policyRecord is a policy that is put now, in the place of old.
func (r *Registry) policyRecord(text string, old ecr.LifecyclePolicy) ecr.LifecyclePolicy {
	now := r.now()
	p := ecr.LifecyclePolicy{Text: text, ID: uuid.NewString(), PutAt: now, DueAt: r.cfg.Lifecycle.next(now, true)}
	if old.Text == text && old.ID != "" {
		p.ID = old.ID
	}
	return p
}

// PutLifecyclePolicy sets the lifecycle policy of a repository. The text is
// kept byte for byte; what it says is done by the next ExpireImages, within
// Lifecycle.Interval.
// Errors: RepositoryNotFound, InvalidParameter.
func (r *Registry) PutLifecyclePolicy(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, text string) error {
	const action = "ecr:PutLifecyclePolicy"
	_, invalid := parseLifecycle(text)
	return r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
		if invalid != nil {
			return invalid
		}
		old, err := tx.LifecyclePolicy(repo.Row)
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		if err := tx.PutLifecyclePolicy(repo.Row, r.policyRecord(text, old)); err != nil {
			return err
		}
		return tx.Append(r.event(c, ecr.RepositoryChanged, action, id))
	})
}

func noLifecyclePolicy(id ecr.RepositoryID) error {
	return ecr.Errorf(ecr.LifecyclePolicyNotFound, "Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", id.Name, id.Account)
}

// lifecyclePolicy finds a repository's policy.
func lifecyclePolicy(tx *meta.Tx, repo *ecr.Repository) (ecr.LifecyclePolicy, error) {
	p, err := tx.LifecyclePolicy(repo.Row)
	if errors.Is(err, meta.ErrNotFound) {
		err = noLifecyclePolicy(repo.ID)
	}
	return p, err
}

// GetLifecyclePolicy returns a repository's lifecycle policy.
// Errors: RepositoryNotFound, LifecyclePolicyNotFound.
func (r *Registry) GetLifecyclePolicy(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (p ecr.LifecyclePolicy, err error) {
	err = r.view(ctx, c, "ecr:GetLifecyclePolicy", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		p, err = lifecyclePolicy(tx, repo)
		return err
	})
	return p, err
}

// DeleteLifecyclePolicy removes a repository's lifecycle policy and returns it.
// A run that is under way stops; what expired before can still be restored.
// Errors: as GetLifecyclePolicy.
func (r *Registry) DeleteLifecyclePolicy(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (p ecr.LifecyclePolicy, err error) {
	const action = "ecr:DeleteLifecyclePolicy"
	err = r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		if p, err = lifecyclePolicy(tx, repo); err != nil {
			return err
		}
		if err := tx.DeleteLifecyclePolicy(repo.Row); err != nil {
			return err
		}
		return tx.Append(r.event(c, ecr.RepositoryChanged, action, id))
	})
	return p, err
}

// RunLifecyclePolicy has a repository's lifecycle policy applied as soon as
// possible.
// Errors: as GetLifecyclePolicy.
func (r *Registry) RunLifecyclePolicy(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (p ecr.LifecyclePolicy, err error) {
	const action = "ecr:RunLifecyclePolicy"
	err = r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		if p, err = lifecyclePolicy(tx, repo); err != nil {
			return err
		}
		p.DueAt = r.now()
		if err := tx.SetLifecycleDue(repo.Row, p.DueAt); err != nil {
			return err
		}
		return tx.Append(r.event(c, ecr.RepositoryChanged, action, id))
	})
	if err == nil {
		r.runWork.wake()
	}
	return p, err
}

// DescribeLifecyclePolicyRun returns a repository's lifecycle policy with the
// last run of it, which may be under way, and the time of the next.
// Errors: as GetLifecyclePolicy.
func (r *Registry) DescribeLifecyclePolicyRun(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (p ecr.LifecyclePolicy, err error) {
	err = r.view(ctx, c, "ecr:DescribeLifecyclePolicyRun", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		p, err = lifecyclePolicy(tx, repo)
		return err
	})
	return p, err
}

// DueLifecycles returns repositories whose policy is to be applied now, limit
// at most; the server's own.
func (r *Registry) DueLifecycles(ctx context.Context, limit int) (ids []ecr.RepositoryID, err error) {
	err = r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		ids, err = tx.DueLifecycles(r.now(), limit)
		return err
	})
	return ids, err
}

// RunWork is told when a lifecycle policy shall be applied at once. Other
// processes and due times tell nothing here.
func (r *Registry) RunWork() <-chan struct{} { return r.runWork }

// A wakeup is a channel of one, which wakes one who waits for work.
type wakeup chan struct{}

func (w wakeup) wake() {
	select {
	case w <- struct{}{}:
	default: // already awake
	}
}

// claim is one on a piece of work for a lease's time.
func (r *Registry) claim() meta.Claim {
	now := r.now()
	return meta.Claim{Owner: r.process, Now: now, Until: now.Add(lease), Alone: !r.db.Shared()}
}

// lease is how long a claim lasts that is not renewed: a process that has it
// and ends keeps others from the work so long, where there are others.
const lease = 5 * time.Minute

// expiring is the server itself as it applies lifecycle policies.
func (r *Registry) expiring(account string) ecr.Caller {
	return ecr.Caller{Principal: systemPrincipal(account), UserAgent: "AWS Internal"}
}

var errPolicyChanged = fmt.Errorf("the lifecycle policy was changed or deleted meanwhile")
