package identity_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

func TestUserCalls(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	create(t, id, identity.User, "x", identity.Settings{Path: "/team/"})
	create(t, id, identity.Group, "g", identity.Settings{Path: "/team/"})
	var key identity.AccessKey
	u, g := resource("user", "team/x"), resource("group", "team/g")
	checkCalls(t, w, []call{
		{"iam:CreateAccessKey", u, false, func(ctx context.Context, c ecr.Caller) (err error) {
			key, _, err = id.CreateAccessKey(ctx, c, "x")
			return err
		}},
		{"iam:ListAccessKeys", u, true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.ListAccessKeys(ctx, c, "x")
			return err
		}},
		{"iam:UpdateAccessKey", u, false, func(ctx context.Context, c ecr.Caller) error { return id.UpdateAccessKey(ctx, c, "x", key.ID, false) }},
		{"iam:DeleteAccessKey", u, false, func(ctx context.Context, c ecr.Caller) error { return id.DeleteAccessKey(ctx, c, "x", key.ID) }},
		{"iam:AddUserToGroup", g, false, func(ctx context.Context, c ecr.Caller) error { return id.AddUserToGroup(ctx, c, "g", "x") }},
		{"iam:GetGroup", g, true, func(ctx context.Context, c ecr.Caller) error {
			_, _, err := id.Members(ctx, c, "g")
			return err
		}},
		{"iam:ListGroupsForUser", u, true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.ListGroupsForUser(ctx, c, "x")
			return err
		}},
		{"iam:RemoveUserFromGroup", g, false, func(ctx context.Context, c ecr.Caller) error { return id.RemoveUserFromGroup(ctx, c, "g", "x") }},
	})
	if keys, err := id.ListAccessKeys(t.Context(), root(), "x"); err != nil || len(keys) != 0 {
		t.Errorf("a denied call left %v, %v", keys, err)
	}
}

func TestAccessKeys(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	create(t, id, identity.User, "x", identity.Settings{})
	create(t, id, identity.User, "y", identity.Settings{})
	one, secret, err := id.CreateAccessKey(ctx, root(), "x")
	ok(t, err)
	if len(one.ID) != 20 || one.ID[:4] != "AKIA" || len(secret) != 40 || !one.Active || !one.CreatedAt.Equal(w.now) {
		t.Errorf("made %+v with a secret of %d", one, len(secret))
	}
	two, _, err := id.CreateAccessKey(ctx, root(), "x")
	ok(t, err)
	ok(t, id.UpdateAccessKey(ctx, root(), "x", one.ID, false))
	_, _, err = id.CreateAccessKey(ctx, root(), "x")
	wantCode(t, "a third key: an inactive one counts", err, ecr.LimitExceeded)
	keys, err := id.ListAccessKeys(ctx, root(), "x")
	active := map[string]bool{}
	for _, k := range keys {
		active[k.ID] = k.Active
	}
	if want := map[string]bool{one.ID: false, two.ID: true}; err != nil || fmt.Sprint(active) != fmt.Sprint(want) {
		t.Errorf("%v, %v, want %v", active, err, want)
	}
	_, _, err = id.SecretKey(ctx, one.ID)
	wantCode(t, "inactive", err, ecr.BadCredentials)
	ok(t, id.UpdateAccessKey(ctx, root(), "x", one.ID, true))
	if got, p, err := id.SecretKey(ctx, one.ID); err != nil || got != secret || p.ARN != resource("user", "x") {
		t.Errorf("active again: %+v, %v", p, err)
	}

	// A key is reached only through its user, and only in its account.
	_, err = id.Create(ctx, rootOf(stranger), identity.User, "x", identity.Settings{})
	ok(t, err)
	rootKey, _, err := id.EnsureRoot(ctx, account, "", "")
	ok(t, err)
	for _, tt := range []struct {
		what     string
		c        ecr.Caller
		name, id string
	}{
		{"of another user", root(), "y", one.ID},
		{"of another account", rootOf(stranger), "x", one.ID},
		{"of nobody", root(), "x", "AKIAAAAAAAAAAAAAAAAA"},
		{"of the root user", root(), "x", rootKey},
		{"no ID", root(), "x", ""},
	} {
		wantCode(t, "update a key "+tt.what, id.UpdateAccessKey(ctx, tt.c, tt.name, tt.id, false), ecr.NoSuchEntity)
		wantCode(t, "delete a key "+tt.what, id.DeleteAccessKey(ctx, tt.c, tt.name, tt.id), ecr.NoSuchEntity)
	}
	for _, k := range []string{one.ID, rootKey} {
		if _, _, err := id.SecretKey(ctx, k); err != nil {
			t.Errorf("%s no longer works: %v", k, err)
		}
	}
	ok(t, id.DeleteAccessKey(ctx, root(), "x", one.ID))
	_, _, err = id.SecretKey(ctx, one.ID)
	wantCode(t, "deleted", err, ecr.BadCredentials)
	wantCode(t, "delete twice", id.DeleteAccessKey(ctx, root(), "x", one.ID), ecr.NoSuchEntity)
	wantCode(t, "activate a deleted key", id.UpdateAccessKey(ctx, root(), "x", one.ID, true), ecr.NoSuchEntity)
	if _, _, err = id.CreateAccessKey(ctx, root(), "x"); err != nil {
		t.Errorf("a key in place of the deleted one: %v", err)
	}
	for _, bad := range []string{"", "abc", "akiaaaaaaaaaaaaaaaaa", "AKIA AAAA", "AKIA\n", "' or '1'='1"} {
		_, _, err := id.SecretKey(ctx, bad)
		wantCode(t, bad, err, ecr.BadCredentials)
	}
}

