package advisor

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/vuln"
)

// answers is an endpoint that says on the wire what AWS ECR would, call by call.
// An answer that begins with an exception's name and a space is that error; the
// last one of a list is said again and again.
type answers struct {
	mu    sync.Mutex
	calls []string // operation and body
	say   map[string][]string
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil || len(a.say[op]) == 0 {
		http.Error(w, op, http.StatusNotImplemented)
		return
	}
	a.calls = append(a.calls, op+" "+string(body))
	text := a.say[op][0]
	if len(a.say[op]) > 1 {
		a.say[op] = a.say[op][1:]
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if name, message, ok := strings.Cut(text, " "); ok && strings.HasSuffix(name, "Exception") {
		w.WriteHeader(http.StatusBadRequest)
		text = `{"__type":"` + name + `","message":"` + message + `"}`
	}
	io.WriteString(w, text)
}

// count is how often an operation was called with the text in its body.
func (a *answers) count(op, text string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if strings.HasPrefix(c, op+" ") && strings.Contains(c, text) {
			n++
		}
	}
	return n
}

func endpoint(t *testing.T, say map[string][]string) (*Endpoint, *answers) {
	a := &answers{say: say}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	return &Endpoint{ECR: ecr.New(ecr.Options{
		Region: "us-east-1", BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""), RetryMaxAttempts: 1,
		HTTPClient: s.Client(),
	})}, a
}

var (
	one   = "sha256:" + strings.Repeat("1", 64)
	image = `{"imageDetails":[{"imageDigest":"` + one + `","imageManifestMediaType":"application/vnd.oci.image.manifest.v1+json","imagePushedAt":1000}]}`
	app   = Reference{Repository: "app", Tag: "v1"}
)

// scan is an answer with a status, counts and findings, each JSON.
func scan(status, counts, findings string) string {
	out := `{"imageId":{"imageDigest":"` + one + `"},"imageScanStatus":{"status":"` + status + `","description":"about it"}`
	if counts != "" {
		out += `,"imageScanFindings":{"findingSeverityCounts":` + counts + `,` + findings + `}`
	}
	return out + "}"
}

func basic(name, severity, pkg string, more ...string) string {
	list := `{"key":"package_name","value":"` + pkg + `"},{"key":"package_version","value":"1.0"}`
	for i := 0; i+1 < len(more); i += 2 {
		list += `,{"key":"` + more[i] + `","value":"` + more[i+1] + `"}`
	}
	return `{"name":"` + name + `","severity":"` + severity + `","uri":"https://example.com/` + name + `","attributes":[` + list + `]}`
}

func options(most int) GateOptions {
	return GateOptions{Gate: vuln.Gate{Max: map[vuln.Severity]int{vuln.Critical: most}}, Now: func() time.Time { return time.UnixMilli(1_800_000_000_000) }}
}

