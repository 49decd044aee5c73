package ecrapi

import (
	"context"
	"math"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

func (s *Server) putLifecyclePolicy(ctx context.Context, c call, in *sdk.PutLifecyclePolicyInput) (*sdk.PutLifecyclePolicyOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	if err := s.reg.PutLifecyclePolicy(ctx, c.Caller, id, *in.LifecyclePolicyText); err != nil {
		return nil, err
	}
	return &sdk.PutLifecyclePolicyOutput{RegistryId: &id.Account, RepositoryName: &id.Name, LifecyclePolicyText: in.LifecyclePolicyText}, nil
}

func (s *Server) getLifecyclePolicy(ctx context.Context, c call, in *sdk.GetLifecyclePolicyInput) (*sdk.GetLifecyclePolicyOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	p, err := s.reg.GetLifecyclePolicy(ctx, c.Caller, id)
	if err != nil {
		return nil, err
	}
	return &sdk.GetLifecyclePolicyOutput{RegistryId: &id.Account, RepositoryName: &id.Name, LifecyclePolicyText: &p.Text, LastEvaluatedAt: evaluatedAt(p)}, nil
}

func (s *Server) deleteLifecyclePolicy(ctx context.Context, c call, in *sdk.DeleteLifecyclePolicyInput) (*sdk.DeleteLifecyclePolicyOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	p, err := s.reg.DeleteLifecyclePolicy(ctx, c.Caller, id)
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteLifecyclePolicyOutput{RegistryId: &id.Account, RepositoryName: &id.Name, LifecyclePolicyText: &p.Text, LastEvaluatedAt: evaluatedAt(p)}, nil
}

// evaluatedAt is when a policy was evaluated last: the year 1970, as at ECR,
// if it has not been.
func evaluatedAt(p ecr.LifecyclePolicy) *time.Time {
	t := p.EvaluatedAt
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return &t
}

func (s *Server) startLifecyclePolicyPreview(ctx context.Context, c call, in *sdk.StartLifecyclePolicyPreviewInput) (*sdk.StartLifecyclePolicyPreviewOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	p, err := s.reg.StartLifecyclePolicyPreview(ctx, c.Caller, id, rpc.Str(in.LifecyclePolicyText))
	if err != nil {
		return nil, err
	}
	return &sdk.StartLifecyclePolicyPreviewOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name, LifecyclePolicyText: &p.Policy, Status: types.LifecyclePolicyPreviewStatus(p.Status),
	}, nil
}

func (s *Server) getLifecyclePolicyPreview(ctx context.Context, c call, in *sdk.GetLifecyclePolicyPreviewInput) (*sdk.GetLifecyclePolicyPreviewOutput, error) {
	if err := exclusive("imageIds", in.ImageIds, in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	id := c.repository(in.RegistryId, in.RepositoryName)
	filter := ecr.PreviewFilter{IDs: rpc.Each(in.ImageIds, imageIDIn)}
	if in.Filter != nil {
		filter.TagStatus = string(in.Filter.TagStatus)
	}
	p, results, next, err := s.reg.GetLifecyclePolicyPreview(ctx, c.Caller, id, filter, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &sdk.GetLifecyclePolicyPreviewOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name, LifecyclePolicyText: &p.Policy, Status: types.LifecyclePolicyPreviewStatus(p.Status),
		PreviewResults: rpc.Each(results, previewResult), NextToken: rpc.Opt(next),
	}
	if p.Status == ecr.PreviewComplete {
		out.Summary = &types.LifecyclePolicyPreviewSummary{ExpiringImageTotalCount: count32(p.Expiring)}
		if p.Transitioning > 0 {
			out.Summary.TransitioningImageTotalCounts = []types.TransitioningImageTotalCount{
				{ImageTotalCount: count32(p.Transitioning), TargetStorageClass: types.LifecyclePolicyTargetStorageClassArchive}}
		}
	}
	return out, nil
}

func previewResult(p ecr.PreviewResult) types.LifecyclePolicyPreviewResult {
	out := types.LifecyclePolicyPreviewResult{
		ImageDigest: &p.Digest, ImageTags: p.Tags, ImagePushedAt: &p.PushedAt, StorageClass: types.LifecyclePolicyStorageClassStandard,
		Action: &types.LifecyclePolicyRuleAction{Type: types.ImageActionType(p.Action)},
	}
	if out.ImageTags == nil {
		out.ImageTags = []string{}
	}
	if p.Rule > 0 {
		out.AppliedRulePriority = count32(p.Rule)
	}
	if p.Archived {
		out.StorageClass = types.LifecyclePolicyStorageClassArchive
	}
	if out.Action.Type == types.ImageActionTypeTransition {
		out.Action.TargetStorageClass = types.LifecyclePolicyTargetStorageClassArchive
	}
	return out
}

func count32(n int64) *int32 {
	v := int32(min(n, math.MaxInt32))
	return &v
}
