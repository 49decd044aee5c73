// Package daemon is the server: it opens the stores, wires core, edges and
// workers, serves, and stops everything in order.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ecruhq/ecru/authn"
	ecrapi "github.com/ecruhq/ecru/awsapi/ecr"
	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/blob/disk"
	"github.com/ecruhq/ecru/gc"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/ociapi"
	"github.com/ecruhq/ecru/registry"
)

// orphanInterval is how often the store is walked for orphans.
const orphanInterval = 7 * 24 * time.Hour

// A Core is the stores and what stands on them, for commands that work on a
// data folder.
type Core struct {
	DB       *meta.DB
	Blobs    *disk.Store
	Registry *registry.Registry
	Identity *identity.Identity
}

// OpenIdentity opens the database of a data folder alone; a server may be
// using it at the same time. Only Identity and DB are set.
func (c *Config) OpenIdentity(ctx context.Context) (*Core, error) {
	return c.openDB(ctx, false, slog.New(slog.DiscardHandler))
}

func (c *Config) openDB(ctx context.Context, create bool, log *slog.Logger) (*Core, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	keys, err := c.keyring(create)
	if err != nil {
		return nil, err
	}
	url := c.Database
	if url == "" {
		url = filepath.Join(c.Data, "meta.db")
	}
	db, err := meta.Open(ctx, meta.Options{URL: url, Log: log})
	if err != nil {
		return nil, err
	}
	return &Core{DB: db, Identity: identity.New(db, keys, c.Region, time.Now)}, nil
}

// Open opens the stores of a data folder. With readOnly a server may be using
// them at the same time, and nothing is written to the blob store.
func (c *Config) Open(ctx context.Context, readOnly bool) (*Core, error) {
	return c.open(ctx, false, readOnly, slog.New(slog.DiscardHandler))
}

func (c *Config) open(ctx context.Context, create, readOnly bool, log *slog.Logger) (_ *Core, err error) {
	core, err := c.openDB(ctx, create, log)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Data, "blobs")
	if readOnly {
		core.Blobs, err = disk.OpenReadOnly(dir)
	} else {
		core.Blobs, err = disk.Open(dir)
	}
	if err != nil {
		return nil, errors.Join(err, core.DB.Close())
	}
	limits := registry.DefaultLimits()
	limits.Repositories, limits.ImagesPerRepository, limits.TagsPerImage = c.MaxRepositories, c.MaxImages, c.MaxTags
	limits.LayerBytes = int64(c.MaxLayer)
	keys, err := c.keyring(false)
	if err != nil {
		return nil, errors.Join(err, core.Close())
	}
	core.Registry = registry.New(core.DB, core.Blobs, registry.Config{
		Region: c.Region, Host: func(account string) string { return c.host(c.registryHost(), account) }, Scheme: c.scheme(),
		Limits: limits, Now: time.Now, Log: log, LinkKey: keys.Derive("layer links"),
		Times: registry.Times{Upload: c.UploadTTL, Grace: c.GCGrace, Link: c.LinkTTL, Trash: c.TrashDelay, Orphan: c.OrphanAge, Pulls: c.PullFlush},
	})
	return core, nil
}

// Close closes the stores, in order.
func (c *Core) Close() error {
	err := c.DB.Close()
	if c.Blobs != nil {
		err = errors.Join(err, c.Blobs.Close())
	}
	return err
}

func (c *Config) scheme() string {
	if c.ExternalURL != "" {
		scheme, _, _ := strings.Cut(c.ExternalURL, ":")
		return scheme
	}
	if c.TLSCert != "" || c.TLSSelfSigned {
		return "https"
	}
	return "http"
}

