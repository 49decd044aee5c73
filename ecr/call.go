package ecr

import "strings"

// A Call is a request as the audit trail tells of it. The edge that answers
// fills it in; the core writes it with what the call changes.
type Call struct {
	Service string // ecr.amazonaws.com
	Name    string // of the operation of the API: PutImage
	Region  string
	// Parameters are the call's input, a JSON object without secrets; nil
	// where Repository, Digest, Tag and Layer say it all.
	Parameters         []byte
	Repository         RepositoryID // the account may be empty: the caller's own
	Digest, Tag, Layer string
	Registry           bool // the call is one of OCI Distribution
	// Code and Message are of the error that was answered, if one was.
	Code, Message string
	// Recorded says which outcome the event log has with the call.
	Recorded Recorded
}

// Recorded is what the event log has of a call.
type Recorded int

const (
	NotRecorded    Recorded = iota
	RecordedChange          // with what it changed; void if the call fails after all
	RecordedDenial
)

// ReadOnly reports whether an operation only reads, from its name as all AWS
// services form them.
func (c *Call) ReadOnly() bool {
	for _, verb := range [...]string{"Get", "List", "Describe", "BatchGet", "BatchCheck", "Lookup", "Decode", "Simulate"} {
		if strings.HasPrefix(c.Name, verb) {
			return true
		}
	}
	return false
}

// Fail notes the error that a call is answered with.
func (c *Call) Fail(code, message string) {
	if code == "AccessDeniedException" {
		code = "AccessDenied" // as CloudTrail has it
	}
	c.Code, c.Message = code, message
}
