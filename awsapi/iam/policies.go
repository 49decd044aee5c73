package iamapi

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

func (s *Server) policies() []rpc.Handler[ecr.Caller] {
	return []rpc.Handler[ecr.Caller]{
		rpc.Op("CreatePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.CreatePolicyInput) (*sdk.CreatePolicyOutput, error) {
			p, err := s.id.CreatePolicy(ctx, c, *in.PolicyName, rpc.Str(in.Path), rpc.Str(in.Description), *in.PolicyDocument, fromTags(in.Tags))
			out := policyWithTags(p)
			out.Description = nil // as IAM's answer
			return &sdk.CreatePolicyOutput{Policy: out}, err
		}),
		rpc.Op("GetPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.GetPolicyInput) (*sdk.GetPolicyOutput, error) {
			p, err := s.id.ManagedPolicy(ctx, c, "iam:GetPolicy", *in.PolicyArn)
			return &sdk.GetPolicyOutput{Policy: policyWithTags(p)}, err
		}),
		rpc.Op("ListPolicies", s.listPolicies),
		rpc.Op("DeletePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.DeletePolicyInput) (*sdk.DeletePolicyOutput, error) {
			return none[sdk.DeletePolicyOutput](s.id.DeleteManagedPolicy(ctx, c, *in.PolicyArn))
		}),
		rpc.Op("CreatePolicyVersion", func(ctx context.Context, c ecr.Caller, in *sdk.CreatePolicyVersionInput) (*sdk.CreatePolicyVersionOutput, error) {
			v, err := s.id.CreatePolicyVersion(ctx, c, *in.PolicyArn, *in.PolicyDocument, in.SetAsDefault)
			out := version(v)
			out.Document = nil
			return &sdk.CreatePolicyVersionOutput{PolicyVersion: &out}, err
		}),
		rpc.Op("GetPolicyVersion", s.getPolicyVersion),
		rpc.Op("ListPolicyVersions", func(ctx context.Context, c ecr.Caller, in *sdk.ListPolicyVersionsInput) (*sdk.ListPolicyVersionsOutput, error) {
			list, err := s.id.PolicyVersions(ctx, c, "iam:ListPolicyVersions", *in.PolicyArn)
			return &sdk.ListPolicyVersionsOutput{Versions: rpc.Each(list, func(v identity.PolicyVersion) types.PolicyVersion {
				out := version(v)
				out.Document = nil
				return out
			})}, err
		}),
		rpc.Op("DeletePolicyVersion", func(ctx context.Context, c ecr.Caller, in *sdk.DeletePolicyVersionInput) (*sdk.DeletePolicyVersionOutput, error) {
			return none[sdk.DeletePolicyVersionOutput](s.id.DeletePolicyVersion(ctx, c, *in.PolicyArn, number(*in.VersionId)))
		}),
		rpc.Op("SetDefaultPolicyVersion", func(ctx context.Context, c ecr.Caller, in *sdk.SetDefaultPolicyVersionInput) (*sdk.SetDefaultPolicyVersionOutput, error) {
			return none[sdk.SetDefaultPolicyVersionOutput](s.id.SetDefaultPolicyVersion(ctx, c, *in.PolicyArn, number(*in.VersionId)))
		}),
		rpc.Op("TagPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.TagPolicyInput) (*sdk.TagPolicyOutput, error) {
			return none[sdk.TagPolicyOutput](s.id.TagPolicy(ctx, c, *in.PolicyArn, fromTags(in.Tags)))
		}),
		rpc.Op("UntagPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.UntagPolicyInput) (*sdk.UntagPolicyOutput, error) {
			return none[sdk.UntagPolicyOutput](s.id.UntagPolicy(ctx, c, *in.PolicyArn, in.TagKeys))
		}),
		rpc.Op("ListPolicyTags", func(ctx context.Context, c ecr.Caller, in *sdk.ListPolicyTagsInput) (*sdk.ListPolicyTagsOutput, error) {
			p, err := s.id.ManagedPolicy(ctx, c, "iam:ListPolicyTags", *in.PolicyArn)
			out, more, marker := tagPage(p.Tags, in.Marker, in.MaxItems)
			return &sdk.ListPolicyTagsOutput{Tags: out, IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("ListEntitiesForPolicy", s.listEntitiesForPolicy),
		rpc.Op("GetAccountAuthorizationDetails", s.getAccountAuthorizationDetails),
	}
}

func policy(p identity.ManagedPolicy) types.Policy {
	v, n := versionID(p.Default), int32(p.Attached)
	return types.Policy{Arn: &p.ARN, PolicyName: &p.Name, Path: &p.Path, PolicyId: &p.ID, DefaultVersionId: &v, AttachmentCount: &n,
		IsAttachable: true, CreateDate: &p.CreatedAt, UpdateDate: &p.UpdatedAt}
}

func policyWithTags(p identity.ManagedPolicy) *types.Policy {
	out := policy(p)
	out.Description = rpc.Opt(p.Description)
	out.Tags = toTags(p.Tags)
	return &out
}

func version(v identity.PolicyVersion) types.PolicyVersion {
	id := versionID(v.Version)
	return types.PolicyVersion{VersionId: &id, Document: document(v.Document), IsDefaultVersion: v.Default, CreateDate: &v.CreatedAt}
}

func versionID(n int64) string { return "v" + strconv.FormatInt(n, 10) }

var versionForm = regexp.MustCompile(`^v([1-9][0-9]{0,9})$`)

// number is the way back from versionID; 0 is no version's.
func number(id string) int64 {
	m := versionForm.FindStringSubmatch(id)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (s *Server) listPolicies(ctx context.Context, c ecr.Caller, in *sdk.ListPoliciesInput) (*sdk.ListPoliciesOutput, error) {
	if in.PolicyUsageFilter != "" && in.PolicyUsageFilter != types.PolicyUsageTypePermissionsPolicy {
		return nil, errUsage
	}
	list, err := s.id.ManagedPolicies(ctx, c, identity.PolicyFilter{
		AWS: in.Scope != types.PolicyScopeTypeLocal, Local: in.Scope != types.PolicyScopeTypeAws, Attached: in.OnlyAttached, Path: rpc.Str(in.PathPrefix),
	}, rpc.Str(in.Marker), items(in.MaxItems)+1)
	list, more, marker := page(list, in.MaxItems, func(p identity.ManagedPolicy) string { return p.ARN })
	return &sdk.ListPoliciesOutput{Policies: rpc.Each(list, policy), IsTruncated: more, Marker: marker}, err
}

func (s *Server) getPolicyVersion(ctx context.Context, c ecr.Caller, in *sdk.GetPolicyVersionInput) (*sdk.GetPolicyVersionOutput, error) {
	list, err := s.id.PolicyVersions(ctx, c, "iam:GetPolicyVersion", *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		if v.Version == number(*in.VersionId) {
			out := version(v)
			return &sdk.GetPolicyVersionOutput{PolicyVersion: &out}, nil
		}
	}
	return nil, ecr.Errorf(ecr.NoSuchEntity, "Policy %s version %s does not exist or is not attachable.", *in.PolicyArn, *in.VersionId)
}

var errUsage = ecr.Errorf(ecr.Validation, "PolicyUsageFilter is not served here: leave it out")

func (s *Server) listEntitiesForPolicy(ctx context.Context, c ecr.Caller, in *sdk.ListEntitiesForPolicyInput) (*sdk.ListEntitiesForPolicyOutput, error) {
	if in.PolicyUsageFilter != "" {
		return nil, errUsage
	}
	list, err := s.id.AttachedTo(ctx, c, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(e identity.Entity) bool {
		return in.EntityFilter != "" && !strings.EqualFold(string(in.EntityFilter), string(e.Kind)) || !strings.HasPrefix(e.Path, rpc.Str(in.PathPrefix))
	})
	list, more, marker := part(list, in.Marker, in.MaxItems, func(e identity.Entity) string { return string(e.Kind) + "/" + e.Name })
	out := &sdk.ListEntitiesForPolicyOutput{PolicyGroups: []types.PolicyGroup{}, PolicyRoles: []types.PolicyRole{}, PolicyUsers: []types.PolicyUser{}, IsTruncated: more, Marker: marker}
	for _, e := range list {
		switch e.Kind {
		case identity.User:
			out.PolicyUsers = append(out.PolicyUsers, types.PolicyUser{UserId: &e.ID, UserName: &e.Name})
		case identity.Role:
			out.PolicyRoles = append(out.PolicyRoles, types.PolicyRole{RoleId: &e.ID, RoleName: &e.Name})
		case identity.Group:
			out.PolicyGroups = append(out.PolicyGroups, types.PolicyGroup{GroupId: &e.ID, GroupName: &e.Name})
		}
	}
	return out, nil
}
