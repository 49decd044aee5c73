package meta

import (
	"errors"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// A Principal is the record of an IAM user, role or group.
type Principal struct {
	Row         int64
	Kind        string // user, role, group
	Account     string
	Name        string
	Path        string
	UniqueID    string // AIDA…, AROA…, AGPA…
	Description string
	Trust       string        // a role's trust policy
	MaxSession  time.Duration // of a role
	Boundary    string        // ARN of the permissions boundary, or ""
	Tags        []ecr.Tag
	CreatedAt   time.Time
}

const principalColumns = `id, kind, account, name, path, unique_id, description, trust, max_session, boundary, tags, created_at`

func (tx *Tx) principals(sql string, args ...any) (out []Principal, err error) {
	err = tx.each(func(rs rows) error {
		var p Principal
		var session, created int64
		var tags string
		err := rs.Scan(&p.Row, &p.Kind, &p.Account, &p.Name, &p.Path, &p.UniqueID, &p.Description, &p.Trust, &session, &p.Boundary, &tags, &created)
		if err != nil {
			return err
		}
		p.MaxSession, p.CreatedAt = time.Duration(session)*time.Second, at(created)
		err = unlist(tags, &p.Tags)
		out = append(out, p)
		return err
	}, sql, args...)
	return out, err
}

// one returns the only item, or ErrNotFound.
func one[T any](items []T, err error) (T, error) {
	var none T
	if err == nil && len(items) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return none, err
	}
	return items[0], nil
}

// PrincipalNamed returns a user, role or group of an account, or ErrNotFound.
func (tx *Tx) PrincipalNamed(account, kind, name string) (Principal, error) {
	return one(tx.principals(`select `+principalColumns+` from principals where account = $1 and kind = $2 and name = $3`, account, kind, name))
}

// Principal returns a user, role or group by its row, or ErrNotFound.
func (tx *Tx) Principal(row int64) (Principal, error) {
	return one(tx.principals(`select `+principalColumns+` from principals where id = $1`, row))
}

// PrincipalByID returns a user, role or group by its unique ID, or ErrNotFound.
func (tx *Tx) PrincipalByID(id string) (Principal, error) {
	return one(tx.principals(`select `+principalColumns+` from principals where unique_id = $1`, id))
}

// Principals returns those of a kind in an account whose names follow after,
// in order, limit at most.
func (tx *Tx) Principals(account, kind, path, after string, limit int) ([]Principal, error) {
	return tx.principals(`select `+principalColumns+` from principals where account = $1 and kind = $2 and name > $3 and substr(path, 1, length($5)) = $5
		order by name limit $4`, account, kind, after, limit, path)
}

// PrincipalLike reports whether there is a principal whose name differs by case
// at most.
func (tx *Tx) PrincipalLike(account, kind, name string) (bool, error) {
	list, err := tx.principals(`select `+principalColumns+` from principals where account = $1 and kind = $2 and lower(name) = lower($3) limit 1`, account, kind, name)
	return len(list) > 0, err
}

// InsertPrincipal inserts p and sets p.Row; ErrExists if the name is taken.
func (tx *Tx) InsertPrincipal(p *Principal) error {
	tags, err := list(p.Tags)
	if err != nil {
		return err
	}
	err = tx.row([]any{&p.Row}, `insert into principals (kind, account, name, path, unique_id, description, trust, max_session, boundary, tags, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (account, kind, name) do nothing returning id`,
		p.Kind, p.Account, p.Name, p.Path, p.UniqueID, p.Description, p.Trust, int64(p.MaxSession/time.Second), p.Boundary, tags, ms(p.CreatedAt))
	if err == ErrNotFound {
		return ErrExists
	}
	return err
}

