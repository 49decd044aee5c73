package authn_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ecruhq/ecru/authn"
	"github.com/ecruhq/ecru/authn/authntest"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

const (
	audience = "sts.amazonaws.com"
	subject  = "system:serviceaccount:production:api-service"
)

// web returns WebIdentities whose clock stands at *at and that trust the
// authorities of the issuers.
func web(at *time.Time, issuers ...*authntest.Issuer) *authn.WebIdentities {
	roots := x509.NewCertPool()
	for _, i := range issuers {
		roots.AddCert(i.CA)
	}
	return authn.NewWebIdentities(authn.WebIdentityOptions{Now: func() time.Time { return *at }, Log: slog.New(slog.DiscardHandler), RootCAs: roots})
}

func provider(i *authntest.Issuer, thumbprints ...string) identity.OIDCProvider {
	return identity.OIDCProvider{URL: strings.TrimPrefix(i.URL, "https://"), ClientIDs: []string{"other", audience}, Thumbprints: thumbprints}
}

// good is a token that nothing is wrong with.
func good(i *authntest.Issuer, at time.Time) string { return i.Token(i.Claims(subject, audience, at)) }

// message returns what the caller is told.
func message(err error) string {
	var e *ecr.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return ""
}

// expect verifies a token and wants a code, or none.
func expect(t *testing.T, what string, w *authn.WebIdentities, token string, p identity.OIDCProvider, want ecr.Code) {
	t.Helper()
	_, err := w.Verify(t.Context(), token, p)
	if want == ecr.Internal && err == nil {
		return
	}
	if err == nil || code(err) != want {
		t.Errorf("%s: %v, want code %d", what, err, want)
	}
}

const accepted = ecr.Internal // of expect

func TestWebIdentity(t *testing.T) {
	tests := []struct {
		name   string
		alg    jose.SignatureAlgorithm
		claims map[string]any // over those of Claims
		want   identity.WebIdentity
	}{
		{"RS256", jose.RS256, nil,
			identity.WebIdentity{Audience: audience, Claims: map[string][]string{"aud": {audience}, "oaud": {audience}}}},
		{"ES256, several audiences and all the condition keys", jose.ES256,
			map[string]any{"aud": []string{"x", audience}, "amr": []string{"pwd", "otp"}, "email": "a@example.com", "repository": "not a condition key"},
			identity.WebIdentity{Audience: audience, Claims: map[string][]string{"aud": {"x", audience}, "oaud": {"x", audience}, "amr": {"pwd", "otp"}, "email": {"a@example.com"}}}},
		{"the authorized party is the audience", jose.ES256, map[string]any{"azp": "other", "aud": "x"},
			identity.WebIdentity{Audience: "other", Claims: map[string][]string{"aud": {"other"}, "oaud": {"x"}}}},
		{"claims of odd forms that no condition needs", jose.ES256, map[string]any{"amr": map[string]any{}, "email": 1, "SUB": "x", "kubernetes.io": map[string]any{"namespace": "production"}},
			identity.WebIdentity{Audience: audience, Claims: map[string][]string{"aud": {audience}, "oaud": {audience}}}},
		{"a minute of skew", jose.ES256, map[string]any{"nbf": now.Unix() + 60, "iat": now.Unix() + 60, "exp": now.Unix() + 1},
			identity.WebIdentity{Audience: audience, Claims: map[string][]string{"aud": {audience}, "oaud": {audience}}}},
		{"neither nbf nor iat", jose.ES256, map[string]any{"nbf": nil, "iat": nil},
			identity.WebIdentity{Audience: audience, Claims: map[string][]string{"aud": {audience}, "oaud": {audience}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := now
			i := authntest.New(t, tt.alg)
			claims := i.Claims(subject, audience, now)
			maps.Copy(claims, tt.claims)
			token := i.Token(claims)
			if iss, err := authn.Issuer(token); iss != i.URL || err != nil {
				t.Errorf("issuer %q, %v", iss, err)
			}
			tt.want.Subject, tt.want.Issuer, tt.want.Claims["sub"] = subject, i.URL, []string{subject}
			got, err := web(&at, i).Verify(t.Context(), token, provider(i))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v, %v\nwant %v", got, err, tt.want)
			}
		})
	}
}

