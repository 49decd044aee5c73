package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// A Report is what Verify found.
type Report struct {
	First    int64     `json:"first"` // sequence number
	Last     int64     `json:"last"`  // less than First means no records
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Bytes    int64     `json:"bytes"`
	Unsealed int       `json:"unsealed"` // records that the event log has and the chain not yet
	Problems []string  `json:"problems"` // empty: the trail is whole

	head []byte // seal of the last record of a file
}

// maxProblems bounds what is listed.
const maxProblems = 100

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify proves of every record that is kept that it is as it was written, in
// its place, with none missing before, between and after them; and of every
// change that the event log has that its call is among them. progress, if not
// nil, is told of the records seen. The error is of the store.
func (l *Log) Verify(ctx context.Context, progress func(seen int64)) (r Report, err error) {
	err = l.db.View(ctx, func(tx *meta.Tx) error {
		chain, err := tx.AuditChain()
		if errors.Is(err, meta.ErrNotFound) {
			r.First = 1
			if list, err := tx.AuditRecords(math.MinInt64, 1); err != nil {
				return err
			} else if len(list) > 0 {
				r.problem("there are records without a chain")
			}
			return l.leftovers(tx, &r, time.Time{})
		}
		if err != nil {
			return err
		}
		if !l.signer.Verify(chain.Seal, chainParts(&chain)...) {
			r.problem("the chain's own record, of where it begins and ends, has been changed or was sealed with a key that is not here")
		}
		r.First, r.Last = chain.First, chain.First-1
		before, after := chain.Before, int64(math.MinInt64)
		for {
			list, err := tx.AuditRecords(after, 1000)
			if err != nil {
				return err
			}
			for i := range list {
				after = list[i].Seq
				if after < chain.First {
					r.problem("record %d is none of the chain, which begins with %d", after, chain.First)
					continue
				}
				l.check(&r, before, &list[i])
				before = list[i].Seal
			}
			if progress != nil {
				progress(r.Last - r.First + 1)
			}
			if len(list) < 1000 {
				break
			}
		}
		if r.Last+1 != chain.Next {
			r.problem("the last record is %d, and there were %d", r.Last, chain.Next-1)
		} else if string(before) != string(chain.Head) {
			r.problem("the last record, %d, is not the one that was written", r.Last)
		}
		return l.leftovers(tx, &r, chain.Expired)
	})
	return r, err
}

// check checks a record against the one before it.
func (l *Log) check(r *Report, before []byte, a *meta.AuditRecord) {
	switch want := r.Last + 1; {
	case a.Seq == want+1:
		r.problem("record %d is missing", want)
	case a.Seq > want:
		r.problem("records %d to %d are missing", want, a.Seq-1)
	}
	if !l.signer.Verify(a.Seal, recordParts(before, a.Seq, a.Record)...) && a.Seq == r.Last+1 {
		r.problem("record %d, or the one before it, has been changed", a.Seq)
	} else if copied, err := l.parse(a); err != nil {
		r.problem("record %d: %v", a.Seq, err)
	} else if *columns(copied) != *columns(a) {
		r.problem("record %d: the columns that it is found by are not the record's", a.Seq)
	}
	if r.From.IsZero() {
		r.From = a.At
	}
	r.To, r.Last = a.At, a.Seq
	r.Bytes += int64(len(a.Record))
}

// parse makes a record anew from its text.
func (l *Log) parse(a *meta.AuditRecord) (*meta.AuditRecord, error) {
	var t ecr.TrailRecord
	if err := json.Unmarshal(a.Record, &t); err != nil {
		return nil, err
	}
	at, err := time.Parse(time.RFC3339, t.EventTime)
	if err != nil {
		return nil, err
	}
	return l.record(&meta.AuditChain{Next: a.Seq}, &t, at, a.Record), nil
}

// columns is what records are found by, comparable.
func columns(a *meta.AuditRecord) *[9]string {
	return &[9]string{a.At.UTC().String(), a.Account, a.EventID, a.Source, a.Name, a.Username, a.AccessKey, a.Resource, fmt.Sprint(a.ResourceType, a.ReadOnly)}
}

// leftovers looks at the event log: for records that wait, and for changes
// without a record since the last one that has expired.
func (l *Log) leftovers(tx *meta.Tx, r *Report, since time.Time) (err error) {
	if r.Unsealed, err = tx.CountUnsealed(); err != nil {
		return err
	}
	if !since.IsZero() {
		since = since.Add(time.Second) // those of the same second may have been expired
	}
	lost, err := tx.Unrecorded(since, maxProblems)
	for _, e := range lost {
		r.problem("event %d, %s by request %s, has no record", e.ID, e.Type, e.RequestID)
	}
	return err
}
