package iam_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// holds decides one key of one operator ("IAM JSON policy elements: Condition
// operators", "Creating a condition with multiple keys or values").
func (q *question) holds(operator, key string, want []string, variables bool) bool {
	got := q.value(key)
	if operator == "Null" {
		return slices.Contains(want, strconv.FormatBool(len(got) == 0))
	}
	set := ""
	if name, rest, found := strings.Cut(operator, ":"); found {
		set, operator = name, rest
	}
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	base := strings.Replace(operator, "Not", "", 1)
	negated := base != operator
	if len(got) == 0 {
		return set != "ForAnyValue" && (set == "ForAllValues" || ifExists || negated)
	}
	one := func(got string) bool {
		equal, comparable := false, true
		for _, w := range want {
			symbols, known := q.symbols(w, variables)
			e, c := false, false
			if known {
				e, c = compare(base, got, symbols)
			}
			equal, comparable = equal || e && c, comparable && c
		}
		if negated {
			return comparable && !equal
		}
		return equal
	}
	some, every := false, true
	for _, g := range got {
		holds := one(g)
		some, every = some || holds, every && holds
	}
	if set == "ForAllValues" || set == "" && negated {
		return every
	}
	return some
}

// compare compares a value of the request with one of the policy; comparable
// is false if they are not of the operator's type.
func compare(operator, got string, pattern []symbol) (equal, comparable bool) {
	want := ""
	for _, p := range pattern {
		want += string(p.char)
	}
	if order, found := strings.CutPrefix(operator, "Numeric"); found {
		a, b := decimal(got), decimal(want)
		return a != nil && b != nil && inOrder(order, cmp.Compare(*a, *b)), a != nil && b != nil
	}
	if order, found := strings.CutPrefix(operator, "Date"); found {
		a, b := instant(got), instant(want)
		return a != nil && b != nil && inOrder(order, a.Compare(*b)), a != nil && b != nil
	}
	switch operator {
	case "StringEquals":
		return got == want, true
	case "StringEqualsIgnoreCase":
		return strings.EqualFold(got, want), true
	case "StringLike":
		return like(pattern, got), true
	case "ArnEquals", "ArnLike":
		return likeARN(pattern, got), strings.Count(got, ":") >= 5
	case "Bool":
		a := strings.ToLower(got)
		return a == strings.ToLower(want), a == "true" || a == "false"
	case "BinaryEquals":
		a, errA := base64.StdEncoding.DecodeString(got)
		b, errB := base64.StdEncoding.DecodeString(want)
		return errA == nil && errB == nil && bytes.Equal(a, b), errA == nil && errB == nil
	case "IpAddress":
		ip := net.ParseIP(got)
		if !strings.Contains(want, "/") {
			w := net.ParseIP(want)
			return ip != nil && w != nil && ip.Equal(w), ip != nil && w != nil
		}
		_, network, err := net.ParseCIDR(want)
		return ip != nil && err == nil && network.Contains(ip), ip != nil && err == nil
	}
	return false, false
}

// inOrder tells whether a comparison is what the end of an operator's name asks.
func inOrder(name string, comparison int) bool {
	switch name {
	case "Equals":
		return comparison == 0
	case "LessThan":
		return comparison < 0
	case "LessThanEquals":
		return comparison <= 0
	case "GreaterThan":
		return comparison > 0
	}
	return comparison >= 0
}

var decimalForm = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

func decimal(s string) *float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !decimalForm.MatchString(s) {
		return nil
	}
	return &f
}

// instant reads a date, a date with its time, or epoch seconds.
func instant(s string) *time.Time {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		t := time.Unix(n, 0)
		return &t
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return &t
		}
	}
	return nil
}
