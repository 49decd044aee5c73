// Package cloudtrailapi is as much of AWS CloudTrail's API as an audit trail
// that is always on needs: LookupEvents, AWS JSON 1.1.
package cloudtrailapi

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/ecruhq/ecru/audit"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/awswire"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

// modelGz is CloudTrail's public API model; see NOTICE.
//
//go:embed cloudtrail.json.gz
var modelGz []byte

const (
	// Source is CloudTrail as the audit trail names it.
	Source = "cloudtrail.amazonaws.com"
	// TargetPrefix is what stands before the dot in X-Amz-Target; some SDKs say
	// ShortTarget.
	TargetPrefix = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101"
	ShortTarget  = "CloudTrail_20131101"
)

// A Server answers CloudTrail requests. Its methods are safe for concurrent use.
type Server struct {
	log *audit.Log
	*rpc.Server[ecr.Caller]
}

// New returns a server on the audit trail. An error means that the API model
// and the SDK's types do not agree.
func New(trail *audit.Log, id *identity.Identity, log *slog.Logger) (*Server, error) {
	model, err := awswire.Load(modelGz)
	if err != nil {
		return nil, fmt.Errorf("cloudtrailapi: %w", err)
	}
	s := &Server{log: trail}
	s.Server, err = rpc.New(rpc.Service{Source: Source, Model: model, Exceptions: exceptions(), Unknown: unknown, Deny: id.EncodeDenial, Log: log,
		Invalid: map[string]string{"MaxResults": "InvalidMaxResultsException", "EventCategory": "InvalidEventCategoryException", "NextToken": "InvalidNextTokenException"}}, rpc.Caller,
		[]rpc.Handler[ecr.Caller]{rpc.Op("LookupEvents", s.lookupEvents)})
	return s, err
}

func unknown(action string) error {
	return ecr.Errorf(ecr.UnknownOperation, "The operation %.64q of CloudTrail is not served here: the trail is always on, and LookupEvents reads it.", strings.ToValidUTF8(action, "?"))
}

// exceptions are the failures of LookupEvents (CloudTrail API). What only other
// services can answer is an operation that is not supported.
func exceptions() *rpc.Exceptions {
	var t rpc.Exceptions
	for code := range t {
		t[code].Name, t[code].Status = "UnsupportedOperationException", http.StatusBadRequest
	}
	for code, e := range map[ecr.Code]struct {
		name   string
		status int
	}{
		ecr.Internal:           {"InternalFailure", 500},
		ecr.AccessDenied:       {"AccessDeniedException", 403},
		ecr.InvalidParameter:   {"InvalidLookupAttributesException", 400},
		ecr.Validation:         {"InvalidTimeRangeException", 400},
		ecr.InvalidToken:       {"InvalidNextTokenException", 400},
		ecr.Throttled:          {"ThrottlingException", 400},
		ecr.NotAuthenticated:   {"MissingAuthenticationTokenException", 403},
		ecr.BadCredentials:     {"UnrecognizedClientException", 403},
		ecr.InvalidSignature:   {"InvalidSignatureException", 403},
		ecr.ExpiredCredentials: {"ExpiredTokenException", 403},
		ecr.UnknownOperation:   {"UnknownOperationException", 404},
		ecr.Unavailable:        {"ServiceUnavailable", 503},
	} {
		t[code].Name, t[code].Status = e.name, e.status
	}
	return &t
}

// maxResults is the length of a page unless the request says otherwise
// (CloudTrail API, LookupEvents).
const maxResults = 50

func (s *Server) lookupEvents(ctx context.Context, c ecr.Caller, in *sdk.LookupEventsInput) (*sdk.LookupEventsOutput, error) {
	q := audit.Query{From: aws.ToTime(in.StartTime), To: aws.ToTime(in.EndTime), Limit: maxResults, Token: aws.ToString(in.NextToken)}
	switch {
	case len(in.LookupAttributes) > 1:
		return nil, ecr.Errorf(ecr.InvalidParameter, "You can only specify one lookup attribute.")
	case !q.From.IsZero() && !q.To.IsZero() && q.From.After(q.To):
		return nil, ecr.Errorf(ecr.Validation, "The start time is after the end time.")
	}
	if in.MaxResults != nil {
		q.Limit = int(*in.MaxResults)
	}
	for _, a := range in.LookupAttributes {
		q.Attribute, q.Value = string(a.AttributeKey), *a.AttributeValue
	}
	list, next, err := s.log.Lookup(ctx, c, q)
	if err != nil {
		return nil, err
	}
	if in.EventCategory != "" { // Insights, of which there are none
		list, next = nil, ""
	}
	out := &sdk.LookupEventsOutput{Events: make([]types.Event, len(list))}
	for i := range list {
		out.Events[i] = event(&list[i])
	}
	if next != "" {
		out.NextToken = &next
	}
	return out, nil
}

func event(r *meta.AuditRecord) types.Event {
	text, readOnly := string(r.Record), strconv.FormatBool(r.ReadOnly)
	e := types.Event{EventId: &r.EventID, EventName: &r.Name, EventSource: &r.Source, EventTime: &r.At, ReadOnly: &readOnly,
		CloudTrailEvent: &text, Resources: []types.Resource{}}
	if r.Username != "" {
		e.Username = &r.Username
	}
	if r.AccessKey != "" {
		e.AccessKeyId = &r.AccessKey
	}
	if r.Resource != "" {
		e.Resources = append(e.Resources, types.Resource{ResourceType: &r.ResourceType, ResourceName: &r.Resource})
	}
	return e
}
