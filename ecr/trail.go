package ecr

import (
	"encoding/json"
	"strings"
	"time"
)

// A TrailRecord is a call as the audit trail has it (CloudTrail user guide,
// "CloudTrail record contents", event version 1.09).
type TrailRecord struct {
	EventVersion        string          `json:"eventVersion"`
	UserIdentity        TrailIdentity   `json:"userIdentity"`
	EventTime           string          `json:"eventTime"` // RFC 3339, to the second
	EventSource         string          `json:"eventSource"`
	EventName           string          `json:"eventName"`
	AWSRegion           string          `json:"awsRegion"`
	SourceIPAddress     string          `json:"sourceIPAddress"`
	UserAgent           string          `json:"userAgent"`
	ErrorCode           string          `json:"errorCode,omitempty"`
	ErrorMessage        string          `json:"errorMessage,omitempty"`
	RequestParameters   json.RawMessage `json:"requestParameters"`
	ResponseElements    json.RawMessage `json:"responseElements"` // always null
	AdditionalEventData *TrailMore      `json:"additionalEventData,omitempty"`
	RequestID           string          `json:"requestID,omitempty"`
	EventID             string          `json:"eventID"`
	ReadOnly            bool            `json:"readOnly"`
	Resources           []TrailResource `json:"resources,omitempty"`
	EventType           string          `json:"eventType"`
	ServiceEventDetails json.RawMessage `json:"serviceEventDetails,omitempty"`
	ManagementEvent     bool            `json:"managementEvent"`
	RecipientAccountID  string          `json:"recipientAccountId"`
	EventCategory       string          `json:"eventCategory"`
}

// TrailIdentity is who made a call (CloudTrail user guide, "CloudTrail
// userIdentity element").
type TrailIdentity struct {
	Type             string        `json:"type,omitempty"`
	PrincipalID      string        `json:"principalId,omitempty"`
	ARN              string        `json:"arn,omitempty"`
	AccountID        string        `json:"accountId,omitempty"`
	AccessKeyID      string        `json:"accessKeyId,omitempty"`
	UserName         string        `json:"userName,omitempty"`
	InvokedBy        string        `json:"invokedBy,omitempty"`
	SessionContext   *TrailSession `json:"sessionContext,omitempty"`
	IdentityProvider string        `json:"identityProvider,omitempty"`
}

// TrailSession is the session that a call was made in.
type TrailSession struct {
	SessionIssuer *TrailIdentity `json:"sessionIssuer,omitempty"`
	Attributes    struct {
		CreationDate     string `json:"creationDate"`
		MFAAuthenticated string `json:"mfaAuthenticated"`
	} `json:"attributes"`
	SourceIdentity string `json:"sourceIdentity,omitempty"`
}

// TrailMore is what Ecru tells beside CloudTrail's members.
type TrailMore struct {
	// Calls is how many calls like this one the record stands for, where there
	// were too many at once to have a record each; 0 means one.
	Calls int `json:"calls,omitempty"`
	// Registry says that the call was one of OCI Distribution.
	Registry bool `json:"registry,omitempty"`
}

// TrailResource is what a call was about.
type TrailResource struct {
	ARN       string `json:"ARN"`
	AccountID string `json:"accountId"`
	Type      string `json:"type"`
}

const (
	maxTrailText = 1024 // of an error's message, in bytes
	trailVersion = "1.09"
)

// Trail returns the record of an event's call, or of one that has none but a
// Service.
func (e *Event) Trail() TrailRecord {
	if e.Service != nil {
		return e.serviceTrail()
	}
	c, call := &e.Caller, e.Caller.Call
	r := TrailRecord{
		EventVersion: trailVersion, UserIdentity: c.trail(), EventTime: e.At.UTC().Format(time.RFC3339),
		EventSource: call.Service, EventName: call.Name, AWSRegion: call.Region, SourceIPAddress: e.SourceIP, UserAgent: e.UserAgent,
		ErrorCode: e.Code, ErrorMessage: call.Message, RequestParameters: call.Parameters, RequestID: e.RequestID, EventID: e.RequestID,
		ReadOnly: call.ReadOnly(), EventType: "AwsApiCall", ManagementEvent: true, RecipientAccountID: e.Repository.Account, EventCategory: "Management",
	}
	if len(r.ErrorMessage) > maxTrailText {
		r.ErrorMessage = strings.ToValidUTF8(r.ErrorMessage[:maxTrailText], "") + "…"
	}
	if r.RecipientAccountID == "" && c.Principal != nil {
		r.RecipientAccountID = c.Account
	}
	if !c.SourceIP.IsValid() {
		r.SourceIPAddress = "localhost"
	}
	if e.Repository.Name != "" {
		r.Resources = []TrailResource{{e.Repository.ARN(call.Region), e.Repository.Account, "AWS::ECR::Repository"}}
	}
	if r.RequestParameters == nil {
		r.RequestParameters = call.parameters(e.Repository)
	}
	if e.Count > 1 || call.Registry {
		r.AdditionalEventData = &TrailMore{Registry: call.Registry}
		if e.Count > 1 {
			r.AdditionalEventData.Calls = e.Count
		}
	}
	return r
}

