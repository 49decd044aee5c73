package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

var (
	digestForm = regexp.MustCompile(`^[a-zA-Z0-9\-_+.]+:[a-fA-F0-9]+$`)
	tagForm    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// PutImageInput is one manifest to push.
type PutImageInput struct {
	Manifest  []byte
	MediaType string // "" means the manifest's own mediaType
	Tag       string // "" means by digest only
	MoreTags  []string
	Digest    string // "" or the expected digest, which the image then keeps: sha256 or sha512
}

// maxTags bounds MoreTags.
const maxTags = 50

// tags returns the tags to set, each once.
func (in *PutImageInput) tags() (tags []string) {
	if in.Tag != "" {
		tags = append(tags, in.Tag)
	}
	for _, t := range in.MoreTags {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

// PutImage stores a manifest and points its tags at it, in one transaction. Its
// layers must be linked in the repository, its children (of an index) must be
// images of it; a subject need not exist. A repository that does not exist is
// created if a template says so.
//
// Errors: RepositoryNotFound, InvalidManifest, ImageDigestDoesNotMatch,
// LayersNotFound, ReferencedImagesNotFound, ImageTagAlreadyExists (the tag is
// immutable), LimitExceeded. An image that stands already as it is pushed is
// returned with ImageAlreadyExists; nothing changes then.
func (r *Registry) PutImage(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, in PutImageInput) (*ecr.Manifest, error) {
	const action = "ecr:PutImage"
	if len(in.MoreTags) > maxTags {
		return nil, ecr.InvalidParam("imageTag", fmt.Sprintf("a push has at most %d tags", maxTags))
	}
	for _, tag := range in.tags() {
		if !tagForm.MatchString(tag) {
			return nil, ecr.InvalidParam("imageTag", "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
		}
	}
	p, err := r.parse(id, in)
	if err != nil {
		return nil, err
	}
	if err := r.ensure(ctx, c, action, id); err != nil {
		return nil, err
	}
	var img *ecr.Image
	var exists error
	err = r.updateKeeping(ctx, c, action, id, nil, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		img, exists, err = r.put(tx, c, repo, p)
		return err
	})
	r.cache.dropTags(id, in.tags())
	if err != nil {
		return nil, err
	}
	img.Repository = id
	return &ecr.Manifest{Image: *img, Tag: in.Tag, Payload: in.Manifest}, exists
}

// A push is a manifest that has been read.
type push struct {
	in       PutImageInput
	manifest *oci.Manifest
	image    ecr.Image // but for its record, its size as an index, and the time
	layers   map[string]int64
	digests  []string // of layers
	children []string
	pushedAt time.Time // zero: now
}

// parse reads and checks what can be checked of a manifest by itself.
func (r *Registry) parse(id ecr.RepositoryID, in PutImageInput) (*push, error) {
	m, err := oci.Parse(in.Manifest, in.MediaType)
	if err != nil {
		return nil, &ecr.Error{Code: ecr.InvalidManifest, Message: "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '" + err.Error() + "'"}
	}
	algorithm := "sha256"
	if in.Digest != "" {
		d, err := oci.ParseDigest(in.Digest)
		if err != nil {
			return nil, ecr.InvalidParam("imageDigest", "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
		}
		algorithm = d.Algorithm()
	}
	digest := string(oci.Of(algorithm, in.Manifest))
	if in.Digest != "" && in.Digest != digest {
		return nil, ecr.Errorf(ecr.ImageDigestDoesNotMatch,
			"The image with digest '%s' in repository '%s' and registry ID '%s' does not match the image digest that Amazon ECR has calculated.", in.Digest, id.Name, id.Account)
	}
	p := &push{in: in, manifest: m, layers: map[string]int64{}}
	p.image = ecr.Image{
		Digest: digest, MediaType: m.MediaType, ArtifactType: m.EffectiveArtifactType(),
		ManifestSize: int64(len(in.Manifest)), Status: ecr.ImageActive,
	}
	if m.Subject != nil {
		p.image.Subject, p.image.Annotations = string(m.Subject.Digest), m.Annotations
	}
	for _, d := range m.Blobs() {
		if size, ok := p.layers[string(d.Digest)]; ok && size != d.Size {
			return nil, ecr.Errorf(ecr.InvalidManifest, "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'layer %s has two sizes'", d.Digest)
		} else if ok {
			continue
		}
		p.layers[string(d.Digest)] = d.Size
		p.digests = append(p.digests, string(d.Digest))
		p.image.Size += d.Size
	}
	for _, d := range m.Manifests {
		p.children = append(p.children, string(d.Digest))
	}
	return p, nil
}

// put stores p. It returns the image, and ImageAlreadyExists as exists if
// nothing had to change. The first event of a fresh image is ImagePushed, any
// further tag is an ImageTagged.
func (r *Registry) put(tx *meta.Tx, c ecr.Caller, repo *ecr.Repository, p *push) (img *ecr.Image, exists, err error) {
	img, err = tx.Image(repo.Row, p.image.Digest)
	fresh := errors.Is(err, meta.ErrNotFound)
	if fresh {
		img, err = r.insert(tx, repo, p)
	}
	if err != nil {
		return nil, nil, err
	}
	if img.Status == ecr.ImageArchived {
		img.Repository = repo.ID
		if err := r.restore(tx, c, "ecr:PutImage", img); err != nil {
			return nil, nil, err
		}
	}
	var moved []string
	for _, tag := range p.in.tags() {
		if did, err := r.moveTag(tx, repo, img, tag, fresh); err != nil {
			return nil, nil, err
		} else if did {
			moved = append(moved, tag)
		}
	}
	if !fresh && moved == nil {
		return img, ecr.Errorf(ecr.ImageAlreadyExists, "Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'",
			img.Digest, orNull(p.in.Tag), repo.ID.Name, repo.ID.Account), nil
	}
	e := r.event(c, ecr.ImageTagged, "ecr:PutImage", repo.ID)
	e.Digest = img.Digest
	if fresh {
		e.Type = ecr.ImagePushed
		if moved == nil {
			moved = []string{""}
		}
	}
	for _, e.Tag = range moved {
		if err := tx.Append(e); err != nil {
			return nil, nil, err
		}
		if err := r.replicated(tx, e); err != nil {
			return nil, nil, err
		}
		e.Type = ecr.ImageTagged
	}
	return img, nil, nil
}

// moveTag points a tag at an image, if it may; moved is false if it was there.
func (r *Registry) moveTag(tx *meta.Tx, repo *ecr.Repository, img *ecr.Image, tag string, fresh bool) (moved bool, err error) {
	before, err := tx.PutTag(repo.Row, tag, img.Row, r.now(), fresh)
	if err != nil {
		return false, err
	}
	if before != 0 && repo.TagImmutable(tag) {
		return false, ecr.Errorf(ecr.ImageTagAlreadyExists,
			"The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the repository is immutable.", tag, repo.ID.Name)
	}
	if before == img.Row || fresh { // a fresh image has fewer tags than one push can give
		return before != img.Row, nil
	}
	return true, r.checkTags(tx, img)
}

func orNull(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

func (r *Registry) checkTags(tx *meta.Tx, img *ecr.Image) error {
	n, err := tx.CountTags(img.Row)
	if err == nil && n > r.cfg.Limits.TagsPerImage {
		return ecr.Errorf(ecr.LimitExceeded, "The maximum number of tags per image (%d) has been reached for the image with digest '%s'", r.cfg.Limits.TagsPerImage, img.Digest)
	}
	return err
}

// insert checks what p refers to and inserts the image.
func (r *Registry) insert(tx *meta.Tx, repo *ecr.Repository, p *push) (*ecr.Image, error) {
	if repo.ImageCount >= r.cfg.Limits.ImagesPerRepository {
		return nil, ecr.Errorf(ecr.LimitExceeded, "The maximum number of images per repository (%d) has been reached in the repository with name '%s' in the registry with id '%s'",
			r.cfg.Limits.ImagesPerRepository, repo.ID.Name, repo.ID.Account)
	}
	links, err := r.needLayers(tx, repo, p)
	if err != nil {
		return nil, err
	}
	children, err := r.needChildren(tx, repo, p)
	if err != nil {
		return nil, err
	}
	img := p.image
	img.PushedAt, img.Tags = p.pushedAt, p.in.tags()
	if img.PushedAt.IsZero() {
		img.PushedAt = r.now()
	}
	for _, child := range children {
		img.Size = max(img.Size, child.Size)
	}
	return &img, tx.InsertImage(repo.Row, &img, p.in.Manifest, links, children)
}

// needLayers returns the links to the layers of p, which stay until the
// transaction ends.
func (r *Registry) needLayers(tx *meta.Tx, repo *ecr.Repository, p *push) ([]meta.Link, error) {
	links, err := tx.LockLinks(repo.Row, p.digests)
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool, len(links))
	for _, l := range links {
		found[l.Layer.Digest] = true
		if size := p.layers[l.Layer.Digest]; size != l.Layer.Size {
			return nil, ecr.Errorf(ecr.InvalidManifest, "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'layer %s has %d bytes, the manifest says %d'",
				l.Layer.Digest, l.Layer.Size, size)
		}
	}
	if missing := without(p.digests, found); missing != nil {
		return nil, ecr.Errorf(ecr.LayersNotFound, "Layers with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
			strings.Join(missing, ", "), repo.ID.Name, repo.ID.Account)
	}
	return links, nil
}

func (r *Registry) needChildren(tx *meta.Tx, repo *ecr.Repository, p *push) (children []meta.Child, err error) {
	found := make(map[string]bool, len(p.children))
	for start := 0; start < len(p.children); start += 256 {
		part, err := tx.Children(repo.Row, p.children[start:min(start+256, len(p.children))])
		if err != nil {
			return nil, err
		}
		for _, child := range part {
			if !found[child.Digest] {
				children = append(children, child)
			}
			found[child.Digest] = true
		}
	}
	if missing := without(p.children, found); missing != nil {
		return nil, ecr.Errorf(ecr.ReferencedImagesNotFound, "Images with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
			strings.Join(missing, ", "), repo.ID.Name, repo.ID.Account)
	}
	return children, nil
}

// without returns what of want is not found, twenty at most and then a count.
func without(want []string, found map[string]bool) (missing []string) {
	for _, d := range want {
		if !found[d] {
			missing = append(missing, d)
		}
	}
	if len(missing) > 20 {
		missing = append(missing[:20], fmt.Sprintf("and %d more", len(missing)-20))
	}
	return missing
}
