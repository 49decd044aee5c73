package iam

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// globalKeys are the keys that every service knows, in lower case; after those
// that end in / comes a name (IAM user guide, "AWS global condition context
// keys").
func globalKeys() []string {
	return []string{
		"aws:assumedroot", "aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:chatbotsourcearn", "aws:currenttime",
		"aws:ec2instancesourceprivateipv4", "aws:ec2instancesourcevpc", "aws:epochtime", "aws:federatedprovider", "aws:multifactorauthage",
		"aws:multifactorauthpresent", "aws:principalaccount", "aws:principalarn", "aws:principalisawsservice", "aws:principalorgid",
		"aws:principalorgpaths", "aws:principalservicename", "aws:principalservicenameslist", "aws:principaltag/", "aws:principaltype",
		"aws:referer", "aws:requestedregion", "aws:requesttag/", "aws:resourceaccount", "aws:resourceorgid", "aws:resourceorgpaths",
		"aws:resourcetag/", "aws:securetransport", "aws:signinsessionarn", "aws:sourceaccount", "aws:sourcearn", "aws:sourceidentity",
		"aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpcarn", "aws:sourcevpce",
		"aws:tagkeys", "aws:tokenissuetime", "aws:useragent", "aws:userid", "aws:username", "aws:viaawsservice", "aws:vpceaccount",
		"aws:vpceorgid", "aws:vpceorgpaths", "aws:vpcsourceip", "aws:calledviaawsmcp", "aws:viaawsmcpservice",
	}
}

func isGlobal(key string) bool {
	return slices.ContainsFunc(globalKeys(), func(k string) bool {
		return key == k && !strings.HasSuffix(k, "/") || strings.HasSuffix(k, "/") && len(key) > len(k) && strings.HasPrefix(key, k)
	})
}

// isMany reports whether a key may have several values.
func isMany(key string) bool {
	return slices.Contains([]string{"aws:tagkeys", "aws:calledvia", "aws:principalorgpaths", "aws:resourceorgpaths", "aws:sourceorgpaths",
		"aws:vpceorgpaths", "aws:principalservicenameslist", "sts:transitivetagkeys"}, key)
}

// checkConditions judges the Condition of a statement.
func (l *linter) checkConditions(c *clause) {
	for i := range c.tests {
		t := &c.tests[i]
		if len(t.texts) == 0 {
			l.add(c, SeveritySuggest, "EMPTY_ARRAY_CONDITION", fmt.Sprintf("%s has no value for %s.", t.operator, brief(t.name)), "Give a value, or remove the key.")
		}
		if t.quantifier == forAll && !c.deny && !isMany(t.key) && (isGlobal(t.key) || l.kind == Trust) {
			l.add(c, SeveritySecurity, "FORALLVALUES_WITH_SINGLE_VALUED_KEY",
				fmt.Sprintf("%s holds for requests without %s, which has one value at most.", t.operator, brief(t.name)), "Write "+t.base+".")
		}
		l.checkKey(c, t)
		l.checkValues(c, t)
	}
}

// checkKey finds keys that no request has.
func (l *linter) checkKey(c *clause, t *test) {
	service, name, _ := strings.Cut(t.key, ":")
	switch {
	case service == "ecr" && (!strings.HasPrefix(name, "resourcetag/") || name == "resourcetag/"):
		l.add(c, SeverityError, "INVALID_SERVICE_CONDITION_KEY", fmt.Sprintf("ECR has no condition key %s.", brief(t.name)),
			"Write ecr:ResourceTag/NAME, the only one that it has, or a global key.")
	case service == "aws" && !isGlobal(t.key):
		fix := "Write a global condition key, such as aws:PrincipalArn."
		if near := nearest(t.key, globalKeys()); near != "" {
			fix = "Write " + near + " (case does not matter)."
		}
		l.add(c, SeverityError, "INVALID_GLOBAL_CONDITION_KEY", fmt.Sprintf("There is no global condition key %s.", brief(t.name)), fix)
	}
}

// A datatype is what a family of operators compares.
type datatype struct{ code, name, form string }

