package meta

import (
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
)

// A ScannedImage is what the evaluation of a lifecycle policy reads of an
// image, but for what it refers to.
type ScannedImage struct {
	lifecycle.Image // Subject is -1, Children are nil
	Row             int64
	SubjectDigest   string // or ""
}

const scanColumns = `i.id, i.digest, coalesce(i.subject_digest, ''), i.size, i.pushed_at, coalesce(p.last_pulled_at, 0), i.archived_at, i.activated_at, i.status`

func (tx *Tx) scanImages(sql string, args ...any) (out []ScannedImage, err error) {
	err = tx.each(func(rs rows) error {
		s := ScannedImage{Image: lifecycle.Image{Subject: -1}}
		var pushed, pulled, archived, activated int64
		var status string
		if err := rs.Scan(&s.Row, &s.Digest, &s.SubjectDigest, &s.Size, &pushed, &pulled, &archived, &activated, &status); err != nil {
			return err
		}
		s.PushedAt, s.LastPulledAt, s.ArchivedAt, s.ActivatedAt = instant(pushed), instant(pulled), instant(archived), instant(activated)
		s.Archived = status == string(ecr.ImageArchived)
		out = append(out, s)
		return nil
	}, sql, args...)
	return out, err
}

func instant(v int64) lifecycle.Instant { return lifecycle.Instant(v * int64(time.Millisecond)) }

// ScanImages returns the images of a repository that follow after, without
// tags, in the order of their rows, limit at most.
func (tx *Tx) ScanImages(repo, after int64, limit int) ([]ScannedImage, error) {
	return tx.scanImages(`select `+scanColumns+` from `+imageTables+` where i.repo_id = $1 and i.id > $2 order by i.id limit $3`, repo, after, limit)
}

// ScanRows is ScanImages for the images of rows; what is gone is left out. They
// stay as they are until the transaction ends.
func (tx *Tx) ScanRows(repo int64, ids []int64) (out []ScannedImage, err error) {
	for len(ids) > 0 {
		n := min(len(ids), 256)
		marks, args := in([]any{repo}, ids[:n])
		ids = ids[n:]
		part, err := tx.scanImages(`select `+scanColumns+` from `+imageTables+` where i.repo_id = $1 and i.id in `+marks+` order by i.id /*pg: for update of i */`, args...)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// RowsReferring returns the rows of the images whose subject is one of digests.
func (tx *Tx) RowsReferring(repo int64, digests []string) (ids []int64, err error) {
	for len(digests) > 0 {
		n := min(len(digests), 256)
		marks, args := in([]any{repo}, digests[:n])
		digests = digests[n:]
		part, err := tx.integers(`select id from images where repo_id = $1 and subject_digest in `+marks+` order by id`, args...)
		if err != nil {
			return nil, err
		}
		ids = append(ids, part...)
	}
	return ids, nil
}

// RowsOf returns the rows of the images with the given digests.
func (tx *Tx) RowsOf(repo int64, digests []string) (ids []int64, err error) {
	for len(digests) > 0 {
		n := min(len(digests), 256)
		marks, args := in([]any{repo}, digests[:n])
		digests = digests[n:]
		part, err := tx.integers(`select id from images where repo_id = $1 and digest in `+marks+` order by id`, args...)
		if err != nil {
			return nil, err
		}
		ids = append(ids, part...)
	}
	return ids, nil
}

// An Edge says that an index names an image.
type Edge struct{ Parent, Child int64 }

func (tx *Tx) edges(sql string, args ...any) (out []Edge, err error) {
	err = tx.each(func(rs rows) error {
		var e Edge
		err := rs.Scan(&e.Parent, &e.Child)
		out = append(out, e)
		return err
	}, sql, args...)
	return out, err
}

// ScanEdges returns what the indexes of a repository name, of those whose rows
// follow after, up to the row to.
func (tx *Tx) ScanEdges(repo, after, to int64) ([]Edge, error) {
	return tx.edges(`select r.parent_id, r.child_id from images i join manifest_refs r on r.parent_id = i.id
		where i.repo_id = $1 and i.id > $2 and i.id <= $3`, repo, after, to)
}

// EdgesTo returns which indexes name the images of rows.
func (tx *Tx) EdgesTo(ids []int64) ([]Edge, error) {
	return tx.edgesOf(`child_id`, ids)
}

// EdgesFrom returns what the indexes of rows name.
func (tx *Tx) EdgesFrom(ids []int64) ([]Edge, error) {
	return tx.edgesOf(`parent_id`, ids)
}

func (tx *Tx) edgesOf(column string, ids []int64) (out []Edge, err error) {
	for len(ids) > 0 {
		n := min(len(ids), 256)
		marks, args := in(nil, ids[:n])
		ids = ids[n:]
		part, err := tx.edges(`select parent_id, child_id from manifest_refs where `+column+` in `+marks, args...)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// A TagAt is a tag and the row of its image.
type TagAt struct {
	Image int64
	Name  string
}

// ScanTags returns the tags of a repository that follow after, in order, limit
// at most.
func (tx *Tx) ScanTags(repo int64, after string, limit int) ([]TagAt, error) {
	return tx.tagsAt(`select image_id, name from tags where repo_id = $1 and name > $2 order by name limit $3`, repo, after, limit)
}

func (tx *Tx) tagsAt(sql string, args ...any) (out []TagAt, err error) {
	err = tx.each(func(rs rows) error {
		var t TagAt
		err := rs.Scan(&t.Image, &t.Name)
		out = append(out, t)
		return err
	}, sql, args...)
	return out, err
}

// FillTags sets the tags of images, in order.
func (tx *Tx) FillTags(images []ScannedImage) error {
	byRow := make(map[int64]*ScannedImage, len(images))
	ids := make([]int64, 0, len(images))
	for i := range images {
		byRow[images[i].Row] = &images[i]
		ids = append(ids, images[i].Row)
	}
	for len(ids) > 0 {
		n := min(len(ids), 256)
		marks, args := in(nil, ids[:n])
		ids = ids[n:]
		tags, err := tx.tagsAt(`select image_id, name from tags where image_id in `+marks+` order by image_id, name`, args...)
		if err != nil {
			return err
		}
		for _, t := range tags {
			byRow[t.Image].Tags = append(byRow[t.Image].Tags, t.Name)
		}
	}
	return nil
}
