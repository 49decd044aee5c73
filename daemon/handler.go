package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ecruhq/ecru/authn"
	ecrapi "github.com/ecruhq/ecru/awsapi/ecr"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/ociapi"
)

// A handler sends each request to the edge that it belongs to.
type handler struct {
	auth *authn.Authenticator
	oci  *ociapi.Server
	// services are AWS's, by the prefix of X-Amz-Target or the query
	// protocol's Version.
	services map[string]service
	obs      *observer
	account  string // the default one
	region   string
	idle     time.Duration

	prefix  [8]byte
	counter atomic.Uint64
	// checks are what must answer for the server to be ready, by name.
	checks   []check
	stopping atomic.Bool
	running  atomic.Int64 // requests
	log      *slog.Logger
}

type check struct {
	name string
	run  func(context.Context) error
}

// requestID returns a fresh ID in the form of a UUID: the process's part, then
// a count.
func (h *handler) requestID() string {
	var b [16]byte
	copy(b[:8], h.prefix[:])
	n := h.counter.Add(1)
	for i := range 8 {
		b[15-i] = byte(n >> (8 * i))
	}
	var out [36]byte
	hex.Encode(out[:8], b[:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// identify is how the registry edge learns who calls.
func (h *handler) identify(r *http.Request) (ecr.Caller, error) {
	id := h.requestID()
	c, err := h.auth.Registry(r, id)
	if err != nil {
		c = h.auth.Anonymous(r, id)
	}
	if noCredentials(err) {
		return c, err
	}
	c.Call = h.call(c, ecrapi.Source)
	c.Call.Registry = true
	return c, err
}

func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h.running.Add(1)
	defer h.running.Add(-1)
	h.obs.m.inFlight.Inc()
	defer h.obs.m.inFlight.Dec()
	w := &recorder{ResponseWriter: rw}
	defer h.guard(r)
	if r.ContentLength != 0 {
		r.Body = &received{r.Body, h.obs.m.received}
	}
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/v2/") || path == "/v2" || strings.HasPrefix(path, "/layers/"):
		h.oci.ServeHTTP(w, r)
	case path == "/" && (r.Method == http.MethodPost || r.URL.RawQuery != ""):
		h.api(w, r)
	default:
		h.other(w, r)
	}
}

// other answers what is neither the registry's nor the API's.
func (h *handler) other(w *recorder, r *http.Request) {
	start, id, kind := time.Now(), h.requestID(), "health"
	w.Header().Set("X-Amzn-Requestid", id)
	switch {
	case r.URL.Path == "/livez":
		plain(w, http.StatusOK, "ok\n")
	case r.URL.Path == "/readyz":
		h.ready(w, r)
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/service/"): // Smithy RPC v2
		kind = "other_service"
		h.otherService(w, r, id)
	default:
		kind = "not_found"
		plain(w, http.StatusNotFound, "This is Ecru, a container registry. The registry is under /v2/, the ECR API takes POST requests to /.\n")
	}
	h.obs.observe(w, r, kind, ecr.Caller{RequestID: id}, start)
}

// wait returns when no request is being answered, or after limit.
func (h *handler) wait(limit time.Duration) {
	end := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for h.running.Load() > 0 {
		select {
		case <-tick.C:
		case <-end:
			h.log.Warn("closing the stores under requests that do not end", "requests", h.running.Load())
			return
		}
	}
}

// guard logs a panic, which ends its request and no other.
func (h *handler) guard(r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler {
		h.log.Error("panic while serving a request", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

func plain(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// ready answers /readyz; with ?verbose it tells of each check.
func (h *handler) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	status := http.StatusOK
	var b strings.Builder
	tell := func(name string, err error) {
		if err == nil {
			fmt.Fprintf(&b, "[+] %s ok\n", name)
			return
		}
		status = http.StatusServiceUnavailable
		fmt.Fprintf(&b, "[-] %s failed\n", name)
		h.log.Warn("not ready", "check", name, "error", err)
	}
	for _, c := range h.checks {
		tell(c.name, c.run(ctx))
	}
	if h.stopping.Load() {
		status = http.StatusServiceUnavailable
		b.WriteString("[-] running failed: shutting down\n")
	} else {
		tell("running", nil)
	}
	text := "ok\n"
	if status != http.StatusOK {
		text = "not ready\n"
	}
	if r.URL.Query().Has("verbose") || status != http.StatusOK {
		text = b.String() + text
	}
	plain(w, status, text)
}

func newPrefix() (p [8]byte) {
	rand.Read(p[:])
	return p
}
