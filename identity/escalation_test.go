package identity_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

func TestSessionTagsThatDifferByCase(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", "")
	create(t, id, identity.Role, "r", identity.Settings{Trust: trust(let("Allow", resource("user", "x"), `["sts:AssumeRole","sts:TagSession"]`, `,"Condition":{"StringEquals":{"aws:RequestTag/team":"dev"}}`))})
	ok(t, id.PutPolicy(t.Context(), root(), identity.Role, "r", "p", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"admin"}}}}`))
	out, err := id.AssumeRole(t.Context(), c, identity.AssumeRoleInput{RoleARN: resource("role", "r"), SessionName: "s1", Tags: []ecr.Tag{{Key: "team", Value: "admin"}, {Key: "Team", Value: "dev"}}})
	if err != nil {
		return
	}
	s := session(t, id, out.Credentials)
	n := 0
	for range 1000 {
		if may(s.Principal, "ecr:PutImage") {
			n++
		}
	}
	t.Errorf("session tags %v; allowed as admin %d of 1000 times", s.Tags, n)
}

func TestSessionTagReplacesRoleTag(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", "")
	create(t, id, identity.Role, "r", identity.Settings{Tags: []ecr.Tag{{Key: "team", Value: "one"}}, Trust: trust(let("Allow", resource("user", "x"), `"sts:*"`, ""))})
	s, _ := assume(t, id, c, identity.AssumeRoleInput{RoleARN: resource("role", "r"), Tags: []ecr.Tag{{Key: "Team", Value: "two"}}})
	if len(s.Tags) != 1 {
		t.Errorf("%v", s.Tags)
	}
}

func TestTagsThatDifferByCase(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	e, err := id.Create(t.Context(), root(), identity.User, "x", identity.Settings{Tags: []ecr.Tag{{Key: "team", Value: "one"}, {Key: "Team", Value: "two"}}})
	if err == nil && len(e.Tags) > 1 {
		t.Errorf("%v", e.Tags)
	}
}

func TestChainedSessionInherits(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", "")
	create(t, id, identity.Role, "a", identity.Settings{Trust: trust(let("Allow", resource("user", "x"), `"sts:*"`, ""))})
	create(t, id, identity.Role, "b", identity.Settings{Trust: trust(let("Allow", resource("role", "a"), `"sts:*"`, ""))})
	s, _ := assume(t, id, c, identity.AssumeRoleInput{RoleARN: resource("role", "a"), SourceIdentity: "alice", Tags: []ecr.Tag{{Key: "team", Value: "x"}}, TransitiveTags: []string{"team"}})
	s2, _ := assume(t, id, s, identity.AssumeRoleInput{RoleARN: resource("role", "b")})
	if s2.SourceIdentity != "alice" || s2.Tags["team"] != "x" {
		t.Errorf("chained: source %q tags %v", s2.SourceIdentity, s2.Tags)
	}
	out, err := id.AssumeRole(t.Context(), s, identity.AssumeRoleInput{RoleARN: resource("role", "b"), SessionName: "s1", SourceIdentity: "bob"})
	if err == nil {
		t.Errorf("changed to %q", out.SourceIdentity)
	}
}

func TestDenyByConditionKeys(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"},{"Effect":"Deny","Action":"iam:Attach*","Resource":"*","Condition":{"ArnLike":{"iam:PolicyARN":"arn:aws:iam::aws:policy/*FullAccess"}}}]}`)
	if err := id.Attach(t.Context(), c, identity.User, "x", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess"); err == nil {
		t.Error("iam:PolicyARN deny has no effect")
	}
	create(t, id, identity.User, "prod", identity.Settings{Tags: []ecr.Tag{{Key: "stage", Value: "prod"}}})
	c = user(t, id, account, "y", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/stage":"prod"}}}]}`)
	if _, _, err := id.CreateAccessKey(t.Context(), c, "prod"); err == nil {
		t.Error("aws:ResourceTag deny has no effect")
	}
}

func TestBoundaryHoldsWhereRoleIsNamed(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", "")
	create(t, id, identity.Role, "a", identity.Settings{Boundary: readOnly, Trust: trust(let("Allow", resource("user", "x"), `"sts:*"`, ""))})
	create(t, id, identity.Role, "b", identity.Settings{Trust: trust(let("Allow", resource("role", "a"), `"sts:*"`, ""))})
	s, _ := assume(t, id, c, identity.AssumeRoleInput{RoleARN: resource("role", "a")})
	if _, err := id.AssumeRole(t.Context(), s, identity.AssumeRoleInput{RoleARN: resource("role", "b"), SessionName: "s1"}); err == nil {
		t.Error("role a, whose boundary does not allow sts, assumed role b")
	}
}

