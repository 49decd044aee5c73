package feed

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// TestWholeSet loads all ecosystems of the test set, and its KEV.
func TestWholeSet(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		if testing.Short() {
			t.Skip("reads 27,647 records")
		}
		data := sharedData(t)
		c := &clock{time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}
		u := newUpdater(t, db, folder(t, data), c, Options{})
		start := time.Now()
		must(t, u.all(t.Context()))
		took := time.Since(start)
		must(t, u.exploits(t.Context()))
		all, err := u.store.Feeds(t.Context())
		must(t, err)
		records := int64(0)
		for _, f := range all {
			if f.Name == KEVFeed {
				if f.Records != 1404 {
					t.Errorf("%d entries of KEV", f.Records)
				}
				continue
			}
			records += f.Records
			if age := meta.FeedAge(f, all, c.t); age < 87*24*time.Hour || age > 88*24*time.Hour {
				t.Errorf("%s is %s old; the newest record of the set is of August 27", f.Name, age)
			}
		}
		if records != 27_647 {
			t.Errorf("%d records", records)
		}
		t.Logf("%d records of %d feeds in %s", records, len(all), took)
		pvs, err := u.store.Ensure(t.Context(), []vuln.Identity{
			pv("Debian:12", "glibc", "2.36-9"), pv("Maven", "com.fasterxml.jackson.core:jackson-databind", "2.9.8"),
			pv("crates.io", "time", "0.1.42"), pv("npm", "lodash", "4.17.21"), pv("Maven", "org.apache.logging.log4j:log4j-core", "2.14.1"),
		})
		must(t, err)
		for i, want := range []int{23, 53, 1, 0, 1} {
			if got := findings(t, db, pvs[i]); len(got) != want {
				t.Errorf("%d: %d findings, want %d: %v", i, len(got), want, got)
			}
		}
		must(t, db.View(t.Context(), func(tx *meta.Tx) error {
			k, err := tx.KEVsOf([]string{"CVE-2021-44228", "CVE-1999-1"})
			if len(k) != 1 || !k["CVE-2021-44228"].Ransomware {
				t.Errorf("KEV: %+v", k)
			}
			return err
		}))
		start = time.Now()
		must(t, u.all(t.Context()))
		t.Logf("nothing new: %s", time.Since(start))
	})
}

// delta is the test set with the later state of an ecosystem laid over it: the
// records one by one, as a mirror has them.
func delta(t *testing.T, eco string) *tree {
	t.Helper()
	data := sharedData(t)
	files := fstest.MapFS{"ecosystems.txt": {Data: []byte(eco + "\n")}}
	entries, err := os.ReadDir(filepath.Join(data, "delta", eco))
	must(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(data, "delta", eco, e.Name()))
		must(t, err)
		files[eco+"/"+e.Name()] = &fstest.MapFile{Data: b}
	}
	return &tree{fs: files, name: "delta", end: func() error { return nil }}
}

