// Package meta is the metadata database: every record that Ecru keeps, and all
// of its SQL. It is concrete; the rules live above it, in registry and
// identity.
//
// One text of each statement serves SQLite and PostgreSQL. It is written for
// PostgreSQL ($1, $2, …); for SQLite the parameters become ?1, ?2, …, and what
// stands in a comment of the form /*pg: … */ is live on PostgreSQL only.
// Times are integers, milliseconds since 1970 UTC.
package meta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

var (
	// ErrNotFound is the error of a look-up that found no row.
	ErrNotFound = errors.New("meta: not found")
	// ErrExists is the error of an insertion whose key is taken.
	ErrExists = errors.New("meta: exists already")
	// ErrClosed is the error of every call after Close.
	ErrClosed = errors.New("meta: database is closed")
)

// Options say where the database is and how it is used.
type Options struct {
	// URL is postgres://… or postgresql://…, or the path of a SQLite file.
	URL string
	Log *slog.Logger
	// Readers is the number of SQLite connections that read; 0 means four.
	Readers int
	// Fault, if set, is called with "before" and "after" around every commit;
	// an error from it stands for a commit that failed without or with
	// effect. Tests of crash safety set it.
	Fault func(point string) error
}

// A DB is the metadata database. Its methods are safe for concurrent use.
type DB struct {
	engine  engine
	shared  bool
	changed *signal
}

// engine is what differs between the two databases.
type engine interface {
	update(ctx context.Context, fn func(*Tx) error) (*pending, error)
	updateSoon(ctx context.Context, fn func(*Tx) error) (*Deferred, error)
	view(ctx context.Context, fn func(*Tx) error, one bool) error
	check(ctx context.Context) error
	close() error
}

// Open opens the database and brings its schema up to date. Several processes
// may do so at once.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	changed := &signal{ch: make(chan struct{})}
	if strings.HasPrefix(o.URL, "postgres://") || strings.HasPrefix(o.URL, "postgresql://") {
		e, err := openPostgres(ctx, o, changed)
		if err != nil {
			return nil, fmt.Errorf("open PostgreSQL: %w", err)
		}
		return &DB{engine: e, shared: true, changed: changed}, nil
	}
	e, err := openSQLite(ctx, o, changed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.URL, err)
	}
	return &DB{engine: e, changed: changed}, nil
}

// Shared reports whether other processes may write records of the registry
// while this one runs, so that nothing read from it may be kept without asking
// again.
func (db *DB) Shared() bool { return db.shared }

// Update runs fn in a transaction that may write. If fn returns nil, Update
// returns nil only after the commit is durable; if fn returns an error nothing
// that it wrote remains, and that error is returned. fn may run more than once
// and must not keep anything from a run that did not end well; it must not
// call the DB. On SQLite updates run one after another and share commits.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	p, err := db.engine.update(ctx, fn)
	if err != nil {
		return err
	}
	return p.wait(ctx)
}

// UpdateSoon is Update without the wait: fn runs ahead of every update that is
// started after UpdateSoon has returned, and commits with the next of them, or
// by itself within a tenth of a second. A failure is logged and otherwise
// lost, as is fn itself if the process ends before: what it writes must be
// something that a later update checks. On PostgreSQL it is Update.
func (db *DB) UpdateSoon(ctx context.Context, fn func(*Tx) error) (*Deferred, error) {
	return db.engine.updateSoon(ctx, fn)
}

// A Deferred is an update that was put off by UpdateSoon.
type Deferred struct {
	e  *sqliteEngine // nil if it has run
	fn func(*Tx) error
}

// Cancel reports whether d had not begun to run; it never will then. A nil d
// has run.
func (d *Deferred) Cancel() bool { return d != nil && d.e != nil && d.e.cancel(d) }

// View runs fn in a transaction that only reads and sees one state of the
// database throughout.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	return db.engine.view(ctx, fn, false)
}

// ViewOne is View for an fn that runs one statement only, which is cheaper.
func (db *DB) ViewOne(ctx context.Context, fn func(*Tx) error) error {
	return db.engine.view(ctx, fn, true)
}

// Changed returns a channel that is closed when the next update of this process
// that appends an event, or has a job wait, has committed. Who looks for work
// after it has called Changed misses nothing that this process does.
func (db *DB) Changed() <-chan struct{} { return db.changed.wait() }

// A signal tells all who wait that something has happened.
type signal struct {
	mu      sync.Mutex
	ch      chan struct{}
	waiting bool
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = true
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting {
		close(s.ch)
		s.ch, s.waiting = make(chan struct{}), false
	}
}

// Check reports whether the database answers.
func (db *DB) Check(ctx context.Context) error { return db.engine.check(ctx) }

// Close waits for the updates that have begun and closes the database.
func (db *DB) Close() error { return db.engine.close() }

// A pending is an update that has been accepted.
type pending struct {
	done chan error // buffered
}

// wait returns the outcome. An update that has been accepted runs to its end
// whatever becomes of ctx: its outcome is what counts.
func (p *pending) wait(context.Context) error { return <-p.done }

// ms returns t in milliseconds since 1970.
func ms(t time.Time) int64 { return t.UnixMilli() }

// since is ms, with 0 for the zero time.
func since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return ms(t)
}

// at is the way back from ms; 0 is the zero time.
func at(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}
