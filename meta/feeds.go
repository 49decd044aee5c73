package meta

import (
	"slices"
	"time"
)

// A Feed is a directory of advisories in OSV.dev's layout, which is an ecosystem
// as a whole: Debian, not Debian:12.
type Feed struct {
	Row       int64
	Name      string
	Source    string    // where it was last read from
	ETag      string    // of its list, as that source gave it; "" if not known
	HighWater time.Time // all that its source had of before then has been read; zero if that is not known
	Form      int64     // of the advisories that were kept, see advisory.Form
	Records   int64     // that the list has, those that are not kept included
	Newest    time.Time
	ListedAt  time.Time // when its list was last compared as a whole
	LoadedAt  time.Time // when it last was as its source; zero if never
	CheckedAt time.Time // when its source last answered
	Failure   string    // of the last update, "" if it ended well
}

// FeedAge is how old the advisories of a feed are: the time since the newest of
// what its source has in all feeds, or since the source last answered for this
// one, whichever is longer ago. It is 0 of one that was never loaded.
func FeedAge(f Feed, all []Feed, now time.Time) time.Duration {
	if f.LoadedAt.IsZero() {
		return 0
	}
	asOf := f.HighWater
	for _, o := range all {
		if o.Source == f.Source && o.HighWater.After(asOf) {
			asOf = o.HighWater
		}
	}
	if asOf.IsZero() || f.CheckedAt.Before(asOf) {
		asOf = f.CheckedAt
	}
	return max(0, now.Sub(asOf))
}

const feedColumns = `id, name, source, etag, high_water, form, records, newest, listed_at, loaded_at, checked_at, failure`

// Feeds returns the feeds whose names follow after, in order, limit at most.
func (tx *Tx) Feeds(after string, limit int) ([]Feed, error) {
	return tx.feeds(`select `+feedColumns+` from feeds where name > $1 order by name limit $2`, after, limit)
}

// Feed returns a feed, or ErrNotFound.
func (tx *Tx) Feed(name string) (Feed, error) {
	fs, err := tx.feeds(`select `+feedColumns+` from feeds where name = $1`, name)
	if err != nil {
		return Feed{}, err
	}
	if len(fs) == 0 {
		return Feed{}, ErrNotFound
	}
	return fs[0], nil
}

func (tx *Tx) feeds(sql string, args ...any) (fs []Feed, err error) {
	err = tx.each(func(rs rows) error {
		var f Feed
		var high, newest, listed, loaded, checked int64
		err := rs.Scan(&f.Row, &f.Name, &f.Source, &f.ETag, &high, &f.Form, &f.Records, &newest, &listed, &loaded, &checked, &f.Failure)
		f.HighWater, f.Newest = at(high), at(newest)
		f.ListedAt, f.LoadedAt, f.CheckedAt = at(listed), at(loaded), at(checked)
		fs = append(fs, f)
		return err
	}, sql, args...)
	return fs, err
}

// EnsureFeed returns a feed, which it makes if there is none.
func (tx *Tx) EnsureFeed(name string) (Feed, error) {
	_, err := tx.exec(`insert into feeds (name, source, etag, high_water, form, records, newest, listed_at, loaded_at, checked_at, failure)
		values ($1, '', '', 0, 0, 0, 0, 0, 0, 0, '') on conflict do nothing`, name)
	if err != nil {
		return Feed{}, err
	}
	return tx.Feed(name)
}

// PutFeed records what is known of a feed that is there.
func (tx *Tx) PutFeed(f Feed) error {
	_, err := tx.exec(`update feeds set source = $2, etag = $3, high_water = $4, form = $5, records = $6, newest = $7,
		listed_at = $8, loaded_at = $9, checked_at = $10, failure = $11
		where id = $1`, f.Row, f.Source, f.ETag, since(f.HighWater), f.Form, f.Records, since(f.Newest),
		since(f.ListedAt), since(f.LoadedAt), since(f.CheckedAt), f.Failure)
	return err
}

// A FeedRecord is a record of a feed's list.
type FeedRecord struct {
	ID       string
	Modified time.Time
	Kept     bool // false: it was read, and is of no use
}

// FeedRecords returns those of a feed whose IDs follow after, in order, limit at
// most.
func (tx *Tx) FeedRecords(feed int64, after string, limit int) ([]FeedRecord, error) {
	return tx.feedRecords(`select name, modified, kept from feed_records where feed = $1 and name > $2 order by name limit $3`, feed, after, limit)
}

// FeedRecordsOf returns those of a feed that have one of ids, by ID.
func (tx *Tx) FeedRecordsOf(feed int64, ids []string) (map[string]FeedRecord, error) {
	out := make(map[string]FeedRecord, len(ids))
	for part := range slices.Chunk(ids, chunk) {
		marks, args := in([]any{feed}, part)
		list, err := tx.feedRecords(`select name, modified, kept from feed_records where feed = $1 and name in `+marks, args...)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			out[r.ID] = r
		}
	}
	return out, nil
}

func (tx *Tx) feedRecords(sql string, args ...any) (list []FeedRecord, err error) {
	err = tx.each(func(rs rows) error {
		var r FeedRecord
		var modified, kept int64
		err := rs.Scan(&r.ID, &modified, &kept)
		r.Modified, r.Kept = at(modified), kept == 1
		list = append(list, r)
		return err
	}, sql, args...)
	return list, err
}

// CountFeedRecords returns how many records of a feed have been read.
func (tx *Tx) CountFeedRecords(feed int64) (n int64, err error) {
	err = tx.row([]any{&n}, `select count(*) from feed_records where feed = $1`, feed)
	return n, err
}

// NewestFeedRecord returns when the newest record of a feed was modified.
func (tx *Tx) NewestFeedRecord(feed int64) (time.Time, error) {
	var newest int64
	err := tx.row([]any{&newest}, `select coalesce(max(modified), 0) from feed_records where feed = $1`, feed)
	return at(newest), err
}
