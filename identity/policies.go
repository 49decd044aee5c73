package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

func noPolicy(arn string) error {
	return ecr.Errorf(ecr.NoSuchEntity, "Policy %s does not exist or is not attachable.", arn)
}

func noInline(k Kind, policy string) error {
	return ecr.Errorf(ecr.NoSuchEntity, "The %s policy with name %s cannot be found.", k, policy)
}

func checkDocument(document string) error {
	if _, err := iam.Parse([]byte(document), iam.Identity); err != nil {
		return ecr.Errorf(ecr.MalformedPolicy, "The policy is malformed: %v", err)
	}
	return nil
}

// PutPolicy sets an inline policy of an entity. Errors: MalformedPolicy,
// NoSuchEntity, LimitExceeded.
func (i *Identity) PutPolicy(ctx context.Context, c ecr.Caller, k Kind, name, policy, document string) error {
	if !policyForm.MatchString(policy) {
		return ecr.Errorf(ecr.Validation, "A policy name has 1 to 128 characters of A-Z a-z 0-9 + = , . @ _ -")
	}
	if err := checkDocument(document); err != nil {
		return err
	}
	return i.change(ctx, c, "iam:Put"+k.title()+"Policy", k, name, func(tx *meta.Tx, e meta.Principal) error {
		all, err := tx.InlinePolicies(e.Row)
		if err != nil {
			return err
		}
		if len(all) >= maxInline && !slices.ContainsFunc(all, func(p meta.InlinePolicy) bool { return p.Name == policy }) {
			return ecr.Errorf(ecr.LimitExceeded, "Cannot exceed quota for inline policies: %d", maxInline)
		}
		return tx.PutInlinePolicy(e.Row, meta.InlinePolicy{Name: policy, Document: document})
	})
}

// GetPolicy returns an inline policy of an entity.
func (i *Identity) GetPolicy(ctx context.Context, c ecr.Caller, k Kind, name, policy string) (document string, err error) {
	err = i.look(ctx, c, "iam:Get"+k.title()+"Policy", k, name, func(tx *meta.Tx, e meta.Principal) error {
		all, err := tx.InlinePolicies(e.Row)
		if err != nil {
			return err
		}
		for _, p := range all {
			if p.Name == policy {
				document = p.Document
				return nil
			}
		}
		return noInline(k, policy)
	})
	return document, err
}

// DeletePolicy deletes an inline policy of an entity.
func (i *Identity) DeletePolicy(ctx context.Context, c ecr.Caller, k Kind, name, policy string) error {
	return i.change(ctx, c, "iam:Delete"+k.title()+"Policy", k, name, func(tx *meta.Tx, e meta.Principal) error {
		err := tx.DeleteInlinePolicy(e.Row, policy)
		if errors.Is(err, meta.ErrNotFound) {
			return noInline(k, policy)
		}
		return err
	})
}

// ListPolicies returns the names of an entity's inline policies, in order.
func (i *Identity) ListPolicies(ctx context.Context, c ecr.Caller, k Kind, name string) (names []string, err error) {
	err = i.look(ctx, c, "iam:List"+k.title()+"Policies", k, name, func(tx *meta.Tx, e meta.Principal) error {
		all, err := tx.InlinePolicies(e.Row)
		for _, p := range all {
			names = append(names, p.Name)
		}
		return err
	})
	return names, err
}

// Attach attaches a managed policy to an entity; once is enough.
// Errors: NoSuchEntity, LimitExceeded.
func (i *Identity) Attach(ctx context.Context, c ecr.Caller, k Kind, name, arn string) error {
	return i.change(ctx, asking(c, nil, "iam:policyarn", arn), "iam:Attach"+k.title()+"Policy", k, name, func(tx *meta.Tx, e meta.Principal) error {
		if _, err := managed(tx, c.Account, arn); err != nil {
			return err
		}
		all, err := tx.Attachments(e.Row)
		if err != nil {
			return err
		}
		if len(all) >= maxAttached && !slices.Contains(all, arn) {
			return ecr.Errorf(ecr.LimitExceeded, "Cannot exceed quota for PoliciesPer%s: %d", k.title(), maxAttached)
		}
		return tx.Attach(e.Row, arn)
	})
}

// Detach ends an attachment.
func (i *Identity) Detach(ctx context.Context, c ecr.Caller, k Kind, name, arn string) error {
	return i.change(ctx, asking(c, nil, "iam:policyarn", arn), "iam:Detach"+k.title()+"Policy", k, name, func(tx *meta.Tx, e meta.Principal) error {
		err := tx.Detach(e.Row, arn)
		if errors.Is(err, meta.ErrNotFound) {
			return ecr.Errorf(ecr.NoSuchEntity, "Policy %s was not found.", arn)
		}
		return err
	})
}

