package advisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/iam"
)

// A Resource is a repository, or the registry where Name is empty, with the
// policies that stand on it.
type Resource struct {
	ARN      string
	Account  string
	Tags     map[string]string
	Policy   *iam.Policy // nil: none
	Registry *iam.Policy

	texts []string // of both policies
}

// Repository reads what decides about a repository of an account; an empty name
// means the registry as a whole, and an empty account the caller's.
func (e *Endpoint) Repository(ctx context.Context, account, name string) (*Resource, error) {
	if account == "" {
		account = e.Account
	}
	r := &Resource{ARN: "*", Account: account, Tags: map[string]string{}}
	if account == e.Account {
		out, err := e.ECR.GetRegistryPolicy(ctx, &sdk.GetRegistryPolicyInput{})
		if _, none := errors.AsType[*types.RegistryPolicyNotFoundException](err); err != nil && !none {
			return nil, err
		} else if err == nil {
			if r.Registry, err = r.parse("the registry policy", *out.PolicyText); err != nil {
				return nil, err
			}
		}
	}
	if name == "" {
		return r, nil
	}
	list, err := e.ECR.DescribeRepositories(ctx, &sdk.DescribeRepositoriesInput{RegistryId: &account, RepositoryNames: []string{name}})
	if err != nil {
		return nil, err
	}
	r.ARN = aws.ToString(list.Repositories[0].RepositoryArn)
	tags, err := e.ECR.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: &r.ARN})
	if err != nil {
		return nil, err
	}
	for _, t := range tags.Tags {
		r.Tags[*t.Key] = aws.ToString(t.Value)
	}
	text, err := e.repositoryPolicy(ctx, account, name)
	if err != nil || text == "" {
		return r, err
	}
	r.Policy, err = r.parse("the policy of repository "+name, text)
	return r, err
}

// repositoryPolicy returns the text of a repository's policy, or "".
func (e *Endpoint) repositoryPolicy(ctx context.Context, account, name string) (string, error) {
	out, err := e.ECR.GetRepositoryPolicy(ctx, &sdk.GetRepositoryPolicyInput{RegistryId: &account, RepositoryName: &name})
	if _, none := errors.AsType[*types.RepositoryPolicyNotFoundException](err); none {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return aws.ToString(out.PolicyText), nil
}

func (r *Resource) parse(name, text string) (*iam.Policy, error) {
	p, err := iam.Parse([]byte(text), iam.Resource)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", name, err)
	}
	r.texts = append(r.texts, text)
	return p.Named(name), nil
}

// A Question is what a principal may do.
type Question struct {
	Action  string // ecr:PutImage
	Context map[string][]string
	Time    time.Time
}

// An Answer is a decision with what decided it.
type Answer struct {
	Principal string `json:"principal"`
	Action    string `json:"action"`
	Resource  string `json:"resource"`
	Allowed   bool   `json:"allowed"`
	// Reason says which statement decided, or which kind of policy is missing.
	Reason    string             `json:"reason"`
	Statement *iam.StatementInfo `json:"statement,omitempty"`
	// Missing are the condition keys that policies ask for and Context lacks.
	Missing []string `json:"missingContextKeys,omitempty"`
	// Other says that the principal is of another account, whose own policies
	// are not known and must allow it too.
	Other bool `json:"otherAccount,omitempty"`
}

// Explain answers a question about a principal (IAM user guide, "Policy
// evaluation logic").
func Explain(p *iam.Principal, r *Resource, q Question) Answer {
	missing := map[string]bool{}
	d := iam.Evaluate(&iam.Request{
		Principal: p, Action: q.Action, Resource: r.ARN, Account: r.Account, Time: q.Time, ResourcePolicy: r.Policy, RegistryPolicy: r.Registry,
		Context: func(key string) []string {
			v := r.condition(q, key)
			if v == nil {
				missing[key] = true
			}
			return v
		},
	})
	a := Answer{Principal: p.ARN, Action: q.Action, Resource: r.ARN, Allowed: d.Allowed, Reason: d.Reason(), Statement: d.Statement}
	for key := range missing {
		a.Missing = append(a.Missing, key)
	}
	sort.Strings(a.Missing)
	switch s := d.Statement; {
	case d.Allowed && s == nil:
		a.Reason = "the root user of an account needs no policy in it"
	case s != nil:
		effect := "allowed by"
		if !d.Allowed {
			effect = "denied by"
		}
		a.Reason = fmt.Sprintf("%s statement %d%s of %s", effect, s.Index+1, sid(s.Sid), s.Policy)
	}
	return a
}

func sid(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", s)
}

// condition gives the values of a condition key; nil: it is not known.
func (r *Resource) condition(q Question, key string) []string {
	for k, v := range q.Context {
		if strings.EqualFold(k, key) {
			return v
		}
	}
	for _, prefix := range []string{"ecr:resourcetag/", "aws:resourcetag/"} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			for k, v := range r.Tags {
				if strings.EqualFold(k, name) {
					return []string{v}
				}
			}
		}
	}
	return nil
}

// WhoCan answers a question about everybody: the principals of the account, and
// those of others that the resource's policies name. Only those come back who
// are allowed.
func WhoCan(ids *Identities, r *Resource, q Question) (out []Answer) {
	for _, p := range ids.Principals {
		if a := Explain(p, r, q); a.Allowed {
			out = append(out, a)
		}
	}
	for _, p := range r.others() {
		if a := Explain(p, r, q); a.Allowed {
			a.Other = true
			out = append(out, a)
		}
	}
	return out
}

// others are the principals of other accounts that the policies name, taken to
// have every permission of their own.
func (r *Resource) others() (out []*iam.Principal) {
	all, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`), iam.Identity)
	if err != nil {
		return nil
	}
	var names []string
	for _, text := range r.texts {
		names = append(names, namedIn(text)...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		arn := name
		if len(name) == 12 {
			arn = "arn:aws:iam::" + name + ":root"
		}
		parts := strings.SplitN(arn, ":", 6)
		if len(parts) != 6 || parts[4] == r.Account || len(parts[4]) != 12 {
			continue
		}
		p := &iam.Principal{ARN: arn, Account: parts[4], Root: parts[5] == "root", Policies: []*iam.Policy{all.Named("its own account's policies")}}
		if strings.HasPrefix(parts[5], "role/") {
			p.RoleARN = arn
		}
		out = append(out, p)
	}
	return out
}

// namedIn returns the AWS principals that a policy document names.
func namedIn(text string) (out []string) {
	type statement struct {
		Principal json.RawMessage
	}
	var doc struct{ Statement json.RawMessage }
	if json.Unmarshal([]byte(text), &doc) != nil {
		return nil
	}
	var list []statement
	if json.Unmarshal(doc.Statement, &list) != nil {
		list = make([]statement, 1)
		if json.Unmarshal(doc.Statement, &list[0]) != nil {
			return nil
		}
	}
	for _, s := range list {
		var p struct{ AWS json.RawMessage }
		if json.Unmarshal(s.Principal, &p) != nil {
			continue // "*"
		}
		var names []string
		if json.Unmarshal(p.AWS, &names) != nil {
			names = make([]string, 1)
			if json.Unmarshal(p.AWS, &names[0]) != nil {
				continue
			}
		}
		out = append(out, names...)
	}
	return out
}
