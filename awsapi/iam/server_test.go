package iamapi

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

var update = flag.Bool("update", false, "rewrite docs/iam-api.md")

const (
	account  = "123456789012"
	stranger = "210987654321"
	readOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
	pullOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"

	// awkward is a policy with all that an encoding could spoil.
	awkward = "{\r\n\t\"Statement\": {\"Sid\": \"a1\", \"Effect\": \"Allow\",\n \"Action\": \"ecr:*\", \"Resource\": \"*\",\n" +
		" \"Condition\": {\"StringLike\": {\"ecr:ResourceTag/who\": \"é ~+%20&=;<>'*/?#\"}}}}"
)

func allow(action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`
}

func trusting(arn string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"sts:AssumeRole"}]}`
}

// calls are the forms of calls that succeeded, by operation.
type calls struct {
	mu    sync.Mutex
	forms map[string]url.Values
}

// A world is a server on a real core, with a client for the root user.
type world struct {
	*sdk.Client
	t     *testing.T
	s     *Server
	id    *identity.Identity
	calls *calls
}

func newWorld(t *testing.T, seen *calls) *world {
	t.Helper()
	db, err := meta.Open(context.Background(), meta.Options{URL: filepath.Join(t.TempDir(), "meta.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	keys, err := identity.ParseKeyring(identity.NewMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, id: identity.New(db, keys, "us-east-1", time.Now), calls: seen}
	if w.s, err = New(w.id, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	w.Client = w.as(rootOf(account))
	return w
}

func rootOf(account string) ecr.Caller { return ecr.Caller{Principal: identity.Root(account)} }

// as returns the SDK's client of a caller.
func (w *world) as(c ecr.Caller) *sdk.Client {
	srv := httptest.NewServer(w.dispatch(c))
	w.t.Cleanup(srv.Close)
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL), RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// dispatch is what the daemon does with a request, but for authentication.
func (w *world) dispatch(c ecr.Caller) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.PostForm.Get("Version") != Version {
			w.t.Errorf("form %v: %v", r.PostForm, err)
		}
		action := r.PostForm.Get("Action")
		c.RequestID, c.Call = "req-1", &ecr.Call{Service: Source, Name: action, Region: "us-east-1"}
		w.s.ServeAction(rw, r, c, action, rpc.Request{Form: r.PostForm})
		if w.calls != nil && c.Call.Code == "" {
			w.calls.mu.Lock()
			defer w.calls.mu.Unlock()
			w.calls.forms[action] = r.PostForm
		}
	})
}

// user makes a user with an inline policy, unless that is empty, and returns
// it as a caller.
func (w *world) user(name, policy string) ecr.Caller {
	w.t.Helper()
	ctx, root := w.t.Context(), rootOf(account)
	if _, err := w.id.Create(ctx, root, identity.User, name, identity.Settings{}); err != nil {
		w.t.Fatal(err)
	}
	if policy != "" {
		if err := w.id.PutPolicy(ctx, root, identity.User, name, "p", policy); err != nil {
			w.t.Fatal(err)
		}
	}
	k, _, err := w.id.CreateAccessKey(ctx, root, name)
	if err != nil {
		w.t.Fatal(err)
	}
	_, p, err := w.id.SecretKey(ctx, k.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return ecr.Caller{Principal: p, AccessKeyID: k.ID}
}

// An operation is a method of the SDK's client.
type operation[In, Out any] func(context.Context, *In, ...func(*sdk.Options)) (*Out, error)

// call makes a call that succeeds.
func call[In, Out any](t *testing.T, op operation[In, Out], in *In) *Out {
	t.Helper()
	out, err := op(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fails makes a call that fails with an exception of IAM's model.
func fails[E smithy.APIError, In, Out any](t *testing.T, op operation[In, Out], in *In, message string) {
	t.Helper()
	_, err := op(t.Context(), in)
	e, ok := errors.AsType[E](err)
	if !ok || e.ErrorMessage() != message {
		t.Errorf("error %v\nwant %T: %s", err, e, message)
	}
}

// refused makes a call that fails with a code that is not in IAM's model.
func refused[In, Out any](t *testing.T, op operation[In, Out], in *In, code, message string) {
	t.Helper()
	_, err := op(t.Context(), in)
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || e.ErrorMessage() != message {
		t.Errorf("error %v\nwant %s: %s", err, code, message)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// decoded checks a policy document of an answer.
func decoded(t *testing.T, got *string, want string) {
	t.Helper()
	if got == nil {
		t.Fatal("there is no document")
	}
	text, err := url.PathUnescape(*got)
	if err != nil || text != want {
		t.Errorf("%q decodes to %q (%v)\nwant %q", *got, text, err, want)
	}
	if i := strings.IndexFunc(*got, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`{}":+&'*/`, r) }); i >= 0 {
		t.Errorf("%q is not encoded at byte %d", *got, i)
	}
}

func tag(key, value string) types.Tag { return types.Tag{Key: &key, Value: &value} }

// tagged writes tags as k=v k=v.
func tagged(list []types.Tag) string {
	return joined(list, func(t types.Tag) string { return *t.Key + "=" + *t.Value })
}

func joined[T any](list []T, text func(T) string) string {
	return strings.Join(rpc.Each(list, text), " ")
}

func texts(list []string) string { return strings.Join(list, " ") }

// pages collects what pages of two hold: "a b|c". next gets the marker.
func pages(t *testing.T, next func(marker *string, two *int32) (list string, truncated bool, after *string)) string {
	t.Helper()
	var out []string
	var marker *string
	for range 10 {
		list, truncated, after := next(marker, aws.Int32(2))
		out = append(out, list)
		if truncated != (after != nil) {
			t.Errorf("truncated is %v with the marker %v", truncated, after)
		}
		if !truncated {
			break
		}
		marker = after
	}
	return strings.Join(out, "|")
}

// TestEveryOperation calls all operations with success, and then again for one
// who may do nothing.
func TestEveryOperation(t *testing.T) {
	seen := &calls{forms: map[string]url.Values{}}
	t.Run("users", func(t *testing.T) { testUsers(newWorld(t, seen)) })
	t.Run("policies of users", func(t *testing.T) { testUserPolicies(newWorld(t, seen)) })
	t.Run("access keys", func(t *testing.T) { testAccessKeys(newWorld(t, seen)) })
	t.Run("roles", func(t *testing.T) { testRoles(newWorld(t, seen)) })
	t.Run("policies of roles", func(t *testing.T) { testRolePolicies(newWorld(t, seen)) })
	t.Run("groups", func(t *testing.T) { testGroups(newWorld(t, seen)) })
	t.Run("policies of groups", func(t *testing.T) { testGroupPolicies(newWorld(t, seen)) })
	t.Run("managed policies", func(t *testing.T) { testManagedPolicies(newWorld(t, seen)) })
	t.Run("versions", func(t *testing.T) { testVersions(newWorld(t, seen)) })
	t.Run("entities for a policy", func(t *testing.T) { testEntitiesForPolicy(newWorld(t, seen)) })
	t.Run("providers", func(t *testing.T) { testProviders(newWorld(t, seen)) })
	t.Run("details", func(t *testing.T) { testDetails(newWorld(t, seen)) })

	w := newWorld(t, nil)
	nobody := w.user("nobody", "")
	for _, op := range w.s.Operations() {
		form := seen.forms[op]
		if form == nil {
			t.Errorf("%s did not succeed once: test it", op)
			continue
		}
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w.dispatch(nobody).ServeHTTP(rec, r)
		body := rec.Body.String()
		if rec.Code != 403 || !strings.Contains(body, "<Type>Sender</Type><Code>AccessDenied</Code><Message>User: "+nobody.ARN+" is not authorized to perform: iam:"+op+" on resource: ") ||
			!strings.Contains(body, "because no identity-based policy allows the iam:"+op+" action") {
			t.Errorf("%s: %d %s", op, rec.Code, body)
		}
		if rec.Header().Get("X-Ecru-Authorization-Message") == "" {
			t.Errorf("%s: the denial has no encoded message", op)
		}
	}
}

func TestNotServed(t *testing.T) {
	w := newWorld(t, nil)
	ops := w.s.Model.Operations()
	for _, op := range w.s.Operations() {
		if !slices.Contains(ops, op) || !w.s.Serves(op) {
			t.Errorf("%s is no operation of IAM", op)
		}
	}
	equal(t, "the version of the model", w.s.Model.APIVersion(), Version)
	refused(t, w.CreateLoginProfile, &sdk.CreateLoginProfileInput{UserName: aws.String("a"), Password: aws.String("b")}, "InvalidAction",
		`The operation "CreateLoginProfile" of IAM is not served here: docs/iam-api.md lists those that are.`)
	rec := httptest.NewRecorder()
	w.s.ServeAction(rec, httptest.NewRequest("POST", "/", nil), rootOf(account), "a\xff<"+strings.Repeat("x", 99), rpc.Request{})
	if body := rec.Body.String(); rec.Code != 400 || !strings.Contains(body, "<Code>InvalidAction</Code>") || !strings.Contains(body, "a?&lt;") || len(body) > 500 {
		t.Errorf("%d %s", rec.Code, body)
	}
}

// TestMisformed sends what IAM's model refuses before the core is asked.
func TestMisformed(t *testing.T) {
	w := newWorld(t, nil)
	tests := []struct {
		name, form, code, message string
	}{
		{"a required member", "Action=CreateUser", "ValidationError", "Value at 'UserName' failed to satisfy constraint: Member must not be null"},
		{"a pattern", "Action=CreateUser&UserName=a/b", "ValidationError", "Value at 'UserName' failed to satisfy constraint: must satisfy regular expression"},
		{"a length", "Action=CreateUser&UserName=" + strings.Repeat("a", 65), "ValidationError", "Value at 'UserName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{"a range", "Action=ListUsers&MaxItems=1001", "ValidationError", "Value at 'MaxItems' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{"nothing of a page", "Action=ListUsers&MaxItems=0", "ValidationError", "Value at 'MaxItems' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"an enum", "Action=ListPolicies&Scope=Mine", "ValidationError", "Value at 'Scope' failed to satisfy constraint:"},
		{"no number", "Action=ListUsers&MaxItems=many", "MalformedInput", "MaxItems: must be an integer"},
		{"no list", "Action=UntagUser&UserName=a&TagKeys=b", "MalformedInput", "TagKeys"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			values, err := url.ParseQuery(tt.form)
			if err != nil {
				t.Fatal(err)
			}
			rec := httptest.NewRecorder()
			w.s.ServeAction(rec, httptest.NewRequest("POST", "/", nil), rootOf(account), values.Get("Action"), rpc.Request{Form: values})
			text := strings.NewReplacer("&#39;", "'", "&apos;", "'").Replace(rec.Body.String())
			if rec.Code != 400 || !strings.Contains(text, "<Code>"+tt.code+"</Code><Message>"+tt.message) {
				t.Errorf("%d %s\nwant 400 %s: %s", rec.Code, text, tt.code, tt.message)
			}
			if got := rec.Header().Get("Content-Type"); got != "text/xml" {
				t.Errorf("content type %q", got)
			}
		})
	}
}

// TestOtherAccount looks for one account's entities in another.
func TestOtherAccount(t *testing.T) {
	w := newWorld(t, nil)
	w.user("ann", "")
	call(t, w.CreateRole, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trusting(account))})
	arn := call(t, w.CreatePolicy, &sdk.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: aws.String(allow("ecr:*"))}).Policy.Arn

	other := w.as(rootOf(stranger))
	equal(t, "number of users", len(call(t, other.ListUsers, &sdk.ListUsersInput{}).Users), 0)
	equal(t, "number of policies", len(call(t, other.ListPolicies, &sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal}).Policies), 0)
	fails[*types.NoSuchEntityException](t, other.GetUser, &sdk.GetUserInput{UserName: aws.String("ann")}, "The user with name ann cannot be found.")
	fails[*types.NoSuchEntityException](t, other.GetRole, &sdk.GetRoleInput{RoleName: aws.String("r")}, "The role with name r cannot be found.")
	fails[*types.NoSuchEntityException](t, other.GetPolicy, &sdk.GetPolicyInput{PolicyArn: arn}, "Policy "+*arn+" was not found.")
	fails[*types.NoSuchEntityException](t, other.DeletePolicy, &sdk.DeletePolicyInput{PolicyArn: arn}, "Policy "+*arn+" was not found.")
	fails[*types.NoSuchEntityException](t, other.ListEntitiesForPolicy, &sdk.ListEntitiesForPolicyInput{PolicyArn: arn}, "Policy "+*arn+" was not found.")
}

// TestDocs keeps docs/iam-api.md equal to the tables: run it with -update to
// write the file.
func TestDocs(t *testing.T) {
	const path = "../../docs/iam-api.md"
	s, err := New(nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	fmt.Fprintf(&want, apiHead, len(s.Model.Operations()), len(s.Operations()))
	for _, name := range s.Operations() {
		fmt.Fprintf(&want, "| %s |\n", name)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the tables say: go test ./awsapi/iam -run TestDocs -update", path)
	}
}

const apiHead = `<!-- Written by go test ./awsapi/iam -run TestDocs -update; do not edit. -->
# IAM API

Ecru serves as much of AWS IAM's API as a registry needs: the AWS query protocol,
version ` + "`2010-05-08`" + `, signed with Signature Version 4 for the service ` + "`iam`" + ` and the
region ` + "`us-east-1`" + ` or the server's own. Of IAM's %d operations this version serves %d.

- A request is a form, ` + "`POST /`" + `, with ` + "`Action`" + ` and ` + "`Version`" + `; a list's items are
  ` + "`Tags.member.1.Key`" + `. Answers are XML.
- A request is checked by IAM's API model first. A failed constraint is a
  ` + "`ValidationError`" + ` that names the member and the rule; a value of the wrong type is
  ` + "`MalformedInput`" + `. Members that IAM does not have are ignored.
- Entities are those of the caller's own account.
- Policy documents in answers are percent-encoded (RFC 3986), as IAM's are, and
  otherwise byte for byte what was put.
- Lists are in the order of names, or of ARNs. ` + "`MaxItems`" + `, 1 to 1000 and 100 by default,
  bounds a page; if ` + "`IsTruncated`" + ` is true, ` + "`Marker`" + ` leads to the next.
- ` + "`AccessDenied`" + `, HTTP 403, has the header ` + "`X-Ecru-Authorization-Message`" + `, which
  STS's ` + "`DecodeAuthorizationMessage`" + ` explains.
- An operation that is not served answers ` + "`InvalidAction`" + `, HTTP 400.
- Every answer has the header ` + "`x-amzn-RequestId`" + `; the server's log has it too.

| served operations |
|---|
`
