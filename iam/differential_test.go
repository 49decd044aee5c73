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

// alphabet is what may stand in an element. It is small, so that what policies
// name is what requests have.
func alphabet(element string) []string {
	switch element {
	case "Action":
		return []string{"*", "*", "ecr:*", "ecr:*", "ecr:Put*", "ECR:putimage", "ecr:Batch*", "ecr:?utImage", "ecr:ListImages", "s3:*", "sts:AssumeRole"}
	case "NotResource": // whose variables have a value
		return []string{repo, "arn:aws:ecr:*:*:repository/*", "arn:aws:ecr:*:" + own + ":repository/team/app", "arn:aws:ecr:*", "arn:aws:ecr:us-east-1:" + own + ":*/team/ap?", "arn:*:repository/team/*", "arn:aws:ecr:eu-*:*:*",
			"arn:aws:ecr:us-east-1*repository/team/app", "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team, 'team'}/*", "arn:aws:ecr:*:${aws:PrincipalAccount}:repository/*",
			"arn:aws:ecr:*:*:repository/te${?}m/*", "arn:aws:ecr:*:*:repository/${ AWS:SourceIdentity ,''}*", "arn:aws:ecr:*:*:repository/${aws:SourceIdentity, 't*'}/*"}
	case "Resource":
		return append(alphabet("NotResource"), "*", "*", "*", "*", "*", "arn:aws:ecr:*:*:repository/${aws:username}/*", "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/*",
			"arn:aws:ecr:*:*:repository/${aws:TagKeys}/*")
	case "AWS":
		return []string{"*", "*", own, other, "arn:aws:iam::" + own + ":root", "arn:aws:iam::" + other + ":root", "arn:aws:iam::" + own + ":user/team", "arn:aws:iam::" + other + ":user/eve",
			"arn:aws:iam::" + own + ":role/ci/deployer", "arn:aws:sts::" + own + ":assumed-role/deployer/run-1", "arn:aws:sts::" + own + ":assumed-role/deployer/run-2"}
	case "Federated":
		return []string{"arn:aws:iam::" + own + ":oidc-provider/one.example", "arn:aws:iam::" + own + ":oidc-provider/two.example"}
	}
	return nil
}

// A domain is a type of condition: its operators, keys, and the values that
// policies and requests have.
type domain struct{ operators, keys, values []string }

func domains() []domain {
	return []domain{
		{[]string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"},
			[]string{"aws:PrincipalTag/team", "aws:username", "ecr:ResourceTag/Team", "aws:TagKeys", "aws:PrincipalType", "aws:PrincipalAccount", "aws:SourceIdentity"},
			[]string{"team", "TEAM", "blue", "t*", "b?ue", "*", "User", own, "${aws:username}", "${aws:PrincipalTag/team}", "${aws:SourceIdentity, 'te*'}", "${*}", "${ecr:ResourceTag/team}*"}},
		{[]string{"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"},
			[]string{"n", "many", "aws:EpochTime", "aws:username"}, []string{"7", "7.0", "-7", "7e0", "70", "1700000000", "seven", "0x7", "${n}"}},
		{[]string{"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"},
			[]string{"aws:CurrentTime", "aws:EpochTime", "aws:TokenIssueTime", "when"},
			[]string{"2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00", "2023-11-14T22:13Z", "2023-11-14", "1700000000", "2020-01-01T00:00:00.5Z", "then", "${aws:TokenIssueTime}"}},
		{[]string{"Bool"}, []string{"aws:SecureTransport", "aws:MultiFactorAuthPresent", "n"}, []string{"true", "false", "True", "yes", "${aws:SecureTransport}"}},
		{[]string{"IpAddress", "NotIpAddress"}, []string{"aws:SourceIp", "aws:VpcSourceIp", "n"},
			[]string{"10.1.2.3", "10.0.0.0/8", "192.168.0.0/16", "0.0.0.0/0", "2001:db8::/32", "2001:DB8::1", "::/0", "::ffff:10.1.2.3", "10.1.2.3/33", "here", "${aws:SourceIp}"}},
		{[]string{"ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"}, []string{"aws:PrincipalArn", "aws:SourceArn", "aws:username"},
			[]string{"*", "arn:aws:iam::" + own + ":user/team", "arn:aws:iam::*:role/*", "arn:aws:iam:*:user/*", "arn:*:iam::" + own + ":*", "arn:aws:iam::" + own + ":user/${aws:username}", "team"}},
		{[]string{"BinaryEquals"}, []string{"bin", "n"}, []string{"AQI=", "AQM=", "AQI", "${bin}"}},
		{[]string{"Null"}, []string{"aws:TokenIssueTime", "aws:PrincipalTag/team", "aws:TagKeys", "nothing"}, []string{"true", "false"}},
	}
}

