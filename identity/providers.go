package identity

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// An OIDCProvider is an issuer of web identities that an account trusts.
type OIDCProvider struct {
	ARN         string
	URL         string // without https://
	ClientIDs   []string
	Thumbprints []string // SHA-1 of a certificate in hexadecimal
	Tags        []ecr.Tag
	CreatedAt   time.Time
}

// Bounds of a provider (IAM quotas).
const (
	maxClientIDs   = 100
	maxThumbprints = 5
)

func providerARN(account, url string) string {
	return "arn:aws:iam::" + account + ":oidc-provider/" + url
}

func asProvider(p meta.OIDCProvider) OIDCProvider {
	return OIDCProvider{providerARN(p.Account, p.URL), p.URL, p.ClientIDs, p.Thumbprints, p.Tags, p.CreatedAt}
}

func noProvider(arn string) error {
	return ecr.Errorf(ecr.NoSuchEntity, "OpenIDConnect Provider not found for arn %s", arn)
}

func checkProvider(p *meta.OIDCProvider) error {
	if len(p.ClientIDs) > maxClientIDs {
		return ecr.Errorf(ecr.LimitExceeded, "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
	}
	if len(p.Thumbprints) > maxThumbprints {
		return ecr.Errorf(ecr.Validation, "Thumbprint list must contain fewer than %d entries.", maxThumbprints+1)
	}
	for _, id := range p.ClientIDs {
		if id == "" || len(id) > 255 {
			return ecr.Errorf(ecr.Validation, "A client ID has 1 to 255 characters")
		}
	}
	for n, t := range p.Thumbprints {
		if len(t) != 40 || strings.Trim(strings.ToLower(t), "0123456789abcdef") != "" {
			return ecr.Errorf(ecr.Validation, "A thumbprint has 40 hexadecimal digits: the SHA-1 of a certificate")
		}
		p.Thumbprints[n] = strings.ToLower(t)
	}
	return checkTags(nil, p.Tags, nil)
}

// CreateOIDCProvider makes the caller's account trust an issuer, an https URL.
// Errors: EntityAlreadyExists, Validation.
func (i *Identity) CreateOIDCProvider(ctx context.Context, c ecr.Caller, issuer string, clientIDs, thumbprints []string, tags []ecr.Tag) (OIDCProvider, error) {
	u, err := url.Parse(issuer)
	if err != nil || !strings.HasPrefix(issuer, "https://") || strings.ContainsAny(issuer, "?#") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(issuer) > 255 {
		return OIDCProvider{}, ecr.Errorf(ecr.Validation, "Invalid Open ID Connect Provider URL: it must begin with https:// and have neither query nor fragment")
	}
	p := meta.OIDCProvider{Account: c.Account, URL: strings.TrimPrefix(issuer, "https://"), ClientIDs: clientIDs, Thumbprints: slices.Clone(thumbprints), Tags: tags}
	if err := checkProvider(&p); err != nil {
		return OIDCProvider{}, err
	}
	err = i.update(ctx, asking(c, tags), "iam:CreateOpenIDConnectProvider", c.Account, providerARN(c.Account, p.URL), func(tx *meta.Tx) error {
		old, err := tx.OIDCProviders(c.Account, p.URL)
		if err != nil {
			return err
		}
		if len(old) > 0 {
			return ecr.Errorf(ecr.EntityAlreadyExists, "Provider with url https://%s already exists.", p.URL)
		}
		p.CreatedAt = i.now()
		return tx.PutOIDCProvider(p)
	})
	return asProvider(p), err
}

// provider returns the URL of a provider of the caller's account by its ARN.
func (i *Identity) provider(tx *meta.Tx, c ecr.Caller, arn string) (meta.OIDCProvider, error) {
	url, ok := strings.CutPrefix(arn, providerARN(c.Account, ""))
	if !ok || url == "" {
		return meta.OIDCProvider{}, noProvider(arn)
	}
	list, err := tx.OIDCProviders(c.Account, url)
	if err == nil && len(list) == 0 {
		err = noProvider(arn)
	}
	if err != nil {
		return meta.OIDCProvider{}, err
	}
	return list[0], nil
}

// findProvider looks a provider of the caller's account up for a door.
func (i *Identity) findProvider(c ecr.Caller, arn string) func(*meta.Tx) (target, error) {
	return func(tx *meta.Tx) (target, error) {
		p, err := i.provider(tx, c, arn)
		if _, missing := errors.AsType[*ecr.Error](err); missing {
			err = nil // fn says so
		}
		return target{resource: arn, tags: p.Tags}, err
	}
}

// GetOIDCProvider returns a provider, for action. Errors: NoSuchEntity.
func (i *Identity) GetOIDCProvider(ctx context.Context, c ecr.Caller, action, arn string) (out OIDCProvider, err error) {
	err = i.viewFound(ctx, c, action, c.Account, i.findProvider(c, arn), func(tx *meta.Tx) error {
		p, err := i.provider(tx, c, arn)
		out = asProvider(p)
		return err
	})
	return out, err
}

// ListOIDCProviders returns the providers of the caller's account.
func (i *Identity) ListOIDCProviders(ctx context.Context, c ecr.Caller) (out []OIDCProvider, err error) {
	err = i.view(ctx, c, "iam:ListOpenIDConnectProviders", c.Account, providerARN(c.Account, "*"), func(tx *meta.Tx) error {
		list, err := tx.OIDCProviders(c.Account, "")
		for _, p := range list {
			out = append(out, asProvider(p))
		}
		return err
	})
	return out, err
}

// UpdateOIDCProvider changes a provider by fn; action is IAM's. Tags are those
// that fn sets, keys those that it takes away.
func (i *Identity) UpdateOIDCProvider(ctx context.Context, c ecr.Caller, action, arn string, tags []ecr.Tag, keys []string, fn func(*OIDCProvider)) error {
	c = asking(c, tags)
	c.Request["aws:tagkeys"] = append(c.Request["aws:tagkeys"], keys...)
	return i.updateFound(ctx, c, action, c.Account, i.findProvider(c, arn), func(tx *meta.Tx) error {
		p, err := i.provider(tx, c, arn)
		if err != nil {
			return err
		}
		changed := asProvider(p)
		fn(&changed)
		p.ClientIDs, p.Thumbprints, p.Tags = changed.ClientIDs, changed.Thumbprints, changed.Tags
		if err := checkProvider(&p); err != nil {
			return err
		}
		return tx.PutOIDCProvider(p)
	})
}

// DeleteOIDCProvider ends the trust in an issuer. Sessions that it led to go on.
func (i *Identity) DeleteOIDCProvider(ctx context.Context, c ecr.Caller, arn string) error {
	return i.updateFound(ctx, c, "iam:DeleteOpenIDConnectProvider", c.Account, i.findProvider(c, arn), func(tx *meta.Tx) error {
		p, err := i.provider(tx, c, arn)
		if err != nil {
			return err
		}
		err = tx.DeleteOIDCProvider(c.Account, p.URL)
		if errors.Is(err, meta.ErrNotFound) {
			return noProvider(arn)
		}
		return err
	})
}
