package registry

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

const (
	overrideTerm  = 90 * 24 * time.Hour       // unless it says otherwise
	overrideMost  = 10 * 366 * 24 * time.Hour // that it may say
	overrideAhead = 7 * 24 * time.Hour        // before its end it is told of
	maxOverrides  = 10_000                    // of an account
	refreshKey    = "refresh/"                // begins the key of a job that counts anew: account/repository
)

// suppression is an override in the words of vuln.
func suppression(o *ecr.Override) vuln.Suppression {
	return vuln.Suppression{
		ID: strconv.FormatInt(o.ID, 10), Vulnerability: o.Vulnerability, Package: o.Package, Path: o.Path,
		Registry: o.Account, Repository: o.Repository, Digest: o.Digest, Disposition: vuln.Disposition(o.Status),
		Reason: o.Description, By: o.Author, Created: o.CreatedAt.UnixMilli(), Expires: o.ExpiresAt.UnixMilli(),
	}
}

// aside says which findings of an image are set aside now, and by what.
func (r *Registry) aside(tx *meta.Tx, img *ecr.Image, inv *Inventory, found []vuln.Finding) (vuln.Aside, []ecr.Override, error) {
	now := r.now()
	overrides, err := tx.OverridesAt(img.Repository, img.Digest, now)
	if err != nil {
		return vuln.Aside{}, nil, err
	}
	list := make([]vuln.Suppression, len(overrides))
	for i := range overrides {
		list[i] = suppression(&overrides[i])
	}
	at := vuln.Place{Registry: img.Repository.Account, Repository: img.Repository.Name, Digest: img.Digest}
	return vuln.Suppress(&inv.Image, found, list, at, now.UnixMilli()), overrides, nil
}

// PutImageScanFindingsOverride sets findings aside until o.ExpiresAt, or for 90
// days if that is zero. o.Repository and o.Digest say of which images; arn, if it
// is not "", is that of a finding of the image and stands for its vulnerability
// and package. An override of the same findings is replaced.
// Errors: RepositoryNotFound, ImageNotFound, LimitExceeded, Validation.
func (r *Registry) PutImageScanFindingsOverride(ctx context.Context, c ecr.Caller, o ecr.Override, arn string) (ecr.Override, error) {
	const action = "ecr:PutImageScanFindingsOverride"
	o.CreatedAt, o.Author = r.now(), c.ARN
	if o.ExpiresAt.IsZero() {
		o.ExpiresAt = o.CreatedAt.Add(overrideTerm)
	}
	o.ExpiresAt = o.ExpiresAt.UTC().Truncate(time.Millisecond)
	for _, text := range []*string{&o.Vulnerability, &o.Package, &o.Path, &o.Description} {
		*text = clean(strings.TrimSpace(*text), 1024)
	}
	o.Path = strings.TrimPrefix(o.Path, "/")
	if err := r.checkOverride(&o, arn); err != nil {
		return o, err
	}
	err := r.updateScope(ctx, c, action, o.Account, o.Repository, func(tx *meta.Tx, repo *ecr.Repository) error {
		if o.Digest != "" {
			img, err := findImage(tx, repo, ecr.ImageID{Digest: o.Digest})
			if err != nil {
				return err
			}
			if arn != "" {
				if err := r.resolveFinding(tx, img, arn, &o); err != nil {
					return err
				}
			}
		}
		if n, err := tx.CountOverrides(o.Account); err != nil {
			return err
		} else if n >= maxOverrides {
			return ecr.Errorf(ecr.LimitExceeded, "The maximum number of overrides per registry (%d) has been reached: delete expired ones", maxOverrides)
		}
		told := 0
		if o.ExpiresAt.Sub(o.CreatedAt) <= overrideAhead {
			told = 1
		}
		if err := tx.PutOverride(&o, told); err != nil {
			return err
		}
		return r.overrideChanged(tx, c, ecr.OverridePut, action, &o)
	})
	return o, err
}

func (r *Registry) checkOverride(o *ecr.Override, arn string) error {
	if o.Digest != "" && o.Repository == "" {
		return ecr.InvalidParam("imageDigest", "Member must be null when repositoryName is")
	}
	if arn != "" && (o.Digest == "" || o.Vulnerability != "" || o.Package != "") {
		return ecr.InvalidParam("findingArn", "It takes repositoryName and imageDigest beside it, and neither vulnerabilityId nor packageName")
	}
	if o.ExpiresAt.Sub(o.CreatedAt) > overrideMost {
		return ecr.InvalidParam("expiresAt", "Member must be within ten years from now")
	}
	s := suppression(o)
	if arn != "" {
		s.Vulnerability = arn
	}
	if err := s.Check(); err != nil {
		return ecr.Errorf(ecr.Validation, "The override is not valid: %s", err)
	}
	return nil
}

