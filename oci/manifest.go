package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ecruhq/ecru/internal/strictjson"
)

// MaxManifest is the greatest size of a manifest in bytes (OCI Distribution
// 1.1, "Pushing Manifests"; ECR API, ImageManifest).
const MaxManifest = 4 << 20

// maxDescriptors bounds the layers, or children, of one manifest.
const maxDescriptors = 10_000

// Media types of manifests.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeManifest       = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeIndex          = "application/vnd.oci.image.index.v1+json"
	MediaTypeArtifact       = "application/vnd.oci.artifact.manifest.v1+json" // withdrawn before OCI 1.1, still pushed
)

// A Descriptor names content (OCI image spec, descriptor.md).
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"` // bytes
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"`
}

// A Manifest is what Ecru reads of an image manifest or an index.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	ArtifactBlobs []Descriptor      `json:"blobs"`     // of MediaTypeArtifact
	Manifests     []Descriptor      `json:"manifests"` // of an index
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// IsIndex reports whether m is an index or a manifest list.
func (m *Manifest) IsIndex() bool {
	return m.MediaType == MediaTypeIndex || m.MediaType == MediaTypeDockerList
}

// Blobs returns what a registry must have before it takes m: the config and
// the layers, but for those that may lie elsewhere (OCI image spec,
// "Non-Distributable Layers"; Docker's foreign layers). One may come twice.
func (m *Manifest) Blobs() []Descriptor {
	blobs := make([]Descriptor, 0, 1+len(m.Layers)+len(m.ArtifactBlobs))
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	for _, list := range [][]Descriptor{m.Layers, m.ArtifactBlobs} {
		for _, d := range list {
			if !d.foreign() {
				blobs = append(blobs, d)
			}
		}
	}
	return blobs
}

// foreign reports whether d may be fetched from its URLs only.
func (d *Descriptor) foreign() bool {
	return len(d.URLs) > 0 && (strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign."))
}

// EffectiveArtifactType returns the artifact type that a referrers list shows
// (OCI Distribution 1.1, "Listing Referrers"): m's own, else for an image
// manifest its config's media type.
func (m *Manifest) EffectiveArtifactType() string {
	if m.ArtifactType == "" && m.Config != nil && !m.IsIndex() {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

// errSyntax has ECR's words.
var errSyntax = errors.New("Invalid JSON syntax")

// members are the keys that Ecru reads.
var members = []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs",
	"subject", "annotations", "digest", "size", "urls", "platform"}

// Parse reads a manifest that was pushed with a content type, which may be
// empty. It checks the form: that the text is JSON on which all parsers agree,
// the kind of manifest known, every digest and size well-formed. It does not
// look at what the manifest names. The error's text may be shown to the
// caller.
func Parse(payload []byte, contentType string) (*Manifest, error) {
	if len(payload) > MaxManifest {
		return nil, fmt.Errorf("the manifest has %d bytes, at most %d are allowed", len(payload), MaxManifest)
	}
	if err := strictjson.Object(payload, members, "annotations"); errors.Is(err, strictjson.ErrSyntax) {
		return nil, errSyntax
	} else if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(payload, m); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return nil, fmt.Errorf("%s cannot be a %s", typ.Field, typ.Value)
		}
		return nil, errSyntax
	}
	if err := m.setType(contentType); err != nil {
		return nil, err
	}
	return m, m.check()
}

// setType settles m.MediaType (OCI image spec, manifest.md: mediaType, if
// present, must be the content type).
func (m *Manifest) setType(contentType string) error {
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.TrimSpace(contentType)
	switch {
	case contentType == "application/json" || contentType == "application/octet-stream":
		contentType = ""
	case contentType != "" && m.MediaType != "" && contentType != m.MediaType:
		return fmt.Errorf("mediaType %s does not match the content type %s", m.MediaType, contentType)
	}
	if m.MediaType == "" {
		m.MediaType = contentType
	}
	if m.MediaType == "" {
		switch {
		case m.Manifests != nil:
			m.MediaType = MediaTypeIndex
		case m.Config != nil || m.Layers != nil:
			m.MediaType = MediaTypeManifest
		}
	}
	switch m.MediaType {
	case MediaTypeManifest, MediaTypeDockerManifest, MediaTypeIndex, MediaTypeDockerList, MediaTypeArtifact:
		return nil
	case "application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws":
		return errors.New("Docker image manifests of schema 1 are not supported: push with a client of 2017 or later")
	case "":
		return errors.New("the manifest has neither a mediaType nor a content type that tells what it is")
	}
	return fmt.Errorf("%.200q is not the media type of a manifest", m.MediaType)
}

// check checks m's members for its kind.
func (m *Manifest) check() error {
	if m.SchemaVersion != 2 && m.MediaType != MediaTypeArtifact {
		return fmt.Errorf("schemaVersion is %d, want 2", m.SchemaVersion)
	}
	switch {
	case m.IsIndex():
		if m.Config != nil || m.Layers != nil {
			return errors.New("an index has no config and no layers")
		}
	case m.MediaType == MediaTypeArtifact:
		if m.Config != nil || m.Manifests != nil {
			return errors.New("an artifact manifest has no config and no manifests")
		}
	default:
		if m.Manifests != nil {
			return errors.New("an image manifest has no manifests")
		}
		if m.Config == nil {
			return errors.New("the manifest has no config")
		}
	}
	if len(m.Layers)+len(m.Manifests)+len(m.ArtifactBlobs) > maxDescriptors {
		return fmt.Errorf("the manifest names more than %d layers or manifests", maxDescriptors)
	}
	for _, list := range [][]Descriptor{m.Layers, m.ArtifactBlobs, m.Manifests} {
		for i := range list {
			if err := list[i].check(); err != nil {
				return err
			}
		}
	}
	for _, d := range []*Descriptor{m.Config, m.Subject} {
		if d != nil {
			if err := d.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Descriptor) check() error {
	if _, err := ParseDigest(string(d.Digest)); err != nil {
		return fmt.Errorf("%.100q is %w", string(d.Digest), err)
	}
	if d.Size < 0 {
		return fmt.Errorf("%s has a negative size", d.Digest)
	}
	return nil
}
