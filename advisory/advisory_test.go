package advisory_test

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

// postgres is nil where PostgreSQL is not installed.
var postgres *pgtest.Server

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, &postgres))
}

// both runs a test on an empty database of each kind.
func both(t *testing.T, test func(t *testing.T, db *meta.DB)) {
	open := func(t *testing.T, url string) *meta.DB {
		db, err := meta.Open(t.Context(), meta.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	t.Run("SQLite", func(t *testing.T) { test(t, open(t, filepath.Join(t.TempDir(), "meta.db"))) })
	t.Run("PostgreSQL", func(t *testing.T) {
		if postgres == nil {
			t.Skip(pgtest.ErrMissing)
		}
		test(t, open(t, postgres.Database(t)))
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sharedData finds the test set of published advisories beside the repository.
func sharedData(t testing.TB) string {
	t.Helper()
	data := filepath.Join("..", "..", "shared", "advisories")
	if _, err := os.Stat(data); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the test set of advisories is not at ../shared/advisories")
		}
		t.Skip("SKIPPED: the test set of advisories is not at ../shared/advisories")
	}
	return data
}

// compiled are the records of an ecosystem's all.zip.
func compiled(t testing.TB, ecosystem string) (list []advisory.Compiled) {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(sharedData(t), ecosystem, "all.zip"))
	must(t, err)
	defer z.Close()
	c, err := advisory.NewCompiler(advisory.Options{})
	must(t, err)
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, err)
		r.Close()
		rec, err := c.Compile(advisory.Record{ID: f.Name[:len(f.Name)-len(".json")], JSON: b})
		must(t, err)
		list = append(list, rec)
	}
	return list
}

func feed(t testing.TB, db *meta.DB, name string) (f meta.Feed) {
	t.Helper()
	must(t, db.Update(t.Context(), func(tx *meta.Tx) (err error) {
		f, err = tx.EnsureFeed(name)
		return err
	}))
	return f
}

func findings(t testing.TB, db *meta.DB, pv int64) (names []string) {
	t.Helper()
	must(t, db.View(t.Context(), func(tx *meta.Tx) error {
		f, err := tx.Findings([]int64{pv})
		for _, m := range f[pv] {
			names = append(names, m.Vulnerability)
		}
		return err
	}))
	return names
}

func changes(t testing.TB, db *meta.DB) (pvs []int64) {
	t.Helper()
	must(t, db.Update(t.Context(), func(tx *meta.Tx) (err error) {
		pvs, err = tx.TakeChangedPVs(1000)
		return err
	}))
	return pvs
}

func id(ecosystem, name, version string) vuln.Identity {
	return vuln.Identity{Key: vuln.Key{Ecosystem: ecosystem, Name: name}, Version: version}
}

// record makes an OSV record about versions of an npm package before fixed.
func record(t testing.TB, name, pkg, fixed, more string) advisory.Compiled {
	t.Helper()
	c, err := advisory.NewCompiler(advisory.Options{})
	must(t, err)
	r, err := c.Compile(advisory.Record{ID: name, JSON: []byte(`{"id":"` + name + `","modified":"2026-01-02T03:04:05Z",` + more + `
		"affected":[{"package":{"ecosystem":"npm","name":"` + pkg + `"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"` + fixed + `"}]}]}]}`)})
	must(t, err)
	return r
}

