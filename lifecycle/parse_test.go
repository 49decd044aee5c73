package lifecycle_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/lifecycle"
)

const expire, archive = `{"type":"expire"}`, `{"type":"transition","targetStorageClass":"archive"}`

// policy writes a policy of rules, each "selection => action" without braces
// around the selection; the priorities are 1, 2, 3.
func policy(rules ...string) string {
	for i, r := range rules {
		selection, action, ok := strings.Cut(r, " => ")
		if !ok {
			action = expire
		}
		rules[i] = fmt.Sprintf(`{"rulePriority":%d,"selection":{%s},"action":%s}`, i+1, selection, action)
	}
	return `{"rules":[` + strings.Join(rules, ",") + `]}`
}

func mustParse(t testing.TB, text string) *lifecycle.Policy {
	t.Helper()
	p, err := lifecycle.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return p
}

const (
	anyCount = `"tagStatus":"any","countType":"imageCountMoreThan","countNumber":5`
	anyOld   = `"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":5`
	noTags   = `"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":5`
	inAging  = `"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90`
	noClass  = "instance failed to match exactly one schema (matched 0 out of 2)"
	unmapped = "Could not map policyString into LifecyclePolicy."
)

func tagged(kind, list string) string {
	return fmt.Sprintf(`"tagStatus":"tagged","%s":%s,"countType":"imageCountMoreThan","countNumber":5`, kind, list)
}

