package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
	"github.com/ecruhq/ecru/vuln"
)

// AttachTag is the resource tag of a repository that has bills of materials
// attached to the images that are scanned: cyclonedx, spdx, or both with a comma
// between.
const AttachTag = "ecru:attach-sbom"

const (
	emptyType = "application/vnd.oci.empty.v1+json"
	empty     = "{}"
)

// attachTypes are the media types of the documents that a repository wants.
func attachTypes(tags []ecr.Tag) (types []string) {
	for _, t := range tags {
		if t.Key != AttachTag {
			continue
		}
		for _, format := range strings.FieldsFunc(t.Value, func(c rune) bool { return strings.ContainsRune(",/ ", c) }) {
			switch strings.ToLower(format) {
			case "cyclonedx":
				types = append(types, vuln.CycloneDXType)
			case "spdx":
				types = append(types, vuln.SPDXType)
			}
		}
	}
	return types
}

// AttachSBOMs attaches to an image that has been scanned the bills of materials
// that its repository wants, as referrers like any other (OCI Distribution 1.1).
// The same inventory makes the same bytes: to attach it again changes nothing.
func (r *Registry) AttachSBOMs(ctx context.Context, p *ScanPlan) error {
	var inv *Inventory
	var types []string
	var img *ecr.Image
	err := r.db.View(ctx, func(tx *meta.Tx) error {
		i, repo, err := tx.ImageOf(p.Image.Row)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		img = i
		if types = attachTypes(repo.Tags); types == nil {
			return nil
		}
		inv, err = inventory(tx, img.Row)
		if errors.Is(err, meta.ErrNotFound) {
			types = nil
			return nil
		}
		return err
	})
	if err != nil || len(types) == 0 || inv.Sourced || len(inv.Packages) == 0 {
		return err
	}
	for _, t := range types {
		if err := r.attach(ctx, img, inv, t); err != nil {
			return err
		}
	}
	return nil
}

// attach pushes one document, as the server.
func (r *Registry) attach(ctx context.Context, img *ecr.Image, inv *Inventory, mediaType string) error {
	document, err := inv.document(img, mediaType)
	if err != nil {
		return err
	}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	describe := func(t string, b []byte) descriptor {
		return descriptor{t, string(oci.Of("sha256", b)), int64(len(b))}
	}
	created := inv.Config.Created
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	manifest, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType"`
		Config        descriptor        `json:"config"`
		Layers        []descriptor      `json:"layers"`
		Subject       descriptor        `json:"subject"`
		Annotations   map[string]string `json:"annotations"`
	}{
		2, oci.MediaTypeManifest, mediaType, describe(emptyType, []byte(empty)), []descriptor{describe(mediaType, document)},
		descriptor{img.MediaType, img.Digest, img.ManifestSize},
		map[string]string{"org.opencontainers.image.created": created.UTC().Format(time.RFC3339), "ecru.source": "scan"},
	})
	if err != nil {
		return err
	}
	return r.putOwn(ctx, img.Repository, manifest, []byte(empty), document)
}

// putOwn pushes an artifact of the server's own making, as the account's root:
// what the policies of the repository or of the registry forbid is left.
func (r *Registry) putOwn(ctx context.Context, id ecr.RepositoryID, manifest []byte, blobs ...[]byte) error {
	c := scanner(id.Account)
	c.Root = true
	var err error
	for _, b := range blobs {
		if err == nil {
			_, err = r.UploadLayer(ctx, c, id, bytes.NewReader(b), int64(len(b)), string(oci.Of("sha256", b)))
		}
	}
	if err == nil {
		_, err = r.PutImage(ctx, c, id, PutImageInput{Manifest: manifest, MediaType: oci.MediaTypeManifest})
	}
	if isCode(err, ecr.ImageAlreadyExists) || isCode(err, ecr.RepositoryNotFound) || isCode(err, ecr.AccessDenied) {
		return nil
	}
	return err
}
