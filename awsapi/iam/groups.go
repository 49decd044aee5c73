package iamapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

func (s *Server) groups() []rpc.Handler[ecr.Caller] {
	return []rpc.Handler[ecr.Caller]{
		rpc.Op("CreateGroup", func(ctx context.Context, c ecr.Caller, in *sdk.CreateGroupInput) (*sdk.CreateGroupOutput, error) {
			e, err := s.id.Create(ctx, c, identity.Group, *in.GroupName, identity.Settings{Path: rpc.Str(in.Path)})
			g := group(e)
			return &sdk.CreateGroupOutput{Group: &g}, err
		}),
		rpc.Op("GetGroup", func(ctx context.Context, c ecr.Caller, in *sdk.GetGroupInput) (*sdk.GetGroupOutput, error) {
			e, users, err := s.id.Members(ctx, c, *in.GroupName)
			g := group(e)
			users, more, marker := part(users, in.Marker, in.MaxItems, nameOf)
			return &sdk.GetGroupOutput{Group: &g, Users: rpc.Each(users, listedUser), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("ListGroups", func(ctx context.Context, c ecr.Caller, in *sdk.ListGroupsInput) (*sdk.ListGroupsOutput, error) {
			list, err := s.id.List(ctx, c, identity.Group, rpc.Str(in.PathPrefix), rpc.Str(in.Marker), items(in.MaxItems)+1)
			list, more, marker := page(list, in.MaxItems, nameOf)
			return &sdk.ListGroupsOutput{Groups: rpc.Each(list, group), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("DeleteGroup", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteGroupInput) (*sdk.DeleteGroupOutput, error) {
			return none[sdk.DeleteGroupOutput](s.id.Delete(ctx, c, identity.Group, *in.GroupName))
		}),
		rpc.Op("AddUserToGroup", func(ctx context.Context, c ecr.Caller, in *sdk.AddUserToGroupInput) (*sdk.AddUserToGroupOutput, error) {
			return none[sdk.AddUserToGroupOutput](s.id.AddUserToGroup(ctx, c, *in.GroupName, *in.UserName))
		}),
		rpc.Op("RemoveUserFromGroup", func(ctx context.Context, c ecr.Caller, in *sdk.RemoveUserFromGroupInput) (*sdk.RemoveUserFromGroupOutput, error) {
			return none[sdk.RemoveUserFromGroupOutput](s.id.RemoveUserFromGroup(ctx, c, *in.GroupName, *in.UserName))
		}),
		rpc.Op("PutGroupPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.PutGroupPolicyInput) (*sdk.PutGroupPolicyOutput, error) {
			return none[sdk.PutGroupPolicyOutput](s.id.PutPolicy(ctx, c, identity.Group, *in.GroupName, *in.PolicyName, *in.PolicyDocument))
		}),
		rpc.Op("GetGroupPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.GetGroupPolicyInput) (*sdk.GetGroupPolicyOutput, error) {
			text, err := s.id.GetPolicy(ctx, c, identity.Group, *in.GroupName, *in.PolicyName)
			return &sdk.GetGroupPolicyOutput{GroupName: in.GroupName, PolicyName: in.PolicyName, PolicyDocument: document(text)}, err
		}),
		rpc.Op("DeleteGroupPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteGroupPolicyInput) (*sdk.DeleteGroupPolicyOutput, error) {
			return none[sdk.DeleteGroupPolicyOutput](s.id.DeletePolicy(ctx, c, identity.Group, *in.GroupName, *in.PolicyName))
		}),
		rpc.Op("ListGroupPolicies", func(ctx context.Context, c ecr.Caller, in *sdk.ListGroupPoliciesInput) (*sdk.ListGroupPoliciesOutput, error) {
			names, err := s.id.ListPolicies(ctx, c, identity.Group, *in.GroupName)
			names, more, marker := part(names, in.Marker, in.MaxItems, self)
			return &sdk.ListGroupPoliciesOutput{PolicyNames: rpc.Each(names, self), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("AttachGroupPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.AttachGroupPolicyInput) (*sdk.AttachGroupPolicyOutput, error) {
			return none[sdk.AttachGroupPolicyOutput](s.id.Attach(ctx, c, identity.Group, *in.GroupName, *in.PolicyArn))
		}),
		rpc.Op("DetachGroupPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.DetachGroupPolicyInput) (*sdk.DetachGroupPolicyOutput, error) {
			return none[sdk.DetachGroupPolicyOutput](s.id.Detach(ctx, c, identity.Group, *in.GroupName, *in.PolicyArn))
		}),
		rpc.Op("ListAttachedGroupPolicies", func(ctx context.Context, c ecr.Caller, in *sdk.ListAttachedGroupPoliciesInput) (*sdk.ListAttachedGroupPoliciesOutput, error) {
			arns, err := s.id.ListAttached(ctx, c, identity.Group, *in.GroupName)
			arns, more, marker := part(under(arns, in.PathPrefix), in.Marker, in.MaxItems, self)
			return &sdk.ListAttachedGroupPoliciesOutput{AttachedPolicies: attached(arns), IsTruncated: more, Marker: marker}, err
		}),
	}
}

func group(e identity.Entity) types.Group {
	return types.Group{Arn: &e.ARN, CreateDate: &e.CreatedAt, GroupId: &e.ID, GroupName: &e.Name, Path: &e.Path}
}
