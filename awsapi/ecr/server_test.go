package ecrapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/awswire"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
)

var update = flag.Bool("update", false, "rewrite docs/ecr-api.md")

// edge returns a server without a core, for what is answered before it.
func edge(t testing.TB, log io.Writer) *Server {
	t.Helper()
	s, err := New(nil, nil, "", slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sdkClient(url string) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(url), RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// dispatch is what the daemon does with a request, but for authentication.
func dispatch(s *Server, c ecr.Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody(action)))
		if err != nil {
			s.Error(w, c, ecr.Errorf(ecr.InvalidParameter, "the request is too large"))
			return
		}
		s.ServeAction(w, r, c, action, rpc.Request{Body: body})
	})
}

func caller() ecr.Caller {
	return ecr.Caller{
		Principal: &iam.Principal{ARN: "arn:aws:iam::123456789012:root", Account: "123456789012", ID: "123456789012", Root: true},
		RequestID: "req-1",
	}
}

// serve answers one request and returns status, exception name and message.
func serve(t *testing.T, s *Server, action, body string) (status int, name, message string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeAction(w, httptest.NewRequest("POST", "/", nil), caller(), action, rpc.Request{Body: []byte(body)})
	if got := w.Header().Get("x-amzn-RequestId"); got != "req-1" {
		t.Errorf("request ID %q", got)
	}
	if got := w.Header().Get("Content-Type"); got != "application/x-amz-json-1.1" {
		t.Errorf("content type %q", got)
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Errorf("%s: %v", w.Body, err)
	}
	return w.Code, e.Type, e.Message
}

// common are exceptions that no service's model has.
var common = map[string]bool{
	"AccessDeniedException": true, "ThrottlingException": true, "ServiceUnavailable": true,
	"MissingAuthenticationTokenException": true, "UnrecognizedClientException": true,
	"ExpiredTokenException": true, "InvalidSignatureException": true, "UnknownOperationException": true,
}

func TestEveryCode(t *testing.T) {
	s := edge(t, io.Discard)
	modelled := s.Model.Exceptions()
	for code := range ecr.NumCodes {
		e := exceptions[code]
		switch {
		case e.Name == "" || e.Status < 400 || e.Status > 599:
			t.Errorf("code %d has the row %+v", code, e)
		case !slices.Contains(modelled, e.Name) && !common[e.Name]:
			t.Errorf("ECR has no exception %s", e.Name)
		}
	}
}

// TestErrorsOnTheWire sends each code to the SDK's client.
func TestErrorsOnTheWire(t *testing.T) {
	s := edge(t, io.Discard)
	var fail error
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Error(w, ecr.Caller{RequestID: "req-7"}, fail) }))
	defer srv.Close()
	client := sdkClient(srv.URL)
	for code := ecr.Internal + 1; code < ecr.NumCodes; code++ {
		fail = fmt.Errorf("wrapped: %w", &ecr.Error{Code: code, Message: "what the caller may know", Err: errors.New("secret")})
		_, err := client.DescribeRegistry(context.Background(), &sdk.DescribeRegistryInput{})
		var api smithy.APIError
		if !errors.As(err, &api) {
			t.Fatalf("%s: %v", exceptions[code].Name, err)
		}
		if api.ErrorCode() != exceptions[code].Name || api.ErrorMessage() != "what the caller may know" {
			t.Errorf("code %d arrives as %v", code, api)
		}
		entry := sdk.TypeRegistry.Entries["com.amazonaws.ecr#"+exceptions[code].Name]
		if entry != nil && reflect.TypeOf(api) != reflect.TypeOf(entry.New()) {
			t.Errorf("%s arrives as %T", exceptions[code].Name, api)
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("StatusCode: %d, RequestID: req-7", exceptions[code].Status)) {
			t.Errorf("%v", err)
		}
	}
	fail = &ecr.Error{Code: ecr.InvalidLayerPart, Message: "m", Members: map[string]any{
		"registryId": "123456789012", "repositoryName": "a/b", "uploadId": "u", "lastValidByteReceived": int64(41), "unknown": 1,
	}}
	_, err := client.DescribeRegistry(context.Background(), &sdk.DescribeRegistryInput{})
	var part *types.InvalidLayerPartException
	if !errors.As(err, &part) || *part.RegistryId != "123456789012" || *part.RepositoryName != "a/b" || *part.UploadId != "u" || *part.LastValidByteReceived != 41 {
		t.Errorf("members: %v", err)
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	for _, err := range []error{
		errors.New("disk on fire"),
		fmt.Errorf("x: %w", &ecr.Error{Code: ecr.Internal, Message: "disk on fire"}),
		&ecr.Error{Code: ecr.NumCodes, Message: "disk on fire"},
		&ecr.Error{Code: -1, Message: "disk on fire"},
	} {
		var log bytes.Buffer
		w := httptest.NewRecorder()
		edge(t, &log).Error(w, ecr.Caller{RequestID: "req-9"}, err)
		if w.Code != 500 || !strings.Contains(w.Body.String(), `"__type":"ServerException"`) || strings.Contains(w.Body.String(), "disk") {
			t.Errorf("answer %d %s", w.Code, w.Body)
		}
		if got := log.String(); strings.Count(got, "disk on fire") != 1 || strings.Count(got, "req-9") != 1 || !strings.Contains(got, "level=ERROR") {
			t.Errorf("log %q", got)
		}
	}
}

