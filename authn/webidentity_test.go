package authn_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
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
		{"expired", map[string]any{"exp": now.Unix()}, ecr.ExpiredCredentials, fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), now.Unix())},
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

func TestWebIdentityRotation(t *testing.T) {
	at := now
	i := authntest.New(t, jose.RS256)
	w, p := web(&at, i), provider(i)
	old, _ := i.Current()
	oldToken := i.Token(i.Claims(subject, audience, now.Add(2*time.Hour-time.Minute)))
	at = now.Add(2 * time.Hour)
	expect(t, "the first key", w, oldToken, p, accepted)
	i.Rotate(jose.ES256)
	at = at.Add(10 * time.Second)
	expect(t, "the new key", w, good(i, at), p, accepted)
	i.Withdraw(old)
	expect(t, "a key that is remembered", w, oldToken, p, accepted)
	if n := i.Requests(authntest.KeysPath); n != 2 {
		t.Errorf("the keys were read %d times, want 2", n)
	}
	i.Rotate(jose.ES256) // nobody asks for it
	at = at.Add(time.Hour - time.Second)
	expect(t, "a withdrawn key", w, i.TokenOf(old, i.Claims(subject, audience, at)), p, accepted)
	at = at.Add(time.Second)
	expect(t, "a withdrawn key after an hour", w, i.TokenOf(old, i.Claims(subject, audience, at)), p, ecr.InvalidIdentityToken)
	expect(t, "the newest key", w, good(i, at), p, accepted)
}

// TestWebIdentityWithoutKeyID: a token need not say which key signed it.
func TestWebIdentityWithoutKeyID(t *testing.T) {
	at := now
	i, stranger := authntest.New(t, jose.ES256), authntest.New(t, jose.ES256)
	i.Rotate(jose.RS256)
	w, p, claims := web(&at, i), provider(i), i.Claims(subject, audience, now)
	expect(t, "any key", w, i.Anonymous("key-1", claims), p, accepted)
	expect(t, "none of the keys", w, stranger.Anonymous("key-1", claims), p, ecr.InvalidIdentityToken)
	i.Rotate(jose.ES256)
	at = at.Add(10 * time.Second)
	expect(t, "a new key", w, i.Anonymous("key-3", claims), p, accepted)
}

func TestWebIdentityStorm(t *testing.T) {
	at := now
	i, stranger := authntest.New(t, jose.ES256), authntest.New(t, jose.ES256)
	w, p := web(&at, i), provider(i)
	stranger.Rotate(jose.ES256)
	token := good(i, now)
	unknown := stranger.Token(i.Claims(subject, audience, now))
	for round := 1; round <= 3; round++ {
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				if n%2 == 0 {
					expect(t, "known", w, token, p, accepted)
				} else {
					expect(t, "unknown", w, unknown, p, ecr.InvalidIdentityToken)
				}
			})
		}
		wg.Wait()
		if n := i.Requests(authntest.KeysPath); n != round {
			t.Errorf("the keys were read %d times after round %d", n, round)
		}
		at = at.Add(10 * time.Second)
	}
}

func TestWebIdentityOff(t *testing.T) {
	at := now
	i := authntest.New(t, jose.ES256)
	w, p := web(&at, i), provider(i)
	i.SetOff(true)
	_, err := w.Verify(t.Context(), good(i, now), p)
	if code(err) != ecr.IdentityProviderUnreachable || !strings.HasPrefix(message(err), "Couldn't retrieve verification key from your identity provider") {
		t.Errorf("off: %v", err)
	}
	i.SetOff(false)
	expect(t, "at once", w, good(i, now), p, ecr.IdentityProviderUnreachable)
	if n := i.Requests(authntest.DiscoveryPath); n != 1 {
		t.Errorf("asked %d times", n)
	}
	at = at.Add(10 * time.Second)
	expect(t, "on", w, good(i, at), p, accepted)

	i.SetOff(true)
	first, _ := i.Current()
	i.Rotate(jose.ES256)
	for _, age := range []time.Duration{time.Minute, time.Hour, 24*time.Hour - 11*time.Second} {
		at = now.Add(10*time.Second + age)
		expect(t, age.String(), w, i.TokenOf(first, i.Claims(subject, audience, at)), p, accepted)
		expect(t, "unknown after "+age.String(), w, good(i, at), p, ecr.IdentityProviderUnreachable)
	}
	asked := i.Requests(authntest.DiscoveryPath)
	at = at.Add(10 * time.Second)
	expect(t, "remembered", w, i.TokenOf(first, i.Claims(subject, audience, at)), p, accepted)
	if n := i.Requests(authntest.DiscoveryPath); n != asked {
		t.Error("an issuer that is off is asked for known keys every ten seconds")
	}
	at = now.Add(10*time.Second + 24*time.Hour)
	expect(t, "a day later", w, i.TokenOf(first, i.Claims(subject, audience, at)), p, ecr.IdentityProviderUnreachable)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := web(&at, i).Verify(ctx, good(i, at), p); err == nil {
		t.Error("verified for a caller who has gone")
	}
}

