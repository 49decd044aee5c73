package registry_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

// collect runs every step of garbage collection once.
func collect(r *registry.Registry) error {
	ctx := context.Background()
	_, uploads := r.ExpireUploads(ctx, 1000)
	_, _, links := r.ReviewLinks(ctx, 1000)
	_, orphans := r.SweepOrphans(ctx)
	_, trash := r.SweepTrash(ctx, 1000)
	return errors.Join(uploads, links, orphans, trash)
}

// objects returns how many objects the store has.
func (w *world) objects() (n int) {
	w.tb.Helper()
	for _, err := range w.blobs.Keys(context.Background()) {
		w.ok(err)
		n++
	}
	return n
}

func TestGarbage(t *testing.T) {
	w := newWorld(t)
	w.create("team/app", "other")
	m := w.image(app, "v1", "used", "shared")
	w.image(in("other"), "v1", "shared")
	unused := w.layer(app, "unused")
	w.layer(app, "shared") // again: a second object that loses
	u, err := w.InitiateUpload(t.Context(), root, app)
	w.ok(err)
	_, err = w.AppendUpload(t.Context(), root, app, u.ID, -1, strings.NewReader("half"), 4)
	w.ok(err)

	w.ok(collect(w.Registry))
	if _, err := w.StatLayer(t.Context(), root, app, unused); err != nil {
		t.Errorf("a layer within its grace time: %v", err)
	}
	w.pass(w.cfg.Times.Grace - time.Hour)
	if _, err := w.StatLayer(t.Context(), root, app, unused); err != nil { // renews the promise
		t.Error(err)
	}
	w.pass(2 * time.Hour)
	w.ok(collect(w.Registry))
	if _, err := w.StatLayer(t.Context(), root, app, unused); err != nil {
		t.Errorf("a layer that was asked for: %v", err)
	}
	_, err = w.UploadStatus(t.Context(), root, app, u.ID)
	w.wantCode("an upload after its deadline", err, ecr.UploadNotFound)
	w.pass(w.cfg.Times.Grace + time.Hour)
	w.ok(collect(w.Registry))
	_, err = w.StatLayer(t.Context(), root, app, unused)
	w.wantCode("a layer that nobody wants", err, ecr.LayersNotFound)

	w.ok(w.DeleteManifest(t.Context(), root, app, ecr.ImageID{Digest: m.Digest}))
	w.pass(w.cfg.Times.Grace + time.Hour)
	w.ok(collect(w.Registry))
	_, err = w.StatLayer(t.Context(), root, app, sum([]byte("shared")))
	w.wantCode("a shared layer, where its image went", err, ecr.LayersNotFound)
	if data, err := w.read(in("other"), sum([]byte("shared"))); data != "shared" || err != nil {
		t.Errorf("a shared layer, where it is used: %q, %v", data, err)
	}
	w.pass(w.cfg.Times.Trash + time.Hour)
	w.ok(collect(w.Registry))
	if n := w.objects(); n != 1 {
		t.Errorf("%d objects are left, want the shared layer's", n)
	}
	w.sound()
}

// What a crash leaves between store and database is freed when it is old.
func TestOrphans(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.image(app, "v1", "layer")
	for _, end := range []func(blob.Writer) error{
		func(o blob.Writer) error { return o.Commit("sha256:x") },
		func(o blob.Writer) error { _, err := o.Suspend(true); return err },
	} {
		o, err := w.blobs.Create(t.Context(), blob.NewKey())
		w.ok(err)
		w.ok(end(o))
	}
	rep, err := w.Fsck(t.Context(), registry.FsckOptions{})
	if err != nil || rep.Orphans != 2 {
		t.Errorf("fsck saw %d orphans, %v", rep.Orphans, err)
	}
	w.now = time.Now() // the store's clock
	w.ok(collect(w.Registry))
	if n := w.objects(); n != 3 {
		t.Errorf("%d objects, want all while they are young", n)
	}
	w.pass(w.cfg.Times.Orphan + time.Minute)
	w.ok(collect(w.Registry))
	w.pass(time.Minute)
	w.ok(collect(w.Registry))
	if n := w.objects(); n != 1 {
		t.Errorf("%d objects, want the image's alone", n)
	}
	w.sound()
}

