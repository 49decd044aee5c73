package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/job"
	"github.com/ecruhq/ecru/meta"
)

// A payload names what a job is about: a tag of a repository, or, where there
// is none, a digest.
type payload struct {
	Account     string `json:"account"`
	Repository  string `json:"repository"`
	Digest      string `json:"digest,omitempty"`
	Tag         string `json:"tag,omitempty"`
	Region      string `json:"region"`
	Destination string `json:"destination"` // account
}

// keyOf is the key of the job that a replication belongs to: pushes of a tag
// share one, so that they are never at work together.
func keyOf(rep ecr.Replication) string {
	ref := ":" + rep.Image.Tag
	if rep.Image.Tag == "" {
		ref = "@" + rep.Image.Digest
	}
	return rep.Repository.Account + "/" + rep.Repository.Name + ref + " " + rep.To.Account
}

func payloadOf(rep ecr.Replication) []byte {
	p := payload{Account: rep.Repository.Account, Repository: rep.Repository.Name, Tag: rep.Image.Tag, Region: rep.To.Region, Destination: rep.To.Account}
	if p.Tag == "" {
		p.Digest = rep.Image.Digest
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings
	}
	return b
}

// jobBatch bounds the images of one tag that a job takes at a time.
const jobBatch = 100

// handle makes a destination what the source is, for one key.
func (r *Replicator) handle(ctx context.Context, t *target, j meta.Job) error {
	var p payload
	if err := json.Unmarshal(j.Payload, &p); err != nil {
		return job.Permanent(fmt.Errorf("payload of a replication: %w", err))
	}
	if wait := t.closed(r.now()); wait > 0 {
		return job.Later(wait)
	}
	id, image := ecr.RepositoryID{Account: p.Account, Name: p.Repository}, ecr.ImageID{Digest: p.Digest, Tag: p.Tag}
	to := ecr.Destination{Region: p.Region, Account: p.Destination}
	pending, err := r.reg.PendingReplications(ctx, id, image, to, jobBatch)
	if err != nil {
		return err
	}
	c := r.copier(t, id, to)
	if rest, err := r.sendPending(ctx, c, pending); err != nil {
		return r.postpone(ctx, t, rest, err)
	}
	if len(pending) == jobBatch {
		return job.Later(0)
	}
	if t.Deletes {
		if err := c.deletions(ctx, image); err != nil {
			return r.postpone(ctx, t, nil, err)
		}
	}
	return nil
}

// sendPending copies images that wait under one tag, or one by its digest, and
// records how each ended. An error means that the rest, which it returns, is to
// be tried again.
func (r *Replicator) sendPending(ctx context.Context, c *copier, pending []ecr.Replication) (rest []ecr.Replication, err error) {
	for n, rep := range pending {
		if err := r.record(ctx, rep, c.send(ctx, rep.Image)); err != nil {
			return pending[n:], err
		}
	}
	return nil, nil
}

// record writes how an attempt ended, unless that is an error to be tried
// again, which it returns.
func (r *Replicator) record(ctx context.Context, rep ecr.Replication, err error) error {
	var no *refusal
	switch {
	case err == nil:
		rep.Status = ecr.ReplicationComplete
		rep.Code, rep.Reason = "", ""
	case errors.Is(err, errGone):
		return r.reg.ForgetReplication(ctx, rep)
	case errors.As(err, &no):
		rep.Status, rep.Code, rep.Reason = ecr.ReplicationFailed, no.Code, no.Error()
		r.log.WarnContext(ctx, "an image was refused", "repository", rep.Repository.Name, "digest", rep.Image.Digest, "tag", rep.Image.Tag,
			"destination", rep.To, "code", no.Code, "reason", no.Message)
	default:
		return err
	}
	if err := r.reg.SetReplicationStatus(ctx, rep); err != nil {
		return err
	}
	r.metrics.ended(rep, r.now())
	return nil
}

// postpone decides when a job whose attempt failed is run again. What keeps a
// destination from being reached keeps all its jobs back, and none is counted
// as failed by it.
func (r *Replicator) postpone(ctx context.Context, t *target, pending []ecr.Replication, err error) error {
	var down *unreachable
	if ctx.Err() != nil || !errors.As(err, &down) || down.one {
		return err
	}
	wait, first := t.fail(r.now())
	if first {
		r.log.WarnContext(ctx, "a destination cannot be reached; its images wait", "region", t.Region, "again_in", wait, "error", err)
	}
	var notes []ecr.Replication
	for _, rep := range pending {
		if rep.Code != down.code() {
			rep.Code, rep.Reason = down.code(), err.Error()
			notes = append(notes, rep)
		}
	}
	if first { // else thousands of images would be written to for one reason
		if err := r.reg.SetReplicationStatus(ctx, notes...); err != nil {
			return err
		}
	}
	return job.Later(wait + jitter(wait))
}

func jitter(d time.Duration) time.Duration { return job.Backoff(d/4+1, d/4+1, 1) }
