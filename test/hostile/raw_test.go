package hostile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/test/harness"
)

// A victim is a server with a repository "app", and an honest client of it.
type victim struct {
	*harness.Server
	reg *harness.Client
}

func newVictim(t *testing.T, args ...string) *victim {
	t.Helper()
	s := harness.New(t, append(args, "--log-level", "debug", "--access-log")...)
	name := "app"
	if _, err := s.Root().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
		t.Fatal(err)
	}
	password, err := harness.Password(t.Context(), s.Root())
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{s, s.Registry(password)}
	t.Cleanup(func() { v.wellAfterwards(t) })
	return v
}

// memoryLimit is what the server may hold after everything; of it some 35 MiB
// are pages of the program's file.
const memoryLimit = 120 << 20

// wellAfterwards checks that an honest client is served, that memory is
// bounded, and that nothing broke inside.
func (v *victim) wellAfterwards(t *testing.T) {
	if !v.Running() {
		t.Fatalf("the server ended\n%s", v.Log())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own has ended
	defer cancel()
	want, err := v.reg.PushImage(ctx, "app", "afterwards", []byte(`{"architecture":"amd64","os":"linux"}`), bytes.Repeat([]byte("layer"), 1000))
	if err != nil {
		t.Fatalf("an honest push afterwards: %v", err)
	}
	if got, _, err := v.reg.PullImage(ctx, "app", "afterwards"); err != nil || got != want {
		t.Errorf("an honest pull afterwards: %s, %v; want %s", got, err, want)
	}
	_, highest, err := v.Memory()
	if err != nil || highest > memoryLimit {
		t.Errorf("highest resident memory %d MiB (%v), want at most %d", highest>>20, err, memoryLimit>>20)
	}
	if log := v.Log(); strings.Contains(log, "panic") {
		t.Errorf("the log tells of a panic:\n%s", log)
	}
}

// A reply is what came back; status 0 means that the connection was closed
// without an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// send writes bytes on a connection of its own, and reads one answer. It
// closes its side after the request, as much of the garbage has no end of its
// own. To the server such a client has gone, and a request that it broke off
// for that is sent again by a client that stays.
func (v *victim) send(t *testing.T, request string) reply {
	t.Helper()
	r := v.sendOnce(t, request, true)
	if r.status >= 500 {
		r = v.sendOnce(t, request, false)
	}
	return r
}

func (v *victim) sendOnce(t *testing.T, request string, closeWrite bool) reply {
	t.Helper()
	c, err := net.Dial("tcp", v.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server may answer and close before it has read all.
	_, _ = io.WriteString(c, request)
	if tcp, ok := c.(*net.TCPConn); ok && closeWrite {
		_ = tcp.CloseWrite()
	}
	return readReply(t, c, request)
}

func readReply(t *testing.T, c net.Conn, request string) reply {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no answer within 30 s to %.200q", request)
	}
	if err != nil {
		return reply{}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return reply{}
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

// refused checks for a clear refusal: an error of the client's, with a reason,
// that tells nothing of the inside.
func refused(t *testing.T, what string, r reply) {
	t.Helper()
	if r.status < 400 || r.status > 499 {
		t.Errorf("%.200q: HTTP %d %.300q, want 4xx", what, r.status, r.body)
	}
	tellsNothing(t, what, r)
}

func tellsNothing(t *testing.T, what string, r reply) {
	t.Helper()
	for _, secret := range []string{"goroutine ", ".go:", "root:x:", "sqlite", "/tmp/", "uploads/", harness.RootValue} {
		if strings.Contains(r.body, secret) && !strings.Contains(what, secret) {
			t.Errorf("%.200q: the answer tells %q: %.500q", what, secret, r.body)
		}
	}
}

// authorized is a request with the honest client's credentials.
func (v *victim) authorized(t *testing.T, method, target, more, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", v.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("AWS", v.reg.Password)
	return method + " " + target + " HTTP/1.1\r\nHost: " + v.Host + "\r\nConnection: close\r\nAuthorization: " + req.Header.Get("Authorization") + "\r\n" + more + "\r\n" + body
}
