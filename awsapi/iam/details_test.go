package iamapi

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func testDetails(w *world) {
	t := w.t
	ann, r, g, p := aws.String("ann"), aws.String("r"), aws.String("g"), aws.String("p")
	arn := call(t, w.CreatePolicy, &sdk.CreatePolicyInput{PolicyName: p, Description: aws.String("d"), PolicyDocument: aws.String(awkward)}).Policy.Arn
	call(t, w.CreatePolicyVersion, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(allow("ecr:*")), SetAsDefault: true})
	call(t, w.CreateUser, &sdk.CreateUserInput{UserName: ann, Path: aws.String("/x/"), PermissionsBoundary: aws.String(readOnly), Tags: []types.Tag{tag("k", "v")}})
	call(t, w.CreateRole, &sdk.CreateRoleInput{RoleName: r, AssumeRolePolicyDocument: aws.String(trusting(account)), PermissionsBoundary: arn, Tags: []types.Tag{tag("l", "w")}})
	call(t, w.CreateGroup, &sdk.CreateGroupInput{GroupName: g})
	call(t, w.AddUserToGroup, &sdk.AddUserToGroupInput{GroupName: g, UserName: ann})
	call(t, w.PutUserPolicy, &sdk.PutUserPolicyInput{UserName: ann, PolicyName: p, PolicyDocument: aws.String(awkward)})
	call(t, w.PutRolePolicy, &sdk.PutRolePolicyInput{RoleName: r, PolicyName: p, PolicyDocument: aws.String(awkward)})
	call(t, w.PutGroupPolicy, &sdk.PutGroupPolicyInput{GroupName: g, PolicyName: p, PolicyDocument: aws.String(awkward)})
	call(t, w.AttachUserPolicy, &sdk.AttachUserPolicyInput{UserName: ann, PolicyArn: arn})
	call(t, w.AttachRolePolicy, &sdk.AttachRolePolicyInput{RoleName: r, PolicyArn: arn})
	call(t, w.AttachGroupPolicy, &sdk.AttachGroupPolicyInput{GroupName: g, PolicyArn: arn})

	all := call(t, w.GetAccountAuthorizationDetails, &sdk.GetAccountAuthorizationDetailsInput{})
	if len(all.UserDetailList) != 1 || len(all.RoleDetailList) != 1 || len(all.GroupDetailList) != 1 || len(all.Policies) != 5 {
		t.Fatalf("%d users, %d roles, %d groups, %d policies", len(all.UserDetailList), len(all.RoleDetailList), len(all.GroupDetailList), len(all.Policies))
	}
	u, role, group, own := all.UserDetailList[0], all.RoleDetailList[0], all.GroupDetailList[0], all.Policies[0]
	equal(t, "the user", fmt.Sprint(*u.Arn, *u.Path, *u.UserName, texts(u.GroupList), tagged(u.Tags), *u.PermissionsBoundary.PermissionsBoundaryArn),
		"arn:aws:iam::123456789012:user/x/ann"+"/x/"+"ann"+"g"+"k=v"+readOnly)
	equal(t, "the role", fmt.Sprint(*role.Arn, *role.RoleName, tagged(role.Tags), *role.PermissionsBoundary.PermissionsBoundaryArn), "arn:aws:iam::123456789012:role/r"+"r"+"l=w"+*arn)
	equal(t, "the group", *group.Arn, "arn:aws:iam::123456789012:group/g")
	decoded(t, role.AssumeRolePolicyDocument, trusting(account))
	for _, inline := range [][]types.PolicyDetail{u.UserPolicyList, role.RolePolicyList, group.GroupPolicyList} {
		equal(t, "the inline policies", joined(inline, func(d types.PolicyDetail) string { return *d.PolicyName }), "p")
		decoded(t, inline[0].PolicyDocument, awkward)
	}
	for _, list := range [][]types.AttachedPolicy{u.AttachedManagedPolicies, role.AttachedManagedPolicies, group.AttachedManagedPolicies} {
		equal(t, "the attached policies", joined(list, attachment), "p="+*arn)
	}
	equal(t, "the policy", fmt.Sprint(*own.Arn, *own.DefaultVersionId, *own.AttachmentCount, *own.Description), fmt.Sprint(*arn, "v2", 3, "d"))
	equal(t, "its versions", joined(own.PolicyVersionList, func(v types.PolicyVersion) string { return fmt.Sprint(*v.VersionId, v.IsDefaultVersion) }), "v2true v1false")
	decoded(t, own.PolicyVersionList[1].Document, awkward)

	for filter, want := range map[types.EntityType]string{"User": "1 0 0 0", "Role": "0 1 0 0", "Group": "0 0 1 0", "LocalManagedPolicy": "0 0 0 1", "AWSManagedPolicy": "0 0 0 4"} {
		out := call(t, w.GetAccountAuthorizationDetails, &sdk.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{filter}})
		equal(t, string(filter), fmt.Sprint(len(out.UserDetailList), len(out.RoleDetailList), len(out.GroupDetailList), len(out.Policies)), want)
	}
	got := pages(t, func(marker *string, two *int32) (string, bool, *string) {
		out := call(t, w.GetAccountAuthorizationDetails, &sdk.GetAccountAuthorizationDetailsInput{Marker: marker, MaxItems: two})
		return fmt.Sprint(len(out.UserDetailList), len(out.RoleDetailList), len(out.GroupDetailList), len(out.Policies)), out.IsTruncated, out.Marker
	})
	equal(t, "pages", got, "1 1 0 0|0 0 1 1|0 0 0 2|0 0 0 2")
}
