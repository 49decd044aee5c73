package registry

import (
	"context"
	"errors"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// errArchived marks the error of a pull of an archived image.
var errArchived = errors.New("the image is archived")

func archived(id ecr.RepositoryID, digest string) error {
	e := ecr.Errorf(ecr.ImageNotFound, "The image with digest '%s' in the repository with name '%s' is archived. Restore it (update-image-storage-class) to pull it.", digest, id.Name)
	e.Err = errArchived
	return e
}

// UpdateImageStorageClass archives an image, which can then be described but
// not pulled, or restores it, at once (ECR API, UpdateImageStorageClass). An
// image that is in the class already stays as it is.
// Errors: RepositoryNotFound, ImageNotFound, StorageClassNotSupported for an
// image that an index needs which is not archived.
func (r *Registry) UpdateImageStorageClass(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID, archive bool) (img *ecr.Image, err error) {
	if ref == (ecr.ImageID{}) {
		return nil, ecr.InvalidParam("imageId", "both tag and digest cannot be null")
	}
	const action = "ecr:UpdateImageStorageClass"
	err = r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
		if img, err = findImage(tx, repo, ref); err != nil {
			return err
		}
		if archive == (img.Status == ecr.ImageArchived) {
			return nil
		}
		if !archive {
			return r.restore(tx, c, action, img)
		}
		needed, err := tx.InActiveIndex(img.Row)
		if err != nil {
			return err
		}
		if needed {
			return ecr.Errorf(ecr.StorageClassNotSupported, "The image with digest '%s' is referenced by a manifest list: archive that first", img.Digest)
		}
		return r.archive(tx, c, action, img)
	})
	return img, err
}

func (r *Registry) archive(tx *meta.Tx, c ecr.Caller, action string, img *ecr.Image) error {
	img.Status, img.ArchivedAt = ecr.ImageArchived, r.now()
	return r.setStatus(tx, c, ecr.StorageArchived, action, img)
}

// restore makes an archived image active; pushing it anew does so too.
func (r *Registry) restore(tx *meta.Tx, c ecr.Caller, action string, img *ecr.Image) error {
	img.Status, img.ActivatedAt = ecr.ImageActive, r.now()
	return r.setStatus(tx, c, ecr.StorageRestored, action, img)
}

func (r *Registry) setStatus(tx *meta.Tx, c ecr.Caller, t ecr.EventType, action string, img *ecr.Image) error {
	if err := tx.SetImageStatus(img); err != nil {
		return err
	}
	e := r.event(c, t, action, img.Repository)
	e.Digest = img.Digest
	return tx.Append(e)
}
