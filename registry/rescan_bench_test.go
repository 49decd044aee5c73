package registry_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/vuln"
)

// Of the synthetic images of BenchmarkDelta: each has the packages of one of some
// bases, in the base's layer, and some packages of its own.
const (
	imagesOnBase = 500
	basePackages = 250
	ownPackages  = 30
	versions     = 3 // of a package
)

// fleet fills a world with scanned images, by records alone.
func fleet(b *testing.B, w *world, n int) (pvs []int64) {
	b.Helper()
	ctx := context.Background()
	w.create("fleet")
	var repo *ecr.Repository
	w.ok(w.db.View(ctx, func(tx *meta.Tx) (err error) {
		repo, err = tx.Repository(in("fleet"))
		return err
	}))
	var ids []vuln.Identity
	for i := range basePackages * versions * 4 {
		ids = append(ids, vuln.Identity{Key: vuln.Key{Ecosystem: "Debian:12", Name: fmt.Sprintf("p%d", i/versions)}, Version: fmt.Sprintf("1.%d", i%versions)})
	}
	for i := range max(2000, n/3) {
		ids = append(ids, vuln.Identity{Key: vuln.Key{Ecosystem: "npm", Name: fmt.Sprintf("n%d", i)}, Version: "1.0.0"})
	}
	for start := 0; start < len(ids); start += 500 {
		w.ok(w.db.Update(ctx, func(tx *meta.Tx) error {
			part, err := tx.EnsurePVs(ids[start:min(start+500, len(ids))])
			pvs = append(pvs, part...)
			return err
		}))
	}
	put(b, w, pvs, "CVE-2026-0", 5)
	bases := basePackages * versions * 4
	for start := 0; start < n; start += 250 {
		w.ok(w.db.Update(ctx, func(tx *meta.Tx) error {
			for i := start; i < min(start+250, n); i++ {
				img := &ecr.Image{Digest: fmt.Sprintf("sha256:%064x", i), MediaType: manifestType, ArtifactType: "application/vnd.oci.image.config.v1+json", PushedAt: w.time(), Status: ecr.ImageActive}
				if err := tx.InsertImage(repo.Row, img, []byte("{}"), nil, nil); err != nil {
					return err
				}
				base := i / imagesOnBase
				layers, err := tx.EnsureLayers([]string{fmt.Sprintf("base%d", base), fmt.Sprintf("own%d", i)})
				if err != nil {
					return err
				}
				var os, own []int64
				for p := range basePackages {
					os = append(os, pvs[(p*versions*4+base%(versions*4))%bases])
				}
				for p := range ownPackages {
					own = append(own, pvs[bases+(i*7+p*131)%(len(pvs)-bases)])
				}
				sort(os)
				own = sort(own)
				if err := tx.LinkLayers(img.Row, []int64{layers[0].ID, layers[1].ID}); err != nil {
					return err
				}
				if i%imagesOnBase == 0 {
					if err := tx.PutLayerPackages(layers[0].ID, os); err != nil {
						return err
					}
				}
				if err := tx.PutLayerPackages(layers[1].ID, own); err != nil {
					return err
				}
				if err := tx.PutImageInventory(meta.ImageInventory{Image: img.Row, OS: os, Other: own, Chain: int64(i), Body: []byte{}}); err != nil {
					return err
				}
				if err := tx.PutScan(ecr.Scan{Image: img.Row, Type: ecr.ScanEnhanced, Status: ecr.ScanActive, CompletedAt: w.time()}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return pvs
}

func sort(keys []int64) []int64 {
	seen := map[int64]bool{}
	out := keys[:0]
	for _, k := range keys {
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	for i := 1; i < len(out); i++ {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// put has every step-th package version be found to have a vulnerability.
func put(b *testing.B, w *world, pvs []int64, name string, step int) {
	b.Helper()
	ctx := context.Background()
	var list []meta.Matched
	for i := 0; i < len(pvs); i += step {
		list = append(list, meta.Matched{PV: pvs[i], Matches: []vuln.Match{
			{Vulnerability: "CVE-2026-0", Fix: vuln.FixNo, Rating: vuln.Rating{Severity: vuln.High}},
			{Vulnerability: name + "x", Fix: vuln.FixNo, Rating: vuln.Rating{Severity: vuln.Low}},
		}})
	}
	for start := 0; start < len(list); start += 500 {
		w.ok(w.db.Update(ctx, func(tx *meta.Tx) error {
			generation, err := tx.Generation()
			if err != nil {
				return err
			}
			_, err = tx.PutMatches(generation, list[start:min(start+500, len(list))], w.time())
			return err
		}))
	}
}

// BenchmarkDelta: what 1,000 advisories have changed of package versions, until
// the counts of all images are right again; and the images of one vulnerability.
func BenchmarkDelta(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			pvs := fleet(b, w, n)
			put(b, w, pvs[:versions], "CVE-ONE", 1)
			put(b, w, pvs[2000:3000], "CVE-OTHER", 1)
			w.ok(w.db.Update(context.Background(), func(tx *meta.Tx) error { _, err := tx.TakeChangedPVs(100_000); return err }))
			ctx := context.Background()
			changed, took, cpu, find := 0, time.Duration(0), time.Duration(0), time.Duration(0)
			for i := range b.N {
				b.StopTimer()
				// A thousand package versions: half of the base images', half of the rest.
				some := append(append([]int64{}, pvs[2000:2500]...), pvs[len(pvs)-500:]...)
				put(b, w, some, fmt.Sprintf("CVE-2027-%d", i), 1)
				b.StartTimer()
				start, used := time.Now(), processTime(b)
				_, err := w.TakeChanges(ctx)
				w.ok(err)
				var jobs []meta.Job
				w.ok(w.db.Update(ctx, func(tx *meta.Tx) error {
					jobs, err = tx.ClaimJobs(registry.ScanQueue, "bench", w.time(), w.time().Add(time.Hour), 100)
					return err
				}))
				for _, j := range jobs {
					c, err := w.Changed(ctx, j.Payload)
					w.ok(err)
					changed += c
				}
				took += time.Since(start)
				cpu += processTime(b) - used
				start = time.Now()
				images := w.imagesWith(b, "CVE-ONEx")
				find += time.Since(start)
				if images == 0 {
					b.Fatal("no image has the vulnerability")
				}
			}
			b.ReportMetric(float64(changed)/float64(b.N), "images-changed/op")
			b.ReportMetric(took.Seconds()/float64(b.N), "s-delta/op")
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s-delta/op")
			b.ReportMetric(float64(find.Milliseconds())/float64(b.N), "ms-find/op")
		})
	}
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

// imagesWith counts the images that have a vulnerability.
func (w *world) imagesWith(b *testing.B, vulnerability string) (n int) {
	b.Helper()
	w.ok(w.db.View(context.Background(), func(tx *meta.Tx) error {
		n = 0
		var pvs []int64
		found, err := tx.PVsWith(vulnerability, 0, 100_000)
		if err != nil {
			return err
		}
		for _, p := range found {
			pvs = append(pvs, p.ID)
		}
		layers, err := tx.LayersWith(pvs)
		if err != nil {
			return err
		}
		images, err := tx.ImagesWithLayers(layers)
		n = len(images)
		return err
	}))
	return n
}
