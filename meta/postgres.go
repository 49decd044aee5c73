package meta

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// postgresEngine runs updates at READ COMMITTED, which the garbage collector's
// locking counts on, and views at REPEATABLE READ.
type postgresEngine struct {
	pool    *pgxpool.Pool
	fault   func(string) error
	changed *signal
	texts   sync.Map // statement → its PostgreSQL form
}

func openPostgres(ctx context.Context, o Options, changed *signal) (*postgresEngine, error) {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, err
	}
	// Wait for the disk at every commit, whatever the server's default is.
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	cfg.ConnConfig.RuntimeParams["application_name"] = "ecru"
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = "60000"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	e := &postgresEngine{pool: pool, fault: o.Fault, changed: changed}
	if err := e.check(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		pool.Close()
		return nil, err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	if err := migrate(ctx, db, goose.DialectPostgres, "migrations/postgres", goose.WithSessionLocker(locker)); err != nil {
		pool.Close()
		return nil, err
	}
	return e, nil
}

func (e *postgresEngine) update(ctx context.Context, fn func(*Tx) error) (*pending, error) {
	p := &pending{done: make(chan error, 1)}
	// Once begun, the outcome does not hang on the caller's patience.
	err := e.retry(context.WithoutCancel(ctx), fn)
	p.done <- err
	return p, nil
}

func (e *postgresEngine) updateSoon(ctx context.Context, fn func(*Tx) error) (*Deferred, error) {
	return nil, e.retry(context.WithoutCancel(ctx), fn)
}

// retry runs fn until it does not fail by a conflict with others, five times
// at most.
func (e *postgresEngine) retry(ctx context.Context, fn func(*Tx) error) error {
	for i := 1; ; i++ {
		err := e.once(ctx, fn)
		var pgErr *pgconn.PgError
		if i == 5 || !errors.As(err, &pgErr) || pgErr.Code != "40001" && pgErr.Code != "40P01" {
			return err
		}
		time.Sleep(time.Duration(rand.Int64N(int64(i) * int64(10*time.Millisecond))))
	}
}

func (e *postgresEngine) once(ctx context.Context, fn func(*Tx) error) error {
	t, err := e.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer t.Rollback(ctx) // after a commit: no effect
	tx := &Tx{ctx: ctx, q: postgresTx{e, t}}
	if err := protect(fn, tx); err != nil {
		return err
	}
	if e.fault != nil {
		if err := e.fault("before"); err != nil {
			return err
		}
	}
	if err := t.Commit(ctx); err != nil {
		return err
	}
	if tx.changed {
		e.changed.fire()
	}
	if e.fault != nil {
		return e.fault("after")
	}
	return nil
}

func (e *postgresEngine) view(ctx context.Context, fn func(*Tx) error, one bool) error {
	if one {
		return protect(fn, &Tx{ctx: ctx, q: postgresOne{e}})
	}
	t, err := e.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer t.Rollback(context.WithoutCancel(ctx))
	return protect(fn, &Tx{ctx: ctx, q: postgresTx{e, t}})
}

func (e *postgresEngine) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return e.pool.Ping(ctx)
}

func (e *postgresEngine) close() error {
	e.pool.Close()
	return nil
}

func (e *postgresEngine) text(s string) string {
	if t, ok := e.texts.Load(s); ok {
		return t.(string)
	}
	t := forPostgres(s)
	e.texts.Store(s, t)
	return t
}

type postgresTx struct {
	e  *postgresEngine
	tx pgx.Tx
}

func (t postgresTx) exec(ctx context.Context, text string, args []any) (int64, error) {
	tag, err := t.tx.Exec(ctx, t.e.text(text), args...)
	return tag.RowsAffected(), err
}

func (t postgresTx) query(ctx context.Context, text string, args []any) (rows, error) {
	r, err := t.tx.Query(ctx, t.e.text(text), args...)
	return postgresRows{r}, err
}

// postgresOne runs statements by themselves.
type postgresOne struct{ e *postgresEngine }

func (o postgresOne) exec(context.Context, string, []any) (int64, error) {
	return 0, errors.New("meta: a view cannot write")
}

func (o postgresOne) query(ctx context.Context, text string, args []any) (rows, error) {
	r, err := o.e.pool.Query(ctx, o.e.text(text), args...)
	return postgresRows{r}, err
}

type postgresRows struct{ pgx.Rows }

func (r postgresRows) Close() error {
	r.Rows.Close()
	return r.Rows.Err()
}
