package ecr

import "time"

// An ImageInUse is a report that an image is in use: nothing that runs by
// itself deletes or archives it before the report expires.
type ImageInUse struct {
	Repository string // of the account; "" means any
	Digest     string
	Source     string // who reports, such as a cluster
	ReportedAt time.Time
	ExpiresAt  time.Time
}

// An ImageReference names an image as somebody who uses it does: by what its
// members say, or all in one text, URI.
type ImageReference struct {
	Repository, Digest, Tag string
	URI                     string // [HOST/]REPOSITORY[:TAG][@DIGEST], or a digest
}

// An InUseFailure is a reference that could not be reported, and why.
type InUseFailure struct {
	Reference ImageReference
	Code      string // InvalidReference, RepositoryNotFound, ImageNotFound
	Reason    string
}