func TestRefusedBeforeTheCore(t *testing.T) {
	s := edge(t, io.Discard)
	const invalid = "InvalidParameterException"
	const part = `{"repositoryName":"ab","uploadId":"00000000-1111-2222-3333-444444444444","partFirstByte":0,"partLastByte":1,"layerPartBlob":`
	tests := []struct {
		name, action, body string
		status             int
		exception, message string
	}{
		{"an operation to come", "ValidatePullThroughCacheRule", `{}`, 404, "UnknownOperationException", "The operation ValidatePullThroughCacheRule is not built yet in this version of Ecru."},
		{"one that ECR has not", "DropRepository", `{}`, 404, "UnknownOperationException", `ECR has no operation "DropRepository".`},
		{"none", "", `{}`, 404, "UnknownOperationException", `ECR has no operation "".`},
		{"one with bytes that are no text", "a\xff\n" + strings.Repeat("x", 80), `{}`, 404, "UnknownOperationException", `ECR has no operation "a\xff\n` + strings.Repeat("x", 61) + `…".`},
		{"a required member", "CreateRepository", `{}`, 400, invalid, "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'Member must not be null'"},
		{"a pattern", "CreateRepository", `{"repositoryName":"UP"}`, 400, invalid, `Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*''`},
		{"a value", "DescribeRepositories", `{"maxResults":1001}`, 400, invalid, "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'"},
		{"broken JSON", "DescribeRepositories", `{"maxResults":`, 400, "SerializationException", "malformed JSON at byte 14: a value is expected"},
		{"a wrong type", "DescribeRepositories", `{"maxResults":"x"}`, 400, "SerializationException", "maxResults: must be an integer, not a string"},
		{"not base64", "UploadLayerPart", part + `"?"}`, 400, "SerializationException", "layerPartBlob: must be base64 (RFC 4648, section 4)"},
		{"nextToken with names", "DescribeRepositories", `{"repositoryNames":["ab"],"nextToken":"x"}`, 400, invalid, "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Member must be null when repositoryNames is given'"},
		{"maxResults with names", "DescribeRepositories", `{"repositoryNames":["ab"],"maxResults":5}`, 400, invalid, "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must be null when repositoryNames is given'"},
		{"nextToken with images", "DescribeImages", `{"repositoryName":"ab","imageIds":[{"imageTag":"x"}],"nextToken":""}`, 400, invalid, "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Member must be null when imageIds is given'"},
		{"maxResults with prefixes", "DescribeRepositoryCreationTemplates", `{"prefixes":["ROOT"],"maxResults":5}`, 400, invalid, "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must be null when prefixes is given'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, name, message := serve(t, s, tt.action, tt.body)
			if status != tt.status || name != tt.exception || message != tt.message {
				t.Errorf("got  %d %s: %s\nwant %d %s: %s", status, name, message, tt.status, tt.exception, tt.message)
			}
		})
	}
}

