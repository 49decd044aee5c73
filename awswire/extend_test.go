package awswire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

// every has a member of each kind.
const every = `{"ops": {"ListThings": {"in": "Things", "out": "Things", "err": ["RepositoryNotFoundException"], "doc": "Lists things.", "list": "list"}}, "shapes": {
	"Things": {"type": "structure", "required": ["text"], "members": {"text": {"shape": "ThingText", "doc": "A text."}, "kind": {"shape": "ThingKind"}, "repositoryName": {"shape": "RepositoryName"},
		"flag": {"shape": "ThingFlag"}, "number": {"shape": "ThingNumber"}, "big": {"shape": "ThingBig"}, "part": {"shape": "ThingPart"}, "at": {"shape": "ThingTime"},
		"data": {"shape": "ThingData"}, "list": {"shape": "ThingList"}, "names": {"shape": "ThingNames"}}},
	"ThingText": {"type": "string"}, "ThingKind": {"type": "string", "enum": ["A", "B"]}, "ThingFlag": {"type": "boolean"}, "ThingNumber": {"type": "integer", "min": 0, "max": 9},
	"ThingBig": {"type": "long"}, "ThingPart": {"type": "double"}, "ThingTime": {"type": "timestamp"}, "ThingData": {"type": "blob"},
	"ThingList": {"type": "list", "member": {"shape": "Thing"}, "max": 5}, "Thing": {"type": "structure", "members": {"at": {"shape": "ThingTime"}, "name": {"shape": "ThingText"}}},
	"ThingNames": {"type": "map", "key": {"shape": "ThingText"}, "value": {"shape": "ThingText"}}}}`

type things struct {
	Text, RepositoryName *string
	Kind                 string
	Flag                 *bool
	Number               *int32
	Big                  *int64
	Part                 *float64
	At                   *time.Time
	Data                 []byte
	List                 []aThing
	Names                map[string]string
}

type aThing struct {
	At   *time.Time
	Name *string
}

// TestExtensionRoundTrip sends every operation of Ecru's own, and one with
// members of every kind, by the client that the advisor has for them.
func TestExtensionRoundTrip(t *testing.T) {
	m := ecrModel(t)
	docs := [][]byte{[]byte(every)}
	files, err := filepath.Glob("../awsapi/ecr/ecru/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		doc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	names, err := m.Extend(docs...)
	if err != nil {
		t.Fatal(err)
	}
	ops := append(ext.Operations(), ext.Operation{Name: "ListThings", In: reflect.TypeFor[things](), Out: reflect.TypeFor[things]()})
	if len(ops) != len(names) {
		t.Errorf("%d operations in ext, %d in the models", len(ops)-1, len(names)-1)
	}
	for _, op := range ops {
		for _, zero := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/zero=%v", op.Name, zero), func(t *testing.T) { extensionRoundTrip(t, m, op, zero) })
		}
	}
}

func extensionRoundTrip(t *testing.T, m *Model, op ext.Operation, zero bool) {
	o, err := m.BindTypes(op.Name, op.In, op.Out)
	if err != nil {
		t.Fatal(err)
	}
	s := &sampler{t: t, zero: zero}
	sent, back := s.value(o.in).Addr(), s.value(o.out).Addr()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("X-Amz-Target"); got != m.TargetPrefix()+"."+op.Name {
			t.Errorf("target %q", got)
		}
		if got := r.Header.Get("Authorization"); !strings.Contains(got, "/us-east-1/ecr/aws4_request") {
			t.Errorf("authorization %q", got)
		}
		body, _ := io.ReadAll(r.Body)
		got := reflect.New(o.in.typ)
		if err := o.DecodeJSON(body, got.Interface()); err != nil {
			t.Errorf("decode %s: %v", body, err)
		}
		if !reflect.DeepEqual(got.Interface(), sent.Interface()) {
			t.Errorf("arrived %+v\nsent %+v", got.Elem(), sent.Elem())
		}
		b, err := o.AppendJSON(nil, back.Interface())
		if err != nil {
			t.Errorf("encode: %v", err)
		}
		w.Write(b)
	}))
	defer srv.Close()
	got := reflect.New(o.out.typ)
	if err := (&advisor.Endpoint{ECR: ecrClient(srv.URL)}).Call(context.Background(), op.Name, sent.Interface(), got.Interface()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Interface(), back.Interface()) {
		t.Errorf("client got %+v\nanswered %+v", got.Elem(), back.Elem())
	}
}

