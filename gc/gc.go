// Package gc is the worker that frees what nothing needs: it decides when the
// core's steps of garbage collection run. See registry, "gc.go", for what they
// promise, and DESIGN decision 6 for the algorithm.
package gc

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/registry"
)

// batch is how many rows a step takes at a time; it goes on while it fills one.
const batch = 500

// A Collector runs the steps of garbage collection.
type Collector struct {
	reg      *registry.Registry
	log      *slog.Logger
	interval time.Duration
	orphans  time.Duration
	pulls    time.Duration

	removed *prometheus.CounterVec
}

// New returns a Collector that looks for due work every interval, writes
// counted pulls every pulls, and walks the store for orphans every orphans.
func New(reg *registry.Registry, interval, pulls, orphans time.Duration, log *slog.Logger, metrics prometheus.Registerer) *Collector {
	c := &Collector{reg: reg, log: log, interval: interval, pulls: pulls, orphans: orphans,
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_gc_removed_total", Help: "What garbage collection removed, by kind: link, object, upload, orphan.",
		}, []string{"kind"}),
	}
	metrics.MustRegister(c.removed)
	return c
}

// Run works until ctx ends, and then writes the pulls that are still counted.
func (c *Collector) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { job.Every(ctx, c.log, "gc", c.interval, c.Collect) })
	wg.Go(func() { job.Every(ctx, c.log, "pulls", c.pulls, c.reg.FlushPulls) })
	wg.Go(func() { job.Every(ctx, c.log, "orphans", c.orphans, c.sweepOrphans) })
	wg.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.reg.FlushPulls(last); err != nil {
		c.log.Error("pulls were not written", "error", err)
	}
}

// Collect does all work that is due: ends uploads, reviews links, deletes
// objects.
func (c *Collector) Collect(ctx context.Context) error {
	steps := []struct {
		kind string
		run  func() (seen, removed int, err error)
	}{
		{"upload", func() (int, int, error) { n, err := c.reg.ExpireUploads(ctx, batch); return n, n, err }},
		{"link", func() (int, int, error) { return c.reg.ReviewLinks(ctx, batch) }},
		{"object", func() (int, int, error) { n, err := c.reg.SweepTrash(ctx, batch); return n, n, err }},
	}
	for _, s := range steps {
		for {
			seen, removed, err := s.run()
			c.removed.WithLabelValues(s.kind).Add(float64(removed))
			if err != nil {
				return err
			}
			if seen < batch || ctx.Err() != nil {
				break
			}
		}
	}
	return ctx.Err()
}

func (c *Collector) sweepOrphans(ctx context.Context) error {
	n, err := c.reg.SweepOrphans(ctx)
	c.removed.WithLabelValues("orphan").Add(float64(n))
	if n > 0 {
		c.log.Info("objects without a record were condemned", "objects", n)
	}
	return err
}
