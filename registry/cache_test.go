package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

// TestReadsAreExact: who reads after a write was acknowledged sees it, or a
// later one, while tags move and go, repositories are changed, and others read.
func TestReadsAreExact(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	for _, l := range []string{"config", "layer"} {
		w.layer(app, l)
	}
	const writers, moves = 4, 60
	var begun, acked [writers]atomic.Int64 // the last move of each tag
	check := func(tag int) {
		before := acked[tag].Load()
		m, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: fmt.Sprint("t", tag)}, true)
		var known *ecr.Error
		switch {
		case errors.As(err, &known) && known.Code == ecr.ImageNotFound:
			if latest := begun[tag].Load(); before%5 != 0 && latest/5 == before/5 {
				t.Errorf("tag %d is gone after move %d and before any removal", tag, before)
			}
		case err != nil:
			t.Error(err)
		default:
			var got int64
			if _, err := fmt.Sscanf(string(m.Payload[strings.Index(string(m.Payload), `"move":"`):]), `"move":"%d"`, &got); err != nil || got < before {
				t.Errorf("tag %d: read move %d (%v) after %d was acknowledged", tag, got, err, before)
			}
		}
	}
	stop := make(chan struct{})
	var readers, all sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for tag := 0; ; tag = (tag + 1) % writers {
				select {
				case <-stop:
					return
				default:
					check(tag)
				}
			}
		})
	}
	for tag := range writers {
		all.Go(func() {
			name := fmt.Sprint("t", tag)
			for n := int64(1); n <= moves; n++ {
				begun[tag].Store(n)
				if n%5 == 0 { // a removal
					if err := w.DeleteManifest(t.Context(), root, app, ecr.ImageID{Tag: name}); err != nil {
						t.Error(err)
					}
				} else if _, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Tag: name,
					Manifest: manifest(fmt.Sprintf(`,"annotations":{"tag":"%d","move":"%d"}`, tag, n), "config", "layer")}); err != nil {
					t.Error(err)
				}
				acked[tag].Store(n)
				check(tag)
				if n%7 == 0 { // drops the whole repository from the cache
					if err := w.TagResource(t.Context(), root, app.ARN("us-east-1"), []ecr.Tag{{Key: "move", Value: fmt.Sprint(n)}}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	close(stop)
	readers.Wait()
	w.sound()
}

func BenchmarkGetManifest(b *testing.B) {
	w := newWorld(b)
	w.create("team/app")
	m := w.image(app, "v1", "config", "layer")
	for name, ref := range map[string]ecr.ImageID{"tag": {Tag: "v1"}, "digest": {Digest: m.Digest}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.GetManifest(b.Context(), root, app, ref, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPush is one small image after another, durable, on disk.
func BenchmarkPush(b *testing.B) {
	for name, inline := range map[string]int64{"inline": 16 << 10, "objects": 0} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, upTo(inline)).onDisk()
			w.create("team/app")
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				w.image(app, fmt.Sprint("v", n%1000), fmt.Sprint("config", n), fmt.Sprint("layer", n))
			}
		})
	}
}