// family returns what an operator compares; ok is false for text.
func family(base string) (d datatype, valid func(string) bool, ok bool) {
	switch {
	case strings.HasPrefix(base, "Numeric"):
		return datatype{"TYPE_MISMATCH_NUMBER", "a number", "a number, such as 3600"}, func(s string) bool { _, err := number(s); return err == nil }, true
	case strings.HasPrefix(base, "Date"):
		return datatype{"TYPE_MISMATCH_DATE", "a date", "a date in the form 2006-01-02 or 2006-01-02T15:04:05Z"}, func(s string) bool { _, ok := parseDate(s); return ok }, true
	case base == "Bool":
		return datatype{"TYPE_MISMATCH_BOOLEAN", "a boolean", "true or false"}, func(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }, true
	case strings.HasSuffix(base, "IpAddress"):
		return datatype{"TYPE_MISMATCH_IP_RANGE", "an IP address range", "a range, such as 203.0.113.0/24"}, isRange, true
	case base == "BinaryEquals":
		return datatype{"TYPE_MISMATCH_STRING", "base64 text", "base64"}, func(s string) bool { _, err := base64.StdEncoding.DecodeString(s); return err == nil }, true
	}
	return datatype{}, nil, false
}

func isRange(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(s)
	return err == nil
}

// wanted is the family of operators that a key is for; "" if it is text or
// not known.
func wanted(key string) string {
	switch key {
	case "aws:sourceip", "aws:vpcsourceip":
		return "IpAddress"
	case "aws:currenttime", "aws:tokenissuetime":
		return "DateLessThan"
	case "aws:securetransport", "aws:multifactorauthpresent", "aws:viaawsservice", "aws:principalisawsservice":
		return "Bool"
	case "aws:multifactorauthage":
		return "NumericLessThan"
	}
	return ""
}

// checkValues finds values that the operator cannot compare.
func (l *linter) checkValues(c *clause, t *test) {
	d, valid, typed := family(t.base)
	if w := wanted(t.key); w != "" && !t.null {
		if want, _, _ := family(w); want.code != d.code {
			l.add(c, SeverityWarning, "TYPE_MISMATCH", fmt.Sprintf("%s compares %s as another type: it is %s.", t.operator, brief(t.name), want.name),
				"Write "+w+" or one of its kind.")
		}
	}
	for _, v := range t.texts {
		switch {
		case strings.Contains(v, "${"):
		case typed && !valid(v):
			l.add(c, SeverityWarning, d.code, fmt.Sprintf("%q is not %s, so %s never matches it.", brief(v), d.name, t.operator), "Write "+d.form+".")
		case strings.HasPrefix(t.base, "String") && !strings.HasSuffix(t.base, "Like") && strings.ContainsAny(v, "*?"):
			like := "StringLike"
			if t.negated {
				like = "StringNotLike"
			}
			l.add(c, SeverityWarning, "WILDCARD_WITHOUT_LIKE_OPERATOR", fmt.Sprintf("%s takes the wildcard of %q literally.", t.operator, brief(v)), "Write "+like+" if a wildcard is meant.")
		}
	}
}

// narrows reports whether a test turns away requests: one that holds without
// the key, or for any value of it, does not.
func (t *test) narrows() bool {
	if t.negated || t.null || t.ifExists || t.quantifier == forAll || len(t.texts) == 0 {
		return false
	}
	return !slices.ContainsFunc(t.texts, t.open)
}

// open reports whether a value takes in everyone, or who is in any account.
func (t *test) open(v string) bool {
	switch {
	case strings.HasSuffix(t.base, "IpAddress"):
		return strings.HasSuffix(v, "/0")
	case t.base == "Bool":
		return !strings.EqualFold(v, "true")
	case t.base != "StringLike" && !strings.HasPrefix(t.base, "Arn"):
		return false
	case strings.Trim(v, "*?") == "":
		return true
	case t.key == "aws:principalarn" || t.key == "aws:sourcearn" || t.key == "aws:userid":
		p := segments(v)
		return len(p) < 6 && strings.HasPrefix(v, "*") || len(p) < 6 && p[0] == "arn" || len(p) == 6 && strings.ContainsAny(p[4], "*?")
	}
	return false
}
