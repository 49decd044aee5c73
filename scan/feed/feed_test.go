package feed

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

func openDB(t testing.TB, url string) *meta.DB {
	db, err := meta.Open(t.Context(), meta.Options{URL: url})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

// both runs a test on an empty database of each kind.
func both(t *testing.T, test func(t *testing.T, db *meta.DB)) {
	t.Run("SQLite", func(t *testing.T) { test(t, openDB(t, filepath.Join(t.TempDir(), "meta.db"))) })
	t.Run("PostgreSQL", func(t *testing.T) {
		if postgres == nil {
			t.Skip(pgtest.ErrMissing)
		}
		test(t, openDB(t, postgres.Database(t)))
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
	data := filepath.Join("..", "..", "..", "shared", "advisories")
	if _, err := os.Stat(data); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the test set of advisories is not at ../shared/advisories")
		}
		t.Skip("SKIPPED: the test set of advisories is not at ../shared/advisories")
	}
	return data
}

// A clock stands until it is moved.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// newUpdater returns an updater from a source that is closed with the test.
func newUpdater(t testing.TB, db *meta.DB, src source, c *clock, o Options) *updater {
	t.Helper()
	t.Cleanup(func() { must(t, src.close()) })
	if c == nil {
		c = &clock{time.Now()}
	}
	o.Temp = t.TempDir()
	return &updater{store: advisory.New(db, c.now, nil), src: src, o: o, now: c.now, log: slog.New(slog.DiscardHandler), m: newMetrics(prometheus.NewRegistry())}
}

func folder(t testing.TB, dir string) *tree {
	t.Helper()
	s, err := openTree(dir)
	must(t, err)
	return s
}

func feedOf(t testing.TB, db *meta.DB, name string) (f meta.Feed) {
	t.Helper()
	must(t, db.View(t.Context(), func(tx *meta.Tx) (err error) {
		f, err = tx.Feed(name)
		return err
	}))
	return f
}

// kept are the IDs of all records of a feed that were of use.
func kept(t testing.TB, db *meta.DB, name string) (ids []string) {
	t.Helper()
	f := feedOf(t, db, name)
	must(t, db.View(t.Context(), func(tx *meta.Tx) error {
		list, err := tx.FeedRecords(f.Row, "", 1<<20)
		for _, r := range list {
			if r.Kept {
				ids = append(ids, r.ID)
			}
		}
		return err
	}))
	return ids
}

func pv(ecosystem, name, version string) vuln.Identity {
	return vuln.Identity{Key: vuln.Key{Ecosystem: ecosystem, Name: name}, Version: version}
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

// A layout is a mirror's contents, by path.
type layout map[string]string

func osv(id, modified, pkg, fixed string) string {
	return fmt.Sprintf(`{"id":%q,"modified":%q,"affected":[{"package":{"ecosystem":"npm","name":%q},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`, id, modified, pkg, fixed)
}

// publish writes records and what goes with them; those of inZip go into
// all.zip, too.
func (l layout) publish(t testing.TB, eco string, records map[string][3]string, inZip func(id string) bool) {
	t.Helper()
	var rows []string
	var b strings.Builder
	z := zip.NewWriter(&b)
	for _, id := range slices.Sorted(maps.Keys(records)) {
		r := records[id]
		text := osv(id, r[0], r[1], r[2])
		rows = append(rows, r[0]+","+id)
		l[eco+"/"+id+".json"] = text
		if inZip(id) {
			w, err := z.Create(id + ".json")
			must(t, err)
			_, err = io.WriteString(w, text)
			must(t, err)
		}
	}
	must(t, z.Close())
	slices.Sort(rows)
	slices.Reverse(rows)
	l[eco+"/all.zip"] = b.String()
	l[eco+"/modified_id.csv"] = strings.Join(rows, "\n") + "\n"
	l["ecosystems.txt"] = eco + "\n"
}

// A server serves a layout as OSV.dev's mirror does, counts, and fails when it
// is told to.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	files  layout
	asked  map[string]int
	broken func(path string, n int) int // what to answer to the nth request, 0 for the file
}

func newServer(t testing.TB) *server {
	s := &server{files: layout{}, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		s.mu.Lock()
		s.asked[name]++
		n, text, ok := s.asked[name], s.files[name], true
		if _, ok = s.files[name]; !ok {
			text = ""
		}
		status := 0
		if s.broken != nil {
			status = s.broken(name, n)
		}
		s.mu.Unlock()
		etag := fmt.Sprintf("%q", fmt.Sprint(len(text))+text[:min(20, len(text))])
		etag = strings.Map(func(r rune) rune {
			if r < '!' || r == '"' || r == '\\' || r > '~' {
				return '_'
			}
			return r
		}, etag)
		etag = `"` + etag + `"`
		switch {
		case status == 1: // cut off in the middle
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			_, _ = io.WriteString(w, text[:len(text)/2])
			panic(http.ErrAbortHandler)
		case status != 0:
			w.WriteHeader(status)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		case r.Header.Get("If-None-Match") == etag:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("ETag", etag)
			_, _ = io.WriteString(w, text)
		}
	}))
	s.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s
}

