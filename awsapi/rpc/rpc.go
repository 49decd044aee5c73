// Package rpc serves the operations of one AWS service: it decodes a request
// into the SDK's types, makes one call to the core and encodes the answer, in
// AWS JSON or in the query protocol.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"github.com/ecruhq/ecru/awswire"
	"github.com/ecruhq/ecru/ecr"
)

// An Exception is how a service names a failure.
type Exception struct {
	Name   string // or the code on the wire, in the query protocol
	Status int
}

// Exceptions are those for every code of the core.
type Exceptions [ecr.NumCodes]struct {
	Name   string
	Status int
}

// A Service says how a service's API looks.
type Service struct {
	// Source is the service as the audit trail names it: ecr.amazonaws.com.
	Source string
	Model  *awswire.Model
	// Query means the query protocol, and otherwise AWS JSON.
	Query bool
	// Exceptions has a row for every code of the core.
	Exceptions *Exceptions
	// Invalid names the exceptions of members that have one of their own for a
	// value that the model does not allow.
	Invalid map[string]string
	// Unknown gives the error of an operation that is not served.
	Unknown func(action string) error
	// Deny encodes what a policy refused, for the header
	// X-Ecru-Authorization-Message; nil: there is no such header.
	Deny func(*ecr.Denial) string
	Log  *slog.Logger // nil: nothing is logged
}

// A Server answers the requests of one service. Its methods are safe for
// concurrent use. C is what handlers are told of a request beside its input.
type Server[C any] struct {
	Service
	of   func(*http.Request, ecr.Caller) C
	ops  map[string]operation[C]
	bufs sync.Pool // of *[]byte
}

// An operation decodes a request, does its work and appends the answer to buf.
type operation[C any] func(ctx context.Context, caller ecr.Caller, c C, r Request, buf []byte) ([]byte, error)

// A Request is a request's input: Form in the query protocol, else Body.
type Request struct {
	Body []byte
	Form url.Values
}

// A Handler is an operation that has not met the model yet.
type Handler[C any] struct {
	Name string
	bind func(Service) (operation[C], error)
}

// Op adapts a typed handler to the wire. Constraints of the model are checked
// before f is called.
func Op[C, In, Out any](name string, f func(context.Context, C, *In) (*Out, error)) Handler[C] {
	return Handler[C]{name, func(s Service) (operation[C], error) {
		wire, err := awswire.Bind[In, Out](s.Model, name)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, caller ecr.Caller, c C, r Request, buf []byte) ([]byte, error) {
			in := new(In)
			if s.Query {
				err = wire.DecodeQuery(r.Form, in)
			} else {
				err = wire.DecodeJSON(r.Body, in)
			}
			if err != nil {
				return nil, s.badRequest(err)
			}
			describe(caller.Call, in)
			out, err := f(ctx, c, in)
			if err != nil {
				return nil, err
			}
			if s.Query {
				return wire.AppendXML(buf, out, caller.RequestID)
			}
			return wire.AppendJSON(buf, out)
		}, nil
	}}
}

// Caller is the of of handlers that need nothing but the caller.
func Caller(_ *http.Request, c ecr.Caller) ecr.Caller { return c }

// New returns a server of a service; of gives what handlers are told of a
// request. An error means that the API model and the
// SDK's types do not agree.
func New[C any](s Service, of func(*http.Request, ecr.Caller) C, handlers []Handler[C]) (*Server[C], error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	out := &Server[C]{Service: s, of: of, ops: map[string]operation[C]{}}
	out.bufs.New = func() any { return new([]byte) }
	for _, h := range handlers {
		op, err := h.bind(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Source, err)
		}
		if out.ops[h.Name] != nil {
			return nil, fmt.Errorf("%s: %s is served twice", s.Source, h.Name)
		}
		out.ops[h.Name] = op
	}
	return out, nil
}

// Operations returns the names of the operations that are served, sorted.
func (s *Server[C]) Operations() []string { return slices.Sorted(maps.Keys(s.ops)) }

// Serves reports whether an operation is served.
func (s *Server[C]) Serves(action string) bool { return s.ops[action] != nil }

