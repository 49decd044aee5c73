package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// maxDestinations bounds a replication configuration's destinations, each
// counted once (ECR service quotas).
const maxDestinations = 25

// DescribeRegistry returns what an account's registry replicates where.
func (r *Registry) DescribeRegistry(ctx context.Context, c ecr.Caller, account string) (cfg *ecr.ReplicationConfiguration, err error) {
	const action = "ecr:DescribeRegistry"
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		if err := r.allowAll(tx, c, action, account); err != nil {
			return err
		}
		cfg, err = tx.ReplicationConfiguration(account)
		return err
	})
	return cfg, r.denied(ctx, c, action, ecr.RepositoryID{Account: account}, err)
}

// PutReplicationConfiguration sets what the caller's registry replicates where.
// It is about pushes from now on; a backfill sends what was there before.
// Errors: InvalidParameter.
func (r *Registry) PutReplicationConfiguration(ctx context.Context, c ecr.Caller, cfg ecr.ReplicationConfiguration) error {
	if err := r.checkDestinations(c.Account, &cfg); err != nil {
		return err
	}
	return r.updateRegistry(ctx, c, "ecr:PutReplicationConfiguration", c.Account, func(tx *meta.Tx) error {
		return tx.PutReplicationConfiguration(c.Account, &cfg)
	})
}

func (r *Registry) checkDestinations(account string, cfg *ecr.ReplicationConfiguration) error {
	const field = "replicationConfiguration"
	all := cfg.All()
	if len(all) > maxDestinations {
		return ecr.InvalidParam(field, fmt.Sprintf("there can be at most %d unique destinations, not %d", maxDestinations, len(all)))
	}
	for _, d := range all {
		if d.Region == r.cfg.Region && d.Account == account {
			return ecr.InvalidParam(field, "Replication destination cannot be the same as the source registry")
		}
		if d.Region != r.cfg.Region && !slices.Contains(r.cfg.Regions, d.Region) {
			known := "it knows no other region"
			if len(r.cfg.Regions) > 0 {
				known = "it knows " + strings.Join(r.cfg.Regions, ", ")
			}
			return ecr.InvalidParam(field, fmt.Sprintf("region %s is unknown to this server, whose setting replication-region names those that it can reach: %s", d.Region, known))
		}
	}
	return nil
}

// DescribeImageReplicationStatus returns how far an image has come, one record
// a destination, and the image. Errors: RepositoryNotFound, ImageNotFound.
func (r *Registry) DescribeImageReplicationStatus(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID) (img *ecr.Image, out []ecr.Replication, err error) {
	if ref == (ecr.ImageID{}) {
		return nil, nil, ecr.InvalidParam("imageId", "both tag and digest cannot be null")
	}
	err = r.view(ctx, c, "ecr:DescribeImageReplicationStatus", id, func(tx *meta.Tx, repo *ecr.Repository) error {
		out = nil
		if img, err = findImage(tx, repo, ref); err != nil {
			return err
		}
		all, err := tx.ReplicationsOf(id, img.Digest)
		for _, rep := range all {
			if ref.Tag != "" && rep.Image.Tag != "" && rep.Image.Tag != ref.Tag {
				continue
			}
			if last := len(out) - 1; last < 0 || out[last].To != rep.To {
				out = append(out, rep)
			} else {
				out[last] = worse(out[last], rep)
			}
		}
		return err
	})
	return img, out, err
}

// worse returns the one of two records that says more of what is amiss.
func worse(a, b ecr.Replication) ecr.Replication {
	rank := func(s ecr.ReplicationStatus) int {
		return slices.Index([]ecr.ReplicationStatus{ecr.ReplicationComplete, ecr.ReplicationInProgress, ecr.ReplicationFailed}, s)
	}
	if rank(b.Status) > rank(a.Status) {
		return b
	}
	return a
}

// replicated appends the event of an image that another registry has put.
func (r *Registry) replicated(tx *meta.Tx, e ecr.Event) error {
	if e.Caller.Replication == "" {
		return nil
	}
	e.Type, e.Action = ecr.ImageReplicated, actReplicate
	return tx.Append(e)
}

