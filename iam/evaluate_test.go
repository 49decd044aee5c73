package iam_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/iam"
)

const (
	own   = "123456789012"
	other = "210987654321"
	repo  = "arn:aws:ecr:us-east-1:" + own + ":repository/team/app"
)

func parse(t testing.TB, kind iam.Kind, statements string) *iam.Policy {
	t.Helper()
	if statements == "" {
		return nil
	}
	p, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":[`+statements+`]}`), kind)
	if err != nil {
		t.Fatalf("%v in %s", err, statements)
	}
	return p
}

func list(p *iam.Policy) []*iam.Policy {
	if p == nil {
		return nil
	}
	return []*iam.Policy{p}
}

const (
	allowPull    = `{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"*"}`
	denyAll      = `{"Sid":"no","Effect":"Deny","Action":"*","Resource":"*"}`
	allowAll     = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	everybody    = `{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}`
	onlyJane     = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + own + `:user/jane"},"Action":"ecr:BatchGetImage"}`
	theAccount   = `{"Effect":"Allow","Principal":{"AWS":"` + own + `"},"Action":"ecr:*"}`
	theOther     = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + other + `:root"},"Action":"ecr:*"}`
	denyEveryone = `{"Effect":"Deny","Principal":"*","Action":"ecr:BatchGetImage"}`
	notJane      = `{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::` + own + `:user/jane"},"Action":"ecr:*"}`
)

