package advisor

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// Bounds on what an index may name.
const (
	maxImages  = 200
	maxNesting = 3
)

// A Platform is an image that a reference leads to: the image itself, or one that
// its index names.
type Platform struct {
	Digest string
	Name   string // linux/arm64, linux/arm/v7; "" if no index told
}

// A Target is what a reference named at one moment.
type Target struct {
	Reference
	Digest       string    // of what the reference names, be it an index
	PushedAt     time.Time // zero if not known
	Images       []Platform
	Attestations int // of builds, which the index names beside the images
}

// indexTypes are the media types of indexes, manifestTypes of all manifests.
var (
	indexTypes    = []string{"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
	manifestTypes = append([]string{"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}, indexTypes...)
)

// Resolve finds the images that a reference leads to. From then on they are
// spoken of by digest: a tag that moves makes no difference.
func (e *Endpoint) Resolve(ctx context.Context, ref Reference) (*Target, error) {
	id := types.ImageIdentifier{}
	if ref.Digest != "" {
		id.ImageDigest = &ref.Digest
	} else {
		id.ImageTag = &ref.Tag
	}
	in := &ecr.DescribeImagesInput{RepositoryName: &ref.Repository, ImageIds: []types.ImageIdentifier{id}}
	if ref.Registry != "" {
		in.RegistryId = &ref.Registry
	}
	out, err := e.ECR.DescribeImages(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(out.ImageDetails) != 1 || aws.ToString(out.ImageDetails[0].ImageDigest) == "" {
		return nil, fmt.Errorf("DescribeImages told of %d images named %s", len(out.ImageDetails), ref)
	}
	d := out.ImageDetails[0]
	t := &Target{Reference: ref, Digest: *d.ImageDigest, PushedAt: aws.ToTime(d.ImagePushedAt)}
	if ref.Digest != "" && ref.Digest != t.Digest {
		return nil, fmt.Errorf("DescribeImages told of %s instead of %s", t.Digest, ref.Digest)
	}
	if !slices.Contains(indexTypes, aws.ToString(d.ImageManifestMediaType)) {
		t.Images = []Platform{{Digest: t.Digest}}
		return t, nil
	}
	if err := e.descend(ctx, t, t.Digest, 1); err != nil {
		return nil, err
	}
	if len(t.Images) == 0 {
		return nil, fmt.Errorf("%s is an index that names no image", ref)
	}
	return t, nil
}

// descend adds the images that an index names.
func (e *Endpoint) descend(ctx context.Context, t *Target, index string, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("%s: indexes within indexes, more than %d deep", t.Reference, maxNesting)
	}
	text, err := e.manifest(ctx, t.Reference, index)
	if err != nil {
		return err
	}
	entries, err := parseIndex(text)
	if err != nil {
		return fmt.Errorf("index %s: %w", t.At(index), err)
	}
	for _, m := range entries {
		switch {
		case m.attestation():
			t.Attestations++
		case slices.Contains(indexTypes, m.MediaType):
			if err := e.descend(ctx, t, m.Digest, depth+1); err != nil {
				return err
			}
		case !slices.ContainsFunc(t.Images, func(p Platform) bool { return p.Digest == m.Digest }):
			t.Images = append(t.Images, Platform{Digest: m.Digest, Name: m.name()})
		}
		if len(t.Images) > maxImages {
			return fmt.Errorf("%s: an index of more than %d images", t.Reference, maxImages)
		}
	}
	return nil
}

// manifest reads a manifest and checks it against its digest.
func (e *Endpoint) manifest(ctx context.Context, ref Reference, of string) (string, error) {
	in := &ecr.BatchGetImageInput{
		RepositoryName: &ref.Repository, ImageIds: []types.ImageIdentifier{{ImageDigest: &of}}, AcceptedMediaTypes: manifestTypes,
	}
	if ref.Registry != "" {
		in.RegistryId = &ref.Registry
	}
	out, err := e.ECR.BatchGetImage(ctx, in)
	if err != nil {
		return "", err
	}
	for _, f := range out.Failures {
		return "", fmt.Errorf("%s: %s: %s", ref.At(of), f.FailureCode, aws.ToString(f.FailureReason))
	}
	if len(out.Images) != 1 {
		return "", fmt.Errorf("BatchGetImage gave %d images for %s", len(out.Images), ref.At(of))
	}
	text := aws.ToString(out.Images[0].ImageManifest)
	if !isDigestOf(of, text) {
		return "", fmt.Errorf("the manifest that BatchGetImage gave for %s has another digest", ref.At(of))
	}
	return text, nil
}

func isDigestOf(digest, text string) bool {
	if strings.HasPrefix(digest, "sha512:") {
		return digest == fmt.Sprintf("sha512:%x", sha512.Sum512([]byte(text)))
	}
	return digest == fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
}

// An indexEntry is a descriptor in an index.
type indexEntry struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
	Platform    struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	} `json:"platform"`
}

func parseIndex(text string) ([]indexEntry, error) {
	var index struct {
		Manifests []indexEntry `json:"manifests"`
	}
	if err := json.Unmarshal([]byte(text), &index); err != nil {
		return nil, err
	}
	for _, m := range index.Manifests {
		if !digestText.MatchString(m.Digest) {
			return nil, errors.New("it names a manifest by something that is no digest")
		}
	}
	return index.Manifests, nil
}

// attestation reports whether the entry is what a build says of its images.
// Nothing runs it: its platform is one that there is not.
func (m *indexEntry) attestation() bool {
	return m.Annotations["vnd.docker.reference.type"] == "attestation-manifest" && m.Platform.OS == "unknown" && m.Platform.Architecture == "unknown"
}

func (m *indexEntry) name() string {
	if m.Platform.OS == "" && m.Platform.Architecture == "" {
		return ""
	}
	name := m.Platform.OS + "/" + m.Platform.Architecture
	if m.Platform.Variant != "" {
		name += "/" + m.Platform.Variant
	}
	return name
}

// Only keeps the images of the platforms, written linux/amd64 or linux/arm/v7; one
// without a variant stands for all. Each must be there. Of an image without an
// index the platform is not known, and it is kept.
func (t *Target) Only(platforms []string) error {
	if len(platforms) == 0 || len(t.Images) == 1 && t.Images[0].Name == "" {
		return nil
	}
	var kept []Platform
	for _, want := range platforms {
		found := false
		for _, p := range t.Images {
			if p.Name == want || strings.HasPrefix(p.Name, want+"/") && strings.Count(want, "/") == 1 {
				found = true
				if !slices.Contains(kept, p) {
					kept = append(kept, p)
				}
			}
		}
		if !found {
			return fmt.Errorf("%s has no image for %s; it has %s", t.Reference, want, t.platforms())
		}
	}
	t.Images = kept
	return nil
}

func (t *Target) platforms() string {
	var names []string
	for _, p := range t.Images {
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	if names == nil {
		return "none that says its platform"
	}
	return strings.Join(names, ", ")
}

// One is the only image of the target.
func (t *Target) One() (Platform, error) {
	if len(t.Images) == 1 {
		return t.Images[0], nil
	}
	return Platform{}, fmt.Errorf("%s has an image for each of %s: say which with --platform", t.Reference, t.platforms())
}
