package meta

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	_ "modernc.org/libc" // pinned to the version that modernc.org/sqlite demands
	_ "modernc.org/sqlite"
)

//go:embed migrations
var migrations embed.FS

const (
	groupSize = 64                   // updates that share one commit, at most
	groupTime = 5 * time.Millisecond // how long a group may go on growing
	// soon is how long work waits at most for a commit to go with.
	soon = 100 * time.Millisecond
	// Sizes of the write-ahead log, in bytes: from the first on it is copied
	// into the database beside the writer, from the second on the writer
	// waits for that.
	walCheckpoint = 16 << 20
	walLimit      = 64 << 20
)

// sqliteEngine has one goroutine that writes and a pool of connections that
// read. Durability: WAL with synchronous=FULL, so a commit is on disk before
// its updates are answered.
type sqliteEngine struct {
	path    string
	log     *slog.Logger
	fault   func(string) error
	changed *signal
	writeDB *sql.DB
	readDB  *sql.DB
	writer  *sqliteConn
	readers chan *sqliteConn
	all     []*sqliteConn

	mu     sync.RWMutex // guards queue against closing
	closed bool
	queue  chan *work
	ended  chan struct{}

	laterMu sync.Mutex
	later   []*Deferred // run with the next commit

	checkpoints chan struct{}
	checkpointC chan struct{} // closed when the checkpointer has ended
}

type work struct {
	fn  func(*Tx) error
	err error
	pending
}

func openSQLite(ctx context.Context, o Options, changed *signal) (_ *sqliteEngine, err error) {
	if err := createFile(o.URL); err != nil {
		return nil, err
	}
	e := &sqliteEngine{
		path: o.URL, log: o.Log, fault: o.Fault, changed: changed,
		queue: make(chan *work, 4*groupSize), ended: make(chan struct{}),
		readers:     make(chan *sqliteConn, o.Readers),
		checkpoints: make(chan struct{}, 1), checkpointC: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			e.closePools()
		}
	}()
	if e.writeDB, err = sql.Open("sqlite", dsn(o.URL, "synchronous(2)", "cache_size(-16384)", "foreign_keys(1)", "wal_autocheckpoint(0)")); err != nil {
		return nil, err
	}
	e.writeDB.SetMaxOpenConns(1)
	if err := migrateFile(ctx, o.URL, e.writeDB); err != nil {
		return nil, err
	}
	if e.writer, err = newSQLiteConn(ctx, e.writeDB); err != nil {
		return nil, err
	}
	if e.readDB, err = sql.Open("sqlite", dsn(o.URL, "query_only(1)", "cache_size(-4096)")); err != nil {
		return nil, err
	}
	e.readDB.SetMaxOpenConns(o.Readers + 1) // one more for checkpoints
	for range o.Readers {
		c, err := newSQLiteConn(ctx, e.readDB)
		if err != nil {
			return nil, err
		}
		e.all = append(e.all, c)
		e.readers <- c
	}
	checkpointer, err := sql.Open("sqlite", dsn(o.URL, "synchronous(2)", "cache_size(-1024)"))
	if err != nil {
		return nil, err
	}
	go e.checkpoint(checkpointer)
	go e.write()
	return e, nil
}

// createFile creates an empty database file, readable by its owner only, and
// makes its name durable.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// migrateFile is migrate for a SQLite file: one process at a time, by a lock on
// a file of its own (to open and close the database file itself would take
// SQLite's locks away).
func migrateFile(ctx context.Context, path string, db *sql.DB) error {
	f, err := os.OpenFile(path+"-migrate", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // ends the lock
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	return migrate(ctx, db, goose.DialectSQLite3, "migrations/sqlite")
}

func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "journal_mode(wal)", "temp_store(2)"}, pragmas...)}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, dir string, opts ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files, opts...)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	return nil
}