// requests returns what was asked for since the last call.
func (s *server) requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = map[string]int{}
	return asked
}

func (s *server) mirror(t testing.TB) *mirror {
	t.Helper()
	m, err := newMirror(s.URL)
	must(t, err)
	return m
}

var always = func(string) bool { return true }

// many are records of n packages.
func many(n int) map[string][3]string {
	records := map[string][3]string{}
	for i := range n {
		records[fmt.Sprintf("GHSA-%04d", i)] = [3]string{fmt.Sprintf("2026-01-01T00:%02d:%02dZ", i/60, i%60), fmt.Sprintf("p%d", i), "2.0.0"}
	}
	return records
}

// TestMirror follows a mirror through its changes, and counts what is asked of
// it.
func TestMirror(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ctx, s := t.Context(), newServer(t)
		c := &clock{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
		u := newUpdater(t, db, s.mirror(t), c, Options{})
		records := many(200)
		check := func(what string, want map[string]int) {
			t.Helper()
			c.t = c.t.Add(time.Hour)
			must(t, u.all(ctx))
			got := s.requests()
			delete(got, "ecosystems.txt")
			if !maps.Equal(got, want) {
				t.Errorf("%s: asked for %v, want %v", what, got, want)
			}
			if ids := kept(t, db, "npm"); !slices.Equal(ids, slices.Sorted(maps.Keys(records))) {
				t.Errorf("%s: %d records, want %d", what, len(ids), len(records))
			}
		}
		// all.zip has been known to lack records.
		s.files.publish(t, "npm", records, func(id string) bool { return id != "GHSA-0007" })
		check("the first time", map[string]int{"npm/modified_id.csv": 1, "npm/all.zip": 1, "npm/GHSA-0007.json": 1})
		check("nothing new", map[string]int{"npm/modified_id.csv": 1})
		pvs, err := u.store.Ensure(ctx, []vuln.Identity{pv("npm", "p3", "1.0.0"), pv("npm", "p4", "1.0.0"), pv("npm", "new", "1.0.0")})
		must(t, err)
		records["GHSA-0003"] = [3]string{"2026-02-01T01:00:00Z", "p3", "0.5.0"}
		records["GHSA-NEW"] = [3]string{"2026-02-01T01:00:01Z", "new", "2.0.0"}
		s.files.publish(t, "npm", records, always)
		check("one changed, one new", map[string]int{"npm/modified_id.csv": 1, "npm/GHSA-0003.json": 1, "npm/GHSA-NEW.json": 1})
		for i, want := range []int{0, 1, 1} {
			if got := findings(t, db, pvs[i]); len(got) != want {
				t.Errorf("findings of %d: %v", i, got)
			}
		}
		delete(records, "GHSA-0004")
		s.files.publish(t, "npm", records, always)
		c.t = c.t.Add(24 * time.Hour) // a whole list is due
		check("one is gone", map[string]int{"npm/modified_id.csv": 1})
		if got := findings(t, db, pvs[1]); len(got) != 0 {
			t.Errorf("findings of what is gone: %v", got)
		}
		for i := range 50 {
			id := fmt.Sprintf("GHSA-%04d", i+100)
			records[id] = [3]string{"2026-03-01T00:00:00Z", "p", "3.0.0"}
		}
		s.files.publish(t, "npm", records, always)
		check("many changed", map[string]int{"npm/modified_id.csv": 1, "npm/all.zip": 1})
		f := feedOf(t, db, "npm")
		if f.Records != int64(len(records)) || !f.Newest.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) || f.Failure != "" {
			t.Errorf("feed: %+v", f)
		}
	})
}

