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

const policyPrefix = "arn:aws:iam::123456789012:policy/"

func testManagedPolicies(w *world) {
	t := w.t
	made := call(t, w.CreatePolicy, &sdk.CreatePolicyInput{PolicyName: aws.String("pull"), Path: aws.String("/ci/"), Description: aws.String("d é"), PolicyDocument: aws.String(awkward), Tags: []types.Tag{tag("team", "a")}}).Policy
	equal(t, "the description of a new policy, which IAM leaves out", made.Description == nil, true)
	arn := made.Arn
	equal(t, "the ARN", *arn, policyPrefix+"ci/pull")
	got := call(t, w.GetPolicy, &sdk.GetPolicyInput{PolicyArn: arn}).Policy
	equal(t, "the description", *got.Description, "d é")
	for what, p := range map[string]*types.Policy{"made": made, "got": got} {
		equal(t, what+" tags", tagged(p.Tags), "team=a")
		equal(t, what+" ID", *p.PolicyId, *made.PolicyId)
		if *p.DefaultVersionId != "v1" || !p.IsAttachable || *p.AttachmentCount != 0 || *p.Path != "/ci/" || *p.PolicyName != "pull" || !strings.HasPrefix(*p.PolicyId, "ANPA") || p.CreateDate.IsZero() || p.UpdateDate.IsZero() {
			t.Errorf("%s: %+v", what, p)
		}
	}
	fails[*types.EntityAlreadyExistsException](t, w.CreatePolicy, &sdk.CreatePolicyInput{PolicyName: aws.String("pull"), Path: aws.String("/ci/"), PolicyDocument: aws.String(awkward)},
		"A policy called pull already exists. Duplicate names are not allowed.")
	fails[*types.MalformedPolicyDocumentException](t, w.CreatePolicy, &sdk.CreatePolicyInput{PolicyName: aws.String("x"), PolicyDocument: aws.String("[]")}, malformed("[]"))

	call(t, w.TagPolicy, &sdk.TagPolicyInput{PolicyArn: arn, Tags: []types.Tag{tag("env", "p"), tag("team", "b")}})
	call(t, w.UntagPolicy, &sdk.UntagPolicyInput{PolicyArn: arn, TagKeys: []string{"env"}})
	equal(t, "the tags", tagged(call(t, w.ListPolicyTags, &sdk.ListPolicyTagsInput{PolicyArn: arn}).Tags), "team=b")

	none := aws.String(policyPrefix + "none")
	missing := "Policy " + *none + " was not found."
	fails[*types.NoSuchEntityException](t, w.GetPolicy, &sdk.GetPolicyInput{PolicyArn: none}, missing)
	fails[*types.NoSuchEntityException](t, w.DeletePolicy, &sdk.DeletePolicyInput{PolicyArn: none}, missing)
	fails[*types.NoSuchEntityException](t, w.TagPolicy, &sdk.TagPolicyInput{PolicyArn: none, Tags: []types.Tag{tag("a", "")}}, missing)
	fails[*types.NoSuchEntityException](t, w.ListPolicyTags, &sdk.ListPolicyTagsInput{PolicyArn: none}, missing)

	w.user("ann", "")
	call(t, w.AttachUserPolicy, &sdk.AttachUserPolicyInput{UserName: aws.String("ann"), PolicyArn: arn})
	equal(t, "the count of attachments", *call(t, w.GetPolicy, &sdk.GetPolicyInput{PolicyArn: arn}).Policy.AttachmentCount, 1)
	fails[*types.DeleteConflictException](t, w.DeletePolicy, &sdk.DeletePolicyInput{PolicyArn: arn}, "Cannot delete a policy attached to entities.")
	listPolicies(t, w)
	call(t, w.DetachUserPolicy, &sdk.DetachUserPolicyInput{UserName: aws.String("ann"), PolicyArn: arn})
	call(t, w.DeletePolicy, &sdk.DeletePolicyInput{PolicyArn: arn})
	fails[*types.NoSuchEntityException](t, w.GetPolicy, &sdk.GetPolicyInput{PolicyArn: arn}, "Policy "+*arn+" was not found.")
}