func TestWebIdentityClaims(t *testing.T) {
	at := now
	i := authntest.New(t, jose.ES256)
	w := web(&at, i)
	tests := []struct {
		name   string
		claims map[string]any
		want   ecr.Code
		text   string
	}{
		{"for another audience", map[string]any{"aud": "x"}, ecr.InvalidIdentityToken, "Incorrect token audience"},
		{"for no audience", map[string]any{"aud": nil}, ecr.InvalidIdentityToken, "Incorrect token audience"},
		{"for no audience but a party", map[string]any{"aud": []string{}, "azp": audience}, ecr.InvalidIdentityToken, "Incorrect token audience"},
		{"for another party", map[string]any{"azp": "x"}, ecr.InvalidIdentityToken, "Incorrect token audience"},
		{"of another issuer", map[string]any{"iss": "https://example.com"}, ecr.InvalidIdentityToken, "No OpenIDConnect provider found in your account for https://example.com"},
		{"of the issuer with a slash", map[string]any{"iss": i.URL + "/"}, ecr.InvalidIdentityToken, "No OpenIDConnect provider found"},
		{"of the issuer without a scheme", map[string]any{"iss": strings.TrimPrefix(i.URL, "https://")}, ecr.InvalidIdentityToken, "No OpenIDConnect provider found"},
		{"of no issuer", map[string]any{"iss": nil}, ecr.InvalidIdentityToken, "not a valid JWT"},
		{"expired", map[string]any{"exp": now.Unix()}, ecr.ExpiredIdentityToken, fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), now.Unix())},
		{"without an expiry", map[string]any{"exp": nil}, ecr.InvalidIdentityToken, "(exp)"},
		{"with a fraction in its expiry", map[string]any{"exp": float64(now.Unix()) + 60.5}, ecr.InvalidIdentityToken, "not a valid JWT"},
		{"with an expiry that is text", map[string]any{"exp": "1900000000"}, ecr.InvalidIdentityToken, "not a valid JWT"},
		{"not yet valid", map[string]any{"nbf": now.Unix() + 61}, ecr.InvalidIdentityToken, "(nbf)"},
		{"issued in the future", map[string]any{"iat": now.Unix() + 61}, ecr.InvalidIdentityToken, "(iat)"},
		{"of nobody", map[string]any{"sub": nil}, ecr.InvalidIdentityToken, "(sub)"},
		{"of a subject in another case", map[string]any{"sub": nil, "Sub": subject}, ecr.InvalidIdentityToken, "(sub)"},
		{"of a long subject", map[string]any{"sub": strings.Repeat("s", 256)}, ecr.InvalidIdentityToken, "(sub)"},
		{"too long", map[string]any{"x": strings.Repeat("x", 16<<10)}, ecr.InvalidIdentityToken, "not a valid JWT"},
	}
	for _, tt := range tests {
		claims := i.Claims(subject, audience, now)
		maps.Copy(claims, tt.claims)
		_, err := w.Verify(t.Context(), i.Token(claims), provider(i))
		if code(err) != tt.want || !strings.Contains(message(err), tt.text) {
			t.Errorf("%s: %v, want code %d, %s", tt.name, err, tt.want, tt.text)
		}
	}
	expect(t, "after all that", w, good(i, now), provider(i), accepted)
}

// forge puts other parts into a token; nil keeps one.
func forge(token string, header, payload map[string]any) string {
	parts := strings.Split(token, ".")
	for n, part := range []map[string]any{header, payload} {
		if part != nil {
			b, _ := json.Marshal(part)
			parts[n] = base64.RawURLEncoding.EncodeToString(b)
		}
	}
	return strings.Join(parts, ".")
}

