package lifecycle_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/lifecycle"
)

func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		perDay, days, margin float64
		want                 int
	}{
		{2, 5, 0, 10}, {2, 5, 0.2, 12}, {5, 3, 0, 15}, {5, 3, 0.2, 18}, {1, 1, 0.2, 2}, {0.5, 3, 0, 2}, {10, 1, 0.1, 11}, {0, 9, 1, 0}, {1e9, 1e9, 0, 1<<31 - 1},
	} {
		if got := lifecycle.Window(tt.perDay, tt.days, tt.margin); got != tt.want {
			t.Errorf("%g a day, %g days, %g: %d, want %d", tt.perDay, tt.days, tt.margin, got, tt.want)
		}
	}
}

func TestRollbacks(t *testing.T) {
	images := "A 20 prod-1; B 10 prod-2; C 9.5 prod-3; D 9 prod-4; E 1 prod-5; F 0.5 dev-1; S 0.2 prod-5.sig subject=E; X 30 prod-0 archived=1"
	h := &lifecycle.History{Images: repository(t, images)}
	at := func(days string) lifecycle.Instant { return ago(t, days) }
	h.Pushes = []lifecycle.Push{{At: at("9.4"), Digest: "gone", Tag: "prod-3a"}, {At: at("9.5"), Digest: "C", Tag: "prod-3"}, {At: at("3"), Digest: "C", Tag: "prod-now"}}
	h.Pulls = []lifecycle.Pull{
		{At: at("9.45"), Tag: "prod-2"}, // one back: C is the newest
		{At: at("2"), Tag: "prod-3"},    // two back, gone and D came since
		{At: at("2.5"), Digest: "D"},    // the newest
		{At: at("0.1"), Tag: "dev-1"}, {At: at("0.1"), Digest: "nobody knows"}, {At: at("0.1"), Layer: "l"},
	}
	keep := func(n string) string { return tags("tagPrefixList", `["prod-"]`, keeps(n)) }
	any5 := `"tagStatus":"any",` + keeps("5")
	for _, tt := range []struct {
		rules     []string
		want      int
		unbounded bool
		why       string
	}{
		{[]string{keep("3"), any5}, 3, false, "rule 1 keeps 3"},
		{[]string{any5}, 4, false, "rule 1 keeps 5 of all that it selects, of which 4 have this prefix now"},
		{[]string{tags("tagPrefixList", `["dev-"]`, keeps("1"))}, 0, true, "no rule"},
		{[]string{tags("tagPrefixList", `["prod-","release-"]`, keeps("1"))}, 0, true, "no rule"},
		{[]string{tags("tagPrefixList", `["prod-"]`, pushed("30"))}, 0, false, "rule 1 expires them by age, 30 days"},
		{[]string{keep("9") + " => " + archive}, 9, false, "rule 1 keeps 9"},
		{[]string{tags("tagPrefixList", `["prod-eu-"]`, keeps("2")), keep("7")}, 2, false, "rule 1 keeps 2"},
		{[]string{tags("tagPrefixList", `["prod-eu-"]`, keeps("8")), keep("7"), any5}, 7, false, "rule 2 keeps 7"},
		{[]string{`"tagStatus":"untagged",` + keeps("1"), `"tagStatus":"any",` + transitioned("90")}, 0, true, "no rule"},
	} {
		r := lifecycle.Rollbacks(mustParse(t, policy(tt.rules...)), h, "prod-", 1, now)
		if r.Keeps != tt.want || r.Unbounded != tt.unbounded || !strings.Contains(r.Why, tt.why) {
			t.Errorf("%v: keeps %d, %t: %s", tt.rules, r.Keeps, r.Unbounded, r.Why)
		}
	}
	r := lifecycle.Rollbacks(nil, h, "prod-", 1, now)
	if r.Images != 5 || r.Pushed != 7 || !r.Unbounded {
		t.Errorf("%+v", r)
	}
	// B at 10 is a whole day before D at 9: the window begins with C.
	if r.Busiest != 3 || r.BusiestFrom != at("10") {
		t.Errorf("busiest %d from %v", r.Busiest, r.BusiestFrom.Time())
	}
	if r.Furthest != 2 || r.FurthestOf != "prod-3" {
		t.Errorf("furthest %d of %s", r.Furthest, r.FurthestOf)
	}
	if r := lifecycle.Rollbacks(nil, h, "release-", 1, now); r.Busiest != 0 || r.FurthestAt != 0 {
		t.Errorf("nothing: %+v", r)
	}
}

