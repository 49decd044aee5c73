package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

// What the source osv.dev stands for.
const (
	osvDev   = "osv.dev"
	osvURL   = "https://osv-vulnerabilities.storage.googleapis.com"
	kevURL   = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
	epssURL  = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"
	ociStart = "oci:"
)

// loadTries is how often an artifact that was named by hand is tried; the
// source of the configuration is tried for ever.
const loadTries = 5

// A Config says where advisories are from.
type Config struct {
	// Source is osv.dev, a URL, a folder, a zip file, or oci: and the reference
	// of an artifact. Empty: there are updates by request alone.
	Source   string
	Interval time.Duration
	Options
}

// Check refuses a configuration that cannot work.
func (c *Config) Check() error {
	s, err := c.source()
	if err == nil && s != nil {
		err = s.close()
	}
	for _, u := range []string{c.KEV, c.EPSS} {
		if u != "" && err == nil {
			_, err = newMirror(u)
		}
	}
	return err
}

// source opens the source that is configured; nil if there is none. A registry
// or a mirror is not spoken to yet.
func (c *Config) source() (source, error) {
	switch {
	case c.Source == "":
		return nil, nil
	case c.Source == osvDev:
		return newMirror(osvURL)
	}
	return open(c.Source)
}

// open opens a source by its name.
func open(name string) (source, error) {
	if ref, ok := strings.CutPrefix(name, ociStart); ok {
		return newRemote(ref)
	}
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		return newMirror(name)
	}
	return openTree(name)
}

// A Worker updates advisories, by interval and by request.
type Worker struct {
	db    *meta.DB
	store *advisory.Store
	reg   *registry.Registry
	cfg   Config
	now   func() time.Time
	log   *slog.Logger
	m     *metrics
}

// New returns a Worker. With the source osv.dev, KEV and EPSS are from their
// publishers unless configured otherwise.
func New(db *meta.DB, store *advisory.Store, reg *registry.Registry, cfg Config, now func() time.Time, log *slog.Logger, r prometheus.Registerer) *Worker {
	if cfg.Source == osvDev {
		if cfg.KEV == "" {
			cfg.KEV = kevURL
		}
		if cfg.EPSS == "" {
			cfg.EPSS = epssURL
		}
	}
	r.MustRegister(newFeeds(store, now, log))
	return &Worker{db: db, store: store, reg: reg, cfg: cfg, now: now, log: log, m: newMetrics(r)}
}

// Run works until ctx ends: what a change of advisories left to be matched,
// then updates. One begins at once if the source has not been loaded before.
func (w *Worker) Run(ctx context.Context) {
	if _, err := w.store.Rematch(ctx); err != nil && ctx.Err() == nil {
		w.log.ErrorContext(ctx, "package versions were not matched again", "error", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if w.cfg.Source == "" {
			return
		}
		if err := w.first(ctx); err != nil && ctx.Err() == nil {
			w.log.ErrorContext(ctx, "the first update of advisories was not begun", "error", err)
		}
		job.Every(ctx, w.log, "advisories", w.cfg.Interval, w.request)
	}()
	job.Work(ctx, w.db, w.log, job.Queue{
		Name: registry.AdvisoryQueue, Workers: 1, First: 30 * time.Second, Most: max(30*time.Second, min(30*time.Minute, w.cfg.Interval)), Handle: w.handle,
	})
	<-done
}

// request has an update from the configured source run now.
func (w *Worker) request(ctx context.Context) error {
	return w.db.Update(ctx, func(tx *meta.Tx) error {
		now := w.now()
		return tx.Enqueue(registry.AdvisoryQueue, registry.AdvisorySource, nil, now, now)
	})
}

// first requests an update if nothing was loaded from the source, as it is now,
// or too long ago.
func (w *Worker) first(ctx context.Context) error {
	src, err := w.cfg.source()
	if err != nil {
		return err
	}
	defer src.close()
	all, err := w.store.Feeds(ctx)
	if err != nil {
		return err
	}
	u := w.updater(src)
	for _, f := range all {
		if f.Source == src.String() && f.Form == u.form() && f.Failure == "" && w.now().Sub(f.CheckedAt) < w.cfg.Interval {
			return nil
		}
	}
	return w.request(ctx)
}

func (w *Worker) updater(src source) *updater {
	return &updater{store: w.store, src: src, o: w.cfg.Options, now: w.now, log: w.log, m: w.m}
}

// handle does an update.
func (w *Worker) handle(ctx context.Context, j meta.Job) error {
	var src source
	var err error
	o := w.cfg.Options
	if j.Key == registry.AdvisorySource {
		if src, err = w.cfg.source(); err != nil {
			return err
		}
		if src == nil {
			return nil // it was configured when the update was requested
		}
	} else {
		var a registry.AdvisoryArtifact
		if err := json.Unmarshal(j.Payload, &a); err != nil {
			return job.Permanent(err)
		}
		// What is loaded by hand is wanted, and has come to a place without a network.
		o.Ecosystems, o.KEV, o.EPSS = nil, "", ""
		if src, err = w.own(ctx, a); err != nil {
			return err
		}
	}
	defer src.close()
	u := w.updater(src)
	u.o = o
	err = w.update(ctx, u)
	if err != nil && j.Key == registry.AdvisoryLoad && j.Attempts >= loadTries && ctx.Err() == nil {
		return job.Permanent(err)
	}
	return err
}

func (w *Worker) update(ctx context.Context, u *updater) error {
	start := time.Now()
	w.log.InfoContext(ctx, "advisories are being updated", "source", u.src)
	err := errors.Join(u.all(ctx), u.exploits(ctx))
	took := time.Since(start)
	w.m.duration.Observe(took.Seconds())
	if err != nil {
		w.m.failures.Inc()
		return fmt.Errorf("advisories from %s: %w", u.src, err)
	}
	w.log.InfoContext(ctx, "advisories are up to date", "source", u.src, "duration", took.Round(time.Millisecond))
	return nil
}

// own is an artifact in this server's registry.
func (w *Worker) own(ctx context.Context, a registry.AdvisoryArtifact) (source, error) {
	id := ecr.RepositoryID{Account: a.Account, Name: a.Repository}
	m, err := w.reg.AdvisoryManifest(ctx, a)
	if known, ok := errors.AsType[*ecr.Error](err); ok {
		return nil, job.Permanent(known)
	}
	if err != nil {
		return nil, err
	}
	s, err := newArtifact(fmt.Sprintf("%s@%s", w.reg.RepositoryURI(id), a.Digest), m.Payload, func(ctx context.Context, digest string) (body, error) {
		l, err := w.reg.AdvisoryLayer(ctx, a, digest)
		if err != nil {
			return body{}, err
		}
		r, err := l.Range(ctx, 0, -1)
		return body{r, l.Size}, err
	})
	if err != nil {
		return nil, job.Permanent(err)
	}
	return s, nil
}
