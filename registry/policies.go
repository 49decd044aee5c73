package registry

import (
	"context"
	"strings"
	"sync"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// rules are the policies of what is asked for, beside those of who asks.
type rules struct {
	resource, registry *iam.Policy // nil if there is none
}

// rules compiles the policies of a repository.
func (r *Registry) rules(repo *ecr.Repository) (out rules, err error) {
	if out.resource, err = r.policies.compile(repo.Policy); err != nil {
		return out, err
	}
	out.registry, err = r.policies.compile(repo.RegistryPolicy)
	return out, err
}

// allowIn asks whether c may do action to repository id; repo is nil if there
// is none. request gives the condition keys of this request alone.
func (r *Registry) allowIn(tx *meta.Tx, c ecr.Caller, action string, id ecr.RepositoryID, repo *ecr.Repository, request map[string][]string) error {
	if repo == nil {
		return r.allowNone(tx, c, action, id.ARN(r.cfg.Region), id.Account, request)
	}
	p, err := r.rules(repo)
	if err != nil {
		return err
	}
	return r.allow(c, action, id.ARN(r.cfg.Region), id.Account, p, repo.Tags, request)
}

// allowAll asks whether c may do an action that takes no resource.
func (r *Registry) allowAll(tx *meta.Tx, c ecr.Caller, action, account string) error {
	return r.allowNone(tx, c, action, "*", account, nil)
}

// allowNone asks about a resource without a policy of its own.
func (r *Registry) allowNone(tx *meta.Tx, c ecr.Caller, action, resource, account string, request map[string][]string) error {
	text, err := tx.RegistryPolicy(account)
	if err != nil {
		return err
	}
	p, err := r.policies.compile(text)
	if err != nil {
		return err
	}
	return r.allow(c, action, resource, account, rules{registry: p}, nil, request)
}

// ask asks outside of a transaction, and records a denial; resource is the ARN
// of a repository, or "*".
func (r *Registry) ask(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, resource string) error {
	err := r.db.ViewOne(ctx, func(tx *meta.Tx) error { return r.allowNone(tx, c, action, resource, id.Account, nil) })
	return r.denied(ctx, c, action, id, err)
}

func (r *Registry) allow(c ecr.Caller, action, resource, account string, p rules, tags []ecr.Tag, request map[string][]string) error {
	if c.Principal == nil {
		return ecr.Errorf(ecr.NotAuthenticated, "Not Authorized")
	}
	if c.Replication != "" {
		action = replicating(action)
	}
	d := iam.Evaluate(&iam.Request{
		Principal: c.Principal, Action: action, Resource: resource, Account: account, Time: r.cfg.Now(),
		ResourcePolicy: p.resource, RegistryPolicy: p.registry,
		Context: func(key string) []string {
			if v := c.Condition("ecr", r.cfg.Region, tags, key); v != nil {
				return v
			}
			return request[key]
		},
	})
	if d.Allowed {
		return nil
	}
	return ecr.Denied(c, action, resource, d)
}

// replicating is the action that an operation asks of another region's
// registry: all that a push takes is one action to it, which a registry's
// policy can allow (ECR user guide, "Private image replication").
func replicating(action string) string {
	switch action {
	case "ecr:BatchCheckLayerAvailability", actInitiate, actPart, actComplete, "ecr:PutImage":
		return actReplicate
	}
	return action
}

const actReplicate = "ecr:ReplicateImage"

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

// compile returns a resource policy, nil for no text.
func (p *policies) compile(text string) (*iam.Policy, error) {
	if text == "" {
		return nil, nil
	}
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
