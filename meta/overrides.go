package meta

import (
	"time"

	"github.com/ecruhq/ecru/ecr"
)

const overrideColumns = `id, account, repository, digest, vulnerability, package, path, status, description, author, created_at, expires_at`

func (tx *Tx) overrides(sql string, args ...any) (out []ecr.Override, err error) {
	err = tx.each(func(rs rows) error {
		var o ecr.Override
		var created, expires int64
		err := rs.Scan(&o.ID, &o.Account, &o.Repository, &o.Digest, &o.Vulnerability, &o.Package, &o.Path, &o.Status, &o.Description, &o.Author, &created, &expires)
		o.CreatedAt, o.ExpiresAt = at(created), at(expires)
		out = append(out, o)
		return err
	}, sql, args...)
	return out, err
}

// PutOverride inserts an override, or replaces that of the same findings, and
// sets o.ID. told is as in DueOverrides.
func (tx *Tx) PutOverride(o *ecr.Override, told int) error {
	return tx.row([]any{&o.ID}, `insert into overrides (account, repository, digest, vulnerability, package, path, status, description, author, created_at, expires_at, told)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (account, repository, digest, vulnerability, package, path) do update set status = excluded.status, description = excluded.description,
			author = excluded.author, created_at = excluded.created_at, expires_at = excluded.expires_at, told = excluded.told
		returning id`, o.Account, o.Repository, o.Digest, o.Vulnerability, o.Package, o.Path, o.Status, o.Description, o.Author, ms(o.CreatedAt), ms(o.ExpiresAt), told)
}

// Override returns an override of an account, or ErrNotFound.
func (tx *Tx) Override(account string, id int64) (ecr.Override, error) {
	list, err := tx.overrides(`select `+overrideColumns+` from overrides where account = $1 and id = $2`, account, id)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return ecr.Override{}, err
	}
	return list[0], nil
}

// DeleteOverride deletes an override.
func (tx *Tx) DeleteOverride(id int64) error {
	_, err := tx.exec(`delete from overrides where id = $1`, id)
	return err
}

// CountOverrides returns how many an account has.
func (tx *Tx) CountOverrides(account string) (n int64, err error) {
	err = tx.row([]any{&n}, `select count(*) from overrides where account = $1`, account)
	return n, err
}

// Overrides returns those of an account that follow after, by ID, limit at most;
// of what is not "", only those.
func (tx *Tx) Overrides(account, repository, digest, vulnerability string, after int64, limit int) ([]ecr.Override, error) {
	return tx.overrides(`select `+overrideColumns+` from overrides where account = $1 and ($2 = '' or repository = $2) and ($3 = '' or digest = $3)
		and ($4 = '' or vulnerability = $4) and id > $5 order by id limit $6`, account, repository, digest, vulnerability, after, limit)
}

// OverridesAt returns those that hold at a moment for an image.
func (tx *Tx) OverridesAt(id ecr.RepositoryID, digest string, now time.Time) ([]ecr.Override, error) {
	return tx.overrides(`select `+overrideColumns+` from overrides where account = $1 and repository in ('', $2) and digest in ('', $3) and expires_at > $4 order by id`,
		id.Account, id.Name, digest, ms(now))
}

// DueOverrides returns overrides that expire before a time and about which less
// than told has been said, by ID, limit at most.
func (tx *Tx) DueOverrides(before time.Time, told, limit int) ([]ecr.Override, error) {
	return tx.overrides(`select `+overrideColumns+` from overrides where told < $1 and expires_at <= $2 order by id limit $3`, told, ms(before), limit)
}

// Told notes what has been said about an override: 1 that it is about to
// expire, 2 that it has.
func (tx *Tx) Told(id int64, told int) error {
	_, err := tx.exec(`update overrides set told = $2 where id = $1`, id, told)
	return err
}

// Overridden reports whether an account has an override that holds at a moment,
// or did and has not been said to have expired.
func (tx *Tx) Overridden(account string) (bool, error) {
	var n int64
	err := tx.row([]any{&n}, `select count(*) from overrides where account = $1 and told < 2`, account)
	return n > 0, err
}
