// Package job runs background work: timers, followers of the event log, and
// durable queues. What is enqueued in a transaction is there if and only if the
// transaction is; a job is run at least once, and again until it has succeeded
// or is given up for good. Order between jobs is not kept.
package job

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Every runs fn again and again until ctx ends: first after a random part of
// interval, so that nodes and jobs that start together do not work together,
// and then an interval, give or take a tenth, after each run has ended. A
// failure is logged and does not end it. It returns when fn has returned after
// the end of ctx.
func Every(ctx context.Context, log *slog.Logger, name string, interval time.Duration, fn func(context.Context) error) {
	wait := time.Duration(rand.Int64N(int64(interval)) + 1)
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		start := time.Now()
		if err := protect(ctx, fn); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "background job failed", "job", name, "error", err, "duration", time.Since(start))
		}
		wait = interval - interval/10 + time.Duration(rand.Int64N(int64(interval)/5+1))
	}
}

// protect turns a panic of a job, which would end the server, into an error.
func protect(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(ctx)
}
