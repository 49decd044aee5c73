package registry

import (
	"context"
	"errors"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
	"github.com/ecruhq/ecru/vuln"
)

// isSBOM reports whether an image is a bill of materials of another.
func isSBOM(img *ecr.Image) bool {
	return img.Subject != "" && (img.ArtifactType == vuln.CycloneDXType || img.ArtifactType == vuln.SPDXType)
}

// rescanSubject has the image scanned that a bill of materials is of, if its
// layers tell nothing of what is in it.
func (r *Registry) rescanSubject(tx *meta.Tx, repo *ecr.Repository, sbom *ecr.Image) error {
	img, err := tx.Image(repo.Row, sbom.Subject)
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	cfg, err := scanConfiguration(tx, repo.ID.Account)
	if err != nil {
		return err
	}
	s, err := tx.Scan(img.Row, cfg.Type)
	if errors.Is(err, meta.ErrNotFound) || err == nil && s.Status != ecr.ScanUnsupported {
		return nil
	}
	if err != nil {
		return err
	}
	return r.request(tx, img, cfg.Type, true)
}

// AttachedSBOM returns the inventory that a bill of materials tells of which is
// attached to a plan's image; nil if there is none that can be read.
func (r *Registry) AttachedSBOM(ctx context.Context, p *ScanPlan) (*vuln.Image, error) {
	var payloads [][]byte
	err := r.db.View(ctx, func(tx *meta.Tx) error {
		payloads = nil
		repo, err := tx.Repository(p.Image.Repository)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		refs, err := tx.Referrers(repo.Row, p.Image.Digest, []string{vuln.CycloneDXType, vuln.SPDXType}, "", 20)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			b, err := tx.Payload(ref.Row)
			if err != nil {
				return err
			}
			payloads = append(payloads, b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, payload := range payloads {
		m, err := oci.Parse(payload, "")
		if err != nil || len(m.Layers) != 1 {
			continue
		}
		b, err := r.readBlob(ctx, string(m.Layers[0].Digest), vuln.MaxSBOM)
		if err != nil {
			return nil, err
		}
		if img, err := vuln.ReadSBOM(b); b != nil && err == nil {
			return img, nil
		}
	}
	return nil, nil
}

// ImageSBOM returns the packages of an image that was scanned as a document of a
// media type, vuln.CycloneDXType or vuln.SPDXType.
// Errors: RepositoryNotFound, ImageNotFound, ScanNotFound.
func (r *Registry) ImageSBOM(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID, mediaType string) (img *ecr.Image, inv *Inventory, document []byte, err error) {
	img, inv, err = r.inventoryOf(ctx, c, "ecr:GetImageSbom", id, ref)
	if err != nil {
		return nil, nil, nil, err
	}
	document, err = inv.document(img, mediaType)
	return img, inv, document, err
}

// document is the inventory as a bill of materials: the same bytes whenever it is
// made.
func (inv *Inventory) document(img *ecr.Image, mediaType string) ([]byte, error) {
	s := vuln.Subject{Repository: img.Repository.Name, Digest: img.Digest}
	if !inv.Config.Created.IsZero() {
		s.Created = inv.Config.Created.UnixMilli()
	}
	for _, l := range inv.Layers {
		s.Layers = append(s.Layers, l.Digest)
	}
	if mediaType == vuln.SPDXType {
		return inv.SPDX(s)
	}
	return inv.CycloneDX(s)
}

// ImageInventory returns what is in an image that was scanned.
// Errors: RepositoryNotFound, ImageNotFound, ScanNotFound.
func (r *Registry) ImageInventory(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID) (*ecr.Image, *Inventory, error) {
	return r.inventoryOf(ctx, c, "ecr:GetImageInventory", id, ref)
}

func (r *Registry) inventoryOf(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, ref ecr.ImageID) (img *ecr.Image, inv *Inventory, err error) {
	if ref == (ecr.ImageID{}) {
		return nil, nil, ecr.InvalidParam("imageId", "both tag and digest cannot be null")
	}
	err = r.view(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		if img, err = findImage(tx, repo, ref); err != nil {
			return err
		}
		if isIndex(img) {
			return ecr.InvalidParam("imageId", "The image is an index: name the digest of one of its images")
		}
		if inv, err = inventory(tx, img.Row); errors.Is(err, meta.ErrNotFound) {
			return scanNotFound(id, ref)
		}
		return err
	})
	return img, inv, err
}
