package meta

import (
	"errors"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// An InlinePolicy is an inline policy of a user, role or group.
type InlinePolicy struct {
	Name     string
	Document string
}

// InlinePolicies returns those of a principal, in the order of their names.
func (tx *Tx) InlinePolicies(principal int64) (policies []InlinePolicy, err error) {
	err = tx.each(func(rs rows) error {
		var p InlinePolicy
		err := rs.Scan(&p.Name, &p.Document)
		policies = append(policies, p)
		return err
	}, `select name, document from inline_policies where principal_id = $1 order by name`, principal)
	return policies, err
}

// PutInlinePolicy inserts or replaces an inline policy.
func (tx *Tx) PutInlinePolicy(principal int64, p InlinePolicy) error {
	_, err := tx.exec(`insert into inline_policies (principal_id, name, document) values ($1, $2, $3)
		on conflict (principal_id, name) do update set document = excluded.document`, principal, p.Name, p.Document)
	return err
}

// DeleteInlinePolicy deletes an inline policy, or ErrNotFound.
func (tx *Tx) DeleteInlinePolicy(principal int64, name string) error {
	return tx.deleted(`delete from inline_policies where principal_id = $1 and name = $2`, principal, name)
}

// Attachments returns the ARNs of the managed policies of a principal, in order.
func (tx *Tx) Attachments(principal int64) ([]string, error) {
	return tx.strings(`select policy_arn from attachments where principal_id = $1 order by policy_arn`, principal)
}

// Attach attaches a managed policy to a principal; once is enough.
func (tx *Tx) Attach(principal int64, arn string) error {
	_, err := tx.exec(`insert into attachments (principal_id, policy_arn) values ($1, $2) on conflict do nothing`, principal, arn)
	return err
}

// Detach ends an attachment, or ErrNotFound.
func (tx *Tx) Detach(principal int64, arn string) error {
	return tx.deleted(`delete from attachments where principal_id = $1 and policy_arn = $2`, principal, arn)
}

// AttachedTo returns the principals that a managed policy is attached to, or
// the boundary of, by kind and name.
func (tx *Tx) AttachedTo(account, arn string) ([]Principal, error) {
	return tx.principals(`select `+principalColumns+` from principals where account = $1 and
		(boundary = $2 or id in (select principal_id from attachments where policy_arn = $2)) order by kind, name`, account, arn)
}

// CountAttached returns how many principals of an account a managed policy is
// attached to.
func (tx *Tx) CountAttached(account, arn string) (n int, err error) {
	err = tx.row([]any{&n}, `select count(*) from attachments a join principals p on p.id = a.principal_id where a.policy_arn = $2 and p.account = $1`, account, arn)
	return n, err
}

// A ManagedPolicy is the record of a managed policy that a customer made.
type ManagedPolicy struct {
	ARN         string
	Account     string
	Name        string
	Path        string
	UniqueID    string // ANPA…
	Description string
	Default     int64 // version in force
	Latest      int64 // highest version that there was
	Tags        []ecr.Tag
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

const managedColumns = `arn, account, name, path, unique_id, description, default_version, latest_version, tags, created_at, updated_at`

func (tx *Tx) managedPolicies(sql string, args ...any) (out []ManagedPolicy, err error) {
	err = tx.each(func(rs rows) error {
		var p ManagedPolicy
		var tags string
		var created, updated int64
		err := rs.Scan(&p.ARN, &p.Account, &p.Name, &p.Path, &p.UniqueID, &p.Description, &p.Default, &p.Latest, &tags, &created, &updated)
		p.CreatedAt, p.UpdatedAt = at(created), at(updated)
		out = append(out, p)
		return errors.Join(err, unlist(tags, &out[len(out)-1].Tags))
	}, sql, args...)
	return out, err
}

// ManagedPolicy returns a managed policy by its ARN, or ErrNotFound.
func (tx *Tx) ManagedPolicy(arn string) (ManagedPolicy, error) {
	return one(tx.managedPolicies(`select `+managedColumns+` from managed_policies where arn = $1`, arn))
}

// ManagedPolicies returns those of an account whose ARNs follow after and whose
// paths begin with path, in order, limit at most; attached leaves out those
// that nothing uses.
func (tx *Tx) ManagedPolicies(account, path, after string, attached bool, limit int) ([]ManagedPolicy, error) {
	return tx.managedPolicies(`select `+managedColumns+` from managed_policies p where account = $1 and arn > $2 and substr(path, 1, length($4)) = $4
		and ($5 = 0 or exists (select 1 from attachments a where a.policy_arn = p.arn)) order by arn limit $3`, account, after, limit, path, integer(attached))
}

// InsertManagedPolicy inserts p; ErrExists if the name is taken.
func (tx *Tx) InsertManagedPolicy(p *ManagedPolicy) error {
	tags, err := list(p.Tags)
	if err != nil {
		return err
	}
	n, err := tx.exec(`insert into managed_policies (`+managedColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing`,
		p.ARN, p.Account, p.Name, p.Path, p.UniqueID, p.Description, p.Default, p.Latest, tags, ms(p.CreatedAt), ms(p.UpdatedAt))
	if err == nil && n == 0 {
		return ErrExists
	}
	return err
}

// UpdateManagedPolicy writes what of p may change.
func (tx *Tx) UpdateManagedPolicy(p *ManagedPolicy) error {
	tags, err := list(p.Tags)
	if err != nil {
		return err
	}
	_, err = tx.exec(`update managed_policies set default_version = $2, latest_version = $3, tags = $4, updated_at = $5 where arn = $1`,
		p.ARN, p.Default, p.Latest, tags, ms(p.UpdatedAt))
	return err
}

// DeleteManagedPolicy deletes a managed policy with its versions.
func (tx *Tx) DeleteManagedPolicy(arn string) error {
	if _, err := tx.exec(`delete from policy_versions where arn = $1`, arn); err != nil {
		return err
	}
	return tx.deleted(`delete from managed_policies where arn = $1`, arn)
}

// A PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	Version   int64
	Document  string
	CreatedAt time.Time
}

// PolicyVersions returns the versions of a managed policy, the newest first.
func (tx *Tx) PolicyVersions(arn string) (out []PolicyVersion, err error) {
	err = tx.each(func(rs rows) error {
		var v PolicyVersion
		var created int64
		err := rs.Scan(&v.Version, &v.Document, &created)
		v.CreatedAt = at(created)
		out = append(out, v)
		return err
	}, `select version, document, created_at from policy_versions where arn = $1 order by version desc`, arn)
	return out, err
}

// InsertPolicyVersion adds a version.
func (tx *Tx) InsertPolicyVersion(arn string, v PolicyVersion) error {
	_, err := tx.exec(`insert into policy_versions (arn, version, document, created_at) values ($1, $2, $3, $4)`, arn, v.Version, v.Document, ms(v.CreatedAt))
	return err
}

// DeletePolicyVersion deletes a version, or ErrNotFound.
func (tx *Tx) DeletePolicyVersion(arn string, version int64) error {
	return tx.deleted(`delete from policy_versions where arn = $1 and version = $2`, arn, version)
}

// DefaultDocument returns the text of a managed policy in force, or ErrNotFound.
func (tx *Tx) DefaultDocument(arn string) (document string, err error) {
	err = tx.row([]any{&document}, `select v.document from managed_policies p join policy_versions v on v.arn = p.arn and v.version = p.default_version where p.arn = $1`, arn)
	return document, err
}
