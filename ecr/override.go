package ecr

import "time"

// An Override sets findings of scans aside until it expires. What is "" is for
// all; one of Vulnerability, Package and Path is not.
type Override struct {
	ID            int64
	Account       string
	Repository    string
	Digest        string
	Vulnerability string
	Package       string
	Path          string
	Status        string // NOT_AFFECTED, FIXED, FALSE_POSITIVE, ACCEPTED
	Description   string
	Author        string // ARN
	CreatedAt     time.Time
	ExpiresAt     time.Time
}
