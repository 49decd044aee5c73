package meta

import (
	"encoding/json"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// A BackfillCursor is how far the preparation of a backfill has come: the
// repository that it is in, and the last image there.
type BackfillCursor struct {
	Repository string
	Image      int64
}

const backfillColumns = `id, account, region, registry, status, code, started_at, ended_at, prepared, total, completed, failed`

func (tx *Tx) backfills(sql string, args ...any) (out []*ecr.Backfill, err error) {
	err = tx.each(func(rs rows) error {
		b := new(ecr.Backfill)
		var started, ended, prepared int64
		err := rs.Scan(&b.ID, &b.Account, &b.To.Region, &b.To.Account, (*string)(&b.Status), &b.Code, &started, &ended, &prepared,
			&b.Total, &b.Completed, &b.Failed)
		b.StartedAt, b.EndedAt, b.Prepared = at(started), at(ended), prepared != 0
		out = append(out, b)
		return err
	}, `select `+backfillColumns+` from backfills `+sql, args...)
	if err != nil {
		return nil, err
	}
	for _, b := range out {
		if b.Failed == 0 {
			continue
		}
		b.Codes, err = tx.strings(`select distinct code from backfill_items where backfill = $1 and status = 'FAILED' order by code`, b.ID)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Backfill returns a backfill of an account, or ErrNotFound.
func (tx *Tx) Backfill(account, id string) (*ecr.Backfill, error) {
	return tx.backfill(account, id, "")
}

// LockBackfill is Backfill for a transaction that changes it.
func (tx *Tx) LockBackfill(account, id string) (*ecr.Backfill, error) {
	return tx.backfill(account, id, "/*pg: for update */")
}

func (tx *Tx) backfill(account, id, lock string) (*ecr.Backfill, error) {
	list, err := tx.backfills(`where account = $1 and id = $2 `+lock, account, id)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Backfills returns an account's backfills that started before another, the
// newest first, limit at most; the zero time means the newest of all.
func (tx *Tx) Backfills(account string, before time.Time, beforeID string, limit int) ([]*ecr.Backfill, error) {
	if before.IsZero() {
		return tx.backfills(`where account = $1 order by started_at desc, id desc limit $2`, account, limit)
	}
	return tx.backfills(`where account = $1 and (started_at < $2 or started_at = $2 and id < $3) order by started_at desc, id desc limit $4`,
		account, ms(before), beforeID, limit)
}

// ActiveBackfills returns those of an account that are under way.
func (tx *Tx) ActiveBackfills(account string) ([]*ecr.Backfill, error) {
	return tx.backfills(`where account = $1 and status in ('PREPARING', 'IN_PROGRESS', 'STOPPING') order by started_at, id`, account)
}

// InsertBackfill inserts a backfill that has not begun to prepare.
func (tx *Tx) InsertBackfill(b *ecr.Backfill) error {
	_, err := tx.exec(`insert into backfills (`+backfillColumns+`, after_repository, after_image) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', 0)`,
		b.ID, b.Account, b.To.Region, b.To.Account, string(b.Status), b.Code, ms(b.StartedAt), since(b.EndedAt), integer(b.Prepared), b.Total, b.Completed, b.Failed)
	return err
}

// UpdateBackfill writes what changes of a backfill.
func (tx *Tx) UpdateBackfill(b *ecr.Backfill) error {
	_, err := tx.exec(`update backfills set status = $2, code = $3, ended_at = $4, prepared = $5, total = $6, completed = $7, failed = $8 where id = $1`,
		b.ID, string(b.Status), b.Code, since(b.EndedAt), integer(b.Prepared), b.Total, b.Completed, b.Failed)
	return err
}

// BackfillCursor returns how far a backfill's preparation has come.
func (tx *Tx) BackfillCursor(id string) (c BackfillCursor, err error) {
	err = tx.row([]any{&c.Repository, &c.Image}, `select after_repository, after_image from backfills where id = $1`, id)
	return c, err
}

// SetBackfillCursor keeps how far a backfill's preparation has come.
func (tx *Tx) SetBackfillCursor(id string, c BackfillCursor) error {
	_, err := tx.exec(`update backfills set after_repository = $2, after_image = $3 where id = $1`, id, c.Repository, c.Image)
	return err
}

// AddBackfillItem adds an image to a backfill.
func (tx *Tx) AddBackfillItem(id, repository string, image ecr.ImageID) error {
	_, err := tx.exec(`insert into backfill_items (backfill, repository, digest, tag, status, code, sub_codes) values ($1, $2, $3, $4, 'IN_PROGRESS', '', '')`,
		id, repository, image.Digest, image.Tag)
	return err
}

// BackfillItems returns the images of a backfill with a status, or those that
// have ended if it is "", that follow after, in order, limit at most.
func (tx *Tx) BackfillItems(id string, status ecr.ReplicationStatus, after int64, limit int) (out []ecr.BackfillItem, err error) {
	where := ` and status = $4`
	if status == "" {
		where = ` and status <> $4`
		status = ecr.ReplicationInProgress
	}
	err = tx.each(func(rs rows) error {
		var i ecr.BackfillItem
		var sub string
		if err := rs.Scan(&i.Row, &i.Repository, &i.Image.Digest, &i.Image.Tag, (*string)(&i.Status), &i.Code, &sub); err != nil {
			return err
		}
		if sub != "" {
			if err := json.Unmarshal([]byte(sub), &i.SubCodes); err != nil {
				return err
			}
		}
		out = append(out, i)
		return nil
	}, `select id, repository, digest, tag, status, code, sub_codes from backfill_items
		where backfill = $1 and id > $2`+where+` order by id limit $3`, id, after, limit, string(status))
	return out, err
}

// FinishBackfillItem writes how an image of a backfill ended, and reports
// whether it had not ended before.
func (tx *Tx) FinishBackfillItem(i ecr.BackfillItem) (bool, error) {
	sub := ""
	if len(i.SubCodes) > 0 {
		b, err := json.Marshal(i.SubCodes)
		if err != nil {
			return false, err
		}
		sub = string(b)
	}
	n, err := tx.exec(`update backfill_items set status = $2, code = $3, sub_codes = $4 where id = $1 and status = 'IN_PROGRESS'`,
		i.Row, string(i.Status), i.Code, sub)
	return n > 0, err
}

// ExpireBackfill deletes up to limit images of the oldest backfill that ended
// before a time, or the backfill itself once it has none; done says that there
// is no such backfill.
func (tx *Tx) ExpireBackfill(before time.Time, limit int) (done bool, err error) {
	var id string
	err = tx.row([]any{&id}, `select id from backfills where ended_at > 0 and ended_at < $1 order by ended_at limit 1`, ms(before))
	if err == ErrNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	n, err := tx.exec(`delete from backfill_items where id in (select id from backfill_items where backfill = $1 order by id limit $2)`, id, limit)
	if err != nil || n > 0 {
		return false, err
	}
	_, err = tx.exec(`delete from backfills where id = $1`, id)
	return false, err
}
