// Package scan is the worker that scans images: it reads each layer once,
// whoever shares it, merges what layers have into what an image has, and has the
// core keep it. See registry, "scanwork.go", for the steps.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/scan/extract"
	"github.com/ecruhq/ecru/vuln"
)

const (
	attempts      = 5 // of a job, before the scan counts as failed
	retryInterval = 10 * time.Minute
	tellInterval  = time.Minute
	sweepInterval = time.Hour
	sweepBatch    = 200
	tellBatch     = 100
	firstRetry    = 2 * time.Second
	mostRetry     = 2 * time.Minute
	imagesAtOnce  = 2
)

// Config says how images are scanned.
type Config struct {
	Extract extract.Config // Workers is how many layers are read at once
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// A Scanner scans images.
type Scanner struct {
	db      *meta.DB
	reg     *registry.Registry
	store   *advisory.Store
	extract *extract.Extractor
	cfg     Config

	extracted *prometheus.CounterVec
	bytes     prometheus.Counter
	scans     *prometheus.CounterVec
	took      prometheus.Histogram
}

// New returns a Scanner. It starts nothing.
func New(db *meta.DB, reg *registry.Registry, store *advisory.Store, cfg Config) (*Scanner, error) {
	ex, err := extract.New(cfg.Extract)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Scanner{db: db, reg: reg, store: store, extract: ex, cfg: cfg,
		extracted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_scan_layers_total", Help: "Layers that were read for their packages, by how that came out.",
		}, []string{"status"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ecru_scan_extracted_bytes_total", Help: "Bytes of layers, as they are stored, that were read for their packages.",
		}),
		scans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecru_scan_images_total", Help: "Steps of scans of images, by outcome: merged, waiting (for layers, or nothing to do), failed.",
		}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ecru_scan_layer_seconds", Help: "Time to read a layer for its packages.", Buckets: []float64{.05, .2, 1, 5, 20, 60, 300, 900},
		}),
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(s.extracted, s.bytes, s.scans, s.took)
	}
	return s, nil
}

// Run works until ctx ends.
func (s *Scanner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		job.Follow(ctx, s.db, s.cfg.Log, job.Follower{Name: "scan", Types: registry.PushEvents(), Handle: s.reg.ScanPushed})
	})
	queue := job.Queue{First: firstRetry, Most: mostRetry, Attempts: attempts}
	images, layers, changes := queue, queue, queue
	images.Name, images.Workers, images.Handle, images.Failed = registry.ScanQueue, imagesAtOnce, s.image, s.imageFailed
	layers.Name, layers.Workers, layers.Handle, layers.Failed = registry.LayerQueue, max(1, s.cfg.Extract.Workers), s.layer, s.layerFailed
	changes.Name, changes.Workers, changes.Attempts, changes.Handle = advisory.ChangedQueue, 1, 0, s.changed
	for _, q := range []job.Queue{images, layers, changes} {
		wg.Go(func() { job.Work(ctx, s.db, s.cfg.Log, q) })
	}
	wg.Go(func() { job.Every(ctx, s.cfg.Log, "scans without advisories", retryInterval, s.reg.RetryUnavailable) })
	wg.Go(func() { job.Every(ctx, s.cfg.Log, "expiry of overrides", tellInterval, s.tell) })
	wg.Go(func() { job.Every(ctx, s.cfg.Log, "inventories of no image", sweepInterval, s.sweep) })
}

func (s *Scanner) tell(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := s.reg.TellOverrides(ctx, tellBatch)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

func (s *Scanner) sweep(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := s.reg.SweepInventories(ctx, sweepBatch)
		if err != nil || n < sweepBatch {
			return err
		}
	}
	return nil
}

// changed hands on what a change of advisories has changed.
func (s *Scanner) changed(ctx context.Context, _ meta.Job) error {
	for {
		n, err := s.reg.TakeChanges(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			return s.reg.RetryUnavailable(ctx)
		}
	}
}

// image does a job of registry.ScanQueue.
func (s *Scanner) image(ctx context.Context, j meta.Job) error {
	if registry.IsChanged(j.Key) {
		start := time.Now()
		n, err := s.reg.Changed(ctx, j.Payload)
		if n > 0 {
			s.cfg.Log.InfoContext(ctx, "new advisories changed the findings of images", "images", n, "took", time.Since(start))
		}
		return err
	}
	if id, ok := registry.IsRefresh(j.Key); ok {
		return s.reg.Refresh(ctx, id)
	}
	image, account, err := registry.ScanJob(j.Key)
	if err != nil {
		return job.Permanent(err)
	}
	if account != "" {
		return s.reg.ScanAccount(ctx, account)
	}
	return s.scan(ctx, image)
}