func (e *sqliteEngine) update(ctx context.Context, fn func(*Tx) error) (*pending, error) {
	w := &work{fn: fn, pending: pending{done: make(chan error, 1)}}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return nil, ErrClosed
	}
	select {
	case e.queue <- w:
		return &w.pending, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *sqliteEngine) updateSoon(ctx context.Context, fn func(*Tx) error) (*Deferred, error) {
	d := &Deferred{e: e, fn: fn}
	e.laterMu.Lock()
	e.later = append(e.later, d)
	first := len(e.later) == 1
	e.laterMu.Unlock()
	if first {
		time.AfterFunc(soon, func() {
			// After Close there is nothing left to do.
			_, _ = e.update(context.WithoutCancel(ctx), func(*Tx) error { return nil })
		})
	}
	return d, nil
}

// cancel takes d out of what is to be run.
func (e *sqliteEngine) cancel(d *Deferred) bool {
	e.laterMu.Lock()
	defer e.laterMu.Unlock()
	i := slices.Index(e.later, d)
	if i < 0 {
		return false
	}
	e.later = slices.Delete(e.later, i, i+1)
	return true
}

// runLater runs what updateSoon has gathered. The error is the connection's.
func (e *sqliteEngine) runLater(tx *Tx) error {
	e.laterMu.Lock()
	later := e.later
	e.later = nil
	e.laterMu.Unlock()
	for _, d := range later {
		w := &work{fn: d.fn}
		if err := e.runOne(w, tx); err != nil {
			return err
		}
		if w.err != nil {
			e.log.Warn("a deferred update failed", "error", w.err)
		}
	}
	return nil
}

// write runs the updates. It owns e.writer.
func (e *sqliteEngine) write() {
	defer close(e.ended)
	group := make([]*work, 0, groupSize)
	for w := range e.queue {
		group = append(group[:0], w)
		err := e.commit(&group)
		for _, w := range group {
			if w.err == nil {
				w.err = err
			}
			w.done <- w.err
		}
		if err != nil {
			e.log.Error("commit failed", "error", err)
		}
		e.limitLog()
	}
}

// commit runs the first of the group, and whatever else is waiting by then,
// in one transaction. Updates that fail on their own are undone on their own.
func (e *sqliteEngine) commit(group *[]*work) (err error) {
	if err := e.writer.control("begin immediate"); err != nil {
		return err
	}
	ctx := context.Background()
	tx := &Tx{ctx: ctx, q: e.writer}
	start := time.Now()
	for i := 0; ; i++ {
		if err := e.runLater(tx); err != nil {
			return errors.Join(err, e.writer.control("rollback"))
		}
		if err := e.runOne((*group)[i], tx); err != nil {
			return errors.Join(err, e.writer.control("rollback"))
		}
		if len(*group) == groupSize || time.Since(start) > groupTime {
			break
		}
		select {
		case w, ok := <-e.queue:
			if ok {
				*group = append(*group, w)
				continue
			}
		default:
		}
		break
	}
	if e.fault != nil {
		if err := e.fault("before"); err != nil {
			return errors.Join(err, e.writer.control("rollback"))
		}
	}
	if err := e.writer.control("commit"); err != nil {
		return errors.Join(err, e.writer.control("rollback"))
	}
	if tx.changed {
		e.changed.fire()
	}
	if e.fault != nil {
		return e.fault("after")
	}
	return nil
}

// runOne runs w in a savepoint of its own and keeps w's own failure in w.err.
// The error is the connection's.
func (e *sqliteEngine) runOne(w *work, tx *Tx) error {
	if err := e.writer.control("savepoint one"); err != nil {
		return err
	}
	w.err = protect(w.fn, tx)
	if w.err != nil {
		if err := e.writer.control("rollback to one"); err != nil {
			return err
		}
	}
	return e.writer.control("release one")
}

// protect turns a panic of fn, which would take the writer with it, into an
// error.
func protect(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}

// limitLog asks for a checkpoint when the write-ahead log has grown, and does
// it itself when asking has not helped.
func (e *sqliteEngine) limitLog() {
	select {
	case e.checkpoints <- struct{}{}:
	default:
	}
	info, err := os.Stat(e.path + "-wal")
	if err != nil || info.Size() < walLimit {
		return
	}
	if err := e.writer.control("pragma wal_checkpoint(truncate)"); err != nil {
		e.log.Warn("checkpoint failed", "error", err)
	}
}

