package meta

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/ecruhq/ecru/ecr"
)

// A Tx is a transaction, good until the function that it was given to returns.
// It belongs to one goroutine. In a View the methods that write fail.
type Tx struct {
	ctx context.Context
	q   querier

	recorded *ecr.Call // the last one whose record was appended
	changed  bool      // there is something for those who wait on DB.Changed
}

// querier is a connection with an open transaction.
type querier interface {
	exec(ctx context.Context, sql string, args []any) (int64, error)
	query(ctx context.Context, sql string, args []any) (rows, error)
}

type rows interface {
	Next() bool
	Scan(...any) error
	Err() error
	Close() error
}

// exec runs a statement and returns how many rows it touched.
func (tx *Tx) exec(sql string, args ...any) (int64, error) {
	return tx.q.exec(tx.ctx, sql, args)
}

// each calls scan for every row.
func (tx *Tx) each(scan func(rows) error, sql string, args ...any) (err error) {
	rs, err := tx.q.query(tx.ctx, sql, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rs.Close()) }()
	for rs.Next() {
		if err := scan(rs); err != nil {
			return err
		}
	}
	return rs.Err()
}

// row scans the first row into dest; ErrNotFound if there is none.
func (tx *Tx) row(dest []any, sql string, args ...any) error {
	found := false
	err := tx.each(func(rs rows) error {
		if found {
			return nil
		}
		found = true
		return rs.Scan(dest...)
	}, sql, args...)
	if err == nil && !found {
		return ErrNotFound
	}
	return err
}

// in appends vals to args and returns the SQL list that names them. The list
// is padded to a power of two by repeating the last value, so that there are
// few different statements. An empty vals gives a list that matches nothing.
func in[T any](args []any, vals []T) (string, []any) {
	if len(vals) == 0 {
		return "(null)", args
	}
	n := 4
	for n < len(vals) {
		n *= 2
	}
	var b strings.Builder
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		args = append(args, vals[min(i, len(vals)-1)])
		b.WriteString(strconv.Itoa(len(args)))
	}
	b.WriteByte(')')
	return b.String(), args
}

// null returns nil for the zero value, which is NULL in SQL.
func null[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func integer(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
