package identity_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
)

func TestPolicyCalls(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	arn := resource("policy", "team/p")
	calls := managedCalls(id, arn)
	for _, k := range []identity.Kind{identity.User, identity.Role, identity.Group} {
		create(t, id, k, "x", identity.Settings{Path: "/team/"})
		title, entity := strings.ToUpper(string(k[:1]))+string(k[1:]), resource(string(k), "team/x")
		calls = append(calls,
			call{"iam:Put" + title + "Policy", entity, false, func(ctx context.Context, c ecr.Caller) error {
				return id.PutPolicy(ctx, c, k, "x", "p", grant("ecr:*"))
			}},
			call{"iam:Get" + title + "Policy", entity, true, func(ctx context.Context, c ecr.Caller) error {
				_, err := id.GetPolicy(ctx, c, k, "x", "p")
				return err
			}},
			call{"iam:List" + title + "Policies", entity, true, func(ctx context.Context, c ecr.Caller) error {
				_, err := id.ListPolicies(ctx, c, k, "x")
				return err
			}},
			call{"iam:Delete" + title + "Policy", entity, false, func(ctx context.Context, c ecr.Caller) error {
				return id.DeletePolicy(ctx, c, k, "x", "p")
			}},
			call{"iam:Attach" + title + "Policy", entity, false, func(ctx context.Context, c ecr.Caller) error {
				return id.Attach(ctx, c, k, "x", arn)
			}},
			call{"iam:ListAttached" + title + "Policies", entity, true, func(ctx context.Context, c ecr.Caller) error {
				_, err := id.ListAttached(ctx, c, k, "x")
				return err
			}},
			call{"iam:Detach" + title + "Policy", entity, false, func(ctx context.Context, c ecr.Caller) error {
				return id.Detach(ctx, c, k, "x", arn)
			}})
	}
	checkCalls(t, w, append(calls, call{"iam:DeletePolicy", arn, false, func(ctx context.Context, c ecr.Caller) error {
		return id.DeleteManagedPolicy(ctx, c, arn)
	}}))
}

// managedCalls leave the policy behind.
func managedCalls(id *identity.Identity, arn string) []call {
	return []call{
		{"iam:CreatePolicy", arn, false, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.CreatePolicy(ctx, c, "p", "/team/", "", grant("ecr:*"), nil)
			return err
		}},
		{"iam:GetPolicy", arn, true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.ManagedPolicy(ctx, c, "iam:GetPolicy", arn)
			return err
		}},
		{"iam:ListPolicies", resource("policy", "*"), true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.ManagedPolicies(ctx, c, identity.PolicyFilter{AWS: true, Local: true}, "", 10)
			return err
		}},
		{"iam:ListEntitiesForPolicy", arn, true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.AttachedTo(ctx, c, arn)
			return err
		}},
		{"iam:TagPolicy", arn, false, func(ctx context.Context, c ecr.Caller) error { return id.TagPolicy(ctx, c, arn, []ecr.Tag{{Key: "a"}}) }},
		{"iam:UntagPolicy", arn, false, func(ctx context.Context, c ecr.Caller) error { return id.UntagPolicy(ctx, c, arn, []string{"a"}) }},
		{"iam:CreatePolicyVersion", arn, false, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.CreatePolicyVersion(ctx, c, arn, grant("ecr:*"), false)
			return err
		}},
		{"iam:ListPolicyVersions", arn, true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.PolicyVersions(ctx, c, "iam:ListPolicyVersions", arn)
			return err
		}},
		{"iam:SetDefaultPolicyVersion", arn, false, func(ctx context.Context, c ecr.Caller) error {
			return id.SetDefaultPolicyVersion(ctx, c, arn, 2)
		}},
		{"iam:DeletePolicyVersion", arn, false, func(ctx context.Context, c ecr.Caller) error {
			return id.DeletePolicyVersion(ctx, c, arn, 1)
		}},
	}
}

