package vuln

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Names of properties in Ecru's CycloneDX documents.
const (
	propertyLayer = "ecru:layer" // digest of the layer that brought the package
	propertyPath  = "ecru:path"  // of its evidence
	propertyOwned = "ecru:owned" // "true": a package of the operating system brought it
)

// CycloneDX is the image's SBOM, CycloneDX 1.6, JSON. The bytes depend on the
// image and the subject alone.
func (img *Image) CycloneDX(s Subject) ([]byte, error) {
	root := cdx.Component{
		BOMRef: "image", Type: cdx.ComponentTypeContainer, Name: s.Repository, Version: s.Digest,
		PackageURL: ociPURL(s.Repository, s.Digest),
	}
	components := []cdx.Component{}
	if img.OS.ID != "" {
		components = append(components, cdx.Component{
			BOMRef: "os", Type: cdx.ComponentTypeOS, Name: img.OS.ID, Version: img.OS.VersionID, Description: img.OS.PrettyName,
		})
	}
	for _, p := range img.list() {
		components = append(components, p.component(s.layer(p.Layer)))
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = serial(s)
	bom.Metadata = &cdx.Metadata{
		Timestamp: s.time(), Component: &root,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "ecru"}}},
	}
	bom.Components = &components
	refs := make([]string, len(components))
	for i := range components {
		refs[i] = components[i].BOMRef
	}
	bom.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &refs}}
	var out bytes.Buffer
	err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
	if err != nil {
		return nil, fmt.Errorf("the SBOM of %s cannot be written: %w", s.Digest, err)
	}
	return out.Bytes(), nil
}

func (p *listed) component(layer string) cdx.Component {
	c := cdx.Component{BOMRef: p.ref, Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: p.purl}
	var licenses cdx.Licenses
	for _, l := range p.Licenses {
		licenses = append(licenses, cdx.LicenseChoice{License: &cdx.License{Name: l}})
	}
	if licenses != nil {
		c.Licenses = &licenses
	}
	var properties []cdx.Property
	set := func(name, value string) {
		if value != "" {
			properties = append(properties, cdx.Property{Name: name, Value: value})
		}
	}
	set(propertyLayer, layer)
	set(propertyPath, p.Path)
	if p.Owned {
		set(propertyOwned, "true")
	}
	if properties != nil {
		c.Properties = &properties
	}
	return c
}

// serial is a UUID (RFC 9562, version 8) of the subject's digest.
func serial(s Subject) string {
	u := sha256.Sum256([]byte("ecru sbom " + s.Repository + "@" + s.Digest))
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// cdxDocument is what of a CycloneDX document counts. Others' documents are read
// more freely than the specification's own types allow.
type cdxDocument struct {
	Components []cdxComponent
}

type cdxComponent struct {
	Type       string
	Name       string
	Version    string
	PURL       string `json:"purl"`
	Components []cdxComponent
	Properties []struct{ Name, Value string }
	Licenses   []struct {
		Expression string
		License    struct{ ID, Name string }
	}
}

func readCycloneDX(data []byte) (*Image, error) {
	var d cdxDocument
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("not a CycloneDX document: %w", err)
	}
	r := newReader()
	r.components(d.Components, 0)
	return r.done()
}

func (r *reader) components(list []cdxComponent, depth int) {
	if depth > maxNesting {
		r.err = fmt.Errorf("an SBOM whose components lie more than %d deep in each other", maxNesting)
		return
	}
	for i := range list {
		c := &list[i]
		if c.Type == "operating-system" && r.img.OS.ID == "" {
			r.img.OS.ID, r.img.OS.VersionID = trim(c.Name, 64), trim(c.Version, 64)
		}
		r.add(c.PURL, c.property(propertyPath, "syft:location:0:path"), c.property(propertyOwned) == "true", c.licenses())
		r.components(c.Components, depth+1)
		if r.err != nil {
			return
		}
	}
}

// property is the first of the names that the component has.
func (c *cdxComponent) property(names ...string) string {
	for _, n := range names {
		for _, p := range c.Properties {
			if p.Name == n {
				return p.Value
			}
		}
	}
	return ""
}

func (c *cdxComponent) licenses() []string {
	var out []string
	for _, l := range c.Licenses {
		if text := firstOf(l.Expression, l.License.ID, l.License.Name); text != "" && len(out) < 50 {
			out = append(out, trim(text, 256))
		}
	}
	return out
}
