package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

// GetManifest returns an image's manifest by digest or by tag; exactly one of
// the two is set. Unless head is set it counts as a pull.
// Errors: RepositoryNotFound, ImageNotFound.
func (r *Registry) GetManifest(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID, head bool) (*ecr.Manifest, error) {
	action := "ecr:BatchGetImage"
	if head && c.Replication != "" { // it may learn what is there, and no more
		action = actReplicate
	}
	e, err := r.open(ctx, c, action, id)
	if err != nil {
		return nil, err
	}
	m, err := r.manifest(ctx, e, ref)
	if err != nil {
		return nil, err
	}
	if !head {
		r.pulls.add(m.Row, c.Account, c.ARN, r.cfg.Now())
	}
	return m, nil
}

// manifest returns the manifest that ref names, from the entry if it is there.
func (r *Registry) manifest(ctx context.Context, e *entry, ref ecr.ImageID) (*ecr.Manifest, error) {
	if m := e.manifest(ref); m != nil {
		return m, nil // what is archived is not kept there
	}
	var m *ecr.Manifest
	begun := e.begin()
	err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
		m, err = findManifest(tx, e.repo, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	if m.Status == ecr.ImageArchived {
		return nil, archived(e.repo.ID, m.Digest)
	}
	r.cache.addManifest(e, m, begun)
	return m, nil
}

// findImage returns the image that ref names; with both, the tag must be on
// the digest.
func findImage(tx *meta.Tx, repo *ecr.Repository, ref ecr.ImageID) (img *ecr.Image, err error) {
	if ref.Tag != "" {
		img, err = tx.ImageTagged(repo.Row, ref.Tag)
	} else {
		img, err = tx.Image(repo.Row, ref.Digest)
	}
	if errors.Is(err, meta.ErrNotFound) || err == nil && ref.Digest != "" && img.Digest != ref.Digest {
		return nil, imageNotFound(repo.ID, ref)
	}
	if err != nil {
		return nil, err
	}
	img.Repository = repo.ID
	return img, nil
}

func findManifest(tx *meta.Tx, repo *ecr.Repository, ref ecr.ImageID) (*ecr.Manifest, error) {
	img, err := findImage(tx, repo, ref)
	if err != nil {
		return nil, err
	}
	payload, err := tx.Payload(img.Row)
	if err != nil {
		return nil, err
	}
	return &ecr.Manifest{Image: *img, Tag: ref.Tag, Payload: payload}, nil
}

func imageNotFound(id ecr.RepositoryID, ref ecr.ImageID) *ecr.Error {
	quote := func(s string) string {
		if s == "" {
			return "'null'"
		}
		return "'" + s + "'"
	}
	return ecr.Errorf(ecr.ImageNotFound, "The image with imageId {imageDigest:%s, imageTag:%s} does not exist within the repository with name '%s' in the registry with id '%s'",
		quote(ref.Digest), quote(ref.Tag), id.Name, id.Account)
}

// checkIDs returns the failure of every id that cannot name an image, and the
// rest.
func checkIDs(ids []ecr.ImageID) (good []ecr.ImageID, failures []ecr.ImageFailure) {
	for _, id := range ids {
		switch {
		case id.Digest == "" && id.Tag == "":
			failures = append(failures, ecr.ImageFailure{ID: id, Code: "MissingDigestAndTag", Reason: "Invalid request parameters: both tag and digest cannot be null"})
		case id.Digest != "" && !digestForm.MatchString(id.Digest):
			failures = append(failures, ecr.ImageFailure{ID: id, Code: "InvalidImageDigest",
				Reason: "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"})
		case id.Tag != "" && len(id.Tag) > 300:
			failures = append(failures, ecr.ImageFailure{ID: id, Code: "InvalidImageTag", Reason: "Invalid request parameters: image tag should have at most 300 characters"})
		default:
			good = append(good, id)
		}
	}
	return good, failures
}

// failure turns the error of one image of a batch into its entry in failures;
// another error fails the batch.
func failure(id ecr.ImageID, err error) (ecr.ImageFailure, error) {
	var e *ecr.Error
	if errors.As(err, &e) && errors.Is(e.Err, errArchived) {
		return ecr.ImageFailure{ID: id, Code: "ImageInaccessible", Reason: e.Message}, nil
	}
	if errors.As(err, &e) && e.Code == ecr.ImageNotFound {
		return ecr.ImageFailure{ID: id, Code: "ImageNotFound", Reason: "Requested image not found"}, nil
	}
	return ecr.ImageFailure{}, err
}

// BatchGetImage returns the manifests of up to 100 images. Media types that
// are accepted are advice: a manifest is given in the type that it was pushed
// in. Each counts as a pull.
func (r *Registry) BatchGetImage(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ids []ecr.ImageID, accepted []string) (images []ecr.Manifest, failures []ecr.ImageFailure, err error) {
	e, err := r.open(ctx, c, "ecr:BatchGetImage", id)
	if err != nil {
		return nil, nil, err
	}
	good, failures := checkIDs(ids)
	for _, ref := range good {
		m, err := r.manifest(ctx, e, ref)
		if err == nil && ref.Digest != "" && m.Digest != ref.Digest {
			err = imageNotFound(id, ref)
		}
		if err != nil {
			f, err := failure(ref, err)
			if err != nil {
				return nil, nil, err
			}
			failures = append(failures, f)
			continue
		}
		r.pulls.add(m.Row, c.Account, c.ARN, r.cfg.Now())
		out := *m
		out.Tag = ref.Tag
		images = append(images, out)
	}
	return images, failures, nil
}

// DescribeImages returns the records of images with their tags: those of ids,
// or a page of the repository's, in the order of their first push.
// Errors: RepositoryNotFound, ImageNotFound for the first id that is unknown.
func (r *Registry) DescribeImages(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ids []ecr.ImageID, f ecr.ImageFilter, p ecr.Page) (images []*ecr.Image, next string, err error) {
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	after, _, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	err = r.view(ctx, c, "ecr:DescribeImages", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		if len(ids) > 0 {
			images, err = describe(tx, repo, ids)
		} else {
			images, err = tx.Images(repo.Row, f, after, n+1)
		}
		if err != nil {
			return err
		}
		return r.addScans(tx, repo, images)
	})
	if err != nil {
		return nil, "", err
	}
	if len(ids) == 0 && len(images) > n {
		images = images[:n]
		next = encodeCursor(images[n-1].Row, "")
	}
	for _, i := range images {
		i.Repository = id
	}
	return images, next, nil
}