func TestInlinePolicies(t *testing.T) {
	for _, k := range []identity.Kind{identity.User, identity.Role, identity.Group} {
		t.Run(string(k), func(t *testing.T) {
			id := newWorld(t).open(t, master, "us-east-1")
			ctx := t.Context()
			create(t, id, k, "x", identity.Settings{})
			want := func(want string) {
				t.Helper()
				names, err := id.ListPolicies(ctx, root(), k, "x")
				if err != nil || fmt.Sprint(names) != want {
					t.Errorf("%v, %v, want %s", names, err, want)
				}
			}
			for _, bad := range []struct {
				name, document string
				want           ecr.Code
			}{
				{"", grant("ecr:*"), ecr.Validation},
				{strings.Repeat("p", 129), grant("ecr:*"), ecr.Validation},
				{"a/b", grant("ecr:*"), ecr.Validation},
				{"p", "", ecr.MalformedPolicy},
				{"p", "null", ecr.MalformedPolicy},
				{"p", "[]", ecr.MalformedPolicy},
				{"p", trustRoot, ecr.MalformedPolicy},
				{"p", strings.Replace(grant("ecr:*"), `"Resource":"*"`, `"Resource":"x"`, 1), ecr.MalformedPolicy},
				{"p", strings.Replace(grant("ecr:*"), "Effect", "effect", 1), ecr.MalformedPolicy},
				{"p", strings.Replace(grant("ecr:*"), `{"Effect":"Allow"`, `{"Effect":"Deny","Effect":"Allow"`, 1), ecr.MalformedPolicy},
				{"p", grant("*") + grant("*"), ecr.MalformedPolicy},
				{"p", grant("ecr:*") + strings.Repeat(" ", 64<<10), ecr.MalformedPolicy},
			} {
				wantCode(t, bad.name+" "+bad.document, id.PutPolicy(ctx, root(), k, "x", bad.name, bad.document), bad.want)
			}
			want("[]")
			text := " " + grant("ecr:*") + "\n" // kept as it is
			ok(t, id.PutPolicy(ctx, root(), k, "x", "b", text))
			ok(t, id.PutPolicy(ctx, root(), k, "x", "a", grant("ecr:PutImage")))
			ok(t, id.PutPolicy(ctx, root(), k, "x", "a", grant("ecr:ListImages")))
			want("[a b]")
			for name, document := range map[string]string{"a": grant("ecr:ListImages"), "b": text} {
				if got, err := id.GetPolicy(ctx, root(), k, "x", name); err != nil || got != document {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
			_, err := id.GetPolicy(ctx, root(), k, "x", "A")
			wantCode(t, "get what is not there", err, ecr.NoSuchEntity)
			ok(t, id.DeletePolicy(ctx, root(), k, "x", "a"))
			wantCode(t, "delete twice", id.DeletePolicy(ctx, root(), k, "x", "a"), ecr.NoSuchEntity)
			want("[b]")
		})
	}
}

func TestPolicyLimits(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	create(t, id, identity.User, "x", identity.Settings{})
	for n := range 100 {
		ok(t, id.PutPolicy(ctx, root(), identity.User, "x", fmt.Sprint("p", n), grant("ecr:*")))
	}
	wantCode(t, "inline policy 101", id.PutPolicy(ctx, root(), identity.User, "x", "more", grant("ecr:*")), ecr.LimitExceeded)
	for n := range 21 {
		p, err := id.CreatePolicy(ctx, root(), fmt.Sprint("p", n), "", "", grant("ecr:*"), nil)
		ok(t, err)
		err = id.Attach(ctx, root(), identity.User, "x", p.ARN)
		if n < 20 {
			ok(t, err)
		} else {
			wantCode(t, "attached policy 21", err, ecr.LimitExceeded)
		}
	}
}

func TestCreatePolicy(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	tags := []ecr.Tag{{Key: "team", Value: "x"}}
	p, err := id.CreatePolicy(ctx, root(), "p", "/team/", "text", grant("ecr:*"), tags)
	ok(t, err)
	if p.ARN != resource("policy", "team/p") || p.Name != "p" || p.Path != "/team/" || !strings.HasPrefix(p.ID, "ANPA") || p.Description != "text" || p.Default != 1 || !p.CreatedAt.Equal(w.now) {
		t.Errorf("made %+v", p)
	}
	got, err := id.ManagedPolicy(ctx, root(), "iam:GetPolicy", p.ARN)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, p)
	}
	for _, tt := range []struct {
		what, name, path, document string
		tags                       []ecr.Tag
		want                       ecr.Code
	}{
		{"the same again", "p", "/team/", grant("ecr:*"), nil, ecr.EntityAlreadyExists},
		{"the name at another path", "p", "/", grant("ecr:*"), nil, ecr.EntityAlreadyExists},
		{"no name", "", "", grant("ecr:*"), nil, ecr.Validation},
		{"a name of 129", strings.Repeat("p", 129), "", grant("ecr:*"), nil, ecr.Validation},
		{"a bad path", "q", "/team", grant("ecr:*"), nil, ecr.Validation},
		{"a malformed document", "q", "", `{"Statement":[]}`, nil, ecr.MalformedPolicy},
		{"a tag of AWS", "q", "", grant("ecr:*"), []ecr.Tag{{Key: "aws:x"}}, ecr.Validation},
	} {
		_, err := id.CreatePolicy(ctx, root(), tt.name, tt.path, "", tt.document, tt.tags)
		wantCode(t, tt.what, err, tt.want)
	}
	theirs, err := id.CreatePolicy(ctx, rootOf(stranger), "p", "/team/", "", grant("*"), nil)
	ok(t, err)

	// A policy of another account is not there.
	create(t, id, identity.User, "x", identity.Settings{})
	wantCode(t, "attach", id.Attach(ctx, root(), identity.User, "x", theirs.ARN), ecr.NoSuchEntity)
	_, err = id.ManagedPolicy(ctx, root(), "iam:GetPolicy", theirs.ARN)
	wantCode(t, "get", err, ecr.NoSuchEntity)
	_, err = id.AttachedTo(ctx, root(), theirs.ARN)
	wantCode(t, "entities", err, ecr.NoSuchEntity)
	_, err = id.PolicyVersions(ctx, root(), "iam:ListPolicyVersions", theirs.ARN)
	wantCode(t, "versions", err, ecr.NoSuchEntity)
	_, err = id.CreatePolicyVersion(ctx, root(), theirs.ARN, grant("*"), true)
	wantCode(t, "new version", err, ecr.NoSuchEntity)
	wantCode(t, "default version", id.SetDefaultPolicyVersion(ctx, root(), theirs.ARN, 1), ecr.NoSuchEntity)
	wantCode(t, "delete version", id.DeletePolicyVersion(ctx, root(), theirs.ARN, 1), ecr.NoSuchEntity)
	wantCode(t, "tag", id.TagPolicy(ctx, root(), theirs.ARN, tags), ecr.NoSuchEntity)
	wantCode(t, "untag", id.UntagPolicy(ctx, root(), theirs.ARN, nil), ecr.NoSuchEntity)
	wantCode(t, "delete", id.DeleteManagedPolicy(ctx, root(), theirs.ARN), ecr.NoSuchEntity)
	ok(t, id.DeleteManagedPolicy(ctx, rootOf(stranger), theirs.ARN))
	ok(t, id.DeleteManagedPolicy(ctx, root(), p.ARN))
	wantCode(t, "delete twice", id.DeleteManagedPolicy(ctx, root(), p.ARN), ecr.NoSuchEntity)
}

