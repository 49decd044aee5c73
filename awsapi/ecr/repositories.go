package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

func (s *Server) createRepository(ctx context.Context, c call, in *sdk.CreateRepositoryInput) (*sdk.CreateRepositoryOutput, error) {
	settings := ecr.Repository{
		Mutability:          ecr.Mutability(in.ImageTagMutability),
		MutabilityExclusion: exclusionsIn(in.ImageTagMutabilityExclusionFilters),
		ScanOnPush:          in.ImageScanningConfiguration != nil && in.ImageScanningConfiguration.ScanOnPush,
		Tags:                tagsIn(in.Tags),
	}
	if e := in.EncryptionConfiguration; e != nil {
		settings.Encryption = ecr.Encryption{Type: string(e.EncryptionType), KMSKey: rpc.Str(e.KmsKey)}
	}
	repo, err := s.reg.CreateRepository(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), settings)
	if err != nil {
		return nil, err
	}
	out := s.repository(repo)
	return &sdk.CreateRepositoryOutput{Repository: &out}, nil
}

func (s *Server) deleteRepository(ctx context.Context, c call, in *sdk.DeleteRepositoryInput) (*sdk.DeleteRepositoryOutput, error) {
	repo, err := s.reg.DeleteRepository(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), in.Force)
	if err != nil {
		return nil, err
	}
	out := s.repository(repo)
	return &sdk.DeleteRepositoryOutput{Repository: &out}, nil
}

func (s *Server) describeRepositories(ctx context.Context, c call, in *sdk.DescribeRepositoriesInput) (*sdk.DescribeRepositoriesOutput, error) {
	if err := exclusive("repositoryNames", in.RepositoryNames, in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	repos, next, err := s.reg.DescribeRepositories(ctx, c.Caller, c.registry(in.RegistryId), in.RepositoryNames, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeRepositoriesOutput{Repositories: rpc.Each(repos, s.repository), NextToken: rpc.Opt(next)}, nil
}

func (s *Server) putImageTagMutability(ctx context.Context, c call, in *sdk.PutImageTagMutabilityInput) (*sdk.PutImageTagMutabilityOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	repo, err := s.reg.PutImageTagMutability(ctx, c.Caller, id, ecr.Mutability(in.ImageTagMutability), exclusionsIn(in.ImageTagMutabilityExclusionFilters))
	if err != nil {
		return nil, err
	}
	return &sdk.PutImageTagMutabilityOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name,
		ImageTagMutability:                 types.ImageTagMutability(repo.Mutability),
		ImageTagMutabilityExclusionFilters: exclusionsOut(repo.MutabilityExclusion),
	}, nil
}

func (s *Server) putImageScanningConfiguration(ctx context.Context, c call, in *sdk.PutImageScanningConfigurationInput) (*sdk.PutImageScanningConfigurationOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	repo, err := s.reg.PutImageScanningConfiguration(ctx, c.Caller, id, in.ImageScanningConfiguration.ScanOnPush)
	if err != nil {
		return nil, err
	}
	return &sdk.PutImageScanningConfigurationOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name,
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: repo.ScanOnPush},
	}, nil
}

func (s *Server) tagResource(ctx context.Context, c call, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	return &sdk.TagResourceOutput{}, s.reg.TagResource(ctx, c.Caller, *in.ResourceArn, tagsIn(in.Tags))
}

func (s *Server) untagResource(ctx context.Context, c call, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.reg.UntagResource(ctx, c.Caller, *in.ResourceArn, in.TagKeys)
}

func (s *Server) listTagsForResource(ctx context.Context, c call, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	tags, err := s.reg.ListTagsForResource(ctx, c.Caller, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &sdk.ListTagsForResourceOutput{Tags: tagsOut(tags)}, nil
}

// repository is a repository's record as the API shows it.
func (s *Server) repository(r *ecr.Repository) types.Repository {
	arn, uri := r.ID.ARN(s.reg.Region()), s.reg.RepositoryURI(r.ID)
	return types.Repository{
		RegistryId: &r.ID.Account, RepositoryName: &r.ID.Name, RepositoryArn: &arn, RepositoryUri: &uri,
		CreatedAt:                          &r.CreatedAt,
		ImageTagMutability:                 types.ImageTagMutability(r.Mutability),
		ImageTagMutabilityExclusionFilters: exclusionsOut(r.MutabilityExclusion),
		ImageScanningConfiguration:         &types.ImageScanningConfiguration{ScanOnPush: r.ScanOnPush},
		EncryptionConfiguration: &types.EncryptionConfiguration{
			EncryptionType: types.EncryptionType(r.Encryption.Type), KmsKey: rpc.Opt(r.Encryption.KMSKey),
		},
	}
}

// exclusionsIn keeps nil apart from empty: an absent list is nil.
func exclusionsIn(list []types.ImageTagMutabilityExclusionFilter) []string {
	if list == nil {
		return nil
	}
	return rpc.Each(list, func(f types.ImageTagMutabilityExclusionFilter) string { return *f.Filter })
}

// exclusionsOut leaves the member out where there is nothing to exclude.
func exclusionsOut(list []string) []types.ImageTagMutabilityExclusionFilter {
	if len(list) == 0 {
		return nil
	}
	return rpc.Each(list, func(f string) types.ImageTagMutabilityExclusionFilter {
		return types.ImageTagMutabilityExclusionFilter{Filter: &f, FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard}
	})
}

// tagsIn keeps nil apart from empty: an absent list is nil.
func tagsIn(list []types.Tag) []ecr.Tag {
	if list == nil {
		return nil
	}
	return rpc.Each(list, func(t types.Tag) ecr.Tag { return ecr.Tag{Key: *t.Key, Value: *t.Value} })
}

func tagsOut(list []ecr.Tag) []types.Tag {
	return rpc.Each(list, func(t ecr.Tag) types.Tag { return types.Tag{Key: &t.Key, Value: &t.Value} })
}
