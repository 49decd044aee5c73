package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

// partSize is the size of layer parts that InitiateLayerUpload recommends, in
// bytes.
const partSize = 10 << 20

func (s *Server) batchCheckLayerAvailability(ctx context.Context, c call, in *sdk.BatchCheckLayerAvailabilityInput) (*sdk.BatchCheckLayerAvailabilityOutput, error) {
	layers, failures, err := s.reg.CheckLayers(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), in.LayerDigests)
	if err != nil {
		return nil, err
	}
	return &sdk.BatchCheckLayerAvailabilityOutput{Layers: rpc.Each(layers, layer), Failures: rpc.Each(failures, layerFailure)}, nil
}

func (s *Server) getDownloadURLForLayer(ctx context.Context, c call, in *sdk.GetDownloadUrlForLayerInput) (*sdk.GetDownloadUrlForLayerOutput, error) {
	link, l, err := s.reg.LayerURL(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), *in.LayerDigest)
	if err != nil {
		return nil, err
	}
	url := c.base + link
	return &sdk.GetDownloadUrlForLayerOutput{LayerDigest: &l.Digest, DownloadUrl: &url}, nil
}

func (s *Server) initiateLayerUpload(ctx context.Context, c call, in *sdk.InitiateLayerUploadInput) (*sdk.InitiateLayerUploadOutput, error) {
	u, err := s.reg.InitiateUpload(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName))
	if err != nil {
		return nil, err
	}
	size := int64(partSize)
	return &sdk.InitiateLayerUploadOutput{UploadId: &u.ID, PartSize: &size}, nil
}

func (s *Server) uploadLayerPart(ctx context.Context, c call, in *sdk.UploadLayerPartInput) (*sdk.UploadLayerPartOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	u, err := s.reg.UploadLayerPart(ctx, c.Caller, id, *in.UploadId, *in.PartFirstByte, *in.PartLastByte, in.LayerPartBlob)
	if err != nil {
		return nil, err
	}
	last := u.Size - 1
	return &sdk.UploadLayerPartOutput{RegistryId: &id.Account, RepositoryName: &id.Name, UploadId: in.UploadId, LastByteReceived: &last}, nil
}

func (s *Server) completeLayerUpload(ctx context.Context, c call, in *sdk.CompleteLayerUploadInput) (*sdk.CompleteLayerUploadOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	l, err := s.reg.CompleteLayerUpload(ctx, c.Caller, id, *in.UploadId, in.LayerDigests)
	if err != nil {
		return nil, err
	}
	return &sdk.CompleteLayerUploadOutput{RegistryId: &id.Account, RepositoryName: &id.Name, UploadId: in.UploadId, LayerDigest: &l.Digest}, nil
}

func layer(l ecr.Layer) types.Layer {
	if !l.Available {
		return types.Layer{LayerDigest: &l.Digest, LayerAvailability: types.LayerAvailabilityUnavailable}
	}
	return types.Layer{LayerDigest: &l.Digest, LayerSize: &l.Size, LayerAvailability: types.LayerAvailabilityAvailable}
}

func layerFailure(f ecr.LayerFailure) types.LayerFailure {
	return types.LayerFailure{LayerDigest: &f.Digest, FailureCode: types.LayerFailureCode(f.Code), FailureReason: rpc.Opt(f.Reason)}
}