// listPolicies has the policy /ci/pull, which is attached.
func listPolicies(t *testing.T, w *world) {
	t.Helper()
	for _, name := range []string{"a", "b"} {
		call(t, w.CreatePolicy, &sdk.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(allow("ecr:*"))})
	}
	call(t, w.CreateGroup, &sdk.CreateGroupInput{GroupName: aws.String("g")})
	call(t, w.AttachGroupPolicy, &sdk.AttachGroupPolicyInput{GroupName: aws.String("g"), PolicyArn: aws.String(readOnly)})
	const awsFour = "AmazonEC2ContainerRegistryFullAccess AmazonEC2ContainerRegistryPowerUser|AmazonEC2ContainerRegistryPullOnly AmazonEC2ContainerRegistryReadOnly"
	tests := []struct {
		name string
		in   sdk.ListPoliciesInput
		want string
	}{
		{"all", sdk.ListPoliciesInput{}, "a b|pull " + strings.NewReplacer(" ", "|", "|", " ").Replace(awsFour)},
		{"all by name", sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeAll, PathPrefix: aws.String("/ci/")}, "pull"},
		{"local", sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal}, "a b|pull"},
		{"of a path", sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal, PathPrefix: aws.String("/ci/")}, "pull"},
		{"of AWS", sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeAws}, awsFour},
		{"of AWS at a path", sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeAws, PathPrefix: aws.String("/ci/")}, ""},
		{"attached", sdk.ListPoliciesInput{OnlyAttached: true}, "pull AmazonEC2ContainerRegistryReadOnly"},
		{"attached of AWS", sdk.ListPoliciesInput{OnlyAttached: true, Scope: types.PolicyScopeTypeAws}, "AmazonEC2ContainerRegistryReadOnly"},
		{"attached and local", sdk.ListPoliciesInput{OnlyAttached: true, Scope: types.PolicyScopeTypeLocal}, "pull"},
	}
	for _, tt := range tests {
		got := pages(t, func(marker *string, two *int32) (string, bool, *string) {
			tt.in.Marker, tt.in.MaxItems = marker, two
			out := call(t, w.ListPolicies, &tt.in)
			return joined(out.Policies, func(p types.Policy) string { return *p.PolicyName }), out.IsTruncated, out.Marker
		})
		equal(t, "policies: "+tt.name, got, tt.want)
	}
	attached := call(t, w.ListPolicies, &sdk.ListPoliciesInput{OnlyAttached: true}).Policies
	equal(t, "the listed count of attachments", *attached[0].AttachmentCount, 1)
	if attached[0].Tags != nil || attached[0].Description != nil {
		t.Errorf("a list has %+v", attached[0])
	}
}

