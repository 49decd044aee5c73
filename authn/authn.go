// Package authn turns the credentials of a request into an ecr.Caller:
// Signature Version 4 for the API, Basic with a sealed token for the registry.
package authn

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
)

// Options say what to trust.
type Options struct {
	Region string
	Now    func() time.Time
	// TrustedProxies are the addresses whose X-Forwarded-For and
	// X-Forwarded-Proto are believed.
	TrustedProxies []netip.Prefix
	// Regions opens the tokens of other regions that replicate; nil: none may.
	Regions *identity.Regions
	// RegionCertificates has other regions show a certificate that the server
	// has verified, besides their token.
	RegionCertificates bool
}

// An Authenticator identifies callers. Its methods are safe for concurrent use.
type Authenticator struct {
	id   *identity.Identity
	opt  Options
	keys signingKeys
}

// New returns an Authenticator over the principals that id knows.
func New(id *identity.Identity, o Options) *Authenticator { return &Authenticator{id: id, opt: o} }

var (
	errNone = ecr.Errorf(ecr.NotAuthenticated, "Not Authorized")
	errBad  = ecr.Errorf(ecr.BadCredentials, "The Authorization header is not Basic with user AWS and a token of GetAuthorizationToken")
)

var errNoCertificate = ecr.Errorf(ecr.BadCredentials, "This server takes replication only over TLS with a client's certificate: give cert and cert-key in the other region's --replication-region")

// Users of Basic: who logs in has a token of GetAuthorizationToken, another
// region that replicates one that it has signed.
const (
	loginUser  = "AWS"
	regionUser = "replication"
)

// maxHeader bounds an Authorization header, and maxAgent what is kept of a
// User-Agent.
const (
	maxHeader = 24 << 10 // a session's password is long
	maxAgent  = 256
)

// Registry identifies the caller of the registry: Basic, the user AWS and a
// token, or another region's. Errors: NotAuthenticated without credentials, BadCredentials,
// ExpiredCredentials.
func (a *Authenticator) Registry(r *http.Request, requestID string) (ecr.Caller, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return ecr.Caller{}, errNone
	}
	user, password, ok := parseBasic(header)
	if ok && user == regionUser && a.opt.Regions != nil {
		return a.region(r, password, requestID)
	}
	if !ok || user != loginUser {
		return ecr.Caller{}, errBad
	}
	p, key, err := a.id.OpenToken(r.Context(), password)
	if err != nil {
		return ecr.Caller{}, err
	}
	c := a.caller(r, requestID)
	c.Principal, c.AccessKeyID = p, key
	return c, nil
}

// region identifies a region that replicates.
func (a *Authenticator) region(r *http.Request, token, requestID string) (ecr.Caller, error) {
	p, region, err := a.opt.Regions.Open(token)
	if err != nil {
		return ecr.Caller{}, err
	}
	if a.opt.RegionCertificates && region != a.opt.Region && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return ecr.Caller{}, errNoCertificate
	}
	c := a.caller(r, requestID)
	c.Principal, c.Replication = p, region
	return c, nil
}

// parseBasic returns user and password.
func parseBasic(header string) (user, password string, ok bool) {
	const scheme = "Basic "
	if len(header) > maxHeader || len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", "", false
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(header[len(scheme):]))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(b), ":")
}

// Anonymous describes who makes a request that needs no credentials.
func (a *Authenticator) Anonymous(r *http.Request, requestID string) ecr.Caller {
	return a.caller(r, requestID)
}

// caller describes where a request comes from.
func (a *Authenticator) caller(r *http.Request, requestID string) ecr.Caller {
	agent := r.UserAgent()
	c := ecr.Caller{RequestID: requestID, UserAgent: strings.ToValidUTF8(agent[:min(len(agent), maxAgent)], "?"), TLS: r.TLS != nil}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return c
	}
	c.SourceIP = ap.Addr().Unmap()
	if len(a.opt.TrustedProxies) > 0 && a.trusted(c.SourceIP) {
		a.forwarded(r, &c)
	}
	return c
}

func (a *Authenticator) trusted(ip netip.Addr) bool {
	for _, p := range a.opt.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// forwarded takes the address before the last trusted proxy: the last one in
// X-Forwarded-For that is not itself a trusted proxy.
func (a *Authenticator) forwarded(r *http.Request, c *ecr.Caller) {
	c.TLS = c.TLS || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		ip, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return
		}
		c.SourceIP = ip.Unmap()
		if !a.trusted(c.SourceIP) {
			return
		}
	}
}

// secret looks up the key that signed.
func (a *Authenticator) secret(ctx context.Context, s *signature, c *ecr.Caller) (string, error) {
	var secret string
	var p *iam.Principal
	var err error
	if s.token != "" {
		secret, p, err = a.id.SessionKey(ctx, s.accessKeyID, s.token)
	} else {
		secret, p, err = a.id.SecretKey(ctx, s.accessKeyID)
	}
	if err != nil {
		return "", err
	}
	c.Principal, c.AccessKeyID, c.SessionToken = p, s.accessKeyID, s.token
	return secret, nil
}