func TestRoleOfAnotherPath(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", "")
	create(t, id, identity.Role, "a", identity.Settings{Path: "/dev/", Trust: trust(let("Allow", resource("user", "x"), `"sts:*"`, ""))})
	create(t, id, identity.Role, "b", identity.Settings{Trust: trust(let("Allow", resource("role", "admin/a"), `"sts:*"`, ""))})
	s, _ := assume(t, id, c, identity.AssumeRoleInput{RoleARN: resource("role", "dev/a")})
	if _, err := id.AssumeRole(t.Context(), s, identity.AssumeRoleInput{RoleARN: resource("role", "b"), SessionName: "s1"}); err == nil {
		t.Error("role/dev/a passed for role/admin/a")
	}
}

func TestTrustWithNotPrincipal(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	provider(t, id, github)
	_, err := id.Create(t.Context(), root(), identity.Role, "r", identity.Settings{Trust: trust(strings.Replace(let("Allow", resource("user", "x"), `"sts:*"`, ""), "Principal", "NotPrincipal", 1))})
	if err != nil {
		return
	}
	_, _, err = id.AssumeRoleWithWebIdentity(t.Context(), ecr.Caller{}, identity.AssumeRoleInput{RoleARN: resource("role", "r"), SessionName: "s1"}, "https://"+github, func(context.Context, identity.OIDCProvider) (identity.WebIdentity, error) {
		return identity.WebIdentity{Subject: "anybody"}, nil
	})
	if err == nil {
		t.Error("any web identity of any registered provider assumed the role")
	}
}

func TestEmptyIssuer(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	provider(t, id, github)
	create(t, id, identity.Role, "r", identity.Settings{Trust: trust(let("Allow", `{"Federated":"`+githubARN+`"}`, `"sts:*"`, ""))})
	_, _, err := id.AssumeRoleWithWebIdentity(t.Context(), ecr.Caller{}, identity.AssumeRoleInput{RoleARN: resource("role", "r"), SessionName: "s1"}, "https://", func(context.Context, identity.OIDCProvider) (identity.WebIdentity, error) {
		return identity.WebIdentity{Subject: "anybody"}, nil
	})
	if err == nil {
		t.Error("issuer https:// stood for the only provider")
	}
}

func TestRolesCannotBeEnumerated(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, stranger, "x", grant("*"))
	create(t, id, identity.Role, "r", identity.Settings{})
	try := func(name string) string {
		_, err := id.AssumeRole(t.Context(), c, identity.AssumeRoleInput{RoleARN: resource("role", name), SessionName: "s1"})
		return strings.ReplaceAll(err.Error(), "role/"+name, "role/N")
	}
	if a, b := try("r"), try("none"); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestDenialsLeaveEvents(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	c := user(t, id, account, "x", grant("*"))
	create(t, id, identity.Role, "r", identity.Settings{})
	_, err := id.AssumeRole(t.Context(), root(), identity.AssumeRoleInput{RoleARN: resource("role", "r"), SessionName: "s1"})
	wantCode(t, "", err, ecr.AccessDenied)
	wantEvent(t, w, "AssumeRole by root", ecr.CallDenied, "sts:AssumeRole", root())
	got, err := id.GetSessionToken(t.Context(), c, 0)
	ok(t, err)
	s := session(t, id, got)
	_, err = id.GetSessionToken(t.Context(), s, 0)
	wantCode(t, "", err, ecr.AccessDenied)
	wantEvent(t, w, "GetSessionToken by session", ecr.CallDenied, "sts:GetSessionToken", s)
}

func TestReplaceAtTheLimit(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	create(t, id, identity.User, "x", identity.Settings{})
	for n := range 100 {
		ok(t, id.PutPolicy(ctx, root(), identity.User, "x", fmt.Sprint("p", n), grant("ecr:*")))
	}
	if err := id.PutPolicy(ctx, root(), identity.User, "x", "p1", grant("ecr:PutImage")); err != nil {
		t.Errorf("replace at the limit: %v", err)
	}
	arn := ""
	for n := range 20 {
		p, err := id.CreatePolicy(ctx, root(), fmt.Sprint("p", n), "", "", grant("ecr:*"), nil)
		ok(t, err)
		arn = p.ARN
		ok(t, id.Attach(ctx, root(), identity.User, "x", arn))
	}
	if err := id.Attach(ctx, root(), identity.User, "x", arn); err != nil {
		t.Errorf("attach again at the limit: %v", err)
	}
}

