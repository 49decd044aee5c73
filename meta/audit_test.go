package meta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

func newCall(request string) ecr.Caller {
	return ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::" + app.Account + ":user/jane", Account: app.Account, Name: "jane"}, RequestID: request,
		Call: &ecr.Call{Service: "ecr.amazonaws.com", Name: "PutImage", Region: "us-east-1"}}
}

func newEvent(c ecr.Caller, at time.Time) ecr.Event {
	return ecr.Event{At: at, Type: ecr.ImagePushed, Action: "ecr:PutImage", Repository: app, Digest: digest(1), Tag: "v1", Principal: "p", SourceIP: "192.0.2.1",
		UserAgent: "agent", RequestID: c.RequestID, Caller: c}
}

// unsealed returns the request IDs of the records that wait in the log.
func unsealed(t *testing.T, db *meta.DB, limit int) (list []meta.Unsealed, requests string) {
	t.Helper()
	view(t, db, func(tx *meta.Tx) (err error) {
		list, err = tx.Unsealed(limit)
		return err
	})
	for _, u := range list {
		var r ecr.TrailRecord
		must(t, json.Unmarshal(u.Record, &r))
		requests += r.RequestID + " "
	}
	return list, strings.TrimSpace(requests)
}

// The first event of a call has the call's record, and no other.
func TestEvents(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		a, b, denied := newCall("a"), newCall("b"), newCall("d")
		own := ecr.Event{At: t0, Type: ecr.ImageDeleted, Repository: app} // the server's doing
		update(t, db, func(tx *meta.Tx) error {
			for _, e := range []ecr.Event{newEvent(a, t0), newEvent(a, t0), newEvent(b, t0.Add(time.Millisecond)), own} {
				if err := tx.Append(e); err != nil {
					return err
				}
			}
			return nil
		})
		update(t, db, func(tx *meta.Tx) error {
			e := newEvent(denied, t0)
			e.Code = "AccessDenied"
			return tx.Append(e)
		})
		if a.Call.Recorded != ecr.RecordedChange || b.Call.Recorded != ecr.RecordedChange || denied.Call.Recorded != ecr.RecordedDenial {
			t.Errorf("recorded: %v %v %v", a.Call.Recorded, b.Call.Recorded, denied.Call.Recorded)
		}
		list, requests := unsealed(t, db, 10)
		if requests != "a b d" {
			t.Errorf("unsealed %s", requests)
		}
		if _, first := unsealed(t, db, 2); first != "a b" {
			t.Errorf("the first two: %s", first)
		}
		view(t, db, func(tx *meta.Tx) error {
			events, err := tx.Events(0, 10)
			must(t, err)
			if len(events) != 5 {
				t.Fatalf("%d events", len(events))
			}
			want := newEvent(b, t0.Add(time.Millisecond))
			want.ID, want.Caller = events[2].ID, ecr.Caller{}
			if !reflect.DeepEqual(events[2], want) {
				t.Errorf("got  %+v\nwant %+v", events[2], want)
			}
			if events[4].Code != "AccessDenied" {
				t.Errorf("the denial is %+v", events[4])
			}
			after, err := tx.Events(events[1].ID, 2)
			if len(after) != 2 || after[0].ID != events[2].ID || after[1].ID <= after[0].ID {
				t.Errorf("after the second: %+v", after)
			}
			return err
		})

		update(t, db, func(tx *meta.Tx) error { return tx.Sealed(nil) })
		update(t, db, func(tx *meta.Tx) error { return tx.Sealed(list[:2]) })
		if _, requests := unsealed(t, db, 10); requests != "d" {
			t.Errorf("left unsealed: %s", requests)
		}
		view(t, db, func(tx *meta.Tx) error {
			n, err := tx.CountUnsealed()
			must(t, err)
			events, err := tx.Events(0, 10)
			if n != 1 || len(events) != 5 {
				t.Errorf("%d unsealed of %d events: sealing deletes none", n, len(events))
			}
			return err
		})

		expire := func(before time.Time, limit int) (n int64) {
			update(t, db, func(tx *meta.Tx) (err error) {
				n, err = tx.ExpireEvents(before, limit)
				return err
			})
			return n
		}
		if n := expire(t0, 10); n != 0 {
			t.Errorf("%d events expired before their time", n)
		}
		if n := expire(t0.Add(time.Millisecond), 2); n != 2 {
			t.Errorf("%d events expired, want the limit", n)
		}
		if n := expire(t0.Add(time.Hour), 10); n != 2 {
			t.Errorf("%d events expired, want all but the one that is not sealed", n)
		}
		if _, requests := unsealed(t, db, 10); requests != "d" {
			t.Errorf("unsealed after all expired: %s", requests)
		}
	})
}

