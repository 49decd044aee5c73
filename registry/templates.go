package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// A TemplateUpdate holds the members to set; nil leaves one as it is.
type TemplateUpdate struct {
	Description, Policy, LifecyclePolicy, CustomRoleARN *string
	AppliedFor                                          []string
	Mutability                                          *ecr.Mutability
	MutabilityExclusion                                 []string // goes with Mutability
	Encryption                                          *ecr.Encryption
	Tags                                                []ecr.Tag
}

func checkTemplate(t *ecr.Template) error {
	if t.Prefix != "ROOT" {
		if err := checkName("x" + strings.TrimSuffix(t.Prefix, "/")); err != nil || t.Prefix == "" {
			return ecr.InvalidParam("prefix", "must be ROOT or the beginning of a repository name")
		}
	}
	for _, a := range t.AppliedFor {
		switch a {
		case "REPLICATION", "PULL_THROUGH_CACHE", "CREATE_ON_PUSH":
		default:
			return ecr.InvalidParam("appliedFor", "Member must satisfy enum value set: [REPLICATION, PULL_THROUGH_CACHE, CREATE_ON_PUSH]")
		}
	}
	if len(t.AppliedFor) == 0 {
		return ecr.InvalidParam("appliedFor", "Member must not be null")
	}
	if t.Policy != "" {
		if _, err := iam.Parse([]byte(t.Policy), iam.Resource); err != nil {
			return &ecr.Error{Code: ecr.InvalidParameter, Err: err,
				Message: "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided: " + err.Error() + "'"}
		}
	}
	repo := repositoryFrom(t)
	return settle(&repo)
}

