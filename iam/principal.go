package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// principals is a Principal element.
type principals struct {
	everyone  bool
	aws       []string // ARNs
	accounts  []string
	service   []string
	federated []string
}

func (s *statement) parsePrincipal(m map[string]json.RawMessage, k Kind) error {
	raw, not, err := either(m, "Principal")
	switch {
	case err != nil:
		return err
	case raw == nil && k != Identity:
		return errors.New("there is no Principal")
	case raw == nil:
		return nil
	case k == Identity:
		return errors.New("an identity-based policy has no Principal")
	}
	s.notPrincipal = not
	s.principals = new(principals)
	var text string
	if raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		if text != "*" {
			return fmt.Errorf("%.100q is not a Principal: give * or an object", text)
		}
		s.principals.everyone = true
		return nil
	}
	kinds, err := object(raw, "Principal", "AWS", "Service", "Federated", "CanonicalUser")
	if err != nil {
		return err
	}
	for kind, raw := range kinds {
		list, err := texts(raw)
		if err != nil {
			return fmt.Errorf("Principal: %w", err)
		}
		if err := s.principals.add(kind, list); err != nil {
			return err
		}
	}
	return nil
}

func (p *principals) add(kind string, list []string) error {
	switch kind {
	case "Service":
		p.service = list
	case "Federated":
		p.federated = list
	case "AWS":
		for _, a := range list {
			if err := p.addAWS(a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *principals) addAWS(a string) error {
	parts := strings.SplitN(a, ":", 6)
	switch {
	case a == "*":
		p.everyone = true
	case isAccount(a):
		p.accounts = append(p.accounts, a)
	case len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" && parts[2] != "sts" || !isAccount(parts[4]):
		return fmt.Errorf("%.200q is not a principal: give an account or the ARN of a user, role or session", a)
	case strings.ContainsAny(parts[5], "*?"):
		return fmt.Errorf("%.200q: the ARN of a principal has no wildcards", a)
	case parts[5] == "root":
		p.accounts = append(p.accounts, parts[4])
	default:
		p.aws = append(p.aws, a)
	}
	return nil
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

// How a Principal element names a principal.
type naming int

const (
	notNamed  naming = iota
	byAccount        // through its account: the account decides
	byRole           // as a session of its role, or as anybody
	byName           // by its own ARN
)

// names tells how p names who.
func (p *principals) names(who *Principal) naming {
	if who.Federated != "" {
		if slices.Contains(p.federated, who.Federated) {
			return byName
		}
		return notNamed
	}
	if slices.Contains(p.aws, who.ARN) {
		return byName
	}
	if p.everyone || who.RoleARN != "" && slices.Contains(p.aws, who.RoleARN) {
		return byRole
	}
	for _, a := range p.accounts {
		if a == who.Account {
			if who.Root {
				return byName
			}
			return byAccount
		}
	}
	return notNamed
}

// applies tells how the statement's Principal or NotPrincipal takes in who;
// without either element it takes in everyone.
func (s *statement) applies(who *Principal) naming {
	if s.principals == nil {
		return byName
	}
	if !s.notPrincipal {
		return s.principals.names(who)
	}
	if s.principals.excepts(who) {
		return notNamed
	}
	return byRole
}

// excepts tells whether p, as a NotPrincipal element, leaves who alone (IAM
// reference, "AWS JSON policy elements: NotPrincipal"). An account, or a role,
// that stands beside one of its own users or sessions only prepares for that
// name: who lists bob with his account means everyone but bob.
func (p *principals) excepts(who *Principal) bool {
	switch p.names(who) {
	case byName:
		return true
	case byRole:
		session := who.ARN[:strings.LastIndexByte(who.ARN, '/')+1]
		return p.everyone || !slices.ContainsFunc(p.aws, func(a string) bool { return strings.HasPrefix(a, session) })
	case byAccount:
		return !slices.ContainsFunc(p.aws, func(a string) bool { return strings.Contains(a, ":"+who.Account+":") })
	}
	return false
}
