package stsapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	iamapi "github.com/ecruhq/ecru/awsapi/iam"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

const (
	assumeActions = `"sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"`
	ofAccount     = `{"AWS":"123456789012"}`
)

// session checks that credentials sign, and returns who acts with them.
func (w *world) session(got *types.Credentials, life time.Duration) ecr.Caller {
	w.t.Helper()
	secret, p, err := w.id.SessionKey(w.t.Context(), *got.AccessKeyId, *got.SessionToken)
	if err != nil {
		w.t.Fatal(err)
	}
	if secret != *got.SecretAccessKey || !strings.HasPrefix(*got.AccessKeyId, "ASIA") {
		w.t.Errorf("the session key %s has another secret", *got.AccessKeyId)
	}
	if want := w.time().Add(life); !got.Expiration.Equal(want) {
		w.t.Errorf("expires at %v, want %v", got.Expiration, want)
	}
	return ecr.Caller{Principal: p, AccessKeyID: *got.AccessKeyId, SessionToken: *got.SessionToken}
}

func testCallerIdentity(w *world) {
	t := w.t
	who := func(c ecr.Caller) string {
		out := call(t, w.as(c).GetCallerIdentity, &sdk.GetCallerIdentityInput{})
		return *out.Account + " " + *out.Arn + " " + *out.UserId
	}
	ann := w.user(account, "ann", allow("sts:AssumeRole")) // nobody needs leave to ask who they are
	role := w.role("r", identity.Settings{Path: "/ci/", Trust: trusting(ofAccount, assumeActions, "{}")})
	got := call(t, w.as(ann).AssumeRole, &sdk.AssumeRoleInput{RoleArn: role, RoleSessionName: aws.String("run-1")})
	session := w.session(got.Credentials, time.Hour)
	eve := w.user(stranger, "eve", `{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)

	equal(t, "the root user", who(rootOf(account)), account+" arn:aws:iam::123456789012:root "+account)
	equal(t, "a user", who(ann), account+" arn:aws:iam::123456789012:user/ann "+ann.ID)
	equal(t, "a denied user of another account", who(eve), stranger+" arn:aws:iam::210987654321:user/eve "+eve.ID)
	equal(t, "a role session", who(session), account+" arn:aws:sts::123456789012:assumed-role/r/run-1 "+*got.AssumedRoleUser.AssumedRoleId)
}

func testAssumeRole(w *world) {
	t := w.t
	ann := w.user(account, "ann", allow("sts:*"))
	c := w.as(ann)
	role := w.role("r", identity.Settings{Path: "/ci/", MaxSession: 2 * time.Hour, Trust: trusting(ofAccount, assumeActions, "{}")})
	asked := func() *sdk.AssumeRoleInput {
		return &sdk.AssumeRoleInput{RoleArn: role, RoleSessionName: aws.String("run-1")}
	}

	in := asked()
	in.DurationSeconds, in.SourceIdentity, in.Policy = aws.Int32(7200), aws.String("ann@corp"), aws.String(allow("ecr:*"))
	in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String(readOnly)}}
	in.Tags, in.TransitiveTagKeys = []types.Tag{{Key: aws.String("Team"), Value: aws.String("a")}, {Key: aws.String("env"), Value: aws.String("")}}, []string{"team"}
	got := call(t, c.AssumeRole, in)
	equal(t, "the ARN", *got.AssumedRoleUser.Arn, "arn:aws:sts::123456789012:assumed-role/r/run-1")
	if id := *got.AssumedRoleUser.AssumedRoleId; !strings.HasPrefix(id, "AROA") || !strings.HasSuffix(id, ":run-1") {
		t.Errorf("the ID is %s", id)
	}
	equal(t, "the source identity", *got.SourceIdentity, "ann@corp")
	session := w.session(got.Credentials, 2*time.Hour)
	equal(t, "the session's source identity", session.SourceIdentity, "ann@corp")
	equal(t, "the session's tags", fmt.Sprint(session.Tags), "map[Team:a env:]")
	equal(t, "the number of session policies", len(session.Session), 2)

	plain := call(t, c.AssumeRole, asked())
	w.session(plain.Credentials, time.Hour)
	equal(t, "no source identity", plain.SourceIdentity == nil, true)
	token := *plain.Credentials.SessionToken
	if _, _, err := w.id.SessionKey(t.Context(), *plain.Credentials.AccessKeyId, token[:len(token)-8]+"AAAAAAA="); err == nil {
		t.Error("a tampered session token is good")
	}
	w.pass(time.Hour)
	_, _, err := w.id.SessionKey(t.Context(), *plain.Credentials.AccessKeyId, token)
	if e, ok := errors.AsType[*ecr.Error](err); !ok || e.Code != ecr.ExpiredCredentials {
		t.Errorf("an expired session: %v", err)
	}

	message := "User: " + ann.ARN + " is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/none because no resource-based policy allows the sts:AssumeRole action"
	refused(t, c.AssumeRole, &sdk.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/none"), RoleSessionName: aws.String("run-1")}, "AccessDenied", message)
	refused(t, w.as(rootOf(account)).AssumeRole, asked(), "AccessDenied", "Roles may not be assumed by root accounts.")
	in = asked()
	in.SerialNumber, in.TokenCode = aws.String("arn:aws:iam::123456789012:mfa/ann"), aws.String("123456")
	refused(t, c.AssumeRole, in, "AccessDenied", "MultiFactorAuthentication failed: Ecru knows no MFA devices. Call without SerialNumber and TokenCode.")
	in = asked()
	in.DurationSeconds = aws.Int32(7201)
	refused(t, c.AssumeRole, in, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	in = asked()
	in.Policy = aws.String("{")
	_, err = c.AssumeRole(t.Context(), in)
	if e, ok := errors.AsType[*types.MalformedPolicyDocumentException](err); !ok || !strings.HasPrefix(e.ErrorMessage(), "The policy is malformed: ") {
		t.Errorf("a session policy that is none: %v", err)
	}

	guarded := w.role("guarded", identity.Settings{Trust: trusting(ofAccount, assumeActions, `{"StringEquals":{"sts:ExternalId":"e1"}}`)})
	in = &sdk.AssumeRoleInput{RoleArn: guarded, RoleSessionName: aws.String("run-1")}
	refused(t, c.AssumeRole, in, "AccessDenied", strings.Replace(message, "role/none", "role/guarded", 1))
	in.ExternalId = aws.String("e1")
	call(t, c.AssumeRole, in)
}

func testWebIdentity(w *world) {
	t := w.t
	provider, err := w.id.CreateOIDCProvider(t.Context(), rootOf(account), w.web.url, []string{"app"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	federated := `{"Federated":"` + provider.ARN + `"}`
	role := w.role("web", identity.Settings{Trust: trusting(federated, `"sts:AssumeRoleWithWebIdentity"`, `{"StringEquals":{"token.example.com:sub":"repo:a/b"}}`)})
	w.web.token = "a.good.token"
	w.web.who = identity.WebIdentity{Subject: "repo:a/b", Audience: "app", Issuer: w.web.url, Claims: map[string][]string{"sub": {"repo:a/b"}, "aud": {"app"}}}
	c := w.as(ecr.Caller{})
	asked := func() *sdk.AssumeRoleWithWebIdentityInput {
		return &sdk.AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: aws.String("run-1"), WebIdentityToken: aws.String("a.good.token")}
	}

	in := asked()
	in.DurationSeconds, in.Policy, in.PolicyArns = aws.Int32(900), aws.String(allow("ecr:*")), []types.PolicyDescriptorType{{Arn: aws.String(readOnly)}}
	got := call(t, c.AssumeRoleWithWebIdentity, in)
	equal(t, "the ARN", *got.AssumedRoleUser.Arn, "arn:aws:sts::123456789012:assumed-role/web/run-1")
	equal(t, "who it is", *got.Provider+" "+*got.SubjectFromWebIdentityToken+" "+*got.Audience, w.web.url+" repo:a/b app")
	session := w.session(got.Credentials, 15*time.Minute)
	equal(t, "the number of session policies", len(session.Session), 2)
	equal(t, "the verifier's provider", w.web.asked.ARN, provider.ARN)

	in = asked()
	in.WebIdentityToken = aws.String("another.token")
	fails[*types.InvalidIdentityTokenException](t, c.AssumeRoleWithWebIdentity, in, "The token is not good")
	w.web.who.Claims["sub"] = []string{"repo:a/c"}
	message := refused(t, c.AssumeRoleWithWebIdentity, asked(), "AccessDenied", "User: "+provider.ARN+" is not authorized to perform: sts:AssumeRoleWithWebIdentity on resource: "+*role+" because no resource-based policy allows the sts:AssumeRoleWithWebIdentity action")
	equal(t, "a denial without a message", message == "", false)
	w.web.err = ecr.Errorf(ecr.IdentityProviderUnreachable, "No answer of the provider")
	fails[*types.IDPCommunicationErrorException](t, c.AssumeRoleWithWebIdentity, asked(), "No answer of the provider")
	w.web.err = errors.New("disk on fire")
	if _, err := c.AssumeRoleWithWebIdentity(t.Context(), asked()); err == nil || strings.Contains(err.Error(), "disk") || !strings.Contains(err.Error(), "ServiceFailure") {
		t.Errorf("an internal error arrives as %v", err)
	}
	w.web.url = "https://other.example.com"
	fails[*types.InvalidIdentityTokenException](t, c.AssumeRoleWithWebIdentity, asked(), "No OpenIDConnect provider found in your account for https://other.example.com")
	w.web.issuerErr = ecr.Errorf(ecr.InvalidIdentityToken, "This is no token")
	fails[*types.InvalidIdentityTokenException](t, c.AssumeRoleWithWebIdentity, asked(), "This is no token")
}

func testSessionToken(w *world) {
	t := w.t
	ann := w.user(account, "ann", "")
	c := w.as(ann)
	got := call(t, c.GetSessionToken, &sdk.GetSessionTokenInput{})
	session := w.session(got.Credentials, 12*time.Hour)
	equal(t, "the user", session.ARN+" "+session.ID, ann.ARN+" "+ann.ID)
	w.session(call(t, c.GetSessionToken, &sdk.GetSessionTokenInput{DurationSeconds: aws.Int32(129600)}).Credentials, 36*time.Hour)
	refused(t, w.as(session).GetSessionToken, &sdk.GetSessionTokenInput{}, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	refused(t, w.as(rootOf(account)).GetSessionToken, &sdk.GetSessionTokenInput{}, "AccessDenied", "Ecru gives no sessions to the root user: create a user or a role")
	refused(t, c.GetSessionToken, &sdk.GetSessionTokenInput{SerialNumber: aws.String("GAHT12345678"), TokenCode: aws.String("123456")}, "AccessDenied",
		"MultiFactorAuthentication failed: Ecru knows no MFA devices. Call without SerialNumber and TokenCode.")
}

func testAccessKeyInfo(w *world) {
	t := w.t
	eve := w.user(stranger, "eve", "")
	info := &sdk.GetAccessKeyInfoInput{AccessKeyId: &eve.AccessKeyID}
	equal(t, "the account", *call(t, w.as(rootOf(account)).GetAccessKeyInfo, info).Account, stranger)
	refused(t, w.as(rootOf(account)).GetAccessKeyInfo, &sdk.GetAccessKeyInfoInput{AccessKeyId: aws.String("AKIAAAAAAAAAAAAAAAAA")}, "ValidationError",
		`The access key "AKIAAAAAAAAAAAAAAAAA" is not one of this server's accounts`)
	refused(t, w.as(eve).GetAccessKeyInfo, info, "AccessDenied", "User: "+eve.ARN+" is not authorized to perform: sts:GetAccessKeyInfo on resource: * because no identity-based policy allows the sts:GetAccessKeyInfo action")
}

func testAuthorizationMessage(w *world) {
	t := w.t
	ann := w.user(account, "ann", `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"NoKeys","Effect":"Deny","Action":["sts:GetAccessKeyInfo","iam:DeleteUser"],"Resource":"*"}]}`)
	c := w.as(ann)
	sealed := refused(t, c.GetAccessKeyInfo, &sdk.GetAccessKeyInfoInput{AccessKeyId: &ann.AccessKeyID}, "AccessDenied",
		"User: "+ann.ARN+" is not authorized to perform: sts:GetAccessKeyInfo on resource: * with an explicit deny in an identity-based policy")
	explained(t, *call(t, c.DecodeAuthorizationMessage, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &sealed}).DecodedMessage, ann, "sts:GetAccessKeyInfo", "*", "NoKeys")

	edge, err := iamapi.New(w.id, nil) // a denial of IAM's
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	edge.ServeAction(rec, httptest.NewRequest("POST", "/", nil), ann, "DeleteUser", rpc.Request{Form: url.Values{"UserName": {"ann"}}})
	sealed = rec.Header().Get("X-Ecru-Authorization-Message")
	explained(t, *call(t, c.DecodeAuthorizationMessage, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &sealed}).DecodedMessage, ann, "iam:DeleteUser", ann.ARN, "NoKeys")

	bob := w.user(account, "bob", "")
	denied := refused(t, w.as(bob).DecodeAuthorizationMessage, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &sealed}, "AccessDenied",
		"User: "+bob.ARN+" is not authorized to perform: sts:DecodeAuthorizationMessage on resource: * because no identity-based policy allows the sts:DecodeAuthorizationMessage action")
	explained(t, *call(t, c.DecodeAuthorizationMessage, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &denied}).DecodedMessage, bob, "sts:DecodeAuthorizationMessage", "*", "")

	const foreign = "Message could not be decoded: it is not of this server"
	for _, text := range []string{"x", sealed + "A", strings.ToLower(sealed), sealed[1:], sealed[:4] + sealed} {
		fails[*types.InvalidAuthorizationMessageException](t, c.DecodeAuthorizationMessage, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &text}, foreign)
	}
	other := refused(t, newWorld(t).as(bob).GetAccessKeyInfo, &sdk.GetAccessKeyInfoInput{AccessKeyId: &bob.AccessKeyID}, "AccessDenied",
		"User: "+bob.ARN+" is not authorized to perform: sts:GetAccessKeyInfo on resource: * because no identity-based policy allows the sts:GetAccessKeyInfo action")
	fails[*types.InvalidAuthorizationMessageException](t, c.DecodeAuthorizationMessage, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &other}, foreign)
}

// explained checks a decoded message: what was denied to whom, and by which
// statement, or "" if none denied.
func explained(t *testing.T, text string, who ecr.Caller, action, resource, sid string) {
	t.Helper()
	var m struct {
		Allowed, ExplicitDeny bool
		MatchedStatements     struct {
			Items []struct {
				StatementID, Effect string
				Index               int
			}
		}
		Context struct {
			Principal        struct{ ID, Name, ARN string }
			Action, Resource string
			Conditions       struct{ Items []string }
		}
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(m.Allowed, m.ExplicitDeny, m.Context.Principal, m.Context.Action, m.Context.Resource, m.MatchedStatements.Items, m.Context.Conditions.Items)
	statements := "[]"
	if sid != "" {
		statements = "[{" + sid + " Deny 1}]"
	}
	equal(t, "the message", got, fmt.Sprintln(false, sid != "", "{"+who.ID+" "+who.Name+" "+who.ARN+"}", action, resource, statements, "[]"))
}
