package daemon

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	ecrapi "github.com/ecruhq/ecru/awsapi/ecr"
	iamapi "github.com/ecruhq/ecru/awsapi/iam"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

// A service is one of AWS's.
type service struct {
	edge
	name   string // in a signature's scope: ecr
	source string // in the audit trail: ecr.amazonaws.com
	query  bool   // speaks the query protocol, and otherwise AWS JSON
	// maxBody bounds the body of an operation, in bytes.
	maxBody func(action string) int64
	// unsigned reports whether an operation has no signature; nil: none.
	unsigned func(action string) bool
}

// An edge answers the requests of a service.
type edge interface {
	ServeAction(w http.ResponseWriter, r *http.Request, c ecr.Caller, action string, in rpc.Request)
	Error(w http.ResponseWriter, c ecr.Caller, err error)
	Serves(action string) bool
	Operations() []string
}

// api answers the requests of AWS's protocols.
func (h *handler) api(w *recorder, r *http.Request) {
	start, id := time.Now(), h.requestID()
	target := r.Header.Get("X-Amz-Target")
	if target == "" {
		h.query(w, r, id, start)
		return
	}
	dot := strings.LastIndexByte(target, '.')
	s, ok := h.services[target[:max(dot, 0)]]
	if !ok || s.query {
		h.otherService(w, r, id)
		h.obs.observe(w, r, "other_service", ecr.Caller{RequestID: id}, start)
		return
	}
	action := target[dot+1:]
	c := ecr.Caller{RequestID: id}
	body, err := h.read(w, r, s.name, s.maxBody(action))
	if err == nil {
		c, body, err = h.identifyAPI(r, body, s, action, id)
	}
	h.serve(w, r, s, c, action, rpc.Request{Body: body}, err, start)
}

// formLimit bounds a request of the query protocol, in bytes: a policy of the
// largest size with every character escaped fits.
const formLimit = 1 << 20

// query answers a request of the query protocol, whose action and version
// stand in its form.
func (h *handler) query(w *recorder, r *http.Request, id string, start time.Time) {
	c := ecr.Caller{RequestID: id}
	body, err := h.read(w, r, "iam", formLimit)
	form := r.URL.Query()
	if err == nil && len(body) > 0 {
		if form, err = url.ParseQuery(string(body)); err != nil {
			err = ecr.Errorf(ecr.Validation, "The request is not a form")
		}
	}
	if err != nil { // whose it is cannot be told
		h.serve(w, r, h.services[iamapi.Version], c, "", rpc.Request{}, err, start)
		return
	}
	s, ok := h.services[form.Get("Version")]
	if !ok || !s.query {
		h.otherService(w, r, id)
		h.obs.observe(w, r, "other_service", c, start)
		return
	}
	action := form.Get("Action")
	switch {
	case s.unsigned != nil && s.unsigned(action):
		c = h.auth.Anonymous(r, id)
		c.Call = h.call(c, s.source)
		c.Call.Name = action
	default:
		c, _, err = h.identifyAPI(r, body, s, action, id)
	}
	h.serve(w, r, s, c, action, rpc.Request{Form: form}, err, start)
}

// serve has a request answered, unless it has failed with err already.
func (h *handler) serve(w *recorder, r *http.Request, s service, c ecr.Caller, action string, in rpc.Request, err error, start time.Time) {
	kind := action
	switch {
	case err != nil:
		s.Error(w, c, err)
		kind = "unauthenticated"
	case !s.Serves(action):
		kind = "unknown" // so that nobody can make up labels
		fallthrough
	default:
		s.ServeAction(w, r, c, action, in)
	}
	h.obs.observe(w, r, kind, c, start)
}

// read reads the body of a request. One that is large is read only for those
// who name a key that may sign for the service.
func (h *handler) read(w *recorder, r *http.Request, service string, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if r.ContentLength < 0 || r.ContentLength > unseen {
		if err := h.auth.Precheck(r, service); err != nil {
			return nil, err
		}
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(h.idle)) // where there are deadlines
	body, err := read(r.Body, r.ContentLength, limit)
	if err != nil { // the deadline stays: what is left of the body is not waited for
		return nil, err
	}
	_ = rc.SetReadDeadline(time.Time{})
	return body, nil
}

// call begins the record of a call. What strangers do is in the trail of the
// default account.
func (h *handler) call(c ecr.Caller, source string) *ecr.Call {
	call := &ecr.Call{Service: source, Region: h.region}
	if c.Principal == nil {
		call.Repository.Account = h.account
	}
	return call
}

// noCredentials reports whether a request had none at all, as docker's first
// one: it is no attempt.
func noCredentials(err error) bool {
	e, ok := errors.AsType[*ecr.Error](err)
	return ok && e.Code == ecr.NotAuthenticated
}

// identifyAPI identifies the caller by the signature over the body, and returns
// the body without its encoding: one that is compressed is signed as it comes.
func (h *handler) identifyAPI(r *http.Request, body []byte, s service, action, id string) (ecr.Caller, []byte, error) {
	c, err := h.auth.API(r, body, s.name, id)
	if err != nil {
		c = h.auth.Anonymous(r, id)
	}
	c.Call = h.call(c, s.source)
	if s.Serves(action) && !noCredentials(err) {
		c.Call.Name = action
	}
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
		if body, err = read(z, -1, s.maxBody(action)); err != nil {
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
	const message = "This server has the APIs of Amazon ECR, IAM, STS and CloudTrail, and no other service's. Check --endpoint-url and AWS_ENDPOINT_URL."
	if r.Header.Get("X-Amz-Target") != "" {
		h.services[ecrapi.TargetPrefix].Error(w, ecr.Caller{RequestID: id}, ecr.Errorf(ecr.UnknownOperation, message))
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
