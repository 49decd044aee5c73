package lifecycle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/lifecycle"
)

// tick is the step of the naive replay; everything happens at one.
const tick = 30 * time.Second

// naiveImage is an image in the naive replay.
type naiveImage struct {
	lifecycle.Image
	subject         string
	children        []string
	here, lost      bool // lost: the policy took it, and nobody pushed it again
	deletedByPerson bool
}

// naiveReplay goes through time in steps and looks at everything at each: what
// doc of Replay says, without any of its order or indexes.
func naiveReplay(p *lifecycle.Policy, h *lifecycle.History, from, to time.Time) (failures []string, unknown, unresolved int) {
	world := map[string]*naiveImage{}
	tagOf := map[string]string{} // tag to digest, also of what is lost
	moved := map[string]bool{}
	for _, push := range h.Pushes {
		moved[push.Tag] = true
	}
	for _, m := range h.Images {
		w := &naiveImage{Image: lifecycle.Image{Digest: m.Digest, PushedAt: m.PushedAt, Subject: -1, Size: m.Size}}
		if m.Subject >= 0 {
			w.subject = h.Images[m.Subject].Digest
		}
		for _, c := range m.Children {
			w.children = append(w.children, h.Images[c].Digest)
		}
		world[m.Digest] = w
	}
	for _, push := range h.Pushes {
		if world[push.Digest] == nil {
			world[push.Digest] = &naiveImage{Image: lifecycle.Image{Digest: push.Digest, PushedAt: push.At, Subject: -1}}
		}
		world[push.Digest].PushedAt = min(world[push.Digest].PushedAt, push.At)
	}
	aged := slices.ContainsFunc(p.Rules, func(r lifecycle.Rule) bool { return r.Selection.CountType != lifecycle.ImageCountMoreThan })
	var lastPush, lastRun time.Time
	unsettled := false
	run := func(at time.Time) {
		var list []*naiveImage
		for _, w := range world {
			if w.here {
				list = append(list, w)
			}
		}
		index := func(d string) int32 {
			return int32(slices.IndexFunc(list, func(w *naiveImage) bool { return w.Digest == d }))
		}
		n := naive{rules: p.Rules, now: at}
		for _, w := range list {
			m := w.Image
			m.Subject = index(w.subject)
			for tag, d := range tagOf {
				if d == m.Digest {
					m.Tags = append(m.Tags, tag)
				}
			}
			for _, c := range w.children {
				if k := index(c); k >= 0 {
					m.Children = append(m.Children, k)
				}
			}
			n.images = append(n.images, m)
		}
		for i, w := range list {
			switch n.acts(i) {
			case lifecycle.Expire:
				w.here, w.lost, w.Archived = false, true, false
			case lifecycle.Transition:
				w.Archived, w.ArchivedAt, w.lost = true, lifecycle.At(at), true
			}
		}
		lastRun, unsettled = at, false
	}
	arrive := func(w *naiveImage, at time.Time, tags ...string) {
		switch {
		case w.here && w.Archived:
			w.Archived, w.ActivatedAt, w.lost = false, lifecycle.At(at), false
		case !w.here && (w.lost || w.deletedByPerson):
			for tag, d := range tagOf {
				if d == w.Digest {
					delete(tagOf, tag)
				}
			}
			w.Image = lifecycle.Image{Digest: w.Digest, PushedAt: lifecycle.At(at), Subject: -1, Size: w.Size}
			w.here, w.lost, w.deletedByPerson = true, false, false
		default:
			w.here = true
		}
		for _, tag := range tags {
			tagOf[tag] = w.Digest
		}
		lastPush, unsettled = at, true
	}
	start := from
	for _, w := range world {
		if at := w.PushedAt.Time(); at.Before(start) {
			start = at
		}
	}
	for _, push := range h.Pushes {
		if at := push.At.Time(); at.Before(start) {
			start = at
		}
	}
	for at := start; !at.After(to); at = at.Add(tick) {
		if begun := !at.Before(from); begun {
			due := lastPush.Add(time.Minute)
			if due.Before(from) {
				due = from
			}
			if unsettled && !due.After(at) {
				run(due)
			}
			if at.Sub(from)%(24*time.Hour) == 0 && !unsettled {
				run(at)
			}
		}
		for _, m := range h.Images {
			var tags []string
			first := false
			for _, tag := range m.Tags {
				if !moved[tag] {
					tags = append(tags, tag)
				}
			}
			for _, push := range h.Pushes {
				first = first || push.Digest == m.Digest && push.At <= world[m.Digest].PushedAt
			}
			if w := world[m.Digest]; w.PushedAt == lifecycle.At(at) && !w.here && !w.lost && !w.deletedByPerson && (len(tags) > 0 || !first) {
				arrive(w, at, tags...)
			}
		}
		for _, push := range h.Pushes {
			if push.At == lifecycle.At(at) {
				if push.Tag == "" {
					arrive(world[push.Digest], at)
				} else {
					arrive(world[push.Digest], at, push.Tag)
				}
			}
		}
		for _, pull := range h.Pulls {
			if pull.At != lifecycle.At(at) || at.Before(from) {
				continue
			}
			if aged && !unsettled && at.Sub(lastRun) >= time.Hour {
				run(at)
			}
			digest := pull.Digest
			if digest == "" {
				digest = tagOf[pull.Tag]
			}
			switch w := world[digest]; {
			case digest == "":
				unresolved++
			case w == nil || !w.here && !w.lost && !w.deletedByPerson:
				unknown++
			case w.lost:
				failures = append(failures, fmt.Sprint(at.Sub(from), " ", pull.Tag, pull.Digest))
			default:
				w.LastPulledAt = lifecycle.At(at)
			}
		}
		for _, del := range h.Deletes {
			if del.At != lifecycle.At(at) {
				continue
			}
			digest := del.Digest
			if digest == "" {
				digest = tagOf[del.Tag]
				delete(tagOf, del.Tag)
			}
			w := world[digest]
			if w == nil || !w.here {
				continue
			}
			left := 0
			for _, d := range tagOf {
				if d == digest {
					left++
				}
			}
			if del.Digest != "" || left == 0 {
				w.here, w.deletedByPerson, w.lost, w.Archived = false, true, false, false
				for tag, d := range tagOf {
					if d == digest {
						delete(tagOf, tag)
					}
				}
			}
		}
	}
	return failures, unknown, unresolved
}