// Pushers that share layers, beside deletes and a collector in a hurry: what
// was acknowledged is readable, and in the end only what images need is left.
func TestCollectorBesidePushers(t *testing.T) {
	w := newWorld(t, func(c *registry.Config) {
		c.Times.Grace, c.Times.Trash, c.Times.Upload = 3*time.Second, time.Second, time.Hour
	})
	w.create("ra", "rb")
	stop := make(chan struct{})
	var collector, pushers sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			w.pass(100 * time.Millisecond)
			if err := collect(w.Registry); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var mu sync.Mutex
	kept := map[string][]string{} // repository@digest → layers
	for n := range 4 {
		pushers.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(n)))
			for range 150 {
				pushOne(w, rng, &mu, kept)
			}
		})
	}
	pushers.Wait()
	close(stop)
	collector.Wait()
	for at, layers := range kept {
		name, digest, _ := strings.Cut(at, "@")
		if _, err := w.GetManifest(t.Context(), root, in(name), ecr.ImageID{Digest: digest}, true); err != nil {
			t.Errorf("%s: %v", at, err)
		}
		for _, l := range layers {
			if data, err := w.read(in(name), sum([]byte(l))); data != l || err != nil {
				t.Errorf("layer %q of %s: %q, %v", l, at, data, err)
			}
		}
	}
	for range 3 {
		w.pass(time.Hour)
		w.ok(collect(w.Registry))
	}
	needed := map[string]bool{}
	for _, layers := range kept {
		for _, l := range layers {
			needed[l] = true
		}
	}
	if n := w.objects(); n != len(needed) {
		t.Errorf("%d objects are left, images need %d", n, len(needed))
	}
	w.sound()
}

// pushOne pushes an image of a few of the layers that all share, trying again
// where the collector was faster, or deletes one.
func pushOne(w *world, rng *rand.Rand, mu *sync.Mutex, kept map[string][]string) {
	repo := []string{"ra", "rb"}[rng.IntN(2)]
	layers := []string{fmt.Sprint("config-", rng.IntN(20)), fmt.Sprint("layer-", rng.IntN(8)), fmt.Sprint("other-", rng.IntN(8))}
	m := manifest("", layers...)
	at := repo + "@" + sum(m)
	mu.Lock()
	_, there := kept[at]
	delete(kept, at) // unknown while we are at it
	mu.Unlock()
	if there && rng.IntN(2) == 0 {
		err := w.DeleteManifest(context.Background(), root, in(repo), ecr.ImageID{Digest: sum(m)})
		var known *ecr.Error
		if err != nil && (!errors.As(err, &known) || known.Code != ecr.ImageNotFound) {
			w.tb.Error(err)
		}
		return
	}
	for {
		for _, l := range layers {
			if _, err := w.StatLayer(context.Background(), root, in(repo), sum([]byte(l))); err == nil {
				continue
			}
			if _, err := pushLayer(w.Registry, in(repo), l); err != nil {
				w.tb.Error(err)
				return
			}
		}
		_, err := w.PutImage(context.Background(), root, in(repo), registry.PutImageInput{Manifest: m})
		var known *ecr.Error
		switch {
		case errors.As(err, &known) && known.Code == ecr.LayersNotFound:
			continue
		case err != nil && (known == nil || known.Code != ecr.ImageAlreadyExists):
			w.tb.Error(err)
			return
		}
		break
	}
	// Another pusher may be deleting the same image: only what is there now counts.
	mu.Lock()
	defer mu.Unlock()
	if _, err := w.GetManifest(context.Background(), root, in(repo), ecr.ImageID{Digest: sum(m)}, true); err == nil {
		kept[at] = layers
	}
}

// A faulty store fails its nth operation, before or after it took effect, and
// every one after that, as a process that has died does.
type faulty struct {
	blob.Store
	mu    *sync.Mutex
	left  *int
	after bool
}

var errFault = errors.New("injected fault")

// step counts an operation; do is run unless the process is dead.
func (f faulty) step(do func() error) error {
	f.mu.Lock()
	*f.left--
	n := *f.left
	f.mu.Unlock()
	switch {
	case n > 0:
		return do()
	case n == 0 && f.after:
		_ = do()
	}
	return errFault
}

func (f faulty) Create(ctx context.Context, key blob.Key) (w blob.Writer, err error) {
	err = f.step(func() (err error) { w, err = f.Store.Create(ctx, key); return err })
	return faultyWriter{w, f}, err
}