// ListAttached returns the ARNs of an entity's managed policies, in order.
func (i *Identity) ListAttached(ctx context.Context, c ecr.Caller, k Kind, name string) (arns []string, err error) {
	err = i.look(ctx, c, "iam:ListAttached"+k.title()+"Policies", k, name, func(tx *meta.Tx, e meta.Principal) error {
		arns, err = tx.Attachments(e.Row)
		return err
	})
	return arns, err
}

// A ManagedPolicy is a managed policy: AWS's or a customer's.
type ManagedPolicy struct {
	ARN         string
	Name        string
	Path        string
	ID          string
	Description string
	Default     int64 // version
	Attached    int   // to how many entities
	Tags        []ecr.Tag
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// A PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	Version   int64
	Document  string
	Default   bool
	CreatedAt time.Time
}

// maxVersions is how many versions a managed policy can have (IAM quotas).
const maxVersions = 5

// CreatePolicy creates a managed policy in the caller's account.
// Errors: EntityAlreadyExists, MalformedPolicy.
func (i *Identity) CreatePolicy(ctx context.Context, c ecr.Caller, name, path, description, document string, tags []ecr.Tag) (ManagedPolicy, error) {
	if path == "" {
		path = "/"
	}
	if !policyForm.MatchString(name) || len(path) > 512 || !pathForm.MatchString(path) {
		return ManagedPolicy{}, ecr.Errorf(ecr.Validation, "A policy name has 1 to 128 characters of A-Z a-z 0-9 + = , . @ _ -, and a path begins and ends with /")
	}
	if err := errors.Join(checkDocument(document), checkTags(nil, tags, nil)); err != nil {
		return ManagedPolicy{}, err
	}
	arn := "arn:aws:iam::" + c.Account + ":policy" + path + name
	var p meta.ManagedPolicy
	err := i.update(ctx, asking(c, tags), "iam:CreatePolicy", c.Account, arn, func(tx *meta.Tx) error {
		now := i.now()
		p = meta.ManagedPolicy{ARN: arn, Account: c.Account, Name: name, Path: path, UniqueID: "ANPA" + randomText(17, idAlphabet), Description: description,
			Default: 1, Latest: 1, Tags: tags, CreatedAt: now, UpdatedAt: now}
		if err := tx.InsertManagedPolicy(&p); errors.Is(err, meta.ErrExists) {
			return ecr.Errorf(ecr.EntityAlreadyExists, "A policy called %s already exists. Duplicate names are not allowed.", name)
		} else if err != nil {
			return err
		}
		return tx.InsertPolicyVersion(arn, meta.PolicyVersion{Version: 1, Document: document, CreatedAt: now})
	})
	return asManaged(p, 0), err
}

func asManaged(p meta.ManagedPolicy, attached int) ManagedPolicy {
	return ManagedPolicy{ARN: p.ARN, Name: p.Name, Path: p.Path, ID: p.UniqueID, Description: p.Description, Default: p.Default, Attached: attached,
		Tags: p.Tags, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt}
}

// awsManagedSince stands for when AWS made its policies for ECR.
var awsManagedSince = time.Date(2015, 12, 21, 17, 6, 48, 0, time.UTC)

// awsManaged returns one of the policies that AWS manages, and its document.
func awsManaged(arn string) (ManagedPolicy, string, bool) {
	document, ok := iam.ManagedDocument(arn)
	sum := sha256.Sum256([]byte(arn))
	id := "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
	return ManagedPolicy{ARN: arn, Name: arn[strings.LastIndexByte(arn, '/')+1:], Path: "/", ID: id, Default: 1,
		CreatedAt: awsManagedSince, UpdatedAt: awsManagedSince}, document, ok
}

// findManaged looks a managed policy of the caller's account up for a door.
func findManaged(c ecr.Caller, arn string) func(*meta.Tx) (target, error) {
	return func(tx *meta.Tx) (target, error) {
		p, err := tx.ManagedPolicy(arn)
		if errors.Is(err, meta.ErrNotFound) || err == nil && p.Account != c.Account {
			return target{resource: arn}, nil // AWS's, or none
		}
		return target{resource: arn, tags: p.Tags}, err
	}
}

func (i *Identity) managedOf(tx *meta.Tx, c ecr.Caller, arn string) (meta.ManagedPolicy, error) {
	p, err := tx.ManagedPolicy(arn)
	if errors.Is(err, meta.ErrNotFound) || err == nil && p.Account != c.Account {
		return p, ecr.Errorf(ecr.NoSuchEntity, "Policy %s was not found.", arn)
	}
	return p, err
}

