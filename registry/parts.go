package registry

import (
	"bytes"
	"context"
	"errors"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

// UploadLayerPart appends the bytes first to last, inclusive, which must follow
// those that are there (ECR API, UploadLayerPart).
// Errors: RepositoryNotFound, UploadNotFound, InvalidLayerPart, LimitExceeded.
func (r *Registry) UploadLayerPart(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, uploadID string, first, last int64, part []byte) (ecr.Upload, error) {
	s, _, err := r.acquire(ctx, c, actPart, id, uploadID)
	if err != nil {
		return ecr.Upload{}, err
	}
	defer r.release(uploadID, s)
	if last-first+1 != int64(len(part)) {
		return s.up.Upload, partError(s.up, "The part has another length than partFirstByte and partLastByte say")
	}
	if s.up.ShortPart {
		return s.up.Upload, partTooSmall()
	}
	if err := checkOffset(s.up, first); err != nil {
		return s.up.Upload, err
	}
	s.up.ShortPart = int64(len(part)) < r.cfg.Limits.MinPartBytes
	return r.append(ctx, s, first, bytes.NewReader(part), int64(len(part)))
}

func partError(up *meta.Upload, message string) error {
	return &ecr.Error{Code: ecr.InvalidLayerPart, Message: message, Members: map[string]any{
		"lastValidByteReceived": up.Size - 1, "uploadId": up.ID, "registryId": up.Repository.Account, "repositoryName": up.Repository.Name}}
}

func partTooSmall() error {
	return ecr.Errorf(ecr.LayerPartTooSmall, "All layer parts except the last part should be at least 5MB")
}

// CompleteLayerUpload ends an upload that came in parts (ECR API,
// CompleteLayerUpload); one of digests must be that of its bytes.
// Errors: RepositoryNotFound, UploadNotFound, EmptyUpload, InvalidLayer,
// LayerAlreadyExists if the repository has the layer, which ends the upload
// too.
func (r *Registry) CompleteLayerUpload(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, uploadID string, digests []string) (ecr.Layer, error) {
	for _, d := range digests {
		if _, err := oci.ParseDigest(d); err != nil {
			return ecr.Layer{}, invalidDigest(d)
		}
	}
	s, e, err := r.acquire(ctx, c, actComplete, id, uploadID)
	if err != nil {
		return ecr.Layer{}, err
	}
	defer r.release(uploadID, s)
	if len(digests) == 0 {
		return ecr.Layer{}, ecr.InvalidParam("layerDigests", "Member must have length greater than or equal to 1")
	}
	if s.up.Size == 0 {
		return ecr.Layer{}, ecr.Errorf(ecr.EmptyUpload, "The upload with id '%s' has no bytes", uploadID)
	}
	rc, err := r.receive(ctx, s.up, "sha256", nil, 0)
	if err != nil {
		return ecr.Layer{}, r.abandon(s, rc, err)
	}
	sum := string(oci.Of("sha256", rc.data))
	if rc.w != nil {
		sum = string(oci.Sum("sha256", rc.h))
	}
	_, err = r.link(ctx, e, sum)
	var known *ecr.Error
	if err != nil && (!errors.As(err, &known) || known.Code != ecr.LayersNotFound) {
		return ecr.Layer{}, r.abandon(s, rc, err)
	}
	exists := err == nil
	layer, err := r.finish(ctx, c, s, rc, digests)
	if err == nil && exists {
		return layer, ecr.Errorf(ecr.LayerAlreadyExists, "The layer with digest '%s' already exists in the repository with name '%s' in the registry with id '%s'", layer.Digest, id.Name, id.Account)
	}
	return layer, err
}
