package vuln

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// An Advisory is a compiled OSV record. It is immutable once made.
type Advisory struct {
	ID        string `json:"id"`
	Modified  int64  `json:"mod"`           // ms
	Published int64  `json:"pub,omitempty"` // ms, 0 if the record does not tell
	Withdrawn int64  `json:"wdr,omitempty"` // ms, 0 if it stands

	// Names of the same vulnerability (Aliases), of those that this record
	// passes on (Upstream), and of others (Related); without this record's own.
	Aliases  []string `json:"ali,omitempty"`
	Upstream []string `json:"ups,omitempty"`
	Related  []string `json:"rel,omitempty"`

	Summary    string      `json:"sum,omitempty"`
	Details    string      `json:"det,omitempty"` // at most MaxDetails bytes
	References []Reference `json:"ref,omitempty"`

	Scores   []Score    `json:"sco,omitempty"`
	Word     string     `json:"wrd,omitempty"` // database_specific.severity, as written there
	Module   string     `json:"mdl,omitempty"` // name:stream, if it is about a stream of a module of rpms
	Affected []Affected `json:"aff,omitempty"`

	// Skipped counts the ranges that say nothing about versions as package
	// managers have them (of commits), or whose versions cannot be compared.
	Skipped int `json:"skp,omitempty"`
}

// A Reference is a link of a record.
type Reference struct {
	Type string `json:"t,omitempty"` // ADVISORY, FIX, WEB, …
	URL  string `json:"u"`
}

// A Score is a severity as a record has it.
type Score struct {
	Type  string `json:"t"` // CVSS_V2, CVSS_V3, CVSS_V4, Ubuntu
	Value string `json:"v"` // a vector; of Ubuntu a word
}

// Affected says which versions of a package a record is about.
type Affected struct {
	Key
	Intervals []Interval `json:"i,omitempty"` // sorted, disjoint within each range of the record
	Versions  []string   `json:"v,omitempty"` // those that no interval holds
	Scores    []Score    `json:"s,omitempty"`
	Urgency   string     `json:"g,omitempty"` // Debian's
}

// A Key is where the advisories of a package are found. Both parts have the
// form of Ecosystem and of KeyName, of advisories as of identities.
type Key struct {
	Ecosystem string `json:"e"` // Debian:12
	Name      string `json:"n"`
}

// An Interval is affected from Introduced ("" means from the first version on)
// up to but without Fixed, or up to and with Last. If both are "", there is no
// fix.
type Interval struct {
	Introduced string `json:"i,omitempty"`
	Fixed      string `json:"f,omitempty"`
	Last       string `json:"l,omitempty"`
}

// MaxDetails bounds an advisory's text.
const MaxDetails = 4096

// Encode is the form to store; DecodeAdvisory reads it back.
func (a *Advisory) Encode() ([]byte, error) { return json.Marshal(a) }

// DecodeAdvisory reads what Encode wrote.
func DecodeAdvisory(b []byte) (*Advisory, error) {
	a := new(Advisory)
	if err := json.Unmarshal(b, a); err != nil {
		return nil, fmt.Errorf("a stored advisory is damaged: %w", err)
	}
	return a, nil
}

// Keys are the packages that the advisory is about, sorted, each once.
func (a *Advisory) Keys() []Key {
	keys := make([]Key, 0, len(a.Affected))
	for i := range a.Affected {
		keys = append(keys, a.Affected[i].Key)
	}
	slices.SortFunc(keys, Key.compare)
	return slices.Compact(keys)
}

