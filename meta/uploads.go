package meta

import (
	"time"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
)

// An Upload is the record of a layer on its way in.
type Upload struct {
	ecr.Upload
	RepositoryRow int64
	Key           blob.Key
	Hash          []byte // state of the running SHA-256; nil while there is no object
	Store         []byte // state of the store's writer; nil while there is no object
	Data          []byte // the bytes, while there is no object
	ShortPart     bool   // a part below the minimum has come: it must be the last (ECR API)
	// Epoch grows with every change, so that of two requests that continue
	// the same upload only one can record what it did.
	Epoch int64
}

// InsertUpload inserts an upload that has no bytes yet.
func (tx *Tx) InsertUpload(u *Upload) error {
	_, err := tx.exec(`insert into uploads (id, repo_id, storage_key, size, hash_state, store_state, short_part, epoch, expires_at)
		values ($1, $2, $3, 0, null, null, 0, 0, $4)`, u.ID, u.RepositoryRow, string(u.Key), ms(u.ExpiresAt))
	return err
}

// Upload returns an upload of a repository, or ErrNotFound.
func (tx *Tx) Upload(repo int64, id string) (*Upload, error) {
	u := &Upload{RepositoryRow: repo}
	var expires, short int64
	err := tx.row([]any{&u.ID, (*string)(&u.Key), &u.Size, &u.Hash, &u.Store, &u.Data, &short, &u.Epoch, &expires},
		`select id, storage_key, size, hash_state, store_state, data, short_part, epoch, expires_at from uploads where id = $1 and repo_id = $2`, id, repo)
	u.ExpiresAt, u.ShortPart = at(expires), short != 0
	return u, err
}

// SaveUpload records how far u has come, if its epoch is still the one that
// was read (else ErrNotFound), and moves the epoch on.
func (tx *Tx) SaveUpload(u *Upload) error {
	n, err := tx.exec(`update uploads set size = $3, hash_state = $4, store_state = $5, short_part = $6, expires_at = $7, data = $8, epoch = epoch + 1
		where id = $1 and epoch = $2`, u.ID, u.Epoch, u.Size, u.Hash, u.Store, integer(u.ShortPart), ms(u.ExpiresAt), u.Data)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// RekeyUpload moves u, which has no object yet, to another key, if its epoch is
// still the one that was read (else ErrNotFound), and moves the epoch on.
func (tx *Tx) RekeyUpload(u *Upload, key blob.Key) error {
	n, err := tx.exec(`update uploads set storage_key = $3, epoch = epoch + 1 where id = $1 and epoch = $2 and store_state is null`,
		u.ID, u.Epoch, string(key))
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// DeleteUpload deletes u, if its epoch is still the one that was read (else
// ErrNotFound). What becomes of its object is the caller's business.
func (tx *Tx) DeleteUpload(u *Upload) error {
	n, err := tx.exec(`delete from uploads where id = $1 and epoch = $2`, u.ID, u.Epoch)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// ExpireUploads deletes uploads whose deadline has passed, limit at most, and
// puts their objects into the trash, to be deleted after trashAt. It returns
// their IDs.
func (tx *Tx) ExpireUploads(now, trashAt time.Time, limit int) ([]string, error) {
	ids, err := tx.strings(`select id from uploads where expires_at < $1 order by expires_at limit $2 /*pg: for update skip locked */`, ms(now), limit)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		var key string
		if err := tx.row([]any{&key}, `delete from uploads where id = $1 returning storage_key`, id); err != nil {
			return nil, err
		}
		if err := tx.Trash(blob.Key(key), trashAt); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
