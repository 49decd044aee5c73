package lifecycle

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCoversAndMeets(t *testing.T) {
	p := func(text string) matcher { return matcher{text, true} }
	g := func(text string) matcher {
		s := Selection{TagPatterns: []string{text}}
		return s.matchers()[0]
	}
	for _, tt := range []struct {
		a, b          matcher
		covers, meets bool
	}{
		{p("prod"), p("prod-"), true, true},
		{p("prod-"), p("prod"), false, true},
		{p("prod-"), p("release-"), false, false},
		{g("*"), p("x"), true, true},
		{g("*"), g("exact"), true, true},
		{g("prod*"), p("prod-"), true, true},
		{p("prod"), g("prod"), true, true},
		{g("prod"), p("prod"), false, true},
		{g("v*.*"), g("v1.*"), true, true},
		{g("v*.*"), g("v*"), false, true},
		{g("*-rc*"), g("v*-rc1"), true, true},
		{g("*-arm64"), g("v*"), false, true},
		{g("*-arm64"), g("*-amd64"), false, false},
		{g("a*b"), g("a*c"), false, false},
		{g("a*b*c"), g("a*c"), false, true},
		{g("a*c"), g("a*b*c"), true, true},
		{p("a*"), g("a*"), false, false}, // a * in a prefix is a *, which only another one is
		{g("ab"), g("a"), false, false},
	} {
		if got := tt.a.covers(tt.b); got != tt.covers {
			t.Errorf("%+v covers %+v: %t", tt.a, tt.b, got)
		}
		if tt.a.text != "a*" && (tt.a.meets(tt.b) != tt.meets || tt.b.meets(tt.a) != tt.meets) {
			t.Errorf("%+v meets %+v: %t", tt.a, tt.b, !tt.meets)
		}
	}
	for text, want := range map[string]bool{"prod-": true, "*": true, "a*b": true, "-x": false, ".": false, "*-x": true, "production/": false, "a:b": false, "ü": false, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false} {
		if got := g(text).possible(); got != want {
			t.Errorf("%q is possible: %t", text, got)
		}
	}
	if p("a*").possible() {
		t.Error("a * in a prefix is possible")
	}
}

// drawMatcher draws over an alphabet of which tags have one letter more, for
// covers to be exact.
func drawMatcher(t *rapid.T) matcher {
	var text string
	for _, r := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 1, 5).Draw(t, "entry") {
		text += r
	}
	if rapid.Bool().Draw(t, "prefix") {
		if text = strings.ReplaceAll(text, "*", ""); text != "" {
			return matcher{text, true}
		}
		text = "*"
	}
	s := Selection{TagPatterns: []string{text}}
	return s.matchers()[0]
}

func TestCoversAgainstAllTags(t *testing.T) {
	tags := []string{""}
	for i := 0; i < len(tags); i++ {
		if len(tags[i]) < 7 {
			tags = append(tags, tags[i]+"a", tags[i]+"b", tags[i]+"c")
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawMatcher(t), drawMatcher(t)
		covers, meets := true, false
		for _, tag := range tags {
			in := []string{tag}
			covers = covers && (a.any(in) || !b.any(in))
			meets = meets || a.any(in) && b.any(in)
		}
		if a.covers(b) != covers {
			t.Fatalf("%+v covers %+v: %t", a, b, !covers)
		}
		// A common tag may need as many letters as both have.
		if got := a.meets(b); meets && !got || got && !meets && len(a.text)+len(b.text) <= 7 {
			t.Fatalf("%+v meets %+v: %t", a, b, got)
		}
	})
}
