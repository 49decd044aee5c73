package iam

import (
	"fmt"
	"slices"
	"strings"
)

// coversText reports whether pattern a takes in all that pattern b does.
func coversText(a, b string) bool {
	star, mark, t, i := -1, 0, 0, 0
	for i < len(b) {
		switch {
		case t < len(a) && a[t] == '*':
			star, mark = t, i
			t++
		case t < len(a) && b[i] != '*' && (a[t] == '?' || a[t] == b[i]):
			t++
			i++
		case star >= 0:
			mark++
			t, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(a[t:], "*") == ""
}

func coversAction(a, b string) bool { return coversText(strings.ToLower(a), strings.ToLower(b)) }

// coversARN is coversText for resources: the first five segments by themselves.
func coversARN(a, b string) bool {
	switch {
	case a == b || stars(a):
		return true
	case strings.Contains(a, "${"):
		return false
	}
	pa, pb := strings.SplitN(a, ":", 6), strings.SplitN(b, ":", 6)
	if len(pa) < 6 {
		return coversText(a, b)
	}
	return slices.EqualFunc(pa, pb, coversText)
}

// coversAll reports whether each of b is covered by one of a.
func coversAll(a, b []string, covers func(a, b string) bool) bool {
	for _, s := range b {
		if !slices.ContainsFunc(a, func(p string) bool { return covers(p, s) }) {
			return false
		}
	}
	return true
}

// redundant returns the entries that another one covers; of two that cover
// each other, the later one.
func redundant(list []string, covers func(a, b string) bool) (out []string) {
	for i, b := range list {
		for j, a := range list {
			if i != j && covers(a, b) && (j < i || !covers(b, a)) {
				out = append(out, b)
				break
			}
		}
	}
	return out
}

// checkResources judges the Resource or NotResource of a statement.
func (l *linter) checkResources(c *clause) {
	if c.resources == nil {
		return
	}
	if c.notResource && !c.deny {
		l.add(c, SeveritySecurity, "ECRU_ALLOW_NOT_RESOURCE",
			"Allow with NotResource allows all resources but those it names, and those that are yet to come.", "List what is allowed in Resource.")
	}
	for _, r := range c.resourceTexts {
		if !stars(r) {
			l.checkARN(c, r)
		}
	}
	if list := redundant(c.resourceTexts, coversARN); list != nil {
		l.add(c, SeveritySuggest, "REDUNDANT_RESOURCE", "Other resources in the list take in "+enumerate(list)+".", "Remove "+enumerate(list)+".")
	}
	l.checkRoles(c)
	taken := l.onRepositories(c)
	if len(taken) == 0 {
		return
	}
	l.checkPrefixes(c)
	if !c.deny && !c.notResource && l.kind == Identity {
		l.checkReach(c, taken)
	}
}

// onRepositories returns the actions of a statement that take a repository.
func (l *linter) onRepositories(c *clause) (out []Action) {
	for _, a := range l.actions {
		if a.Repository && c.takes(a.Name) {
			out = append(out, a)
		}
	}
	return out
}

// checkReach finds resources that take in more than they must. A condition on
// the tags of the repository narrows them as well as a name does.
func (l *linter) checkReach(c *clause, taken []Action) {
	for i := range c.tests {
		if t := &c.tests[i]; t.narrows() && (strings.HasPrefix(t.key, "ecr:resourcetag/") || strings.HasPrefix(t.key, "aws:resourcetag/")) {
			return
		}
	}
	severity := SeverityWarning
	for _, a := range taken {
		if a.Level != LevelList && a.Level != LevelRead {
			severity = SeveritySecurity
		}
	}
	for _, r := range c.resourceTexts {
		parts := segments(r)
		switch {
		case coversARN(r, "arn:aws:ecr:*:*:repository/*"):
			l.add(c, severity, "ECRU_WILDCARD_RESOURCE",
				fmt.Sprintf("%q takes in every repository of every registry for %s.", brief(r), enumerate(names(taken))),
				"Name the repositories: arn:aws:ecr:REGION:ACCOUNT:repository/NAME. Leave * to the actions that take no repository.")
		case len(parts) < 6 || !coversText(parts[2], "ecr"):
		case strings.ContainsAny(parts[3]+parts[4], "*?"):
			l.add(c, SeverityWarning, "ECRU_WILDCARD_IN_ARN",
				fmt.Sprintf("%s has a wildcard for its region or account, so it takes in repositories of the same name anywhere.", brief(r)),
				"Write out the region and the account.")
		case coversText(parts[5], "repository/*"):
			l.add(c, SeveritySuggest, "ECRU_EVERY_REPOSITORY",
				fmt.Sprintf("%s takes in every repository of the registry, and those that are yet to come.", brief(r)),
				"Name the repositories, or a prefix such as repository/team/*.")
		}
	}
}

// checkPrefixes finds patterns for what lies under a name that miss the name.
func (l *linter) checkPrefixes(c *clause) {
	for _, r := range c.resourceTexts {
		base, ok := strings.CutSuffix(r, "/*")
		_, name, _ := strings.Cut(base, ":repository/")
		if !ok || name == "" || stars(name) || slices.ContainsFunc(c.resourceTexts, func(p string) bool { return coversARN(p, base) }) {
			continue
		}
		l.add(c, SeveritySuggest, "ECRU_PREFIX_MISSES_REPOSITORY",
			fmt.Sprintf("%s does not take in the repository %s itself, only those under it.", brief(r), brief(name)),
			fmt.Sprintf("Add %s if it is meant too.", brief(base)))
	}
}

// segments splits a resource into the six segments of an ARN, or as many as it
// has; a variable becomes $.
func segments(r string) []string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(r, "${")
		b.WriteString(before)
		_, rest, shut := strings.Cut(after, "}")
		if !ok || !shut {
			b.WriteString(after)
			return strings.SplitN(b.String(), ":", 6)
		}
		b.WriteByte('$')
		r = rest
	}
}

