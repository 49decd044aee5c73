package advisor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/iam"
)

// A Linted is what was found in one policy.
type Linted struct {
	Policy   string        `json:"policy"`
	Error    string        `json:"error,omitempty"` // it is no policy at all
	Findings []iam.Finding `json:"findings"`
}

// Lint judges a document.
func (d Document) Lint() Linted {
	findings, err := iam.Lint([]byte(d.Text), d.Kind)
	l := Linted{Policy: d.Name, Findings: findings}
	if err != nil {
		l.Error = err.Error()
	}
	return l
}

// KindOf guesses where a policy document is meant to stand: one that names
// principals is a trust policy if its actions are of STS, and otherwise that of
// a resource.
func KindOf(text string) iam.Kind {
	var doc struct{ Statement json.RawMessage }
	if json.Unmarshal([]byte(text), &doc) != nil {
		return iam.Identity
	}
	type statement struct {
		Principal, NotPrincipal json.RawMessage
		Action                  json.RawMessage
	}
	var list []statement
	if json.Unmarshal(doc.Statement, &list) != nil {
		list = make([]statement, 1)
		if json.Unmarshal(doc.Statement, &list[0]) != nil {
			return iam.Identity
		}
	}
	for _, s := range list {
		switch {
		case s.Principal == nil && s.NotPrincipal == nil:
		case strings.Contains(string(s.Action), `"sts:`):
			return iam.Trust
		default:
			return iam.Resource
		}
	}
	return iam.Identity
}

// Documents reads all policies that the account made itself: of users, roles
// and groups, trust policies, managed ones, those of repositories and of the
// registry. progress, if not nil, is told of the repositories seen.
func (e *Endpoint) Documents(ctx context.Context, progress func(repositories int)) ([]Document, error) {
	ids, err := e.Identities(ctx)
	if err != nil {
		return nil, err
	}
	out := ids.Documents
	registry, err := e.Repository(ctx, "", "")
	if err != nil {
		return nil, err
	}
	for _, text := range registry.texts {
		out = append(out, Document{"the registry policy", iam.Resource, text})
	}
	seen := 0
	pages := sdk.NewDescribeRepositoriesPaginator(e.ECR, &sdk.DescribeRepositoriesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Repositories {
			text, err := e.repositoryPolicy(ctx, e.Account, aws.ToString(r.RepositoryName))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", aws.ToString(r.RepositoryName), err)
			}
			if text != "" {
				out = append(out, Document{"the policy of repository " + aws.ToString(r.RepositoryName), iam.Resource, text})
			}
			seen++
		}
		if progress != nil {
			progress(seen)
		}
	}
	return out, nil
}
