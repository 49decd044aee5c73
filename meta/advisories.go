package meta

import (
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

// An Advisory is a record of advisories in the form to be kept.
type Advisory struct {
	ID        string
	Modified  time.Time
	Withdrawn bool
	Lent      string   // the severity that other records of its CVE may borrow, JSON; "" if none
	Names     []string // all of it: ID, aliases, CVEs; each once
	Body      []byte
	Parts     []Part // by key, each once
}

// A Part is what matching needs of an advisory for one package.
type Part struct {
	vuln.Key
	Body []byte
}

// Generation is the number of changes of advisories that are in the database, as
// this transaction sees it.
func (tx *Tx) Generation() (n int64, err error) {
	err = tx.row([]any{&n}, `select generation from advisory_state where id = 1`)
	return n, err
}

// nextGeneration begins a change. Until it is committed nobody else changes
// advisories or adds package versions.
func (tx *Tx) nextGeneration() (n int64, err error) {
	err = tx.row([]any{&n}, `update advisory_state set generation = generation + 1 where id = 1 returning generation`)
	return n, err
}

// PutAdvisories writes records of a feed: list says which, of advs those that
// are of use. What becomes of package versions by that is to be found anew
// (StalePVs). An advisory that another feed has too is written again.
func (tx *Tx) PutAdvisories(feed int64, list []FeedRecord, advs []Advisory) error {
	gen, err := tx.nextGeneration()
	if err != nil {
		return err
	}
	err = tx.insert(`insert into feed_records (feed, name, modified, kept) values `, `on conflict (feed, name) do update set modified = excluded.modified, kept = excluded.kept`, 4,
		len(list), func(i int) []any { return []any{feed, list[i].ID, since(list[i].Modified), integer(list[i].Kept)} })
	if err != nil {
		return err
	}
	for _, r := range list {
		if !r.Kept {
			if err := tx.dropUnlisted(gen, r.ID); err != nil {
				return err
			}
		}
	}
	for i := range advs {
		if err := tx.putAdvisory(gen, &advs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) putAdvisory(gen int64, a *Advisory) error {
	var row int64
	var lent string
	err := tx.row([]any{&row, &lent}, `select id, lent from advisories where name = $1`, a.ID)
	if err != nil && err != ErrNotFound {
		return err
	}
	found := err == nil
	old := map[vuln.Key]string{}
	if found {
		if old, err = tx.parts(row); err != nil {
			return err
		}
	}
	err = tx.row([]any{&row}, `insert into advisories (name, modified, withdrawn, lent, body) values ($1, $2, $3, $4, $5)
		on conflict (name) do update set modified = excluded.modified, withdrawn = excluded.withdrawn, lent = excluded.lent, body = excluded.body
		returning id`, a.ID, since(a.Modified), integer(a.Withdrawn), a.Lent, a.Body)
	if err != nil {
		return err
	}
	if err := tx.putParts(gen, row, a.Parts, old); err != nil {
		return err
	}
	if lent != a.Lent {
		if err := tx.markBorrowers(gen, row, a.Names); err != nil {
			return err
		}
	}
	if found {
		if _, err := tx.exec(`delete from advisory_names where advisory = $1`, row); err != nil {
			return err
		}
	}
	return tx.insert(`insert into advisory_names (name, advisory) values `, `on conflict do nothing`, 2,
		len(a.Names), func(i int) []any { return []any{a.Names[i], row} })
}

// putParts writes the parts of an advisory that had others.
func (tx *Tx) putParts(gen, row int64, parts []Part, old map[vuln.Key]string) error {
	var changed []Part
	for _, p := range parts {
		if body, ok := old[p.Key]; !ok || body != string(p.Body) {
			changed = append(changed, p)
		}
		delete(old, p.Key)
	}
	err := tx.insert(`insert into affected (ecosystem, name, advisory, part) values `, `on conflict (ecosystem, name, advisory) do update set part = excluded.part`, 4,
		len(changed), func(i int) []any { return []any{changed[i].Ecosystem, changed[i].Name, row, changed[i].Body} })
	if err != nil {
		return err
	}
	for k := range old {
		if _, err := tx.exec(`delete from affected where ecosystem = $1 and name = $2 and advisory = $3`, k.Ecosystem, k.Name, row); err != nil {
			return err
		}
		changed = append(changed, Part{Key: k})
	}
	return tx.markStale(gen, changed)
}

// parts returns what there is of an advisory, by package.
func (tx *Tx) parts(advisory int64) (map[vuln.Key]string, error) {
	parts := map[vuln.Key]string{}
	err := tx.each(func(rs rows) error {
		var k vuln.Key
		var body []byte
		err := rs.Scan(&k.Ecosystem, &k.Name, &body)
		parts[k] = string(body)
		return err
	}, `select ecosystem, name, part from affected where advisory = $1`, advisory)
	return parts, err
}

// DropAdvisories takes records out of a feed, because its list does not have
// them any more.
func (tx *Tx) DropAdvisories(feed int64, ids []string) error {
	gen, err := tx.nextGeneration()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := tx.exec(`delete from feed_records where feed = $1 and name = $2`, feed, id); err != nil {
			return err
		}
		if err := tx.dropUnlisted(gen, id); err != nil {
			return err
		}
	}
	return nil
}

// dropUnlisted deletes an advisory that no feed has any more.
func (tx *Tx) dropUnlisted(gen int64, id string) error {
	var row int64
	err := tx.row([]any{&row}, `select id from advisories a where name = $1
		and not exists (select 1 from feed_records r where r.name = a.name and r.kept = 1)`, id)
	if err == ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	old, err := tx.parts(row)
	if err != nil {
		return err
	}
	var gone []Part
	for k := range old {
		gone = append(gone, Part{Key: k})
	}
	if err := tx.markStale(gen, gone); err != nil {
		return err
	}
	if err := tx.markBorrowers(gen, row, nil); err != nil {
		return err
	}
	for _, sql := range []string{
		`delete from affected where advisory = $1`, `delete from advisory_names where advisory = $1`, `delete from advisories where id = $1`,
	} {
		if _, err := tx.exec(sql, row); err != nil {
			return err
		}
	}
	return nil
}

// markStale has the versions of packages matched again. What is of Ubuntu Pro
// counts for the release itself, too.
func (tx *Tx) markStale(gen int64, parts []Part) error {
	for _, p := range parts {
		base := p.Ecosystem
		if release, ok := strings.CutPrefix(base, "Ubuntu:Pro:"); ok {
			base = "Ubuntu:" + release
		}
		_, err := tx.exec(`update pvs set stale = $1 where ecosystem in ($2, $3) and name = $4`, gen, p.Ecosystem, base, p.Name)
		if err != nil {
			return err
		}
	}
	return nil
}

// markBorrowers has the package versions matched again that may have their
// severity from an advisory, by the names that it has and those that it gets.
func (tx *Tx) markBorrowers(gen, advisory int64, names []string) error {
	marks, args := in([]any{gen, advisory}, names)
	_, err := tx.exec(`update pvs set stale = $1 where id in (select pv from pv_vulns where vulnerability in `+marks+`
		union select v.pv from advisory_names n join pv_vulns v on v.vulnerability = n.name where n.advisory = $2)`, args...)
	return err
}

// AdvisoryNamed returns the body of an advisory, or ErrNotFound.
func (tx *Tx) AdvisoryNamed(id string) (body []byte, err error) {
	err = tx.row([]any{&body}, `select body from advisories where name = $1`, id)
	return body, err
}

// AdvisoriesNamed returns the IDs of the advisories that have a name: their own,
// an alias or a CVE; limit at most.
func (tx *Tx) AdvisoriesNamed(name string, limit int) (ids []string, err error) {
	err = tx.each(func(rs rows) error {
		var id string
		err := rs.Scan(&id)
		ids = append(ids, id)
		return err
	}, `select a.name from advisory_names n join advisories a on a.id = n.advisory where n.name = $1 order by a.name limit $2`, name, limit)
	return ids, err
}

// CountAdvisories returns how many advisories there are.
func (tx *Tx) CountAdvisories() (n int64, err error) {
	err = tx.row([]any{&n}, `select count(*) from advisories`)
	return n, err
}

// Covers reports whether there are advisories of an ecosystem, as Key has it.
func (tx *Tx) Covers(ecosystem string) (bool, error) {
	var one int64
	err := tx.row([]any{&one}, `select 1 from affected where ecosystem = $1 limit 1`, ecosystem)
	if err == ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

// perStatement is how many rows an insertion has, so that there are few
// different statements.
const perStatement = 16

// insert inserts n rows of so many columns.
func (tx *Tx) insert(head, tail string, columns, n int, row func(int) []any) error {
	for i := 0; i < n; {
		m := 1
		if n-i >= perStatement {
			m = perStatement
		}
		var b strings.Builder
		b.WriteString(head)
		args := make([]any, 0, m*columns)
		for j := range m {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('(')
			for c := range columns {
				if c > 0 {
					b.WriteByte(',')
				}
				b.WriteByte('$')
				b.WriteString(strconv.Itoa(j*columns + c + 1))
			}
			b.WriteByte(')')
			args = append(args, row(i+j)...)
		}
		if _, err := tx.exec(b.String()+" "+tail, args...); err != nil {
			return err
		}
		i += m
	}
	return nil
}
