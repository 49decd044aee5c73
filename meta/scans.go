package meta

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

const imageScanColumns = `image_id, type, status, description, requested_at, first_at, completed_at, source_at, counts, suppressed`

func (tx *Tx) scans(sql string, args ...any) (out []ecr.Scan, err error) {
	err = tx.each(func(rs rows) error {
		var s ecr.Scan
		var requested, first, completed, source int64
		var counts, suppressed string
		if err := rs.Scan(&s.Image, (*string)(&s.Type), (*string)(&s.Status), &s.Description, &requested, &first, &completed, &source, &counts, &suppressed); err != nil {
			return err
		}
		s.RequestedAt, s.FirstAt, s.CompletedAt, s.SourceAt = at(requested), at(first), at(completed), at(source)
		err := errors.Join(uncount(counts, &s.Counts), uncount(suppressed, &s.Suppressed))
		out = append(out, s)
		return err
	}, sql, args...)
	return out, err
}

// count is the stored form of counts: JSON with sorted keys, "" for none.
func count(c map[string]int) (string, error) {
	if len(c) == 0 {
		return "", nil
	}
	b, err := json.Marshal(c)
	return string(b), err
}

func uncount(text string, c *map[string]int) error {
	if text == "" {
		return nil
	}
	if plain, ok := uncountPlain(text); ok {
		*c = plain
		return nil
	}
	return json.Unmarshal([]byte(text), c)
}

// uncountPlain reads counts as count writes them, of keys that need no escape.
func uncountPlain(text string) (map[string]int, bool) {
	text, ok := strings.CutPrefix(text, "{")
	c := make(map[string]int, SeverityRanks)
	for ok {
		if text, ok = strings.CutPrefix(text, `"`); !ok {
			break
		}
		key, rest, found := strings.Cut(text, `":`)
		end := strings.IndexAny(rest, ",}")
		if !found || end < 0 || strings.ContainsAny(key, `\"`) {
			break
		}
		n, err := strconv.Atoi(rest[:end])
		if err != nil {
			break
		}
		c[key] = n
		if rest[end:] == "}" {
			return c, true
		}
		text, ok = rest[end+1:], rest[end] == ','
	}
	return nil, false
}

// Scan returns where the scan of an image stands, or ErrNotFound.
func (tx *Tx) Scan(image int64, t ecr.ScanType) (ecr.Scan, error) {
	list, err := tx.scans(`select `+imageScanColumns+` from image_scans where image_id = $1 and type = $2`, image, string(t))
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return ecr.Scan{}, err
	}
	return list[0], nil
}

// Scans is Scan for several images, by their rows; those without one are not in
// the map.
func (tx *Tx) Scans(images []int64, t ecr.ScanType) (map[int64]ecr.Scan, error) {
	out := make(map[int64]ecr.Scan, len(images))
	for part := range slices.Chunk(images, 256) {
		marks, args := in([]any{string(t)}, part)
		list, err := tx.scans(`select `+imageScanColumns+` from image_scans where type = $1 and image_id in `+marks, args...)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			out[s.Image] = s
		}
	}
	return out, nil
}

// PutScan inserts or replaces where the scan of an image stands.
func (tx *Tx) PutScan(s ecr.Scan) error { return tx.PutScans([]ecr.Scan{s}) }

// PutScans is PutScan for several.
func (tx *Tx) PutScans(list []ecr.Scan) error {
	texts := make([][2]string, len(list))
	for i, s := range list {
		var err, err2 error
		texts[i][0], err = count(s.Counts)
		texts[i][1], err2 = count(s.Suppressed)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
	}
	return tx.insert(`insert into image_scans (image_id, type, status, description, requested_at, first_at, completed_at, source_at, counts, suppressed) values `,
		`on conflict (image_id, type) do update set status = excluded.status, description = excluded.description, requested_at = excluded.requested_at,
			first_at = excluded.first_at, completed_at = excluded.completed_at, source_at = excluded.source_at, counts = excluded.counts, suppressed = excluded.suppressed`,
		10, len(list), func(i int) []any {
			s := &list[i]
			return []any{s.Image, string(s.Type), string(s.Status), s.Description, since(s.RequestedAt), since(s.FirstAt), since(s.CompletedAt), since(s.SourceAt), texts[i][0], texts[i][1]}
		})
}

