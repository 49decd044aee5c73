package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// A refusal is the answer of a destination that will not change by asking
// again.
type refusal struct {
	Status  int
	Code    string // of the registry, as in DENIED; ECR's name where it has one
	Message string
	child   bool // it is about an image that the index names
}

func (e *refusal) Error() string { return fmt.Sprintf("%s (HTTP %d): %s", e.Code, e.Status, e.Message) }

// An unreachable is what keeps a destination from answering as it should: the
// network, its server, or credentials that it does not know (yet).
type unreachable struct {
	err  error
	what string // a code, if there is a better one
	one  bool   // it may be about one image alone
}

func (e *unreachable) Error() string { return e.err.Error() }
func (e *unreachable) Unwrap() error { return e.err }

func (e *unreachable) code() string {
	if e.what != "" {
		return e.what
	}
	return "Unreachable"
}

// errGone means that what was to be sent is no longer there.
var errGone = errors.New("the image is gone")

const (
	// answerLimit bounds what is read of an answer's body.
	answerLimit = 64 << 10
	// maxLocation bounds the URL of an upload, which is kept.
	maxLocation = 4 << 10
)

// A remote is a destination as an account's registry sees it.
type remote struct {
	t    *target
	from string // account
	to   ecr.Destination
	now  func() time.Time
}

// An answer is what a destination said.
type answer struct {
	status int
	header http.Header
	body   []byte // its beginning
	url    *url.URL
}

// A body is what a request carries: it can be sent again.
type body struct {
	open   func() (io.ReadCloser, error)
	length int64
}

// payloadBody is a body in memory.
func payloadBody(b []byte) *body {
	return &body{open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }, length: int64(len(b))}
}

// do sends a request and returns its answer, or an unreachable. ref begins with
// /v2/ or is absolute; header holds pairs. Credentials that are refused are
// renewed once, and a token is asked for once if the registry wants one.
func (d *remote) do(ctx context.Context, method, ref string, b *body, header ...string) (*answer, error) {
	refused, challenged := "", false
	for {
		a, password, err := d.once(ctx, method, ref, b, refused, header)
		if err != nil {
			return nil, err
		}
		if c, ok := parseChallenge(a.header); ok && d.t.Plain && a.status == http.StatusUnauthorized && !challenged {
			challenged = true
			if err := d.answerChallenge(ctx, a, c); err != nil {
				return nil, err
			}
			continue
		}
		// ECR's answer to a token that has expired is 403, which HEAD cannot
		// tell from a denial.
		expired := a.status == http.StatusForbidden && (method == http.MethodHead || strings.Contains(string(a.body), "expired"))
		if (a.status == http.StatusUnauthorized || expired) && refused == "" {
			refused = password
			continue
		}
		fail := func() error { return fmt.Errorf("%s %s: %v", method, a.url.Path, a.refusal()) } // no refusal: it may change
		switch {
		case a.status == http.StatusUnauthorized:
			return nil, &unreachable{err: fail(), what: "Unauthorized"}
		case a.status == http.StatusTooManyRequests, a.status >= 502 && a.status <= 504:
			return nil, &unreachable{err: fail()}
		case a.status >= 500, a.status == http.StatusRequestTimeout:
			return nil, &unreachable{err: fail(), one: true}
		}
		d.t.reached()
		return a, nil
	}
}

func (d *remote) once(ctx context.Context, method, ref string, b *body, refused string, header []string) (*answer, string, error) {
	base, host := d.t.base(d.to)
	if !strings.Contains(ref, "://") {
		ref = base + ref
	}
	req, err := http.NewRequestWithContext(ctx, method, ref, nil)
	if err != nil {
		return nil, "", &refusal{Code: "InvalidURL", Message: err.Error()}
	}
	c, err := d.t.credentials(ctx, d.from, d.to, refused, d.now())
	if err != nil {
		return nil, "", err
	}
	// Credentials go to the registry itself, wherever an upload's URL leads.
	if own, err := url.Parse(base); err == nil && own.Host == req.URL.Host {
		req.Host = host
		if token := d.t.token(d.tokenKey(req.URL), d.now()); token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		} else if c.password != "" {
			req.SetBasicAuth(c.user, c.password)
		}
	}
	req.Header.Set("User-Agent", "ecru-replication")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if b != nil {
		if req.Body, err = b.open(); err != nil {
			return nil, "", err
		}
		req.ContentLength = b.length
		if b.length == 0 {
			req.Body.Close()
			req.Body = http.NoBody
		}
	}
	res, err := d.t.Client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if broken, ok := errors.AsType[*sourceError](err); ok {
			return nil, "", broken
		}
		return nil, "", &unreachable{err: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return nil, "", &unreachable{err: err}
	}
	return &answer{res.StatusCode, res.Header, text, req.URL}, c.password, nil
}

// refusal turns an answer into an error.
func (a *answer) refusal() *refusal {
	e := &refusal{Status: a.status, Code: fmt.Sprintf("HTTP%d", a.status)}
	var parsed struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &parsed) == nil && len(parsed.Errors) > 0 {
		e.Code, e.Message = parsed.Errors[0].Code, parsed.Errors[0].Message
	} else if a.status == http.StatusUnauthorized && len(a.body) == 0 { // of a HEAD, as the next
		e.Code, e.Message = "UNAUTHORIZED", "the destination does not accept the credentials: a region of Ecru must have this one in its setting replication-region, with its key"
	} else if a.status == http.StatusForbidden && len(a.body) == 0 {
		e.Code, e.Message = "DENIED", "the destination does not allow the replication: see its registry policy"
	} else {
		e.Message = strings.TrimSpace(string(a.body[:min(len(a.body), 300)]))
	}
	e.Code = codeOf(e.Code)
	return e
}

// codeOf gives the failure code that ECR would have for a registry's error.
func codeOf(code string) string {
	switch code {
	case "DENIED":
		return "AccessDenied"
	case "NAME_UNKNOWN":
		return "RepositoryNotFound"
	case "MANIFEST_INVALID":
		return "InvalidManifest"
	case "SIZE_INVALID":
		return "LimitExceeded"
	}
	return code
}

// want returns the answer if it has one of the statuses, else a refusal.
func (d *remote) want(ctx context.Context, statuses []int, method, ref string, b *body, header ...string) (*answer, error) {
	a, err := d.do(ctx, method, ref, b, header...)
	if err != nil {
		return nil, err
	}
	for _, s := range statuses {
		if a.status == s {
			return a, nil
		}
	}
	return nil, a.refusal()
}

// location returns the absolute URL that an answer leads to.
func (a *answer) location() (string, error) {
	u, err := a.url.Parse(a.header.Get("Location"))
	if err != nil || a.header.Get("Location") == "" || len(u.String()) > maxLocation {
		return "", &refusal{Status: a.status, Code: "InvalidLocation", Message: "the answer names no place to upload to"}
	}
	return u.String(), nil
}

// withDigest adds the digest to an upload's URL.
func withDigest(location, digest string) string {
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	return location + sep + "digest=" + url.QueryEscape(digest)
}
