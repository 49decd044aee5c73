package meta

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// An AuditRecord is one record of the audit trail. The columns beside Record
// are copied from it, to be found by.
type AuditRecord struct {
	Seq          int64
	At           time.Time
	Account      string // recipient
	EventID      string
	Source       string
	Name         string
	Username     string
	AccessKey    string
	ResourceType string
	Resource     string // ARN
	ReadOnly     bool
	Record       []byte // JSON of an ecr.TrailRecord
	Seal         []byte
}

// An AuditChain says where the audit trail begins and ends.
type AuditChain struct {
	First  int64  // sequence number of the first record that is kept
	Before []byte // seal of the record before it, which is gone or never was
	Next   int64  // sequence number that the next record gets
	Head   []byte // seal of the last record
	Bytes  int64  // of the records that are kept
	// Expired is the latest time of a record that is gone; zero: none is.
	Expired time.Time
	Seal    []byte // of all of the above
}

// LockAuditChain returns the chain and keeps others from changing it;
// ErrNotFound before the first record.
func (tx *Tx) LockAuditChain() (AuditChain, error) { return tx.auditChain(` /*pg: for update */`) }

// AuditChain returns the chain; ErrNotFound before the first record.
func (tx *Tx) AuditChain() (AuditChain, error) { return tx.auditChain("") }

func (tx *Tx) auditChain(lock string) (c AuditChain, err error) {
	var expired int64
	err = tx.row([]any{&c.First, &c.Before, &c.Next, &c.Head, &c.Bytes, &expired, &c.Seal}, `select first, before, next, head, bytes, expired_at, seal from audit_chain where id = 1`+lock)
	c.Expired = at(expired)
	return c, err
}

