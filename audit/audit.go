// Package audit is the trail of every call: who, from where, what, allowed or
// denied. Records come in by the event log, an acknowledged change with its
// own transaction; they are sealed into a chain in which a record that is
// changed, moved or gone shows, and kept for a time.
package audit

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

// Config is what a Log must know.
type Config struct {
	Region string
	// MaxAge and MaxBytes bound what is kept; 0 means without bound.
	MaxAge   time.Duration
	MaxBytes int64
	Sink     *Sink // nil: none
	Now      func() time.Time
	Log      *slog.Logger
}

// A Log is the audit trail. Its methods are safe for concurrent use.
type Log struct {
	db     *meta.DB
	id     *identity.Identity
	signer *identity.Signer
	cfg    Config

	settling sync.Mutex

	mu      sync.Mutex
	pending []*ecr.Event
	alike   map[like]*ecr.Event // those of pending that stand for several
}

// New returns the trail over the metadata database.
func New(db *meta.DB, id *identity.Identity, keys *identity.Keyring, cfg Config) *Log {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Log{db: db, id: id, signer: keys.Signer("audit trail"), cfg: cfg, alike: map[like]*ecr.Event{}}
}

const (
	// interval is how often calls are written that changed nothing, and sealed.
	interval = time.Second
	// apart is how many calls of one interval have a record each. Of those
	// that come on top, calls that are alike share one, which counts them.
	apart = 2000
	// most is how many records wait to be written; who brings another waits
	// for them.
	most = 20_000
	// batch is how many records are written or sealed in one transaction.
	batch = 128
)

// like is what calls have in common that may share a record.
type like struct {
	service, name, principal, key, ip, agent, code string
	repository                                     ecr.RepositoryID
	digest, tag, layer                             string
	registry                                       bool
}

func likeOf(e *ecr.Event) like {
	call := e.Caller.Call
	return like{call.Service, call.Name, e.Principal, e.Caller.AccessKeyID, e.SourceIP, e.UserAgent, e.Code, e.Repository, call.Digest, call.Tag, call.Layer, call.Registry}
}

// Observe takes note of a call that has been answered, unless the event log
// has it: one that only read, or failed. It is written within a second; if the
// process ends before it is lost, which a call that changed something or was
// denied never is.
func (l *Log) Observe(ctx context.Context, c ecr.Caller) {
	call := c.Call
	if call == nil || call.Name == "" || call.Recorded == ecr.RecordedDenial || call.Recorded == ecr.RecordedChange && call.Code == "" {
		return
	}
	e := l.event(c)
	l.mu.Lock()
	if len(l.pending) < apart {
		l.pending = append(l.pending, e)
		l.mu.Unlock()
		return
	}
	k := likeOf(e)
	if first := l.alike[k]; first != nil {
		first.Count++
		l.mu.Unlock()
		return
	}
	e.Count = 1
	l.alike[k] = e
	l.pending = append(l.pending, e)
	full := len(l.pending) >= most
	l.mu.Unlock()
	if full {
		l.report(l.Settle(context.WithoutCancel(ctx)))
	}
}

// event is the event of a call that changed nothing.
func (l *Log) event(c ecr.Caller) *ecr.Event {
	call := c.Call
	e := &ecr.Event{At: l.cfg.Now(), Repository: call.Repository, UserAgent: c.UserAgent, RequestID: c.RequestID, Code: call.Code, Caller: c}
	if c.Principal != nil {
		e.Principal = c.ARN
		if e.Repository.Account == "" {
			e.Repository.Account = c.Account
		}
	}
	if c.SourceIP.IsValid() {
		e.SourceIP = c.SourceIP.String()
	}
	return e
}

// Run writes, seals and passes on records until ctx ends; what has come in by
// then is written and sealed last.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := time.Time{}
	for {
		select {
		case <-ctx.Done():
			l.report(l.Settle(context.WithoutCancel(ctx)))
			return
		case <-tick.C:
			l.report(l.Settle(ctx))
		}
		if now := l.cfg.Now(); now.Sub(last) > time.Minute {
			last = now
			l.report(l.Expire(ctx))
		}
	}
}

