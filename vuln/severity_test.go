package vuln

import (
	"bytes"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseCVSS(t *testing.T) {
	for _, c := range []struct {
		vector, version string
		score           float64
		severity        Severity
	}{
		{"AV:N/AC:L/Au:N/C:P/I:P/A:P", "2.0", 7.5, High},
		{"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "3.0", 9.8, Critical},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", "3.1", 7.5, High},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "3.1", 0, Informational},
		{"CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N/E:X", "4.0", 4.8, Medium},
	} {
		got, ok := ParseCVSS(c.vector)
		if !ok || got.Version != c.version || math.Abs(got.Score-c.score) > 0.001 || ScoreSeverity(got.Score) != c.severity {
			t.Errorf("%s: %+v", c.vector, got)
		}
	}
	for _, v := range []string{"", "9.8", "CVSS:3.1/AV:N", "CVSS:5.0/AV:N", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:Z"} {
		if c, ok := ParseCVSS(v); ok {
			t.Errorf("%q is %+v", v, c)
		}
	}
}

// TestSeverityOrder: each source goes before the next.
func TestSeverityOrder(t *testing.T) {
	const v31 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" // 9.8
	const v4 = "CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N"
	scores := []Score{{"CVSS_V3", v31}, {"CVSS_V4", v4}}
	borrowed := func(string) (Rating, bool) { return Rating{Severity: High, Origin: FromCVSS}, true }
	k := Key{"Debian:12", "a"}
	for _, c := range []struct {
		name   string
		a      Advisory
		rated  func(string) (Rating, bool)
		want   Severity
		origin Origin
	}{
		{"Ubuntu's word", Advisory{ID: "UBUNTU-CVE-1-1", Scores: append([]Score{{"Ubuntu", "negligible"}}, scores...)}, borrowed, Informational, FromVendor},
		{"Debian's urgency", Advisory{ID: "DEBIAN-CVE-1-1", Scores: scores, Affected: []Affected{{Key: k, Urgency: "unimportant"}}}, borrowed, Informational, FromVendor},
		{"a bulletin's", Advisory{ID: "RLSA-1", Summary: "Moderate: a", Related: []string{"CVE-1-1"}, Scores: scores}, borrowed, Medium, FromVendor},
		{"the newest vector", Advisory{ID: "CVE-1-1", Scores: scores, Word: "CRITICAL"}, borrowed, Medium, FromCVSS},
		{"the package's vector", Advisory{ID: "CVE-1-1", Scores: []Score{{"CVSS_V3", strings.ReplaceAll(v31, ":H", ":N")}}, Affected: []Affected{{Key: k, Scores: scores[:1]}}}, borrowed, Critical, FromCVSS},
		{"the database's word", Advisory{ID: "GHSA-1", Word: "MODERATE"}, borrowed, Medium, FromWord},
		{"another record's", Advisory{ID: "CVE-1-1"}, borrowed, High, FromJoined},
		{"malware", Advisory{ID: "MAL-2024-1"}, nil, Critical, FromMalware},
		{"nobody", Advisory{ID: "CVE-1-1", Scores: []Score{{"CVSS_V3", "CVSS:3.1/AV:N"}}}, nil, Undefined, FromNowhere},
	} {
		if c.a.Affected == nil {
			c.a.Affected = []Affected{{Key: k}}
		}
		c.a.Affected[0].Intervals = []Interval{{}}
		ms := Identity{Key: k, Version: "1"}.Match([]*Advisory{&c.a}, c.rated)
		if len(ms) != 1 || ms[0].Rating.Severity != c.want || ms[0].Rating.Origin != c.origin {
			t.Errorf("%s: %+v", c.name, ms)
		}
	}
}

func TestBetter(t *testing.T) {
	word, cvss, none := Rating{High, FromWord, nil}, Rating{Low, FromCVSS, nil}, Rating{}
	if !cvss.Better(word) || word.Better(cvss) || !word.Better(none) || none.Better(word) || cvss.Better(cvss) {
		t.Error("a vector goes before a word, a word before nothing")
	}
}

func TestKEV(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(sharedData(t), "kev", "known_exploited_vulnerabilities.json"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseKEV(data)
	if err != nil || len(list) != 1404 {
		t.Fatalf("%d: %v", len(list), err)
	}
	if e := list[0]; e.CVE != "CVE-2025-48384" || e.Added != 1756080000000 || e.Due == 0 || e.Ransomware {
		t.Errorf("%+v", e)
	}
	for _, text := range []string{"", "{}", `{"vulnerabilities":[{"cveID":"<b>"}]}`} {
		if _, err := ParseKEV([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text)) // into memory
	w.Close()
	return b.Bytes()
}

const epss = "#model_version:v2025.03.14,score_date:2026-11-23T12:55:00Z\ncve,epss,percentile\nCVE-1999-0001,0.01017,0.76593\nCVE-2021-44228,0.94358,0.99957\n"

func TestEPSS(t *testing.T) {
	d, err := ReadEPSS(bytes.NewReader(zipped(epss)))
	if err != nil || d.Model != "v2025.03.14" || d.Date != 1795438500000 || len(d.Scores) != 2 || d.Scores[1] != (EPSS{"CVE-2021-44228", 0.94358, 0.99957}) {
		t.Errorf("%+v %v", d, err)
	}
	for _, text := range []string{"", "cve,epss\n", "cve,epss,percentile\n", "cve,epss,percentile\nCVE-1-1,2,0\n", "cve,epss,percentile\nCVE-1-1,NaN,0\n", "cve,epss,percentile\nx,0,0\n"} {
		if d, err := ReadEPSS(bytes.NewReader(zipped(text))); err == nil {
			t.Errorf("%q is read: %+v", text, d)
		}
	}
	if _, err := ReadEPSS(strings.NewReader(epss)); err == nil {
		t.Error("what is not gzip is read")
	}
	whole := zipped(epss)
	if _, err := ReadEPSS(bytes.NewReader(whole[:len(whole)-6])); err == nil {
		t.Error("a list that is cut off is read")
	}
	if !ExploitAvailable(true, 0, 0) || !ExploitAvailable(false, 0.5, 0.5) || ExploitAvailable(false, 0.4, 0.5) || ExploitAvailable(false, 1, 0) {
		t.Error("exploits")
	}
}

func FuzzKEV(f *testing.F) {
	f.Add([]byte(`{"vulnerabilities":[{"cveID":"CVE-2025-48384","dateAdded":"2025-08-25"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseKEV(data)
		for _, e := range list {
			if err != nil || !isCVE(e.CVE) {
				t.Errorf("%+v %v", e, err)
			}
		}
	})
}

func FuzzEPSS(f *testing.F) {
	f.Add([]byte(epss), true)
	f.Add(zipped(epss), false)
	f.Fuzz(func(t *testing.T, data []byte, zip bool) {
		if zip {
			data = zipped(string(data))
		}
		d, err := ReadEPSS(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, s := range d.Scores {
			if !isCVE(s.CVE) || !(s.Score >= 0 && s.Score <= 1) {
				t.Errorf("%+v", s)
			}
		}
	})
}
