package meta

import (
	"time"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
)

// A Link is a repository's claim on a blob: the only way to read it.
type Link struct {
	Blob        int64
	Layer       ecr.Layer
	Key         blob.Key
	Inline      bool      // the bytes are in the database; there is no object at Key
	Payload     []byte    // the bytes, if they are inline and were asked for
	ReviewAfter time.Time // zero: no review is due; the garbage collector looks at the link after it
}

// Links returns the links of a repository to those of digests that it has.
func (tx *Tx) Links(repo int64, digests []string) ([]Link, error) {
	return tx.links(repo, digests, "")
}

// LockLinks is Links for a transaction that will add references to them: until
// it ends the garbage collector leaves them alone.
func (tx *Tx) LockLinks(repo int64, digests []string) ([]Link, error) {
	return tx.links(repo, digests, "/*pg: for no key update of rb */")
}

func (tx *Tx) links(repo int64, digests []string, lock string) (links []Link, err error) {
	for len(digests) > 0 {
		n := min(len(digests), 256)
		marks, args := in([]any{repo}, digests[:n])
		digests = digests[n:]
		err = tx.each(func(rs rows) error {
			var l Link
			var review *int64
			var inline int64
			if err := rs.Scan(&l.Blob, &l.Layer.Digest, &l.Layer.Size, (*string)(&l.Key), &inline, &review); err != nil {
				return err
			}
			l.Inline = inline != 0
			if review != nil {
				l.ReviewAfter = at(*review)
			}
			links = append(links, l)
			return nil
		}, `select b.id, b.digest, b.size, b.storage_key, `+isInline+`, rb.review_after from blobs b
			join repository_blobs rb on rb.blob_id = b.id and rb.repo_id = $1
			where b.digest in `+marks+` order by b.id `+lock, args...)
		if err != nil {
			return nil, err
		}
	}
	return links, nil
}

const isInline = `case when payload is null then 0 else 1 end`

// PutBlob records that the bytes of digest lie at key, or are payload if that
// is not nil, unless they are there already: it returns the key that counts.
// The row stays locked until the transaction ends.
func (tx *Tx) PutBlob(l ecr.Layer, key blob.Key, payload []byte) (id int64, kept blob.Key, err error) {
	var inline any
	if payload != nil {
		inline = payload
	}
	err = tx.row([]any{&id, (*string)(&kept)}, `insert into blobs (digest, size, storage_key, payload) values ($1, $2, $3, $4)
		on conflict (digest) do update set size = blobs.size returning id, storage_key`, l.Digest, l.Size, string(key), inline)
	return id, kept, err
}

// BlobPayload returns the bytes of a blob that is inline, or ErrNotFound.
func (tx *Tx) BlobPayload(id int64) (payload []byte, err error) {
	err = tx.row([]any{&payload}, `select payload from blobs where id = $1 and payload is not null`, id)
	return payload, err
}

// PutLink links a blob into a repository until reviewAfter at least.
func (tx *Tx) PutLink(repo, blobID int64, reviewAfter time.Time) error {
	_, err := tx.exec(`insert into repository_blobs (repo_id, blob_id, review_after) values ($1, $2, $3)
		on conflict (repo_id, blob_id) do update set review_after =
			case when repository_blobs.review_after < excluded.review_after then excluded.review_after else repository_blobs.review_after end`,
		repo, blobID, ms(reviewAfter))
	return err
}

// Lease puts off the review of a link to reviewAfter, and reports whether the
// link still exists.
func (tx *Tx) Lease(repo, blobID int64, reviewAfter time.Time) (bool, error) {
	n, err := tx.exec(`update repository_blobs set review_after = case when review_after < $3 then $3 else review_after end
		where repo_id = $1 and blob_id = $2`, repo, blobID, ms(reviewAfter))
	return n > 0, err
}

// Referenced reports whether an image of the repository has the blob, or one
// that expired and can be restored.
func (tx *Tx) Referenced(repo, blobID int64) (bool, error) {
	var n int64
	err := tx.row([]any{&n}, `select count(*) from (`+references+` limit 1) x`, repo, blobID)
	return n > 0, err
}

// references are what needs the link of repository $1 and blob $2.
const references = `select 1 from manifest_blobs where repo_id = $1 and blob_id = $2 union all select 1 from expired_image_blobs where repo_id = $1 and blob_id = $2`

// Unlink removes a link that no image needs (else ErrExists), and the blob
// with it if that was the last link; its object goes to the trash.
func (tx *Tx) Unlink(repo, blobID int64, trashAt time.Time) error {
	if err := tx.lockLink(repo, blobID, ""); err != nil {
		return err
	}
	used, err := tx.Referenced(repo, blobID)
	if err != nil {
		return err
	}
	if used {
		return ErrExists
	}
	_, err = tx.unlink(repo, blobID, trashAt)
	return err
}

// lockLink locks the blob and then the link; ErrNotFound if either is gone
// (or, with "skip locked", held by another).
func (tx *Tx) lockLink(repo, blobID int64, how string) error {
	var n int64
	if err := tx.row([]any{&n}, `select id from blobs where id = $1 /*pg: for update `+how+` */`, blobID); err != nil {
		return err
	}
	return tx.row([]any{&n}, `select blob_id from repository_blobs where repo_id = $1 and blob_id = $2 /*pg: for update `+how+` */`, repo, blobID)
}

// unlink removes a link, which the caller has found to be unused, and reports
// whether the blob went too.
func (tx *Tx) unlink(repo, blobID int64, trashAt time.Time) (last bool, err error) {
	if _, err := tx.exec(`delete from repository_blobs where repo_id = $1 and blob_id = $2`, repo, blobID); err != nil {
		return false, err
	}
	var n int64
	if err := tx.row([]any{&n}, `select count(*) from (select 1 from repository_blobs where blob_id = $1 limit 1) x`, blobID); err != nil || n > 0 {
		return false, err
	}
	var key string
	var inline int64
	if err := tx.row([]any{&key, &inline}, `delete from blobs where id = $1 returning storage_key, `+isInline, blobID); err != nil {
		return false, err
	}
	if inline != 0 {
		return true, nil
	}
	return true, tx.Trash(blob.Key(key), trashAt)
}
