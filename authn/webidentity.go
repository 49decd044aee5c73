package authn

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // exact names, none of them twice
	"golang.org/x/sync/singleflight"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// WebIdentityOptions say how the tokens of OpenID Connect issuers are verified.
type WebIdentityOptions struct {
	Now func() time.Time
	Log *slog.Logger
	// StaticKeys are the keys of issuers, by their URLs, that are known
	// beforehand. Such an issuer is never contacted.
	StaticKeys map[string]KeySet
	RootCAs    *x509.CertPool // for issuers without thumbprints; nil means the system's
	Timeout    time.Duration  // of reading an issuer's keys; 0 means 5 seconds
}

// WebIdentities verify tokens of OpenID Connect issuers and remember the
// issuers' keys. Their methods are safe for concurrent use.
type WebIdentities struct {
	opt   WebIdentityOptions
	reads singleflight.Group

	mu    sync.Mutex
	known map[issuer]*issuerKeys
}

// NewWebIdentities returns WebIdentities that know no keys but the static ones.
func NewWebIdentities(o WebIdentityOptions) *WebIdentities {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	return &WebIdentities{opt: o, known: map[issuer]*issuerKeys{}}
}

// Bounds of a web identity token.
const (
	maxWebToken  = 16 << 10
	maxIssuer    = 255         // as a provider's URL (IAM API, CreateOpenIDConnectProvider)
	maxSubject   = 255         // OpenID Connect Core 1.0, section 2
	webTokenSkew = time.Minute // allowed for nbf and iat
)

// webAlgorithms are those whose keys an issuer can publish: none and HMAC are
// not among them.
var webAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// STS's words (STS API, AssumeRoleWithWebIdentity).
const noVerificationKey = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"

var (
	errNotJWT     = ecr.Errorf(ecr.InvalidIdentityToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	errNoKey      = ecr.Errorf(ecr.InvalidIdentityToken, noVerificationKey)
	errForged     = ecr.Errorf(ecr.InvalidIdentityToken, "Token signature invalid")
	errAudience   = ecr.Errorf(ecr.InvalidIdentityToken, "Incorrect token audience")
	errThumbprint = ecr.Errorf(ecr.InvalidIdentityToken, "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint")
)

// webClaims are the claims of a token that mean something here (OpenID Connect
// Core 1.0, section 2; RFC 7519).
type webClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  texts    `json:"aud"`
	Party     string   `json:"azp"`
	Expires   *seconds `json:"exp"`
	NotBefore *seconds `json:"nbf"`
	Issued    *seconds `json:"iat"`
	Methods   texts    `json:"amr"`
	Email     any      `json:"email"`
}

// texts is a list of texts, or one text. What is neither reads as an empty one.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, (*[]string)(t)) != nil {
		*t = nil
	}
	if json.Unmarshal(b, &one) == nil && one != "" {
		*t = texts{one}
	}
	return nil
}

// seconds is a time since 1970 as an integer, the one form that STS takes.
type seconds int64

func (s *seconds) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(b), 10, 64)
	*s = seconds(n)
	return err
}

// parseWebToken reads a signed compact JWT. Nothing in it is to be believed
// before its signature is checked.
func parseWebToken(token string) (*jose.JSONWebSignature, *webClaims, error) {
	if len(token) > maxWebToken {
		return nil, nil, errNotJWT
	}
	jws, err := jose.ParseSignedCompact(token, webAlgorithms)
	if err != nil {
		return nil, nil, errNotJWT
	}
	c := new(webClaims)
	err = json.Unmarshal(jws.UnsafePayloadWithoutVerification(), c)
	if err != nil || c.Issuer == "" || len(c.Issuer) > maxIssuer {
		return nil, nil, errNotJWT
	}
	return jws, c, nil
}

// Issuer returns who a token says that its issuer is, for looking up the
// provider to Verify it with; that this is true is not checked. The error is
// InvalidIdentityToken for anything but a JWT with a signature that an issuer's
// public key can verify.
func Issuer(token string) (string, error) {
	_, c, err := parseWebToken(token)
	if err != nil {
		return "", err
	}
	return c.Issuer, nil
}

