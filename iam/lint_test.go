package iam_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/iam"
)

const (
	oidc     = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
	provider = `"Principal":{"Federated":"arn:aws:iam::` + own + `:oidc-provider/` + oidc + `"},"Action":"sts:AssumeRoleWithWebIdentity"`
	subject  = `"` + oidc + `:sub":"system:serviceaccount:production:api-service"`
	audience = `"` + oidc + `:aud":"sts.amazonaws.com"`
	github   = `"Principal":{"Federated":"arn:aws:iam::` + own + `:oidc-provider/token.actions.githubusercontent.com"},"Action":"sts:AssumeRoleWithWebIdentity"`
	gitaud   = `"StringEquals":{"token.actions.githubusercontent.com:aud":"sts.amazonaws.com"}`
	gitsub   = `"token.actions.githubusercontent.com:sub":`

	toPush  = `"ecr:BatchCheckLayerAvailability","ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:PutImage","ecr:BatchGetImage"`
	toPull  = `"ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"`
	token   = `{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`
	jane    = `"Principal":{"AWS":"arn:aws:iam::` + own + `:user/jane"}`
	partner = `"Principal":{"AWS":"arn:aws:iam::` + other + `:root"}`
)

// document wraps statements; what is a document already is left alone.
func document(s string) []byte {
	if strings.HasPrefix(s, `{"Version"`) || strings.HasPrefix(s, `{"Statement"`) {
		return []byte(s)
	}
	return []byte(`{"Version":"2012-10-17","Statement":[` + s + `]}`)
}

func lint(t *testing.T, kind iam.Kind, s string) []iam.Finding {
	t.Helper()
	findings, err := iam.Lint(document(s), kind)
	if err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return findings
}

func codes(findings []iam.Finding) (out []string) {
	for _, f := range findings {
		out = append(out, f.Code)
	}
	return out
}

// on is a statement of an identity policy.
func on(actions, resource string, more ...string) string {
	return `{"Effect":"Allow","Action":[` + actions + `],"Resource":["` + resource + `"]` + strings.Join(more, "") + `}`
}

func deny(actions, resource string) string {
	return strings.Replace(on(actions, resource), "Allow", "Deny", 1)
}

func when(conditions string) string { return `,"Condition":{` + conditions + `}` }

func trust(principalAction string, more ...string) string {
	return `{"Effect":"Allow",` + principalAction + strings.Join(more, "") + `}`
}

// A lintTest has a policy in which a code is found and one, repaired, in which
// it is not.
type lintTest struct {
	name, code, severity string
	kind                 iam.Kind
	bad, good            string
}

