package stsapi

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	static "github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

var update = flag.Bool("update", false, "rewrite docs/sts-api.md")

const (
	account  = "123456789012"
	stranger = "210987654321"
	readOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
)

func allow(action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`
}

// trusting is a trust policy: principal is an object, actions a list.
func trusting(principal, actions, condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":[` + actions + `],"Condition":` + condition + `}]}`
}

// A world is a server on a real core, with a clock.
type world struct {
	t   *testing.T
	s   *Server
	id  *identity.Identity
	web *issuer

	mu     sync.Mutex
	now    time.Time
	called map[string]bool // operations that succeeded
}

func newWorld(t *testing.T) *world {
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
	w := &world{t: t, web: &issuer{url: "https://token.example.com"}, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), called: map[string]bool{}}
	w.id = identity.New(db, keys, "us-east-1", w.time)
	if w.s, err = New(w.id, w.web, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func rootOf(account string) ecr.Caller { return ecr.Caller{Principal: identity.Root(account)} }

// as returns the SDK's client of a caller; one without a principal calls
// unsigned.
func (w *world) as(c ecr.Caller) *sdk.Client {
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.PostForm.Get("Version") != Version {
			w.t.Errorf("form %v: %v", r.PostForm, err)
		}
		action := r.PostForm.Get("Action")
		if signed := r.Header.Get("Authorization") != ""; signed == Unsigned(action) {
			w.t.Errorf("%s is signed: %v", action, signed)
		}
		c.RequestID, c.Call = "req-1", &ecr.Call{Service: Source, Name: action, Region: "us-east-1"}
		w.s.ServeAction(rw, r, c, action, rpc.Request{Form: r.PostForm})
		if c.Call.Code == "" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.called[action] = true
		}
	}))
	w.t.Cleanup(srv.Close)
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL), RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient},
		Credentials: static.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// user makes a user of an account with an inline policy, unless that is empty,
