package meta

import (
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// A repository has one preview of a lifecycle policy at most. One that another
// has replaced, or whose repository is gone, has a null repo_id, and is deleted
// with its results bit by bit.

const previewColumns = `v.id, r.account, r.name, v.policy, v.status, v.started_at, v.expiring, v.transitioning, v.withheld`

func (tx *Tx) previews(sql string, args ...any) (out []ecr.LifecyclePreview, err error) {
	err = tx.each(func(rs rows) error {
		var p ecr.LifecyclePreview
		var started int64
		err := rs.Scan(&p.Row, &p.Repository.Account, &p.Repository.Name, &p.Policy, (*string)(&p.Status), &started, &p.Expiring, &p.Transitioning, &p.Withheld)
		p.StartedAt = at(started)
		out = append(out, p)
		return err
	}, sql, args...)
	return out, err
}

// Preview returns a repository's preview, or ErrNotFound.
func (tx *Tx) Preview(repo int64) (p ecr.LifecyclePreview, err error) {
	list, err := tx.previews(`select `+previewColumns+` from lifecycle_previews v join repositories r on r.id = v.repo_id where v.repo_id = $1`, repo)
	if err != nil {
		return p, err
	}
	if len(list) == 0 {
		return p, ErrNotFound
	}
	return list[0], nil
}

// StartPreview makes a preview of a policy, in place of the one that the
// repository has; ErrExists if that is under way.
func (tx *Tx) StartPreview(repo int64, policy string, now, expires time.Time) error {
	if _, err := tx.exec(`update lifecycle_previews set repo_id = null where repo_id = $1 and status <> 'IN_PROGRESS'`, repo); err != nil {
		return err
	}
	n, err := tx.exec(`insert into lifecycle_previews (repo_id, policy, status, started_at, expires_at) values ($1, $2, 'IN_PROGRESS', $3, $4)
		on conflict (repo_id) do nothing`, repo, policy, ms(now), ms(expires))
	if err == nil && n == 0 {
		return ErrExists
	}
	return err
}

// ClaimPreview takes a preview that nobody works on, and says how often that
// happened to it; ErrNotFound if there is none.
func (tx *Tx) ClaimPreview(c Claim) (p ecr.LifecyclePreview, attempts int64, err error) {
	const todo = `select id from lifecycle_previews where status = 'IN_PROGRESS' and repo_id is not null and (claimed_until < $1 or $3 = 1 and claimed_by <> $2) order by id limit 1 /*pg: for update skip locked */`
	var id int64
	if err := tx.row([]any{&id}, todo, ms(c.Now), c.Owner, integer(c.Alone)); err != nil {
		return p, 0, err
	}
	if err := tx.row([]any{&attempts}, `update lifecycle_previews set claimed_by = $2, claimed_until = $3, attempts = attempts + 1 where id = $1 returning attempts`,
		id, c.Owner, ms(c.Until)); err != nil {
		return p, 0, err
	}
	list, err := tx.previews(`select `+previewColumns+` from lifecycle_previews v join repositories r on r.id = v.repo_id where v.id = $1`, id)
	if err != nil || len(list) == 0 {
		return p, 0, err
	}
	return list[0], attempts, nil
}

// HoldPreview renews the claim of a preview; ErrNotFound if it is lost, or the
// preview is not under way any more.
func (tx *Tx) HoldPreview(id int64, owner string, until time.Time) error {
	return tx.deleted(`update lifecycle_previews set claimed_until = $3 where id = $1 and claimed_by = $2 and status = 'IN_PROGRESS' and repo_id is not null`, id, owner, ms(until))
}

// EndPreview ends a preview: p.Status and its counts, and an error for who runs
// the server.
func (tx *Tx) EndPreview(p ecr.LifecyclePreview, why string, now time.Time) error {
	_, err := tx.exec(`update lifecycle_previews set status = $2, expiring = $3, transitioning = $4, withheld = $5, error = $6, ended_at = $7, claimed_until = 0 where id = $1`,
		p.Row, string(p.Status), p.Expiring, p.Transitioning, p.Withheld, why, ms(now))
	return err
}

// PutPreviewResults adds results to a preview; those that are there already
// stay.
func (tx *Tx) PutPreviewResults(preview int64, results []ecr.PreviewResult) error {
	for i := range results {
		p := &results[i]
		tags, err := list(p.Tags)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`insert into lifecycle_preview_results (preview_id, seq, digest, tags, tagged, pushed_at, archived, rule, action, reason, withheld)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing`,
			preview, p.Seq, p.Digest, tags, integer(len(p.Tags) > 0), ms(p.PushedAt), integer(p.Archived), p.Rule, p.Action, p.Reason, p.Withheld); err != nil {
			return err
		}
	}
	return nil
}

