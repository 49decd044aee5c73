package vuln

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds on a VEX document.
const (
	MaxVEX        = 16 << 20 // bytes of JSON
	maxStatements = 50_000
	maxProducts   = 100_000 // of the whole document, subcomponents included
)

// A VEXStatus is OpenVEX's word for what is said of a vulnerability.
type VEXStatus string

// The statuses of OpenVEX.
const (
	VEXNotAffected   VEXStatus = "not_affected"
	VEXAffected      VEXStatus = "affected"
	VEXFixed         VEXStatus = "fixed"
	VEXInvestigating VEXStatus = "under_investigation"
)

// A VEX is an OpenVEX document (openvex.dev, version 0.2.0).
type VEX struct {
	ID         string
	Author     string
	Time       int64 // ms
	Version    int
	Statements []Statement
}

// A Statement says one thing of vulnerabilities in products.
type Statement struct {
	Vulnerability string
	Aliases       []string
	Products      []Product
	Status        VEXStatus
	Justification string // why it is not affected
	Notes         string // status notes, or else the impact or action statement
	Time          int64  // ms, the document's if it has none
}

// A Product is an image, or a package; its parts narrow it down.
type Product struct {
	ID    string   // a package URL, as a rule
	Parts []string // package URLs of packages in it
}

// OpenVEX's JSON. A component's package URL is its identifier, or its id.
type (
	vexDocument struct {
		Context    string         `json:"@context"`
		ID         string         `json:"@id"`
		Author     string         `json:"author"`
		Timestamp  *time.Time     `json:"timestamp,omitempty"`
		Version    int            `json:"version"`
		Statements []vexStatement `json:"statements"`
	}
	vexStatement struct {
		Vulnerability   vexVulnerability `json:"vulnerability"`
		Timestamp       *time.Time       `json:"timestamp,omitempty"`
		Products        []vexProduct     `json:"products,omitempty"`
		Status          VEXStatus        `json:"status"`
		StatusNotes     string           `json:"status_notes,omitempty"`
		Justification   string           `json:"justification,omitempty"`
		ImpactStatement string           `json:"impact_statement,omitempty"`
		ActionStatement string           `json:"action_statement,omitempty"`
	}
	vexVulnerability struct {
		ID      string   `json:"@id,omitempty"`
		Name    string   `json:"name"`
		Aliases []string `json:"aliases,omitempty"`
	}
	vexComponent struct {
		ID          string            `json:"@id,omitempty"`
		Identifiers map[string]string `json:"identifiers,omitempty"`
	}
	vexProduct struct {
		vexComponent
		Subcomponents []vexComponent `json:"subcomponents,omitempty"`
	}
)

const vexContext = "https://openvex.dev/ns/v0.2.0"

// justifications are OpenVEX's words for why something is not affected.
var justifications = []string{
	"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
}

func (c *vexComponent) name() string {
	if p := c.Identifiers["purl"]; p != "" {
		return p
	}
	return c.ID
}

// ParseVEX reads an OpenVEX document.
func ParseVEX(data []byte) (*VEX, error) {
	if len(data) > MaxVEX {
		return nil, fmt.Errorf("a VEX document of %d bytes; at most %d are read", len(data), MaxVEX)
	}
	var d vexDocument
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("not an OpenVEX document: %w", err)
	}
	if !strings.HasPrefix(d.Context, "https://openvex.dev/ns") {
		return nil, fmt.Errorf("not an OpenVEX document: its @context is %q", trim(d.Context, 100))
	}
	if len(d.Statements) > maxStatements {
		return nil, fmt.Errorf("a VEX document of more than %d statements", maxStatements)
	}
	v := &VEX{ID: trim(d.ID, 1024), Author: trim(d.Author, 512), Time: milli(d.Timestamp), Version: d.Version}
	products := 0
	for i := range d.Statements {
		s, err := d.Statements[i].read(v.Time)
		if err != nil {
			return nil, fmt.Errorf("statement %d of the VEX document: %w", i+1, err)
		}
		for _, p := range s.Products {
			products += 1 + len(p.Parts)
		}
		if products > maxProducts {
			return nil, fmt.Errorf("a VEX document of more than %d products", maxProducts)
		}
		v.Statements = append(v.Statements, s)
	}
	return v, nil
}