// ServeAction answers one request of an authenticated caller; action is the
// operation. What is in in is not used after the return.
func (s *Server[C]) ServeAction(w http.ResponseWriter, r *http.Request, caller ecr.Caller, action string, in Request) {
	op, ok := s.ops[action]
	if !ok {
		s.Error(w, caller, s.Unknown(action))
		return
	}
	buf := s.bufs.Get().(*[]byte)
	defer s.free(buf)
	out, err := op(r.Context(), caller, s.of(r, caller), in, (*buf)[:0])
	if err != nil {
		s.Error(w, caller, err)
		return
	}
	*buf = out
	s.write(w, caller.RequestID, http.StatusOK, out)
}

// free gives a buffer back, unless a large answer made it large.
func (s *Server[C]) free(buf *[]byte) {
	if cap(*buf) <= 64<<10 {
		s.bufs.Put(buf)
	}
}

// Error answers a request that failed; it serves the dispatcher too. Only what
// an *ecr.Error says is shown. Any other error, and one of code ecr.Internal,
// is logged once with the request ID and answered without details.
func (s *Server[C]) Error(w http.ResponseWriter, caller ecr.Caller, err error) {
	f := s.explain(caller.RequestID, err)
	if e, ok := errors.AsType[*ecr.Error](err); ok && e.Denial != nil && s.Deny != nil {
		w.Header().Set("X-Ecru-Authorization-Message", s.Deny(e.Denial))
	}
	if caller.Call != nil {
		caller.Call.Fail(f.Name, f.message)
	}
	var b []byte
	if s.Query {
		// The model has a namespace: New's test looks.
		b, _ = s.Model.AppendErrorXML(nil, f.Name, f.message, caller.RequestID, f.Status < 500)
	} else {
		// Members that the exception does not have are of use to other edges.
		b, _ = s.Model.AppendErrorJSON(nil, f.Name, f.message, f.members)
	}
	s.write(w, caller.RequestID, f.Status, b)
}

func (s *Server[C]) write(w http.ResponseWriter, requestID string, status int, body []byte) {
	h := w.Header()
	if s.Query {
		h.Set("Content-Type", s.Model.XMLContentType())
	} else {
		h.Set("Content-Type", s.Model.JSONContentType())
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.Log.Debug("answer not sent", "request_id", requestID, "error", err)
	}
}

// A failure is an error as it looks on the wire.
type failure struct {
	Exception
	message string
	members map[string]any
}

const internalMessage = "An internal error occurred. The server's log has the details under the request ID."

// explain says how an error looks on the wire, and logs it if the caller may
// not know its details.
func (s *Service) explain(requestID string, err error) failure {
	if wire, ok := errors.AsType[*wireError](err); ok {
		return failure{wire.Exception, wire.message, nil}
	}
	e, known := errors.AsType[*ecr.Error](err)
	if !known || e.Code <= ecr.Internal || e.Code >= ecr.NumCodes {
		s.logFailure(requestID, slog.LevelError, err)
		return failure{s.Exceptions[ecr.Internal], internalMessage, nil}
	}
	if e.Err != nil {
		level := slog.LevelDebug
		if e.Code == ecr.Unavailable {
			level = slog.LevelWarn
		}
		s.logFailure(requestID, level, err)
	}
	return failure{s.Exceptions[e.Code], e.Message, e.Members}
}

func (s *Service) logFailure(requestID string, level slog.Level, err error) {
	if errors.Is(err, context.Canceled) {
		level = slog.LevelDebug // the client is gone
	}
	s.Log.Log(context.Background(), level, "request failed", "request_id", requestID, "error", err)
}

// A wireError is a failure below the API: the request is not in its form.
type wireError struct {
	Exception
	message string
}

func (e *wireError) Error() string { return e.Name + ": " + e.message }

// badRequest turns the wire's error into the caller's.
func (s *Service) badRequest(err error) error {
	query := s.Query
	c, constraint := errors.AsType[*awswire.ConstraintError](err)
	d, decode := errors.AsType[*awswire.DecodeError](err)
	switch {
	case constraint && s.Invalid[c.Path] != "":
		return &wireError{Exception{s.Invalid[c.Path], http.StatusBadRequest}, c.Error()}
	case constraint && query:
		return ecr.Errorf(ecr.Validation, "Value at '%s' failed to satisfy constraint: %s", c.Path, c.Constraint)
	case constraint:
		return ecr.InvalidParam(c.Path, c.Constraint)
	case decode && query:
		return &wireError{Exception{"MalformedInput", http.StatusBadRequest}, d.Error()}
	case decode:
		return &wireError{Exception{"SerializationException", http.StatusBadRequest}, d.Error()}
	}
	return err
}
