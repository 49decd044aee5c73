package meta

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

const imageColumns = `i.id, i.digest, i.media_type, i.artifact_type, coalesce(i.subject_digest, ''), i.annotations,
	i.manifest_size, i.size, i.pushed_at, coalesce(p.last_pulled_at, 0), i.status, i.archived_at, i.activated_at`

const imageTables = ` images i left join image_pulls p on p.image_id = i.id `

func scanImage(rs rows, more ...any) (*ecr.Image, error) {
	var (
		i                   ecr.Image
		pushed, pulled      int64
		archived, activated int64
		annotations         string
	)
	dest := []any{&i.Row, &i.Digest, &i.MediaType, &i.ArtifactType, &i.Subject, &annotations,
		&i.ManifestSize, &i.Size, &pushed, &pulled, (*string)(&i.Status), &archived, &activated}
	if err := rs.Scan(append(dest, more...)...); err != nil {
		return nil, err
	}
	i.PushedAt, i.LastPulledAt, i.ArchivedAt, i.ActivatedAt = at(pushed), at(pulled), at(archived), at(activated)
	if annotations != "" {
		if err := json.Unmarshal([]byte(annotations), &i.Annotations); err != nil {
			return nil, err
		}
	}
	return &i, nil
}

func (tx *Tx) oneImage(sql string, args ...any) (img *ecr.Image, err error) {
	err = tx.each(func(rs rows) (err error) {
		img, err = scanImage(rs)
		return err
	}, sql, args...)
	if err == nil && img == nil {
		return nil, ErrNotFound
	}
	return img, err
}

// Image returns the image with a digest, without its tags, or ErrNotFound.
func (tx *Tx) Image(repo int64, digest string) (*ecr.Image, error) {
	return tx.oneImage(`select `+imageColumns+` from `+imageTables+` where i.repo_id = $1 and i.digest = $2`, repo, digest)
}

// ImageTagged returns the image that a tag points at, without its tags, or
// ErrNotFound.
func (tx *Tx) ImageTagged(repo int64, tag string) (*ecr.Image, error) {
	return tx.oneImage(`select `+imageColumns+` from `+imageTables+` join tags t on t.image_id = i.id where t.repo_id = $1 and t.name = $2`, repo, tag)
}

// ImagesAt returns images by their rows, with where they lie and their tags.
func (tx *Tx) ImagesAt(images []int64) (map[int64]*ecr.Image, error) {
	var list []*ecr.Image
	for part := range slices.Chunk(images, chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			var at ecr.RepositoryID
			i, err := scanImage(rs, &at.Account, &at.Name)
			if err == nil {
				i.Repository = at
				list = append(list, i)
			}
			return err
		}, `select `+imageColumns+`, r.account, r.name from `+imageTables+` join repositories r on r.id = i.repo_id where i.id in `+marks, args...)
		if err != nil {
			return nil, err
		}
	}
	out := make(map[int64]*ecr.Image, len(list))
	for _, i := range list {
		out[i.Row] = i
	}
	return out, tx.fillTags(list)
}

// SetImageStatus writes an image's storage state and the times of its changes.
func (tx *Tx) SetImageStatus(i *ecr.Image) error {
	_, err := tx.exec(`update images set status = $2, archived_at = $3, activated_at = $4 where id = $1`, i.Row, string(i.Status), since(i.ArchivedAt), since(i.ActivatedAt))
	return err
}

// InActiveIndex reports whether an index that is not archived names an image.
func (tx *Tx) InActiveIndex(image int64) (bool, error) {
	var n int64
	err := tx.row([]any{&n}, `select count(*) from manifest_refs r join images i on i.id = r.parent_id where r.child_id = $1 and i.status <> 'ARCHIVED'`, image)
	return n > 0, err
}

// Payload returns the bytes of an image's manifest.
func (tx *Tx) Payload(image int64) (payload []byte, err error) {
	err = tx.row([]any{&payload}, `select payload from manifests where image_id = $1`, image)
	return payload, err
}