// serviceTrail returns the record of an event that no call made.
func (e *Event) serviceTrail() TrailRecord {
	const internal = "AWS Internal" // what CloudTrail says, and programs look for
	s := e.Service
	r := TrailRecord{
		EventVersion: trailVersion, UserIdentity: TrailIdentity{AccountID: e.Repository.Account, InvokedBy: internal},
		EventTime: e.At.UTC().Format(time.RFC3339), EventSource: s.Source, EventName: s.Name, AWSRegion: s.Region,
		SourceIPAddress: internal, UserAgent: internal, EventID: s.ID, ReadOnly: true, EventType: "AwsServiceEvent",
		ServiceEventDetails: s.Details, ManagementEvent: true, RecipientAccountID: e.Repository.Account, EventCategory: "Management",
	}
	if e.Repository.Name != "" {
		r.Resources = []TrailResource{{e.Repository.ARN(s.Region), e.Repository.Account, "AWS::ECR::Repository"}}
	}
	return r
}

// parameters are those of a call of OCI Distribution, in the form of ECR's API.
func (c *Call) parameters(id RepositoryID) json.RawMessage {
	if id.Name == "" {
		return nil
	}
	type image struct {
		Digest string `json:"imageDigest,omitempty"`
		Tag    string `json:"imageTag,omitempty"`
	}
	p := struct {
		Registry   string  `json:"registryId"`
		Repository string  `json:"repositoryName"`
		Images     []image `json:"imageIds,omitempty"`
		Layer      string  `json:"layerDigest,omitempty"`
	}{Registry: id.Account, Repository: id.Name, Layer: c.Layer}
	if c.Digest != "" || c.Tag != "" {
		p.Images = []image{{c.Digest, c.Tag}}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil
	}
	return b
}

// trail is the caller as a record has it.
func (c *Caller) trail() TrailIdentity {
	p := c.Principal
	if p == nil {
		return TrailIdentity{Type: "Unknown", AccessKeyID: c.AccessKeyID}
	}
	t := TrailIdentity{Type: "IAMUser", PrincipalID: p.ID, ARN: p.ARN, AccountID: p.Account, AccessKeyID: c.AccessKeyID, UserName: p.Name}
	switch {
	case p.Root:
		t.Type, t.UserName = "Root", ""
	case p.Federated != "":
		t.Type, t.IdentityProvider = "WebIdentityUser", p.Federated
	case p.RoleARN != "":
		t.Type, t.UserName = "AssumedRole", ""
	}
	if p.Issued.IsZero() {
		return t
	}
	t.SessionContext = &TrailSession{SourceIdentity: p.SourceIdentity}
	t.SessionContext.Attributes.CreationDate = p.Issued.UTC().Format(time.RFC3339)
	t.SessionContext.Attributes.MFAAuthenticated = "false"
	if p.RoleARN != "" {
		id, _, _ := strings.Cut(p.ID, ":")
		t.SessionContext.SessionIssuer = &TrailIdentity{Type: "Role", PrincipalID: id, ARN: p.RoleARN, AccountID: p.Account,
			UserName: p.RoleARN[strings.LastIndexByte(p.RoleARN, '/')+1:]}
	}
	return t
}

// Username is who made the call, as CloudTrail's lookups have it: a user, the
// name of a role session, or root.
func (r *TrailRecord) Username() string {
	u := &r.UserIdentity
	switch u.Type {
	case "Root":
		return "root"
	case "AssumedRole":
		return u.ARN[strings.LastIndexByte(u.ARN, '/')+1:]
	}
	return u.UserName
}
