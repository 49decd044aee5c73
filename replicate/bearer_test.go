package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// A guarded registry takes tokens of its own token server only.
type guarded struct {
	*httptest.Server
	scopes []string // that were asked for
	asked  int      // requests of the registry
	good   string   // the token that it takes
}

func newGuarded(t *testing.T) *guarded {
	g := &guarded{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		g.scopes = append(g.scopes, r.URL.Query().Get("service")+" "+strings.Join(r.URL.Query()["scope"], " "))
		g.good = fmt.Sprint("token-", len(g.scopes))
		fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, g.good)
	})
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		g.asked++
		if g.good == "" || r.Header.Get("Authorization") != "Bearer "+g.good {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="reg, \"one\"",scope="repository:%s:pull"`, g.URL, repositoryIn(r.URL.Path)))
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

func (g *guarded) remote(password string, now func() time.Time) *remote {
	login := func(context.Context, string, ecr.Destination) (string, string, time.Time, error) {
		return "u", password, now().Add(24 * time.Hour), nil
	}
	return &remote{t: newTarget(Target{URL: g.URL, Client: NewClient(nil, nil), Login: login, Plain: true}, now), now: now}
}

// TestBearer: a token is asked for when a registry wants one, kept for its time
// and its repository, and asked for anew when it is refused.
func TestBearer(t *testing.T) {
	g, now := newGuarded(t), time.Now()
	d := g.remote("p", func() time.Time { return now })
	head := func(path string) {
		t.Helper()
		if _, err := d.want(t.Context(), []int{200}, http.MethodHead, path, nil); err != nil {
			t.Fatal(err)
		}
	}
	head("/v2/team/app/manifests/v1")
	head("/v2/team/app/blobs/sha256:00")
	if len(g.scopes) != 1 || g.scopes[0] != `reg, "one" repository:team/app:pull,push` || g.asked != 3 {
		t.Errorf("asked for %q, and the registry %d times", g.scopes, g.asked)
	}
	head("/v2/other/manifests/v1") // makes the first one invalid, here
	head("/v2/team/app/manifests/v1")
	if len(g.scopes) != 3 {
		t.Errorf("asked for %q", g.scopes)
	}
	now = now.Add(time.Hour)
	head("/v2/team/app/manifests/v1")
	if len(g.scopes) != 4 {
		t.Errorf("an old token was used: %q", g.scopes)
	}
	_, err := g.remote("wrong", time.Now).want(t.Context(), []int{200}, http.MethodHead, "/v2/x/manifests/v1", nil)
	if down, ok := errors.AsType[*unreachable](err); !ok || down.what != "Credentials" {
		t.Errorf("wrong credentials: %v", err)
	}
	d = g.remote("p", time.Now)
	d.t.Plain = false // a region of Ecru's has no token server
	if _, err := d.want(t.Context(), []int{200}, http.MethodHead, "/v2/x/manifests/v1", nil); err == nil || len(g.scopes) != 4 {
		t.Errorf("a region's credentials went to a token server: %v", err)
	}
}

// TestTokenServer: credentials go over TLS, or to the registry itself.
func TestTokenServer(t *testing.T) {
	registry := &url.URL{Scheme: "http", Host: "r.example.com:5000"}
	for realm, ok := range map[string]bool{
		"https://auth.example.com/token": true, "http://r.example.com:5000/token": true,
		"http://auth.example.com/token": false, "https://u:p@auth.example.com/": false, "/token": false, "://": false, "ftp://r.example.com:5000/": false,
	} {
		if _, err := (challenge{realm: realm}).url(registry); (err == nil) != ok {
			t.Errorf("%s: %v, want ok=%v", realm, err, ok)
		}
	}
}

// FuzzChallenge: whatever a registry demands, credentials go nowhere but to
// itself or over TLS.
func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://auth.example.com/token",service="x",scope="repository:a/b:pull"`)
	f.Add(`Basic realm="x"`)
	f.Add(`bearer realm=http://r.example.com/, scope="a b`)
	f.Add(`Bearer realm="\"`)
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := parseChallenge(http.Header{"Www-Authenticate": {header}})
		if !ok {
			return
		}
		registry := &url.URL{Scheme: "http", Host: "r.example.com"}
		if u, err := c.url(registry); err == nil && u.Scheme != "https" && u.Host != registry.Host {
			t.Errorf("%q sends credentials to %s", header, u)
		}
	})
}