func (k Key) compare(o Key) int {
	if c := strings.Compare(k.Ecosystem, o.Ecosystem); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

// For is the part of the advisory that Match needs for one package: without
// texts, references and other packages.
func (a *Advisory) For(k Key) *Advisory {
	part := *a
	part.Details, part.References, part.Affected = "", nil, nil
	for i := range a.Affected {
		if a.Affected[i].Key == k {
			part.Affected = append(part.Affected, a.Affected[i])
		}
	}
	return &part
}

// CVEs are the CVE ids that the advisory is about, sorted: its own, its
// aliases', or those that it bundles. A distribution's name of a CVE
// (DEBIAN-CVE-…) counts as the CVE.
func (a *Advisory) CVEs() []string {
	names := append([]string{a.ID}, a.Aliases...)
	if cves := onlyCVEs(names); len(cves) > 0 {
		return cves
	}
	if cves := onlyCVEs(a.Upstream); len(cves) > 0 {
		return cves
	}
	if a.relatedIsContent() {
		return onlyCVEs(a.Related)
	}
	return nil
}

// Bundles reports whether the advisory is a bulletin about one or more
// vulnerabilities that have records of their own somewhere (DSA, USN, ALSA,
// RHSA), not the record of a vulnerability.
func (a *Advisory) Bundles() bool {
	return len(onlyCVEs(append([]string{a.ID}, a.Aliases...))) == 0 && len(a.CVEs()) > 0
}

// relatedIsContent: AlmaLinux and Rocky put what a bulletin fixes in related.
func (a *Advisory) relatedIsContent() bool {
	for _, p := range []string{"ALSA-", "RLSA-", "RXSA-", "ELSA-"} {
		if strings.HasPrefix(a.ID, p) {
			return true
		}
	}
	return false
}

// onlyCVEs keeps the CVE ids among names, in their plain form.
func onlyCVEs(names []string) []string {
	var out []string
	for _, n := range names {
		if c := plainCVE(n); c != "" {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// plainCVE returns CVE-… of CVE-…, DEBIAN-CVE-…, UBUNTU-CVE-…, ALPINE-CVE-….
func plainCVE(name string) string {
	rest, ok := name, strings.HasPrefix(name, "CVE-")
	if !ok {
		_, rest, ok = strings.Cut(name, "-CVE-")
		if !ok {
			return ""
		}
		return "CVE-" + rest
	}
	return rest
}

// URL is a page about the advisory.
func (a *Advisory) URL() string { return AdvisoryURL(a.ID) }

// AdvisoryURL is a page about the record of that ID, its publisher's if known.
func AdvisoryURL(id string) string {
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case "CVE":
		return "https://nvd.nist.gov/vuln/detail/" + id
	case "GHSA":
		return "https://github.com/advisories/" + id
	case "DEBIAN", "DSA", "DLA":
		return "https://security-tracker.debian.org/tracker/" + strings.TrimPrefix(id, "DEBIAN-")
	case "UBUNTU":
		return "https://ubuntu.com/security/" + strings.TrimPrefix(id, "UBUNTU-")
	case "USN":
		return "https://ubuntu.com/security/notices/" + id
	case "ALPINE":
		return "https://security.alpinelinux.org/vuln/" + strings.TrimPrefix(id, "ALPINE-")
	case "GO":
		return "https://pkg.go.dev/vuln/" + id
	case "RUSTSEC":
		return "https://rustsec.org/advisories/" + id + ".html"
	case "RHSA":
		return "https://access.redhat.com/errata/" + id
	case "RLSA":
		return "https://errata.rockylinux.org/" + id
	}
	return "https://osv.dev/vulnerability/" + id
}

// Source names who publishes the record, in the way of the sources of Amazon
// Inspector.
func (a *Advisory) Source() string {
	prefix, _, _ := strings.Cut(a.ID, "-")
	names := map[string]string{
		"CVE": "NVD", "GHSA": "GITHUB", "DEBIAN": "DEBIAN_CVE", "DSA": "DEBIAN_CVE", "DLA": "DEBIAN_CVE",
		"UBUNTU": "UBUNTU_CVE", "USN": "UBUNTU_CVE", "RHSA": "REDHAT_CVE", "ALPINE": "ALPINE_SECDB",
		"ALSA": "ALMALINUX", "RLSA": "ROCKY_LINUX", "PYSEC": "PYPI", "GO": "GOLANG", "CGA": "CHAINGUARD",
	}
	if n, ok := names[prefix]; ok {
		return n
	}
	return prefix
}