func TestGateStatuses(t *testing.T) {
	none := `"findings":[]`
	for name, c := range map[string]struct {
		answer string
		want   vuln.Outcome
	}{
		"complete":             {scan("COMPLETE", `{}`, none), vuln.Pass},
		"active":               {scan("ACTIVE", `{}`, `"enhancedFindings":[]`), vuln.Pass},
		"critical":             {scan("COMPLETE", `{"CRITICAL":1}`, `"findings":[`+basic("CVE-1", "CRITICAL", "a")+`]`), vuln.Exceeded},
		"high":                 {scan("COMPLETE", `{"HIGH":1}`, `"findings":[`+basic("CVE-1", "HIGH", "a")+`]`), vuln.Pass},
		"set aside":            {scan("COMPLETE", `{}`, `"findings":[`+basic("CVE-1", "CRITICAL", "a", "ecru:override", "ACCEPTED")+`]`), vuln.Pass},
		"set aside, counted":   {scan("COMPLETE", `{"CRITICAL":1}`, `"findings":[`+basic("CVE-1", "CRITICAL", "a", "ecru:override", "ACCEPTED")+`]`), vuln.Pass},
		"more counted":         {scan("COMPLETE", `{"HIGH":2}`, `"findings":[`+basic("CVE-1", "HIGH", "a")+`]`), vuln.NoVerdict},
		"fewer counted":        {scan("COMPLETE", `{}`, `"findings":[`+basic("CVE-1", "HIGH", "a")+`]`), vuln.NoVerdict},
		"untriaged":            {scan("ACTIVE", `{"UNTRIAGED":1}`, `"enhancedFindings":[{"severity":"UNTRIAGED","title":"x"}]`), vuln.Pass},
		"no counts":            {scan("COMPLETE", "", ""), vuln.NoVerdict},
		"null counts":          {scan("COMPLETE", "null", none), vuln.NoVerdict},
		"in progress":          {scan("IN_PROGRESS", "", ""), vuln.NoVerdict},
		"pending":              {scan("PENDING", "", ""), vuln.NoVerdict},
		"failed":               {scan("FAILED", `{}`, none), vuln.NoVerdict},
		"unsupported":          {scan("UNSUPPORTED_IMAGE", `{}`, none), vuln.NoVerdict},
		"expired":              {scan("SCAN_ELIGIBILITY_EXPIRED", `{}`, none), vuln.NoVerdict},
		"unavailable":          {scan("FINDINGS_UNAVAILABLE", `{}`, none), vuln.NoVerdict},
		"limit":                {scan("LIMIT_EXCEEDED", `{}`, none), vuln.NoVerdict},
		"archived":             {scan("IMAGE_ARCHIVED", `{}`, none), vuln.NoVerdict},
		"a word that is new":   {scan("EXCELLENT", `{}`, none), vuln.NoVerdict},
		"no status":            {`{"imageScanFindings":{"findingSeverityCounts":{},"findings":[]}}`, vuln.NoVerdict},
		"nothing":              {`{}`, vuln.NoVerdict},
		"never scanned":        {"ScanNotFoundException none", vuln.NoVerdict},
		"not to be scanned":    {"UnsupportedImageTypeException no image", vuln.NoVerdict},
		"archived, as error":   {"ImageArchivedException archived", vuln.NoVerdict},
		"deleted in the while": {"ImageNotFoundException gone", vuln.NoVerdict},
	} {
		e, _ := endpoint(t, map[string][]string{"DescribeImages": {image}, "DescribeImageScanFindings": {c.answer}})
		r, err := e.Gate(t.Context(), app, options(0))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Verdict.Outcome != c.want || (r.ExitCode() == 0) != (c.want == vuln.Pass) {
			t.Errorf("%s: %s, exit status %d, want %s: %v", name, r.Verdict.Outcome, r.ExitCode(), c.want, r.Verdict.Reasons)
		}
		if c.want != vuln.Pass && len(r.Verdict.Reasons) == 0 {
			t.Errorf("%s: no reason", name)
		}
	}
}

func TestGateErrors(t *testing.T) {
	other := strings.ReplaceAll(scan("COMPLETE", `{}`, `"findings":[]`), one, "sha256:"+strings.Repeat("2", 64))
	for name, say := range map[string]map[string][]string{
		"denied":            {"DescribeImages": {image}, "DescribeImageScanFindings": {"AccessDeniedException no"}},
		"no such image":     {"DescribeImages": {"ImageNotFoundException no"}},
		"two images":        {"DescribeImages": {`{"imageDetails":[]}`}},
		"of another digest": {"DescribeImages": {image}, "DescribeImageScanFindings": {other}},
	} {
		e, _ := endpoint(t, say)
		if r, err := e.Gate(t.Context(), app, options(0)); err == nil {
			t.Errorf("%s: %+v, want an error", name, r.Verdict)
		}
	}
	e, _ := endpoint(t, nil)
	if _, err := e.Gate(t.Context(), app, GateOptions{Now: time.Now}); err == nil {
		t.Error("a gate without thresholds")
	}
}

