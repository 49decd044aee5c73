package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/meta"
)

const (
	// queuePoll is the longest that a queue goes without looking for work.
	queuePoll = 5 * time.Second
	maxReason = 1024 // bytes of an error that are kept
)

// A Queue is how the jobs of one queue are worked.
type Queue struct {
	Name    string
	Workers int // that run at once in this process
	// Lease is how long a job may be without a sign of life of the process
	// that runs it, before another takes it; 0 means a minute.
	Lease time.Duration
	// First and Most bound the wait after a failure: First after the first, and
	// twice as long, with jitter, after each further one. 0 means a second, and
	// five minutes.
	First, Most time.Duration
	// Attempts is how many times a job is tried; 0 means for ever.
	Attempts int
	// Handle does a job. It may be run again after it has done all of its
	// work, and by two processes at once if a lease was lost: ctx ends then.
	Handle func(context.Context, meta.Job) error
	// Failed, if set, is told of a job that failed for good, in the
	// transaction that records it.
	Failed func(*meta.Tx, meta.Job, error) error
}

// Permanent marks an error that trying again will not mend.
func Permanent(err error) error { return permanent{err} }

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

// Later is the error of a job that is to be run again after a time, without
// being counted as failed: its turn has not come.
func Later(d time.Duration) error { return later(d) }

type later time.Duration

func (l later) Error() string { return fmt.Sprintf("to be run in %v", time.Duration(l)) }

// Work does the jobs of a queue until ctx ends, and returns when none of them
// runs any more.
func Work(ctx context.Context, db *meta.DB, log *slog.Logger, q Queue) {
	if q.Lease == 0 {
		q.Lease = time.Minute
	}
	if q.First == 0 {
		q.First = time.Second
	}
	if q.Most == 0 {
		q.Most = 5 * time.Minute
	}
	w := &worker{Queue: q, db: db, log: log.With("queue", q.Name), lease: uuid.NewString(), free: make(chan struct{}, q.Workers)}
	for range q.Workers {
		w.free <- struct{}{}
	}
	w.run(ctx)
}

type worker struct {
	Queue
	db    *meta.DB
	log   *slog.Logger
	lease string
	free  chan struct{} // a token for each worker that has nothing to do
	wg    sync.WaitGroup
}

func (w *worker) run(ctx context.Context) {
	defer w.wg.Wait()
	released := w.db.Shared()
	backoff := newBackoff(100*time.Millisecond, 10*time.Second)
	for ctx.Err() == nil {
		if !released {
			err := w.db.Update(ctx, func(tx *meta.Tx) error { return tx.ReleaseJobs(w.Name, time.Now()) })
			if err != nil {
				w.log.ErrorContext(ctx, "jobs were not released", "error", err)
				sleep(ctx, backoff.next())
				continue
			}
			released = true
		}
		idle, err := w.turn(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.ErrorContext(ctx, "jobs were not claimed", "error", err)
			idle = backoff.next()
		} else {
			backoff.reset()
		}
		sleep(ctx, idle)
	}
}

