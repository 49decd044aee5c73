package iam

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A condition is one operator with one key (IAM reference, "IAM JSON policy
// elements: Condition operators").
type condition struct {
	match      matcher
	negated    bool
	null       bool
	ifExists   bool
	quantifier quantifier
	key        string // in lower case
	values     []pattern
}

type quantifier int

const (
	single quantifier = iota
	forAll
	forAny
)

// An outcome of comparing one value of the request with one of the policy.
type outcome int

const (
	differs outcome = iota
	equals
	invalid // the request's value cannot be compared so
)

// A matcher compares a value of the request with one of the policy.
type matcher func(r *Request, got string, want *pattern) outcome

// operator returns the matcher of a base operator.
func operator(name string) (m matcher, negated, ok bool) {
	switch name {
	case "StringEquals", "StringNotEquals":
		return stringEquals(false), name == "StringNotEquals", true
	case "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase":
		return stringEquals(true), name == "StringNotEqualsIgnoreCase", true
	case "StringLike", "StringNotLike":
		return stringLike, name == "StringNotLike", true
	case "NumericEquals", "NumericNotEquals":
		return numeric(func(a, b float64) bool { return a == b }), name == "NumericNotEquals", true
	case "NumericLessThan":
		return numeric(func(a, b float64) bool { return a < b }), false, true
	case "NumericLessThanEquals":
		return numeric(func(a, b float64) bool { return a <= b }), false, true
	case "NumericGreaterThan":
		return numeric(func(a, b float64) bool { return a > b }), false, true
	case "NumericGreaterThanEquals":
		return numeric(func(a, b float64) bool { return a >= b }), false, true
	case "DateEquals", "DateNotEquals":
		return date(func(a, b time.Time) bool { return a.Equal(b) }), name == "DateNotEquals", true
	case "DateLessThan":
		return date(time.Time.Before), false, true
	case "DateLessThanEquals":
		return date(func(a, b time.Time) bool { return !a.After(b) }), false, true
	case "DateGreaterThan":
		return date(time.Time.After), false, true
	case "DateGreaterThanEquals":
		return date(func(a, b time.Time) bool { return !a.Before(b) }), false, true
	case "Bool":
		return boolean, false, true
	case "BinaryEquals":
		return binary, false, true
	case "IpAddress", "NotIpAddress":
		return address, name == "NotIpAddress", true
	case "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike":
		return arnLike, name == "ArnNotEquals" || name == "ArnNotLike", true
	}
	return nil, false, false
}

func parseConditions(raw json.RawMessage, variables bool) (out []condition, err error) {
	var operators map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &operators); err != nil {
		return nil, errors.New("must be an object of operators, each an object of keys")
	}
	for name, keys := range operators {
		base, err := parseOperator(name)
		if err != nil {
			return nil, err
		}
		if len(keys) == 0 || len(keys) > 200 {
			return nil, fmt.Errorf("%s must have 1 to 200 keys", name)
		}
		for key, raw := range keys {
			c := base
			c.key = strings.ToLower(key)
			list, err := scalars(raw)
			if err != nil {
				return nil, fmt.Errorf("%s, %.100q: %w", name, key, err)
			}
			for _, v := range list {
				if c.null && v != "true" && v != "false" {
					return nil, fmt.Errorf("Null, %.100q: must be true or false", key)
				}
				c.values = append(c.values, parsePattern(v, variables))
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func parseOperator(name string) (c condition, err error) {
	base := name
	if rest, ok := strings.CutPrefix(base, "ForAllValues:"); ok {
		base, c.quantifier = rest, forAll
	} else if rest, ok := strings.CutPrefix(base, "ForAnyValue:"); ok {
		base, c.quantifier = rest, forAny
	}
	if base == "Null" && c.quantifier == single {
		c.null = true
		return c, nil
	}
	if rest, ok := strings.CutSuffix(base, "IfExists"); ok {
		base, c.ifExists = rest, true
	}
	var ok bool
	if c.match, c.negated, ok = operator(base); !ok {
		return c, fmt.Errorf("%.100q is not a condition operator", name)
	}
	return c, nil
}

// scalars reads a value or a list of values; numbers and booleans count as
// their text.
func scalars(raw json.RawMessage) ([]string, error) {
	list := []json.RawMessage{raw}
	if raw[0] == '[' {
		list = nil
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
	}
	if len(list) > maxList {
		return nil, fmt.Errorf("more than %d values", maxList)
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		switch v[0] {
		case '"':
			var s string
			if err := json.Unmarshal(v, &s); err != nil {
				return nil, err
			}
			out = append(out, s)
		case '{', '[', 'n':
			return nil, errors.New("a value must be a string, a number or a boolean")
		default:
			out = append(out, string(v))
		}
	}
	return out, nil
}

// holds decides the condition.
func (c *condition) holds(r *Request) bool {
	got := r.values(c.key)
	if c.null {
		for i := range c.values {
			if (c.values[i].literal == "true") == (len(got) == 0) {
				return true
			}
		}
		return false
	}
	if len(got) == 0 {
		switch {
		case c.quantifier == forAny:
			return false
		case c.quantifier == forAll || c.ifExists:
			return true
		}
		return c.negated
	}
	// A single negated operator must hold for all values, a positive one for any.
	all := c.quantifier == forAll || c.quantifier == single && c.negated
	for _, g := range got {
		if c.one(r, g) != all {
			return !all
		}
	}
	return all
}

// one decides for one value of the request.
func (c *condition) one(r *Request, got string) bool {
	found, bad := false, false
	for i := range c.values {
		switch c.match(r, got, &c.values[i]) {
		case equals:
			found = true
		case invalid:
			bad = true
		}
	}
	if c.negated {
		return !found && !bad
	}
	return found
}

func is(b bool) outcome {
	if b {
		return equals
	}
	return differs
}

// text returns a pattern's text with variables replaced; wildcards stand for
// themselves.
func (p *pattern) text(r *Request) (string, bool) {
	if len(p.vars) == 0 && p.plain {
		return p.literal, true
	}
	tokens, ok := p.expand(r)
	if !ok {
		return "", false
	}
	b := make([]byte, len(tokens))
	for i, t := range tokens {
		switch t {
		case anyRun:
			b[i] = '*'
		case anyOne:
			b[i] = '?'
		default:
			b[i] = byte(t)
		}
	}
	return string(b), true
}

func stringEquals(fold bool) matcher {
	return func(r *Request, got string, want *pattern) outcome {
		w, ok := want.text(r)
		if !ok {
			return invalid
		}
		return is(w == got || fold && strings.EqualFold(w, got))
	}
}

func stringLike(r *Request, got string, want *pattern) outcome {
	tokens, ok := want.expand(r)
	if !ok {
		return invalid
	}
	return is(glob(tokens, got, false))
}

func arnLike(r *Request, got string, want *pattern) outcome {
	if strings.Count(got, ":") < 5 {
		return invalid
	}
	matches, ok := want.matchesARN(r, got)
	if !ok {
		return invalid
	}
	return is(matches)
}

func numeric(compare func(a, b float64) bool) matcher {
	return func(r *Request, got string, want *pattern) outcome {
		w, ok := want.text(r)
		a, errA := number(got)
		b, errB := number(w)
		if !ok || errA != nil || errB != nil {
			return invalid
		}
		return is(compare(a, b))
	}
}

// number reads a decimal number; not hexadecimal, infinite or none at all.
func number(s string) (float64, error) {
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

func date(compare func(a, b time.Time) bool) matcher {
	return func(r *Request, got string, want *pattern) outcome {
		w, ok := want.text(r)
		a, okA := parseDate(got)
		b, okB := parseDate(w)
		if !ok || !okA || !okB {
			return invalid
		}
		return is(compare(a, b))
	}
}

// parseDate reads ISO 8601 in the forms that IAM takes (W3C, "Date and Time
// Formats"), or epoch seconds.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(n, 0), err == nil
}

func boolean(r *Request, got string, want *pattern) outcome {
	w, ok := want.text(r)
	if !ok || !strings.EqualFold(got, "true") && !strings.EqualFold(got, "false") {
		return invalid
	}
	return is(strings.EqualFold(got, w))
}

func binary(r *Request, got string, want *pattern) outcome {
	w, ok := want.text(r)
	a, errA := base64.StdEncoding.DecodeString(got)
	b, errB := base64.StdEncoding.DecodeString(w)
	if !ok || errA != nil || errB != nil {
		return invalid
	}
	return is(string(a) == string(b))
}

func address(r *Request, got string, want *pattern) outcome {
	w, ok := want.text(r)
	ip, err := netip.ParseAddr(got)
	if !ok || err != nil {
		return invalid
	}
	ip = ip.Unmap()
	if one, err := netip.ParseAddr(w); err == nil {
		return is(one.Unmap() == ip)
	}
	prefix, err := netip.ParsePrefix(w)
	if err != nil {
		return invalid
	}
	if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	return is(prefix.Contains(ip))
}
