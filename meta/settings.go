package meta

import (
	"encoding/json"

	"github.com/ecruhq/ecru/ecr"
)

// Setting returns an account's setting, or ErrNotFound.
func (tx *Tx) Setting(account, name string) (value string, err error) {
	err = tx.row([]any{&value}, `select value from account_settings where account = $1 and name = $2`, account, name)
	return value, err
}

// PutSetting sets an account's setting.
func (tx *Tx) PutSetting(account, name, value string) error {
	_, err := tx.exec(`insert into account_settings (account, name, value) values ($1, $2, $3)
		on conflict (account, name) do update set value = excluded.value`, account, name, value)
	return err
}

// RegistryPolicy returns the policy of an account's registry, "" if it has none.
func (tx *Tx) RegistryPolicy(account string) (document string, err error) {
	err = tx.row([]any{&document}, `select document from registry_policies where account = $1`, account)
	if err == ErrNotFound {
		return "", nil
	}
	return document, err
}

// PutRegistryPolicy sets the policy of an account's registry.
func (tx *Tx) PutRegistryPolicy(account, document string) error {
	_, err := tx.exec(`insert into registry_policies (account, document) values ($1, $2)
		on conflict (account) do update set document = excluded.document`, account, document)
	return err
}

// DeleteRegistryPolicy deletes the policy of an account's registry, or
// ErrNotFound.
func (tx *Tx) DeleteRegistryPolicy(account string) error {
	return tx.deleted(`delete from registry_policies where account = $1`, account)
}

// Template returns a creation template, or ErrNotFound.
func (tx *Tx) Template(account, prefix string) (*ecr.Template, error) {
	ts, err := tx.templates(`select body from templates where account = $1 and prefix = $2`, account, prefix)
	if err != nil {
		return nil, err
	}
	if len(ts) == 0 {
		return nil, ErrNotFound
	}
	return ts[0], nil
}

// Templates returns the templates of an account whose prefixes follow after,
// in order, limit at most.
func (tx *Tx) Templates(account, after string, limit int) ([]*ecr.Template, error) {
	return tx.templates(`select body from templates where account = $1 and prefix > $2 order by prefix limit $3`, account, after, limit)
}

// TemplatesFor returns the templates of an account whose prefix is one of
// prefixes.
func (tx *Tx) TemplatesFor(account string, prefixes []string) ([]*ecr.Template, error) {
	marks, args := in([]any{account}, prefixes)
	return tx.templates(`select body from templates where account = $1 and prefix in `+marks+` order by prefix`, args...)
}

func (tx *Tx) templates(sql string, args ...any) (ts []*ecr.Template, err error) {
	err = tx.each(func(rs rows) error {
		var body []byte
		if err := rs.Scan(&body); err != nil {
			return err
		}
		t := new(ecr.Template)
		ts = append(ts, t)
		return json.Unmarshal(body, t)
	}, sql, args...)
	return ts, err
}

// PutTemplate inserts or replaces a template.
func (tx *Tx) PutTemplate(t *ecr.Template) error {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = tx.exec(`insert into templates (account, prefix, body) values ($1, $2, $3)
		on conflict (account, prefix) do update set body = excluded.body`, t.Account, t.Prefix, string(body))
	return err
}

// DeleteTemplate deletes a template.
func (tx *Tx) DeleteTemplate(account, prefix string) error {
	_, err := tx.exec(`delete from templates where account = $1 and prefix = $2`, account, prefix)
	return err
}

// CountTemplates returns how many templates an account has.
func (tx *Tx) CountTemplates(account string) (n int64, err error) {
	err = tx.row([]any{&n}, `select count(*) from templates where account = $1`, account)
	return n, err
}

// PullTimeExclusions returns the exclusions of an account whose ARNs follow
// after, in order, limit at most.
func (tx *Tx) PullTimeExclusions(account, after string, limit int) (list []ecr.PullTimeExclusion, err error) {
	err = tx.each(func(rs rows) error {
		var e ecr.PullTimeExclusion
		var created int64
		err := rs.Scan(&e.PrincipalARN, &created)
		e.CreatedAt = at(created)
		list = append(list, e)
		return err
	}, `select principal_arn, created_at from pull_time_exclusions where account = $1 and principal_arn > $2 order by principal_arn limit $3`, account, after, limit)
	return list, err
}

// InsertPullTimeExclusion inserts an exclusion; ErrExists if it is there.
func (tx *Tx) InsertPullTimeExclusion(account string, e ecr.PullTimeExclusion) error {
	n, err := tx.exec(`insert into pull_time_exclusions (account, principal_arn, created_at) values ($1, $2, $3) on conflict do nothing`,
		account, e.PrincipalARN, ms(e.CreatedAt))
	if err == nil && n == 0 {
		return ErrExists
	}
	return err
}

// DeletePullTimeExclusion deletes an exclusion, or ErrNotFound.
func (tx *Tx) DeletePullTimeExclusion(account, arn string) error {
	n, err := tx.exec(`delete from pull_time_exclusions where account = $1 and principal_arn = $2`, account, arn)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}
