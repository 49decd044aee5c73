// Package iam is the policy language of AWS IAM and its decision: pure
// functions on values, no context, no I/O; time is an argument.
package iam

import "time"

// A Principal is who acts, with the policies that are attached to it.
type Principal struct {
	ARN     string // arn:aws:iam::A:root, arn:aws:iam::A:user/N, arn:aws:sts::A:assumed-role/R/S
	Account string
	ID      string // unique ID: AIDA…, AROA…:session; the account's for its root
	Name    string
	Root    bool // the account's root user: the only implicit allow, in its own account
	Tags    map[string]string
	// RoleARN is the ARN of the role of a role session, else "".
	RoleARN string
	// Federated is the ARN of the OIDC provider that vouches for a principal
	// that is nobody yet, before it assumes a role; no other name is its.
	Federated string

	Issued         time.Time // when a session's credentials were issued; zero for others
	SourceIdentity string    // of a session, or ""

	Policies []*Policy // identity policies
	Boundary *Policy   // permission boundary, nil if none
	Session  []*Policy // session policies, nil if none
}

// A Request is one question: may Principal do Action to Resource?
type Request struct {
	Principal *Principal
	Action    string // ecr:PutImage
	Resource  string // ARN, or "*" for actions that take no resource
	Account   string // the account that owns Resource
	Time      time.Time
	// Context gives the values of a condition key, already lower-cased, that
	// the principal and the time do not give; nil if it is absent.
	Context func(key string) []string
	// ResourcePolicy is the resource's own policy; nil if there is none.
	ResourcePolicy *Policy
	// RegistryPolicy is the registry's policy (scope V2): it is evaluated as
	// a second resource policy on every request; nil if there is none.
	RegistryPolicy *Policy
}

// Kind says where a policy document stands, which decides what it must and
// may hold.
type Kind int

const (
	Identity Kind = iota // no Principal; also boundaries and session policies
	Resource             // Principal required; Resource optional, as in ECR
	Trust                // Principal required, no Resource
)
