package ecr

import "time"

// An EventType names what happened.
type EventType string

const (
	RepositoryCreated EventType = "RepositoryCreated"
	RepositoryDeleted EventType = "RepositoryDeleted"
	RepositoryChanged EventType = "RepositoryChanged"
	ImagePushed       EventType = "ImagePushed"
	ImageTagged       EventType = "ImageTagged"
	ImageUntagged     EventType = "ImageUntagged"
	ImageDeleted      EventType = "ImageDeleted"
	StorageArchived   EventType = "ImageArchived"
	StorageRestored   EventType = "ImageRestored"
	ImageScanned      EventType = "ImageScanned"         // Code is the scan's status
	FindingsChanged   EventType = "ImageFindingsChanged" // by new advisories
	OverridePut       EventType = "OverridePut"
	OverrideDeleted   EventType = "OverrideDeleted"
	OverrideExpiring  EventType = "OverrideExpiring" // in a week
	OverrideExpired   EventType = "OverrideExpired"
	ImageReplicated   EventType = "ImageReplicated" // by another registry, which its principal tells; follows the event of the push
	LayerPushed       EventType = "LayerPushed"
	LayerMounted      EventType = "LayerMounted"
	LayerUnlinked     EventType = "LayerUnlinked"
	RegistryChanged   EventType = "RegistryChanged"
	IdentityChanged   EventType = "IdentityChanged"
	SessionStarted    EventType = "SessionStarted"
	CallDenied        EventType = "CallDenied"

	LifecyclePolicyExecuted  EventType = "LifecyclePolicyExecuted"
	LifecyclePolicyPreviewed EventType = "LifecyclePolicyPreviewed"
)

// An Event is one entry of the event log. It is written in the transaction of
// the change that it records.
type Event struct {
	ID         int64 // set by the log; grows
	At         time.Time
	Type       EventType
	Action     string // the IAM action, ecr:PutImage
	Repository RepositoryID
	Digest     string
	Tag        string
	Principal  string // ARN
	SourceIP   string
	UserAgent  string
	RequestID  string
	Code       string // error code of a denied call, the status of a scan, the ID of an override; else ""

	// Of an event that is being written: who calls, for the audit trail, and
	// how many calls like this one it stands for (0 means one).
	Caller Caller
	Count  int
	// Of an event that is being written and that no call made: what the audit
	// trail tells of it; nil: nothing.
	Service *ServiceEvent
}

// A ServiceEvent is something that the server did by itself, as the audit trail
// tells of it (CloudTrail user guide, "Non-API events captured by CloudTrail").
type ServiceEvent struct {
	ID      string // unique
	Source  string // ecr.amazonaws.com
	Name    string // PolicyExecutionEvent
	Region  string
	Details []byte // JSON object, serviceEventDetails
}
