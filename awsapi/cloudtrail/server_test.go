package cloudtrailapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/audit"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

var (
	t0  = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	app = ecr.RepositoryID{Account: account, Name: "team/app"}
)

// A world is a server on a real core, and the SDK's client of it.
type world struct {
	server *Server
	trail  *audit.Log
	client *sdk.Client
	url    string
	caller ecr.Caller
	log    strings.Builder
	now    time.Time
	// target is of the last request.
	target string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := meta.Open(context.Background(), meta.Options{URL: filepath.Join(t.TempDir(), "meta.db")})
	ok(t, err)
	t.Cleanup(func() { db.Close() })
	keys, err := identity.ParseKeyring(identity.NewMasterKey())
	ok(t, err)
	w := &world{now: t0, caller: ecr.Caller{Principal: identity.Root(account)}}
	clock := func() time.Time { return w.now }
	id := identity.New(db, keys, region, clock)
	w.trail = audit.New(db, id, keys, audit.Config{Region: region, Now: clock})
	w.server, err = New(w.trail, id, slog.New(slog.NewTextHandler(&w.log, nil)))
	ok(t, err)
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	w.client = sdk.New(sdk.Options{Region: region, BaseEndpoint: aws.String(srv.URL), RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")})
	return w
}

// ServeHTTP is what the daemon does with a request, but for authentication.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.target = r.Header.Get("X-Amz-Target")
	action := w.target[strings.LastIndexByte(w.target, '.')+1:]
	body, _ := io.ReadAll(r.Body)
	c := w.caller
	c.RequestID, c.Call = "req-1", &ecr.Call{Service: Source, Name: action, Region: region}
	w.server.ServeAction(rw, r, c, action, rpc.Request{Body: body})
	w.trail.Observe(r.Context(), c)
}

// made has calls in the trail, a second apart, the IDs being 1, 2, ….
func (w *world) made(t *testing.T, names ...string) {
	t.Helper()
	jane := &iam.Principal{ARN: "arn:aws:iam::" + account + ":user/jane", Account: account, ID: "AIDAJANE", Name: "jane"}
	for n, name := range names {
		w.trail.Observe(t.Context(), ecr.Caller{Principal: jane, AccessKeyID: "AKIAJANE", RequestID: fmt.Sprint(n + 1),
			Call: &ecr.Call{Service: "ecr.amazonaws.com", Name: name, Region: region, Repository: app}})
		w.now = w.now.Add(time.Second)
	}
	ok(t, w.trail.Settle(t.Context()))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ids(out *sdk.LookupEventsOutput) string {
	var s []string
	for _, e := range out.Events {
		s = append(s, *e.EventId)
	}
	return strings.Join(s, " ")
}

func by(key types.LookupAttributeKey, value string) []types.LookupAttribute {
	return []types.LookupAttribute{{AttributeKey: key, AttributeValue: aws.String(value)}}
}

func TestLookupEvents(t *testing.T) {
	w := newWorld(t)
	w.made(t, "PutImage", "BatchGetImage", "DeleteRepository")
	out, err := w.client.LookupEvents(t.Context(), &sdk.LookupEventsInput{LookupAttributes: by("EventName", "PutImage")})
	ok(t, err)
	if len(out.Events) != 1 || out.NextToken != nil {
		t.Fatalf("%d events, next %v", len(out.Events), out.NextToken)
	}
	e := out.Events[0]
	var record ecr.TrailRecord
	ok(t, json.Unmarshal([]byte(aws.ToString(e.CloudTrailEvent)), &record))
	if record.EventName != "PutImage" || record.UserIdentity.ARN != "arn:aws:iam::"+account+":user/jane" {
		t.Errorf("record %s", *e.CloudTrailEvent)
	}
	e.CloudTrailEvent = nil
	want := types.Event{EventId: aws.String("1"), EventName: aws.String("PutImage"), EventSource: aws.String("ecr.amazonaws.com"), EventTime: &t0, ReadOnly: aws.String("false"),
		Username: aws.String("jane"), AccessKeyId: aws.String("AKIAJANE"),
		Resources: []types.Resource{{ResourceType: aws.String("AWS::ECR::Repository"), ResourceName: aws.String(app.ARN(region))}}}
	if !reflect.DeepEqual(e, want) {
		got, _ := json.Marshal(e)
		b, _ := json.Marshal(want)
		t.Errorf("got  %s\nwant %s", got, b)
	}

	for _, tt := range []struct {
		name string
		in   sdk.LookupEventsInput
		want string
	}{
		{"nothing asked", sdk.LookupEventsInput{}, "3 2 1"},
		{"EventId", sdk.LookupEventsInput{LookupAttributes: by("EventId", "2")}, "2"},
		{"ReadOnly", sdk.LookupEventsInput{LookupAttributes: by("ReadOnly", "true")}, "2"},
		{"Username", sdk.LookupEventsInput{LookupAttributes: by("Username", "jane")}, "3 2 1"},
		{"ResourceType", sdk.LookupEventsInput{LookupAttributes: by("ResourceType", "AWS::ECR::Repository")}, "3 2 1"},
		{"ResourceName", sdk.LookupEventsInput{LookupAttributes: by("ResourceName", "team/app")}, "3 2 1"},
		{"EventSource", sdk.LookupEventsInput{LookupAttributes: by("EventSource", "iam.amazonaws.com")}, ""},
		{"AccessKeyId", sdk.LookupEventsInput{LookupAttributes: by("AccessKeyId", "AKIAJANE")}, "3 2 1"},
		{"StartTime", sdk.LookupEventsInput{StartTime: aws.Time(t0.Add(time.Second))}, "3 2"},
		{"EndTime", sdk.LookupEventsInput{EndTime: aws.Time(t0.Add(time.Second))}, "2 1"},
		{"one instant", sdk.LookupEventsInput{StartTime: aws.Time(t0.Add(time.Second)), EndTime: aws.Time(t0.Add(time.Second))}, "2"},
		{"Insights events, of which there are none", sdk.LookupEventsInput{EventCategory: types.EventCategoryInsight}, ""},
		{"MaxResults", sdk.LookupEventsInput{MaxResults: aws.Int32(2)}, "3 2"},
	} {
		if out, err := w.client.LookupEvents(t.Context(), &tt.in); err != nil || ids(out) != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.name, out, err, tt.want)
		}
	}
	w.caller.Principal = identity.Root("210987654321")
	if out, err := w.client.LookupEvents(t.Context(), &sdk.LookupEventsInput{}); err != nil || len(out.Events) != 0 || out.Events == nil {
		t.Errorf("another account: %v, %v", out, err)
	}
}

