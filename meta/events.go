package meta

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// Append appends an event to the log, and with the first event of a call, or
// one of the server's own doing that has a Service, its record for the audit
// trail.
func (tx *Tx) Append(e ecr.Event) error {
	tx.changed = true
	var record any // null, unless the call has none yet
	if call := e.Caller.Call; e.Service != nil {
		b, err := json.Marshal(e.Trail())
		if err != nil {
			return fmt.Errorf("record of a service event: %w", err)
		}
		record = string(b)
	} else if call != nil && call != tx.recorded {
		b, err := json.Marshal(e.Trail())
		if err != nil {
			return fmt.Errorf("record of a call: %w", err)
		}
		record = string(b)
		tx.recorded = call
		call.Recorded = ecr.RecordedChange
		if e.Code != "" {
			call.Recorded = ecr.RecordedDenial
		}
	}
	_, err := tx.exec(`insert into events (at, type, action, account, repository, digest, tag, principal, source_ip, user_agent, request_id, code, record)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		ms(e.At), string(e.Type), e.Action, e.Repository.Account, e.Repository.Name, e.Digest, e.Tag, e.Principal, e.SourceIP, e.UserAgent, e.RequestID, e.Code, record)
	return err
}

// Events returns the events that follow after, in order, limit at most.
func (tx *Tx) Events(after int64, limit int) (events []ecr.Event, err error) {
	err = tx.each(func(rs rows) error {
		var e ecr.Event
		var t int64
		err := rs.Scan(&e.ID, &t, (*string)(&e.Type), &e.Action, &e.Repository.Account, &e.Repository.Name, &e.Digest, &e.Tag,
			&e.Principal, &e.SourceIP, &e.UserAgent, &e.RequestID, &e.Code)
		e.At = at(t)
		events = append(events, e)
		return err
	}, `select id, at, type, action, account, repository, digest, tag, principal, source_ip, user_agent, request_id, code
		from events where id > $1 order by id limit $2`, after, limit)
	return events, err
}

// An Unsealed is an event whose call's record is not in the audit trail yet.
type Unsealed struct {
	Event  int64
	At     time.Time
	Record []byte // JSON of an ecr.TrailRecord
}

// Unsealed returns the first of them in the log, limit at most.
func (tx *Tx) Unsealed(limit int) (out []Unsealed, err error) {
	err = tx.each(func(rs rows) error {
		var u Unsealed
		var t int64
		err := rs.Scan(&u.Event, &t, &u.Record)
		u.At = at(t)
		out = append(out, u)
		return err
	}, `select id, at, record from events where record is not null order by id limit $1`, limit)
	return out, err
}

// Sealed takes the records of events out of the log: the audit trail has them.
func (tx *Tx) Sealed(list []Unsealed) error {
	if len(list) == 0 {
		return nil
	}
	events := make([]int64, len(list))
	for i, u := range list {
		events[i] = u.Event
	}
	ids, args := in(nil, events)
	_, err := tx.exec(`update events set record = null where id in `+ids, args...)
	return err
}

// ExpireEvents deletes those of the first events, limit at most, that are from
// before a time and whose records are sealed, and returns how many.
func (tx *Tx) ExpireEvents(before time.Time, limit int) (int64, error) {
	return tx.exec(`delete from events where id in (
		select id from (select id, at, record from events order by id limit $2) first where at < $1 and record is null)`, ms(before), limit)
}

// CountUnsealed returns how many records are not in the audit trail yet.
func (tx *Tx) CountUnsealed() (n int, err error) {
	err = tx.row([]any{&n}, `select count(*) from events where record is not null`)
	return n, err
}

// Unrecorded returns events since a time that requests made and of which
// neither the audit trail nor the log has the call's record, limit at most.
func (tx *Tx) Unrecorded(since time.Time, limit int) (events []ecr.Event, err error) {
	err = tx.each(func(rs rows) error {
		var e ecr.Event
		err := rs.Scan(&e.ID, (*string)(&e.Type), &e.RequestID)
		events = append(events, e)
		return err
	}, `select id, type, request_id from events e where at >= $1 and request_id <> ''
		and not exists (select 1 from audit_records a where a.account = e.account and a.event_id = e.request_id)
		and not exists (select 1 from events o where o.record is not null and o.request_id = e.request_id)
		order by id limit $2`, ms(since), limit)
	return events, err
}