// drawHistory draws what happened in a few days to a few images.
func drawHistory(t *rapid.T, from time.Time) *lifecycle.History {
	h := new(lifecycle.History)
	moment := func(what string) lifecycle.Instant {
		at := time.Duration(rapid.IntRange(-24, 72).Draw(t, what+" hour")) * time.Hour
		return lifecycle.At(from.Add(at + time.Duration(rapid.IntRange(0, 4).Draw(t, what+" tick"))*tick))
	}
	digests := strings.Split("abcdefg", "")
	drawTag := func() string {
		return rapid.SampledFrom([]string{"a", "b", "ab", "a-1", "c-2", "b-1", "x"}).Draw(t, "tag")
	}
	used := map[string]bool{}
	for i, d := range digests[:4] {
		m := lifecycle.Image{Digest: d, PushedAt: moment("pushed"), Subject: -1}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "refers") == 0 {
			m.Subject = rapid.Int32Range(0, int32(i)-1).Draw(t, "subject")
		}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "is list") == 0 {
			m.Children = []int32{rapid.Int32Range(0, int32(i)-1).Draw(t, "child")}
		}
		if tag := drawTag(); !used[tag] {
			used[tag] = true
			m.Tags = []string{tag}
		}
		h.Images = append(h.Images, m)
	}
	for range rapid.IntRange(0, 8).Draw(t, "pushes") {
		p := lifecycle.Push{At: moment("push"), Digest: rapid.SampledFrom(digests).Draw(t, "digest")}
		if rapid.Bool().Draw(t, "by tag") {
			p.Tag = drawTag()
		}
		h.Pushes = append(h.Pushes, p)
	}
	for range rapid.IntRange(0, 8).Draw(t, "pulls") {
		p := lifecycle.Pull{At: moment("pull")}
		if rapid.Bool().Draw(t, "by tag") {
			p.Tag = drawTag()
		} else {
			p.Digest = rapid.SampledFrom(digests).Draw(t, "digest")
		}
		h.Pulls = append(h.Pulls, p)
	}
	for range rapid.IntRange(0, 2).Draw(t, "deletes") {
		p := lifecycle.Push{At: moment("delete")}
		if rapid.Bool().Draw(t, "by tag") {
			p.Tag = drawTag()
		} else {
			p.Digest = rapid.SampledFrom(digests).Draw(t, "digest")
		}
		h.Deletes = append(h.Deletes, p)
	}
	return h
}

func replay(p *lifecycle.Policy, h *lifecycle.History, from, to time.Time) lifecycle.Backtest {
	r := lifecycle.NewReplay(p, h, from, to, lifecycle.Soon)
	for r.Day() {
	}
	return r.Report()
}

func TestReplayAgainstNaive(t *testing.T) {
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	to := from.Add(3*24*time.Hour + time.Hour)
	failed := 0
	rapid.Check(t, func(t *rapid.T) {
		p, h := drawPolicy(t), drawHistory(t, from)
		slices.SortStableFunc(h.Pushes, func(a, b lifecycle.Push) int { return int(a.At - b.At) })
		slices.SortStableFunc(h.Pulls, func(a, b lifecycle.Pull) int { return int(a.At - b.At) })
		want, unknown, unresolved := naiveReplay(p, h, from, to)
		report := replay(p, h, from, to)
		var got []string
		for _, f := range report.Failures {
			got = append(got, fmt.Sprint(f.Pull.At.Time().Sub(from), " ", f.Pull.Tag, f.Pull.Digest))
			if f.Reason == "" || f.Gone == 0 || f.Gone > f.Pull.At {
				t.Fatalf("%+v", f)
			}
		}
		if !slices.Equal(got, want) || report.Unknown != unknown || report.Unresolved != unresolved {
			t.Fatalf("%s\ngot  %q, %d unknown, %d unresolved\nwant %q, %d, %d\n%+v", p.JSON(), got, report.Unknown, report.Unresolved, want, unknown, unresolved, h)
		}
		failed += len(got)
	})
	if failed == 0 {
		t.Error("no pull failed in any history")
	}
}
