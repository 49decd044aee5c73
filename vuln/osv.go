package vuln

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds on one OSV record.
const (
	MaxRecord     = 16 << 20 // bytes of JSON
	maxID         = 256
	maxName       = 1024
	maxNames      = 10_000 // aliases, upstream or related
	maxAffected   = 20_000
	maxVersions   = 200_000 // of the whole record
	maxEvents     = 20_000  // of the whole record
	maxReferences = 100
	maxScores     = 20
)

// ErrNotSecurity: the record is a bulletin about bugs or enhancements (ALBA,
// ALEA and their like). It is to be left out.
var ErrNotSecurity = errors.New("the record is not about security")

// A record is what of an OSV record counts (ossf.github.io/osv-schema).
type record struct {
	ID               string
	Modified         time.Time
	Published        *time.Time
	Withdrawn        *time.Time
	Aliases          []string
	Upstream         []string
	Related          []string
	Summary          string
	Details          string
	Severity         []recordScore
	Affected         []recordAffected
	References       []struct{ Type, URL string }
	DatabaseSpecific json.RawMessage `json:"database_specific"`
}

type recordScore struct{ Type, Score string }

type recordAffected struct {
	Package           struct{ Ecosystem, Name string }
	Ranges            []recordRange
	Versions          []string
	Severity          []recordScore
	EcosystemSpecific json.RawMessage `json:"ecosystem_specific"`
}

type recordRange struct {
	Type   string
	Events []recordEvent
}

type recordEvent struct {
	Introduced   string
	Fixed        string
	LastAffected string `json:"last_affected"`
	Limit        string
}

// ParseOSV reads an OSV record and compiles it. Withdrawn records are returned
// too, marked: they take the place of what they were before. ErrNotSecurity
// says that there is nothing to keep.
func ParseOSV(data []byte) (*Advisory, error) {
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("an OSV record of %d bytes; at most %d are read", len(data), MaxRecord)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("not an OSV record: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if notSecurity(r.ID) {
		return nil, fmt.Errorf("%s: %w", r.ID, ErrNotSecurity)
	}
	return r.compile(), nil
}

func (r *record) check() error {
	if r.ID == "" || len(r.ID) > maxID || strings.ContainsAny(r.ID, "/\\\x00") {
		return errors.New("an OSV record without an id that can be used")
	}
	if max(len(r.Aliases), len(r.Upstream), len(r.Related)) > maxNames {
		return fmt.Errorf("%s: more than %d aliases", r.ID, maxNames)
	}
	if len(r.Affected) > maxAffected {
		return fmt.Errorf("%s: more than %d affected packages", r.ID, maxAffected)
	}
	versions, events := 0, 0
	for i := range r.Affected {
		a := &r.Affected[i]
		if len(a.Package.Name) > maxName || len(a.Package.Ecosystem) > maxName {
			return fmt.Errorf("%s: the name of a package is longer than %d bytes", r.ID, maxName)
		}
		versions += len(a.Versions)
		for _, rg := range a.Ranges {
			events += len(rg.Events)
		}
	}
	if versions > maxVersions || events > maxEvents {
		return fmt.Errorf("%s: more than %d versions or %d events", r.ID, maxVersions, maxEvents)
	}
	return nil
}

func notSecurity(id string) bool {
	for _, p := range []string{"ALBA-", "ALEA-", "RLBA-", "RLEA-", "RXBA-", "RXEA-", "RHBA-", "RHEA-", "ELBA-", "ELEA-"} {
		if strings.HasPrefix(id, p) {
			return true
		}
	}
	return false
}

func (r *record) compile() *Advisory {
	a := &Advisory{
		ID: r.ID, Modified: r.Modified.UnixMilli(), Published: milli(r.Published), Withdrawn: milli(r.Withdrawn),
		Aliases: without(r.Aliases, r.ID), Upstream: without(r.Upstream, r.ID), Related: without(r.Related, r.ID),
		Summary: trim(r.Summary, MaxDetails/4), Details: trim(r.Details, MaxDetails),
		Scores: scores(r.Severity), Module: moduleOf(r.Summary),
	}
	if r.Modified.IsZero() {
		a.Modified = 0
	}
	var own struct{ Severity any }
	if json.Unmarshal(r.DatabaseSpecific, &own) == nil {
		if word, ok := own.Severity.(string); ok && len(word) <= 32 {
			a.Word = word
		}
	}
	for _, ref := range r.References {
		if len(a.References) < maxReferences && len(ref.URL) <= 2048 && httpURL(ref.URL) {
			a.References = append(a.References, Reference{Type: trim(ref.Type, 32), URL: ref.URL})
		}
	}
	for i := range r.Affected {
		a.compileAffected(&r.Affected[i])
	}
	return a
}

