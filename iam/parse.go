package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/internal/strictjson"
)

// Bounds of a policy document.
const (
	maxDocument   = 64 << 10
	maxStatements = 1000
	maxList       = 2000 // entries of one list
)

// A Policy is a policy document, ready to be evaluated. It is immutable.
type Policy struct {
	Version    string
	ID         string
	Name       string // what Named gave it
	statements []statement
}

// A statement is one statement of a policy, compiled.
type statement struct {
	sid    string
	index  int
	policy *string // the policy's Name
	deny   bool

	principals   *principals // nil if the element is absent
	notPrincipal bool
	actions      []pattern
	notAction    bool
	resources    []pattern // nil if the element is absent
	notResource  bool
	conditions   []condition
}

// A StatementInfo tells which statement one is.
type StatementInfo struct {
	Policy string // the policy's Name
	Index  int    // from 0
	Sid    string
	Effect string // Allow or Deny
}

// Named returns p under a name, which decisions tell with its statements.
func (p *Policy) Named(name string) *Policy {
	named := *p
	named.Name = name
	named.statements = slices.Clone(p.statements)
	for i := range named.statements {
		named.statements[i].policy = &named.Name
	}
	return &named
}

// Statements lists the statements of p, in order.
func (p *Policy) Statements() []StatementInfo {
	out := make([]StatementInfo, len(p.statements))
	for i := range p.statements {
		out[i] = p.statements[i].info()
	}
	return out
}

func (s *statement) info() StatementInfo {
	i := StatementInfo{Policy: *s.policy, Index: s.index, Sid: s.sid, Effect: "Allow"}
	if s.deny {
		i.Effect = "Deny"
	}
	return i
}

// Parse reads and compiles a policy document (IAM reference, "IAM JSON policy
// element reference"). Unknown and repeated members are refused. The error's
// text may be shown to the caller.
func Parse(doc []byte, k Kind) (*Policy, error) {
	if len(doc) > maxDocument {
		return nil, fmt.Errorf("the policy has %d bytes, at most %d are allowed", len(doc), maxDocument)
	}
	if err := strictjson.Object(doc, nil, ""); err != nil {
		return nil, err
	}
	members, err := object(doc, "policy", "Version", "Id", "Statement")
	if err != nil {
		return nil, err
	}
	p := &Policy{Version: "2008-10-17"}
	if raw, ok := members["Version"]; ok {
		if json.Unmarshal(raw, &p.Version) != nil || p.Version != "2008-10-17" && p.Version != "2012-10-17" {
			return nil, errors.New("Version must be 2012-10-17 or 2008-10-17")
		}
	}
	if raw, ok := members["Id"]; ok && json.Unmarshal(raw, &p.ID) != nil {
		return nil, errors.New("Id must be a string")
	}
	raw, ok := members["Statement"]
	if !ok {
		return nil, errors.New("the policy has no Statement")
	}
	list := []json.RawMessage{raw}
	if raw[0] == '[' {
		list = nil
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 || len(list) > maxStatements {
		return nil, fmt.Errorf("Statement must have 1 to %d entries", maxStatements)
	}
	for i, raw := range list {
		s, err := parseStatement(raw, k, p.Version == "2012-10-17")
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i, err)
		}
		s.index, s.policy = i, &p.Name
		p.statements = append(p.statements, *s)
	}
	return p, nil
}

// object reads the members of an object, which must be among names.
func object(raw []byte, what string, names ...string) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return nil, fmt.Errorf("a %s must be an object", what)
	}
	for k := range m {
		known := false
		for _, n := range names {
			known = known || k == n
		}
		if !known {
			return nil, fmt.Errorf("a %s has no element %.100q", what, k)
		}
	}
	return m, nil
}

// texts reads a string or a list of strings.
func texts(raw json.RawMessage) ([]string, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil && raw[0] == '"' {
		return []string{one}, nil
	}
	var many []string
	if raw[0] != '[' || json.Unmarshal(raw, &many) != nil {
		return nil, errors.New("must be a string or a list of strings")
	}
	if len(many) == 0 || len(many) > maxList {
		return nil, fmt.Errorf("must have 1 to %d entries", maxList)
	}
	return many, nil
}

func parseStatement(raw json.RawMessage, k Kind, variables bool) (*statement, error) {
	m, err := object(raw, "statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return nil, err
	}
	s := new(statement)
	if raw, ok := m["Sid"]; ok && json.Unmarshal(raw, &s.sid) != nil {
		return nil, errors.New("Sid must be a string")
	}
	var effect string
	if raw, ok := m["Effect"]; ok && json.Unmarshal(raw, &effect) != nil || effect != "Allow" && effect != "Deny" {
		return nil, errors.New("Effect must be Allow or Deny")
	}
	s.deny = effect == "Deny"
	if err := s.parsePrincipal(m, k); err != nil {
		return nil, err
	}
	if k == Trust && s.notPrincipal && !s.deny {
		return nil, errors.New("a trust policy allows by Principal: NotPrincipal would let in whoever is not named, of any provider")
	}
	if err := s.parseAction(m); err != nil {
		return nil, err
	}
	if err := s.parseResource(m, k, variables); err != nil {
		return nil, err
	}
	if raw, ok := m["Condition"]; ok {
		if s.conditions, err = parseConditions(raw, variables); err != nil {
			return nil, fmt.Errorf("Condition: %w", err)
		}
	}
	return s, nil
}

// either returns an element or its Not form, of which there can be one.
func either(m map[string]json.RawMessage, name string) (raw json.RawMessage, not bool, err error) {
	raw, a := m[name]
	other, b := m["Not"+name]
	if a && b {
		return nil, false, fmt.Errorf("%s and Not%s exclude each other", name, name)
	}
	if b {
		return other, true, nil
	}
	return raw, false, nil
}

func (s *statement) parseAction(m map[string]json.RawMessage) error {
	raw, not, err := either(m, "Action")
	if err != nil {
		return err
	}
	if raw == nil {
		return errors.New("there is no Action")
	}
	list, err := texts(raw)
	if err != nil {
		return fmt.Errorf("Action: %w", err)
	}
	for _, a := range list {
		if service, name, ok := strings.Cut(a, ":"); a != "*" && (!ok || service == "" || name == "") {
			return fmt.Errorf("%.100q is not an action: actions look like ecr:PutImage", a)
		}
		s.actions = append(s.actions, parsePattern(a, false))
	}
	s.notAction = not
	return nil
}

func (s *statement) parseResource(m map[string]json.RawMessage, k Kind, variables bool) error {
	raw, not, err := either(m, "Resource")
	if err != nil {
		return err
	}
	switch {
	case raw == nil && k == Identity:
		return errors.New("there is no Resource")
	case raw == nil:
		return nil
	case k == Trust:
		return errors.New("a trust policy has no Resource")
	}
	list, err := texts(raw)
	if err != nil {
		return fmt.Errorf("Resource: %w", err)
	}
	for _, a := range list {
		if !strings.ContainsRune(a, '*') && strings.Count(a, ":") < 5 || a == "" {
			return fmt.Errorf("%.200q is not a resource: give an ARN or *", a)
		}
		s.resources = append(s.resources, parsePattern(a, variables))
	}
	s.notResource = not
	return nil
}
