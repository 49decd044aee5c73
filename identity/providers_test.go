package identity_test

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
)

const (
	github      = "token.actions.githubusercontent.com"
	githubARN   = "arn:aws:iam::" + account + ":oidc-provider/" + github
	fingerprint = "6938fd4d98bab03faadb97b34396831e3780aea1"
)

func provider(t *testing.T, id *identity.Identity, url string) identity.OIDCProvider {
	t.Helper()
	p, err := id.CreateOIDCProvider(t.Context(), root(), "https://"+url, []string{"sts.amazonaws.com"}, nil, nil)
	ok(t, err)
	return p
}

func TestProviderCalls(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	checkCalls(t, w, []call{
		{"iam:CreateOpenIDConnectProvider", githubARN, false, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.CreateOIDCProvider(ctx, c, "https://"+github, nil, nil, nil)
			return err
		}},
		{"iam:GetOpenIDConnectProvider", githubARN, true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.GetOIDCProvider(ctx, c, "iam:GetOpenIDConnectProvider", githubARN)
			return err
		}},
		{"iam:ListOpenIDConnectProviders", "arn:aws:iam::" + account + ":oidc-provider/*", true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.ListOIDCProviders(ctx, c)
			return err
		}},
		{"iam:AddClientIDToOpenIDConnectProvider", githubARN, false, func(ctx context.Context, c ecr.Caller) error {
			return id.UpdateOIDCProvider(ctx, c, "iam:AddClientIDToOpenIDConnectProvider", githubARN, nil, nil, func(p *identity.OIDCProvider) { p.ClientIDs = []string{"a"} })
		}},
		{"iam:DeleteOpenIDConnectProvider", githubARN, false, func(ctx context.Context, c ecr.Caller) error { return id.DeleteOIDCProvider(ctx, c, githubARN) }},
	})
}

