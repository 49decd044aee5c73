// Package replicate copies images to other registries: it follows the event
// log, keeps one job an image and destination, and speaks plain OCI
// Distribution with whoever is on the other side.
//
// A job is a key, not a command: it makes the destination what the source is
// at the time it runs, so that it may run twice, late, or for several changes
// at once. Layers go before manifests, children before their index, a subject
// before its referrers, and the tag last, so that a destination never shows
// what cannot be pulled.
package replicate

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

// A Replicator copies what the accounts of one region replicate.
type Replicator struct {
	db      *meta.DB
	reg     *registry.Registry
	log     *slog.Logger
	now     func() time.Time
	targets map[string]*target
	deletes bool  // some target takes deletions
	tags    locks // by destination, repository and tag
	images  locks // by destination, repository and digest
	layers  locks // by destination and digest
	metrics *metrics
}

// Config is what a Replicator must know.
type Config struct {
	Targets []Target
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// New returns a Replicator over the core and its database.
func New(db *meta.DB, reg *registry.Registry, c Config) *Replicator {
	r := &Replicator{db: db, reg: reg, log: c.Log, now: c.Now, targets: map[string]*target{}, metrics: newMetrics(reg, c.Now)}
	if c.Metrics != nil {
		c.Metrics.MustRegister(r.metrics.all()...)
	}
	for _, t := range c.Targets {
		r.targets[t.Region] = newTarget(t, c.Now)
		r.deletes = r.deletes || t.Deletes
	}
	return r
}

// queue is the queue of jobs for a region. Each has its own, so that one that
// is down costs the others nothing.
func queue(region string) string { return "replication-" + region }

// Run works until ctx ends.
func (r *Replicator) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		job.Follow(ctx, r.db, r.log, job.Follower{Name: "replication", AtEnd: true, Handle: r.follow, Types: []ecr.EventType{
			ecr.ImagePushed, ecr.ImageTagged, ecr.StorageRestored, ecr.ImageDeleted, ecr.ImageUntagged, ecr.RepositoryDeleted,
		}})
	})
	for region, t := range r.targets {
		wg.Go(func() {
			job.Work(ctx, r.db, r.log, job.Queue{Name: queue(region), Workers: t.Workers, First: time.Second, Most: time.Minute,
				Handle: func(ctx context.Context, j meta.Job) error { return r.handle(ctx, t, j) }})
		})
	}
	wg.Go(func() {
		job.Work(ctx, r.db, r.log, job.Queue{Name: registry.BackfillQueue, Workers: 10, First: time.Second, Most: time.Minute, Handle: r.backfill})
	})
	wg.Go(func() { job.Every(ctx, r.log, "replication-backfills", 6*time.Hour, r.reg.ExpireBackfills) })
	wg.Go(func() { job.Every(ctx, r.log, "replication-uploads", 6*time.Hour, r.reg.ExpireReplicationUploads) })
	wg.Wait()
}

// follow enqueues what events ask for, in the transaction that passes them.
func (r *Replicator) follow(tx *meta.Tx, events []ecr.Event) error {
	queued, err := r.reg.QueueReplications(tx, events, r.wants)
	if err != nil {
		return err
	}
	now := r.now()
	for _, rep := range queued {
		if err := tx.Enqueue(queue(rep.To.Region), keyOf(rep), payloadOf(rep), now, now); err != nil {
			return err
		}
	}
	return r.followDeletions(tx, events)
}

// followDeletions enqueues what is gone for destinations that take deletions.
func (r *Replicator) followDeletions(tx *meta.Tx, events []ecr.Event) error {
	now := r.now()
	if !r.deletes {
		return nil
	}
	for _, e := range events {
		if e.Type != ecr.ImageDeleted && e.Type != ecr.ImageUntagged {
			continue
		}
		if _, ok := ecr.ReplicationSource(e.Principal); ok {
			continue
		}
		cfg, err := tx.ReplicationConfiguration(e.Repository.Account)
		if err != nil {
			return err
		}
		for _, to := range cfg.Destinations(e.Repository.Name) {
			t := r.targets[to.Region]
			if t == nil || !t.Deletes {
				continue
			}
			rep := ecr.Replication{Repository: e.Repository, Image: ecr.ImageID{Digest: e.Digest, Tag: e.Tag}, To: to}
			if err := tx.Enqueue(queue(to.Region), keyOf(rep), payloadOf(rep), now, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// wants says whether a destination takes images under a tag.
func (r *Replicator) wants(to ecr.Destination, tag string) bool {
	t := r.targets[to.Region]
	return t == nil || t.wants(tag)
}
