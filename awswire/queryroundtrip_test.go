package awswire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecruhq/ecru/advisor"
)

// dial returns the SDK's client for a service, as a value to call methods of.
func dial(url string, client reflect.Type) reflect.Value {
	creds := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")
	switch client {
	case reflect.TypeFor[*iam.Client]():
		return reflect.ValueOf(iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: creds, RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient}}))
	case reflect.TypeFor[*sts.Client]():
		return reflect.ValueOf(sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: creds, RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient}}))
	}
	return reflect.ValueOf(cloudtrail.New(cloudtrail.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: creds, RetryMaxAttempts: 1, HTTPClient: advisor.WholeAnswers{HTTPClient: http.DefaultClient}}))
}

// exchange sends an input through the SDK's client and answers with an output.
func (s service) exchange(t *testing.T, op string, zero bool) {
	o := s.bind(t, op)
	query := s.XMLNamespace() != ""
	sample := &sampler{t: t, zero: zero, xml: query}
	sent, back := sample.value(o.in).Addr(), sample.value(o.out).Addr()
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := reflect.New(o.in.typ)
		var b []byte
		var err, encodeErr error
		if query {
			var form url.Values
			if form, err = url.ParseQuery(string(body)); err == nil {
				err = o.DecodeQuery(form, got.Interface())
			}
			if form.Get("Action") != op || form.Get("Version") != s.APIVersion() {
				t.Errorf("request %s", body)
			}
			b, encodeErr = o.AppendXML(nil, back.Interface(), "the-request-id")
			w.Header().Set("Content-Type", s.XMLContentType())
		} else {
			err = o.DecodeJSON(body, got.Interface())
			b, encodeErr = o.AppendJSON(nil, back.Interface())
			w.Header().Set("Content-Type", s.JSONContentType())
		}
		if err != nil || encodeErr != nil {
			t.Errorf("decode %s: %v; encode: %v", body, err, encodeErr)
		}
		if !reflect.DeepEqual(got.Interface(), sent.Interface()) {
			t.Errorf("arrived %+v\nsent %+v", got.Elem(), sent.Elem())
		}
		w.Write(b)
	}
	srv := httptest.NewServer(http.HandlerFunc(answer))
	defer srv.Close()
	res := dial(srv.URL, s.client).MethodByName(op).Call([]reflect.Value{reflect.ValueOf(context.Background()), sent})
	if err := res[1].Interface(); err != nil {
		t.Fatal(err)
	}
	got := res[0].Elem()
	got.FieldByName("ResultMetadata").SetZero()
	if !reflect.DeepEqual(got.Interface(), back.Elem().Interface()) {
		t.Errorf("client got %+v\nanswered %+v", got, back.Elem())
	}
}

// TestSDKQueryRoundTrip sends every operation of IAM and STS through the SDK's
// own clients: what they send must arrive, and what is answered must come back.
func TestSDKQueryRoundTrip(t *testing.T) {
	for _, s := range []service{iamService(t), stsService(t)} {
		for _, op := range s.Operations() {
			for _, zero := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/zero=%v", op, zero), func(t *testing.T) { s.exchange(t, op, zero) })
			}
		}
	}
}

func TestSDKCloudTrailRoundTrip(t *testing.T) {
	s := cloudTrailService(t)
	for _, zero := range []bool{false, true} {
		t.Run(fmt.Sprintf("LookupEvents/zero=%v", zero), func(t *testing.T) { s.exchange(t, "LookupEvents", zero) })
	}
}

// TestSDKQueryExceptions sends every exception that the model lists for an
// operation to the SDK's client, which must read it as its typed exception, and
// one that it has no type for.
func TestSDKQueryExceptions(t *testing.T) {
	for _, s := range []service{iamService(t), stsService(t)} {
		var body []byte
		var status int
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			w.Write(body)
		}))
		defer srv.Close()
		client := dial(srv.URL, s.client)
		for _, op := range s.Operations() {
			o := s.bind(t, op)
			in := (&sampler{t: t}).value(o.in).Addr()
			for _, name := range append(s.Errors(op), "AccessDenied") {
				code, want, ok := s.ErrorOf(name)
				if !ok {
					code, want = name, 403
				}
				status = want
				var err error
				if body, err = s.AppendErrorXML(nil, name, "a <message>", "the-request-id", status < 500); err != nil {
					t.Fatal(err)
				}
				res := client.MethodByName(op).Call([]reflect.Value{reflect.ValueOf(context.Background()), in})
				err, _ = res[1].Interface().(error)
				var api smithy.APIError
				var re *smithyhttp.ResponseError
				if !errors.As(err, &api) || !errors.As(err, &re) {
					t.Fatalf("%s %s: %v", op, name, err)
				}
				typed := reflect.TypeOf(api).Elem().Name()
				if ok && typed != name || !ok && typed != "GenericAPIError" {
					t.Errorf("%s: %s arrives as %s: %s", op, name, typed, body)
				}
				if api.ErrorCode() != code || api.ErrorMessage() != "a <message>" || re.HTTPStatusCode() != status {
					t.Errorf("%s: %s arrives as %s %q %d", op, name, api.ErrorCode(), api.ErrorMessage(), re.HTTPStatusCode())
				}
				if !strings.Contains(err.Error(), "the-request-id") {
					t.Errorf("no request ID in %v", err)
				}
			}
		}
	}
}
