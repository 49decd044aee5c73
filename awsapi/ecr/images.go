package ecrapi

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

func (s *Server) putImage(ctx context.Context, c call, in *sdk.PutImageInput) (*sdk.PutImageOutput, error) {
	m, err := s.reg.PutImage(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), registry.PutImageInput{
		Manifest:  []byte(*in.ImageManifest),
		MediaType: rpc.Str(in.ImageManifestMediaType),
		Tag:       rpc.Str(in.ImageTag),
		Digest:    rpc.Str(in.ImageDigest),
	})
	if err != nil {
		return nil, err
	}
	out := image(*m)
	return &sdk.PutImageOutput{Image: &out}, nil
}

func (s *Server) batchGetImage(ctx context.Context, c call, in *sdk.BatchGetImageInput) (*sdk.BatchGetImageOutput, error) {
	images, failures, err := s.reg.BatchGetImage(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), rpc.Each(in.ImageIds, imageIDIn), in.AcceptedMediaTypes)
	if err != nil {
		return nil, err
	}
	return &sdk.BatchGetImageOutput{Images: rpc.Each(images, image), Failures: rpc.Each(failures, imageFailure)}, nil
}

func (s *Server) batchDeleteImage(ctx context.Context, c call, in *sdk.BatchDeleteImageInput) (*sdk.BatchDeleteImageOutput, error) {
	ids, failures, err := s.reg.BatchDeleteImage(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), rpc.Each(in.ImageIds, imageIDIn))
	if err != nil {
		return nil, err
	}
	return &sdk.BatchDeleteImageOutput{ImageIds: rpc.Each(ids, imageID), Failures: rpc.Each(failures, imageFailure)}, nil
}

func (s *Server) describeImages(ctx context.Context, c call, in *sdk.DescribeImagesInput) (*sdk.DescribeImagesOutput, error) {
	if err := exclusive("imageIds", in.ImageIds, in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	var filter ecr.ImageFilter
	if f := in.Filter; f != nil {
		filter = ecr.ImageFilter{TagStatus: string(f.TagStatus), Status: string(f.ImageStatus)}
	}
	images, next, err := s.reg.DescribeImages(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), rpc.Each(in.ImageIds, imageIDIn), filter, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeImagesOutput{ImageDetails: rpc.Each(images, imageDetail), NextToken: rpc.Opt(next)}, nil
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
	return &sdk.ListImagesOutput{ImageIds: rpc.Each(ids, imageID), NextToken: rpc.Opt(next)}, nil
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
	refs, next, err := s.reg.ListImageReferrers(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), rpc.Str(in.SubjectId.ImageDigest), artifactTypes, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &sdk.ListImageReferrersOutput{Referrers: []types.ImageReferrer{}, NextToken: rpc.Opt(next)}
	for _, ref := range refs {
		if status == types.ArtifactStatusFilterAny || string(status) == string(ref.Status) {
			out.Referrers = append(out.Referrers, referrer(ref))
		}
	}
	return out, nil
}

func imageIDIn(id types.ImageIdentifier) ecr.ImageID {
	return ecr.ImageID{Digest: rpc.Str(id.ImageDigest), Tag: rpc.Str(id.ImageTag)}
}

func imageID(id ecr.ImageID) types.ImageIdentifier {
	return types.ImageIdentifier{ImageDigest: rpc.Opt(id.Digest), ImageTag: rpc.Opt(id.Tag)}
}

func imageFailure(f ecr.ImageFailure) types.ImageFailure {
	id := imageID(f.ID)
	return types.ImageFailure{ImageId: &id, FailureCode: types.ImageFailureCode(f.Code), FailureReason: rpc.Opt(f.Reason)}
}

func image(m ecr.Manifest) types.Image {
	id, manifest := imageID(ecr.ImageID{Digest: m.Digest, Tag: m.Tag}), string(m.Payload)
	return types.Image{
		RegistryId: &m.Repository.Account, RepositoryName: &m.Repository.Name,
		ImageId: &id, ImageManifest: &manifest, ImageManifestMediaType: rpc.Opt(m.MediaType),
	}
}

func (s *Server) updateImageStorageClass(ctx context.Context, c call, in *sdk.UpdateImageStorageClassInput) (*sdk.UpdateImageStorageClassOutput, error) {
	ref := ecr.ImageID{Digest: rpc.Str(in.ImageId.ImageDigest), Tag: rpc.Str(in.ImageId.ImageTag)}
	img, err := s.reg.UpdateImageStorageClass(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), ref, in.TargetStorageClass == types.TargetStorageClassArchive)
	if err != nil {
		return nil, err
	}
	return &sdk.UpdateImageStorageClassOutput{
		RegistryId: &img.Repository.Account, RepositoryName: &img.Repository.Name, ImageStatus: types.ImageStatus(img.Status),
		ImageId: &types.ImageIdentifier{ImageDigest: &img.Digest, ImageTag: in.ImageId.ImageTag},
	}, nil
}

func imageDetail(m *ecr.Image) types.ImageDetail {
	status, summary := scanSummary(m.Scan)
	return types.ImageDetail{
		ImageScanStatus: status, ImageScanFindingsSummary: summary,
		RegistryId: &m.Repository.Account, RepositoryName: &m.Repository.Name,
		ImageDigest: &m.Digest, ImageTags: m.Tags, ImageSizeInBytes: &m.Size,
		ImagePushedAt: &m.PushedAt, LastRecordedPullTime: when(m.LastPulledAt),
		ImageManifestMediaType: rpc.Opt(m.MediaType), ArtifactMediaType: rpc.Opt(m.ArtifactType),
		LastArchivedAt: when(m.ArchivedAt), LastActivatedAt: when(m.ActivatedAt),
		ImageStatus: types.ImageStatus(m.Status), SubjectManifestDigest: rpc.Opt(m.Subject),
	}
}

func referrer(m *ecr.Image) types.ImageReferrer {
	return types.ImageReferrer{
		Digest: &m.Digest, MediaType: &m.MediaType, Size: &m.ManifestSize,
		ArtifactType: rpc.Opt(m.ArtifactType), Annotations: m.Annotations,
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