// A page has 50 events, and the SDK's paginator gets all.
func TestPages(t *testing.T) {
	w := newWorld(t)
	w.made(t, slices.Repeat([]string{"BatchGetImage"}, 120)...)
	var lengths []int
	seen := map[string]bool{}
	for p := sdk.NewLookupEventsPaginator(w.client, &sdk.LookupEventsInput{}); p.HasMorePages(); {
		out, err := p.NextPage(t.Context())
		ok(t, err)
		lengths = append(lengths, len(out.Events))
		for _, e := range out.Events {
			seen[*e.EventId] = true
		}
	}
	if !slices.Equal(lengths, []int{50, 50, 20}) || len(seen) != 120 {
		t.Errorf("pages of %v, %d events", lengths, len(seen))
	}
}

// refused checks that a call failed with an exception of the SDK's.
func refused[E error](t *testing.T, what string, err error, message string) {
	t.Helper()
	var e E
	if !errors.As(err, &e) || !strings.Contains(err.Error(), message) {
		t.Errorf("%s: %v\nwant %T: %s", what, err, e, message)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	lookup := func(in sdk.LookupEventsInput) error {
		_, err := w.client.LookupEvents(t.Context(), &in)
		return err
	}
	for _, n := range []int32{-1, 0, 51} {
		refused[*types.InvalidMaxResultsException](t, fmt.Sprint("MaxResults ", n), lookup(sdk.LookupEventsInput{MaxResults: &n}), "")
	}
	refused[*types.InvalidNextTokenException](t, "NextToken", lookup(sdk.LookupEventsInput{NextToken: aws.String("x")}), "The token")
	refused[*types.InvalidEventCategoryException](t, "no such category", lookup(sdk.LookupEventsInput{EventCategory: "x"}), "")
	two := append(by("EventName", "PutImage"), by("Username", "jane")...)
	refused[*types.InvalidLookupAttributesException](t, "two attributes", lookup(sdk.LookupEventsInput{LookupAttributes: two}), "You can only specify one lookup attribute.")
	refused[*types.InvalidLookupAttributesException](t, "no such attribute", lookup(sdk.LookupEventsInput{LookupAttributes: by("Region", "x")}), "")
	refused[*types.InvalidLookupAttributesException](t, "an empty value", lookup(sdk.LookupEventsInput{LookupAttributes: by("EventName", "")}), "")
	refused[*types.InvalidLookupAttributesException](t, "a long value", lookup(sdk.LookupEventsInput{LookupAttributes: by("EventName", strings.Repeat("x", 2001))}), "")
	refused[*types.InvalidTimeRangeException](t, "times", lookup(sdk.LookupEventsInput{StartTime: aws.Time(t0.Add(time.Second)), EndTime: &t0}), "The start time is after the end time.")

	_, err := w.client.DescribeTrails(t.Context(), &sdk.DescribeTrailsInput{})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "UnknownOperationException" || !strings.Contains(api.ErrorMessage(), `"DescribeTrails"`) {
		t.Errorf("another operation: %v", err)
	}
	if w.server.Serves("DescribeTrails") || !w.server.Serves("LookupEvents") {
		t.Error("Serves does not tell what is served")
	}
}

// A denied caller is told so, and has a record.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	root := w.caller
	w.caller.Principal = &iam.Principal{ARN: "arn:aws:iam::" + account + ":user/joe", Account: account, Name: "joe"}
	_, err := w.client.LookupEvents(t.Context(), &sdk.LookupEventsInput{})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" || !strings.Contains(api.ErrorMessage(), "user/joe is not authorized to perform: cloudtrail:LookupEvents") ||
		!strings.Contains(err.Error(), "StatusCode: 403") && !strings.Contains(err.Error(), "StatusCode: 400") {
		t.Errorf("error %v", err)
	}
	w.caller = root
	ok(t, w.trail.Settle(t.Context()))
	out, err := w.client.LookupEvents(t.Context(), &sdk.LookupEventsInput{})
	ok(t, err)
	if len(out.Events) != 1 || *out.Events[0].EventName != "LookupEvents" || *out.Events[0].EventSource != Source || !strings.Contains(*out.Events[0].CloudTrailEvent, `"errorCode":"AccessDenied"`) {
		t.Errorf("events %s", ids(out))
	}
}