// and returns it as a caller.
func (w *world) user(account, name, policy string) ecr.Caller {
	w.t.Helper()
	ctx, root := w.t.Context(), rootOf(account)
	_, err := w.id.Create(ctx, root, identity.User, name, identity.Settings{})
	if err == nil && policy != "" {
		err = w.id.PutPolicy(ctx, root, identity.User, name, "p", policy)
	}
	if err != nil {
		w.t.Fatal(err)
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

// role makes a role and returns its ARN.
func (w *world) role(name string, s identity.Settings) *string {
	w.t.Helper()
	e, err := w.id.Create(w.t.Context(), rootOf(account), identity.Role, name, s)
	if err != nil {
		w.t.Fatal(err)
	}
	return &e.ARN
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

// fails makes a call that fails with an exception of STS's model.
func fails[E smithy.APIError, In, Out any](t *testing.T, op operation[In, Out], in *In, message string) {
	t.Helper()
	_, err := op(t.Context(), in)
	e, ok := errors.AsType[E](err)
	if !ok || e.ErrorMessage() != message {
		t.Errorf("error %v\nwant %T: %s", err, e, message)
	}
}

// refused makes a call that fails with a code that is not in STS's model, and
// returns the encoded message of its answer, if it has one.
func refused[In, Out any](t *testing.T, op operation[In, Out], in *In, code, message string) string {
	t.Helper()
	_, err := op(t.Context(), in)
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || e.ErrorMessage() != message {
		t.Errorf("error %v\nwant %s: %s", err, code, message)
	}
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return answer.HTTPResponse().Header.Get("X-Ecru-Authorization-Message")
	}
	return ""
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// An issuer is a provider whose tokens are what they are said to be.
type issuer struct {
	url       string
	token     string // the one that is good
	who       identity.WebIdentity
	err       error // of every token, unless it is nil
	asked     identity.OIDCProvider
	issuerErr error
}

func (i *issuer) Issuer(string) (string, error) { return i.url, i.issuerErr }

func (i *issuer) Verify(_ context.Context, token string, p identity.OIDCProvider) (identity.WebIdentity, error) {
	i.asked = p
	if i.err == nil && token != i.token {
		return identity.WebIdentity{}, ecr.Errorf(ecr.InvalidIdentityToken, "The token is not good")
	}
	return i.who, i.err
}

// TestEveryOperation calls all operations with success.
func TestEveryOperation(t *testing.T) {
	called := map[string]bool{}
	var s *Server
	for name, test := range map[string]func(*world){
		"caller identity": testCallerIdentity, "assume role": testAssumeRole, "web identity": testWebIdentity,
		"session token": testSessionToken, "access key info": testAccessKeyInfo, "authorization message": testAuthorizationMessage,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test(w)
			for op := range w.called {
				called[op] = true
			}
			s = w.s
		})
	}
	if s == nil {
		return
	}
	for _, op := range s.Operations() {
		if !called[op] {
			t.Errorf("%s did not succeed once: test it", op)
		}
		if !slices.Contains(s.Model.Operations(), op) || !s.Serves(op) {
			t.Errorf("%s is no operation of STS", op)
		}
	}
	equal(t, "the version of the model", s.Model.APIVersion(), Version)
}

func TestRefusedBeforeTheCore(t *testing.T) {
	w := newWorld(t)
	c := w.as(rootOf(account))
	refused(t, c.GetFederationToken, &sdk.GetFederationTokenInput{Name: aws.String("ab")}, "InvalidAction", `STS has no operation "GetFederationToken" here.`)
	refused(t, c.AssumeRole, &sdk.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/r"), RoleSessionName: aws.String("s")}, "ValidationError",
		"Value at 'RoleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2")
	refused(t, c.GetSessionToken, &sdk.GetSessionTokenInput{DurationSeconds: aws.Int32(60)}, "ValidationError",
		"Value at 'DurationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900")
}

// TestDocs keeps docs/sts-api.md equal to the tables: run it with -update to
// write the file.
func TestDocs(t *testing.T) {
	const path = "../../docs/sts-api.md"
	s, err := New(nil, nil, nil)
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
		t.Errorf("%s is not what the tables say: go test ./awsapi/sts -run TestDocs -update", path)
	}
}

const apiHead = `<!-- Written by go test ./awsapi/sts -run TestDocs -update; do not edit. -->
# STS API

Ecru serves as much of AWS STS's API as a registry needs: the AWS query protocol,
version ` + "`2011-06-15`" + `, signed with Signature Version 4 for the service ` + "`sts`" + ` and the
region ` + "`us-east-1`" + ` or the server's own. Of STS's %d operations this version serves %d.

- ` + "`AssumeRoleWithWebIdentity`" + ` is not signed: its token says who calls.
- A request is a form, ` + "`POST /`" + `, with ` + "`Action`" + ` and ` + "`Version`" + `; a list's items are
  ` + "`Tags.member.1.Key`" + `. Answers are XML.
- A request is checked by STS's API model first. A failed constraint is a
  ` + "`ValidationError`" + ` that names the member and the rule; a value of the wrong type is
  ` + "`MalformedInput`" + `. Members that STS does not have are ignored.
- There are no MFA devices: a call with ` + "`SerialNumber`" + ` or ` + "`TokenCode`" + ` is denied.
- ` + "`GetSessionToken`" + ` serves users only, not the root user.
- ` + "`AccessDenied`" + `, HTTP 403, by a policy has the header ` + "`X-Ecru-Authorization-Message`" + `,
  which ` + "`DecodeAuthorizationMessage`" + ` explains to those who may call it. Messages are not
  percent-encoded, and a session policy is sent as plain JSON.
- An operation that is not served answers ` + "`InvalidAction`" + `, HTTP 400. STS has no lists,
  and so neither ` + "`Marker`" + ` nor ` + "`MaxItems`" + `.
- Every answer has the header ` + "`x-amzn-RequestId`" + `; the server's log has it too.

| served operations |
|---|
`
