package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ecruhq/ecru/job"
)

const (
	// stall is the longest that a mirror may send nothing.
	stall = time.Minute
	// tries is how often a file is asked for.
	tries = 4
	// firstRetry and mostRetry bound the wait between.
	firstRetry, mostRetry = 500 * time.Millisecond, 10 * time.Second
)

// A mirror is a source by HTTP.
type mirror struct {
	base   string // without the slash at the end
	client *http.Client
}

// newMirror checks a base URL. It may hold a user and a password.
func newMirror(base string) (*mirror, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("a mirror of advisories is named by a URL such as https://mirror.example.com/osv, without a query")
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 20 * time.Second}).DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: stall, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: fetchers,
	}
	return &mirror{base: strings.TrimRight(base, "/"), client: &http.Client{Transport: transport}}, nil
}

func (m *mirror) String() string {
	u, err := url.Parse(m.base)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

func (m *mirror) close() error {
	m.client.CloseIdleConnections()
	return nil
}

// open asks again when the mirror, or what is between, fails for the moment.
func (m *mirror) open(ctx context.Context, name, etag string) (*file, error) {
	segments := strings.Split(name, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	return m.get(ctx, m.base+"/"+strings.Join(segments, "/"), etag)
}

func (m *mirror) get(ctx context.Context, address, etag string) (*file, error) {
	for n := 1; ; n++ {
		f, err := m.once(ctx, address, etag)
		var soon temporary
		if err == nil || n == tries || ctx.Err() != nil || !errors.As(err, &soon) {
			return f, err
		}
		timer := time.NewTimer(job.Backoff(firstRetry, mostRetry, n))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// A temporary error may be gone when the same is tried again.
type temporary struct{ error }

func (t temporary) Unwrap() error { return t.error }

func (m *mirror) once(ctx context.Context, address, etag string) (*file, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	r.Header.Set("User-Agent", "ecru")
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	res, err := m.client.Do(r)
	if err != nil {
		cancel()
		return nil, temporary{withoutUser(err)}
	}
	switch {
	case res.StatusCode == http.StatusOK:
		return &file{newWatched(res.Body, cancel), res.Header.Get("ETag"), res.ContentLength}, nil
	case res.StatusCode == http.StatusNotModified && etag != "":
		err = errNotModified
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		err = fmt.Errorf("%s: %w", m.shown(r.URL), fs.ErrNotExist)
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout:
		err = temporary{fmt.Errorf("%s: %s", m.shown(r.URL), res.Status)}
	default:
		err = fmt.Errorf("%s: %s", m.shown(r.URL), res.Status)
	}
	res.Body.Close()
	cancel()
	return nil, err
}

func (m *mirror) shown(u *url.URL) string {
	copied := *u
	copied.User = nil
	return copied.String()
}

// withoutUser takes the URL out of a client's error, where it may hold a
// password of a proxy or of the mirror; the rest names the host.
func withoutUser(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if u, perr := url.Parse(e.URL); perr == nil {
			u.User = nil
			return fmt.Errorf("%s: %w", u, e.Err)
		}
		return e.Err
	}
	return err
}

// A watched body ends with an error when nothing comes for too long.
type watched struct {
	io.ReadCloser
	cancel context.CancelFunc
	timer  *time.Timer
}

func newWatched(rc io.ReadCloser, cancel context.CancelFunc) *watched {
	return &watched{rc, cancel, time.AfterFunc(stall, cancel)}
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.timer.Reset(stall)
	if err != nil && err != io.EOF {
		err = temporary{err}
	}
	return n, err
}

func (b *watched) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
