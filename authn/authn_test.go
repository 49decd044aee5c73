package authn_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecruhq/ecru/authn"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

const (
	account = "123456789012"
	keyID   = "AKIDEXAMPLE"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	region  = "us-east-1"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// setup returns an authenticator whose clock stands at *at.
func setup(tb testing.TB, at *time.Time, proxies ...netip.Prefix) (*authn.Authenticator, *identity.Identity) {
	tb.Helper()
	db, err := meta.Open(context.Background(), meta.Options{URL: filepath.Join(tb.TempDir(), "meta.db")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	keys, err := identity.ParseKeyring(identity.NewMasterKey())
	if err != nil {
		tb.Fatal(err)
	}
	clock := func() time.Time { return *at }
	id := identity.New(db, keys, region, clock)
	if _, _, err := id.EnsureRoot(context.Background(), account, keyID, secret); err != nil {
		tb.Fatal(err)
	}
	return authn.New(id, authn.Options{Region: region, Now: clock, TrustedProxies: proxies}), id
}

// request builds a request as net/http's server would have read it.
func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "ecr.test:5000"
	return r
}

func hash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// sign signs r with the SDK's own signer.
func sign(tb testing.TB, r *http.Request, body string, at time.Time) {
	tb.Helper()
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r, hash(body), "ecr", region, at)
	if err != nil {
		tb.Fatal(err)
	}
}

func code(err error) ecr.Code {
	var e *ecr.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return -1
}

func TestSigned(t *testing.T) {
	a, _ := setup(t, &now)
	for _, target := range []string{"/", "/?b=2&a=1&a=0", "/?x=a%20b%2Fc&%C3%A9=%C3%A9&empty=&flag", "/?plus=a%2Bb", "/a%20b/c"} {
		r := request("POST", target, `{"x":1}`)
		r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.ListImages")
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Spaces", "  a   b  ")
		sign(t, r, `{"x":1}`, now)
		c, err := a.API(r, []byte(`{"x":1}`), "ecr", "id-1")
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if !c.Root || c.Account != account || c.AccessKeyID != keyID || c.RequestID != "id-1" {
			t.Errorf("%s: caller %+v", target, c)
		}
	}
}

func TestPresigned(t *testing.T) {
	at := now
	a, _ := setup(t, &at)
	presign := func() *http.Request {
		r := request("GET", "/?Action=x&X-Amz-Expires=60", "")
		u, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r, hash(""), "ecr", region, now)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		return request("GET", parsed.RequestURI(), "")
	}
	if _, err := a.API(presign(), nil, "ecr", ""); err != nil {
		t.Errorf("a presigned request: %v", err)
	}
	at = now.Add(61 * time.Second)
	if _, err := a.API(presign(), nil, "ecr", ""); code(err) != ecr.InvalidSignature {
		t.Errorf("after its time: %v", err)
	}
	at = now
	r := presign()
	r = request("GET", strings.Replace(r.RequestURI, "X-Amz-Expires=60", "X-Amz-Expires=6000", 1), "")
	if _, err := a.API(r, nil, "ecr", ""); code(err) != ecr.InvalidSignature {
		t.Errorf("with its time changed: %v", err)
	}
}