func TestWebIdentitySignature(t *testing.T) {
	at := now
	i, stranger := authntest.New(t, jose.RS256), authntest.New(t, jose.RS256)
	kid, public := i.Current()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	claims := i.Claims(subject, audience, now)
	token := i.Token(claims)
	theirs := stranger.TokenOf("key-1", claims) // the same key ID
	for name, tt := range map[string]struct{ token, text string }{
		"tampered":                      {forge(token, nil, i.Claims("admin", audience, now)), "Token signature invalid"},
		"signed by another":             {theirs, "Token signature invalid"},
		"of an unknown key":             {stranger.TokenOf(stranger.Rotate(jose.RS256), claims), "Couldn't retrieve verification key"},
		"with a key of its own":         {authntest.Sign(t, jose.HS256, []byte("secret-of-thirty-two-bytes-at-least"), claims), "not a valid JWT"},
		"none":                          {forge(token, map[string]any{"alg": "none", "kid": kid}, nil), "not a valid JWT"},
		"none, no signature":            {strings.Join(strings.Split(forge(token, map[string]any{"alg": "none"}, nil), ".")[:2], ".") + ".", "not a valid JWT"},
		"HS256 with the public key":     {authntest.Sign(t, jose.HS256, jose.JSONWebKey{Key: asPEM, KeyID: kid}, claims), "not a valid JWT"},
		"HS256 with the public key DER": {authntest.Sign(t, jose.HS256, jose.JSONWebKey{Key: der, KeyID: kid}, claims), "not a valid JWT"},
		"another algorithm of the key":  {forge(token, map[string]any{"alg": "PS256", "kid": kid}, nil), "Token signature invalid"},
		"an algorithm of no such key":   {forge(token, map[string]any{"alg": "ES256", "kid": kid}, nil), "Token signature invalid"},
		"no signature":                  {token[:strings.LastIndexByte(token, '.')+1], "Token signature invalid"},
		"a JWS as JSON":                 {`{"payload":"` + strings.Split(token, ".")[1] + `","signatures":[]}`, "not a valid JWT"},
		"an access token":               {"gho_16C7e42F292c6912E7710c838347Ae178B4a", "not a valid JWT"},
		"nothing":                       {"", "not a valid JWT"},
	} {
		_, err := web(&at, i).Verify(t.Context(), tt.token, provider(i))
		if code(err) != ecr.InvalidIdentityToken || !strings.Contains(message(err), tt.text) {
			t.Errorf("%s: %v, want %s", name, err, tt.text)
		}
	}
}

func FuzzIssuer(f *testing.F) {
	i := authntest.New(f, jose.ES256)
	token := good(i, now)
	f.Add(token)
	f.Add(forge(token, map[string]any{"alg": "none"}, nil))
	f.Add(forge(token, map[string]any{"alg": "RS256", "kid": 1, "crit": []string{"b64"}, "b64": false}, nil))
	f.Add(forge(token, nil, map[string]any{"iss": []any{nil}, "aud": map[string]any{}, "exp": 1e300}))
	f.Add("e30.e30.")
	f.Add("..")
	f.Add(`{"payload":"","signatures":[]}`)
	at := now
	w := authn.NewWebIdentities(authn.WebIdentityOptions{Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler), StaticKeys: map[string]authn.KeySet{i.URL: {}}})
	f.Fuzz(func(t *testing.T, token string) {
		iss, err := authn.Issuer(token)
		if err != nil && code(err) != ecr.InvalidIdentityToken || err == nil && (iss == "" || len(iss) > 255) {
			t.Errorf("%q, %v", iss, err)
		}
		if _, err := w.Verify(t.Context(), token, provider(i)); err == nil {
			t.Error("verified without a key")
		}
	})
}
