package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ecruhq/ecru/identity"
)

// Bounds of issuers' keys.
const (
	minKeysAge   = 10 * time.Second // an unknown key is not looked for more often
	maxKeysAge   = time.Hour        // then they are read again
	retryKeys    = time.Minute      // between tries to do so
	keepKeys     = 24 * time.Hour   // while the issuer does not answer
	maxIssuers   = 1000
	maxDocument  = 256 << 10
	maxKeys      = 100 // of an issuer
	maxRedirects = 3
	minRSA       = 2048
)

// A KeySet is the public keys of an issuer (RFC 7517). The zero KeySet has none.
type KeySet struct {
	keys []jose.JSONWebKey
}

// ParseKeySet reads a JWK set. Keys that cannot verify a web identity token are
// passed over, as RFC 7517, section 5 asks; without any other it is an error.
func ParseKeySet(document []byte) (KeySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(document) > maxDocument {
		return KeySet{}, fmt.Errorf("a JWK set has at most %d bytes", maxDocument)
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return KeySet{}, fmt.Errorf("no JWK set: %w", err)
	}
	var out KeySet
	for _, raw := range set.Keys {
		var secret struct{ D, K json.RawMessage } // go-jose would check it, at any cost
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &secret) == nil && secret.D == nil && secret.K == nil && k.UnmarshalJSON(raw) == nil && verifies(&k) {
			out.keys = append(out.keys, k)
		}
	}
	if len(out.keys) == 0 || len(out.keys) > maxKeys {
		return KeySet{}, fmt.Errorf("the JWK set has %d keys that can be used; there must be 1 to %d", len(out.keys), maxKeys)
	}
	return out, nil
}

