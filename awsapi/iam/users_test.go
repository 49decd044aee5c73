package iamapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
)

func userText(u types.User) string { return *u.UserName }

func testUsers(w *world) {
	t := w.t
	ann := aws.String("ann")
	made := call(t, w.CreateUser, &sdk.CreateUserInput{UserName: ann, Path: aws.String("/dev/eu/"), PermissionsBoundary: aws.String(readOnly), Tags: []types.Tag{tag("team", "a b"), tag("cost", "")}}).User
	equal(t, "the ARN", *made.Arn, "arn:aws:iam::123456789012:user/dev/eu/ann")
	equal(t, "the path", *made.Path, "/dev/eu/")
	equal(t, "the tags", tagged(made.Tags), "team=a b cost=")
	equal(t, "the boundary", *made.PermissionsBoundary.PermissionsBoundaryArn, readOnly)
	if len(*made.UserId) != 21 || !strings.HasPrefix(*made.UserId, "AIDA") || made.CreateDate.IsZero() || made.PasswordLastUsed != nil {
		t.Errorf("made %+v", made)
	}
	got := call(t, w.GetUser, &sdk.GetUserInput{UserName: ann}).User
	equal(t, "the ID", *got.UserId, *made.UserId)
	equal(t, "the tags that are read", tagged(got.Tags), "team=a b cost=")
	equal(t, "the boundary that is read", *got.PermissionsBoundary.PermissionsBoundaryArn, readOnly)

	exists := "User with name ann already exists."
	fails[*types.EntityAlreadyExistsException](t, w.CreateUser, &sdk.CreateUserInput{UserName: ann}, exists)
	noPolicy := "arn:aws:iam::123456789012:policy/none"
	fails[*types.NoSuchEntityException](t, w.CreateUser, &sdk.CreateUserInput{UserName: aws.String("b"), PermissionsBoundary: &noPolicy}, "Policy "+noPolicy+" does not exist or is not attachable.")
	missing := "The user with name none cannot be found."
	none := aws.String("none")
	fails[*types.NoSuchEntityException](t, w.GetUser, &sdk.GetUserInput{UserName: none}, missing)
	fails[*types.NoSuchEntityException](t, w.DeleteUser, &sdk.DeleteUserInput{UserName: none}, missing)
	fails[*types.NoSuchEntityException](t, w.TagUser, &sdk.TagUserInput{UserName: none, Tags: []types.Tag{tag("a", "")}}, missing)
	fails[*types.NoSuchEntityException](t, w.ListUserTags, &sdk.ListUserTagsInput{UserName: none}, missing)

	changeUser(t, w, ann)
	listUsers(t, w, made.UserId)
	call(t, w.DeleteUser, &sdk.DeleteUserInput{UserName: ann})
	fails[*types.NoSuchEntityException](t, w.GetUser, &sdk.GetUserInput{UserName: ann}, "The user with name ann cannot be found.")
}

// changeUser has the user with the tags team=a b cost=.
func changeUser(t *testing.T, w *world, ann *string) {
	t.Helper()
	call(t, w.TagUser, &sdk.TagUserInput{UserName: ann, Tags: []types.Tag{tag("Team", "c"), tag("env", "a:b")}})
	equal(t, "the merged tags", tagged(call(t, w.ListUserTags, &sdk.ListUserTagsInput{UserName: ann}).Tags), "Team=c cost= env=a:b")
	call(t, w.UntagUser, &sdk.UntagUserInput{UserName: ann, TagKeys: []string{"cost", "none"}})
	equal(t, "the tags that are left", tagged(call(t, w.ListUserTags, &sdk.ListUserTagsInput{UserName: ann}).Tags), "Team=c env=a:b")
	var many []types.Tag
	for i := range 50 {
		many = append(many, tag(fmt.Sprint("k", i), "v"))
	}
	fails[*types.LimitExceededException](t, w.TagUser, &sdk.TagUserInput{UserName: ann, Tags: many}, "The number of tags has reached the maximum limit (50)")

	call(t, w.DeleteUserPermissionsBoundary, &sdk.DeleteUserPermissionsBoundaryInput{UserName: ann})
	if b := call(t, w.GetUser, &sdk.GetUserInput{UserName: ann}).User.PermissionsBoundary; b != nil {
		t.Errorf("the boundary is still %s", *b.PermissionsBoundaryArn)
	}
	call(t, w.PutUserPermissionsBoundary, &sdk.PutUserPermissionsBoundaryInput{UserName: ann, PermissionsBoundary: aws.String(pullOnly)})
	equal(t, "the new boundary", *call(t, w.GetUser, &sdk.GetUserInput{UserName: ann}).User.PermissionsBoundary.PermissionsBoundaryArn, pullOnly)
	fails[*types.NoSuchEntityException](t, w.PutUserPermissionsBoundary, &sdk.PutUserPermissionsBoundaryInput{UserName: ann, PermissionsBoundary: aws.String(policyPrefix + "none")}, "Policy "+policyPrefix+"none does not exist or is not attachable.")
}

