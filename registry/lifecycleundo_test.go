package registry_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

// restore restores images and returns how it went.
func (w *world) restore(id ecr.RepositoryID, digests ...string) ([]registry.Restored, []ecr.ImageFailure) {
	w.tb.Helper()
	restored, failures, err := w.RestoreExpiredImages(w.tb.Context(), root, id, digests)
	w.ok(err)
	return restored, failures
}

func (w *world) expired(id ecr.RepositoryID) (digests []string) {
	w.tb.Helper()
	list, _, err := w.ListExpiredImages(w.tb.Context(), root, id, ecr.Page{})
	w.ok(err)
	for _, e := range list {
		digests = append(digests, e.Digest)
	}
	return digests
}

func TestUndo(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	pushedAt := w.time()
	old := w.image(app, "v1", "a", "shared")
	_, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: old.Payload, Tag: "stable"})
	w.ok(err)
	_, err = w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: "v1"}, false)
	w.ok(err)
	sig := w.signature(app, "", old)
	w.pass(5 * day)
	w.image(app, "v2", "b", "shared")
	w.put(app, rules(keep(1, anyTag)))
	w.run(app)
	w.wantTags(app, "v2")
	list, _, err := w.ListExpiredImages(t.Context(), root, app, ecr.Page{})
	if err != nil || len(list) != 2 {
		t.Fatalf("expired: %+v, %v", list, err)
	}
	for _, e := range list {
		if e.Rule != 1 || e.Reason == "" || !e.ExpiredAt.Equal(w.time()) || !e.UndoUntil.Equal(w.time().Add(7*day)) {
			t.Errorf("%+v", e)
		}
	}
	page, next, err := w.ListExpiredImages(t.Context(), root, app, ecr.Page{Limit: 1})
	if err != nil || len(page) != 1 || next == "" {
		t.Errorf("a page: %+v, %q, %v", page, next, err)
	}

	// Days later the layers are there.
	w.pass(3 * day)
	w.ok(collect(w.Registry))
	w.ok(collect(w.Registry))
	w.sound()
	w.image(app, "stable", "c") // a tag that it had
	restored, failures := w.restore(app, old.Digest, "sha256:"+strings.Repeat("0", 64))
	if len(failures) != 1 || failures[0].Code != "ImageNotFound" {
		t.Errorf("what is not there: %+v", failures)
	}
	if len(restored) != 2 || restored[0].Digest != old.Digest || !slices.Equal(restored[0].Tags, []string{"v1"}) || !slices.Equal(restored[0].Taken, []string{"stable"}) || restored[1].Digest != sig.Digest {
		t.Errorf("restored: %+v", restored)
	}
	w.wantTags(app, "v1", "v2", "stable", sig.Digest)
	images, _, err := w.DescribeImages(t.Context(), root, app, []ecr.ImageID{{Tag: "v1"}}, ecr.ImageFilter{}, ecr.Page{})
	if err != nil || !images[0].PushedAt.Equal(pushedAt) || !images[0].LastPulledAt.Equal(pushedAt) || images[0].Digest != old.Digest {
		t.Errorf("%+v, %v", images, err)
	}
	for _, l := range []string{"a", "shared"} {
		if data, err := w.read(app, sum([]byte(l))); data != l || err != nil {
			t.Errorf("layer %q: %q, %v", l, data, err)
		}
	}
	p, err := w.GetLifecyclePolicy(t.Context(), root, app)
	if err != nil || p.DueAt.Before(w.time().Add(day)) {
		t.Errorf("the policy is due at %v already, %v", p.DueAt, err)
	}
	if left := w.expired(app); len(left) != 0 {
		t.Errorf("still expired: %v", left)
	}
	_, failures = w.restore(app, old.Digest)
	if len(failures) != 1 || failures[0].Code != "ImageAlreadyExists" {
		t.Errorf("restored twice: %+v", failures)
	}
	w.sound()
}