func lintTests() []lintTest {
	return []lintTest{
		{"every action", "ECRU_WILDCARD_ACTION", iam.SeveritySecurity, iam.Identity, on(`"*"`, repo), on(`"ecr:ListImages"`, repo)},
		{"every action of every service", "ECRU_WILDCARD_ACTION", iam.SeveritySecurity, iam.Identity, on(`"*:*"`, repo), deny(`"*:*"`, repo)},
		{"every action of ECR", "ECRU_WILDCARD_ACTION", iam.SeveritySecurity, iam.Identity, on(`"ecr:*"`, repo), deny(`"ecr:*"`, repo)},
		{"every action of ECR in a repository's policy", "ECRU_WILDCARD_ACTION", iam.SeveritySecurity, iam.Resource, trust(jane + `,"Action":"ECR:*"`), trust(jane + `,"Action":[` + toPull + `]`)},
		{"every action of STS", "ECRU_WILDCARD_ACTION", iam.SeveritySecurity, iam.Trust, trust(jane + `,"Action":"sts:*"`), trust(jane + `,"Action":"sts:AssumeRole"`)},
		{"some actions, to write", "ECRU_WILDCARD_IN_ACTION", iam.SeverityWarning, iam.Identity, on(`"ecr:Put*"`, repo), on(`"ecr:PutImage"`, repo)},
		{"some actions, to read", "ECRU_WILDCARD_IN_ACTION", iam.SeveritySuggest, iam.Identity, on(`"ecr:Describe*"`, repo), deny(`"ecr:Describe*"`, repo)},
		{"the service with a wildcard", "WILDCARD_IN_SERVICE_NAME", iam.SeveritySuggest, iam.Identity, on(`"ecr*:PutImage"`, repo), on(`"ecr:PutImage"`, repo)},
		{"all but", "ECRU_ALLOW_NOT_ACTION", iam.SeveritySecurity, iam.Identity, `{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`, `{"Effect":"Deny","NotAction":"ecr:*","Resource":"*"}`},
		{"all resources but", "ECRU_ALLOW_NOT_RESOURCE", iam.SeveritySecurity, iam.Identity, `{"Effect":"Allow","Action":"ecr:ListImages","NotResource":"` + repo + `"}`, `{"Effect":"Deny","Action":"ecr:ListImages","NotResource":"` + repo + `"}`},
		{"everyone but", "ALLOW_WITH_NOT_PRINCIPAL", iam.SeveritySecurity, iam.Resource, `{"Effect":"Allow","NotPrincipal":{"AWS":"` + own + `"},"Action":"ecr:ListImages"}`, `{"Effect":"Deny","NotPrincipal":{"AWS":"` + own + `"},"Action":"ecr:ListImages"}`},

		{"a write on *", "ECRU_WILDCARD_RESOURCE", iam.SeveritySecurity, iam.Identity, on(toPush, "*"), on(toPush, repo)},
		{"a read on *", "ECRU_WILDCARD_RESOURCE", iam.SeverityWarning, iam.Identity, on(toPull, "*"), on(`"ecr:GetAuthorizationToken","ecr:DescribeRegistry","ecr:PutRegistryPolicy"`, "*")},
		{"* written out", "ECRU_WILDCARD_RESOURCE", iam.SeverityWarning, iam.Identity, on(toPull, "arn:aws:ecr:*:*:repository/*"), on(toPull, "arn:aws:ecr:us-east-1:"+own+":repository/*")},
		{"* narrowed by a tag", "ECRU_WILDCARD_RESOURCE", iam.SeverityWarning, iam.Identity, on(toPull, "*", when(`"StringLike":{"aws:ResourceTag/team":"*"}`)), on(toPull, "*", when(`"StringEquals":{"ecr:ResourceTag/team":"a"}`))},
		{"every repository", "ECRU_EVERY_REPOSITORY", iam.SeveritySuggest, iam.Identity, on(toPull, "arn:aws:ecr:us-east-1:"+own+":repository/*"), on(toPull, repo)},
		{"any region", "ECRU_WILDCARD_IN_ARN", iam.SeverityWarning, iam.Identity, on(toPull, "arn:aws:ecr:*:"+own+":repository/a"), on(toPull, repo)},
		{"any account", "ECRU_WILDCARD_IN_ARN", iam.SeverityWarning, iam.Identity, on(toPull, "arn:aws:ecr:us-east-1:*:repository/a"), deny(toPull, "arn:aws:ecr:us-east-1:*:repository/a")},
		{"under a name", "ECRU_PREFIX_MISSES_REPOSITORY", iam.SeveritySuggest, iam.Identity, on(toPull, repo+"/*"), on(toPull, repo+`","`+repo+"/*")},
		{"under a name, denied", "ECRU_PREFIX_MISSES_REPOSITORY", iam.SeveritySuggest, iam.Identity, deny(toPull, repo+"/*"), deny(toPull, repo+"*")},
		{"another service", "ECRU_ARN_OF_OTHER_SERVICE", iam.SeverityWarning, iam.Identity, on(toPull, `arn:aws:s3:us-east-1::bucket","`+repo), on(`"s3:GetObject"`, "arn:aws:s3:us-east-1::bucket")},
		{"another service, in a repository's policy", "UNSUPPORTED_RESOURCE_ARN_IN_POLICY", iam.SeverityError, iam.Resource, trust(jane + `,"Action":"ecr:ListImages","Resource":"arn:aws:s3:::bucket"`), trust(jane + `,"Action":"ecr:ListImages"`)},
		{"a resource in a repository's policy", "ECRU_RESOURCE_IN_REPOSITORY_POLICY", iam.SeveritySuggest, iam.Resource, trust(jane + `,"Action":"ecr:ListImages","Resource":"*"`), trust(partner + `,"Action":"ecr:ReplicateImage","Resource":"` + repo + `"`)},
		{"no ARN", "INVALID_ARN_PREFIX", iam.SeverityError, iam.Identity, on(toPull, "aws:ecr:us-east-1:"+own+":repository/a:x"), on(toPull, repo)},
		{"a short ARN", "MISSING_ARN_FIELD", iam.SeverityError, iam.Identity, on(toPull, "arn:aws:ecr:*"), on(toPull, "arn:aws:ecr:*:*:*")},
		{"no partition", "INVALID_PARTITION", iam.SeverityError, iam.Identity, on(toPull, "arn:amazon:ecr:us-east-1:"+own+":repository/a"), on(toPull, "arn:aws-cn:ecr:cn-north-1:"+own+":repository/a")},
		{"capitals", "INVALID_ARN_SERVICE_CASE", iam.SeverityError, iam.Identity, on(toPull, "arn:aws:ECR:us-east-1:"+own+":repository/a"), on(toPull, repo)},
		{"no region", "MISSING_ARN_REGION", iam.SeverityError, iam.Identity, on(toPull, "arn:aws:ecr::"+own+":repository/a"), on(toPull, repo)},
		{"a strange region", "INVALID_ARN_REGION", iam.SeverityError, iam.Identity, on(toPull, "arn:aws:ecr:US East:"+own+":repository/a"), on(toPull, repo)},
		{"a strange account", "INVALID_ARN_ACCOUNT", iam.SeverityError, iam.Identity, on(toPull, "arn:aws:ecr:us-east-1:1234:repository/a"), on(toPull, "arn:aws:ecr:us-east-1:${aws:PrincipalAccount}:repository/a")},
		{"no repository", "INVALID_ARN_RESOURCE", iam.SeverityError, iam.Identity, on(toPull, "arn:aws:ecr:us-east-1:"+own+":team/app"), on(toPull, "arn:aws:ecr:us-east-1:"+own+":repo*")},
		{"a repository in capitals", "INVALID_ARN_RESOURCE", iam.SeverityError, iam.Identity, on(toPull, "arn:aws:ecr:us-east-1:"+own+":repository/Team/app"), on(toPull, "arn:aws:ecr:us-east-1:"+own+":repository/${aws:PrincipalTag/Team}/app")},
		{"a resource twice", "REDUNDANT_RESOURCE", iam.SeveritySuggest, iam.Identity, on(toPull, repo+`","`+repo), on(toPull, repo+`","`+repo+`2`)},
		{"a resource in another", "REDUNDANT_RESOURCE", iam.SeveritySuggest, iam.Identity, on(toPull, repo+`","arn:aws:ecr:*:`+own+`:repository/team/*`), on(toPull, repo+`","arn:aws:ecr:eu-*:`+own+`:repository/team/*`)},
		{"any role to pass", "PASS_ROLE_WITH_STAR_IN_RESOURCE", iam.SeveritySecurity, iam.Identity, on(`"iam:PassRole"`, "*"), on(`"iam:PassRole"`, "*", when(`"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}`))},
		{"any service-linked role", "CREATE_SLR_WITH_STAR_IN_RESOURCE", iam.SeverityWarning, iam.Identity, on(`"iam:CreateServiceLinkedRole"`, "arn:aws:iam::*:role/*"), on(`"iam:CreateServiceLinkedRole"`, "arn:aws:iam::*:role/aws-service-role/replication.ecr.amazonaws.com/AWSServiceRoleForECRReplication")},

		{"a misspelt action", "INVALID_ACTION", iam.SeverityError, iam.Identity, on(`"ecr:PutImages"`, repo), on(`"ecr:putimage"`, repo)},
		{"a misspelt action, denied", "INVALID_ACTION", iam.SeverityError, iam.Identity, deny(`"ecr:DeleteRepositry"`, repo), deny(`"ecr:DeleteRepository"`, repo)},
		{"a pattern of no action", "INVALID_ACTION", iam.SeverityError, iam.Identity, on(`"ecr:Remove*"`, repo), on(`"ecr:Delete*"`, repo)},
		{"referrers", "INVALID_ACTION", iam.SeverityError, iam.Identity, on(`"ecr:ListImageReferrers"`, repo), on(`"ecr:BatchGetImage"`, repo)},
		{"a misspelt action of STS", "INVALID_ACTION", iam.SeverityError, iam.Trust, trust(strings.Replace(provider, "WebIdentity", "WebIdentiy", 1)), trust(provider)},
		{"a misspelt service", "INVALID_SERVICE_IN_ACTION", iam.SeverityError, iam.Identity, on(`"erc:PutImage"`, repo), on(`"ecs:TagResource","codecommit:CreateRepository"`, repo)},
		{"another service's action in a repository's policy", "UNSUPPORTED_ACTION_IN_POLICY", iam.SeverityError, iam.Resource, trust(jane + `,"Action":"s3:GetObject"`), trust(jane + `,"Action":"ecr:ListImages"`)},
		{"the token in a repository's policy", "UNSUPPORTED_ACTION_IN_POLICY", iam.SeverityError, iam.Resource, trust(jane + `,"Action":"ecr:GetAuthorizationToken"`), trust(jane + `,"Action":"ecr:ListImages"`)},
		{"the registry in a repository's policy", "UNSUPPORTED_ACTION_IN_POLICY", iam.SeverityWarning, iam.Resource, trust(jane + `,"Action":"ecr:DescribeRegistry"`), trust(jane + `,"Action":"ecr:DescribeRegistry","Resource":"*"`)},
		{"ECR in a trust policy", "UNSUPPORTED_ACTION_IN_POLICY", iam.SeverityError, iam.Trust, trust(jane + `,"Action":["sts:AssumeRole","ecr:PutImage"]`), trust(jane + `,"Action":["sts:AssumeRole","sts:TagSession"]`)},
		{"the token of a repository", "ECRU_ACTION_NEEDS_ALL_RESOURCES", iam.SeverityError, iam.Identity, on(`"ecr:GetAuthorizationToken"`, repo), token},
		{"the registry of a repository", "ECRU_ACTION_NEEDS_ALL_RESOURCES", iam.SeverityError, iam.Identity, deny(`"ecr:PutReg*"`, repo), deny(`"ecr:PutReg*"`, "*")},
		{"an action twice", "REDUNDANT_ACTION", iam.SeveritySuggest, iam.Identity, on(`"ecr:ListImages","ecr:listimages"`, repo), on(`"ecr:ListImages","ecr:DescribeImages"`, repo)},
		{"an action in another", "REDUNDANT_ACTION", iam.SeveritySuggest, iam.Identity, on(`"ecr:List*","ecr:ListImages"`, repo), on(`"ecr:List*","ecr:*Images"`, repo)},

		{"half a push", "ECRU_PUSH_INCOMPLETE", iam.SeverityWarning, iam.Identity, on(`"ecr:PutImage","ecr:InitiateLayerUpload"`, repo), on(toPush, repo)},
		{"a push that does not ask", "ECRU_PUSH_INCOMPLETE", iam.SeveritySuggest, iam.Identity, on(strings.TrimSuffix(toPush, `,"ecr:BatchGetImage"`), repo), on(strings.TrimSuffix(toPush, `,"ecr:BatchGetImage"`), repo) + "," + on(`"ecr:Batch*"`, repo)},
		{"half a push for another account", "ECRU_PUSH_INCOMPLETE", iam.SeverityWarning, iam.Resource, trust(partner + `,"Action":"ecr:UploadLayerPart"`), trust(partner + `,"Action":[` + toPush + `]`)},
		{"no layers", "ECRU_PULL_INCOMPLETE", iam.SeverityWarning, iam.Identity, on(`"ecr:BatchGetImage"`, repo), on(toPull, repo)},
		{"no manifests", "ECRU_PULL_INCOMPLETE", iam.SeverityWarning, iam.Identity, on(`"ecr:GetDownloadUrlForLayer"`, repo), on(toPush, repo)},
		{"no token", "ECRU_TOKEN_MISSING", iam.SeveritySuggest, iam.Identity, on(toPull, repo), token + "," + on(toPull, repo)},
		{"a token of no use", "ECRU_TOKEN_MISSING", iam.SeveritySuggest, iam.Identity, on(toPull+`,"ecr:GetAuthorizationToken"`, repo), on(toPull+`,"ecr:GetAuthorizationToken"`, "*")},
		{"a statement twice", "REDUNDANT_STATEMENT", iam.SeveritySuggest, iam.Identity, on(toPull, repo) + "," + on(toPull, repo), on(toPull, repo) + "," + deny(toPull, repo)},
		{"a statement in another", "REDUNDANT_STATEMENT", iam.SeveritySuggest, iam.Identity, on(`"ecr:ListImages"`, repo) + "," + on(`"ecr:List*"`, "*"), on(`"ecr:ListImages"`, repo) + "," + on(`"ecr:List*"`, "*", when(`"Bool":{"aws:SecureTransport":"true"}`))},

		{"no version", "MISSING_VERSION", iam.SeverityWarning, iam.Identity, `{"Statement":` + token + `}`, `{"Version":"2008-10-17","Statement":` + token + `}`},
		{"variables of another time", "VARIABLE_UNSUPPORTED_IN_VERSION", iam.SeverityError, iam.Identity, `{"Version":"2008-10-17","Statement":` + on(toPull, repo+"/${aws:username}") + `}`, on(toPull, repo+"/${aws:username}")},
		{"variables in a condition, and no version", "VARIABLE_UNSUPPORTED_IN_VERSION", iam.SeverityError, iam.Identity, `{"Statement":` + on(toPull, repo, when(`"StringEquals":{"ecr:ResourceTag/a":"${aws:username}"}`)) + `}`, `{"Version":"2008-10-17","Statement":` + on(toPull, repo) + `}`},
		{"a Sid of nothing", "EMPTY_SID_VALUE", iam.SeveritySuggest, iam.Identity, on(toPull, repo, `,"Sid":""`), on(toPull, repo)},
		{"a Sid of words", "UNSUPPORTED_SID", iam.SeverityError, iam.Identity, on(toPull, repo, `,"Sid":"to pull"`), on(toPull, repo, `,"Sid":"ToPull"`)},
		{"a Sid twice", "UNIQUE_SIDS_REQUIRED", iam.SeverityError, iam.Identity, on(toPull, repo, `,"Sid":"A"`) + "," + on(toPush, repo, `,"Sid":"A"`), on(toPull, repo, `,"Sid":"A"`) + "," + on(toPush, repo, `,"Sid":"B"`)},
		{"a Sid twice, in a repository's policy", "UNIQUE_SIDS_RECOMMENDED", iam.SeverityWarning, iam.Resource, trust(jane+`,"Action":"ecr:ListImages","Sid":"a b"`) + "," + trust(jane+`,"Action":"ecr:PutImage","Sid":"a b"`), trust(jane + `,"Action":"ecr:ListImages","Sid":"a b"`)},

		{"everyone", "ECRU_PUBLIC_PRINCIPAL", iam.SeveritySecurity, iam.Resource, trust(`"Principal":"*","Action":"ecr:ListImages"`), trust(`"Principal":"*","Action":"ecr:ListImages"`, when(`"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}`))},
		{"everyone, from everywhere", "ECRU_PUBLIC_PRINCIPAL", iam.SeveritySecurity, iam.Resource, trust(`"Principal":{"AWS":"*"},"Action":"ecr:ListImages"`, when(`"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}`)), trust(`"Principal":{"AWS":"*"},"Action":"ecr:ListImages"`, when(`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`))},
		{"everyone but one", "ECRU_PUBLIC_PRINCIPAL", iam.SeveritySecurity, iam.Resource, trust(`"Principal":"*","Action":"ecr:ListImages"`, when(`"StringNotEquals":{"aws:PrincipalAccount":"`+other+`"}`)), strings.Replace(trust(`"Principal":"*","Action":"ecr:ListImages"`), "Allow", "Deny", 1)},
		{"everyone without the key", "ECRU_PUBLIC_PRINCIPAL", iam.SeveritySecurity, iam.Resource, trust(`"Principal":"*","Action":"ecr:ListImages"`, when(`"StringEqualsIfExists":{"aws:SourceVpce":"vpce-1"}`)), trust(`"Principal":"*","Action":"ecr:ListImages"`, when(`"StringEquals":{"aws:SourceVpce":"vpce-1"}`))},
		{"a role of any account", "ECRU_PUBLIC_PRINCIPAL", iam.SeveritySecurity, iam.Trust, trust(`"Principal":"*","Action":"sts:AssumeRole"`, when(`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/ci"}`)), trust(`"Principal":"*","Action":"sts:AssumeRole"`, when(`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::`+own+`:role/*"}`))},
		{"everyone who knows a word", "ECRU_PUBLIC_PRINCIPAL", iam.SeveritySecurity, iam.Trust, trust(`"Principal":"*","Action":"sts:AssumeRole"`, when(`"StringEquals":{"sts:ExternalId":"x"}`)), trust(jane + `,"Action":"sts:AssumeRole"`)},
		{"an account", "ECRU_TRUSTED_ACCOUNT", iam.SeverityWarning, iam.Trust, trust(partner + `,"Action":"sts:AssumeRole"`), trust(partner+`,"Action":"sts:AssumeRole"`, when(`"StringEquals":{"sts:ExternalId":"x"}`))},
		{"an account by number", "ECRU_TRUSTED_ACCOUNT", iam.SeverityWarning, iam.Trust, trust(`"Principal":{"AWS":["` + other + `"]},"Action":"sts:AssumeRole"`), trust(jane + `,"Action":"sts:AssumeRole"`)},
		{"a provider that signs nothing", "MISMATCHED_ACTION_FOR_PRINCIPAL", iam.SeverityError, iam.Trust, trust(strings.Replace(provider, "WithWebIdentity", "", 1)), trust(provider)},
		{"a user without a provider", "MISMATCHED_ACTION_FOR_PRINCIPAL", iam.SeverityError, iam.Trust, trust(jane + `,"Action":"sts:AssumeRoleWithWebIdentity"`), trust(jane + `,"Action":["sts:AssumeRole","sts:SetSourceIdentity"]`)},
		{"OIDC by SAML", "MISMATCHED_ACTION_FOR_PRINCIPAL", iam.SeverityError, iam.Trust, trust(strings.Replace(provider, "WebIdentity", "SAML", 1)), trust(`"Principal":{"Federated":"arn:aws:iam::` + own + `:saml-provider/x"},"Action":"sts:AssumeRoleWithSAML"`)},
		{"any subject", "ECRU_OIDC_WITHOUT_SUB", iam.SeveritySecurity, iam.Trust, trust(provider, when(`"StringEquals":{`+audience+`}`)), trust(provider, when(`"StringEquals":{`+subject+`}`))},
		{"a subject, if any", "ECRU_OIDC_WITHOUT_SUB", iam.SeveritySecurity, iam.Trust, trust(provider, when(`"StringEqualsIfExists":{`+subject+`}`)), trust(provider, when(`"ForAnyValue:StringEquals":{`+subject+`}`))},
		{"another provider's subject", "ECRU_OIDC_WITHOUT_SUB", iam.SeveritySecurity, iam.Trust, trust(provider, when(`"StringEquals":{`+gitsub+`"repo:a/b"}`)), trust(github, when(`"StringEquals":{`+gitsub+`"repo:a/b"}`))},
		{"any purpose", "ECRU_OIDC_WITHOUT_AUD", iam.SeverityWarning, iam.Trust, trust(provider, when(`"StringEquals":{`+subject+`}`)), trust(provider, when(`"StringEquals":{`+subject+`,`+audience+`}`))},
		{"a subject of *", "ECRU_OIDC_SUB_WILDCARD", iam.SeveritySecurity, iam.Trust, trust(github, when(`"StringLike":{`+gitsub+`"*"}`)), trust(github, when(`"StringLike":{`+gitsub+`"repo:org/app:*"}`))},
		{"a subject of any repository", "ECRU_OIDC_SUB_WILDCARD", iam.SeveritySecurity, iam.Trust, trust(github, when(`"StringLike":{`+gitsub+`["repo:org/app:*","repo:*:ref:refs/heads/main"]}`)), trust(github, when(`"StringLike":{`+gitsub+`"repo:*"},"StringEquals":{`+gitsub+`"repo:org/app:ref:refs/heads/main"}`))},
		{"any service account", "ECRU_OIDC_SUB_WILDCARD", iam.SeveritySecurity, iam.Trust, trust(provider, when(`"StringLike":{"`+oidc+`:sub":"system:serviceaccount:*:*"}`)), trust(provider, when(`"StringLike":{"`+oidc+`:sub":"system:serviceaccount:production:*"}`))},

		{"a key that ECR has not", "INVALID_SERVICE_CONDITION_KEY", iam.SeverityError, iam.Identity, on(toPull, repo, when(`"StringEquals":{"ecr:Tag/team":"a"}`)), on(toPull, repo, when(`"StringEquals":{"ECR:resourcetag/team":"a"}`))},
		{"a key that nobody has", "INVALID_GLOBAL_CONDITION_KEY", iam.SeverityError, iam.Identity, on(toPull, repo, when(`"StringEquals":{"aws:PrincipalTags/team":"a"}`)), on(toPull, repo, when(`"StringEquals":{"aws:principaltag/team":"a"}`))},
		{"no values", "EMPTY_ARRAY_CONDITION", iam.SeveritySuggest, iam.Identity, on(toPull, repo, when(`"StringEquals":{"ecr:ResourceTag/a":[]}`)), on(toPull, repo, when(`"StringEquals":{"ecr:ResourceTag/a":["b"]}`))},
		{"all of one", "FORALLVALUES_WITH_SINGLE_VALUED_KEY", iam.SeveritySecurity, iam.Identity, on(toPull, repo, when(`"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-1"}`)), on(toPull, repo, when(`"ForAllValues:StringEquals":{"aws:TagKeys":"team"}`))},
		{"a literal wildcard", "WILDCARD_WITHOUT_LIKE_OPERATOR", iam.SeverityWarning, iam.Trust, trust(github, when(`"StringEquals":{`+gitsub+`"repo:org/app:*"}`)), trust(github, when(`"StringLike":{`+gitsub+`"repo:org/app:*"}`))},
		{"an address as text", "TYPE_MISMATCH", iam.SeverityWarning, iam.Identity, on(toPull, repo, when(`"StringEquals":{"aws:SourceIp":"10.0.0.1"}`)), on(toPull, repo, when(`"NotIpAddress":{"aws:SourceIp":"10.0.0.1"},"Null":{"aws:SourceIp":"false"}`))},
		{"no boolean", "TYPE_MISMATCH_BOOLEAN", iam.SeverityWarning, iam.Identity, on(toPull, repo, when(`"Bool":{"aws:SecureTransport":"yes"}`)), on(toPull, repo, when(`"BoolIfExists":{"aws:SecureTransport":true}`))},
		{"no date", "TYPE_MISMATCH_DATE", iam.SeverityWarning, iam.Identity, on(toPull, repo, when(`"DateLessThan":{"aws:CurrentTime":"tomorrow"}`)), on(toPull, repo, when(`"DateLessThan":{"aws:CurrentTime":"2026-01-02"}`))},
		{"no range", "TYPE_MISMATCH_IP_RANGE", iam.SeverityWarning, iam.Identity, on(toPull, repo, when(`"IpAddress":{"aws:SourceIp":"10.0.0.0-10.0.0.9"}`)), on(toPull, repo, when(`"IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::/32"]}`))},
		{"no number", "TYPE_MISMATCH_NUMBER", iam.SeverityWarning, iam.Identity, on(toPull, repo, when(`"NumericLessThan":{"aws:MultiFactorAuthAge":"1h"}`)), on(toPull, repo, when(`"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}`))},
		{"no base64", "TYPE_MISMATCH_STRING", iam.SeverityWarning, iam.Identity, on(toPull, repo, when(`"BinaryEquals":{"x:y":"-"}`)), on(toPull, repo, when(`"BinaryEquals":{"x:y":"AQI="}`))},
	}
}

