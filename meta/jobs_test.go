package meta_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

func enqueue(t *testing.T, db *meta.DB, key, payload string, due time.Time) {
	t.Helper()
	update(t, db, func(tx *meta.Tx) error { return tx.Enqueue("q", key, []byte(payload), t0, due) })
}

func claim(t *testing.T, db *meta.DB, lease string, now time.Time, n int) (jobs []meta.Job) {
	t.Helper()
	update(t, db, func(tx *meta.Tx) (err error) {
		jobs, err = tx.ClaimJobs("q", lease, now, now.Add(time.Minute), n)
		return err
	})
	return jobs
}

func TestJobs(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		enqueue(t, db, "a", "1", t0)
		enqueue(t, db, "b", "1", t0.Add(time.Hour))
		enqueue(t, db, "a", "2", t0.Add(time.Hour)) // later, so the time stays
		if got := claim(t, db, "one", t0.Add(-time.Second), 10); len(got) != 0 {
			t.Fatalf("claimed before they were due: %v", got)
		}
		jobs := claim(t, db, "one", t0, 10)
		if len(jobs) != 1 || jobs[0].Key != "a" || string(jobs[0].Payload) != "2" || jobs[0].Attempts != 1 {
			t.Fatalf("claimed %+v, want a with the second payload", jobs)
		}
		a := jobs[0]
		if got := claim(t, db, "two", t0, 10); len(got) != 0 {
			t.Fatalf("claimed twice: %v", got)
		}

		// Enqueued while it runs: it waits once more after its end.
		enqueue(t, db, "a", "3", t0)
		update(t, db, func(tx *meta.Tx) error { return tx.FinishJob(a, t0) })
		jobs = claim(t, db, "one", t0, 10)
		if len(jobs) != 1 || string(jobs[0].Payload) != "3" || jobs[0].Attempts != 1 {
			t.Fatalf("after the end: %+v, want a again with the third payload", jobs)
		}

		// A lease that ends is another's; the first holder changes nothing then.
		a = jobs[0]
		taken := claim(t, db, "two", t0.Add(2*time.Minute), 10)
		if len(taken) != 1 || taken[0].Attempts != 2 {
			t.Fatalf("after the lease: %+v", taken)
		}
		update(t, db, func(tx *meta.Tx) error {
			if kept, err := tx.RenewJob(a, t0.Add(time.Hour)); err != nil || kept {
				t.Errorf("a lost lease was renewed: %v, %v", kept, err)
			}
			return errors.Join(tx.FinishJob(a, t0), tx.FailJob(a, t0, "no"), tx.RetryJob(a, t0, "no"))
		})
		update(t, db, func(tx *meta.Tx) error { return tx.FailJob(taken[0], t0, "for good") })
		view(t, db, func(tx *meta.Tx) error {
			b, err := tx.Backlog("q")
			if b.Waiting != 1 || b.Running != 0 || b.Failed != 1 || !b.Oldest.Equal(t0) {
				t.Errorf("backlog %+v", b)
			}
			failed, err2 := tx.JobsIn("q", meta.JobFailed, 0, 10)
			if len(failed) != 1 || failed[0].Error != "for good" {
				t.Errorf("failed: %+v", failed)
			}
			next, err3 := tx.NextJob("q")
			if !next.Equal(t0.Add(time.Hour)) {
				t.Errorf("next at %v", next)
			}
			return errors.Join(err, err2, err3)
		})

		// Enqueued again a failed one starts anew.
		enqueue(t, db, "a", "4", t0)
		if jobs = claim(t, db, "one", t0, 10); len(jobs) != 1 || jobs[0].Attempts != 1 {
			t.Fatalf("after it failed: %+v", jobs)
		}
		update(t, db, func(tx *meta.Tx) error { return tx.RetryJob(jobs[0], t0.Add(time.Second), "try") })
		if got := claim(t, db, "one", t0, 10); len(got) != 0 {
			t.Fatalf("claimed before its pause was over: %v", got)
		}
		jobs = claim(t, db, "one", t0.Add(time.Second), 10)
		if len(jobs) != 1 || jobs[0].Error != "try" || jobs[0].Attempts != 2 {
			t.Fatalf("after the pause: %+v", jobs)
		}
		update(t, db, func(tx *meta.Tx) error { return tx.ReleaseJobs("q", t0) })
		if jobs = claim(t, db, "new", t0, 10); len(jobs) != 1 {
			t.Fatalf("released: %+v", jobs)
		}
		update(t, db, func(tx *meta.Tx) error { return tx.CancelJob("q", "a") })
		view(t, db, func(tx *meta.Tx) error {
			if _, err := tx.JobOf("q", "a"); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("after its cancellation: %v", err)
			}
			_, err := tx.JobOf("q", "b")
			return err
		})
	})
}

// TestFollowMissesNothing has a transaction with a lower number end after one
// with a higher.
func TestFollowMissesNothing(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		appendTo := func(tx *meta.Tx, name string) error {
			return tx.Append(ecr.Event{At: t0, Type: ecr.ImagePushed, Repository: ecr.RepositoryID{Account: app.Account, Name: name}})
		}
		var at meta.Cursor
		read := func() (names []string) {
			view(t, db, func(tx *meta.Tx) error {
				events, next, err := tx.Follow(at, 10)
				for _, e := range events {
					names = append(names, e.Repository.Name)
				}
				at = next
				return err
			})
			return names
		}
		if db.Shared() {
			inside, goOn := make(chan struct{}), make(chan struct{})
			slow := make(chan error, 1)
			go func() {
				slow <- db.Update(t.Context(), func(tx *meta.Tx) error {
					if err := appendTo(tx, "slow"); err != nil {
						return err
					}
					close(inside)
					<-goOn
					return nil
				})
			}()
			<-inside
			update(t, db, func(tx *meta.Tx) error { return appendTo(tx, "fast") })
			if got := read(); len(got) != 0 {
				t.Errorf("read %v while an earlier transaction was open", got)
			}
			close(goOn)
			must(t, <-slow)
		} else {
			update(t, db, func(tx *meta.Tx) error { return errors.Join(appendTo(tx, "slow"), appendTo(tx, "fast")) })
		}
		got := read()
		if len(got) != 2 {
			t.Fatalf("read %v, want slow and fast", got)
		}
		update(t, db, func(tx *meta.Tx) error { return tx.MoveCursor("f", at) })
		update(t, db, func(tx *meta.Tx) error {
			c, err := tx.Cursor("f", false)
			if c != at {
				t.Errorf("cursor %+v, want %+v", c, at)
			}
			end, err2 := tx.Cursor("new", true)
			if end.Event != at.Event {
				t.Errorf("the end is %+v, want %+v", end, at)
			}
			first, err3 := tx.Cursor("new", false)
			if first != (meta.Cursor{}) {
				t.Errorf("the beginning is %+v", first)
			}
			return errors.Join(err, err2, err3)
		})
		changed := db.Changed()
		update(t, db, func(tx *meta.Tx) error { return appendTo(tx, "last") })
		<-changed
		if got := read(); len(got) != 1 || got[0] != "last" {
			t.Errorf("read %v, want the last", got)
		}
	})
}
