package replication

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/test/harness"
)

// An authority signs certificates into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign writes NAME.crt and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for ext, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(a.path(name+ext), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// TestMutualTLS: a destination that wants certificates takes images from the
// region that has one, and from nobody else.
func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	a.sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.sign("virginia", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	w := &world{t: t, regions: map[string]*region{}}
	here, there := w.add(virginia, harness.Binary(t)), w.add(ireland, harness.Binary(t))
	there.opt.Args = []string{"--region", ireland, "--tls-cert", a.path("server.crt"), "--tls-key", a.path("server.key"), "--replication-client-ca", a.path("ca.crt"),
		"--replication-region", virginia + "=http://127.0.0.1:1 key=" + here.key}
	w.start(ireland)
	w.stopAtEnd()
	str := must[string](t)
	known := ireland + "=" + there.server.URL + " ca=" + a.path("ca.crt")
	start := func(option string) {
		t.Helper()
		if here.server != nil {
			if err := here.server.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		here.opt.Args = []string{"--region", virginia, "--replication-region", known + option}
		w.start(virginia)
	}
	start("")
	w.create(virginia, "app")
	w.configure(virginia, map[string][]string{"": {ireland}})
	str(w.registry(virginia).PushImage(t.Context(), "app", "v1", content(100), content(10_000)))
	w.eventually(func(context.Context) string {
		if out := w.ecru(virginia, "replication", "status").Must(t); !strings.Contains(out, "does not accept the credentials") {
			return out
		}
		return ""
	})
	start(" cert=" + a.path("virginia.crt") + " cert-key=" + a.path("virginia.key"))
	if s := w.replicated(virginia, "app", tag("v1")); s[ireland] != types.ReplicationStatusComplete {
		t.Errorf("with a certificate: %v", s)
	}
}