// Both forms of the target reach LookupEvents; the SDK for Go says one of them.
func TestTargets(t *testing.T) {
	w := newWorld(t)
	w.made(t, "PutImage")
	_, err := w.client.LookupEvents(t.Context(), &sdk.LookupEventsInput{})
	ok(t, err)
	if prefix := strings.TrimSuffix(w.target, ".LookupEvents"); prefix != TargetPrefix && prefix != ShortTarget {
		t.Errorf("the SDK says %s", w.target)
	}
	for _, prefix := range []string{TargetPrefix, ShortTarget} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", w.url, strings.NewReader("{}"))
		ok(t, err)
		r.Header.Set("X-Amz-Target", prefix+".LookupEvents")
		resp, err := http.DefaultClient.Do(r)
		ok(t, err)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(body), `"EventId":"1"`) || resp.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
			t.Errorf("%s: %s %s", prefix, resp.Status, body)
		}
	}
}

// common are exceptions that the service's model does not have.
var common = map[string]bool{
	"InternalFailure": true, "AccessDeniedException": true, "ServiceUnavailable": true, "MissingAuthenticationTokenException": true,
	"UnrecognizedClientException": true, "ExpiredTokenException": true, "InvalidSignatureException": true, "UnknownOperationException": true,
}

func TestEveryCode(t *testing.T) {
	w := newWorld(t)
	modelled := w.server.Model.Exceptions()
	for code, e := range exceptions() {
		if e.Name == "" || e.Status < 400 || e.Status > 599 {
			t.Errorf("code %d has the row %+v", code, e)
		} else if !slices.Contains(modelled, e.Name) && !common[e.Name] {
			t.Errorf("CloudTrail has no exception %s", e.Name)
		}
	}
}

// Each code arrives at the SDK's client under its name, and what is inside
// stays inside.
func TestErrorsOnTheWire(t *testing.T) {
	w := newWorld(t)
	var fail error
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.server.Error(rw, ecr.Caller{RequestID: "req-7"}, fail)
	}))
	defer srv.Close()
	client := sdk.New(sdk.Options{Region: region, BaseEndpoint: aws.String(srv.URL), RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient}, Credentials: credentials.NewStaticCredentialsProvider("k", "s", "")})
	for code, e := range exceptions() {
		if code == int(ecr.Internal) {
			continue
		}
		fail = fmt.Errorf("wrapped: %w", &ecr.Error{Code: ecr.Code(code), Message: "what the caller may know", Err: errors.New("secret")})
		_, err := client.LookupEvents(t.Context(), &sdk.LookupEventsInput{})
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != e.Name || api.ErrorMessage() != "what the caller may know" {
			t.Errorf("code %d, %s, arrives as %v", code, e.Name, err)
		}
	}
	w.log.Reset()
	fail = errors.New("disk on fire")
	_, err := client.LookupEvents(t.Context(), &sdk.LookupEventsInput{})
	if err == nil || strings.Contains(err.Error(), "disk") || !strings.Contains(err.Error(), "InternalFailure") {
		t.Errorf("inside: %v", err)
	}
	if !strings.Contains(w.log.String(), "disk on fire") || !strings.Contains(w.log.String(), "req-7") {
		t.Errorf("log %q", w.log.String())
	}
}