// TestMirrorFails: what has come before a failure stays and is not asked for
// again, and nothing is lost.
func TestMirrorFails(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ctx, s := t.Context(), newServer(t)
		c := &clock{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
		u := newUpdater(t, db, s.mirror(t), c, Options{})
		records := many(400)
		s.files.publish(t, "npm", records, always)
		must(t, u.all(ctx))
		for i := range 20 {
			records[fmt.Sprintf("GHSA-NEW-%02d", i)] = [3]string{"2026-02-01T01:00:00Z", "new", "2.0.0"}
		}
		s.files.publish(t, "npm", records, always)
		s.requests()
		s.broken = func(path string, n int) int {
			if path == "npm/GHSA-NEW-19.json" {
				return http.StatusForbidden
			}
			return 0
		}
		err := u.all(ctx)
		if err == nil || !strings.Contains(err.Error(), "GHSA-NEW-19.json: 403") {
			t.Fatalf("a mirror that refuses a record: %v", err)
		}
		if f := feedOf(t, db, "npm"); !strings.Contains(f.Failure, "403") || f.Records != 400 {
			t.Errorf("feed: %+v", f)
		}
		before := len(kept(t, db, "npm"))
		s.requests()
		s.broken = func(path string, n int) int { // fails once, then cuts off once
			switch {
			case path == "npm/GHSA-NEW-19.json" && n == 1:
				return http.StatusServiceUnavailable
			case path == "npm/modified_id.csv" && n == 1:
				return 0
			case path == "npm/GHSA-NEW-19.json" && n == 2:
				return 1
			}
			return 0
		}
		must(t, u.all(ctx))
		if n := s.requests()["npm/GHSA-NEW-19.json"]; n != 3 {
			t.Errorf("a record that failed twice was asked for %d times", n)
		}
		if got := len(kept(t, db, "npm")); got != len(records) || before < 400 {
			t.Errorf("%d records, want %d; %d before", got, len(records), before)
		}
		// A list that was cut, and one that lacks most.
		c.t = c.t.Add(25 * time.Hour)
		s.broken = func(path string, _ int) int {
			if path == "npm/modified_id.csv" {
				return 1
			}
			return 0
		}
		if err := u.all(ctx); err == nil {
			t.Error("a list that was cut off was taken")
		}
		s.broken = nil
		s.files.publish(t, "npm", many(50), always)
		if err := u.all(ctx); err == nil || !strings.Contains(err.Error(), "not believed") {
			t.Errorf("a list without most of the records: %v", err)
		}
		if got := len(kept(t, db, "npm")); got != len(records) {
			t.Errorf("%d records are left of %d", got, len(records))
		}
	})
}

// TestFirstLoadIsResumed: all.zip fails, then comes.
func TestFirstLoadIsResumed(t *testing.T) {
	s := newServer(t)
	db := openDB(t, filepath.Join(t.TempDir(), "meta.db"))
	u := newUpdater(t, db, s.mirror(t), nil, Options{})
	s.files.publish(t, "npm", many(300), always)
	s.broken = func(path string, n int) int {
		if path == "npm/all.zip" && n == 1 {
			return 1
		}
		return 0
	}
	must(t, u.all(t.Context()))
	if got := len(kept(t, db, "npm")); got != 300 {
		t.Errorf("%d records", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := u.all(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

// TestBadRecords: a record that is none is left out, what was there before
// stays, and malicious packages may be left out.
func TestBadRecords(t *testing.T) {
	s := newServer(t)
	db := openDB(t, filepath.Join(t.TempDir(), "meta.db"))
	c := &clock{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
	u := newUpdater(t, db, s.mirror(t), c, Options{})
	records := many(3)
	records["MAL-2026-1"] = [3]string{"2026-01-01T00:00:00Z", "evil", "9.0.0"}
	s.files.publish(t, "npm", records, func(id string) bool { return false })
	delete(s.files, "npm/all.zip")
	s.files["npm/GHSA-0001.json"] = "not JSON"
	must(t, u.all(t.Context()))
	if got := kept(t, db, "npm"); !slices.Equal(got, []string{"GHSA-0000", "GHSA-0002", "MAL-2026-1"}) {
		t.Errorf("kept: %v", got)
	}
	records["GHSA-0002"] = [3]string{"2026-01-02T00:00:00Z", "p2", "2.0.0"}
	s.files.publish(t, "npm", records, func(id string) bool { return false })
	delete(s.files, "npm/all.zip")
	s.files["npm/GHSA-0002.json"] = `{"id":"another"}`
	must(t, u.all(t.Context()))
	if got := kept(t, db, "npm"); !slices.Contains(got, "GHSA-0002") {
		t.Errorf("kept: %v", got)
	}
	if _, err := u.store.Get(t.Context(), "GHSA-0002"); err != nil {
		t.Errorf("a record whose successor is none: %v", err)
	}
	u.o.NoMalicious = true
	s.files["npm/GHSA-0002.json"] = osv("GHSA-0002", "2026-01-02T00:00:00Z", "p2", "2.0.0")
	must(t, u.all(t.Context()))
	if got := kept(t, db, "npm"); slices.Contains(got, "MAL-2026-1") || len(got) != 3 {
		t.Errorf("kept without malicious packages: %v", got)
	}
}

// stampOf is seconds since 1970; 0 is the zero time.
func stampOf(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds%(1<<35), 0)
}
