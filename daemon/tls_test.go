package daemon

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func leaf(t *testing.T, r *reloader) *x509.Certificate {
	t.Helper()
	c, err := r.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSelfMadeAuthority(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	c := Config{Data: t.TempDir(), Region: "us-east-1", Account: "123456789012", Listen: "127.0.0.1:5000", TLSSelfSigned: true}
	r, err := c.certificate(clock, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(c.Data, CAFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	first := leaf(t, r)
	for _, name := range []string{"localhost", "127.0.0.1", "123456789012.dkr.ecr.us-east-1.localhost"} {
		if _, err := first.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range []string{"ca.key", "server.key"} {
		if info, err := os.Stat(filepath.Join(c.Data, "tls", file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	again, err := c.certificate(clock, slog.New(slog.DiscardHandler))
	if err != nil || !leaf(t, again).Equal(first) {
		t.Errorf("a restart made another certificate (%v)", err)
	}
	c.ExternalURL = "https://ecr.example.com"
	if again, err = c.certificate(clock, slog.New(slog.DiscardHandler)); err != nil || leaf(t, again).VerifyHostname("ecr.example.com") != nil {
		t.Errorf("a new name is not in the certificate: %v", err)
	}
	now = now.Add(certLife - certRenew/2)
	if err := r.reload(); err != nil || leaf(t, r).Equal(first) {
		t.Errorf("the certificate was not renewed before its end (%v)", err)
	}
	if _, err := leaf(t, r).Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: now}); err != nil {
		t.Errorf("the renewed certificate: %v", err)
	}
}

// TestCertificateFilesThatChange are read again; half of a change is not used.
func TestCertificateFilesThatChange(t *testing.T) {
	now := time.Now()
	make := func() (dir string) {
		c := Config{Data: t.TempDir(), Region: "us-east-1", Account: "123456789012", TLSSelfSigned: true}
		if _, err := c.certificate(time.Now, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(c.Data, "tls")
	}
	a, b := make(), make()
	c := Config{TLSCert: filepath.Join(a, "server.crt"), TLSKey: filepath.Join(a, "server.key")}
	r, err := c.certificate(func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := leaf(t, r)
	replace := func(name string) {
		text, err := os.ReadFile(filepath.Join(b, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(a, name), text, 0o600)
		}
		if err == nil {
			err = os.Chtimes(filepath.Join(a, name), now, now.Add(time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace("server.crt")
	now = now.Add(recheck)
	if !leaf(t, r).Equal(first) {
		t.Error("a certificate is served without its key")
	}
	replace("server.key")
	now = now.Add(recheck)
	if leaf(t, r).Equal(first) {
		t.Error("the change was not read")
	}
	if err := os.Remove(c.TLSCert); err != nil {
		t.Fatal(err)
	}
	if err := r.reload(); err == nil {
		t.Error("a reload without a file must say so")
	}
	leaf(t, r) // and goes on with what it has
}
