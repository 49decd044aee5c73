package vuln

import (
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"
)

// A Severity is one of ECR's words.
type Severity string

// The severities of ECR.
const (
	Undefined     Severity = "UNDEFINED"
	Informational Severity = "INFORMATIONAL"
	Low           Severity = "LOW"
	Medium        Severity = "MEDIUM"
	High          Severity = "HIGH"
	Critical      Severity = "CRITICAL"
)

// Severities are all of them, the worst first.
func Severities() []Severity {
	return []Severity{Critical, High, Medium, Low, Informational, Undefined}
}

// Rank orders severities: CRITICAL is 5, UNDEFINED 0.
func (s Severity) Rank() int {
	switch s {
	case Critical:
		return 5
	case High:
		return 4
	case Medium:
		return 3
	case Low:
		return 2
	case Informational:
		return 1
	}
	return 0
}

// An Origin says where a severity is from. The lower the better.
type Origin int

// Who is asked for a severity, in this order.
const (
	FromVendor  Origin = iota + 1 // the distribution's own word
	FromCVSS                      // a vector of the record
	FromWord                      // a word of the record's database
	FromJoined                    // another record of the same CVE
	FromMalware                   // malicious packages are critical
	FromNowhere                   // UNDEFINED
)

// A Rating is a severity with what it rests on.
type Rating struct {
	Severity Severity `json:"s"`
	Origin   Origin   `json:"o"`
	CVSS     []CVSS   `json:"c,omitempty"` // 4.0 first, 2.0 last; one a version
}

// A CVSS is a vector with its base score.
type CVSS struct {
	Version string  `json:"n"` // 2.0 3.0 3.1 4.0
	Vector  string  `json:"v"`
	Score   float64 `json:"s"`
	Source  string  `json:"a"` // ID of the advisory that has it
}

// ParseCVSS reads a vector of any version; false if it is none, or incomplete.
func ParseCVSS(vector string) (c CVSS, ok bool) {
	if len(vector) > 512 {
		return c, false
	}
	c.Vector = vector
	var err error
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		var v *gocvss40.CVSS40
		if v, err = gocvss40.ParseVector(vector); err == nil {
			c.Version, c.Score = "4.0", v.Score()
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		var v *gocvss31.CVSS31
		if v, err = gocvss31.ParseVector(vector); err == nil {
			c.Version, c.Score = "3.1", v.BaseScore()
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		var v *gocvss30.CVSS30
		if v, err = gocvss30.ParseVector(vector); err == nil {
			c.Version, c.Score = "3.0", v.BaseScore()
		}
	default:
		var v *gocvss20.CVSS20
		if v, err = gocvss20.ParseVector(strings.Trim(vector, "()")); err == nil {
			c.Version, c.Score = "2.0", v.BaseScore()
		}
	}
	return c, err == nil
}

// ScoreSeverity is the band of a CVSS base score.
func ScoreSeverity(score float64) Severity {
	switch {
	case score >= 9:
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	case score > 0:
		return Low
	}
	return Informational
}

// wordSeverity reads the word of a database or a distribution.
func wordSeverity(word string) Severity {
	switch strings.ToLower(word) {
	case "critical":
		return Critical
	case "high", "important":
		return High
	case "medium", "moderate":
		return Medium
	case "low":
		return Low
	case "negligible", "unimportant", "informational", "none":
		return Informational
	}
	return Undefined
}

// Rating is what the record says of itself, whatever the package: what other
// records of the same CVE may borrow (Match's rated).
func (a *Advisory) Rating() Rating {
	return rate([]*Advisory{a}, func(*Affected) bool { return true }, nil)
}

// Better reports whether a rating of one record of a CVE is to be borrowed
// rather than that of another.
func (r Rating) Better(o Rating) bool {
	if r.Origin != o.Origin {
		return r.Origin != 0 && (o.Origin == 0 || r.Origin < o.Origin)
	}
	if len(r.CVSS) > 0 && len(o.CVSS) > 0 && r.CVSS[0].Version != o.CVSS[0].Version {
		return r.CVSS[0].Version > o.CVSS[0].Version
	}
	return r.Severity.Rank() > o.Severity.Rank()
}

// rate finds the severity of a vulnerability that some records tell of, the
// best first. relevant says which affected packages count; joined is what other
// records of the CVE say, nil if none.
func rate(records []*Advisory, relevant func(*Affected) bool, joined *Rating) Rating {
	r := Rating{CVSS: vectors(records, relevant)}
	if s := vendorSeverity(records, relevant); s != Undefined {
		r.Severity, r.Origin = s, FromVendor
		return r
	}
	if len(r.CVSS) > 0 {
		r.Severity, r.Origin = ScoreSeverity(r.CVSS[0].Score), FromCVSS
		return r
	}
	for _, a := range records {
		if s := wordSeverity(a.Word); s != Undefined {
			r.Severity, r.Origin = s, FromWord
			return r
		}
	}
	if joined != nil && joined.Severity.Rank() > 0 {
		return Rating{Severity: joined.Severity, Origin: FromJoined, CVSS: joined.CVSS}
	}
	for _, a := range records {
		if strings.HasPrefix(a.ID, "MAL-") {
			r.Severity, r.Origin = Critical, FromMalware
			return r
		}
	}
	r.Severity, r.Origin = Undefined, FromNowhere
	return r
}

func vendorSeverity(records []*Advisory, relevant func(*Affected) bool) Severity {
	for _, a := range records {
		for _, s := range a.Scores {
			if s.Type == "Ubuntu" {
				return wordSeverity(s.Value)
			}
		}
		for i := range a.Affected {
			if relevant(&a.Affected[i]) && a.Affected[i].Urgency == "unimportant" {
				return Informational
			}
		}
		if a.relatedIsContent() {
			word, _, ok := strings.Cut(a.Summary, ":")
			if s := wordSeverity(word); ok && s != Undefined {
				return s
			}
		}
	}
	return Undefined
}

// vectors are the first of each version of CVSS, the newest version first.
func vectors(records []*Advisory, relevant func(*Affected) bool) []CVSS {
	var found [4]CVSS
	add := func(id string, scores []Score) {
		for _, s := range scores {
			if !strings.HasPrefix(s.Type, "CVSS_") {
				continue
			}
			if c, ok := ParseCVSS(s.Value); ok {
				i := map[string]int{"4.0": 0, "3.1": 1, "3.0": 2, "2.0": 3}[c.Version]
				if found[i].Version == "" {
					c.Source = id
					found[i] = c
				}
			}
		}
	}
	for _, a := range records {
		for i := range a.Affected {
			if relevant(&a.Affected[i]) {
				add(a.ID, a.Affected[i].Scores)
			}
		}
		add(a.ID, a.Scores)
	}
	var out []CVSS
	for _, c := range found {
		if c.Version != "" {
			out = append(out, c)
		}
	}
	return out
}
