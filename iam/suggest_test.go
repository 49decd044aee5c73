package iam_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/iam"
)

const registryARN = "arn:aws:ecr:us-east-1:" + own + ":repository/"

func TestSuggest(t *testing.T) {
	pull := func(name string) []iam.Use {
		return []iam.Use{{Action: "ecr:BatchGetImage", Resource: registryARN + name}, {Action: "ecr:GetDownloadUrlForLayer", Resource: registryARN + name}}
	}
	token := iam.Use{Action: "ecr:GetAuthorizationToken", Resource: "*"}
	tests := []struct {
		name  string
		uses  []iam.Use
		want  string // the statements, compact; "" for no policy
		notes []string
	}{
		{"nothing", nil, "", []string{"No use was allowed"}},
		{"a pull", append(pull("team/app"), token),
			`[{"Sid":"Registry","Effect":"Allow","Action":["ecr:GetAuthorizationToken"],"Resource":["*"]},` +
				`{"Sid":"PullTeamApp","Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":["` + registryARN + `team/app"]}]`, nil},
		{"the same twice, in another case", []iam.Use{token, {Action: "ECR:getauthorizationtoken", Resource: "*"}},
			`[{"Sid":"Registry","Effect":"Allow","Action":["ecr:GetAuthorizationToken"],"Resource":["*"]}]`, nil},
		{"several repositories stay several", append(pull("team/b"), pull("team/a")...),
			`[{"Sid":"PullSeveral","Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":["` + registryARN + `team/a","` + registryARN + `team/b"]}]`,
			[]string{registryARN + "team/* would be shorter than the 2 repositories"}},
		{"other resources, another statement", append(pull("a"), iam.Use{Action: "ecr:PutImage", Resource: registryARN + "b"}),
			`[{"Sid":"PullA","Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":["` + registryARN + `a"]},` +
				`{"Sid":"PushB","Effect":"Allow","Action":["ecr:PutImage"],"Resource":["` + registryARN + `b"]}]`, nil},
		{"titles of one form", append(pull("a-b"), iam.Use{Action: "ecr:BatchGetImage", Resource: registryARN + "c"}, iam.Use{Action: "ecr:DescribeImages", Resource: registryARN + "a/b"}, iam.Use{Action: "ecr:ListImages", Resource: registryARN + "a-b2"}, iam.Use{Action: "ecr:ListTagsForResource", Resource: registryARN + "a_b"}),
			`[{"Sid":"PullAB","Effect":"Allow","Action":["ecr:GetDownloadUrlForLayer"],"Resource":["` + registryARN + `a-b"]},` +
				`{"Sid":"PullSeveral","Effect":"Allow","Action":["ecr:BatchGetImage"],"Resource":["` + registryARN + `a-b","` + registryARN + `c"]},` +
				`{"Sid":"UseAB2","Effect":"Allow","Action":["ecr:ListImages"],"Resource":["` + registryARN + `a-b2"]},` +
				`{"Sid":"UseAB","Effect":"Allow","Action":["ecr:DescribeImages"],"Resource":["` + registryARN + `a/b"]},` +
				`{"Sid":"UseAB3","Effect":"Allow","Action":["ecr:ListTagsForResource"],"Resource":["` + registryARN + `a_b"]}]`, nil},
		{"an action of the registry is on *", []iam.Use{{Action: "ecr:DescribeRegistry", Resource: registryARN + "a"}},
			`[{"Sid":"Registry","Effect":"Allow","Action":["ecr:DescribeRegistry"],"Resource":["*"]}]`, nil},
		{"the list of all repositories is not all repositories", []iam.Use{{Action: "ecr:DescribeRepositories", Resource: registryARN + "*"}},
			`[{"Sid":"Use","Effect":"Allow","Action":["ecr:DescribeRepositories"],"Resource":["` + registryARN + `${*}"]}]`, []string{"is the list of all repositories"}},
		{"* takes in the rest", append(pull("a"), iam.Use{Action: "ecr:BatchGetImage", Resource: "*"}),
			`[{"Sid":"Registry","Effect":"Allow","Action":["ecr:BatchGetImage"],"Resource":["*"]},` +
				`{"Sid":"PullA","Effect":"Allow","Action":["ecr:GetDownloadUrlForLayer"],"Resource":["` + registryARN + `a"]}]`, []string{"allows it on every repository"}},
		{"denied", []iam.Use{{Action: "ecr:DeleteRepository", Resource: registryARN + "a", Denied: true}, {Action: "ecr:DeleteRepository", Resource: registryARN + "a", Denied: true}}, "",
			[]string{"No use was allowed", "was denied (2 times)"}},
		{"what is no action, and what is no resource", []iam.Use{{Action: "PutImage", Resource: "*"}, {Action: "ecr:PutImages", Resource: "*"}, {Action: "ecr:*", Resource: "*"}, {Action: "ecr:PutImage", Resource: "team/app"}}, "",
			[]string{"No use was allowed", "PutImage is not an action and", "ecr:* is not an action", `"team/app" was left out`, "ecr:PutImages is not an action of ECR"}},
		{"referrers", []iam.Use{{Action: "ecr:ListImageReferrers", Resource: registryARN + "a"}},
			`[{"Sid":"PullA","Effect":"Allow","Action":["ecr:BatchGetImage"],"Resource":["` + registryARN + `a"]}]`, []string{"no action of its own"}},
		{"a role", []iam.Use{{Action: "sts:AssumeRole", Resource: "arn:aws:iam::" + own + ":role/ci"}},
			`[{"Sid":"UseCi","Effect":"Allow","Action":["sts:AssumeRole"],"Resource":["arn:aws:iam::` + own + `:role/ci"]}]`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, notes := iam.Suggest(tt.uses)
			got := ""
			if doc != nil {
				var p struct {
					Version   string
					Statement json.RawMessage
				}
				if err := json.Unmarshal(doc, &p); err != nil || p.Version != "2012-10-17" {
					t.Fatal(err, string(doc))
				}
				got = compactJSON(t, p.Statement)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if len(notes) != len(tt.notes) {
				t.Fatalf("notes %q, want %q", notes, tt.notes)
			}
			for i := range notes {
				if !strings.Contains(notes[i], tt.notes[i]) {
					t.Errorf("note %q, want %q", notes[i], tt.notes[i])
				}
			}
		})
	}
}

