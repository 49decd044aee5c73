package iam

import (
	"fmt"
	"strings"
)

const tokenAction = "ecr:GetAuthorizationToken"

// checkActions judges the Action or NotAction of a statement.
func (l *linter) checkActions(c *clause) {
	if c.notAction && !c.deny {
		l.add(c, SeveritySecurity, "ECRU_ALLOW_NOT_ACTION",
			"Allow with NotAction allows every action of every service but those it names, and those that are yet to come.",
			"List what is allowed in Action.")
	}
	for _, a := range c.actionTexts {
		l.checkAction(c, a)
	}
	if list := redundant(c.actionTexts, coversAction); list != nil {
		l.add(c, SeveritySuggest, "REDUNDANT_ACTION", "Other actions in the list take in "+enumerate(list)+".", "Remove "+enumerate(list)+".")
	}
}

func (l *linter) checkAction(c *clause, a string) {
	service, name, _ := strings.Cut(a, ":")
	service = strings.ToLower(service)
	switch {
	case a == "*" || stars(service) && stars(name):
		if !c.deny && !c.notAction {
			l.add(c, SeveritySecurity, "ECRU_WILDCARD_ACTION", fmt.Sprintf("%q allows every action of every service.", brief(a)), "List the actions that are needed.")
		}
	case strings.ContainsAny(service, "*?"):
		l.add(c, SeveritySuggest, "WILDCARD_IN_SERVICE_NAME",
			fmt.Sprintf("%q has a wildcard in the name of the service, which other services match too.", brief(a)), "Write the service out, as in ecr:PutImage.")
	case service == "ecr":
		l.checkECR(c, a, name)
	case l.checkService(c, a, service, name):
	case service == "sts" && !strings.ContainsAny(name, "*?"):
		if near := nearest(a, stsActions()); near != "" && !isOne(a, stsActions()) {
			l.add(c, SeverityError, "INVALID_ACTION", fmt.Sprintf("STS has no action %s, %s.", brief(a), c.vain()), "Write "+near+".")
		}
	case stars(name) && !c.deny && !c.notAction:
		l.add(c, SeveritySecurity, "ECRU_WILDCARD_ACTION", fmt.Sprintf("%q allows every action of its service.", brief(a)), "List the actions that are needed.")
	}
}

func isOne(a string, names []string) bool {
	for _, n := range names {
		if strings.EqualFold(a, n) {
			return true
		}
	}
	return false
}

// checkService judges the service of an action that is not ECR's; done says
// that there is no more to say.
func (l *linter) checkService(c *clause, a, service, name string) (done bool) {
	// ec2 and ecs are services, one letter from ecr.
	if service != "ec2" && service != "ecs" && edits(service, "ecr") == 1 && l.isECR("ecr:"+name) {
		l.add(c, SeverityError, "INVALID_SERVICE_IN_ACTION", fmt.Sprintf("%s names no service; %s is an action of ecr.", brief(a), name), "Write ecr:"+name+".")
		return true
	}
	switch {
	case l.kind == Resource:
		l.add(c, SeverityError, "UNSUPPORTED_ACTION_IN_POLICY",
			fmt.Sprintf("%s is no action on a repository or a registry, %s.", brief(a), c.vain()), "Remove it.")
	case l.kind == Trust && service != "sts":
		l.unsupportedInTrust(c, a)
	default:
		return false
	}
	return true
}

func (l *linter) unsupportedInTrust(c *clause, a string) {
	l.add(c, SeverityError, "UNSUPPORTED_ACTION_IN_POLICY",
		fmt.Sprintf("%s has no effect in a trust policy, which decides who may assume the role.", brief(a)),
		"Move it to an identity policy of the role, and write sts:AssumeRole or sts:AssumeRoleWithWebIdentity here.")
}

// matching returns those of ECR's actions that a pattern takes in.
func (l *linter) matching(pattern string) (out []Action) {
	p := parsePattern(pattern, false)
	for _, a := range l.actions {
		if p.matches(nil, a.Name, true) {
			out = append(out, a)
		}
	}
	return out
}

func (l *linter) isECR(name string) bool {
	return !strings.ContainsAny(name, "*?") && len(l.matching(name)) == 1
}

// checkECR judges an action of ECR, or a pattern of them.
func (l *linter) checkECR(c *clause, a, name string) {
	if l.kind == Trust {
		l.unsupportedInTrust(c, a)
		return
	}
	taken := l.matching(a)
	wild := strings.ContainsAny(name, "*?")
	switch {
	case len(taken) == 0:
		l.unknownAction(c, a, wild)
	case l.checkRegistryAction(c, a, taken):
	case !wild || c.deny || c.notAction:
	case len(taken) == len(l.actions):
		l.add(c, SeveritySecurity, "ECRU_WILDCARD_ACTION",
			fmt.Sprintf("%q allows all %d actions of ECR, deleting repositories and changing their policies among them.", brief(a), len(taken)),
			"List the actions that are needed: "+enumerate(pullActions())+" to pull.")
	default:
		severity := SeveritySuggest
		for _, t := range taken {
			if t.Level != LevelList && t.Level != LevelRead {
				severity = SeverityWarning
			}
		}
		l.add(c, severity, "ECRU_WILDCARD_IN_ACTION",
			fmt.Sprintf("%q allows %s, and whatever comes to match it.", brief(a), enumerate(names(taken))), "List the actions that are needed.")
	}
}

func pullActions() []string {
	return []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
}

func names(actions []Action) []string {
	out := make([]string, len(actions))
	for i, a := range actions {
		out[i] = a.Name
	}
	return out
}

func (l *linter) unknownAction(c *clause, a string, wild bool) {
	message, fix := fmt.Sprintf("ECR has no action %s, %s.", brief(a), c.vain()), "Remove it."
	near := ""
	if !wild {
		near = nearest(a, names(l.actions))
	}
	switch {
	case strings.EqualFold(a, "ecr:ListImageReferrers"):
		message, fix = "ListImageReferrers is an operation without an action of its own: it asks for ecr:BatchGetImage.", "Write ecr:BatchGetImage."
	case wild:
		message = fmt.Sprintf("No action of ECR matches %q, %s.", brief(a), c.vain())
	case near != "":
		fix = "Write " + near + "."
	}
	l.add(c, SeverityError, "INVALID_ACTION", message, fix)
}

// checkRegistryAction finds actions that take no repository where they have no
// effect: taken is what a stands for. It reports whether that is all that
// there is to say.
func (l *linter) checkRegistryAction(c *clause, a string, taken []Action) bool {
	for _, t := range taken {
		if t.Repository {
			return false
		}
	}
	switch {
	case l.kind == Resource && strings.EqualFold(a, tokenAction):
		l.add(c, SeverityError, "UNSUPPORTED_ACTION_IN_POLICY",
			tokenAction+" has no effect in the policy of a repository or a registry: it is asked for before there is either.",
			"Allow it in an identity policy, on *.")
	case l.kind == Resource && c.resources == nil:
		l.add(c, SeverityWarning, "UNSUPPORTED_ACTION_IN_POLICY",
			fmt.Sprintf("%s is about the registry as a whole and has no effect in the policy of a repository.", brief(a)),
			"Put it in an identity policy or in the registry's policy, on *.")
	case c.notAction || c.forAll():
		return false
	default:
		l.add(c, SeverityError, "ECRU_ACTION_NEEDS_ALL_RESOURCES",
			fmt.Sprintf("%s takes no repository, %s.", brief(a), c.vain()),
			`Move it to a statement of its own with "Resource": "*".`)
	}
	return true
}
