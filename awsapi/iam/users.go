package iamapi

import (
	"context"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

func (s *Server) users() []rpc.Handler[ecr.Caller] {
	return []rpc.Handler[ecr.Caller]{
		rpc.Op("CreateUser", s.createUser),
		rpc.Op("GetUser", s.getUser),
		rpc.Op("ListUsers", s.listUsers),
		rpc.Op("DeleteUser", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteUserInput) (*sdk.DeleteUserOutput, error) {
			return none[sdk.DeleteUserOutput](s.id.Delete(ctx, c, identity.User, *in.UserName))
		}),
		rpc.Op("TagUser", func(ctx context.Context, c ecr.Caller, in *sdk.TagUserInput) (*sdk.TagUserOutput, error) {
			return none[sdk.TagUserOutput](s.id.Tag(ctx, c, identity.User, *in.UserName, fromTags(in.Tags)))
		}),
		rpc.Op("UntagUser", func(ctx context.Context, c ecr.Caller, in *sdk.UntagUserInput) (*sdk.UntagUserOutput, error) {
			return none[sdk.UntagUserOutput](s.id.Untag(ctx, c, identity.User, *in.UserName, in.TagKeys))
		}),
		rpc.Op("ListUserTags", func(ctx context.Context, c ecr.Caller, in *sdk.ListUserTagsInput) (*sdk.ListUserTagsOutput, error) {
			tags, err := s.id.ListTags(ctx, c, identity.User, *in.UserName)
			out, more, marker := tagPage(tags, in.Marker, in.MaxItems)
			return &sdk.ListUserTagsOutput{Tags: out, IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("PutUserPermissionsBoundary", func(ctx context.Context, c ecr.Caller, in *sdk.PutUserPermissionsBoundaryInput) (*sdk.PutUserPermissionsBoundaryOutput, error) {
			return none[sdk.PutUserPermissionsBoundaryOutput](s.id.PutBoundary(ctx, c, identity.User, *in.UserName, *in.PermissionsBoundary))
		}),
		rpc.Op("DeleteUserPermissionsBoundary", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteUserPermissionsBoundaryInput) (*sdk.DeleteUserPermissionsBoundaryOutput, error) {
			return none[sdk.DeleteUserPermissionsBoundaryOutput](s.id.PutBoundary(ctx, c, identity.User, *in.UserName, ""))
		}),
		rpc.Op("PutUserPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.PutUserPolicyInput) (*sdk.PutUserPolicyOutput, error) {
			return none[sdk.PutUserPolicyOutput](s.id.PutPolicy(ctx, c, identity.User, *in.UserName, *in.PolicyName, *in.PolicyDocument))
		}),
		rpc.Op("GetUserPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.GetUserPolicyInput) (*sdk.GetUserPolicyOutput, error) {
			text, err := s.id.GetPolicy(ctx, c, identity.User, *in.UserName, *in.PolicyName)
			return &sdk.GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: document(text)}, err
		}),
		rpc.Op("DeleteUserPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteUserPolicyInput) (*sdk.DeleteUserPolicyOutput, error) {
			return none[sdk.DeleteUserPolicyOutput](s.id.DeletePolicy(ctx, c, identity.User, *in.UserName, *in.PolicyName))
		}),
		rpc.Op("ListUserPolicies", func(ctx context.Context, c ecr.Caller, in *sdk.ListUserPoliciesInput) (*sdk.ListUserPoliciesOutput, error) {
			names, err := s.id.ListPolicies(ctx, c, identity.User, *in.UserName)
			names, more, marker := part(names, in.Marker, in.MaxItems, self)
			return &sdk.ListUserPoliciesOutput{PolicyNames: rpc.Each(names, self), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("AttachUserPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.AttachUserPolicyInput) (*sdk.AttachUserPolicyOutput, error) {
			return none[sdk.AttachUserPolicyOutput](s.id.Attach(ctx, c, identity.User, *in.UserName, *in.PolicyArn))
		}),
		rpc.Op("DetachUserPolicy", func(ctx context.Context, c ecr.Caller, in *sdk.DetachUserPolicyInput) (*sdk.DetachUserPolicyOutput, error) {
			return none[sdk.DetachUserPolicyOutput](s.id.Detach(ctx, c, identity.User, *in.UserName, *in.PolicyArn))
		}),
		rpc.Op("ListAttachedUserPolicies", func(ctx context.Context, c ecr.Caller, in *sdk.ListAttachedUserPoliciesInput) (*sdk.ListAttachedUserPoliciesOutput, error) {
			arns, err := s.id.ListAttached(ctx, c, identity.User, *in.UserName)
			arns, more, marker := part(under(arns, in.PathPrefix), in.Marker, in.MaxItems, self)
			return &sdk.ListAttachedUserPoliciesOutput{AttachedPolicies: attached(arns), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("ListGroupsForUser", func(ctx context.Context, c ecr.Caller, in *sdk.ListGroupsForUserInput) (*sdk.ListGroupsForUserOutput, error) {
			groups, err := s.id.ListGroupsForUser(ctx, c, *in.UserName)
			groups, more, marker := part(groups, in.Marker, in.MaxItems, nameOf)
			return &sdk.ListGroupsForUserOutput{Groups: rpc.Each(groups, group), IsTruncated: more, Marker: marker}, err
		}),
		rpc.Op("CreateAccessKey", s.createAccessKey),
		rpc.Op("ListAccessKeys", s.listAccessKeys),
		rpc.Op("UpdateAccessKey", s.updateAccessKey),
		rpc.Op("DeleteAccessKey", s.deleteAccessKey),
	}
}

func nameOf(e identity.Entity) string { return e.Name }

func user(e identity.Entity) types.User {
	return types.User{Arn: &e.ARN, CreateDate: &e.CreatedAt, Path: &e.Path, UserId: &e.ID, UserName: &e.Name, PermissionsBoundary: boundary(e.Boundary)}
}

// listedUser is a user as lists have it.
func listedUser(e identity.Entity) types.User {
	u := user(e)
	u.PermissionsBoundary = nil
	return u
}

func userWithTags(e identity.Entity) *types.User {
	u := user(e)
	if len(e.Tags) > 0 {
		u.Tags = toTags(e.Tags)
	}
	return &u
}

// userName is the user that a request means: itself if it names none.
func userName(c ecr.Caller, name *string) (string, error) {
	switch {
	case name != nil:
		return *name, nil
	case !strings.Contains(c.ARN, ":user/"):
		return "", ecr.Errorf(ecr.Validation, "Must specify userName when calling with non-User credentials")
	}
	return c.Name, nil
}

func (s *Server) createUser(ctx context.Context, c ecr.Caller, in *sdk.CreateUserInput) (*sdk.CreateUserOutput, error) {
	e, err := s.id.Create(ctx, c, identity.User, *in.UserName, identity.Settings{Path: rpc.Str(in.Path), Boundary: rpc.Str(in.PermissionsBoundary), Tags: fromTags(in.Tags)})
	return &sdk.CreateUserOutput{User: userWithTags(e)}, err
}

func (s *Server) getUser(ctx context.Context, c ecr.Caller, in *sdk.GetUserInput) (*sdk.GetUserOutput, error) {
	if in.UserName == nil && c.Root {
		return &sdk.GetUserOutput{User: &types.User{Arn: &c.ARN, UserId: &c.ID, Path: rpc.Opt("/"), UserName: &c.Name}}, nil
	}
	name, err := userName(c, in.UserName)
	if err != nil {
		return nil, err
	}
	e, err := s.id.Get(ctx, c, identity.User, name)
	return &sdk.GetUserOutput{User: userWithTags(e)}, err
}

func (s *Server) listUsers(ctx context.Context, c ecr.Caller, in *sdk.ListUsersInput) (*sdk.ListUsersOutput, error) {
	list, err := s.id.List(ctx, c, identity.User, rpc.Str(in.PathPrefix), rpc.Str(in.Marker), items(in.MaxItems)+1)
	list, more, marker := page(list, in.MaxItems, nameOf)
	return &sdk.ListUsersOutput{Users: rpc.Each(list, listedUser), IsTruncated: more, Marker: marker}, err
}

func (s *Server) createAccessKey(ctx context.Context, c ecr.Caller, in *sdk.CreateAccessKeyInput) (*sdk.CreateAccessKeyOutput, error) {
	name, err := userName(c, in.UserName)
	if err != nil {
		return nil, err
	}
	k, secret, err := s.id.CreateAccessKey(ctx, c, name)
	return &sdk.CreateAccessKeyOutput{AccessKey: &types.AccessKey{AccessKeyId: &k.ID, SecretAccessKey: &secret, Status: status(k), UserName: &name, CreateDate: &k.CreatedAt}}, err
}

func status(k identity.AccessKey) types.StatusType {
	if k.Active {
		return types.StatusTypeActive
	}
	return types.StatusTypeInactive
}

func (s *Server) listAccessKeys(ctx context.Context, c ecr.Caller, in *sdk.ListAccessKeysInput) (*sdk.ListAccessKeysOutput, error) {
	name, err := userName(c, in.UserName)
	if err != nil {
		return nil, err
	}
	keys, err := s.id.ListAccessKeys(ctx, c, name)
	keys, more, marker := part(keys, in.Marker, in.MaxItems, func(k identity.AccessKey) string { return k.ID })
	return &sdk.ListAccessKeysOutput{IsTruncated: more, Marker: marker, AccessKeyMetadata: rpc.Each(keys, func(k identity.AccessKey) types.AccessKeyMetadata {
		return types.AccessKeyMetadata{AccessKeyId: &k.ID, Status: status(k), UserName: &name, CreateDate: &k.CreatedAt}
	})}, err
}

func (s *Server) updateAccessKey(ctx context.Context, c ecr.Caller, in *sdk.UpdateAccessKeyInput) (*sdk.UpdateAccessKeyOutput, error) {
	name, err := userName(c, in.UserName)
	if err != nil {
		return nil, err
	}
	if in.Status != types.StatusTypeActive && in.Status != types.StatusTypeInactive {
		return nil, ecr.Errorf(ecr.Validation, "Status must be Active or Inactive")
	}
	return none[sdk.UpdateAccessKeyOutput](s.id.UpdateAccessKey(ctx, c, name, *in.AccessKeyId, in.Status == types.StatusTypeActive))
}

func (s *Server) deleteAccessKey(ctx context.Context, c ecr.Caller, in *sdk.DeleteAccessKeyInput) (*sdk.DeleteAccessKeyOutput, error) {
	name, err := userName(c, in.UserName)
	if err != nil {
		return nil, err
	}
	return none[sdk.DeleteAccessKeyOutput](s.id.DeleteAccessKey(ctx, c, name, *in.AccessKeyId))
}
