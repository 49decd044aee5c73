package daemon

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ecruhq/ecru/audit"
	"github.com/ecruhq/ecru/ecr"
)

// metrics are what /metrics shows of requests.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	sent     prometheus.Counter
	received prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_requests_total", Help: "Requests answered, by kind (an endpoint of the registry or an operation of the API) and HTTP status.",
		}, []string{"kind", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ecru_request_duration_seconds", Help: "Time from a request's headers to the end of its answer, by kind.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30, 120},
		}, []string{"kind"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ecru_requests_in_flight", Help: "Requests being answered."}),
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: "ecru_sent_bytes_total", Help: "Bytes of answers' bodies."}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "ecru_received_bytes_total", Help: "Bytes of requests' bodies, as they come."}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.inFlight, m.sent, m.received,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler serves /metrics and /debug/pprof/.
func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// A recorder is a ResponseWriter that notes what was answered. It passes
// ReadFrom on, so that files still go out by sendfile.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(r.ResponseWriter, src)
	r.bytes += n
	return n, err
}

// Unwrap serves http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// A received is a request's body whose bytes are counted.
type received struct {
	io.ReadCloser
	bytes prometheus.Counter
}

func (r *received) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	if n > 0 {
		r.bytes.Add(float64(n))
	}
	return n, err
}

// An observer counts and logs requests that have been answered.
type observer struct {
	m      *metrics
	log    *slog.Logger
	access bool
	trail  *audit.Log

	rootUsed   atomic.Int64 // calls since the last warning
	rootWarned atomic.Int64 // when that was, in seconds since 1970
}

// rootUse warns of calls of a root user, which is for setting up: at most once
// a minute. The audit trail has each.
func (o *observer) rootUse(c ecr.Caller, kind string) {
	n, now, last := o.rootUsed.Add(1), time.Now().Unix(), o.rootWarned.Load()
	if now-last < 60 || !o.rootWarned.CompareAndSwap(last, now) {
		return
	}
	o.rootUsed.Add(-n)
	o.log.Warn("the root user is in use; make a user or a role for everyday work", "calls", n, "last", kind, "account", c.Account, "request_id", c.RequestID)
}

func (o *observer) observe(w http.ResponseWriter, r *http.Request, kind string, c ecr.Caller, start time.Time) {
	rec := w.(*recorder)
	o.trail.Observe(r.Context(), c)
	if c.Principal != nil && c.Root {
		o.rootUse(c, kind)
	}
	took := time.Since(start)
	o.m.requests.WithLabelValues(kind, strconv.Itoa(max(rec.status, 200))).Inc()
	o.m.duration.WithLabelValues(kind).Observe(took.Seconds())
	o.m.sent.Add(float64(rec.bytes))
	if !o.access {
		return
	}
	principal := ""
	if c.Principal != nil {
		principal = c.ARN
	}
	o.log.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("request_id", c.RequestID), slog.String("kind", kind), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", max(rec.status, 200)), slog.Int64("bytes", rec.bytes), slog.Duration("duration", took),
		slog.String("principal", principal), slog.String("from", r.RemoteAddr))
}
