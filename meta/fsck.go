package meta

import (
	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
)

// A Fault is a row that contradicts another.
type Fault struct {
	Kind    string
	Subject string
	Detail  string
	Mended  bool
}

// A rule is something that holds in every state that a transaction leaves. Its
// query finds what breaks it, subject and detail; mend, if not empty, derives
// what is right from other rows.
type rule struct {
	kind, query, mend string
}

var rules = []rule{
	{"link without blob", `select r.name, cast(rb.blob_id as text) from repository_blobs rb join repositories r on r.id = rb.repo_id
		where not exists (select 1 from blobs b where b.id = rb.blob_id) limit $1`, ``},
	{"image without layer link", `select i.digest, cast(m.blob_id as text) from manifest_blobs m join images i on i.id = m.image_id
		where not exists (select 1 from repository_blobs rb where rb.repo_id = m.repo_id and rb.blob_id = m.blob_id) limit $1`,
		`insert into repository_blobs (repo_id, blob_id, review_after) select distinct m.repo_id, m.blob_id, cast(null as bigint) from manifest_blobs m
		join blobs b on b.id = m.blob_id
		where not exists (select 1 from repository_blobs rb where rb.repo_id = m.repo_id and rb.blob_id = m.blob_id)`},
	{"image without manifest", `select i.digest, r.name from images i join repositories r on r.id = i.repo_id
		where not exists (select 1 from manifests m where m.image_id = i.id) limit $1`, ``},
	{"tag without image", `select r.name || ':' || t.name, cast(t.image_id as text) from tags t join repositories r on r.id = t.repo_id
		where not exists (select 1 from images i where i.id = t.image_id and i.repo_id = t.repo_id) limit $1`, ``},
	{"index entry without image", `select cast(m.parent_id as text), cast(m.child_id as text) from manifest_refs m
		where not exists (select 1 from images i where i.id = m.parent_id) or not exists (select 1 from images i where i.id = m.child_id) limit $1`, ``},
	{"wrong tag count", `select i.digest, cast(i.tag_count as text) from images i
		where i.tag_count <> (select count(*) from tags t where t.image_id = i.id) limit $1`,
		`update images set tag_count = (select count(*) from tags t where t.image_id = images.id)
		where tag_count <> (select count(*) from tags t where t.image_id = images.id)`},
	{"wrong repository counters", `select r.name, cast(r.image_count as text) || ' images, ' || cast(r.size_bytes as text) || ' bytes' from repositories r
		where r.image_count <> (select count(*) from images i where i.repo_id = r.id)
		or r.size_bytes <> (select coalesce(sum(i.size), 0) from images i where i.repo_id = r.id) limit $1`,
		`update repositories set image_count = (select count(*) from images i where i.repo_id = repositories.id),
		size_bytes = (select coalesce(sum(i.size), 0) from images i where i.repo_id = repositories.id)
		where image_count <> (select count(*) from images i where i.repo_id = repositories.id)
		or size_bytes <> (select coalesce(sum(i.size), 0) from images i where i.repo_id = repositories.id)`},
	{"unused layer without review", `select r.name, b.digest from repository_blobs rb join repositories r on r.id = rb.repo_id join blobs b on b.id = rb.blob_id
		where rb.review_after is null and not exists (select 1 from manifest_blobs m where m.repo_id = rb.repo_id and m.blob_id = rb.blob_id)
		and not exists (select 1 from expired_image_blobs e where e.repo_id = rb.repo_id and e.blob_id = rb.blob_id) limit $1`,
		`update repository_blobs set review_after = $1
		where review_after is null and not exists (select 1 from manifest_blobs m where m.repo_id = repository_blobs.repo_id and m.blob_id = repository_blobs.blob_id)
		and not exists (select 1 from expired_image_blobs e where e.repo_id = repository_blobs.repo_id and e.blob_id = repository_blobs.blob_id)`},
	{"expired image without layer link", `select i.digest, cast(e.blob_id as text) from expired_image_blobs e join expired_images i on i.id = e.expired_id
		where not exists (select 1 from repository_blobs rb where rb.repo_id = e.repo_id and rb.blob_id = e.blob_id) limit $1`,
		`insert into repository_blobs (repo_id, blob_id, review_after) select distinct e.repo_id, e.blob_id, cast(null as bigint) from expired_image_blobs e
		join blobs b on b.id = e.blob_id
		where not exists (select 1 from repository_blobs rb where rb.repo_id = e.repo_id and rb.blob_id = e.blob_id)`},
	{"lifecycle policy without state", `select r.name, r.account from repositories r
		where r.lifecycle_policy <> '' and not exists (select 1 from lifecycle_states s where s.repo_id = r.id) limit $1`,
		`insert into lifecycle_states (repo_id, policy_id, version, put_at, due_at)
		select r.id, '00000000-0000-4000-8000-000000000000', 1, r.created_at, r.created_at from repositories r
		where r.lifecycle_policy <> '' and not exists (select 1 from lifecycle_states s where s.repo_id = r.id)`},
	{"lifecycle state without policy", `select r.name, r.account from repositories r join lifecycle_states s on s.repo_id = r.id
		where r.lifecycle_policy = '' limit $1`,
		`delete from lifecycle_states where repo_id in (select id from repositories where lifecycle_policy = '')`},
	{"live object in the trash", `select b.digest, b.storage_key from blob_trash t join blobs b on b.storage_key = t.storage_key limit $1`,
		`delete from blob_trash where storage_key in (select storage_key from blobs)`},
	{"blob without link", `select b.digest, b.storage_key from blobs b
		where not exists (select 1 from repository_blobs rb where rb.blob_id = b.id) limit $1`, ``},
}