// Without undo, and after its time, the bytes are freed.
func TestUndoEnds(t *testing.T) {
	for _, window := range []time.Duration{0, 7 * day} {
		w := newWorld(t, func(c *registry.Config) {
			c.Lifecycle = registry.DefaultLifecycle()
			c.Lifecycle.Undo = window
		})
		w.create("team/app")
		old := w.image(app, "v1", "a")
		w.pass(day)
		w.image(app, "v2", "b")
		w.put(app, rules(keep(1, anyTag)))
		w.run(app)
		w.run(app)
		if n := len(w.expired(app)); n != min(1, int(window)) {
			t.Errorf("window %v: %d can be restored", window, n)
		}
		w.pass(window + time.Minute)
		if n := len(w.expired(app)); n != 0 {
			t.Errorf("window %v is over: %d can be restored", window, n)
		}
		if _, failures := w.restore(app, old.Digest); len(failures) != 1 || failures[0].Code != "ImageNotFound" {
			t.Errorf("window %v is over: %+v", window, failures)
		}
		if n, err := w.ForgetExpired(t.Context(), 10); err != nil || n != min(1, int(window)) {
			t.Errorf("window %v: %d forgotten, %v", window, n, err)
		}
		w.sound()
		for range 3 {
			w.pass(2 * day)
			w.ok(collect(w.Registry))
		}
		if n := w.objects(); n != 1 {
			t.Errorf("window %v: %d objects are left", window, n)
		}
		w.sound()
	}
}

// An image that comes back by a push, and expires again; a repository that is
// deleted with what can be restored.
func TestExpiredAgain(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.put(app, rules(keep(1, anyTag)))
	for _, name := range []string{"a", "b", "a", "b"} {
		w.image(app, name, name)
		w.pass(time.Hour)
		w.run(app)
		w.sound()
	}
	if got := w.expired(app); !slices.Equal(got, []string{sum(manifest("", "a"))}) { // b is there
		t.Errorf("can be restored: %v", got)
	}
	restored, failures := w.restore(app, sum(manifest("", "b")), sum(manifest("", "a")))
	if len(failures) != 1 || failures[0].Code != "ImageAlreadyExists" || len(restored) != 1 {
		t.Errorf("%+v, %+v", restored, failures)
	}
	w.run(app)
	_, err := w.DeleteRepository(t.Context(), root, app, true)
	w.ok(err)
	w.sound()
	w.pass(day)
	w.ok(collect(w.Registry))
	if n := w.objects(); n != 0 {
		t.Errorf("%d objects are left of a repository that is gone", n)
	}
}

// An archived index lets its children go, and has them back after an undo.
func TestUndoOfChildren(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	child := w.image(app, "", "a")
	index := w.index(app, "multi", child)
	_, err := w.UpdateImageStorageClass(t.Context(), root, app, ecr.ImageID{Tag: "multi"}, true)
	w.ok(err)
	w.pass(3 * day)
	w.put(app, rules(older(1, untagged)))
	if run := w.run(app); run.Expired != 1 {
		t.Errorf("%+v", run)
	}
	w.wantTags(app, "multi")
	if _, failures := w.restore(app, child.Digest); failures != nil {
		t.Errorf("%+v", failures)
	}
	err = w.DeleteManifest(t.Context(), root, app, ecr.ImageID{Digest: child.Digest})
	if err == nil || !strings.Contains(err.Error(), index.Digest) {
		t.Errorf("the index does not hold its child: %v", err)
	}
	w.sound()
}