func TestEvaluate(t *testing.T) {
	tests := []struct {
		name                                          string
		root                                          bool
		account                                       string // of the principal
		identity, boundary, session, resource, policy string // policy: of the registry
		want                                          string // "" = allowed, else the reason
	}{
		{"nothing allows", false, own, "", "", "", "", "", "because no identity-based policy allows the ecr:BatchGetImage action"},
		{"an identity policy allows", false, own, allowPull, "", "", "", "", ""},
		{"root needs no policy in its account", true, own, "", "", "", "", "", ""},
		{"root of another account is nobody here", true, other, "", "", "", "", "", "because no resource-based policy allows the ecr:BatchGetImage action"},
		{"a deny in the same set wins", false, own, allowPull + "," + denyAll, "", "", "", "", "with an explicit deny in an identity-based policy"},
		{"a resource policy's deny wins over an identity allow", false, own, allowPull, "", "", denyEveryone, "", "with an explicit deny in a resource-based policy"},
		{"a resource policy's deny holds for root too", true, own, "", "", "", denyEveryone, "", "with an explicit deny in a resource-based policy"},
		{"a registry policy's deny wins", false, own, allowPull, "", "", "", denyEveryone, "with an explicit deny in a resource-based policy"},
		{"a resource policy that names the user is enough", false, own, "", "", "", onlyJane, "", ""},
		{"a resource policy for everybody is enough in the account", false, own, "", "", "", everybody, "", ""},
		{"a resource policy that names the account only delegates", false, own, "", "", "", theAccount, "", "because no identity-based policy allows the ecr:BatchGetImage action"},
		{"delegation and an identity policy allow", false, own, allowPull, "", "", theAccount, "", ""},
		{"another account needs both: identity alone", false, other, allowPull, "", "", "", "", "because no resource-based policy allows the ecr:BatchGetImage action"},
		{"another account needs both: resource alone", false, other, "", "", "", theOther, "", "because no identity-based policy allows the ecr:BatchGetImage action"},
		{"another account needs both: both", false, other, allowPull, "", "", theOther, "", ""},
		{"another account's root with a resource policy", true, other, "", "", "", theOther, "", ""},
		{"a boundary allows nothing by itself", false, own, "", allowAll, "", "", "", "because no identity-based policy allows the ecr:BatchGetImage action"},
		{"a boundary limits", false, own, allowPull, `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, "", "", "", "because no permissions boundary allows the ecr:BatchGetImage action"},
		{"a boundary's deny", false, own, allowPull, denyAll, "", "", "", "with an explicit deny in a permissions boundary"},
		{"a session policy limits", false, own, allowPull, "", `{"Effect":"Allow","Action":"ecr:ListImages","Resource":"*"}`, "", "", "because no session policy allows the ecr:BatchGetImage action"},
		{"a session policy limits what a resource policy gives", false, own, "", "", `{"Effect":"Allow","Action":"ecr:ListImages","Resource":"*"}`, onlyJane, "", "because no session policy allows the ecr:BatchGetImage action"},
		{"boundary, session and identity agree", false, own, allowPull, allowAll, allowAll, "", "", ""},
		{"NotPrincipal leaves out who it names", false, own, allowPull, "", "", notJane, "", ""},
		{"NotPrincipal takes in the others", false, other, allowPull, "", "", notJane + "," + theOther, "", "with an explicit deny in a resource-based policy"},
		{"NotAction is the rest", false, own, `{"Effect":"Allow","NotAction":"ecr:Put*","Resource":"*"}`, "", "", "", "", ""},
		{"NotAction leaves out what it names", false, own, `{"Effect":"Allow","NotAction":"ecr:BATCHget*","Resource":"*"}`, "", "", "", "", "because no identity-based policy allows the ecr:BatchGetImage action"},
		{"NotResource is the rest", false, own, `{"Effect":"Allow","Action":"ecr:*","NotResource":"arn:aws:ecr:*:*:repository/prod/*"}`, "", "", "", "", ""},
		{"actions match without case", false, own, `{"Effect":"Allow","Action":"ECR:batchgetimage","Resource":"*"}`, "", "", "", "", ""},
		{"? is one character", false, own, `{"Effect":"Allow","Action":"ecr:BatchGetImag?","Resource":"*"}`, "", "", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &iam.Principal{ARN: "arn:aws:iam::" + tt.account + ":user/jane", Account: tt.account, Name: "jane", ID: "AIDAJANE"}
			if tt.root {
				p = &iam.Principal{ARN: "arn:aws:iam::" + tt.account + ":root", Account: tt.account, Root: true}
			}
			p.Policies = list(parse(t, iam.Identity, tt.identity))
			p.Boundary = parse(t, iam.Identity, tt.boundary)
			p.Session = list(parse(t, iam.Identity, tt.session))
			d := iam.Evaluate(&iam.Request{
				Principal: p, Action: "ecr:BatchGetImage", Resource: repo, Account: own, Time: time.Unix(1_700_000_000, 0),
				ResourcePolicy: parse(t, iam.Resource, tt.resource), RegistryPolicy: parse(t, iam.Resource, tt.policy),
			})
			if d.Allowed != (tt.want == "") || d.Reason() != tt.want {
				t.Errorf("allowed=%t %q, want %q", d.Allowed, d.Reason(), tt.want)
			}
		})
	}
}

func TestResources(t *testing.T) {
	tests := []struct {
		pattern string
		want    bool
	}{
		{"*", true},
		{repo, true},
		{"arn:aws:ecr:*:*:repository/*", true},
		{"arn:aws:ecr:us-east-1:" + own + ":repository/team/*", true},
		{"arn:aws:ecr:us-east-1:" + own + ":repository/*app", true},
		{"arn:aws:ecr:us-east-1:" + own + ":repository/team/ap?", true},
		{"arn:aws:ecr:us-east-1:" + own + ":*", true},
		{"arn:aws:ecr:*", true},
		{"arn:aws:ecr:us-east-1:" + own + ":repository/team", false},
		{"arn:aws:ecr:us-east-1:" + own + ":repository/TEAM/app", false},
		{"arn:aws:ecr:eu-*:" + own + ":repository/team/app", false},
		{"arn:aws:s3:*:*:*", false},
		{"arn:aws:ecr:us-east-1:" + own + ":repository/team/app/*", false},
		{"arn:aws:ecr:us-east-1*repository/team/app", true}, // too few segments: plain text
	}
	for _, tt := range tests {
		p := &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/jane", Account: own,
			Policies: list(parse(t, iam.Identity, `{"Effect":"Allow","Action":"ecr:*","Resource":"`+tt.pattern+`"}`))}
		if d := iam.Evaluate(&iam.Request{Principal: p, Action: "ecr:PutImage", Resource: repo, Account: own}); d.Allowed != tt.want {
			t.Errorf("%s: %t, want %t", tt.pattern, d.Allowed, tt.want)
		}
	}
}

func TestRoleNamesItsSessions(t *testing.T) {
	policy := parse(t, iam.Resource, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+own+`:role/ci/deployer"},"Action":"ecr:*"}`)
	for role, want := range map[string]bool{
		"arn:aws:iam::" + own + ":role/ci/deployer":   true,
		"arn:aws:iam::" + own + ":role/deployer":      false,
		"arn:aws:iam::" + own + ":role/ci/deployer2":  false,
		"arn:aws:iam::" + other + ":role/ci/deployer": false,
	} {
		session := "arn:aws:sts::" + own + ":assumed-role/deployer/run-1"
		p := &iam.Principal{ARN: session, RoleARN: role, Account: own}
		if d := iam.Evaluate(&iam.Request{Principal: p, Action: "ecr:PutImage", Resource: repo, Account: own, ResourcePolicy: policy}); d.Allowed != want {
			t.Errorf("%s: %t, want %t", role, d.Allowed, want)
		}
	}
}

func TestConditions(t *testing.T) {
	keys := map[string][]string{
		"aws:sourceip": {"10.1.2.3"}, "aws:securetransport": {"true"}, "n": {"7"}, "word": {"Blue"}, "bad": {"x"},
		"tags": {"a", "b"}, "arn": {"arn:aws:ecr:us-east-1:1:repository/x"}, "bin": {"AQI="}, "when": {"2026-01-02T03:04:05Z"},
	}
	tests := []struct {
		condition string
		want      bool
	}{
		{`"StringEquals":{"word":"Blue"}`, true},
		{`"StringEquals":{"WORD":["Red","Blue"]}`, true},
		{`"StringEquals":{"word":"blue"}`, false},
		{`"StringEqualsIgnoreCase":{"word":"BLUE"}`, true},
		{`"StringNotEqualsIgnoreCase":{"word":"BLUE"}`, false},
		{`"StringNotEquals":{"word":["Red","Blue"]}`, false},
		{`"StringNotEquals":{"word":["Red","Green"]}`, true},
		{`"StringLike":{"word":"B*e"}`, true},
		{`"StringLike":{"word":"b*e"}`, false},
		{`"StringNotLike":{"word":"B??e"}`, false},
		{`"StringEquals":{"word":"B*e"}`, false},
		{`"StringEquals":{"missing":"x"}`, false},
		{`"StringNotEquals":{"missing":"x"}`, true},
		{`"StringEqualsIfExists":{"missing":"x"}`, true},
		{`"StringEqualsIfExists":{"word":"x"}`, false},
		{`"Null":{"missing":"true"}`, true},
		{`"Null":{"word":"true"}`, false},
		{`"Null":{"word":false}`, true},
		{`"NumericEquals":{"n":7}`, true},
		{`"NumericLessThan":{"n":"7"}`, false},
		{`"NumericLessThanEquals":{"n":"7"}`, true},
		{`"NumericGreaterThan":{"n":"6.5"}`, true},
		{`"NumericGreaterThanEquals":{"n":"8"}`, false},
		{`"NumericNotEquals":{"n":"8"}`, true},
		{`"NumericNotEquals":{"bad":"8"}`, false},
		{`"NumericNotEquals":{"n":"eight"}`, false},
		{`"DateEquals":{"when":"2026-01-02T03:04:05Z"}`, true},
		{`"DateLessThan":{"when":"2026-01-02T03:04:06Z"}`, true},
		{`"DateGreaterThan":{"when":"2026-01-03"}`, false},
		{`"DateGreaterThanEquals":{"when":"1700000000"}`, true},
		{`"DateLessThanEquals":{"when":"2026-01-02T03:04Z"}`, false},
		{`"DateNotEquals":{"bad":"2026-01-03"}`, false},
		{`"Bool":{"aws:SecureTransport":"true"}`, true},
		{`"Bool":{"aws:SecureTransport":false}`, false},
		{`"BinaryEquals":{"bin":"AQI="}`, true},
		{`"BinaryEquals":{"bin":"AQM="}`, false},
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, true},
		{`"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.2.3"]}`, true},
		{`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, false},
		{`"NotIpAddress":{"bad":"10.0.0.0/8"}`, false},
		{`"NotIpAddress":{"missing":"10.0.0.0/8"}`, true},
		{`"ArnLike":{"arn":"arn:aws:ecr:*:*:repository/*"}`, true},
		{`"ArnEquals":{"arn":"arn:aws:ecr:*:1:repository/x"}`, true},
		{`"ArnNotLike":{"arn":"arn:aws:ecr:*:*:repository/*"}`, false},
		{`"ArnNotEquals":{"bad":"arn:aws:ecr:*:*:repository/*"}`, false},
		{`"ForAllValues:StringEquals":{"tags":["a","b","c"]}`, true},
		{`"ForAllValues:StringEquals":{"tags":["a"]}`, false},
		{`"ForAllValues:StringEquals":{"missing":["a"]}`, true},
		{`"ForAnyValue:StringEquals":{"tags":["b","z"]}`, true},
		{`"ForAnyValue:StringEquals":{"tags":["z"]}`, false},
		{`"ForAnyValue:StringEquals":{"missing":["a"]}`, false},
		{`"ForAnyValue:StringNotEquals":{"tags":["a"]}`, true},
		{`"ForAllValues:StringNotEquals":{"tags":["a"]}`, false},
		{`"StringEquals":{"aws:username":"jane"}`, true},
		{`"StringEquals":{"aws:PrincipalAccount":"` + own + `"}`, true},
		{`"StringEquals":{"aws:PrincipalType":"User"}`, true},
		{`"StringEquals":{"aws:PrincipalTag/Team":"blue"}`, true},
		{`"StringEquals":{"aws:PrincipalTag/None":"blue"}`, false},
		{`"NumericLessThan":{"aws:EpochTime":"1700000001"}`, true},
		{`"StringEquals":{"aws:userid":"AIDAJANE"},"Bool":{"aws:SecureTransport":"false"}`, false},
		{`"StringEquals":{"word":"${aws:username}"}`, false},
		{`"StringEquals":{"aws:username":"${aws:username}"}`, true},
		{`"StringLike":{"aws:userid":"${aws:PrincipalTag/id, 'AIDA*'}"}`, false}, // a value is literal
		{`"StringLike":{"word":"${none, 'Blue'}"}`, true},
		{`"StringEquals":{"word":"${none}"}`, false},
		{`"StringNotEquals":{"word":"${none}"}`, false},
	}
	for _, tt := range tests {
		p := &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/jane", Account: own, Name: "jane", ID: "AIDAJANE", Tags: map[string]string{"team": "blue"},
			Policies: list(parse(t, iam.Identity, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{`+tt.condition+`}}`))}
		d := iam.Evaluate(&iam.Request{Principal: p, Action: "ecr:PutImage", Resource: repo, Account: own, Time: time.Unix(1_700_000_000, 0),
			Context: func(k string) []string { return keys[k] }})
		if d.Allowed != tt.want {
			t.Errorf("%s: %t, want %t", tt.condition, d.Allowed, tt.want)
		}
	}
}

