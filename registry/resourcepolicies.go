package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// maxPolicyText is the longest policy of a repository or a registry, in bytes
// (ECR API, SetRepositoryPolicy).
const maxPolicyText = 10 << 10

// settlePolicy checks a policy of a repository or a registry and returns it in
// the form that ECR gives it back in.
func settlePolicy(kind, text string) (string, error) {
	invalid := fmt.Sprintf("Invalid %s policy provided", kind)
	if len(text) > maxPolicyText {
		return "", ecr.InvalidParam("PolicyText", fmt.Sprintf("%s: it is longer than %d bytes", invalid, maxPolicyText))
	}
	if _, err := iam.Parse([]byte(text), iam.Resource); err != nil {
		return "", ecr.InvalidParam("PolicyText", fmt.Sprintf("%s: %s", invalid, clean(err.Error(), 300)))
	}
	return spaced(text)
}

// spaced writes JSON anew with a space on either side of a colon, a member a
// line and a list's entries on one, as ECR does with policies. The members
// keep their order.
func spaced(text string) (string, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	var b bytes.Buffer
	if err := space(d, &b, "\n"); err != nil {
		return "", err
	}
	return b.String(), nil
}

// space copies one value; line is what begins a line at its level.
func space(d *json.Decoder, b *bytes.Buffer, line string) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(t); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the newline
		return nil
	}
	b.WriteString(open.String())
	inner, empty := line+"  ", true
	for d.More() {
		if !empty {
			b.WriteByte(',')
		}
		empty = false
		if open == '[' {
			b.WriteByte(' ')
			if err := space(d, b, line); err != nil {
				return err
			}
			continue
		}
		b.WriteString(inner)
		if err := space(d, b, inner); err != nil { // the name
			return err
		}
		b.WriteString(" : ")
		if err := space(d, b, inner); err != nil {
			return err
		}
	}
	shut, err := d.Token()
	if err != nil {
		return err
	}
	if open == '[' || empty {
		line = " "
	}
	b.WriteString(line)
	b.WriteString(shut.(json.Delim).String())
	return nil
}

// SetRepositoryPolicy sets a repository's policy and returns it as it is kept.
// A policy that would keep the caller from setting another needs force.
// Errors: RepositoryNotFound, InvalidParameter.
func (r *Registry) SetRepositoryPolicy(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, text string, force bool) (string, error) {
	const action = "ecr:SetRepositoryPolicy"
	text, err := settlePolicy("repository", text)
	if err != nil {
		return "", err
	}
	_, err = r.change(ctx, c, action, id, nil, func(repo *ecr.Repository) error {
		repo.Policy = text
		if force {
			return nil
		}
		p, err := r.rules(repo)
		if err != nil {
			return err
		}
		if r.allow(c, action, id.ARN(r.cfg.Region), id.Account, p, repo.Tags, nil) != nil {
			return ecr.InvalidParam("PolicyText", "The policy would keep you from setting another: use force to set it all the same")
		}
		return nil
	})
	return text, err
}

func noRepositoryPolicy(id ecr.RepositoryID) error {
	return ecr.Errorf(ecr.RepositoryPolicyNotFound, "Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", id.Name, id.Account)
}

// GetRepositoryPolicy returns a repository's policy.
// Errors: RepositoryNotFound, RepositoryPolicyNotFound.
func (r *Registry) GetRepositoryPolicy(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (text string, err error) {
	err = r.view(ctx, c, "ecr:GetRepositoryPolicy", id, func(_ *meta.Tx, repo *ecr.Repository) error {
		if text = repo.Policy; text == "" {
			return noRepositoryPolicy(id)
		}
		return nil
	})
	return text, err
}

// DeleteRepositoryPolicy removes a repository's policy and returns it.
// Errors: as GetRepositoryPolicy.
func (r *Registry) DeleteRepositoryPolicy(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (text string, err error) {
	_, err = r.change(ctx, c, "ecr:DeleteRepositoryPolicy", id, nil, func(repo *ecr.Repository) error {
		if text = repo.Policy; text == "" {
			return noRepositoryPolicy(id)
		}
		repo.Policy = ""
		return nil
	})
	return text, err
}

// PutRegistryPolicy sets the policy of the caller's registry, which takes part
// in every decision on it (scope V2), and returns it as it is kept.
// Errors: InvalidParameter.
func (r *Registry) PutRegistryPolicy(ctx context.Context, c ecr.Caller, text string) (string, error) {
	text, err := settlePolicy("registry", text)
	if err != nil {
		return "", err
	}
	defer r.cache.dropAccount(c.Account)
	return text, r.updateRegistry(ctx, c, "ecr:PutRegistryPolicy", c.Account, func(tx *meta.Tx) error {
		return tx.PutRegistryPolicy(c.Account, text)
	})
}

func noRegistryPolicy(account string) error {
	return ecr.Errorf(ecr.RegistryPolicyNotFound, "Registry policy does not exist in the registry with id '%s'", account)
}

// GetRegistryPolicy returns the policy of the caller's registry.
// Errors: RegistryPolicyNotFound.
func (r *Registry) GetRegistryPolicy(ctx context.Context, c ecr.Caller) (text string, err error) {
	const action = "ecr:GetRegistryPolicy"
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if err := r.allowAll(tx, c, action, c.Account); err != nil {
			return err
		}
		if text, err = tx.RegistryPolicy(c.Account); err == nil && text == "" {
			err = noRegistryPolicy(c.Account)
		}
		return err
	})
	return text, r.denied(ctx, c, action, ecr.RepositoryID{Account: c.Account}, err)
}

// DeleteRegistryPolicy removes the policy of the caller's registry and returns
// it. Errors: RegistryPolicyNotFound.
func (r *Registry) DeleteRegistryPolicy(ctx context.Context, c ecr.Caller) (text string, err error) {
	defer r.cache.dropAccount(c.Account)
	err = r.updateRegistry(ctx, c, "ecr:DeleteRegistryPolicy", c.Account, func(tx *meta.Tx) (err error) {
		if text, err = tx.RegistryPolicy(c.Account); err != nil {
			return err
		}
		if err := tx.DeleteRegistryPolicy(c.Account); errors.Is(err, meta.ErrNotFound) {
			return noRegistryPolicy(c.Account)
		} else if err != nil {
			return err
		}
		return nil
	})
	return text, err
}
