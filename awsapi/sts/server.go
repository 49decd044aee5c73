// Package stsapi is AWS Security Token Service's API, the query protocol: it
// decodes a request into the SDK's types, makes one call to the core and
// encodes the answer.
package stsapi

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/awswire"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// modelGz is STS's public API model; see NOTICE.
//
//go:embed sts.json.gz
var modelGz []byte

const (
	// Source is STS as the audit trail names it.
	Source = "sts.amazonaws.com"
	// Version is what a form that belongs here has as its Version.
	Version = "2011-06-15"
)

// Unsigned reports whether an operation takes its caller from its input
// instead of a signature.
func Unsigned(action string) bool { return action == "AssumeRoleWithWebIdentity" }

// newer are the fields of the SDK that the model does not have yet.
var newer = []string{
	"sts.AssumeRoleInput.MinimumSessionTokenSize", "sts.AssumeRoleOutput.SessionTokenSize", "sts.AssumeRoleOutput.SessionTokenUtilization",
	"sts.AssumeRoleWithWebIdentityInput.MinimumSessionTokenSize", "sts.AssumeRoleWithWebIdentityOutput.SessionTokenSize", "sts.AssumeRoleWithWebIdentityOutput.SessionTokenUtilization",
	"sts.GetSessionTokenInput.MinimumSessionTokenSize", "sts.GetSessionTokenOutput.SessionTokenSize", "sts.GetSessionTokenOutput.SessionTokenUtilization",
}

// A Verifier checks a web identity token against a provider.
type Verifier interface {
	// Issuer returns who a token says that it is from, unchecked.
	Issuer(token string) (string, error)
	Verify(ctx context.Context, token string, p identity.OIDCProvider) (identity.WebIdentity, error)
}

// A Server answers STS requests. Its methods are safe for concurrent use.
type Server struct {
	id  *identity.Identity
	web Verifier
	*rpc.Server[ecr.Caller]
}

// New returns a server on the core. An error means that the API model and the
// SDK's types do not agree.
func New(id *identity.Identity, web Verifier, log *slog.Logger) (*Server, error) {
	model, err := awswire.Load(modelGz)
	if err != nil {
		return nil, fmt.Errorf("stsapi: %w", err)
	}
	model.Omit(newer...)
	s := &Server{id: id, web: web}
	s.Server, err = rpc.New(rpc.Service{Source: Source, Model: model, Query: true, Exceptions: &rpc.QueryExceptions, Unknown: unknown, Deny: id.EncodeDenial, Log: log}, rpc.Caller, []rpc.Handler[ecr.Caller]{
		rpc.Op("GetCallerIdentity", s.getCallerIdentity),
		rpc.Op("AssumeRole", s.assumeRole),
		rpc.Op("AssumeRoleWithWebIdentity", s.assumeRoleWithWebIdentity),
		rpc.Op("GetSessionToken", s.getSessionToken),
		rpc.Op("GetAccessKeyInfo", s.getAccessKeyInfo),
		rpc.Op("DecodeAuthorizationMessage", s.decodeAuthorizationMessage),
	})
	return s, err
}

func unknown(action string) error {
	return ecr.Errorf(ecr.UnknownOperation, "STS has no operation %.64q here.", strings.ToValidUTF8(action, "?"))
}