// TestEveryOperation compares the tables with the SDK's client.
func TestEveryOperation(t *testing.T) {
	s := edge(t, io.Discard)
	typ := reflect.TypeFor[*sdk.Client]()
	var all []string
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		if m.Type.NumIn() == 4 && strings.HasSuffix(m.Type.In(2).Elem().Name(), "Input") {
			all = append(all, m.Name)
		}
	}
	if len(all) != 62 {
		t.Errorf("the SDK has %d operations", len(all))
	}
	if !slices.IsSorted(notBuilt[:]) {
		t.Error("notBuilt is not sorted")
	}
	for _, name := range all {
		served := s.Serves(name)
		if missing := slices.Contains(notBuilt[:], name); served == missing {
			t.Errorf("%s: served %v, missing %v", name, served, missing)
		}
	}
	own := ext.Operations()
	if got := len(s.Operations()) + len(notBuilt) - len(own); got != len(all) {
		t.Errorf("%d operations in the tables, %d in the SDK", got, len(all))
	}
	for _, op := range own {
		if !s.Serves(op.Name) || slices.Contains(all, op.Name) {
			t.Errorf("%s is not served, or is an operation of ECR", op.Name)
		}
	}
	if docs, err := extensionDocs(); err != nil || len(docs) == 0 {
		t.Errorf("%d documents of operations of our own: %v", len(docs), err)
	} else if model, err := awswire.Load(modelGz); err != nil {
		t.Error(err)
	} else if names, err := model.Extend(docs...); err != nil || len(names) != len(own) {
		t.Errorf("the model has %q, ext has %d operations: %v", names, len(own), err)
	}
}

// TestMaxBody checks that the largest valid requests pass the bound.
func TestMaxBody(t *testing.T) {
	if need := int64(len(`{"imageManifest":""}`) + 6*4194304 + 6*(256+300+2048)); MaxBody("PutImage") < need {
		t.Errorf("PutImage: %d of %d", MaxBody("PutImage"), need)
	}
	if need := int64((20971520+2)/3*4 + 4096); MaxBody("UploadLayerPart") < need {
		t.Errorf("UploadLayerPart: %d of %d", MaxBody("UploadLayerPart"), need)
	}
	if need := int64(6 * (30720 + 10240 + 50*(128+256))); MaxBody("CreateRepositoryCreationTemplate") < need {
		t.Errorf("CreateRepositoryCreationTemplate: %d of %d", MaxBody("CreateRepositoryCreationTemplate"), need)
	}
}

// TestDocs keeps docs/ecr-api.md equal to the tables: run it with -update to
// write the file.
func TestDocs(t *testing.T) {
	const path = "../../docs/ecr-api.md"
	want := apiTable(edge(t, io.Discard))
	if *update {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the tables say: go test ./awsapi/ecr -run TestDocs -update", path)
	}
}

const apiHead = `<!-- Written by go test ./awsapi/ecr -run TestDocs -update; do not edit. -->
# ECR API

Ecru serves Amazon ECR's API: AWS JSON 1.1, signed with Signature Version 4 for
the service ` + "`ecr`" + `. Of ECR's %d operations this version serves %d.

- A request is checked by ECR's API model first. A failed constraint is an
  ` + "`InvalidParameterException`" + ` that names the member and the rule; a list's items
  count from 1, as in ` + "`imageIds.2.member.imageTag`" + `. Lengths are in characters.
- A body that is not JSON, has a name twice in one object, nests deeper than 32
  or holds a value of the wrong type is a ` + "`SerializationException`" + `.
- Members that ECR does not have are ignored. A null member is an absent one.
- ` + "`nextToken` and `maxResults`" + ` are refused together with explicit names.
- An operation that is not built yet answers ` + "`UnknownOperationException`" + `, HTTP 404.
- Every answer has the header ` + "`x-amzn-RequestId`" + `; the server's log has it too.

| operation | state |
|---|---|
`

const ownHead = `
## Operations of Ecru's own

On the same endpoint, with the same protocol and the same signatures, Ecru has
operations that ECR has not. Their actions in policies are ` + "`ecr:`" + ` and the
operation's name. The AWS CLI and boto3 learn them by

    eval "$(ecru env --botocore ~/.ecru/models)"

which writes their model into that folder and has AWS_DATA_PATH name it. AWS
answers UnknownOperationException to them.

| operation | what it does |
|---|---|
`

func apiTable(s *Server) []byte {
	var own []string
	for _, op := range ext.Operations() {
		own = append(own, op.Name)
	}
	slices.Sort(own)
	names := slices.Sorted(slices.Values(append(s.Operations(), notBuilt[:]...)))
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(own, name) })
	var b bytes.Buffer
	fmt.Fprintf(&b, apiHead, len(names), len(s.Operations())-len(own))
	for _, name := range names {
		state := "not built yet"
		if s.Serves(name) {
			state = "served"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, state)
	}
	b.WriteString(ownHead)
	for _, name := range own {
		fmt.Fprintf(&b, "| %s | %s |\n", name, s.Model.Doc(name))
	}
	return b.Bytes()
}
