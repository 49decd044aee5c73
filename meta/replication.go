package meta

import (
	"encoding/json"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// ReplicationConfiguration returns what an account replicates where; an empty
// configuration if none was set.
func (tx *Tx) ReplicationConfiguration(account string) (*ecr.ReplicationConfiguration, error) {
	return tx.replicationConfiguration(account, "")
}

// LockReplicationConfiguration is ReplicationConfiguration for a transaction
// that starts a backfill: until it ends no other does for the account.
func (tx *Tx) LockReplicationConfiguration(account string) (*ecr.ReplicationConfiguration, error) {
	return tx.replicationConfiguration(account, "/*pg: for update */")
}

func (tx *Tx) replicationConfiguration(account, lock string) (*ecr.ReplicationConfiguration, error) {
	c := new(ecr.ReplicationConfiguration)
	var document []byte
	err := tx.row([]any{&document}, `select document from replication_configurations where account = $1 `+lock, account)
	if err == ErrNotFound {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	return c, json.Unmarshal(document, c)
}

// PutReplicationConfiguration sets what an account replicates where.
func (tx *Tx) PutReplicationConfiguration(account string, c *ecr.ReplicationConfiguration) error {
	document, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = tx.exec(`insert into replication_configurations (account, document) values ($1, $2)
		on conflict (account) do update set document = excluded.document`, account, string(document))
	return err
}

const replicationColumns = `account, repository, digest, tag, region, registry, status, code, reason, queued_at, ended_at`

func (tx *Tx) replications(sql string, args ...any) (out []ecr.Replication, err error) {
	err = tx.each(func(rs rows) error {
		var r ecr.Replication
		var queued, ended int64
		err := rs.Scan(&r.Repository.Account, &r.Repository.Name, &r.Image.Digest, &r.Image.Tag, &r.To.Region, &r.To.Account,
			(*string)(&r.Status), &r.Code, &r.Reason, &queued, &ended)
		r.QueuedAt, r.EndedAt = at(queued), at(ended)
		out = append(out, r)
		return err
	}, `select `+replicationColumns+` from replications `+sql, args...)
	return out, err
}

// QueueReplication records that an image is to be replicated. One that waits
// already keeps its time.
func (tx *Tx) QueueReplication(r ecr.Replication) error {
	_, err := tx.exec(`insert into replications (`+replicationColumns+`) values ($1, $2, $3, $4, $5, $6, 'IN_PROGRESS', '', '', $7, 0)
		on conflict (account, repository, digest, tag, region, registry) do update set status = 'IN_PROGRESS', code = '', reason = '', ended_at = 0,
			queued_at = case when replications.status = 'IN_PROGRESS' then replications.queued_at else excluded.queued_at end`,
		r.Repository.Account, r.Repository.Name, r.Image.Digest, r.Image.Tag, r.To.Region, r.To.Account, ms(r.QueuedAt))
	return err
}

// PendingReplications returns the images that wait to go to a destination
// under a tag, or, where the tag is "", the one with the digest; limit at most.
func (tx *Tx) PendingReplications(id ecr.RepositoryID, image ecr.ImageID, to ecr.Destination, limit int) ([]ecr.Replication, error) {
	where, args := ``, []any{id.Account, id.Name, image.Tag, to.Region, to.Account, limit}
	if image.Tag == "" {
		where, args = ` and digest = $7`, append(args, image.Digest)
	}
	return tx.replications(`where account = $1 and repository = $2 and tag = $3 and region = $4 and registry = $5 and status = 'IN_PROGRESS'`+where+`
		order by id limit $6`, args...)
}

// FinishReplication writes how a replication ended, or, with the status
// IN_PROGRESS, what its last attempt met.
func (tx *Tx) FinishReplication(r ecr.Replication) error {
	_, err := tx.exec(`update replications set status = $7, code = $8, reason = $9, ended_at = $10
		where account = $1 and repository = $2 and digest = $3 and tag = $4 and region = $5 and registry = $6`,
		r.Repository.Account, r.Repository.Name, r.Image.Digest, r.Image.Tag, r.To.Region, r.To.Account,
		string(r.Status), r.Code, r.Reason, since(r.EndedAt))
	return err
}

// ReplicationsOf returns the records of an image, by destination and tag.
func (tx *Tx) ReplicationsOf(id ecr.RepositoryID, digest string) ([]ecr.Replication, error) {
	return tx.replications(`where account = $1 and repository = $2 and digest = $3 order by region, registry, tag`, id.Account, id.Name, digest)
}

// UnfinishedReplications returns records of an account that wait or have
// failed, by destination the oldest first, limit at most.
func (tx *Tx) UnfinishedReplications(account string, status ecr.ReplicationStatus, limit int) ([]ecr.Replication, error) {
	if status == ecr.ReplicationFailed {
		return tx.replications(`where account = $1 and status = 'FAILED' order by region, registry, id limit $2`, account, limit)
	}
	return tx.replications(`where account = $1 and status = 'IN_PROGRESS' order by region, registry, queued_at limit $2`, account, limit)
}

// ForgetReplications deletes the records of a repository, of one image of it,
// or of one tag of that image, whichever ids say.
func (tx *Tx) ForgetReplications(id ecr.RepositoryID, image ecr.ImageID) error {
	sql, args := `delete from replications where account = $1 and repository = $2`, []any{id.Account, id.Name}
	if image.Digest != "" {
		sql, args = sql+` and digest = $3`, append(args, image.Digest)
	}
	if image.Tag != "" {
		sql, args = sql+` and tag = $4`, append(args, image.Tag)
	}
	_, err := tx.exec(sql, args...)
	return err
}

// A ReplicationCount is how many images of an account wait for a destination,
// since when the oldest of them does, and how many have failed.
type ReplicationCount struct {
	Account string
	To      ecr.Destination
	Pending int64
	Oldest  time.Time // zero if none waits
	Failed  int64
}

// CountReplications counts per account and destination.
func (tx *Tx) CountReplications() (out []ReplicationCount, err error) {
	err = tx.each(func(rs rows) error {
		var c ReplicationCount
		var status string
		var n, oldest int64
		if err := rs.Scan(&c.Account, &c.To.Region, &c.To.Account, &status, &n, &oldest); err != nil {
			return err
		}
		if last := len(out) - 1; last < 0 || out[last].Account != c.Account || out[last].To != c.To {
			out = append(out, c)
		}
		last := &out[len(out)-1]
		if status == string(ecr.ReplicationFailed) {
			last.Failed = n
		} else {
			last.Pending, last.Oldest = n, at(oldest)
		}
		return nil
	}, `select account, region, registry, status, n, oldest from (
			select account, region, registry, 'IN_PROGRESS' as status, count(*) as n, min(queued_at) as oldest from replications where status = 'IN_PROGRESS' group by account, region, registry
			union all
			select account, region, registry, 'FAILED' as status, count(*) as n, 0 as oldest from replications where status = 'FAILED' group by account, region, registry) c
		order by account, region, registry, status`)
	return out, err
}

// ReplicationUpload returns where a layer that is on its way to a destination
// goes on, or ErrNotFound.
func (tx *Tx) ReplicationUpload(to ecr.Destination, repository, digest string) (location string, err error) {
	err = tx.row([]any{&location}, `select location from replication_uploads where region = $1 and registry = $2 and repository = $3 and digest = $4`,
		to.Region, to.Account, repository, digest)
	return location, err
}

// PutReplicationUpload keeps where a layer's upload goes on.
func (tx *Tx) PutReplicationUpload(to ecr.Destination, repository, digest, location string, now time.Time) error {
	_, err := tx.exec(`insert into replication_uploads (region, registry, repository, digest, location, begun_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (region, registry, repository, digest) do update set location = excluded.location, begun_at = excluded.begun_at`,
		to.Region, to.Account, repository, digest, location, ms(now))
	return err
}

// DeleteReplicationUpload forgets an upload that has ended.
func (tx *Tx) DeleteReplicationUpload(to ecr.Destination, repository, digest string) error {
	_, err := tx.exec(`delete from replication_uploads where region = $1 and registry = $2 and repository = $3 and digest = $4`,
		to.Region, to.Account, repository, digest)
	return err
}

// ExpireReplicationUploads forgets uploads that began before a time.
func (tx *Tx) ExpireReplicationUploads(before time.Time) (int64, error) {
	return tx.exec(`delete from replication_uploads where begun_at < $1`, ms(before))
}
