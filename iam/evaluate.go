package iam

import (
	"strconv"
	"strings"
	"time"
)

// A Decision is the answer to a Request, with what decided it.
type Decision struct {
	Allowed bool
	// By is the kind of policy that decided: the one that allows or denies,
	// or the first that would have had to allow and did not.
	By Source
	// Statement is the deciding statement; nil where none decided, because
	// nothing allowed or the root user is allowed by itself.
	Statement *StatementInfo

	action string
}

// A Source is a kind of policy.
type Source int

const (
	ByRoot Source = iota // the account's root user needs no policy
	ByIdentity
	ByResource
	ByRegistry
	ByBoundary
	BySession
)

// Reason explains a denial in the words that AWS uses, to follow "User: … is
// not authorized to perform: … on resource: …"; it is empty if d allows.
func (d Decision) Reason() string {
	if d.Allowed {
		return ""
	}
	kind := [...]string{"identity-based policy", "identity-based policy", "resource-based policy", "resource-based policy", "permissions boundary", "session policy"}[d.By]
	if d.Statement != nil {
		article := "a "
		if d.By <= ByIdentity {
			article = "an "
		}
		return "with an explicit deny in " + article + kind
	}
	return "because no " + kind + " allows the " + d.action + " action"
}

// verdict is what a set of policies says.
type verdict struct {
	deny    *statement
	allow   *statement
	own     *statement // an allow that names the principal by its own ARN
	account *statement // an allow that names the principal's account only
}

// Evaluate decides a request (IAM user guide, "Policy evaluation logic"). An
// explicit deny anywhere wins. In its own account a principal needs an allow
// by its identity policies, or by the resource's policy if that names its role
// or anybody, within its boundary and session policies; or by a resource's
// policy that names itself, without them. In another account it needs both, and
// a resource policy that names its account is enough there. The root user of
// an account is allowed in it without any policy.
func Evaluate(r *Request) Decision {
	p := r.Principal
	d := Decision{action: r.Action}
	identity := r.ask(p.Policies)
	boundary := r.askOne(p.Boundary)
	session := r.ask(p.Session)
	resource := r.askOne(r.ResourcePolicy)
	registry := r.askOne(r.RegistryPolicy)
	for by, v := range [...]verdict{ByIdentity: identity, ByResource: resource, ByRegistry: registry, ByBoundary: boundary, BySession: session} {
		if v.deny != nil {
			return d.decide(false, Source(by), v.deny)
		}
	}
	within := func() (Decision, bool) {
		if p.Boundary != nil && boundary.allow == nil {
			return d.decide(false, ByBoundary, nil), false
		}
		if len(p.Session) > 0 && session.allow == nil {
			return d.decide(false, BySession, nil), false
		}
		return d, true
	}
	own := func() Decision {
		switch {
		case p.Root:
			return d.decide(true, ByRoot, nil)
		case identity.allow == nil:
			return d.decide(false, ByIdentity, nil)
		}
		if out, ok := within(); !ok {
			return out
		}
		return d.decide(true, ByIdentity, identity.allow)
	}
	byResource := func(s *statement) Decision {
		by := ByResource
		if s == registry.own || s == registry.allow || s == registry.account {
			by = ByRegistry
		}
		return d.decide(true, by, s)
	}
	named := first(resource.allow, registry.allow)
	if p.Account == r.Account {
		if p.Root || named == nil {
			return own()
		}
		if direct := first(resource.own, registry.own); direct != nil {
			if p.RoleARN == "" && len(p.Session) > 0 && session.allow == nil {
				return d.decide(false, BySession, nil) // the user is named, not its session
			}
			return byResource(direct)
		}
		if out, ok := within(); !ok {
			return out
		}
		return byResource(named)
	}
	if out := own(); !out.Allowed {
		return out
	}
	if named = first(named, resource.account, registry.account); named == nil {
		return d.decide(false, ByResource, nil)
	}
	return byResource(named)
}