// QueueReplications records what events of the log mean for replication, and
// returns what has to be sent, in the order of the events. What came by
// replication does not go on. wants says whether a destination takes a tag.
//
// It belongs to the transaction that moves the cursor of who follows the log.
func (r *Registry) QueueReplications(tx *meta.Tx, events []ecr.Event, wants func(ecr.Destination, string) bool) (out []ecr.Replication, err error) {
	configurations := map[string]*ecr.ReplicationConfiguration{}
	for _, e := range events {
		var images []ecr.ImageID
		switch e.Type {
		case ecr.ImagePushed, ecr.ImageTagged:
			if _, ok := ecr.ReplicationSource(e.Principal); ok {
				continue
			}
			images = []ecr.ImageID{{Digest: e.Digest, Tag: e.Tag}}
		case ecr.StorageRestored:
			if images, err = restored(tx, e); err != nil {
				return nil, err
			}
		case ecr.ImageDeleted, ecr.ImageUntagged:
			err = tx.ForgetReplications(e.Repository, ecr.ImageID{Digest: e.Digest, Tag: e.Tag})
		case ecr.RepositoryDeleted:
			err = tx.ForgetReplications(e.Repository, ecr.ImageID{})
		}
		if err != nil {
			return nil, err
		}
		if len(images) == 0 {
			continue
		}
		cfg := configurations[e.Repository.Account]
		if cfg == nil {
			if cfg, err = tx.ReplicationConfiguration(e.Repository.Account); err != nil {
				return nil, err
			}
			configurations[e.Repository.Account] = cfg
		}
		for _, to := range cfg.Destinations(e.Repository.Name) {
			for _, image := range images {
				if !wants(to, image.Tag) {
					continue
				}
				rep := ecr.Replication{Repository: e.Repository, Image: image, To: to, Status: ecr.ReplicationInProgress, QueuedAt: e.At}
				if err := tx.QueueReplication(rep); err != nil {
					return nil, err
				}
				out = append(out, rep)
			}
		}
	}
	return out, nil
}

// restored returns an image that is active again, with each of its tags.
func restored(tx *meta.Tx, e ecr.Event) (images []ecr.ImageID, err error) {
	if _, ok := ecr.ReplicationSource(e.Principal); ok {
		return nil, nil
	}
	repo, err := tx.Repository(e.Repository)
	if err == nil {
		var img *ecr.Image
		if img, err = tx.Image(repo.Row, e.Digest); err == nil {
			img.Tags, err = tx.Tags(img.Row)
			for _, t := range img.Tags {
				images = append(images, ecr.ImageID{Digest: e.Digest, Tag: t})
			}
			if images == nil {
				images = []ecr.ImageID{{Digest: e.Digest}}
			}
		}
	}
	if errors.Is(err, meta.ErrNotFound) { // gone since
		return nil, nil
	}
	return images, err
}

// PendingReplications returns images that wait to go to a destination under
// the tag of image, or, if that is "", the one with its digest; limit at most.
func (r *Registry) PendingReplications(ctx context.Context, id ecr.RepositoryID, image ecr.ImageID, to ecr.Destination, limit int) (out []ecr.Replication, err error) {
	err = r.db.ViewOne(ctx, func(tx *meta.Tx) error {
		out, err = tx.PendingReplications(id, image, to, limit)
		return err
	})
	return out, err
}

// SetReplicationStatus writes how replications ended or, with the status
// IN_PROGRESS, what their last attempt met. A record whose image is gone is
// not made again.
func (r *Registry) SetReplicationStatus(ctx context.Context, list ...ecr.Replication) error {
	if len(list) == 0 {
		return nil
	}
	now := r.now()
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		for _, rep := range list {
			rep.Code, rep.Reason = clean(rep.Code, 100), clean(rep.Reason, 1000)
			if rep.Status != ecr.ReplicationInProgress {
				rep.EndedAt = now
			}
			if err := tx.FinishReplication(rep); err != nil {
				return err
			}
		}
		return nil
	})
}

// ForgetReplication deletes the record of an image that is gone.
func (r *Registry) ForgetReplication(ctx context.Context, rep ecr.Replication) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error { return tx.ForgetReplications(rep.Repository, rep.Image) })
}

