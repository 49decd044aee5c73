package replicate

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/job"
)

// A Target is how a region is reached, and what goes there.
type Target struct {
	Region string
	// URL is the registry's: https://host. {account} stands for the account of
	// the destination; where there is none the Host header names it.
	URL    string
	Client *http.Client // of requests; it follows no redirects
	// Login gives the credentials for a destination, on behalf of an account,
	// and when they should be asked for anew.
	Login func(ctx context.Context, from string, to ecr.Destination) (user, password string, renew time.Time, err error)
	// Create, if set, makes a repository where the registry makes none of its
	// own when it is pushed to.
	Create func(ctx context.Context, to ecr.Destination, repository string) error
	// Plain means a registry that is not one of ECR's kind: the Host header
	// stays what the URL says.
	Plain bool

	Workers   int      // jobs at a time
	Bandwidth int64    // bytes a second; 0 means without bound
	Window    Window   // when images are sent
	Tags      []string // wildcards of tags that go there, and of no others; nil means all, also untagged images
	Deletes   bool     // deletions go there too
}

// A Window is a part of every day, in UTC; the zero Window is all of it.
type Window struct {
	From, To time.Duration // since midnight; To may be before From
}

// Closed returns how long it takes until the window opens; 0 if it is open.
func (w Window) Closed(now time.Time) time.Duration {
	if w.From == w.To {
		return 0
	}
	now = now.UTC()
	at := now.Sub(now.Truncate(24 * time.Hour))
	if open := w.From < w.To && at >= w.From && at < w.To || w.From > w.To && (at >= w.From || at < w.To); open {
		return 0
	}
	if at < w.From {
		return w.From - at
	}
	return w.From + 24*time.Hour - at
}

const (
	// firstPause and mostPause bound how long a destination that could not be
	// reached is left alone.
	firstPause = 250 * time.Millisecond
	mostPause  = 15 * time.Second
)

// A target is a Target at work.
type target struct {
	Target
	rate limiter

	mu     sync.Mutex
	fails  int
	until  time.Time // no attempt before
	logins map[login]credentials
	tokens map[tokenKey]token
}

type login struct {
	from string
	to   ecr.Destination
}

type credentials struct {
	user, password string
	renew          time.Time
}

func newTarget(t Target, now func() time.Time) *target {
	if t.Workers == 0 {
		t.Workers = 8
	}
	return &target{Target: t, rate: limiter{perSecond: t.Bandwidth, now: now}, logins: map[login]credentials{}, tokens: map[tokenKey]token{}}
}

// wants says whether images go there under a tag.
func (t *target) wants(tag string) bool {
	if t.Tags == nil {
		return true
	}
	for _, p := range t.Tags {
		if tag != "" && ecr.Wildcard(p, tag) {
			return true
		}
	}
	return false
}

// closed returns how long to wait before anything is sent: until the window
// opens, or a destination that is down may be tried again.
func (t *target) closed(now time.Time) time.Duration {
	wait := t.Window.Closed(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest := t.until.Sub(now); t.fails > 0 && rest > wait {
		return rest + jitter(rest)
	}
	return wait
}

// fail notes that the target could not be reached. It returns how long it is
// left alone, and whether that is news: of many jobs that fail together one
// counts.
func (t *target) fail(now time.Time) (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fails > 0 && now.Before(t.until) {
		return t.until.Sub(now), false
	}
	t.fails++
	t.until = now.Add(job.Backoff(firstPause, mostPause, t.fails))
	return t.until.Sub(now), t.fails == 1
}

// reached notes that the target answered.
func (t *target) reached() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fails = 0
}

// credentials returns those for a destination; fresh ones are asked for if
// refused is what was given before.
func (t *target) credentials(ctx context.Context, from string, to ecr.Destination, refused string, now time.Time) (credentials, error) {
	key := login{from, to}
	t.mu.Lock()
	c, ok := t.logins[key]
	t.mu.Unlock()
	if ok && now.Before(c.renew) && c.password != refused {
		return c, nil
	}
	var err error
	if c.user, c.password, c.renew, err = t.Login(ctx, from, to); err != nil {
		return credentials{}, &unreachable{err: err, what: "Credentials"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.logins) > 1000 {
		clear(t.logins)
	}
	t.logins[key] = c
	return c, nil
}

// base returns the URL of a destination, and the Host header, if not the URL's.
func (t *target) base(to ecr.Destination) (url, host string) {
	url = strings.ReplaceAll(t.URL, "{account}", to.Account)
	if url == t.URL && !t.Plain {
		host = to.Account + ".dkr.ecr." + to.Region + ".ecru"
	}
	return strings.TrimSuffix(url, "/"), host
}

// A limiter bounds bytes a second, for all who share it.
type limiter struct {
	perSecond int64
	now       func() time.Time

	mu   sync.Mutex
	free time.Time // when what was granted will have been sent
}

// grant returns when n bytes have had their time.
func (l *limiter) grant(ctx context.Context, n int) error {
	if l.perSecond <= 0 {
		return nil
	}
	l.mu.Lock()
	now := l.now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.perSecond) * float64(time.Second)))
	wait := l.free.Sub(now)
	l.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// locks are mutexes by name.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock returns how to unlock name, which it holds when it returns.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		other, taken := l.held[name]
		if !taken {
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			l.held[name] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.held, name)
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-other:
		}
	}
}
