// Package oci knows digests, descriptors and manifests (OCI Image
// Specification 1.1, Docker Image Manifest V2 Schema 2).
package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
)

// A Digest is an algorithm and a hash in lower-case hexadecimal, joined by a
// colon (OCI image spec, descriptor.md, "Digests"). Only sha256 and sha512 are
// digests here.
type Digest string

// ErrDigest is the error of every string that is not a Digest.
var ErrDigest = errors.New("not a sha256 or sha512 digest")

// ParseDigest checks the form of s.
func ParseDigest(s string) (Digest, error) {
	alg, enc, ok := strings.Cut(s, ":")
	if !ok || alg == "sha256" && len(enc) != 64 || alg == "sha512" && len(enc) != 128 || alg != "sha256" && alg != "sha512" {
		return "", ErrDigest
	}
	for i := range len(enc) {
		if c := enc[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", ErrDigest
		}
	}
	return Digest(s), nil
}

// Algorithm returns "sha256" or "sha512".
func (d Digest) Algorithm() string {
	alg, _, _ := strings.Cut(string(d), ":")
	return alg
}

// NewHash returns the hash of an algorithm, "sha256" or "sha512". Both can
// save and restore their state (encoding.BinaryMarshaler). It is nil for any
// other algorithm.
func NewHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// Sum returns h's digest; h is of the named algorithm.
func Sum(algorithm string, h hash.Hash) Digest {
	return Digest(algorithm + ":" + hex.EncodeToString(h.Sum(nil)))
}

// Of returns b's digest by the named algorithm, or "" if it is unknown.
func Of(algorithm string, b []byte) Digest {
	h := NewHash(algorithm)
	if h == nil {
		return ""
	}
	h.Write(b)
	return Sum(algorithm, h)
}