// What a group may do, its users may, while they are in it.
func TestGroups(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	c, other := user(t, id, account, "x", ""), user(t, id, account, "y", "")
	create(t, id, identity.Group, "g", identity.Settings{})
	create(t, id, identity.Group, "h", identity.Settings{})
	ok(t, id.PutPolicy(ctx, root(), identity.Group, "g", "p", grant("ecr:PutImage")))
	ok(t, id.Attach(ctx, root(), identity.Group, "h", readOnly))
	want := func(what string, put, get bool) {
		t.Helper()
		p := again(t, id, c).Principal
		if may(p, "ecr:PutImage") != put || may(p, "ecr:BatchGetImage") != get {
			t.Errorf("%s: may put: %t, get: %t", what, may(p, "ecr:PutImage"), may(p, "ecr:BatchGetImage"))
		}
		if p := again(t, id, other).Principal; may(p, "ecr:PutImage") || may(p, "ecr:BatchGetImage") {
			t.Errorf("%s: so may who is in no group", what)
		}
	}
	want("in none", false, false)
	ok(t, id.AddUserToGroup(ctx, root(), "g", "x"))
	ok(t, id.AddUserToGroup(ctx, root(), "g", "x"))
	want("in g", true, false)
	ok(t, id.AddUserToGroup(ctx, root(), "h", "x"))
	want("in both", true, true)
	groups, err := id.ListGroupsForUser(ctx, root(), "x")
	if err != nil || len(groups) != 2 || groups[0].Name != "g" || groups[1].ARN != resource("group", "h") {
		t.Errorf("groups %+v, %v", groups, err)
	}
	g, members, err := id.Members(ctx, root(), "g")
	if err != nil || g.Name != "g" || len(members) != 1 || members[0].ARN != resource("user", "x") {
		t.Errorf("members of %s: %+v, %v", g.Name, members, err)
	}
	ok(t, id.PutPolicy(ctx, root(), identity.Group, "g", "no", `{"Statement":{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*"}}`))
	want("with a deny in g", true, false)
	ok(t, id.RemoveUserFromGroup(ctx, root(), "g", "x"))
	want("out of g", false, true)
	wantCode(t, "out of g again", id.RemoveUserFromGroup(ctx, root(), "g", "x"), ecr.NoSuchEntity)
	ok(t, id.Detach(ctx, root(), identity.Group, "h", readOnly))
	want("h may nothing", false, false)

	wantCode(t, "an unknown user", id.AddUserToGroup(ctx, root(), "g", "z"), ecr.NoSuchEntity)
	wantCode(t, "an unknown group", id.AddUserToGroup(ctx, root(), "z", "x"), ecr.NoSuchEntity)
	create(t, id, identity.Role, "r", identity.Settings{})
	wantCode(t, "a role", id.AddUserToGroup(ctx, root(), "g", "r"), ecr.NoSuchEntity)
	wantCode(t, "a group", id.AddUserToGroup(ctx, root(), "g", "h"), ecr.NoSuchEntity)
	user(t, id, stranger, "theirs", "")
	wantCode(t, "a user of another account", id.AddUserToGroup(ctx, root(), "g", "theirs"), ecr.NoSuchEntity)
	wantCode(t, "a group of another account", id.AddUserToGroup(ctx, rootOf(stranger), "g", "theirs"), ecr.NoSuchEntity)
}

