package authn_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
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
		at = at.Add(10*time.Second - 1)
		expect(t, "unknown", w, unknown, p, ecr.InvalidIdentityToken)
		if n := i.Requests(authntest.KeysPath); n != round {
			t.Errorf("the keys were read again before ten seconds")
		}
		at = at.Add(1)
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
		"a monstrous RSA key":    {`{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("w", 1400) + `"}]}`, false},
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
		{"another thumbprint for a trusted authority", []*authntest.Issuer{i}, provider(i, nobody), accepted},
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
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(i.KeySet()) }))
	defer plain.Close()
	for name, tt := range map[string]struct {
		path string
		h    http.HandlerFunc
		want ecr.Code
	}{
		"keys elsewhere":         {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":%q}`, i.URL, stranger.URL+"/moved"), accepted},
		"redirected on the host": {authntest.KeysPath, redirect("/moved"), accepted},
		"redirected elsewhere":   {authntest.KeysPath, redirect(stranger.URL + "/moved"), ecr.IdentityProviderUnreachable},
		"redirected to http":     {authntest.KeysPath, redirect(strings.Replace(i.URL, "https", "http", 1) + "/moved"), ecr.IdentityProviderUnreachable},
		"redirected in a circle": {authntest.KeysPath, redirect(authntest.KeysPath), ecr.IdentityProviderUnreachable},
		"of another issuer":      {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":%q}`, i.URL+"/", i.URL+authntest.KeysPath), ecr.IdentityProviderUnreachable},
		"keys over http":         {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":%q}`, i.URL, plain.URL), ecr.IdentityProviderUnreachable},
		"keys in a file":         {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":"file:///etc/passwd"}`, i.URL), ecr.IdentityProviderUnreachable},
		"no keys":                {authntest.DiscoveryPath, discovery(`{"issuer":%q}`, i.URL), ecr.IdentityProviderUnreachable},
		"no JSON":                {authntest.DiscoveryPath, discovery("<html>"), ecr.IdentityProviderUnreachable},
		"a large document":       {authntest.DiscoveryPath, discovery(`{"issuer":%q,"jwks_uri":%q}%s`, i.URL, i.URL+authntest.KeysPath, strings.Repeat(" ", 300<<10)), ecr.IdentityProviderUnreachable},
		"missing":                {authntest.DiscoveryPath, http.NotFound, ecr.IdentityProviderUnreachable},
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