// Tags returns the tags of an image, in order.
func (tx *Tx) Tags(image int64) ([]string, error) {
	return tx.strings(`select name from tags where image_id = $1 order by name`, image)
}

// CountTags returns how many tags an image has.
func (tx *Tx) CountTags(image int64) (n int64, err error) {
	err = tx.row([]any{&n}, `select tag_count from images where id = $1`, image)
	return n, err
}

// TagNames returns the tags of a repository that follow after, in order, limit
// at most.
func (tx *Tx) TagNames(repo int64, after string, limit int) ([]string, error) {
	return tx.strings(`select name from tags where repo_id = $1 and name > $2 order by name limit $3`, repo, after, limit)
}

// An ImageCursor is a place in the list of a repository's images: after the
// image Row, and within that image after the tag Tag.
type ImageCursor struct {
	Row int64
	Tag string
}

// Images returns the images of a repository that follow after, in the order of
// their first push, limit at most, each with its tags.
func (tx *Tx) Images(repo int64, f ecr.ImageFilter, after int64, limit int) (images []*ecr.Image, err error) {
	where := ""
	switch f.TagStatus {
	case "TAGGED":
		where = ` and i.tag_count > 0`
	case "UNTAGGED":
		where = ` and i.tag_count = 0`
	}
	err = tx.each(func(rs rows) error {
		i, err := scanImage(rs)
		images = append(images, i)
		return err
	}, `select `+imageColumns+` from `+imageTables+` where i.repo_id = $1 and i.id > $2 and ($3 = 'ANY' or i.status = $3)`+where+`
		order by i.id limit $4`, repo, after, status(f), limit)
	if err != nil {
		return nil, err
	}
	return images, tx.fillTags(images)
}

// status is the storage state that a filter lets through; ECR's default is
// ACTIVE alone.
func status(f ecr.ImageFilter) string {
	if f.Status == "" {
		return string(ecr.ImageActive)
	}
	return f.Status
}