// A change by another process is seen here within TTL, and not before only
// because what is known is kept.
func TestGroupChangeElsewhere(t *testing.T) {
	w := newWorld(t)
	server, command := w.open(t, master, "us-east-1"), w.open(t, master, "us-east-1")
	c := user(t, server, account, "x", "")
	create(t, server, identity.Group, "g", identity.Settings{})
	ok(t, server.PutPolicy(t.Context(), root(), identity.Group, "g", "p", grant("ecr:PutImage")))
	ok(t, server.AddUserToGroup(t.Context(), root(), "g", "x"))
	if !may(again(t, server, c).Principal, "ecr:PutImage") {
		t.Fatal("the group's policy does not count")
	}
	ok(t, command.RemoveUserFromGroup(t.Context(), root(), "g", "x"))
	w.now = w.now.Add(identity.TTL)
	if may(again(t, server, c).Principal, "ecr:PutImage") {
		t.Error("the group's policy counts after TTL")
	}
}

func TestGetSessionToken(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	c := user(t, id, account, "x", grant("ecr:PutImage"))
	for _, tt := range []struct {
		life, want time.Duration
		code       ecr.Code
	}{
		{0, 12 * time.Hour, 0}, {15 * time.Minute, 15 * time.Minute, 0}, {36 * time.Hour, 36 * time.Hour, 0},
		{15*time.Minute - time.Second, 0, ecr.Validation}, {36*time.Hour + time.Second, 0, ecr.Validation}, {-time.Hour, 0, ecr.Validation},
	} {
		out, err := id.GetSessionToken(ctx, c, tt.life)
		if tt.code != 0 {
			wantCode(t, tt.life.String(), err, tt.code)
			continue
		}
		if err != nil || !out.Expires.Equal(w.now.Add(tt.want)) {
			t.Errorf("%s: until %s, %v", tt.life, out.Expires, err)
		}
		s := session(t, id, out)
		if s.ARN != c.ARN || s.ID != c.ID || !s.Issued.Equal(w.now) || !may(s.Principal, "ecr:PutImage") || may(s.Principal, "ecr:BatchGetImage") {
			t.Errorf("the session is %+v", s.Principal)
		}
		if e := lastEvent(t, w); e.Type != ecr.SessionStarted || e.Action != "sts:GetSessionToken" || e.Principal != c.ARN || e.Tag != c.ARN {
			t.Errorf("the last event is %+v", e)
		}
		_, err = id.GetSessionToken(ctx, s, 0)
		wantCode(t, "by a session", err, ecr.AccessDenied)
		_, _, err = id.GetAuthorizationToken(ctx, s)
		wantCode(t, "a password without leave", err, ecr.AccessDenied)
	}
	_, err := id.GetSessionToken(ctx, root(), 0)
	wantCode(t, "by the root user", err, ecr.AccessDenied)
}

