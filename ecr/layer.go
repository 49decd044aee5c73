package ecr

import "time"

// A Layer is a blob as one repository has it.
type Layer struct {
	Digest    string
	Size      int64 // bytes
	Available bool  // false only in the answer to a question after one that is not there
}

// A LayerFailure says why one layer of a batch was left out (ECR API,
// LayerFailure).
type LayerFailure struct {
	Digest string
	Code   string
	Reason string
}

// An Upload is a layer on its way in.
type Upload struct {
	ID         string // UUID
	Repository RepositoryID
	Size       int64 // bytes received and kept so far
	ExpiresAt  time.Time
}
