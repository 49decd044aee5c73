package iam_test

import (
	"testing"
	"time"

	"github.com/ecruhq/ecru/iam"
)

// TestAccessScenario has the policies of a team that shares images: another two
// accounts pull, one CI role pushes, an ECS task execution role pulls its own
// service's images, and pods assume a role.
func TestAccessScenario(t *testing.T) {
	const region = "arn:aws:ecr:us-east-1:" + own + ":repository/"
	share := parse(t, iam.Resource, `
		{"Sid":"Pull","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::`+other+`:root","arn:aws:iam::333333333333:root"]},
		 "Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchCheckLayerAvailability"]},
		{"Sid":"Push","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+other+`:role/ci"},
		 "Action":["ecr:PutImage","ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload"]}`)
	everything := list(parse(t, iam.Identity, `{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`))
	task := list(parse(t, iam.Identity, `
		{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],"Resource":"`+region+`my-service/*"}`))
	session := func(account, role string, policies []*iam.Policy) *iam.Principal {
		return &iam.Principal{ARN: "arn:aws:sts::" + account + ":assumed-role/" + role + "/s", RoleARN: "arn:aws:iam::" + account + ":role/" + role,
			Account: account, ID: "AROA:s", Name: "s", Policies: policies}
	}
	user := func(account string, policies []*iam.Policy) *iam.Principal {
		return &iam.Principal{ARN: "arn:aws:iam::" + account + ":user/jane", Account: account, ID: "AIDA", Name: "jane", Policies: policies}
	}
	for _, tt := range []struct {
		name     string
		who      *iam.Principal
		action   string
		resource string
		policy   *iam.Policy
		want     bool
	}{
		{"a user of an account that may pull", user(other, everything), "ecr:BatchGetImage", region + "app", share, true},
		{"without a policy of its own", user(other, nil), "ecr:BatchGetImage", region + "app", share, false},
		{"the third account", user("333333333333", everything), "ecr:GetDownloadUrlForLayer", region + "app", share, true},
		{"a fourth account", user("444444444444", everything), "ecr:BatchGetImage", region + "app", share, false},
		{"a user pushes", user(other, everything), "ecr:PutImage", region + "app", share, false},
		{"the CI role pushes", session(other, "ci", everything), "ecr:PutImage", region + "app", share, true},
		{"another role pushes", session(other, "ci2", everything), "ecr:PutImage", region + "app", share, false},
		{"the CI role deletes", session(other, "ci", everything), "ecr:BatchDeleteImage", region + "app", share, false},
		{"the task logs in", session(own, "task", task), "ecr:GetAuthorizationToken", "*", nil, true},
		{"the task pulls", session(own, "task", task), "ecr:BatchGetImage", region + "my-service/web", nil, true},
		{"the repository of the very name", session(own, "task", task), "ecr:BatchGetImage", region + "my-service", nil, false},
		{"another service's", session(own, "task", task), "ecr:BatchGetImage", region + "other/web", nil, false},
		{"the task pushes", session(own, "task", task), "ecr:PutImage", region + "my-service/web", nil, false},
	} {
		d := iam.Evaluate(&iam.Request{Principal: tt.who, Action: tt.action, Resource: tt.resource, Account: own, ResourcePolicy: tt.policy, Time: time.Unix(1, 0)})
		if d.Allowed != tt.want {
			t.Errorf("%s: %t %s", tt.name, d.Allowed, d.Reason())
		}
	}

	const issuer = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
	trust := parse(t, iam.Trust, `{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::`+own+`:oidc-provider/`+issuer+`"},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"`+issuer+`:sub":"system:serviceaccount:production:api-service"}}}`)
	for sub, want := range map[string]bool{"system:serviceaccount:production:api-service": true, "system:serviceaccount:production:other": false, "": false} {
		d := iam.EvaluateTrust(&iam.Request{
			Principal: &iam.Principal{ARN: "arn:aws:iam::" + own + ":oidc-provider/" + issuer, Account: own, Federated: "arn:aws:iam::" + own + ":oidc-provider/" + issuer},
			Action:    "sts:AssumeRoleWithWebIdentity", Resource: "arn:aws:iam::" + own + ":role/api", Account: own, ResourcePolicy: trust,
			Context: func(key string) []string {
				if sub != "" && key == "oidc.eks.us-east-1.amazonaws.com/id/exampled539d4633e53de1b71example:sub" {
					return []string{sub}
				}
				return nil
			},
		})
		if d.Allowed != want {
			t.Errorf("%q: %t", sub, d.Allowed)
		}
	}
}
