package job_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/meta"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, path string) *meta.DB {
	t.Helper()
	db, err := meta.Open(t.Context(), meta.Options{URL: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// background runs fn until stop is called.
func background(t *testing.T, fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func enqueue(t *testing.T, db *meta.DB, key string) {
	t.Helper()
	now := time.Now()
	if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.Enqueue("q", key, nil, now, now) }); err != nil {
		t.Fatal(err)
	}
}

func backlog(t *testing.T, db *meta.DB) (b meta.Backlog) {
	t.Helper()
	if err := db.View(t.Context(), func(tx *meta.Tx) (err error) { b, err = tx.Backlog("q"); return err }); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWork(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "meta.db"))
	for _, key := range []string{"good", "flaky", "bad", "panics", "early"} {
		enqueue(t, db, key)
	}
	seen := make(chan string, 100)
	failed := make(chan string, 100)
	stop := background(t, func(ctx context.Context) {
		job.Work(ctx, db, quiet, job.Queue{Name: "q", Workers: 2, First: time.Millisecond, Most: 2 * time.Millisecond, Attempts: 3,
			Handle: func(_ context.Context, j meta.Job) error {
				seen <- fmt.Sprint(j.Key, j.Attempts)
				switch {
				case j.Key == "flaky" && j.Attempts < 3:
					return errors.New("not yet")
				case j.Key == "bad":
					return job.Permanent(errors.New("never"))
				case j.Key == "panics":
					panic("a job")
				case j.Key == "early" && j.Attempts == 1:
					return job.Later(time.Millisecond)
				}
				return nil
			},
			Failed: func(_ *meta.Tx, j meta.Job, err error) error { failed <- j.Key; return nil },
		})
	})
	want := map[string]bool{"good1": true, "flaky1": true, "flaky2": true, "flaky3": true, "bad1": true, "panics1": true, "panics2": true, "panics3": true, "early1": true, "early2": true}
	for len(want) > 0 {
		s := <-seen
		if !want[s] {
			t.Errorf("%s was not to be run", s)
		}
		delete(want, s)
	}
	got := map[string]bool{<-failed: true, <-failed: true}
	if !got["bad"] || !got["panics"] {
		t.Errorf("failed for good: %v, want bad and panics", got)
	}
	enqueue(t, db, "one more") // wakes the queue
	if s := <-seen; s != "one more1" {
		t.Errorf("ran %s", s)
	}
	stop()
	if b := backlog(t, db); b.Waiting+b.Running != 0 || b.Failed != 2 {
		t.Errorf("left over: %+v", b)
	}
}

// TestStop: a job that is cut off by the end of the server runs after the next
// start.
func TestStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	db := open(t, path)
	enqueue(t, db, "long")
	begun := make(chan struct{})
	stop := background(t, func(ctx context.Context) {
		job.Work(ctx, db, quiet, job.Queue{Name: "q", Workers: 1, Handle: func(ctx context.Context, _ meta.Job) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		}})
	})
	<-begun
	stop()
	if b := backlog(t, db); b.Waiting != 1 {
		t.Fatalf("after the stop: %+v", b)
	}
	// As after a kill: it is recorded as running.
	if err := db.Update(t.Context(), func(tx *meta.Tx) error {
		_, err := tx.ClaimJobs("q", "dead", time.Now(), time.Now().Add(time.Hour), 1)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	db = open(t, path)
	done := make(chan struct{})
	background(t, func(ctx context.Context) {
		job.Work(ctx, db, quiet, job.Queue{Name: "q", Workers: 1, Handle: func(context.Context, meta.Job) error { close(done); return nil }})
	})
	<-done
}

func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	db := open(t, path)
	push := func(db *meta.DB, types ...ecr.EventType) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx *meta.Tx) error {
			for _, typ := range types {
				if err := tx.Append(ecr.Event{At: time.Now(), Type: typ, Digest: string(typ)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan ecr.Event, 10)
	fail := true
	follow := func(ctx context.Context, db *meta.DB) {
		job.Follow(ctx, db, quiet, job.Follower{Name: "f", Types: []ecr.EventType{ecr.ImagePushed}, Handle: func(tx *meta.Tx, events []ecr.Event) error {
			if fail {
				fail = false
				return errors.New("once")
			}
			for _, e := range events {
				got <- e
			}
			return nil
		}})
	}
	push(db, ecr.ImagePushed, ecr.LayerPushed)
	stop := background(t, func(ctx context.Context) { follow(ctx, db) })
	first := <-got
	push(db, ecr.LayerPushed, ecr.ImagePushed)
	second := <-got
	if second.ID <= first.ID || second.Type != ecr.ImagePushed {
		t.Errorf("%+v after %+v", second, first)
	}
	stop()
	push(db, ecr.ImagePushed)
	db.Close()
	db = open(t, path)
	background(t, func(ctx context.Context) { follow(ctx, db) })
	if third := <-got; third.ID <= second.ID {
		t.Errorf("after a restart: %+v again", third)
	}
}

func TestBackoff(t *testing.T) {
	for n, most := range []time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, 1000: 5 * time.Second} {
		if most == 0 {
			continue
		}
		for range 100 {
			if d := job.Backoff(time.Second, 5*time.Second, n); d < most/2 || d > most {
				t.Fatalf("after failure %d: %v, want between %v and %v", n, d, most/2, most)
			}
		}
	}
}