// The default version is the one in force.
func TestPolicyVersions(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	c := user(t, id, account, "x", "")
	p, err := id.CreatePolicy(ctx, root(), "p", "", "", grant("ecr:PutImage"), nil)
	ok(t, err)
	ok(t, id.Attach(ctx, root(), identity.User, "x", p.ARN))
	ok(t, id.Attach(ctx, root(), identity.User, "x", p.ARN))
	want := func(versions string, put, get bool) {
		t.Helper()
		list, err := id.PolicyVersions(ctx, root(), "iam:ListPolicyVersions", p.ARN)
		ok(t, err)
		text := ""
		for _, v := range list {
			text += fmt.Sprint(v.Version)
			if v.Default {
				text += "*"
			}
		}
		may1, may2 := may(again(t, id, c).Principal, "ecr:PutImage"), may(again(t, id, c).Principal, "ecr:BatchGetImage")
		if text != versions || may1 != put || may2 != get {
			t.Errorf("versions %s, may put: %t, get: %t; want %s %t %t", text, may1, may2, versions, put, get)
		}
	}
	want("1*", true, false)
	w.now = w.now.Add(time.Minute)
	v, err := id.CreatePolicyVersion(ctx, root(), p.ARN, grant("ecr:BatchGetImage"), false)
	if err != nil || v.Version != 2 || v.Default || !v.CreatedAt.Equal(w.now) {
		t.Errorf("version %+v, %v", v, err)
	}
	want("21*", true, false)
	ok(t, id.SetDefaultPolicyVersion(ctx, root(), p.ARN, 2))
	want("2*1", false, true)
	_, err = id.CreatePolicyVersion(ctx, root(), p.ARN, grant("ecr:*"), true)
	ok(t, err)
	want("3*21", true, true)
	_, err = id.CreatePolicyVersion(ctx, root(), p.ARN, trustRoot, true)
	wantCode(t, "malformed", err, ecr.MalformedPolicy)
	for range 2 {
		_, err = id.CreatePolicyVersion(ctx, root(), p.ARN, grant("ecr:ListImages"), false)
		ok(t, err)
	}
	_, err = id.CreatePolicyVersion(ctx, root(), p.ARN, grant("ecr:ListImages"), true)
	wantCode(t, "version 6", err, ecr.LimitExceeded)
	want("543*21", true, true)
	wantCode(t, "delete the default", id.DeletePolicyVersion(ctx, root(), p.ARN, 3), ecr.DeleteConflict)
	wantCode(t, "delete what is not there", id.DeletePolicyVersion(ctx, root(), p.ARN, 6), ecr.NoSuchEntity)
	wantCode(t, "a default that is not there", id.SetDefaultPolicyVersion(ctx, root(), p.ARN, 0), ecr.NoSuchEntity)
	ok(t, id.DeletePolicyVersion(ctx, root(), p.ARN, 5))
	v, err = id.CreatePolicyVersion(ctx, root(), p.ARN, grant("ecr:PutImage"), true)
	if err != nil || v.Version != 6 {
		t.Errorf("a number was used twice: %+v, %v", v, err)
	}
	want("6*4321", true, false)

	wantCode(t, "delete while attached", id.DeleteManagedPolicy(ctx, root(), p.ARN), ecr.DeleteConflict)
	ok(t, id.Detach(ctx, root(), identity.User, "x", p.ARN))
	wantCode(t, "detach twice", id.Detach(ctx, root(), identity.User, "x", p.ARN), ecr.NoSuchEntity)
	want("6*4321", false, false)
	wantCode(t, "delete with versions", id.DeleteManagedPolicy(ctx, root(), p.ARN), ecr.DeleteConflict)
	for n := range int64(4) {
		ok(t, id.DeletePolicyVersion(ctx, root(), p.ARN, n+1))
	}
	ok(t, id.DeleteManagedPolicy(ctx, root(), p.ARN))
	_, err = id.PolicyVersions(ctx, root(), "iam:ListPolicyVersions", p.ARN)
	wantCode(t, "versions of a deleted policy", err, ecr.NoSuchEntity)
}

