package iamapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

func (s *Server) getAccountAuthorizationDetails(ctx context.Context, c ecr.Caller, in *sdk.GetAccountAuthorizationDetailsInput) (*sdk.GetAccountAuthorizationDetailsOutput, error) {
	var f identity.DetailFilter
	for _, t := range in.Filter {
		switch t {
		case types.EntityTypeUser:
			f.Kinds = append(f.Kinds, identity.User)
		case types.EntityTypeRole:
			f.Kinds = append(f.Kinds, identity.Role)
		case types.EntityTypeGroup:
			f.Kinds = append(f.Kinds, identity.Group)
		case types.EntityTypeLocalManagedPolicy:
			f.Local = true
		case types.EntityTypeAWSManagedPolicy:
			f.AWS = true
		}
	}
	list, next, err := s.id.AuthorizationDetails(ctx, c, f, rpc.Str(in.Marker), items(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &sdk.GetAccountAuthorizationDetailsOutput{UserDetailList: []types.UserDetail{}, RoleDetailList: []types.RoleDetail{},
		GroupDetailList: []types.GroupDetail{}, Policies: []types.ManagedPolicyDetail{}, IsTruncated: next != "", Marker: rpc.Opt(next)}
	for _, d := range list {
		addDetails(out, d)
	}
	return out, nil
}

func addDetails(out *sdk.GetAccountAuthorizationDetailsOutput, d identity.Details) {
	e := &d.Entity
	inline := rpc.Each(d.Inline, func(p meta.InlinePolicy) types.PolicyDetail {
		return types.PolicyDetail{PolicyName: &p.Name, PolicyDocument: document(p.Document)}
	})
	switch e.Kind {
	case identity.User:
		out.UserDetailList = append(out.UserDetailList, types.UserDetail{Arn: &e.ARN, CreateDate: &e.CreatedAt, Path: &e.Path, UserId: &e.ID, UserName: &e.Name,
			PermissionsBoundary: boundary(e.Boundary), Tags: toTags(e.Tags), GroupList: rpc.Each(d.Groups, self), UserPolicyList: inline, AttachedManagedPolicies: attached(d.Attached)})
	case identity.Role:
		out.RoleDetailList = append(out.RoleDetailList, types.RoleDetail{Arn: &e.ARN, CreateDate: &e.CreatedAt, Path: &e.Path, RoleId: &e.ID, RoleName: &e.Name,
			AssumeRolePolicyDocument: document(e.Trust), PermissionsBoundary: boundary(e.Boundary), Tags: toTags(e.Tags), InstanceProfileList: []types.InstanceProfile{},
			RolePolicyList: inline, AttachedManagedPolicies: attached(d.Attached)})
	case identity.Group:
		out.GroupDetailList = append(out.GroupDetailList, types.GroupDetail{Arn: &e.ARN, CreateDate: &e.CreatedAt, Path: &e.Path, GroupId: &e.ID, GroupName: &e.Name,
			GroupPolicyList: inline, AttachedManagedPolicies: attached(d.Attached)})
	default:
		p := policy(d.Policy)
		out.Policies = append(out.Policies, types.ManagedPolicyDetail{Arn: p.Arn, PolicyName: p.PolicyName, PolicyId: p.PolicyId, Path: p.Path, DefaultVersionId: p.DefaultVersionId,
			AttachmentCount: p.AttachmentCount, Description: rpc.Opt(d.Policy.Description), IsAttachable: true, CreateDate: p.CreateDate, UpdateDate: p.UpdateDate,
			PolicyVersionList: rpc.Each(d.Versions, version)})
	}
}