// CreateTemplate creates a repository creation template in the caller's
// account. Errors: TemplateAlreadyExists, LimitExceeded.
func (r *Registry) CreateTemplate(ctx context.Context, c ecr.Caller, t ecr.Template) (*ecr.Template, error) {
	t.Account, t.CreatedAt, t.UpdatedAt = c.Account, r.now(), r.now()
	if t.Mutability == "" {
		t.Mutability = ecr.Mutable
	}
	if t.Encryption.Type == "" {
		t.Encryption.Type = "AES256"
	}
	if err := checkTemplate(&t); err != nil {
		return nil, err
	}
	err := r.updateRegistry(ctx, c, "ecr:CreateRepositoryCreationTemplate", c.Account, func(tx *meta.Tx) error {
		if _, err := tx.Template(c.Account, t.Prefix); err == nil {
			return ecr.Errorf(ecr.TemplateAlreadyExists, "The repository creation template with prefix '%s' already exists in the registry with id '%s'", t.Prefix, c.Account)
		} else if !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		n, err := tx.CountTemplates(c.Account)
		if err != nil {
			return err
		}
		if n >= r.cfg.Limits.Templates {
			return ecr.Errorf(ecr.LimitExceeded, "The maximum number of repository creation templates per registry (%d) has been reached", r.cfg.Limits.Templates)
		}
		return tx.PutTemplate(&t)
	})
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// changeTemplate finds a template, and runs fn on it in the same transaction.
func (r *Registry) changeTemplate(ctx context.Context, c ecr.Caller, action, prefix string, fn func(*meta.Tx, *ecr.Template) error) (t *ecr.Template, err error) {
	err = r.updateRegistry(ctx, c, action, c.Account, func(tx *meta.Tx) (err error) {
		t, err = tx.Template(c.Account, prefix)
		if errors.Is(err, meta.ErrNotFound) {
			return templateNotFound(c.Account, prefix)
		}
		if err != nil {
			return err
		}
		return fn(tx, t)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func templateNotFound(account, prefix string) error {
	return ecr.Errorf(ecr.TemplateNotFound, "The repository creation template with prefix '%s' does not exist in the registry with id '%s'", prefix, account)
}

// UpdateTemplate changes a template of the caller's account.
// Errors: TemplateNotFound.
func (r *Registry) UpdateTemplate(ctx context.Context, c ecr.Caller, prefix string, u TemplateUpdate) (*ecr.Template, error) {
	return r.changeTemplate(ctx, c, "ecr:UpdateRepositoryCreationTemplate", prefix, func(tx *meta.Tx, t *ecr.Template) error {
		set(&t.Description, u.Description)
		set(&t.Policy, u.Policy)
		set(&t.LifecyclePolicy, u.LifecyclePolicy)
		set(&t.CustomRoleARN, u.CustomRoleARN)
		set(&t.Encryption, u.Encryption)
		if u.AppliedFor != nil {
			t.AppliedFor = u.AppliedFor
		}
		if u.Mutability != nil {
			t.Mutability, t.MutabilityExclusion = *u.Mutability, u.MutabilityExclusion
		}
		if u.Tags != nil {
			t.Tags = u.Tags
		}
		t.UpdatedAt = r.now()
		if err := checkTemplate(t); err != nil {
			return err
		}
		return tx.PutTemplate(t)
	})
}

func set[T any](member *T, v *T) {
	if v != nil {
		*member = *v
	}
}

// DeleteTemplate deletes a template of the caller's account and returns it.
// Errors: TemplateNotFound.
func (r *Registry) DeleteTemplate(ctx context.Context, c ecr.Caller, prefix string) (*ecr.Template, error) {
	return r.changeTemplate(ctx, c, "ecr:DeleteRepositoryCreationTemplate", prefix, func(tx *meta.Tx, t *ecr.Template) error {
		return tx.DeleteTemplate(c.Account, prefix)
	})
}

// DescribeTemplates returns the templates with the given prefixes, passing over
// those that do not exist, or a page of the account's.
func (r *Registry) DescribeTemplates(ctx context.Context, c ecr.Caller, prefixes []string, p ecr.Page) (ts []*ecr.Template, next string, err error) {
	const action = "ecr:DescribeRepositoryCreationTemplates"
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	_, after, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if err := r.allowAll(tx, c, action, c.Account); err != nil {
			return err
		}
		if len(prefixes) > 0 {
			ts, err = tx.TemplatesFor(c.Account, prefixes)
			return err
		}
		ts, err = tx.Templates(c.Account, after, n+1)
		return err
	})
	if err != nil {
		return nil, "", r.denied(ctx, c, action, ecr.RepositoryID{Account: c.Account}, err)
	}
	if len(prefixes) == 0 && len(ts) > n {
		ts = ts[:n]
		next = encodeCursor(0, ts[n-1].Prefix)
	}
	return ts, next, nil
}

// prefixesOf returns the template prefixes that catch a repository name, the
// longest first: its folders, and ROOT.
func prefixesOf(name string) []string {
	var out []string
	for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		out = append(out, name[:i], name[:i+1])
	}
	return append(out, "ROOT")
}

// repositoryFrom returns the settings that a template gives.
func repositoryFrom(t *ecr.Template) ecr.Repository {
	return ecr.Repository{
		Mutability: t.Mutability, MutabilityExclusion: t.MutabilityExclusion, Encryption: t.Encryption,
		Policy: t.Policy, LifecyclePolicy: t.LifecyclePolicy, Tags: t.Tags,
	}
}

// ensure creates the repository that a push goes to, if it does not exist and
// a template of its account, applied for CREATE_ON_PUSH, catches its name. What
// another region replicates makes a repository in any case, by a template that
// is applied for REPLICATION or with ECR's defaults. The caller must be allowed both the push, by action, and ecr:CreateRepository;
// whoever is not creates nothing. Without a template it does nothing: the
// operation finds out that there is no repository.
func (r *Registry) ensure(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID) error {
	if r.cache.get(id) != nil {
		return nil
	}
	_, err := r.load(ctx, id)
	if !errors.Is(err, meta.ErrNotFound) {
		return err
	}
	if checkAccount(id.Account) != nil || checkName(id.Name) != nil {
		return nil
	}
	var found *ecr.Template
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		prefixes := prefixesOf(id.Name)
		ts, err := tx.TemplatesFor(id.Account, prefixes)
		if c.Replication == "" {
			found = longest(ts, prefixes, "CREATE_ON_PUSH")
		} else if found = longest(ts, prefixes, "REPLICATION"); found == nil {
			found = new(ecr.Template)
		}
		return err
	})
	if err != nil || found == nil {
		return err
	}
	if err := r.ask(ctx, c, action, id, id.ARN(r.cfg.Region)); err != nil {
		return err
	}
	_, err = r.CreateRepository(ctx, c, id, repositoryFrom(found))
	var known *ecr.Error
	if errors.As(err, &known) && known.Code == ecr.RepositoryAlreadyExists {
		return nil // somebody else's push was first
	}
	return err
}

// longest returns the template with the first of prefixes, which are in order,
// that is applied for a purpose.
func longest(ts []*ecr.Template, prefixes []string, purpose string) *ecr.Template {
	for _, p := range prefixes {
		for _, t := range ts {
			if t.Prefix != p {
				continue
			}
			for _, a := range t.AppliedFor {
				if a == purpose {
					return t
				}
			}
		}
	}
	return nil
}
