package advisor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

// maxShown bounds the findings of an image that the text lists.
const maxShown = 50

// Deploy is the image that was judged, by digest.
func (r *GateReport) Deploy() string { return r.Target.At(r.Target.Digest) }

// thresholds are the gate's, the worst first: "CRITICAL 0, HIGH 2".
func (r *GateReport) thresholds() string {
	var out []string
	for _, s := range vuln.Severities() {
		if n, ok := r.Options.Gate.Max[s]; ok {
			out = append(out, fmt.Sprintf("%s %d", s, n))
		}
	}
	return strings.Join(out, ", ")
}

// exceeded are the severities of which an image has too many.
func (r *GateReport) exceeded(m *GatedImage) (out []vuln.Severity) {
	if m.Verdict.Outcome != vuln.Exceeded {
		return nil
	}
	for _, s := range vuln.Severities() {
		if n, ok := r.Options.Gate.Max[s]; ok && m.Verdict.Counts[s] > n {
			out = append(out, s)
		}
	}
	return out
}

// against are the findings of an image that count and are too many, the worst
// first.
func (r *GateReport) against(m *GatedImage) (out []*ScanFinding) {
	over := r.exceeded(m)
	for i := range m.Findings {
		if m.LeftOut[i] == "" && slices.Contains(over, m.Findings[i].Severity) {
			out = append(out, &m.Findings[i])
		}
	}
	slices.SortStableFunc(out, func(a, b *ScanFinding) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), cmp.Compare(a.Vulnerability, b.Vulnerability), cmp.Compare(a.Package, b.Package))
	})
	return out
}

func countsText(c vuln.Counts) string {
	var out []string
	for _, s := range vuln.Severities() {
		if c[s] > 0 {
			out = append(out, fmt.Sprintf("%d %s", c[s], s))
		}
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ", ")
}

// leftOut tells of the findings of an image that do not count.
func (m *GatedImage) leftOut() string {
	var out []string
	for _, part := range []struct {
		n    int
		what string
	}{{m.Suppressed(), "suppressed"}, {m.Verdict.InBaseline, "in the baseline"}, {m.Verdict.WithoutFix, "without a fix"}, {m.Verdict.LongUnfixed, "long without a fix"}} {
		if part.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if out == nil {
		return ""
	}
	return "; not counted: " + strings.Join(out, ", ")
}

// plain is a text of somebody else's, on one line of a terminal.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' {
			return ' '
		}
		return c
	}, s)
}

// WriteText writes the report for people.
func (r *GateReport) WriteText(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "%s  %s\n", r.Verdict.Outcome, r.Target.Reference)
	fmt.Fprintf(w, "deploy  %s\n", r.Deploy())
	fmt.Fprintf(w, "allowed  %s\n", r.thresholds())
	if r.Baseline != nil {
		fmt.Fprintf(w, "baseline  %s\n", r.Baseline.At(r.Baseline.Digest))
	}
	for i := range r.Images {
		m := &r.Images[i]
		status := cmp.Or(m.Status, "never scanned")
		fmt.Fprintf(w, "%s  %s: %s, counted: %s%s\n", m.Verdict.Outcome, m.Verdict.Name, status, countsText(m.Verdict.Counts), m.leftOut())
	}
	for _, reason := range r.Verdict.Reasons {
		fmt.Fprintf(w, "  because  %s\n", plain(reason))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  note  %s\n", n)
	}
	for i := range r.Images {
		m := &r.Images[i]
		list := r.against(m)
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\nSEVERITY\tVULNERABILITY\tPACKAGE\tVERSION\tFIXED IN\n", m.Verdict.Name)
		for _, f := range list[:min(maxShown, len(list))] {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Severity, plain(f.Vulnerability), plain(f.Package), plain(f.Version), plain(f.FixedIn))
		}
		if len(list) > maxShown {
			fmt.Fprintf(w, "and %d more\n", len(list)-maxShown)
		}
	}
	return w.Flush()
}

