package replicate

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

// metrics are what is seen of replication, by destination. Lag and counts are
// read from the records when they are asked for.
type metrics struct {
	reg *registry.Registry
	now func() time.Time

	bytes  *prometheus.CounterVec
	images *prometheus.CounterVec
	took   *prometheus.HistogramVec
}

func newMetrics(reg *registry.Registry, now func() time.Time) *metrics {
	by := []string{"region", "registry"}
	return &metrics{reg: reg, now: now,
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_replication_sent_bytes_total", Help: "Bytes of layers and manifests that a destination has confirmed."}, by),
		images: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_replication_images_total", Help: "Images whose replication has ended, by result: COMPLETE or FAILED."}, append(by, "result")),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ecru_replication_duration_seconds", Help: "Time from a push to the end of its replication.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 15, 60, 300, 1800, 21600}}, by),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.bytes, m.images, m.took, m}
}

func (m *metrics) sent(to ecr.Destination, n int64) {
	m.bytes.WithLabelValues(to.Region, to.Account).Add(float64(n))
}

func (m *metrics) ended(rep ecr.Replication, now time.Time) {
	m.images.WithLabelValues(rep.To.Region, rep.To.Account, string(rep.Status)).Inc()
	if rep.Status == ecr.ReplicationComplete {
		m.took.WithLabelValues(rep.To.Region, rep.To.Account).Observe(now.Sub(rep.QueuedAt).Seconds())
	}
}

// The gauges that Collect reads.
func descriptions() (pending, failed, lag *prometheus.Desc) {
	by := []string{"account", "region", "registry"}
	return prometheus.NewDesc("ecru_replication_pending", "Images that wait to be replicated.", by, nil),
		prometheus.NewDesc("ecru_replication_failed", "Images that a destination has refused.", by, nil),
		prometheus.NewDesc("ecru_replication_lag_seconds", "Age of the oldest image that waits.", by, nil)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	pending, failed, lag := descriptions()
	out <- pending
	out <- failed
	out <- lag
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	pending, failed, lag := descriptions()
	counts, err := m.reg.CountReplications(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(pending, err)
		return
	}
	for _, c := range counts {
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, c.Account, c.To.Region, c.To.Account)
		}
		age := 0.0
		if !c.Oldest.IsZero() {
			age = max(0, m.now().Sub(c.Oldest).Seconds())
		}
		gauge(pending, float64(c.Pending))
		gauge(failed, float64(c.Failed))
		gauge(lag, age)
	}
}
