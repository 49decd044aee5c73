package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Lifetimes of the certificates that Ecru makes for itself.
const (
	caLife    = 10 * 365 * 24 * time.Hour
	certLife  = 397 * 24 * time.Hour
	certRenew = 30 * 24 * time.Hour
)

// certificate returns the one to serve TLS with, or nil for plain HTTP.
func (c *Config) certificate(now func() time.Time, log *slog.Logger) (*reloader, error) {
	r := &reloader{cert: c.TLSCert, key: c.TLSKey, now: now, log: log, renew: func() error { return nil }}
	switch {
	case c.TLSSelfSigned:
		dir := filepath.Join(c.Data, "tls")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		self := *c // as it is at the start
		r.renew = func() error { return self.selfSign(dir, now()) }
		r.cert, r.key = filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	case c.TLSCert == "":
		return nil, nil
	}
	return r, r.reload()
}

// recheck is how often the files of a certificate are looked at, at most.
const recheck = 10 * time.Second

// A reloader serves the certificate in two files, and reads them again when
// they have changed. Its methods are safe for concurrent use.
type reloader struct {
	cert, key string
	now       func() time.Time
	log       *slog.Logger
	renew     func() error // makes the files new if it is time

	mu      sync.Mutex
	looked  time.Time
	changed time.Time
	loaded  *tls.Certificate // never nil after the first reload
}

func (r *reloader) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.get, NextProtos: []string{"h2", "http/1.1"}}
}

// reload renews the certificate if it is time and reads it, changed or not.
// With an error the one from before stays.
func (r *reloader) reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.renew(); err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	return r.load()
}

func (r *reloader) load() error {
	r.looked = r.now()
	info, err := os.Stat(r.cert)
	if err != nil {
		return fmt.Errorf("tls-cert: %w", err)
	}
	fresh, err := tls.LoadX509KeyPair(r.cert, r.key)
	if err != nil {
		return fmt.Errorf("tls-cert, tls-key: %w", err)
	}
	r.loaded, r.changed = &fresh, info.ModTime()
	return nil
}

// get implements tls.Config.GetCertificate.
func (r *reloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.looked) >= recheck {
		r.looked = now
		info, err := os.Stat(r.cert)
		if err == nil && !info.ModTime().Equal(r.changed) {
			err = r.load()
		}
		if err != nil { // perhaps half of a change: the other file follows
			r.log.Warn("the changed certificate is not used", "error", err)
		}
	}
	return r.loaded, nil
}

// selfSign makes the authority if there is none, and the server's certificate
// if there is none that lasts.
func (c *Config) selfSign(dir string, now time.Time) error {
	ca, caKey, err := loadCA(dir)
	if errors.Is(err, fs.ErrNotExist) {
		ca, caKey, err = c.makeCA(dir, now)
	}
	if err != nil {
		return err
	}
	if old, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")); err == nil {
		leaf, err := x509.ParseCertificate(old.Certificate[0])
		if err == nil && now.Add(certRenew).Before(leaf.NotAfter) && covers(leaf, c.names()) && leaf.CheckSignatureFrom(ca) == nil {
			return nil
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := template("Ecru", now, certLife)
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, n := range c.names() {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	return writePair(filepath.Join(dir, "server"), der, key)
}

// names are what the server may be called.
func (c *Config) names() []string {
	names := []string{"localhost", "127.0.0.1", "::1", "*.dkr.ecr." + c.Region + ".localhost"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && host != "" && host != "0.0.0.0" && host != "::" {
		names = append(names, host)
	}
	if u, err := url.Parse(c.ExternalURL); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	if c.RegistryHost != "" {
		host := c.host(c.RegistryHost, "*")
		if rest, ok := strings.CutPrefix(host, "*."); !ok || strings.Contains(rest, "*") {
			host = c.host(c.RegistryHost, c.Account) // a wildcard is a whole first label only
		}
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		names = append(names, host)
	}
	return names
}

func covers(leaf *x509.Certificate, names []string) bool {
	for _, n := range names {
		if leaf.VerifyHostname(strings.Replace(n, "*", "any", 1)) != nil {
			return false
		}
	}
	return true
}

func template(name string, now time.Time, life time.Duration) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Ecru"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life), BasicConstraintsValid: true}
}

func (c *Config) makeCA(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := template("Ecru CA of "+c.Region, now, caLife)
	t.IsCA, t.MaxPathLenZero = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	if err := writePair(filepath.Join(dir, "ca"), der, key); err != nil {
		return nil, nil, err
	}
	return loadCA(dir)
}

func writePair(path string, der []byte, key *ecdsa.PrivateKey) error {
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), 0o600); err != nil {
		return err
	}
	return writeFile(path+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func loadCA(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	if _, err := os.Stat(filepath.Join(dir, "ca.crt")); err != nil {
		return nil, nil, err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("%s holds another kind of key", filepath.Join(dir, "ca.key"))
	}
	return cert, key, nil
}
