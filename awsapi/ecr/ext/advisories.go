package ext

import "time"

// DescribeAdvisorySourcesInput asks for a page of the advisories, by ecosystem.
type DescribeAdvisorySourcesInput struct {
	NextToken  *string
	MaxResults *int32
}

type DescribeAdvisorySourcesOutput struct {
	Sources     []AdvisorySource
	UpdateState string // waiting, running, failed, or empty
	UpdateError *string
	NextToken   *string
}

type AdvisorySource struct {
	Ecosystem        *string
	Source           *string
	Records          *int64
	NewestModifiedAt *time.Time
	LoadedAt         *time.Time // nil: never
	CheckedAt        *time.Time
	AgeSeconds       *int64
	Failure          *string
}

// StartAdvisoryUpdateInput names an artifact by its repository and its digest or
// tag; empty, it means the server's source.
type StartAdvisoryUpdateInput struct {
	RegistryId     *string
	RepositoryName *string
	ImageDigest    *string
	ImageTag       *string
}

type StartAdvisoryUpdateOutput struct{}