// turn waits for a free worker, gives out what is due, and says how long to
// rest.
func (w *worker) turn(ctx context.Context) (time.Duration, error) {
	slots := 0
	select {
	case <-ctx.Done():
		return 0, nil
	case <-w.free:
		slots = 1
	}
	for more := true; more; {
		select {
		case <-w.free:
			slots++
		default:
			more = false
		}
	}
	changed := w.db.Changed()
	jobs, err := w.claim(ctx, slots)
	for _, j := range jobs {
		slots--
		w.wg.Go(func() {
			defer func() { w.free <- struct{}{} }()
			w.do(ctx, j)
		})
	}
	for range slots {
		w.free <- struct{}{}
	}
	if err != nil || len(jobs) > 0 {
		return 0, err
	}
	rest := queuePoll
	err = w.db.ViewOne(ctx, func(tx *meta.Tx) error {
		next, err := tx.NextJob(w.Name)
		if err == nil && !next.IsZero() {
			rest = max(time.Millisecond, min(rest, time.Until(next)))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	wait(ctx, changed, rest)
	return 0, nil
}

// claim takes jobs; it writes only if one is due.
func (w *worker) claim(ctx context.Context, n int) (jobs []meta.Job, err error) {
	due := false
	err = w.db.ViewOne(ctx, func(tx *meta.Tx) error {
		next, err := tx.NextJob(w.Name)
		due = !next.IsZero() && !next.After(time.Now())
		return err
	})
	if err != nil || !due {
		return nil, err
	}
	err = w.db.Update(ctx, func(tx *meta.Tx) (err error) {
		now := time.Now()
		jobs, err = tx.ClaimJobs(w.Name, w.lease, now, now.Add(w.Lease), n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}

// do runs one job, keeping its lease, and records how it ended.
func (w *worker) do(ctx context.Context, j meta.Job) {
	run, cancel := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		w.keep(run, cancel, j)
	}()
	err := protect(run, func(ctx context.Context) error { return w.Handle(ctx, j) })
	cancel()
	<-kept
	// Done is done, also when the server stops.
	if err := w.end(context.WithoutCancel(ctx), ctx.Err() != nil, j, err); err != nil {
		w.log.ErrorContext(ctx, "the end of a job was not recorded; it will be run again", "key", j.Key, "error", err)
	}
}

// keep renews the lease until ctx ends, and ends the job if the lease is lost.
func (w *worker) keep(ctx context.Context, cancel context.CancelFunc, j meta.Job) {
	for {
		sleep(ctx, w.Lease/3)
		if ctx.Err() != nil {
			return
		}
		kept := true
		err := w.db.Update(ctx, func(tx *meta.Tx) (err error) {
			kept, err = tx.RenewJob(j, time.Now().Add(w.Lease))
			return err
		})
		if err == nil && !kept {
			w.log.WarnContext(ctx, "the lease of a job was lost", "key", j.Key)
			cancel()
			return
		}
	}
}

func (w *worker) end(ctx context.Context, stopped bool, j meta.Job, failure error) error {
	now := time.Now()
	var soon later
	switch {
	case failure == nil:
		return w.db.Update(ctx, func(tx *meta.Tx) error { return tx.FinishJob(j, now) })
	case stopped:
		return w.db.Update(ctx, func(tx *meta.Tx) error { return tx.RetryJob(j, now, j.Error) })
	case errors.As(failure, &soon):
		return w.db.Update(ctx, func(tx *meta.Tx) error { return tx.RetryJob(j, now.Add(time.Duration(soon)), j.Error) })
	}
	reason := failure.Error()
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "?")
	if IsPermanent(failure) || w.Attempts > 0 && j.Attempts >= w.Attempts {
		w.log.ErrorContext(ctx, "a job failed", "key", j.Key, "attempts", j.Attempts, "error", failure)
		return w.db.Update(ctx, func(tx *meta.Tx) error {
			if w.Failed != nil {
				if err := w.Failed(tx, j, failure); err != nil {
					return err
				}
			}
			return tx.FailJob(j, now, reason)
		})
	}
	pause := Backoff(w.First, w.Most, j.Attempts)
	w.log.WarnContext(ctx, "a job will be tried again", "key", j.Key, "attempts", j.Attempts, "after", pause, "error", failure)
	return w.db.Update(ctx, func(tx *meta.Tx) error { return tx.RetryJob(j, now.Add(pause), reason) })
}

// Backoff is the wait after the nth failure: first, doubled each time, most at
// most, and of that between a half and the whole at random.
func Backoff(first, most time.Duration, n int) time.Duration {
	d := first
	for i := 1; i < n && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d/2 + time.Duration(rand.Int64N(int64(d)/2+1))
}

// A backoff is a wait that grows.
type backoff struct {
	first, most time.Duration
	n           int
}

func newBackoff(first, most time.Duration) *backoff { return &backoff{first: first, most: most} }

func (b *backoff) next() time.Duration { b.n++; return Backoff(b.first, b.most, b.n) }

func (b *backoff) reset() { b.n = 0 }
