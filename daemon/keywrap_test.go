package daemon

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/identity"
)

// A keyServer speaks as much of Vault's transit engine and of KMS as wrapping
// needs, with a key of its own.
type keyServer struct {
	*httptest.Server
	aead cipher.AEAD
	off  bool
}

func newKeyServer(t *testing.T) *keyServer {
	block, err := aes.NewCipher([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	k := new(keyServer)
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{mount}/{verb}/{key}", k.vault)
	mux.HandleFunc("POST /", k.kms)
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k.off {
			http.Error(w, `{"errors":["sealed"]}`, http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *keyServer) vault(w http.ResponseWriter, r *http.Request) {
	var in struct{ Plaintext, Ciphertext string }
	if r.Header.Get("X-Vault-Token") != "s.token" || json.NewDecoder(r.Body).Decode(&in) != nil {
		http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		return
	}
	bound := []byte(r.PathValue("mount") + "/" + r.PathValue("key"))
	data := map[string]string{}
	if r.PathValue("verb") == "encrypt" {
		plain, _ := base64.StdEncoding.DecodeString(in.Plaintext)
		data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(k.aead.Seal(nil, nil, plain, bound))
	} else {
		sealed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))
		plain, err := k.aead.Open(nil, nil, sealed, bound)
		if err != nil {
			http.Error(w, `{"errors":["invalid ciphertext"]}`, http.StatusBadRequest)
			return
		}
		data["plaintext"] = base64.StdEncoding.EncodeToString(plain)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func (k *keyServer) kms(w http.ResponseWriter, r *http.Request) {
	var in struct {
		KeyID                     string `json:"KeyId"`
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.EncryptionContext["purpose"] != "ecru master key" {
		http.Error(w, `{"__type":"ValidationException"}`, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	out := map[string]any{"KeyId": in.KeyID}
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Encrypt") {
		out["CiphertextBlob"] = k.aead.Seal(nil, nil, in.Plaintext, []byte(in.KeyID))
	} else {
		plain, err := k.aead.Open(nil, nil, in.CiphertextBlob, []byte(in.KeyID))
		if err != nil {
			http.Error(w, `{"__type":"InvalidCiphertextException"}`, http.StatusBadRequest)
			return
		}
		out["Plaintext"] = plain
	}
	_ = json.NewEncoder(w).Encode(out)
}

func TestWrappedMasterKey(t *testing.T) {
	k := newKeyServer(t)
	for name, value := range map[string]string{"VAULT_ADDR": k.URL, "VAULT_TOKEN": "s.token", "VAULT_CACERT": "", "VAULT_NAMESPACE": "", "AWS_ENDPOINT_URL_KMS": k.URL,
		"AWS_ACCESS_KEY_ID": "AKIAKMS", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_MAX_ATTEMPTS": "1"} {
		t.Setenv(name, value)
	}
	for _, service := range []string{"vault:ecru", "vault:secrets/ecru", "kms:alias/ecru"} {
		t.Run(service, func(t *testing.T) {
			c := Config{Data: t.TempDir(), Region: "us-east-1", MasterKeyWrap: service}
			first, err := c.keyring(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(c.Data, keyFile)
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), wrappedLine) {
				t.Fatalf("the file: %s, %v", text, err)
			}
			again, err := c.keyring(t.Context(), false)
			if err != nil || string(again.Derive("x")) != string(first.Derive("x")) {
				t.Errorf("opened again: %v", err)
			}
			// A fresh key in front, bare, is wrapped at the next start.
			if err := os.WriteFile(path, append([]byte(identity.NewMasterKey()+"\n"), text...), 0o600); err != nil {
				t.Fatal(err)
			}
			rotated, err := c.keyring(t.Context(), true)
			if err != nil || string(rotated.Derive("x")) == string(first.Derive("x")) {
				t.Fatalf("rotated: %v", err)
			}
			if text, err = os.ReadFile(path); err != nil || strings.Count(string(text), wrappedLine) != 2 {
				t.Errorf("the file: %s, %v", text, err)
			}
			for what, broken := range map[string]Config{
				"no service":      {Data: c.Data, Region: c.Region},
				"another key":     {Data: c.Data, Region: c.Region, MasterKeyWrap: service + "2"},
				"no such service": {Data: c.Data, Region: c.Region, MasterKeyWrap: "gcp:x"},
			} {
				if _, err := broken.keyring(t.Context(), true); err == nil {
					t.Errorf("%s: opened", what)
				}
			}
			k.off = true
			defer func() { k.off = false }()
			if _, err := c.keyring(t.Context(), true); err == nil {
				t.Error("opened without the service")
			}
			if now, _ := os.ReadFile(path); string(now) != string(text) {
				t.Error("a failure changed the file")
			}
		})
	}
	t.Setenv("VAULT_TOKEN", "s.other")
	c := Config{Data: t.TempDir(), MasterKeyWrap: "vault:ecru"}
	if _, err := c.keyring(t.Context(), true); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a wrong token: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.Data, keyFile)); err == nil {
		t.Error("a key that could not be wrapped was written")
	}
}

// TestLostMasterKey: a database without its key is not given another.
func TestLostMasterKey(t *testing.T) {
	r := start(t)
	r.end(t)
	if err := os.Remove(filepath.Join(r.cfg.Data, keyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.cfg.keyring(t.Context(), true); err == nil || !strings.Contains(err.Error(), "bring it back") {
		t.Errorf("%v", err)
	}
}