func TestExtensionErrors(t *testing.T) {
	m := ecrModel(t)
	name, status := "", 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := m.AppendErrorJSON(nil, name, "why not", nil)
		w.WriteHeader(status)
		w.Write(b)
	}))
	defer srv.Close()
	e := &advisor.Endpoint{ECR: ecrClient(srv.URL)}
	name, status = "RepositoryNotFoundException", 400
	err := e.Call(context.Background(), "ListThings", &things{}, &things{})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != name || api.ErrorMessage() != "why not" {
		t.Errorf("%v", err)
	}
	name, status = "com.amazonaws.ecr#UnknownOperationException", 404
	err = e.Call(context.Background(), "ListThings", &things{}, &things{})
	if err == nil || !strings.HasPrefix(err.Error(), "ListThings is an operation of Ecru's that the server at 127.0.0.1") {
		t.Errorf("%v", err)
	}
	o := ecrClient("http://api.ecr.us-east-1.amazonaws.com").Options()
	o.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}}}
	err = (&advisor.Endpoint{ECR: ecr.New(o)}).Call(context.Background(), "ListThings", &things{}, &things{})
	if err == nil || !strings.HasPrefix(err.Error(), "ListThings is an operation of Ecru's, and api.ecr.us-east-1.amazonaws.com is AWS ECR") {
		t.Errorf("%v", err)
	}
	if err := e.Call(context.Background(), "ListThings", things{}, &things{}); err == nil {
		t.Error("an input that is no pointer is taken")
	}
}

// TestExtensionRetries checks that the client's retryer decides what is tried
// again.
func TestExtensionRetries(t *testing.T) {
	calls, status := 0, http.StatusServiceUnavailable
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls%3 == 0 {
			io.WriteString(w, `{"text":"well"}`)
			return
		}
		w.WriteHeader(status)
	}))
	defer srv.Close()
	o := ecrClient(srv.URL).Options()
	o.RetryMaxAttempts = 3
	o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
	e := &advisor.Endpoint{ECR: ecr.New(o)}
	var out things
	if err := e.Call(context.Background(), "ListThings", &things{}, &out); err != nil || *out.Text != "well" || calls != 3 {
		t.Errorf("%d calls, %+v, %v", calls, out, err)
	}
	status = http.StatusBadRequest
	if err := e.Call(context.Background(), "ListThings", &things{}, &out); err == nil || calls != 4 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestExtendRefuses(t *testing.T) {
	for name, doc := range map[string]string{
		"an operation of ECR":     `{"ops": {"PutImage": {"in": "X", "out": "X", "doc": "d"}}, "shapes": {"X": {"type": "structure"}}}`,
		"a shape of ECR":          `{"shapes": {"RepositoryName": {"type": "string"}}}`,
		"an unknown shape":        `{"ops": {"Do": {"in": "X", "out": "X", "doc": "d"}}}`,
		"an unknown member":       `{"operations": {}}`,
		"no doc":                  `{"ops": {"Do": {"in": "X", "out": "X"}}, "shapes": {"X": {"type": "structure"}}}`,
		"what is not JSON":        `{`,
		"a shape that is nothing": `{"shapes": {"X": null}}`,
	} {
		if _, err := ecrModel(t).Extend([]byte(doc)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := ecrModel(t).Extend([]byte(every), []byte(every)); err == nil {
		t.Error("an operation is taken twice")
	}
}

// TestExtras checks the files for botocore; that botocore takes them is a test
// with the real one.
func TestExtras(t *testing.T) {
	files, err := Extras([]byte(every))
	if err != nil {
		t.Fatal(err)
	}
	var service, pages struct {
		Merge map[string]map[string]map[string]any `json:"merge"`
	}
	for name, into := range map[string]any{"service-2.sdk-extras.json": &service, "paginators-1.sdk-extras.json": &pages} {
		if err := json.Unmarshal(files[name], into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	op := service.Merge["operations"]["ListThings"]
	if op["name"] != "ListThings" || !reflect.DeepEqual(op["input"], map[string]any{"shape": "EcruThings"}) || op["documentation"] != "Lists things." {
		t.Errorf("%v", op)
	}
	in := service.Merge["shapes"]["EcruThings"]["members"].(map[string]any)
	if !reflect.DeepEqual(in["text"], map[string]any{"shape": "EcruThingText", "documentation": "A text."}) || len(in) != 11 ||
		!reflect.DeepEqual(in["repositoryName"], map[string]any{"shape": "RepositoryName"}) {
		t.Errorf("%v", in)
	}
	if got := pages.Merge["pagination"]["ListThings"]["result_key"]; got != "list" {
		t.Errorf("%v", pages)
	}
}
