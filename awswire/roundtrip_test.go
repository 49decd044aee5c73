package awswire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/advisor"
)

func ecrModel(t testing.TB) *Model {
	t.Helper()
	gz, err := os.ReadFile("../awsapi/ecr/ecr.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(gz)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ecrTypes returns the types of an operation's input and output, from the SDK
// client's method of that name.
func ecrTypes(t testing.TB, op string) (in, out reflect.Type) {
	t.Helper()
	f, ok := reflect.TypeFor[*ecr.Client]().MethodByName(op)
	if !ok {
		t.Fatalf("the SDK has no operation %s", op)
	}
	return f.Type.In(2).Elem(), f.Type.Out(0).Elem()
}

func bindECR(t testing.TB, m *Model, op string) *Operation {
	t.Helper()
	in, out := ecrTypes(t, op)
	o, err := m.BindTypes(op, in, out)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func ecrClient(url string) *ecr.Client {
	return ecr.New(ecr.Options{
		Region:           "us-east-1",
		BaseEndpoint:     aws.String(url),
		Credentials:      credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		RetryMaxAttempts: 1,
		HTTPClient:       advisor.WholeAnswers{HTTPClient: http.DefaultClient},
	})
}

// matching holds one string for every pattern that the model has.
var matching = map[string]string{
	`[0-9]{12}`: "123456789012",
	`[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`:             "team-a/web__app",
	`^([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\/?|ROOT)$`: "prod/",
	`[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+`:                                               "sha256:00ffAA",
	`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`: "00000000-1111-2222-3333-444444444444",
	`[0-9a-z-]{2,25}`: "eu-west-1",
	`^\S+$`:           "QVdTOnB3",
	`^arn:aws(-\w+)*:secretsmanager:[a-zA-Z0-9-:]+:secret:ecr\-pullthroughcache\/[a-zA-Z0-9\/_+=.@-]+$`: "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-pullthroughcache/x",
	`^[0-9a-zA-Z._*-]{1,128}$`:                                                             "v*",
	`^$|arn:aws[a-z0-9-]*:kms:[a-z0-9-]+:[0-9]{12}:key\/[a-z0-9-]+`:                        "arn:aws:kms:us-east-1:123456789012:key/a-b",
	`^arn:aws(-[a-z]+)*:iam::[0-9]{12}:(role|user)/[\w+=,.@-]+(/[\w+=,.@-]+)*$`:            "arn:aws:iam::123456789012:role/ci",
	`^(?:[a-z0-9]+(?:[._-][a-z0-9]*)*/)*[a-z0-9]*(?:[._-][a-z0-9]*)*$`:                     "prod",
	`^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$`:                                            "prod*",
	`^arn:aws(-[a-z]+)*:signer:[a-z0-9-]+:[0-9]{12}:\/signing-profiles\/[a-zA-Z0-9_]{2,}$`: "arn:aws:signer:us-east-1:123456789012:/signing-profiles/p1",
	`^(?:[a-z0-9*]+(?:[._-][a-z0-9*]+)*/)*[a-z0-9*]+(?:[._-][a-z0-9*]+)*$`:                 "a/b*",
}

// A sampler fills Go values with values that the model allows.
type sampler struct {
	t     *testing.T
	count int
	zero  bool // false, 0 and empty lists where the model allows them
	xml   bool // no text that XML cannot hold
}

func (s *sampler) value(n *node) reflect.Value {
	v := reflect.New(n.typ).Elem()
	s.count++
	switch n.kind {
	case kindStruct:
		for _, m := range n.members {
			v.Field(m.field).Set(s.value(m.node))
		}
	case kindList:
		size := max(2, int(n.min))
		if n.tooBig != "" {
			size = min(size, int(n.max))
		}
		if s.zero && n.min == 0 {
			size = 0
		}
		v.Set(reflect.MakeSlice(n.typ, size, size))
		for i := range size {
			v.Index(i).Set(s.value(n.elem))
		}
	case kindMap:
		v.Set(reflect.MakeMap(n.typ))
		if !s.zero {
			v.SetMapIndex(s.value(n.key), s.value(n.elem))
			v.SetMapIndex(s.value(n.key), s.value(n.elem))
		}
	case kindString:
		v.SetString(s.text(n))
	case kindBool:
		v.SetBool(!s.zero)
	case kindInt:
		v.SetInt(max(int64(s.count%2), n.min))
		if !s.zero && n.tooBig == "" {
			v.SetInt(int64(s.count) + n.min)
		}
	case kindFloat:
		if !s.zero {
			v.SetFloat(float64(s.count) + 0.125)
		}
	case kindTime:
		v.Set(reflect.ValueOf(time.UnixMilli(1700000000000 + int64(s.count)*17).UTC()))
	case kindBlob:
		v.SetBytes([]byte{0, 255, byte(s.count), '"', '/'})
		if s.zero {
			v.SetBytes([]byte{})
		}
	}
	if n.ptr {
		return v.Addr()
	}
	return v
}

// candidates are texts of which at least one fits each pattern of IAM and STS,
// once it is long enough: those that are hardest to send come first.
var candidates = []string{
	"{\"a\": \"%20+&=<é>\"}\r\n\t", "{\"a\": \"<%20+&=>\"} ", "a b+c=d/é:@", "a b+c=d%26&", "/a+b/%21/", "/a,b=c/",
	"a=b+c,d.e@f-", "a+b/c:d", "a.b:c-", "a-b1", "v1", "123456", "123456789012", "AKIAIOSFODNN7EXAMPLE", "a:b",
	"o-abcdefghij", "o-abcdefghij/r-abcd/", "p-abcdefgh", "https://a.example/b?c=d&e=f",
}

func candidate(n *node) (string, bool) {
	for _, c := range candidates {
		for _, filler := range []string{"x", "1", "A"} {
			s := c
			if more := int(n.min) - len([]rune(c)); n.tooSmall != "" && more > 0 {
				s += strings.Repeat(filler, more)
			}
			if n.validateString(&value{kind: text, raw: []byte(s)}) == nil {
				return s, true
			}
		}
	}
	return "", false
}

func (s *sampler) text(n *node) string {
	switch {
	case n.enum != nil:
		list := strings.TrimSuffix(n.notInEnum[strings.Index(n.notInEnum, "[")+1:], "]")
		all := strings.Split(list, ", ")
		return all[s.count%len(all)]
	case n.pattern != nil:
		for p, text := range matching {
			if n.noMatch == "must satisfy regular expression '"+p+"'" {
				return text
			}
		}
		if text, ok := candidate(n); ok {
			return text
		}
		s.t.Fatalf("no sample for: %s", n.noMatch)
	}
	text := fmt.Sprintf("%d é\U0001F600 \"\\/<&\n\t\x01", s.count)
	if s.xml {
		text = fmt.Sprintf("%d é\U0001F600 \"'\\/<&>]]>+%%\r\n\t\u0085\u2028 ", s.count)
	}
	if more := int(n.min) - len([]rune(text)); more > 0 {
		text += strings.Repeat("x", more)
	}
	if n.tooBig != "" && len([]rune(text)) > int(n.max) {
		text = string([]rune(text)[:n.max])
	}
	return text
}

// TestSDKRoundTrip sends every operation of the model through the SDK's own
// client: what it sends must arrive, and what is answered must come back.
func TestSDKRoundTrip(t *testing.T) {
	m := ecrModel(t)
	var answer func(w http.ResponseWriter, r *http.Request)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer srv.Close()
	client := reflect.ValueOf(ecrClient(srv.URL))
	for _, op := range m.Operations() {
		for _, zero := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/zero=%v", op, zero), func(t *testing.T) {
				o := bindECR(t, m, op)
				s := &sampler{t: t, zero: zero}
				sent, back := s.value(o.in).Addr(), s.value(o.out).Addr()
				answer = func(w http.ResponseWriter, r *http.Request) {
					if got := r.Header.Get("X-Amz-Target"); got != m.TargetPrefix()+"."+op {
						t.Errorf("target %q", got)
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
					w.Header().Set("Content-Type", m.JSONContentType())
					w.Write(b)
				}
				res := client.MethodByName(op).Call([]reflect.Value{reflect.ValueOf(context.Background()), sent})
				if err := res[1].Interface(); err != nil {
					t.Fatal(err)
				}
				got := res[0].Elem()
				got.FieldByName("ResultMetadata").SetZero()
				if !reflect.DeepEqual(got.Interface(), back.Elem().Interface()) {
					t.Errorf("client got %+v\nanswered %+v", got, back.Elem())
				}
			})
		}
	}
}

// TestSDKExceptions sends every exception of the model to the SDK's client,
// with every member that it has.
func TestSDKExceptions(t *testing.T) {
	m := ecrModel(t)
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		w.Write(body)
	}))
	defer srv.Close()
	client := ecrClient(srv.URL)
	for _, name := range m.Exceptions() {
		members := map[string]any{}
		for k, ref := range m.shapes[name].Members {
			switch m.shapes[ref.Shape].Type {
			case "string":
				members[k] = "the " + k
			case "long", "integer":
				members[k] = int64(1) << 40
			}
		}
		delete(members, "message")
		var err error
		if body, err = m.AppendErrorJSON(nil, name, "a \"message\"", members); err != nil {
			t.Fatal(err)
		}
		_, err = client.DescribeRegistry(context.Background(), &ecr.DescribeRegistryInput{})
		var api smithy.APIError
		if !errors.As(err, &api) {
			t.Fatalf("%s: %v", name, err)
		}
		entry := ecr.TypeRegistry.Entries["com.amazonaws.ecr#"+name]
		if entry == nil {
			t.Fatalf("the SDK has no type for %s", name)
		}
		want := reflect.ValueOf(entry.New()).Elem()
		if got := reflect.TypeOf(api).Elem(); got != want.Type() {
			t.Errorf("%s arrives as %s", name, got)
			continue
		}
		text := "a \"message\""
		want.FieldByName("Message").Set(reflect.ValueOf(&text))
		for k, v := range members {
			p := reflect.New(reflect.TypeOf(v))
			p.Elem().Set(reflect.ValueOf(v))
			want.FieldByName(goName(k)).Set(p)
		}
		if !reflect.DeepEqual(reflect.ValueOf(api).Elem().Interface(), want.Interface()) {
			t.Errorf("%s: client got %+v, want %+v", name, reflect.ValueOf(api).Elem(), want)
		}
	}
}
