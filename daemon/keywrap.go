package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// A keyService wraps the master keys in their file with a key that never leaves
// it, so that the data folder alone opens nothing.
type keyService interface {
	wrap(ctx context.Context, plain []byte) (string, error)
	unwrap(ctx context.Context, wrapped string) ([]byte, error)
}

const (
	kmsPrefix   = "kms:"
	vaultPrefix = "vault:"
	// keyServiceLimit is the longest that a key service may take.
	keyServiceLimit = 30 * time.Second
)

// keyService returns the service that master-key-wrap names: nil for none.
func (c *Config) keyService(ctx context.Context) (keyService, error) {
	name := c.MasterKeyWrap
	switch {
	case name == "":
		return nil, nil
	case strings.HasPrefix(name, kmsPrefix) && len(name) > len(kmsPrefix):
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, fmt.Errorf("master-key-wrap: %w", err)
		}
		if cfg.Region == "" {
			cfg.Region = c.Region
		}
		return &kmsKey{kms.NewFromConfig(cfg), strings.TrimPrefix(name, kmsPrefix)}, nil
	case strings.HasPrefix(name, vaultPrefix) && len(name) > len(vaultPrefix):
		return newVaultKey(strings.TrimPrefix(name, vaultPrefix), os.Getenv)
	}
	return nil, fmt.Errorf("master-key-wrap: %q is neither kms:KEY nor vault:KEY", name)
}

// A kmsKey is a key of AWS KMS, found and paid as the AWS SDK is told to.
type kmsKey struct {
	client *kms.Client
	id     string
}

func (k *kmsKey) wrap(ctx context.Context, plain []byte) (string, error) {
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &k.id, Plaintext: plain, EncryptionContext: wrapContext})
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(out.CiphertextBlob), nil
}

func (k *kmsKey) unwrap(ctx context.Context, wrapped string) ([]byte, error) {
	blob, err := base64.StdEncoding.DecodeString(wrapped)
	if err != nil {
		return nil, err
	}
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{KeyId: &k.id, CiphertextBlob: blob, EncryptionContext: wrapContext})
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

// wrapContext is bound to what KMS wraps.
var wrapContext = map[string]string{"purpose": "ecru master key"}

// A vaultKey is a key of Vault's (or OpenBao's) transit engine. Address, token,
// namespace and authority come from the variables that the vault command takes.
type vaultKey struct {
	url       string // …/v1/MOUNT/
	name      string
	token     string
	namespace string
	client    *http.Client
}

func newVaultKey(name string, getenv func(string) string) (*vaultKey, error) {
	mount, key, ok := strings.Cut(name, "/")
	if !ok {
		mount, key = "transit", name
	}
	address, err := url.Parse(getenv("VAULT_ADDR"))
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" {
		return nil, errors.New("master-key-wrap: set VAULT_ADDR to the URL of Vault")
	}
	k := &vaultKey{url: address.JoinPath("v1", mount).String() + "/", name: key, token: getenv("VAULT_TOKEN"), namespace: getenv("VAULT_NAMESPACE"),
		client: &http.Client{Timeout: keyServiceLimit}}
	if k.token == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(filepath.Join(home, ".vault-token"))
		if err != nil {
			return nil, errors.New("master-key-wrap: set VAULT_TOKEN, or log in with vault login")
		}
		k.token = strings.TrimSpace(string(b))
	}
	if file := getenv("VAULT_CACERT"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("VAULT_CACERT: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("VAULT_CACERT: %s has no certificate", file)
		}
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		k.client.Transport = t
	}
	return k, nil
}

// call makes a request of the transit engine's HTTP API.
func (k *vaultKey) call(ctx context.Context, verb, member, value, answer string) (string, error) {
	body, err := json.Marshal(map[string]string{member: value})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url+verb+"/"+url.PathEscape(k.name), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("X-Vault-Token", k.token)
	r.Header.Set("X-Vault-Request", "true")
	if k.namespace != "" {
		r.Header.Set("X-Vault-Namespace", k.namespace)
	}
	res, err := k.client.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var out struct {
		Data   map[string]any
		Errors []string
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&out); err != nil && res.StatusCode == http.StatusOK {
		return "", fmt.Errorf("vault: %w", err)
	}
	text, ok := out.Data[answer].(string)
	if res.StatusCode != http.StatusOK || !ok {
		return "", fmt.Errorf("vault: %s %s", res.Status, strings.Join(out.Errors, "; "))
	}
	return text, nil
}

func (k *vaultKey) wrap(ctx context.Context, plain []byte) (string, error) {
	return k.call(ctx, "encrypt", "plaintext", base64.StdEncoding.EncodeToString(plain), "ciphertext")
}

func (k *vaultKey) unwrap(ctx context.Context, wrapped string) ([]byte, error) {
	text, err := k.call(ctx, "decrypt", "ciphertext", wrapped, "plaintext")
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

// wrapped begins a line of the key file whose key is wrapped.
const wrappedLine = "wrapped:"

// unwrapKeys returns the text of a key file with its keys unwrapped, and the
// text that the file should have: with those wrapped that are not.
func unwrapKeys(ctx context.Context, s keyService, text string) (plain, file string, err error) {
	ctx, cancel := context.WithTimeout(ctx, keyServiceLimit)
	defer cancel()
	var open, sealed []string
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		clear, kept, err := unwrapLine(ctx, s, strings.TrimSpace(line))
		if err != nil {
			return "", "", fmt.Errorf("line %d: %w", n+1, err)
		}
		open, sealed = append(open, clear), append(sealed, kept)
	}
	return strings.Join(open, "\n"), strings.Join(sealed, "\n") + "\n", nil
}

func unwrapLine(ctx context.Context, s keyService, line string) (plain, kept string, err error) {
	if line == "" || strings.HasPrefix(line, "#") {
		return line, line, nil
	}
	if wrapped, ok := strings.CutPrefix(line, wrappedLine); ok {
		if s == nil {
			return "", "", errors.New("the key is wrapped: set master-key-wrap to the service that it was wrapped with")
		}
		key, err := s.unwrap(ctx, wrapped)
		return base64.StdEncoding.EncodeToString(key), line, err
	}
	if s == nil {
		return line, line, nil
	}
	key, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return "", "", errors.New("it is not a master key: want base64")
	}
	wrapped, err := s.wrap(ctx, key)
	return line, wrappedLine + wrapped, err
}
