package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecruhq/ecru/awswire"
	core "github.com/ecruhq/ecru/ecr"
)

// model loads the API model of an edge.
func model(t *testing.T, service string) *awswire.Model {
	t.Helper()
	gz, err := os.ReadFile("../" + service + "/" + service + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	m, err := awswire.Load(gz)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A handler is what the operations of a test call.
type handler func(user string) error

// handlerKey is what a request's context has its handler under.
type handlerKey struct{}

func handlerOf(r *http.Request, _ core.Caller) handler {
	h, _ := r.Context().Value(handlerKey{}).(handler)
	return h
}

// query returns a server of the query protocol, with one operation.
func query(t *testing.T, log *bytes.Buffer, deny func(*core.Denial) string) *Server[handler] {
	t.Helper()
	s, err := New(Service{
		Source: "iam.amazonaws.com", Model: model(t, "iam"), Query: true, Exceptions: &QueryExceptions, Deny: deny, Log: logTo(log),
		Unknown: func(action string) error { return core.Errorf(core.UnknownOperation, "no %s", action) },
	}, handlerOf, []Handler[handler]{Op("GetUser", func(_ context.Context, h handler, in *iam.GetUserInput) (*iam.GetUserOutput, error) {
		return &iam.GetUserOutput{}, h(*in.UserName)
	})})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jsonExceptions have a row for every code.
func jsonExceptions() *Exceptions {
	var e Exceptions
	for code := range e {
		e[code].Name, e[code].Status = "InvalidParameterException", 400
	}
	e[core.Internal].Name, e[core.Internal].Status = "ServerException", 500
	e[core.AccessDenied].Name, e[core.AccessDenied].Status = "AccessDeniedException", 403
	return &e
}

// inJSON is query for AWS JSON.
func inJSON(t *testing.T, log *bytes.Buffer, deny func(*core.Denial) string) *Server[handler] {
	t.Helper()
	s, err := New(Service{Source: "ecr.amazonaws.com", Model: model(t, "ecr"), Exceptions: jsonExceptions(), Deny: deny, Log: logTo(log),
		Unknown: func(action string) error { return core.Errorf(core.UnknownOperation, "no %s", action) },
	}, handlerOf, []Handler[handler]{Op("DeleteRepository", func(_ context.Context, h handler, in *ecr.DeleteRepositoryInput) (*ecr.DeleteRepositoryOutput, error) {
		return &ecr.DeleteRepositoryOutput{}, h(*in.RepositoryName)
	})})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func logTo(b *bytes.Buffer) *slog.Logger {
	if b == nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// An answer is a failure as both protocols have it.
type answer struct {
	status        int
	code, message string
	fault         string // of the query protocol
	requestID     string
	sealed        string
}

func read(t *testing.T, rec *httptest.ResponseRecorder) answer {
	t.Helper()
	a := answer{status: rec.Code, requestID: rec.Header().Get("x-amzn-RequestId"), sealed: rec.Header().Get("X-Ecru-Authorization-Message")}
	if got := rec.Header().Get("Content-Length"); got != fmt.Sprint(rec.Body.Len()) {
		t.Errorf("Content-Length %s of %d", got, rec.Body.Len())
	}
	if rec.Header().Get("Content-Type") == "application/x-amz-json-1.1" {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil {
			t.Errorf("%s: %v", rec.Body, err)
		}
		a.code, a.message = e.Type, e.Message
		return a
	}
	var e struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Error     struct{ Type, Code, Message string }
		RequestID string `xml:"RequestId"`
	}
	if err := xml.Unmarshal(rec.Body.Bytes(), &e); err != nil || e.RequestID != a.requestID {
		t.Errorf("%s: %v", rec.Body, err)
	}
	a.code, a.message, a.fault = e.Error.Code, e.Error.Message, e.Error.Type
	return a
}

// common are the failures of all services of the query protocol, which no
// model has (IAM and STS API, "Common Errors").
var common = map[string]int{
	"AccessDenied": 403, "ExpiredToken": 403, "InvalidAction": 400, "InvalidClientTokenId": 403, "MissingAuthenticationToken": 403,
	"ServiceUnavailable": 503, "SignatureDoesNotMatch": 403, "Throttling": 400, "ValidationError": 400,
}

func TestEveryCode(t *testing.T) {
	known := map[string]int{}
	for _, m := range []*awswire.Model{model(t, "iam"), model(t, "sts")} {
		for _, name := range m.Exceptions() {
			code, status, _ := m.ErrorOf(name)
			known[code] = status
		}
	}
	for code, e := range QueryExceptions {
		want, modelled := known[e.Name]
		if !modelled {
			want = common[e.Name]
		}
		if e.Name == "" || e.Status != want {
			t.Errorf("code %d has the row %+v, want the status %d", code, e, want)
		}
	}
}

// TestModelledExceptions compares rows with the exceptions that they stand for.
func TestModelledExceptions(t *testing.T) {
	for code, of := range map[core.Code]struct{ service, exception string }{
		core.Internal:                    {"iam", "ServiceFailureException"},
		core.InvalidParameter:            {"iam", "InvalidInputException"},
		core.NoSuchEntity:                {"iam", "NoSuchEntityException"},
		core.EntityAlreadyExists:         {"iam", "EntityAlreadyExistsException"},
		core.DeleteConflict:              {"iam", "DeleteConflictException"},
		core.LimitExceeded:               {"iam", "LimitExceededException"},
		core.TooManyTags:                 {"iam", "LimitExceededException"},
		core.InvalidToken:                {"iam", "InvalidInputException"},
		core.MalformedPolicy:             {"sts", "MalformedPolicyDocumentException"},
		core.PackedPolicyTooLarge:        {"sts", "PackedPolicyTooLargeException"},
		core.InvalidIdentityToken:        {"sts", "InvalidIdentityTokenException"},
		core.IdentityProviderUnreachable: {"sts", "IDPCommunicationErrorException"},
		core.InvalidMessage:              {"sts", "InvalidAuthorizationMessageException"},
	} {
		name, status, ok := model(t, of.service).ErrorOf(of.exception)
		if got := QueryExceptions[code]; !ok || got.Name != name || got.Status != status {
			t.Errorf("code %d is %+v, and %s is %s %d", code, got, of.exception, name, status)
		}
	}
}

// TestErrorsOnTheWire answers with each code; what only the log may have stays
// there.
func TestErrorsOnTheWire(t *testing.T) {
	for code := core.Internal + 1; code < core.NumCodes; code++ {
		var log bytes.Buffer
		s := query(t, &log, nil)
		call := new(core.Call)
		rec := httptest.NewRecorder()
		s.Error(rec, core.Caller{RequestID: "req-7", Call: call}, fmt.Errorf("wrapped: %w", &core.Error{Code: code, Message: "what you <may> know", Err: errors.New("secret")}))
		e := QueryExceptions[code]
		want := answer{e.Status, e.Name, "what you <may> know", "Sender", "req-7", ""}
		if e.Status >= 500 {
			want.fault = "Receiver"
		}
		if got := read(t, rec); got != want {
			t.Errorf("code %d is answered with %+v, want %+v", code, got, want)
		}
		if call.Code != e.Name || call.Message != "what you <may> know" {
			t.Errorf("code %d is recorded as %s: %s", code, call.Code, call.Message)
		}
		level := "level=DEBUG"
		if code == core.Unavailable {
			level = "level=WARN"
		}
		if got := log.String(); strings.Count(got, "secret") != 1 || !strings.Contains(got, "request_id=req-7") || !strings.Contains(got, level) {
			t.Errorf("code %d is logged as %q", code, got)
		}
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	for name, err := range map[string]error{
		"no error of the core": errors.New("disk on fire"),
		"internal":             fmt.Errorf("x: %w", &core.Error{Code: core.Internal, Message: "disk on fire"}),
		"no code":              &core.Error{Code: core.NumCodes, Message: "disk on fire", Members: map[string]any{"repositoryName": "disk"}},
		"less than no code":    &core.Error{Code: -1, Message: "disk on fire"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, protocol := range []func(*testing.T, *bytes.Buffer, func(*core.Denial) string) *Server[handler]{query, inJSON} {
				var log bytes.Buffer
				call := new(core.Call)
				rec := httptest.NewRecorder()
				protocol(t, &log, nil).Error(rec, core.Caller{RequestID: "req-9", Call: call}, err)
				if got := read(t, rec); got.status != 500 || got.requestID != "req-9" || got.message != internalMessage || strings.Contains(rec.Body.String(), "disk") {
					t.Errorf("answer %+v", got)
				}
				if call.Code == "" || call.Message != internalMessage {
					t.Errorf("recorded as %+v", call)
				}
				if got := log.String(); strings.Count(got, "disk on fire") != 1 || strings.Count(got, "req-9") != 1 || !strings.Contains(got, "level=ERROR") {
					t.Errorf("log %q", got)
				}
			}
		})
	}
}

// TestClientGone has an error that is nobody's fault.
func TestClientGone(t *testing.T) {
	var log bytes.Buffer
	query(t, &log, nil).Error(httptest.NewRecorder(), core.Caller{RequestID: "req-9"}, fmt.Errorf("read: %w", context.Canceled))
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=DEBUG") {
		t.Errorf("log %q", got)
	}
	query(t, nil, nil).Error(httptest.NewRecorder(), core.Caller{}, errors.New("without a log and a call"))
}

func TestDenials(t *testing.T) {
	denial := &core.Denial{Action: "iam:GetUser"}
	seal := func(d *core.Denial) string { return "sealed " + d.Action }
	tests := []struct {
		name string
		err  error
		deny func(*core.Denial) string
		want string
	}{
		{"denied by a policy", &core.Error{Code: core.AccessDenied, Denial: denial}, seal, "sealed iam:GetUser"},
		{"wrapped", fmt.Errorf("x: %w", &core.Error{Code: core.AccessDenied, Denial: denial}), seal, "sealed iam:GetUser"},
		{"nobody encodes", &core.Error{Code: core.AccessDenied, Denial: denial}, nil, ""},
		{"denied, but not by a policy", &core.Error{Code: core.AccessDenied}, seal, ""},
		{"not denied", &core.Error{Code: core.NoSuchEntity}, seal, ""},
		{"internal", errors.New("x"), seal, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, protocol := range []func(*testing.T, *bytes.Buffer, func(*core.Denial) string) *Server[handler]{query, inJSON} {
				rec := httptest.NewRecorder()
				protocol(t, nil, tt.deny).Error(rec, core.Caller{}, tt.err)
				_, has := rec.Header()["X-Ecru-Authorization-Message"]
				if got := read(t, rec).sealed; got != tt.want || has != (tt.want != "") {
					t.Errorf("the header is %q (%v), want %q", got, has, tt.want)
				}
			}
		})
	}
	rec, call := httptest.NewRecorder(), new(core.Call)
	inJSON(t, nil, nil).Error(rec, core.Caller{Call: call}, &core.Error{Code: core.AccessDenied, Message: "m"})
	if call.Code != "AccessDenied" {
		t.Errorf("a denial is recorded as %s", call.Code)
	}
}

func TestServe(t *testing.T) {
	asked := ""
	fine := handler(func(user string) error { asked = user; return nil })
	q, j := query(t, nil, nil), inJSON(t, nil, nil)
	tests := []struct {
		name       string
		s          *Server[handler]
		action     string
		r          Request
		h          handler
		want       string // status code: message
		parameters string
	}{
		{"a form", q, "GetUser", Request{Form: url.Values{"UserName": {"ann"}, "Action": {"GetUser"}, "Other": {"x"}}}, fine, "200 : ", `{"userName":"ann"}`},
		{"a body", j, "DeleteRepository", Request{Body: []byte(`{"repositoryName":"a/b","force":true}`)}, fine, "200 : ", `{"repositoryName":"a/b","force":true}`},
		{"a constraint of a form", q, "GetUser", Request{Form: url.Values{"UserName": {"a/b"}}}, nil, `400 ValidationError: Value at 'UserName' failed to satisfy constraint: must satisfy regular expression '[\w+=,.@-]+'`, ""},
		{"a constraint of a body", j, "DeleteRepository", Request{Body: []byte(`{}`)}, nil, "400 InvalidParameterException: Invalid parameter at 'repositoryName' failed to satisfy constraint: 'Member must not be null'", ""},
		{"no form", q, "GetUser", Request{Form: url.Values{"UserName.x": {"a"}}}, nil, "400 MalformedInput: ", ""},
		{"no JSON", j, "DeleteRepository", Request{Body: []byte(`{`)}, nil, "400 SerializationException: ", ""},
		{"an unknown operation", q, "x", Request{}, nil, "400 InvalidAction: no x", ""},
		{"a failure", q, "GetUser", Request{Form: url.Values{"UserName": {"ann"}}}, func(string) error { return core.Errorf(core.NoSuchEntity, "gone") }, "404 NoSuchEntity: gone", `{"userName":"ann"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec, call := httptest.NewRecorder(), new(core.Call)
			asked = ""
			r := httptest.NewRequest("POST", "/", nil).WithContext(context.WithValue(t.Context(), handlerKey{}, tt.h))
			tt.s.ServeAction(rec, r, core.Caller{RequestID: "req-1", Call: call}, tt.action, tt.r)
			got := fmt.Sprintf("%d : ", rec.Code)
			if rec.Code != 200 {
				a := read(t, rec)
				got = fmt.Sprintf("%d %s: %s", a.status, a.code, a.message)
			} else if call.Code != "" || asked == "" {
				t.Errorf("the call is %+v", call)
			}
			if !strings.HasPrefix(got, tt.want) || string(call.Parameters) != tt.parameters {
				t.Errorf("got  %s, parameters %s\nwant %s, parameters %s", got, call.Parameters, tt.want, tt.parameters)
			}
			if rec.Header().Get("x-amzn-RequestId") != "req-1" {
				t.Error("no request ID")
			}
		})
	}
}

func TestNew(t *testing.T) {
	op := Op("GetUser", func(context.Context, handler, *iam.GetUserInput) (*iam.GetUserOutput, error) { return nil, nil })
	none := Op("GetNothing", func(context.Context, handler, *iam.GetUserInput) (*iam.GetUserOutput, error) { return nil, nil })
	for want, handlers := range map[string][]Handler[handler]{
		"iam.amazonaws.com: GetUser is served twice": {op, op},
		"iam.amazonaws.com: ":                        {none},
	} {
		s, err := New(Service{Source: "iam.amazonaws.com", Model: model(t, "iam"), Query: true}, handlerOf, handlers)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, %v; want %s", s, err, want)
		}
	}
}