// A transaction that fails leaves no record, and the next one has it.
func TestEventsOfAFailedTransaction(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		c := newCall("a")
		err := db.Update(t.Context(), func(tx *meta.Tx) error {
			return errors.Join(tx.Append(newEvent(c, t0)), errors.New("refused"))
		})
		if err == nil {
			t.Fatal("no error")
		}
		if _, requests := unsealed(t, db, 10); requests != "" {
			t.Errorf("unsealed %s", requests)
		}
		update(t, db, func(tx *meta.Tx) error { return tx.Append(newEvent(c, t0)) })
		if _, requests := unsealed(t, db, 10); requests != "a" {
			t.Errorf("unsealed %s", requests)
		}
		bad := newCall("b")
		bad.Call.Parameters = []byte("{")
		if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.Append(newEvent(bad, t0)) }); err == nil {
			t.Error("a record that is no JSON was appended")
		}
	})
}

func TestAuditChain(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		for name, get := range map[string]func(*meta.Tx) (meta.AuditChain, error){"read": (*meta.Tx).AuditChain, "lock": (*meta.Tx).LockAuditChain} {
			update(t, db, func(tx *meta.Tx) error {
				if _, err := get(tx); !errors.Is(err, meta.ErrNotFound) {
					t.Errorf("%s before there is one: %v", name, err)
				}
				return nil
			})
		}
		begin := meta.AuditChain{First: 1, Before: []byte{0}, Next: 1, Head: []byte{1}, Seal: []byte{2}}
		update(t, db, func(tx *meta.Tx) error { return tx.BeginAuditChain(begin) })
		want := meta.AuditChain{First: 2, Before: []byte{3}, Next: 1 << 40, Head: []byte{255, 0}, Bytes: 1 << 50, Expired: t0, Seal: []byte{5}}
		update(t, db, func(tx *meta.Tx) error { return tx.PutAuditChain(want) })
		update(t, db, func(tx *meta.Tx) error { return tx.BeginAuditChain(begin) }) // another server, which saw none
		update(t, db, func(tx *meta.Tx) error {
			read, err := tx.AuditChain()
			must(t, err)
			locked, err := tx.LockAuditChain()
			if !reflect.DeepEqual(read, want) || !reflect.DeepEqual(locked, want) {
				t.Errorf("read %+v, locked %+v\nwant %+v", read, locked, want)
			}
			return err
		})
	})
}

// newRecords inserts n records, two in each second.
func newRecords(t *testing.T, db *meta.DB, n int) (out []meta.AuditRecord) {
	t.Helper()
	for i := range n {
		out = append(out, meta.AuditRecord{Seq: int64(i + 1), At: t0.Add(time.Duration(i/2) * time.Second), Account: app.Account, EventID: fmt.Sprint("event", i+1),
			Source: [...]string{"ecr.amazonaws.com", "iam.amazonaws.com"}[i%2], Name: fmt.Sprint("Name", i%3), Username: fmt.Sprint("user", i%4), AccessKey: fmt.Sprint("key", i%5),
			ResourceType: fmt.Sprint("type", i%2), Resource: fmt.Sprint("arn:", i%3), ReadOnly: i%2 == 1, Record: fmt.Appendf(nil, `{"n":%d,"text":"é\u0000"}`, i+1), Seal: []byte{byte(i), 0, 255}})
	}
	update(t, db, func(tx *meta.Tx) error {
		for i := range out {
			if err := tx.InsertAuditRecords([]*meta.AuditRecord{&out[i]}); err != nil {
				return err
			}
		}
		return nil
	})
	return out
}

