// Package registry is the core: every rule and operation on repositories and
// images. It is the only writer of their records.
//
// An operation on a repository goes through one of two doors, update and view:
// both authorize inside the transaction that does the work. A pull goes
// through open, which authorizes against a record that may be cached but is
// never older than the last write that was acknowledged.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// Config is what a Registry must know.
type Config struct {
	Region string
	// Account is the one that keeps what all accounts share; empty: any may.
	Account string
	// Host gives the host (and port) of an account's registry, as clients
	// name it: the first part of repositoryUri.
	Host func(account string) string
	// Scheme is http or https, for proxyEndpoint.
	Scheme string
	Limits Limits
	Times  Times
	// Regions are those that images can be replicated to, besides its own.
	Regions []string
	// Lifecycle is DefaultLifecycle if it has no Interval.
	Lifecycle Lifecycle
	// LinkKey signs the links of LayerURL; at least 32 bytes.
	LinkKey []byte
	Now     func() time.Time
	Log     *slog.Logger
}

// Limits are the quotas (spec: ECR service quotas).
type Limits struct {
	Repositories        int64 // in an account
	ImagesPerRepository int64
	TagsPerImage        int64
	LayerBytes          int64
	InlineBytes         int64 // layers of at most so many are kept in the database, not in the blob store
	LayerParts          int64 // of the smallest size, so also a bound on small chunks
	MinPartBytes        int64 // of ECR's UploadLayerPart, except the last part
	Templates           int64
	PullTimeExclusions  int64
	ImagesInUse         int64 // reports in an account
}

// DefaultLimits are ECR's.
func DefaultLimits() Limits {
	return Limits{
		Repositories: 100_000, ImagesPerRepository: 100_000, TagsPerImage: 1000,
		LayerBytes: 52_000 << 20, InlineBytes: 16 << 10, LayerParts: 4200, MinPartBytes: 5 << 20,
		Templates: 50, PullTimeExclusions: 100, ImagesInUse: 50_000,
	}
}

// Times are the safety margins of uploads and garbage collection.
type Times struct {
	// Upload is how long an upload may rest between two requests.
	Upload time.Duration
	// Grace is how long a layer stays that no image refers to: since it was
	// pushed, mounted, asked for, or lost its last reference. A push that
	// takes longer between its first HEAD and its manifest may fail.
	Grace time.Duration
	// Link is how long a link of LayerURL is good.
	Link time.Duration
	// Trash is how long an object stays after its last link went: longer
	// than Link and the longest download together.
	Trash time.Duration
	// Orphan is the age from which an object that no record names is freed.
	Orphan time.Duration
	// Pulls is how often counted pulls are written.
	Pulls time.Duration
}

// DefaultTimes are the margins unless configured otherwise.
func DefaultTimes() Times {
	return Times{
		Upload: 24 * time.Hour, Grace: 24 * time.Hour, Link: time.Hour, Trash: 3 * time.Hour,
		Orphan: 48 * time.Hour, Pulls: 30 * time.Second,
	}
}

// A Registry serves all accounts of one region. Its methods are safe for
// concurrent use. Errors that a caller may know are *ecr.Error.
type Registry struct {
	db       *meta.DB
	blobs    blob.Store
	cfg      Config
	cache    *cache
	policies policies
	sessions sessions
	pulls    pulls

	process              string // of this process, for claims on work
	runWork, previewWork wakeup
	recounting           chan struct{} // holds one while images are counted anew
}

// New returns a Registry over its two stores.
func New(db *meta.DB, blobs blob.Store, cfg Config) *Registry {
	cfg.Limits.InlineBytes = min(cfg.Limits.InlineBytes, cfg.Limits.LayerBytes)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Lifecycle.Interval == 0 {
		cfg.Lifecycle = DefaultLifecycle()
	}
	return &Registry{db: db, blobs: blobs, cfg: cfg, cache: newCache(!db.Shared()), process: uuid.NewString(), runWork: make(wakeup, 1), previewWork: make(wakeup, 1), recounting: make(chan struct{}, 1)}
}

