package crash

import (
	"fmt"
	"math"
	"sync"
)

// A ledger knows what the clients asked for and what the server acknowledged.
// Of each thing (a blob, an image, a tag) it keeps the writes that may have
// been the last; a thing's value is a digest, or absent.
//
// Its methods are safe for concurrent use.
type ledger struct {
	mu     sync.Mutex
	clock  int64
	writes map[string][]*write
}

// absent is the value of a thing that does not exist.
const absent = ""

// A write is a request that sets a thing's value. It ends when the server
// acknowledges it; a write that has not ended may have happened or not, and
// may happen as long as the server lives.
type write struct {
	value      string
	start, end int64
}

func newLedger() *ledger { return &ledger{writes: map[string][]*write{}} }

// begin records, before the request is sent, that thing may become value; the
// function that it returns records the acknowledgement.
func (l *ledger) begin(thing, value string) (acknowledge func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	w := &write{value, l.clock, math.MaxInt64}
	l.writes[thing] = append(l.writes[thing], w)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.clock++
		w.end = l.clock
	}
}

// allowed returns the values that thing may have now: those of writes after
// whose end no acknowledged write began.
func (l *ledger) allowed(thing string) map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var latest int64 // start of the acknowledged write that began last
	for _, w := range l.writes[thing] {
		if w.end != math.MaxInt64 {
			latest = max(latest, w.start)
		}
	}
	values := map[string]bool{}
	if latest == 0 {
		values[absent] = true
	}
	for _, w := range l.writes[thing] {
		if w.end >= latest {
			values[w.value] = true
		}
	}
	return values
}

// observe checks a value that was read while nobody wrote, and makes it the
// only one allowed from now on.
func (l *ledger) observe(thing, value string) error {
	allowed := l.allowed(thing)
	if !allowed[value] {
		return fmt.Errorf("%s is %q; acknowledged, or possible: %q", thing, value, keys(allowed))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	l.writes[thing] = []*write{{value, l.clock, l.clock}}
	return nil
}

// things returns the names of all things that were ever written.
func (l *ledger) things() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return keys(l.writes)
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

// settled reports whether thing was observed and not written since.
func (l *ledger) settled(thing string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.writes[thing]
	return len(w) == 1 && w[0].start == w[0].end
}
