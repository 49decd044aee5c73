package gc

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/blob/mem"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
	"github.com/ecruhq/ecru/registry"
)

// TestCollect: layers that no image needs are gone when their time has come,
// however many there are; the collector counts them, and ends.
func TestCollect(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	db, err := meta.Open(t.Context(), meta.Options{URL: filepath.Join(t.TempDir(), "meta.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	limits := registry.DefaultLimits()
	limits.InlineBytes = 0
	reg := registry.New(db, new(mem.Store), registry.Config{Region: "us-east-1", Scheme: "http", Host: func(string) string { return "registry.test" },
		Limits: limits, Times: registry.DefaultTimes(), Now: func() time.Time { return now }})
	const account = "123456789012"
	root := ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::" + account + ":root", Account: account, Root: true}}
	app := ecr.RepositoryID{Account: account, Name: "app"}
	if _, err := reg.CreateRepository(t.Context(), root, app, ecr.Repository{}); err != nil {
		t.Fatal(err)
	}
	const layers = batch + 7
	var digests []string
	for i := range layers {
		data := fmt.Sprint("layer ", i)
		l, err := reg.UploadLayer(t.Context(), root, app, strings.NewReader(data), int64(len(data)), string(oci.Of("sha256", []byte(data))))
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, l.Digest)
	}
	metrics := prometheus.NewRegistry()
	c := New(reg, time.Minute, time.Minute, time.Hour, slog.New(slog.DiscardHandler), metrics)
	removed := func(kind string) (n float64) {
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				if f.GetName() == "ecru_gc_removed_total" && m.Label[0].GetValue() == kind {
					n += m.Counter.GetValue()
				}
			}
		}
		return n
	}
	if err := c.Collect(t.Context()); err != nil || removed("link") != 0 {
		t.Errorf("at once: %v, %v links removed", err, removed("link"))
	}
	now = now.Add(registry.DefaultTimes().Grace + time.Hour)
	if err := c.Collect(t.Context()); err != nil || removed("link") != layers || removed("object") != 0 {
		t.Errorf("after the grace time: %v, %v links, %v objects removed", err, removed("link"), removed("object"))
	}
	now = now.Add(registry.DefaultTimes().Trash + time.Hour)
	if err := c.Collect(t.Context()); err != nil || removed("object") != layers {
		t.Errorf("after the trash delay: %v, %v objects removed", err, removed("object"))
	}
	if _, err := reg.StatLayer(t.Context(), root, app, digests[0]); err == nil {
		t.Error("a collected layer is still there")
	}

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { c.Run(ctx); close(ended) }()
	stop()
	<-ended
}