func TestWebIdentityStatic(t *testing.T) {
	at := now
	i, stranger := authntest.New(t, jose.RS256), authntest.New(t, jose.RS256)
	keys, err := authn.ParseKeySet(i.KeySet())
	if err != nil {
		t.Fatal(err)
	}
	w := authn.NewWebIdentities(authn.WebIdentityOptions{Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler), StaticKeys: map[string]authn.KeySet{i.URL: keys}})
	expect(t, "known", w, good(i, now), provider(i), accepted)
	expect(t, "with a thumbprint", w, good(i, now), provider(i, strings.Repeat("0", 40)), accepted)
	expect(t, "forged", w, stranger.Token(i.Claims(subject, audience, now)), provider(i), ecr.InvalidIdentityToken)
	i.Rotate(jose.RS256)
	expect(t, "unknown", w, good(i, now), provider(i), ecr.InvalidIdentityToken)
	if n := i.Requests(authntest.DiscoveryPath) + i.Requests(authntest.KeysPath); n != 0 {
		t.Errorf("contacted %d times", n)
	}
}

func TestParseKeySet(t *testing.T) {
	i := authntest.New(t, jose.ES256)
	usable := string(bytes.TrimSuffix(bytes.TrimPrefix(i.KeySet(), []byte(`{"keys":[`)), []byte("]}")))
	for name, tt := range map[string]struct {
		document string
		ok       bool
	}{
		"one key":                {`{"keys":[` + usable + `]}`, true},
		"keys of unknown kinds":  {`{"keys":[{"kty":"new"},{"kty":"OKP","crv":"Ed448","x":"AA"},1,` + usable + `]}`, true},
		"no key":                 {`{"keys":[]}`, false},
		"a secret":               {`{"keys":[{"kty":"oct","k":"c2VjcmV0LW9mLXRoaXJ0eS10d28tYnl0ZXMtYXQtbGVhc3Q"}]}`, false},
		"a private key":          {`{"keys":[` + strings.Replace(usable, "{", `{"d":"AQ",`, 1) + `]}`, false},
		"a key for encryption":   {`{"keys":[` + strings.Replace(usable, `"sig"`, `"enc"`, 1) + `]}`, false},
		"a small RSA key":        {`{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("w", 171) + `"}]}`, false},
		"a monstrous RSA key":    {`{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("w", 100_000) + `"}]}`, false},
		"too many keys":          {`{"keys":[` + strings.Repeat(usable+",", 100) + usable + `]}`, false},
		"a document of no bound": {`{"keys":[` + usable + `]}` + strings.Repeat(" ", 256<<10), false},
		"something else":         {`<html>`, false},
	} {
		if _, err := authn.ParseKeySet([]byte(tt.document)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWebIdentityCertificates(t *testing.T) {
	at := now
	stranger := authntest.New(t, jose.ES256)
	i := authntest.New(t, jose.ES256, stranger.CA) // sends along what did not sign it
	leaf, ca := i.Thumbprints()
	_, strange := stranger.Thumbprints()
	nobody := strings.Repeat("0", 40)
	tests := []struct {
		name  string
		roots []*authntest.Issuer
		p     identity.OIDCProvider
		want  ecr.Code
	}{
		{"a private authority that is trusted", []*authntest.Issuer{i}, provider(i), accepted},
		{"a private authority that is not", []*authntest.Issuer{stranger}, provider(i), ecr.IdentityProviderUnreachable},
		{"the thumbprint of the authority", nil, provider(i, nobody, ca), accepted},
		{"the thumbprint of the certificate", nil, provider(i, leaf), accepted},
		{"another thumbprint", nil, provider(i, nobody), ecr.InvalidIdentityToken},
		{"another thumbprint for a trusted authority", []*authntest.Issuer{i}, provider(i, nobody), ecr.InvalidIdentityToken},
		{"the thumbprint of a certificate that signed nothing here", nil, provider(i, strange), ecr.InvalidIdentityToken},
	}
	for _, tt := range tests {
		expect(t, tt.name, web(&at, tt.roots...), good(i, now), tt.p, tt.want)
	}
	// Who trusts other certificates does not profit from what was read already.
	w := web(&at)
	expect(t, "right", w, good(i, now), provider(i, ca), accepted)
	expect(t, "wrong", w, good(i, now), provider(i, nobody), ecr.InvalidIdentityToken)
	expect(t, "none", w, good(i, now), provider(i), ecr.IdentityProviderUnreachable)
}

// TestWebIdentityHost: a thumbprint does not stand for the name of the host.
func TestWebIdentityHost(t *testing.T) {
	at := now
	i := authntest.New(t, jose.ES256)
	leaf, ca := i.Thumbprints()
	named := strings.Replace(i.URL, "127.0.0.1", "localhost", 1)
	i.Handle(authntest.DiscoveryPath, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, named, named+authntest.KeysPath)
	})
	claims := i.Claims(subject, audience, now)
	claims["iss"] = named
	for _, thumbprint := range []string{leaf, ca} {
		p := provider(i, thumbprint)
		p.URL = strings.TrimPrefix(named, "https://")
		_, err := web(&at, i).Verify(t.Context(), i.Token(claims), p)
		if code(err) != ecr.IdentityProviderUnreachable || !errors.As(err, new(x509.HostnameError)) {
			t.Errorf("%v, want another host's certificate refused", err)
		}
	}
}

// TestWebIdentityRootLeftOut: servers do not send their root as a rule.
func TestWebIdentityRootLeftOut(t *testing.T) {
	at := now
	i := authntest.New(t, jose.ES256)
	i.LeaveAuthorityOut()
	sum := sha1.Sum(i.CA.Raw)
	p := provider(i, hex.EncodeToString(sum[:]))
	expect(t, "trusted", web(&at, i), good(i, now), p, accepted)
	expect(t, "not trusted", web(&at), good(i, now), p, ecr.InvalidIdentityToken)
}

func TestWebIdentityDocuments(t *testing.T) {
	discovery := func(format string, args ...any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, format, args...) }
	}
	redirect := func(target string) http.HandlerFunc { return http.RedirectHandler(target, http.StatusFound).ServeHTTP }
	at := now
	i, stranger := authntest.New(t, jose.ES256), authntest.New(t, jose.ES256)
	for name, tt := range map[string]struct {
		path string
		h    http.HandlerFunc
		want ecr.Code
	}{
		"keys elsewhere":            {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":%q}`, i.URL, stranger.URL+"/moved"), accepted},
		"redirected on the host":    {authntest.KeysPath, redirect("/moved"), accepted},
		"redirected elsewhere":      {authntest.KeysPath, redirect(stranger.URL + "/moved"), ecr.IdentityProviderUnreachable},
		"redirected to http":        {authntest.KeysPath, redirect(strings.Replace(i.URL, "https", "http", 1) + "/moved"), ecr.IdentityProviderUnreachable},
		"redirected in a circle":    {authntest.KeysPath, redirect(authntest.KeysPath), ecr.IdentityProviderUnreachable},
		"of another issuer":         {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":%q}`, i.URL+"/", i.URL+authntest.KeysPath), ecr.IdentityProviderUnreachable},
		"keys over http":            {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":%q}`, i.URL, "http://"+stranger.URL[8:]+"/moved"), ecr.IdentityProviderUnreachable},
		"keys in a file":            {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":"file:///etc/passwd"}`, i.URL), ecr.IdentityProviderUnreachable},
		"no keys":                   {authntest.DiscoveryPath, discovery(`{"issuer":%q}`, i.URL), ecr.IdentityProviderUnreachable},
		"no JSON":                   {authntest.DiscoveryPath, discovery("<html>"), ecr.IdentityProviderUnreachable},
		"a document without an end": {authntest.KeysPath, discovery("%s", strings.Repeat(" ", 300<<10)), ecr.IdentityProviderUnreachable},
		"missing":                   {authntest.DiscoveryPath, http.NotFound, ecr.IdentityProviderUnreachable},
	} {
		moved := func(w http.ResponseWriter, r *http.Request) { w.Write(i.KeySet()) }
		i.Handle("/moved", moved)
		stranger.Handle("/moved", moved)
		i.Handle(tt.path, tt.h)
		expect(t, name, web(&at, i, stranger), good(i, now), provider(i), tt.want)
		i.Handle(tt.path, nil)
	}
}

// TestWebIdentityBound fills the memory of issuers.
func TestWebIdentityBound(t *testing.T) {
	at := now
	i := authntest.New(t, jose.ES256)
	w := web(&at, i)
	expect(t, "the first", w, good(i, now), provider(i), accepted)
	i.SetOff(true)
	claims := i.Claims(subject, audience, now)
	for n := range 1000 {
		at = at.Add(time.Second)
		claims["iss"] = fmt.Sprintf("https://127.0.0.1:1/%d", n) // nobody listens
		expect(t, "another", w, i.Token(claims), identity.OIDCProvider{URL: claims["iss"].(string)[8:]}, ecr.IdentityProviderUnreachable)
	}
	i.SetOff(false)
	asked := i.Requests(authntest.KeysPath)
	expect(t, "the first again", w, good(i, at), provider(i), accepted)
	if i.Requests(authntest.KeysPath) != asked+1 {
		t.Error("more than 1000 issuers are remembered")
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
