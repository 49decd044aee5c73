// Package advisory is what is known of vulnerabilities and of the versions of
// packages that have them. It is the only writer of these records.
//
// A version of a package (a PV) is matched once, whoever has it. A change of
// advisories marks the PVs of the packages that it names, before and after, in
// its own transaction; Rematch looks at what is marked, and at nothing else.
// Matching itself is done outside of the transactions that write.
package advisory

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// Form is raised when advisories are compiled in another way: feeds of another
// form are read anew as a whole.
const Form = 1

// ChangedQueue has a job while there are PVs whose findings changed
// (meta.Tx.TakeChangedPVs); its key is ChangedKey.
const (
	ChangedQueue = "scan/rematch"
	ChangedKey   = "changed"
)

const (
	// batch is the most records that one transaction writes.
	batch = 250
	// matchBatch is the most PVs that one transaction writes.
	matchBatch = 500
)

// A Store keeps advisories and matches PVs. Its methods are safe for concurrent
// use.
type Store struct {
	db  *meta.DB
	now func() time.Time
	log *slog.Logger
}

// New returns a Store; a nil log discards.
func New(db *meta.DB, now func() time.Time, log *slog.Logger) *Store {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Store{db: db, now: now, log: log}
}

// Ensure returns the IDs of PVs, in the order of list, each matched: it makes
// and matches those that are not known. It writes in transactions of its own,
// and none if all is known.
func (s *Store) Ensure(ctx context.Context, list []vuln.Identity) ([]int64, error) {
	if len(list) == 0 {
		return nil, nil
	}
	ids := make([]int64, 0, len(list))
	for part := range slices.Chunk(list, matchBatch) {
		some, err := s.ensure(ctx, part)
		if err != nil {
			return nil, err
		}
		ids = append(ids, some...)
	}
	return ids, nil
}

func (s *Store) ensure(ctx context.Context, list []vuln.Identity) (ids []int64, err error) {
	err = s.db.View(ctx, func(tx *meta.Tx) (err error) {
		ids, err = tx.FindPVs(list)
		return err
	})
	if err != nil {
		return nil, err
	}
	if slices.Contains(ids, 0) {
		err = s.db.Update(ctx, func(tx *meta.Tx) (err error) {
			ids, err = tx.EnsurePVs(list)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for { // until no change of advisories has come between
		left, _, err := s.match(ctx, func(tx *meta.Tx) ([]meta.PV, error) {
			pvs, err := tx.PVs(ids)
			return slices.DeleteFunc(pvs, func(p meta.PV) bool { return p.Matched }), err
		})
		if err != nil || left == 0 {
			return ids, err
		}
	}
}

// A Rematched counts what Rematch did.
type Rematched struct {
	Matched int // PVs that were looked at
	Changed int // PVs whose findings are others than before
}

// Rematch matches all PVs that are marked. Those whose findings have changed
// wait in meta.Tx.TakeChangedPVs, and ChangedQueue has a job.
func (s *Store) Rematch(ctx context.Context) (total Rematched, err error) {
	for ctx.Err() == nil {
		n, changed, err := s.match(ctx, func(tx *meta.Tx) ([]meta.PV, error) { return tx.StalePVs(matchBatch) })
		total.Matched += n
		total.Changed += changed
		if err != nil || n == 0 {
			return total, err
		}
	}
	return total, ctx.Err()
}

// match matches the PVs that pick returns, matchBatch at most, and returns how
// many these were.
func (s *Store) match(ctx context.Context, pick func(*meta.Tx) ([]meta.PV, error)) (n, changed int, err error) {
	var found []meta.Matched
	var generation int64
	err = s.db.View(ctx, func(tx *meta.Tx) (err error) {
		if generation, err = tx.Generation(); err != nil {
			return err
		}
		pvs, err := pick(tx)
		if err != nil || len(pvs) == 0 {
			return err
		}
		found, err = matches(tx, pvs)
		return err
	})
	if err != nil || len(found) == 0 {
		return 0, 0, err
	}
	err = s.db.Update(ctx, func(tx *meta.Tx) (err error) {
		now := s.now()
		if changed, err = tx.PutMatches(generation, found, now); err != nil || changed == 0 {
			return err
		}
		return tx.Enqueue(ChangedQueue, ChangedKey, nil, now, now)
	})
	return len(found), changed, err
}

// matches finds what is wrong with PVs.
func matches(tx *meta.Tx, pvs []meta.PV) ([]meta.Matched, error) {
	var keys []vuln.Key
	for i := range pvs {
		keys = append(keys, pvs[i].Keys()...)
	}
	parts, err := tx.Parts(keys)
	if err != nil {
		return nil, err
	}
	compiled := make(map[vuln.Key][]*vuln.Advisory, len(parts))
	for k, bodies := range parts {
		for _, body := range bodies {
			a, err := vuln.DecodeAdvisory(body)
			if err != nil {
				return nil, err
			}
			compiled[k] = append(compiled[k], a)
		}
	}
	under := func(id vuln.Identity) []*vuln.Advisory {
		keys := id.Keys()
		if len(keys) == 1 {
			return compiled[keys[0]]
		}
		var all []*vuln.Advisory
		for _, k := range keys {
			all = append(all, compiled[k]...)
		}
		return all
	}
	lent, err := borrow(tx, compiled)
	if err != nil {
		return nil, err
	}
	out := make([]meta.Matched, len(pvs))
	for i := range pvs {
		out[i] = meta.Matched{PV: pvs[i].ID, Matches: pvs[i].Identity.Match(under(pvs[i].Identity), lent)}
	}
	return out, nil
}

// borrow returns what other records of the CVEs that advisories without a
// severity of their own are about say of it.
func borrow(tx *meta.Tx, compiled map[vuln.Key][]*vuln.Advisory) (func(cve string) (vuln.Rating, bool), error) {
	var names []string
	for _, list := range compiled {
		for _, a := range list {
			if a.Rating().Severity == vuln.Undefined {
				names = append(names, a.CVEs()...)
			}
		}
	}
	slices.Sort(names)
	texts, err := tx.Lent(slices.Compact(names))
	if err != nil {
		return nil, err
	}
	best := make(map[string]vuln.Rating, len(texts))
	for name, list := range texts {
		for _, text := range list {
			var r vuln.Rating
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				return nil, err
			}
			if had, ok := best[name]; !ok || r.Better(had) {
				best[name] = r
			}
		}
	}
	return func(cve string) (vuln.Rating, bool) {
		r, ok := best[cve]
		return r, ok
	}, nil
}

// RematchAll has every PV matched again, whatever has changed.
func (s *Store) RematchAll(ctx context.Context) (Rematched, error) {
	for after := int64(0); ; {
		var last int64
		err := s.db.Update(ctx, func(tx *meta.Tx) (err error) {
			last, err = tx.MakeStale(after, 10_000)
			return err
		})
		if err != nil {
			return Rematched{}, err
		}
		if last == 0 {
			return s.Rematch(ctx)
		}
		after = last
	}
}