// AWS's policies for ECR are there in every account, and nobody's to change.
func TestManagedByAWS(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	c := user(t, id, account, "x", "")
	tests := map[string]struct{ pull, push, delete bool }{
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess": {true, true, true},
		powerUser: {true, true, false},
		readOnly:  {true, false, false},
		pullOnly:  {true, false, false},
	}
	if len(iam.ManagedARNs()) != len(tests) {
		t.Errorf("AWS manages %v", iam.ManagedARNs())
	}
	for arn, want := range tests {
		ok(t, id.Attach(ctx, root(), identity.User, "x", arn))
		p := again(t, id, c).Principal
		if may(p, "ecr:BatchGetImage") != want.pull || may(p, "ecr:PutImage") != want.push || may(p, "ecr:DeleteRepository") != want.delete || may(p, "iam:CreateUser") {
			t.Errorf("%s: %+v", arn, want)
		}
		got, err := id.ManagedPolicy(ctx, root(), "iam:GetPolicy", arn)
		if err != nil || got.ARN != arn || got.Attached != 1 || got.Default != 1 || "arn:aws:iam::aws:policy/"+got.Name != arn {
			t.Errorf("%+v, %v", got, err)
		}
		versions, err := id.PolicyVersions(ctx, root(), "iam:GetPolicyVersion", arn)
		if err != nil || len(versions) != 1 || !versions[0].Default || !strings.Contains(versions[0].Document, `"ecr:`) {
			t.Errorf("versions of %s: %v, %v", arn, versions, err)
		}
		who, err := id.AttachedTo(ctx, root(), arn)
		if err != nil || len(who) != 1 || who[0].Name != "x" {
			t.Errorf("%s is attached to %v, %v", arn, who, err)
		}
		if who, err := id.AttachedTo(ctx, rootOf(stranger), arn); err != nil || len(who) != 0 {
			t.Errorf("%s in another account: %v, %v", arn, who, err)
		}
		ok(t, id.Detach(ctx, root(), identity.User, "x", arn))
		_, err = id.CreatePolicyVersion(ctx, root(), arn, grant("*"), true)
		wantCode(t, "a version", err, ecr.NoSuchEntity)
		wantCode(t, "delete", id.DeleteManagedPolicy(ctx, root(), arn), ecr.NoSuchEntity)
		wantCode(t, "tag", id.TagPolicy(ctx, root(), arn, []ecr.Tag{{Key: "a"}}), ecr.NoSuchEntity)
	}
}