// However many more are pushed, what is said to be kept is.
func TestKeepsIsSure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		prefix := rapid.SampledFrom([]string{"a", "b", "a-", "c-"}).Draw(t, "prefix")
		for i := range rapid.IntRange(0, 12).Draw(t, "pushed") {
			images = append(images, lifecycle.Image{Digest: fmt.Sprintf("new%02d", i), Tags: []string{fmt.Sprint(prefix, i)}, Subject: -1,
				PushedAt: lifecycle.At(now.Add(-time.Duration(rapid.SampledFrom(hours).Draw(t, "ago")) * time.Hour))})
		}
		r := lifecycle.Rollbacks(p, &lifecycle.History{Images: images}, prefix, 1, now)
		e := lifecycle.Evaluate(p, images, now)
		kept := 0
		for i := range images {
			m := &images[i]
			if len(m.Tags) != 1 || !strings.HasPrefix(m.Tags[0], prefix) || m.Subject >= 0 || m.Archived || m.ActivatedAt != 0 {
				continue
			}
			if e.Verdicts[i].Outcome == lifecycle.Keep {
				kept++
			} else if r.Unbounded {
				t.Fatalf("%s goes, %s: %s", m.Digest, r.Why, p.JSON())
			} else if e.Verdicts[i].Position <= int32(r.Keeps) && e.Rules[e.Verdicts[i].Rule].Selection.CountType == lifecycle.ImageCountMoreThan {
				t.Fatalf("number %d goes, %s: %s", e.Verdicts[i].Position, r.Why, p.JSON())
			}
		}
	})
}

func TestRatesAndAhead(t *testing.T) {
	for tag, want := range map[string]string{"prod-17": "prod-", "v1.2.3": "v", "latest": "latest", "17": "", "deadbeef": "", "3fa9c21b": "", "a1b2c3d4e5": "", "feature_x": "feature_", "1.2": ""} {
		if got := lifecycle.Kind(tag); got != want {
			t.Errorf("kind of %s: %q, want %q", tag, got, want)
		}
	}
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("D%02d %g dev-%d", i, float64(i)/2+0.1, i)) // two a day for 10 days
	}
	lines = append(lines, "L 0.5 prod-1 children=C", "C 0.6", "S 0.4 subject=L", "U 0.3")
	images := repository(t, strings.Join(lines, ";"))
	gone := []lifecycle.Push{{At: ago(t, "2"), Digest: "x", Tag: "dev-x"}, {At: ago(t, "3"), Digest: "D01", Tag: "dev-1"}, {At: ago(t, "40"), Digest: "y", Tag: "dev-y"}}
	rates := lifecycle.Rates(images, gone, now.Add(-10*24*time.Hour), now)
	got := ""
	for _, r := range rates {
		got += fmt.Sprintf("%v %.1f %d; ", r.Kinds, r.PerDay, r.Size)
	}
	if want := "[dev-] 2.1 1; [] 0.1 1; [prod-] 0.1 2; "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p := mustParse(t, policy(tags("tagPrefixList", `["dev-"]`, pushed("5")), tags("tagPrefixList", `["prod-"]`, keeps("2"))))
	two := []lifecycle.Rate{{Kinds: []string{"dev-"}, PerDay: 2, Size: 1}, {Kinds: []string{"prod-"}, PerDay: 0.5, Size: 10}}
	out := lifecycle.Ahead(p, images, two, now, 0, 30, 90)
	if len(out) != 3 || out[0].Expired.Images != 10 || out[1].Days != 30 || out[1].Pushed != 75 {
		t.Fatalf("%+v", out)
	}
	// 10 of dev-, 2 of prod-, C and U; the list and its signature went.
	if m := out[1].Images; m.Images != 14 || out[2].Images != m || out[2].Expired.Images != 24+225-14 {
		t.Errorf("%+v", out)
	}
	if free := lifecycle.Ahead(nil, images, two, now, 30); free[0].Images.Images != 24+75 || free[0].Expired.Images != 0 {
		t.Errorf("%+v", free)
	}
}

func TestFreed(t *testing.T) {
	images := repository(t, "A 9 dev; B 9 dev; C 9 prod")
	layer := func(d string) lifecycle.Layer { return lifecycle.Layer{Digest: d, Size: int64(len(d))} }
	layers := [][]lifecycle.Layer{{layer("base"), layer("a"), layer("a")}, {layer("base"), layer("shared"), layer("bb")}, {layer("base"), layer("shared")}}
	e := lifecycle.Evaluate(mustParse(t, policy(tags("tagPrefixList", `["dev"]`, pushed("5")))), images, now)
	if got := lifecycle.Freed(e, layers); got != 3 {
		t.Errorf("freed %d, want 3", got)
	}
	if got := lifecycle.Unique(layers); got != 4+1+6+2 {
		t.Errorf("unique %d", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		layers := make([][]lifecycle.Layer, len(images))
		for i := range layers {
			for _, n := range rapid.SliceOfN(rapid.IntRange(1, 9), 0, 4).Draw(t, "layers") {
				layers[i] = append(layers[i], lifecycle.Layer{Digest: fmt.Sprint(n), Size: int64(n)})
			}
		}
		e := lifecycle.Evaluate(p, images, now)
		var left [][]lifecycle.Layer
		for i := range images {
			if v := &e.Verdicts[i]; !v.Due() || v.Outcome != lifecycle.Expire {
				left = append(left, layers[i])
			}
		}
		if got, want := lifecycle.Freed(e, layers), lifecycle.Unique(layers)-lifecycle.Unique(left); got != want {
			t.Fatalf("freed %d, want %d", got, want)
		}
		if got, want := len(lifecycle.After(e)), len(left); got != want {
			t.Fatalf("%d stay, want %d", got, want)
		}
	})
}
