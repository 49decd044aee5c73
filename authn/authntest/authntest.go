// Package authntest has an OpenID Connect issuer for tests. It listens on a
// free port of loopback and contacts nobody.
package authntest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An Issuer signs tokens and publishes its keys. Its methods are safe for
// concurrent use, but fail the test that it was made for.
type Issuer struct {
	URL string // https://127.0.0.1:port
	CA  *x509.Certificate

	tb   testing.TB
	srv  *httptest.Server
	leaf []byte

	mu       sync.Mutex
	chain    tls.Certificate
	made     int // keys
	current  string
	keys     map[string]key
	handlers map[string]http.HandlerFunc
	off      bool
	requests map[string]int
}

type key struct {
	alg       jose.SignatureAlgorithm
	private   crypto.Signer
	withdrawn bool
}

// New starts an issuer, until the test ends, whose key is for alg: RS256 or
// ES256. Its certificate, for 127.0.0.1 but not for localhost, is signed by an
// authority of its own and sent with the authority's; others are sent after them.
func New(tb testing.TB, alg jose.SignatureAlgorithm, others ...*x509.Certificate) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb, keys: map[string]key{}, handlers: map[string]http.HandlerFunc{}, requests: map[string]int{}}
	i.chain = i.certify()
	i.leaf = i.chain.Certificate[0]
	for _, c := range others {
		i.chain.Certificate = append(i.chain.Certificate, c.Raw)
	}
	i.srv = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	i.srv.TLS = &tls.Config{GetConfigForClient: i.config}
	i.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.srv.StartTLS()
	tb.Cleanup(i.srv.Close)
	i.URL = i.srv.URL
	i.Rotate(alg)
	return i
}

func (i *Issuer) check(err error) {
	i.tb.Helper()
	if err != nil {
		i.tb.Fatal(err)
	}
}

// certify makes the authority and the server's certificate, both good for a
// hundred years, so that the clock of a test can stand anywhere.
func (i *Issuer) certify() tls.Certificate {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.check(err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.check(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	i.check(err)
	ca := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "authority " + serial.String()},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caRaw, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	i.check(err)
	i.CA, err = x509.ParseCertificate(caRaw)
	i.check(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	leafRaw, err := x509.CreateCertificate(rand.Reader, leaf, i.CA, leafKey.Public(), caKey)
	i.check(err)
	return tls.Certificate{Certificate: [][]byte{leafRaw, caRaw}, PrivateKey: leafKey}
}

// config presents the chain as it is now.
func (i *Issuer) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return &tls.Config{Certificates: []tls.Certificate{i.chain}}, nil
}

// Roots returns a pool with the issuer's authority alone.
func (i *Issuer) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.CA)
	return pool
}

// CAPEM returns the certificate of the issuer's authority as a file has it.
func (i *Issuer) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.CA.Raw})
}

// LeaveAuthorityOut lets the server send its own certificate only from now on.
func (i *Issuer) LeaveAuthorityOut() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.chain.Certificate = i.chain.Certificate[:1:1]
}

// Thumbprints returns the SHA-1 of the server's certificate and of its authority.
func (i *Issuer) Thumbprints() (leaf, ca string) {
	l, c := sha1.Sum(i.leaf), sha1.Sum(i.CA.Raw)
	return hex.EncodeToString(l[:]), hex.EncodeToString(c[:])
}

// Rotate makes a new key and signs with it from now on. Older ones stay
// published until they are withdrawn. It returns the ID of the key.
func (i *Issuer) Rotate(alg jose.SignatureAlgorithm) string {
	i.tb.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case jose.RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		i.tb.Fatalf("no keys for %s", alg)
	}
	i.check(err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	i.current = "key-" + strconv.Itoa(i.made)
	i.keys[i.current] = key{alg: alg, private: private}
	return i.current
}

// Withdraw ends the publication of a key.
func (i *Issuer) Withdraw(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	k := i.keys[kid]
	k.withdrawn = true
	i.keys[kid] = k
}

// Current returns the ID of the key that signs, and its public part.
func (i *Issuer) Current() (string, crypto.PublicKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current, i.keys[i.current].private.Public()
}

// KeySet returns the JWK set as it is published now.
func (i *Issuer) KeySet() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for kid, k := range i.keys {
		if !k.withdrawn {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: kid, Algorithm: string(k.alg), Use: "sig"})
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		i.tb.Error(err)
	}
	return b
}

// Claims returns the claims of a token that is issued at a time, for an hour.
func (i *Issuer) Claims(subject, audience string, at time.Time) map[string]any {
	return map[string]any{"iss": i.URL, "sub": subject, "aud": audience, "iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(time.Hour).Unix()}
}

// Token signs claims with the current key.
func (i *Issuer) Token(claims map[string]any) string {
	i.tb.Helper()
	kid, _ := i.Current()
	return i.TokenOf(kid, claims)
}

// TokenOf signs claims with a key, published or not.
func (i *Issuer) TokenOf(kid string, claims map[string]any) string {
	i.tb.Helper()
	i.mu.Lock()
	k := i.keys[kid]
	i.mu.Unlock()
	return Sign(i.tb, k.alg, jose.JSONWebKey{Key: k.private, KeyID: kid}, claims)
}

// Anonymous is TokenOf without the key's ID in the token.
func (i *Issuer) Anonymous(kid string, claims map[string]any) string {
	i.tb.Helper()
	i.mu.Lock()
	k := i.keys[kid]
	i.mu.Unlock()
	return Sign(i.tb, k.alg, k.private, claims)
}

// Sign makes a token with any key and algorithm that go-jose knows; a
// jose.JSONWebKey puts its ID into the header.
func Sign(tb testing.TB, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	tb.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		tb.Fatal(err)
	}
	payload := new(bytes.Buffer)
	if err := json.NewEncoder(payload).Encode(claims); err != nil {
		tb.Fatal(err)
	}
	jws, err := s.Sign(payload.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// SetOff makes the issuer break every connection off, or answer again.
func (i *Issuer) SetOff(off bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.off = off
}

// Handle lets h answer at a path, or the issuer itself again if h is nil.
func (i *Issuer) Handle(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handlers[path] = h
}

// The paths that an issuer answers at.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/keys"
)

// Requests returns how often a path was asked for, whether it was off or not.
func (i *Issuer) Requests(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[path]
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests[r.URL.Path]++
	off, h := i.off, i.handlers[r.URL.Path]
	i.mu.Unlock()
	switch {
	case off:
		panic(http.ErrAbortHandler)
	case h != nil:
		h(w, r)
	case r.URL.Path == DiscoveryPath:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + KeysPath,
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"}})
	case r.URL.Path == KeysPath:
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Write(i.KeySet())
	default:
		http.NotFound(w, r)
	}
}
