package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// ListExpiredImages returns a page of the images that a repository's lifecycle
// policy deleted and that can be restored, in the order of their expiry,
// without their manifests.
// Errors: RepositoryNotFound.
func (r *Registry) ListExpiredImages(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, p ecr.Page) (list []*ecr.ExpiredImage, next string, err error) {
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	after, _, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	err = r.view(ctx, c, "ecr:ListExpiredImages", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		list, err = tx.ExpiredImages(repo.Row, r.now(), after, n+1)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(list) > n {
		list = list[:n]
		next = encodeCursor(list[n-1].Key, "")
	}
	return list, next, nil
}

// A Restored is an image that was restored.
type Restored struct {
	Digest string
	Tags   []string // that it has again
	Taken  []string // that it had, and that are on other images now
}

const (
	// restoreDigests is how many images a call names, at most, and
	// restoreImages how many it restores with what belongs to them.
	restoreDigests = 100
	restoreImages  = 500
)

// RestoreExpiredImages restores images that a repository's lifecycle policy
// deleted, as they were: with the time of their push, and those of their tags
// that are free. What an index needs is restored before it, and what refers to
// an image after it. The policy, if it stays as it is, deletes them again: not
// before Lifecycle.Interval is over.
// Errors: RepositoryNotFound. What cannot be restored is a failure of its own:
// ImageNotFound, ImageAlreadyExists, LayersNotFound, ReferencedImagesNotFound
// or LimitExceeded.
func (r *Registry) RestoreExpiredImages(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, digests []string) (restored []Restored, failures []ecr.ImageFailure, err error) {
	const action = "ecr:RestoreExpiredImages"
	if len(digests) == 0 || len(digests) > restoreDigests {
		return nil, nil, ecr.InvalidParam("imageDigests", fmt.Sprintf("Member must have length between 1 and %d", restoreDigests))
	}
	err = r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
		u := &undo{r: r, tx: tx, c: c, repo: repo, now: r.now(), done: map[string]bool{}}
		failures = nil
		for _, d := range digests {
			if u.done[d] {
				continue
			}
			err := u.restore(d, true)
			f, known := undoFailure(d, err)
			switch {
			case err == nil:
			case known:
				failures = append(failures, f)
			default:
				return err
			}
		}
		if restored = u.restored; len(restored) == 0 {
			return nil
		}
		return u.putOff()
	})
	if err != nil {
		return nil, nil, err
	}
	return restored, failures, nil
}

// undoFailure turns the error of one image into its entry in failures.
func undoFailure(digest string, err error) (ecr.ImageFailure, bool) {
	codes := map[ecr.Code]string{
		ecr.ImageNotFound: "ImageNotFound", ecr.ImageAlreadyExists: "ImageAlreadyExists", ecr.LayersNotFound: "LayersNotFound",
		ecr.ReferencedImagesNotFound: "ReferencedImagesNotFound", ecr.LimitExceeded: "LimitExceeded",
	}
	e, ok := errors.AsType[*ecr.Error](err)
	if !ok || codes[e.Code] == "" {
		return ecr.ImageFailure{}, false
	}
	return ecr.ImageFailure{ID: ecr.ImageID{Digest: digest}, Code: codes[e.Code], Reason: e.Message}, true
}

// An undo is a call of RestoreExpiredImages while its transaction runs.
type undo struct {
	r        *Registry
	tx       *meta.Tx
	c        ecr.Caller
	repo     *ecr.Repository
	now      time.Time
	done     map[string]bool // restored, or under way
	restored []Restored
}

// restore restores one image with what belongs to it. An error that a caller
// may know says that this image was not restored: what it needs may have been.
func (u *undo) restore(digest string, asked bool) error {
	if u.done[digest] {
		return nil
	}
	if _, err := u.tx.Image(u.repo.Row, digest); err == nil {
		if !asked {
			return nil
		}
		return ecr.Errorf(ecr.ImageAlreadyExists, "The image with digest '%s' is in the repository with name '%s'", digest, u.repo.ID.Name)
	} else if !errors.Is(err, meta.ErrNotFound) {
		return err
	}
	e, err := u.tx.ExpiredImage(u.repo.Row, digest, u.now)
	if errors.Is(err, meta.ErrNotFound) {
		return ecr.Errorf(ecr.ImageNotFound, "There is no expired image with digest '%s' that can be restored in the repository with name '%s'", digest, u.repo.ID.Name)
	}
	if err != nil {
		return err
	}
	if len(u.restored) >= restoreImages {
		return ecr.Errorf(ecr.LimitExceeded, "A call restores at most %d images: repeat it for the rest", restoreImages)
	}
	u.done[digest] = true
	if err := u.insert(e); err != nil {
		delete(u.done, digest)
		return err
	}
	referrers, err := u.tx.ExpiredReferrers(u.repo.Row, digest, u.now, restoreImages)
	if err != nil {
		return err
	}
	for _, d := range referrers {
		err := u.restore(d, false)
		if _, known := undoFailure(d, err); err != nil && !known {
			return err
		}
	}
	return nil
}

