package advisor

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/iam"
)

// A Document is a policy as it is stored.
type Document struct {
	Name string   `json:"name"` // inline policy p of user ci
	Kind iam.Kind `json:"-"`
	Text string   `json:"-"`
}

// Identities are the users and roles of an account with their policies.
type Identities struct {
	Principals []*iam.Principal // the root user first
	Documents  []Document       // trust policies and all policies that the account made itself
	Warnings   []string         // what could not be read, and is left out

	managed map[string]*iam.Policy
	groups  map[string][]*iam.Policy
}

// Identities reads them (IAM API, GetAccountAuthorizationDetails).
func (e *Endpoint) Identities(ctx context.Context) (*Identities, error) {
	ids := &Identities{managed: map[string]*iam.Policy{}, groups: map[string][]*iam.Policy{}}
	var users []types.UserDetail
	var roles []types.RoleDetail
	var groups []types.GroupDetail
	pages := sdk.NewGetAccountAuthorizationDetailsPaginator(e.IAM, &sdk.GetAccountAuthorizationDetailsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		users, roles, groups = append(users, page.UserDetailList...), append(roles, page.RoleDetailList...), append(groups, page.GroupDetailList...)
		for _, p := range page.Policies {
			ids.addManaged(p)
		}
	}
	root := "arn:aws:iam::" + e.Account + ":root"
	ids.Principals = append(ids.Principals, &iam.Principal{ARN: root, Account: e.Account, ID: e.Account, Name: "root", Root: true})
	for _, g := range groups {
		name := aws.ToString(g.GroupName)
		ids.groups[name] = append(ids.inline("group "+name, g.GroupPolicyList), ids.attached("group "+name, g.AttachedManagedPolicies)...)
	}
	for _, u := range users {
		name := "user " + aws.ToString(u.UserName)
		p := ids.principal(e.Account, aws.ToString(u.Arn), aws.ToString(u.UserId), aws.ToString(u.UserName), u.Tags)
		p.Policies = append(ids.inline(name, u.UserPolicyList), ids.attached(name, u.AttachedManagedPolicies)...)
		for _, g := range u.GroupList {
			p.Policies = append(p.Policies, ids.groups[g]...)
		}
		p.Boundary = ids.boundary(name, u.PermissionsBoundary)
	}
	for _, r := range roles {
		name := "role " + aws.ToString(r.RoleName)
		p := ids.principal(e.Account, aws.ToString(r.Arn), aws.ToString(r.RoleId), aws.ToString(r.RoleName), r.Tags)
		p.RoleARN = p.ARN
		p.Policies = append(ids.inline(name, r.RolePolicyList), ids.attached(name, r.AttachedManagedPolicies)...)
		p.Boundary = ids.boundary(name, r.PermissionsBoundary)
		ids.Documents = append(ids.Documents, Document{"trust policy of " + name, iam.Trust, decoded(r.AssumeRolePolicyDocument)})
	}
	return ids, nil
}

// Find returns a principal by its ARN, or by its name if that is not ambiguous.
func (ids *Identities) Find(name string) (*iam.Principal, error) {
	var found []*iam.Principal
	for _, p := range ids.Principals {
		if p.ARN == name {
			return p, nil
		}
		if p.Name == name {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("there is no user or role %q in this account", name)
	}
	return nil, fmt.Errorf("%q is the name of a user and of a role: give the ARN", name)
}

func (ids *Identities) principal(account, arn, id, name string, tags []types.Tag) *iam.Principal {
	p := &iam.Principal{ARN: arn, Account: account, ID: id, Name: name, Tags: map[string]string{}}
	for _, t := range tags {
		p.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	ids.Principals = append(ids.Principals, p)
	return p
}

// decoded is a document as it was put: IAM's answers have it percent-encoded.
func decoded(text *string) string {
	if plain, err := url.PathUnescape(aws.ToString(text)); err == nil {
		return plain
	}
	return aws.ToString(text)
}

// parse compiles a policy; one that it cannot read it leaves out, and says so.
func (ids *Identities) parse(name, text string) *iam.Policy {
	p, err := iam.Parse([]byte(text), iam.Identity)
	if err != nil {
		ids.Warnings = append(ids.Warnings, fmt.Sprintf("%s is left out: %v", name, err))
		return nil
	}
	return p.Named(name)
}

func (ids *Identities) inline(owner string, list []types.PolicyDetail) (out []*iam.Policy) {
	for _, d := range list {
		name, text := "inline policy "+aws.ToString(d.PolicyName)+" of "+owner, decoded(d.PolicyDocument)
		ids.Documents = append(ids.Documents, Document{name, iam.Identity, text})
		if p := ids.parse(name, text); p != nil {
			out = append(out, p)
		}
	}
	return out
}

func (ids *Identities) addManaged(d types.ManagedPolicyDetail) {
	arn := aws.ToString(d.Arn)
	for _, v := range d.PolicyVersionList {
		if !v.IsDefaultVersion {
			continue
		}
		text := decoded(v.Document)
		if !strings.HasPrefix(arn, "arn:aws:iam::aws:") {
			ids.Documents = append(ids.Documents, Document{arn, iam.Identity, text})
		}
		if p := ids.parse(arn, text); p != nil {
			ids.managed[arn] = p
		}
	}
}

func (ids *Identities) attached(owner string, list []types.AttachedPolicy) (out []*iam.Policy) {
	for _, a := range list {
		if p := ids.managed[aws.ToString(a.PolicyArn)]; p != nil {
			out = append(out, p)
		} else {
			ids.Warnings = append(ids.Warnings, fmt.Sprintf("%s of %s is left out: it was not among the account's policies", aws.ToString(a.PolicyArn), owner))
		}
	}
	return out
}

// boundary returns a permissions boundary. One that cannot be read allows
// nothing.
func (ids *Identities) boundary(owner string, b *types.AttachedPermissionsBoundary) *iam.Policy {
	if b == nil || b.PermissionsBoundaryArn == nil {
		return nil
	}
	if p := ids.managed[*b.PermissionsBoundaryArn]; p != nil {
		return p
	}
	ids.Warnings = append(ids.Warnings, fmt.Sprintf("the boundary %s of %s is taken to allow nothing: it was not among the account's policies", *b.PermissionsBoundaryArn, owner))
	return new(iam.Policy)
}