// Verify checks a token against the record of its issuer: by whom it is signed,
// for whom it is, and that it is valid now (STS API, AssumeRoleWithWebIdentity;
// OpenID Connect Core 1.0, section 3.1.3.7). It may contact the issuer, so p
// must be a provider that an account has registered. Errors:
// InvalidIdentityToken, ExpiredIdentityToken, IdentityProviderUnreachable.
func (w *WebIdentities) Verify(ctx context.Context, token string, p identity.OIDCProvider) (identity.WebIdentity, error) {
	jws, c, err := parseWebToken(token)
	if err != nil {
		return identity.WebIdentity{}, err
	}
	if c.Issuer != "https://"+p.URL {
		return identity.WebIdentity{}, ecr.Errorf(ecr.InvalidIdentityToken, "No OpenIDConnect provider found in your account for %s", c.Issuer)
	}
	if err := w.verifySignature(ctx, jws, p); err != nil {
		return identity.WebIdentity{}, err
	}
	if err := c.check(w.opt.Now()); err != nil {
		return identity.WebIdentity{}, err
	}
	audience := c.audience()
	n := slices.IndexFunc(audience, func(a string) bool { return slices.Contains(p.ClientIDs, a) })
	if n < 0 {
		return identity.WebIdentity{}, errAudience
	}
	return identity.WebIdentity{Subject: c.Subject, Audience: audience[n], Issuer: c.Issuer, Claims: c.conditions()}, nil
}

// check decides on what does not depend on the provider.
func (c *webClaims) check(now time.Time) error {
	switch {
	case c.Expires == nil:
		return ecr.Errorf(ecr.InvalidIdentityToken, "The ID Token has no expiration date/time (exp)")
	case now.Unix() >= int64(*c.Expires):
		return ecr.Errorf(ecr.ExpiredIdentityToken, "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), *c.Expires)
	case c.NotBefore.after(now):
		return ecr.Errorf(ecr.InvalidIdentityToken, "The ID Token is not valid yet (nbf)")
	case c.Issued.after(now):
		return ecr.Errorf(ecr.InvalidIdentityToken, "The ID Token was issued in the future (iat)")
	case c.Subject == "" || len(c.Subject) > maxSubject:
		return ecr.Errorf(ecr.InvalidIdentityToken, "The ID Token has no subject (sub) of 1 to %d characters", maxSubject)
	}
	return nil
}

func (s *seconds) after(now time.Time) bool {
	return s != nil && int64(*s) > now.Add(webTokenSkew).Unix()
}

// audience returns for whom a token is. As with STS that is the authorized
// party (azp) of a token which names one beside its audience (IAM User Guide,
// Create an OpenID Connect identity provider).
func (c *webClaims) audience() []string {
	if c.Party != "" && len(c.Audience) > 0 {
		return []string{c.Party}
	}
	return c.Audience
}

// conditions returns the condition keys that tokens of all issuers have (IAM
// User Guide, Available keys for AWS OIDC federation).
func (c *webClaims) conditions() map[string][]string {
	keys := map[string][]string{"sub": {c.Subject}, "aud": c.audience(), "oaud": c.Audience}
	if len(c.Methods) > 0 {
		keys["amr"] = c.Methods
	}
	if email, ok := c.Email.(string); ok && email != "" {
		keys["email"] = []string{email}
	}
	return keys
}

// verifySignature checks a signature by the keys of a provider's issuer. Those
// that are remembered are read again when they do not have the token's key.
func (w *WebIdentities) verifySignature(ctx context.Context, jws *jose.JSONWebSignature, p identity.OIDCProvider) error {
	iss := issuerOf(p)
	if keys, ok := w.opt.StaticKeys[iss.url]; ok {
		return keys.verify(jws)
	}
	var err error
	for _, age := range []time.Duration{maxKeysAge, minKeysAge} {
		keys, unread := w.keys(ctx, iss, age)
		if err = keys.verify(jws); !errors.Is(err, errNoKey) {
			return err
		}
		if unread != nil {
			err = unread
		}
	}
	var said *ecr.Error
	if errors.As(err, &said) {
		return said
	}
	if ctx.Err() != nil {
		return err
	}
	return &ecr.Error{Code: ecr.IdentityProviderUnreachable, Message: noVerificationKey, Err: fmt.Errorf("keys of %s: %w", iss.url, err)}
}