// insert restores what an image needs and then the image itself.
func (u *undo) insert(e *ecr.ExpiredImage) error {
	r, tx := u.r, u.tx
	p, err := r.parse(u.repo.ID, PutImageInput{Manifest: e.Payload, MediaType: e.MediaType, Digest: e.Digest})
	if err != nil {
		return fmt.Errorf("manifest of the expired image %s: %w", e.Digest, errors.Unwrap(err))
	}
	for _, child := range p.children {
		err := u.restore(child, false)
		if _, known := undoFailure(child, err); err != nil && !known {
			return err
		}
	}
	// The counters moved with the children.
	if u.repo, err = tx.LockRepository(u.repo.ID); err != nil {
		return err
	}
	out := Restored{Digest: e.Digest}
	for _, tag := range e.Tags {
		if _, err := tx.ImageTagged(u.repo.Row, tag); err == nil {
			out.Taken = append(out.Taken, tag)
		} else if errors.Is(err, meta.ErrNotFound) {
			out.Tags = append(out.Tags, tag)
		} else {
			return err
		}
	}
	p.in.MoreTags, p.pushedAt = out.Tags, e.PushedAt
	img, err := r.insert(tx, u.repo, p)
	if err != nil {
		return err
	}
	for _, tag := range out.Tags {
		if _, err := tx.PutTag(u.repo.Row, tag, img.Row, u.now, true); err != nil {
			return err
		}
	}
	img.Status, img.ArchivedAt, img.ActivatedAt = e.Status, e.ArchivedAt, e.ActivatedAt
	if err := tx.SetImageStatus(img); err != nil {
		return err
	}
	if e.Pulls > 0 {
		if err := tx.AddPulls(img.Row, e.Pulls, e.LastPulledAt); err != nil {
			return err
		}
	}
	if err := tx.Unexpire(u.repo.Row, img.Row, e); err != nil {
		return err
	}
	u.restored = append(u.restored, out)
	return u.tell(img, out.Tags)
}

// tell appends the events of an image that is back: those of a push.
func (u *undo) tell(img *ecr.Image, tags []string) error {
	e := u.r.event(u.c, ecr.ImagePushed, "ecr:RestoreExpiredImages", u.repo.ID)
	e.Digest = img.Digest
	if len(tags) == 0 {
		tags = []string{""}
	}
	for _, e.Tag = range tags {
		if err := u.tx.Append(e); err != nil {
			return err
		}
		e.Type = ecr.ImageTagged
	}
	return nil
}

// putOff has the policy wait, so that there is time to put a better one.
func (u *undo) putOff() error {
	p, err := u.tx.LifecyclePolicy(u.repo.Row)
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if until := u.now.Add(u.r.cfg.Lifecycle.Interval); err == nil && p.DueAt.Before(until) {
		err = u.tx.SetLifecycleDue(u.repo.Row, until)
	}
	return err
}

// forgetExpired gives up what is kept of a repository's expired images, some at
// a time, and returns how many.
func (r *Registry) forgetExpired(tx *meta.Tx, repo int64, now time.Time) (int, error) {
	keys, err := tx.ExpiredOf(repo, deleteBatch)
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		if err := tx.ForgetExpired(key, now); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// ForgetExpired gives up expired images that cannot be restored any more,
// limit at most, so that garbage collection frees what only they had; it
// returns how many. The server's own.
func (r *Registry) ForgetExpired(ctx context.Context, limit int) (n int, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		keys, err := tx.OverdueExpired(r.now(), limit)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := tx.ForgetExpired(key, r.now()); err != nil {
				return err
			}
		}
		n = len(keys)
		return nil
	})
	return n, err
}
