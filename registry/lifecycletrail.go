package registry

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
)

// What the audit trail tells of lifecycle policies is in CloudTrail's form of
// ECR's PolicyExecutionEvent and DryRunEvent (Amazon ECR user guide, "Image
// lifecycle policy event"; ECR behaviour, §7).

const (
	serviceSource = "ecr.amazonaws.com"
	// trailImages is how many images one record has, and trailTags how many
	// tags of each.
	trailImages = 10
	trailTags   = 100
)

// systemPrincipal is the server itself, at work for an account.
func systemPrincipal(account string) *iam.Principal {
	return &iam.Principal{ARN: serviceSource, Account: account}
}

type lifecycleDetails struct {
	Repository string             `json:"repositoryName"`
	Policy     trailPolicy        `json:"lifecycleEventPolicy"`
	Actions    []trailImageAction `json:"lifecycleEventImageActions"`
	Failures   []trailImageAction `json:"lifecycleEventFailureDetails"`
}

type trailPolicy struct {
	Rules           []trailRule `json:"lifecycleEventRules"`
	LastEvaluatedAt int64       `json:"lastEvaluatedAt"` // ms; 0: never
	Version         int64       `json:"policyVersion"`
	ID              string      `json:"policyId,omitempty"`
}

type trailRule struct {
	Priority    int            `json:"rulePriority"`
	Description string         `json:"description,omitempty"`
	Selection   trailSelection `json:"lifecycleEventSelection"`
	Action      string         `json:"action"`
}

type trailSelection struct {
	TagStatus    string   `json:"tagStatus"`
	TagPrefixes  []string `json:"tagPrefixList"`
	TagPatterns  []string `json:"tagPatternList,omitempty"`
	StorageClass string   `json:"storageClass,omitempty"`
	CountType    string   `json:"countType"`
	CountUnit    string   `json:"countUnit,omitempty"`
	CountNumber  int      `json:"countNumber"`
}

type trailImageAction struct {
	Image         trailImage `json:"lifecycleEventImage"`
	Rule          int        `json:"rulePriority"`
	Action        string     `json:"action"` // EXPIRE or TRANSITION
	FailureCode   string     `json:"failureCode,omitempty"`
	FailureReason string     `json:"failureReason,omitempty"`
}

type trailImage struct {
	Digest    string   `json:"digest"`
	TagStatus string   `json:"tagStatus"`
	Tags      []string `json:"tagList"`
	PushedAt  int64    `json:"pushedAt"` // ms
}

func trailPolicyOf(p *lifecycle.Policy, record ecr.LifecyclePolicy) trailPolicy {
	countTypes := map[lifecycle.CountType]string{
		lifecycle.ImageCountMoreThan: "Image count more than", lifecycle.SinceImagePushed: "Since image pushed",
		lifecycle.SinceImagePulled: "Since image pulled", lifecycle.SinceImageTransitioned: "Since image transitioned",
	}
	tagStatus := map[lifecycle.TagStatus]string{lifecycle.Tagged: "Tagged", lifecycle.Untagged: "Untagged", lifecycle.Any: "Any"}
	t := trailPolicy{Version: record.Version, ID: record.ID, Rules: []trailRule{}}
	if !record.EvaluatedAt.IsZero() {
		t.LastEvaluatedAt = record.EvaluatedAt.UnixMilli()
	}
	for _, rule := range p.Rules {
		s := &rule.Selection
		prefixes := s.TagPrefixes
		if prefixes == nil {
			prefixes = []string{}
		}
		t.Rules = append(t.Rules, trailRule{Priority: rule.Priority, Description: rule.Description, Action: string(rule.Action.Type),
			Selection: trailSelection{TagStatus: tagStatus[s.TagStatus], TagPrefixes: prefixes, TagPatterns: s.TagPatterns, StorageClass: string(s.StorageClass),
				CountType: countTypes[s.CountType], CountUnit: s.CountUnit, CountNumber: s.CountNumber}})
	}
	return t
}

// trailAction tells what happens to an image of an evaluation.
func trailAction(e *lifecycle.Evaluation, i int) trailImageAction {
	m, v := &e.Images[i], &e.Verdicts[i]
	a := trailImageAction{Action: v.Outcome.String(), Image: trailImage{Digest: m.Digest, TagStatus: "Tagged", Tags: m.Tags, PushedAt: m.PushedAt.Time().UnixMilli()}}
	if v.Rule >= 0 {
		a.Rule = e.Rules[v.Rule].Priority
	}
	if len(m.Tags) == 0 {
		a.Image.TagStatus, a.Image.Tags = "Untagged", []string{}
	}
	if len(m.Tags) > trailTags {
		a.Image.Tags = m.Tags[:trailTags]
	}
	return a
}

// appendService appends an event of the server's own doing, with a record.
func (r *Registry) appendService(tx *meta.Tx, t ecr.EventType, name string, id ecr.RepositoryID, details any) error {
	b, err := json.Marshal(details)
	if err != nil {
		return err
	}
	e := r.event(r.expiring(id.Account), t, "ecr:"+name, id)
	e.Service = &ecr.ServiceEvent{ID: uuid.NewString(), Source: serviceSource, Name: name, Region: r.cfg.Region, Details: b}
	return tx.Append(e)
}

// appendLifecycle appends as many events as actions and failures need.
func (r *Registry) appendLifecycle(tx *meta.Tx, t ecr.EventType, name string, id ecr.RepositoryID, p trailPolicy, actions, failures []trailImageAction) error {
	for len(actions) > 0 || len(failures) > 0 {
		d := lifecycleDetails{Repository: id.Name, Policy: p, Actions: []trailImageAction{}, Failures: []trailImageAction{}}
		n := min(trailImages, len(actions))
		d.Actions, actions = append(d.Actions, actions[:n]...), actions[n:]
		m := min(trailImages-n, len(failures))
		d.Failures, failures = append(d.Failures, failures[:m]...), failures[m:]
		if err := r.appendService(tx, t, name, id, d); err != nil {
			return err
		}
	}
	return nil
}