// Region returns the region that r is.
func (r *Registry) Region() string { return r.cfg.Region }

// RepositoryURI returns what clients call a repository: host/name.
func (r *Registry) RepositoryURI(id ecr.RepositoryID) string {
	return r.cfg.Host(id.Account) + "/" + id.Name
}

// ProxyEndpoint returns the URL of an account's registry.
func (r *Registry) ProxyEndpoint(account string) string {
	return r.cfg.Scheme + "://" + r.cfg.Host(account)
}

// now is the time to the millisecond, which is what records keep.
func (r *Registry) now() time.Time { return r.cfg.Now().UTC().Truncate(time.Millisecond) }

// update is the one door to a write: it finds the repository, decides, and
// runs fn in a single transaction. A denied caller does not learn whether the
// repository exists. fn may run more than once.
func (r *Registry) update(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, fn func(*meta.Tx, *ecr.Repository) error) error {
	defer r.cache.drop(id)
	return r.updateKeeping(ctx, c, action, id, nil, fn)
}

// updateKeeping is update for an operation that sees itself to what the cache
// has of the repository. request gives the condition keys of this request alone.
func (r *Registry) updateKeeping(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, request map[string][]string, fn func(*meta.Tx, *ecr.Repository) error) error {
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		repo, err := tx.LockRepository(id)
		if err := r.decide(tx, c, action, id, repo, request, err); err != nil {
			return err
		}
		return fn(tx, repo)
	})
	return r.denied(ctx, c, action, id, err)
}

// view is the one door to a read that is not a pull; see update.
func (r *Registry) view(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, fn func(*meta.Tx, *ecr.Repository) error) error {
	err := r.db.View(ctx, func(tx *meta.Tx) error {
		repo, err := tx.Repository(id)
		if err := r.decide(tx, c, action, id, repo, nil, err); err != nil {
			return err
		}
		return fn(tx, repo)
	})
	return r.denied(ctx, c, action, id, err)
}

// decide turns the outcome of a look-up into the answer of a door: denied
// first, then not found.
func (r *Registry) decide(tx *meta.Tx, c ecr.Caller, action string, id ecr.RepositoryID, repo *ecr.Repository, request map[string][]string, lookup error) error {
	if lookup != nil && !errors.Is(lookup, meta.ErrNotFound) {
		return lookup
	}
	if err := r.allowIn(tx, c, action, id, repo, request); err != nil {
		return err
	}
	if lookup != nil {
		return repositoryNotFound(id)
	}
	return nil
}

// denied records a denial in the event log before it is answered.
func (r *Registry) denied(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, err error) error {
	var e *ecr.Error
	if !errors.As(err, &e) || e.Code != ecr.AccessDenied {
		return err
	}
	if c.Call != nil {
		c.Call.Message = e.Message
	}
	event := r.event(c, ecr.CallDenied, action, id)
	event.Code = "AccessDenied"
	if err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.Append(event) }); err != nil {
		if c.Call != nil {
			c.Call.Recorded = ecr.NotRecorded
		}
		return fmt.Errorf("record a denied call: %w", err)
	}
	return e
}

// event begins an event of c's doing.
func (r *Registry) event(c ecr.Caller, t ecr.EventType, action string, id ecr.RepositoryID) ecr.Event {
	e := ecr.Event{
		At: r.now(), Type: t, Action: action, Repository: id,
		Principal: c.ARN, UserAgent: clean(c.UserAgent, 256), RequestID: clean(c.RequestID, 128), Caller: c,
	}
	if c.SourceIP.IsValid() {
		e.SourceIP = c.SourceIP.String()
	}
	return e
}

// clean makes text from a request fit to be kept: valid UTF-8, no NUL, at most
// n bytes.
func clean(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
}

func repositoryNotFound(id ecr.RepositoryID) *ecr.Error {
	return ecr.Errorf(ecr.RepositoryNotFound, "The repository with name '%s' does not exist in the registry with id '%s'", id.Name, id.Account)
}