// index draws a number below n, each as likely as the others: rapid by itself
// prefers small ones. It still shrinks to 0.
func index(r *rapid.T, n int) int {
	return int(rapid.Uint64().Draw(r, "n") * 0x9e3779b97f4a7c15 >> 33 % uint64(n))
}

func pick[T any](r *rapid.T, from ...T) T { return from[index(r, len(from))] }

// chance is true n times of a hundred.
func chance(r *rapid.T, n int) bool { return index(r, 100) >= 100-n }

// some is one of the values, or a list of them.
func some(r *rapid.T, from []string) any {
	if chance(r, 60) {
		return pick(r, from...)
	}
	var out []string
	for range 1 + index(r, 3) {
		out = append(out, pick(r, from...))
	}
	return out
}

func randomCondition(r *rapid.T) map[string]any {
	out := map[string]any{}
	for range index(r, 3) {
		s := pick(r, append(domains(), domains()[0], domains()[0])...)
		operator, keys, values := pick(r, s.operators...), s.keys, s.values
		if operator != "Null" {
			if chance(r, 10) { // of another type
				o := pick(r, domains()...)
				keys, values = o.keys, o.values
			}
			operator = pick(r, "", "", "", "ForAllValues:", "ForAnyValue:") + operator + pick(r, "", "", "", "IfExists")
		}
		m, ok := out[operator].(map[string]any)
		if !ok {
			m = map[string]any{}
			out[operator] = m
		}
		m[pick(r, keys...)] = some(r, values)
	}
	return out
}

// randomStatement draws one for a kind of policy.
func randomStatement(r *rapid.T, k iam.Kind) map[string]any {
	s := map[string]any{"Effect": pick(r, "Allow", "Allow", "Allow", "Allow", "Allow", "Deny")}
	not := func(percent int) string {
		if chance(r, percent) {
			return "Not"
		}
		return ""
	}
	actions := alphabet("Action")
	if k == iam.Trust {
		actions = []string{"*", "sts:*", "sts:AssumeRole", "STS:assumerole*", "sts:*Identity"}
	}
	s[not(10)+"Action"] = some(r, actions)
	if k == iam.Identity || k == iam.Resource && chance(r, 40) {
		element := not(10) + "Resource"
		s[element] = some(r, alphabet(element))
	}
	if k != iam.Identity {
		switch n := index(r, 100); {
		case n < 8 && (k == iam.Resource || s["Effect"] == "Deny"):
			s["NotPrincipal"] = map[string]any{"AWS": some(r, alphabet("AWS"))}
		case n < 30:
			s["Principal"] = "*"
		case n < 80 || k == iam.Resource:
			s["Principal"] = map[string]any{"AWS": some(r, alphabet("AWS"))}
		default:
			s["Principal"] = map[string]any{"Federated": some(r, alphabet("Federated")), "Service": "ec2.amazonaws.com"}
		}
	}
	if chance(r, 45) {
		s["Condition"] = randomCondition(r)
	}
	return s
}

