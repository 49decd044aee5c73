package advisor

import (
	"fmt"
	"regexp"
	"strings"
)

// A Reference names an image as people write it: [HOST/]REPOSITORY:TAG or
// [HOST/]REPOSITORY@DIGEST. With both, the digest counts.
type Reference struct {
	Host       string // as it was written; "" if it was not
	Registry   string // the account, if the host is one of ECR's; "" is the caller's
	Repository string
	Tag        string
	Digest     string
}

var (
	hostOfAccount = regexp.MustCompile(`^([0-9]{12})\.`)
	digestText    = regexp.MustCompile(`^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$`)
)

// ParseReference reads a reference.
func ParseReference(text string) (Reference, error) {
	bad := func(why string) (Reference, error) {
		return Reference{}, fmt.Errorf("%q names no image: %s; want REPOSITORY:TAG or REPOSITORY@DIGEST", text, why)
	}
	var r Reference
	rest, digest, hasDigest := strings.Cut(text, "@")
	if first, after, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		r.Host, rest = first, after
		if m := hostOfAccount.FindStringSubmatch(first); m != nil {
			r.Registry = m[1]
		}
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		rest, r.Tag = rest[:i], rest[i+1:]
		if r.Tag == "" {
			return bad("its tag is empty")
		}
	}
	r.Repository, r.Digest = rest, digest
	switch {
	case r.Repository == "" || strings.ContainsAny(r.Repository, ": \t\r\n"):
		return bad("it has no name of a repository")
	case hasDigest && !digestText.MatchString(digest):
		return bad("its digest is none")
	case r.Tag == "" && r.Digest == "":
		return bad("it has neither a tag nor a digest")
	}
	return r, nil
}

// String is the reference as it was written.
func (r Reference) String() string {
	s := r.name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// At is the reference by digest.
func (r Reference) At(digest string) string { return r.name() + "@" + digest }

func (r Reference) name() string {
	if r.Host != "" {
		return r.Host + "/" + r.Repository
	}
	return r.Repository
}