// listUsers has the user /dev/eu/ann.
func listUsers(t *testing.T, w *world, ann *string) {
	t.Helper()
	for _, u := range []struct{ name, path string }{{"bob", "/dev/"}, {"cat", "/ops/"}, {"dan", "/"}, {"eve", "/dev/eu/"}} {
		call(t, w.CreateUser, &sdk.CreateUserInput{UserName: aws.String(u.name), Path: aws.String(u.path)})
	}
	for path, want := range map[string]string{"/": "ann bob|cat dan|eve", "/dev/": "ann bob|eve", "/dev/eu/": "ann eve", "/ops/": "cat", "/none/": ""} {
		equal(t, "users under "+path, pages(t, func(marker *string, two *int32) (string, bool, *string) {
			out := call(t, w.ListUsers, &sdk.ListUsersInput{PathPrefix: &path, Marker: marker, MaxItems: two})
			return joined(out.Users, userText), out.IsTruncated, out.Marker
		}), want)
	}
	listed := call(t, w.ListUsers, &sdk.ListUsersInput{})
	equal(t, "all users", joined(listed.Users, userText), "ann bob cat dan eve")
	if first := listed.Users[0]; *first.UserId != *ann || first.Tags != nil || listed.IsTruncated || listed.Marker != nil {
		t.Errorf("listed %+v", first)
	}
}

// TestGetUserOfCaller asks without a name.
func TestGetUserOfCaller(t *testing.T) {
	w := newWorld(t, nil)
	root := call(t, w.GetUser, &sdk.GetUserInput{}).User
	equal(t, "the root user", *root.Arn, "arn:aws:iam::123456789012:root")
	equal(t, "the root user's ID", *root.UserId, account)

	ann := w.user("ann", allow("iam:GetUser"))
	got := call(t, w.as(ann).GetUser, &sdk.GetUserInput{}).User
	equal(t, "the user", *got.Arn, "arn:aws:iam::123456789012:user/ann")
	equal(t, "the user's ID", *got.UserId, ann.ID)

	bob := w.user("bob", "")
	refused(t, w.as(bob).GetUser, &sdk.GetUserInput{}, "AccessDenied",
		"User: arn:aws:iam::123456789012:user/bob is not authorized to perform: iam:GetUser on resource: arn:aws:iam::123456789012:user/bob because no identity-based policy allows the iam:GetUser action")

	session := ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:sts::123456789012:assumed-role/r/ann", Account: account, ID: "AROA:ann", Name: "ann", RoleARN: "arn:aws:iam::123456789012:role/r"}}
	const userless = "Must specify userName when calling with non-User credentials"
	refused(t, w.as(session).GetUser, &sdk.GetUserInput{}, "ValidationError", userless)
	refused(t, w.as(session).CreateAccessKey, &sdk.CreateAccessKeyInput{}, "ValidationError", userless)
	refused(t, w.as(session).ListAccessKeys, &sdk.ListAccessKeysInput{}, "ValidationError", userless)
	refused(t, w.as(session).UpdateAccessKey, &sdk.UpdateAccessKeyInput{AccessKeyId: &ann.AccessKeyID, Status: "Active"}, "ValidationError", userless)
	refused(t, w.as(session).DeleteAccessKey, &sdk.DeleteAccessKeyInput{AccessKeyId: &ann.AccessKeyID}, "ValidationError", userless)
}

// TestDenied has policies refuse what they name, and nothing else.
func TestDenied(t *testing.T) {
	w := newWorld(t, nil)
	ann := w.user("ann", `{"Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::123456789012:user/a*"},{"Effect":"Deny","Action":"iam:DeleteUser","Resource":"*"}]}`)
	w.user("bob", "")
	c := w.as(ann)
	call(t, c.GetUser, &sdk.GetUserInput{UserName: aws.String("ann")})
	for name, what := range map[string]string{"bob": "another's user", "none": "one that does not exist"} {
		t.Run(what, func(t *testing.T) {
			refused(t, c.GetUser, &sdk.GetUserInput{UserName: &name}, "AccessDenied",
				"User: "+ann.ARN+" is not authorized to perform: iam:GetUser on resource: arn:aws:iam::123456789012:user/"+name+" because no identity-based policy allows the iam:GetUser action")
		})
	}
	refused(t, c.DeleteUser, &sdk.DeleteUserInput{UserName: aws.String("ann")}, "AccessDenied",
		"User: "+ann.ARN+" is not authorized to perform: iam:DeleteUser on resource: arn:aws:iam::123456789012:user/ann with an explicit deny in an identity-based policy")
	fails[*types.NoSuchEntityException](t, c.GetUser, &sdk.GetUserInput{UserName: aws.String("a-none")}, "The user with name a-none cannot be found.")
}