func milli(t *time.Time) int64 {
	if t == nil || t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// httpURL: nothing else becomes a link on a page.
func httpURL(u string) bool {
	return strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://")
}

// trim cuts at the end of a character and replaces what is not UTF-8.
func trim(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func without(names []string, id string) []string {
	var out []string
	for _, n := range names {
		if n != "" && n != id && len(n) <= maxID {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func scores(list []recordScore) []Score {
	var out []Score
	for _, s := range list {
		v := Score{s.Type, s.Score}
		if len(out) < maxScores && len(s.Score) <= 512 && len(s.Type) <= 32 && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// moduleOf finds name:stream in the summary of a bulletin about a module of
// rpms: "Important: subversion:1.10 security update".
func moduleOf(summary string) string {
	for _, word := range strings.Fields(summary) {
		name, stream, ok := strings.Cut(word, ":")
		if ok && name != "" && stream != "" && !strings.ContainsAny(word, "/,;()") {
			return word
		}
	}
	return ""
}

func (a *Advisory) compileAffected(r *recordAffected) {
	if r.Package.Ecosystem == "" || r.Package.Name == "" {
		a.Skipped += len(r.Ranges)
		return
	}
	eco := Ecosystem(r.Package.Ecosystem)
	aff := Affected{Key: Key{eco, KeyName(eco, r.Package.Name)}, Scores: scores(r.Severity)}
	var own struct{ Urgency any }
	if json.Unmarshal(r.EcosystemSpecific, &own) == nil {
		if word, ok := own.Urgency.(string); ok {
			aff.Urgency = trim(word, 32)
		}
	}
	for i := range r.Ranges {
		rg := &r.Ranges[i]
		if rg.Type != "SEMVER" && rg.Type != "ECOSYSTEM" {
			a.Skipped++
			continue
		}
		ivs, err := compileRange(eco, rg.Events)
		if err != nil {
			a.Skipped++
		}
		aff.Intervals = append(aff.Intervals, ivs...)
	}
	aff.Versions = aff.outside(r.Versions)
	if len(aff.Intervals)+len(aff.Versions) == 0 {
		return
	}
	for i := range a.Affected { // one record may list the same package several times
		if a.Affected[i].same(&aff) {
			return
		}
	}
	a.Affected = append(a.Affected, aff)
}

func (f *Affected) same(o *Affected) bool {
	return f.Key == o.Key && f.Urgency == o.Urgency && slices.Equal(f.Intervals, o.Intervals) &&
		slices.Equal(f.Versions, o.Versions) && slices.Equal(f.Scores, o.Scores)
}

// compileRange turns the events of a range into sorted intervals (OSV schema,
// "Evaluation"). Limits are left out: they speak of commits.
func compileRange(ecosystem string, events []recordEvent) ([]Interval, error) {
	points, err := sortEvents(ecosystem, events)
	if err != nil {
		return nil, err
	}
	var out []Interval
	open, from := false, ""
	for _, p := range points {
		switch {
		case p.kind == introduced && !open:
			open, from = true, p.text
		case p.kind == fixed && open:
			open = false
			if p.text != from {
				out = append(out, Interval{Introduced: from, Fixed: p.text})
			}
		case p.kind == lastAffected && open:
			open = false
			out = append(out, Interval{Introduced: from, Last: p.text})
		}
	}
	if open {
		out = append(out, Interval{Introduced: from})
	}
	return out, nil
}

type eventKind int

const (
	introduced eventKind = iota
	fixed
	lastAffected
)

// A point is an event; that at the very first version has no text.
type point struct {
	kind eventKind
	text string
	v    version
}

// sortEvents keeps the order of the record among events at one version.
func sortEvents(ecosystem string, events []recordEvent) ([]point, error) {
	var points []point
	for _, e := range events {
		p := point{kind: introduced, text: e.Introduced}
		switch {
		case e.Fixed != "":
			p = point{kind: fixed, text: e.Fixed}
		case e.LastAffected != "":
			p = point{kind: lastAffected, text: e.LastAffected}
		case e.Introduced == "":
			continue // a limit
		}
		if p.kind == introduced && p.text == "0" {
			p.text = ""
			points = append(points, p)
			continue
		}
		var err error
		if p.v, err = parseVersion(ecosystem, p.text); err != nil {
			return nil, err
		}
		points = append(points, p)
	}
	var failed error
	slices.SortStableFunc(points, func(a, b point) int {
		switch {
		case a.text == "" && b.text == "":
			return 0
		case a.text == "":
			return -1
		case b.text == "":
			return 1
		}
		c, err := a.v.compare(b.text)
		if err != nil {
			failed = err
		}
		return c
	})
	return points, failed
}

// maxChecks bounds the comparisons that are made to keep a list of versions
// short.
const maxChecks = 1_000_000

// outside keeps the versions that no interval holds already.
func (f *Affected) outside(versions []string) []string {
	var out []string
	check := len(versions)*len(f.Intervals) <= maxChecks
	for _, text := range versions {
		if text == "" || len(text) > maxVersion {
			continue
		}
		if !check {
			out = append(out, text)
			continue
		}
		v, err := parseVersion(f.Ecosystem, text)
		if err != nil || !slices.ContainsFunc(f.Intervals, func(iv Interval) bool { return iv.holds(v) }) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// holds reports whether the version is in the interval. One that cannot be
// compared is not.
func (iv Interval) holds(v version) bool {
	if iv.Introduced != "" {
		if c, err := v.compare(iv.Introduced); err != nil || c < 0 {
			return false
		}
	}
	switch {
	case iv.Fixed != "":
		c, err := v.compare(iv.Fixed)
		return err == nil && c < 0
	case iv.Last != "":
		c, err := v.compare(iv.Last)
		return err == nil && c <= 0
	}
	return true
}