// checkARN judges the form of a resource that is not * alone.
func (l *linter) checkARN(c *clause, r string) {
	bad := func(code, message, fix string) {
		l.add(c, SeverityError, code, fmt.Sprintf("%s %s.", brief(r), message), fix)
	}
	const form = "Write arn:aws:ecr:REGION:ACCOUNT:repository/NAME."
	p := segments(r)
	switch {
	case !coversText(p[0], "arn"):
		bad("INVALID_ARN_PREFIX", "does not begin with arn:", form)
	case len(p) < 6:
		bad("MISSING_ARN_FIELD", "has fewer than the six segments of an ARN", form)
	case p[1] != "" && !strings.ContainsAny(p[1], "*?$") && p[1] != "aws" && !strings.HasPrefix(p[1], "aws-"):
		bad("INVALID_PARTITION", "is in no partition of AWS", "Write aws after arn:.")
	case strings.ToLower(p[2]) != p[2] && !strings.Contains(p[2], "$"):
		bad("INVALID_ARN_SERVICE_CASE", "has capitals in its service", "Write "+brief(strings.ToLower(p[2]))+".")
	case p[2] == "ecr":
		l.checkECRARN(p, bad)
	case !coversText(p[2], "ecr"):
		l.checkOtherService(c, r, p[2])
	}
}

// checkECRARN judges the segments of a repository's ARN.
func (l *linter) checkECRARN(p []string, bad func(code, message, fix string)) {
	free := func(s string) bool { return strings.ContainsAny(s, "*?$") }
	name := p[5]
	if i := strings.IndexAny(name, "*?$"); i >= 0 {
		name = name[:i]
	}
	switch {
	case p[3] == "":
		bad("MISSING_ARN_REGION", "has no region", "Write the region of the repository after ecr:.")
	case !free(p[3]) && strings.Trim(p[3], "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		bad("INVALID_ARN_REGION", "has a region with other characters than a-z, 0-9 and -", "Write the region of the repository after ecr:.")
	case !free(p[4]) && !isAccount(p[4]):
		bad("INVALID_ARN_ACCOUNT", "has no account of twelve digits", "Write the account of the registry after the region.")
	case !strings.HasPrefix(name, "repository/") && (name == p[5] || !strings.HasPrefix("repository/", name)),
		p[5] == "repository/", strings.ToLower(name) != name:
		bad("INVALID_ARN_RESOURCE", "is no ARN of a repository, whose names are in lower case after repository/", "Write repository/NAME after the account.")
	}
}

// checkOtherService finds ARNs that none of a statement's actions take.
func (l *linter) checkOtherService(c *clause, r, service string) {
	if l.kind == Resource {
		l.add(c, SeverityError, "UNSUPPORTED_RESOURCE_ARN_IN_POLICY", brief(r)+" is no repository, so nothing in a policy of ECR is about it.",
			"Name a repository, or leave out Resource.")
		return
	}
	if c.notAction {
		return
	}
	for _, a := range c.actionTexts {
		if s, _, _ := strings.Cut(a, ":"); !strings.EqualFold(s, "ecr") {
			return // whose resources are not known here
		}
	}
	l.add(c, SeverityWarning, "ECRU_ARN_OF_OTHER_SERVICE", fmt.Sprintf("%s belongs to %s, and no action of the statement is about it.", brief(r), brief(service)),
		"Remove it, or write arn:aws:ecr:REGION:ACCOUNT:repository/NAME.")
}

// checkRoles finds statements that hand out roles at will.
func (l *linter) checkRoles(c *clause) {
	if c.deny || c.notAction || c.notResource || !slices.ContainsFunc(c.resourceTexts, func(r string) bool {
		return stars(r) || strings.HasSuffix(r, "role/*") || strings.HasSuffix(r, ":*")
	}) {
		return
	}
	has := func(key string) bool {
		return slices.ContainsFunc(c.tests, func(t test) bool { return t.key == key && t.narrows() })
	}
	for _, a := range c.actionTexts {
		switch {
		case strings.EqualFold(a, "iam:PassRole") && !has("iam:passedtoservice"):
			l.add(c, SeveritySecurity, "PASS_ROLE_WITH_STAR_IN_RESOURCE", "iam:PassRole on all roles gives the rights of each of them.",
				"Name the roles, or add a condition on iam:PassedToService.")
		case strings.EqualFold(a, "iam:CreateServiceLinkedRole") && !has("iam:awsservicename"):
			l.add(c, SeverityWarning, "CREATE_SLR_WITH_STAR_IN_RESOURCE", "iam:CreateServiceLinkedRole on all roles creates those of any service.",
				"Name the role, or add a condition on iam:AWSServiceName, such as replication.ecr.amazonaws.com.")
		}
	}
}
