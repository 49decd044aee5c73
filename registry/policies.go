package registry

import (
	"strings"
	"sync"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
)

// allowIn asks whether c may do action to repository id; repo is nil if there
// is none. request gives the condition keys of this request alone.
func (r *Registry) allowIn(c ecr.Caller, action string, id ecr.RepositoryID, repo *ecr.Repository, request map[string][]string) error {
	var policy *iam.Policy
	var tags []ecr.Tag
	if repo != nil {
		tags = repo.Tags
		if repo.Policy != "" {
			p, err := r.policies.compile(repo.Policy)
			if err != nil {
				return err
			}
			policy = p
		}
	}
	return r.allow(c, action, id.ARN(r.cfg.Region), id.Account, policy, tags, request)
}

// allowAll asks whether c may do an action that takes no resource.
func (r *Registry) allowAll(c ecr.Caller, action, account string) error {
	return r.allow(c, action, "*", account, nil, nil, nil)
}

func (r *Registry) allow(c ecr.Caller, action, resource, account string, policy *iam.Policy, tags []ecr.Tag, request map[string][]string) error {
	if c.Principal == nil {
		return ecr.Errorf(ecr.NotAuthenticated, "Not Authorized")
	}
	d := iam.Evaluate(&iam.Request{
		Principal: c.Principal, Action: action, Resource: resource, Account: account, Time: r.cfg.Now(),
		ResourcePolicy: policy,
		Context: func(key string) []string {
			return r.condition(c, tags, request, key)
		},
	})
	if d.Allowed {
		return nil
	}
	return ecr.Errorf(ecr.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s %s", c.ARN, action, resource, d.Reason())
}

// condition gives the values of a condition key, which is in lower case
// (IAM, "AWS global condition context keys"; ECR's own keys).
func (r *Registry) condition(c ecr.Caller, tags []ecr.Tag, request map[string][]string, key string) []string {
	switch key {
	case "aws:sourceip":
		if c.SourceIP.IsValid() {
			return []string{c.SourceIP.String()}
		}
		return nil
	case "aws:securetransport":
		if c.TLS {
			return []string{"true"}
		}
		return []string{"false"}
	case "aws:useragent":
		if c.UserAgent != "" {
			return []string{c.UserAgent}
		}
		return nil
	case "aws:requestedregion":
		return []string{r.cfg.Region}
	}
	for _, prefix := range []string{"ecr:resourcetag/", "aws:resourcetag/"} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			for _, t := range tags {
				if strings.EqualFold(t.Key, name) {
					return []string{t.Value}
				}
			}
			return nil
		}
	}
	return request[key]
}

// requestTags gives the condition keys of the tags that a request sets.
func requestTags(tags []ecr.Tag) map[string][]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string][]string, len(tags)+1)
	for _, t := range tags {
		m["aws:requesttag/"+strings.ToLower(t.Key)] = []string{t.Value}
		m["aws:tagkeys"] = append(m["aws:tagkeys"], t.Key)
	}
	return m
}

// policies keeps policies compiled, by their text.
type policies struct {
	mu   sync.RWMutex
	text map[string]*iam.Policy
}

// maxPolicies bounds the compiled policies kept (a text is at most 10 KiB).
const maxPolicies = 4096

func (p *policies) compile(text string) (*iam.Policy, error) {
	p.mu.RLock()
	got := p.text[text]
	p.mu.RUnlock()
	if got != nil {
		return got, nil
	}
	got, err := iam.Parse([]byte(text), iam.Resource)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == nil || len(p.text) >= maxPolicies {
		p.text = map[string]*iam.Policy{}
	}
	p.text[text] = got
	return got, nil
}
