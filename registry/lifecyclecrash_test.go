package registry_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

// crashPolicy deletes by count and by age, archives, and leaves what an index
// holds.
func crashPolicy() string {
	return rules(keep(3, prefix("prod-")), older(3, prefix("dev-"))+" => archive", older(3, prefix("multi-")), older(3, untagged))
}

// fillForCrashes pushes enough that a run has several transactions.
func fillForCrashes(w *world) {
	w.create("team/app")
	w.layer(app, "x")
	push := func(n int, tag, more string) *ecr.Manifest {
		m, err := w.PutImage(context.Background(), root, app, registry.PutImageInput{Tag: tag, Manifest: manifest(fmt.Sprintf(`,"annotations":{"n":"%d"}`, n)+more, "x")})
		w.ok(err)
		return m
	}
	for i := range 420 {
		switch i % 6 {
		case 0:
			m := push(i, fmt.Sprintf("prod-%d", i), "")
			push(1000+i, "", `,"subject":`+descriptor(m.Digest, len(m.Payload)))
		case 1:
			push(i, fmt.Sprintf("dev-%d", i), "")
		case 2:
			w.index(app, fmt.Sprintf("multi-%d", i), push(i, "", ""), push(2000+i, fmt.Sprintf("dev-child-%d", i), ""))
		default:
			push(i, "", "")
		}
		w.pass(20 * time.Minute)
	}
	w.pass(4 * day)
}

// lifecycleState is what a repository has, and what can be restored.
func lifecycleState(w *world) []string {
	out := map[string]bool{}
	for page, next := true, ""; page || next != ""; page = false {
		images, more, err := w.DescribeImages(context.Background(), root, app, nil, ecr.ImageFilter{Status: "ANY"}, ecr.Page{Limit: 1000, Token: next})
		w.ok(err)
		for _, i := range images {
			out[fmt.Sprint(i.Digest, i.Status, i.Tags)] = true
		}
		next = more
	}
	for page, next := true, ""; page || next != ""; page = false {
		gone, more, err := w.ListExpiredImages(context.Background(), root, app, ecr.Page{Limit: 1000, Token: next})
		w.ok(err)
		for _, i := range gone {
			out[fmt.Sprint("expired ", i.Digest, i.Tags)] = true
		}
		next = more
	}
	return slices.Sorted(maps.Keys(out))
}

// settle runs the policy until it has nothing more to do.
func settle(w *world) {
	for run := w.run(app); run.Expired+run.Archived > 0; run = w.run(app) {
	}
}

// TestLifecycleCrashMatrix has the process die at every commit of a run and of
// a preview, before it took effect or after. The runs of the next process end
// where they would have ended without.
func TestLifecycleCrashMatrix(t *testing.T) {
	w := newWorld(t, upTo(1<<20))
	fillForCrashes(w)
	w.put(app, crashPolicy())
	w.ok(w.db.Close())
	image, err := os.ReadFile(filepath.Join(w.dir, "meta.db"))
	w.ok(err)
	start := w.time()
	fresh := func(t *testing.T, fault func(string) error) *world {
		c := &world{tb: t, dir: t.TempDir(), blobs: w.blobs, cfg: w.cfg, now: start}
		c.cfg.Now = c.time
		c.ok(os.WriteFile(filepath.Join(c.dir, "meta.db"), image, 0o600))
		c.openDB(fault)
		t.Cleanup(func() { c.db.Close() })
		return c
	}
	whole := fresh(t, nil)
	_, results := whole.preview(app, "")
	settle(whole)
	want := lifecycleState(whole)
	whole.sound()
	step := 1
	if testing.Short() { // under the race detector
		step = 5
	}
	for _, after := range []bool{false, true} {
		for n := 1; ; n += step {
			done := false
			t.Run(fmt.Sprintf("commit=%d,after=%t", n, after), func(t *testing.T) {
				left := n
				c := fresh(t, func(point string) error {
					if point == "before" {
						left--
					}
					if left < 0 || left == 0 && (point == "after" || !after) {
						return errFault
					}
					return nil
				})
				history := func() error {
					if _, err := c.StartLifecyclePolicyPreview(t.Context(), root, app, ""); err != nil {
						return err
					}
					if _, err := c.RunPreview(t.Context()); err != nil {
						return err
					}
					if _, err := c.ExpireImages(t.Context(), app); err != nil {
						return err
					}
					_, err := c.ExpireImages(t.Context(), app)
					return err
				}
				done = history() == nil
				c.restart()
				_, err := c.RunPreview(t.Context())
				c.ok(err)
				if p, got, _, err := c.GetLifecyclePolicyPreview(t.Context(), root, app, ecr.PreviewFilter{}, ecr.Page{}); err == nil && (p.Status != ecr.PreviewComplete || len(got) != min(100, len(results)) || p.Expiring+p.Transitioning != int64(len(results))) {
					t.Errorf("the preview after the crash: %+v, %d results", p, len(got))
				}
				c.sound()
				settle(c)
				if got := lifecycleState(c); !slices.Equal(got, want) {
					t.Errorf("after the crash there are %d, without %d", len(got), len(want))
				}
				c.sound()
			})
			if done {
				if n < 10 {
					t.Errorf("the history has only %d commits", n)
				}
				break
			}
		}
	}
}
