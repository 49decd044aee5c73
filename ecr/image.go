package ecr

import "time"

// An ImageID names an image by digest, by tag, or by both.
type ImageID struct {
	Digest string
	Tag    string
}

// An Image is an image's record.
type Image struct {
	Repository   RepositoryID
	Row          int64
	Digest       string
	MediaType    string
	ArtifactType string // OCI image spec: artifactType, else the config's media type; "" if neither says more
	Subject      string // digest of the image that this one refers to, or ""
	Annotations  map[string]string
	ManifestSize int64 // bytes of the manifest itself
	// Size is what a pull transfers: config and layers, counted as compressed.
	// For an index it is the largest child's.
	Size         int64
	PushedAt     time.Time
	LastPulledAt time.Time // zero if never recorded
	Status       ImageStatus
	ArchivedAt   time.Time // when it was archived last; zero if never
	ActivatedAt  time.Time // when it was restored last; zero if never
	Tags         []string  // in order; nil where a call says that it leaves them out
	Scan         *Scan     // where its scan stands; nil if there is none, and but for DescribeImages
}

// An ImageStatus is an image's storage state (ECR API, ImageStatus).
type ImageStatus string

const (
	ImageActive     ImageStatus = "ACTIVE"
	ImageArchived   ImageStatus = "ARCHIVED"
	ImageActivating ImageStatus = "ACTIVATING"
)

// A Manifest is an image with the bytes of its manifest, as they were pushed.
type Manifest struct {
	Image
	Tag     string // the tag that it was asked by, or ""
	Payload []byte // read only: shared between callers
}

// An ImageFailure says why one image of a batch was left out (ECR API,
// ImageFailure).
type ImageFailure struct {
	ID     ImageID
	Code   string
	Reason string
}

// An ImageFilter narrows DescribeImages and ListImages.
type ImageFilter struct {
	TagStatus string // TAGGED, UNTAGGED, ANY or ""
	Status    string // ACTIVE (also ""), ARCHIVED, ACTIVATING or ANY
}

// A Page asks for the part of a list that follows Token, Limit items at most.
type Page struct {
	Token string // "" for the first page; opaque, from the call before
	Limit int    // 0 means the call's default
}
