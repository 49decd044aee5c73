package ecr

import "strings"

// A Call is a request as the audit trail tells of it. The edge that answers
// fills it in; the core writes it with what the call changes.
type Call struct {
	Service string // ecr.amazonaws.com
	Name    string // of the operation of the API: PutImage
	// Parameters are the call's input, a JSON object without secrets; nil
	// where Repository, Digest and Tag say it all.
	Parameters  []byte
	Repository  RepositoryID // the account may be empty: the caller's own
	Digest, Tag string
	// Code and Message are of the error that was answered, if one was.
	Code, Message string
	// Recorded says that the event log has the call, and with it its outcome.
	Recorded bool
}

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
func (c *Call) Fail(code, message string) { c.Code, c.Message = code, message }