// ClearPreviewResults removes results of a preview, limit at most, and returns
// how many.
func (tx *Tx) ClearPreviewResults(preview int64, limit int) (int64, error) {
	return tx.exec(`delete from lifecycle_preview_results where preview_id = $1 and seq in
		(select seq from lifecycle_preview_results where preview_id = $1 order by seq limit $2)`, preview, limit)
}

// PreviewResults returns those of a preview's results that follow after and
// that the filter lets through, limit at most. IDs of the filter that name no
// result are passed over; those by tag match the tags of the preview's moment.
func (tx *Tx) PreviewResults(preview int64, f ecr.PreviewFilter, after int64, limit int) (out []ecr.PreviewResult, err error) {
	where, args := ``, []any{preview, after, limit}
	switch f.TagStatus {
	case "TAGGED":
		where = ` and tagged = 1`
	case "UNTAGGED":
		where = ` and tagged = 0`
	}
	if f.Withheld {
		where += ` and withheld <> ''`
	} else {
		where += ` and withheld = ''`
	}
	if len(f.IDs) > 0 {
		digests := make([]string, len(f.IDs))
		for i, id := range f.IDs {
			digests[i] = id.Digest
		}
		var marks string
		marks, args = in(args, digests)
		where += ` and digest in ` + marks
	}
	err = tx.each(func(rs rows) error {
		var p ecr.PreviewResult
		var tags string
		var pushed, archived int64
		if err := rs.Scan(&p.Seq, &p.Digest, &tags, &pushed, &archived, &p.Rule, &p.Action, &p.Reason, &p.Withheld); err != nil {
			return err
		}
		p.PushedAt, p.Archived = at(pushed), archived != 0
		out = append(out, p)
		return unlist(tags, &out[len(out)-1].Tags)
	}, `select seq, digest, tags, pushed_at, archived, rule, action, reason, withheld from lifecycle_preview_results
		where preview_id = $1 and seq > $2`+where+` order by seq limit $3`, args...)
	return out, err
}

// ExpirePreviews ends previews whose time is over, limit at most; their results
// remain to be cleared.
func (tx *Tx) ExpirePreviews(now time.Time, limit int) error {
	_, err := tx.exec(`update lifecycle_previews set status = 'EXPIRED' where id in
		(select id from lifecycle_previews where status = 'COMPLETE' and expires_at <= $1 order by expires_at limit $2)`, ms(now), limit)
	return err
}

// StalePreview returns a preview that has results and should have none, or that
// should not be there at all; ErrNotFound if there is none.
func (tx *Tx) StalePreview() (id int64, orphan bool, err error) {
	var gone int64
	err = tx.row([]any{&id, &gone}, `select id, gone from (select id, 1 as gone from lifecycle_previews where repo_id is null
		union all select id, 0 from lifecycle_previews v where status in ('EXPIRED', 'FAILED') and repo_id is not null
			and exists (select 1 from lifecycle_preview_results s where s.preview_id = v.id)) x order by gone desc, id limit 1`)
	return id, gone != 0, err
}

// DeletePreview deletes a preview without results.
func (tx *Tx) DeletePreview(id int64) error {
	_, err := tx.exec(`delete from lifecycle_previews where id = $1`, id)
	return err
}

// DropLifecycle removes what a repository that is about to be deleted has of
// lifecycles; expired images must be gone.
func (tx *Tx) DropLifecycle(repo int64) error {
	if _, err := tx.exec(`delete from lifecycle_states where repo_id = $1`, repo); err != nil {
		return err
	}
	_, err := tx.exec(`update lifecycle_previews set repo_id = null where repo_id = $1`, repo)
	return err
}
