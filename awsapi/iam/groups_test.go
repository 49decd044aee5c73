package iamapi

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func groupText(g types.Group) string { return *g.GroupName }

func testGroups(w *world) {
	t := w.t
	dev, none := aws.String("dev"), aws.String("none")
	made := call(t, w.CreateGroup, &sdk.CreateGroupInput{GroupName: dev, Path: aws.String("/eu/")}).Group
	equal(t, "the ARN", *made.Arn, "arn:aws:iam::123456789012:group/eu/dev")
	if !strings.HasPrefix(*made.GroupId, "AGPA") || *made.Path != "/eu/" || made.CreateDate.IsZero() {
		t.Errorf("made %+v", made)
	}
	fails[*types.EntityAlreadyExistsException](t, w.CreateGroup, &sdk.CreateGroupInput{GroupName: dev}, "Group with name dev already exists.")
	missing := "The group with name none cannot be found."
	fails[*types.NoSuchEntityException](t, w.GetGroup, &sdk.GetGroupInput{GroupName: none}, missing)
	fails[*types.NoSuchEntityException](t, w.DeleteGroup, &sdk.DeleteGroupInput{GroupName: none}, missing)

	for _, name := range []string{"eve", "ann", "bob"} {
		w.user(name, "")
		for range 2 { // once is enough
			call(t, w.AddUserToGroup, &sdk.AddUserToGroupInput{GroupName: dev, UserName: &name})
		}
	}
	equal(t, "the members", pages(t, func(marker *string, two *int32) (string, bool, *string) {
		out := call(t, w.GetGroup, &sdk.GetGroupInput{GroupName: dev, Marker: marker, MaxItems: two})
		equal(t, "the group", *out.Group.GroupId, *made.GroupId)
		return joined(out.Users, userText), out.IsTruncated, out.Marker
	}), "ann bob|eve")
	fails[*types.NoSuchEntityException](t, w.AddUserToGroup, &sdk.AddUserToGroupInput{GroupName: none, UserName: aws.String("ann")}, missing)
	fails[*types.NoSuchEntityException](t, w.AddUserToGroup, &sdk.AddUserToGroupInput{GroupName: dev, UserName: none}, "The user with name none cannot be found.")

	for _, g := range []struct{ name, path string }{{"ops", "/"}, {"all", "/eu/"}} {
		call(t, w.CreateGroup, &sdk.CreateGroupInput{GroupName: aws.String(g.name), Path: aws.String(g.path)})
		call(t, w.AddUserToGroup, &sdk.AddUserToGroupInput{GroupName: aws.String(g.name), UserName: aws.String("ann")})
	}
	equal(t, "a user's groups", pages(t, func(marker *string, two *int32) (string, bool, *string) {
		out := call(t, w.ListGroupsForUser, &sdk.ListGroupsForUserInput{UserName: aws.String("ann"), Marker: marker, MaxItems: two})
		return joined(out.Groups, groupText), out.IsTruncated, out.Marker
	}), "all dev|ops")
	fails[*types.NoSuchEntityException](t, w.ListGroupsForUser, &sdk.ListGroupsForUserInput{UserName: none}, "The user with name none cannot be found.")
	for path, want := range map[string]string{"/": "all dev|ops", "/eu/": "all dev", "/us/": ""} {
		equal(t, "groups under "+path, pages(t, func(marker *string, two *int32) (string, bool, *string) {
			out := call(t, w.ListGroups, &sdk.ListGroupsInput{PathPrefix: &path, Marker: marker, MaxItems: two})
			return joined(out.Groups, groupText), out.IsTruncated, out.Marker
		}), want)
	}

	fails[*types.DeleteConflictException](t, w.DeleteGroup, &sdk.DeleteGroupInput{GroupName: dev}, "Cannot delete entity, must remove users from group first.")
	for _, name := range []string{"eve", "ann", "bob"} {
		call(t, w.RemoveUserFromGroup, &sdk.RemoveUserFromGroupInput{GroupName: dev, UserName: &name})
	}
	fails[*types.NoSuchEntityException](t, w.RemoveUserFromGroup, &sdk.RemoveUserFromGroupInput{GroupName: dev, UserName: none}, "The user with name none cannot be found.")
	equal(t, "members that are left", len(call(t, w.GetGroup, &sdk.GetGroupInput{GroupName: dev}).Users), 0)
	call(t, w.DeleteGroup, &sdk.DeleteGroupInput{GroupName: dev})
	fails[*types.NoSuchEntityException](t, w.GetGroup, &sdk.GetGroupInput{GroupName: dev}, "The group with name dev cannot be found.")
}