// verifies says whether a key is for signatures, of a kind and size that is used.
func verifies(k *jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA // go-jose bounds it from above
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// verify checks a signature. The error is errNoKey if it was made with a key
// that is not in the set.
func (s KeySet) verify(jws *jose.JSONWebSignature) error {
	h := jws.Signatures[0].Protected
	err := errNoKey
	for _, k := range s.keys {
		if h.KeyID != "" {
			if k.KeyID != h.KeyID {
				continue
			}
			err = errForged
		}
		if k.Algorithm != "" && k.Algorithm != h.Algorithm {
			continue
		}
		if _, bad := jws.Verify(k.Key); bad == nil {
			return nil
		}
	}
	return err
}

// An issuer is an issuer's URL and how its certificates are recognised. Accounts
// that trust one URL by other thumbprints do not share what was read.
type issuer struct {
	url         string
	thumbprints string // with commas
}

func issuerOf(p identity.OIDCProvider) issuer {
	return issuer{"https://" + p.URL, strings.Join(slices.Sorted(slices.Values(p.Thumbprints)), ",")}
}

// issuerKeys is what is remembered of an issuer.
type issuerKeys struct {
	keys  KeySet
	read  time.Time // when the keys were
	tried time.Time // when reading ended last, whether it went well or not
	err   error     // of that try
	used  time.Time
}

// keys returns the keys of an issuer as they were at most age ago. If it does
// not answer, older ones come with the error, or none.
func (w *WebIdentities) keys(ctx context.Context, iss issuer, age time.Duration) (KeySet, error) {
	if k, due := w.remembered(iss, age); !due {
		return k.keys, k.err
	}
	done := w.reads.DoChan(iss.thumbprints+" "+iss.url, func() (any, error) {
		if k, due := w.remembered(iss, age); !due {
			return k, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.opt.Timeout) // others wait too
		defer cancel()
		keys, err := w.read(ctx, iss)
		if err != nil {
			w.opt.Log.Warn("the keys of an identity provider could not be read", "issuer", iss.url, "err", err)
		}
		return w.remember(iss, keys, err), nil
	})
	select {
	case <-ctx.Done():
		return KeySet{}, ctx.Err()
	case r := <-done:
		k := r.Val.(issuerKeys)
		return k.keys, k.err
	}
}

// remembered returns what is remembered of an issuer, and whether it is due to
// be read for a caller who wants it not to be older than age.
func (w *WebIdentities) remembered(iss issuer, age time.Duration) (issuerKeys, bool) {
	now := w.opt.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.known[iss]
	if k == nil {
		return issuerKeys{}, true
	}
	k.used = now
	if now.Sub(k.read) >= keepKeys {
		k.keys = KeySet{}
	}
	pause := minKeysAge
	if age == maxKeysAge && k.err != nil && len(k.keys.keys) > 0 {
		pause = retryKeys
	}
	return *k, now.Sub(k.read) >= age && now.Sub(k.tried) >= pause
}

// remember keeps the result of reading an issuer's keys, and returns what is
// known now. The issuer that was not used for longest gives way.
func (w *WebIdentities) remember(iss issuer, keys KeySet, err error) issuerKeys {
	now := w.opt.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.known[iss]
	if k == nil {
		if len(w.known) >= maxIssuers {
			var oldest issuer
			for name, other := range w.known {
				if o := w.known[oldest]; o == nil || other.used.Before(o.used) {
					oldest = name
				}
			}
			delete(w.known, oldest)
		}
		k = &issuerKeys{used: now}
		w.known[iss] = k
	}
	k.tried, k.err = now, err
	if err == nil {
		k.keys, k.read = keys, now
	}
	return *k
}

// read asks an issuer for its keys (OpenID Connect Discovery 1.0, section 4).
func (w *WebIdentities) read(ctx context.Context, iss issuer) (KeySet, error) {
	b, err := w.get(ctx, strings.TrimSuffix(iss.url, "/")+"/.well-known/openid-configuration", iss)
	if err != nil {
		return KeySet{}, err
	}
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(b, &discovery); err != nil {
		return KeySet{}, fmt.Errorf("no discovery document: %w", err)
	}
	if discovery.Issuer != iss.url {
		return KeySet{}, fmt.Errorf("the discovery document is that of %q", discovery.Issuer)
	}
	if b, err = w.get(ctx, discovery.Keys, iss); err != nil {
		return KeySet{}, err
	}
	return ParseKeySet(b)
}

// get reads a document of an issuer, over https from one host.
func (w *WebIdentities) get(ctx context.Context, target string, iss issuer) ([]byte, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%q is not an https URL", target)
	}
	conf := &tls.Config{RootCAs: w.opt.RootCAs, Time: w.opt.Now}
	if iss.thumbprints != "" {
		conf.InsecureSkipVerify = true // VerifyConnection does it
		conf.VerifyConnection = w.pinned(u.Hostname(), strings.Split(iss.thumbprints, ","))
	}
	client := http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, DisableKeepAlives: true, MaxResponseHeaderBytes: maxDocument},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" || r.URL.Host != u.Host || len(via) > maxRedirects {
				return fmt.Errorf("redirected to %s", r.URL.Redacted())
			}
			return nil
		},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", target, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("%s is larger than %d bytes", target, maxDocument)
	}
	return b, err
}

// pinned returns a check of a connection: by the usual roots, and where those do
// not know the host's certificate by the thumbprints (IAM user guide, "Obtain
// the thumbprint for an OpenID Connect identity provider"): one of them must be
// the certificate's, or that of one that signed it, over others perhaps. A
// certificate that is only sent along proves nothing.
func (w *WebIdentities) pinned(host string, thumbprints []string) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		opts := x509.VerifyOptions{DNSName: host, CurrentTime: w.opt.Now(), Roots: w.opt.RootCAs, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := s.PeerCertificates[0].Verify(opts); err == nil {
			return nil
		}
		opts.Roots = x509.NewCertPool()
		for _, c := range s.PeerCertificates {
			if sum := sha1.Sum(c.Raw); slices.Contains(thumbprints, hex.EncodeToString(sum[:])) {
				opts.Roots.AddCert(c)
			}
		}
		_, err := s.PeerCertificates[0].Verify(opts)
		if errors.As(err, new(x509.UnknownAuthorityError)) {
			return errThumbprint
		}
		return err
	}
}