func TestGateWaits(t *testing.T) {
	e, a := endpoint(t, map[string][]string{"DescribeImages": {image},
		"DescribeImageScanFindings": {scan("PENDING", "", ""), scan("COMPLETE", `{}`, `"findings":[]`)}})
	o, told := options(0), 0
	o.Wait, o.Progress = time.Minute, func(string) { told++ }
	r, err := e.Gate(t.Context(), app, o)
	if err != nil || r.Verdict.Outcome != vuln.Pass || told != 1 || a.count("DescribeImageScanFindings", one) != 2 {
		t.Errorf("%+v, %v, told %d times", r, err, told)
	}
}

func TestGatePages(t *testing.T) {
	page := func(f, next string) string {
		s := scan("COMPLETE", `{"CRITICAL":1,"HIGH":1}`, `"findings":[`+f+`]`)
		if next != "" {
			s = strings.TrimSuffix(s, "}") + `,"nextToken":"` + next + `"}`
		}
		return s
	}
	first, second := basic("CVE-1", "CRITICAL", "a"), basic("CVE-2", "HIGH", "b")
	e, a := endpoint(t, map[string][]string{"DescribeImages": {image}, "DescribeImageScanFindings": {page(first, "2"), page(second, "")}})
	r, err := e.Gate(t.Context(), app, options(1))
	if err != nil || r.Verdict.Outcome != vuln.Pass || len(r.Images[0].Findings) != 2 || a.count("DescribeImageScanFindings", `"nextToken":"2"`) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	// Findings that change while they are read are read once more.
	e, a = endpoint(t, map[string][]string{"DescribeImages": {image}, "DescribeImageScanFindings": {page(first, "2"), page(first, ""), page(first+","+second, "")}})
	if r, err = e.Gate(t.Context(), app, options(0)); err != nil || a.count("DescribeImageScanFindings", one) != 3 || r.Verdict.Outcome != vuln.Exceeded {
		t.Errorf("%+v, %v, %v", r.Verdict, err, a.calls)
	}
}

func TestGateIndex(t *testing.T) {
	two, bill := "sha256:"+strings.Repeat("2", 64), "sha256:"+strings.Repeat("3", 64)
	entry := func(digest, platform, more string) string {
		os, arch, _ := strings.Cut(platform, "/")
		return `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digest + `","size":1,"platform":{"os":"` + os + `","architecture":"` + arch + `"}` + more + `}`
	}
	index := `{"schemaVersion":2,"manifests":[` + entry(one, "linux/amd64", "") + `,` + entry(two, "linux/arm64", `,"annotations":{"vnd.docker.reference.type":"attestation-manifest"}`) + `,` +
		entry(bill, "unknown/unknown", `,"annotations":{"vnd.docker.reference.type":"attestation-manifest"}`) + `]}`
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(index)))
	details := strings.NewReplacer(one, sum, "image.manifest", "image.index").Replace(image)
	quoted, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	give := func(text string) string {
		return `{"images":[{"imageId":{"imageDigest":"` + sum + `"},"imageManifest":` + text + `}],"failures":[]}`
	}
	clean := strings.ReplaceAll(scan("COMPLETE", `{}`, `"findings":[]`), `"imageId":{"imageDigest":"`+one+`"},`, "")
	say := func(manifest, second string) map[string][]string {
		return map[string][]string{"DescribeImages": {details}, "BatchGetImage": {give(manifest)}, "DescribeImageScanFindings": {clean, second}}
	}
	e, a := endpoint(t, say(string(quoted), clean))
	r, err := e.Gate(t.Context(), app, options(0))
	if err != nil || r.Verdict.Outcome != vuln.Pass || len(r.Images) != 2 || r.Deploy() != "app@"+sum || a.count("DescribeImageScanFindings", bill) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	e, _ = endpoint(t, say(string(quoted), "ScanNotFoundException none"))
	if r, err := e.Gate(t.Context(), app, options(0)); err != nil || r.Verdict.Outcome != vuln.NoVerdict || !strings.Contains(r.Verdict.Reasons[0], "linux/arm64") {
		t.Errorf("one platform is not scanned: %+v, %v", r, err)
	}
	e, a = endpoint(t, say(string(quoted), clean))
	o := options(0)
	o.Platforms = []string{"linux/arm64"}
	if r, err := e.Gate(t.Context(), app, o); err != nil || len(r.Images) != 1 || a.count("DescribeImageScanFindings", one) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	o.Platforms = []string{"linux"}
	if _, err := e.Gate(t.Context(), app, o); err == nil {
		t.Error("half a platform")
	}
	e, _ = endpoint(t, say(strings.Replace(string(quoted), two, one, 1), clean))
	if _, err := e.Gate(t.Context(), app, options(0)); err == nil || !strings.Contains(err.Error(), "another digest") {
		t.Errorf("a manifest of another digest: %v", err)
	}
}

