package advisory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// page is how many rows one view reads.
const page = 5000

// Feed returns a feed, which it makes if there is none.
func (s *Store) Feed(ctx context.Context, name string) (f meta.Feed, err error) {
	err = s.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		f, err = tx.Feed(name)
		return err
	})
	if err != meta.ErrNotFound {
		return f, err
	}
	err = s.db.Update(ctx, func(tx *meta.Tx) (err error) {
		f, err = tx.EnsureFeed(name)
		return err
	})
	return f, err
}

// Feeds returns all feeds, by name.
func (s *Store) Feeds(ctx context.Context) (list []meta.Feed, err error) {
	err = s.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		list, err = tx.Feeds("", MaxFeeds)
		return err
	})
	return list, err
}

// MaxFeeds bounds the feeds of a source.
const MaxFeeds = 500

// PutFeed records how an update of a feed has ended.
func (s *Store) PutFeed(ctx context.Context, f meta.Feed) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error { return tx.PutFeed(f) })
}

// A Listed is a row of the list of a feed.
type Listed struct {
	ID       string
	Modified time.Time
	// Known is whether the record was read before, and Kept, whether it was of
	// use then. Compare sets them.
	Known, Kept bool
}

// Compare returns those rows of a list that have not been read or have changed
// since, by ID, and, if the list is whole, the IDs that a feed has and the list
// does not. It sorts list. all has every row returned.
func (s *Store) Compare(ctx context.Context, feed int64, list []Listed, whole, all bool) (changed []Listed, gone []string, err error) {
	slices.SortFunc(list, func(a, b Listed) int { return cmp.Or(strings.Compare(a.ID, b.ID), b.Modified.Compare(a.Modified)) })
	list = slices.CompactFunc(list, func(a, b Listed) bool { return a.ID == b.ID })
	judge := func(l Listed, r meta.FeedRecord, known bool) {
		l.Known, l.Kept = known, known && r.Kept
		if all || !known || !r.Modified.Equal(l.Modified.Truncate(time.Millisecond)) {
			changed = append(changed, l)
		}
	}
	if !whole {
		for part := range slices.Chunk(list, page) {
			known, err := s.records(ctx, feed, part)
			if err != nil {
				return nil, nil, err
			}
			for _, l := range part {
				r, ok := known[l.ID]
				judge(l, r, ok)
			}
		}
		return changed, nil, nil
	}
	i := 0
	for after := ""; ; {
		var known []meta.FeedRecord
		err := s.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
			known, err = tx.FeedRecords(feed, after, page)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		for _, r := range known {
			for ; i < len(list) && list[i].ID < r.ID; i++ {
				judge(list[i], meta.FeedRecord{}, false)
			}
			if i < len(list) && list[i].ID == r.ID {
				judge(list[i], r, true)
				i++
			} else {
				gone = append(gone, r.ID)
			}
			after = r.ID
		}
		if len(known) < page {
			break
		}
	}
	for ; i < len(list); i++ {
		judge(list[i], meta.FeedRecord{}, false)
	}
	return changed, gone, nil
}

func (s *Store) records(ctx context.Context, feed int64, list []Listed) (known map[string]meta.FeedRecord, err error) {
	ids := make([]string, len(list))
	for i, l := range list {
		ids[i] = l.ID
	}
	err = s.db.View(ctx, func(tx *meta.Tx) (err error) {
		known, err = tx.FeedRecordsOf(feed, ids)
		return err
	})
	return known, err
}

// Count returns how many records of a feed have been read.
func (s *Store) Count(ctx context.Context, feed int64) (n int64, err error) {
	err = s.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		n, err = tx.CountFeedRecords(feed)
		return err
	})
	return n, err
}

// Unreadable stands for a record that could not be compiled: what was kept of
// it before, stays, and it is read again when it has changed.
func Unreadable(l Listed) Compiled {
	return Compiled{list: meta.FeedRecord{ID: l.ID, Modified: l.Modified, Kept: l.Kept}}
}

// PutKEV has the catalogue of known exploited vulnerabilities be list, and
// returns how many entries that changed. It writes what differs, in transactions
// of bounded size.
func (s *Store) PutKEV(ctx context.Context, list []vuln.Exploited) (int, error) {
	return replace(ctx, s, list, func(k vuln.Exploited) string { return k.CVE }, (*meta.Tx).KEVs, (*meta.Tx).PutKEVs, (*meta.Tx).DropKEVs)
}

// PutEPSS is PutKEV for the probabilities of exploitation.
func (s *Store) PutEPSS(ctx context.Context, list []vuln.EPSS) (int, error) {
	return replace(ctx, s, list, func(e vuln.EPSS) string { return e.CVE }, (*meta.Tx).EPSSs, (*meta.Tx).PutEPSSs, (*meta.Tx).DropEPSSs)
}

// replace has a table be list.
func replace[T comparable](ctx context.Context, s *Store, list []T, key func(T) string,
	read func(*meta.Tx, string, int) ([]T, error), put func(*meta.Tx, []T) error, drop func(*meta.Tx, []string) error) (int, error) {
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	list = slices.CompactFunc(list, func(a, b T) bool { return key(a) == key(b) })
	var write []T
	var gone []string
	i := 0
	for after := ""; ; {
		var rows []T
		err := s.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
			rows, err = read(tx, after, page)
			return err
		})
		if err != nil {
			return 0, err
		}
		for _, r := range rows {
			for ; i < len(list) && key(list[i]) < key(r); i++ {
				write = append(write, list[i])
			}
			if i < len(list) && key(list[i]) == key(r) {
				if list[i] != r {
					write = append(write, list[i])
				}
				i++
			} else {
				gone = append(gone, key(r))
			}
			after = key(r)
		}
		if len(rows) < page {
			break
		}
	}
	write = append(write, list[i:]...)
	for part := range slices.Chunk(write, 2*batch) {
		if err := s.db.Update(ctx, func(tx *meta.Tx) error { return put(tx, part) }); err != nil {
			return 0, err
		}
	}
	for part := range slices.Chunk(gone, batch) {
		if err := s.db.Update(ctx, func(tx *meta.Tx) error { return drop(tx, part) }); err != nil {
			return 0, err
		}
	}
	return len(write) + len(gone), nil
}

// Newest returns when the newest record of a feed was modified.
func (s *Store) Newest(ctx context.Context, feed int64) (t time.Time, err error) {
	err = s.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		t, err = tx.NewestFeedRecord(feed)
		return err
	})
	return t, err
}