// randomDocument draws a policy as Parse takes it.
func randomDocument(r *rapid.T, k iam.Kind) string {
	var statements []any
	for range 1 + index(r, 3) {
		statements = append(statements, randomStatement(r, k))
	}
	m := map[string]any{"Statement": statements}
	if len(statements) == 1 && chance(r, 50) {
		m["Statement"] = statements[0]
	}
	if version := pick(r, "2012-10-17", "2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17", ""); version != "" {
		m["Version"] = version
	}
	b, err := json.Marshal(m)
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

// people are those who ask.
func people() []iam.Principal {
	issued := time.Unix(1_700_000_000, 0)
	blue := map[string]string{"Team": "team"}
	return []iam.Principal{
		{ARN: "arn:aws:iam::" + own + ":user/team", Account: own, Name: "team", ID: "AIDATEAM", Tags: blue},
		{ARN: "arn:aws:iam::" + own + ":user/bob", Account: own, Name: "bob", ID: "AIDABOB"},
		{ARN: "arn:aws:sts::" + own + ":assumed-role/deployer/run-1", RoleARN: "arn:aws:iam::" + own + ":role/ci/deployer", Account: own, Name: "team", ID: "AROADEPLOY:run-1", Tags: blue, Issued: issued, SourceIdentity: "team"},
		{ARN: "arn:aws:iam::" + other + ":user/eve", Account: other, Name: "eve", ID: "AIDAEVE", Tags: map[string]string{"team": "*"}},
		{ARN: "arn:aws:sts::" + other + ":assumed-role/guest/run-1", RoleARN: "arn:aws:iam::" + other + ":role/guest", Account: other, ID: "AROAGUEST:run-1", Issued: issued},
		{ARN: "arn:aws:iam::" + own + ":root", Account: own, ID: own, Root: true},
		{ARN: "arn:aws:iam::" + other + ":root", Account: other, ID: other, Root: true},
	}
}

// ask draws who asks for what, when, and in which circumstances.
func ask(r *rapid.T) *question {
	values, from := map[string][]string{}, map[string][]string{
		"aws:sourceip": {"10.1.2.3", "2001:db8::1", "::ffff:10.1.2.3"}, "aws:vpcsourceip": {"192.168.1.1"}, "aws:securetransport": {"true", "false"}, "n": {"7", "-7.5", "x"},
		"when": {"2023-11-14", "1700000000", "x"}, "ecr:resourcetag/team": {"team", "blue", "*"}, "bin": {"AQI=", "x"}, "aws:sourcearn": {"arn:aws:iam::" + own + ":user/team", "x"},
		"aws:tagkeys": {"team", "blue"}, "many": {"7", "70"},
	}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		switch from := from[key]; {
		case chance(r, 30):
		case key == "aws:tagkeys" || key == "many":
			values[key] = from[:1+index(r, 2)]
		default:
			values[key] = []string{pick(r, from...)}
		}
	}
	return &question{
		principal: pick(r, people()[:5+index(r, 3)]...),
		request: iam.Request{
			Action:   pick(r, "ecr:PutImage", "ecr:BatchGetImage"),
			Resource: pick(r, repo, repo, repo, "arn:aws:ecr:eu-west-1:"+own+":repository/bob/api", "arn:aws:ecr:eu-west-1:x:y:"+own+":repository/team/app", "*"),
			Account:  own, Time: time.Unix(1_700_000_000, 0),
			Context: func(key string) []string { return values[key] },
		},
	}
}

// documents draws n policies for whoever asks.
func documents(r *rapid.T, least, most int) (out []string) {
	for range least + index(r, most-least+1) {
		out = append(out, randomDocument(r, iam.Identity))
	}
	return out
}

// policies draws the policies that decide q.
func (q *question) policies(r *rapid.T) {
	if q.identity = documents(r, 0, 2); chance(r, 30) {
		q.identity = []string{`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}
	}
	if chance(r, 25) {
		q.boundary = randomDocument(r, iam.Identity)
	}
	if chance(r, 25) {
		q.session = documents(r, 1, 2)
	}
	if chance(r, 65) {
		q.resource = randomDocument(r, iam.Resource)
	}
	if chance(r, 25) {
		q.registry = randomDocument(r, iam.Resource)
	}
}

// A tally counts the answers of the evaluator.
type tally struct{ allowed, denied, refused int }

func (n *tally) count(allowed, ok bool) {
	switch {
	case !ok:
		n.refused++
	case allowed:
		n.allowed++
	default:
		n.denied++
	}
}

// many checks a property on thousands of cases; neither answer may be rare.
func many(t *testing.T, cases int, check func(r *rapid.T) (allowed, ok bool)) {
	t.Helper()
	var n tally
	for n.allowed+n.denied+n.refused < cases && !t.Failed() {
		rapid.Check(t, func(r *rapid.T) { n.count(check(r)) })
	}
	t.Logf("%d allowed, %d denied, %d refused", n.allowed, n.denied, n.refused)
	if answered := n.allowed + n.denied; !t.Failed() && (n.allowed*100 < answered*15 || n.denied*100 < answered*15) {
		t.Errorf("%d allowed, %d denied: neither may be under 15%%", n.allowed, n.denied)
	}
}

func TestDifferential(t *testing.T) {
	many(t, 10_000, func(r *rapid.T) (allowed, ok bool) {
		q := ask(r)
		q.policies(r)
		if allowed, ok = q.agree(r); !ok {
			r.Fatalf("refused\n%s", q)
		}
		return allowed, ok
	})
}

func TestDifferentialTrust(t *testing.T) {
	many(t, 4_000, func(r *rapid.T) (allowed, ok bool) {
		q := ask(r)
		q.trust, q.resource = true, randomDocument(r, iam.Trust)
		q.request.Action, q.request.Resource = "sts:AssumeRole", "arn:aws:iam::"+own+":role/ci/deployer"
		if chance(r, 20) {
			q.principal = iam.Principal{Federated: pick(r, alphabet("Federated")...), ARN: "arn:aws:iam::" + own + ":user/team"}
			q.request.Action = "sts:AssumeRoleWithWebIdentity"
		} else if q.identity = documents(r, 0, 2); chance(r, 85) {
			q.identity = []string{`{"Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`}
		}
		if allowed, ok = q.agree(r); !ok {
			r.Fatalf("refused\n%s", q)
		}
		return allowed, ok
	})
}

