// Package daemon is the server: it opens the stores, wires core, edges and
// workers, serves, and stops everything in order.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ecruhq/ecru/authn"
	cloudtrailapi "github.com/ecruhq/ecru/awsapi/cloudtrail"
	ecrapi "github.com/ecruhq/ecru/awsapi/ecr"
	iamapi "github.com/ecruhq/ecru/awsapi/iam"
	stsapi "github.com/ecruhq/ecru/awsapi/sts"
	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/expiry"
	"github.com/ecruhq/ecru/gc"
	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/ociapi"
	"github.com/ecruhq/ecru/replicate"
	"github.com/ecruhq/ecru/scan"
	"github.com/ecruhq/ecru/scan/extract"
	"github.com/ecruhq/ecru/scan/feed"
)

const (
	// orphanInterval is how often the store is walked for orphans.
	orphanInterval = 7 * 24 * time.Hour
	// lifecyclePoll is how often lifecycle policies that are due are looked for.
	lifecyclePoll = 30 * time.Second
	// certCheck is how often a certificate is looked at when nobody connects.
	certCheck = 12 * time.Hour
	// headerTimeout is the longest that a request's headers may take.
	headerTimeout = 20 * time.Second
	// cutGrace is how long the stores stay open for requests that were cut off.
	cutGrace = 5 * time.Second
)

// A Server is a daemon that has been opened.
type Server struct {
	cfg     Config
	log     *slog.Logger
	core    *Core
	handler *handler
	metrics *metrics
	gc      *gc.Collector
	scan    *scan.Scanner
	feeds   *feed.Worker
	copies  *replicate.Replicator
	expiry  *expiry.Worker
	web     webIdentities

	tls            *tls.Config
	certificate    *reloader // nil without TLS
	listener       net.Listener
	metricListener net.Listener
}

// Start opens everything and listens; it does not serve yet. out is told where
// things are, if this is the first start.
func Start(ctx context.Context, cfg Config, log *slog.Logger, out io.Writer) (_ *Server, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	sources := cfg.advisories()
	if err := sources.Check(); err != nil {
		return nil, fmt.Errorf("advisories: %w", err)
	}
	if err := makeFolder(cfg.Data); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, metrics: newMetrics()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if cfg.ReadyFile != "" { // of another start: nobody may take it for this one's
		if err := os.Remove(cfg.ReadyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("ready-file: %w", err)
		}
	}
	if s.certificate, err = s.cfg.certificate(time.Now, log); err != nil {
		return nil, err
	}
	if s.certificate != nil {
		s.tls = s.certificate.config()
		if err = s.cfg.clientCertificates(s.tls); err != nil {
			return nil, err
		}
	}
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w (choose another address with --listen)", err)
	}
	s.cfg.Listen = s.listener.Addr().String()
	if s.tls == nil && s.cfg.scheme() == "http" && !s.listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		log.Warn("passwords cross the network in the clear: set tls-cert and tls-key, tls-self-signed, or external-url to the https URL of a proxy in front", "listen", s.cfg.Listen)
	}
	if err := s.listenMetrics(ctx); err != nil {
		return nil, err
	}
	if s.core, err = s.cfg.open(ctx, true, false, log); err != nil {
		return nil, err
	}
	if err := s.ensureRoot(ctx, out); err != nil {
		return nil, err
	}
	return s, s.wire(ctx)
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
	if a := s.metricListener.Addr().(*net.TCPAddr); !a.IP.IsLoopback() { // what localhost means is up to the resolver
		return notLoopback(a.String())
	}
	return nil
}

func (s *Server) ensureRoot(ctx context.Context, out io.Writer) error {
	id, secret, err := s.core.Identity.EnsureRoot(ctx, s.cfg.Account, s.cfg.RootAccessKeyID, s.cfg.RootSecretAccessKey)
	if err != nil {
		return fmt.Errorf("root access key: %w", err)
	}
	if id == "" {
		return s.checkCredentials()
	}
	if err := s.cfg.writeCredentials(id, secret); err != nil {
		return fmt.Errorf("keep the root access key: %w", err)
	}
	data, err := filepath.Abs(s.cfg.Data)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "First start: made\n  %s  the root access key of account %s\n", filepath.Join(data, CredentialsFile), s.cfg.Account)
	if s.cfg.MasterKey == "" {
		fmt.Fprintf(out, "  %s  the key that seals every secret; keep a copy\n", filepath.Join(data, keyFile))
	}
	return nil
}

// checkCredentials looks at the file of the root access key when there was no
// key to make: a key of the configuration has put the file's out of use.
func (s *Server) checkCredentials() error {
	path := filepath.Join(s.cfg.Data, CredentialsFile)
	id, _, err := ReadCredentials(s.cfg.Data)
	switch given := s.cfg.RootAccessKeyID; {
	case errors.Is(err, fs.ErrNotExist) && given == "":
		s.log.Info("the root access key is not in the data folder; to replace it start with ECRU_ROOT_ACCESS_KEY_ID and ECRU_ROOT_SECRET_ACCESS_KEY", "file", path)
	case err == nil && given != "" && id != given:
		s.log.Info("removing the file of a root access key that the configuration's has replaced", "file", path)
		return os.Remove(path)
	}
	return nil
}