func TestLint(t *testing.T) {
	for _, tt := range lintTests() {
		t.Run(tt.code+"/"+tt.name, func(t *testing.T) {
			found := lint(t, tt.kind, tt.bad)
			i := slices.IndexFunc(found, func(f iam.Finding) bool { return f.Code == tt.code })
			if i < 0 {
				t.Fatalf("found %q in %s", codes(found), tt.bad)
			}
			if found[i].Severity != tt.severity {
				t.Errorf("severity %s, want %s", found[i].Severity, tt.severity)
			}
			for _, f := range found {
				if f.Message == "" || f.Fix == "" || strings.Contains(f.Message+f.Fix, "%!") {
					t.Errorf("says %q, %q", f.Message, f.Fix)
				}
			}
			if found := codes(lint(t, tt.kind, tt.good)); slices.Contains(found, tt.code) {
				t.Errorf("found it repaired: %q in %s", found, tt.good)
			}
		})
	}
}

// Each code that the linter's source names has a row in the table.
func TestLintTestsAreComplete(t *testing.T) {
	files, err := filepath.Glob("lint*.go")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	code := regexp.MustCompile(`"([A-Z]+(?:_[A-Z]+)+)"`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(source), -1) {
			tested := m[1] == iam.SeveritySecurity
			for _, tt := range lintTests() {
				tested = tested || tt.code == m[1]
			}
			if !tested {
				t.Errorf("%s: no row for %s", name, m[1])
			}
		}
	}
}