// describe returns the images of ids, each once.
func describe(tx *meta.Tx, repo *ecr.Repository, ids []ecr.ImageID) (images []*ecr.Image, err error) {
	for _, ref := range ids {
		if ref == (ecr.ImageID{}) {
			return nil, ecr.InvalidParam("imageIds", "both tag and digest cannot be null")
		}
		i, err := findImage(tx, repo, ref)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(images, func(o *ecr.Image) bool { return o.Row == i.Row }) {
			continue
		}
		if i.Tags, err = tx.Tags(i.Row); err != nil {
			return nil, err
		}
		images = append(images, i)
	}
	return images, nil
}

// ListImages returns a page of the repository's images: an entry for each tag,
// and one for each image without tags.
func (r *Registry) ListImages(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, f ecr.ImageFilter, p ecr.Page) (ids []ecr.ImageID, next string, err error) {
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	var after meta.ImageCursor
	if after.Row, after.Tag, err = decodeCursor(p.Token); err != nil {
		return nil, "", err
	}
	var rows []int64
	err = r.view(ctx, c, "ecr:ListImages", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		ids, rows, err = tx.ImageIDs(repo.Row, f, after, n+1)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(ids) > n {
		ids = ids[:n]
		next = encodeCursor(rows[n-1], ids[n-1].Tag)
	}
	return ids, next, nil
}

// ListTags returns the repository's tags that follow after, in order, and
// whether there are more (OCI Distribution 1.1, end-8a and end-8b).
func (r *Registry) ListTags(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, after string, n int) (tags []string, more bool, err error) {
	n, err = limit(ecr.Page{Limit: n}, 100, 1000)
	if err != nil {
		return nil, false, err
	}
	err = r.view(ctx, c, "ecr:ListImages", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		tags, err = tx.TagNames(repo.Row, after, n+1)
		return err
	})
	if len(tags) > n {
		tags, more = tags[:n], true
	}
	return tags, more, err
}

