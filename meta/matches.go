package meta

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

// Parts returns the parts of advisories of packages, by package.
func (tx *Tx) Parts(keys []vuln.Key) (map[vuln.Key][][]byte, error) {
	parts := map[vuln.Key][][]byte{}
	err := byEcosystem(keys, func(ecosystem string, names []string) error {
		marks, args := in([]any{ecosystem}, names)
		return tx.each(func(rs rows) error {
			k := vuln.Key{Ecosystem: ecosystem}
			var body []byte
			err := rs.Scan(&k.Name, &body)
			parts[k] = append(parts[k], body)
			return err
		}, `select name, part from affected where ecosystem = $1 and name in `+marks, args...)
	})
	return parts, err
}

// Lent returns the severities that the records of vulnerabilities lend, JSON,
// by the name that was asked for.
func (tx *Tx) Lent(names []string) (map[string][]string, error) {
	lent := map[string][]string{}
	for part := range slices.Chunk(names, chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			var name, rating string
			err := rs.Scan(&name, &rating)
			lent[name] = append(lent[name], rating)
			return err
		}, `select n.name, a.lent from advisory_names n join advisories a on a.id = n.advisory where n.name in `+marks+` and a.lent <> '' order by n.name, a.name`, args...)
		if err != nil {
			return nil, err
		}
	}
	return lent, nil
}

// Findings returns what is wrong with package versions, sorted by vulnerability;
// one with which nothing is wrong is not there.
func (tx *Tx) Findings(pvs []int64) (map[int64][]vuln.Match, error) {
	out := map[int64][]vuln.Match{}
	for part := range slices.Chunk(pvs, chunk) {
		marks, args := in(nil, part)
		err := tx.each(func(rs rows) error {
			var pv int64
			var body []byte
			if err := rs.Scan(&pv, &body); err != nil {
				return err
			}
			var m vuln.Match
			if err := json.Unmarshal(body, &m); err != nil {
				return err
			}
			out[pv] = append(out[pv], m)
			return nil
		}, `select pv, body from pv_vulns where pv in `+marks+` order by pv, vulnerability`, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A Matched is what was found of a package version.
type Matched struct {
	PV      int64
	Matches []vuln.Match
}

// PutMatches records what was found of package versions by the advisories of a
// generation. What was found by newer ones stays. Those that were matched
// before, and are not as they were, wait in TakeChangedPVs; it returns how many
// these are.
func (tx *Tx) PutMatches(generation int64, list []Matched, now time.Time) (changed int, err error) {
	slices.SortFunc(list, func(a, b Matched) int { return cmp.Compare(a.PV, b.PV) })
	for part := range slices.Chunk(list, chunk) {
		n, err := tx.putMatches(generation, part, now)
		if err != nil {
			return 0, err
		}
		changed += n
	}
	return changed, nil
}

// A pvVuln names a vulnerability of a package version.
type pvVuln struct {
	pv   int64
	name string
}

func (tx *Tx) putMatches(generation int64, list []Matched, now time.Time) (int, error) {
	ids := make([]int64, len(list))
	for i := range list {
		ids[i] = list[i].PV
	}
	before, err := tx.matchedAt(ids)
	if err != nil {
		return 0, err
	}
	old, err := tx.matchBodies(ids)
	if err != nil {
		return 0, err
	}
	var done, changed []int64
	var added []pvVuln
	var bodies []string
	differs := map[int64]bool{}
	for _, m := range list {
		was, ok := before[m.PV]
		if !ok || was > generation {
			continue
		}
		done = append(done, m.PV)
		for i := range m.Matches {
			b, err := json.Marshal(&m.Matches[i])
			if err != nil {
				return 0, err
			}
			k := pvVuln{m.PV, m.Matches[i].Vulnerability}
			if body, ok := old[k]; !ok || body != string(b) {
				added, bodies = append(added, k), append(bodies, string(b))
				differs[m.PV] = true
			}
			delete(old, k)
		}
	}
	for k := range old {
		if before[k.pv] > generation {
			continue
		}
		differs[k.pv] = true
		if _, err := tx.exec(`delete from pv_vulns where pv = $1 and vulnerability = $2`, k.pv, k.name); err != nil {
			return 0, err
		}
	}
	for _, pv := range done {
		if differs[pv] && before[pv] >= 0 {
			changed = append(changed, pv)
		}
	}
	err = tx.insert(`insert into pv_vulns (pv, vulnerability, body) values `, `on conflict (pv, vulnerability) do update set body = excluded.body`, 3,
		len(added), func(i int) []any { return []any{added[i].pv, added[i].name, bodies[i]} })
	if err != nil {
		return 0, err
	}
	marks, args := in([]any{generation}, done)
	if _, err := tx.exec(`update pvs set matched = $1 where id in `+marks, args...); err != nil {
		return 0, err
	}
	return len(changed), tx.insert(`insert into pv_changes (pv, at) values `, `on conflict (pv) do nothing`, 2,
		len(changed), func(i int) []any { return []any{changed[i], ms(now)} })
}

// matchedAt locks package versions, and returns by which generation they were
// matched.
func (tx *Tx) matchedAt(ids []int64) (map[int64]int64, error) {
	marks, args := in(nil, ids)
	before := map[int64]int64{}
	err := tx.each(func(rs rows) error {
		var pv, matched int64
		err := rs.Scan(&pv, &matched)
		before[pv] = matched
		return err
	}, `select id, matched from pvs where id in `+marks+` order by id /*pg: for update */`, args...)
	return before, err
}

func (tx *Tx) matchBodies(ids []int64) (map[pvVuln]string, error) {
	marks, args := in(nil, ids)
	bodies := map[pvVuln]string{}
	err := tx.each(func(rs rows) error {
		var k pvVuln
		var body string
		err := rs.Scan(&k.pv, &k.name, &body)
		bodies[k] = body
		return err
	}, `select pv, vulnerability, body from pv_vulns where pv in `+marks, args...)
	return bodies, err
}

// TakeChangedPVs removes package versions whose findings have changed from those
// that wait, the first by ID, limit at most, and returns them: what depends on
// them is to be noted in this transaction.
func (tx *Tx) TakeChangedPVs(limit int) (pvs []int64, err error) {
	err = tx.each(func(rs rows) error {
		var pv int64
		err := rs.Scan(&pv)
		pvs = append(pvs, pv)
		return err
	}, `delete from pv_changes where pv in (select pv from pv_changes order by pv limit $1 /*pg: for update skip locked */) returning pv`, limit)
	slices.Sort(pvs)
	return pvs, err
}