// mutate changes a document a little: bytes, or elements of it.
func mutate(r *rapid.T, doc string) string {
	for range 1 + index(r, 2) {
		if chance(r, 20) {
			doc = mutateBytes(r, doc)
			continue
		}
		var v any
		if json.Unmarshal([]byte(doc), &v) != nil {
			continue
		}
		b, err := json.Marshal(mutateValue(r, v))
		if err != nil {
			r.Fatal(err)
		}
		doc = string(b)
	}
	return doc
}

func mutateBytes(r *rapid.T, doc string) string {
	at := index(r, len(doc)+1)
	end := min(len(doc), at+index(r, 4))
	return doc[:at] + pick(r, "", "", "*", "?", ":", ",", "$", "{", "}", "[", "]", `"`, "'", "0", "a", "/", " ", "IfExists", "Not", doc[at:end]+doc[at:end]) + doc[end:]
}

// mutateValue changes one value somewhere in v. What Principal and Resource
// name is exchanged for something else, but they are not negated: the
// documentation leaves open what that means in some cases.
func mutateValue(r *rapid.T, v any) any {
	if chance(r, 4) {
		return pick[any](r, nil, "", "*", "2012-10-17", "true", "Deny", 7, true, []any{}, []any{v}, []any{nil}, []any{v, v}, map[string]any{}, map[string]any{"AWS": v})
	}
	switch v := v.(type) {
	case string:
		return mutateBytes(r, v)
	case []any:
		if len(v) > 0 {
			i := index(r, len(v))
			v[i] = mutateValue(r, v[i])
		}
	case map[string]any:
		if len(v) == 0 {
			break
		}
		key := pick(r, slices.Sorted(maps.Keys(v))...)
		switch n := index(r, 10); {
		case n == 0:
			delete(v, key)
		case n == 1:
			v[strings.ToLower(key)] = v[key]
		case n == 2 && (key == "Action" || strings.HasPrefix(key, "String")):
			v["Not"+key] = v[key]
			delete(v, key)
		case n == 3:
			v[pick(r, "ForAllValues:", "ForAnyValue:")+key] = v[key]
			delete(v, key)
		default:
			v[key] = mutateValue(r, v[key])
		}
	}
	return v
}

// Whatever a document became, if it still is one then both read the same in
// it.
func TestDifferentialMutations(t *testing.T) {
	answered, rounds := 0, 300
	for n := 0; n < rounds && !t.Failed(); n++ {
		rapid.Check(t, func(r *rapid.T) {
			q := ask(r)
			q.identity = documents(r, 1, 1)
			q.resource = randomDocument(r, iam.Resource)
			switch index(r, 3) {
			case 0:
				q.identity[0] = mutate(r, q.identity[0])
			case 1:
				q.resource = mutate(r, q.resource)
			default:
				q.boundary = mutate(r, q.identity[0])
			}
			if _, ok := q.agree(r); ok {
				answered++
			}
		})
	}
	t.Logf("%d documents were still policies", answered)
	if !t.Failed() && answered < 10*rounds {
		t.Errorf("%d documents were still policies: mutations must be smaller", answered)
	}
}