func (f faulty) Resume(ctx context.Context, key blob.Key, state []byte) (w blob.Writer, err error) {
	err = f.step(func() (err error) { w, err = f.Store.Resume(ctx, key, state); return err })
	return faultyWriter{w, f}, err
}

func (f faulty) Delete(ctx context.Context, key blob.Key) error {
	return f.step(func() error { return f.Store.Delete(ctx, key) })
}

type faultyWriter struct {
	blob.Writer
	f faulty
}

func (w faultyWriter) Write(p []byte) (n int, err error) {
	err = w.f.step(func() (err error) { n, err = w.Writer.Write(p); return err })
	return n, err
}

func (w faultyWriter) Suspend(durable bool) (state []byte, err error) {
	err = w.f.step(func() (err error) { state, err = w.Writer.Suspend(durable); return err })
	return state, err
}

func (w faultyWriter) Commit(digest string) error {
	return w.f.step(func() error { return w.Writer.Commit(digest) })
}

func (w faultyWriter) Abort() error { return w.f.step(w.Writer.Abort) }

// TestCrashMatrix runs a history of pushes, moves, deletes and collections
// again and again, and has the process die at another operation of the stores
// each time: before it took effect, or after. What was acknowledged must be
// there on restart, and every invariant hold.
func TestCrashMatrix(t *testing.T) {
	step := 1
	if testing.Short() { // under the race detector
		step = 6
	}
	for _, inline := range []int64{0, 5, 1000} { // none, some, all
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("inline=%d,after=%t", inline, after), func(t *testing.T) {
				for n := 1; ; n += step {
					if done := crashAt(t, n, after, inline); done {
						if n < 30 {
							t.Errorf("the history has only %d operations", n)
						}
						return
					}
				}
			})
		}
	}
}

// crashAt reports whether the history ended before its nth operation.
func crashAt(t *testing.T, n int, after bool, inline int64) (done bool) {
	w := newWorld(t, upTo(inline))
	w.create("team/app", "to")
	w.ok(w.db.Close())
	left, mu := n, new(sync.Mutex)
	f := faulty{Store: w.blobs, mu: mu, left: &left, after: after}
	sound := w.blobs
	w.blobs = f
	w.openDB(func(point string) error {
		// A commit is one operation with two points.
		if point == "after" {
			mu.Lock()
			defer mu.Unlock()
			if left == 0 && after {
				return errFault
			}
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		left--
		if left < 0 || left == 0 && !after {
			return errFault
		}
		return nil
	})
	acked := history(w)
	mu.Lock()
	done = left > 0
	mu.Unlock()
	w.ok(w.db.Close())
	w.blobs = sound
	w.openDB(nil)
	for tag, layers := range acked {
		m, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: tag}, true)
		if err != nil {
			t.Errorf("operation %d: tag %s: %v", n, tag, err)
			continue
		}
		if want := sum(manifest("", layers...)); m.Digest != want {
			t.Errorf("operation %d: tag %s is on %s, want %s", n, tag, m.Digest, want)
		}
		for _, l := range layers {
			if data, err := w.read(app, sum([]byte(l))); data != l || err != nil {
				t.Errorf("operation %d: layer %q: %q, %v", n, l, data, err)
			}
		}
	}
	w.sound()
	w.now = time.Now().Add(100 * time.Hour)
	for range 3 {
		w.pass(100 * time.Hour)
		w.ok(collect(w.Registry))
	}
	w.sound()
	rep, err := w.Fsck(t.Context(), registry.FsckOptions{})
	w.ok(err)
	if rep.Orphans != 0 || int64(w.objects()) != rep.Blobs-rep.Inline {
		t.Errorf("operation %d: %d objects for %d blobs, %d of them inline, after everything was collected", n, w.objects(), rep.Blobs, rep.Inline)
	}
	if err := w.db.Close(); err != nil {
		t.Error(err)
	}
	return done
}