// Faults looks for rows that contradict each other, limit at most of each
// kind. Each rule is asked in one statement, so that what others write
// meanwhile makes no faults.
func (tx *Tx) Faults(limit int) (faults []Fault, err error) {
	for _, r := range rules {
		err := tx.each(func(rs rows) error {
			f := Fault{Kind: r.kind}
			err := rs.Scan(&f.Subject, &f.Detail)
			faults = append(faults, f)
			return err
		}, r.query, limit)
		if err != nil {
			return nil, err
		}
	}
	return faults, nil
}

// Mend sets right what can be derived from other rows, of the kinds of faults,
// and marks those. Unused layers are to be reviewed after reviewAfter.
func (tx *Tx) Mend(faults []Fault, reviewAfter int64) error {
	broken := map[string]bool{}
	for _, f := range faults {
		broken[f.Kind] = true
	}
	for _, r := range rules {
		if !broken[r.kind] || r.mend == "" {
			continue
		}
		var args []any
		if r.kind == "unused layer without review" {
			args = append(args, reviewAfter)
		}
		if _, err := tx.exec(r.mend, args...); err != nil {
			return err
		}
		for i := range faults {
			faults[i].Mended = faults[i].Mended || faults[i].Kind == r.kind
		}
	}
	return nil
}

// CountObjects returns how many blobs and images there are.
func (tx *Tx) CountObjects() (blobs, images int64, err error) {
	err = tx.row([]any{&blobs, &images}, `select (select count(*) from blobs), (select count(*) from images)`)
	return blobs, images, err
}

// AllBlobs returns the blobs of all repositories that follow after, in the
// order of their rows, limit at most.
func (tx *Tx) AllBlobs(after int64, limit int) (blobs []Link, err error) {
	err = tx.each(func(rs rows) error {
		var l Link
		var key string
		var inline int64
		err := rs.Scan(&l.Blob, &l.Layer.Digest, &l.Layer.Size, &key, &inline)
		l.Key, l.Inline = blob.Key(key), inline != 0
		blobs = append(blobs, l)
		return err
	}, `select id, digest, size, storage_key, `+isInline+` from blobs b where id > $1 order by id limit $2`, after, limit)
	return blobs, err
}

// AllExpired returns the expired images of all repositories that follow after,
// as AllManifests does.
func (tx *Tx) AllExpired(after int64, limit int) (manifests []ecr.Manifest, err error) {
	err = tx.each(func(rs rows) error {
		var m ecr.Manifest
		err := rs.Scan(&m.Row, &m.Digest, &m.Repository.Account, &m.Repository.Name, &m.Payload)
		manifests = append(manifests, m)
		return err
	}, `select e.id, e.digest, r.account, r.name, e.payload from expired_images e join repositories r on r.id = e.repo_id
		where e.id > $1 order by e.id limit $2`, after, limit)
	return manifests, err
}

// AllManifests returns the images of all repositories that follow after, with
// their manifests, in the order of their rows, limit at most.
func (tx *Tx) AllManifests(after int64, limit int) (manifests []ecr.Manifest, err error) {
	err = tx.each(func(rs rows) error {
		var m ecr.Manifest
		err := rs.Scan(&m.Row, &m.Digest, &m.Repository.Account, &m.Repository.Name, &m.Payload)
		manifests = append(manifests, m)
		return err
	}, `select i.id, i.digest, r.account, r.name, p.payload from images i join repositories r on r.id = i.repo_id
		join manifests p on p.image_id = i.id where i.id > $1 order by i.id limit $2`, after, limit)
	return manifests, err
}