// Guards hold images back in preview and run, and the audit trail tells.
func TestGuardsHoldBack(t *testing.T) {
	w := newWorld(t, func(c *registry.Config) {
		c.Lifecycle = registry.DefaultLifecycle()
		c.Lifecycle.GuardPulledWithin = 2 * day
	})
	w.create("team/app")
	w.image(app, "v1", "a")
	used := w.image(app, "v2", "b")
	w.image(app, "v3", "c")
	w.pass(10 * day)
	w.image(app, "v4", "d")
	_, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: "v1"}, false)
	w.ok(err)
	_, _, err = w.PutImagesInUse(t.Context(), root, registry.InUseReport{Source: "cluster", TTL: day, Images: []ecr.ImageReference{{Repository: app.Name, Digest: used.Digest}}})
	w.ok(err)
	w.put(app, rules(keep(1, anyTag)))
	p, results := w.preview(app, "")
	if p.Expiring != 1 || p.Withheld != 2 || len(results) != 1 || !slices.Equal(results[0].Tags, []string{"v3"}) {
		t.Errorf("preview: %+v, %+v", p, results)
	}
	_, held, _, err := w.GetLifecyclePolicyPreview(t.Context(), root, app, ecr.PreviewFilter{Withheld: true, Explain: true}, ecr.Page{})
	if err != nil || len(held) != 2 || !strings.Contains(held[0].Withheld, "pulled") || !strings.Contains(held[1].Withheld, "in use: reported by cluster") {
		t.Errorf("withheld: %+v, %v", held, err)
	}
	if run := w.run(app); run.Expired != 1 || run.Withheld != 2 || run.Guarded != 2 {
		t.Errorf("run: %+v", run)
	}
	w.wantTags(app, "v1", "v2", "v4")
	w.pass(3 * day) // the pull is long ago, and the report over
	if run := w.run(app); run.Expired != 2 || run.Guarded != 0 {
		t.Errorf("run without guards: %+v", run)
	}
	names, failures := map[string]int{}, 0
	w.ok(w.db.View(t.Context(), func(tx *meta.Tx) error {
		list, err := tx.Unsealed(100)
		for _, u := range list {
			var r ecr.TrailRecord
			w.ok(json.Unmarshal(u.Record, &r))
			if r.EventType != "AwsServiceEvent" || r.UserIdentity.InvokedBy != "AWS Internal" || r.EventID == "" || r.RecipientAccountID != account || len(r.Resources) != 1 {
				t.Errorf("%s", u.Record)
			}
			var d struct {
				Failures []struct{ FailureCode, FailureReason string } `json:"lifecycleEventFailureDetails"`
			}
			w.ok(json.Unmarshal(r.ServiceEventDetails, &d))
			names[r.EventName]++
			for _, f := range d.Failures {
				failures++
				if f.FailureCode != "ImageGuarded" || f.FailureReason == "" {
					t.Errorf("%+v", f)
				}
			}
		}
		return err
	}))
	if names["PolicyExecutionEvent"] != 3 || names["DryRunEvent"] != 1 || failures != 2 {
		t.Errorf("audit trail: %v with %d failures", names, failures)
	}
	w.sound()
}

// A run's records have ten images each, and the policy that acted.
func TestTrailOfARun(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.layer(app, "x")
	for i := range 25 {
		_, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: manifest(`,"annotations":{"n":"`+strings.Repeat("i", i)+`"}`, "x"), Tag: "v" + strings.Repeat("i", i)})
		w.ok(err)
	}
	w.pass(time.Hour)
	w.image(app, "last", "y")
	w.put(app, rules(keep(1, anyTag)))
	w.run(app)
	var sizes []int
	w.ok(w.db.View(t.Context(), func(tx *meta.Tx) error {
		list, err := tx.Unsealed(100)
		for _, u := range list {
			var r ecr.TrailRecord
			w.ok(json.Unmarshal(u.Record, &r))
			var d map[string]json.RawMessage
			w.ok(json.Unmarshal(r.ServiceEventDetails, &d))
			var actions []struct {
				Image struct {
					TagStatus string   `json:"tagStatus"`
					Tags      []string `json:"tagList"`
					PushedAt  int64    `json:"pushedAt"`
				} `json:"lifecycleEventImage"`
				Rule int `json:"rulePriority"`
			}
			w.ok(json.Unmarshal(d["lifecycleEventImageActions"], &actions))
			for _, a := range actions {
				if a.Image.TagStatus != "Tagged" || len(a.Image.Tags) != 1 || a.Image.PushedAt == 0 || a.Rule != 1 {
					t.Errorf("%+v", a)
				}
			}
			if s := string(d["lifecycleEventPolicy"]); !strings.Contains(s, `"countType":"Image count more than"`) || !strings.Contains(s, `"lastEvaluatedAt":0`) || !strings.Contains(s, `"policyVersion":1`) {
				t.Error(s)
			}
			sizes = append(sizes, len(actions))
		}
		return err
	}))
	if !slices.Equal(sizes, []int{10, 10, 5}) {
		t.Errorf("records of %v images", sizes)
	}
}