func (d *vexStatement) read(documented int64) (Statement, error) {
	s := Statement{
		Vulnerability: d.Vulnerability.Name, Status: d.Status, Justification: d.Justification,
		Notes: trim(firstOf(d.StatusNotes, d.ImpactStatement, d.ActionStatement), MaxDetails), Time: milli(d.Timestamp),
	}
	if s.Time == 0 {
		s.Time = documented
	}
	if s.Vulnerability == "" {
		s.Vulnerability = d.Vulnerability.ID
	}
	if s.Vulnerability == "" || len(s.Vulnerability) > maxID {
		return s, errors.New("it names no vulnerability")
	}
	switch s.Status {
	case VEXNotAffected:
		if s.Justification == "" && d.ImpactStatement == "" {
			return s, errors.New("not_affected without a justification or an impact statement")
		}
	case VEXAffected, VEXFixed, VEXInvestigating:
	default:
		return s, fmt.Errorf("%q is no status of OpenVEX", trim(string(s.Status), 64))
	}
	if s.Justification != "" && !slices.Contains(justifications, s.Justification) {
		return s, fmt.Errorf("%q is no justification of OpenVEX", trim(s.Justification, 64))
	}
	s.Aliases = without(d.Vulnerability.Aliases, s.Vulnerability)
	for i := range d.Products {
		p := Product{ID: d.Products[i].name()}
		for n := range d.Products[i].Subcomponents {
			p.Parts = append(p.Parts, d.Products[i].Subcomponents[n].name())
		}
		s.Products = append(s.Products, p)
	}
	return s, nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// Suppressions are what the document sets aside: its statements not_affected and
// fixed, unless a later one takes them back. A product that is an image (a
// package URL of type oci, or a digest) holds for that digest only, in the place;
// one that is a package holds for all of the place. Statements without products
// set nothing aside. by is who vouches for the document; expires is 0 or ms.
func (v *VEX) Suppressions(at Place, by string, expires int64) []Suppression {
	latest := map[[3]string]int{} // vulnerability, product, part → statement
	var order [][3]string
	for i := range v.Statements {
		s := &v.Statements[i]
		for _, p := range s.Products {
			parts := p.Parts
			if len(parts) == 0 {
				parts = []string{""}
			}
			for _, part := range parts {
				k := [3]string{s.Vulnerability, p.ID, part}
				old, ok := latest[k]
				if !ok {
					order = append(order, k)
				}
				if !ok || s.Time >= v.Statements[old].Time {
					latest[k] = i
				}
			}
		}
	}
	var out []Suppression
	for _, k := range order {
		s := &v.Statements[latest[k]]
		if x, ok := s.suppression(k[1], k[2], at); ok {
			x.By, x.Expires = by, expires
			out = append(out, x)
		}
	}
	return out
}

func (s *Statement) suppression(product, part string, at Place) (Suppression, bool) {
	x := Suppression{
		Vulnerability: s.Vulnerability, Registry: at.Registry, Repository: at.Repository, Digest: at.Digest,
		Justification: s.Justification, Reason: s.Notes, Created: s.Time,
	}
	switch s.Status {
	case VEXNotAffected:
		x.Disposition = NotAffected
	case VEXFixed:
		x.Disposition = FixedHere
	default:
		return x, false
	}
	if x.Reason == "" {
		x.Reason = "VEX: " + string(s.Status)
	}
	digest := imageDigest(product)
	switch {
	case digest != "":
		if at.Digest != "" && at.Digest != digest {
			return x, false
		}
		x.Digest, x.PURL = digest, part
	case part != "":
		return x, false // a part of something that is no image: which one is not known
	default:
		x.PURL = product
	}
	if x.PURL != "" {
		if _, ok := parsePURL(x.PURL); !ok {
			return x, false
		}
	}
	return x, true
}

// imageDigest is the digest in sha256:…, name@sha256:… and pkg:oci/name@sha256:….
func imageDigest(product string) string {
	if u, ok := parsePURL(product); ok {
		if u.Type == "oci" && strings.HasPrefix(u.Version, "sha256:") {
			return u.Version
		}
		return ""
	}
	if i := strings.LastIndex(product, "sha256:"); i == 0 || i > 0 && product[i-1] == '@' {
		return product[i:]
	}
	return ""
}

// WriteVEX is the OpenVEX document that says of one image what the suppressions
// do, each with the package URL that it is about. The bytes depend on the
// arguments alone.
func WriteVEX(id, author string, at Place, list []Suppression, now int64) ([]byte, error) {
	stamp := time.UnixMilli(now).UTC()
	d := vexDocument{Context: vexContext, ID: id, Author: author, Timestamp: &stamp, Version: 1, Statements: []vexStatement{}}
	for i := range list {
		s := &list[i]
		if s.Vulnerability == "" || !s.at(at) || !s.Active(now) || s.Check() != nil {
			continue
		}
		if s.PURL == "" && (s.Package != "" || s.Path != "") {
			continue // OpenVEX has no words for it, and without them it would say more
		}
		created := time.UnixMilli(s.Created).UTC()
		st := vexStatement{
			Vulnerability: vexVulnerability{Name: s.Vulnerability}, Timestamp: &created, Justification: s.Justification,
		}
		switch s.Disposition {
		case FixedHere:
			st.Status, st.StatusNotes = VEXFixed, s.Reason
		case Accepted:
			st.Status, st.ActionStatement = VEXAffected, "accepted: "+s.Reason
		default:
			st.Status, st.ImpactStatement = VEXNotAffected, s.Reason
		}
		if st.Status != VEXNotAffected {
			st.Justification = ""
		}
		p := vexProduct{vexComponent: vexComponent{ID: ociPURL(at.Repository, at.Digest)}}
		if s.PURL != "" {
			p.Subcomponents = []vexComponent{{ID: s.PURL}}
		}
		st.Products = []vexProduct{p}
		d.Statements = append(d.Statements, st)
	}
	return json.MarshalIndent(d, "", "  ")
}
