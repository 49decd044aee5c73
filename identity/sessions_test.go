package identity_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// let is a statement of a trust policy; more is further elements of it.
func let(effect, principal, action, more string) string {
	if strings.HasPrefix(principal, "arn:") || len(principal) == len(account) {
		principal = `{"AWS":"` + principal + `"}`
	}
	return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":` + action + more + `}`
}

func trust(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// session is who acts with temporary credentials.
func session(t *testing.T, id *identity.Identity, c identity.Credentials) ecr.Caller {
	t.Helper()
	secret, p, err := id.SessionKey(t.Context(), c.AccessKeyID, c.SessionToken)
	ok(t, err)
	if secret != c.Secret || !strings.HasPrefix(c.AccessKeyID, "ASIA") {
		t.Errorf("the secret of session key %s is not the one given out", c.AccessKeyID)
	}
	return ecr.Caller{Principal: p, AccessKeyID: c.AccessKeyID, SessionToken: c.SessionToken}
}

func assume(t *testing.T, id *identity.Identity, c ecr.Caller, in identity.AssumeRoleInput) (ecr.Caller, identity.AssumedRole) {
	t.Helper()
	if in.SessionName == "" {
		in.SessionName = "s1"
	}
	out, err := id.AssumeRole(t.Context(), c, in)
	ok(t, err)
	return session(t, id, out.Credentials), out
}

func TestAssumeRole(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	const (
		sts   = `"sts:AssumeRole"`
		role  = "arn:aws:iam::" + account + ":role/ci/build"
		plain = "arn:aws:iam::" + account + ":user/plain"
		root  = "arn:aws:iam::" + account + ":root"
		eve   = "arn:aws:iam::" + stranger + ":user/eve"
	)
	create(t, id, identity.Role, "build", identity.Settings{Path: "/ci/"})
	create(t, id, identity.Role, "base", identity.Settings{})
	create(t, id, identity.Role, "other", identity.Settings{})
	for _, base := range []string{"base", "other"} { // whom nothing but the trust policy lets
		ok(t, id.UpdateAssumeRolePolicy(t.Context(), rootOf(account), base, trust(let("Allow", plain, sts, ""))))
	}
	callers := map[string]ecr.Caller{
		"plain":    user(t, id, account, "plain", ""),
		"entitled": user(t, id, account, "entitled", grant("sts:*")),
		"narrow":   user(t, id, account, "narrow", strings.Replace(grant("sts:AssumeRole"), `"*"`, `"arn:aws:iam::`+account+`:role/other"`, 1)),
		"barred":   user(t, id, account, "barred", `{"Statement":{"Effect":"Deny","Action":"sts:*","Resource":"*"}}`),
		"bounded":  user(t, id, account, "bounded", grant("sts:*")),
		"eve":      user(t, id, stranger, "eve", ""),
		"mallory":  user(t, id, stranger, "mallory", grant("*")),
	}
	ok(t, id.PutBoundary(t.Context(), rootOf(account), identity.User, "bounded", readOnly))
	callers["bounded"] = again(t, id, callers["bounded"])
	callers["session"], _ = assume(t, id, callers["plain"], identity.AssumeRoleInput{RoleARN: resource("role", "base")})
	callers["narrowed"], _ = assume(t, id, callers["plain"], identity.AssumeRoleInput{RoleARN: resource("role", "base"), SessionName: "s1", Policy: grant("ecr:*")})

	type in = identity.AssumeRoleInput
	const denied, fine = ecr.AccessDenied, ecr.NumCodes
	team := []ecr.Tag{{Key: "Team", Value: "one"}}
	all := `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`
	when := func(operator, key, value string) string {
		return fmt.Sprintf(`,"Condition":{%q:{%q:%q}}`, operator, key, value)
	}
	tests := []struct {
		what, trust, caller string
		in                  in
		want                ecr.Code
	}{
		{"the account: the user's own policy decides", let("Allow", root, sts, ""), "plain", in{}, denied},
		{"the account and the user's policy", let("Allow", root, sts, ""), "entitled", in{}, fine},
		{"the account by its number", let("Allow", account, sts, ""), "entitled", in{}, fine},
		{"the account by its number alone", let("Allow", account, sts, ""), "plain", in{}, denied},
		{"the user's policy is for another role", let("Allow", root, sts, ""), "narrow", in{}, denied},
		{"the account, outside of the user's boundary", let("Allow", root, sts, ""), "bounded", in{}, denied},
		{"the user by name", let("Allow", plain, sts, ""), "plain", in{}, fine},
		{"another user by name", let("Allow", plain, sts, ""), "entitled", in{}, denied},
		{"by name, but its own policy denies", let("Allow", resource("user", "barred"), sts, ""), "barred", in{}, denied},
		{"the account, but the user is denied", trust(let("Allow", root, sts, ""), let("Deny", resource("user", "entitled"), sts, "")), "entitled", in{}, denied},
		{"the user, but its account is denied", trust(let("Deny", account, sts, ""), let("Allow", plain, sts, "")), "plain", in{}, denied},
		{"everyone of the account", let("Allow", `"*"`, sts, ""), "plain", in{}, fine},
		{"all but the user", trust(let("Allow", `"*"`, sts, ""), strings.Replace(let("Deny", plain, sts, ""), "Principal", "NotPrincipal", 1)), "entitled", in{}, denied},
		{"another account, the user's policy is missing", let("Allow", stranger, sts, ""), "eve", in{}, denied},
		{"another account with the user's policy", let("Allow", stranger, sts, ""), "mallory", in{}, fine},
		{"a user of another account, its policy is missing", let("Allow", eve, sts, ""), "eve", in{}, denied},
		{"everyone is not enough in another account", let("Allow", `"*"`, sts, ""), "eve", in{}, denied},
		{"another account that is not named", let("Allow", root, sts, ""), "mallory", in{}, denied},
		{"a user of the same name elsewhere", let("Allow", "arn:aws:iam::"+stranger+":user/plain", sts, ""), "plain", in{}, denied},
		{"a session by its role", let("Allow", resource("role", "base"), sts, ""), "session", in{}, fine},
		{"a session by its name", let("Allow", "arn:aws:sts::"+account+":assumed-role/base/s1", sts, ""), "session", in{}, fine},
		{"another session of the role", let("Allow", "arn:aws:sts::"+account+":assumed-role/base/s2", sts, ""), "session", in{}, denied},
		{"a session of another role", let("Allow", resource("role", "other"), sts, ""), "session", in{}, denied},
		{"the role of that name elsewhere", let("Allow", "arn:aws:iam::"+stranger+":role/base", sts, ""), "session", in{}, denied},
		{"a user of the role's name", let("Allow", resource("user", "base"), sts, ""), "session", in{}, denied},
		{"who assumed the session", let("Allow", plain, sts, ""), "session", in{}, denied},
		{"a session whose policy does not let it", let("Allow", resource("role", "base"), sts, ""), "narrowed", in{}, denied},
		{"a provider", let("Allow", `{"Federated":"`+plain+`"}`, sts, ""), "plain", in{}, denied},
		{"a service", let("Allow", `{"Service":"ec2.amazonaws.com"}`, sts, ""), "entitled", in{}, denied},
		{"another action", let("Allow", plain, `"sts:AssumeRoleWithWebIdentity"`, ""), "plain", in{}, denied},

		{"no external ID", let("Allow", plain, sts, when("StringEquals", "sts:ExternalId", "e1")), "plain", in{}, denied},
		{"another external ID", let("Allow", plain, sts, when("StringEquals", "sts:ExternalId", "e1")), "plain", in{ExternalID: "E1"}, denied},
		{"the external ID", let("Allow", plain, sts, when("StringEquals", "sts:ExternalId", "e1")), "plain", in{ExternalID: "e1"}, fine},
		{"tags without leave", let("Allow", plain, sts, ""), "plain", in{Tags: team}, denied},
		{"tags with leave", let("Allow", plain, all, ""), "plain", in{Tags: team}, fine},
		{"tags by the account, the user's policy is missing", let("Allow", root, all, ""), "plain", in{Tags: team}, denied},
		{"tags by the account", let("Allow", root, all, ""), "entitled", in{Tags: team}, fine},
		{"leave to tag but not to assume", let("Allow", plain, `"sts:TagSession"`, ""), "plain", in{Tags: team}, denied},
		{"the right tag", let("Allow", plain, all, when("StringEquals", "aws:RequestTag/team", "one")), "plain", in{Tags: team}, fine},
		{"the wrong tag", let("Allow", plain, all, when("StringEquals", "aws:RequestTag/team", "two")), "plain", in{Tags: team}, denied},
		{"no tag", let("Allow", plain, all, when("StringEquals", "aws:RequestTag/team", "one")), "plain", in{}, denied},
		{"other tags than may be", let("Allow", plain, all, when("ForAllValues:StringEquals", "aws:TagKeys", "team")), "plain", in{Tags: []ecr.Tag{{Key: "team"}, {Key: "admin"}}}, denied},
		{"a transitive tag", let("Allow", plain, all, when("StringEquals", "sts:TransitiveTagKeys", "Team")), "plain", in{Tags: team, TransitiveTags: []string{"Team"}}, fine},
		{"a source identity without leave", let("Allow", plain, sts, ""), "plain", in{SourceIdentity: "me"}, denied},
		{"a source identity with leave", let("Allow", plain, all, ""), "plain", in{SourceIdentity: "me"}, fine},
		{"the source identity", let("Allow", plain, all, when("StringLike", "sts:SourceIdentity", "m*")), "plain", in{SourceIdentity: "me"}, fine},
		{"another source identity", let("Allow", plain, all, when("StringLike", "sts:SourceIdentity", "m*")), "plain", in{SourceIdentity: "you"}, denied},
		{"a session of the user's name", let("Allow", plain, sts, when("StringEquals", "sts:RoleSessionName", "${aws:username}")), "plain", in{SessionName: "plain"}, fine},
		{"a session of another name", let("Allow", plain, sts, when("StringEquals", "sts:RoleSessionName", "${aws:username}")), "plain", in{SessionName: "other"}, denied},
		{"from nowhere", let("Allow", plain, sts, when("IpAddress", "aws:SourceIp", "10.0.0.0/8")), "plain", in{}, denied},

		{"no role of the name", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: resource("role", "none")}, denied},
		{"the role without its path", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: resource("role", "build")}, denied},
		{"the role at another path", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: resource("role", "x/build")}, denied},
		{"a longer path", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: resource("role", "x/ci/build")}, denied},
		{"the role in another account", let("Allow", `"*"`, all, ""), "mallory", in{RoleARN: strings.Replace(role, account, stranger, 1)}, denied},
		{"not a role", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: plain}, denied},
		{"its session", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: "arn:aws:sts::" + account + ":assumed-role/build/s1"}, denied},
		{"another case", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: resource("role", "ci/Build")}, denied},
		{"another partition", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: strings.Replace(role, "arn:aws:", "arn:aws-cn:", 1)}, denied},
		{"a name only", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: "build"}, denied},
		{"no name", let("Allow", `"*"`, all, ""), "entitled", in{RoleARN: resource("role", "ci/")}, denied},
		{"a session policy of another account", let("Allow", plain, sts, ""), "plain", in{PolicyARNs: []string{"arn:aws:iam::" + stranger + ":policy/p"}}, ecr.NoSuchEntity},
	}
	for _, tt := range tests {
		w.now = w.now.Add(time.Second)
		if !strings.HasPrefix(tt.trust, `{"Version"`) {
			tt.trust = trust(tt.trust)
		}
		ok(t, id.UpdateAssumeRolePolicy(t.Context(), rootOf(account), "build", tt.trust))
		if tt.in.RoleARN == "" {
			tt.in.RoleARN = role
		}
		if tt.in.SessionName == "" {
			tt.in.SessionName = "s1"
		}
		c := callers[tt.caller]
		out, err := id.AssumeRole(t.Context(), c, tt.in)
		if tt.want != fine {
			wantCode(t, tt.what, err, tt.want)
			if out.SessionToken != "" {
				t.Errorf("%s: credentials with an error", tt.what)
			}
			if tt.want == denied {
				wantEvent(t, w, tt.what, ecr.CallDenied, "sts:AssumeRole", c)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		arn := "arn:aws:sts::" + account + ":assumed-role/build/" + tt.in.SessionName
		if e := lastEvent(t, w); e.Type != ecr.SessionStarted || e.Action != "sts:AssumeRole" || e.Tag != arn || e.Principal != c.ARN || e.Repository.Account != account {
			t.Errorf("%s: the last event is %+v", tt.what, e)
		}
		s := session(t, id, out.Credentials)
		if out.ARN != arn || s.ARN != arn || s.ID != out.ID || !strings.HasSuffix(out.ID, ":"+tt.in.SessionName) || s.Account != account || s.Root || s.SourceIdentity != tt.in.SourceIdentity || !s.Issued.Equal(w.now) {
			t.Errorf("%s: %+v is %+v", tt.what, out, s.Principal)
		}
		for _, tag := range tt.in.Tags {
			if s.Tags[tag.Key] != tag.Value {
				t.Errorf("%s: the session's tags are %v", tt.what, s.Tags)
			}
		}
	}
	ok(t, id.UpdateAssumeRolePolicy(t.Context(), rootOf(account), "build", trust(let("Allow", root, all, ""))))
	_, err := id.AssumeRole(t.Context(), rootOf(account), in{RoleARN: role, SessionName: "s1"})
	wantCode(t, "the root user", err, ecr.AccessDenied)
}

func TestAssumeRoleValidation(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	c := user(t, id, account, "x", grant("sts:*"))
	create(t, id, identity.Role, "short", identity.Settings{})
	create(t, id, identity.Role, "long", identity.Settings{MaxSession: 12 * time.Hour})
	for _, r := range []string{"short", "long"} {
		ok(t, id.UpdateAssumeRolePolicy(t.Context(), root(), r, trust(let("Allow", account, `"sts:*"`, ""))))
	}
	type in = identity.AssumeRoleInput
	const fine = ecr.NumCodes
	for _, tt := range []struct {
		what, role string
		in         in
		want       ecr.Code
	}{
		{"all characters of a session name", "short", in{SessionName: "aZ0_+=,.@-"}, fine},
		{"a name of 64", "short", in{SessionName: strings.Repeat("s", 64)}, fine},
		{"a name of 65", "short", in{SessionName: strings.Repeat("s", 65)}, ecr.Validation},
		{"a name of 1", "short", in{SessionName: "s"}, ecr.Validation},
		{"a name with a path", "short", in{SessionName: "a/b"}, ecr.Validation},
		{"a name with a colon", "short", in{SessionName: "a:b"}, ecr.Validation},
		{"a name with a line break", "short", in{SessionName: "ab\n"}, ecr.Validation},
		{"15 minutes", "short", in{Duration: 15 * time.Minute}, fine},
		{"less", "short", in{Duration: 15*time.Minute - time.Second}, ecr.Validation},
		{"negative", "short", in{Duration: -time.Hour}, ecr.Validation},
		{"longer than the role lets", "short", in{Duration: time.Hour + time.Second}, ecr.Validation},
		{"12 hours", "long", in{Duration: 12 * time.Hour}, fine},
		{"more", "long", in{Duration: 12*time.Hour + time.Second}, ecr.Validation},
		{"a malformed policy", "short", in{Policy: "{}"}, ecr.MalformedPolicy},
		{"a trust policy as session policy", "short", in{Policy: trustRoot}, ecr.MalformedPolicy},
		{"a policy of 2048", "short", in{Policy: grant("ecr:*") + strings.Repeat(" ", 2048-len(grant("ecr:*")))}, fine},
		{"a policy of 2049", "short", in{Policy: grant("ecr:*") + strings.Repeat(" ", 2049-len(grant("ecr:*")))}, ecr.Validation},
		{"10 managed policies", "short", in{PolicyARNs: slices.Repeat([]string{readOnly}, 10)}, fine},
		{"11 managed policies", "short", in{PolicyARNs: slices.Repeat([]string{readOnly}, 11)}, ecr.Validation},
		{"an unknown managed policy", "short", in{PolicyARNs: []string{resource("policy", "none")}}, ecr.NoSuchEntity},
		{"a tag of AWS", "short", in{Tags: []ecr.Tag{{Key: "aws:x"}}}, ecr.Validation},
		{"a source identity of 1", "short", in{SourceIdentity: "x"}, ecr.Validation},
		{"a source identity with a blank", "short", in{SourceIdentity: "x y"}, ecr.Validation},
	} {
		tt.in.RoleARN = resource("role", tt.role)
		if tt.in.SessionName == "" {
			tt.in.SessionName = "s1"
		}
		_, err := id.AssumeRole(t.Context(), c, tt.in)
		if tt.want == fine {
			if err != nil {
				t.Errorf("%s: %v", tt.what, err)
			}
			continue
		}
		wantCode(t, tt.what, err, tt.want)
	}
	var many []ecr.Tag
	for n := range 50 {
		many = append(many, ecr.Tag{Key: fmt.Sprint(n, strings.Repeat("k", 120)), Value: strings.Repeat("v", 256)})
	}
	_, err := id.AssumeRole(t.Context(), c, in{RoleARN: resource("role", "short"), SessionName: "s1", Tags: many})
	wantCode(t, "tags that do not fit a token", err, ecr.PackedPolicyTooLarge)
	s, _ := assume(t, id, c, in{RoleARN: resource("role", "short")})
	ok(t, id.PutPolicy(t.Context(), root(), identity.Role, "short", "p", grant("sts:AssumeRole")))
	s = again(t, id, s)
	_, err = id.AssumeRole(t.Context(), s, in{RoleARN: resource("role", "long"), SessionName: "s2", Duration: time.Hour + time.Second})
	wantCode(t, "a chained session of more than an hour", err, ecr.Validation)
	_, out := assume(t, id, s, in{RoleARN: resource("role", "long"), Duration: time.Hour})
	if life := out.Expires.Sub(s.Issued); life != time.Hour {
		t.Errorf("a chained session of %s", life)
	}
}

// A session may what its role may within its boundary, and what one of its
// session policies allows too, if it has any: these give nothing by themselves.
func TestSessionPolicies(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	c := user(t, id, account, "x", "")
	create(t, id, identity.Role, "r", identity.Settings{Trust: trust(let("Allow", resource("user", "x"), `"sts:*"`, ""))})
	custom, err := id.CreatePolicy(ctx, root(), "put", "", "", grant("ecr:PutImage"), nil)
	ok(t, err)
	type set struct{ put, get bool }
	policies := map[string]set{grant("ecr:PutImage"): {true, false}, grant("ecr:BatchGetImage"): {false, true}, grant("ecr:*"): {true, true},
		grant("iam:*"): {}, readOnly: {false, true}, powerUser: {true, true}, custom.ARN: {true, false}}
	for _, own := range []string{grant("ecr:PutImage"), grant("ecr:BatchGetImage"), grant("ecr:*"), grant("iam:*")} {
		ok(t, id.PutPolicy(ctx, root(), identity.Role, "r", "p", own))
		for _, boundary := range []string{"", readOnly, powerUser, custom.ARN} {
			ok(t, id.PutBoundary(ctx, root(), identity.Role, "r", boundary))
			for _, inline := range []string{"", grant("ecr:PutImage"), grant("ecr:*"), grant("iam:*")} {
				for _, managed := range []string{"", readOnly, custom.ARN} {
					in := identity.AssumeRoleInput{RoleARN: resource("role", "r"), Policy: inline}
					if managed != "" {
						in.PolicyARNs = []string{managed}
					}
					s, _ := assume(t, id, c, in)
					want, within := policies[own], set{policies[inline].put || policies[managed].put, policies[inline].get || policies[managed].get}
					if boundary != "" {
						want = set{want.put && policies[boundary].put, want.get && policies[boundary].get}
					}
					if inline != "" || managed != "" {
						want = set{want.put && within.put, want.get && within.get}
					}
					if got := (set{may(s.Principal, "ecr:PutImage"), may(s.Principal, "ecr:BatchGetImage")}); got != want {
						t.Errorf("role %s, boundary %q, session %s %s: %+v, want %+v", own, boundary, inline, managed, got, want)
					}
				}
			}
		}
	}
	ok(t, id.PutBoundary(ctx, root(), identity.Role, "r", ""))
	ok(t, id.PutPolicy(ctx, root(), identity.Role, "r", "p", grant("ecr:*")))
	s, _ := assume(t, id, c, identity.AssumeRoleInput{RoleARN: resource("role", "r"), PolicyARNs: []string{custom.ARN}})
	ok(t, id.DeleteManagedPolicy(ctx, root(), custom.ARN))
	if _, _, err := id.SessionKey(ctx, s.AccessKeyID, s.SessionToken); err == nil {
		t.Error("a session goes on without the policy that narrowed it")
	}
}

// A session ends when it expires, not a second before or after.
func TestSessionLife(t *testing.T) {
	for _, life := range []time.Duration{0, 15 * time.Minute, 12 * time.Hour} {
		w := newWorld(t)
		id := w.open(t, master, "us-east-1")
		c := user(t, id, account, "x", "")
		create(t, id, identity.Role, "r", identity.Settings{MaxSession: 12 * time.Hour, Trust: trust(let("Allow", resource("user", "x"), `"sts:*"`, ""))})
		ok(t, id.Attach(t.Context(), root(), identity.Role, "r", readOnly))
		s, out := assume(t, id, c, identity.AssumeRoleInput{RoleARN: resource("role", "r"), Duration: life})
		if life == 0 {
			life = time.Hour
		}
		password, until, err := id.GetAuthorizationToken(t.Context(), s)
		if err != nil || !out.Expires.Equal(w.now.Add(life)) || !until.Equal(out.Expires) {
			t.Fatalf("a session of %s ends at %s, its password at %s, %v", life, out.Expires, until, err)
		}
		w.now = w.now.Add(life - time.Second)
		again(t, id, s)
		if p, key, err := id.OpenToken(t.Context(), password); err != nil || p.ARN != out.ARN || key != s.AccessKeyID || !may(p, "ecr:BatchGetImage") || may(p, "ecr:PutImage") {
			t.Errorf("the password stands for %+v, %v", p, err)
		}
		if _, until, err := id.GetAuthorizationToken(t.Context(), s); err != nil || !until.Equal(out.Expires) {
			t.Errorf("a password of the last second ends at %s, %v", until, err)
		}
		w.now = w.now.Add(time.Second) // what is known is good for longer
		for range 2 {
			_, _, err = id.SessionKey(t.Context(), s.AccessKeyID, s.SessionToken)
			wantCode(t, "session", err, ecr.ExpiredCredentials)
			_, _, err = id.OpenToken(t.Context(), password)
			wantCode(t, "password", err, ecr.ExpiredCredentials)
			w.now = w.now.Add(identity.TTL)
		}
	}
}

// A session and its passwords end with its role or user, also by another
// process, and do not come back with one of the same name.
func TestSessionEnds(t *testing.T) {
	for _, k := range []identity.Kind{identity.Role, identity.User} {
		t.Run(string(k), func(t *testing.T) {
			w := newWorld(t)
			server, command := w.open(t, master, "us-east-1"), w.open(t, master, "us-east-1")
			ctx := t.Context()
			c := user(t, server, account, "x", grant("sts:*", "ecr:GetAuthorizationToken"))
			settings := identity.Settings{Trust: trust(let("Allow", account, `"sts:*"`, ""))}
			create(t, server, identity.Role, "x", settings)
			ok(t, server.PutPolicy(ctx, root(), identity.Role, "x", "own", grant("ecr:GetAuthorizationToken")))
			var s ecr.Caller
			if k == identity.Role {
				s, _ = assume(t, server, c, identity.AssumeRoleInput{RoleARN: resource("role", "x")})
			} else {
				out, err := server.GetSessionToken(ctx, c, 0)
				ok(t, err)
				s = session(t, server, out)
				ok(t, command.DeleteAccessKey(ctx, root(), "x", c.AccessKeyID))
			}
			password, _, err := server.GetAuthorizationToken(ctx, s)
			ok(t, err)
			_, _, err = server.OpenToken(ctx, password)
			ok(t, err)

			w.now = w.now.Add(time.Minute)
			ok(t, command.PutPolicy(ctx, root(), k, "x", "own", grant("ecr:PutImage")))
			w.now = w.now.Add(identity.TTL)
			p, _, err := server.OpenToken(ctx, password)
			if err != nil || !may(p, "ecr:PutImage") || may(p, "ecr:GetAuthorizationToken") || !may(again(t, server, s).Principal, "ecr:PutImage") {
				t.Errorf("after a change of its policy: %+v, %v", p, err)
			}

			ok(t, command.DeletePolicy(ctx, root(), k, "x", "own"))
			ok(t, command.Delete(ctx, root(), k, "x"))
			w.now = w.now.Add(identity.TTL)
			gone := func(what string) {
				t.Helper()
				_, _, err := server.SessionKey(ctx, s.AccessKeyID, s.SessionToken)
				wantCode(t, "session "+what, err, ecr.BadCredentials)
				_, _, err = server.OpenToken(ctx, password)
				wantCode(t, "password "+what, err, ecr.BadCredentials)
			}
			gone("after the end")
			create(t, command, k, "x", settings)
			w.now = w.now.Add(identity.TTL)
			gone("after another was made")
		})
	}
}

func TestSessionKey(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	c := user(t, id, account, "x", grant("sts:*", "ecr:*"))
	one, err := id.GetSessionToken(ctx, c, 0)
	ok(t, err)
	two, err := id.GetSessionToken(ctx, c, 0)
	ok(t, err)
	password, _, err := id.GetAuthorizationToken(ctx, session(t, id, one))
	ok(t, err)
	raw, err := base64.RawURLEncoding.DecodeString(password)
	ok(t, err)
	for _, known := range []bool{false, true} {
		for what, bad := range map[string][2]string{
			"another session's key":     {two.AccessKeyID, one.SessionToken},
			"the user's own key":        {c.AccessKeyID, one.SessionToken},
			"no key":                    {"", one.SessionToken},
			"no token":                  {one.AccessKeyID, ""},
			"a password as token":       {one.AccessKeyID, password},
			"a password, encoded again": {one.AccessKeyID, base64.StdEncoding.EncodeToString(raw)},
			"no base64":                 {one.AccessKeyID, "!"},
			"a long one":                {one.AccessKeyID, strings.Repeat("AAAA", 10_000)},
		} {
			_, _, err := id.SessionKey(ctx, bad[0], bad[1])
			wantCode(t, fmt.Sprint(what, ", known: ", known), err, ecr.BadCredentials)
		}
		session(t, id, one)
		session(t, id, two)
	}
	raw, err = base64.StdEncoding.DecodeString(one.SessionToken)
	ok(t, err)
	for _, token := range []string{one.SessionToken, base64.RawURLEncoding.EncodeToString(raw)} {
		_, _, err := id.OpenToken(ctx, token)
		wantCode(t, "a session token as password", err, ecr.BadCredentials)
	}
	_, _, err = id.SecretKey(ctx, one.AccessKeyID)
	wantCode(t, "a session's key without its token", err, ecr.BadCredentials)
	_, _, err = w.open(t, identity.NewMasterKey(), "us-east-1").SessionKey(ctx, one.AccessKeyID, one.SessionToken)
	wantCode(t, "with another master key", err, ecr.BadCredentials)
	session(t, w.open(t, identity.NewMasterKey()+"\n"+master, "us-east-1"), one)
	_, _, err = w.open(t, master, "eu-west-1").OpenToken(ctx, password)
	wantCode(t, "a password in another region", err, ecr.BadCredentials)
}

// mutate changes the bytes under a token, or its text; other is another token.
func mutate(r *rand.Rand, e *base64.Encoding, token, other string) string {
	raw, _ := e.DecodeString(token)
	raw2, _ := e.DecodeString(other)
	text := []byte(token)
	i, j := r.IntN(len(raw)), r.IntN(len(raw))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=!: "
	switch r.IntN(10) {
	case 0:
		raw[i] ^= 1 << r.IntN(8)
	case 1:
		raw = raw[:i]
	case 2:
		raw = raw[i:]
	case 3:
		raw = append(raw, byte(r.IntN(256)))
	case 4:
		raw[i], raw[j] = raw[j], raw[i]
	case 5: // the head of one, the tail of the other
		raw = append(slices.Clone(raw[:min(i, len(raw2))]), raw2[min(i, len(raw2)):]...)
	case 6:
		raw = slices.Delete(raw, min(i, j), max(i, j))
	case 7:
		raw = slices.Insert(raw, i, raw[j:]...)
	case 8:
		text[r.IntN(len(text))] = alphabet[r.IntN(len(alphabet))]
		return string(text)
	case 9:
		return string(slices.Insert(text, r.IntN(len(text)+1), alphabet[r.IntN(len(alphabet))]))
	}
	return e.EncodeToString(raw)
}

// What was changed, or put together of two, never opens.
func TestMutatedTokens(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	c := user(t, id, account, "x", grant("*"))
	one, err := id.GetSessionToken(ctx, c, 0)
	ok(t, err)
	w.now = w.now.Add(time.Second)
	two, err := id.GetSessionToken(ctx, c, 0)
	ok(t, err)
	password, _, err := id.GetAuthorizationToken(ctx, session(t, id, one))
	ok(t, err)
	short, _, err := id.GetAuthorizationToken(ctx, c)
	ok(t, err)
	session(t, id, two)
	for _, p := range []string{password, short} {
		_, _, err = id.OpenToken(ctx, p)
		ok(t, err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 2000 {
		good, other := one.SessionToken, two.SessionToken
		if token := mutate(r, base64.StdEncoding, good, other); token != good && token != other {
			for _, key := range []string{one.AccessKeyID, two.AccessKeyID} {
				_, _, err := id.SessionKey(ctx, key, token)
				wantCode(t, fmt.Sprintf("session token %d, %q", n, token), err, ecr.BadCredentials)
			}
		}
		if good, other = password, short; n%2 == 0 {
			good, other = short, password
		}
		if token := mutate(r, base64.RawURLEncoding, good, other); token != good && token != other {
			_, _, err := id.OpenToken(ctx, token)
			wantCode(t, fmt.Sprintf("password %d, %q", n, token), err, ecr.BadCredentials)
		}
	}
}