// checkpoint copies the write-ahead log into the database beside the writer,
// at most every 50 ms, so that no update waits for it.
func (e *sqliteEngine) checkpoint(db *sql.DB) {
	defer close(e.checkpointC)
	defer db.Close()
	for range e.checkpoints {
		if info, err := os.Stat(e.path + "-wal"); err == nil && info.Size() < walCheckpoint {
			continue
		}
		var busy, total, done int
		row := db.QueryRow("pragma wal_checkpoint(passive)")
		if err := row.Scan(&busy, &total, &done); err != nil {
			e.log.Warn("checkpoint failed", "error", err)
		}
		select {
		case <-e.ended:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (e *sqliteEngine) view(ctx context.Context, fn func(*Tx) error, one bool) error {
	var c *sqliteConn
	select {
	case c = <-e.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c == nil {
		return ErrClosed
	}
	defer func() { e.readers <- c }()
	// The driver watches a context that can end with a goroutine for each
	// statement; statements here are short, so it gets one that cannot.
	tx := &Tx{ctx: context.WithoutCancel(ctx), q: c}
	if one {
		return protect(fn, tx)
	}
	if err := c.control("begin"); err != nil {
		return err
	}
	err := protect(fn, tx)
	return errors.Join(err, c.control("rollback"))
}

func (e *sqliteEngine) check(ctx context.Context) error {
	return e.view(ctx, func(tx *Tx) error {
		var n int64
		return tx.row([]any{&n}, "select 1")
	}, true)
}

func (e *sqliteEngine) close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.queue <- &work{fn: func(*Tx) error { return nil }, pending: pending{done: make(chan error, 1)}} // for what was to be soon
	close(e.queue)
	e.mu.Unlock()
	<-e.ended
	close(e.checkpoints)
	<-e.checkpointC
	for range e.all {
		<-e.readers
	}
	close(e.readers)
	return e.closePools()
}

func (e *sqliteEngine) closePools() error {
	var errs []error
	for _, c := range e.all {
		errs = append(errs, c.close())
	}
	if e.writer != nil {
		errs = append(errs, e.writer.close())
	}
	if e.readDB != nil {
		errs = append(errs, e.readDB.Close())
	}
	if e.writeDB != nil {
		errs = append(errs, e.writeDB.Close())
	}
	return errors.Join(errs...)
}

// A sqliteConn is one connection with its prepared statements, which live as
// long as it does. It belongs to one goroutine at a time.
type sqliteConn struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func newSQLiteConn(ctx context.Context, db *sql.DB) (*sqliteConn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &sqliteConn{conn: c, stmts: map[string]*sql.Stmt{}}, nil
}

// maxStmts bounds the statements that a connection keeps prepared.
const maxStmts = 512

func (c *sqliteConn) prepare(text string) (*sql.Stmt, error) {
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	if len(c.stmts) >= maxStmts {
		for k, s := range c.stmts {
			s.Close()
			delete(c.stmts, k)
			break
		}
	}
	s, err := c.conn.PrepareContext(context.Background(), forSQLite(text))
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, text)
	}
	c.stmts[text] = s
	return s, nil
}

// control runs a statement without parameters or result: begin, commit, ….
func (c *sqliteConn) control(text string) error {
	_, err := c.exec(context.Background(), text, nil)
	return err
}

func (c *sqliteConn) exec(ctx context.Context, text string, args []any) (int64, error) {
	s, err := c.prepare(text)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("%w in %s", err, text)
	}
	return r.RowsAffected()
}

func (c *sqliteConn) query(ctx context.Context, text string, args []any) (rows, error) {
	s, err := c.prepare(text)
	if err != nil {
		return nil, err
	}
	r, err := s.QueryContext(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, text)
	}
	return r, nil
}

func (c *sqliteConn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// forSQLite rewrites a statement: $1 becomes ?1.
func forSQLite(text string) string { return parameter.ReplaceAllString(text, "?$1") }

// forPostgres makes the /*pg: … */ parts of a statement live.
func forPostgres(text string) string {
	for {
		before, rest, ok := strings.Cut(text, "/*pg:")
		if !ok {
			return text
		}
		live, after, _ := strings.Cut(rest, "*/")
		text = before + live + after
	}
}