// ListImageReferrers returns a page of the images whose subject is a digest,
// in the order of their digests; with types, only those. A subject that does
// not exist has no referrers.
func (r *Registry) ListImageReferrers(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, subject string, types []string, p ecr.Page) (refs []*ecr.Image, next string, err error) {
	if _, err := oci.ParseDigest(subject); err != nil {
		return nil, "", ecr.InvalidParam("subjectId.imageDigest", "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
	}
	n, err := limit(p, 20, 1000)
	if err != nil {
		return nil, "", err
	}
	_, after, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	err = r.view(ctx, c, "ecr:BatchGetImage", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		refs, err = tx.Referrers(repo.Row, subject, types, after, n+1)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(refs) > n {
		refs = refs[:n]
		next = encodeCursor(0, refs[n-1].Digest)
	}
	return refs, next, nil
}

// BatchDeleteImage deletes images. By tag: the tag goes, and the image with
// its last tag. By digest: the image with all its tags. An image that an
// index names stays until the index is gone.
func (r *Registry) BatchDeleteImage(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ids []ecr.ImageID) (deleted []ecr.ImageID, failures []ecr.ImageFailure, err error) {
	const action = "ecr:BatchDeleteImage"
	err = r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
		deleted = nil
		var good []ecr.ImageID
		good, failures = checkIDs(ids)
		for _, ref := range good {
			gone, refused, err := r.deleteOne(tx, c, repo, ref)
			if err != nil {
				f, err := failure(ref, err)
				if err != nil {
					return err
				}
				refused = &f
			}
			if refused != nil {
				failures = append(failures, *refused)
			}
			deleted = append(deleted, gone...)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return deleted, failures, nil
}

// deleteOne is BatchDeleteImage for one image; it returns an entry for each
// tag that went.
func (r *Registry) deleteOne(tx *meta.Tx, c ecr.Caller, repo *ecr.Repository, ref ecr.ImageID) (gone []ecr.ImageID, refused *ecr.ImageFailure, err error) {
	const action = "ecr:BatchDeleteImage"
	img, err := findImage(tx, repo, ref)
	if err != nil {
		return nil, nil, err
	}
	if ref.Tag != "" {
		left, err := tx.CountTags(img.Row)
		if err != nil {
			return nil, nil, err
		}
		if left > 1 {
			return []ecr.ImageID{{Digest: img.Digest, Tag: ref.Tag}}, nil, r.untag(tx, c, repo, img, ref.Tag)
		}
	}
	parents, err := tx.Parents(img.Row, 10)
	if err != nil {
		return nil, nil, err
	}
	if len(parents) > 0 {
		if ref.Tag != "" { // its last tag: the image stays, for the index, untagged
			return []ecr.ImageID{{Digest: img.Digest, Tag: ref.Tag}}, nil, r.untag(tx, c, repo, img, ref.Tag)
		}
		return nil, &ecr.ImageFailure{ID: ref, Code: "ImageReferencedByManifestList",
			Reason: fmt.Sprintf("Requested image referenced by manifest list: %v", parents)}, nil
	}
	if img.Tags, err = tx.Tags(img.Row); err != nil {
		return nil, nil, err
	}
	for _, t := range img.Tags {
		gone = append(gone, ecr.ImageID{Digest: img.Digest, Tag: t})
	}
	if len(gone) == 0 {
		gone = []ecr.ImageID{{Digest: img.Digest}}
	}
	return gone, nil, r.deleteImage(tx, c, action, repo, img)
}

func (r *Registry) untag(tx *meta.Tx, c ecr.Caller, repo *ecr.Repository, img *ecr.Image, tag string) error {
	if _, err := tx.DeleteTag(repo.Row, tag, img.Row); err != nil {
		return err
	}
	e := r.event(c, ecr.ImageUntagged, "ecr:BatchDeleteImage", repo.ID)
	e.Digest, e.Tag = img.Digest, tag
	return tx.Append(e)
}

func (r *Registry) deleteImage(tx *meta.Tx, c ecr.Caller, action string, repo *ecr.Repository, img *ecr.Image) error {
	if err := tx.DeleteImage(repo.Row, img, r.now().Add(r.cfg.Times.Grace)); err != nil {
		return err
	}
	e := r.event(c, ecr.ImageDeleted, action, repo.ID)
	e.Digest = img.Digest
	return tx.Append(e)
}

// DeleteManifest deletes an image by digest, with all its tags, or one tag and
// nothing else (OCI Distribution 1.1, end-9).
// Errors: ImageNotFound; LayerReferenced if an index names the image.
func (r *Registry) DeleteManifest(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID) error {
	return r.update(ctx, c, "ecr:BatchDeleteImage", id, func(tx *meta.Tx, repo *ecr.Repository) error {
		if ref.Tag != "" {
			img, err := findImage(tx, repo, ref)
			if err != nil {
				return err
			}
			return r.untag(tx, c, repo, img, ref.Tag)
		}
		_, refused, err := r.deleteOne(tx, c, repo, ref)
		if err == nil && refused != nil {
			return ecr.Errorf(ecr.LayerReferenced, "%s", refused.Reason)
		}
		return err
	})
}
