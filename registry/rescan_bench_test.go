package registry_test

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/vuln"
)

// deltaOf is what 1,000 advisories change: about 10,000 package versions, those
// of some families of bases and the rare ones of applications. About half of
// the images have one of them.
func (f *fleet) deltaOf() []int64 {
	rare := min(8000, len(f.own)/3)
	return append(slices.Clone(f.os[:5*familyPVs]), f.own[len(f.own)-rare:]...)
}

// put has package versions be found to have one more vulnerability, beside
// those they have had from the beginning; its severity is another each time.
func (f *fleet) put(b *testing.B, w *world, pvs []int64, name string) {
	b.Helper()
	f.round++
	severity := []vuln.Severity{vuln.Medium, vuln.Critical}[f.round%2]
	var list []meta.Matched
	for i, pv := range pvs {
		m := meta.Matched{PV: pv, Matches: []vuln.Match{{Vulnerability: fmt.Sprintf("%s%d", name, i/10), Fix: vuln.FixNo, Rating: vuln.Rating{Severity: severity}}}}
		if isVulnerable(pv) {
			m.Matches = append(m.Matches, matches(pv)...)
		}
		list = append(list, m)
	}
	for part := range slices.Chunk(list, 500) {
		w.ok(w.db.Update(context.Background(), func(tx *meta.Tx) error {
			generation, err := tx.Generation()
			if err != nil {
				return err
			}
			_, err = tx.PutMatches(generation, part, w.time())
			return err
		}))
	}
}

// settleChanges does what the changes of package versions ask for, and returns how many
// images have other findings than before.
func settleChanges(b *testing.B, w *world) (changed int) {
	b.Helper()
	ctx := context.Background()
	for {
		n, err := w.TakeChanges(ctx)
		w.ok(err)
		if n == 0 {
			break
		}
	}
	var jobs []meta.Job
	w.ok(w.db.Update(ctx, func(tx *meta.Tx) (err error) {
		jobs, err = tx.ClaimJobs(registry.ScanQueue, "bench", w.time(), w.time().Add(time.Hour), 100)
		return err
	}))
	for _, j := range jobs {
		n, err := w.Changed(ctx, j.Payload)
		w.ok(err)
		changed += n
		w.ok(w.db.Update(ctx, func(tx *meta.Tx) error { return tx.FinishJob(j, w.time()) }))
	}
	return changed
}

// BenchmarkDelta: 1,000 advisories have come; until their findings are kept with
// package versions (s-match: writing them, without the matching itself) and until
// the counts of all images are right again (s-delta). ms-push is how long a small
// write waited at most beside it.
func BenchmarkDelta(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			start := time.Now()
			f := newFleet(b, w, n)
			b.Logf("%d images made in %v", n, time.Since(start))
			b.Run("delta", func(b *testing.B) { benchmarkDelta(b, w, f) })
			b.Run("find", func(b *testing.B) { benchmarkFind(b, w, f) })
		})
	}
}

func benchmarkDelta(b *testing.B, w *world, f *fleet) {
	changed, matched, took, cpu, wait := 0, time.Duration(0), time.Duration(0), time.Duration(0), time.Duration(0)
	for i := range b.N {
		start := time.Now()
		f.put(b, w, f.deltaOf(), fmt.Sprintf("CVE-2027-%d-%d-", b.N, i))
		matched += time.Since(start)
		stop, waited := make(chan struct{}), make(chan time.Duration)
		go func() { waited <- longestWrite(w, stop) }()
		start, used := time.Now(), processTime(b)
		changed += settleChanges(b, w)
		took += time.Since(start)
		cpu += processTime(b) - used
		close(stop)
		wait = max(wait, <-waited)
	}
	b.ReportMetric(float64(changed)/float64(b.N), "images-changed/op")
	b.ReportMetric(matched.Seconds()/float64(b.N), "s-match/op")
	b.ReportMetric(took.Seconds()/float64(b.N), "s-delta/op")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s-delta/op")
	b.ReportMetric(float64(wait.Milliseconds()), "ms-push")
}

// longestWrite writes something small again and again, as pushes do, and returns
// how long that took at most.
func longestWrite(w *world, stop <-chan struct{}) (most time.Duration) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return most
		case <-tick.C:
		}
		start := time.Now()
		if err := w.db.Update(context.Background(), func(tx *meta.Tx) error { return tx.Append(ecr.Event{At: w.time(), Type: ecr.ImagePushed}) }); err != nil {
			w.tb.Error(err)
			return most
		}
		most = max(most, time.Since(start))
	}
}

// benchmarkFind: which images have a vulnerability of one package of the
// operating system, a first page of several sizes and all pages.
func benchmarkFind(b *testing.B, w *world, f *fleet) {
	ctx := context.Background()
	f.put(b, w, f.os[10:13], "CVE-ONE-")
	settleChanges(b, w)
	q := registry.VulnerableQuery{Vulnerability: "CVE-ONE-0"}
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("first%d", size), func(b *testing.B) {
			for b.Loop() {
				list, _, err := w.FindVulnerableImages(ctx, root, account, q, ecr.Page{Limit: size})
				w.ok(err)
				if len(list) == 0 || len(list[0].Packages) == 0 {
					b.Fatal("no image has the vulnerability")
				}
				b.ReportMetric(float64(len(list)), "images")
			}
		})
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for p := (ecr.Page{Limit: 1000}); ; {
				list, next, err := w.FindVulnerableImages(ctx, root, account, q, p)
				w.ok(err)
				n += len(list)
				if p.Token = next; next == "" {
					break
				}
			}
			b.ReportMetric(float64(n), "images")
		}
	})
}

// processTime is the processor time of this process so far.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
