package audit

import (
	"context"
	"testing"

	"github.com/ecruhq/ecru/ecr"
)

func BenchmarkObserve(b *testing.B) {
	w := newWorld(b)
	l := w.log()
	c := w.caller("BatchGetImage")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%(apart/2) == 0 { // so that each has a record
			b.StopTimer()
			l.pending, l.alike = nil, map[like]*ecr.Event{}
			b.StartTimer()
		}
		l.Observe(context.Background(), c)
	}
}

// BenchmarkObserveAlike is of calls that share a record.
func BenchmarkObserveAlike(b *testing.B) {
	w := newWorld(b)
	l := w.log()
	for range apart {
		w.read(l, "BatchGetImage")
	}
	c := w.caller("BatchGetImage")
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(context.Background(), c)
	}
}

func BenchmarkSettle(b *testing.B) {
	w := newWorld(b)
	l := w.log()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range 1000 {
			w.read(l, "BatchGetImage")
		}
		b.StartTimer()
		ok(b, l.Settle(context.Background()))
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	l := w.log()
	for range 10 {
		for range 1000 {
			w.read(l, "BatchGetImage")
		}
		w.settled(l)
	}
	for b.Loop() {
		w.whole(l)
	}
}