// report is one with a finding of each kind; texts try to break out of the formats.
func report(t *testing.T, most int) *GateReport {
	hostile := `CVE-9]]>\r\n::warning::x <b> & \u001b[31m`
	e, _ := endpoint(t, map[string][]string{"DescribeImages": {image}, "DescribeImageScanFindings": {scan("COMPLETE", `{"CRITICAL":2,"MEDIUM":1}`, `"findings":[`+strings.Join([]string{
		basic("CVE-1", "CRITICAL", "openssl", "fixed_version", "1.1", "CVSS3_SCORE", "9.8"), basic(hostile, "CRITICAL", `a,b:c%`), basic("CVE-2", "MEDIUM", "zlib"),
		basic("CVE-3", "HIGH", "perl", "ecru:override", "ACCEPTED")}, ",")+`]`)}})
	o := options(most)
	o.Gate.FixableOnly = true
	r, err := e.Gate(t.Context(), app, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func written(t *testing.T, r *GateReport, form GateFormat) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, form); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func wantAll(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func TestGateText(t *testing.T) {
	text := written(t, report(t, 1), "text")
	wantAll(t, text, "EXCEEDED  app:v1\n", "deploy  app@"+one+"\n", "allowed  CRITICAL 1\n", "2 CRITICAL, allowed are 1", "1 suppressed", "CVE-1", "openssl", "1.1", "of 2 findings ECR does not tell whether there is a fix")
	if strings.ContainsAny(text, "\x1b\r") {
		t.Errorf("control characters: %q", text)
	}
	wantAll(t, written(t, report(t, 2), "text"), "PASS  app:v1\n")
}

func TestGateJSON(t *testing.T) {
	var v gateJSON
	if err := json.Unmarshal([]byte(written(t, report(t, 1), "json")), &v); err != nil {
		t.Fatal(err)
	}
	m := v.Images[0]
	if v.Outcome != vuln.Exceeded || v.Deploy != "app@"+one || v.Thresholds["CRITICAL"] != 1 || !v.Fixable || m.Counted["CRITICAL"] != 2 || m.LeftOut["SUPPRESSED"] != 1 || len(m.Findings) != 4 ||
		m.Findings[0].FixedIn != "1.1" || m.Findings[0].Score != 9.8 || m.Findings[3].LeftOut != "SUPPRESSED" {
		t.Errorf("%+v", v)
	}
}

func TestGateSARIF(t *testing.T) {
	var v sarifLog
	if err := json.Unmarshal([]byte(written(t, report(t, 1), "sarif")), &v); err != nil {
		t.Fatal(err)
	}
	run := v.Runs[0]
	if v.Version != "2.1.0" || run.Tool.Driver.Name != "ecru gate" || len(run.Tool.Driver.Rules) != 4 || len(run.Results) != 4 || !run.Invocations[0].Successful || run.Invocations[0].ExitCode != 2 {
		t.Errorf("%+v", v)
	}
	for _, res := range run.Results {
		if run.Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID || !slices.Contains([]string{"error", "warning", "note"}, res.Level) || res.Message.Text == "" ||
			res.Locations[0].Physical.Artifact.URI != "app@"+strings.Replace(one, ":", "%3A", 1) || (len(res.Suppressions) == 1) != (res.RuleID == "CVE-3") {
			t.Errorf("%+v", res)
		}
	}
	if s := run.Tool.Driver.Rules[0].Properties["security-severity"]; s != "9.8" {
		t.Errorf("security-severity %v", s)
	}
	r := report(t, 1)
	r.Verdict.Outcome = vuln.NoVerdict
	wantAll(t, written(t, r, "sarif"), `"executionSuccessful": false`, `"exitCode": 3`, `"level": "error"`)
}

func TestGateJUnit(t *testing.T) {
	var v junitSuites
	if err := xml.Unmarshal([]byte(written(t, report(t, 1), "junit")), &v); err != nil {
		t.Fatal(err)
	}
	if v.Tests != 2 || v.Failures != 1 || v.Errors != 0 || len(v.Suites) != 1 || v.Suites[0].Cases[1].Failure == nil || !strings.Contains(v.Suites[0].Cases[1].Failure.Text, "CVE-9]]>") {
		t.Errorf("%+v", v)
	}
	e, _ := endpoint(t, map[string][]string{"DescribeImages": {image}, "DescribeImageScanFindings": {scan("FAILED", "", "")}})
	r, err := e.Gate(t.Context(), app, options(0))
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, written(t, r, "junit"), `errors="1"`, `<error message=`, "FAILED")
}

func TestGateGitHub(t *testing.T) {
	text := written(t, report(t, 1), "github")
	wantAll(t, text, "::error title=ecru gate app%3Av1::EXCEEDED: app@"+one, "::error title=CVE-1 openssl::", "a%2Cb%3Ac%25::", "%0D%0A::warning")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "::error title=") && !strings.HasPrefix(line, "::notice title=") {
			t.Errorf("a line that begins no annotation of the gate's: %q", line)
		}
	}
	wantAll(t, written(t, report(t, 2), "github"), "::notice title=ecru gate app%3Av1::PASS")
	if err := report(t, 1).Write(io.Discard, "pdf"); err == nil {
		t.Error("a format that there is not")
	}
}

