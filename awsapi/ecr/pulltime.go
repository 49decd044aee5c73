package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

func (s *Server) registerPullTimeExclusion(ctx context.Context, c call, in *sdk.RegisterPullTimeUpdateExclusionInput) (*sdk.RegisterPullTimeUpdateExclusionOutput, error) {
	e, err := s.reg.RegisterPullTimeExclusion(ctx, c.Caller, *in.PrincipalArn)
	if err != nil {
		return nil, err
	}
	return &sdk.RegisterPullTimeUpdateExclusionOutput{PrincipalArn: &e.PrincipalARN, CreatedAt: &e.CreatedAt}, nil
}

func (s *Server) deregisterPullTimeExclusion(ctx context.Context, c call, in *sdk.DeregisterPullTimeUpdateExclusionInput) (*sdk.DeregisterPullTimeUpdateExclusionOutput, error) {
	if err := s.reg.DeregisterPullTimeExclusion(ctx, c.Caller, *in.PrincipalArn); err != nil {
		return nil, err
	}
	return &sdk.DeregisterPullTimeUpdateExclusionOutput{PrincipalArn: in.PrincipalArn}, nil
}

func (s *Server) listPullTimeExclusions(ctx context.Context, c call, in *sdk.ListPullTimeUpdateExclusionsInput) (*sdk.ListPullTimeUpdateExclusionsOutput, error) {
	list, next, err := s.reg.ListPullTimeExclusions(ctx, c.Caller, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.ListPullTimeUpdateExclusionsOutput{
		PullTimeUpdateExclusions: rpc.Each(list, func(e ecr.PullTimeExclusion) string { return e.PrincipalARN }),
		NextToken:                rpc.Opt(next),
	}, nil
}
