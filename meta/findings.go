package meta

import (
	"slices"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// A Seen is when a vulnerability of a package was seen, in whichever image.
type Seen struct {
	PV            int64
	Vulnerability string
	Severity      int // rank
	FirstAt       time.Time
	GoneAt        time.Time // zero: it is one
}

// Seen returns the history of package versions.
func (tx *Tx) Seen(pvs []int64) (out []Seen, err error) {
	for part := range slices.Chunk(pvs, chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			var s Seen
			var first, gone int64
			err := rs.Scan(&s.PV, &s.Vulnerability, &s.Severity, &first, &gone)
			s.FirstAt, s.GoneAt = at(first), at(gone)
			out = append(out, s)
			return err
		}, `select pv_id, vulnerability, severity, first_at, gone_at from pv_history where pv_id in `+marks, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// SyncSeen brings the history of package versions up to what tx.Findings has of
// them.
func (tx *Tx) SyncSeen(pvs []int64, now time.Time) error {
	found, err := tx.Findings(pvs)
	if err != nil {
		return err
	}
	seen, err := tx.Seen(pvs)
	if err != nil {
		return err
	}
	type key struct {
		pv   int64
		name string
	}
	had := make(map[key]Seen, len(seen))
	for _, s := range seen {
		had[key{s.PV, s.Vulnerability}] = s
	}
	var put []Seen
	for pv, matches := range found {
		for i := range matches {
			k, rank := key{pv, matches[i].Vulnerability}, matches[i].Rating.Severity.Rank()
			s, ok := had[k]
			delete(had, k)
			if ok && s.GoneAt.IsZero() && s.Severity == rank {
				continue
			}
			if !ok {
				s.FirstAt = now
			}
			put = append(put, Seen{PV: pv, Vulnerability: k.name, Severity: rank, FirstAt: s.FirstAt})
		}
	}
	for _, s := range had {
		if s.GoneAt.IsZero() {
			s.GoneAt = now
			put = append(put, s)
		}
	}
	slices.SortFunc(put, func(a, b Seen) int { return compareSeen(a, b) })
	return tx.insert(`insert into pv_history (pv_id, vulnerability, severity, first_at, gone_at) values `,
		`on conflict (pv_id, vulnerability) do update set severity = excluded.severity, first_at = excluded.first_at, gone_at = excluded.gone_at`, 5,
		len(put), func(i int) []any {
			s := put[i]
			return []any{s.PV, s.Vulnerability, s.Severity, ms(s.FirstAt), since(s.GoneAt)}
		})
}

func compareSeen(a, b Seen) int {
	switch {
	case a.PV != b.PV:
		return int(a.PV - b.PV)
	case a.Vulnerability < b.Vulnerability:
		return -1
	case a.Vulnerability > b.Vulnerability:
		return 1
	}
	return 0
}

// SeverityRanks is how many there are: from 0 (UNDEFINED) to 5 (CRITICAL).
const SeverityRanks = 6

// RankCounts are numbers of findings by the rank of their severity.
type RankCounts [SeverityRanks]int32

// CountSeen returns what is wrong with package versions; one with which nothing
// is wrong is not there.
func (tx *Tx) CountSeen(pvs []int64) (map[int64]RankCounts, error) {
	counts := map[int64]RankCounts{}
	for part := range slices.Chunk(pvs, chunk) {
		marks, args := in(nil, part)
		if err := tx.countSeen(counts, `pv_id in `+marks, args...); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// CountSeenFrom is CountSeen for all package versions from first on and before
// end.
func (tx *Tx) CountSeenFrom(first, end int64) (map[int64]RankCounts, error) {
	counts := map[int64]RankCounts{}
	return counts, tx.countSeen(counts, `pv_id >= $1 and pv_id < $2`, first, end)
}

func (tx *Tx) countSeen(counts map[int64]RankCounts, where string, args ...any) error {
	return tx.each(func(rs rows) error {
		var pv int64
		var rank int
		if err := rs.Scan(&pv, &rank); err != nil {
			return err
		}
		c := counts[pv]
		c[min(max(rank, 0), SeverityRanks-1)]++
		counts[pv] = c
		return nil
	}, `select pv_id, severity from pv_history where gone_at = 0 and `+where, args...)
}

// LayersWith returns the layers that brought one of some package versions into
// an image, each once.
func (tx *Tx) LayersWith(pvs []int64) (layers []int64, err error) {
	for part := range slices.Chunk(pvs, chunk) {
		marks, args := in(nil, part)
		some, err := tx.integers(`select distinct layer_id from layer_pvs where pv_id in `+marks, args...)
		if err != nil {
			return nil, err
		}
		layers = append(layers, some...)
	}
	slices.Sort(layers)
	return slices.Compact(layers), nil
}

// ImagesOn returns the images that have one of some layers and follow after, in
// order, limit at most.
func (tx *Tx) ImagesOn(layers []int64, after int64, limit int) (images []int64, err error) {
	for _, l := range layers {
		some, err := tx.integers(`select image_id from image_layers where layer_id = $1 and image_id > $2 order by image_id limit $3`, l, after, limit)
		if err != nil {
			return nil, err
		}
		images = append(images, some...)
		if len(images) > 8*limit {
			images = firstOf(images, limit)
		}
	}
	return firstOf(images, limit), nil
}

// firstOf returns the n lowest of keys, sorted, each once.
func firstOf(keys []int64, n int) []int64 {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return keys[:min(n, len(keys))]
}

// PVsNamed returns the versions of packages of a name, of one ecosystem or of all
// if that is "", that follow after, in the order of their IDs, limit at most.
func (tx *Tx) PVsNamed(name, ecosystem string, after int64, limit int) ([]PV, error) {
	return tx.pvs(`select `+pvColumns+` from pvs where name = $1 and ($2 = '' or ecosystem = $2) and id > $3 order by id limit $4`, name, ecosystem, after, limit)
}

// ImagesOfChain returns the images of an account that have just the layers that
// a hash stands for, by hash; of several the one pushed first.
func (tx *Tx) ImagesOfChain(account string, chains []int64) (map[int64]int64, error) {
	out := map[int64]int64{}
	for part := range slices.Chunk(chains, chunk) {
		marks, args := in([]any{account}, part)
		err := tx.each(func(rs rows) error {
			var chain, image int64
			err := rs.Scan(&chain, &image)
			out[chain] = image
			return err
		}, `select v.chain, min(v.image_id) from image_inventories v where v.chain in `+marks+` and exists
			(select 1 from images i join repositories r on r.id = i.repo_id where i.id = v.image_id and r.account = $1) group by v.chain`, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ImagesScanned returns the rows of images that follow after whose scan has a
// status, of whichever type, limit at most.
func (tx *Tx) ImagesScanned(status string, after int64, limit int) ([]int64, error) {
	return tx.integers(`select distinct image_id from image_scans where status = $1 and status not in ('COMPLETE', 'ACTIVE') and image_id > $2 order by image_id limit $3`, status, after, limit)
}

// SourceTime returns how new the newest advisory is; zero if there are none.
func (tx *Tx) SourceTime() (time.Time, error) {
	var newest int64
	err := tx.row([]any{&newest}, `select coalesce(max(case when loaded_at > newest then loaded_at else newest end), 0) from feeds`)
	return at(newest), err
}

// ImagesWithLayers returns the images that have one of some layers, sorted, each
// once.
func (tx *Tx) ImagesWithLayers(layers []int64) (images []int64, err error) {
	seen := map[int64]bool{}
	for part := range slices.Chunk(layers, chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			var image int64
			err := rs.Scan(&image)
			if !seen[image] {
				seen[image] = true
				images = append(images, image)
			}
			return err
		}, `select image_id from image_layers where layer_id in `+marks, args...)
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(images)
	return images, nil
}

// ImageNames returns where images lie: with Row, Repository, Digest and Status
// alone.
func (tx *Tx) ImageNames(images []int64) (map[int64]*ecr.Image, error) {
	out := make(map[int64]*ecr.Image, len(images))
	for part := range slices.Chunk(images, chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			i := new(ecr.Image)
			err := rs.Scan(&i.Row, &i.Digest, (*string)(&i.Status), &i.Repository.Account, &i.Repository.Name)
			out[i.Row] = i
			return err
		}, `select i.id, i.digest, i.status, r.account, r.name from images i join repositories r on r.id = i.repo_id where i.id in `+marks, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ImagesInventoried returns the rows of images that have an inventory and follow
// after: of a repository, or of all of an account if that is 0; limit at most.
func (tx *Tx) ImagesInventoried(account string, repo, after int64, limit int) ([]int64, error) {
	if repo != 0 {
		return tx.integers(`select i.id from images i join image_inventories v on v.image_id = i.id where i.repo_id = $1 and i.id > $2 order by i.id limit $3`, repo, after, limit)
	}
	return tx.integers(`select v.image_id from image_inventories v join images i on i.id = v.image_id join repositories r on r.id = i.repo_id
		where r.account = $1 and v.image_id > $2 order by v.image_id limit $3`, account, after, limit)
}