// ScansOf returns the scans of images, of whichever type, in the order of the
// images' rows.
func (tx *Tx) ScansOf(images []int64) (out []ecr.Scan, err error) {
	for part := range slices.Chunk(images, chunk) {
		marks, args := in(nil, part)
		list, err := tx.scans(`select `+imageScanColumns+` from image_scans where image_id in `+marks+` order by image_id, type`, args...)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// ScansStand locks scans, and reports whether their status, time of completion
// and counts are those of list.
func (tx *Tx) ScansStand(list []ecr.Scan) (bool, error) {
	type key struct {
		image int64
		t     ecr.ScanType
	}
	want := make(map[key]*ecr.Scan, len(list))
	images := make([]int64, len(list))
	for i := range list {
		images[i] = list[i].Image
		want[key{list[i].Image, list[i].Type}] = &list[i]
	}
	slices.Sort(images)
	same := 0
	for part := range slices.Chunk(slices.Compact(images), chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			var k key
			var status, counts, suppressed string
			var completed int64
			if err := rs.Scan(&k.image, (*string)(&k.t), &status, &completed, &counts, &suppressed); err != nil {
				return err
			}
			s := want[k]
			if s == nil || string(s.Status) != status || since(s.CompletedAt) != completed {
				return nil
			}
			c, err := count(s.Counts)
			c2, err2 := count(s.Suppressed)
			if c == counts && c2 == suppressed {
				same++
			}
			return errors.Join(err, err2)
		}, `select image_id, type, status, completed_at, counts, suppressed from image_scans where image_id in `+marks+` order by image_id, type /*pg: for update */`, args...)
		if err != nil {
			return false, err
		}
	}
	return same == len(want), nil
}

// AppendOwn appends events of the server's own doing to the log.
func (tx *Tx) AppendOwn(events []ecr.Event) error {
	tx.changed = true
	return tx.insert(`insert into events (at, type, action, account, repository, digest, tag, principal, source_ip, user_agent, request_id, code) values `, ``, 12,
		len(events), func(i int) []any {
			e := &events[i]
			return []any{ms(e.At), string(e.Type), e.Action, e.Repository.Account, e.Repository.Name, e.Digest, e.Tag, e.Principal, e.SourceIP, e.UserAgent, e.RequestID, e.Code}
		})
}

// AwaitingLayer returns the rows of images that follow after whose scan is in
// progress and which have a layer, limit at most.
func (tx *Tx) AwaitingLayer(layer, after int64, limit int) ([]int64, error) {
	return tx.integers(`select distinct l.image_id from image_layers l join image_scans s on s.image_id = l.image_id
		where l.layer_id = $1 and l.image_id > $2 and s.status = $3 order by l.image_id limit $4`, layer, after, string(ecr.ScanInProgress), limit)
}

// ImageOf returns an image by its row, without its tags, or ErrNotFound.
func (tx *Tx) ImageOf(row int64) (*ecr.Image, *ecr.Repository, error) {
	img, err := tx.oneImage(`select `+imageColumns+` from `+imageTables+` where i.id = $1`, row)
	if err != nil {
		return nil, nil, err
	}
	repo, err := tx.oneRepository(`select `+repositoryColumns+` from repositories where id = (select repo_id from images where id = $1)`, row)
	if err != nil {
		return nil, nil, err
	}
	img.Repository = repo.ID
	return img, repo, nil
}

// ChildImages returns the images that an index names, without tags, in the
// order of their rows.
func (tx *Tx) ChildImages(index int64) (images []*ecr.Image, err error) {
	err = tx.each(func(rs rows) error {
		i, err := scanImage(rs)
		images = append(images, i)
		return err
	}, `select `+imageColumns+` from `+imageTables+` join manifest_refs r on r.child_id = i.id where r.parent_id = $1 order by i.id`, index)
	return images, err
}

// ImagesSince returns the rows of a repository's active images that follow after
// and were pushed at or after a time, limit at most.
func (tx *Tx) ImagesSince(repo, after int64, since time.Time, limit int) ([]int64, error) {
	return tx.integers(`select id from images where repo_id = $1 and id > $2 and pushed_at >= $3 and status = 'ACTIVE' order by id limit $4`, repo, after, ms(since), limit)
}