func (l *Log) report(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		l.cfg.Log.Error("the audit trail is behind", "error", err)
	}
}

// Settle seals what is pending and what the event log has, and passes it on to
// the sink. What cannot be written stays.
func (l *Log) Settle(ctx context.Context) error {
	l.settling.Lock()
	defer l.settling.Unlock()
	for more := true; more; {
		var err error
		if more, err = l.seal(ctx); err != nil {
			return fmt.Errorf("seal audit records: %w", err)
		}
	}
	if l.cfg.Sink == nil {
		return nil
	}
	return l.cfg.Sink.write(ctx, l.db)
}

// waits reports whether the event log has records to seal.
func (l *Log) waits(ctx context.Context) (yes bool, err error) {
	err = l.db.ViewOne(ctx, func(tx *meta.Tx) error {
		list, err := tx.Unsealed(1)
		yes = len(list) > 0
		return err
	})
	return yes, err
}

// seal adds a batch of records to the chain, of the event log and of those that
// wait, and reports whether there may be more.
func (l *Log) seal(ctx context.Context) (more bool, err error) {
	l.mu.Lock()
	calls := l.pending[:min(batch, len(l.pending))]
	if len(calls) == len(l.pending) {
		l.alike = map[like]*ecr.Event{} // what is sealed counts no more calls
	} else {
		l.close(calls)
	}
	l.mu.Unlock()
	if len(calls) == 0 {
		if waits, err := l.waits(ctx); err != nil || !waits {
			return false, err
		}
	}
	entries := make([]entry, len(calls), len(calls)+batch) // made here, not while others wait to write
	for i, e := range calls {
		entries[i] = entry{at: e.At, trail: e.Trail()}
		if entries[i].body, err = json.Marshal(&entries[i].trail); err != nil {
			return false, err
		}
	}
	err = l.db.Update(ctx, func(tx *meta.Tx) error {
		chain, err := l.lock(tx)
		if err != nil {
			return err
		}
		whole := l.signer.Verify(chain.Seal, chainParts(&chain)...) // else it stays as it is, for Verify to find
		logged, err := tx.Unsealed(batch)
		if err != nil {
			return err
		}
		more = len(calls)+len(logged) >= batch
		if err := l.add(tx, &chain, entries, logged); err != nil {
			return err
		}
		if whole {
			chain.Seal = l.signer.Sign(chainParts(&chain)...)
		}
		return errors.Join(tx.Sealed(logged), tx.PutAuditChain(chain))
	})
	if err == nil {
		l.mu.Lock()
		if l.pending = l.pending[len(calls):]; len(l.pending) == 0 {
			l.pending = nil // and the array with it
		}
		l.mu.Unlock()
	}
	return more && err == nil, err
}

// close lets calls that come in share no records with those that are being
// written.
func (l *Log) close(calls []*ecr.Event) {
	for _, e := range calls {
		if k := likeOf(e); l.alike[k] == e {
			delete(l.alike, k)
		}
	}
}

// An entry is a record before it has its place.
type entry struct {
	at    time.Time
	trail ecr.TrailRecord
	body  []byte
}

// add adds entries to the chain, together with what the event log has, in the
// order of time.
func (l *Log) add(tx *meta.Tx, chain *meta.AuditChain, entries []entry, logged []meta.Unsealed) error {
	for _, u := range logged {
		e := entry{at: u.At, body: u.Record}
		if err := json.Unmarshal(u.Record, &e.trail); err != nil {
			return fmt.Errorf("record of event %d: %w", u.Event, err)
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.at.Compare(b.at) })
	records := make([]*meta.AuditRecord, len(entries))
	for i := range entries {
		e := &entries[i]
		records[i] = l.record(chain, &e.trail, e.at, e.body)
	}
	return tx.InsertAuditRecords(records)
}

// genesis stands for the seal of the record before the first.
const genesis = "genesis"