func TestGateBaseline(t *testing.T) {
	finding := func(list ...string) string {
		return scan("COMPLETE", fmt.Sprintf(`{"CRITICAL":%d}`, len(list)), `"findings":[`+strings.Join(list, ",")+`]`)
	}
	old, fresh := basic("CVE-1", "CRITICAL", "a"), basic("CVE-2", "CRITICAL", "a")
	for name, c := range map[string]struct {
		before, now string
		want        vuln.Outcome
	}{
		"the same":      {finding(old), finding(old), vuln.Pass},
		"one is new":    {finding(old), finding(old, fresh), vuln.Exceeded},
		"not finished":  {scan("PENDING", "", ""), finding(old), vuln.NoVerdict},
		"never scanned": {"ScanNotFoundException none", finding(), vuln.NoVerdict},
	} {
		e, _ := endpoint(t, map[string][]string{"DescribeImages": {image}, "DescribeImageScanFindings": {c.before, c.now}})
		o := options(0)
		o.Baseline = &Reference{Repository: "app", Tag: "prod"}
		r, err := e.Gate(t.Context(), app, o)
		if err != nil || r.Verdict.Outcome != c.want {
			t.Errorf("%s: %+v, %v, want %s", name, r, err, c.want)
		}
		if err == nil && c.want == vuln.NoVerdict {
			wantAll(t, written(t, r, "junit"), `errors="1"`, "baseline")
		}
	}
}