// history runs until its end or the first fault, and returns the layers of the
// image that each tag was acknowledged on last. A tag whose move or removal
// was under way is left out.
func history(w *world) (acked map[string][]string) {
	ctx := context.Background()
	acked = map[string][]string{}
	push := func(tag string, layers ...string) error {
		for _, l := range layers {
			if _, err := pushLayer(w.Registry, app, l); err != nil {
				return err
			}
		}
		delete(acked, tag)
		if _, err := w.PutImage(ctx, root, app, registry.PutImageInput{Manifest: manifest("", layers...), Tag: tag}); err != nil {
			return err
		}
		acked[tag] = layers
		return nil
	}
	chunked := func() error {
		u, err := w.InitiateUpload(ctx, root, app)
		if err != nil {
			return err
		}
		if _, err := w.AppendUpload(ctx, root, app, u.ID, 0, strings.NewReader("chunk"), 5); err != nil {
			return err
		}
		_, err = w.CompleteUpload(ctx, root, app, u.ID, 5, strings.NewReader("ed"), 2, sum([]byte("chunked")))
		return err
	}
	remove := func(tag string) error {
		layers := acked[tag]
		delete(acked, tag)
		return w.DeleteManifest(ctx, root, app, ecr.ImageID{Digest: sum(manifest("", layers...))})
	}
	later := func() error {
		w.pass(50 * time.Hour)
		return collect(w.Registry)
	}
	for _, step := range []func() error{
		func() error { return push("v1", "config", "base") },
		chunked,
		func() error { return push("v2", "config2", "base", "chunked") },
		func() error { return push("latest", "config", "base") },
		func() error { return push("latest", "config2", "base", "chunked") },
		func() error {
			_, err := w.MountLayer(ctx, root, in("to"), app, sum([]byte("base")))
			return err
		},
		func() error { return push("gone", "config3", "alone") },
		func() error { return remove("gone") },
		later, later,
		func() error { return push("v3", "config3", "alone") }, // the same bytes come back
		later,
	} {
		if step() != nil {
			return acked
		}
	}
	return acked
}

func TestFsckRepairs(t *testing.T) {
	for name, inline := range inlines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inline).onDisk()
			w.create("team/app")
			w.image(app, "v1", "config", "layer")
			w.layer(app, "unused")
			w.damage(`update images set tag_count = 7`, `update repositories set image_count = 9, size_bytes = 1`,
				`update repository_blobs set review_after = null`,
				`insert into blob_trash select storage_key, 1 from blobs where digest = '`+sum([]byte("layer"))+`'`)
			rep, err := w.Fsck(t.Context(), registry.FsckOptions{})
			w.ok(err)
			kinds := map[string]bool{}
			for _, f := range rep.Findings {
				kinds[f.Kind] = true
			}
			if len(kinds) != 4 {
				t.Errorf("found %v, want four kinds of damage", kinds)
			}
			_, err = w.Fsck(t.Context(), registry.FsckOptions{Repair: true})
			w.ok(err)
			w.sound()
			w.ok(collect(w.Registry))
			if data, err := w.read(app, sum([]byte("layer"))); data != "layer" || err != nil {
				t.Errorf("after the repair: %q, %v", data, err)
			}
		})
	}
}

// damage runs statements on the database behind the registry's back.
func (w *world) damage(statements ...string) {
	w.tb.Helper()
	w.ok(w.db.Close())
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "meta.db"))
	w.ok(err)
	for _, s := range statements {
		_, err := db.Exec(s)
		w.ok(err)
	}
	w.ok(db.Close())
	w.openDB(nil)
}

func TestFsckReadsEveryByte(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.image(app, "v1", "config", "layer")
	w.blobs = flipped{w.blobs}
	w.Registry = registry.New(w.db, w.blobs, w.cfg)
	rep, err := w.Fsck(t.Context(), registry.FsckOptions{Repair: true})
	w.ok(err)
	if len(rep.Findings) != 2 || rep.Findings[0].Kind != "bad object" || rep.Findings[0].Mended {
		t.Errorf("findings %+v", rep.Findings)
	}
	quick, err := w.Fsck(t.Context(), registry.FsckOptions{Quick: true})
	if err != nil || len(quick.Findings) != 0 {
		t.Errorf("sizes alone: %+v, %v", quick.Findings, err)
	}
}

// flipped gives objects with every byte changed.
type flipped struct{ blob.Store }

func (f flipped) Open(ctx context.Context, key blob.Key, off, n int64) (io.ReadCloser, error) {
	r, err := f.Store.Open(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	for i := range b {
		b[i] ^= 1
	}
	return io.NopCloser(strings.NewReader(string(b))), err
}
