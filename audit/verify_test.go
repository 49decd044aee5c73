package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

// filled gives a world a trail of n records, a second apart: changes and reads
// in turn.
func filled(w *world, l *Log, n int) {
	w.tb.Helper()
	for i := range n {
		if i%2 == 0 {
			w.change("PutImage")
		} else {
			w.read(l, "BatchGetImage")
		}
		ok(w.tb, l.Settle(context.Background()))
		w.advance(time.Second)
	}
}

func TestTampering(t *testing.T) {
	forged := `insert into audit_records (seq, at, account, event_id, source, name, username, access_key, resource_type, resource, read_only, record, seal)
		select %d, at, account, event_id, source, name, username, access_key, resource_type, resource, read_only, record, seal from audit_records where seq = 5`
	tests := []struct {
		name, sql, want string // sql: statements apart by ;
	}{
		{"a byte of a record", `update audit_records set record = replace(record, 'PutImage', 'PutImagf') where seq = 5`, "record 5, or the one before it, has been changed"},
		{"a space in a record", `update audit_records set record = replace(record, ',"eventName"', ', "eventName"') where seq = 5`, "record 5, or the one before it, has been changed"},
		{"the first record", `update audit_records set record = replace(record, 'PutImage', 'PutImagf') where seq = 1`, "record 1, or the one before it, has been changed"},
		{"the last record", `update audit_records set record = replace(record, 'BatchGetImage', 'BatchGetImagf') where seq = 10`, "record 10, or the one before it, has been changed"},
		{"a record that is none", `update audit_records set record = '' where seq = 5`, "record 5, or the one before it, has been changed"},
		{"a seal", `update audit_records set seal = (select seal from audit_records where seq = 6) where seq = 5`, "record 5, or the one before it, has been changed"},
		{"a seal of nothing", `update audit_records set seal = (select before from audit_chain) where seq = 5`, "record 5, or the one before it, has been changed"},
		{"a missing one", `delete from audit_records where seq = 5`, "record 5 is missing"},
		{"missing ones", `delete from audit_records where seq between 5 and 7`, "records 5 to 7 are missing"},
		{"the first missing", `delete from audit_records where seq = 1`, "record 1 is missing"},
		{"the last missing", `delete from audit_records where seq = 10`, "the last record is 9, and there were 10"},
		{"all missing", `delete from audit_records`, "the last record is 0, and there were 10"},
		{"two that are swapped", `update audit_records set seq = -5 where seq = 5; update audit_records set seq = 5 where seq = 6; update audit_records set seq = 6 where seq = -5`,
			"record 5, or the one before it, has been changed"},
		{"two texts that are swapped", `update audit_records set record = (select r.record from audit_records r where r.seq = 12 - audit_records.seq) where seq in (5, 7)`,
			"record 5, or the one before it, has been changed"},
		{"the last two swapped", `update audit_records set seq = -9 where seq = 9; update audit_records set seq = 9 where seq = 10; update audit_records set seq = 10 where seq = -9`,
			"record 9, or the one before it, has been changed"},
		{"a forged one at the end", fmt.Sprintf(forged, 11), "record 11, or the one before it, has been changed"},
		{"a forged one in place of another", `delete from audit_records where seq = 7;` + fmt.Sprintf(forged, 7), "record 7, or the one before it, has been changed"},
		{"a forged one before the first", fmt.Sprintf(forged, 0), "record 0"},
		{"forged ones far before the first", fmt.Sprintf(forged, -1000), "record -1000"},

		{"when", `update audit_records set at = at + 1 where seq = 5`, "record 5: the columns"},
		{"whose", `update audit_records set account = '210987654321' where seq = 5`, "record 5: the columns"},
		{"event ID", `update audit_records set event_id = 'x' where seq = 5`, "record 5: the columns"},
		{"source", `update audit_records set source = 'iam.amazonaws.com' where seq = 5`, "record 5: the columns"},
		{"name", `update audit_records set name = 'x' where seq = 5`, "record 5: the columns"},
		{"username", `update audit_records set username = 'joe' where seq = 5`, "record 5: the columns"},
		{"access key", `update audit_records set access_key = '' where seq = 5`, "record 5: the columns"},
		{"resource type", `update audit_records set resource_type = '' where seq = 5`, "record 5: the columns"},
		{"resource", `update audit_records set resource = '' where seq = 5`, "record 5: the columns"},
		{"read-only", `update audit_records set read_only = 1 where seq = 5`, "record 5: the columns"},

		{"the chain's beginning", `update audit_chain set first = 2`, "the chain's own record"},
		{"a shorter beginning", `update audit_chain set first = 4, before = (select seal from audit_records where seq = 3); delete from audit_records where seq <= 3`, "the chain's own record"},
		{"the seal before", `update audit_chain set before = head`, "the chain's own record"},
		{"the chain's end", `update audit_chain set next = 12`, "the last record is 10, and there were 11"},
		{"a shorter end", `update audit_chain set next = 8, head = (select seal from audit_records where seq = 7); delete from audit_records where seq >= 8`, "the chain's own record"},
		{"the head", `update audit_chain set head = before`, "the last record, 10, is not the one that was written"},
		{"the size", `update audit_chain set bytes = 1000000000`, "the chain's own record"},
		{"what has expired", `update audit_chain set expired_at = 1900000000000`, "the chain's own record"},
		{"the chain's seal", `update audit_chain set seal = head`, "the chain's own record"},
		{"the chain's row", `update audit_chain set id = 2`, "without a chain"},
		{"no chain", `delete from audit_chain`, "without a chain"},
		{"no trail", `delete from audit_chain; delete from audit_records`, "has no record"},
	}
	both(t, func(t *testing.T, w *world) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				w.tb = t
				clearTrail(w)
				l := w.log()
				filled(w, l, 10)
				w.whole(l)
				for s := range strings.SplitSeq(tt.sql, ";") {
					if n := w.sql(s); n == 0 {
						t.Fatalf("%s does nothing", s)
					}
				}
				w.broken(l, tt.want)
			})
		}
	})
}

