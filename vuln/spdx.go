package vuln

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const noAssertion = "NOASSERTION"

// What Ecru writes before the path of a package's evidence, and before the
// digest of its layer.
const (
	spdxPath  = "evidence: "
	spdxLayer = "layer: "
	spdxOwned = "owned by the operating system"
)

// SPDX is the image's SBOM, SPDX 2.3, JSON. The bytes depend on the image and
// the subject alone.
func (img *Image) SPDX(s Subject) ([]byte, error) {
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      s.Repository + "@" + s.Digest,
		DocumentNamespace: "https://spdx.org/spdxdocs/ecru-" + strings.TrimPrefix(serial(s), "urn:uuid:"),
		CreationInfo:      &spdx.CreationInfo{Creators: []common.Creator{{CreatorType: "Tool", Creator: "ecru"}}, Created: s.time()},
	}
	image := spdxPackage("Image", s.Repository, s.Digest, ociPURL(s.Repository, s.Digest))
	image.PrimaryPackagePurpose = "CONTAINER"
	doc.Packages = append(doc.Packages, image)
	doc.Relationships = append(doc.Relationships, relationship("DOCUMENT", "DESCRIBES", "Image"))
	add := func(p *spdx.Package) {
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, relationship("Image", "CONTAINS", string(p.PackageSPDXIdentifier)))
	}
	if img.OS.ID != "" {
		system := spdxPackage("OS", img.OS.ID, img.OS.VersionID, "")
		system.PrimaryPackagePurpose, system.PackageSummary = "OPERATING-SYSTEM", img.OS.PrettyName
		add(system)
	}
	for _, p := range img.list() {
		x := spdxPackage("Package-"+p.ref, p.Name, p.Version, p.purl)
		if p.Path != "" {
			x.PackageSourceInfo = spdxPath + p.Path
		}
		var remarks []string
		if l := s.layer(p.Layer); l != "" {
			remarks = append(remarks, spdxLayer+l)
		}
		if p.Owned {
			remarks = append(remarks, spdxOwned)
		}
		x.PackageComment = strings.Join(remarks, "; ")
		if len(p.Licenses) > 0 {
			x.PackageLicenseComments = strings.Join(p.Licenses, ", ")
		}
		add(x)
	}
	var out bytes.Buffer
	if err := spdxjson.Write(doc, &out, spdxjson.Indent("  "), spdxjson.EscapeHTML(false)); err != nil {
		return nil, fmt.Errorf("the SBOM of %s cannot be written: %w", s.Digest, err)
	}
	return out.Bytes(), nil
}

func spdxPackage(id, name, version, purl string) *spdx.Package {
	p := &spdx.Package{
		PackageName: name, PackageSPDXIdentifier: common.ElementID(id), PackageVersion: version,
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion,
		PackageCopyrightText: noAssertion,
	}
	if purl != "" {
		p.PackageExternalReferences = []*spdx.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: purl}}
	}
	return p
}

func relationship(from, kind, to string) *spdx.Relationship {
	return &spdx.Relationship{
		RefA: common.MakeDocElementID("", from), RefB: common.MakeDocElementID("", to), Relationship: kind,
	}
}

// spdxDocument is what of an SPDX 2 document counts.
type spdxDocument struct {
	Packages []struct {
		Name       string
		Version    string `json:"versionInfo"`
		Purpose    string `json:"primaryPackagePurpose"`
		SourceInfo string
		Declared   string `json:"licenseDeclared"`
		Comments   string `json:"licenseComments"`
		Comment    string
		Refs       []struct {
			Type    string `json:"referenceType"`
			Locator string `json:"referenceLocator"`
		} `json:"externalRefs"`
	}
}

func readSPDX(data []byte) (*Image, error) {
	var d spdxDocument
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("not an SPDX document: %w", err)
	}
	r := newReader()
	for i := range d.Packages {
		p := &d.Packages[i]
		if p.Purpose == "OPERATING-SYSTEM" && r.img.OS.ID == "" {
			r.img.OS.ID, r.img.OS.VersionID = trim(p.Name, 64), trim(p.Version, 64)
		}
		var licenses []string
		if p.Declared != "" && p.Declared != noAssertion && p.Declared != "NONE" {
			licenses = []string{trim(p.Declared, 256)}
		} else if p.Comments != "" {
			licenses = []string{trim(p.Comments, 256)}
		}
		path, ok := strings.CutPrefix(p.SourceInfo, spdxPath)
		if !ok {
			path = ""
		}
		for _, ref := range p.Refs {
			if ref.Type == "purl" {
				r.add(ref.Locator, path, strings.HasSuffix(p.Comment, spdxOwned), licenses)
				break
			}
		}
	}
	return r.done()
}