// TestRealDelta: the later state of two ecosystems has just the packages matched
// again that it names; findings come and go.
func TestRealDelta(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		data := sharedData(t)
		c := &clock{time.Date(2026, 8, 22, 0, 0, 0, 0, time.UTC)}
		u := newUpdater(t, db, folder(t, data), c, Options{Ecosystems: []string{"Go", "AlmaLinux"}})
		must(t, u.all(t.Context()))
		before := map[string]*vuln.Advisory{}
		named := map[vuln.Key]bool{}
		names := map[string]bool{}
		for _, eco := range []string{"Go", "AlmaLinux"} {
			files, err := fs.Glob(os.DirFS(filepath.Join(data, "delta", eco)), "*.json")
			must(t, err)
			for _, f := range files {
				b, err := os.ReadFile(filepath.Join(data, "delta", eco, f))
				must(t, err)
				after, err := vuln.ParseOSV(b)
				if err != nil {
					continue // ALBA: not about security
				}
				for _, n := range append(after.CVEs(), after.ID) {
					names[n] = true
				}
				for _, k := range after.Keys() {
					named[k] = true
				}
				if old, err := u.store.Get(t.Context(), after.ID); err == nil {
					before[after.ID] = old
					for _, k := range old.Keys() {
						named[k] = true
					}
				}
			}
		}
		if len(before) < 10 {
			t.Fatalf("only %d records changed", len(before))
		}
		ids := identities(t, db)
		pvs, err := u.store.Ensure(t.Context(), ids)
		must(t, err)
		old := all(t, db, pvs)
		for _, eco := range []string{"Go", "AlmaLinux"} {
			d := newUpdater(t, db, delta(t, eco), c, Options{})
			start := time.Now()
			if err := d.feed(t.Context(), eco, d.ecosystem); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %s", eco, time.Since(start))
		}
		var stale []meta.PV
		must(t, db.View(t.Context(), func(tx *meta.Tx) (err error) {
			stale, err = tx.StalePVs(1 << 20)
			return err
		}))
		for _, p := range stale {
			lent := slices.ContainsFunc(old[p.ID], func(m vuln.Match) bool { return names[m.Vulnerability] })
			if !named[p.Key] && !lent {
				t.Errorf("%v is to be matched again and nothing named it", p.Identity)
			}
		}
		start := time.Now()
		r, err := u.store.Rematch(t.Context())
		must(t, err)
		if r.Matched != len(stale) || len(stale) == 0 || len(stale) >= len(ids) {
			t.Errorf("%d matched again of %d that were marked, and %d in all", r.Matched, len(stale), len(ids))
		}
		t.Logf("%d of %d package versions matched again, %d changed, in %s", r.Matched, len(ids), r.Changed, time.Since(start))
		came, went := 0, 0
		now := all(t, db, pvs)
		var differ []int64
		for i, p := range pvs {
			a, g := diff(old[p], now[p])
			came, went = came+a, went+g
			if a+g > 0 {
				differ = append(differ, p)
				if !named[ids[i].Key] {
					t.Errorf("findings of %v changed, and nothing named it", ids[i])
				}
			}
		}
		if came == 0 || r.Changed < len(differ) {
			t.Errorf("%d findings came, %d went; %d changes were told of, %d are", came, went, r.Changed, len(differ))
		}
		t.Logf("%d findings came, %d went", came, went)
		again, err := u.store.RematchAll(t.Context())
		must(t, err)
		if again.Matched != len(ids) || again.Changed != 0 {
			t.Errorf("matching everything again: %+v, want %d without a change", again, len(ids))
		}
	})
}

// identities are versions of packages that there are advisories of: those that
// are the first fixed, and some before.
func identities(t *testing.T, db *meta.DB) (ids []vuln.Identity) {
	t.Helper()
	seen := map[vuln.Identity]bool{}
	for _, eco := range []string{"Go", "AlmaLinux"} {
		for i, name := range kept(t, db, eco) {
			if i%40 != 0 && !strings.HasPrefix(name, "GO-2026") {
				continue
			}
			var body []byte
			must(t, db.View(t.Context(), func(tx *meta.Tx) (err error) {
				body, err = tx.AdvisoryNamed(name)
				return err
			}))
			a, err := advisory.Decode(body)
			must(t, err)
			for j, f := range a.Affected {
				if j == 5 {
					break
				}
				for _, iv := range f.Intervals {
					for _, v := range []string{iv.Fixed, iv.Introduced, "0.0.1"} {
						id := vuln.Identity{Key: f.Key, Version: v}
						if v != "" && !seen[id] {
							seen[id] = true
							ids = append(ids, id)
						}
					}
				}
			}
		}
	}
	return ids
}

func all(t *testing.T, db *meta.DB, pvs []int64) (m map[int64][]vuln.Match) {
	t.Helper()
	must(t, db.View(t.Context(), func(tx *meta.Tx) (err error) {
		m, err = tx.Findings(pvs)
		return err
	}))
	return m
}

func diff(old, now []vuln.Match) (came, went int) {
	has := func(list []vuln.Match, name string) bool {
		return slices.ContainsFunc(list, func(m vuln.Match) bool { return m.Vulnerability == name })
	}
	for _, m := range now {
		if !has(old, m.Vulnerability) {
			came++
		}
	}
	for _, m := range old {
		if !has(now, m.Vulnerability) {
			went++
		}
	}
	return came, went
}
