package replication

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// TestResume: a large layer whose transfer is cut goes on from where it was,
// also when the source, or the destination, was killed meanwhile.
func TestResume(t *testing.T) {
	const size = 200 << 20
	w := newWorld(t, nil, virginia, ireland)
	w.create(virginia, "large")
	w.configure(virginia, map[string][]string{"": {ireland}})
	line := w.regions[ireland].in[virginia]
	str := must[string](t)
	reached := func(n int64) {
		w.eventually(func(context.Context) string {
			if line.sent.Load() < n {
				return "the layer is not on its way"
			}
			return ""
		})
	}
	pushed := str(w.registry(virginia).PushImage(t.Context(), "large", "v1", content(100), content(size)))
	for _, at := range []int64{size / 8, size / 4} {
		reached(at)
		line.set(func() { line.cut = true })
		line.set(func() { line.cut = false })
	}
	reached(size / 2)
	w.regions[virginia].server.Kill()
	w.start(virginia)
	reached(3 * size / 4)
	before := line.sent.Load()
	w.regions[ireland].server.Kill()
	w.start(ireland)
	if s := w.replicated(virginia, "large", tag("v1")); s[ireland] != types.ReplicationStatusComplete {
		t.Errorf("status %v", s)
	}
	w.pulls(ireland, "large", "v1", pushed)
	total := line.sent.Load()
	t.Logf("%d bytes for a layer of %d; %d before the destination was killed", total, size, before)
	// What the dead destination had not confirmed is sent again: a chunk at most.
	if most := int64(size*105/100 + 32<<20); total > most {
		t.Errorf("%d bytes were sent, want at most %d", total, most)
	}
}
