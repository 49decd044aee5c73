package iam_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/iam"
)

// decide has the evaluator under test answer; ok is false if a document is
// refused.
func (q *question) decide() (d iam.Decision, ok bool) {
	one := func(doc string, k iam.Kind) *iam.Policy {
		if doc == "" {
			return nil
		}
		p, err := iam.Parse([]byte(doc), k)
		ok = ok && err == nil
		return p
	}
	many := func(docs []string) (out []*iam.Policy) {
		for _, doc := range docs {
			out = append(out, one(doc, iam.Identity))
		}
		return out
	}
	ok = true
	kind := iam.Resource
	if q.trust {
		kind = iam.Trust
	}
	p, r := q.principal, q.request
	p.Policies, p.Session, p.Boundary = many(q.identity), many(q.session), one(q.boundary, iam.Identity)
	r.Principal, r.ResourcePolicy, r.RegistryPolicy = &p, one(q.resource, kind), one(q.registry, iam.Resource)
	switch {
	case !ok:
		return d, false
	case q.trust:
		return iam.EvaluateTrust(&r), true
	}
	return iam.Evaluate(&r), true
}

// agree fails unless the evaluator and the reference give one answer; ok is
// false if a document is refused.
func (q *question) agree(t interface{ Fatalf(string, ...any) }) (allowed, ok bool) {
	d, ok := q.decide()
	if !ok {
		return false, false
	}
	if want := q.allowed(); d.Allowed != want {
		t.Fatalf("allowed=%t (%d, %+v), the reference says %t\n%s", d.Allowed, d.By, d.Statement, want, q)
	}
	return d.Allowed, true
}

func (q *question) String() string {
	return strings.Join([]string{
		"principal " + q.principal.ARN + " " + q.principal.RoleARN + q.principal.Federated, "action " + q.request.Action,
		"resource " + q.request.Resource + " of " + q.request.Account, "time " + q.request.Time.UTC().Format(time.RFC3339),
		"identity " + strings.Join(q.identity, "\n  "), "boundary " + q.boundary, "session " + strings.Join(q.session, "\n  "),
		"resource policy " + q.resource, "registry policy " + q.registry,
	}, "\n")
}

// The alphabets are small, so that what policies name is what requests have.
var (
	patterns = map[string][]string{
		"Action": {"*", "*", "ecr:*", "ecr:*", "ecr:Put*", "ECR:putimage", "ecr:Batch*", "ecr:?utImage", "ecr:ListImages", "s3:*", "sts:*", "sts:AssumeRole"},
		"Resource": {"*", "*", "*", "arn:aws:ecr:*:*:repository/*", repo, "arn:aws:ecr:*", "arn:aws:ecr:us-east-1:" + own + ":*/team/ap?", "arn:*:repository/team/*",
			"arn:aws:ecr:eu-*:*:*", "arn:aws:ecr:us-east-1*repository/team/app", "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team, 'team'}/*", "arn:aws:ecr:*:${aws:PrincipalAccount}:repository/*",
			"arn:aws:ecr:*:*:repository/te${?}m/*", "arn:aws:ecr:*:*:repository/${ AWS:EpochTime ,''}*"},
		"variable": {"arn:aws:ecr:*:*:repository/${aws:username}/*", "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/*", "arn:aws:ecr:*:*:${aws:TagKeys}/*"},
		"AWS": {"*", own, other, "arn:aws:iam::" + own + ":root", "arn:aws:iam::" + other + ":root", "arn:aws:iam::" + own + ":user/team", "arn:aws:iam::" + other + ":user/eve",
			"arn:aws:iam::" + own + ":role/ci/deployer", "arn:aws:sts::" + own + ":assumed-role/deployer/run-1", "arn:aws:sts::" + own + ":assumed-role/deployer/run-2"},
		"Federated": {"arn:aws:iam::" + own + ":oidc-provider/one.example", "arn:aws:iam::" + own + ":oidc-provider/two.example"},
	}
)