// scan does what there is to do of the scan of an image.
func (s *Scanner) scan(ctx context.Context, image int64) error {
	plan, err := s.reg.PlanScan(ctx, image, extract.Version)
	if err != nil {
		return err
	}
	if plan == nil {
		s.scans.WithLabelValues("waiting").Inc()
		return nil
	}
	inv, err := s.merge(ctx, plan)
	if err != nil {
		return err
	}
	var ids []vuln.Identity
	for _, set := range inv.Identities(vuln.Enhanced) {
		ids = append(ids, set.Identity)
	}
	pvs, err := s.store.Ensure(ctx, ids)
	if err != nil {
		return err
	}
	if err := s.reg.FinishScan(ctx, plan, inv, pvs); err != nil {
		return err
	}
	s.scans.WithLabelValues("merged").Inc()
	return s.reg.AttachSBOMs(ctx, plan)
}

// merge makes the inventory of an image of those of its layers, or of a bill of
// materials that is attached to it where these tell nothing.
func (s *Scanner) merge(ctx context.Context, plan *registry.ScanPlan) (*registry.Inventory, error) {
	bodies, err := s.reg.LayerBodies(ctx, plan)
	if err != nil {
		return nil, err
	}
	layers := make([]*vuln.Layer, len(bodies))
	for i, b := range bodies {
		l, err := extract.Decode(b)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", plan.Layers[i].Digest, err)
		}
		layers[i] = &l
	}
	inv := &registry.Inventory{Image: *vuln.Merge(layers)}
	if len(inv.Packages) == 0 && (inv.Status == vuln.LayerComplete || inv.Status == vuln.LayerUnsupported) {
		attached, err := s.reg.AttachedSBOM(ctx, plan)
		if err != nil {
			return nil, err
		}
		if attached != nil {
			inv.Image = *attached
			inv.Sourced = true
		}
	}
	inv.Config, err = s.reg.ReadConfig(ctx, plan)
	return inv, err
}

func (s *Scanner) imageFailed(tx *meta.Tx, j meta.Job, why error) error {
	s.scans.WithLabelValues("failed").Inc()
	image, account, err := registry.ScanJob(j.Key)
	if err != nil || account != "" {
		return nil
	}
	return s.reg.FailScan(tx, image, "The image could not be scanned: "+shown(why))
}

// layer does a job of registry.LayerQueue.
func (s *Scanner) layer(ctx context.Context, j meta.Job) error {
	l, known, err := s.reg.ScanLayer(ctx, j.Key)
	if err != nil {
		return err
	}
	if known.ID != 0 && known.Extractor == extract.Version {
		return s.reg.PutLayerInventory(ctx, known, nil)
	}
	if l == nil {
		return nil // no image has it any more
	}
	start := time.Now()
	r, err := l.Range(ctx, 0, l.Size)
	if err != nil {
		return err
	}
	defer r.Close()
	layer, err := s.extract.Extract(ctx, io.LimitReader(r, l.Size), l.Size)
	if err != nil {
		return err
	}
	s.bytes.Add(float64(l.Size))
	s.extracted.WithLabelValues(string(layer.Status)).Inc()
	s.took.Observe(time.Since(start).Seconds())
	if layer.Status == vuln.LayerFailed || layer.Status == vuln.LayerLimited {
		s.cfg.Log.WarnContext(ctx, "a layer could not be read as a whole", "layer", j.Key, "status", layer.Status, "why", layer.Message)
	}
	return s.reg.PutLayerInventory(ctx, meta.LayerInventory{Digest: j.Key, Extractor: layer.Extractor, Status: string(layer.Status), Inflated: layer.Bytes}, extract.Encode(layer))
}

func (s *Scanner) layerFailed(tx *meta.Tx, j meta.Job, why error) error {
	return s.reg.FailLayer(tx, j.Key, fmt.Sprintf("The layer %s could not be read: %s", j.Key, shown(why)))
}

// shown is what a client may be told of an error.
func shown(err error) string {
	var known *ecr.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return "see the server's log"
}
