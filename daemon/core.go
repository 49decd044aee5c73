package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/audit"
	"github.com/ecruhq/ecru/blob/disk"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

// A Core is the stores and what stands on them, for commands that work on a
// data folder.
type Core struct {
	DB       *meta.DB
	Blobs    *disk.Store
	Registry *registry.Registry
	Identity *identity.Identity
	Audit    *audit.Log
	Regions  *identity.Regions

	Advisories *advisory.Store

	linkKey []byte
}

// OpenIdentity opens the database of a data folder alone; a server may be
// using it at the same time. Only Identity, Audit and DB are set.
func (c *Config) OpenIdentity(ctx context.Context) (*Core, error) {
	return c.openDB(ctx, false, slog.New(slog.DiscardHandler))
}

func (c *Config) openDB(ctx context.Context, create bool, log *slog.Logger) (*Core, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	keys, err := c.keyring(ctx, create)
	if err != nil {
		return nil, err
	}
	url := c.Database
	if url == "" {
		url = filepath.Join(c.Data, databaseFile)
	}
	peers, err := c.peers()
	if err != nil {
		return nil, err
	}
	var regions []identity.Region
	for _, p := range peers {
		regions = append(regions, p.region)
	}
	known, err := identity.NewRegions(keys, c.Region, regions, time.Now)
	if err != nil {
		return nil, err
	}
	db, err := meta.Open(ctx, meta.Options{URL: url, Log: log})
	if err != nil {
		return nil, err
	}
	core := &Core{DB: db, Regions: known, Advisories: advisory.New(db, time.Now, log), Identity: identity.New(db, keys, c.Region, time.Now), linkKey: keys.Derive("layer links")}
	cfg := audit.Config{Region: c.Region, MaxAge: c.AuditMaxAge, MaxBytes: int64(c.AuditMaxBytes), Now: time.Now, Log: log}
	if c.AuditLog != "" {
		cfg.Sink = &audit.Sink{Path: c.AuditLog, Size: int64(c.AuditLogSize), Files: c.AuditLogFiles}
	}
	core.Audit = audit.New(db, core.Identity, keys, cfg)
	return core, nil
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
	peers, err := c.peers()
	if err != nil {
		return nil, errors.Join(err, core.Close())
	}
	core.Registry = registry.New(core.DB, core.Blobs, registry.Config{
		Region: c.Region, Account: c.Account, Host: func(account string) string { return c.host(c.registryHost(), account) }, Scheme: c.scheme(),
		Limits: limits, Now: time.Now, Log: log, LinkKey: core.linkKey, Regions: regionNames(peers),
		Lifecycle: c.lifecycle(),
		Times:     registry.Times{Upload: c.UploadTTL, Grace: c.GCGrace, Link: c.LinkTTL, Trash: c.TrashDelay, Orphan: c.OrphanAge, Pulls: c.PullFlush},
	})
	return core, nil
}

func (c *Config) lifecycle() registry.Lifecycle {
	l := registry.DefaultLifecycle()
	l.Interval, l.Hour, l.Undo, l.GuardPulledWithin = c.LifecycleInterval, c.LifecycleHour, c.LifecycleUndo, c.GuardPulledWithin
	return l
}

// Close closes the stores: the database first, because the lock of the blob
// store is what keeps another server off both.
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
