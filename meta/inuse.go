package meta

import (
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

const inUseColumns = `repository, digest, source, reported_at, expires_at`

func (tx *Tx) imagesInUse(sql string, args ...any) (list []ecr.ImageInUse, err error) {
	err = tx.each(func(rs rows) error {
		var u ecr.ImageInUse
		var reported, expires int64
		err := rs.Scan(&u.Repository, &u.Digest, &u.Source, &reported, &expires)
		u.ReportedAt, u.ExpiresAt = at(reported), at(expires)
		list = append(list, u)
		return err
	}, sql, args...)
	return list, err
}

// ImagesInUse returns an account's reports that have not expired at now and
// follow after, by repository, digest and source, limit at most. repository and
// source, unless empty, are the ones that are wanted.
func (tx *Tx) ImagesInUse(account, repository, source string, after ecr.ImageInUse, now time.Time, limit int) ([]ecr.ImageInUse, error) {
	return tx.imagesInUse(`select `+inUseColumns+` from images_in_use where account = $1 and (repository, digest, source) > ($2, $3, $4)
			and expires_at > $5 and ($6 = '' or repository = $6) and ($7 = '' or source = $7)
		order by repository, digest, source limit $8`,
		account, after.Repository, after.Digest, after.Source, ms(now), repository, source, limit)
}

// InUseIn returns the reports that concern a repository and have not expired
// at now, the oldest first.
func (tx *Tx) InUseIn(id ecr.RepositoryID, now time.Time) ([]ecr.ImageInUse, error) {
	return tx.imagesInUse(`select `+inUseColumns+` from images_in_use where account = $1 and repository in ('', $2) and expires_at > $3 order by reported_at`,
		id.Account, id.Name, ms(now))
}

// CountImagesInUse returns how many reports an account has.
func (tx *Tx) CountImagesInUse(account string) (n int64, err error) {
	err = tx.row([]any{&n}, `select count(*) from images_in_use where account = $1`, account)
	return n, err
}

// PutImagesInUse writes reports, over those of the same image and source. No
// two of list may be so.
func (tx *Tx) PutImagesInUse(account string, list []ecr.ImageInUse) error {
	const most = 100 // in one statement
	for len(list) > 0 {
		n := min(most, len(list))
		var b strings.Builder
		var args []any
		for i, u := range list[:n] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('(')
			for k, v := range []any{account, u.Repository, u.Digest, u.Source, ms(u.ReportedAt), ms(u.ExpiresAt)} {
				if k > 0 {
					b.WriteByte(',')
				}
				args = append(args, v)
				b.WriteString("$" + strconv.Itoa(len(args)))
			}
			b.WriteByte(')')
		}
		if _, err := tx.exec(`insert into images_in_use (account, `+inUseColumns+`) values `+b.String()+`
			on conflict (account, repository, digest, source) do update set reported_at = excluded.reported_at, expires_at = excluded.expires_at`, args...); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// DeleteImagesInUse deletes what a source has reported in an account.
func (tx *Tx) DeleteImagesInUse(account, source string) error {
	_, err := tx.exec(`delete from images_in_use where account = $1 and source = $2`, account, source)
	return err
}

// ForgetImagesInUse deletes the reports of an account that have expired.
func (tx *Tx) ForgetImagesInUse(account string, now time.Time) error {
	_, err := tx.exec(`delete from images_in_use where account = $1 and expires_at <= $2`, account, ms(now))
	return err
}
