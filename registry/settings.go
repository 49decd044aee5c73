package registry

import (
	"context"
	"errors"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

const (
	basicScan    = "BASIC_SCAN_TYPE_VERSION"
	policyScope  = "REGISTRY_POLICY_SCOPE"
	blobMounting = "BLOB_MOUNTING"
)

// settingDefault returns what an account setting is unless set, and the values
// that it can take; ok is false for a name that is none.
func settingDefault(name string) (value string, values []string, ok bool) {
	switch name {
	case basicScan:
		return "AWS_NATIVE", []string{"AWS_NATIVE"}, true
	case policyScope:
		return "V2", []string{"V2"}, true
	case blobMounting:
		return "ENABLED", []string{"ENABLED", "DISABLED"}, true
	}
	return "", nil, false
}

func setting(tx *meta.Tx, account, name string) (string, error) {
	value, err := tx.Setting(account, name)
	if errors.Is(err, meta.ErrNotFound) {
		value, _, _ = settingDefault(name)
		return value, nil
	}
	return value, err
}

func checkSetting(name string) ([]string, error) {
	_, values, ok := settingDefault(name)
	if !ok {
		return nil, ecr.InvalidParam("name", "Member must satisfy enum value set: [BASIC_SCAN_TYPE_VERSION, REGISTRY_POLICY_SCOPE, BLOB_MOUNTING]")
	}
	return values, nil
}

// GetAccountSetting returns a setting of the caller's account.
func (r *Registry) GetAccountSetting(ctx context.Context, c ecr.Caller, name string) (value string, err error) {
	const action = "ecr:GetAccountSetting"
	if _, err := checkSetting(name); err != nil {
		return "", err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if err := r.allowAll(tx, c, action, c.Account); err != nil {
			return err
		}
		value, err = setting(tx, c.Account, name)
		return err
	})
	return value, r.denied(ctx, c, action, ecr.RepositoryID{Account: c.Account}, err)
}

// PutAccountSetting sets a setting of the caller's account.
func (r *Registry) PutAccountSetting(ctx context.Context, c ecr.Caller, name, value string) error {
	values, err := checkSetting(name)
	if err != nil {
		return err
	}
	ok := false
	for _, v := range values {
		ok = ok || v == value
	}
	if !ok {
		return ecr.InvalidParam("value", "Member must satisfy enum value set: "+enum(values))
	}
	return r.updateRegistry(ctx, c, "ecr:PutAccountSetting", c.Account, func(tx *meta.Tx) error {
		return tx.PutSetting(c.Account, name, value)
	})
}

func enum(values []string) string {
	s := "["
	for i, v := range values {
		if i > 0 {
			s += ", "
		}
		s += v
	}
	return s + "]"
}

// updateRegistry is the door to a write to what belongs to an account as a
// whole: it decides, runs fn and appends the event in one transaction.
func (r *Registry) updateRegistry(ctx context.Context, c ecr.Caller, action, account string, fn func(*meta.Tx) error) error {
	id := ecr.RepositoryID{Account: account}
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := r.allowAll(tx, c, action, account); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Append(r.event(c, ecr.RegistryChanged, action, id))
	})
	return r.denied(ctx, c, action, id, err)
}

// RegisterPullTimeExclusion keeps the pulls of a principal from moving the time
// of the last pull.
func (r *Registry) RegisterPullTimeExclusion(ctx context.Context, c ecr.Caller, principalARN string) (ecr.PullTimeExclusion, error) {
	x := ecr.PullTimeExclusion{PrincipalARN: principalARN, CreatedAt: r.now()}
	err := r.updateRegistry(ctx, c, "ecr:RegisterPullTimeUpdateExclusion", c.Account, func(tx *meta.Tx) error {
		most := int(r.cfg.Limits.PullTimeExclusions)
		all, err := tx.PullTimeExclusions(c.Account, "", most)
		if err != nil {
			return err
		}
		if err := tx.InsertPullTimeExclusion(c.Account, x); errors.Is(err, meta.ErrExists) {
			return ecr.Errorf(ecr.ExclusionAlreadyExists, "A pull time update exclusion for '%s' already exists in the registry with id '%s'", principalARN, c.Account)
		} else if err != nil {
			return err
		}
		if len(all) >= most {
			return ecr.Errorf(ecr.LimitExceeded, "The maximum number of pull time update exclusions per registry (%d) has been reached", most)
		}
		return nil
	})
	return x, err
}

// DeregisterPullTimeExclusion ends an exclusion. Errors: ExclusionNotFound.
func (r *Registry) DeregisterPullTimeExclusion(ctx context.Context, c ecr.Caller, principalARN string) error {
	return r.updateRegistry(ctx, c, "ecr:DeregisterPullTimeUpdateExclusion", c.Account, func(tx *meta.Tx) error {
		if err := tx.DeletePullTimeExclusion(c.Account, principalARN); errors.Is(err, meta.ErrNotFound) {
			return ecr.Errorf(ecr.ExclusionNotFound, "A pull time update exclusion for '%s' does not exist in the registry with id '%s'", principalARN, c.Account)
		} else if err != nil {
			return err
		}
		return nil
	})
}

// ListPullTimeExclusions returns a page of the caller's account's exclusions.
func (r *Registry) ListPullTimeExclusions(ctx context.Context, c ecr.Caller, p ecr.Page) (list []ecr.PullTimeExclusion, next string, err error) {
	const action = "ecr:ListPullTimeUpdateExclusions"
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
		list, err = tx.PullTimeExclusions(c.Account, after, n+1)
		return err
	})
	if err != nil {
		return nil, "", r.denied(ctx, c, action, ecr.RepositoryID{Account: c.Account}, err)
	}
	if len(list) > n {
		list = list[:n]
		next = encodeCursor(0, list[n-1].PrincipalARN)
	}
	return list, next, nil
}