// BeginAuditChain writes the chain, unless there is one.
func (tx *Tx) BeginAuditChain(c AuditChain) error {
	_, err := tx.exec(`insert into audit_chain (id, first, before, next, head, bytes, expired_at, seal) values (1, $1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
		c.First, c.Before, c.Next, c.Head, c.Bytes, since(c.Expired), c.Seal)
	return err
}

// PutAuditChain writes the chain that LockAuditChain returned.
func (tx *Tx) PutAuditChain(c AuditChain) error {
	_, err := tx.exec(`update audit_chain set first = $1, before = $2, next = $3, head = $4, bytes = $5, expired_at = $6, seal = $7 where id = 1`,
		c.First, c.Before, c.Next, c.Head, c.Bytes, since(c.Expired), c.Seal)
	return err
}

const auditColumns = `seq, at, account, event_id, source, name, username, access_key, resource_type, resource, read_only, record, seal`

// auditRows is how many records one statement inserts: each costs half as much
// as by itself.
const auditRows = 16

// InsertAuditRecords adds records.
func (tx *Tx) InsertAuditRecords(list []*AuditRecord) error {
	for len(list) > 0 {
		n, statement := auditRows, insertAuditMany
		if len(list) < n {
			n, statement = 1, insertAuditOne
		}
		args := make([]any, 0, 13*n)
		for _, r := range list[:n] {
			args = append(args, r.Seq, ms(r.At), r.Account, r.EventID, r.Source, r.Name, r.Username, r.AccessKey, r.ResourceType, r.Resource, integer(r.ReadOnly), string(r.Record), r.Seal)
		}
		if _, err := tx.exec(statement, args...); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

var insertAuditOne, insertAuditMany = insertAuditRows(1), insertAuditRows(auditRows)

func insertAuditRows(rows int) string {
	const columns = 13
	var b strings.Builder
	b.WriteString(`insert into audit_records (` + auditColumns + `) values `)
	for row := range rows {
		for c := range columns {
			mark := byte(',')
			if c == 0 {
				mark = '('
				if row > 0 {
					b.WriteString(", ")
				}
			}
			fmt.Fprintf(&b, "%c$%d", mark, row*columns+c+1)
		}
		b.WriteByte(')')
	}
	return b.String()
}

// eachAuditRecord calls fn for every record until it returns false.
func (tx *Tx) eachAuditRecord(fn func(*AuditRecord) bool, sql string, args ...any) error {
	stop := errors.New("enough")
	err := tx.each(func(rs rows) error {
		var r AuditRecord
		var t, readOnly int64
		if err := rs.Scan(&r.Seq, &t, &r.Account, &r.EventID, &r.Source, &r.Name, &r.Username, &r.AccessKey, &r.ResourceType, &r.Resource, &readOnly, &r.Record, &r.Seal); err != nil {
			return err
		}
		r.At, r.ReadOnly = at(t), readOnly != 0
		if !fn(&r) {
			return stop
		}
		return nil
	}, `select `+auditColumns+` from audit_records `+sql, args...)
	if errors.Is(err, stop) {
		return nil
	}
	return err
}

// AuditRecords returns the records that follow after, in order, limit at most.
func (tx *Tx) AuditRecords(after int64, limit int) (out []AuditRecord, err error) {
	err = tx.eachAuditRecord(func(r *AuditRecord) bool {
		out = append(out, *r)
		return true
	}, `where seq > $1 order by seq limit $2`, after, limit)
	return out, err
}

// DeleteAuditRecords deletes the records up to and with one.
func (tx *Tx) DeleteAuditRecords(last int64) error {
	_, err := tx.exec(`delete from audit_records where seq <= $1`, last)
	return err
}

// An AuditQuery says which records are looked for: those of an account, from
// and to a time, the newest first.
type AuditQuery struct {
	Account  string
	From, To time.Time // both inclusive
	// By is the column that has Value, or "".
	By    AuditColumn
	Value any
	// Before is where the page before ended; zero: at the start.
	BeforeAt  time.Time
	BeforeSeq int64
	Limit     int
	// Scan bounds the records that are looked at for columns without an index.
	Scan int
}

// An AuditColumn is what records are found by.
type AuditColumn string

// The columns with an index, and those without.
const (
	AuditEventID      AuditColumn = "event_id"
	AuditName         AuditColumn = "name"
	AuditUsername     AuditColumn = "username"
	AuditResource     AuditColumn = "resource"
	AuditAccessKey    AuditColumn = "access_key"
	AuditSource       AuditColumn = "source"
	AuditReadOnly     AuditColumn = "read_only"
	AuditResourceType AuditColumn = "resource_type"
)

// LookupAudit returns a page of records, the newest first, and the last record
// that was looked at: where the next page begins, or nil at the end.
func (tx *Tx) LookupAudit(q AuditQuery) (out []AuditRecord, last *AuditRecord, err error) {
	args := []any{q.Account, ms(q.From), ms(q.To), q.Limit + 1}
	where, scan := "", false
	switch q.By {
	case "":
	case AuditEventID, AuditName, AuditUsername, AuditResource:
		args = append(args, q.Value)
		where = fmt.Sprintf(" and %s = $%d", q.By, len(args))
	case AuditSource, AuditReadOnly, AuditResourceType, AuditAccessKey:
		args[3], scan = q.Scan+1, true
	default:
		return nil, nil, fmt.Errorf("meta: audit records are not found by %s", q.By)
	}
	if !q.BeforeAt.IsZero() {
		args = append(args, ms(q.BeforeAt), q.BeforeSeq)
		where += fmt.Sprintf(" and (at < $%d or at = $%d and seq < $%d)", len(args)-1, len(args)-1, len(args))
	}
	seen := 0
	var previous *AuditRecord
	err = tx.eachAuditRecord(func(r *AuditRecord) bool {
		if len(out) == q.Limit || scan && seen == q.Scan {
			last = previous // there is more
			return false
		}
		seen++
		previous = r
		if !scan || r.has(q.By, q.Value) {
			out = append(out, *r)
		}
		return true
	}, `where account = $1 and at >= $2 and at <= $3`+where+` order by at desc, seq desc limit $4`, args...)
	return out, last, err
}

func (r *AuditRecord) has(by AuditColumn, value any) bool {
	switch by {
	case AuditSource:
		return value == any(r.Source)
	case AuditReadOnly:
		return value == any(r.ReadOnly)
	case AuditAccessKey:
		return value == any(r.AccessKey)
	}
	return value == any(r.ResourceType)
}