func seqs(list []meta.AuditRecord) (out []int64) {
	for _, r := range list {
		out = append(out, r.Seq)
	}
	return out
}

func TestAuditRecords(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		want := newRecords(t, db, 12)
		records := func(after int64, limit int) (out []meta.AuditRecord) {
			view(t, db, func(tx *meta.Tx) (err error) {
				out, err = tx.AuditRecords(after, limit)
				return err
			})
			return out
		}
		if got := records(math.MinInt64, 100); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if got := seqs(records(4, 3)); !slices.Equal(got, []int64{5, 6, 7}) {
			t.Errorf("after 4: %v", got)
		}
		again := want[3]
		again.EventID = "another"
		if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.InsertAuditRecords([]*meta.AuditRecord{&again}) }); err == nil {
			t.Error("a sequence number was used twice")
		}
		update(t, db, func(tx *meta.Tx) error { return tx.DeleteAuditRecords(10) })
		if got := seqs(records(0, 100)); !slices.Equal(got, []int64{11, 12}) {
			t.Errorf("after the first ten were deleted: %v", got)
		}
	})
}

// Each column finds its records, in pages that end with the last that was
// looked at.
func TestLookupAudit(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		all := newRecords(t, db, 30)
		foreign := all[29]
		foreign.Seq, foreign.Account = 31, "210987654321"
		update(t, db, func(tx *meta.Tx) error { return tx.InsertAuditRecords([]*meta.AuditRecord{&foreign}) })
		end := t0.Add(time.Hour)
		for _, tt := range []struct {
			q    meta.AuditQuery
			want func(r meta.AuditRecord) bool
		}{
			{meta.AuditQuery{}, func(r meta.AuditRecord) bool { return true }},
			{meta.AuditQuery{By: meta.AuditEventID, Value: "event7"}, func(r meta.AuditRecord) bool { return r.EventID == "event7" }},
			{meta.AuditQuery{By: meta.AuditName, Value: "Name1"}, func(r meta.AuditRecord) bool { return r.Name == "Name1" }},
			{meta.AuditQuery{By: meta.AuditUsername, Value: "user2"}, func(r meta.AuditRecord) bool { return r.Username == "user2" }},
			{meta.AuditQuery{By: meta.AuditAccessKey, Value: "key4"}, func(r meta.AuditRecord) bool { return r.AccessKey == "key4" }},
			{meta.AuditQuery{By: meta.AuditResource, Value: "arn:2"}, func(r meta.AuditRecord) bool { return r.Resource == "arn:2" }},
			{meta.AuditQuery{By: meta.AuditSource, Value: "iam.amazonaws.com"}, func(r meta.AuditRecord) bool { return r.Source == "iam.amazonaws.com" }},
			{meta.AuditQuery{By: meta.AuditReadOnly, Value: true}, func(r meta.AuditRecord) bool { return r.ReadOnly }},
			{meta.AuditQuery{By: meta.AuditReadOnly, Value: false}, func(r meta.AuditRecord) bool { return !r.ReadOnly }},
			{meta.AuditQuery{By: meta.AuditResourceType, Value: "type0"}, func(r meta.AuditRecord) bool { return r.ResourceType == "type0" }},
			{meta.AuditQuery{By: meta.AuditName, Value: "nobody"}, func(r meta.AuditRecord) bool { return false }},
			{meta.AuditQuery{From: t0.Add(3 * time.Second), To: t0.Add(5 * time.Second)}, func(r meta.AuditRecord) bool { return r.Seq >= 7 && r.Seq <= 12 }},
			{meta.AuditQuery{From: t0.Add(3 * time.Second), To: t0.Add(5 * time.Second), By: meta.AuditReadOnly, Value: true}, func(r meta.AuditRecord) bool { return r.Seq >= 7 && r.Seq <= 12 && r.ReadOnly }},
		} {
			var want []int64
			for _, r := range slices.Backward(all) {
				if tt.want(r) {
					want = append(want, r.Seq)
				}
			}
			if tt.q.Account = app.Account; tt.q.To.IsZero() {
				tt.q.To = end
			}
			for _, limit := range []int{1, 3, 50} {
				for _, scan := range []int{1, 4, 1000} {
					tt.q.Limit, tt.q.Scan = limit, scan
					if got := pages(t, db, tt.q); !slices.Equal(got, want) {
						t.Errorf("by %s %v, limit %d, scan %d: %v, want %v", tt.q.By, tt.q.Value, limit, scan, got, want)
					}
				}
			}
		}
		view(t, db, func(tx *meta.Tx) error {
			if _, _, err := tx.LookupAudit(meta.AuditQuery{By: "1=1 or name", Limit: 1}); err == nil {
				t.Error("found by no column")
			}
			return nil
		})
	})
}

