package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

func (s *Server) putRegistryScanningConfiguration(ctx context.Context, c call, in *sdk.PutRegistryScanningConfigurationInput) (*sdk.PutRegistryScanningConfigurationOutput, error) {
	cfg := ecr.ScanConfiguration{Type: ecr.ScanType(in.ScanType)}
	for _, rule := range in.Rules {
		filters := rpc.Each(rule.RepositoryFilters, func(f types.ScanningRepositoryFilter) string { return *f.Filter })
		cfg.Rules = append(cfg.Rules, ecr.ScanRule{Frequency: ecr.ScanFrequency(rule.ScanFrequency), Filters: filters})
	}
	cfg, err := s.reg.PutRegistryScanningConfiguration(ctx, c.Caller, cfg)
	if err != nil {
		return nil, err
	}
	return &sdk.PutRegistryScanningConfigurationOutput{RegistryScanningConfiguration: scanConfiguration(cfg)}, nil
}

func (s *Server) getRegistryScanningConfiguration(ctx context.Context, c call, _ *sdk.GetRegistryScanningConfigurationInput) (*sdk.GetRegistryScanningConfigurationOutput, error) {
	cfg, err := s.reg.GetRegistryScanningConfiguration(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	return &sdk.GetRegistryScanningConfigurationOutput{RegistryId: &c.Account, ScanningConfiguration: scanConfiguration(cfg)}, nil
}

func scanConfiguration(cfg ecr.ScanConfiguration) *types.RegistryScanningConfiguration {
	return &types.RegistryScanningConfiguration{
		ScanType: types.ScanType(cfg.Type),
		Rules: rpc.Each(cfg.Rules, func(rule ecr.ScanRule) types.RegistryScanningRule {
			return types.RegistryScanningRule{ScanFrequency: types.ScanFrequency(rule.Frequency), RepositoryFilters: scanFilters(rule.Filters)}
		}),
	}
}

func scanFilters(filters []string) []types.ScanningRepositoryFilter {
	return rpc.Each(filters, func(f string) types.ScanningRepositoryFilter {
		return types.ScanningRepositoryFilter{Filter: &f, FilterType: types.ScanningRepositoryFilterTypeWildcard}
	})
}

func (s *Server) batchGetRepositoryScanningConfiguration(ctx context.Context, c call, in *sdk.BatchGetRepositoryScanningConfigurationInput) (*sdk.BatchGetRepositoryScanningConfigurationOutput, error) {
	list, missing, err := s.reg.BatchGetRepositoryScanningConfiguration(ctx, c.Caller, in.RepositoryNames)
	if err != nil {
		return nil, err
	}
	return &sdk.BatchGetRepositoryScanningConfigurationOutput{
		ScanningConfigurations: rpc.Each(list, func(r registry.RepositoryScanning) types.RepositoryScanningConfiguration {
			arn := r.Repository.ARN(s.reg.Region())
			return types.RepositoryScanningConfiguration{
				RepositoryArn: &arn, RepositoryName: &r.Repository.Name, ScanFrequency: types.ScanFrequency(r.Frequency),
				ScanOnPush: r.Frequency != ecr.ScanManual, AppliedScanFilters: scanFilters(r.Filters),
			}
		}),
		Failures: rpc.Each(missing, func(name string) types.RepositoryScanningConfigurationFailure {
			reason := "Requested repository not found"
			return types.RepositoryScanningConfigurationFailure{
				RepositoryName: &name, FailureCode: types.ScanningConfigurationFailureCodeRepositoryNotFound, FailureReason: &reason,
			}
		}),
	}, nil
}
