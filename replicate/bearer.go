package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A challenge is how a registry wants to be asked: with a token of its token
// server (CNCF Distribution, "Token Authentication Specification").
type challenge struct {
	realm   string // URL of the token server
	service string
	scopes  []string
}

const (
	maxChallenge = 4 << 10
	maxScopes    = 8
	// tokenLife is how long a token is good whose server does not say, and
	// tokenMargin how long before its end it is not used any more.
	tokenLife   = time.Minute
	tokenMargin = 10 * time.Second
	maxTokenFor = time.Hour
)

// parseChallenge returns the first Bearer challenge of an answer; ok is false if
// it has none.
func parseChallenge(h http.Header) (c challenge, ok bool) {
	for _, v := range h.Values("Www-Authenticate") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
		if !strings.EqualFold(scheme, "Bearer") || len(v) > maxChallenge {
			continue
		}
		c = challenge{}
		for rest = strings.TrimSpace(rest); rest != ""; {
			var name, value string
			if name, rest, ok = strings.Cut(rest, "="); !ok {
				break
			}
			value, rest = quoted(rest)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "realm":
				c.realm = value
			case "service":
				c.service = value
			case "scope":
				c.scopes = strings.Fields(value)
			}
			rest = strings.TrimLeft(rest, ", \t")
		}
		if c.realm != "" && len(c.scopes) <= maxScopes {
			return c, true
		}
	}
	return challenge{}, false
}

// quoted takes a quoted string, or a token, from the front of s.
func quoted(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, ',')
		if i < 0 {
			i = len(s)
		}
		return strings.TrimSpace(s[:i]), s[i:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return b.String(), ""
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// url is where a token is asked for, for pulls and pushes: who asks for the
// first only is asked again at the first push. Credentials go to the registry's
// own host or over TLS.
func (c challenge) url(registry *url.URL) (*url.URL, error) {
	u, err := url.Parse(c.realm)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != registry.Scheme || u.Host != registry.Host) {
		return nil, fmt.Errorf("the registry's token server %q is not one to send credentials to: it must be an https URL", c.realm)
	}
	q := u.Query()
	if c.service != "" {
		q.Set("service", c.service)
	}
	q.Del("scope")
	for _, s := range c.scopes {
		if strings.HasPrefix(s, "repository:") && strings.HasSuffix(s, ":pull") {
			s += ",push"
		}
		q.Add("scope", s)
	}
	u.RawQuery = q.Encode()
	return u, nil
}

// A token is what a token server gave, for one repository of a destination.
type token struct {
	text string
	good time.Time // until then
}

// tokenKey names a token.
type tokenKey struct {
	login
	repository string
}

// repositoryIn is the name of the repository in the path of a request.
func repositoryIn(path string) string {
	name, _ := strings.CutPrefix(path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(name, part); i >= 0 {
			return name[:i]
		}
	}
	return ""
}

// token returns the token for a repository, or "".
func (t *target) token(k tokenKey, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.tokens[k]; now.Before(have.good) {
		return have.text
	}
	return ""
}

// keepToken keeps a token for the requests to come.
func (t *target) keepToken(k tokenKey, have token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tokens) > 1000 {
		clear(t.tokens)
	}
	t.tokens[k] = have
}

// answerChallenge gets a token as an answer demands. Errors: unreachable.
func (d *remote) answerChallenge(ctx context.Context, a *answer, c challenge) error {
	base, _ := d.t.base(d.to)
	registry, err := url.Parse(base)
	if err != nil {
		return err
	}
	fail := func(err error) error { return &unreachable{err: fmt.Errorf("token: %w", err), what: "Credentials"} }
	at, err := c.url(registry)
	if err != nil {
		return fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return fail(err)
	}
	login, err := d.t.credentials(ctx, d.from, d.to, "", d.now())
	if err != nil {
		return err
	}
	if login.password != "" {
		req.SetBasicAuth(login.user, login.password)
	}
	req.Header.Set("User-Agent", "ecru-replication")
	res, err := d.t.Client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return fail(err)
	}
	if res.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("%s answers %s", at.Host, res.Status))
	}
	var got struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(text, &got); err != nil || got.Token == "" && got.AccessToken == "" {
		return fail(fmt.Errorf("%s gives no token", at.Host))
	}
	if got.Token == "" {
		got.Token = got.AccessToken
	}
	life := tokenLife
	if got.ExpiresIn > 0 {
		life = min(time.Duration(min(got.ExpiresIn, int64(maxTokenFor/time.Second)))*time.Second, maxTokenFor)
	}
	d.t.keepToken(d.tokenKey(a.url), token{got.Token, d.now().Add(max(life-tokenMargin, life/2))})
	return nil
}

func (d *remote) tokenKey(u *url.URL) tokenKey {
	return tokenKey{login{d.from, d.to}, repositoryIn(u.Path)}
}
