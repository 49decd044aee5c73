package meta

import (
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// A repository has a row of lifecycle_states while it has a lifecycle policy.
// The text is in its own row. A run holds the row's claim, and locks the row in
// each transaction that acts; so a policy never changes under it.

const stateColumns = `s.policy_id, s.version, s.put_at, s.evaluated_at, s.due_at, s.run_started_at, s.run_ended_at, s.run_expired, s.run_archived, s.run_withheld, s.run_error`

func (tx *Tx) lifecyclePolicy(sql string, args ...any) (p ecr.LifecyclePolicy, err error) {
	var put, evaluated, due, started, ended int64
	run := &p.LastRun
	err = tx.row([]any{&p.ID, &p.Version, &put, &evaluated, &due, &started, &ended, &run.Expired, &run.Archived, &run.Withheld, &run.Error, &p.Text}, sql, args...)
	p.PutAt, p.EvaluatedAt, p.DueAt, run.StartedAt, run.EndedAt = at(put), at(evaluated), at(due), at(started), at(ended)
	return p, err
}

// LifecyclePolicy returns a repository's lifecycle policy, or ErrNotFound.
func (tx *Tx) LifecyclePolicy(repo int64) (ecr.LifecyclePolicy, error) {
	return tx.lifecyclePolicy(`select `+stateColumns+`, r.lifecycle_policy from lifecycle_states s join repositories r on r.id = s.repo_id where s.repo_id = $1`, repo)
}

// PutLifecyclePolicy sets a repository's lifecycle policy. One whose ID is new
// has never been evaluated. It counts the version.
func (tx *Tx) PutLifecyclePolicy(repo int64, p ecr.LifecyclePolicy) error {
	if _, err := tx.exec(`insert into lifecycle_states (repo_id, policy_id, version, put_at, due_at) values ($1, $2, 1, $3, $4)
		on conflict (repo_id) do update set version = lifecycle_states.version + 1, put_at = excluded.put_at, due_at = excluded.due_at,
			evaluated_at = case when lifecycle_states.policy_id = excluded.policy_id then lifecycle_states.evaluated_at else 0 end,
			policy_id = excluded.policy_id`,
		repo, p.ID, ms(p.PutAt), ms(p.DueAt)); err != nil {
		return err
	}
	_, err := tx.exec(`update repositories set lifecycle_policy = $2 where id = $1`, repo, p.Text)
	return err
}

// DeleteLifecyclePolicy removes a repository's lifecycle policy, or
// ErrNotFound.
func (tx *Tx) DeleteLifecyclePolicy(repo int64) error {
	if err := tx.deleted(`delete from lifecycle_states where repo_id = $1`, repo); err != nil {
		return err
	}
	_, err := tx.exec(`update repositories set lifecycle_policy = '' where id = $1`, repo)
	return err
}

// SetLifecycleDue sets when a repository's policy is applied next; ErrNotFound
// without one.
func (tx *Tx) SetLifecycleDue(repo int64, due time.Time) error {
	return tx.deleted(`update lifecycle_states set due_at = $2 where repo_id = $1`, repo, ms(due))
}

// DueLifecycles returns repositories whose policy is due, the longest due
// first, limit at most.
func (tx *Tx) DueLifecycles(now time.Time, limit int) (ids []ecr.RepositoryID, err error) {
	err = tx.each(func(rs rows) error {
		var id ecr.RepositoryID
		err := rs.Scan(&id.Account, &id.Name)
		ids = append(ids, id)
		return err
	}, `select r.account, r.name from lifecycle_states s join repositories r on r.id = s.repo_id where s.due_at <= $1 order by s.due_at limit $2`, ms(now), limit)
	return ids, err
}

// A Claim is the right to do a piece of work until a time. One whose time is
// over can be taken, and if Alone says that this process is the only one, that
// of any other owner, whose process has ended.
type Claim struct {
	Owner string
	Now   time.Time
	Until time.Time
	Alone bool
}

const claimable = `(claimed_until < $2 or $5 = 1 and claimed_by <> $3)`

// ClaimLifecycle begins a run of a repository's policy; ErrNotFound without a
// policy, ErrExists if another run holds the claim.
func (tx *Tx) ClaimLifecycle(repo int64, c Claim) error {
	n, err := tx.exec(`update lifecycle_states set claimed_by = $3, claimed_until = $4, run_started_at = $2, run_ended_at = 0,
		run_expired = 0, run_archived = 0, run_withheld = 0, run_error = '' where repo_id = $1 and `+claimable, repo, ms(c.Now), c.Owner, ms(c.Until), integer(c.Alone))
	if err != nil || n > 0 {
		return err
	}
	if _, err := tx.LifecyclePolicy(repo); err != nil {
		return err
	}
	return ErrExists
}

// HoldLifecycle renews the claim of a run, counts what it does in this
// transaction and returns the policy, whose row stays locked until the
// transaction ends; ErrNotFound if the claim is lost or the policy is gone.
func (tx *Tx) HoldLifecycle(repo int64, owner string, until time.Time) (p ecr.LifecyclePolicy, err error) {
	if err := tx.deleted(`update lifecycle_states set claimed_until = $3 where repo_id = $1 and claimed_by = $2 and claimed_until > 0`, repo, owner, ms(until)); err != nil {
		return p, err
	}
	return tx.LifecyclePolicy(repo)
}

// CountLifecycle adds to the counts of a run.
func (tx *Tx) CountLifecycle(repo int64, expired, archived int64) error {
	_, err := tx.exec(`update lifecycle_states set run_expired = run_expired + $2, run_archived = run_archived + $3 where repo_id = $1`, repo, expired, archived)
	return err
}

// EndLifecycle ends a run that holds its claim: of run, its end, what it
// withheld and its error; the rest was counted. evaluated, unless it is zero,
// is when the policy was evaluated. A due time that was set since the start
// stays.
func (tx *Tx) EndLifecycle(repo int64, owner string, run ecr.LifecycleRun, evaluated, due time.Time) error {
	_, err := tx.exec(`update lifecycle_states set claimed_by = '', claimed_until = 0, run_ended_at = $3, run_withheld = $4, run_error = $5,
		evaluated_at = case when cast($6 as bigint) = 0 then evaluated_at else cast($6 as bigint) end,
		due_at = case when due_at <= run_started_at then $7 else due_at end
		where repo_id = $1 and claimed_by = $2`,
		repo, owner, ms(run.EndedAt), run.Withheld, run.Error, since(evaluated), ms(due))
	return err
}