func TestAttachedPolicies(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	create(t, id, identity.User, "x", identity.Settings{})
	ok(t, id.Attach(t.Context(), root(), identity.User, "x", readOnly))
	list, err := id.ManagedPolicies(t.Context(), root(), identity.PolicyFilter{AWS: true, Attached: true}, "", 1)
	if err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	p, err := id.CreatePolicy(t.Context(), root(), "b", "", "", grant("*"), nil)
	ok(t, err)
	ok(t, id.PutBoundary(t.Context(), root(), identity.User, "x", p.ARN))
	p, err = id.ManagedPolicy(t.Context(), root(), "iam:GetPolicy", p.ARN)
	list, err2 := id.ManagedPolicies(t.Context(), root(), identity.PolicyFilter{Local: true, Attached: true}, "", 1)
	if (p.Attached == 1) != (len(list) == 1) {
		t.Errorf("boundary only: GetPolicy says attached %d, %v; listed as attached: %v, %v", p.Attached, err, list, err2)
	}
}

func TestNamesThatDifferByCase(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	create(t, id, identity.User, "admin", identity.Settings{})
	if _, err := id.Create(t.Context(), root(), identity.User, "Admin", identity.Settings{}); err == nil {
		t.Error("admin and Admin")
	}
	create(t, id, identity.User, "x", identity.Settings{Tags: []ecr.Tag{{Key: "Team", Value: "a"}}})
	ok(t, id.Untag(t.Context(), root(), identity.User, "x", []string{"team"}))
	if tags, _ := id.ListTags(t.Context(), root(), identity.User, "x"); len(tags) > 0 {
		t.Errorf("left %v", tags)
	}
}

func TestProviderURLs(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	for _, u := range []string{"HTTPS://x.example", "https://x.example?", "https://x.example#", "https://:443"} {
		if p, err := id.CreateOIDCProvider(t.Context(), root(), u, nil, nil, nil); err == nil {
			t.Errorf("%s: %s", u, p.ARN)
		}
	}
}

func TestPathIsNoPrincipalType(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	_, err := id.Create(t.Context(), root(), identity.User, "x", identity.Settings{Path: "/:assumed-role/"})
	if err != nil {
		return
	}
	ok(t, id.PutPolicy(t.Context(), root(), identity.User, "x", "p", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalType":"AssumedRole"}}}}`))
	k, _, err := id.CreateAccessKey(t.Context(), root(), "x")
	ok(t, err)
	_, p, err := id.SecretKey(t.Context(), k.ID)
	ok(t, err)
	if may(p, "ecr:PutImage") {
		t.Errorf("%s is an assumed role", p.ARN)
	}
}

func TestTokensWithLineBreaks(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", grant("*"))
	p, _, err := id.GetAuthorizationToken(t.Context(), c)
	ok(t, err)
	if _, _, err := id.OpenToken(t.Context(), p[:5]+"\r\n"+p[5:]); err == nil {
		t.Error("a password with a line break inside opens")
	}
	s, err := id.GetSessionToken(t.Context(), c, 0)
	ok(t, err)
	if _, _, err := id.SessionKey(t.Context(), s.AccessKeyID, "\n"+s.SessionToken); err == nil {
		t.Error("a session token with a line break opens")
	}
}

func TestUserSessionIsNoChain(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", grant("*"))
	create(t, id, identity.Role, "r", identity.Settings{MaxSession: 12 * time.Hour})
	got, err := id.GetSessionToken(t.Context(), c, 0)
	ok(t, err)
	s := session(t, id, got)
	if _, err := id.AssumeRole(t.Context(), s, identity.AssumeRoleInput{RoleARN: resource("role", "r"), SessionName: "s1", Duration: 2 * time.Hour}); err != nil {
		t.Errorf("user session is not a chain: %v", err)
	}
}

func TestDeleteUserInGroup(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	create(t, id, identity.User, "x", identity.Settings{})
	create(t, id, identity.Group, "g", identity.Settings{})
	ok(t, id.AddUserToGroup(t.Context(), root(), "g", "x"))
	if err := id.Delete(t.Context(), root(), identity.User, "x"); err == nil {
		t.Error("deleted while in a group")
	}
}
