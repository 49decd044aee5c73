package registry

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// AdvisoryQueue has the jobs that update advisories: AdvisorySource from the
// source of the configuration; AdvisoryLoad from an artifact of the registry,
// which its payload names.
const (
	AdvisoryQueue  = "advisories/update"
	AdvisorySource = "source"
	AdvisoryLoad   = "artifact"
)

// An AdvisoryArtifact is an image that holds advisories.
type AdvisoryArtifact struct {
	Account    string `json:"account"`
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
}

// An AdvisoryFeed is the advisories of an ecosystem, and how old they are.
type AdvisoryFeed struct {
	meta.Feed
	Age time.Duration
}

// An AdvisoryUpdate says how the update that was requested last stands.
type AdvisoryUpdate struct {
	State meta.JobState // "" if none is to be done
	Error string        // of the last attempt
}

// DescribeAdvisorySources returns a page of the feeds of advisories, which all
// accounts share, by name; and how updates stand.
func (r *Registry) DescribeAdvisorySources(ctx context.Context, c ecr.Caller, p ecr.Page) (feeds []AdvisoryFeed, u AdvisoryUpdate, next string, err error) {
	const action = "ecr:DescribeAdvisorySources"
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, u, "", err
	}
	_, after, err := decodeCursor(p.Token)
	if err != nil {
		return nil, u, "", err
	}
	var all []meta.Feed
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if err := r.allowAll(tx, c, action, c.Account); err != nil {
			return err
		}
		if u, err = advisoryUpdate(tx); err != nil {
			return err
		}
		all, err = tx.Feeds("", 1000)
		return err
	})
	if err != nil {
		return nil, u, "", r.denied(ctx, c, action, ecr.RepositoryID{Account: c.Account}, err)
	}
	for _, f := range all {
		if f.Name <= after {
			continue
		}
		if len(feeds) == n {
			return feeds, u, encodeCursor(0, feeds[n-1].Name), nil
		}
		feeds = append(feeds, AdvisoryFeed{f, meta.FeedAge(f, all, r.now())})
	}
	return feeds, u, "", nil
}

// advisoryUpdate is the job that matters most.
func advisoryUpdate(tx *meta.Tx) (u AdvisoryUpdate, err error) {
	for _, key := range []string{AdvisorySource, AdvisoryLoad} {
		j, err := tx.JobOf(AdvisoryQueue, key)
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return u, err
		}
		if u.State == "" || j.State == meta.JobRunning || u.State == meta.JobFailed {
			u = AdvisoryUpdate{j.State, j.Error}
		}
	}
	return u, nil
}

// StartAdvisoryUpdate has advisories updated from the source of the
// configuration, or, if ref names an image, loaded from that; the caller must
// be allowed to pull it. It does not wait. Advisories are shared by all accounts,
// so this is for the server's own account alone.
// Errors: RepositoryNotFound, ImageNotFound.
func (r *Registry) StartAdvisoryUpdate(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID) error {
	const action = "ecr:StartAdvisoryUpdate"
	if r.cfg.Account != "" && c.Account != r.cfg.Account {
		return ecr.Errorf(ecr.AccessDenied, "advisories are shared by all accounts of this server; only users of its own account may update them")
	}
	key, payload := AdvisorySource, []byte(nil)
	if ref != (ecr.ImageID{}) {
		m, err := r.GetManifest(ctx, c, id, ref, true)
		if err != nil {
			return err
		}
		if _, err := r.open(ctx, c, "ecr:GetDownloadUrlForLayer", id); err != nil {
			return err
		}
		key = AdvisoryLoad
		if payload, err = json.Marshal(AdvisoryArtifact{id.Account, id.Name, m.Digest}); err != nil {
			return err
		}
	}
	return r.updateRegistry(ctx, c, action, c.Account, func(tx *meta.Tx) error {
		now := r.now()
		return tx.Enqueue(AdvisoryQueue, key, payload, now, now)
	})
}

// AdvisoryManifest returns the manifest of an image that StartAdvisoryUpdate was
// allowed to load.
func (r *Registry) AdvisoryManifest(ctx context.Context, a AdvisoryArtifact) (*ecr.Manifest, error) {
	e, err := r.advisoryEntry(ctx, a)
	if err != nil {
		return nil, err
	}
	return r.manifest(ctx, e, ecr.ImageID{Digest: a.Digest})
}

// AdvisoryLayer returns a layer of such an image's repository.
func (r *Registry) AdvisoryLayer(ctx context.Context, a AdvisoryArtifact, digest string) (*LayerReader, error) {
	e, err := r.advisoryEntry(ctx, a)
	if err != nil {
		return nil, err
	}
	return r.reader(ctx, e, digest)
}

func (r *Registry) advisoryEntry(ctx context.Context, a AdvisoryArtifact) (*entry, error) {
	id := ecr.RepositoryID{Account: a.Account, Name: a.Repository}
	e, err := r.load(ctx, id)
	if errors.Is(err, meta.ErrNotFound) {
		return nil, repositoryNotFound(id)
	}
	return e, err
}