// Whatever is changed after signing is found out.
func TestTampered(t *testing.T) {
	a, _ := setup(t, &now)
	tests := map[string]func(r *http.Request, body *string){
		"body":          func(_ *http.Request, body *string) { *body = `{"x":2}` },
		"method":        func(r *http.Request, _ *string) { r.Method = "PUT" },
		"path":          func(r *http.Request, _ *string) { r.RequestURI = "/other?a=1" },
		"query":         func(r *http.Request, _ *string) { r.URL.RawQuery = "a=2" },
		"further query": func(r *http.Request, _ *string) { r.URL.RawQuery += "&b=2" },
		"host":          func(r *http.Request, _ *string) { r.Host = "other.test" },
		"target": func(r *http.Request, _ *string) {
			r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.DeleteRepository")
		},
		"second target":   func(r *http.Request, _ *string) { r.Header.Add("X-Amz-Target", "x") },
		"date":            func(r *http.Request, _ *string) { r.Header.Set("X-Amz-Date", "20261124T120001Z") },
		"date, other day": func(r *http.Request, _ *string) { r.Header.Set("X-Amz-Date", "20261123T235959Z") },
		"no date":         func(r *http.Request, _ *string) { r.Header.Del("X-Amz-Date") },
		"content hash":    func(r *http.Request, _ *string) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") },
		"session token":   func(r *http.Request, _ *string) { r.Header.Set("X-Amz-Security-Token", "x") },
		"key": func(r *http.Request, _ *string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), keyID, "AKIDOTHER", 1))
		},
		"scope's region": func(r *http.Request, _ *string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), region, "eu-west-1", 1))
		},
		"scope's service": func(r *http.Request, _ *string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/ecr/", "/s3/", 1))
		},
		"signature": func(r *http.Request, _ *string) {
			h := r.Header.Get("Authorization")
			last := byte('0')
			if h[len(h)-1] == '0' {
				last = '1'
			}
			r.Header.Set("Authorization", h[:len(h)-1]+string(last))
		},
		"signed headers": func(r *http.Request, _ *string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";x-amz-target", "", 1))
		},
		"host unsigned": func(r *http.Request, _ *string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		},
		"other scheme": func(r *http.Request, _ *string) { r.Header.Set("Authorization", "Basic QVdTOng=") },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			body := `{"x":1}`
			r := request("POST", "/?a=1", body)
			r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.ListImages")
			sign(t, r, body, now)
			change(r, &body)
			if c, err := a.API(r, []byte(body), "ecr", ""); code(err) != ecr.InvalidSignature && code(err) != ecr.BadCredentials || c.Principal != nil {
				t.Errorf("got %v as %v, want it refused", err, c.Principal)
			}
		})
	}
}