// TestChangesMarkWhatTheyName: advisories that come, change, are withdrawn and
// go have just the versions matched again of the packages that they name.
func TestChangesMarkWhatTheyName(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ctx, s := t.Context(), advisory.New(db, time.Now, nil)
		npm, other := feed(t, db, "npm"), feed(t, db, "other")
		must(t, s.Put(ctx, npm.Row, []advisory.Compiled{record(t, "GHSA-1", "a", "2.0.0", "")}))
		pvs, err := s.Ensure(ctx, []vuln.Identity{id("npm", "a", "1.0.0"), id("npm", "a", "2.0.0"), id("npm", "b", "1.0.0"), id("npm", "a", "1.0.0")})
		must(t, err)
		if pvs[0] != pvs[3] || pvs[0] == pvs[1] || slices.Contains(pvs, 0) {
			t.Fatalf("IDs: %v", pvs)
		}
		a1, a2, b1 := pvs[0], pvs[1], pvs[2]
		check := func(what string, matched int, changed []int64, a1want, a2want, b1want string) {
			t.Helper()
			r, err := s.Rematch(ctx)
			must(t, err)
			got := changes(t, db)
			slices.Sort(changed)
			if r.Matched != matched || !slices.Equal(got, changed) || r.Changed != len(changed) {
				t.Errorf("%s: %+v, changed %v; want %d matched, changed %v", what, r, got, matched, changed)
			}
			for _, w := range []struct {
				pv   int64
				want string
			}{{a1, a1want}, {a2, a2want}, {b1, b1want}} {
				f := findings(t, db, w.pv)
				if (w.want == "") != (len(f) == 0) || w.want != "" && !slices.Equal(f, []string{w.want}) {
					t.Errorf("%s: findings of %d: %v, want %q", what, w.pv, f, w.want)
				}
			}
		}
		put := func(feed int64, r ...advisory.Compiled) { t.Helper(); must(t, s.Put(ctx, feed, r)) }
		check("nothing new", 0, nil, "GHSA-1", "", "")
		put(npm.Row, record(t, "GHSA-1", "a", "2.0.0", ""))
		check("the same again", 0, nil, "GHSA-1", "", "")
		put(npm.Row, record(t, "GHSA-1", "a", "3.0.0", ""))
		check("the fix was none", 2, []int64{a1, a2}, "GHSA-1", "GHSA-1", "")
		put(npm.Row, record(t, "GHSA-1", "b", "3.0.0", ""))
		check("it is about another package", 3, []int64{a1, a2, b1}, "", "", "GHSA-1")
		put(other.Row, record(t, "GHSA-1", "b", "3.0.0", ""))
		must(t, s.Drop(ctx, npm.Row, []string{"GHSA-1"}))
		check("another feed has it too", 0, nil, "", "", "GHSA-1")
		put(npm.Row, record(t, "GHSA-1", "b", "3.0.0", `"withdrawn":"2026-02-02T00:00:00Z",`))
		check("withdrawn", 1, []int64{b1}, "", "", "")
		put(npm.Row, record(t, "GHSA-1", "b", "3.0.0", `"aliases":["CVE-2026-1"],`))
		check("it stands after all, and has a CVE", 1, []int64{b1}, "", "", "CVE-2026-1")
		must(t, s.Drop(ctx, npm.Row, []string{"GHSA-1"}))
		must(t, s.Drop(ctx, other.Row, []string{"GHSA-1"}))
		check("no feed has it", 1, []int64{b1}, "", "", "")
		if _, err := s.Get(ctx, "GHSA-1"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("an advisory that no feed has: %v", err)
		}
	})
}

// TestBorrowedSeverity: a record without a severity has that of another record
// of its CVE, and follows it.
func TestBorrowedSeverity(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ctx, s := t.Context(), advisory.New(db, time.Now, nil)
		f := feed(t, db, "npm")
		must(t, s.Put(ctx, f.Row, []advisory.Compiled{record(t, "X-1", "a", "2.0.0", `"aliases":["CVE-2026-1"],`)}))
		pvs, err := s.Ensure(ctx, []vuln.Identity{id("npm", "a", "1.0.0")})
		must(t, err)
		severity := func() vuln.Severity {
			_, err := s.Rematch(ctx)
			must(t, err)
			var got vuln.Severity
			must(t, db.View(ctx, func(tx *meta.Tx) error {
				f, err := tx.Findings(pvs)
				got = f[pvs[0]][0].Rating.Severity
				return err
			}))
			return got
		}
		if got := severity(); got != vuln.Undefined {
			t.Errorf("without any: %s", got)
		}
		for _, word := range []vuln.Severity{vuln.Low, vuln.Critical} {
			must(t, s.Put(ctx, f.Row, []advisory.Compiled{record(t, "Y-1", "b", "2.0.0", `"aliases":["CVE-2026-1"],"database_specific":{"severity":"`+string(word)+`"},`)}))
			if got := severity(); got != word {
				t.Errorf("lent %s: %s", word, got)
			}
		}
		must(t, s.Drop(ctx, f.Row, []string{"Y-1"}))
		if got := severity(); got != vuln.Undefined {
			t.Errorf("after it is gone: %s", got)
		}
	})
}

