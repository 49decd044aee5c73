package iamapi

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

func (s *Server) roles() []rpc.Handler[ecr.Caller] {
	return []rpc.Handler[ecr.Caller]{
		rpc.Op("CreateRole", s.createRole),
		rpc.Op("GetRole", func(ctx context.Context, c ecr.Caller, in *sdk.GetRoleInput) (*sdk.GetRoleOutput, error) {
			e, err := s.id.Get(ctx, c, identity.Role, *in.RoleName)
			return &sdk.GetRoleOutput{Role: roleWithTags(e)}, err
		}),
		rpc.Op("ListRoles", func(ctx context.Context, c ecr.Caller, in *sdk.ListRolesInput) (*sdk.ListRolesOutput, error) {
			list, err := s.id.List(ctx, c, identity.Role, rpc.Str(in.PathPrefix), rpc.Str(in.Marker), items(in.MaxItems)+1)
			list, more, marker := page(list, in.MaxItems, nameOf)
			return &sdk.ListRolesOutput{Roles: rpc.Each(list, listedRole), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("UpdateRole", func(ctx context.Context, c ecr.Caller, in *sdk.UpdateRoleInput) (*sdk.UpdateRoleOutput, error) {
			return none[sdk.UpdateRoleOutput](s.id.UpdateRole(ctx, c, *in.RoleName, in.Description, seconds(in.MaxSessionDuration)))
		}),
		rpc.Op("UpdateRoleDescription", func(ctx context.Context, c ecr.Caller, in *sdk.UpdateRoleDescriptionInput) (*sdk.UpdateRoleDescriptionOutput, error) {
			e, err := s.id.UpdateRoleDescription(ctx, c, *in.RoleName, *in.Description)
			return &sdk.UpdateRoleDescriptionOutput{Role: roleWithTags(e)}, err
		}),
		rpc.Op("DeleteRole", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteRoleInput) (*sdk.DeleteRoleOutput, error) {
			return none[sdk.DeleteRoleOutput](s.id.Delete(ctx, c, identity.Role, *in.RoleName))
		}),
		rpc.Op("UpdateAssumeRolePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.UpdateAssumeRolePolicyInput) (*sdk.UpdateAssumeRolePolicyOutput, error) {
			return none[sdk.UpdateAssumeRolePolicyOutput](s.id.UpdateAssumeRolePolicy(ctx, c, *in.RoleName, *in.PolicyDocument))
		}),
		rpc.Op("TagRole", func(ctx context.Context, c ecr.Caller, in *sdk.TagRoleInput) (*sdk.TagRoleOutput, error) {
			return none[sdk.TagRoleOutput](s.id.Tag(ctx, c, identity.Role, *in.RoleName, fromTags(in.Tags)))
		}),
		rpc.Op("UntagRole", func(ctx context.Context, c ecr.Caller, in *sdk.UntagRoleInput) (*sdk.UntagRoleOutput, error) {
			return none[sdk.UntagRoleOutput](s.id.Untag(ctx, c, identity.Role, *in.RoleName, in.TagKeys))
		}),
		rpc.Op("ListRoleTags", func(ctx context.Context, c ecr.Caller, in *sdk.ListRoleTagsInput) (*sdk.ListRoleTagsOutput, error) {
			tags, err := s.id.ListTags(ctx, c, identity.Role, *in.RoleName)
			out, more, marker := tagPage(tags, in.Marker, in.MaxItems)
			return &sdk.ListRoleTagsOutput{Tags: out, IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("PutRolePermissionsBoundary", func(ctx context.Context, c ecr.Caller, in *sdk.PutRolePermissionsBoundaryInput) (*sdk.PutRolePermissionsBoundaryOutput, error) {
			return none[sdk.PutRolePermissionsBoundaryOutput](s.id.PutBoundary(ctx, c, identity.Role, *in.RoleName, *in.PermissionsBoundary))
		}),
		rpc.Op("DeleteRolePermissionsBoundary", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteRolePermissionsBoundaryInput) (*sdk.DeleteRolePermissionsBoundaryOutput, error) {
			return none[sdk.DeleteRolePermissionsBoundaryOutput](s.id.PutBoundary(ctx, c, identity.Role, *in.RoleName, ""))
		}),
		rpc.Op("PutRolePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.PutRolePolicyInput) (*sdk.PutRolePolicyOutput, error) {
			return none[sdk.PutRolePolicyOutput](s.id.PutPolicy(ctx, c, identity.Role, *in.RoleName, *in.PolicyName, *in.PolicyDocument))
		}),
		rpc.Op("GetRolePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.GetRolePolicyInput) (*sdk.GetRolePolicyOutput, error) {
			text, err := s.id.GetPolicy(ctx, c, identity.Role, *in.RoleName, *in.PolicyName)
			return &sdk.GetRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: document(text)}, err
		}),
		rpc.Op("DeleteRolePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteRolePolicyInput) (*sdk.DeleteRolePolicyOutput, error) {
			return none[sdk.DeleteRolePolicyOutput](s.id.DeletePolicy(ctx, c, identity.Role, *in.RoleName, *in.PolicyName))
		}),
		rpc.Op("ListRolePolicies", func(ctx context.Context, c ecr.Caller, in *sdk.ListRolePoliciesInput) (*sdk.ListRolePoliciesOutput, error) {
			names, err := s.id.ListPolicies(ctx, c, identity.Role, *in.RoleName)
			names, more, marker := part(names, in.Marker, in.MaxItems, self)
			return &sdk.ListRolePoliciesOutput{PolicyNames: rpc.Each(names, self), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("AttachRolePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.AttachRolePolicyInput) (*sdk.AttachRolePolicyOutput, error) {
			return none[sdk.AttachRolePolicyOutput](s.id.Attach(ctx, c, identity.Role, *in.RoleName, *in.PolicyArn))
		}),
		rpc.Op("DetachRolePolicy", func(ctx context.Context, c ecr.Caller, in *sdk.DetachRolePolicyInput) (*sdk.DetachRolePolicyOutput, error) {
			return none[sdk.DetachRolePolicyOutput](s.id.Detach(ctx, c, identity.Role, *in.RoleName, *in.PolicyArn))
		}),
		rpc.Op("ListAttachedRolePolicies", func(ctx context.Context, c ecr.Caller, in *sdk.ListAttachedRolePoliciesInput) (*sdk.ListAttachedRolePoliciesOutput, error) {
			arns, err := s.id.ListAttached(ctx, c, identity.Role, *in.RoleName)
			arns, more, marker := part(under(arns, in.PathPrefix), in.Marker, in.MaxItems, self)
			return &sdk.ListAttachedRolePoliciesOutput{AttachedPolicies: attached(arns), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("ListInstanceProfilesForRole", s.listInstanceProfilesForRole),
	}
}

func seconds(n *int32) *time.Duration {
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * time.Second
	return &d
}

func role(e identity.Entity) types.Role {
	longest := int32(e.MaxSession / time.Second)
	return types.Role{Arn: &e.ARN, CreateDate: &e.CreatedAt, Path: &e.Path, RoleId: &e.ID, RoleName: &e.Name, AssumeRolePolicyDocument: document(e.Trust),
		Description: rpc.Opt(e.Description), MaxSessionDuration: &longest, PermissionsBoundary: boundary(e.Boundary)}
}

// listedRole is a role as lists have it.
func listedRole(e identity.Entity) types.Role {
	r := role(e)
	r.PermissionsBoundary = nil
	return r
}

func roleWithTags(e identity.Entity) *types.Role {
	r := role(e)
	if len(e.Tags) > 0 {
		r.Tags = toTags(e.Tags)
	}
	return &r
}

func (s *Server) createRole(ctx context.Context, c ecr.Caller, in *sdk.CreateRoleInput) (*sdk.CreateRoleOutput, error) {
	settings := identity.Settings{Path: rpc.Str(in.Path), Description: rpc.Str(in.Description), Trust: *in.AssumeRolePolicyDocument, Boundary: rpc.Str(in.PermissionsBoundary), Tags: fromTags(in.Tags)}
	if d := seconds(in.MaxSessionDuration); d != nil {
		settings.MaxSession = *d
	}
	e, err := s.id.Create(ctx, c, identity.Role, *in.RoleName, settings)
	return &sdk.CreateRoleOutput{Role: roleWithTags(e)}, err
}

// listInstanceProfilesForRole tells that no role is in an instance profile,
// which is what tools ask before they delete a role: Ecru has no instances.
func (s *Server) listInstanceProfilesForRole(ctx context.Context, c ecr.Caller, in *sdk.ListInstanceProfilesForRoleInput) (*sdk.ListInstanceProfilesForRoleOutput, error) {
	err := s.id.HasNoInstanceProfiles(ctx, c, *in.RoleName)
	return &sdk.ListInstanceProfilesForRoleOutput{InstanceProfiles: []types.InstanceProfile{}}, err
}
