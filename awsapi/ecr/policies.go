package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
)

func (s *Server) setRepositoryPolicy(ctx context.Context, c call, in *sdk.SetRepositoryPolicyInput) (*sdk.SetRepositoryPolicyOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	text, err := s.reg.SetRepositoryPolicy(ctx, c.Caller, id, *in.PolicyText, in.Force)
	if err != nil {
		return nil, err
	}
	return &sdk.SetRepositoryPolicyOutput{PolicyText: &text, RegistryId: &id.Account, RepositoryName: &id.Name}, nil
}

func (s *Server) getRepositoryPolicy(ctx context.Context, c call, in *sdk.GetRepositoryPolicyInput) (*sdk.GetRepositoryPolicyOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	text, err := s.reg.GetRepositoryPolicy(ctx, c.Caller, id)
	if err != nil {
		return nil, err
	}
	return &sdk.GetRepositoryPolicyOutput{PolicyText: &text, RegistryId: &id.Account, RepositoryName: &id.Name}, nil
}

func (s *Server) deleteRepositoryPolicy(ctx context.Context, c call, in *sdk.DeleteRepositoryPolicyInput) (*sdk.DeleteRepositoryPolicyOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	text, err := s.reg.DeleteRepositoryPolicy(ctx, c.Caller, id)
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteRepositoryPolicyOutput{PolicyText: &text, RegistryId: &id.Account, RepositoryName: &id.Name}, nil
}

func (s *Server) putRegistryPolicy(ctx context.Context, c call, in *sdk.PutRegistryPolicyInput) (*sdk.PutRegistryPolicyOutput, error) {
	text, err := s.reg.PutRegistryPolicy(ctx, c.Caller, *in.PolicyText)
	if err != nil {
		return nil, err
	}
	return &sdk.PutRegistryPolicyOutput{PolicyText: &text, RegistryId: &c.Account}, nil
}

func (s *Server) getRegistryPolicy(ctx context.Context, c call, _ *sdk.GetRegistryPolicyInput) (*sdk.GetRegistryPolicyOutput, error) {
	text, err := s.reg.GetRegistryPolicy(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	return &sdk.GetRegistryPolicyOutput{PolicyText: &text, RegistryId: &c.Account}, nil
}

func (s *Server) deleteRegistryPolicy(ctx context.Context, c call, _ *sdk.DeleteRegistryPolicyInput) (*sdk.DeleteRegistryPolicyOutput, error) {
	text, err := s.reg.DeleteRegistryPolicy(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteRegistryPolicyOutput{PolicyText: &text, RegistryId: &c.Account}, nil
}