func first(statements ...*statement) *statement {
	for _, s := range statements {
		if s != nil {
			return s
		}
	}
	return nil
}

func (d Decision) decide(allowed bool, by Source, s *statement) Decision {
	d.Allowed, d.By = allowed, by
	if s != nil {
		info := s.info()
		d.Statement = &info
	}
	return d
}

// ask evaluates policies that stand side by side.
func (r *Request) ask(policies []*Policy) (v verdict) {
	for _, p := range policies {
		r.collect(p, &v)
	}
	return v
}

func (r *Request) askOne(p *Policy) (v verdict) {
	r.collect(p, &v)
	return v
}

func (r *Request) collect(p *Policy, v *verdict) {
	if p == nil {
		return
	}
	for i := range p.statements {
		s := &p.statements[i]
		if s.deny && v.deny != nil || !s.deny && v.allow != nil && (v.own != nil || s.principals == nil) {
			continue // its kind is decided
		}
		how := s.matches(r)
		switch {
		case how == notNamed:
		case s.deny:
			v.deny = s
		case how == byName:
			v.own, v.allow = s, first(v.allow, s)
		case how == byRole:
			v.allow = first(v.allow, s)
		case v.account == nil:
			v.account = s
		}
	}
}

// matches tells whether, and through what name, a statement applies.
func (s *statement) matches(r *Request) naming {
	how := s.applies(r.Principal)
	if how == notNamed || s.matchesAction(r) == s.notAction || !s.matchesResource(r) {
		return notNamed
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(r) {
			return notNamed
		}
	}
	return how
}

func (s *statement) matchesAction(r *Request) bool {
	for i := range s.actions {
		if s.actions[i].matches(r, r.Action, true) {
			return true
		}
	}
	return false
}

func (s *statement) matchesResource(r *Request) bool {
	if s.resources == nil {
		return true
	}
	void := false
	for i := range s.resources {
		matches, ok := s.resources[i].matchesARN(r, r.Resource)
		if matches {
			return !s.notResource
		}
		void = void || !ok
	}
	// A variable without a value names nothing, which in NotResource must not
	// come to allow everything.
	return s.notResource && (s.deny || !void)
}

// values gives the values of a condition key (IAM user guide, "AWS global
// condition context keys"); nil if the request does not have it.
func (r *Request) values(key string) []string {
	p := r.Principal
	switch key {
	case "aws:principalarn":
		if p.RoleARN != "" {
			return []string{p.RoleARN}
		}
		return []string{p.ARN}
	case "aws:principalaccount":
		return []string{p.Account}
	case "aws:principaltype":
		return []string{p.kind()}
	case "aws:userid":
		return present(p.ID)
	case "aws:username":
		if p.kind() != "User" {
			return nil
		}
		return present(p.Name)
	case "aws:tokenissuetime":
		if p.Issued.IsZero() {
			return nil
		}
		return []string{p.Issued.UTC().Format(time.RFC3339)}
	case "aws:sourceidentity":
		return present(p.SourceIdentity)
	case "aws:federatedprovider":
		return present(p.Federated)
	case "aws:currenttime":
		return []string{r.Time.UTC().Format(time.RFC3339)}
	case "aws:epochtime":
		return []string{strconv.FormatInt(r.Time.Unix(), 10)}
	}
	if name, ok := strings.CutPrefix(key, "aws:principaltag/"); ok {
		for k, v := range p.Tags {
			if strings.EqualFold(k, name) {
				return []string{v}
			}
		}
		return nil
	}
	if r.Context == nil {
		return nil
	}
	return r.Context(key)
}

// kind is the principal's type, as aws:PrincipalType has it.
func (p *Principal) kind() string {
	switch {
	case p.Root:
		return "Account"
	case p.RoleARN != "":
		return "AssumedRole"
	}
	return "User"
}

func present(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