// A tag of a user is its aws:PrincipalTag.
func TestTagsInConditions(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/Team":"one"}}}}`)
	for _, tt := range []struct {
		value string
		want  bool
	}{{"", false}, {"one", true}, {"two", false}} {
		if tt.value != "" {
			ok(t, id.Tag(t.Context(), root(), identity.User, "x", []ecr.Tag{{Key: "team", Value: tt.value}}))
		}
		if got := may(again(t, id, c).Principal, "ecr:PutImage"); got != tt.want {
			t.Errorf("with team=%q: %t", tt.value, got)
		}
	}
}

// A boundary narrows what the policies allow and gives nothing by itself.
func TestBoundary(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	c := user(t, id, account, "x", grant("ecr:PutImage", "ecr:BatchGetImage"))
	own, err := id.CreatePolicy(ctx, root(), "bound", "", "", grant("ecr:PutImage"), nil)
	ok(t, err)
	foreign, err := id.CreatePolicy(ctx, rootOf(stranger), "bound", "", "", grant("*"), nil)
	ok(t, err)
	want := func(put, get bool) {
		t.Helper()
		p := again(t, id, c).Principal
		if may(p, "ecr:PutImage") != put || may(p, "ecr:BatchGetImage") != get || may(p, "ecr:ListImages") {
			t.Errorf("may put: %t, get: %t, list: %t", may(p, "ecr:PutImage"), may(p, "ecr:BatchGetImage"), may(p, "ecr:ListImages"))
		}
	}
	want(true, true)
	ok(t, id.PutBoundary(ctx, root(), identity.User, "x", own.ARN))
	want(true, false)
	wantCode(t, "delete the boundary", id.DeleteManagedPolicy(ctx, root(), own.ARN), ecr.DeleteConflict)
	ok(t, id.PutBoundary(ctx, root(), identity.User, "x", readOnly))
	want(false, true)
	for _, bad := range []string{foreign.ARN, resource("policy", "none"), "none", resource("user", "x")} {
		wantCode(t, bad, id.PutBoundary(ctx, root(), identity.User, "x", bad), ecr.NoSuchEntity)
	}
	want(false, true)
	ok(t, id.PutBoundary(ctx, root(), identity.User, "x", ""))
	want(true, true)
	ok(t, id.DeleteManagedPolicy(ctx, root(), own.ARN))
}

// The policies of a caller see how its call came in.
func TestConditionsOfCalls(t *testing.T) {
	id := newWorld(t).open(t, master, "eu-west-1")
	create(t, id, identity.Group, "g", identity.Settings{})
	inside, outside := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	for n, tt := range []struct {
		condition string
		c         ecr.Caller
		want      bool
	}{
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, ecr.Caller{SourceIP: inside}, true},
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, ecr.Caller{SourceIP: outside}, false},
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, ecr.Caller{}, false},
		{`"Bool":{"aws:SecureTransport":"true"}`, ecr.Caller{TLS: true}, true},
		{`"Bool":{"aws:SecureTransport":"true"}`, ecr.Caller{}, false},
		{`"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`, ecr.Caller{}, true},
		{`"StringEquals":{"aws:RequestedRegion":"us-east-1"}`, ecr.Caller{}, false},
		{`"StringEquals":{"aws:username":"user4"}`, ecr.Caller{}, false},
	} {
		c := user(t, id, account, fmt.Sprint("user", n), `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:Get*","Resource":"*","Condition":{`+tt.condition+`}}}`)
		tt.c.Principal = c.Principal
		_, err := id.Get(t.Context(), tt.c, identity.Group, "g")
		if tt.want && err != nil {
			t.Errorf("%s of %+v: %v", tt.condition, tt.c, err)
		}
		if !tt.want {
			wantCode(t, tt.condition, err, ecr.AccessDenied)
		}
	}
}
