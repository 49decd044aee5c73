package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A running is a daemon that serves.
type running struct {
	*Server
	cfg  Config
	told string
	stop context.CancelFunc // begins to stop
	cut  context.CancelFunc // and at once
	done chan error
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{done: make(chan error, 1)}
	flags(t, &r.cfg, append([]string{"--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data")}, args...)...)
	var out bytes.Buffer
	s, err := Start(t.Context(), r.cfg, slog.New(slog.DiscardHandler), &out)
	if err != nil {
		t.Fatal(err)
	}
	r.Server, r.told = s, out.String()
	ctx, stop := context.WithCancel(context.Background())
	hurry, cut := context.WithCancel(context.Background())
	r.stop, r.cut = stop, cut
	go func() { r.done <- s.Serve(ctx, hurry) }()
	t.Cleanup(func() {
		stop()
		cut()
		select {
		case <-r.done:
		default:
			<-r.done
		}
	})
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	err := <-r.done
	r.done <- err
	if err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestFirstStart(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	if err := os.WriteFile(ready, []byte("http://another"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "--ready-file", ready, "--region", "eu-west-1")
	for path, want := range map[string]os.FileMode{"": 0o700, keyFile: 0o600, CredentialsFile: 0o600} {
		info, err := os.Stat(filepath.Join(r.cfg.Data, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v, want mode %v", path, info, err, want)
		}
	}
	if !strings.Contains(r.told, CredentialsFile) || !strings.Contains(r.told, keyFile) {
		t.Errorf("the first start told %q", r.told)
	}
	if status, body := get(t, r.URL()+"/livez"); status != 200 || body != "ok\n" {
		t.Errorf("livez: %d %q", status, body)
	}
	if status, body := get(t, r.URL()+"/readyz?verbose"); status != 200 || !strings.Contains(body, "[+] database ok") || !strings.Contains(body, "[+] blobs ok") {
		t.Errorf("readyz: %d %q", status, body)
	}
	if status, body := get(t, r.MetricsURL()); status != 200 || !strings.Contains(body, "ecru_requests_total") {
		t.Errorf("metrics: %d %.100q", status, body)
	}
	if status, _ := get(t, r.URL()+"/metrics"); status != 404 {
		t.Errorf("metrics on the main listener: %d", status)
	}
	r.end(t) // after the requests above, so the files have been written
	for path, want := range map[string]string{ready: r.URL(), filepath.Join(r.cfg.Data, EndpointFile): r.URL(), filepath.Join(r.cfg.Data, RegionFile): "eu-west-1"} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want+"\n" {
			t.Errorf("%s: %q, %v, want %q", path, text, err, want)
		}
	}
	cfg := r.cfg
	var out bytes.Buffer
	s, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler), &out)
	if err != nil || out.Len() > 0 {
		t.Fatalf("a second start: %v, told %q", err, out.String())
	}
	if _, err := os.Stat(ready); err == nil {
		t.Error("the ready-file of the start before is still there")
	}
	if _, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler), &out); err == nil {
		t.Error("two servers on one data folder")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestShutdown: what is in flight when the server stops ends within the grace
// time, and with a second signal it is cut.
func TestShutdown(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		t.Run(fmt.Sprintf("hurry=%t", hurry), func(t *testing.T) {
			r := start(t)
			c, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			// An API call whose body comes late is a request in flight.
			fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonEC2ContainerRegistry_V20150921.DescribeRepositories\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
			b := make([]byte, 256)
			if n, err := c.Read(b); err != nil || !strings.Contains(string(b[:n]), "100 Continue") { // the handler reads the body
				t.Fatalf("%q, %v", b[:n], err)
			}
			r.stop()
			for !r.handler.stopping.Load() { // its listener closes next
				select {
				case err := <-r.done:
					t.Fatalf("stopped under a request: %v", err)
				case <-time.After(time.Millisecond):
				}
			}
			if hurry {
				r.cut()
				if n, err := c.Read(b); err == nil {
					t.Errorf("answered %q after a second signal", b[:n])
				}
			} else {
				fmt.Fprint(c, "{}")
				if n, err := c.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 4") {
					t.Errorf("%q, %v, want the answer to an unsigned call", b[:n], err)
				}
			}
			r.end(t)
			if _, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "http://")); err == nil {
				t.Error("a stopped server accepts connections")
			}
		})
	}
}

func TestSlowHeadersAreCut(t *testing.T) {
	r := start(t, "--idle-timeout", "50ms")
	c, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /livez HTTP/1.1\r\n")
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection was not closed: %v", err)
	}
}

// TestOtherServices: each protocol gets its own error.
func TestOtherServices(t *testing.T) {
	r := start(t)
	for what, test := range map[string]struct {
		path, header, value, body, want string
	}{
		"JSON":  {"/", "X-Amz-Target", "DynamoDB_20120810.ListTables", "{}", "UnknownOperationException"},
		"query": {"/", "Content-Type", "application/x-www-form-urlencoded", "Action=ListQueues&Version=2012-11-05", "<Code>InvalidAction</Code>"},
		"CBOR":  {"/service/Logs/operation/List", "Smithy-Protocol", "rpc-v2-cbor", "\xa0", "com.amazonaws.ecru#UnknownOperationException"},
	} {
		req, err := http.NewRequest(http.MethodPost, r.URL()+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(test.header, test.value)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode < 400 || res.StatusCode > 499 || !strings.Contains(string(b), test.want) || res.Header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("%s: HTTP %d %q, %v", what, res.StatusCode, b, err)
		}
	}
}