// resolveFinding sets what a finding of an image is about.
func (r *Registry) resolveFinding(tx *meta.Tx, img *ecr.Image, arn string, o *ecr.Override) error {
	images, err := r.scanned(tx, img)
	if err != nil {
		return err
	}
	for _, one := range images {
		inv, err := inventory(tx, one.Row)
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		found, err := findingsOf(tx, inv, ecr.ScanEnhanced)
		if err != nil {
			return err
		}
		for i := range found {
			if f := &found[i]; r.findingARN(one, f) == arn {
				o.Vulnerability, o.Package, o.Digest = f.Vulnerability, f.Identity.Name, one.Digest
				return nil
			}
		}
	}
	return ecr.InvalidParam("findingArn", "The image has no such finding")
}

// updateScope is the door to a write about a repository, or about all of an
// account if repository is "": repo is nil then.
func (r *Registry) updateScope(ctx context.Context, c ecr.Caller, action, account, repository string, fn func(*meta.Tx, *ecr.Repository) error) error {
	id := ecr.RepositoryID{Account: account, Name: repository}
	if repository != "" {
		return r.updateKeeping(ctx, c, action, id, nil, fn)
	}
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := r.allowAll(tx, c, action, account); err != nil {
			return err
		}
		return fn(tx, nil)
	})
	return r.denied(ctx, c, action, id, err)
}

// overrideChanged appends the event of a change of an override, and has the
// images counted anew that it is for.
func (r *Registry) overrideChanged(tx *meta.Tx, c ecr.Caller, t ecr.EventType, action string, o *ecr.Override) error {
	e := r.event(c, t, action, ecr.RepositoryID{Account: o.Account, Name: o.Repository})
	e.Digest, e.Code = o.Digest, strconv.FormatInt(o.ID, 10)
	if err := tx.Append(e); err != nil {
		return err
	}
	now := r.now()
	return tx.Enqueue(ScanQueue, refreshKey+o.Account+"/"+o.Repository, nil, now, now)
}

// ListImageScanFindingsOverrides returns a page of an account's overrides, the
// expired ones among them; of what is not "", only those.
func (r *Registry) ListImageScanFindingsOverrides(ctx context.Context, c ecr.Caller, account, repository, digest, vulnerability string, p ecr.Page) (list []ecr.Override, next string, err error) {
	const action = "ecr:ListImageScanFindingsOverrides"
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	after, _, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	fn := func(tx *meta.Tx, _ *ecr.Repository) (err error) {
		list, err = tx.Overrides(account, repository, digest, vulnerability, after, n+1)
		return err
	}
	if repository != "" {
		err = r.view(ctx, c, action, ecr.RepositoryID{Account: account, Name: repository}, fn)
	} else {
		err = r.db.View(ctx, func(tx *meta.Tx) error {
			if err := r.allowAll(tx, c, action, account); err != nil {
				return err
			}
			return fn(tx, nil)
		})
		err = r.denied(ctx, c, action, ecr.RepositoryID{Account: account}, err)
	}
	if len(list) > n {
		list = list[:n]
		next = encodeCursor(list[n-1].ID, "")
	}
	return list, next, err
}

// DeleteImageScanFindingsOverride ends an override of an account.
// Errors: OverrideNotFound.
func (r *Registry) DeleteImageScanFindingsOverride(ctx context.Context, c ecr.Caller, account string, id int64) (o ecr.Override, err error) {
	const action = "ecr:DeleteImageScanFindingsOverride"
	of := ecr.RepositoryID{Account: account}
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		o, err = tx.Override(account, id)
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		found := err == nil
		if of.Name = o.Repository; !found || of.Name == "" { // who may not delete all learns of none
			of.Name = ""
			err = r.allowAll(tx, c, action, account)
		} else {
			var repo *ecr.Repository
			if repo, err = tx.Repository(of); errors.Is(err, meta.ErrNotFound) {
				repo, err = nil, nil
			}
			if err == nil {
				err = r.allowIn(tx, c, action, of, repo, nil)
			}
		}
		if err != nil {
			return err
		}
		if !found {
			return ecr.Errorf(ecr.OverrideNotFound, "The override with id '%d' does not exist in the registry with id '%s'", id, account)
		}
		if err := tx.DeleteOverride(id); err != nil {
			return err
		}
		return r.overrideChanged(tx, c, ecr.OverrideDeleted, action, &o)
	})
	return o, r.denied(ctx, c, action, of, err)
}

// TellOverrides appends an event for each override that expires within a week,
// and one for each that has expired, once; what these set aside is counted anew.
// It takes limit of each kind at most, and returns how many there were.
func (r *Registry) TellOverrides(ctx context.Context, limit int) (n int, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		n = 0
		now := r.now()
		for _, step := range []struct {
			told   int
			before time.Time
			event  ecr.EventType
		}{{2, now, ecr.OverrideExpired}, {1, now.Add(overrideAhead), ecr.OverrideExpiring}} {
			list, err := tx.DueOverrides(step.before, step.told, limit)
			if err != nil {
				return err
			}
			n += len(list)
			for i := range list {
				if err := tx.Told(list[i].ID, step.told); err != nil {
					return err
				}
				if err := r.overrideChanged(tx, scanner(list[i].Account), step.event, "", &list[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return n, err
}
