package advisor

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/ecruhq/ecru/iam"
)

// Uses reads what a principal did with ECR since a time, from the audit trail
// (CloudTrail API, LookupEvents): a user, or a role in all its sessions. What
// layers a push mounted from elsewhere is not in the trail. progress, if not
// nil, is told of the records seen.
func (e *Endpoint) Uses(ctx context.Context, p *iam.Principal, since time.Time, progress func(records int)) (uses []iam.Use, err error) {
	in := &cloudtrail.LookupEventsInput{StartTime: &since}
	attribute := types.LookupAttribute{AttributeKey: types.LookupAttributeKeyEventSource, AttributeValue: aws.String("ecr.amazonaws.com")}
	if p.RoleARN == "" {
		attribute = types.LookupAttribute{AttributeKey: types.LookupAttributeKeyUsername, AttributeValue: &p.Name}
	}
	in.LookupAttributes = []types.LookupAttribute{attribute}
	seen := 0
	pages := cloudtrail.NewLookupEventsPaginator(e.CloudTrail, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, event := range page.Events {
			if use, ok := e.use(p, aws.ToString(event.CloudTrailEvent)); ok {
				uses = append(uses, use)
			}
		}
		seen += len(page.Events)
		if progress != nil {
			progress(seen)
		}
	}
	return uses, nil
}

// use reads a record; ok is false if it is not of the principal's use of ECR.
func (e *Endpoint) use(p *iam.Principal, text string) (use iam.Use, ok bool) {
	var r struct {
		EventSource, EventName, ErrorCode string
		UserIdentity                      struct {
			ARN            string
			SessionContext struct{ SessionIssuer struct{ ARN string } }
		}
		Resources         []struct{ ARN string }
		RequestParameters struct{ RegistryID, RepositoryName string }
	}
	if json.Unmarshal([]byte(text), &r) != nil || r.EventSource != "ecr.amazonaws.com" {
		return use, false
	}
	if who := r.UserIdentity; who.ARN != p.ARN && (p.RoleARN == "" || who.SessionContext.SessionIssuer.ARN != p.RoleARN) {
		return use, false
	}
	use = iam.Use{Action: "ecr:" + r.EventName, Resource: "*", Denied: strings.HasPrefix(r.ErrorCode, "AccessDenied")}
	if r.EventName == "ListImageReferrers" {
		use.Action = "ecr:BatchGetImage" // there is no action of that name
	}
	switch q := r.RequestParameters; {
	case len(r.Resources) > 0 && r.Resources[0].ARN != "":
		use.Resource = r.Resources[0].ARN
	case q.RepositoryName != "":
		account := q.RegistryID
		if account == "" {
			account = p.Account
		}
		use.Resource = "arn:aws:ecr:" + e.Region + ":" + account + ":repository/" + q.RepositoryName
	}
	return use, true
}