// The report as JSON.
type (
	gateJSON struct {
		Reference  string         `json:"reference"`
		Registry   string         `json:"registryId,omitempty"`
		Repository string         `json:"repositoryName"`
		Digest     string         `json:"imageDigest"`
		Deploy     string         `json:"deploy"`
		Outcome    vuln.Outcome   `json:"outcome"`
		Reasons    []string       `json:"reasons"`
		Notes      []string       `json:"notes,omitempty"`
		JudgedAt   time.Time      `json:"judgedAt"`
		Thresholds map[string]int `json:"thresholds"`
		Fixable    bool           `json:"fixableOnly"`
		Unfixed    string         `json:"ignoreUnfixedOlderThan,omitempty"`
		Baseline   string         `json:"baseline,omitempty"`
		Images     []gatedJSON    `json:"images"`
	}
	gatedJSON struct {
		Name        string         `json:"name"`
		Platform    string         `json:"platform,omitempty"`
		Digest      string         `json:"imageDigest"`
		Status      string         `json:"status,omitempty"`
		Description string         `json:"description,omitempty"`
		ScannedAt   *time.Time     `json:"imageScanCompletedAt,omitempty"`
		SourceAt    *time.Time     `json:"vulnerabilitySourceUpdatedAt,omitempty"`
		Outcome     vuln.Outcome   `json:"outcome"`
		Reasons     []string       `json:"reasons"`
		Counted     map[string]int `json:"countedSeverityCounts"`
		LeftOut     map[string]int `json:"leftOut"`
		Findings    []findingJSON  `json:"findings"`
	}
	findingJSON struct {
		Vulnerability string        `json:"vulnerabilityId"`
		Severity      vuln.Severity `json:"severity"`
		Package       string        `json:"packageName"`
		Version       string        `json:"packageVersion,omitempty"`
		Path          string        `json:"filePath,omitempty"`
		Fix           vuln.Fix      `json:"fixAvailable,omitempty"`
		FixedIn       string        `json:"fixedInVersion,omitempty"`
		Since         *time.Time    `json:"firstObservedAt,omitempty"`
		Score         float64       `json:"score,omitempty"`
		URI           string        `json:"uri,omitempty"`
		LeftOut       string        `json:"leftOut,omitempty"`
	}
)

// WriteJSON writes the whole report as JSON.
func (r *GateReport) WriteJSON(out io.Writer) error {
	v := gateJSON{
		Reference: r.Target.Reference.String(), Registry: r.Target.Registry, Repository: r.Target.Repository, Digest: r.Target.Digest, Deploy: r.Deploy(),
		Outcome: r.Verdict.Outcome, Reasons: listed(r.Verdict.Reasons), Notes: r.Notes, JudgedAt: r.JudgedAt.UTC(), Thresholds: words(r.Options.Gate.Max),
		Fixable: r.Options.Gate.FixableOnly, Images: []gatedJSON{},
	}
	if d := r.Options.Gate.UnfixedFor; d > 0 {
		v.Unfixed = d.String()
	}
	if r.Baseline != nil {
		v.Baseline = r.Baseline.At(r.Baseline.Digest)
	}
	for i := range r.Images {
		v.Images = append(v.Images, r.Images[i].json())
	}
	return writeJSON(out, v)
}

func (m *GatedImage) json() gatedJSON {
	out := gatedJSON{
		Name: m.Verdict.Name, Platform: m.Name, Digest: m.Digest, Status: m.Status, Description: m.Description,
		ScannedAt: given(m.ScannedAt), SourceAt: given(m.SourceAt),
		Outcome: m.Verdict.Outcome, Reasons: listed(m.Verdict.Reasons), Counted: words(m.Verdict.Counts), LeftOut: map[string]int{}, Findings: []findingJSON{},
	}
	for i := range m.Findings {
		f := &m.Findings[i]
		one := findingJSON{
			Vulnerability: f.Vulnerability, Severity: f.Severity, Package: f.Package, Version: f.Version, Path: f.Path,
			Fix: f.Fix, FixedIn: f.FixedIn, Score: f.Score, URI: f.URI, LeftOut: m.LeftOut[i],
		}
		if f.Since != 0 {
			one.Since = given(time.UnixMilli(f.Since))
		}
		if why := m.LeftOut[i]; why != "" {
			out.LeftOut[why]++
		}
		out.Findings = append(out.Findings, one)
	}
	return out
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func listed(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func words[M ~map[vuln.Severity]int](m M) map[string]int {
	out := map[string]int{}
	for s, n := range m {
		out[string(s)] = n
	}
	return out
}