// UpdatePrincipal writes what of p may change.
func (tx *Tx) UpdatePrincipal(p *Principal) error {
	tags, err := list(p.Tags)
	if err != nil {
		return err
	}
	_, err = tx.exec(`update principals set description = $2, trust = $3, max_session = $4, boundary = $5, tags = $6 where id = $1`,
		p.Row, p.Description, p.Trust, int64(p.MaxSession/time.Second), p.Boundary, tags)
	return err
}

// DeletePrincipal deletes a user, role or group that has neither keys nor
// policies nor members.
func (tx *Tx) DeletePrincipal(row int64) error {
	if _, err := tx.exec(`delete from group_members where user_id = $1`, row); err != nil {
		return err
	}
	_, err := tx.exec(`delete from principals where id = $1`, row)
	return err
}

// GroupsOf returns the groups that a user is in, by name.
func (tx *Tx) GroupsOf(user int64) ([]Principal, error) {
	return tx.principals(`select `+principalColumns+` from principals where id in (select group_id from group_members where user_id = $1) order by name`, user)
}

// Members returns the users of a group, by name.
func (tx *Tx) Members(group int64) ([]Principal, error) {
	return tx.principals(`select `+principalColumns+` from principals where id in (select user_id from group_members where group_id = $1) order by name`, group)
}

// AddMember puts a user into a group; once is enough.
func (tx *Tx) AddMember(group, user int64) error {
	_, err := tx.exec(`insert into group_members (group_id, user_id) values ($1, $2) on conflict do nothing`, group, user)
	return err
}

// RemoveMember takes a user out of a group, or ErrNotFound.
func (tx *Tx) RemoveMember(group, user int64) error {
	return tx.deleted(`delete from group_members where group_id = $1 and user_id = $2`, group, user)
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
	return one(tx.accessKeys(`select `+keyColumns+` from access_keys where id = $1`, id))
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

// An OIDCProvider is the record of an issuer of web identities.
type OIDCProvider struct {
	Account     string
	URL         string // without https://
	ClientIDs   []string
	Thumbprints []string
	Tags        []ecr.Tag
	CreatedAt   time.Time
}

// OIDCProviders returns the issuers of an account by URL; with a URL only that.
func (tx *Tx) OIDCProviders(account, url string) (out []OIDCProvider, err error) {
	err = tx.each(func(rs rows) error {
		var clients, thumbs, tags string
		var created int64
		p := OIDCProvider{Account: account}
		if err := rs.Scan(&p.URL, &clients, &thumbs, &tags, &created); err != nil {
			return err
		}
		p.CreatedAt = at(created)
		err := errors.Join(unlist(clients, &p.ClientIDs), unlist(thumbs, &p.Thumbprints), unlist(tags, &p.Tags))
		out = append(out, p)
		return err
	}, `select url, client_ids, thumbprints, tags, created_at from oidc_providers where account = $1 and ($2 = '' or url = $2) order by url`, account, url)
	return out, err
}

// PutOIDCProvider inserts or replaces an issuer.
func (tx *Tx) PutOIDCProvider(p OIDCProvider) error {
	clients, err := list(p.ClientIDs)
	if err != nil {
		return err
	}
	thumbs, err := list(p.Thumbprints)
	if err != nil {
		return err
	}
	tags, err := list(p.Tags)
	if err != nil {
		return err
	}
	_, err = tx.exec(`insert into oidc_providers (account, url, client_ids, thumbprints, tags, created_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (account, url) do update set client_ids = excluded.client_ids, thumbprints = excluded.thumbprints, tags = excluded.tags`,
		p.Account, p.URL, clients, thumbs, tags, ms(p.CreatedAt))
	return err
}

// DeleteOIDCProvider deletes an issuer, or ErrNotFound.
func (tx *Tx) DeleteOIDCProvider(account, url string) error {
	return tx.deleted(`delete from oidc_providers where account = $1 and url = $2`, account, url)
}

// deleted runs a delete; ErrNotFound if it deletes nothing.
func (tx *Tx) deleted(sql string, args ...any) error {
	n, err := tx.exec(sql, args...)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}
