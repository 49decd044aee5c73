package vuln

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Gate says what an image may have to be let through. It judges what any
// endpoint of ECR answers, so it knows findings in ECR's words only.
type Gate struct {
	// Max is how many findings of a severity are allowed; those of a severity
	// that is not there are not counted.
	Max map[Severity]int
	// FixableOnly leaves out findings without a fix. One of which it is not
	// known counts.
	FixableOnly bool
	// UnfixedFor, if it is not 0, leaves out findings that have had no fix for
	// longer than this.
	UnfixedFor time.Duration
	// Baseline are findings that were there before (GateFinding.Key).
	Baseline map[string]bool
}

// A GateFinding is a finding, as ECR's API tells of it.
type GateFinding struct {
	Vulnerability string
	Package       string
	Severity      Severity
	Fix           Fix   // "" if it is not known
	Since         int64 // ms: when it was first known; 0 if not known
}

// Key is what a finding is recognised by in a baseline.
func (f *GateFinding) Key() string { return f.Vulnerability + " " + f.Package }

// A GateImage is one image: of an index, one of its platforms.
type GateImage struct {
	Name     string // what people know it by: repository:tag, linux/arm64
	Status   string // ECR's status of its scan; "" if it was never scanned
	Detail   string // ECR's description of the status
	Findings []GateFinding
	Counts   Counts // as ECR counts them; nil if it did not
}

// An Outcome of a gate.
type Outcome string

// The outcomes of a gate. Only the first lets an image through.
const (
	Pass      Outcome = "PASS"
	Exceeded  Outcome = "EXCEEDED"
	NoVerdict Outcome = "NO_VERDICT"
)

// A GateVerdict is a gate's word on all images of one reference.
type GateVerdict struct {
	Outcome Outcome
	Reasons []string // why it is not PASS, one line each
	// Waiting: a scan has not finished; to ask again may give a verdict.
	Waiting bool
	Images  []ImageVerdict
}

// An ImageVerdict is a gate's word on one image.
type ImageVerdict struct {
	Name    string
	Outcome Outcome
	Reasons []string
	All     Counts // of all findings
	Counts  Counts // of those that count against the gate
	// What is left out, by reason; a finding is in the first that fits.
	InBaseline, WithoutFix, LongUnfixed int
}

// Check says what is wrong with a gate.
func (g *Gate) Check() error {
	if len(g.Max) == 0 {
		return errors.New("a gate has at least one threshold, such as max-critical 0")
	}
	for s, n := range g.Max {
		if !slices.Contains(Severities(), s) {
			return fmt.Errorf("%q is no severity", s)
		}
		if n < 0 {
			return fmt.Errorf("the threshold of %s is %d; it is at least 0", s, n)
		}
	}
	if g.UnfixedFor < 0 {
		return errors.New("the age of findings without a fix is not negative")
	}
	return nil
}

// Judge gives the verdict at the moment (ms). Images whose scan is missing,
// failed or unfinished, and findings that do not add up, are no pass.
func (g *Gate) Judge(images []GateImage, now int64) GateVerdict {
	v := GateVerdict{Outcome: Pass}
	if err := g.Check(); err != nil {
		v.Outcome, v.Reasons = NoVerdict, []string{err.Error()}
		return v
	}
	if len(images) == 0 {
		v.Outcome, v.Reasons = NoVerdict, []string{"there is no image to judge"}
	}
	for i := range images {
		m := g.judge(&images[i], now)
		v.Images = append(v.Images, m)
		v.Waiting = v.Waiting || waiting(images[i].Status)
		for _, r := range m.Reasons {
			v.Reasons = append(v.Reasons, m.Name+": "+r)
		}
		if m.Outcome == Exceeded || m.Outcome == NoVerdict && v.Outcome == Pass {
			v.Outcome = m.Outcome
		}
	}
	return v
}

// Reasons why a finding does not count against a gate.
const (
	LeftOutBaseline    = "BASELINE"
	LeftOutWithoutFix  = "WITHOUT_FIX"
	LeftOutLongUnfixed = "LONG_UNFIXED"
)

// LeftOut says why a finding does not count at the moment (ms); "" if it counts.
func (g *Gate) LeftOut(f *GateFinding, now int64) string {
	switch {
	case g.Baseline[f.Key()]:
		return LeftOutBaseline
	case g.FixableOnly && f.Fix == FixNo:
		return LeftOutWithoutFix
	case g.UnfixedFor > 0 && f.Fix == FixNo && f.Since > 0 && now-f.Since > g.UnfixedFor.Milliseconds():
		return LeftOutLongUnfixed
	}
	return ""
}

func waiting(status string) bool { return status == "IN_PROGRESS" || status == "PENDING" }

func (g *Gate) judge(m *GateImage, now int64) ImageVerdict {
	v := ImageVerdict{Name: m.Name, Outcome: Pass, All: Counts{}, Counts: Counts{}}
	for i := range m.Findings {
		f := &m.Findings[i]
		v.All[f.Severity]++
		switch g.LeftOut(f, now) {
		case LeftOutBaseline:
			v.InBaseline++
		case LeftOutWithoutFix:
			v.WithoutFix++
		case LeftOutLongUnfixed:
			v.LongUnfixed++
		default:
			v.Counts[f.Severity]++
		}
	}
	if why := m.unsettled(v.All); why != "" {
		v.Outcome, v.Reasons = NoVerdict, []string{why}
		return v
	}
	for _, s := range Severities() {
		if limit, ok := g.Max[s]; ok && v.Counts[s] > limit {
			v.Outcome = Exceeded
			v.Reasons = append(v.Reasons, fmt.Sprintf("%d %s, allowed are %d", v.Counts[s], s, limit))
		}
	}
	return v
}

// unsettled says why the findings cannot be relied on, or "".
func (m *GateImage) unsettled(all Counts) string {
	detail := ""
	if m.Detail != "" {
		detail = " (" + m.Detail + ")"
	}
	switch {
	case m.Status == "":
		return "it was never scanned"
	case waiting(m.Status):
		return "its scan has not finished: " + m.Status + detail
	case m.Status != "COMPLETE" && m.Status != "ACTIVE":
		return "its scan gave no findings to rely on: " + m.Status + detail
	case m.Counts == nil:
		return "its scan tells no counts of findings"
	}
	var wrong []string
	counted := map[Severity]bool{}
	for s, n := range m.Counts {
		counted[s] = true
		if n != all[s] {
			wrong = append(wrong, fmt.Sprintf("%d %s are counted, %d are listed", n, s, all[s]))
		}
	}
	for s, n := range all {
		if !counted[s] {
			wrong = append(wrong, fmt.Sprintf("0 %s are counted, %d are listed", s, n))
		}
	}
	slices.Sort(wrong)
	return strings.Join(wrong, "; ")
}
