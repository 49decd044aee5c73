// Package ecrapi is Amazon ECR's API, AWS JSON 1.1: it decodes a request into
// the SDK's types, makes one call to the core and encodes the answer.
//
// Who calls is settled before: the dispatcher authenticates, then calls
// ServeAction, or Error for a request that it refuses.
package ecrapi

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/ecruhq/ecru/awswire"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/registry"
)

// modelGz is ECR's public API model; see NOTICE.
//
//go:embed ecr.json.gz
var modelGz []byte

// TargetPrefix is what stands before the dot in the X-Amz-Target of a request
// that belongs here.
const TargetPrefix = "AmazonEC2ContainerRegistry_V20150921"

// A Server answers ECR API requests. Its methods are safe for concurrent use.
type Server struct {
	reg      *registry.Registry
	id       *identity.Identity
	external string
	log      *slog.Logger

	model *awswire.Model
	ops   map[string]operation
	bufs  sync.Pool // of *[]byte
}

// New returns a server on the core. externalURL, as in https://ecr.example.com,
// is the address that links in answers start with; if it is empty they start
// with the scheme and the host of the request. Without a log nothing is logged.
// An error means that the API model and the SDK's types do not agree.
func New(reg *registry.Registry, id *identity.Identity, externalURL string, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{reg: reg, id: id, external: strings.TrimSuffix(externalURL, "/"), log: log, ops: map[string]operation{}}
	s.bufs.New = func() any { return new([]byte) }
	var err error
	if s.model, err = awswire.Load(modelGz); err != nil {
		return nil, fmt.Errorf("ecrapi: %w", err)
	}
	if got := s.model.TargetPrefix(); got != TargetPrefix {
		return nil, fmt.Errorf("ecrapi: the API model is of %s", got)
	}
	for _, h := range s.handlers() {
		if s.ops[h.name], err = h.bind(s.model); err != nil {
			return nil, fmt.Errorf("ecrapi: %w", err)
		}
	}
	return s, nil
}

// MaxBody returns how long the body of a request may be, in bytes. What is
// longer cannot be valid: the model bounds manifests and layer parts, and the
// rest is small.
func MaxBody(action string) int64 {
	const others = 1 << 20
	switch action {
	case "UploadLayerPart":
		return 20<<20*4/3 + others // base64
	case "PutImage":
		return 6*4<<20 + others // every character escaped
	}
	return others
}

// ServeAction answers one request of an authenticated caller. action is the
// part of X-Amz-Target after the dot. body is not used after the return; the
// dispatcher bounds its size, see MaxBody.
func (s *Server) ServeAction(w http.ResponseWriter, r *http.Request, c ecr.Caller, action string, body []byte) {
	op, ok := s.ops[action]
	if !ok {
		s.Error(w, c.RequestID, unknown(action))
		return
	}
	buf := s.bufs.Get().(*[]byte)
	defer s.free(buf)
	out, err := op(r.Context(), call{Caller: c, base: s.base(r, c)}, body, (*buf)[:0])
	if err != nil {
		s.Error(w, c.RequestID, err)
		return
	}
	*buf = out
	s.write(w, c.RequestID, http.StatusOK, out)
}

// free gives a buffer back, unless a large answer made it large.
func (s *Server) free(buf *[]byte) {
	if cap(*buf) <= 64<<10 {
		s.bufs.Put(buf)
	}
}

// Error answers a request that failed, in the form of this API; it serves the
// dispatcher too. Only what an *ecr.Error says is shown. Any other error, and
// one of code ecr.Internal, is logged once with the request ID and answered
// as a ServerException without details.
func (s *Server) Error(w http.ResponseWriter, requestID string, err error) {
	name, status, message, members := s.explain(requestID, err)
	// Members that the exception does not have are of use to other edges.
	b, _ := s.model.AppendErrorJSON(nil, name, message, members)
	s.write(w, requestID, status, b)
}

func (s *Server) write(w http.ResponseWriter, requestID string, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", s.model.JSONContentType())
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.log.Debug("answer not sent", "request_id", requestID, "error", err)
	}
}

// base returns the scheme and host that links in an answer start with.
func (s *Server) base(r *http.Request, c ecr.Caller) string {
	switch {
	case s.external != "":
		return s.external
	case c.TLS:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// A call is a caller with what handlers need to know of the request.
type call struct {
	ecr.Caller
	base string // scheme://host
}

// repository names a repository of a request; registryID may be nil.
func (c call) repository(registryID, name *string) ecr.RepositoryID {
	return c.RepositoryIn(str(registryID), str(name))
}

// registry returns the registry that a request means: its registryId, or the
// caller's own.
func (c call) registry(registryID *string) string {
	if registryID == nil {
		return c.Account
	}
	return *registryID
}

// An operation decodes body, does its work and appends the answer to buf.
type operation func(ctx context.Context, c call, body, buf []byte) ([]byte, error)

// A handler is an operation that has not met the model yet.
type handler struct {
	name string
	bind func(*awswire.Model) (operation, error)
}

// op adapts a typed handler to the wire. Constraints of the model are checked
// before f is called.
func op[In, Out any](name string, f func(context.Context, call, *In) (*Out, error)) handler {
	return handler{name, func(m *awswire.Model) (operation, error) {
		wire, err := awswire.Bind[In, Out](m, name)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, c call, body, buf []byte) ([]byte, error) {
			in := new(In)
			if err := wire.DecodeJSON(body, in); err != nil {
				return nil, badRequest(err)
			}
			out, err := f(ctx, c, in)
			if err != nil {
				return nil, err
			}
			return wire.AppendJSON(buf, out)
		}, nil
	}}
}

// badRequest turns the wire's error into the caller's.
func badRequest(err error) error {
	var c *awswire.ConstraintError
	var d *awswire.DecodeError
	switch {
	case errors.As(err, &c):
		return ecr.InvalidParam(c.Path, c.Constraint)
	case errors.As(err, &d):
		return &wireError{"SerializationException", http.StatusBadRequest, d.Error()}
	}
	return err
}