func TestSkew(t *testing.T) {
	for offset, want := range map[time.Duration]ecr.Code{
		4 * time.Minute: -1, -4 * time.Minute: -1, 6 * time.Minute: ecr.InvalidSignature, -6 * time.Minute: ecr.InvalidSignature,
	} {
		at := now
		a, _ := setup(t, &at)
		r := request("POST", "/", "{}")
		sign(t, r, "{}", now.Add(offset))
		if _, err := a.API(r, []byte("{}"), "ecr", ""); code(err) != want {
			t.Errorf("signed %v from now: %v", offset, err)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	a, _ := setup(t, &now)
	if _, err := a.API(request("POST", "/", "{}"), []byte("{}"), "ecr", ""); code(err) != ecr.NotAuthenticated {
		t.Errorf("API: %v", err)
	}
	if _, err := a.Registry(request("GET", "/v2/", ""), ""); code(err) != ecr.NotAuthenticated {
		t.Errorf("registry: %v", err)
	}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestRegistry(t *testing.T) {
	at := now
	a, id := setup(t, &at)
	token, expires, err := id.GetAuthorizationToken(t.Context(), ecr.Caller{Principal: identity.Root(account), AccessKeyID: keyID})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, header string
		want         ecr.Code
	}{
		{"a token", basic("AWS", token), -1},
		{"the scheme in lower case", strings.Replace(basic("AWS", token), "Basic", "basic", 1), -1},
		{"another user", basic("aws", token), ecr.BadCredentials},
		{"no colon", "Basic " + base64.StdEncoding.EncodeToString([]byte("AWS"+token)), ecr.BadCredentials},
		{"no base64", "Basic ???", ecr.BadCredentials},
		{"bearer", "Bearer " + token, ecr.BadCredentials},
		{"a long header", basic("AWS", strings.Repeat("x", 10_000)), ecr.BadCredentials},
		{"the access key itself", basic("AWS", secret), ecr.BadCredentials},
	}
	for _, tt := range tests {
		r := request("GET", "/v2/", "")
		r.Header.Set("Authorization", tt.header)
		if _, err := a.Registry(r, ""); code(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	at = expires
	r := request("GET", "/v2/", "")
	r.Header.Set("Authorization", basic("AWS", token))
	if _, err := a.Registry(r, ""); code(err) != ecr.ExpiredCredentials {
		t.Errorf("after 12 hours: %v", err)
	}
}

func TestTrustedProxies(t *testing.T) {
	a, id := setup(t, &now, netip.MustParsePrefix("10.0.0.0/8"))
	token, _, err := id.GetAuthorizationToken(t.Context(), ecr.Caller{Principal: identity.Root(account), AccessKeyID: keyID})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "203.0.113.9", "192.0.2.1"}, // not a proxy: what it says does not count
		{"10.0.0.1:1", "203.0.113.9", "203.0.113.9"},
		{"10.0.0.1:1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"},
		{"10.0.0.1:1", "junk", "10.0.0.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1", "203.0.113.9", "203.0.113.9"},
	}
	for _, tt := range tests {
		r := request("GET", "/v2/", "")
		r.RemoteAddr = tt.remote
		r.Header.Set("Authorization", basic("AWS", token))
		r.Header.Set("X-Forwarded-For", tt.forwarded)
		c, err := a.Registry(r, "")
		if err != nil || c.SourceIP.String() != tt.want {
			t.Errorf("%s for %q: %v, %v, want %s", tt.remote, tt.forwarded, c.SourceIP, err, tt.want)
		}
	}
}

// No header makes a caller, or a panic.
func FuzzAPI(f *testing.F) {
	r := request("POST", "/?a=1", "{}")
	sign(f, r, "{}", now)
	f.Add(r.Header.Get("Authorization"), r.Header.Get("X-Amz-Date"), "a=1", "/")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A/20261124/us-east-1/ecr/aws4_request&X-Amz-Date=20261124T120000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature="+hash(""), "/%2e%2e/")
	a, _ := setup(f, &now)
	f.Fuzz(func(t *testing.T, header, date, query, path string) {
		r := &http.Request{Method: "POST", Host: "other.test", RequestURI: path + "?" + query, Header: http.Header{},
			URL: &url.URL{Path: path, RawQuery: query}, Body: http.NoBody}
		r.Header.Set("X-Amz-Date", date)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		if c, err := a.API(r, []byte("{}"), "ecr", ""); err == nil || c.Principal != nil {
			t.Errorf("%q made a caller", header)
		}
	})
}

func FuzzRegistry(f *testing.F) {
	a, _ := setup(f, &now)
	f.Add(basic("AWS", "token"))
	f.Fuzz(func(t *testing.T, header string) {
		r := request("GET", "/v2/", "")
		r.Header["Authorization"] = []string{header}
		if c, err := a.Registry(r, ""); err == nil || c.Principal != nil {
			t.Errorf("%q made a caller", header)
		}
	})
}

func BenchmarkRegistry(b *testing.B) {
	a, id := setup(b, &now)
	token, _, err := id.GetAuthorizationToken(b.Context(), ecr.Caller{Principal: identity.Root(account), AccessKeyID: keyID})
	if err != nil {
		b.Fatal(err)
	}
	r := request("GET", "/v2/", "")
	r.Header.Set("Authorization", basic("AWS", token))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Registry(r, "id"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSigV4(b *testing.B) {
	a, _ := setup(b, &now)
	body := bytes.Repeat([]byte("x"), 300)
	r := request("POST", "/", string(body))
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.ListImages")
	sign(b, r, string(body), now)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.API(r, body, "ecr", "id"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestUserAgent: what a client calls itself is fit to be kept.
func TestUserAgent(t *testing.T) {
	at := now
	a, _ := setup(t, &at)
	for agent, want := range map[string]string{
		"aws-cli/2": "aws-cli/2", "docker\xff": "docker?", strings.Repeat("é", 200): strings.Repeat("é", 128), "x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", 127) + "?",
	} {
		r := request(http.MethodGet, "/v2/", "")
		r.Header.Set("User-Agent", agent)
		if got := a.Anonymous(r, "id").UserAgent; got != want {
			t.Errorf("%q: %q", agent, got)
		}
	}
}