func testGroupPolicies(w *world) {
	t := w.t
	g, p, none := aws.String("g"), aws.String("p"), aws.String("none")
	call(t, w.CreateGroup, &sdk.CreateGroupInput{GroupName: g})
	for _, name := range []string{"p", "b", "c"} {
		call(t, w.PutGroupPolicy, &sdk.PutGroupPolicyInput{GroupName: g, PolicyName: &name, PolicyDocument: aws.String(awkward)})
	}
	got := call(t, w.GetGroupPolicy, &sdk.GetGroupPolicyInput{GroupName: g, PolicyName: p})
	equal(t, "whose the policy is", *got.GroupName+" "+*got.PolicyName, "g p")
	decoded(t, got.PolicyDocument, awkward)
	equal(t, "the policies", pages(t, func(marker *string, two *int32) (string, bool, *string) {
		out := call(t, w.ListGroupPolicies, &sdk.ListGroupPoliciesInput{GroupName: g, Marker: marker, MaxItems: two})
		return texts(out.PolicyNames), out.IsTruncated, out.Marker
	}), "b c|p")
	missing := "The group with name none cannot be found."
	fails[*types.MalformedPolicyDocumentException](t, w.PutGroupPolicy, &sdk.PutGroupPolicyInput{GroupName: g, PolicyName: p, PolicyDocument: aws.String("{}")}, malformed("{}"))
	fails[*types.NoSuchEntityException](t, w.PutGroupPolicy, &sdk.PutGroupPolicyInput{GroupName: none, PolicyName: p, PolicyDocument: aws.String(awkward)}, missing)
	fails[*types.NoSuchEntityException](t, w.GetGroupPolicy, &sdk.GetGroupPolicyInput{GroupName: g, PolicyName: none}, "The group policy with name none cannot be found.")
	fails[*types.DeleteConflictException](t, w.DeleteGroup, &sdk.DeleteGroupInput{GroupName: g}, "Cannot delete entity, must delete policies first.")
	call(t, w.DeleteGroupPolicy, &sdk.DeleteGroupPolicyInput{GroupName: g, PolicyName: p})
	fails[*types.NoSuchEntityException](t, w.DeleteGroupPolicy, &sdk.DeleteGroupPolicyInput{GroupName: g, PolicyName: p}, "The group policy with name p cannot be found.")

	call(t, w.AttachGroupPolicy, &sdk.AttachGroupPolicyInput{GroupName: g, PolicyArn: aws.String(readOnly)})
	equal(t, "the attached policies", joined(call(t, w.ListAttachedGroupPolicies, &sdk.ListAttachedGroupPoliciesInput{GroupName: g}).AttachedPolicies, attachment), "AmazonEC2ContainerRegistryReadOnly="+readOnly)
	fails[*types.NoSuchEntityException](t, w.ListAttachedGroupPolicies, &sdk.ListAttachedGroupPoliciesInput{GroupName: none}, missing)
	call(t, w.DetachGroupPolicy, &sdk.DetachGroupPolicyInput{GroupName: g, PolicyArn: aws.String(readOnly)})
	fails[*types.NoSuchEntityException](t, w.DetachGroupPolicy, &sdk.DetachGroupPolicyInput{GroupName: g, PolicyArn: aws.String(readOnly)}, "Policy "+readOnly+" was not found.")

	ann := w.user("ann", "") // policies of groups are its members'
	call(t, w.PutGroupPolicy, &sdk.PutGroupPolicyInput{GroupName: g, PolicyName: p, PolicyDocument: aws.String(allow("iam:GetUser"))})
	call(t, w.AddUserToGroup, &sdk.AddUserToGroupInput{GroupName: g, UserName: aws.String("ann")})
	_, member, err := w.id.SecretKey(t.Context(), ann.AccessKeyID)
	if err != nil {
		t.Fatal(err)
	}
	ann.Principal = member
	call(t, w.as(ann).GetUser, &sdk.GetUserInput{})
}
