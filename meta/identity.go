package meta

import (
	"time"
)

// A User is an IAM user's record.
type User struct {
	Row       int64
	Account   string
	Name      string
	UniqueID  string // AIDA…
	CreatedAt time.Time
}

// An AccessKey is an access key's record. Its secret is sealed.
type AccessKey struct {
	ID        string // AKIA…
	Account   string
	User      int64 // row of the user; 0 for the account's root
	Secret    []byte
	Active    bool
	CreatedAt time.Time
}

const userColumns = `id, account, name, unique_id, created_at`

func (tx *Tx) users(sql string, args ...any) (users []User, err error) {
	err = tx.each(func(rs rows) error {
		var u User
		var created int64
		err := rs.Scan(&u.Row, &u.Account, &u.Name, &u.UniqueID, &created)
		u.CreatedAt = at(created)
		users = append(users, u)
		return err
	}, sql, args...)
	return users, err
}

func (tx *Tx) oneUser(sql string, args ...any) (User, error) {
	users, err := tx.users(sql, args...)
	if err == nil && len(users) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return User{}, err
	}
	return users[0], nil
}

// UserNamed returns a user of an account, or ErrNotFound.
func (tx *Tx) UserNamed(account, name string) (User, error) {
	return tx.oneUser(`select `+userColumns+` from users where account = $1 and name = $2`, account, name)
}

// User returns a user by its row, or ErrNotFound.
func (tx *Tx) User(row int64) (User, error) {
	return tx.oneUser(`select `+userColumns+` from users where id = $1`, row)
}

// Users returns the users of an account whose names follow after, in order,
// limit at most.
func (tx *Tx) Users(account, after string, limit int) ([]User, error) {
	return tx.users(`select `+userColumns+` from users where account = $1 and name > $2 order by name limit $3`, account, after, limit)
}

// InsertUser inserts u and sets u.Row; ErrExists if the name is taken.
func (tx *Tx) InsertUser(u *User) error {
	err := tx.row([]any{&u.Row}, `insert into users (account, name, unique_id, created_at) values ($1, $2, $3, $4)
		on conflict (account, name) do nothing returning id`, u.Account, u.Name, u.UniqueID, ms(u.CreatedAt))
	if err == ErrNotFound {
		return ErrExists
	}
	return err
}

// DeleteUser deletes a user that has neither keys nor policies.
func (tx *Tx) DeleteUser(row int64) error {
	_, err := tx.exec(`delete from users where id = $1`, row)
	return err
}

const keyColumns = `id, account, coalesce(user_id, 0), secret, active, created_at`

func (tx *Tx) accessKeys(sql string, args ...any) (keys []AccessKey, err error) {
	err = tx.each(func(rs rows) error {
		var k AccessKey
		var active, created int64
		err := rs.Scan(&k.ID, &k.Account, &k.User, &k.Secret, &active, &created)
		k.Active, k.CreatedAt = active != 0, at(created)
		keys = append(keys, k)
		return err
	}, sql, args...)
	return keys, err
}

// AccessKey returns an access key by its ID, or ErrNotFound.
func (tx *Tx) AccessKey(id string) (AccessKey, error) {
	keys, err := tx.accessKeys(`select `+keyColumns+` from access_keys where id = $1`, id)
	if err == nil && len(keys) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return AccessKey{}, err
	}
	return keys[0], nil
}

// AccessKeys returns the access keys of a user, or with 0 of an account's
// root, in the order of their IDs.
func (tx *Tx) AccessKeys(account string, user int64) ([]AccessKey, error) {
	if user == 0 {
		return tx.accessKeys(`select `+keyColumns+` from access_keys where account = $1 and user_id is null order by id`, account)
	}
	return tx.accessKeys(`select `+keyColumns+` from access_keys where account = $1 and user_id = $2 order by id`, account, user)
}

// PutAccessKey inserts a key, or sets the secret and the state of the one that
// has its ID and owner; ErrExists if that ID is another owner's.
func (tx *Tx) PutAccessKey(k AccessKey) error {
	n, err := tx.exec(`insert into access_keys (id, account, user_id, secret, active, created_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (id) do update set secret = excluded.secret, active = excluded.active
		where access_keys.account = excluded.account and coalesce(access_keys.user_id, 0) = coalesce(excluded.user_id, 0)`,
		k.ID, k.Account, null(k.User), k.Secret, integer(k.Active), ms(k.CreatedAt))
	if err == nil && n == 0 {
		return ErrExists
	}
	return err
}

// DeleteAccessKey deletes a key.
func (tx *Tx) DeleteAccessKey(id string) error {
	_, err := tx.exec(`delete from access_keys where id = $1`, id)
	return err
}

// A UserPolicy is an inline policy of a user.
type UserPolicy struct {
	Name     string
	Document string
}

// UserPolicies returns the inline policies of a user, in the order of their
// names.
func (tx *Tx) UserPolicies(user int64) (policies []UserPolicy, err error) {
	err = tx.each(func(rs rows) error {
		var p UserPolicy
		err := rs.Scan(&p.Name, &p.Document)
		policies = append(policies, p)
		return err
	}, `select name, document from user_policies where user_id = $1 order by name`, user)
	return policies, err
}

// PutUserPolicy inserts or replaces an inline policy.
func (tx *Tx) PutUserPolicy(user int64, p UserPolicy) error {
	_, err := tx.exec(`insert into user_policies (user_id, name, document) values ($1, $2, $3)
		on conflict (user_id, name) do update set document = excluded.document`, user, p.Name, p.Document)
	return err
}

// DeleteUserPolicy deletes an inline policy, or ErrNotFound.
func (tx *Tx) DeleteUserPolicy(user int64, name string) error {
	return tx.deleted(`delete from user_policies where user_id = $1 and name = $2`, user, name)
}

// Attachments returns the ARNs of the managed policies of a user, in order.
func (tx *Tx) Attachments(user int64) ([]string, error) {
	return tx.strings(`select policy_arn from user_attachments where user_id = $1 order by policy_arn`, user)
}

// Attach attaches a managed policy to a user; once is enough.
func (tx *Tx) Attach(user int64, arn string) error {
	_, err := tx.exec(`insert into user_attachments (user_id, policy_arn) values ($1, $2) on conflict do nothing`, user, arn)
	return err
}

// Detach ends an attachment, or ErrNotFound.
func (tx *Tx) Detach(user int64, arn string) error {
	return tx.deleted(`delete from user_attachments where user_id = $1 and policy_arn = $2`, user, arn)
}

// deleted runs a delete; ErrNotFound if it deletes nothing.
func (tx *Tx) deleted(sql string, args ...any) error {
	n, err := tx.exec(sql, args...)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}
