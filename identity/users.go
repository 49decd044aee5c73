package identity

import (
	"context"
	"errors"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// An AccessKey is an access key without its secret.
type AccessKey struct {
	ID        string
	Active    bool
	CreatedAt time.Time
}

// EnsureRoot gives the root user of an account the access key, and makes it
// the only one of its keys. With an empty ID it makes a key, if the root user
// has none; made is its ID then, or empty.
func (i *Identity) EnsureRoot(ctx context.Context, account, id, secret string) (made, madeSecret string, err error) {
	if !accountForm.MatchString(account) {
		return "", "", ecr.Errorf(ecr.InvalidParameter, "%q is not an account: twelve digits are", account)
	}
	given := id != ""
	if given && (!keyForm.MatchString(id) || !secretForm.MatchString(secret)) {
		return "", "", ecr.Errorf(ecr.InvalidParameter, "the root access key must have an ID of 4 to 128 capital letters, digits and _, and a secret of 8 to 128 characters of A-Z a-z 0-9 + / = _ . -")
	}
	c := ecr.Caller{Principal: Root(account)}
	err = i.update(ctx, c, "iam:CreateAccessKey", account, c.ARN, func(tx *meta.Tx) error {
		made, madeSecret = "", ""
		keys, err := tx.AccessKeys(account, 0)
		if err != nil || len(keys) > 0 && !given {
			return err
		}
		for _, k := range keys {
			if err := tx.DeleteAccessKey(k.ID); err != nil {
				return err
			}
		}
		if !given {
			id, secret = "AKIA"+randomText(16, idAlphabet), randomText(40, base64Alphabet)
			made, madeSecret = id, secret
		}
		return tx.PutAccessKey(meta.AccessKey{ID: id, Account: account, Secret: i.secrets.seal([]byte(secret), id), Active: true, CreatedAt: i.now()})
	})
	return made, madeSecret, err
}

// CreateAccessKey makes an access key for a user. This is the only time that
// the secret is shown. Errors: NoSuchEntity, LimitExceeded.
func (i *Identity) CreateAccessKey(ctx context.Context, c ecr.Caller, name string) (k AccessKey, secret string, err error) {
	err = i.change(ctx, c, "iam:CreateAccessKey", User, name, func(tx *meta.Tx, u meta.Principal) error {
		keys, err := tx.AccessKeys(u.Account, u.Row)
		if err != nil {
			return err
		}
		if len(keys) >= maxKeys {
			return ecr.Errorf(ecr.LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
		}
		k, secret = AccessKey{ID: "AKIA" + randomText(16, idAlphabet), Active: true, CreatedAt: i.now()}, randomText(40, base64Alphabet)
		return tx.PutAccessKey(meta.AccessKey{ID: k.ID, Account: u.Account, User: u.Row,
			Secret: i.secrets.seal([]byte(secret), k.ID), Active: true, CreatedAt: k.CreatedAt})
	})
	return k, secret, err
}

// ListAccessKeys returns the access keys of a user.
func (i *Identity) ListAccessKeys(ctx context.Context, c ecr.Caller, name string) (keys []AccessKey, err error) {
	err = i.look(ctx, c, "iam:ListAccessKeys", User, name, func(tx *meta.Tx, u meta.Principal) error {
		list, err := tx.AccessKeys(u.Account, u.Row)
		for _, k := range list {
			keys = append(keys, AccessKey{ID: k.ID, Active: k.Active, CreatedAt: k.CreatedAt})
		}
		return err
	})
	return keys, err
}

// key runs fn on an access key of a user.
func (i *Identity) key(ctx context.Context, c ecr.Caller, action, name, id string, fn func(*meta.Tx, meta.AccessKey) error) error {
	return i.change(ctx, c, action, User, name, func(tx *meta.Tx, u meta.Principal) error {
		k, err := tx.AccessKey(id)
		if errors.Is(err, meta.ErrNotFound) || err == nil && k.User != u.Row {
			return ecr.Errorf(ecr.NoSuchEntity, "The Access Key with id %s cannot be found.", id)
		}
		if err != nil {
			return err
		}
		return fn(tx, k)
	})
}

// UpdateAccessKey activates or deactivates an access key. A key that is not
// active ends, with its tokens, within TTL.
func (i *Identity) UpdateAccessKey(ctx context.Context, c ecr.Caller, name, id string, active bool) error {
	return i.key(ctx, c, "iam:UpdateAccessKey", name, id, func(tx *meta.Tx, k meta.AccessKey) error {
		k.Active = active
		return tx.PutAccessKey(k)
	})
}

// DeleteAccessKey deletes an access key.
func (i *Identity) DeleteAccessKey(ctx context.Context, c ecr.Caller, name, id string) error {
	return i.key(ctx, c, "iam:DeleteAccessKey", name, id, func(tx *meta.Tx, k meta.AccessKey) error {
		return tx.DeleteAccessKey(k.ID)
	})
}

// AddUserToGroup puts a user into a group; once is enough.
func (i *Identity) AddUserToGroup(ctx context.Context, c ecr.Caller, group, user string) error {
	return i.member(ctx, c, "iam:AddUserToGroup", group, user, (*meta.Tx).AddMember)
}

// RemoveUserFromGroup takes a user out of a group.
func (i *Identity) RemoveUserFromGroup(ctx context.Context, c ecr.Caller, group, user string) error {
	return i.member(ctx, c, "iam:RemoveUserFromGroup", group, user, (*meta.Tx).RemoveMember)
}

func (i *Identity) member(ctx context.Context, c ecr.Caller, action, group, user string, fn func(tx *meta.Tx, group, user int64) error) error {
	return i.change(ctx, c, action, Group, group, func(tx *meta.Tx, g meta.Principal) error {
		u, err := tx.PrincipalNamed(c.Account, string(User), user)
		if err == nil {
			err = fn(tx, g.Row, u.Row)
		}
		if errors.Is(err, meta.ErrNotFound) {
			return missing(User, user)
		}
		return err
	})
}

// Members returns a group and its users.
func (i *Identity) Members(ctx context.Context, c ecr.Caller, group string) (g Entity, users []Entity, err error) {
	err = i.look(ctx, c, "iam:GetGroup", Group, group, func(tx *meta.Tx, e meta.Principal) error {
		g = asEntity(e)
		list, err := tx.Members(e.Row)
		for _, u := range list {
			users = append(users, asEntity(u))
		}
		return err
	})
	return g, users, err
}

// ListGroupsForUser returns the groups that a user is in.
func (i *Identity) ListGroupsForUser(ctx context.Context, c ecr.Caller, user string) (groups []Entity, err error) {
	err = i.look(ctx, c, "iam:ListGroupsForUser", User, user, func(tx *meta.Tx, e meta.Principal) error {
		list, err := tx.GroupsOf(e.Row)
		for _, g := range list {
			groups = append(groups, asEntity(g))
		}
		return err
	})
	return groups, err
}
