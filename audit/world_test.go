package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/meta"
)

// postgres is nil where PostgreSQL is not installed.
var postgres *pgtest.Server

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, &postgres))
}

const (
	account  = "123456789012"
	stranger = "210987654321"
	region   = "eu-central-1"
)

var (
	t0     = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	master = identity.NewMasterKey()
	app    = ecr.RepositoryID{Account: account, Name: "team/app"}
	jane   = &iam.Principal{ARN: "arn:aws:iam::" + account + ":user/jane", Account: account, ID: "AIDAJANE", Name: "jane"}
)

// A world is a database with a clock, whose commits can be made to fail, and
// with a way to its rows past the code.
type world struct {
	tb  testing.TB
	url string
	db  *meta.DB
	raw *sql.DB
	cfg Config

	now   atomic.Int64 // ms
	calls atomic.Int64
	fault atomic.Pointer[func(point string) error]
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return openWorld(tb, filepath.Join(tb.TempDir(), "meta.db"))
}

func openWorld(tb testing.TB, url string) *world {
	tb.Helper()
	w := &world{tb: tb, url: url}
	w.now.Store(t0.UnixMilli())
	w.cfg = Config{Region: region, Now: w.time, Log: slog.New(slog.NewTextHandler(tb.Output(), nil))}
	w.db = w.open()
	driver, dsn := "pgx", url
	if !strings.HasPrefix(url, "postgres") {
		driver, dsn = "sqlite", "file:"+url+"?_pragma=busy_timeout(10000)"
	}
	raw, err := sql.Open(driver, dsn)
	ok(tb, err)
	w.raw = raw
	tb.Cleanup(func() { raw.Close() })
	return w
}

// open opens the database as another process would.
func (w *world) open() *meta.DB {
	w.tb.Helper()
	db, err := meta.Open(context.Background(), meta.Options{URL: w.url, Fault: func(point string) error {
		if f := w.fault.Load(); f != nil {
			return (*f)(point)
		}
		return nil
	}})
	ok(w.tb, err)
	w.tb.Cleanup(func() { db.Close() })
	return db
}

// failing has the next n commits fail at a point, "before" or "after".
func (w *world) failing(at string, n int64) {
	var left atomic.Int64
	left.Store(n)
	f := func(point string) error {
		if point == at && left.Add(-1) >= 0 {
			return errors.New("injected")
		}
		return nil
	}
	w.fault.Store(&f)
}

func (w *world) time() time.Time         { return time.UnixMilli(w.now.Load()).UTC() }
func (w *world) advance(d time.Duration) { w.now.Add(d.Milliseconds()) }
func (w *world) log() *Log               { return w.logWith(master) }
func (w *world) identity() *identity.Identity {
	w.tb.Helper()
	return identity.New(w.db, keyring(w.tb, master), region, w.time)
}

// logWith returns a trail as a process with these master keys has it.
func (w *world) logWith(keys string) *Log {
	w.tb.Helper()
	return New(w.db, w.identity(), keyring(w.tb, keys), w.cfg)
}

func keyring(tb testing.TB, keys string) *identity.Keyring {
	tb.Helper()
	k, err := identity.ParseKeyring(keys)
	ok(tb, err)
	return k
}

// sql runs a statement past the code and returns how many rows it touched.
func (w *world) sql(text string, args ...any) int64 {
	w.tb.Helper()
	if !strings.HasPrefix(w.url, "postgres") {
		text = strings.ReplaceAll(text, "$", "?")
	}
	r, err := w.raw.Exec(text, args...)
	ok(w.tb, err)
	n, err := r.RowsAffected()
	ok(w.tb, err)
	return n
}

// caller returns jane, who calls an operation of ECR on the repository app.
func (w *world) caller(name string) ecr.Caller {
	return ecr.Caller{Principal: jane, AccessKeyID: "AKIAJANE", SourceIP: netip.MustParseAddr("192.0.2.7"), UserAgent: "aws-cli/2",
		RequestID: fmt.Sprintf("00000000-0000-0000-0000-%012d", w.calls.Add(1)),
		Call:      &ecr.Call{Service: "ecr.amazonaws.com", Name: name, Region: region, Repository: app}}
}

// read is a call that only reads.
func (w *world) read(l *Log, name string) ecr.Caller {
	c := w.caller(name)
	l.Observe(context.Background(), c)
	return c
}

// change is a call that changes something.
func (w *world) change(name string) ecr.Caller {
	w.tb.Helper()
	c := w.caller(name)
	ok(w.tb, w.append(c, ""))
	return c
}

// append appends an event of a call as the core does.
func (w *world) append(c ecr.Caller, code string) error {
	e := ecr.Event{At: w.time(), Type: ecr.ImagePushed, Action: "ecr:" + c.Call.Name, Repository: app, Principal: c.ARN,
		SourceIP: c.SourceIP.String(), UserAgent: c.UserAgent, RequestID: c.RequestID, Code: code, Caller: c}
	return w.db.Update(context.Background(), func(tx *meta.Tx) error { return tx.Append(e) })
}

// settled returns the trail after Settle: every record that is kept.
func (w *world) settled(l *Log) []meta.AuditRecord {
	w.tb.Helper()
	ok(w.tb, l.Settle(context.Background()))
	return w.records()
}

func (w *world) records() (out []meta.AuditRecord) {
	w.tb.Helper()
	ok(w.tb, w.db.View(context.Background(), func(tx *meta.Tx) (err error) {
		out, err = tx.AuditRecords(-1<<62, 1<<30)
		return err
	}))
	return out
}

func (w *world) chain() (c meta.AuditChain) {
	w.tb.Helper()
	ok(w.tb, w.db.View(context.Background(), func(tx *meta.Tx) (err error) {
		c, err = tx.AuditChain()
		return err
	}))
	return c
}

// whole checks that Verify finds nothing wrong.
func (w *world) whole(l *Log) Report {
	w.tb.Helper()
	r, err := l.Verify(context.Background(), nil)
	ok(w.tb, err)
	if len(r.Problems) > 0 {
		w.tb.Fatalf("the trail is not whole: %q", r.Problems)
	}
	return r
}

// broken checks that Verify finds a problem that tells of want.
func (w *world) broken(l *Log, want string) {
	w.tb.Helper()
	r, err := l.Verify(context.Background(), nil)
	ok(w.tb, err)
	if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, want) }) {
		w.tb.Errorf("problems %q, want one that says %q", r.Problems, want)
	}
}

func trail(tb testing.TB, r meta.AuditRecord) (t ecr.TrailRecord) {
	tb.Helper()
	ok(tb, json.Unmarshal(r.Record, &t))
	return t
}

func ok(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantCode(t *testing.T, what string, err error, want ecr.Code) {
	t.Helper()
	var e *ecr.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Errorf("%s: %v, want code %d", what, err, want)
	}
}

// both runs a test on an empty database of each kind that there is.
func both(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newWorld(t)) })
	if postgres != nil {
		t.Run("PostgreSQL", func(t *testing.T) { test(t, openWorld(t, postgres.Database(t))) })
	}
}
