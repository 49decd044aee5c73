package lifecycle_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/lifecycle"
)

const (
	expireAll  = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":1},"action":{"type":"expire"}}]}`
	archiveAll = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"sinceImagePulled","countUnit":"days","countNumber":1},"action":{"type":"transition","targetStorageClass":"archive"}}]}`
)

// used are images in use, by digest, each reported two hours ago.
func used(digests ...string) map[string]lifecycle.Use {
	out := map[string]lifecycle.Use{}
	for _, d := range digests {
		out[d] = lifecycle.Use{Source: "cluster-a", At: lifecycle.At(now.Add(-2 * time.Hour))}
	}
	return out
}

func TestGuards(t *testing.T) {
	const tree = "list 9 prod-1 children=amd,arm;amd 9;arm 9;sig 9 subject=list;other 9 children=arm,s390;s390 9;lone 9"
	pulled := lifecycle.Guards{PulledWithin: 30 * 24 * time.Hour}
	last := func(prefix string, n int) lifecycle.Guards {
		return lifecycle.Guards{KeepLast: []lifecycle.PrefixCount{{Prefix: prefix, Count: n}}}
	}
	tests := []struct {
		name, policy, images string
		guards               lifecycle.Guards
		want                 []string // "digest: reason", oldest first
	}{
		{"no guards", expireAll, "a 9;b 9", lifecycle.Guards{}, nil},
		{"what is not due is not withheld", expireAll, "a 0;b 9", lifecycle.Guards{InUse: used("a")}, nil},
		{"in use", expireAll, "a 9;b 9", lifecycle.Guards{InUse: used("a")}, []string{"a: in use: reported by cluster-a 2 h ago"}},
		{"pulled recently", expireAll, "a 9 pulled=3;b 9 pulled=31;c 9", pulled, []string{"a: pulled 3 d ago, guard keeps what was pulled within 30 d"}},
		{"pulled exactly then", expireAll, "a 90 pulled=30", pulled, []string{"a: pulled 30 d ago, guard keeps what was pulled within 30 d"}},
		{"pulled in the future", expireAll, "a 9 pulled=-1", pulled, []string{"a: pulled 0 min ago, guard keeps what was pulled within 30 d"}},
		{"no default either", expireAll, "a 9 pulled=3", lifecycle.Guards{PulledWithin: -1}, nil},
		{"archiving what was pulled", archiveAll, "a 9 pulled=3;b 9", pulled, []string{"a: pulled 3 d ago, guard keeps what was pulled within 30 d"}},
		{"archiving what is in use", archiveAll, "a 9;b 9", lifecycle.Guards{InUse: used("b")}, []string{"b: in use: reported by cluster-a 2 h ago"}},
		{"the last of a prefix", expireAll, "a 9 prod-1;b 8 prod-2;c 7 prod-3 x;d 6 dev-1", last("prod-", 2), []string{"b: one of the last 2 of prod-", "c: one of the last 2 of prod-"}},
		{"the last with a tag", expireAll, "a 9 x;b 8 y;c 7", last("", 1), []string{"b: one of the last 1 with a tag"}},
		{"the last may be archived", archiveAll, "a 9 prod-1;b 8 prod-2", last("prod-", 5), nil},
		{"the last count what stays", expireAll, "a 9 prod-1;b 0 prod-2", last("prod-", 1), nil},
		{"a list whose child is in use, and all that belongs to it", expireAll, tree, lifecycle.Guards{InUse: used("amd")},
			[]string{"list: refers to amd: in use: reported by cluster-a 2 h ago", "sig: has the subject list, which belongs to amd: in use: reported by cluster-a 2 h ago"}},
		{"a subject whose referrer was pulled", expireAll, tree + ";note 9 subject=sig pulled=1", pulled,
			[]string{"list: is the subject of sig, which belongs to note: pulled 1 d ago, guard keeps what was pulled within 30 d",
				"note: pulled 1 d ago, guard keeps what was pulled within 30 d", "sig: is the subject of note: pulled 1 d ago, guard keeps what was pulled within 30 d"}},
		{"a child of an archived list", `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`,
			"list 200 archived=100 children=a;a 9;b 8", lifecycle.Guards{InUse: used("list")}, []string{"a: is part of list: in use: reported by cluster-a 2 h ago"}},
		{"in use comes before pulled, and both before the last", expireAll, "a 9 x pulled=2;b 9 x pulled=2;c 9 x",
			lifecycle.Guards{PulledWithin: 48 * time.Hour, InUse: used("a"), KeepLast: []lifecycle.PrefixCount{{Prefix: "x", Count: 3}}},
			[]string{"a: in use: reported by cluster-a 2 h ago", "b: pulled 2 d ago, guard keeps what was pulled within 2 d", "c: one of the last 3 of x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := lifecycle.Evaluate(mustParse(t, tt.policy), repository(t, tt.images), now)
			var got []string
			for _, w := range tt.guards.Apply(e) {
				got = append(got, e.Images[w.Image].Digest+": "+w.Reason)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func drawGuards(t *rapid.T) lifecycle.Guards {
	var g lifecycle.Guards
	g.PulledWithin = time.Duration(rapid.SampledFrom([]int{-1, 0, 24, 48, 2400}).Draw(t, "pulled within")) * time.Hour
	for _, prefix := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "a", "b", "c-"}), 0, 2, rapid.ID[string]).Draw(t, "prefixes") {
		g.KeepLast = append(g.KeepLast, lifecycle.PrefixCount{Prefix: prefix, Count: rapid.IntRange(1, 3).Draw(t, "count")})
	}
	for _, d := range rapid.SliceOfN(rapid.SampledFrom(strings.Split("abcdefghijklmnop", "")), 0, 3).Draw(t, "in use") {
		if g.InUse == nil {
			g.InUse = map[string]lifecycle.Use{}
		}
		g.InUse["sha256:"+d] = lifecycle.Use{Source: "s", At: lifecycle.At(now)}
	}
	return g
}

// guarded is the definition, slowly: marks go up until nothing changes, and
// then down.
func guarded(g lifecycle.Guards, images []lifecycle.Image, outcome lifecycle.Outcome) []bool {
	marked := make([]bool, len(images))
	for i, m := range images {
		_, inUse := g.InUse[m.Digest]
		marked[i] = inUse || g.PulledWithin > 0 && m.LastPulledAt != 0 && now.Sub(m.LastPulledAt.Time()) <= g.PulledWithin
		for _, keep := range g.KeepLast {
			has := func(m lifecycle.Image) bool {
				return slices.ContainsFunc(m.Tags, func(tag string) bool { return strings.HasPrefix(tag, keep.Prefix) })
			}
			later := 0
			for _, o := range images {
				if has(o) && (o.PushedAt > m.PushedAt || o.PushedAt == m.PushedAt && o.Digest > m.Digest) {
					later++
				}
			}
			marked[i] = marked[i] || outcome == lifecycle.Expire && has(m) && later < keep.Count
		}
	}
	spread := func(edge func(from, to int) bool) {
		for range images {
			for from := range images {
				for to := range images {
					marked[to] = marked[to] || marked[from] && edge(from, to)
				}
			}
		}
	}
	belongs := func(part, whole int) bool {
		return int(images[part].Subject) == whole || slices.Contains(images[whole].Children, int32(part))
	}
	spread(belongs)
	spread(func(from, to int) bool { return belongs(to, from) })
	return marked
}

func TestGuardsAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGuards(t)
		e := lifecycle.Evaluate(drawPolicy(t), drawImages(t), now)
		before := slices.Clone(e.Verdicts)
		var got, want []int
		for _, w := range g.Apply(e) {
			got = append(got, w.Image)
			if w.Reason == "" || w.Guard == 0 || w.Guard.String() == "" {
				t.Errorf("%+v", w)
			}
		}
		naive := map[lifecycle.Outcome][]bool{
			lifecycle.Expire:     guarded(g, e.Images, lifecycle.Expire),
			lifecycle.Transition: guarded(g, e.Images, lifecycle.Transition),
		}
		for i, outcome := range e.Due() {
			if naive[outcome][i] {
				want = append(want, i)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("withheld %v, want %v", got, want)
		}
		if !slices.Equal(e.Verdicts, before) {
			t.Error("the evaluation is changed")
		}
	})
}

// TestGuardsOnlyWithhold checks that more guards withhold more, and that the
// order of the images has no influence.
func TestGuardsOnlyWithhold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images, g := drawPolicy(t), drawImages(t), drawGuards(t)
		more := g
		more.InUse = maps.Clone(g.InUse)
		if len(images) > 0 && more.InUse != nil {
			more.InUse[rapid.SampledFrom(images).Draw(t, "more").Digest] = lifecycle.Use{}
		}
		digests := func(g lifecycle.Guards, images []lifecycle.Image) map[string]bool {
			e, out := lifecycle.Evaluate(p, images, now), map[string]bool{}
			for _, w := range g.Apply(e) {
				out[e.Images[w.Image].Digest] = true
			}
			return out
		}
		some, all, again := digests(g, images), digests(more, images), digests(g, shuffle(t, images))
		for d := range some {
			if !all[d] {
				t.Errorf("%s is let go by another guard", d)
			}
		}
		if !reflect.DeepEqual(some, again) {
			t.Errorf("%v in one order, %v in another", some, again)
		}
	})
}

func TestParseGuards(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		key, value string
		want       lifecycle.Guards
		err        string // how it begins; "" = none
	}{
		{"team", "ecru:keep-last", lifecycle.Guards{}, ""},
		{"ecru:keep-pulled-within", "30d", lifecycle.Guards{PulledWithin: 30 * day}, ""},
		{"ecru:keep-pulled-within", "12h", lifecycle.Guards{PulledWithin: 12 * time.Hour}, ""},
		{"ecru:keep-pulled-within", "0d", lifecycle.Guards{PulledWithin: -1}, ""},
		{"ecru:keep-last", "prod-:10/release-:5", lifecycle.Guards{KeepLast: []lifecycle.PrefixCount{{Prefix: "prod-", Count: 10}, {Prefix: "release-", Count: 5}}}, ""},
		{"ecru:keep-last", "prod-:10 v:5", lifecycle.Guards{KeepLast: []lifecycle.PrefixCount{{Prefix: "prod-", Count: 10}, {Prefix: "v", Count: 5}}}, ""},
		{"ecru:keep-last", ":3", lifecycle.Guards{KeepLast: []lifecycle.PrefixCount{{Prefix: "", Count: 3}}}, ""},
		{"ecru:keep-pulled-within", "", lifecycle.Guards{}, "the tag ecru:keep-pulled-within must be a number of days or hours, such as 30d"},
		{"ecru:keep-pulled-within", "30", lifecycle.Guards{}, "the tag ecru:keep-pulled-within must be"},
		{"ecru:keep-pulled-within", "-3d", lifecycle.Guards{}, "the tag ecru:keep-pulled-within must be"},
		{"ecru:keep-pulled-within", "3651d", lifecycle.Guards{}, "the tag ecru:keep-pulled-within must be"},
		{"ecru:keep-pulled-within", "99999999999999999999d", lifecycle.Guards{}, "the tag ecru:keep-pulled-within must be"},
		{"ecru:keep-last", "", lifecycle.Guards{}, "the tag ecru:keep-last must be prefixes of image tags"},
		{"ecru:keep-last", "prod-", lifecycle.Guards{}, "the tag ecru:keep-last must be"},
		{"ecru:keep-last", "prod-:0", lifecycle.Guards{}, "the tag ecru:keep-last must be"},
		{"ecru:keep-last", "prod-:10001", lifecycle.Guards{}, "the tag ecru:keep-last must be"},
		{"ecru:keep-last", "prod-:10,release-:5", lifecycle.Guards{}, "the tag ecru:keep-last must be"},
		{"ecru:keep-last", "-x:1", lifecycle.Guards{}, "the tag ecru:keep-last must be"},
		{"ecru:keep-last", "a:1/a:2", lifecycle.Guards{}, `the tag ecru:keep-last has the prefix "a" twice`},
		{"ecru:keep-last", strings.Repeat("a:1/", 21), lifecycle.Guards{}, "the tag ecru:keep-last must be"},
		{"ecru:keep-pulled", "30d", lifecycle.Guards{}, "the tag ecru:keep-pulled is no guard: the guards are ecru:keep-pulled-within and ecru:keep-last"},
		{"Ecru:Keep-Last", "a:1", lifecycle.Guards{}, "the tag Ecru:Keep-Last is no guard"},
	}
	for _, tt := range tests {
		got, err := lifecycle.ParseGuards(map[string]string{tt.key: tt.value})
		switch {
		case err == nil && tt.err != "", err != nil && (tt.err == "" || !strings.HasPrefix(err.Error(), tt.err)):
			t.Errorf("%s=%s: %v, want %s", tt.key, tt.value, err, tt.err)
		case !reflect.DeepEqual(got, tt.want):
			t.Errorf("%s=%s: %+v", tt.key, tt.value, got)
		}
	}
}

func FuzzParseGuards(f *testing.F) {
	f.Add("30d", "prod-:10/release-:5")
	f.Add("0h", ":1 a:2")
	f.Fuzz(func(t *testing.T, within, last string) {
		g, err := lifecycle.ParseGuards(map[string]string{lifecycle.TagPulledWithin: within, lifecycle.TagKeepLast: last})
		if err != nil {
			return
		}
		if g.PulledWithin > lifecycle.MaxPulledWithin || g.PulledWithin == 0 || len(g.KeepLast) == 0 || len(g.KeepLast) > lifecycle.MaxPrefixes {
			t.Errorf("%+v", g)
		}
		for _, k := range g.KeepLast {
			if k.Count < 1 || k.Count > lifecycle.MaxKeepLast || !strings.Contains(last, k.Prefix+":") {
				t.Errorf("%+v", k)
			}
		}
	})
}