func TestListManaged(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	create(t, id, identity.Group, "g", identity.Settings{})
	for _, path := range []string{"/b/", "/", "/a/"} {
		p, err := id.CreatePolicy(ctx, root(), "p"+strings.Trim(path, "/"), path, "", grant("ecr:*"), nil)
		ok(t, err)
		if path == "/a/" {
			ok(t, id.Attach(ctx, root(), identity.Group, "g", p.ARN))
		}
	}
	_, err := id.CreatePolicy(ctx, rootOf(stranger), "theirs", "", "", grant("ecr:*"), nil)
	ok(t, err)
	const aws = "FullAccess PowerUser PullOnly ReadOnly"
	for _, tt := range []struct {
		what  string
		f     identity.PolicyFilter
		after string
		limit int
		want  string
	}{
		{"all", identity.PolicyFilter{AWS: true, Local: true}, "", 100, "pa pb p " + aws},
		{"the first page", identity.PolicyFilter{AWS: true, Local: true}, "", 4, "pa pb p FullAccess"},
		{"the second", identity.PolicyFilter{AWS: true, Local: true}, "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess", 4, "PowerUser PullOnly ReadOnly"},
		{"after a local one", identity.PolicyFilter{Local: true}, resource("policy", "a/pa"), 1, "pb"},
		{"AWS's", identity.PolicyFilter{AWS: true}, "", 100, aws},
		{"the account's", identity.PolicyFilter{Local: true}, "", 100, "pa pb p"},
		{"at a path", identity.PolicyFilter{AWS: true, Local: true, Path: "/b/"}, "", 100, "pb"},
		{"attached ones", identity.PolicyFilter{AWS: true, Local: true, Attached: true}, "", 100, "pa"},
		{"none", identity.PolicyFilter{}, "", 100, ""},
	} {
		list, err := id.ManagedPolicies(ctx, root(), tt.f, tt.after, tt.limit)
		ok(t, err)
		var names []string
		for _, p := range list {
			names = append(names, strings.TrimPrefix(p.Name, "AmazonEC2ContainerRegistry"))
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}

func TestTagPolicy(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	p, err := id.CreatePolicy(ctx, root(), "p", "", "", grant("ecr:*"), []ecr.Tag{{Key: "Team", Value: "one"}})
	ok(t, err)
	ok(t, id.TagPolicy(ctx, root(), p.ARN, []ecr.Tag{{Key: "team", Value: "two"}, {Key: "b"}}))
	wantCode(t, "a tag of AWS", id.TagPolicy(ctx, root(), p.ARN, []ecr.Tag{{Key: "aws:b"}}), ecr.Validation)
	ok(t, id.UntagPolicy(ctx, root(), p.ARN, []string{"b", "c"}))
	got, err := id.ManagedPolicy(ctx, root(), "iam:GetPolicy", p.ARN)
	if err != nil || fmt.Sprint(got.Tags) != "[{team two}]" {
		t.Errorf("%v, %v", got.Tags, err)
	}
}