func compactJSON(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	b, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSuggestTellsOfSize(t *testing.T) {
	var uses []iam.Use
	for i := range 200 {
		uses = append(uses, iam.Use{Action: "ecr:BatchGetImage", Resource: registryARN + strings.Repeat("x", i+2)})
	}
	if _, notes := iam.Suggest(uses); len(notes) != 1 || !strings.Contains(notes[0], "more than the 6144") {
		t.Errorf("notes %q", notes)
	}
}

// The policy allows each use that was allowed and no other, in any order of
// the uses, and the linter finds nothing dangerous in it.
func TestSuggestAllowsJustThat(t *testing.T) {
	resources := []string{"*", registryARN + "*", registryARN + "a", registryARN + "ab", registryARN + "team/a", registryARN + "team/b", registryARN + "team",
		"arn:aws:ecr:eu-west-1:" + own + ":repository/a", "arn:aws:ecr:us-east-1:" + other + ":repository/a", registryARN + "${aws:username}", registryARN + "a?"}
	actions := iam.Actions()
	request := func(p *iam.Policy, action, resource string) bool {
		return iam.Evaluate(&iam.Request{Principal: &iam.Principal{ARN: "arn:aws:iam::" + own + ":user/a", Account: own, Name: "a", Policies: []*iam.Policy{p}},
			Action: action, Resource: resource, Account: own}).Allowed
	}
	use := rapid.Custom(func(r *rapid.T) iam.Use {
		a := rapid.SampledFrom(actions).Draw(r, "action")
		u := iam.Use{Action: a.Name, Resource: rapid.SampledFrom(resources).Draw(r, "resource"), Denied: rapid.Bool().Draw(r, "denied")}
		if !a.Repository {
			u.Resource = "*"
		} else if u.Resource == "*" && a.Level != iam.LevelRead && a.Level != iam.LevelList {
			u.Resource = registryARN + "a" // nothing writes to all repositories
		}
		return u
	})
	rapid.Check(t, func(r *rapid.T) {
		uses := rapid.SliceOfN(use, 1, 12).Draw(r, "uses")
		doc, _ := iam.Suggest(uses)
		backwards := slices.Clone(uses)
		slices.Reverse(backwards)
		if other, _ := iam.Suggest(backwards); string(other) != string(doc) {
			r.Fatalf("the order of the uses matters:\n%s\n%s", doc, other)
		}
		allowed, everywhere := map[iam.Use]bool{}, map[string]bool{}
		for _, u := range uses {
			if !u.Denied {
				allowed[u] = true
				everywhere[u.Action] = everywhere[u.Action] || u.Resource == "*"
			}
		}
		if doc == nil {
			if len(allowed) > 0 {
				r.Fatal("no policy")
			}
			return
		}
		p, err := iam.Parse(doc, iam.Identity)
		if err != nil {
			r.Fatalf("%v in %s", err, doc)
		}
		for _, a := range actions {
			for _, resource := range resources {
				want := allowed[iam.Use{Action: a.Name, Resource: resource}] || everywhere[a.Name]
				if got := request(p, a.Name, resource); got != want {
					r.Fatalf("%s on %s: %t, want %t by\n%s", a.Name, resource, got, want, doc)
				}
			}
		}
		findings, err := iam.Lint(doc, iam.Identity)
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range findings {
			if f.Severity == iam.SeveritySecurity || f.Severity == iam.SeverityError {
				r.Fatalf("%+v in\n%s", f, doc)
			}
		}
	})
}
