package replicate

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

func TestWindow(t *testing.T) {
	day := func(hour, minute int) time.Time { return time.Date(2026, 11, 1, hour, minute, 0, 0, time.UTC) }
	night, noon := Window{22 * time.Hour, 6 * time.Hour}, Window{12 * time.Hour, 13 * time.Hour}
	tests := []struct {
		name string
		w    Window
		now  time.Time
		want time.Duration
	}{
		{"always", Window{}, day(3, 0), 0},
		{"within", noon, day(12, 30), 0},
		{"at its beginning", noon, day(12, 0), 0},
		{"at its end", noon, day(13, 0), 23 * time.Hour},
		{"before", noon, day(11, 15), 45 * time.Minute},
		{"over midnight, before", night, day(23, 0), 0},
		{"over midnight, after", night, day(5, 59), 0},
		{"over midnight, outside", night, day(6, 0), 16 * time.Hour},
		{"another zone", noon, day(12, 30).In(time.FixedZone("", 3600)), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.w.Closed(tt.now); got != tt.want {
				t.Errorf("closed for %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter{perSecond: 1000, now: time.Now}
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					if err := l.grant(t.Context(), 100); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 1999*time.Millisecond || took > 2001*time.Millisecond {
			t.Errorf("2,000 bytes at 1,000 a second took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.grant(ctx, 1_000_000); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestGate: jobs that fail together count once, and the pause grows to its
// bound and ends with the first answer.
func TestGate(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	g := newTarget(Target{}, func() time.Time { return now })
	if g.closed(now) != 0 {
		t.Fatal("closed at the beginning")
	}
	wait, first := g.fail(now)
	if !first || wait < firstPause/2 || wait > firstPause {
		t.Errorf("the first failure: %v, %v", wait, first)
	}
	if again, first := g.fail(now); first || again != wait || g.fails != 1 {
		t.Errorf("one at the same time: %v, %v", again, first)
	}
	if g.closed(now) < wait {
		t.Error("not closed after a failure")
	}
	for range 20 {
		now = now.Add(time.Minute)
		wait, _ = g.fail(now)
	}
	if wait < mostPause/2 || wait > mostPause {
		t.Errorf("after many failures: %v", wait)
	}
	g.reached()
	if g.closed(now) != 0 {
		t.Error("closed after an answer")
	}
}

func TestLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l locks
		inside := 0
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				unlock, err := l.lock(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				defer unlock()
				inside++
				if inside != 1 {
					t.Errorf("%d hold one lock", inside)
				}
				time.Sleep(time.Second)
				inside--
			})
		}
		if unlock, err := l.lock(t.Context(), "b"); err != nil {
			t.Error(err)
		} else {
			unlock()
		}
		wg.Wait()
		if len(l.held) != 0 {
			t.Errorf("%d locks stay", len(l.held))
		}
		unlock, _ := l.lock(t.Context(), "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting ended with %v", err)
		}
		unlock()
	})
}

func TestWants(t *testing.T) {
	some := newTarget(Target{Tags: []string{"v*", "release"}}, time.Now)
	for tag, want := range map[string]bool{"v1": true, "release": true, "release-1": false, "": false} {
		if some.wants(tag) != want {
			t.Errorf("%q: %v", tag, !want)
		}
	}
	if !newTarget(Target{}, time.Now).wants("") {
		t.Error("a target without patterns takes all")
	}
}

func TestBase(t *testing.T) {
	to := ecr.Destination{Region: "eu-west-1", Account: "123456789012"}
	tests := []struct {
		name      string
		t         Target
		url, host string
	}{
		{"the Host header names the account", Target{URL: "http://10.0.0.1:5000/"}, "http://10.0.0.1:5000", "123456789012.dkr.ecr.eu-west-1.ecru"},
		{"the URL does", Target{URL: "https://{account}.dkr.ecr.eu-west-1.amazonaws.com"}, "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", ""},
		{"nothing does", Target{URL: "https://registry.example.com", Plain: true}, "https://registry.example.com", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if u, host := newTarget(tt.t, time.Now).base(to); u != tt.url || host != tt.host {
				t.Errorf("%s, %s", u, host)
			}
		})
	}
}

// TestAnswers: what is tried again, and what keeps a whole destination back.
func TestAnswers(t *testing.T) {
	tests := []struct {
		status       int
		again, alone bool // tried again; for one image alone
	}{
		{200, false, false}, {404, false, false}, {400, false, false}, {403, false, false}, {413, false, false},
		{401, true, false}, {429, true, false}, {502, true, false}, {503, true, false}, {504, true, false},
		{500, true, true}, {507, true, true}, {408, true, true},
	}
	for _, tt := range tests {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) }))
			defer srv.Close()
			login := func(context.Context, string, ecr.Destination) (string, string, time.Time, error) {
				return "u", "p", time.Now().Add(time.Hour), nil
			}
			d := &remote{t: newTarget(Target{URL: srv.URL, Client: NewClient(nil, nil), Login: login}, time.Now), now: time.Now}
			_, err := d.want(t.Context(), []int{200}, http.MethodHead, "/v2/", nil)
			down, again := errors.AsType[*unreachable](err)
			_, refused := errors.AsType[*refusal](err)
			if again != tt.again || again && down.one != tt.alone || refused == again && tt.status != 200 {
				t.Errorf("%d: %v (%T)", tt.status, err, err)
			}
		})
	}
}

// FuzzAnswer: whatever a destination answers, it comes to an error with a code,
// and to an upload's place on a URL or to none.
func FuzzAnswer(f *testing.F) {
	f.Add(403, `{"errors":[{"code":"DENIED","message":"no"}]}`, "/v2/a/blobs/uploads/1?x=y", "0-17")
	f.Add(404, `{"errors":[]}`, "://", "0-")
	f.Add(500, "<html>", "https://elsewhere.example.com/x", "17")
	f.Fuzz(func(t *testing.T, status int, body, location, rang string) {
		a := &answer{status, http.Header{"Location": {location}, "Range": {rang}}, []byte(body), &url.URL{Scheme: "https", Host: "r.example.com", Path: "/v2/"}}
		if e := a.refusal(); e.Code == "" && body == "" {
			t.Errorf("status %d gives no code", status)
		}
		if at, err := a.location(); err == nil {
			if u, err := url.Parse(at); err != nil || !u.IsAbs() || len(at) > maxLocation {
				t.Errorf("%q leads to %q: %v", location, at, err)
			}
		}
		if n := received(a); n < 0 {
			t.Errorf("%q is %d bytes", rang, n)
		}
	})
}
