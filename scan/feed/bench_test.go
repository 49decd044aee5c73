package feed

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// BenchmarkDelta has a thousand advisories change, about 1,500 packages of
// 45,000 that have 305,000 versions in images, and everything that follows from
// it in the database done.
func BenchmarkDelta(b *testing.B) {
	const packages, pvs, changed, names = 45_000, 305_000, 1000, 1500
	db := openDB(b, filepath.Join(b.TempDir(), "meta.db"))
	store := advisory.New(db, time.Now, nil)
	f, err := store.Feed(b.Context(), "npm")
	must(b, err)
	put := func(fixed string) {
		c, err := advisory.NewCompiler(advisory.Options{})
		must(b, err)
		var list []advisory.Compiled
		for i := range changed {
			id := fmt.Sprintf("GHSA-%04d", i)
			r, err := c.Compile(advisory.Record{ID: id, JSON: []byte(osv2(id, fmt.Sprintf("p%d", i), fmt.Sprintf("p%d", changed+i%(names-changed)), fixed))})
			must(b, err)
			list = append(list, r)
		}
		must(b, store.Put(b.Context(), f.Row, list))
	}
	put("2.0.0")
	for n := 0; n < pvs; n += 2000 {
		must(b, db.Update(b.Context(), func(tx *meta.Tx) error {
			var ids []vuln.Identity
			for i := n; i < min(n+2000, pvs); i++ {
				ids = append(ids, pv("npm", fmt.Sprintf("p%d", i%packages), fmt.Sprintf("1.%d.0", i/packages)))
			}
			rows, err := tx.EnsurePVs(ids)
			if err != nil {
				return err
			}
			gen, err := tx.Generation()
			if err != nil {
				return err
			}
			list := make([]meta.Matched, len(rows))
			for i := range rows {
				list[i].PV = rows[i]
			}
			_, err = tx.PutMatches(gen, list, time.Now())
			return err
		}))
	}
	fixed := 0
	for b.Loop() {
		fixed++
		put(fmt.Sprintf("1.%d.0", 1+fixed%6))
		r, err := store.Rematch(b.Context())
		must(b, err)
		if r.Matched < 9000 || r.Changed == 0 {
			b.Fatalf("%+v", r)
		}
		b.ReportMetric(float64(r.Matched), "rematched")
		b.ReportMetric(float64(r.Changed), "changed")
	}
}

// osv2 is a record about two packages.
func osv2(id, a, b, fixed string) string {
	one := func(name string) string {
		return fmt.Sprintf(`{"package":{"ecosystem":"npm","name":%q},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":%q}]}]}`, name, fixed)
	}
	return fmt.Sprintf(`{"id":%q,"modified":"2026-01-01T00:00:00Z","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"affected":[%s,%s]}`, id, one(a), one(b))
}
