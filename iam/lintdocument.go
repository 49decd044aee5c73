package iam

import (
	"fmt"
	"strconv"
	"strings"
)

// plural counts things.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// checkDocument finds what concerns several statements.
func (l *linter) checkDocument() {
	l.checkVersion()
	l.checkRedundantStatements()
	if l.kind != Trust {
		l.checkPush()
		l.checkPull()
	}
	if l.kind == Identity {
		l.checkToken()
	}
	if l.kind == Resource {
		l.checkResourceElements()
	}
}

func (l *linter) checkVersion() {
	if !l.version {
		l.add(&l.clauses[0], SeverityWarning, "MISSING_VERSION",
			"The policy has no Version, so it is read by the rules of 2008-10-17.", `Add "Version": "2012-10-17".`)
	}
	if l.policy.Version == "2012-10-17" {
		return
	}
	for i := range l.clauses {
		if v := l.clauses[i].variable(); v != "" {
			l.add(&l.clauses[i], SeverityError, "VARIABLE_UNSUPPORTED_IN_VERSION",
				fmt.Sprintf("%s holds a policy variable, which is plain text before version 2012-10-17.", brief(v)), `Set "Version": "2012-10-17".`)
		}
	}
}

// variable returns the first text of a statement with a variable in it.
func (c *clause) variable() string {
	for _, s := range c.resourceTexts {
		if strings.Contains(s, "${") {
			return s
		}
	}
	for i := range c.tests {
		for _, s := range c.tests[i].texts {
			if strings.Contains(s, "${") {
				return s
			}
		}
	}
	return ""
}

// checkSid finds statement IDs that are empty, doubled or badly spelt.
func (l *linter) checkSid(c *clause) {
	switch {
	case !c.hasSid:
		return
	case c.sid == "":
		l.add(c, SeveritySuggest, "EMPTY_SID_VALUE", "The Sid is empty.", "Name the statement, or leave out its Sid.")
		return
	case l.kind == Identity && !isSid(c.sid):
		l.add(c, SeverityError, "UNSUPPORTED_SID", fmt.Sprintf("The Sid %q has other characters than letters and digits.", brief(c.sid)),
			"Use A-Z, a-z and 0-9 only.")
	}
	for i := range c.index {
		if l.clauses[i].sid != c.sid {
			continue
		}
		code, severity := "UNIQUE_SIDS_RECOMMENDED", SeverityWarning
		if l.kind == Identity {
			code, severity = "UNIQUE_SIDS_REQUIRED", SeverityError
		}
		l.add(c, severity, code, fmt.Sprintf("Statement %d has the Sid %q too.", i, brief(c.sid)), "Give each statement a Sid of its own.")
		return
	}
}

func isSid(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// checkRedundantStatements finds statements that another one makes needless.
func (l *linter) checkRedundantStatements() {
	for i := range l.clauses {
		for j := range l.clauses {
			a, b := &l.clauses[i], &l.clauses[j]
			if i == j || !b.includes(a) || i < j && a.includes(b) {
				continue
			}
			l.add(a, SeveritySuggest, "REDUNDANT_STATEMENT",
				fmt.Sprintf("Statement %d says all of this already, for the same principals and under the same conditions.", j), "Remove this statement.")
			break
		}
	}
}

// includes reports whether all that b is about, c is about.
func (c *clause) includes(b *clause) bool {
	return c.deny == b.deny && c.frame == b.frame && c.notAction == b.notAction && c.notResource == b.notResource &&
		!c.notAction && !c.notResource && (c.resources == nil) == (b.resources == nil) &&
		coversAll(c.actionTexts, b.actionTexts, coversAction) && coversAll(c.resourceTexts, b.resourceTexts, coversARN)
}

// lacking returns those of a set of actions that the policy does not allow.
func (l *linter) lacking(set ...string) (out []string) {
	for _, a := range set {
		if l.allows(a) == nil {
			out = append(out, a)
		}
	}
	return out
}

// pushes returns the statement that lets its principals push; nil if none does.
func (l *linter) pushes() *clause {
	if c := l.allows("ecr:PutImage"); c != nil {
		return c
	}
	return l.allows("ecr:UploadLayerPart")
}

// checkPush judges the actions of a push (ECR user guide, "IAM permissions for
// pushing an image to an Amazon ECR private repository").
func (l *linter) checkPush() {
	c := l.pushes()
	if c == nil {
		return
	}
	missing := l.lacking("ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage")
	if missing != nil {
		missing = append(missing, l.lacking("ecr:BatchGetImage")...)
		l.add(c, SeverityWarning, "ECRU_PUSH_INCOMPLETE",
			fmt.Sprintf("The policy allows a part of a push, which also needs %s: docker push fails.", enumerate(missing)),
			"Allow "+enumerate(missing)+" on the same repositories.")
	} else if l.allows("ecr:BatchGetImage") == nil {
		l.add(c, SeveritySuggest, "ECRU_PUSH_INCOMPLETE",
			"The policy allows a push without ecr:BatchGetImage, which clients use to ask whether the image is there already.",
			"Allow ecr:BatchGetImage on the same repositories.")
	}
}

// checkPull judges the actions of a pull. BatchGetImage alone is a part of a
// push too.
func (l *linter) checkPull() {
	manifest, layer := l.allows("ecr:BatchGetImage"), l.allows("ecr:GetDownloadUrlForLayer")
	c, missing := manifest, "ecr:GetDownloadUrlForLayer"
	switch {
	case (manifest == nil) == (layer == nil), manifest != nil && l.pushes() != nil:
		return
	case manifest == nil:
		c, missing = layer, "ecr:BatchGetImage"
	}
	l.add(c, SeverityWarning, "ECRU_PULL_INCOMPLETE",
		fmt.Sprintf("The policy allows a part of a pull, which also needs %s: docker pull fails.", missing), "Allow "+missing+" on the same repositories.")
}

// checkToken misses the one action that every docker login needs.
func (l *linter) checkToken() {
	c := l.pushes()
	if c == nil {
		c = l.allows("ecr:GetDownloadUrlForLayer")
	}
	if c == nil {
		return
	}
	for i := range l.clauses {
		if s := &l.clauses[i]; !s.deny && s.takes(tokenAction) && s.forAll() {
			return
		}
	}
	l.add(c, SeveritySuggest, "ECRU_TOKEN_MISSING",
		"The policy allows a push or a pull, but no ecr:GetAuthorizationToken on *, without which docker login fails. Another policy may allow it.",
		`Add {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}, unless another policy has it.`)
}

// checkResourceElements finds Resource elements where the policy is likely a
// repository's. Only a registry's names actions of the registry.
func (l *linter) checkResourceElements() {
	for i := range l.clauses {
		for _, a := range l.clauses[i].actionTexts {
			if ofRegistry(a) {
				return
			}
		}
	}
	for i := range l.clauses {
		if c := &l.clauses[i]; c.resources != nil {
			l.add(c, SeveritySuggest, "ECRU_RESOURCE_IN_REPOSITORY_POLICY",
				"If this is the policy of a repository, it is about that repository alone: Resource adds nothing, and one that does not match the repository turns the statement off.",
				"Leave out Resource in a repository's policy. In a registry's it is right.")
		}
	}
}

// ofRegistry reports whether an action is one that policies of registries are
// written for (ECR user guide, "Private registry permissions").
func ofRegistry(action string) bool {
	for _, a := range []string{"ecr:ReplicateImage", "ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:CreatePullThroughCacheRule"} {
		if strings.EqualFold(action, a) {
			return true
		}
	}
	return false
}