// CountReplications counts, per account and destination, what waits and what
// has failed.
func (r *Registry) CountReplications(ctx context.Context) (out []meta.ReplicationCount, err error) {
	err = r.db.ViewOne(ctx, func(tx *meta.Tx) error {
		out, err = tx.CountReplications()
		return err
	})
	return out, err
}

// ReplicationImage returns an image of an account's own to be replicated: the
// configuration of its registry allows that, so nothing else is asked, and it
// counts as no pull. Errors: RepositoryNotFound, ImageNotFound, also for one
// that is archived.
func (r *Registry) ReplicationImage(ctx context.Context, id ecr.RepositoryID, ref ecr.ImageID) (*ecr.Manifest, error) {
	e, err := r.replicationEntry(ctx, id)
	if err != nil {
		return nil, err
	}
	return r.manifest(ctx, e, ref)
}

// ReplicationLayer is ReplicationImage for the bytes of a layer.
// Errors: RepositoryNotFound, LayersNotFound.
func (r *Registry) ReplicationLayer(ctx context.Context, id ecr.RepositoryID, digest string) (*LayerReader, error) {
	e, err := r.replicationEntry(ctx, id)
	if err != nil {
		return nil, err
	}
	return r.reader(ctx, e, digest)
}

func (r *Registry) replicationEntry(ctx context.Context, id ecr.RepositoryID) (*entry, error) {
	if e := r.cache.get(id); e != nil {
		return e, nil
	}
	e, err := r.load(ctx, id)
	if errors.Is(err, meta.ErrNotFound) {
		return nil, repositoryNotFound(id)
	}
	return e, err
}

// ReplicationUpload returns where the upload of a layer to a destination goes
// on, or "".
func (r *Registry) ReplicationUpload(ctx context.Context, to ecr.Destination, repository, digest string) (location string, err error) {
	err = r.db.ViewOne(ctx, func(tx *meta.Tx) error {
		location, err = tx.ReplicationUpload(to, repository, digest)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return "", nil
	}
	return location, err
}

// SetReplicationUpload keeps where an upload goes on; "" means that it has
// ended.
func (r *Registry) SetReplicationUpload(ctx context.Context, to ecr.Destination, repository, digest, location string) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		if location == "" {
			return tx.DeleteReplicationUpload(to, repository, digest)
		}
		return tx.PutReplicationUpload(to, repository, digest, location, r.now())
	})
}

// ExpireReplicationUploads forgets uploads that the destination will have
// forgotten too.
func (r *Registry) ExpireReplicationUploads(ctx context.Context) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		_, err := tx.ExpireReplicationUploads(r.now().Add(-2 * r.cfg.Times.Upload))
		return err
	})
}

// ReplicationOverview returns, for an account, what waits and what has failed
// per destination, and up to limit of either, the oldest first.
func (r *Registry) ReplicationOverview(ctx context.Context, c ecr.Caller, account string, limit int) (counts []meta.ReplicationCount, list []ecr.Replication, err error) {
	const action = "ecr:DescribeImageReplicationStatus"
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		if err := r.allowAll(tx, c, action, account); err != nil {
			return err
		}
		all, err := tx.CountReplications()
		if err != nil {
			return err
		}
		counts = slices.DeleteFunc(all, func(n meta.ReplicationCount) bool { return n.Account != account })
		cfg, err := tx.ReplicationConfiguration(account)
		if err != nil {
			return err
		}
		for _, to := range cfg.All() {
			if !slices.ContainsFunc(counts, func(n meta.ReplicationCount) bool { return n.To == to }) {
				counts = append(counts, meta.ReplicationCount{Account: account, To: to})
			}
		}
		failed, err := tx.UnfinishedReplications(account, ecr.ReplicationFailed, limit)
		if err != nil {
			return err
		}
		waiting, err := tx.UnfinishedReplications(account, ecr.ReplicationInProgress, limit)
		list = append(failed, waiting...)
		return err
	})
	return counts, list, r.denied(ctx, c, action, ecr.RepositoryID{Account: account}, err)
}