func testUserPolicies(w *world) {
	t := w.t
	w.user("ann", "")
	ann, none := aws.String("ann"), aws.String("none")
	for _, name := range []string{"p2", "p1", "p4", "p3", "p5"} {
		call(t, w.PutUserPolicy, &sdk.PutUserPolicyInput{UserName: ann, PolicyName: &name, PolicyDocument: aws.String(allow("ecr:Get*"))})
	}
	equal(t, "the policies", pages(t, func(marker *string, two *int32) (string, bool, *string) {
		out := call(t, w.ListUserPolicies, &sdk.ListUserPoliciesInput{UserName: ann, Marker: marker, MaxItems: two})
		return texts(out.PolicyNames), out.IsTruncated, out.Marker
	}), "p1 p2|p3 p4|p5")
	call(t, w.PutUserPolicy, &sdk.PutUserPolicyInput{UserName: ann, PolicyName: aws.String("p1"), PolicyDocument: aws.String(awkward)})
	got := call(t, w.GetUserPolicy, &sdk.GetUserPolicyInput{UserName: ann, PolicyName: aws.String("p1")})
	equal(t, "whose the policy is", *got.UserName+" "+*got.PolicyName, "ann p1")
	decoded(t, got.PolicyDocument, awkward)

	fails[*types.MalformedPolicyDocumentException](t, w.PutUserPolicy, &sdk.PutUserPolicyInput{UserName: ann, PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Statement":[]}x`)}, malformed(`{"Statement":[]}x`))
	missing := "The user with name none cannot be found."
	fails[*types.NoSuchEntityException](t, w.PutUserPolicy, &sdk.PutUserPolicyInput{UserName: none, PolicyName: none, PolicyDocument: aws.String(allow("*"))}, missing)
	fails[*types.NoSuchEntityException](t, w.ListUserPolicies, &sdk.ListUserPoliciesInput{UserName: none}, missing)
	fails[*types.NoSuchEntityException](t, w.GetUserPolicy, &sdk.GetUserPolicyInput{UserName: ann, PolicyName: none}, "The user policy with name none cannot be found.")
	call(t, w.DeleteUserPolicy, &sdk.DeleteUserPolicyInput{UserName: ann, PolicyName: aws.String("p5")})
	fails[*types.NoSuchEntityException](t, w.DeleteUserPolicy, &sdk.DeleteUserPolicyInput{UserName: ann, PolicyName: aws.String("p5")}, "The user policy with name p5 cannot be found.")
	equal(t, "the policies that are left", texts(call(t, w.ListUserPolicies, &sdk.ListUserPoliciesInput{UserName: ann}).PolicyNames), "p1 p2 p3 p4")

	for range 2 { // once is enough
		call(t, w.AttachUserPolicy, &sdk.AttachUserPolicyInput{UserName: ann, PolicyArn: aws.String(readOnly)})
	}
	call(t, w.AttachUserPolicy, &sdk.AttachUserPolicyInput{UserName: ann, PolicyArn: aws.String(pullOnly)})
	list := call(t, w.ListAttachedUserPolicies, &sdk.ListAttachedUserPoliciesInput{UserName: ann})
	equal(t, "the attached policies", joined(list.AttachedPolicies, attachment), "AmazonEC2ContainerRegistryPullOnly="+pullOnly+" AmazonEC2ContainerRegistryReadOnly="+readOnly)
	first := call(t, w.ListAttachedUserPolicies, &sdk.ListAttachedUserPoliciesInput{UserName: ann, MaxItems: aws.Int32(1)})
	second := call(t, w.ListAttachedUserPolicies, &sdk.ListAttachedUserPoliciesInput{UserName: ann, MaxItems: aws.Int32(1), Marker: first.Marker})
	equal(t, "the second page", joined(second.AttachedPolicies, attachment), "AmazonEC2ContainerRegistryReadOnly="+readOnly)
	equal(t, "the first page is truncated", first.IsTruncated, true)
	equal(t, "the second page is truncated", second.IsTruncated, false)
	gone := "arn:aws:iam::123456789012:policy/gone"
	fails[*types.NoSuchEntityException](t, w.AttachUserPolicy, &sdk.AttachUserPolicyInput{UserName: ann, PolicyArn: &gone}, "Policy "+gone+" does not exist or is not attachable.")
	fails[*types.NoSuchEntityException](t, w.AttachUserPolicy, &sdk.AttachUserPolicyInput{UserName: none, PolicyArn: aws.String(readOnly)}, missing)

	call(t, w.DetachUserPolicy, &sdk.DetachUserPolicyInput{UserName: ann, PolicyArn: aws.String(pullOnly)})
	fails[*types.NoSuchEntityException](t, w.DetachUserPolicy, &sdk.DetachUserPolicyInput{UserName: ann, PolicyArn: aws.String(pullOnly)}, "Policy "+pullOnly+" was not found.")
}

func attachment(p types.AttachedPolicy) string { return *p.PolicyName + "=" + *p.PolicyArn }

// malformed is what IAM says to a policy that is none.
func malformed(document string) string {
	_, err := iam.Parse([]byte(document), iam.Identity)
	return fmt.Sprint("The policy is malformed: ", err)
}

func testAccessKeys(w *world) {
	t := w.t
	created := w.user("ann", allow("iam:*AccessKey*"))
	ann := aws.String("ann")
	made := call(t, w.CreateAccessKey, &sdk.CreateAccessKeyInput{UserName: ann}).AccessKey
	if len(*made.AccessKeyId) != 20 || !strings.HasPrefix(*made.AccessKeyId, "AKIA") || len(*made.SecretAccessKey) != 40 || *made.UserName != "ann" || made.Status != "Active" || made.CreateDate.IsZero() {
		t.Errorf("made %+v", made)
	}
	if secret, p, err := w.id.SecretKey(t.Context(), *made.AccessKeyId); err != nil || secret != *made.SecretAccessKey || p.Name != "ann" {
		t.Errorf("the key is of %+v, %v", p, err)
	}
	fails[*types.LimitExceededException](t, w.CreateAccessKey, &sdk.CreateAccessKeyInput{UserName: ann}, "Cannot exceed quota for AccessKeysPerUser: 2")
	missing := "The user with name none cannot be found."
	fails[*types.NoSuchEntityException](t, w.CreateAccessKey, &sdk.CreateAccessKeyInput{UserName: aws.String("none")}, missing)
	fails[*types.NoSuchEntityException](t, w.ListAccessKeys, &sdk.ListAccessKeysInput{UserName: aws.String("none")}, missing)

	own := w.as(created) // its own, without a name
	call(t, own.UpdateAccessKey, &sdk.UpdateAccessKeyInput{AccessKeyId: made.AccessKeyId, Status: types.StatusTypeInactive})
	states := map[string]types.StatusType{}
	var marker *string
	for range 2 {
		out := call(t, own.ListAccessKeys, &sdk.ListAccessKeysInput{MaxItems: aws.Int32(1), Marker: marker})
		equal(t, "keys on a page", len(out.AccessKeyMetadata), 1)
		k := out.AccessKeyMetadata[0]
		states[*k.AccessKeyId], marker = k.Status, out.Marker
		equal(t, "the key's user", *k.UserName, "ann")
	}
	equal(t, "the updated key", states[*made.AccessKeyId], "Inactive")
	equal(t, "the other key", states[created.AccessKeyID], "Active")
	equal(t, "a third page", marker == nil, true)

	absent := "AKIAAAAAAAAAAAAAAAAA"
	fails[*types.NoSuchEntityException](t, w.UpdateAccessKey, &sdk.UpdateAccessKeyInput{UserName: ann, AccessKeyId: &absent, Status: "Active"}, "The Access Key with id "+absent+" cannot be found.")
	refused(t, w.UpdateAccessKey, &sdk.UpdateAccessKeyInput{UserName: ann, AccessKeyId: made.AccessKeyId, Status: "Expired"}, "ValidationError", "Status must be Active or Inactive")
	bob := w.user("bob", "")
	fails[*types.NoSuchEntityException](t, w.DeleteAccessKey, &sdk.DeleteAccessKeyInput{UserName: ann, AccessKeyId: &bob.AccessKeyID}, "The Access Key with id "+bob.AccessKeyID+" cannot be found.")
	fails[*types.DeleteConflictException](t, w.DeleteUser, &sdk.DeleteUserInput{UserName: aws.String("bob")}, "Cannot delete entity, must delete access keys first.")
	call(t, own.DeleteAccessKey, &sdk.DeleteAccessKeyInput{AccessKeyId: made.AccessKeyId})
	call(t, w.DeleteAccessKey, &sdk.DeleteAccessKeyInput{UserName: ann, AccessKeyId: &created.AccessKeyID})
	fails[*types.DeleteConflictException](t, w.DeleteUser, &sdk.DeleteUserInput{UserName: ann}, "Cannot delete entity, must delete policies first.")
	if _, _, err := w.id.SecretKey(t.Context(), created.AccessKeyID); err == nil {
		t.Error("a deleted key is good")
	}
	equal(t, "keys that are left", len(call(t, w.ListAccessKeys, &sdk.ListAccessKeysInput{UserName: ann}).AccessKeyMetadata), 0)
}