// Before version 2012-10-17 there are no variables.
func TestVariablesNeedTheirVersion(t *testing.T) {
	for version, want := range map[string]bool{"2012-10-17": true, "2008-10-17": false} {
		policy, err := iam.Parse([]byte(`{"Version":"`+version+`","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/${aws:username}/*"}}`), iam.Identity)
		if err != nil {
			t.Fatal(err)
		}
		p := &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/team", Account: own, Name: "team", Policies: []*iam.Policy{policy}}
		if d := iam.Evaluate(&iam.Request{Principal: p, Action: "ecr:PutImage", Resource: repo, Account: own}); d.Allowed != want {
			t.Errorf("version %s: %t, want %t", version, d.Allowed, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, doc string
		kind      iam.Kind
		want      string
	}{
		{"not an object", `[]`, iam.Identity, "not a JSON object"},
		{"bytes after it", `{"Statement":[]}x`, iam.Identity, "not a JSON object"},
		{"a key twice", `{"Statement":[],"Statement":[]}`, iam.Identity, "duplicate key"},
		{"no statement", `{"Version":"2012-10-17"}`, iam.Identity, "no Statement"},
		{"empty list", `{"Statement":[]}`, iam.Identity, "1 to"},
		{"another version", `{"Version":"2020-01-01","Statement":[]}`, iam.Identity, "Version must be"},
		{"unknown element", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Resources":"*"}}`, iam.Identity, `"Resources"`},
		{"no effect", `{"Statement":{"Action":"*","Resource":"*"}}`, iam.Identity, "Effect must be"},
		{"action without service", `{"Statement":{"Effect":"Allow","Action":"PutImage","Resource":"*"}}`, iam.Identity, "not an action"},
		{"both forms", `{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}`, iam.Identity, "exclude each other"},
		{"no resource", `{"Statement":{"Effect":"Allow","Action":"*"}}`, iam.Identity, "no Resource"},
		{"resource is no ARN", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"team/app"}}`, iam.Identity, "not a resource"},
		{"principal in an identity policy", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, iam.Identity, "has no Principal"},
		{"no principal in a resource policy", `{"Statement":{"Effect":"Allow","Action":"*"}}`, iam.Resource, "no Principal"},
		{"principal with wildcard", `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/*"},"Action":"*"}}`, iam.Resource, "no wildcards"},
		{"principal of nothing", `{"Statement":{"Effect":"Allow","Principal":{"AWS":"jane"},"Action":"*"}}`, iam.Resource, "not a principal"},
		{"unknown operator", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Equals":{"a":"b"}}}}`, iam.Identity, "not a condition operator"},
		{"condition value is an object", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a":{}}}}}`, iam.Identity, "must be a string"},
		{"resource in a trust policy", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}`, iam.Trust, "no Resource"},
		{"deep", strings.Repeat(`{"a":`, 100), iam.Identity, "nested deeper"},
		{"too long", `{"Id":"` + strings.Repeat("x", 70_000) + `"}`, iam.Identity, "at most"},
	}
	for _, tt := range tests {
		if _, err := iam.Parse([]byte(tt.doc), tt.kind); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestManaged(t *testing.T) {
	p, ok := iam.Managed("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser")
	if !ok {
		t.Fatal("no PowerUser policy")
	}
	jane := &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/jane", Account: own, Policies: []*iam.Policy{p}}
	for action, want := range map[string]bool{"ecr:PutImage": true, "ecr:GetAuthorizationToken": true, "ecr:DeleteRepository": false, "ecr:BatchDeleteImage": false} {
		if d := iam.Evaluate(&iam.Request{Principal: jane, Action: action, Resource: repo, Account: own}); d.Allowed != want {
			t.Errorf("%s: %t, want %t", action, d.Allowed, want)
		}
	}
	if _, ok := iam.Managed("arn:aws:iam::aws:policy/AdministratorAccess"); ok {
		t.Error("a policy that is not ECR's")
	}
}

// Whatever else stands in the policies, an explicit deny wins.
func TestDenyWins(t *testing.T) {
	statement := rapid.Custom(func(r *rapid.T) string {
		effect := rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(r, "effect")
		action := rapid.SampledFrom([]string{"*", "ecr:*", "ecr:Put*", "ecr:PutImage", "s3:*"}).Draw(r, "action")
		return fmt.Sprintf(`{"Effect":%q,"Action":%q,"Resource":"*"}`, effect, action)
	})
	rapid.Check(t, func(r *rapid.T) {
		statements := rapid.SliceOfN(statement, 1, 6).Draw(r, "statements")
		at := rapid.IntRange(0, len(statements)).Draw(r, "at")
		statements = append(statements[:at:at], append([]string{`{"Effect":"Deny","Action":"ecr:PutImage","Resource":"` + repo + `"}`}, statements[at:]...)...)
		p := &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/jane", Account: own, Root: rapid.Bool().Draw(r, "root"),
			Policies: list(parse(t, iam.Identity, strings.Join(statements, ",")))}
		req := &iam.Request{Principal: p, Action: "ecr:PutImage", Resource: repo, Account: own, ResourcePolicy: parse(t, iam.Resource, `{"Effect":"Allow","Principal":"*","Action":"*"}`)}
		if iam.Evaluate(req).Allowed {
			r.Fatal("allowed")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"Version":"2012-10-17","Statement":[`+allowPull+`,`+denyAll+`]}`), 0)
	f.Add([]byte(`{"Statement":{"Effect":"Allow","Principal":{"AWS":["*","123456789012"],"Service":"a"},"NotAction":"ecr:*","Condition":{"ForAnyValue:ArnLikeIfExists":{"a":["${b, 'c'}",1,true]}}}}`), 1)
	f.Fuzz(func(t *testing.T, doc []byte, kind int) {
		p, err := iam.Parse(doc, iam.Kind(kind%3))
		if err != nil {
			return
		}
		jane := &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/jane", Account: own, Policies: []*iam.Policy{p}}
		d := iam.Evaluate(&iam.Request{Principal: jane, Action: "ecr:PutImage", Resource: repo, Account: own, ResourcePolicy: p,
			Context: func(string) []string { return []string{"10.0.0.1", "x"} }})
		if d.Allowed == (d.Reason() != "") {
			t.Errorf("allowed=%t with reason %q", d.Allowed, d.Reason())
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	bench := func(name string, p *iam.Principal, resource *iam.Policy) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			req := &iam.Request{Principal: p, Action: "ecr:BatchGetImage", Resource: repo, Account: own, ResourcePolicy: resource}
			for b.Loop() {
				if !iam.Evaluate(req).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
	readOnly, _ := iam.Managed("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")
	bench("root", &iam.Principal{ARN: "arn:aws:iam::" + own + ":root", Account: own, Root: true}, nil)
	bench("managed policy", &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/jane", Account: own, Policies: []*iam.Policy{readOnly}}, nil)
	var many []string
	for n := range 49 {
		many = append(many, fmt.Sprintf(`{"Effect":"Allow","Action":["ecr:Put*","ecr:BatchGetImage"],"Resource":"arn:aws:ecr:us-east-1:%s:repository/other-%d/*"}`, own, n))
	}
	many = append(many, allowPull)
	bench("50 statements", &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/jane", Account: own, Policies: list(parse(b, iam.Identity, strings.Join(many, ",")))}, nil)
}