// lock returns the chain for writing; the first call makes it.
func (l *Log) lock(tx *meta.Tx) (meta.AuditChain, error) {
	chain, err := tx.LockAuditChain()
	if !errors.Is(err, meta.ErrNotFound) {
		return chain, err
	}
	start := meta.AuditChain{First: 1, Before: []byte(genesis), Next: 1, Head: []byte(genesis)}
	start.Seal = l.signer.Sign(chainParts(&start)...)
	if err := tx.BeginAuditChain(start); err != nil {
		return start, err
	}
	return tx.LockAuditChain()
}

// chainParts are what the seal of a chain covers.
func chainParts(c *meta.AuditChain) [][]byte {
	expired := int64(0)
	if !c.Expired.IsZero() {
		expired = c.Expired.UnixMilli()
	}
	return [][]byte{[]byte("chain"), number(c.First), c.Before, number(c.Next), c.Head, number(c.Bytes), number(expired)}
}

// recordParts are what the seal of a record covers.
func recordParts(before []byte, seq int64, record []byte) [][]byte {
	return [][]byte{[]byte("record"), before, number(seq), record}
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// record makes the next record of a chain.
func (l *Log) record(chain *meta.AuditChain, t *ecr.TrailRecord, at time.Time, body []byte) *meta.AuditRecord {
	r := &meta.AuditRecord{Seq: chain.Next, At: at.Truncate(time.Second), Account: t.RecipientAccountID, EventID: t.EventID, Source: t.EventSource, Name: t.EventName,
		Username: t.Username(), AccessKey: t.UserIdentity.AccessKeyID, ReadOnly: t.ReadOnly, Record: body}
	if len(t.Resources) > 0 {
		r.ResourceType, r.Resource = t.Resources[0].Type, t.Resources[0].ARN
	}
	r.Seal = l.signer.Sign(recordParts(chain.Head, r.Seq, body)...)
	chain.Head = r.Seal
	chain.Next++
	chain.Bytes += int64(len(body))
	return r
}

// Expire deletes the records that are too old or too many, and the events of
// that age.
func (l *Log) Expire(ctx context.Context) error {
	for more := true; more; {
		err := l.db.Update(ctx, func(tx *meta.Tx) (err error) {
			more, err = l.expire(tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("expire audit records: %w", err)
		}
	}
	if l.cfg.MaxAge == 0 {
		return nil
	}
	for n := int64(batch); n == batch; {
		err := l.db.Update(ctx, func(tx *meta.Tx) (err error) {
			n, err = tx.ExpireEvents(l.cfg.Now().Add(-l.cfg.MaxAge), batch)
			return err
		})
		if err != nil {
			return fmt.Errorf("expire events: %w", err)
		}
	}
	return nil
}

var errTampered = errors.New("the trail has been tampered with (ecru audit verify tells where), so that nothing is deleted of it")

// expire deletes the first records of the chain that are due, and reports
// whether there may be more.
func (l *Log) expire(tx *meta.Tx) (more bool, err error) {
	chain, err := tx.LockAuditChain()
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !l.signer.Verify(chain.Seal, chainParts(&chain)...) {
		return false, errTampered
	}
	list, err := tx.AuditRecords(chain.First-1, batch)
	if err != nil {
		return false, err
	}
	n := 0
	for ; n < len(list); n++ {
		r := &list[n]
		old := l.cfg.MaxAge > 0 && r.At.Before(l.cfg.Now().Add(-l.cfg.MaxAge))
		if !old && (l.cfg.MaxBytes == 0 || chain.Bytes <= l.cfg.MaxBytes) {
			break
		}
		if r.Seq != chain.First || !l.signer.Verify(r.Seal, recordParts(chain.Before, r.Seq, r.Record)...) {
			return false, errTampered
		}
		if r.At.After(chain.Expired) {
			chain.Expired = r.At
		}
		chain.First, chain.Before = r.Seq+1, r.Seal
		chain.Bytes -= int64(len(r.Record))
	}
	if n == 0 {
		return false, nil
	}
	chain.Seal = l.signer.Sign(chainParts(&chain)...)
	return n == batch, errors.Join(tx.DeleteAuditRecords(chain.First-1), tx.PutAuditChain(chain))
}
