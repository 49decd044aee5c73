package expiry_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/blob/mem"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/expiry"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
	"github.com/ecruhq/ecru/registry"
)

const account = "123456789012"

var root = ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::" + account + ":root", Account: account, Root: true}}

type world struct {
	*registry.Registry
	*expiry.Worker
	t       *testing.T
	metrics *prometheus.Registry

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T, poll time.Duration) *world {
	db, err := meta.Open(t.Context(), meta.Options{URL: filepath.Join(t.TempDir(), "meta.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), metrics: prometheus.NewRegistry()}
	w.Registry = registry.New(db, new(mem.Store), registry.Config{Region: "us-east-1", Host: func(string) string { return "registry.test" },
		Limits: registry.DefaultLimits(), Times: registry.DefaultTimes(), LinkKey: make([]byte, 32), Now: w.time})
	w.Worker = expiry.New(w.Registry, poll, slog.New(slog.DiscardHandler), w.metrics)
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

const policy = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`

// repository makes a repository with three images, an hour apart, and a policy
// that keeps one.
func (w *world) repository(name string) ecr.RepositoryID {
	w.t.Helper()
	ctx := context.Background()
	id := ecr.RepositoryID{Account: account, Name: name}
	_, err := w.CreateRepository(ctx, root, id, ecr.Repository{LifecyclePolicy: policy})
	w.ok(err)
	layer := string(oci.Of("sha256", []byte("x")))
	_, err = w.UploadLayer(ctx, root, id, strings.NewReader("x"), 1, layer)
	w.ok(err)
	for i := range 3 {
		_, err := w.PutImage(ctx, root, id, registry.PutImageInput{Tag: fmt.Sprintf("v%d", i), Manifest: fmt.Appendf(nil,
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":%q,"size":1},"layers":[],"annotations":{"n":"%d"}}`, layer, i)})
		w.ok(err)
		w.pass(time.Minute)
	}
	return id
}

func (w *world) images(id ecr.RepositoryID) int {
	w.t.Helper()
	repos, _, err := w.DescribeRepositories(context.Background(), root, account, []string{id.Name}, ecr.Page{})
	w.ok(err)
	return int(repos[0].ImageCount)
}

// Every repository is seen to within a day after its policy was put, and once
// a day from then on; what expired is forgotten a week later.
func TestWithinADay(t *testing.T) {
	w := newWorld(t, time.Hour)
	var ids []ecr.RepositoryID
	for i := range 150 { // more than a batch
		ids = append(ids, w.repository(fmt.Sprintf("repo/n%d", i)))
	}
	w.pass(24 * time.Hour)
	w.Work(t.Context())
	for _, id := range ids {
		if n := w.images(id); n != 1 {
			t.Errorf("%s has %d images", id.Name, n)
		}
		p, err := w.GetLifecyclePolicy(t.Context(), root, id)
		if err != nil || p.EvaluatedAt.IsZero() || !p.DueAt.After(w.time()) || p.DueAt.After(w.time().Add(24*time.Hour)) {
			t.Errorf("%s: %+v, %v", id.Name, p, err)
		}
	}
	w.pass(7 * 24 * time.Hour)
	w.Work(t.Context())
	got := map[string]float64{}
	families, err := w.metrics.Gather()
	w.ok(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "ecru_lifecycle_images_total" {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := (map[string]float64{"expired": 300, "archived": 0, "withheld": 0, "guarded": 0, "forgotten": 300}); !maps.Equal(got, want) {
		t.Errorf("metrics: %v, want %v", got, want)
	}
}

// Who asks for a run or a preview does not wait for the next look.
func TestAtOnce(t *testing.T) {
	w := newWorld(t, time.Hour)
	id := w.repository("team/app")
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	defer wg.Wait()
	defer stop()
	await := func(what string, done func() bool) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		limit := time.After(30 * time.Second)
		for !done() {
			select {
			case <-tick.C:
			case <-limit:
				t.Fatal(what)
			}
		}
	}
	_, err := w.StartLifecyclePolicyPreview(ctx, root, id, "")
	w.ok(err)
	await("no preview", func() bool {
		p, _, _, err := w.GetLifecyclePolicyPreview(ctx, root, id, ecr.PreviewFilter{}, ecr.Page{})
		w.ok(err)
		return p.Status == ecr.PreviewComplete && p.Expiring == 2
	})
	_, err = w.RunLifecyclePolicy(ctx, root, id)
	w.ok(err)
	await("no run", func() bool { return w.images(id) == 1 })
}