// What the linter says, all of it, about policies that people have.
func TestLintAll(t *testing.T) {
	managed := func(name string) string {
		doc, ok := iam.ManagedDocument("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistry" + name)
		if !ok {
			t.Fatal(name)
		}
		return doc
	}
	service := "arn:aws:ecr:us-east-1:" + own + ":repository/my-service"
	tests := []struct {
		name string
		kind iam.Kind
		doc  string
		want []string
	}{
		{"two accounts pull", iam.Resource, trust(`"Principal":{"AWS":["arn:aws:iam::` + own + `:root","arn:aws:iam::` + other + `:root"]},"Action":[` + toPull + `]`), nil},
		{"a CI role pushes", iam.Resource, trust(`"Principal":{"AWS":"arn:aws:iam::` + own + `:role/ci"},"Action":[` + toPush + `]`), nil},
		{"a task execution role", iam.Identity, token + "," + on(toPull+`,"ecr:BatchCheckLayerAvailability"`, service+"/*"), []string{"ECRU_PREFIX_MISSES_REPOSITORY"}},
		{"a task execution role, repaired", iam.Identity, token + "," + on(toPull+`,"ecr:BatchCheckLayerAvailability"`, service+`","`+service+"/*"), nil},
		{"a service account", iam.Trust, trust(provider, when(`"StringEquals":{`+subject+`}`)), []string{"ECRU_OIDC_WITHOUT_AUD"}},
		{"a service account, repaired", iam.Trust, trust(provider, when(`"StringEquals":{`+subject+`,`+audience+`}`)), nil},
		{"everything", iam.Identity, on(`"ecr:*"`, "*"), []string{"ECRU_WILDCARD_ACTION", "ECRU_WILDCARD_RESOURCE"}},
		{"GitHub", iam.Trust, trust(github, when(gitaud+`,"StringLike":{`+gitsub+`"repo:org/app:*"}`)), nil},
		{"ECS assumes it", iam.Trust, trust(`"Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"`), nil},
		{"a registry takes replicas", iam.Resource, trust(partner + `,"Action":["ecr:CreateRepository","ecr:ReplicateImage"],"Resource":"arn:aws:ecr:us-east-1:` + own + `:repository/*"`), nil},
		{"PullOnly", iam.Identity, managed("PullOnly"), []string{"ECRU_WILDCARD_RESOURCE"}},
		{"ReadOnly", iam.Identity, managed("ReadOnly"), []string{"ECRU_WILDCARD_RESOURCE"}},
		{"PowerUser", iam.Identity, managed("PowerUser"), []string{"ECRU_WILDCARD_RESOURCE"}},
		{"FullAccess", iam.Identity, managed("FullAccess"), []string{"ECRU_WILDCARD_ACTION", "ECRU_WILDCARD_RESOURCE"}},
		{"all resources but one take in *", iam.Identity, `{"Effect":"Deny","Action":"ecr:DescribeRegistry","NotResource":"` + repo + `"}`, nil},
		{"the same twice is told once", iam.Identity, on(`"ecr:ListImages"`, repo) + "," + on(`"ecr:ListImages"`, repo), []string{"REDUNDANT_STATEMENT"}},
		{"two conditions on a subject, one of them narrow", iam.Trust, trust(github, when(`"ForAnyValue:StringLike":{`+gitsub+`"repo:*"},"StringEquals":{`+gitsub+`"repo:org/app:ref:refs/heads/main","token.actions.githubusercontent.com:aud":"sts.amazonaws.com"}`)), nil},
		{"by statement, then code", iam.Identity, on(`"ecr:ListImage"`, "*", `,"Sid":"-"`) + "," + on(`"ecr:ListImages"`, "*", `,"Sid":""`), []string{"INVALID_ACTION", "UNSUPPORTED_SID", "ECRU_WILDCARD_RESOURCE", "EMPTY_SID_VALUE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := lint(t, tt.kind, tt.doc)
			if got := codes(found); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestLintSays(t *testing.T) {
	tests := []struct{ doc, want string }{
		{on(`"ecr:Put*"`, repo), "ecr:PutImageScanningConfiguration"},
		{on(`"ecr:PutImages"`, repo), "Write ecr:PutImage."},
		{on(`"ecr:GetImage"`, repo), "Write ecr:BatchGetImage."},
		{deny(`"ecr:DeleteRepositry"`, repo), "denies nothing by it"},
		{on(`"ecr:PutImage","ecr:BatchGetImage"`, repo), "also needs ecr:BatchCheckLayerAvailability, ecr:InitiateLayerUpload, ecr:UploadLayerPart and ecr:CompleteLayerUpload"},
		{on(toPull, repo+"/*"), "Add " + repo + " if"},
		{on(toPull, repo, when(`"StringEquals":{"aws:PrincipalOrgIDs":"o-1"}`)), "Write aws:principalorgid"},
		{on(`"ecr:ListImages","ecr:listimages"`, repo), "take in ecr:listimages."},
		{on(toPull+`,"ecr:Batch*"`, repo), "take in ecr:BatchGetImage."},
	}
	for _, tt := range tests {
		b, err := json.Marshal(lint(t, iam.Identity, tt.doc))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), tt.want) {
			t.Errorf("no %q in %s", tt.want, b)
		}
	}
	b, err := json.Marshal(iam.Finding{Code: "C", Severity: "S", Statement: 1, Sid: "I", Message: "M", Fix: "F"})
	if err != nil || string(b) != `{"code":"C","severity":"S","statement":1,"sid":"I","message":"M","fix":"F"}` {
		t.Errorf("%s %v", b, err)
	}
	if _, err := iam.Lint([]byte(`{}`), iam.Identity); err == nil {
		t.Error("no error for what is no policy")
	}
}

func FuzzLint(f *testing.F) {
	for _, tt := range lintTests() {
		f.Add(document(tt.bad), int(tt.kind))
	}
	f.Fuzz(func(t *testing.T, doc []byte, kind int) {
		k := iam.Kind(uint(kind) % 3)
		findings, err := iam.Lint(doc, k)
		p, parseErr := iam.Parse(doc, k)
		if (err == nil) != (parseErr == nil) {
			t.Fatalf("Lint: %v, Parse: %v", err, parseErr)
		}
		if err != nil {
			return
		}
		statements := p.Statements()
		for i, f := range findings {
			if f.Statement < 0 || f.Statement >= len(statements) || f.Sid != statements[f.Statement].Sid {
				t.Fatalf("%+v in a policy of %d statements", f, len(statements))
			}
			if f.Code == "" || f.Severity == "" || f.Message == "" || f.Fix == "" {
				t.Fatalf("%+v is not complete", f)
			}
			if i > 0 && (findings[i-1].Statement > f.Statement || findings[i-1].Statement == f.Statement && findings[i-1].Code > f.Code) {
				t.Fatalf("%+v before %+v", findings[i-1], f)
			}
		}
	})
}
