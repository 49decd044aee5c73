package meta

import (
	"errors"

	"github.com/ecruhq/ecru/ecr"
)

// A Cursor is a place in the event log: all up to it has been seen.
type Cursor struct {
	xid   int64 // of the transaction, on PostgreSQL; else 0
	Event int64
}

// rewind is how many events are looked at again where the order of
// transactions is lost.
const rewind = 10_000

// Cursor returns where a follower stands, in a transaction that may write. One
// that is not known begins at the end of the log if atEnd is set, else at its
// beginning.
func (tx *Tx) Cursor(follower string, atEnd bool) (c Cursor, err error) {
	err = tx.row([]any{&c.xid, &c.Event}, `select xid, event from followers where name = $1`, follower)
	if errors.Is(err, ErrNotFound) {
		if !atEnd {
			return Cursor{}, nil
		}
		return tx.end()
	}
	if err != nil || c.xid == 0 {
		return c, err
	}
	// A dump that was restored elsewhere has transaction numbers of the future.
	var now int64
	err = tx.row([]any{&now}, `select 0 /*pg: + pg_snapshot_xmax(pg_current_snapshot())::text::bigint */`)
	if err != nil || c.xid <= now {
		return c, err
	}
	_, err = tx.exec(`update events set xid = 0 where xid > $1`, now)
	return Cursor{Event: max(0, c.Event-rewind)}, err
}

// end is the place after all events that every transaction can see.
func (tx *Tx) end() (c Cursor, err error) {
	err = tx.row([]any{&c.xid, &c.Event}, `select 0 /*pg: + xid */, id from events
		/*pg: where xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint */
		order by /*pg: xid desc, */ id desc limit 1`)
	if errors.Is(err, ErrNotFound) {
		return Cursor{}, nil
	}
	return c, err
}

// Follow returns the events after c, limit at most, and the place after them.
// An event that is still being written by a transaction, and whatever could
// come to stand after such a one, is left for later, so that nothing is missed.
func (tx *Tx) Follow(c Cursor, limit int) (events []ecr.Event, next Cursor, err error) {
	next = c
	err = tx.each(func(rs rows) error {
		var e ecr.Event
		var t int64
		err := rs.Scan(&next.xid, &e.ID, &t, (*string)(&e.Type), &e.Action, &e.Repository.Account, &e.Repository.Name, &e.Digest, &e.Tag,
			&e.Principal, &e.SourceIP, &e.UserAgent, &e.RequestID, &e.Code)
		e.At, next.Event = at(t), e.ID
		events = append(events, e)
		return err
	}, `select 0 /*pg: + xid */, id, at, type, action, account, repository, digest, tag, principal, source_ip, user_agent, request_id, code
		from events where /*pg: (xid, id) > ($1, $2) and xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint or false and */ $1 >= 0 and id > $2
		order by /*pg: xid, */ id limit $3`, c.xid, c.Event, limit)
	return events, next, err
}

// MoveCursor records that a follower has seen all up to c.
func (tx *Tx) MoveCursor(follower string, c Cursor) error {
	_, err := tx.exec(`insert into followers (name, xid, event) values ($1, $2, $3)
		on conflict (name) do update set xid = excluded.xid, event = excluded.event`, follower, c.xid, c.Event)
	return err
}