func testVersions(w *world) {
	t := w.t
	made := call(t, w.CreatePolicy, &sdk.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: aws.String(awkward)}).Policy
	arn := made.Arn
	for v := 2; v <= 5; v++ {
		out := call(t, w.CreatePolicyVersion, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(allow(fmt.Sprint("ecr:Get", v))), SetAsDefault: v == 3}).PolicyVersion
		if *out.VersionId != fmt.Sprint("v", v) || out.IsDefaultVersion != (v == 3) || out.CreateDate.IsZero() || out.Document != nil {
			t.Errorf("version %d: %+v", v, out)
		}
	}
	fails[*types.LimitExceededException](t, w.CreatePolicyVersion, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(awkward)},
		"A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
	fails[*types.MalformedPolicyDocumentException](t, w.CreatePolicyVersion, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String("{")}, malformed("{"))

	first := call(t, w.GetPolicyVersion, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")}).PolicyVersion
	decoded(t, first.Document, awkward)
	equal(t, "v1 is the default", first.IsDefaultVersion, false)
	third := call(t, w.GetPolicyVersion, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v3")}).PolicyVersion
	decoded(t, third.Document, allow("ecr:Get3"))
	equal(t, "v3 is the default", third.IsDefaultVersion, true)
	versions := func() string {
		return joined(call(t, w.ListPolicyVersions, &sdk.ListPolicyVersionsInput{PolicyArn: arn}).Versions, func(v types.PolicyVersion) string {
			if v.Document != nil {
				t.Error("a list of versions has documents")
			}
			return map[bool]string{true: "*"}[v.IsDefaultVersion] + *v.VersionId
		})
	}
	equal(t, "the versions", versions(), "v5 v4 *v3 v2 v1")

	fails[*types.DeleteConflictException](t, w.DeletePolicyVersion, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v3")}, "Cannot delete the default version of a policy.")
	fails[*types.DeleteConflictException](t, w.DeletePolicy, &sdk.DeletePolicyInput{PolicyArn: arn},
		"This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
	call(t, w.SetDefaultPolicyVersion, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")})
	call(t, w.DeletePolicyVersion, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v3")})
	equal(t, "the versions that are left", versions(), "v5 v4 v2 *v1")
	equal(t, "the default", *call(t, w.GetPolicy, &sdk.GetPolicyInput{PolicyArn: arn}).Policy.DefaultVersionId, "v1")
	next := call(t, w.CreatePolicyVersion, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(awkward)})
	equal(t, "a number is not used again", *next.PolicyVersion.VersionId, "v6")

	fails[*types.NoSuchEntityException](t, w.GetPolicyVersion, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v3")}, "Policy "+*arn+" version v3 does not exist or is not attachable.")
	fails[*types.NoSuchEntityException](t, w.SetDefaultPolicyVersion, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v9")}, "Policy "+*arn+" version v9 does not exist.")
	fails[*types.NoSuchEntityException](t, w.DeletePolicyVersion, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v9")}, "Policy "+*arn+" version v9 does not exist.")
	none := aws.String(policyPrefix + "none")
	fails[*types.NoSuchEntityException](t, w.ListPolicyVersions, &sdk.ListPolicyVersionsInput{PolicyArn: none}, "Policy "+*none+" was not found.")

	document, _ := iam.ManagedDocument(readOnly)
	of := call(t, w.GetPolicyVersion, &sdk.GetPolicyVersionInput{PolicyArn: aws.String(readOnly), VersionId: aws.String("v1")}).PolicyVersion
	decoded(t, of.Document, document)
	fails[*types.NoSuchEntityException](t, w.CreatePolicyVersion, &sdk.CreatePolicyVersionInput{PolicyArn: aws.String(readOnly), PolicyDocument: aws.String(awkward)}, "Policy "+readOnly+" was not found.")
}

func testEntitiesForPolicy(w *world) {
	t := w.t
	arn := aws.String(readOnly)
	for _, name := range []string{"ann", "bob"} {
		w.user(name, "")
		call(t, w.AttachUserPolicy, &sdk.AttachUserPolicyInput{UserName: &name, PolicyArn: arn})
	}
	call(t, w.CreateRole, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trusting(account))})
	call(t, w.AttachRolePolicy, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: arn})
	call(t, w.CreateGroup, &sdk.CreateGroupInput{GroupName: aws.String("g")})
	call(t, w.AttachGroupPolicy, &sdk.AttachGroupPolicyInput{GroupName: aws.String("g"), PolicyArn: arn})
	call(t, w.CreateUser, &sdk.CreateUserInput{UserName: aws.String("eve"), PermissionsBoundary: arn})
	list := func(out *sdk.ListEntitiesForPolicyOutput) string {
		return joined(out.PolicyGroups, func(g types.PolicyGroup) string { return "group " + *g.GroupName }) + "," +
			joined(out.PolicyRoles, func(r types.PolicyRole) string { return "role " + *r.RoleName }) + "," +
			joined(out.PolicyUsers, func(u types.PolicyUser) string { return "user " + *u.UserName })
	}
	out := call(t, w.ListEntitiesForPolicy, &sdk.ListEntitiesForPolicyInput{PolicyArn: arn})
	equal(t, "the entities", list(out), "group g,role r,user ann user bob user eve")
	equal(t, "the group's ID", *out.PolicyGroups[0].GroupId, *call(t, w.GetGroup, &sdk.GetGroupInput{GroupName: aws.String("g")}).Group.GroupId)
	equal(t, "pages of entities", pages(t, func(marker *string, two *int32) (string, bool, *string) {
		out := call(t, w.ListEntitiesForPolicy, &sdk.ListEntitiesForPolicyInput{PolicyArn: arn, Marker: marker, MaxItems: two})
		return list(out), out.IsTruncated, out.Marker
	}), "group g,role r,|,,user ann user bob|,,user eve")
	equal(t, "the count of attachments", *call(t, w.GetPolicy, &sdk.GetPolicyInput{PolicyArn: arn}).Policy.AttachmentCount, 4)
	none := aws.String(policyPrefix + "none")
	fails[*types.NoSuchEntityException](t, w.ListEntitiesForPolicy, &sdk.ListEntitiesForPolicyInput{PolicyArn: none}, "Policy "+*none+" was not found.")
}