// pages returns the sequence numbers of all pages.
func pages(t *testing.T, db *meta.DB, q meta.AuditQuery) (got []int64) {
	t.Helper()
	for range 100 {
		var last *meta.AuditRecord
		view(t, db, func(tx *meta.Tx) error {
			list, next, err := tx.LookupAudit(q)
			if len(list) > q.Limit {
				t.Errorf("a page of %d", len(list))
			}
			got, last = append(got, seqs(list)...), next
			return err
		})
		if last == nil {
			return got
		}
		q.BeforeAt, q.BeforeSeq = last.At, last.Seq
	}
	t.Error("the pages do not end")
	return got
}

func TestUnrecordedEvents(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		record := meta.AuditRecord{Seq: 1, At: t0, Account: app.Account, EventID: "kept"}
		elsewhere := meta.AuditRecord{Seq: 2, At: t0, Account: "210987654321", EventID: "elsewhere"}
		record.Seal, elsewhere.Seal = []byte{1}, []byte{1}
		update(t, db, func(tx *meta.Tx) error {
			must(t, tx.InsertAuditRecords([]*meta.AuditRecord{&record}))
			must(t, tx.InsertAuditRecords([]*meta.AuditRecord{&elsewhere}))
			must(t, tx.Append(ecr.Event{At: t0, Type: ecr.ImageDeleted, Repository: app})) // no request's
			waits := newCall("waits")
			must(t, tx.Append(newEvent(waits, t0)))
			must(t, tx.Append(newEvent(waits, t0)))
			for _, id := range []string{"kept", "elsewhere", "lost", "lost too"} {
				e := newEvent(newCall(id), t0)
				e.Caller.Call = nil // so that the log has no record
				if id == "lost too" {
					e.At = t0.Add(time.Second)
				}
				must(t, tx.Append(e))
			}
			return nil
		})
		unrecorded := func(since time.Time, limit int) (out []string) {
			view(t, db, func(tx *meta.Tx) error {
				events, err := tx.Unrecorded(since, limit)
				for _, e := range events {
					out = append(out, e.RequestID)
					if e.ID == 0 || e.Type != ecr.ImagePushed {
						t.Errorf("event %+v", e)
					}
				}
				return err
			})
			return out
		}
		for _, tt := range []struct {
			since time.Time
			limit int
			want  []string
		}{
			{time.Time{}, 10, []string{"elsewhere", "lost", "lost too"}},
			{t0, 2, []string{"elsewhere", "lost"}},
			{t0.Add(time.Second), 10, []string{"lost too"}},
			{t0.Add(2 * time.Second), 10, nil},
		} {
			if got := unrecorded(tt.since, tt.limit); !slices.Equal(got, tt.want) {
				t.Errorf("since %v: %v, want %v", tt.since, got, tt.want)
			}
		}
	})
}
