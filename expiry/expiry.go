// Package expiry is the worker that applies lifecycle policies: it decides when
// the core's steps run, for each repository at the time that its record says.
// See registry, "lifecycle.go", for what the steps promise.
package expiry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

// batch is how many repositories, or expired images, a step takes at a time.
const batch = 100

// A Worker applies lifecycle policies and makes their previews.
type Worker struct {
	reg  *registry.Registry
	log  *slog.Logger
	poll time.Duration

	images   *prometheus.CounterVec
	duration prometheus.Histogram
	failures *prometheus.CounterVec
	previews prometheus.Counter
}

// New returns a Worker that looks for due work every poll, and at once when
// the core says that there is some.
func New(reg *registry.Registry, poll time.Duration, log *slog.Logger, metrics prometheus.Registerer) *Worker {
	w := &Worker{reg: reg, log: log, poll: poll,
		images: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_lifecycle_images_total", Help: "Images that lifecycle policies were about, by what happened: expired, archived, withheld by an index or guarded (both counted at each run), forgotten (cannot be restored any more).",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ecru_lifecycle_run_duration_seconds", Help: "Time that the application of a repository's lifecycle policy took.",
			Buckets: []float64{.001, .01, .1, 1, 10, 60, 600, 3600},
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_lifecycle_failures_total", Help: "Work on lifecycle policies that failed, by kind: run, preview, cleaning.",
		}, []string{"kind"}),
		previews: prometheus.NewCounter(prometheus.CounterOpts{Name: "ecru_lifecycle_previews_total", Help: "Previews of lifecycle policies that were made."}),
	}
	metrics.MustRegister(w.images, w.duration, w.failures, w.previews)
	return w
}

// Run works until ctx ends: on previews, for which somebody waits, beside all
// else.
func (w *Worker) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { w.loop(ctx, w.reg.PreviewWork(), w.Preview) })
	wg.Go(func() { w.loop(ctx, w.reg.RunWork(), w.Work) })
	wg.Wait()
}

func (w *Worker) loop(ctx context.Context, work <-chan struct{}, do func(context.Context)) {
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	for {
		do(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-work:
		}
	}
}

// Work does what is due: runs, then what is to be forgotten. A failure is
// logged and holds nothing else up.
func (w *Worker) Work(ctx context.Context) {
	w.expire(ctx)
	w.report(ctx, "cleaning", w.reg.ClearPreviews(ctx))
	for ctx.Err() == nil {
		n, err := w.reg.ForgetExpired(ctx, batch)
		w.images.WithLabelValues("forgotten").Add(float64(n))
		w.report(ctx, "cleaning", err)
		if n < batch {
			return
		}
	}
}

// Preview makes the previews that are asked for.
func (w *Worker) Preview(ctx context.Context) {
	for ctx.Err() == nil {
		worked, err := w.reg.RunPreview(ctx)
		w.report(ctx, "preview", err)
		if !worked {
			return
		}
		w.previews.Inc()
	}
}

// expire runs what is due. A repository whose run another process is at, or
// whose end could not be recorded, waits for the next look.
func (w *Worker) expire(ctx context.Context) {
	seen := map[ecr.RepositoryID]bool{}
	for {
		ids, err := w.reg.DueLifecycles(ctx, batch)
		w.report(ctx, "run", err)
		fresh := false
		for _, id := range ids {
			if seen[id] || ctx.Err() != nil {
				continue
			}
			seen[id], fresh = true, true
			w.run(ctx, id)
		}
		if !fresh || ctx.Err() != nil {
			return
		}
	}
}

func (w *Worker) run(ctx context.Context, id ecr.RepositoryID) {
	start := time.Now()
	run, err := w.apply(ctx, id)
	known, gone := errors.AsType[*ecr.Error](err)
	if errors.Is(err, registry.ErrRunning) || gone && (known.Code == ecr.RepositoryNotFound || known.Code == ecr.LifecyclePolicyNotFound) {
		return
	}
	w.duration.Observe(time.Since(start).Seconds())
	w.images.WithLabelValues("expired").Add(float64(run.Expired))
	w.images.WithLabelValues("archived").Add(float64(run.Archived))
	w.images.WithLabelValues("withheld").Add(float64(run.Withheld - run.Guarded))
	w.images.WithLabelValues("guarded").Add(float64(run.Guarded))
	if err != nil {
		w.report(ctx, "run", fmt.Errorf("repository %s of account %s: %w", id.Name, id.Account, err))
		return
	}
	if run.Expired > 0 || run.Archived > 0 {
		w.log.InfoContext(ctx, "lifecycle policy applied", "account", id.Account, "repository", id.Name,
			"expired", run.Expired, "archived", run.Archived, "withheld", run.Withheld, "duration", time.Since(start))
	}
}

// apply is ExpireImages, with a panic, which would end the server, as an error.
func (w *Worker) apply(ctx context.Context, id ecr.RepositoryID) (run ecr.LifecycleRun, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.reg.ExpireImages(ctx, id)
}

func (w *Worker) report(ctx context.Context, kind string, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	w.failures.WithLabelValues(kind).Inc()
	w.log.ErrorContext(ctx, "work on lifecycle policies failed", "kind", kind, "error", err)
}
