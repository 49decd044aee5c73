package lifecycle_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ecruhq/ecru/lifecycle"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, yes, no string // separated by spaces
	}{
		{"prod", "prod", "prod1 xprod pro"},
		{"prod*", "prod prod1 production-team1", "xprod pro Prod"},
		{"*prod*", "repo-production prod-team prod", "pro-d"},
		{"*prod", "prod xprod prodprod", "prod1"},
		{"a*a", "aa aba aaa", "a ab ba"},
		{"*", "x latest", ""},
		{"**", "x latest", ""},
		{"*test*1*2*3", "test123 a-test-1-2-3 test1231x23", "test12 test123x tes123"},
		{"ab*ab*ab", "ababab ab-ab-ab abxababab", "abab aba"},
		{"v?.[0-9]+", "v?.[0-9]+", "v1.0"},
		{"ü*ü", "üü", "ü"},
	}
	for _, tt := range tests {
		for _, tag := range strings.Fields(tt.yes) {
			if !lifecycle.Match(tt.pattern, tag) {
				t.Errorf("%s does not match %s", tt.pattern, tag)
			}
		}
		for _, tag := range strings.Fields(tt.no) {
			if lifecycle.Match(tt.pattern, tag) {
				t.Errorf("%s matches %s", tt.pattern, tag)
			}
		}
	}
	if !lifecycle.Match("", "") || !lifecycle.Match("*", "") || lifecycle.Match("", "a") || lifecycle.Match("*a", "") {
		t.Error("empty texts")
	}
}

// naiveMatch reads a pattern as a regular expression.
func naiveMatch(pattern, tag string) bool {
	re := regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `\z`)
	return re.MatchString(tag)
}

func FuzzMatch(f *testing.F) {
	f.Add("*test*1*2*3", "test1231x23")
	f.Add("a*a", "a")
	f.Add("ab*ab*ab*", "abababab")
	f.Add("**\n*", "x\ny")
	f.Fuzz(func(t *testing.T, pattern, tag string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(tag) || len(pattern) > 200 {
			return // no pattern of a policy, or more than regexp can be asked
		}
		if got, want := lifecycle.Match(pattern, tag), naiveMatch(pattern, tag); got != want {
			t.Errorf("Match(%q, %q) = %t", pattern, tag, got)
		}
	})
}
