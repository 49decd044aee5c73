package replicate

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/oci"
)

const (
	// maxDepth bounds how deep indexes and subjects are followed.
	maxDepth = 10
	// layersAtOnce is how many layers of one image are sent at a time.
	layersAtOnce = 3
)

// A copier sends the images of one repository to one destination.
type copier struct {
	*remote
	r    *Replicator
	repo ecr.RepositoryID
}

func (r *Replicator) copier(t *target, repo ecr.RepositoryID, to ecr.Destination) *copier {
	return &copier{&remote{t: t, from: repo.Account, to: to, now: r.now}, r, repo}
}

// send makes the destination have an image and, if its tag is on it now, the
// tag. Errors: errGone; *refusal; *unreachable; any other is the source's.
func (c *copier) send(ctx context.Context, image ecr.ImageID) error {
	if image.Tag != "" { // for as long as it is read here and set there
		unlock, err := c.r.tags.lock(ctx, c.to.String()+"/"+c.repo.Account+"/"+c.repo.Name+":"+image.Tag)
		if err != nil {
			return err
		}
		defer unlock()
	}
	tag, err := c.current(ctx, image)
	if err != nil {
		return err
	}
	return c.image(ctx, image.Digest, tag, 0)
}

// current returns the tag of image if it points at it, else "".
func (c *copier) current(ctx context.Context, image ecr.ImageID) (tag string, err error) {
	if image.Tag == "" {
		return "", nil
	}
	m, err := c.r.reg.ReplicationImage(ctx, c.repo, ecr.ImageID{Tag: image.Tag})
	if gone(err) || err == nil && m.Digest != image.Digest {
		return "", nil
	}
	return image.Tag, err
}

// gone reports whether an error of the source means that there is nothing to
// send.
func gone(err error) bool {
	e, ok := errors.AsType[*ecr.Error](err)
	return ok && (e.Code == ecr.ImageNotFound || e.Code == ecr.RepositoryNotFound)
}

func (c *copier) manifestPath(ref string) string {
	return "/v2/" + c.repo.Name + "/manifests/" + ref
}

// accept is every type of manifest.
const accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, " +
	"application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*"

// has returns the digest that the destination has under ref, or "".
func (c *copier) has(ctx context.Context, ref string) (digest string, err error) {
	a, err := c.want(ctx, []int{http.StatusOK, http.StatusNotFound}, http.MethodHead, c.manifestPath(ref), nil, "Accept", accept)
	if err != nil || a.status == http.StatusNotFound {
		return "", err
	}
	if digest = a.header.Get("Docker-Content-Digest"); digest == "" && oci.Digest(ref).Algorithm() != "" {
		digest = ref
	}
	return digest, nil
}

// image sends an image with all that it needs, and points tag at it, if that is
// not "".
func (c *copier) image(ctx context.Context, digest, tag string, depth int) error {
	if depth > maxDepth {
		return &refusal{Code: "TooDeep", Message: "the image's indexes and subjects are nested too deep"}
	}
	unlock, err := c.r.images.lock(ctx, c.to.String()+"/"+c.repo.Account+"/"+c.repo.Name+"@"+digest)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := c.r.reg.ReplicationImage(ctx, c.repo, ecr.ImageID{Digest: digest})
	if gone(err) {
		return errGone
	}
	if err != nil {
		return err
	}
	there, err := c.has(ctx, digest)
	if err != nil {
		return err
	}
	if there == "" {
		if err := c.needs(ctx, m, depth); err != nil {
			return err
		}
	} else if tag == "" {
		return nil
	}
	return c.put(ctx, m, tag, there != "")
}

// needs sends what an image refers to.
func (c *copier) needs(ctx context.Context, m *ecr.Manifest, depth int) error {
	parsed, err := oci.Parse(m.Payload, m.MediaType)
	if err != nil {
		return &refusal{Code: "InvalidManifest", Message: err.Error()}
	}
	if parsed.Subject != nil {
		err := c.image(ctx, string(parsed.Subject.Digest), "", depth+1)
		if err != nil && !errors.Is(err, errGone) { // a subject need not exist
			return err
		}
	}
	for _, child := range parsed.Manifests {
		if err := c.image(ctx, string(child.Digest), "", depth+1); err != nil {
			if no, ok := errors.AsType[*refusal](err); ok {
				return &refusal{no.Status, no.Code, "image " + string(child.Digest) + " of the index: " + no.Message, true}
			}
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(layersAtOnce)
	seen := map[oci.Digest]bool{}
	for _, layer := range parsed.Blobs() {
		if seen[layer.Digest] {
			continue
		}
		seen[layer.Digest] = true
		group.Go(func() error { return c.layer(ctx, string(layer.Digest)) })
	}
	return group.Wait()
}

// put sends a manifest whose needs are there, under its tag or its digest. A
// tag that is immutable there, and taken, stays: the image lands without it
// (ECR user guide, "Private image replication").
func (c *copier) put(ctx context.Context, m *ecr.Manifest, tag string, there bool) error {
	ref := m.Digest
	if tag != "" {
		now, err := c.has(ctx, tag)
		if err != nil || now == m.Digest {
			return err
		}
		ref = tag
	}
	_, err := c.want(ctx, []int{http.StatusCreated}, http.MethodPut, c.manifestPath(ref), payloadBody(m.Payload), "Content-Type", m.MediaType)
	if no, ok := errors.AsType[*refusal](err); ok && tag != "" && no.Code == "TAG_INVALID" {
		if there {
			return nil
		}
		return c.put(ctx, m, "", false)
	}
	if err == nil {
		c.r.metrics.sent(c.to, int64(len(m.Payload)))
	}
	return err
}

// deletions takes from the destination what the source no longer has: the tag,
// or, if there is none, the image.
func (c *copier) deletions(ctx context.Context, image ecr.ImageID) error {
	ref := ecr.ImageID{Tag: image.Tag}
	path := c.manifestPath(image.Tag)
	if image.Tag == "" {
		ref, path = ecr.ImageID{Digest: image.Digest}, c.manifestPath(image.Digest)
	}
	unlock, err := c.r.images.lock(ctx, c.to.String()+"/"+c.repo.Account+"/"+c.repo.Name+"@"+image.Digest)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = c.r.reg.ReplicationImage(ctx, c.repo, ref)
	if e, ok := errors.AsType[*ecr.Error](err); !gone(err) || ok && e.Err != nil { // what is archived is there
		return nil
	}
	_, err = c.want(ctx, []int{http.StatusAccepted, http.StatusOK, http.StatusNotFound}, http.MethodDelete, path, nil)
	if no, ok := errors.AsType[*refusal](err); ok {
		c.r.log.WarnContext(ctx, "a deletion was refused", "repository", c.repo.Name, "digest", image.Digest, "tag", image.Tag, "destination", c.to, "code", no.Code, "reason", no.Message)
		return nil
	}
	return err
}