func clearTrail(w *world) {
	for _, table := range []string{"audit_records", "audit_chain", "events"} {
		w.sql("delete from " + table)
	}
}

// What the server writes later does not make good what has been tampered with.
func TestTamperingStays(t *testing.T) {
	for _, tt := range []struct{ name, sql string }{
		{"a shorter beginning", `update audit_chain set first = 4, before = (select seal from audit_records where seq = 3); delete from audit_records where seq <= 3`},
		{"a shorter end", `update audit_chain set next = 8, head = (select seal from audit_records where seq = 7); delete from audit_records where seq >= 8`},
		{"another beginning", `update audit_chain set before = head`},
		{"all gone and counted", `update audit_chain set first = next, before = head; delete from audit_records`},
		{"the size, to have all expire", `update audit_chain set bytes = 1000000000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.MaxBytes = 1 << 20
			l := w.log()
			filled(w, l, 10)
			for s := range strings.SplitSeq(tt.sql, ";") {
				w.sql(s)
			}
			w.change("PutImage")
			w.read(l, "BatchGetImage")
			_ = l.Settle(t.Context()) // it may refuse
			_ = l.Expire(t.Context())
			r, err := w.log().Verify(t.Context(), nil)
			ok(t, err)
			if len(r.Problems) == 0 {
				t.Errorf("the trail seems whole: %+v", r)
			}
		})
	}
}

// A record sealed anew with a key that the server does not have is found, and
// one of a key that it had once is not: it is as it was written.
func TestMasterKeys(t *testing.T) {
	w := newWorld(t)
	old := w.log()
	filled(w, old, 4)
	rotated := w.logWith(identity.NewMasterKey() + "\n" + master)
	w.whole(rotated)
	filled(w, rotated, 4)
	if r := w.whole(rotated); r.Last != 8 {
		t.Errorf("report %+v", r)
	}
	w.broken(old, "sealed with a key that is not here")

	thief := w.logWith(identity.NewMasterKey())
	list, chain := w.records(), w.chain()
	for i := range list[5:] { // from record 6 to the end, all anew
		r := &list[5+i]
		body := []byte(strings.Replace(string(r.Record), "jane", "joes", -1))
		seal := thief.signer.Sign(recordParts(list[4+i].Seal, r.Seq, body)...)
		r.Record, r.Seal = body, seal
		w.sql(`update audit_records set record = $1, seal = $2, username = replace(username, 'jane', 'joes') where seq = $3`, string(body), seal, r.Seq)
	}
	chain.Head = list[7].Seal
	w.sql(`update audit_chain set head = $1, seal = $2`, chain.Head, thief.signer.Sign(chainParts(&chain)...))
	w.broken(rotated, "record 6, or the one before it, has been changed")
	w.broken(rotated, "sealed with a key that is not here")
}

// A change whose record is taken out of the event log before it is sealed is
// found by its event.
func TestUnrecorded(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		l := w.log()
		lost := w.change("PutImage")
		if r := w.whole(l); r.Unsealed != 1 {
			t.Errorf("report %+v", r)
		}
		w.sql(`update events set record = null`)
		w.broken(l, "ImagePushed by request "+lost.RequestID+", has no record")

		clearTrail(w)
		filled(w, l, 4)
		kept, gone := w.change("PutImage"), w.change("PutImage")
		w.sql(`update events set record = null where request_id = $1`, gone.RequestID)
		w.broken(l, gone.RequestID+", has no record")
		w.settled(l)
		r, err := l.Verify(t.Context(), nil)
		ok(t, err)
		if len(r.Problems) != 1 || strings.Contains(r.Problems[0], kept.RequestID) {
			t.Errorf("problems %q", r.Problems)
		}
	})
}

// Of a trail of which nothing is right as much is told as one can read.
func TestManyProblems(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	for range 1500 {
		w.read(l, "GetA")
	}
	w.settled(l)
	w.sql(`update audit_records set name = 'x'`)
	var seen []int64
	r, err := l.Verify(t.Context(), func(n int64) { seen = append(seen, n) })
	ok(t, err)
	if len(r.Problems) != maxProblems || fmt.Sprint(seen) != "[1000 1500]" {
		t.Errorf("%d problems, progress %v", len(r.Problems), seen)
	}
}

func TestExpireByAge(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.cfg.MaxAge = time.Hour
		l := w.log()
		n := 0
		for ; n < 300; n++ { // more than go in one transaction
			w.change("PutImage")
			w.read(l, "BatchGetImage")
		}
		w.settled(l)
		w.advance(30 * time.Minute)
		kept := w.change("PutImage")
		w.settled(l)
		ok(t, l.Expire(t.Context()))
		if r := w.whole(l); r.First != 1 || r.Last != 601 {
			t.Errorf("before the time: %+v", r)
		}
		w.advance(31 * time.Minute)
		ok(t, l.Expire(t.Context()))
		if r := w.whole(l); r.First != 601 || r.Last != 601 || r.Bytes != w.chain().Bytes || !r.From.Equal(t0.Add(30*time.Minute)) {
			t.Errorf("%+v of %d bytes", r, w.chain().Bytes)
		}
		events := func() (out []ecr.Event) {
			ok(t, w.db.View(t.Context(), func(tx *meta.Tx) (err error) { out, err = tx.Events(0, 1000); return err }))
			return out
		}
		if e := events(); len(e) != 1 || e[0].RequestID != kept.RequestID {
			t.Errorf("%d events are left", len(e))
		}
		w.advance(time.Hour)
		late := w.change("PutImage") // not sealed yet
		w.advance(2 * time.Hour)
		ok(t, l.Expire(t.Context()))
		if r := w.whole(l); r.First != 602 || r.Last != 601 || r.Unsealed != 1 {
			t.Errorf("with none left: %+v", r)
		}
		if e := events(); len(e) != 1 || e[0].RequestID != late.RequestID {
			t.Errorf("%d events are left, want the one whose record waits", len(e))
		}
		if list := w.settled(l); len(list) != 1 || list[0].Seq != 602 {
			t.Errorf("the next record: %+v", list)
		}
		w.whole(l)
		w.sql(`delete from audit_records`)
		w.broken(l, "the last record is 601, and there were 602")
	})
}

func TestExpireBySize(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.cfg.MaxBytes = 20_000
		l := w.log()
		for range 400 {
			w.read(l, "BatchGetImage")
		}
		gone := w.settled(l)[0]
		w.advance(time.Second)
		ok(t, l.Expire(t.Context()))
		r := w.whole(l)
		size := int64(len(gone.Record))
		if r.Bytes > 20_000 || r.Bytes+size <= 20_000 || r.Last != 400 || r.Bytes != w.chain().Bytes {
			t.Errorf("%+v of records of %d bytes", r, size)
		}
		found, _, err := l.Lookup(t.Context(), admin(), Query{Attribute: "EventId", Value: gone.EventID, Limit: 50})
		if err != nil || len(found) != 0 {
			t.Errorf("an expired record is found: %v, %v", found, err)
		}
		w.read(l, "BatchGetImage")
		if list := w.settled(l); list[len(list)-1].Seq != 401 {
			t.Errorf("the next record is %d", list[len(list)-1].Seq)
		}
		ok(t, l.Expire(t.Context()))
		w.whole(l)
		w.cfg.MaxBytes = 1 // less than one record
		l = w.log()
		ok(t, l.Expire(t.Context()))
		if r := w.whole(l); r.First != 402 || r.Bytes != 0 {
			t.Errorf("none is left: %+v", r)
		}
	})
}

// A change may be sealed before a read that was answered earlier: by another
// server, or one whose clock is behind. When it has expired by size, its event,
// which is kept for longer, is no lost one.
func TestExpireOutOfOrder(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	w.advance(time.Second)
	w.change("PutImage")
	w.settled(l)
	w.advance(-time.Second)
	w.read(l, "BatchGetImage")
	w.settled(l)
	w.cfg.MaxBytes = w.chain().Bytes - 1
	l = w.log()
	ok(t, l.Expire(t.Context()))
	if r := w.whole(l); r.First != 2 || r.Last != 2 {
		t.Errorf("report %+v", r)
	}
}

// What is sealed together is in the order of time.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	for range 3 {
		w.read(l, "BatchGetImage")
		w.advance(time.Second)
		w.change("PutImage")
		w.advance(time.Second)
	}
	if got := names(w.settled(l)); got != strings.TrimSpace(strings.Repeat("BatchGetImage PutImage ", 3)) {
		t.Errorf("sealed in the order %s", got)
	}
	w.whole(l)
}

// Whatever happens in whatever order, the trail is whole, and none is missing.
func TestWhole(t *testing.T) {
	w := newWorld(t)
	w.cfg.Log = nil
	rapid.Check(t, func(r *rapid.T) {
		clearTrail(w)
		keys := master
		w.cfg.MaxAge = time.Duration(rapid.IntRange(0, 10).Draw(r, "age")) * time.Second
		w.cfg.MaxBytes = rapid.Int64Range(0, 20_000).Draw(r, "bytes")
		l, made, sure := w.logWith(keys), int64(0), true
		settle := func(r *rapid.T) {
			ok(t, l.Settle(context.Background()))
		}
		r.Repeat(map[string]func(*rapid.T){
			"read": func(r *rapid.T) {
				for range rapid.IntRange(1, 2*batch).Draw(r, "n") {
					w.read(l, "BatchGetImage")
					made++
				}
			},
			"change": func(r *rapid.T) { w.change("PutImage"); made++ },
			"denied": func(r *rapid.T) {
				c := w.caller("DeleteRepository")
				c.Call.Fail("AccessDeniedException", "no")
				ok(t, w.append(c, "AccessDenied"))
				l.Observe(context.Background(), c)
				made++
			},
			"settle": settle,
			"settle with a fault": func(r *rapid.T) {
				w.failing("before", rapid.Int64Range(1, 3).Draw(r, "commits"))
				_ = l.Settle(context.Background())
				w.fault.Store(nil)
			},
			"settle with an unknown outcome": func(r *rapid.T) {
				w.failing("after", 1)
				if l.Settle(context.Background()) != nil {
					sure = false
				}
				w.fault.Store(nil)
			},
			"expire": func(r *rapid.T) { ok(t, l.Expire(context.Background())) },
			"wait":   func(r *rapid.T) { w.advance(time.Duration(rapid.IntRange(1, 3000).Draw(r, "ms")) * time.Millisecond) },
			"restart": func(r *rapid.T) {
				settle(r)
				l = w.logWith(keys)
			},
			"rotate": func(r *rapid.T) {
				settle(r)
				keys = identity.NewMasterKey() + "\n" + keys
				l = w.logWith(keys)
			},
			"": func(r *rapid.T) { check(r, l) },
		})
		settle(r)
		if got := check(r, l); got.Unsealed != 0 || got.Last != made && sure || got.Last < made {
			r.Fatalf("after %d calls: %+v", made, got)
		}
	})
}

func check(r *rapid.T, l *Log) Report {
	got, err := l.Verify(context.Background(), nil)
	if err != nil || len(got.Problems) > 0 {
		r.Fatalf("problems %q, %v", got.Problems, err)
	}
	return got
}
