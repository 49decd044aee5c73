package iam

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// Severities of findings, in the words of IAM Access Analyzer: a part of the
// policy does not function; it allows more than it should; it is not written
// as it should be; it could be written better.
const (
	SeverityError    = "ERROR"
	SeveritySecurity = "SECURITY_WARNING"
	SeverityWarning  = "WARNING"
	SeveritySuggest  = "SUGGESTION"
)

// A Finding is something that is wrong with a policy document.
type Finding struct {
	// Code is that of IAM Access Analyzer's policy check where it has one
	// (IAM user guide, "IAM policy validation check reference"); Ecru's own
	// codes begin with ECRU_.
	Code      string `json:"code"`
	Severity  string `json:"severity"`
	Statement int    `json:"statement"` // from 0; 0 if it is about the whole document
	Sid       string `json:"sid"`
	Message   string `json:"message"` // what is wrong
	Fix       string `json:"fix"`     // what to write instead
}

// Lint finds what is wrong with a policy document, sorted by statement and
// code. It looks at the document alone: another policy of the same principal
// may give what this one lacks. A document of kind Resource may be the policy
// of a repository or of a registry. The error is Parse's.
func Lint(doc []byte, k Kind) ([]Finding, error) {
	p, err := Parse(doc, k)
	if err != nil {
		return nil, err
	}
	l := &linter{kind: k, policy: p, actions: Actions()}
	if err := l.read(doc); err != nil {
		return nil, err
	}
	l.checkDocument()
	for i := range l.clauses {
		c := &l.clauses[i]
		l.checkSid(c)
		l.checkActions(c)
		l.checkPrincipals(c)
		l.checkResources(c)
		l.checkConditions(c)
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Statement, b.Statement), cmp.Compare(a.Code, b.Code))
	})
	return l.findings, nil
}

// A linter goes over one document.
type linter struct {
	kind     Kind
	policy   *Policy
	version  bool // there is a Version element
	clauses  []clause
	actions  []Action // all of ECR
	findings []Finding
}

// A clause is a statement with its text, which the compiled form has not.
type clause struct {
	*statement
	hasSid        bool
	actionTexts   []string
	resourceTexts []string // nil if the element is absent
	tests         []test
	frame         string // Principal and Condition, compact
}

// A test is one operator with one key of a Condition.
type test struct {
	condition
	operator string // as written
	base     string // without quantifier and IfExists
	name     string // the key as written
	texts    []string
}

// read takes the texts of a document that Parse accepts.
func (l *linter) read(doc []byte) error {
	members, err := object(doc, "policy", "Version", "Id", "Statement")
	if err != nil {
		return err
	}
	_, l.version = members["Version"]
	list := []json.RawMessage{members["Statement"]}
	if list[0][0] == '[' {
		if err := json.Unmarshal(list[0], &list); err != nil {
			return err
		}
	}
	for i, raw := range list {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		c := clause{statement: &l.policy.statements[i]}
		_, c.hasSid = m["Sid"]
		action, _, _ := either(m, "Action")
		if c.actionTexts, err = texts(action); err != nil {
			return err
		}
		if resource, _, _ := either(m, "Resource"); resource != nil {
			if c.resourceTexts, err = texts(resource); err != nil {
				return err
			}
		}
		if err := c.readTests(m["Condition"]); err != nil {
			return err
		}
		c.frame = compact(m["Principal"]) + compact(m["NotPrincipal"]) + compact(m["Condition"])
		l.clauses = append(l.clauses, c)
	}
	return nil
}

func (c *clause) readTests(raw json.RawMessage) error {
	var operators map[string]map[string]json.RawMessage
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &operators); err != nil {
		return err
	}
	for operator, keys := range operators {
		compiled, err := parseOperator(operator)
		if err != nil {
			return err
		}
		base := operator[strings.IndexByte(operator, ':')+1:]
		if base != "Null" {
			base = strings.TrimSuffix(base, "IfExists")
		}
		for key, raw := range keys {
			t := test{condition: compiled, operator: operator, base: base, name: key}
			t.key = strings.ToLower(key)
			if t.texts, err = scalars(raw); err != nil {
				return err
			}
			c.tests = append(c.tests, t)
		}
	}
	slices.SortFunc(c.tests, func(a, b test) int {
		return cmp.Or(cmp.Compare(a.operator, b.operator), cmp.Compare(a.name, b.name))
	})
	return nil
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "-"
	}
	return b.String()
}

func (l *linter) add(c *clause, severity, code, message, fix string) {
	l.findings = append(l.findings, Finding{Code: code, Severity: severity, Statement: c.index, Sid: c.sid, Message: message, Fix: fix})
}

// takes reports whether the statement is about an action.
func (c *clause) takes(action string) bool {
	return c.matchesAction(&Request{Action: action}) != c.notAction
}

// allows returns the first statement that allows an action on something; nil
// if none does.
func (l *linter) allows(action string) *clause {
	for i := range l.clauses {
		if c := &l.clauses[i]; !c.deny && c.takes(action) {
			return c
		}
	}
	return nil
}

// forAll reports whether the statement is about * itself, the resource of
// actions that take no other.
func (c *clause) forAll() bool {
	if c.resources == nil {
		return true
	}
	return slices.ContainsFunc(c.resourceTexts, stars) != c.notResource
}

// stars reports whether a pattern is nothing but *.
func stars(s string) bool { return s != "" && strings.Trim(s, "*") == "" }

// vain says what an action without effect does to a statement.
func (c *clause) vain() string {
	switch {
	case c.notAction:
		return "so the statement leaves nothing out by it"
	case c.deny:
		return "so the statement denies nothing by it"
	}
	return "so the statement allows nothing by it"
}

// enumerate writes a list for people, of which it shows the first few.
func enumerate(list []string) string {
	const most = 12
	shown := make([]string, 0, most+1)
	for _, s := range list[:min(len(list), most)] {
		shown = append(shown, brief(s))
	}
	switch n := len(list); {
	case n > most:
		return strings.Join(shown, ", ") + " and " + plural(n-most, "other")
	case n > 1:
		return strings.Join(shown[:n-1], ", ") + " and " + shown[n-1]
	}
	return strings.Join(shown, "")
}

// brief cuts a text short that comes from the document.
func brief(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
