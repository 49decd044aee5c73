package meta

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

const repositoryColumns = `id, account, name, created_at, mutability, mutability_exclusion, scan_on_push,
	encryption_type, encryption_key, policy, lifecycle_policy, tags, image_count, size_bytes,
	coalesce((select document from registry_policies p where p.account = repositories.account), '')`

func scanRepository(rs rows) (*ecr.Repository, error) {
	var (
		r                 ecr.Repository
		created, onPush   int64
		exclusions, rtags string
	)
	err := rs.Scan(&r.Row, &r.ID.Account, &r.ID.Name, &created, (*string)(&r.Mutability), &exclusions, &onPush,
		&r.Encryption.Type, &r.Encryption.KMSKey, &r.Policy, &r.LifecyclePolicy, &rtags, &r.ImageCount, &r.SizeBytes, &r.RegistryPolicy)
	if err != nil {
		return nil, err
	}
	r.CreatedAt, r.ScanOnPush = at(created), onPush != 0
	if err := errors.Join(unlist(exclusions, &r.MutabilityExclusion), unlist(rtags, &r.Tags)); err != nil {
		return nil, err
	}
	return &r, nil
}

// list returns v as JSON, or "" if it is empty.
func list[T any](v []T) (string, error) {
	if len(v) == 0 {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// unlist reads what list wrote.
func unlist[T any](text string, v *[]T) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}

// Repository returns a repository's record, or ErrNotFound.
func (tx *Tx) Repository(id ecr.RepositoryID) (*ecr.Repository, error) {
	return tx.oneRepository(`select `+repositoryColumns+` from repositories where account = $1 and name = $2`, id.Account, id.Name)
}

func (tx *Tx) oneRepository(sql string, args ...any) (repo *ecr.Repository, err error) {
	err = tx.each(func(rs rows) (err error) {
		repo, err = scanRepository(rs)
		return err
	}, sql, args...)
	if err == nil && repo == nil {
		return nil, ErrNotFound
	}
	return repo, err
}

// Repositories returns the repositories of an account whose names follow
// after, in the order of their names, limit at most.
func (tx *Tx) Repositories(account, after string, limit int) (repos []*ecr.Repository, err error) {
	err = tx.each(func(rs rows) error {
		r, err := scanRepository(rs)
		repos = append(repos, r)
		return err
	}, `select `+repositoryColumns+` from repositories where account = $1 and name > $2 order by name limit $3`, account, after, limit)
	return repos, err
}

// RepositoriesWith returns repositories of an account that link a digest, some
// at most.
func (tx *Tx) RepositoriesWith(account, digest string, limit int) (repos []*ecr.Repository, err error) {
	ids, err := tx.integers(`select rb.repo_id from blobs b join repository_blobs rb on rb.blob_id = b.id
		join repositories r on r.id = rb.repo_id where b.digest = $1 and r.account = $2 order by rb.repo_id limit $3`, digest, account, limit)
	for _, id := range ids {
		repo, err := tx.oneRepository(`select `+repositoryColumns+` from repositories where id = $1`, id)
		if err != nil {
			return nil, err
		}
		repos = append(repos, repo)
	}
	return repos, err
}

// RepositoryNames is Repositories for the names alone.
func (tx *Tx) RepositoryNames(account, after string, limit int) ([]string, error) {
	return tx.strings(`select name from repositories where account = $1 and name > $2 order by name limit $3`, account, after, limit)
}

// strings returns a column of text.
func (tx *Tx) strings(sql string, args ...any) (out []string, err error) {
	err = tx.each(func(rs rows) error {
		var s string
		err := rs.Scan(&s)
		out = append(out, s)
		return err
	}, sql, args...)
	return out, err
}

// CountRepositories returns how many repositories an account has.
func (tx *Tx) CountRepositories(account string) (n int64, err error) {
	err = tx.row([]any{&n}, `select count(*) from repositories where account = $1`, account)
	return n, err
}

// InsertRepository inserts r and sets r.Row; ErrExists if the name is taken.
func (tx *Tx) InsertRepository(r *ecr.Repository) error {
	exclusions, err := list(r.MutabilityExclusion)
	if err != nil {
		return err
	}
	rtags, err := list(r.Tags)
	if err != nil {
		return err
	}
	err = tx.row([]any{&r.Row}, `insert into repositories (account, name, created_at, mutability, mutability_exclusion, scan_on_push,
			encryption_type, encryption_key, policy, lifecycle_policy, tags)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		on conflict (account, name) do nothing returning id`,
		r.ID.Account, r.ID.Name, ms(r.CreatedAt), string(r.Mutability), exclusions, integer(r.ScanOnPush),
		r.Encryption.Type, r.Encryption.KMSKey, r.Policy, r.LifecyclePolicy, rtags)
	if err == ErrNotFound {
		return ErrExists
	}
	return err
}

// UpdateRepository writes the settings of r that may change, but for its
// lifecycle policy.
func (tx *Tx) UpdateRepository(r *ecr.Repository) error {
	exclusions, err := list(r.MutabilityExclusion)
	if err != nil {
		return err
	}
	rtags, err := list(r.Tags)
	if err != nil {
		return err
	}
	_, err = tx.exec(`update repositories set mutability = $2, mutability_exclusion = $3, scan_on_push = $4, policy = $5, tags = $6 where id = $1`,
		r.Row, string(r.Mutability), exclusions, integer(r.ScanOnPush), r.Policy, rtags)
	return err
}

// LockRepository is Repository for a transaction that adds to the repository:
// until it ends the repository is not deleted.
func (tx *Tx) LockRepository(id ecr.RepositoryID) (*ecr.Repository, error) {
	return tx.oneRepository(`select `+repositoryColumns+` from repositories where account = $1 and name = $2 /*pg: for key share */`, id.Account, id.Name)
}

// UnlinkAll removes links of a repository that has no images, limit at most,
// and returns how many. Blobs that nothing else links go to the trash.
func (tx *Tx) UnlinkAll(row int64, trashAt time.Time, limit int) (int, error) {
	ids, err := tx.integers(`select blob_id from repository_blobs where repo_id = $1 order by blob_id limit $2`, row, limit)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := tx.lockLink(row, id, ""); err != nil {
			return 0, err
		}
		if _, err := tx.unlink(row, id, trashAt); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// DeleteRepository deletes the record of a repository that has neither images
// nor links. Its unfinished uploads go, and their objects to the trash.
func (tx *Tx) DeleteRepository(row int64, trashAt time.Time) error {
	if _, err := tx.exec(`insert into blob_trash (storage_key, delete_after) select storage_key, cast($2 as bigint) from uploads where repo_id = $1
		on conflict (storage_key) do nothing`, row, ms(trashAt)); err != nil {
		return err
	}
	if _, err := tx.exec(`delete from uploads where repo_id = $1`, row); err != nil {
		return err
	}
	if err := tx.DropLifecycle(row); err != nil {
		return err
	}
	_, err := tx.exec(`delete from repositories where id = $1`, row)
	return err
}

func (tx *Tx) integers(sql string, args ...any) (out []int64, err error) {
	err = tx.each(func(rs rows) error {
		var v int64
		err := rs.Scan(&v)
		out = append(out, v)
		return err
	}, sql, args...)
	return out, err
}