func TestProviders(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	thumbprints := []string{strings.ToUpper(fingerprint)}
	made, err := id.CreateOIDCProvider(ctx, root(), "https://"+github, []string{"sts.amazonaws.com"}, thumbprints, []ecr.Tag{{Key: "team", Value: "x"}})
	ok(t, err)
	want := identity.OIDCProvider{ARN: githubARN, URL: github, ClientIDs: []string{"sts.amazonaws.com"}, Thumbprints: []string{fingerprint}, Tags: []ecr.Tag{{Key: "team", Value: "x"}}, CreatedAt: w.now}
	if !reflect.DeepEqual(made, want) || thumbprints[0] == fingerprint {
		t.Errorf("made %+v of %v", made, thumbprints)
	}
	check := func() {
		t.Helper()
		got, err := id.GetOIDCProvider(ctx, root(), "iam:GetOpenIDConnectProvider", githubARN)
		got.CreatedAt = got.CreatedAt.UTC()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	check()
	_, err = id.CreateOIDCProvider(ctx, root(), "https://"+github, nil, nil, nil)
	wantCode(t, "twice", err, ecr.EntityAlreadyExists)
	theirs, err := id.CreateOIDCProvider(ctx, rootOf(stranger), "https://"+github, nil, nil, nil)
	ok(t, err)

	const action = "iam:UpdateOpenIDConnectProviderThumbprint"
	ok(t, id.UpdateOIDCProvider(ctx, root(), action, githubARN, nil, nil, func(p *identity.OIDCProvider) {
		p.Thumbprints, p.ClientIDs, p.Tags = []string{strings.Repeat("A", 40)}, append(p.ClientIDs, "other"), nil
		p.URL, p.ARN = "elsewhere.example", "arn" // not to be changed
	}))
	want.Thumbprints, want.ClientIDs, want.Tags = []string{strings.Repeat("a", 40)}, []string{"sts.amazonaws.com", "other"}, nil
	check()
	wantCode(t, "update to an invalid one", id.UpdateOIDCProvider(ctx, root(), action, githubARN, nil, nil, func(p *identity.OIDCProvider) {
		p.Thumbprints, p.ClientIDs = []string{"x"}, nil
	}), ecr.Validation)
	check()

	provider(t, id, "a.example/realm")
	list, err := id.ListOIDCProviders(ctx, root())
	if err != nil || len(list) != 2 || list[0].URL != "a.example/realm" || list[1].ARN != githubARN {
		t.Errorf("list %+v, %v", list, err)
	}
	for _, arn := range []string{"", "arn:aws:iam::" + account + ":oidc-provider/", "arn:aws:iam::" + account + ":oidc-provider/none.example", theirs.ARN, githubARN + "/", github, resource("user", github)} {
		_, err := id.GetOIDCProvider(ctx, root(), "iam:GetOpenIDConnectProvider", arn)
		wantCode(t, "get "+arn, err, ecr.NoSuchEntity)
		wantCode(t, "update "+arn, id.UpdateOIDCProvider(ctx, root(), action, arn, nil, nil, func(*identity.OIDCProvider) {}), ecr.NoSuchEntity)
		wantCode(t, "delete "+arn, id.DeleteOIDCProvider(ctx, root(), arn), ecr.NoSuchEntity)
	}
	ok(t, id.DeleteOIDCProvider(ctx, root(), githubARN))
	wantCode(t, "delete twice", id.DeleteOIDCProvider(ctx, root(), githubARN), ecr.NoSuchEntity)
	if list, err := id.ListOIDCProviders(ctx, rootOf(stranger)); err != nil || len(list) != 1 || list[0].ARN != theirs.ARN {
		t.Errorf("another account's: %+v, %v", list, err)
	}
}

func TestProviderValidation(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	texts := func(n int) (texts []string) {
		for i := range n {
			texts = append(texts, fmt.Sprint("client-", i))
		}
		return texts
	}
	const fine = ecr.NumCodes
	for _, tt := range []struct {
		what, url              string
		clientIDs, thumbprints []string
		tags                   []ecr.Tag
		want                   ecr.Code
	}{
		{"a path and a port", "https://a.example:8443/realm/x", nil, nil, nil, fine},
		{"255 characters", "https://b.example/" + strings.Repeat("p", 255-18), nil, nil, nil, fine},
		{"256 characters", "https://x.example/" + strings.Repeat("p", 256-18), nil, nil, nil, ecr.Validation},
		{"no URL", "", nil, nil, nil, ecr.Validation},
		{"no scheme", "x.example", nil, nil, nil, ecr.Validation},
		{"http", "http://x.example", nil, nil, nil, ecr.Validation},
		{"no host", "https:///realm", nil, nil, nil, ecr.Validation},
		{"nothing", "https://", nil, nil, nil, ecr.Validation},
		{"opaque", "https:x.example", nil, nil, nil, ecr.Validation},
		{"a query", "https://x.example?a=b", nil, nil, nil, ecr.Validation},
		{"a fragment", "https://x.example#a", nil, nil, nil, ecr.Validation},
		{"a user", "https://me@x.example", nil, nil, nil, ecr.Validation},
		{"a blank", "https://x .example", nil, nil, nil, ecr.Validation},
		{"a line break", "https://x.example\n", nil, nil, nil, ecr.Validation},
		{"100 client IDs", "https://c.example", texts(100), nil, nil, fine},
		{"101 client IDs", "https://x.example", texts(101), nil, nil, ecr.LimitExceeded},
		{"an empty client ID", "https://x.example", []string{"a", ""}, nil, nil, ecr.Validation},
		{"a client ID of 255", "https://d.example", []string{strings.Repeat("c", 255)}, nil, nil, fine},
		{"a client ID of 256", "https://x.example", []string{strings.Repeat("c", 256)}, nil, nil, ecr.Validation},
		{"5 thumbprints", "https://e.example", nil, slices.Repeat([]string{fingerprint}, 5), nil, fine},
		{"6 thumbprints", "https://x.example", nil, slices.Repeat([]string{fingerprint}, 6), nil, ecr.Validation},
		{"a thumbprint of 39", "https://x.example", nil, []string{fingerprint[1:]}, nil, ecr.Validation},
		{"a SHA-256", "https://x.example", nil, []string{strings.Repeat("a", 64)}, nil, ecr.Validation},
		{"no hexadecimal", "https://x.example", nil, []string{strings.Repeat("g", 40)}, nil, ecr.Validation},
		{"a tag of AWS", "https://x.example", nil, nil, []ecr.Tag{{Key: "aws:x"}}, ecr.Validation},
	} {
		_, err := id.CreateOIDCProvider(t.Context(), root(), tt.url, tt.clientIDs, tt.thumbprints, tt.tags)
		if tt.want == fine {
			if err != nil {
				t.Errorf("%s: %v", tt.what, err)
			}
			continue
		}
		wantCode(t, tt.what, err, tt.want)
	}
	if list, err := id.ListOIDCProviders(t.Context(), root()); err != nil || len(list) != 5 {
		t.Errorf("%d providers were made, %v", len(list), err)
	}
}

// What a web identity needs of the trust policy, and of the provider.
func TestAssumeRoleWithWebIdentity(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	const (
		federated = `{"Federated":"` + githubARN + `"}`
		action    = `"sts:AssumeRoleWithWebIdentity"`
		subject   = "repo:acme/app:ref:refs/heads/main"
		denied    = ecr.AccessDenied
		fine      = ecr.NumCodes
	)
	provider(t, id, github)
	provider(t, id, "a.example/Realm")
	_, err := id.CreateOIDCProvider(t.Context(), rootOf(stranger), "https://theirs.example", nil, nil, nil)
	ok(t, err)
	create(t, id, identity.Role, "deploy", identity.Settings{})
	when := func(element string) string { return `,"Condition":{` + element + `}` }
	sub := when(`"StringEquals":{"` + github + `:aud":"sts.amazonaws.com"},"StringLike":{"` + github + `:sub":"repo:acme/app:*"}`)
	tests := []struct {
		what, trust, issuer string
		claims              map[string][]string // nil means those of the subject
		in                  identity.AssumeRoleInput
		want                ecr.Code
	}{
		{"the provider", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{}, fine},
		{"audience and subject", let("Allow", federated, action, sub), "", nil, identity.AssumeRoleInput{}, fine},
		{"another subject", let("Allow", federated, action, sub), "", map[string][]string{"aud": {"sts.amazonaws.com"}, "sub": {"repo:acme/application:x"}}, identity.AssumeRoleInput{}, denied},
		{"another audience", let("Allow", federated, action, sub), "", map[string][]string{"aud": {"other"}, "sub": {subject}}, identity.AssumeRoleInput{}, denied},
		{"no subject", let("Allow", federated, action, sub), "", map[string][]string{"aud": {"sts.amazonaws.com"}}, identity.AssumeRoleInput{}, denied},
		{"a key in capitals", let("Allow", federated, action, strings.ReplaceAll(sub, github+":sub", strings.ToUpper(github)+":SUB")), "", nil, identity.AssumeRoleInput{}, fine},
		{"another issuer's key", let("Allow", federated, action, strings.ReplaceAll(sub, github+":sub", "a.example/realm:sub")), "", nil, identity.AssumeRoleInput{}, denied},
		{"another issuer's token", let("Allow", federated, action, ""), "https://a.example/Realm", nil, identity.AssumeRoleInput{}, denied},
		{"an issuer with capitals", let("Allow", `{"Federated":"`+resource("oidc-provider", "a.example/Realm")+`"}`, action, when(`"StringEquals":{"a.example/realm:Sub":"`+subject+`"}`)), "https://a.example/Realm", nil, identity.AssumeRoleInput{}, fine},
		{"denied by its subject", trust(let("Allow", federated, action, ""), let("Deny", federated, action, when(`"StringLike":{"`+github+`:sub":"*:ref:refs/heads/main"}`))), "", nil, identity.AssumeRoleInput{}, denied},
		{"another action", let("Allow", federated, `"sts:AssumeRole"`, ""), "", nil, identity.AssumeRoleInput{}, denied},
		{"everyone is no web identity", let("Allow", `"*"`, action, ""), "", nil, identity.AssumeRoleInput{}, denied},
		{"everyone of AWS", let("Allow", "{\"AWS\":\"*\"}", action, ""), "", nil, identity.AssumeRoleInput{}, denied},
		{"the account", let("Allow", account, action, ""), "", nil, identity.AssumeRoleInput{}, denied},
		{"the issuer as account's name", let("Allow", `{"Federated":"`+github+`"}`, action, ""), "", nil, identity.AssumeRoleInput{}, denied},
		{"the provider of another account", let("Allow", `{"Federated":"`+strings.Replace(githubARN, account, stranger, 1)+`"}`, action, ""), "", nil, identity.AssumeRoleInput{}, denied},
		{"no such role", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{RoleARN: resource("role", "none")}, denied},
		{"at another path", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{RoleARN: resource("role", "x/deploy")}, denied},
		{"a source identity without leave", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{SourceIdentity: "me"}, denied},
		{"an unknown issuer", let("Allow", federated, action, ""), "https://none.example", nil, identity.AssumeRoleInput{}, ecr.InvalidIdentityToken},
		{"another account's issuer", let("Allow", federated, action, ""), "https://theirs.example", nil, identity.AssumeRoleInput{}, ecr.InvalidIdentityToken},
		{"an issuer over http", let("Allow", federated, action, ""), "http://" + github, nil, identity.AssumeRoleInput{}, ecr.InvalidIdentityToken},
		{"a part of the issuer", let("Allow", federated, action, ""), "https://a.example", nil, identity.AssumeRoleInput{}, ecr.InvalidIdentityToken},
		{"a role of another account", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{RoleARN: "arn:aws:iam::" + stranger + ":role/deploy"}, ecr.InvalidIdentityToken},
		{"no ARN", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{RoleARN: "deploy"}, ecr.InvalidIdentityToken},
		{"longer than the role lets", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{Duration: 2 * time.Hour}, ecr.Validation},
		{"a bad session name", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{SessionName: "a/b"}, ecr.Validation},
		{"a malformed session policy", let("Allow", federated, action, ""), "", nil, identity.AssumeRoleInput{Policy: "{"}, ecr.MalformedPolicy},
	}
	for _, tt := range tests {
		w.now = w.now.Add(time.Second)
		if !strings.HasPrefix(tt.trust, `{"Version"`) {
			tt.trust = trust(tt.trust)
		}
		ok(t, id.UpdateAssumeRolePolicy(t.Context(), root(), "deploy", tt.trust))
		tt.in.RoleARN = cmp.Or(tt.in.RoleARN, resource("role", "deploy"))
		tt.in.SessionName = cmp.Or(tt.in.SessionName, "run-1")
		issuer := cmp.Or(tt.issuer, "https://"+github)
		if tt.claims == nil {
			tt.claims = map[string][]string{"aud": {"sts.amazonaws.com"}, "sub": {subject}}
		}
		verified := 0
		out, who, err := id.AssumeRoleWithWebIdentity(t.Context(), ecr.Caller{UserAgent: "test", RequestID: "request-1"}, tt.in, issuer, func(_ context.Context, p identity.OIDCProvider) (identity.WebIdentity, error) {
			if verified++; "https://"+p.URL != issuer || !strings.HasPrefix(p.ARN, "arn:aws:iam::"+account+":") {
				t.Errorf("%s: verified with %+v", tt.what, p)
			}
			return identity.WebIdentity{Subject: subject, Audience: "sts.amazonaws.com", Issuer: issuer, Claims: tt.claims}, nil
		})
		if tt.want != fine {
			wantCode(t, tt.what, err, tt.want)
			if tt.want == denied {
				c := ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::" + account + ":oidc-provider/" + strings.TrimPrefix(issuer, "https://"), Account: account}, UserAgent: "test", RequestID: "request-1"}
				wantEvent(t, w, tt.what, ecr.CallDenied, "sts:AssumeRoleWithWebIdentity", c)
			}
			if out.SessionToken != "" || tt.want == ecr.InvalidIdentityToken && verified > 0 {
				t.Errorf("%s: got %+v, verified %d times", tt.what, out, verified)
			}
			continue
		}
		if err != nil || verified != 1 || who.Subject != subject {
			t.Errorf("%s: %+v, %v, verified %d times", tt.what, who, err, verified)
			continue
		}
		s := session(t, id, out.Credentials)
		if s.ARN != out.ARN || s.ARN != "arn:aws:sts::"+account+":assumed-role/deploy/run-1" || s.Account != account || s.Federated != "" {
			t.Errorf("%s: %+v", tt.what, s.Principal)
		}
		if e := lastEvent(t, w); e.Type != ecr.SessionStarted || e.Action != "sts:AssumeRoleWithWebIdentity" || e.Tag != out.ARN || e.Principal != resource("oidc-provider", strings.TrimPrefix(issuer, "https://")) {
			t.Errorf("%s: the last event is %+v", tt.what, e)
		}
	}
}

// A token that does not verify gives nothing, whatever the trust policy says;
// nor does one whose provider is gone.
func TestWebIdentityNotVerified(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	provider(t, id, github)
	create(t, id, identity.Role, "deploy", identity.Settings{Trust: trust(let("Allow", `{"Federated":"`+githubARN+`"}`, `"sts:*"`, ""))})
	in := identity.AssumeRoleInput{RoleARN: resource("role", "deploy"), SessionName: "run-1"}
	for _, code := range []ecr.Code{ecr.InvalidIdentityToken, ecr.ExpiredCredentials, ecr.IdentityProviderUnreachable} {
		out, who, err := id.AssumeRoleWithWebIdentity(t.Context(), ecr.Caller{}, in, "https://"+github, func(context.Context, identity.OIDCProvider) (identity.WebIdentity, error) {
			return identity.WebIdentity{}, ecr.Errorf(code, "no")
		})
		wantCode(t, "not verified", err, code)
		if out.SessionToken != "" || who.Subject != "" {
			t.Errorf("got %+v for %+v", out, who)
		}
	}
	assume := func() (identity.AssumedRole, error) {
		out, _, err := id.AssumeRoleWithWebIdentity(t.Context(), ecr.Caller{}, in, "https://"+github, func(context.Context, identity.OIDCProvider) (identity.WebIdentity, error) {
			return identity.WebIdentity{Subject: "me"}, nil
		})
		return out, err
	}
	out, err := assume()
	ok(t, err)
	ok(t, id.DeleteOIDCProvider(t.Context(), root(), githubARN))
	session(t, id, out.Credentials) // goes on
	_, err = assume()
	wantCode(t, "without its provider", err, ecr.InvalidIdentityToken)
}