// fillTags sets the tags of images.
func (tx *Tx) fillTags(images []*ecr.Image) error {
	byRow := make(map[int64]*ecr.Image, len(images))
	ids := make([]int64, 0, len(images))
	for _, i := range images {
		byRow[i.Row] = i
		ids = append(ids, i.Row)
	}
	for len(ids) > 0 {
		n := min(len(ids), 256)
		marks, args := in(nil, ids[:n])
		ids = ids[n:]
		err := tx.each(func(rs rows) error {
			var row int64
			var name string
			if err := rs.Scan(&row, &name); err != nil {
				return err
			}
			byRow[row].Tags = append(byRow[row].Tags, name)
			return nil
		}, `select image_id, name from tags where image_id in `+marks+` order by image_id, name`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// ImageIDs returns one entry for each tag of each image, and one for each
// image without tags, that follow after, limit at most; tagged ones in the
// order of their tags if the filter asks for them alone, else by image.
func (tx *Tx) ImageIDs(repo int64, f ecr.ImageFilter, after ImageCursor, limit int) (ids []ecr.ImageID, at []int64, err error) {
	const columns = `select i.id, i.digest, coalesce(t.name, '') from `
	scan := func(rs rows) error {
		var id ecr.ImageID
		var row int64
		if err := rs.Scan(&row, &id.Digest, &id.Tag); err != nil {
			return err
		}
		ids, at = append(ids, id), append(at, row)
		return nil
	}
	switch f.TagStatus {
	case "TAGGED":
		err = tx.each(scan, columns+`tags t join images i on i.id = t.image_id
			where t.repo_id = $1 and t.name > $2 and ($3 = 'ANY' or i.status = $3) order by t.name limit $4`, repo, after.Tag, status(f), limit)
	case "UNTAGGED":
		err = tx.each(scan, `select i.id, i.digest, '' from images i
			where i.repo_id = $1 and i.id > $2 and i.tag_count = 0 and ($3 = 'ANY' or i.status = $3) order by i.id limit $4`, repo, after.Row, status(f), limit)
	default:
		err = tx.each(scan, columns+`images i left join tags t on t.image_id = i.id
			where i.repo_id = $1 and i.id >= $2 and (i.id > $2 or coalesce(t.name, '') > $3) and ($4 = 'ANY' or i.status = $4)
			order by i.id, t.name limit $5`, repo, after.Row, after.Tag, status(f), limit)
	}
	return ids, at, err
}

// Referrers returns the images whose subject is digest, that follow after, in
// the order of their digests, limit at most. With types, only those.
func (tx *Tx) Referrers(repo int64, digest string, types []string, after string, limit int) (images []*ecr.Image, err error) {
	args := []any{repo, digest, after, limit}
	where := ""
	if len(types) > 0 {
		var marks string
		marks, args = in(args, types)
		where = ` and i.artifact_type in ` + marks
	}
	err = tx.each(func(rs rows) error {
		i, err := scanImage(rs)
		images = append(images, i)
		return err
	}, `select `+imageColumns+` from `+imageTables+` where i.repo_id = $1 and i.subject_digest = $2 and i.digest > $3`+where+`
		order by i.digest limit $4`, args...)
	return images, err
}

// A Child is what an index's push must know of the images that an index names.
type Child struct {
	Row    int64
	Digest string
	Size   int64
}

// Children returns those of digests that are images of the repository.
func (tx *Tx) Children(repo int64, digests []string) (found []Child, err error) {
	marks, args := in([]any{repo}, digests)
	err = tx.each(func(rs rows) error {
		var c Child
		err := rs.Scan(&c.Row, &c.Digest, &c.Size)
		found = append(found, c)
		return err
	}, `select id, digest, size from images where repo_id = $1 and digest in `+marks+` order by id /*pg: for share */`, args...)
	return found, err
}

// InsertImage inserts an image with its manifest, its edges to layers and to
// children, and counts it; it sets i.Row. Links must exist. The image is
// counted as having i.Tags, which the caller puts.
func (tx *Tx) InsertImage(repo int64, i *ecr.Image, payload []byte, layers []Link, children []Child) error {
	annotations := ""
	if len(i.Annotations) > 0 {
		b, err := json.Marshal(i.Annotations)
		if err != nil {
			return err
		}
		annotations = string(b)
	}
	err := tx.row([]any{&i.Row}, `insert into images (repo_id, digest, media_type, artifact_type, subject_digest, annotations,
			manifest_size, size, pushed_at, status, tag_count)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (repo_id, digest) do nothing returning id`,
		repo, i.Digest, i.MediaType, i.ArtifactType, null(i.Subject), annotations, i.ManifestSize, i.Size, ms(i.PushedAt), string(i.Status), len(i.Tags))
	if err == ErrNotFound {
		return ErrExists
	}
	if err != nil {
		return err
	}
	if _, err := tx.exec(`insert into manifests (image_id, payload) values ($1, $2)`, i.Row, payload); err != nil {
		return err
	}
	if err := tx.insertEdges(i.Row, repo, layers, children); err != nil {
		return err
	}
	_, err = tx.exec(`update repositories set image_count = image_count + 1, size_bytes = size_bytes + $2 where id = $1`, repo, i.Size)
	return err
}

func (tx *Tx) insertEdges(image, repo int64, layers []Link, children []Child) error {
	ids := make([]int64, len(layers))
	for n, l := range layers {
		ids[n] = l.Blob
	}
	for len(ids) > 0 {
		n := min(len(ids), 256)
		marks, args := in([]any{image, repo}, ids[:n])
		ids = ids[n:]
		if _, err := tx.exec(`insert into manifest_blobs (image_id, repo_id, blob_id)
			select cast($1 as bigint), cast($2 as bigint), id from blobs where id in `+marks, args...); err != nil {
			return err
		}
	}
	for _, c := range children {
		if _, err := tx.exec(`insert into manifest_refs (parent_id, child_id) values ($1, $2) on conflict do nothing`, image, c.Row); err != nil {
			return err
		}
	}
	return nil
}

// PutTag points a tag at an image and returns the image that it pointed at
// before, or 0. If that is the same image nothing changes. Counted says that
// the image has the tag in its count already.
func (tx *Tx) PutTag(repo int64, tag string, image int64, now time.Time, counted bool) (before int64, err error) {
	err = tx.row([]any{&before}, `select image_id from tags where repo_id = $1 and name = $2 /*pg: for update */`, repo, tag)
	if err != nil && err != ErrNotFound {
		return 0, err
	}
	err = nil
	if before == image {
		return before, nil
	}
	if _, err := tx.exec(`insert into tags (repo_id, name, image_id, updated_at) values ($1, $2, $3, $4)
		on conflict (repo_id, name) do update set image_id = excluded.image_id, updated_at = excluded.updated_at`, repo, tag, image, ms(now)); err != nil {
		return 0, err
	}
	if before != 0 {
		if _, err := tx.exec(`update images set tag_count = tag_count - 1 where id = $1`, before); err != nil {
			return 0, err
		}
	}
	if !counted {
		_, err = tx.exec(`update images set tag_count = tag_count + 1 where id = $1`, image)
	}
	return before, err
}

// DeleteTag deletes a tag and returns how many tags its image has left.
func (tx *Tx) DeleteTag(repo int64, tag string, image int64) (left int64, err error) {
	n, err := tx.exec(`delete from tags where repo_id = $1 and name = $2 and image_id = $3`, repo, tag, image)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, ErrNotFound
	}
	err = tx.row([]any{&left}, `update images set tag_count = tag_count - 1 where id = $1 returning tag_count`, image)
	return left, err
}

// Parents returns the digests of the indexes that name an image, some at most.
func (tx *Tx) Parents(image int64, limit int) ([]string, error) {
	return tx.strings(`select i.digest from manifest_refs r join images i on i.id = r.parent_id where r.child_id = $1 order by i.digest limit $2`, image, limit)
}

// ForgetParents removes the edges from indexes to an image, so that it can be
// deleted before them.
func (tx *Tx) ForgetParents(image int64) error {
	_, err := tx.exec(`delete from manifest_refs where child_id = $1`, image)
	return err
}

// DeleteImage deletes an image that no index names, with its tags, and has its
// layers reviewed after reviewAfter.
func (tx *Tx) DeleteImage(repo int64, i *ecr.Image, reviewAfter time.Time) error {
	steps := []struct {
		sql  string
		args []any
	}{
		{`delete from tags where image_id = $1`, []any{i.Row}},
		{`update repository_blobs set review_after = $3 where repo_id = $1
			and blob_id in (select blob_id from manifest_blobs where image_id = $2)`, []any{repo, i.Row, ms(reviewAfter)}},
		{`delete from manifest_blobs where image_id = $1`, []any{i.Row}},
		{`delete from manifest_refs where parent_id = $1`, []any{i.Row}},
		{`delete from image_pulls where image_id = $1`, []any{i.Row}},
		{`delete from manifests where image_id = $1`, []any{i.Row}},
		{`delete from images where id = $1`, []any{i.Row}},
		{`update repositories set image_count = image_count - 1, size_bytes = size_bytes - $2 where id = $1`, []any{repo, i.Size}},
	}
	for _, s := range steps {
		if _, err := tx.exec(s.sql, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// AddPulls counts n pulls of an image, the last of them at last; a zero last
// counts without moving the time. An image that is gone is passed over.
func (tx *Tx) AddPulls(image int64, n int64, last time.Time) error {
	v := int64(0)
	if !last.IsZero() {
		v = ms(last)
	}
	_, err := tx.exec(`insert into image_pulls (image_id, last_pulled_at, pulls)
		select id, cast($2 as bigint), cast($3 as bigint) from images where id = $1
		on conflict (image_id) do update set pulls = image_pulls.pulls + excluded.pulls,
			last_pulled_at = case when excluded.last_pulled_at > image_pulls.last_pulled_at then excluded.last_pulled_at else image_pulls.last_pulled_at end`,
		image, v, n)
	return err
}
