package vuln

import (
	"strings"
	"testing"
	"time"
)

func gateFindings(spec string) []GateFinding {
	var out []GateFinding
	for _, word := range strings.Fields(spec) { // C, H, M, L; a - without a fix, a ? not known
		s := map[byte]Severity{'C': Critical, 'H': High, 'M': Medium, 'L': Low}[word[0]]
		fix := FixYes
		switch word[len(word)-1] {
		case '-':
			fix = FixNo
		case '?':
			fix = ""
		}
		out = append(out, GateFinding{Vulnerability: word, Package: "p", Severity: s, Fix: fix, Since: 1000})
	}
	return out
}

func gateImage(name, status, spec string) GateImage {
	m := GateImage{Name: name, Status: status, Findings: gateFindings(spec), Counts: Counts{}}
	for _, f := range m.Findings {
		m.Counts[f.Severity]++
	}
	return m
}

func TestGate(t *testing.T) {
	strict := map[Severity]int{Critical: 0, High: 2}
	miscounted := gateImage("a", "COMPLETE", "H")
	miscounted.Counts[Critical] = 1
	uncounted := gateImage("a", "COMPLETE", "")
	uncounted.Counts = nil
	day := 24 * time.Hour
	for _, c := range []struct {
		name   string
		gate   Gate
		images []GateImage
		want   Outcome
		waits  bool
		reason string
	}{
		{"clean", Gate{Max: strict}, []GateImage{gateImage("a", "COMPLETE", "")}, Pass, false, ""},
		{"at the limit", Gate{Max: strict}, []GateImage{gateImage("a", "ACTIVE", "H H2 M M2 M3")}, Pass, false, ""},
		{"over it", Gate{Max: strict}, []GateImage{gateImage("a", "ACTIVE", "H H2 H3")}, Exceeded, false, "a: 3 HIGH, allowed are 2"},
		{"one platform of two", Gate{Max: strict}, []GateImage{gateImage("amd64", "COMPLETE", ""), gateImage("arm64", "COMPLETE", "C")}, Exceeded, false, "arm64: 1 CRITICAL, allowed are 0"},
		{"one platform unscanned", Gate{Max: strict}, []GateImage{gateImage("amd64", "COMPLETE", ""), gateImage("arm64", "", "")}, NoVerdict, false, "arm64: it was never scanned"},
		{"exceeded goes before unscanned", Gate{Max: strict}, []GateImage{gateImage("amd64", "", ""), gateImage("arm64", "COMPLETE", "C")}, Exceeded, false, "CRITICAL"},
		{"unfinished", Gate{Max: strict}, []GateImage{gateImage("a", "PENDING", "")}, NoVerdict, true, "not finished"},
		{"failed", Gate{Max: strict}, []GateImage{gateImage("a", "FAILED", "")}, NoVerdict, false, "FAILED"},
		{"unsupported", Gate{Max: strict}, []GateImage{gateImage("a", "UNSUPPORTED_IMAGE", "")}, NoVerdict, false, "UNSUPPORTED_IMAGE"},
		{"no counts", Gate{Max: strict}, []GateImage{uncounted}, NoVerdict, false, "no counts"},
		{"counts that differ", Gate{Max: strict}, []GateImage{miscounted}, NoVerdict, false, "1 CRITICAL are counted, 0 are listed"},
		{"no image", Gate{Max: strict}, nil, NoVerdict, false, "no image"},
		{"no threshold", Gate{}, []GateImage{gateImage("a", "COMPLETE", "")}, NoVerdict, false, "at least one threshold"},
		{"fixable only", Gate{Max: strict, FixableOnly: true}, []GateImage{gateImage("a", "COMPLETE", "C-")}, Pass, false, ""},
		{"not known to be unfixed", Gate{Max: strict, FixableOnly: true}, []GateImage{gateImage("a", "COMPLETE", "C?")}, Exceeded, false, "CRITICAL"},
		{"long unfixed", Gate{Max: strict, UnfixedFor: day}, []GateImage{gateImage("a", "COMPLETE", "C-")}, Pass, false, ""},
		{"not yet long", Gate{Max: strict, UnfixedFor: 3 * day}, []GateImage{gateImage("a", "COMPLETE", "C-")}, Exceeded, false, "CRITICAL"},
		{"long known but fixed", Gate{Max: strict, UnfixedFor: day}, []GateImage{gateImage("a", "COMPLETE", "C")}, Exceeded, false, "CRITICAL"},
		{"in the baseline", Gate{Max: strict, Baseline: map[string]bool{"C p": true}}, []GateImage{gateImage("a", "COMPLETE", "C")}, Pass, false, ""},
		{"beside the baseline", Gate{Max: strict, Baseline: map[string]bool{"C p": true}}, []GateImage{gateImage("a", "COMPLETE", "C C2")}, Exceeded, false, "1 CRITICAL"},
	} {
		v := c.gate.Judge(c.images, 1000+2*day.Milliseconds())
		if v.Outcome != c.want || v.Waiting != c.waits || !strings.Contains(strings.Join(v.Reasons, "\n"), c.reason) || (c.want == Pass) != (len(v.Reasons) == 0) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

func TestGateCheck(t *testing.T) {
	for _, g := range []Gate{{}, {Max: map[Severity]int{High: -1}}, {Max: map[Severity]int{"WORST": 1}}, {Max: map[Severity]int{Low: 1}, UnfixedFor: -1}} {
		if g.Check() == nil {
			t.Errorf("%+v is let through", g)
		}
	}
}

// TestCoverage: no findings do not mean clean.
func TestCoverage(t *testing.T) {
	deb := Installed{Package: pkg("curl", "7"), Kind: Dpkg}
	npm := Installed{Package: pkg("lodash", "4"), Kind: NPM}
	gem := Installed{Package: pkg("rails", "7"), Kind: Gem}
	for _, c := range []struct {
		name     string
		os       OSRelease
		mode     Mode
		packages []Installed
		want     Coverage
	}{
		{"a release with advisories", OSRelease{ID: "debian", VersionID: "12"}, Basic, []Installed{deb}, Covered},
		{"past its end", OSRelease{ID: "debian", VersionID: "6"}, Basic, []Installed{deb}, Uncovered},
		{"not known", OSRelease{ID: "void"}, Basic, []Installed{deb}, Uncovered},
		{"no os-release", OSRelease{}, Enhanced, []Installed{deb, npm}, Uncovered},
		{"nothing", OSRelease{}, Enhanced, nil, Unsupported},
		{"only a language, basic", OSRelease{}, Basic, []Installed{npm}, Unsupported},
		{"only a language", OSRelease{}, Enhanced, []Installed{npm}, Covered},
		{"only a language that is not loaded", OSRelease{}, Enhanced, []Installed{gem}, Uncovered},
		{"one of two", OSRelease{}, Enhanced, []Installed{npm, gem}, Partial},
	} {
		img := &Image{OS: c.os, Packages: c.packages}
		got, why := img.Coverage(c.mode, func(eco string) bool { return eco == "Debian:12" || eco == "npm" })
		if got != c.want || (why == "") != (c.want == Covered) {
			t.Errorf("%s: %s %s", c.name, got, why)
		}
	}
}
