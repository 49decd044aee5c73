package ecr

import "time"

// A LifecyclePolicy is what is known of a repository's lifecycle policy.
type LifecyclePolicy struct {
	Text        string    // as it was put, byte for byte
	ID          string    // changes when the text does
	Version     int64     // counts the times that it was put
	PutAt       time.Time // the last time
	EvaluatedAt time.Time // when it was applied last; zero if it has not been yet
	DueAt       time.Time // when it will be applied next
	LastRun     LifecycleRun
}

// A LifecycleRun is one application of a lifecycle policy to its repository.
type LifecycleRun struct {
	StartedAt time.Time // zero if there was none
	EndedAt   time.Time // zero while it is under way, or if it was broken off
	Expired   int64     // images deleted
	Archived  int64     // images moved to the archive class
	Withheld  int64     // images that a rule would act on, but for an index or a guard
	Guarded   int64     // of these: for a guard; not recorded
	Error     string    // why it failed, in words for who runs the server; "" if it did not
}

// A PreviewStatus is how far a preview of a lifecycle policy has come (ECR API,
// LifecyclePolicyPreviewStatus).
type PreviewStatus string

const (
	PreviewInProgress PreviewStatus = "IN_PROGRESS"
	PreviewComplete   PreviewStatus = "COMPLETE"
	PreviewExpired    PreviewStatus = "EXPIRED" // its results are gone
	PreviewFailed     PreviewStatus = "FAILED"
)

// A LifecyclePreview is what a lifecycle policy would do at the moment that the
// preview was made.
type LifecyclePreview struct {
	Row           int64
	Repository    RepositoryID
	Policy        string // text
	Status        PreviewStatus
	StartedAt     time.Time
	Expiring      int64 // images that would be deleted
	Transitioning int64 // images that would be archived
	Withheld      int64 // images that a rule would act on, but for an index or a guard
}

// A PreviewResult is what a preview says of one image.
type PreviewResult struct {
	Seq      int64 // place in the list, from 1: the oldest first, what is withheld last
	Digest   string
	Tags     []string
	PushedAt time.Time
	Archived bool   // it is in the archive class
	Rule     int64  // priority of the rule that acts on it; 0 if none does
	Action   string // EXPIRE or TRANSITION
	Reason   string // why, in words
	Withheld string // why nothing happens to it all the same, in words; "" if it does
}

// A PreviewFilter narrows the results of a preview.
type PreviewFilter struct {
	IDs       []ImageID // nil: all
	TagStatus string    // TAGGED, UNTAGGED, ANY or ""
	Withheld  bool      // those that are withheld, instead of those that are not
	Explain   bool      // reasons are asked for, which is an action of its own
}

// An ExpiredImage is an image that a lifecycle policy deleted and that can
// still be restored.
type ExpiredImage struct {
	Image            // with the tags that it had
	Key       int64  // of the record
	Pulls     int64  // that were counted
	Rule      int64  // priority of the rule that acted
	Reason    string // why, in words
	ExpiredAt time.Time
	UndoUntil time.Time // it cannot be restored from then on
	Parents   []string  // digests of archived indexes that named it
	Payload   []byte    // the manifest
}
