package ext

import "time"

// RunLifecyclePolicyInput has a lifecycle policy applied as soon as possible.
type RunLifecyclePolicyInput struct {
	RegistryId     *string
	RepositoryName *string
}

type RunLifecyclePolicyOutput struct {
	RegistryId     *string
	RepositoryName *string
	RequestedAt    *time.Time
}

// DescribeLifecyclePolicyRunInput asks for the last application of a lifecycle
// policy.
type DescribeLifecyclePolicyRunInput struct {
	RegistryId     *string
	RepositoryName *string
}

type DescribeLifecyclePolicyRunOutput struct {
	RegistryId     *string
	RepositoryName *string
	Status         string // NONE, IN_PROGRESS, COMPLETE or FAILED
	StartedAt      *time.Time
	EndedAt        *time.Time
	NextRunAt      *time.Time
	ExpiredImages  *int64
	ArchivedImages *int64
	WithheldImages *int64
	FailureReason  *string
}

// ExplainLifecyclePolicyPreviewInput asks for a page of a preview with reasons.
type ExplainLifecyclePolicyPreviewInput struct {
	RegistryId     *string
	RepositoryName *string
	Withheld       *bool
	NextToken      *string
	MaxResults     *int32
}

type ExplainLifecyclePolicyPreviewOutput struct {
	RegistryId          *string
	RepositoryName      *string
	LifecyclePolicyText *string
	Status              string
	ExpiringImages      *int64
	TransitioningImages *int64
	WithheldImages      *int64
	Images              []ExplainedImage
	NextToken           *string
}

type ExplainedImage struct {
	ImageDigest         *string
	ImageTags           []string
	ImagePushedAt       *time.Time
	Action              string // EXPIRE or TRANSITION
	AppliedRulePriority *int32
	Reason              *string
	WithheldReason      *string
}

// ListExpiredImagesInput asks for a page of what can be restored.
type ListExpiredImagesInput struct {
	RegistryId     *string
	RepositoryName *string
	NextToken      *string
	MaxResults     *int32
}

type ListExpiredImagesOutput struct {
	Images    []ExpiredImage
	NextToken *string
}

type ExpiredImage struct {
	ImageDigest         *string
	ImageTags           []string
	ImagePushedAt       *time.Time
	ImageSizeInBytes    *int64
	AppliedRulePriority *int32
	Reason              *string
	ExpiredAt           *time.Time
	RestorableUntil     *time.Time
}

// RestoreExpiredImagesInput names what is to be restored.
type RestoreExpiredImagesInput struct {
	RegistryId     *string
	RepositoryName *string
	ImageDigests   []string
}

type RestoreExpiredImagesOutput struct {
	Images   []RestoredImage
	Failures []RestoreFailure
}

type RestoredImage struct {
	ImageDigest *string
	ImageTags   []string
	TakenTags   []string
}

type RestoreFailure struct {
	ImageDigest   *string
	FailureCode   string
	FailureReason *string
}
