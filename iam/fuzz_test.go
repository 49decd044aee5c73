package iam_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ecruhq/ecru/iam"
)

// seeds are documents of every element and operator.
func seeds() []string {
	return []string{
		`{"Version":"2012-10-17","Id":"i","Statement":[` + allowPull + `,` + denyAll + `]}`,
		`{"Statement":{"Sid":"s","Effect":"Allow","Principal":"*","NotAction":"ecr:*"}}`,
		`{"Version":"2012-10-17","Statement":[` + onlyJane + `,` + theAccount + `,` + theOther + `,` + denyEveryone + `]}`,
		`{"Version":"2012-10-17","Statement":` + notJane + `}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":["arn:aws:iam::` + own + `:oidc-provider/one.example"]},"Action":"sts:AssumeRoleWithWebIdentity"}}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:P?t*","Resource":["arn:aws:ecr:*:*:repository/${aws:username}/*","arn:aws:ecr:*:*:*/${k, 'x'}${*}${?}${$}"],
			"Condition":{"StringLike":{"k":["${aws:PrincipalTag/team}*","b"]},"ForAllValues:StringNotEqualsIfExists":{"k":"c"},"ForAnyValue:StringEqualsIgnoreCase":{"k":"C"}}}}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","NotResource":"arn:aws:ecr:*","Condition":{"Null":{"k":false},"Bool":{"k":true},"BinaryEquals":{"k":"AQI="},"NumericLessThan":{"k":7e1}}}}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"k":["10.0.0.0/8","2001:db8::/32"]},"IpAddressIfExists":{"k":"::1"}}}}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-02T03:04:05Z"},"DateGreaterThanEquals":{"k":"1700000000"}}}}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${aws:username}"},"ArnNotEqualsIfExists":{"k":"arn:aws:ecr:*:*:*"}}}}`,
	}
}

// Whatever Parse takes in whichever place can be asked about by everybody.
func FuzzParseKinds(f *testing.F) {
	for i, doc := range seeds() {
		for kind := range 3 {
			f.Add([]byte(doc), uint8(kind), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, kind, who uint8) {
		k := iam.Kind(kind % 3)
		p, err := iam.Parse(doc, k)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v with error %v", p, err)
		}
		if err != nil {
			return
		}
		everybody := append(people(), iam.Principal{Federated: alphabet("Federated")[0]})
		asking := everybody[int(who)%len(everybody)]
		r := &iam.Request{Principal: &asking, Action: "ecr:PutImage", Resource: repo, Account: own, Context: func(string) []string { return []string{"10.0.0.1", "x"} }}
		if k == iam.Identity {
			asking.Policies, asking.Session, asking.Boundary = list(p), list(p.Named("session")), p.Named("boundary")
		} else {
			r.ResourcePolicy, r.RegistryPolicy = p, p.Named("registry")
		}
		for _, d := range []iam.Decision{iam.Evaluate(r), iam.EvaluateTrust(r)} {
			if d.Allowed == (d.Reason() != "") {
				t.Errorf("allowed=%t with reason %q", d.Allowed, d.Reason())
			}
			if d.Statement != nil && (d.Statement.Effect == "Allow") != d.Allowed {
				t.Errorf("allowed=%t by %+v", d.Allowed, *d.Statement)
			}
		}
	})
}

// plain tells whether s is of printable ASCII characters, with no escapes.
func plain(s string) bool {
	for _, c := range s {
		if c >= 0x7f || c < ' ' && !strings.ContainsRune("\t\n", c) {
			return false
		}
	}
	return !strings.Contains(s, `\`)
}

// The evaluator and the reference agree on documents and requests.
func FuzzEvaluate(f *testing.F) {
	values := []string{"10.1.2.3", "c\nd", "true", "AQI=", "7", "2026-01-02", "arn:aws:ecr:us-east-1:1:repository/x", ""}
	for i, doc := range seeds() {
		for j, value := range values {
			f.Add(doc, uint8(i+j), uint8(j), "ecr:PutImage", repo, value, int64(1_700_000_000))
		}
	}
	f.Fuzz(func(t *testing.T, doc string, who, place uint8, action, resource, value string, unix int64) {
		if !utf8.ValidString(resource) || !utf8.ValidString(value) || !plain(action) || unix < 0 || unix > 1<<33 {
			return
		}
		everybody := people()
		q := &question{principal: everybody[int(who)%len(everybody)],
			request: iam.Request{Action: action, Resource: resource, Account: own, Time: time.Unix(unix, 0),
				Context: func(key string) (out []string) {
					if key == "k" {
						return strings.FieldsFunc(value, func(c rune) bool { return c == '\n' })
					}
					return nil
				}}}
		const anything = `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
		switch place % 6 {
		case 0:
			q.identity = []string{doc}
		case 1:
			q.identity, q.boundary = []string{anything}, doc
		case 2:
			q.identity, q.session = []string{anything}, []string{doc}
		case 3:
			q.identity, q.resource = []string{anything}, doc
		case 4:
			q.registry = doc
		case 5:
			q.trust, q.resource = true, doc
			if who >= 128 {
				q.principal = iam.Principal{Federated: alphabet("Federated")[0]}
			}
		}
		q.agree(t)
	})
}
