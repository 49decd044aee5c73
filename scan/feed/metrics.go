package feed

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/meta"
)

// metrics are what /metrics shows of advisories.
type metrics struct {
	duration   prometheus.Histogram
	failures   prometheus.Counter
	unreadable prometheus.Counter
	rematched  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ecru_advisories_update_duration_seconds", Help: "Time that updates of all advisories took.",
			Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 1200, 3600},
		}),
		failures:   prometheus.NewCounter(prometheus.CounterOpts{Name: "ecru_advisories_update_failures_total", Help: "Updates of advisories that failed, in whole or in part."}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{Name: "ecru_advisories_unreadable_total", Help: "Records of advisories that were left out because they are not as OSV's schema has them."}),
		rematched:  prometheus.NewCounter(prometheus.CounterOpts{Name: "ecru_advisories_rematched_total", Help: "Versions of packages that were matched again because advisories changed."}),
	}
	r.MustRegister(m.duration, m.failures, m.unreadable, m.rematched)
	return m
}

// feeds are metrics that are read from the database when they are asked for.
type feeds struct {
	store        *advisory.Store
	now          func() time.Time
	log          *slog.Logger
	records, age *prometheus.Desc
}

func newFeeds(store *advisory.Store, now func() time.Time, log *slog.Logger) *feeds {
	return &feeds{store, now, log,
		prometheus.NewDesc("ecru_advisories_records", "Records in the feeds of advisories.", []string{"ecosystem"}, nil),
		prometheus.NewDesc("ecru_advisories_age_seconds", "Age of advisories: since the newest of what their source has, or since it last answered.", []string{"ecosystem"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (f *feeds) Describe(ch chan<- *prometheus.Desc) { ch <- f.records; ch <- f.age }

// Collect implements prometheus.Collector.
func (f *feeds) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := f.store.Feeds(ctx)
	if err != nil {
		f.log.Warn("metrics of advisories were not read", "error", err)
		return
	}
	for _, one := range all {
		if one.LoadedAt.IsZero() {
			continue
		}
		ch <- prometheus.MustNewConstMetric(f.records, prometheus.GaugeValue, float64(one.Records), one.Name)
		ch <- prometheus.MustNewConstMetric(f.age, prometheus.GaugeValue, meta.FeedAge(one, all, f.now()).Seconds(), one.Name)
	}
}
