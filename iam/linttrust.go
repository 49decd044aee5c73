package iam

import (
	"fmt"
	"slices"
	"strings"
)

const (
	assume        = "sts:AssumeRole"
	assumeWithWeb = "sts:AssumeRoleWithWebIdentity"
	assumeSAML    = "sts:AssumeRoleWithSAML"
)

// checkPrincipals judges whom a statement allows something.
func (l *linter) checkPrincipals(c *clause) {
	if c.deny || c.principals == nil {
		return
	}
	if c.notPrincipal {
		l.add(c, SeveritySecurity, "ALLOW_WITH_NOT_PRINCIPAL",
			"Allow with NotPrincipal allows everyone but those it names, in every account.", "Name who is allowed in Principal.")
		return
	}
	if c.principals.everyone && !c.has(placing) {
		l.add(c, SeveritySecurity, "ECRU_PUBLIC_PRINCIPAL",
			"The principal * is everyone in every account, and no condition says who or from where.",
			"Name accounts, roles or users in Principal, or add a condition on aws:PrincipalOrgID, aws:PrincipalAccount, aws:SourceIp, aws:SourceVpc or aws:SourceVpce.")
	}
	if l.kind == Trust {
		l.checkTrusted(c)
		l.checkMismatch(c)
		l.checkOIDC(c)
	}
}

// has reports whether a condition on one of some keys narrows the statement.
func (c *clause) has(key func(string) bool) bool {
	return slices.ContainsFunc(c.tests, func(t test) bool { return key(t.key) && t.narrows() })
}

// placing reports whether a key tells who asks, unmistakably, or from where.
func placing(key string) bool {
	return slices.Contains([]string{"aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount", "aws:principalarn", "aws:userid",
		"aws:sourceip", "aws:sourcevpc", "aws:sourcevpcarn", "aws:sourcevpce", "aws:vpceaccount", "aws:vpceorgid", "aws:vpceorgpaths",
		"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths", "aws:federatedprovider"}, key)
}

// limiting reports whether a key limits whom a trusted account may send.
func limiting(key string) bool {
	return placing(key) || strings.HasPrefix(key, "aws:principaltag/") ||
		slices.Contains([]string{"sts:externalid", "sts:sourceidentity", "sts:rolesessionname", "aws:multifactorauthpresent", "aws:multifactorauthage", "aws:username"}, key)
}

// checkTrusted finds accounts that may assume the role as they please.
func (l *linter) checkTrusted(c *clause) {
	if len(c.principals.accounts) == 0 || !c.takes(assume) || c.has(limiting) {
		return
	}
	l.add(c, SeverityWarning, "ECRU_TRUSTED_ACCOUNT",
		fmt.Sprintf("Whomever account %s lets do so may assume the role: no condition limits it.", enumerate(c.principals.accounts)),
		"Name the roles or users, or add a condition on sts:ExternalId, which the other party must know.")
}

// checkMismatch finds ways to assume a role that its principals do not have.
func (l *linter) checkMismatch(c *clause) {
	p := c.principals
	federated := len(p.federated) > 0
	direct := p.everyone || len(p.aws)+len(p.accounts)+len(p.service) > 0
	for _, a := range c.actionTexts {
		var fix string
		switch {
		case c.notAction:
		case strings.EqualFold(a, assume) && federated && !direct:
			fix = "Write " + assumeWithWeb + " for an OIDC provider."
		case (strings.EqualFold(a, assumeWithWeb) || strings.EqualFold(a, assumeSAML)) && !federated && !p.everyone:
			fix = "Write " + assume + ", or name a provider in Federated."
		case strings.EqualFold(a, assumeSAML) && len(p.providers()) > 0 && len(p.providers()) == len(p.federated):
			fix = "Write " + assumeWithWeb + " for an OIDC provider."
		}
		if fix != "" {
			l.add(c, SeverityError, "MISMATCHED_ACTION_FOR_PRINCIPAL", fmt.Sprintf("None of the principals can call %s, so the statement allows nothing by it.", a), fix)
		}
	}
}

// providers returns the OIDC providers, as condition keys begin with them.
func (p *principals) providers() (out []string) {
	for _, f := range p.federated {
		if _, url, ok := strings.Cut(f, ":oidc-provider/"); ok && url != "" {
			out = append(out, url)
		}
	}
	return out
}

// checkOIDC finds trust in every identity that a provider vouches for.
func (l *linter) checkOIDC(c *clause) {
	providers := c.principals.providers()
	if len(providers) == 0 || !c.takes(assumeWithWeb) {
		return
	}
	about := func(claim string) (key string, tests []*test) {
		for i := range c.tests {
			t := &c.tests[i]
			for _, p := range providers {
				if t.key == strings.ToLower(p)+":"+claim && !t.negated && !t.null && !t.ifExists && t.quantifier != forAll {
					tests = append(tests, t)
				}
			}
		}
		return brief(providers[0]) + ":" + claim, tests
	}
	sub, subs := about("sub")
	if len(subs) == 0 {
		l.add(c, SeveritySecurity, "ECRU_OIDC_WITHOUT_SUB",
			fmt.Sprintf("No condition on %s: every identity of the provider may assume the role.", sub),
			fmt.Sprintf(`Add "StringEquals": {%q: "system:serviceaccount:NAMESPACE:NAME"}, or the subject that the provider gives.`, sub))
	}
	wide := ""
	for i, t := range subs {
		v := t.anySubject()
		if v == "" {
			wide = "" // they must all hold
			break
		}
		if i == 0 {
			wide = v
		}
	}
	if wide != "" {
		l.add(c, SeveritySecurity, "ECRU_OIDC_SUB_WILDCARD", fmt.Sprintf("%q for %s takes in subjects that anyone may have.", brief(wide), sub),
			"Write out the subject, at least the namespace or the organisation and repository.")
	}
	if aud, auds := about("aud"); len(auds) == 0 {
		l.add(c, SeverityWarning, "ECRU_OIDC_WITHOUT_AUD",
			fmt.Sprintf("No condition on %s: a token that the provider gave for another purpose may assume the role.", aud),
			fmt.Sprintf(`Add %q: "sts.amazonaws.com" to StringEquals.`, aud))
	}
}

// anySubject returns the first value of a sub condition that takes in subjects
// of everyone: all of them, those of all GitHub repositories, or of all service
// accounts; "" if none does.
func (t *test) anySubject() string {
	if t.base != "StringLike" {
		return ""
	}
	i := slices.IndexFunc(t.texts, func(v string) bool {
		parts := strings.Split(v, ":")
		switch {
		case len(parts) > 1 && parts[0] == "repo":
			return parts[1] == "" || parts[1][0] == '*' || parts[1][0] == '?'
		case len(parts) > 2 && parts[0] == "system" && parts[1] == "serviceaccount":
			return strings.Trim(v[len("system:serviceaccount:"):], "*?:") == ""
		}
		return strings.HasPrefix(v, "*") || v != "" && strings.Trim(v, "*?:/") == ""
	})
	if i < 0 {
		return ""
	}
	return t.texts[i]
}