// TestKnownAnswers matches against the real records of an ecosystem.
func TestKnownAnswers(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ctx, s := context.Background(), advisory.New(db, time.Now, nil)
		for _, eco := range []string{"npm", "crates.io", "Ubuntu"} {
			must(t, s.Put(ctx, feed(t, db, eco).Row, compiled(t, eco)))
		}
		pvs, err := s.Ensure(ctx, []vuln.Identity{
			id("npm", "lodash", "4.17.15"), id("npm", "lodash", "4.17.21"), id("npm", "minimist", "1.2.0"),
			id("crates.io", "time", "0.1.42"), id("Ubuntu:22.04:LTS", "wayland", "1.20.0-1"),
			id("npm", "bad\x00name\xff", "1"),
		})
		must(t, err)
		for i, want := range []int{2, 0, 1, 1, 1, 0} {
			if got := findings(t, db, pvs[i]); len(got) != want {
				t.Errorf("%d: %v, want %d", i, got, want)
			}
		}
		var covered, not bool
		must(t, db.View(ctx, func(tx *meta.Tx) (err error) {
			covered, err = tx.Covers("Ubuntu:22.04:LTS")
			if err == nil {
				not, err = tx.Covers("Ubuntu:4.10")
			}
			return err
		}))
		if !covered || not {
			t.Errorf("covered: %v %v", covered, not)
		}
	})
}

// TestExploited: the lists of exploited vulnerabilities are replaced, and only
// what differs is written.
func TestExploited(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ctx, s := t.Context(), advisory.New(db, time.Now, nil)
		kev := func(n int, want int, list ...vuln.Exploited) {
			t.Helper()
			got, err := s.PutKEV(ctx, list)
			must(t, err)
			var all []vuln.Exploited
			must(t, db.View(ctx, func(tx *meta.Tx) (err error) {
				all, err = tx.KEVs("", 100)
				return err
			}))
			if got != want || len(all) != n {
				t.Errorf("%d entries changed, want %d; there are %v, want %d", got, want, all, n)
			}
		}
		a, b, c := vuln.Exploited{CVE: "CVE-2026-1", Name: "a"}, vuln.Exploited{CVE: "CVE-2026-2", Ransomware: true}, vuln.Exploited{CVE: "CVE-2026-3"}
		kev(2, 2, b, a)
		kev(2, 0, a, b, a)
		a.Due = 1000
		kev(2, 3, c, a)
		var list []vuln.EPSS
		for i := range 12_000 {
			list = append(list, vuln.EPSS{CVE: fmt.Sprintf("CVE-2026-%d", i+1000), Score: float64(i) / 12_000, Percentile: .1})
		}
		for _, want := range []int{12_000, 0, 2} {
			got, err := s.PutEPSS(ctx, slices.Clone(list))
			must(t, err)
			if got != want {
				t.Errorf("%d scores changed, want %d", got, want)
			}
			if want == 0 {
				list = list[1:]
				list[7000].Score = .123456789
			}
		}
		must(t, db.View(ctx, func(tx *meta.Tx) error {
			m, err := tx.EPSSsOf([]string{list[7000].CVE, "CVE-2026-1000", "CVE-1"})
			if len(m) != 1 || m[list[7000].CVE] != list[7000] {
				t.Errorf("scores: %v", m)
			}
			return err
		}))
	})
}

// TestCompare: a list against what has been read of it, as a whole and in part.
func TestCompare(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ctx, s := t.Context(), advisory.New(db, time.Now, nil)
		f := feed(t, db, "npm")
		must(t, s.Put(ctx, f.Row, []advisory.Compiled{record(t, "A", "a", "1.0.0", ""), record(t, "B", "b", "1.0.0", ""), record(t, "C", "c", "1.0.0", "")}))
		then := time.Date(2026, 1, 2, 3, 4, 5, 678_000, time.UTC) // the records', but for what is less than a millisecond
		row := func(id string, t time.Time) advisory.Listed { return advisory.Listed{ID: id, Modified: t} }
		list := []advisory.Listed{row("D", then), row("C", then.Add(time.Hour)), row("A", then), row("A", then.Add(-time.Hour))}
		for _, whole := range []bool{true, false} {
			changed, gone, err := s.Compare(ctx, f.Row, slices.Clone(list), whole, false)
			must(t, err)
			if len(changed) != 2 || changed[0].ID != "C" || !changed[0].Kept || changed[1].ID != "D" || changed[1].Known {
				t.Errorf("changed, whole %v: %+v", whole, changed)
			}
			if whole != slices.Equal(gone, []string{"B"}) {
				t.Errorf("gone, whole %v: %v", whole, gone)
			}
		}
		changed, _, err := s.Compare(ctx, f.Row, slices.Clone(list), true, true)
		must(t, err)
		if len(changed) != 3 {
			t.Errorf("all: %+v", changed)
		}
	})
}
