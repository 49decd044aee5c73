package iamapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/iam"
)

func testRoles(w *world) {
	t := w.t
	build, none := aws.String("build"), aws.String("none")
	trust := strings.ReplaceAll(trusting(account), ",", " ,\r\n\t")
	made := call(t, w.CreateRole, &sdk.CreateRoleInput{RoleName: build, Path: aws.String("/ci/"), AssumeRolePolicyDocument: &trust, Description: aws.String("builds é"),
		MaxSessionDuration: aws.Int32(7200), PermissionsBoundary: aws.String(readOnly), Tags: []types.Tag{tag("team", "a")}}).Role
	got := call(t, w.GetRole, &sdk.GetRoleInput{RoleName: build}).Role
	for what, r := range map[string]*types.Role{"made": made, "got": got} {
		equal(t, what+" ARN", *r.Arn, "arn:aws:iam::123456789012:role/ci/build")
		equal(t, what+" description", *r.Description, "builds é")
		equal(t, what+" longest session", *r.MaxSessionDuration, 7200)
		equal(t, what+" boundary", *r.PermissionsBoundary.PermissionsBoundaryArn, readOnly)
		equal(t, what+" tags", tagged(r.Tags), "team=a")
		equal(t, what+" ID", *r.RoleId, *made.RoleId)
		decoded(t, r.AssumeRolePolicyDocument, trust)
		if len(*r.RoleId) != 21 || !strings.HasPrefix(*r.RoleId, "AROA") || r.CreateDate.IsZero() || *r.Path != "/ci/" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	fails[*types.EntityAlreadyExistsException](t, w.CreateRole, &sdk.CreateRoleInput{RoleName: aws.String("build"), AssumeRolePolicyDocument: &trust}, "Role with name build already exists.")
	fails[*types.MalformedPolicyDocumentException](t, w.CreateRole, &sdk.CreateRoleInput{RoleName: none, AssumeRolePolicyDocument: aws.String(allow("*"))}, malformedTrust(allow("*")))
	missing := "The role with name none cannot be found."
	fails[*types.NoSuchEntityException](t, w.GetRole, &sdk.GetRoleInput{RoleName: none}, missing)
	fails[*types.NoSuchEntityException](t, w.DeleteRole, &sdk.DeleteRoleInput{RoleName: none}, missing)
	fails[*types.NoSuchEntityException](t, w.UpdateRole, &sdk.UpdateRoleInput{RoleName: none}, missing)

	call(t, w.UpdateRole, &sdk.UpdateRoleInput{RoleName: build, MaxSessionDuration: aws.Int32(43200)})
	call(t, w.UpdateAssumeRolePolicy, &sdk.UpdateAssumeRolePolicyInput{RoleName: build, PolicyDocument: aws.String(trusting(stranger))})
	got = call(t, w.GetRole, &sdk.GetRoleInput{RoleName: build}).Role
	equal(t, "the description that was not named", *got.Description, "builds é")
	equal(t, "the new longest session", *got.MaxSessionDuration, 43200)
	decoded(t, got.AssumeRolePolicyDocument, trusting(stranger))
	fails[*types.MalformedPolicyDocumentException](t, w.UpdateAssumeRolePolicy, &sdk.UpdateAssumeRolePolicyInput{RoleName: build, PolicyDocument: aws.String("{")}, malformedTrust("{"))
	call(t, w.UpdateRole, &sdk.UpdateRoleInput{RoleName: build, Description: aws.String("x")})
	equal(t, "the longest session that was not named", *call(t, w.GetRole, &sdk.GetRoleInput{RoleName: build}).Role.MaxSessionDuration, 43200)
	equal(t, "the new description", *call(t, w.UpdateRoleDescription, &sdk.UpdateRoleDescriptionInput{RoleName: build, Description: aws.String("y")}).Role.Description, "y")

	call(t, w.TagRole, &sdk.TagRoleInput{RoleName: build, Tags: []types.Tag{tag("env", "p"), tag("team", "b")}})
	call(t, w.UntagRole, &sdk.UntagRoleInput{RoleName: build, TagKeys: []string{"env"}})
	equal(t, "the tags", tagged(call(t, w.ListRoleTags, &sdk.ListRoleTagsInput{RoleName: build}).Tags), "team=b")
	call(t, w.DeleteRolePermissionsBoundary, &sdk.DeleteRolePermissionsBoundaryInput{RoleName: build})
	if b := call(t, w.GetRole, &sdk.GetRoleInput{RoleName: build}).Role.PermissionsBoundary; b != nil {
		t.Errorf("the boundary is still %s", *b.PermissionsBoundaryArn)
	}
	call(t, w.PutRolePermissionsBoundary, &sdk.PutRolePermissionsBoundaryInput{RoleName: build, PermissionsBoundary: aws.String(pullOnly)})
	equal(t, "the boundary", *call(t, w.GetRole, &sdk.GetRoleInput{RoleName: build}).Role.PermissionsBoundary.PermissionsBoundaryArn, pullOnly)

	profiles := call(t, w.ListInstanceProfilesForRole, &sdk.ListInstanceProfilesForRoleInput{RoleName: build})
	if profiles.InstanceProfiles == nil || len(profiles.InstanceProfiles) != 0 || profiles.IsTruncated {
		t.Errorf("profiles %+v", profiles)
	}
	fails[*types.NoSuchEntityException](t, w.ListInstanceProfilesForRole, &sdk.ListInstanceProfilesForRoleInput{RoleName: none}, missing)
	listRoles(t, w)
	call(t, w.DeleteRole, &sdk.DeleteRoleInput{RoleName: build})
	fails[*types.NoSuchEntityException](t, w.GetRole, &sdk.GetRoleInput{RoleName: build}, "The role with name build cannot be found.")
}

func listRoles(t *testing.T, w *world) {
	t.Helper()
	for i := range 3 {
		path := []string{"/ci/eu/", "/", "/ci/"}[i]
		made := call(t, w.CreateRole, &sdk.CreateRoleInput{RoleName: aws.String(fmt.Sprint("r", i)), Path: &path, AssumeRolePolicyDocument: aws.String(trusting(account))}).Role
		equal(t, "the longest session by default", *made.MaxSessionDuration, 3600)
		if made.Description != nil || made.Tags != nil {
			t.Errorf("made %+v", made)
		}
	}
	for path, want := range map[string]string{"/": "build r0|r1 r2", "/ci/": "build r0|r2", "/ci/eu/": "r0", "/no/": ""} {
		equal(t, "roles under "+path, pages(t, func(marker *string, two *int32) (string, bool, *string) {
			out := call(t, w.ListRoles, &sdk.ListRolesInput{PathPrefix: &path, Marker: marker, MaxItems: two})
			return joined(out.Roles, func(r types.Role) string { return *r.RoleName }), out.IsTruncated, out.Marker
		}), want)
	}
	listed := call(t, w.ListRoles, &sdk.ListRolesInput{MaxItems: aws.Int32(1)}).Roles[0]
	decoded(t, listed.AssumeRolePolicyDocument, trusting(stranger))
	equal(t, "the listed description", *listed.Description, "y")
	if listed.Tags != nil {
		t.Errorf("a list has the tags %s", tagged(listed.Tags))
	}
}

// malformedTrust is what IAM says to a trust policy that is none.
func malformedTrust(document string) string {
	_, err := iam.Parse([]byte(document), iam.Trust)
	return fmt.Sprint("The trust policy is malformed: ", err)
}

func testRolePolicies(w *world) {
	t := w.t
	r, p, none := aws.String("r"), aws.String("p"), aws.String("none")
	call(t, w.CreateRole, &sdk.CreateRoleInput{RoleName: r, AssumeRolePolicyDocument: aws.String(trusting(account))})
	for _, name := range []string{"p", "b", "c"} {
		call(t, w.PutRolePolicy, &sdk.PutRolePolicyInput{RoleName: r, PolicyName: &name, PolicyDocument: aws.String(awkward)})
	}
	got := call(t, w.GetRolePolicy, &sdk.GetRolePolicyInput{RoleName: r, PolicyName: p})
	equal(t, "whose the policy is", *got.RoleName+" "+*got.PolicyName, "r p")
	decoded(t, got.PolicyDocument, awkward)
	equal(t, "the policies", pages(t, func(marker *string, two *int32) (string, bool, *string) {
		out := call(t, w.ListRolePolicies, &sdk.ListRolePoliciesInput{RoleName: r, Marker: marker, MaxItems: two})
		return texts(out.PolicyNames), out.IsTruncated, out.Marker
	}), "b c|p")
	missing := "The role with name none cannot be found."
	fails[*types.MalformedPolicyDocumentException](t, w.PutRolePolicy, &sdk.PutRolePolicyInput{RoleName: r, PolicyName: p, PolicyDocument: aws.String("{")}, malformed("{"))
	fails[*types.NoSuchEntityException](t, w.PutRolePolicy, &sdk.PutRolePolicyInput{RoleName: none, PolicyName: p, PolicyDocument: aws.String(awkward)}, missing)
	fails[*types.NoSuchEntityException](t, w.GetRolePolicy, &sdk.GetRolePolicyInput{RoleName: r, PolicyName: none}, "The role policy with name none cannot be found.")
	fails[*types.DeleteConflictException](t, w.DeleteRole, &sdk.DeleteRoleInput{RoleName: r}, "Cannot delete entity, must delete policies first.")
	for _, name := range []string{"p", "b", "c"} {
		call(t, w.DeleteRolePolicy, &sdk.DeleteRolePolicyInput{RoleName: r, PolicyName: &name})
	}
	fails[*types.NoSuchEntityException](t, w.DeleteRolePolicy, &sdk.DeleteRolePolicyInput{RoleName: r, PolicyName: p}, "The role policy with name p cannot be found.")

	call(t, w.AttachRolePolicy, &sdk.AttachRolePolicyInput{RoleName: r, PolicyArn: aws.String(readOnly)})
	equal(t, "the attached policies", joined(call(t, w.ListAttachedRolePolicies, &sdk.ListAttachedRolePoliciesInput{RoleName: r}).AttachedPolicies, attachment), "AmazonEC2ContainerRegistryReadOnly="+readOnly)
	fails[*types.NoSuchEntityException](t, w.AttachRolePolicy, &sdk.AttachRolePolicyInput{RoleName: none, PolicyArn: aws.String(readOnly)}, missing)
	fails[*types.DeleteConflictException](t, w.DeleteRole, &sdk.DeleteRoleInput{RoleName: r}, "Cannot delete entity, must detach all policies first.")
	call(t, w.DetachRolePolicy, &sdk.DetachRolePolicyInput{RoleName: r, PolicyArn: aws.String(readOnly)})
	fails[*types.NoSuchEntityException](t, w.DetachRolePolicy, &sdk.DetachRolePolicyInput{RoleName: r, PolicyArn: aws.String(readOnly)}, "Policy "+readOnly+" was not found.")
	call(t, w.DeleteRole, &sdk.DeleteRoleInput{RoleName: r})
}
