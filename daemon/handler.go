package daemon

import (
	"bytes"
	"compress/gzip"
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
	ecr  *ecrapi.Server
	obs  *observer
	idle time.Duration

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
	c.RequestID = id
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

// api answers the requests of AWS's protocols.
func (h *handler) api(w *recorder, r *http.Request) {
	start := time.Now()
	id := h.requestID()
	service, action, ok := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if !ok || service != ecrapi.TargetPrefix {
		h.otherService(w, r, id)
		h.obs.observe(w, r, "other_service", ecr.Caller{RequestID: id}, start)
		return
	}
	c, body, err := h.readAPI(w, r, action, id)
	if err != nil {
		h.ecr.Error(w, id, err)
		h.obs.observe(w, r, "unauthenticated", ecr.Caller{RequestID: id}, start)
		return
	}
	h.ecr.ServeAction(w, r, c, action, body)
	if w.status == http.StatusNotFound {
		action = "unknown" // so that nobody can make up labels
	}
	h.obs.observe(w, r, action, c, start)
}

// readAPI reads the body of a request, within the bound of its action, and
// identifies the caller by the signature over it. A body that is compressed is
// signed as it comes.
func (h *handler) readAPI(w *recorder, r *http.Request, action, id string) (ecr.Caller, []byte, error) {
	limit := ecrapi.MaxBody(action)
	if r.ContentLength > limit {
		return ecr.Caller{}, nil, tooLarge(limit)
	}
	if r.ContentLength < 0 || r.ContentLength > unseen {
		// Memory for a large body is for those who name a key that may ask.
		if err := h.auth.Precheck(r, "ecr"); err != nil {
			return ecr.Caller{}, nil, err
		}
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(h.idle)) // where there are deadlines
	body, err := read(r.Body, r.ContentLength, limit)
	if err != nil { // the deadline stays: what is left of the body is not waited for
		return ecr.Caller{}, nil, err
	}
	_ = rc.SetReadDeadline(time.Time{})
	c, err := h.auth.API(r, body, "ecr", id)
	if err != nil {
		return c, nil, err
	}
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return c, nil, ecr.Errorf(ecr.InvalidParameter, "The body is not gzip, as Content-Encoding says")
		}
		if body, err = read(z, -1, limit); err != nil {
			return c, nil, err
		}
	default:
		return c, nil, ecr.Errorf(ecr.InvalidParameter, "Content-Encoding must be gzip or absent")
	}
	return c, body, nil
}

func tooLarge(limit int64) error {
	return ecr.Errorf(ecr.InvalidParameter, "The body of this request may have at most %d bytes", limit)
}

// unseen is how large a body may be that is read before anything is known of
// who sends it, and how much memory is taken on a body's word for its length.
const unseen = 64 << 10

// read reads a body. Of its length that is announced (or is -1) only a part is
// believed before the bytes come.
func read(src io.Reader, length, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(min(length, unseen)) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(src, limit+1))
	if err != nil {
		return nil, ecr.Errorf(ecr.InvalidParameter, "The body of the request ended early")
	}
	if n > limit {
		return nil, tooLarge(limit)
	}
	return b.Bytes(), nil
}

// otherService answers for services that Ecru does not have, in the form of
// the protocol that the request has: AWS JSON, Smithy RPC v2 CBOR, or query.
func (h *handler) otherService(w http.ResponseWriter, r *http.Request, id string) {
	const message = "This server has Amazon ECR's API and no other service's. Check --endpoint-url and AWS_ENDPOINT_URL."
	if r.Header.Get("X-Amz-Target") != "" {
		h.ecr.Error(w, id, ecr.Errorf(ecr.UnknownOperation, message))
		return
	}
	w.Header().Set("X-Amzn-Requestid", id)
	if protocol := r.Header.Get("Smithy-Protocol"); protocol == "rpc-v2-cbor" {
		body := []byte{0xa2} // a map of two pairs of texts
		for _, text := range []string{"__type", "com.amazonaws.ecru#UnknownOperationException", "message", message} {
			body = append(body, 0x78, byte(len(text))) // a text of less than 256 bytes
			body = append(body, text...)
		}
		w.Header().Set("Smithy-Protocol", protocol)
		w.Header().Set("Content-Type", "application/cbor")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusNotFound)
		w.Write(body)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>\n", message, id)
}

func newPrefix() (p [8]byte) {
	rand.Read(p[:])
	return p
}
