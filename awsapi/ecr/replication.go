package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

func (s *Server) describeRegistry(ctx context.Context, c call, _ *sdk.DescribeRegistryInput) (*sdk.DescribeRegistryOutput, error) {
	cfg, err := s.reg.DescribeRegistry(ctx, c.Caller, c.Account)
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeRegistryOutput{RegistryId: &c.Account, ReplicationConfiguration: replicationOut(cfg)}, nil
}

func (s *Server) putReplicationConfiguration(ctx context.Context, c call, in *sdk.PutReplicationConfigurationInput) (*sdk.PutReplicationConfigurationOutput, error) {
	cfg := ecr.ReplicationConfiguration{Rules: rpc.Each(in.ReplicationConfiguration.Rules, replicationRuleIn)}
	if err := s.reg.PutReplicationConfiguration(ctx, c.Caller, cfg); err != nil {
		return nil, err
	}
	return &sdk.PutReplicationConfigurationOutput{ReplicationConfiguration: replicationOut(&cfg)}, nil
}

func (s *Server) describeImageReplicationStatus(ctx context.Context, c call, in *sdk.DescribeImageReplicationStatusInput) (*sdk.DescribeImageReplicationStatusOutput, error) {
	img, list, err := s.reg.DescribeImageReplicationStatus(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), imageIDIn(*in.ImageId))
	if err != nil {
		return nil, err
	}
	id := imageID(ecr.ImageID{Digest: img.Digest, Tag: rpc.Str(in.ImageId.ImageTag)})
	return &sdk.DescribeImageReplicationStatusOutput{
		RepositoryName: in.RepositoryName, ImageId: &id,
		ReplicationStatuses: rpc.Each(list, func(r ecr.Replication) types.ImageReplicationStatus {
			out := types.ImageReplicationStatus{Region: &r.To.Region, RegistryId: &r.To.Account, Status: types.ReplicationStatus(r.Status)}
			if r.Status == ecr.ReplicationFailed {
				out.FailureCode = &r.Code
			}
			return out
		}),
	}, nil
}

func (s *Server) startReplicationBackfill(ctx context.Context, c call, in *sdk.StartReplicationBackfillInput) (*sdk.StartReplicationBackfillOutput, error) {
	b, err := s.reg.StartBackfill(ctx, c.Caller, c.registry(in.RegistryId), destinationIn(*in.Destination))
	if err != nil {
		return nil, err
	}
	return &sdk.StartReplicationBackfillOutput{
		RegistryId: &b.Account, ReplicationBackfillId: &b.ID, Destination: destinationOut(b.To),
		StartedAt: &b.StartedAt, Status: types.ReplicationBackfillStatus(b.Status),
	}, nil
}

func (s *Server) stopReplicationBackfill(ctx context.Context, c call, in *sdk.StopReplicationBackfillInput) (*sdk.StopReplicationBackfillOutput, error) {
	b, err := s.reg.StopBackfill(ctx, c.Caller, c.registry(in.RegistryId), *in.ReplicationBackfillId)
	if err != nil {
		return nil, err
	}
	return &sdk.StopReplicationBackfillOutput{
		RegistryId: &b.Account, ReplicationBackfillId: &b.ID, Destination: destinationOut(b.To),
		StartedAt: &b.StartedAt, Status: types.ReplicationBackfillStatus(b.Status),
	}, nil
}

func (s *Server) describeReplicationBackfillResults(ctx context.Context, c call, in *sdk.DescribeReplicationBackfillResultsInput) (*sdk.DescribeReplicationBackfillResultsOutput, error) {
	b, items, next, err := s.reg.DescribeBackfill(ctx, c.Caller, c.registry(in.RegistryId), *in.ReplicationBackfillId,
		ecr.ReplicationStatus(in.ResultStatusFilter), page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeReplicationBackfillResultsOutput{
		RegistryId: &b.Account, ReplicationBackfillId: &b.ID, Destination: destinationOut(b.To),
		StartedAt: &b.StartedAt, EndedAt: when(b.EndedAt), Status: types.ReplicationBackfillStatus(b.Status),
		FailureCode: rpc.Opt(b.Code), Progress: backfillProgress(b), NextToken: rpc.Opt(next),
		Results: rpc.Each(items, func(i ecr.BackfillItem) types.ReplicationBackfillResult {
			id := imageID(i.Image)
			return types.ReplicationBackfillResult{
				ImageId: &id, RepositoryName: &i.Repository, Status: types.ReplicationBackfillResultStatus(i.Status),
				FailureCode: rpc.Opt(i.Code), SubImageFailureCodes: i.SubCodes,
			}
		}),
	}, nil
}

func (s *Server) listReplicationBackfills(ctx context.Context, c call, in *sdk.ListReplicationBackfillsInput) (*sdk.ListReplicationBackfillsOutput, error) {
	account := c.registry(in.RegistryId)
	list, next, err := s.reg.ListBackfills(ctx, c.Caller, account, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.ListReplicationBackfillsOutput{
		RegistryId: &account, NextToken: rpc.Opt(next),
		Backfills: rpc.Each(list, func(b *ecr.Backfill) types.ReplicationBackfillSummary {
			return types.ReplicationBackfillSummary{
				ReplicationBackfillId: &b.ID, Destination: destinationOut(b.To), StartedAt: &b.StartedAt, EndedAt: when(b.EndedAt),
				Status: types.ReplicationBackfillStatus(b.Status), FailureCode: rpc.Opt(b.Code), Progress: backfillProgress(b),
			}
		}),
	}, nil
}

// backfillProgress is nil until all that is to be copied has been found.
func backfillProgress(b *ecr.Backfill) *types.ReplicationBackfillProgress {
	if !b.Prepared {
		return nil
	}
	total, completed, failed := int32(b.Total), int32(b.Completed), int32(b.Failed)
	codes := b.Codes
	if codes == nil {
		codes = []string{}
	}
	return &types.ReplicationBackfillProgress{TotalReplicationCount: &total, CompletedReplicationCount: &completed, FailedReplicationCount: &failed, FailureCodes: codes}
}

func destinationIn(d types.ReplicationDestination) ecr.Destination {
	return ecr.Destination{Region: *d.Region, Account: *d.RegistryId}
}

func destinationOut(d ecr.Destination) *types.ReplicationDestination {
	return &types.ReplicationDestination{Region: &d.Region, RegistryId: &d.Account}
}

func replicationRuleIn(r types.ReplicationRule) ecr.ReplicationRule {
	out := ecr.ReplicationRule{Destinations: rpc.Each(r.Destinations, destinationIn)}
	for _, f := range r.RepositoryFilters {
		out.Prefixes = append(out.Prefixes, *f.Filter)
	}
	return out
}

func replicationOut(cfg *ecr.ReplicationConfiguration) *types.ReplicationConfiguration {
	return &types.ReplicationConfiguration{Rules: rpc.Each(cfg.Rules, func(r ecr.ReplicationRule) types.ReplicationRule {
		out := types.ReplicationRule{Destinations: rpc.Each(r.Destinations, func(d ecr.Destination) types.ReplicationDestination { return *destinationOut(d) })}
		for _, p := range r.Prefixes {
			out.RepositoryFilters = append(out.RepositoryFilters, types.RepositoryFilter{Filter: &p, FilterType: types.RepositoryFilterTypePrefixMatch})
		}
		return out
	})}
}
