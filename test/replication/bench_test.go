package replication

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/test/harness"
)

// BenchmarkLargeLayer compares the replication of a layer of 1 GiB with a bare
// upload of as many bytes to the same server: ratio is of their rates.
func BenchmarkLargeLayer(b *testing.B) {
	const size = 1 << 30
	w := newWorld(b, nil, virginia, ireland)
	w.direct(virginia, ireland) // no line in between: it would be measured
	w.create(virginia, "large")
	w.create(ireland, "bare")
	w.configure(virginia, map[string][]string{"large": {ireland}})
	c, there := w.registry(virginia), w.registry(ireland)
	payload := bytes.Repeat(content(1<<20), size>>20)
	var copied, bare time.Duration
	for n := 0; b.Loop(); n++ {
		copy(payload, content(64))
		start := time.Now()
		loc, err := there.StartUpload(b.Context(), "bare")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := there.FinishUpload(b.Context(), loc, payload, harness.Digest(payload)); err != nil {
			b.Fatal(err)
		}
		bare += time.Since(start)
		copy(payload, content(64))
		if _, err := c.PushImage(b.Context(), "large", fmt.Sprint("v", n), content(100), payload); err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		w.replicated(virginia, "large", tag(fmt.Sprint("v", n)))
		copied += time.Since(start)
	}
	b.SetBytes(size)
	b.ReportMetric(float64(size)*float64(b.N)/copied.Seconds()/1e6, "replicated-MB/s")
	b.ReportMetric(float64(size)*float64(b.N)/bare.Seconds()/1e6, "bare-MB/s")
	b.ReportMetric(bare.Seconds()/copied.Seconds(), "ratio")
}

// BenchmarkLag pushes 20 small images a second and reports how long each takes
// until the other region serves its tag.
func BenchmarkLag(b *testing.B) {
	w := newWorld(b, nil, virginia, ireland)
	w.create(virginia, "small")
	w.configure(virginia, map[string][]string{"": {ireland}})
	c, there := w.registry(virginia), w.registry(ireland)
	var mu sync.Mutex
	var lags []time.Duration
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / 20)
	defer tick.Stop()
	base := content(100 << 10)
	for n := 0; b.Loop(); n++ {
		<-tick.C
		ref := fmt.Sprint("v", n)
		if _, err := c.PushImage(b.Context(), "small", ref, content(300), base, content(2000)); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		wg.Go(func() {
			lag := arrival(b.Context(), there, "small", ref, start)
			mu.Lock()
			defer mu.Unlock()
			lags = append(lags, lag)
		})
	}
	wg.Wait()
	slices.Sort(lags)
	b.ReportMetric(float64(lags[len(lags)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(lags[len(lags)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(lags[len(lags)-1].Milliseconds()), "max-ms")
}

// arrival waits until a tag is served and returns how long that took.
func arrival(ctx context.Context, c *harness.Client, repo, ref string, since time.Time) time.Duration {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < limit {
		if _, err := c.Want(ctx, http.StatusOK, "HEAD", "/v2/"+repo+"/manifests/"+ref, nil); err == nil {
			return time.Since(since)
		}
		<-tick.C
	}
	return limit
}