// ManagedPolicy returns a managed policy, for action. Errors: NoSuchEntity.
func (i *Identity) ManagedPolicy(ctx context.Context, c ecr.Caller, action, arn string) (out ManagedPolicy, err error) {
	err = i.viewFound(ctx, c, action, c.Account, findManaged(c, arn), func(tx *meta.Tx) error {
		users, err := tx.CountAttached(c.Account, arn)
		if err != nil {
			return err
		}
		if aws, _, ok := awsManaged(arn); ok {
			aws.Attached = users
			out = aws
			return nil
		}
		p, err := i.managedOf(tx, c, arn)
		out = asManaged(p, users)
		return err
	})
	return out, err
}

// A PolicyFilter says which managed policies are meant.
type PolicyFilter struct {
	AWS, Local bool   // AWS's, the account's
	Attached   bool   // only those that are attached
	Path       string // that theirs begins with
}

// ManagedPolicies returns the managed policies whose ARNs follow after, in
// order, limit at most. AWS's come last.
func (i *Identity) ManagedPolicies(ctx context.Context, c ecr.Caller, f PolicyFilter, after string, limit int) (out []ManagedPolicy, err error) {
	err = i.view(ctx, c, "iam:ListPolicies", c.Account, "arn:aws:iam::"+c.Account+":policy/*", func(tx *meta.Tx) error {
		out = nil
		if f.Local {
			list, err := tx.ManagedPolicies(c.Account, f.Path, after, f.Attached, limit)
			if err != nil {
				return err
			}
			for _, p := range list {
				out = append(out, asManaged(p, 0))
			}
		}
		if f.AWS && strings.HasPrefix("/", f.Path) {
			if out, err = awsPolicies(tx, c.Account, f, after, limit, out); err != nil {
				return err
			}
		}
		for n := range out {
			if out[n].Attached, err = tx.CountAttached(c.Account, out[n].ARN); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// awsPolicies appends AWS's policies that follow after to out, limit at most.
func awsPolicies(tx *meta.Tx, account string, f PolicyFilter, after string, limit int, out []ManagedPolicy) ([]ManagedPolicy, error) {
	for _, arn := range iam.ManagedARNs() {
		if arn <= after || len(out) >= limit {
			continue
		}
		if n, err := tx.CountAttached(account, arn); err != nil {
			return nil, err
		} else if n == 0 && f.Attached {
			continue
		}
		p, _, _ := awsManaged(arn)
		out = append(out, p)
	}
	return out, nil
}

// AttachedTo returns the entities that use a managed policy, by kind and name.
// Errors: NoSuchEntity.
func (i *Identity) AttachedTo(ctx context.Context, c ecr.Caller, arn string) (out []Entity, err error) {
	err = i.viewFound(ctx, c, "iam:ListEntitiesForPolicy", c.Account, findManaged(c, arn), func(tx *meta.Tx) error {
		if _, _, aws := awsManaged(arn); !aws {
			if _, err := i.managedOf(tx, c, arn); err != nil {
				return err
			}
		}
		list, err := tx.AttachedTo(c.Account, arn)
		for _, e := range list {
			out = append(out, asEntity(e))
		}
		return err
	})
	return out, err
}

// TagPolicy sets tags on a managed policy; others stay.
func (i *Identity) TagPolicy(ctx context.Context, c ecr.Caller, arn string, tags []ecr.Tag) error {
	return i.setManaged(ctx, asking(c, tags), "iam:TagPolicy", arn, func(p *meta.ManagedPolicy) error { return checkTags(p.Tags, tags, &p.Tags) })
}

// UntagPolicy removes tags of a managed policy.
func (i *Identity) UntagPolicy(ctx context.Context, c ecr.Caller, arn string, keys []string) error {
	return i.setManaged(ctx, untagging(c, keys), "iam:UntagPolicy", arn, func(p *meta.ManagedPolicy) error {
		p.Tags = RemoveTags(p.Tags, keys)
		return nil
	})
}

func (i *Identity) setManaged(ctx context.Context, c ecr.Caller, action, arn string, fn func(*meta.ManagedPolicy) error) error {
	return i.updateFound(ctx, c, action, c.Account, findManaged(c, arn), func(tx *meta.Tx) error {
		p, err := i.managedOf(tx, c, arn)
		if err != nil {
			return err
		}
		if err := fn(&p); err != nil {
			return err
		}
		return tx.UpdateManagedPolicy(&p)
	})
}

// DeleteManagedPolicy deletes a managed policy that is attached to nothing.
// Errors: NoSuchEntity, DeleteConflict.
func (i *Identity) DeleteManagedPolicy(ctx context.Context, c ecr.Caller, arn string) error {
	return i.updateFound(ctx, c, "iam:DeletePolicy", c.Account, findManaged(c, arn), func(tx *meta.Tx) error {
		if _, err := i.managedOf(tx, c, arn); err != nil {
			return err
		}
		users, err := tx.AttachedTo(c.Account, arn)
		if err != nil {
			return err
		}
		versions, err := tx.PolicyVersions(arn)
		switch {
		case err != nil:
			return err
		case len(users) > 0:
			return ecr.Errorf(ecr.DeleteConflict, "Cannot delete a policy attached to entities.")
		case len(versions) > 1:
			return ecr.Errorf(ecr.DeleteConflict, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		return tx.DeleteManagedPolicy(arn)
	})
}

// PolicyVersions returns the versions of a managed policy, the newest first.
func (i *Identity) PolicyVersions(ctx context.Context, c ecr.Caller, action, arn string) (out []PolicyVersion, err error) {
	err = i.viewFound(ctx, c, action, c.Account, findManaged(c, arn), func(tx *meta.Tx) error {
		if aws, document, ok := awsManaged(arn); ok {
			out = []PolicyVersion{{Version: 1, Document: document, Default: true, CreatedAt: aws.CreatedAt}}
			return nil
		}
		p, err := i.managedOf(tx, c, arn)
		if err != nil {
			return err
		}
		list, err := tx.PolicyVersions(arn)
		for _, v := range list {
			out = append(out, PolicyVersion{v.Version, v.Document, v.Version == p.Default, v.CreatedAt})
		}
		return err
	})
	return out, err
}

// CreatePolicyVersion adds a version to a managed policy, and puts it in force
// if it is to be the default. Errors: LimitExceeded, MalformedPolicy.
func (i *Identity) CreatePolicyVersion(ctx context.Context, c ecr.Caller, arn, document string, isDefault bool) (v PolicyVersion, err error) {
	if err := checkDocument(document); err != nil {
		return v, err
	}
	err = i.updateFound(ctx, c, "iam:CreatePolicyVersion", c.Account, findManaged(c, arn), func(tx *meta.Tx) error {
		p, err := i.managedOf(tx, c, arn)
		if err != nil {
			return err
		}
		list, err := tx.PolicyVersions(arn)
		if err != nil {
			return err
		}
		if len(list) >= maxVersions {
			return ecr.Errorf(ecr.LimitExceeded, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.Latest++
		p.UpdatedAt = i.now()
		if isDefault {
			p.Default = p.Latest
		}
		v = PolicyVersion{p.Latest, document, isDefault, p.UpdatedAt}
		if err := tx.InsertPolicyVersion(arn, meta.PolicyVersion{Version: p.Latest, Document: document, CreatedAt: p.UpdatedAt}); err != nil {
			return err
		}
		return tx.UpdateManagedPolicy(&p)
	})
	return v, err
}

// version runs fn on a version of a managed policy.
func (i *Identity) version(ctx context.Context, c ecr.Caller, action, arn string, version int64, fn func(*meta.Tx, *meta.ManagedPolicy) error) error {
	return i.updateFound(ctx, c, action, c.Account, findManaged(c, arn), func(tx *meta.Tx) error {
		p, err := i.managedOf(tx, c, arn)
		if err != nil {
			return err
		}
		list, err := tx.PolicyVersions(arn)
		if err != nil {
			return err
		}
		for _, v := range list {
			if v.Version == version {
				return fn(tx, &p)
			}
		}
		return ecr.Errorf(ecr.NoSuchEntity, "Policy %s version v%d does not exist.", arn, version)
	})
}

// SetDefaultPolicyVersion puts a version of a managed policy in force.
func (i *Identity) SetDefaultPolicyVersion(ctx context.Context, c ecr.Caller, arn string, version int64) error {
	return i.version(ctx, c, "iam:SetDefaultPolicyVersion", arn, version, func(tx *meta.Tx, p *meta.ManagedPolicy) error {
		p.Default, p.UpdatedAt = version, i.now()
		return tx.UpdateManagedPolicy(p)
	})
}

// DeletePolicyVersion deletes a version that is not in force.
// Errors: NoSuchEntity, DeleteConflict.
func (i *Identity) DeletePolicyVersion(ctx context.Context, c ecr.Caller, arn string, version int64) error {
	return i.version(ctx, c, "iam:DeletePolicyVersion", arn, version, func(tx *meta.Tx, p *meta.ManagedPolicy) error {
		if p.Default == version {
			return ecr.Errorf(ecr.DeleteConflict, "Cannot delete the default version of a policy.")
		}
		return tx.DeletePolicyVersion(arn, version)
	})
}
