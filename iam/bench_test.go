package iam_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/iam"
)

// A pull as registries see it: the puller's own policy, the repository's with
// conditions, and the registry's.
func BenchmarkEvaluatePull(b *testing.B) {
	identity := parse(b, iam.Identity, `{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn:aws:ecr:*:`+own+`:repository/${aws:PrincipalTag/team}/*"},
		{"Effect":"Deny","Action":["ecr:Delete*","ecr:BatchDelete*","ecr:Put*"],"Resource":"*"}`)
	repository := parse(b, iam.Resource, `{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::`+own+`:root","arn:aws:iam::`+other+`:root"]},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],
			"Condition":{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/ci/*"}}},
		{"Effect":"Deny","Principal":"*","Action":"ecr:*","Condition":{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::/32"]},"Bool":{"aws:SecureTransport":"false"}}}`)
	registry := parse(b, iam.Resource, `{"Effect":"Deny","NotPrincipal":{"AWS":["`+own+`","`+other+`"]},"Action":"ecr:*"}`)
	values := map[string][]string{"aws:sourceip": {"10.1.2.3"}, "aws:securetransport": {"true"}}
	r := &iam.Request{
		Principal: &iam.Principal{ARN: "arn:aws:sts::" + own + ":assumed-role/deployer/run-1", RoleARN: "arn:aws:iam::" + own + ":role/ci/deployer", Account: own,
			Tags: map[string]string{"team": "team"}, Issued: time.Unix(1_700_000_000, 0), Policies: list(identity)},
		Action: "ecr:BatchGetImage", Resource: repo, Account: own, Time: time.Unix(1_700_000_000, 0),
		Context: func(key string) []string { return values[key] }, ResourcePolicy: repository, RegistryPolicy: registry,
	}
	b.ReportAllocs()
	for b.Loop() {
		if !iam.Evaluate(r).Allowed {
			b.Fatal("denied")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	var statements []string
	size := 0
	for n := 0; size < 10<<10; n++ {
		statements = append(statements, fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow","Action":["ecr:BatchGetImage","ecr:Put*"],"Resource":"arn:aws:ecr:us-east-1:%s:repository/team-%d/*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"${aws:username}"}}}`, n, own, n))
		size += len(statements[n]) + 1
	}
	doc := []byte(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := iam.Parse(doc, iam.Identity); err != nil {
			b.Fatal(err)
		}
	}
}
