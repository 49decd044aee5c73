package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// keyBytes is the size of a master key: AES-256.
const keyBytes = 32

// A Keyring holds the master keys from which everything secret is derived. The
// newest seals; all of them open.
type Keyring struct {
	keys []masterKey
}

type masterKey struct {
	id     [4]byte
	secret []byte
}

// NewMasterKey returns a fresh master key in the form that ParseKeyring reads.
func NewMasterKey() string {
	b := make([]byte, keyBytes)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// ParseKeyring reads master keys: 32 bytes each in base64, one a line, the
// newest first. Empty lines and lines that begin with # do not count.
func ParseKeyring(text string) (*Keyring, error) {
	k := new(Keyring)
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(b) != keyBytes {
			return nil, fmt.Errorf("line %d is not a master key: want %d bytes in base64", n+1, keyBytes)
		}
		m := masterKey{secret: b}
		copy(m.id[:], m.derive("key id", len(m.id)))
		k.keys = append(k.keys, m)
	}
	if len(k.keys) == 0 {
		return nil, errors.New("there is no master key")
	}
	return k, nil
}

// String hides the keys from logs.
func (k *Keyring) String() string { return fmt.Sprintf("keyring of %d", len(k.keys)) }

// derive returns n bytes for a purpose (HKDF-SHA256, RFC 5869).
func (m *masterKey) derive(purpose string, n int) []byte {
	b, err := hkdf.Key(sha256.New, m.secret, nil, "ecru "+purpose, n)
	if err != nil {
		panic(err) // n is a constant well under the limit
	}
	return b
}

// Derive returns 32 bytes of the newest key for a purpose.
func (k *Keyring) Derive(purpose string) []byte { return k.keys[0].derive(purpose, 32) }

func (m *masterKey) aead(purpose string) cipher.AEAD {
	block, err := aes.NewCipher(m.derive(purpose, keyBytes))
	if err != nil {
		panic(err) // the key has the right size
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the right block size
	}
	return a
}

// A box seals and opens values of one purpose: AES-256-GCM with a random
// nonce, the key's ID in front.
type box struct {
	ids   [][4]byte
	aeads []cipher.AEAD
}

func (k *Keyring) box(purpose string) *box {
	b := new(box)
	for i := range k.keys {
		b.ids = append(b.ids, k.keys[i].id)
		b.aeads = append(b.aeads, k.keys[i].aead(purpose))
	}
	return b
}

// seal seals plain; bound is what it is good for, and must be given to open it.
func (b *box) seal(plain []byte, bound string) []byte {
	out := append(make([]byte, 0, 4+len(plain)+b.aeads[0].Overhead()), b.ids[0][:]...)
	return b.aeads[0].Seal(out, nil, plain, []byte(bound))
}

var errSealed = errors.New("identity: sealed with another key, for another purpose, or changed")

// open opens what seal made with one of the keys.
func (b *box) open(sealed []byte, bound string) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, errSealed
	}
	for i, id := range b.ids {
		if [4]byte(sealed[:4]) != id {
			continue
		}
		plain, err := b.aeads[i].Open(nil, nil, sealed[4:], []byte(bound))
		if err != nil {
			return nil, errSealed
		}
		return plain, nil
	}
	return nil, errSealed
}

// randomText returns n characters of an alphabet whose length divides 256.
func randomText(n int, alphabet string) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

const (
	idAlphabet     = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)

// A Signer authenticates records of one purpose: HMAC-SHA256, the key's ID in
// front.
type Signer struct {
	ids  [][4]byte
	keys [][]byte
}

// Signer returns the signer of a purpose. The newest key signs, all verify.
func (k *Keyring) Signer(purpose string) *Signer {
	s := new(Signer)
	for i := range k.keys {
		s.ids = append(s.ids, k.keys[i].id)
		s.keys = append(s.keys, k.keys[i].derive(purpose, keyBytes))
	}
	return s
}

// Sign returns the code of parts, in this order and with these bounds.
func (s *Signer) Sign(parts ...[]byte) []byte { return s.sign(0, parts) }

func (s *Signer) sign(key int, parts [][]byte) []byte {
	h := hmac.New(sha256.New, s.keys[key])
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return h.Sum(append([]byte(nil), s.ids[key][:]...))
}

// Verify reports whether code is what Sign returned for parts, with one of the
// keys.
func (s *Signer) Verify(code []byte, parts ...[]byte) bool {
	if len(code) != 4+sha256.Size {
		return false
	}
	for i, id := range s.ids {
		if [4]byte(code) == id {
			return hmac.Equal(code, s.sign(i, parts))
		}
	}
	return false
}
