package vuln

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDelta applies a real later state of two feeds: all of it compiles, and
// packages that nothing was known of are affected afterwards.
func TestDelta(t *testing.T) {
	for _, eco := range []string{"Go", "AlmaLinux"} {
		f := load(t, eco)
		dir := filepath.Join(sharedData(t), "delta", eco)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		changed, added := 0, 0
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".json") {
				continue
			}
			data, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			a, err := ParseOSV(data)
			if err != nil {
				if notSecurity(e.Name()) {
					continue
				}
				t.Fatalf("%s: %v", e.Name(), err)
			}
			changed++
			for _, part := range a.Affected {
				if len(part.Intervals) == 0 {
					continue
				}
				id := Identity{Key: part.Key, Version: firstOf(part.Intervals[0].Introduced, "0.0.1")}
				if strings.Contains(part.Intervals[0].Fixed, moduleMark) {
					id.Version += moduleMark
				}
				old := len(f.match(id))
				if now := len(id.Match(append(f.under(id), a.For(part.Key)), nil)); now > old {
					added++
				}
			}
		}
		t.Logf("%s: %d records, %d packages with more", eco, changed, added)
		if changed < 50 || added == 0 {
			t.Errorf("%s: %d records, %d packages with more", eco, changed, added)
		}
	}
}