func TestParse(t *testing.T) {
	rule := func(members string) string { return `{"rules":[{` + members + `}]}` }
	selection, action := `"selection":{`+anyCount+`}`, `"action":`+expire
	tests := []struct{ text, want string }{ // want "": accepted
		// the whole text
		{policy(anyCount), ""},
		{" \n" + policy(anyCount) + "\t", ""},
		{``, unmapped}, {`[]`, unmapped}, {`null`, unmapped}, {`"x"`, unmapped}, {`{"rules":[}`, unmapped},
		{policy(anyCount) + "{}", unmapped},
		{`{"rules":[],"rules":[]}`, unmapped},
		{`{"rules":[{"rulePriority":1,"rulePriority":2,` + selection + `,` + action + `}]}`, unmapped},
		{"{\"rules\":\"\xff\"}", unmapped},
		{`{"rules":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`, unmapped},
		{policy(anyCount) + strings.Repeat(" ", 30720-len(policy(anyCount))), ""},
		{policy(anyCount) + strings.Repeat(" ", 30721-len(policy(anyCount))), "policyString is too long (length: 30721, maximum allowed: 30720)"},
		{rule(`"rulePriority":1,"description":"` + strings.Repeat("ü", 20000) + `",` + selection + `,` + action), ""}, // characters, not bytes
		{`{}`, `object has missing required properties (["rules"])`},
		{`{"x":1}`, `object has missing required properties (["rules"])`},
		{`{"rules":[],"y":1,"x":1}`, `object instance has properties which are not allowed by the schema: (["x","y"])`},
		{`{"Rules":[]}`, `object has missing required properties (["rules"])`},
		{`{"rules":{}}`, `instance type (object) does not match any allowed primitive type (allowed: ["array"])`},
		{`{"rules":null}`, `instance type (null) does not match any allowed primitive type (allowed: ["array"])`},
		{`{"rules":[]}`, `array is too short: must have at least 1 elements but instance has 0 elements`},
		{policy(many(50)...), ""},
		{policy(many(51)...), `array is too long: must have at most 50 elements but instance has 51 elements`},
		// a rule
		{`{"rules":["x"]}`, `instance type (string) does not match any allowed primitive type (allowed: ["object"])`},
		{`{"rules":[true]}`, `instance type (boolean) does not match any allowed primitive type (allowed: ["object"])`},
		{rule(`"rulePriority":1`), `object has missing required properties (["action","selection"])`},
		{rule(`"rulePriority":1,` + selection + `,` + action + `,"x":1`), `object instance has properties which are not allowed by the schema: (["x"])`},
		{rule(`"rulePriority":0,` + selection + `,` + action), `numeric instance is lower than the required minimum (minimum: 1, found: 0)`},
		{rule(`"rulePriority":-99999999999999999999,` + selection + `,` + action), `numeric instance is lower than the required minimum (minimum: 1, found: -99999999999999999999)`},
		{rule(`"rulePriority":2147483647,` + selection + `,` + action), ""},
		{rule(`"rulePriority":2147483648,` + selection + `,` + action), `numeric instance is greater than the required maximum (maximum: 2147483647, found: 2147483648)`},
		{rule(`"rulePriority":1.0,` + selection + `,` + action), `instance type (number) does not match any allowed primitive type (allowed: ["integer"])`},
		{rule(`"rulePriority":"1",` + selection + `,` + action), `instance type (string) does not match any allowed primitive type (allowed: ["integer"])`},
		{rule(`"rulePriority":null,` + selection + `,` + action), `instance type (null) does not match any allowed primitive type (allowed: ["integer"])`},
		{rule(`"rulePriority":1,"description":null,` + selection + `,` + action), `instance type (null) does not match any allowed primitive type (allowed: ["string"])`},
		{rule(`"rulePriority":1,"selection":null,` + action), `instance type (null) does not match any allowed primitive type (allowed: ["object"])`},
		{rule(`"rulePriority":1,"selection":[],` + action), `instance type (array) does not match any allowed primitive type (allowed: ["object"])`},
		// a selection
		{policy(``), `object has missing required properties (["countNumber","countType","tagStatus"])`},
		{policy(anyCount + `,"foo":1`), `object instance has properties which are not allowed by the schema: (["foo"])`},
		{policy(strings.Replace(anyCount, "any", "all", 1)), `instance value (all) not found in enum :(possible values: ["any","tagged","untagged"])`},
		{policy(strings.Replace(anyCount, `"any"`, `1`, 1)), `instance type (integer) does not match any allowed primitive type (allowed: ["string"])`},
		{policy(`"tagStatus":"tagged","countType":"imageCountMoreThan","countNumber":5`), "Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED."},
		{policy(tagged("tagPrefixList", `[]`)), "Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED."},
		{policy(tagged("tagPrefixList", `["a"]`) + `,"tagPatternList":["b"]`), "Must not specify both tagPrefixList and tagPatternList."},
		{policy(noTags + `,"tagPrefixList":["a"]`), "Must not specify tagPrefixList or tagPatternList when tagStatus=UNTAGGED."},
		{policy(anyCount + `,"tagPatternList":[]`), "Must not specify tagPrefixList or tagPatternList when tagStatus=ANY."},
		{policy(tagged("tagPrefixList", `null`)), `instance type (null) does not match any allowed primitive type (allowed: ["array"])`},
		{policy(tagged("tagPatternList", `"a"`)), `instance type (string) does not match any allowed primitive type (allowed: ["array"])`},
		{policy(tagged("tagPrefixList", `["a",null]`)), `instance type (null) does not match any allowed primitive type (allowed: ["string"])`},
		{policy(tagged("tagPrefixList", `[""]`)), `string "" is too short (length: 0, required minimum: 1)`},
		{policy(tagged("tagPatternList", `["*test*1*2*3","test*1*2*3*"]`)), ""},
		{policy(tagged("tagPatternList", `["test*1*2*3*4*5*6"]`)), "Tag pattern 'test*1*2*3*4*5*6' has 6 wildcards, the maximum is 4."},
		{policy(tagged("tagPrefixList", `["a*****"]`)), ""},
		{policy(anyCount + `,"storageClass":"standard"`), ""},
		{policy(anyCount + `,"storageClass":"STANDARD"`), `instance value (STANDARD) not found in enum :(possible values: ["archive","standard"])`},
		{policy(strings.Replace(anyCount, "imageCountMoreThan", "sinceImageSeen", 1)), noClass},
		{policy(anyCount + `,"countUnit":"days"`), noClass},
		{policy(anyCount + `,"countUnit":null`), noClass},
		{policy(strings.Replace(anyOld, `"countUnit":"days",`, ``, 1)), noClass},
		{policy(strings.Replace(anyOld, `"days"`, `null`, 1)), noClass},
		{policy(strings.Replace(anyOld, `"days"`, `"hours"`, 1)), `instance value (hours) not found in enum :(possible values: ["days"])`},
		{policy(strings.Replace(anyOld, `:5`, `:0`, 1)), `numeric instance is lower than the required minimum (minimum: 1, found: 0)`},
		// an action
		{policy(anyCount + ` => {}`), `object has missing required properties (["type"])`},
		{policy(anyCount + ` => "expire"`), `instance type (string) does not match any allowed primitive type (allowed: ["object"])`},
		{policy(anyCount + ` => {"type":"expire","x":1}`), `object instance has properties which are not allowed by the schema: (["x"])`},
		{policy(anyCount + ` => {"type":"retain"}`), `instance value (retain) not found in enum :(possible values: ["expire","transition"])`},
		{policy(anyCount + ` => {"type":"expire","targetStorageClass":null}`), noClass},
		{policy(anyCount + ` => {"type":"expire","targetStorageClass":"archive"}`), noClass},
		{policy(anyCount + ` => {"type":"transition"}`), noClass},
		{policy(anyCount + ` => {"type":"transition","targetStorageClass":"standard"}`), `instance value (standard) not found in enum :(possible values: ["archive"])`},
		{policy(anyCount + ` => ` + archive), ""},
		{policy(anyOld + ` => ` + archive), ""},
		// what goes together
		{policy(anyCount + `,"storageClass":"archive"`), "Must not specify storageClass=ARCHIVE when countType=imageCountMoreThan."},
		{policy(strings.Replace(inAging, "archive", "standard", 1)), "Must specify storageClass=ARCHIVE when countType=sinceImageTransitioned."},
		{policy(inAging), ""},
		{policy(inAging + ` => ` + archive), "Must specify action type=EXPIRE when countType=sinceImageTransitioned."},
		{policy(strings.Replace(inAging, "90", "89", 1)), "Images must be archived for at least 90 days before they can expire (minimum: 90, found: 89)"},
		{policy(strings.Replace(anyOld, "Pushed", "Pulled", 1)), "Must specify action type=TRANSITION when countType=sinceImagePulled."},
		{policy(strings.Replace(anyOld, "Pushed", "Pulled", 1) + ` => ` + archive), ""},
		// between rules
		{strings.ReplaceAll(policy(noTags, anyCount), `y":2`, `y":1`), "Rule priority must be unique, rulePriority 1 is used more than once"},
		{strings.ReplaceAll(policy(anyCount, noTags), `y":1`, `y":7`), ""}, // priorities decide, not places
		{policy(noTags, noTags), "Only one rule can select Untagged images per storage class"},
		{policy(noTags, strings.Replace(inAging, "any", "untagged", 1)), ""},
		{policy(anyCount, noTags), "Rule for tagStatus=ANY must have the lowest priority per storage class"},
		{policy(anyCount, anyOld), "Rule for tagStatus=ANY must have the lowest priority per storage class"},
		{policy(anyCount, inAging), ""},
		{policy(inAging, noTags, anyCount), ""},
		{policy(tagged("tagPrefixList", `["b","a","b"]`), tagged("tagPrefixList", `["a","b"]`)), `Only one rule can select tagPrefixList ["a","b"] per storage class`},
		{policy(tagged("tagPrefixList", `["a"]`), tagged("tagPrefixList", `["a","b"]`)), ""},
		{policy(tagged("tagPrefixList", `["a"]`), tagged("tagPatternList", `["a"]`), tagged("tagPatternList", `["a"]`)), ""},
	}
	for _, tt := range tests {
		p, err := lifecycle.Parse([]byte(tt.text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || (p == nil) != (tt.want != "") {
			t.Errorf("%.300s:\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

// many are n rules that may stand together.
func many(n int) []string {
	rules := make([]string, n)
	for i := range rules {
		rules[i] = tagged("tagPrefixList", fmt.Sprintf(`["p%d-"]`, i))
	}
	return rules
}

func TestPolicyValues(t *testing.T) {
	p := mustParse(t, `{"rules":[
		{"rulePriority":9,"selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":365},"action":{"type":"expire"}},
		{"rulePriority":3,"description":"<a> & \u00fc","selection":{"tagStatus":"tagged","tagPatternList":["v*.*"],"countType":"imageCountMoreThan","countNumber":2},"action":{"type":"transition","targetStorageClass":"archive"}}]}`)
	want := &lifecycle.Policy{Rules: []lifecycle.Rule{
		{Priority: 3, Description: "<a> & ü",
			Selection: lifecycle.Selection{TagStatus: lifecycle.Tagged, TagPatterns: []string{"v*.*"}, StorageClass: lifecycle.Standard, CountType: lifecycle.ImageCountMoreThan, CountNumber: 2},
			Action:    lifecycle.Action{Type: lifecycle.ActionTransition, TargetStorageClass: lifecycle.Archive}},
		{Priority: 9,
			Selection: lifecycle.Selection{TagStatus: lifecycle.Any, StorageClass: lifecycle.Archive, CountType: lifecycle.SinceImageTransitioned, CountUnit: lifecycle.Days, CountNumber: 365},
			Action:    lifecycle.Action{Type: lifecycle.ActionExpire}},
	}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v", p)
	}
	const text = `{"rules":[{"rulePriority":3,"description":"<a> & ü","selection":{"tagStatus":"tagged","tagPatternList":["v*.*"],"countType":"imageCountMoreThan","countNumber":2},"action":{"type":"transition","targetStorageClass":"archive"}},` +
		`{"rulePriority":9,"selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":365},"action":{"type":"expire"}}]}`
	if got := string(p.JSON()); got != text {
		t.Errorf("got %s", got)
	}
	if got := string(new(lifecycle.Policy).JSON()); got != `{"rules":[]}` {
		t.Errorf("no rules: %s", got)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		again, err := lifecycle.Parse(p.JSON())
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%v: %+v became %+v", err, p, again)
		}
	})
}

// What is accepted is the same policy when it is written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(policy(noTags, tagged("tagPatternList", `["*a*","b"]`), inAging, anyCount)))
	f.Add([]byte(policy(tagged("tagPrefixList", `["\ud800","<"]`), anyCount+" => "+archive)))
	f.Add([]byte(policy(strings.Replace(anyOld, "Pushed", "Pulled", 1) + ` => ` + archive)))
	if s2, err := os.ReadFile("testdata/s2.json"); err == nil {
		f.Add(s2)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := lifecycle.Parse(text)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v with error %v", p, err)
		}
		if err != nil {
			if err.Error() == "" {
				t.Error("refused without a word")
			}
			return
		}
		written := p.JSON()
		if len(written) > lifecycle.MaxText {
			return // escapes were shorter than what they stand for
		}
		again, err := lifecycle.Parse(written)
		if err != nil || !reflect.DeepEqual(p, again) || !bytes.Equal(written, again.JSON()) {
			t.Errorf("%v: %s became %s", err, text, written)
		}
	})
}
