// Package ociapi is the registry as docker, podman and containerd know it: OCI
// Distribution 1.1 under /v2/, and the signed links to layers under /layers/.
package ociapi

import (
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

// Options say how a Server answers.
type Options struct {
	// DefaultAccount is the registry that a host names which is not of the
	// form A.dkr.ecr.R.….
	DefaultAccount string
	// Idle is how long a transfer may stand still before it is cut; 0 means
	// two minutes.
	Idle time.Duration
	Log  *slog.Logger
	// Deny encodes what a policy refused, for the header
	// X-Ecru-Authorization-Message; nil: there is no such header.
	Deny func(*ecr.Denial) string
	// Observe, if not nil, is told of every request when it has been answered:
	// its kind, its caller as far as known, and when it began.
	Observe func(w http.ResponseWriter, r *http.Request, kind string, c ecr.Caller, start time.Time)
}

// A Server answers registry requests. Its methods are safe for concurrent use.
type Server struct {
	reg      *registry.Registry
	identify func(*http.Request) (ecr.Caller, error)
	opt      Options
	handlers [numKinds]handler
}

// A handler answers one kind of request: it makes one call to the core.
type handler func(http.ResponseWriter, *http.Request, ecr.Caller, ecr.RepositoryID, request) error

// New returns a Server on the core. Identify gives the caller of a request;
// with an error it gives at least the request ID.
func New(reg *registry.Registry, identify func(*http.Request) (ecr.Caller, error), o Options) *Server {
	if o.Idle == 0 {
		o.Idle = 2 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{reg: reg, identify: identify, opt: o}
	s.handlers = [numKinds]handler{
		kindPing: s.ping, kindBlobGet: s.blobGet, kindBlobHead: s.blobHead, kindBlobDelete: s.blobDelete,
		kindManifestGet: s.manifestGet, kindManifestHead: s.manifestGet, kindManifestPut: s.manifestPut, kindManifestDelete: s.manifestDelete,
		kindUploadStart: s.uploadStart, kindUploadPatch: s.uploadPatch, kindUploadPut: s.uploadPut,
		kindUploadStatus: s.uploadStatus, kindUploadCancel: s.uploadCancel,
		kindTags: s.tags, kindReferrers: s.referrers, kindCatalog: s.catalog,
	}
	return s
}

// Header values that every answer shares.
var (
	apiVersion = []string{"registry/2.0"}
	noSniff    = []string{"nosniff"}
)

// ServeHTTP implements http.Handler for /v2/ and /layers/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h := w.Header()
	h["Docker-Distribution-Api-Version"] = apiVersion
	if len(r.URL.Path) > len("/layers/") && r.URL.Path[:len("/layers/")] == "/layers/" {
		s.signedLayer(w, r)
		s.observe(w, r, "signed_layer", ecr.Caller{}, start)
		return
	}
	c, err := s.identify(r)
	h["X-Amzn-Requestid"] = []string{c.RequestID}
	req, routeErr := parse(r.Method, r.URL)
	note(&c, req)
	if err != nil {
		s.fail(w, r, c, err)
		s.observe(w, r, "unauthenticated", c, start)
		return
	}
	if routeErr != nil {
		s.fail(w, r, c, routeErr)
		s.observe(w, r, "unknown", c, start)
		return
	}
	account, err := s.account(r.Host)
	if c.Call != nil {
		c.Call.Repository.Account = account
	}
	if err == nil {
		err = s.handlers[req.kind](w, r, c, ecr.RepositoryID{Account: account, Name: req.name}, req)
	}
	if err != nil {
		s.fail(w, r, c, err)
	}
	s.observe(w, r, kindNames[req.kind], c, start)
}

func (s *Server) observe(w http.ResponseWriter, r *http.Request, kind string, c ecr.Caller, start time.Time) {
	if s.opt.Observe != nil {
		s.opt.Observe(w, r, kind, c, start)
	}
}

// registryHost is a host that names an account and a region, as ECR's do.
var registryHost = regexp.MustCompile(`^([0-9]{12})\.dkr[.-]ecr(?:-fips)?\.([a-zA-Z0-9][a-zA-Z0-9_-]*)\.`)

// account returns the registry that a host names.
func (s *Server) account(host string) (string, error) {
	if len(host) < len("123456789012.dkr.ecr.") || host[0] < '0' || host[0] > '9' {
		return s.opt.DefaultAccount, nil
	}
	m := registryHost.FindStringSubmatch(host)
	if m == nil {
		return s.opt.DefaultAccount, nil
	}
	if m[2] != s.reg.Region() {
		return "", &routeError{status: http.StatusNotFound, code: "NAME_UNKNOWN", message: "this server is region " + s.reg.Region() + ", not " + m[2]}
	}
	return m[1], nil
}

// ping is end-1: that the caller may come in at all.
func (s *Server) ping(w http.ResponseWriter, r *http.Request, _ ecr.Caller, _ ecr.RepositoryID, _ request) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", "2")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write([]byte("{}"))
	}
	return nil
}

// A patient reads a body as long as bytes flow: every read that takes longer
// than idle ends the request.
type patient struct {
	body io.Reader
	rc   *http.ResponseController
	idle time.Duration
	set  time.Time // when the deadline was set
}

func (s *Server) body(w http.ResponseWriter, r *http.Request) io.Reader {
	return &patient{body: r.Body, rc: http.NewResponseController(w), idle: s.opt.Idle}
}

func (p *patient) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > p.idle/8 {
		// Where there are no deadlines (a recorder in a test) there is no limit.
		_ = p.rc.SetReadDeadline(now.Add(p.idle))
		p.set = now
	}
	n, err := p.body.Read(b)
	if err == io.EOF { // after any other error the rest of the body is not waited for
		_ = p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
