package ecrapi

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

func (s *Server) putImage(ctx context.Context, c call, in *sdk.PutImageInput) (*sdk.PutImageOutput, error) {
	m, err := s.reg.PutImage(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), registry.PutImageInput{
		Manifest:  []byte(*in.ImageManifest),
		MediaType: str(in.ImageManifestMediaType),
		Tag:       str(in.ImageTag),
		Digest:    str(in.ImageDigest),
	})
	if err != nil {
		return nil, err
	}
	out := image(*m)
	return &sdk.PutImageOutput{Image: &out}, nil
}

func (s *Server) batchGetImage(ctx context.Context, c call, in *sdk.BatchGetImageInput) (*sdk.BatchGetImageOutput, error) {
	images, failures, err := s.reg.BatchGetImage(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), each(in.ImageIds, imageIDIn), in.AcceptedMediaTypes)
	if err != nil {
		return nil, err
	}
	return &sdk.BatchGetImageOutput{Images: each(images, image), Failures: each(failures, imageFailure)}, nil
}

func (s *Server) batchDeleteImage(ctx context.Context, c call, in *sdk.BatchDeleteImageInput) (*sdk.BatchDeleteImageOutput, error) {
	ids, failures, err := s.reg.BatchDeleteImage(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), each(in.ImageIds, imageIDIn))
	if err != nil {
		return nil, err
	}
	return &sdk.BatchDeleteImageOutput{ImageIds: each(ids, imageID), Failures: each(failures, imageFailure)}, nil
}

func (s *Server) describeImages(ctx context.Context, c call, in *sdk.DescribeImagesInput) (*sdk.DescribeImagesOutput, error) {
	if err := exclusive("imageIds", in.ImageIds, in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	var filter ecr.ImageFilter
	if f := in.Filter; f != nil {
		filter = ecr.ImageFilter{TagStatus: string(f.TagStatus), Status: string(f.ImageStatus)}
	}
	images, next, err := s.reg.DescribeImages(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), each(in.ImageIds, imageIDIn), filter, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeImagesOutput{ImageDetails: each(images, imageDetail), NextToken: opt(next)}, nil
}

func (s *Server) listImages(ctx context.Context, c call, in *sdk.ListImagesInput) (*sdk.ListImagesOutput, error) {
	var filter ecr.ImageFilter
	if f := in.Filter; f != nil {
		filter = ecr.ImageFilter{TagStatus: string(f.TagStatus), Status: string(f.ImageStatus)}
	}
	ids, next, err := s.reg.ListImages(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), filter, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.ListImagesOutput{ImageIds: each(ids, imageID), NextToken: opt(next)}, nil
}

// listImageReferrers filters by status after paging, so that a page may be
// short; nextToken alone says whether the list goes on.
func (s *Server) listImageReferrers(ctx context.Context, c call, in *sdk.ListImageReferrersInput) (*sdk.ListImageReferrersOutput, error) {
	status := types.ArtifactStatusFilterActive
	var artifactTypes []string
	if f := in.Filter; f != nil {
		artifactTypes = f.ArtifactTypes
		if f.ArtifactStatus != "" {
			status = f.ArtifactStatus
		}
	}
	refs, next, err := s.reg.ListImageReferrers(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), str(in.SubjectId.ImageDigest), artifactTypes, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &sdk.ListImageReferrersOutput{Referrers: []types.ImageReferrer{}, NextToken: opt(next)}
	for _, ref := range refs {
		if status == types.ArtifactStatusFilterAny || string(status) == string(ref.Status) {
			out.Referrers = append(out.Referrers, referrer(ref))
		}
	}
	return out, nil
}

func imageIDIn(id types.ImageIdentifier) ecr.ImageID {
	return ecr.ImageID{Digest: str(id.ImageDigest), Tag: str(id.ImageTag)}
}

func imageID(id ecr.ImageID) types.ImageIdentifier {
	return types.ImageIdentifier{ImageDigest: opt(id.Digest), ImageTag: opt(id.Tag)}
}

func imageFailure(f ecr.ImageFailure) types.ImageFailure {
	id := imageID(f.ID)
	return types.ImageFailure{ImageId: &id, FailureCode: types.ImageFailureCode(f.Code), FailureReason: opt(f.Reason)}
}

func image(m ecr.Manifest) types.Image {
	id, manifest := imageID(ecr.ImageID{Digest: m.Digest, Tag: m.Tag}), string(m.Payload)
	return types.Image{
		RegistryId: &m.Repository.Account, RepositoryName: &m.Repository.Name,
		ImageId: &id, ImageManifest: &manifest, ImageManifestMediaType: opt(m.MediaType),
	}
}

func imageDetail(m *ecr.Image) types.ImageDetail {
	return types.ImageDetail{
		RegistryId: &m.Repository.Account, RepositoryName: &m.Repository.Name,
		ImageDigest: &m.Digest, ImageTags: m.Tags, ImageSizeInBytes: &m.Size,
		ImagePushedAt: &m.PushedAt, LastRecordedPullTime: when(m.LastPulledAt),
		ImageManifestMediaType: opt(m.MediaType), ArtifactMediaType: opt(m.ArtifactType),
		ImageStatus: types.ImageStatus(m.Status), SubjectManifestDigest: opt(m.Subject),
	}
}

func referrer(m *ecr.Image) types.ImageReferrer {
	return types.ImageReferrer{
		Digest: &m.Digest, MediaType: &m.MediaType, Size: &m.ManifestSize,
		ArtifactType: opt(m.ArtifactType), Annotations: m.Annotations,
		ArtifactStatus: types.ArtifactStatus(m.Status),
	}
}

// when is a time that is left out when it is zero.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