// registryHost is the template of the registry's host.
func (c *Config) registryHost() string {
	if c.RegistryHost != "" {
		return c.RegistryHost
	}
	if u, err := url.Parse(c.ExternalURL); err == nil && u.Host != "" {
		return u.Host
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return c.Listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// host fills in a template.
func (c *Config) host(template, account string) string {
	return strings.NewReplacer("{account}", account, "{region}", c.Region).Replace(template)
}

// URL is how clients reach the server.
func (c *Config) URL() string {
	if c.ExternalURL != "" {
		return strings.TrimSuffix(c.ExternalURL, "/")
	}
	copy := *c
	copy.RegistryHost = ""
	return c.scheme() + "://" + copy.registryHost()
}

// A Server is a daemon that has been opened.
type Server struct {
	cfg     Config
	log     *slog.Logger
	core    *Core
	handler *handler
	metrics *metrics
	gc      *gc.Collector

	tls            *tls.Config
	listener       net.Listener
	metricListener net.Listener
}

// Start opens everything and listens; it does not serve yet. out is told where
// things are, if this is the first start.
func Start(ctx context.Context, cfg Config, log *slog.Logger, out io.Writer) (s *Server, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := makeFolder(cfg.Data); err != nil {
		return nil, err
	}
	s = &Server{cfg: cfg, log: log, metrics: newMetrics()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.tls, err = s.cfg.tlsConfig(time.Now); err != nil {
		return nil, err
	}
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w (choose another address with --listen)", err)
	}
	s.cfg.Listen = s.listener.Addr().String()
	if err := s.listenMetrics(ctx); err != nil {
		return nil, err
	}
	if s.core, err = s.cfg.open(ctx, true, false, log); err != nil {
		return nil, err
	}
	if err := s.ensureRoot(ctx, out); err != nil {
		return nil, err
	}
	return s, s.wire()
}

func (s *Server) listenMetrics(ctx context.Context) error {
	port := s.listener.Addr().(*net.TCPAddr).Port
	first, second, err := s.cfg.metricsAddress(port)
	if err != nil || first == "" {
		return err
	}
	s.metricListener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", first)
	if err != nil && second != "" {
		s.metricListener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", second)
	}
	if err != nil {
		return fmt.Errorf("metrics-listen: %w", err)
	}
	return nil
}

func (s *Server) ensureRoot(ctx context.Context, out io.Writer) error {
	id, secret, err := s.core.Identity.EnsureRoot(ctx, s.cfg.Account, s.cfg.RootAccessKeyID, s.cfg.RootSecretAccessKey)
	if err != nil {
		return fmt.Errorf("root access key: %w", err)
	}
	if id == "" {
		return nil
	}
	if err := s.cfg.writeCredentials(id, secret); err != nil {
		return fmt.Errorf("keep the root access key: %w", err)
	}
	data, err := filepath.Abs(s.cfg.Data)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "First start: made\n  %s  the root access key of account %s\n  %s  the key that seals every secret; keep a copy\n",
		filepath.Join(data, CredentialsFile), s.cfg.Account, filepath.Join(data, keyFile))
	return nil
}

func (s *Server) wire() (err error) {
	proxies, err := s.cfg.proxies()
	if err != nil {
		return err
	}
	h := &handler{obs: &observer{s.metrics, s.log, s.cfg.AccessLog}, idle: s.cfg.IdleTimeout, prefix: newPrefix(), log: s.log}
	h.auth = authn.New(s.core.Identity, authn.Options{Region: s.cfg.Region, Now: time.Now, TrustedProxies: proxies})
	if h.ecr, err = ecrapi.New(s.core.Registry, s.core.Identity, s.cfg.ExternalURL, s.log); err != nil {
		return err
	}
	h.oci = ociapi.New(s.core.Registry, h.identify, ociapi.Options{DefaultAccount: s.cfg.Account, Idle: s.cfg.IdleTimeout, Log: s.log, Observe: h.obs.observe})
	h.checks = []check{
		{"database", s.core.DB.Check},
		{"blobs", func(ctx context.Context) error { return checkBlobs(ctx, s.core.Blobs) }},
	}
	s.handler = h
	s.gc = gc.New(s.core.Registry, s.cfg.GCInterval, s.cfg.PullFlush, orphanInterval, s.log, s.metrics.registry)
	return nil
}

// checkBlobs makes an object and gives it up.
func checkBlobs(ctx context.Context, blobs blob.Store) error {
	w, err := blobs.Create(ctx, blob.NewKey())
	if err != nil {
		return err
	}
	return w.Abort()
}

// URL is how clients reach the server.
func (s *Server) URL() string { return s.cfg.URL() }

// MetricsURL is where metrics are served, or empty.
func (s *Server) MetricsURL() string {
	if s.metricListener == nil {
		return ""
	}
	return "http://" + s.metricListener.Addr().String() + "/metrics"
}

// Serve serves until ctx ends, and then stops: requests in flight may end
// within the grace time, stores close last. A second context, hurry, cuts the
// grace time short.
func (s *Server) Serve(ctx, hurry context.Context) error {
	main := s.httpServer(s.handler)
	main.TLSConfig = s.tls
	errs := make(chan error, 2)
	go func() { errs <- serve(main, s.listener) }()
	servers := []*http.Server{main}
	if s.metricListener != nil {
		m := s.httpServer(s.metrics.handler())
		servers = append(servers, m)
		go func() { errs <- serve(m, s.metricListener) }()
	}
	workers, stopWorkers := context.WithCancel(context.Background())
	defer stopWorkers()
	var wg sync.WaitGroup
	wg.Go(func() { s.gc.Run(workers) })
	if err := s.announce(); err != nil {
		s.log.Error("cannot write where the server is", "error", err)
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-errs:
	}
	s.log.Info("stopping", "grace", s.cfg.ShutdownGrace)
	s.handler.stopping.Store(true)
	grace, cancel := context.WithTimeout(hurry, s.cfg.ShutdownGrace)
	defer cancel()
	for _, srv := range servers {
		if err := srv.Shutdown(grace); err != nil {
			s.log.Warn("requests were cut off", "error", err)
			srv.Close()
		}
	}
	stopWorkers()
	wg.Wait()
	s.listener, s.metricListener = nil, nil // closed with their servers
	return errors.Join(failed, s.close())
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func serve(srv *http.Server, l net.Listener) (err error) {
	if srv.TLSConfig != nil {
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// announce writes where the server is, for commands and scripts.
func (s *Server) announce() error {
	err := writeFile(filepath.Join(s.cfg.Data, EndpointFile), []byte(s.URL()+"\n"), 0o644)
	if s.cfg.ReadyFile != "" {
		err = errors.Join(err, writeFile(s.cfg.ReadyFile, []byte(s.URL()+"\n"), 0o644))
	}
	return err
}

func (s *Server) close() error {
	var errs []error
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.metricListener != nil {
		errs = append(errs, s.metricListener.Close())
	}
	if s.core != nil {
		errs = append(errs, s.core.Close())
	}
	return errors.Join(errs...)
}
