package meta

import (
	"time"

	"github.com/ecruhq/ecru/blob"
)

// Online garbage collection (DESIGN decision 6). Roots are image rows, and
// those of expired images that can be restored. A link
// that may have lost its last reference carries review_after; a review that
// finds no reference removes it, and the blob with its last link; the object's
// key goes to blob_trash, and is deleted from the store outside of any
// transaction. Locks are taken in the order blob, link; a review never waits.

// A DueLink names a link whose review is due.
type DueLink struct {
	Repository int64
	Blob       int64
}

// DueLinks returns links whose review is due, the longest due first, limit at
// most. It takes no locks.
func (tx *Tx) DueLinks(now time.Time, limit int) (due []DueLink, err error) {
	err = tx.each(func(rs rows) error {
		var d DueLink
		err := rs.Scan(&d.Repository, &d.Blob)
		due = append(due, d)
		return err
	}, `select repo_id, blob_id from repository_blobs where review_after < $1 order by review_after limit $2`, ms(now), limit)
	return due, err
}

// ReviewLink decides on one due link: it clears the review of a link that an
// image needs and removes any other. A link that is no longer due, is gone or
// is in use by another transaction is left alone. removed says whether the
// link went, and repository and digest which one.
func (tx *Tx) ReviewLink(d DueLink, now, trashAt time.Time) (removed bool, err error) {
	if err := tx.lockLink(d.Repository, d.Blob, "skip locked"); err == ErrNotFound {
		return false, nil
	} else if err != nil {
		return false, err
	}
	// A statement of its own, after the locks: in the locking statement it
	// would see the state from before them.
	var due, used int64
	err = tx.row([]any{&due, &used}, `select case when review_after < $3 then 1 else 0 end,
			(select count(*) from (`+references+` limit 1) x)
		from repository_blobs where repo_id = $1 and blob_id = $2`, d.Repository, d.Blob, ms(now))
	if err != nil {
		return false, err
	}
	switch {
	case due == 0:
		return false, nil
	case used > 0:
		_, err := tx.exec(`update repository_blobs set review_after = null where repo_id = $1 and blob_id = $2`, d.Repository, d.Blob)
		return false, err
	}
	_, err = tx.unlink(d.Repository, d.Blob, trashAt)
	return true, err
}

// Trash has an object deleted after a time; a later time wins.
func (tx *Tx) Trash(key blob.Key, after time.Time) error {
	_, err := tx.exec(`insert into blob_trash (storage_key, delete_after) values ($1, $2)
		on conflict (storage_key) do update set delete_after =
			case when excluded.delete_after > blob_trash.delete_after then excluded.delete_after else blob_trash.delete_after end`, string(key), ms(after))
	return err
}

// A Condemned is an object in the trash.
type Condemned struct {
	Key   blob.Key
	after int64
}

// DueTrash returns objects that may be deleted, limit at most.
func (tx *Tx) DueTrash(now time.Time, limit int) (due []Condemned, err error) {
	err = tx.each(func(rs rows) error {
		var c Condemned
		err := rs.Scan((*string)(&c.Key), &c.after)
		due = append(due, c)
		return err
	}, `select storage_key, delete_after from blob_trash where delete_after < $1 order by delete_after limit $2`, ms(now), limit)
	return due, err
}

// Forget removes an object from the trash after it was deleted, unless its
// time was moved meanwhile.
func (tx *Tx) Forget(c Condemned) error {
	_, err := tx.exec(`delete from blob_trash where storage_key = $1 and delete_after = $2`, string(c.Key), c.after)
	return err
}

// Known returns those of keys that a blob or an upload has, or that are in the
// trash.
func (tx *Tx) Known(keys []blob.Key) (map[blob.Key]bool, error) {
	known := make(map[blob.Key]bool, len(keys))
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = string(k)
	}
	for len(texts) > 0 {
		n := min(len(texts), 256)
		marks, args := in(nil, texts[:n])
		texts = texts[n:]
		found, err := tx.strings(`select storage_key from blobs where storage_key in `+marks+`
			union all select storage_key from uploads where storage_key in `+marks+`
			union all select storage_key from blob_trash where storage_key in `+marks, args...)
		if err != nil {
			return nil, err
		}
		for _, k := range found {
			known[blob.Key(k)] = true
		}
	}
	return known, nil
}
