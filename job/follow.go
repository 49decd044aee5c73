package job

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

const (
	followBatch = 500
	// gather is how long a follower waits for more events after the first.
	gather = 20 * time.Millisecond
	// followPoll is how often a follower looks for events of other processes.
	followPoll = time.Second
	// restBatches is how many batches without an event for it a follower passes
	// before it records where it stands.
	restBatches = 20
)

// A Follower reads the event log from a durable cursor.
type Follower struct {
	Name  string
	Types []ecr.EventType // the events that it is for
	// AtEnd has a follower that is new begin at the end of the log, not at its
	// beginning.
	AtEnd bool
	// Handle is given events of these types, in the order of the log, in the
	// transaction that moves the cursor: what it writes, it writes once. It is
	// called again with the same events if it fails, so it must not fail for
	// reasons that stay; it only notes what is to be done (Tx.Enqueue).
	Handle func(*meta.Tx, []ecr.Event) error
}

// Follow runs a follower until ctx ends. One process at a time does so on
// SQLite; on PostgreSQL several may, and see some events more than once.
func Follow(ctx context.Context, db *meta.DB, log *slog.Logger, f Follower) {
	backoff := newBackoff(100*time.Millisecond, 10*time.Second)
	for ctx.Err() == nil {
		err := protect(ctx, func(ctx context.Context) error { return f.run(ctx, db, backoff) })
		if ctx.Err() != nil {
			return
		}
		log.ErrorContext(ctx, "a follower of the event log failed", "follower", f.Name, "error", err)
		sleep(ctx, backoff.next())
	}
}

func (f *Follower) run(ctx context.Context, db *meta.DB, backoff *backoff) error {
	var at meta.Cursor
	err := db.Update(ctx, func(tx *meta.Tx) (err error) {
		if at, err = tx.Cursor(f.Name, f.AtEnd); err != nil {
			return err
		}
		return tx.MoveCursor(f.Name, at)
	})
	if err != nil {
		return err
	}
	passed := 0
	for ctx.Err() == nil {
		changed := db.Changed()
		var events []ecr.Event
		var next meta.Cursor
		err := db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
			events, next, err = tx.Follow(at, followBatch)
			return err
		})
		if err != nil {
			return err
		}
		full := len(events) == followBatch
		seen := len(events) > 0
		events = slices.DeleteFunc(events, func(e ecr.Event) bool { return !slices.Contains(f.Types, e.Type) })
		if passed++; len(events) > 0 || passed > restBatches && next != at {
			err := db.Update(ctx, func(tx *meta.Tx) error {
				if len(events) > 0 {
					if err := f.Handle(tx, events); err != nil {
						return err
					}
				}
				return tx.MoveCursor(f.Name, next)
			})
			if err != nil {
				return err
			}
			passed = 0
			backoff.reset()
		}
		at = next
		switch {
		case full:
		case seen:
			sleep(ctx, gather)
		default:
			if wait(ctx, changed, followPoll) {
				sleep(ctx, gather)
			}
		}
	}
	return ctx.Err()
}

// sleep returns after d or when ctx ends.
func sleep(ctx context.Context, d time.Duration) { wait(ctx, nil, d) }

// wait returns when ctx ends, after d, or when wake is closed; true if that.
func wait(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
		return true
	}
	return false
}
