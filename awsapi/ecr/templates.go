package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

func (s *Server) createTemplate(ctx context.Context, c call, in *sdk.CreateRepositoryCreationTemplateInput) (*sdk.CreateRepositoryCreationTemplateOutput, error) {
	t := ecr.Template{
		Account: c.Account, Prefix: *in.Prefix, Description: rpc.Str(in.Description),
		AppliedFor:          appliedForIn(in.AppliedFor),
		Mutability:          ecr.Mutability(in.ImageTagMutability),
		MutabilityExclusion: exclusionsIn(in.ImageTagMutabilityExclusionFilters),
		Policy:              rpc.Str(in.RepositoryPolicy), LifecyclePolicy: rpc.Str(in.LifecyclePolicy),
		Tags: tagsIn(in.ResourceTags), CustomRoleARN: rpc.Str(in.CustomRoleArn),
	}
	if e := templateEncryptionIn(in.EncryptionConfiguration); e != nil {
		t.Encryption = *e
	}
	made, err := s.reg.CreateTemplate(ctx, c.Caller, t)
	if err != nil {
		return nil, err
	}
	out := template(made)
	return &sdk.CreateRepositoryCreationTemplateOutput{RegistryId: &c.Account, RepositoryCreationTemplate: &out}, nil
}

func (s *Server) updateTemplate(ctx context.Context, c call, in *sdk.UpdateRepositoryCreationTemplateInput) (*sdk.UpdateRepositoryCreationTemplateOutput, error) {
	u := registry.TemplateUpdate{
		Description: in.Description, Policy: in.RepositoryPolicy,
		LifecyclePolicy: in.LifecyclePolicy, CustomRoleARN: in.CustomRoleArn,
		AppliedFor:          appliedForIn(in.AppliedFor),
		MutabilityExclusion: exclusionsIn(in.ImageTagMutabilityExclusionFilters),
		Encryption:          templateEncryptionIn(in.EncryptionConfiguration),
		Tags:                tagsIn(in.ResourceTags),
	}
	if m := ecr.Mutability(in.ImageTagMutability); m != "" {
		u.Mutability = &m
	}
	updated, err := s.reg.UpdateTemplate(ctx, c.Caller, *in.Prefix, u)
	if err != nil {
		return nil, err
	}
	out := template(updated)
	return &sdk.UpdateRepositoryCreationTemplateOutput{RegistryId: &c.Account, RepositoryCreationTemplate: &out}, nil
}

func (s *Server) deleteTemplate(ctx context.Context, c call, in *sdk.DeleteRepositoryCreationTemplateInput) (*sdk.DeleteRepositoryCreationTemplateOutput, error) {
	deleted, err := s.reg.DeleteTemplate(ctx, c.Caller, *in.Prefix)
	if err != nil {
		return nil, err
	}
	out := template(deleted)
	return &sdk.DeleteRepositoryCreationTemplateOutput{RegistryId: &c.Account, RepositoryCreationTemplate: &out}, nil
}

func (s *Server) describeTemplates(ctx context.Context, c call, in *sdk.DescribeRepositoryCreationTemplatesInput) (*sdk.DescribeRepositoryCreationTemplatesOutput, error) {
	if err := exclusive("prefixes", in.Prefixes, in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	list, next, err := s.reg.DescribeTemplates(ctx, c.Caller, in.Prefixes, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeRepositoryCreationTemplatesOutput{
		RegistryId: &c.Account, RepositoryCreationTemplates: rpc.Each(list, template), NextToken: rpc.Opt(next),
	}, nil
}

// template is a template's record as the API shows it.
func template(t *ecr.Template) types.RepositoryCreationTemplate {
	out := types.RepositoryCreationTemplate{
		Prefix: &t.Prefix, Description: rpc.Opt(t.Description),
		AppliedFor:                         rpc.Each(t.AppliedFor, func(a string) types.RCTAppliedFor { return types.RCTAppliedFor(a) }),
		ImageTagMutability:                 types.ImageTagMutability(t.Mutability),
		ImageTagMutabilityExclusionFilters: exclusionsOut(t.MutabilityExclusion),
		RepositoryPolicy:                   rpc.Opt(t.Policy), LifecyclePolicy: rpc.Opt(t.LifecyclePolicy),
		ResourceTags: tagsOut(t.Tags), CustomRoleArn: rpc.Opt(t.CustomRoleARN),
		CreatedAt: &t.CreatedAt, UpdatedAt: &t.UpdatedAt,
	}
	if t.Encryption.Type != "" {
		out.EncryptionConfiguration = &types.EncryptionConfigurationForRepositoryCreationTemplate{
			EncryptionType: types.EncryptionType(t.Encryption.Type), KmsKey: rpc.Opt(t.Encryption.KMSKey),
		}
	}
	return out
}

// appliedForIn keeps nil apart from empty: an absent list is nil.
func appliedForIn(list []types.RCTAppliedFor) []string {
	if list == nil {
		return nil
	}
	return rpc.Each(list, func(a types.RCTAppliedFor) string { return string(a) })
}

func templateEncryptionIn(e *types.EncryptionConfigurationForRepositoryCreationTemplate) *ecr.Encryption {
	if e == nil {
		return nil
	}
	return &ecr.Encryption{Type: string(e.EncryptionType), KMSKey: rpc.Str(e.KmsKey)}
}
