package identity

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// maxKeys is how many access keys a user can have (IAM quotas).
const maxKeys = 2

// A User is an IAM user.
type User struct {
	Account   string
	Name      string
	ID        string
	ARN       string
	CreatedAt time.Time
}

// An AccessKey is an access key without its secret.
type AccessKey struct {
	ID        string
	Active    bool
	CreatedAt time.Time
}

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,64}$`)
	policyForm  = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,128}$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	secretForm  = regexp.MustCompile(`^[A-Za-z0-9+/=_.-]{8,128}$`)
)

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
			id, secret = "AKIA"+randomText(16, base32), randomText(40, base64Alphabet)
			made, madeSecret = id, secret
		}
		return tx.PutAccessKey(meta.AccessKey{ID: id, Account: account, Secret: i.secrets.seal([]byte(secret), id), Active: true, CreatedAt: i.now()})
	})
	return made, madeSecret, err
}

func noUser(name string) error {
	return ecr.Errorf(ecr.NoSuchEntity, "The user with name %s cannot be found.", name)
}

func asUser(u meta.User) User {
	return User{Account: u.Account, Name: u.Name, ID: u.UniqueID, ARN: userARN(u.Account, u.Name), CreatedAt: u.CreatedAt}
}

// CreateUser creates a user in the caller's account, who may do nothing yet.
// Errors: EntityAlreadyExists.
func (i *Identity) CreateUser(ctx context.Context, c ecr.Caller, name string) (User, error) {
	if !nameForm.MatchString(name) {
		return User{}, ecr.Errorf(ecr.InvalidParameter, "A user name has 1 to 64 characters of A-Z a-z 0-9 + = , . @ _ -")
	}
	var u meta.User
	err := i.update(ctx, c, "iam:CreateUser", c.Account, userARN(c.Account, name), func(tx *meta.Tx) error {
		u = meta.User{Account: c.Account, Name: name, UniqueID: "AIDA" + randomText(17, base32), CreatedAt: i.now()}
		if err := tx.InsertUser(&u); errors.Is(err, meta.ErrExists) {
			return ecr.Errorf(ecr.EntityAlreadyExists, "User with name %s already exists.", name)
		} else if err != nil {
			return err
		}
		return nil
	})
	return asUser(u), err
}

// user runs fn on a user of the caller's account.
func (i *Identity) user(ctx context.Context, c ecr.Caller, action, name string, fn func(*meta.Tx, meta.User) error) error {
	return i.update(ctx, c, action, c.Account, userARN(c.Account, name), func(tx *meta.Tx) error {
		u, err := tx.UserNamed(c.Account, name)
		if errors.Is(err, meta.ErrNotFound) {
			return noUser(name)
		}
		if err != nil {
			return err
		}
		return fn(tx, u)
	})
}

// DeleteUser deletes a user; its keys and policies must be gone, else
// DeleteConflict. Errors: NoSuchEntity.
func (i *Identity) DeleteUser(ctx context.Context, c ecr.Caller, name string) error {
	return i.user(ctx, c, "iam:DeleteUser", name, func(tx *meta.Tx, u meta.User) error {
		keys, keysErr := tx.AccessKeys(u.Account, u.Row)
		inline, inlineErr := tx.UserPolicies(u.Row)
		attached, attachedErr := tx.Attachments(u.Row)
		if err := errors.Join(keysErr, inlineErr, attachedErr); err != nil {
			return err
		}
		switch {
		case len(keys) > 0:
			return ecr.Errorf(ecr.DeleteConflict, "Cannot delete entity, must delete access keys first.")
		case len(inline)+len(attached) > 0:
			return ecr.Errorf(ecr.DeleteConflict, "Cannot delete entity, must delete policies first.")
		}
		return tx.DeleteUser(u.Row)
	})
}

// ListUsers returns the users of the caller's account whose names follow
// after, in order, limit at most.
func (i *Identity) ListUsers(ctx context.Context, c ecr.Caller, after string, limit int) (users []User, err error) {
	err = i.view(ctx, c, "iam:ListUsers", c.Account, userARN(c.Account, "*"), func(tx *meta.Tx) error {
		list, err := tx.Users(c.Account, after, limit)
		for _, u := range list {
			users = append(users, asUser(u))
		}
		return err
	})
	return users, err
}

// CreateAccessKey makes an access key for a user. This is the only time that
// the secret is shown. Errors: NoSuchEntity, LimitExceeded.
func (i *Identity) CreateAccessKey(ctx context.Context, c ecr.Caller, name string) (k AccessKey, secret string, err error) {
	err = i.user(ctx, c, "iam:CreateAccessKey", name, func(tx *meta.Tx, u meta.User) error {
		keys, err := tx.AccessKeys(u.Account, u.Row)
		if err != nil {
			return err
		}
		if len(keys) >= maxKeys {
			return ecr.Errorf(ecr.LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
		}
		k, secret = AccessKey{ID: "AKIA" + randomText(16, base32), Active: true, CreatedAt: i.now()}, randomText(40, base64Alphabet)
		return tx.PutAccessKey(meta.AccessKey{ID: k.ID, Account: u.Account, User: u.Row,
			Secret: i.secrets.seal([]byte(secret), k.ID), Active: true, CreatedAt: k.CreatedAt})
	})
	return k, secret, err
}

// ListAccessKeys returns the access keys of a user.
func (i *Identity) ListAccessKeys(ctx context.Context, c ecr.Caller, name string) (keys []AccessKey, err error) {
	err = i.view(ctx, c, "iam:ListAccessKeys", c.Account, userARN(c.Account, name), func(tx *meta.Tx) error {
		u, err := tx.UserNamed(c.Account, name)
		if errors.Is(err, meta.ErrNotFound) {
			return noUser(name)
		}
		if err != nil {
			return err
		}
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
	return i.user(ctx, c, action, name, func(tx *meta.Tx, u meta.User) error {
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

// PutUserPolicy sets an inline policy of a user. Errors: MalformedPolicy,
// NoSuchEntity.
func (i *Identity) PutUserPolicy(ctx context.Context, c ecr.Caller, name, policy, document string) error {
	if !policyForm.MatchString(policy) {
		return ecr.Errorf(ecr.InvalidParameter, "A policy name has 1 to 128 characters of A-Z a-z 0-9 + = , . @ _ -")
	}
	if _, err := iam.Parse([]byte(document), iam.Identity); err != nil {
		return ecr.Errorf(ecr.MalformedPolicy, "The policy is malformed: %v", err)
	}
	return i.user(ctx, c, "iam:PutUserPolicy", name, func(tx *meta.Tx, u meta.User) error {
		return tx.PutUserPolicy(u.Row, meta.UserPolicy{Name: policy, Document: document})
	})
}

// DeleteUserPolicy deletes an inline policy of a user.
func (i *Identity) DeleteUserPolicy(ctx context.Context, c ecr.Caller, name, policy string) error {
	return i.user(ctx, c, "iam:DeleteUserPolicy", name, func(tx *meta.Tx, u meta.User) error {
		if err := tx.DeleteUserPolicy(u.Row, policy); errors.Is(err, meta.ErrNotFound) {
			return ecr.Errorf(ecr.NoSuchEntity, "The user policy with name %s cannot be found.", policy)
		} else if err != nil {
			return err
		}
		return nil
	})
}

// AttachUserPolicy attaches an AWS-managed policy to a user.
func (i *Identity) AttachUserPolicy(ctx context.Context, c ecr.Caller, name, arn string) error {
	if _, ok := iam.Managed(arn); !ok {
		return ecr.Errorf(ecr.NoSuchEntity, "Policy %s does not exist or is not attachable.", arn)
	}
	return i.user(ctx, c, "iam:AttachUserPolicy", name, func(tx *meta.Tx, u meta.User) error { return tx.Attach(u.Row, arn) })
}

// DetachUserPolicy ends an attachment.
func (i *Identity) DetachUserPolicy(ctx context.Context, c ecr.Caller, name, arn string) error {
	return i.user(ctx, c, "iam:DetachUserPolicy", name, func(tx *meta.Tx, u meta.User) error {
		if err := tx.Detach(u.Row, arn); errors.Is(err, meta.ErrNotFound) {
			return ecr.Errorf(ecr.NoSuchEntity, "Policy %s was not found.", arn)
		} else if err != nil {
			return err
		}
		return nil
	})
}

// ListUserPolicies returns the names of a user's inline policies and the ARNs
// of its managed ones.
func (i *Identity) ListUserPolicies(ctx context.Context, c ecr.Caller, name string) (inline, attached []string, err error) {
	err = i.view(ctx, c, "iam:ListUserPolicies", c.Account, userARN(c.Account, name), func(tx *meta.Tx) error {
		u, err := tx.UserNamed(c.Account, name)
		if errors.Is(err, meta.ErrNotFound) {
			return noUser(name)
		}
		if err != nil {
			return err
		}
		list, err := tx.UserPolicies(u.Row)
		if err != nil {
			return err
		}
		for _, p := range list {
			inline = append(inline, p.Name)
		}
		attached, err = tx.Attachments(u.Row)
		return err
	})
	return inline, attached, err
}
