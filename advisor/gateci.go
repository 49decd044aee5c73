package advisor

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/vuln"
)

// ExitCode is how a program ends with the report: 0 passed, 2 a threshold is
// exceeded, 3 no verdict.
func (r *GateReport) ExitCode() int {
	switch r.Verdict.Outcome {
	case vuln.Pass:
		return 0
	case vuln.Exceeded:
		return 2
	}
	return 3
}

// JUnit's XML, as CI servers read it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Failure *junitResult `xml:"failure"`
		Error   *junitResult `xml:"error"`
	}
	junitResult struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes a suite for each image with a case for its scan, which errs if
// there is no verdict, and one for each threshold, which fails if it is exceeded.
func (r *GateReport) WriteJUnit(out io.Writer) error {
	all := junitSuites{Name: "ecru gate " + r.Deploy()}
	if r.Verdict.Outcome == vuln.NoVerdict && !slices.ContainsFunc(r.Images, func(m GatedImage) bool { return m.Verdict.Outcome == vuln.NoVerdict }) {
		all.Suites = append(all.Suites, r.suite(r.Target.Reference.String(), []junitCase{{
			Class: r.Target.Reference.String(), Name: "verdict", Error: &junitResult{strings.Join(r.Verdict.Reasons, "; "), string(vuln.NoVerdict), ""},
		}}))
	}
	for i := range r.Images {
		m := &r.Images[i]
		all.Suites = append(all.Suites, r.suite(m.Verdict.Name, r.cases(m)))
	}
	for _, s := range all.Suites {
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(out)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

func (r *GateReport) suite(name string, cases []junitCase) junitSuite {
	s := junitSuite{
		Name: name, Tests: len(cases), Timestamp: r.JudgedAt.UTC().Format("2006-01-02T15:04:05"), Cases: cases,
		Properties: []junitProperty{{"reference", r.Target.Reference.String()}, {"imageDigest", r.Target.Digest}, {"outcome", string(r.Verdict.Outcome)}},
	}
	for _, c := range cases {
		if c.Failure != nil {
			s.Failures++
		}
		if c.Error != nil {
			s.Errors++
		}
	}
	return s
}

func (r *GateReport) cases(m *GatedImage) []junitCase {
	class := r.Target.Reference.String()
	scan := junitCase{Class: class, Name: m.Verdict.Name + ": scan"}
	if m.Verdict.Outcome == vuln.NoVerdict {
		scan.Error = &junitResult{strings.Join(m.Verdict.Reasons, "; "), string(vuln.NoVerdict), m.Description}
		return []junitCase{scan}
	}
	out, over, list := []junitCase{scan}, r.exceeded(m), r.against(m)
	for _, s := range vuln.Severities() {
		limit, ok := r.Options.Gate.Max[s]
		if !ok {
			continue
		}
		c := junitCase{Class: class, Name: fmt.Sprintf("%s: %s at most %d", m.Verdict.Name, s, limit)}
		if slices.Contains(over, s) {
			var text strings.Builder
			for _, f := range list {
				if f.Severity == s {
					text.WriteString(plain(f.sentence(m.Verdict.Name)) + "\n")
				}
			}
			c.Failure = &junitResult{fmt.Sprintf("%d %s, allowed are %d", m.Verdict.Counts[s], s, limit), string(vuln.Exceeded), text.String()}
		}
		out = append(out, c)
	}
	return out
}

// maxAnnotations bounds the annotations of findings: GitHub shows a few of a step.
const maxAnnotations = 50

// WriteGitHub writes workflow commands, which GitHub Actions shows as annotations:
// the verdict, and the findings that are too many.
func (r *GateReport) WriteGitHub(out io.Writer) error {
	level, text := "notice", fmt.Sprintf("%s: %s is let through (%s)", r.Verdict.Outcome, r.Deploy(), r.thresholds())
	if r.Verdict.Outcome != vuln.Pass {
		level, text = "error", fmt.Sprintf("%s: %s: %s", r.Verdict.Outcome, r.Deploy(), strings.Join(r.Verdict.Reasons, "\n"))
	}
	if err := annotate(out, level, "ecru gate "+r.Target.Reference.String(), text); err != nil {
		return err
	}
	for _, n := range r.Notes {
		if err := annotate(out, "notice", "ecru gate "+r.Target.Reference.String(), n); err != nil {
			return err
		}
	}
	left := maxAnnotations
	for i := range r.Images {
		m := &r.Images[i]
		for _, f := range r.against(m) {
			if left--; left < 0 {
				return annotate(out, "warning", "ecru gate", fmt.Sprintf("more than %d findings: the others are in the other formats", maxAnnotations))
			}
			text := f.sentence(m.Verdict.Name)
			if f.URI != "" {
				text += "\n" + f.URI
			}
			if err := annotate(out, map[string]string{"error": "error", "warning": "warning", "note": "notice"}[sarifLevel(f.Severity)], f.Vulnerability+" "+f.Package, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func annotate(out io.Writer, level, title, text string) error {
	_, err := fmt.Fprintf(out, "::%s title=%s::%s\n", level, workflowProperty(title), workflowData(text))
	return err
}

// workflowData and workflowProperty escape as @actions/core does, so that no text
// of a package or an advisory begins a command of its own.
func workflowData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func workflowProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(workflowData(s))
}

// A GateFormat is a form of the report.
type GateFormat string

// GateFormats are the forms of a report.
func GateFormats() []GateFormat { return []GateFormat{"text", "json", "sarif", "junit", "github"} }

// Write writes the report in a form.
func (r *GateReport) Write(out io.Writer, form GateFormat) error {
	switch form {
	case "text":
		return r.WriteText(out)
	case "json":
		return r.WriteJSON(out)
	case "sarif":
		return r.WriteSARIF(out)
	case "junit":
		return r.WriteJUnit(out)
	case "github":
		return r.WriteGitHub(out)
	}
	return fmt.Errorf("there is no format %q", form)
}
