package vuln

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Media types of SBOMs, also their artifact types as referrers.
const (
	CycloneDXType = "application/vnd.cyclonedx+json"
	SPDXType      = "application/spdx+json"
)

// Bounds on an SBOM that is read.
const (
	MaxSBOM       = 64 << 20 // bytes of JSON
	maxComponents = 200_000
	maxNesting    = 16
)

// A Subject is the image that an SBOM is of.
type Subject struct {
	Repository string
	Digest     string
	Created    int64    // ms, from the image's configuration: no other time is in the SBOM
	Layers     []string // digests, from the lowest
}

func (s *Subject) time() string { return time.UnixMilli(s.Created).UTC().Format(time.RFC3339) }

func (s *Subject) layer(i int) string {
	if i < 0 || i >= len(s.Layers) {
		return ""
	}
	return s.Layers[i]
}

// A listed package is one in the order of SBOMs.
type listed struct {
	*Installed
	purl string
	ref  string // names it within the document, the same in each
}

// list puts the packages in order: that of the inventory is of no account to
// the bytes of an SBOM.
func (img *Image) list() []listed {
	out := make([]listed, len(img.Packages))
	for i := range img.Packages {
		p := &img.Packages[i]
		out[i] = listed{Installed: p, purl: img.PURL(p)}
	}
	slices.SortStableFunc(out, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.purl, b.purl), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Layer, b.Layer),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	seen := map[string]int{}
	for i := range out {
		p := &out[i]
		sum := sha256.Sum256([]byte(string(p.Kind) + "\x00" + p.Name + "\x00" + p.Version + "\x00" + p.Arch + "\x00" + p.Path))
		p.ref = string(p.Kind) + "-" + hex.EncodeToString(sum[:8])
		if n := seen[p.ref]; n > 0 {
			p.ref += fmt.Sprintf("-%d", n+1)
			seen[p.ref]++
		}
		seen[p.ref]++
	}
	return out
}

// ReadSBOM reads an SBOM, CycloneDX or SPDX, JSON, whoever made it. The image is
// marked as Sourced; it has the packages whose package URLs Ecru knows.
func ReadSBOM(data []byte) (*Image, error) {
	if len(data) > MaxSBOM {
		return nil, fmt.Errorf("an SBOM of %d bytes; at most %d are read", len(data), MaxSBOM)
	}
	var head struct {
		Format string `json:"bomFormat"`
		SPDX   string `json:"spdxVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("not an SBOM of JSON: %w", err)
	}
	switch {
	case head.Format == "CycloneDX":
		return readCycloneDX(data)
	case strings.HasPrefix(head.SPDX, "SPDX-2."):
		return readSPDX(data)
	}
	return nil, errors.New("not an SBOM that is known: neither CycloneDX nor SPDX 2")
}

// A distroKey is a distribution that packages tell of.
type distroKey struct{ id, version, codename string }

// A reader collects the packages of an SBOM.
type reader struct {
	img     *Image
	distros map[distroKey]int
	order   []distroKey
	err     error
}

func newReader() *reader {
	return &reader{img: &Image{Status: LayerComplete, Sourced: true}, distros: map[distroKey]int{}}
}

func (r *reader) add(purl, path string, owned bool, licenses []string) {
	if r.err != nil || purl == "" {
		return
	}
	p, distro, ok := FromPURL(purl)
	if !ok {
		return
	}
	if len(r.img.Packages) == maxComponents {
		r.err = fmt.Errorf("an SBOM of more than %d packages", maxComponents)
		return
	}
	p.Path, p.Owned, p.Licenses = trim(path, 4096), owned, licenses
	r.img.Packages = append(r.img.Packages, p)
	if distro.ID != "" {
		key := distroKey{distro.ID, distro.VersionID, distro.Codename}
		if r.distros[key] == 0 {
			r.order = append(r.order, key)
		}
		r.distros[key]++
	}
}

// done picks the distribution that most packages tell of, unless the SBOM named
// it.
func (r *reader) done() (*Image, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.img.OS.ID == "" {
		best := 0
		for _, o := range r.order {
			if n := r.distros[o]; n > best {
				best = n
				r.img.OS.ID, r.img.OS.VersionID, r.img.OS.Codename = o.id, o.version, o.codename
			}
		}
	}
	slices.SortStableFunc(r.img.Packages, func(a, b Installed) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path))
	})
	return r.img, nil
}