func (s *Server) wire(ctx context.Context) (err error) {
	proxies, err := s.cfg.proxies()
	if err != nil {
		return err
	}
	h := &handler{obs: &observer{m: s.metrics, log: s.log, access: s.cfg.AccessLog, trail: s.core.Audit}, account: s.cfg.Account, region: s.cfg.Region, idle: s.cfg.IdleTimeout, prefix: newPrefix(), log: s.log}
	h.auth = authn.New(s.core.Identity, authn.Options{Region: s.cfg.Region, Now: time.Now, TrustedProxies: proxies, Regions: s.core.Regions, RegionCertificates: s.cfg.ReplicationClientCA != ""})
	issuers, err := s.cfg.issuerKeys()
	if err != nil {
		return err
	}
	s.web = webIdentities{authn.NewWebIdentities(authn.WebIdentityOptions{Now: time.Now, Log: s.log, StaticKeys: issuers})}
	if h.services, err = s.services(); err != nil {
		return err
	}
	h.oci = ociapi.New(s.core.Registry, h.identify, ociapi.Options{DefaultAccount: s.cfg.Account, Idle: s.cfg.IdleTimeout, Log: s.log, Deny: s.core.Identity.EncodeDenial, Observe: h.obs.observe})
	h.checks = []check{
		{"database", s.core.DB.Check},
		{"blobs", func(ctx context.Context) error { return checkBlobs(ctx, s.core.Blobs) }},
	}
	s.handler = h
	s.gc = gc.New(s.core.Registry, s.cfg.GCInterval, s.cfg.PullFlush, orphanInterval, s.log, s.metrics.registry)
	s.feeds = feed.New(s.core.DB, s.core.Advisories, s.core.Registry, s.cfg.advisories(), time.Now, s.log, s.metrics.registry)
	targets, err := s.replicationTargets(ctx)
	if err != nil {
		return err
	}
	s.copies = replicate.New(s.core.DB, s.core.Registry, replicate.Config{Targets: targets, Now: time.Now, Log: s.log, Metrics: s.metrics.registry})
	s.expiry = expiry.New(s.core.Registry, min(lifecyclePoll, s.cfg.LifecycleInterval), s.log, s.metrics.registry)
	s.scan, err = scan.New(s.core.DB, s.core.Registry, s.core.Advisories, scan.Config{
		Extract: extract.Config{Workers: s.cfg.ScanWorkers}, Log: s.log, Metrics: s.metrics.registry,
	})
	return err
}

// advisories says where advisories are from.
func (c *Config) advisories() feed.Config {
	return feed.Config{Source: c.Advisories, Interval: c.AdvisoriesInterval, Options: feed.Options{
		Ecosystems: c.AdvisoriesEcosystems, NoMalicious: c.AdvisoriesNoMalicious, KEV: c.AdvisoriesKEV, EPSS: c.AdvisoriesEPSS,
	}}
}

// webIdentities are tokens of OIDC providers, as STS sees them.
type webIdentities struct{ *authn.WebIdentities }

// Issuer returns who a token says that it is from, unchecked.
func (webIdentities) Issuer(token string) (string, error) { return authn.Issuer(token) }

// services opens the edges of AWS's services.
func (s *Server) services() (map[string]service, error) {
	id := s.core.Identity
	ecrEdge, ecrErr := ecrapi.New(s.core.Registry, id, s.cfg.ExternalURL, s.log)
	iamEdge, iamErr := iamapi.New(id, s.log)
	stsEdge, stsErr := stsapi.New(id, s.web, s.log)
	trailEdge, trailErr := cloudtrailapi.New(s.core.Audit, id, s.log)
	form := func(string) int64 { return formLimit }
	trail := service{edge: trailEdge, name: "cloudtrail", source: cloudtrailapi.Source, maxBody: form}
	return map[string]service{
		ecrapi.TargetPrefix:        {edge: ecrEdge, name: "ecr", source: ecrapi.Source, maxBody: ecrapi.MaxBody},
		iamapi.Version:             {edge: iamEdge, name: "iam", source: iamapi.Source, query: true, maxBody: form},
		cloudtrailapi.TargetPrefix: trail,
		cloudtrailapi.ShortTarget:  trail,
		stsapi.Version:             {edge: stsEdge, name: "sts", source: stsapi.Source, query: true, maxBody: form, unsigned: stsapi.Unsigned},
	}, errors.Join(ecrErr, iamErr, stsErr, trailErr)
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

// Reload reads the certificate's files again, changed or not; without TLS it
// does nothing. With an error the old certificate stays.
func (s *Server) Reload() error {
	if s.certificate == nil {
		return nil
	}
	return s.certificate.reload()
}

// Serve serves until ctx ends, and then stops: requests in flight may end
// within the grace time, stores close last. A second context, hurry, cuts the
// grace time short.
func (s *Server) Serve(ctx, hurry context.Context) error {
	if err := s.announce(); err != nil {
		s.log.Error("cannot write where the server is", "error", err)
	}
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
	wg.Go(func() { s.expiry.Run(workers) })
	wg.Go(func() { s.core.Audit.Run(workers) })
	wg.Go(func() { s.feeds.Run(workers) })
	if s.cfg.ScanWorkers > 0 {
		wg.Go(func() { s.scan.Run(workers) })
	}
	wg.Go(func() { s.copies.Run(workers) })
	if s.certificate != nil {
		wg.Go(func() {
			job.Every(workers, s.log, "certificate", certCheck, func(context.Context) error { return s.certificate.reload() })
		})
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
	s.handler.wait(cutGrace)
	stopWorkers()
	wg.Wait()
	s.listener, s.metricListener = nil, nil // closed with their servers
	return errors.Join(failed, s.close())
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: min(headerTimeout, s.cfg.IdleTimeout), IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
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
	err := errors.Join(writeFile(filepath.Join(s.cfg.Data, EndpointFile), []byte(s.URL()+"\n"), 0o644),
		writeFile(filepath.Join(s.cfg.Data, RegionFile), []byte(s.cfg.Region+"\n"), 0o644))
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
