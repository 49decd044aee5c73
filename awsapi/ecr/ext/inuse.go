package ext

import "time"

// PutImagesInUseInput reports which images a source uses.
type PutImagesInUseInput struct {
	Source     *string
	TtlSeconds *int32
	Replace    *bool
	Images     []InUseReference
}

type PutImagesInUseOutput struct {
	Reported *int32
	Failures []InUseFailure
}

// An InUseReference names an image by ImageUri alone, by RepositoryName with
// ImageDigest or ImageTag, or by ImageDigest alone.
type InUseReference struct {
	RepositoryName *string
	ImageDigest    *string
	ImageTag       *string
	ImageUri       *string
}

type InUseFailure struct {
	Image         *InUseReference
	FailureCode   string
	FailureReason *string
}

// ListImagesInUseInput asks for a page of the reports that have not expired.
type ListImagesInUseInput struct {
	RepositoryName *string
	Source         *string
	NextToken      *string
	MaxResults     *int32
}

type ListImagesInUseOutput struct {
	Images    []InUseImage
	NextToken *string
}

type InUseImage struct {
	RepositoryName *string // nil: any
	ImageDigest    *string
	Source         *string
	ReportedAt     *time.Time
	ExpiresAt      *time.Time
}

// GetLifecycleGuardsInput asks what holds a lifecycle policy back.
type GetLifecycleGuardsInput struct {
	RegistryId     *string
	RepositoryName *string
}

type GetLifecycleGuardsOutput struct {
	RegistryId          *string
	RepositoryName      *string
	PulledWithinSeconds *int64
	KeepLast            []GuardPrefixCount
	ImagesInUse         *int32
}

type GuardPrefixCount struct {
	Prefix *string
	Count  *int32
}
