// Package ecrapi is Amazon ECR's API, AWS JSON 1.1: it decodes a request into
// the SDK's types, makes one call to the core and encodes the answer.
//
// Who calls is settled before: the dispatcher authenticates, then calls
// ServeAction, or Error for a request that it refuses.
package ecrapi

import (
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/awsapi/rpc"
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

// Source is ECR as the audit trail names it.
const Source = "ecr.amazonaws.com"

// A Server answers ECR API requests. Its methods are safe for concurrent use.
type Server struct {
	reg      *registry.Registry
	id       *identity.Identity
	external string
	*rpc.Server[call]
}

// New returns a server on the core. externalURL, as in https://ecr.example.com,
// is the address that links in answers start with; if it is empty they start
// with the scheme and the host of the request. Without a log nothing is logged.
// An error means that the API model and the SDK's types do not agree.
func New(reg *registry.Registry, id *identity.Identity, externalURL string, log *slog.Logger) (*Server, error) {
	s := &Server{reg: reg, id: id, external: strings.TrimSuffix(externalURL, "/")}
	model, err := awswire.Load(modelGz)
	if err != nil {
		return nil, fmt.Errorf("ecrapi: %w", err)
	}
	own, err := extensionDocs()
	if err != nil {
		return nil, fmt.Errorf("ecrapi: %w", err)
	}
	if _, err := model.Extend(own...); err != nil {
		return nil, fmt.Errorf("ecrapi: %w", err)
	}
	if got := model.TargetPrefix(); got != TargetPrefix {
		return nil, fmt.Errorf("ecrapi: the API model is of %s", got)
	}
	s.Server, err = rpc.New(rpc.Service{Source: Source, Model: model, Exceptions: &exceptions, Unknown: unknown, Deny: id.EncodeDenial, Log: log}, s.call, slices.Concat(s.handlers(), s.extensions()))
	return s, err
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
	case "PutImagesInUse":
		return 4 << 20 // of what its model allows more is absurd
	}
	return others
}

// call is a caller with what handlers need to know of the request.
func (s *Server) call(r *http.Request, c ecr.Caller) call { return call{Caller: c, base: s.base(r, c)} }

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
	return c.RepositoryIn(rpc.Str(registryID), rpc.Str(name))
}

// registry returns the registry that a request means: its registryId, or the
// caller's own.
func (c call) registry(registryID *string) string {
	if registryID == nil {
		return c.Account
	}
	return *registryID
}
