package meta

import (
	"slices"
	"strings"

	"github.com/ecruhq/ecru/vuln"
)

// maxPVText bounds the parts of an identity. No advisory has longer names.
const maxPVText = 1024

// fit makes text of an image fit to be kept.
func fit(s string) string {
	if len(s) > maxPVText {
		s = s[:maxPVText-16] + "(cut: too long)"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
}

func fitIdentity(id vuln.Identity) vuln.Identity {
	id.Ecosystem, id.Name, id.Version, id.Module = fit(id.Ecosystem), fit(id.Name), fit(id.Version), fit(id.Module)
	return id
}

// A PV is a version of a package, as it is matched against advisories.
type PV struct {
	ID int64
	vuln.Identity
	Matched bool // false: what is known of it is out of date, or nothing is
	Before  bool // it was matched before, be that out of date or not
}

// chunk bounds the values in a list of SQL.
const chunk = 256

// FindPVs returns the IDs of package versions, in the order of list, 0 for those
// that are not known.
func (tx *Tx) FindPVs(list []vuln.Identity) ([]int64, error) {
	fitted := make([]vuln.Identity, len(list))
	for i, id := range list {
		fitted[i] = fitIdentity(id)
	}
	known, err := tx.pvIDs(fitted)
	ids := make([]int64, len(list))
	for i, id := range fitted {
		ids[i] = known[id]
	}
	return ids, err
}

// EnsurePVs returns the IDs of package versions, which it makes if there are
// none, in the order of list.
func (tx *Tx) EnsurePVs(list []vuln.Identity) ([]int64, error) {
	fitted := make([]vuln.Identity, len(list))
	for i, id := range list {
		fitted[i] = fitIdentity(id)
	}
	known, err := tx.pvIDs(fitted)
	if err != nil {
		return nil, err
	}
	var missing []vuln.Identity
	for _, id := range fitted {
		if _, ok := known[id]; !ok {
			known[id] = 0
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		// One that is made while advisories change would not be seen by the
		// change, nor see it.
		var gen int64
		if err := tx.row([]any{&gen}, `select generation from advisory_state where id = 1 /*pg: for share */`); err != nil {
			return nil, err
		}
		slices.SortFunc(missing, compareIdentities)
		err := tx.insert(`insert into pvs (ecosystem, name, version, module, stale, matched) values `, `on conflict do nothing`, 6, len(missing), func(i int) []any {
			return []any{missing[i].Ecosystem, missing[i].Name, missing[i].Version, missing[i].Module, 0, -1}
		})
		if err != nil {
			return nil, err
		}
		made, err := tx.pvIDs(missing)
		if err != nil {
			return nil, err
		}
		for id, row := range made {
			known[id] = row
		}
	}
	ids := make([]int64, len(list))
	for i, id := range fitted {
		ids[i] = known[id]
	}
	return ids, nil
}

func compareIdentities(a, b vuln.Identity) int {
	for _, c := range []int{
		strings.Compare(a.Ecosystem, b.Ecosystem), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Module, b.Module),
	} {
		if c != 0 {
			return c
		}
	}
	return 0
}

// pvIDs returns the IDs of those of list that are there.
func (tx *Tx) pvIDs(list []vuln.Identity) (map[vuln.Identity]int64, error) {
	wanted := make(map[vuln.Identity]bool, len(list))
	keys := make([]vuln.Key, 0, len(list))
	for _, id := range list {
		wanted[id] = true
		keys = append(keys, id.Key)
	}
	known := make(map[vuln.Identity]int64, len(list))
	err := byEcosystem(keys, func(ecosystem string, names []string) error {
		marks, args := in([]any{ecosystem}, names)
		return tx.each(func(rs rows) error {
			id := vuln.Identity{Key: vuln.Key{Ecosystem: ecosystem}}
			var row int64
			if err := rs.Scan(&row, &id.Name, &id.Version, &id.Module); err != nil {
				return err
			}
			if wanted[id] {
				known[id] = row
			}
			return nil
		}, `select id, name, version, module from pvs where ecosystem = $1 and name in `+marks, args...)
	})
	return known, err
}

// byEcosystem calls fn with the names of each ecosystem, a chunk at a time.
func byEcosystem(keys []vuln.Key, fn func(ecosystem string, names []string) error) error {
	names := map[string][]string{}
	for _, k := range keys {
		names[k.Ecosystem] = append(names[k.Ecosystem], k.Name)
	}
	for ecosystem, list := range names {
		slices.Sort(list)
		for part := range slices.Chunk(slices.Compact(list), chunk) {
			if err := fn(ecosystem, part); err != nil {
				return err
			}
		}
	}
	return nil
}

const pvColumns = `id, ecosystem, name, version, module, stale, matched`

func (tx *Tx) pvs(sql string, args ...any) (list []PV, err error) {
	err = tx.each(func(rs rows) error {
		var p PV
		var stale, matched int64
		err := rs.Scan(&p.ID, &p.Ecosystem, &p.Name, &p.Version, &p.Module, &stale, &matched)
		p.Matched, p.Before = stale <= matched, matched >= 0
		list = append(list, p)
		return err
	}, sql, args...)
	return list, err
}

// PVs returns package versions by their IDs, in no order.
func (tx *Tx) PVs(ids []int64) (list []PV, err error) {
	for part := range slices.Chunk(ids, chunk) {
		marks, args := in(nil, part)
		some, err := tx.pvs(`select `+pvColumns+` from pvs where id in `+marks, args...)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

// PVsOf returns the versions of a package whose IDs follow after, in order,
// limit at most.
func (tx *Tx) PVsOf(k vuln.Key, after int64, limit int) ([]PV, error) {
	return tx.pvs(`select `+pvColumns+` from pvs where ecosystem = $1 and name = $2 and id > $3 order by id limit $4`, k.Ecosystem, k.Name, after, limit)
}

// PVsWith returns the package versions that have a vulnerability, by the name
// that its Match has, and whose IDs follow after, in order, limit at most.
func (tx *Tx) PVsWith(vulnerability string, after int64, limit int) ([]PV, error) {
	return tx.pvs(`select `+pvColumns+` from pvs where id in (select pv from pv_vulns where vulnerability = $1 and pv > $2 order by pv limit $3) order by id`,
		vulnerability, after, limit)
}

// StalePVs returns package versions that are to be matched, in the order of
// their packages, limit at most.
func (tx *Tx) StalePVs(limit int) ([]PV, error) {
	return tx.pvs(`select `+pvColumns+` from pvs where stale > matched order by ecosystem, name, id limit $1`, limit)
}

// CountStalePVs returns how many package versions are to be matched.
func (tx *Tx) CountStalePVs() (n int64, err error) {
	err = tx.row([]any{&n}, `select count(*) from pvs where stale > matched`)
	return n, err
}

// MakeStale has the package versions matched again whose IDs follow after, limit
// at most, and returns the last of these IDs, 0 if there were none.
func (tx *Tx) MakeStale(after int64, limit int) (last int64, err error) {
	gen, err := tx.nextGeneration()
	if err != nil {
		return 0, err
	}
	if err := tx.row([]any{&last}, `select coalesce(max(id), 0) from (select id from pvs where id > $1 order by id limit $2) part`, after, limit); err != nil {
		return 0, err
	}
	_, err = tx.exec(`update pvs set stale = $1 where id > $2 and id <= $3`, gen, after, last)
	return last, err
}

// DropPVs deletes package versions with all that is known of them.
func (tx *Tx) DropPVs(ids []int64) error {
	for part := range slices.Chunk(ids, chunk) {
		marks, args := in(nil, part)
		for _, sql := range []string{`delete from pv_changes where pv in `, `delete from pv_vulns where pv in `, `delete from pvs where id in `} {
			if _, err := tx.exec(sql+marks, args...); err != nil {
				return err
			}
		}
	}
	return nil
}
