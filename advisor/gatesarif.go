package advisor

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

// SARIF 2.1.0 (OASIS), the parts that the gate writes.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		Properties  map[string]any    `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Short      sarifText      `json:"shortDescription"`
		Full       *sarifText     `json:"fullDescription,omitempty"`
		HelpURI    string         `json:"helpUri,omitempty"`
		Properties map[string]any `json:"properties"`
		score      float64
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		ExitCode      int                 `json:"exitCode"`
		EndTime       string              `json:"endTimeUtc"`
		Notifications []sarifNotification `json:"toolExecutionNotifications"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Baseline     string             `json:"baselineState,omitempty"`
		Properties   map[string]any     `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
)

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// WriteSARIF writes all findings as a SARIF log, a run for the whole of the
// report. Those that do not count are suppressed or unchanged results; what is no
// verdict, or too much, is in the notifications of the run.
func (r *GateReport) WriteSARIF(out io.Writer) error {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{Name: "ecru gate", Rules: []sarifRule{}}}, Results: []sarifResult{},
		Properties: map[string]any{"reference": r.Target.Reference.String(), "imageDigest": r.Target.Digest, "outcome": r.Verdict.Outcome, "thresholds": words(r.Options.Gate.Max)},
	}
	call := sarifInvocation{Successful: r.Verdict.Outcome != vuln.NoVerdict, ExitCode: r.ExitCode(), EndTime: r.JudgedAt.UTC().Format(time.RFC3339), Notifications: []sarifNotification{}}
	for _, reason := range r.Verdict.Reasons {
		call.Notifications = append(call.Notifications, sarifNotification{"error", sarifText{plain(reason)}})
	}
	for _, n := range r.Notes {
		call.Notifications = append(call.Notifications, sarifNotification{"note", sarifText{n}})
	}
	run.Invocations = []sarifInvocation{call}
	rules := map[string]int{}
	for i := range r.Images {
		m := &r.Images[i]
		for n := range m.Findings {
			f := &m.Findings[n]
			run.Results = append(run.Results, r.sarifResult(m, f, m.LeftOut[n], run.Tool.Driver.rule(f, rules)))
		}
	}
	return writeJSON(out, sarifLog{sarifSchema, "2.1.0", []sarifRun{run}})
}

// rule is the place of the vulnerability's rule. Of findings that differ it has
// the highest score.
func (d *sarifDriver) rule(f *ScanFinding, rules map[string]int) int {
	score := cmp.Or(f.Score, map[vuln.Severity]float64{vuln.Critical: 9.5, vuln.High: 8, vuln.Medium: 5.5, vuln.Low: 2}[f.Severity])
	i, ok := rules[f.Vulnerability]
	if !ok {
		i = len(d.Rules)
		rules[f.Vulnerability] = i
		rule := sarifRule{ID: cmp.Or(f.Vulnerability, "unnamed"), Short: sarifText{cmp.Or(f.Title, f.Vulnerability, "unnamed")}, score: -1, Properties: map[string]any{"tags": []string{"security", "vulnerability"}}}
		if f.Description != "" {
			rule.Full = &sarifText{f.Description}
		}
		if u, err := url.Parse(f.URI); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
			rule.HelpURI = f.URI
		}
		d.Rules = append(d.Rules, rule)
	}
	if score > d.Rules[i].score {
		d.Rules[i].score = score
		d.Rules[i].Properties["security-severity"] = strconv.FormatFloat(score, 'f', 1, 64)
	}
	return i
}

func sarifLevel(s vuln.Severity) string {
	switch s {
	case vuln.Critical, vuln.High:
		return "error"
	case vuln.Medium:
		return "warning"
	}
	return "note"
}

func (r *GateReport) sarifResult(m *GatedImage, f *ScanFinding, leftOut string, rule int) sarifResult {
	out := sarifResult{
		RuleID: cmp.Or(f.Vulnerability, "unnamed"), RuleIndex: rule, Level: sarifLevel(f.Severity), Message: sarifText{f.sentence(m.Verdict.Name)},
		Locations: []sarifLocation{{
			Physical: sarifPhysical{sarifArtifact{r.artifact(m, f)}, sarifRegion{1}},
			Logical:  []sarifLogical{{r.Target.At(m.Digest) + ": " + f.Package + " " + f.Version, "module"}},
		}},
		Fingerprints: map[string]string{"ecru/v1": strings.Join([]string{r.Target.Repository, m.Name, f.Vulnerability, f.Package}, " ")},
		Properties:   map[string]any{"severity": f.Severity, "packageName": f.Package, "packageVersion": f.Version, "fixedInVersion": f.FixedIn, "imageDigest": m.Digest},
	}
	if r.Baseline != nil {
		if out.Baseline = "new"; r.Options.Gate.Baseline[f.Key()] {
			out.Baseline = "unchanged"
		}
	}
	switch leftOut {
	case "", vuln.LeftOutBaseline:
	case LeftOutSuppressed:
		out.Suppressions = []sarifSuppression{{"external", "set aside in the registry"}}
	default:
		out.Suppressions = []sarifSuppression{{"external", "not counted by the gate: " + leftOut}}
	}
	return out
}

// sentence says what is wrong, and what to do.
func (f *ScanFinding) sentence(image string) string {
	s := fmt.Sprintf("%s: %s in %s %s of %s", f.Severity, f.Vulnerability, f.Package, f.Version, image)
	if f.FixedIn != "" {
		return s + ": upgrade to " + f.FixedIn
	}
	return s
}

// artifact is where a finding lies, as a relative URI.
func (r *GateReport) artifact(m *GatedImage, f *ScanFinding) string {
	path := r.Target.Repository + "@" + m.Digest
	if f.Path != "" && !strings.Contains(f.Path, ", ") {
		path += "/" + strings.TrimLeft(f.Path, "/")
	}
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(parts[i]), ":", "%3A")
	}
	return strings.Join(parts, "/")
}
