package meta

import (
	"errors"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// What a lifecycle policy deletes is kept for a time, to be restored: the
// record and manifest in expired_images, its claim on layers in
// expired_image_blobs, which garbage collection takes for references.

// ExpireImage keeps what is to be known of an image, which the caller deletes
// next in the same transaction, in place of what is kept of an earlier one of
// that digest.
func (tx *Tx) ExpireImage(repo int64, e *ecr.ExpiredImage) error {
	tags, err := list(e.Tags)
	if err != nil {
		return err
	}
	parents, err := list(e.Parents)
	if err != nil {
		return err
	}
	old, err := tx.integers(`select id from expired_images where repo_id = $1 and digest = $2`, repo, e.Digest)
	if err != nil {
		return err
	}
	if len(old) > 0 { // its layers are the same: no review is needed
		if err := tx.forgetExpired(old[0]); err != nil {
			return err
		}
	}
	if err := tx.row([]any{&e.Key}, `insert into expired_images (repo_id, digest, media_type, artifact_type, subject_digest, size, pushed_at, status,
			archived_at, activated_at, last_pulled_at, pulls, tags, parents, payload, rule, reason, expired_at, undo_until)
		select i.repo_id, i.digest, i.media_type, i.artifact_type, coalesce(i.subject_digest, ''), i.size, i.pushed_at, i.status,
			i.archived_at, i.activated_at, coalesce(p.last_pulled_at, 0), coalesce(p.pulls, 0), cast($2 as text), cast($7 as text), m.payload, cast($3 as bigint), cast($4 as text), cast($5 as bigint), cast($6 as bigint)
		from `+imageTables+` join manifests m on m.image_id = i.id where i.id = $1 returning id`,
		e.Row, tags, e.Rule, e.Reason, ms(e.ExpiredAt), ms(e.UndoUntil), parents); err != nil {
		return err
	}
	_, err = tx.exec(`insert into expired_image_blobs (expired_id, repo_id, blob_id) select cast($2 as bigint), repo_id, blob_id from manifest_blobs where image_id = $1`, e.Row, e.Key)
	return err
}

const expiredColumns = `id, digest, media_type, artifact_type, subject_digest, size, pushed_at, status, archived_at, activated_at,
	last_pulled_at, pulls, tags, parents, rule, reason, expired_at, undo_until`

func (tx *Tx) expired(payload bool, sql string, args ...any) (out []*ecr.ExpiredImage, err error) {
	columns := `select ` + expiredColumns
	if payload {
		columns += `, payload`
	}
	err = tx.each(func(rs rows) error {
		e := new(ecr.ExpiredImage)
		var pushed, archived, activated, pulled, expired, until int64
		var tags, parents string
		dest := []any{&e.Key, &e.Digest, &e.MediaType, &e.ArtifactType, &e.Subject, &e.Size, &pushed, (*string)(&e.Status), &archived, &activated,
			&pulled, &e.Pulls, &tags, &parents, &e.Rule, &e.Reason, &expired, &until}
		if payload {
			dest = append(dest, &e.Payload)
		}
		if err := rs.Scan(dest...); err != nil {
			return err
		}
		e.PushedAt, e.ArchivedAt, e.ActivatedAt, e.LastPulledAt = at(pushed), at(archived), at(activated), at(pulled)
		e.ExpiredAt, e.UndoUntil = at(expired), at(until)
		out = append(out, e)
		return errors.Join(unlist(tags, &e.Tags), unlist(parents, &e.Parents))
	}, columns+` from expired_images `+sql, args...)
	return out, err
}

// ExpiredImages returns the expired images of a repository that can be
// restored, have not been pushed again and follow after, in the order of their expiry, limit at most,
// without their manifests.
func (tx *Tx) ExpiredImages(repo int64, now time.Time, after int64, limit int) ([]*ecr.ExpiredImage, error) {
	return tx.expired(false, `where repo_id = $1 and id > $2 and undo_until > $3
		and not exists (select 1 from images i where i.repo_id = expired_images.repo_id and i.digest = expired_images.digest) order by id limit $4`, repo, after, ms(now), limit)
}

// ExpiredImage returns an expired image that can be restored, with its
// manifest, or ErrNotFound. Until the transaction ends nothing else happens to
// it.
func (tx *Tx) ExpiredImage(repo int64, digest string, now time.Time) (*ecr.ExpiredImage, error) {
	found, err := tx.expired(true, `where repo_id = $1 and digest = $2 and undo_until > $3 /*pg: for update */`, repo, digest, ms(now))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	return found[0], nil
}

// ExpiredReferrers returns the digests of expired images that can be restored
// and whose subject is digest, limit at most.
func (tx *Tx) ExpiredReferrers(repo int64, digest string, now time.Time, limit int) ([]string, error) {
	return tx.strings(`select digest from expired_images where repo_id = $1 and subject_digest = $2 and undo_until > $3 order by id limit $4`, repo, digest, ms(now), limit)
}

// ForgetExpired removes what is kept of an expired image, and has its layers
// reviewed after reviewAfter.
func (tx *Tx) ForgetExpired(key int64, reviewAfter time.Time) error {
	if _, err := tx.exec(`update repository_blobs set review_after = $2 where exists
		(select 1 from expired_image_blobs e where e.expired_id = $1 and e.repo_id = repository_blobs.repo_id and e.blob_id = repository_blobs.blob_id)
		and review_after is null`, key, ms(reviewAfter)); err != nil {
		return err
	}
	return tx.forgetExpired(key)
}

// Unexpire removes what is kept of an expired image that is the image of a row
// again, which has its layers, and puts it back into the archived indexes that
// named it.
func (tx *Tx) Unexpire(repo, image int64, e *ecr.ExpiredImage) error {
	parents, err := tx.RowsOf(repo, e.Parents)
	if err != nil {
		return err
	}
	for _, p := range parents {
		if _, err := tx.exec(`insert into manifest_refs (parent_id, child_id) values ($1, $2) on conflict do nothing`, p, image); err != nil {
			return err
		}
	}
	return tx.forgetExpired(e.Key)
}

func (tx *Tx) forgetExpired(key int64) error {
	if _, err := tx.exec(`delete from expired_image_blobs where expired_id = $1`, key); err != nil {
		return err
	}
	_, err := tx.exec(`delete from expired_images where id = $1`, key)
	return err
}

// OverdueExpired returns expired images that cannot be restored any more,
// limit at most.
func (tx *Tx) OverdueExpired(now time.Time, limit int) ([]int64, error) {
	return tx.integers(`select id from expired_images where undo_until <= $1 order by undo_until limit $2`, ms(now), limit)
}

// ExpiredOf returns the expired images of a repository, limit at most.
func (tx *Tx) ExpiredOf(repo int64, limit int) ([]int64, error) {
	return tx.integers(`select id from expired_images where repo_id = $1 order by id limit $2`, repo, limit)
}
