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

// hours are ages that lie on both sides of the limits that rules have.
var hours = []int{0, 1, 23, 24, 25, 47, 48, 49, 72, 90*24 - 1, 90 * 24, 90*24 + 1, 100 * 24, 400 * 24}

func drawAgo(t *rapid.T, what string) lifecycle.Instant {
	return lifecycle.At(now.Add(-time.Duration(rapid.SampledFrom(hours).Draw(t, what)) * time.Hour))
}

func drawSometimes(t *rapid.T, what string) lifecycle.Instant {
	if rapid.Bool().Draw(t, "ever "+what) {
		return drawAgo(t, what)
	}
	return 0
}

// drawPolicy draws a policy that Parse accepts, from rules that it may.
func drawPolicy(t *rapid.T) *lifecycle.Policy {
	p := &lifecycle.Policy{}
	for range rapid.IntRange(1, 7).Draw(t, "rules") {
		longer := &lifecycle.Policy{Rules: append(slices.Clone(p.Rules), drawRule(t))}
		if parsed, err := lifecycle.Parse(longer.JSON()); err == nil {
			p = parsed
		}
	}
	if len(p.Rules) == 0 {
		t.Fatal("a rule alone was refused")
	}
	return p
}

func drawRule(t *rapid.T) lifecycle.Rule {
	r := lifecycle.Rule{Priority: rapid.IntRange(1, 20).Draw(t, "priority"), Description: rapid.StringN(0, 3, 9).Draw(t, "description")}
	s := &r.Selection
	s.TagStatus = rapid.SampledFrom([]lifecycle.TagStatus{lifecycle.Tagged, lifecycle.Tagged, lifecycle.Untagged, lifecycle.Any}).Draw(t, "status")
	if s.TagStatus == lifecycle.Tagged && rapid.Bool().Draw(t, "prefixes") {
		s.TagPrefixes = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "a-1", "c"}), 1, 3).Draw(t, "prefixes")
	} else if s.TagStatus == lifecycle.Tagged {
		s.TagPatterns = rapid.SliceOfN(rapid.SampledFrom([]string{"a*", "*b*", "*", "a-1", "*-*", "*1", "c**2", "a*-*1"}), 1, 3).Draw(t, "patterns")
	}
	s.CountType = rapid.SampledFrom([]lifecycle.CountType{lifecycle.ImageCountMoreThan, lifecycle.ImageCountMoreThan, lifecycle.SinceImagePushed, lifecycle.SinceImagePulled, lifecycle.SinceImageTransitioned}).Draw(t, "count")
	s.StorageClass, s.CountUnit, s.CountNumber = lifecycle.Standard, lifecycle.Days, rapid.IntRange(1, 3).Draw(t, "number")
	transition := rapid.Bool().Draw(t, "transition")
	switch s.CountType {
	case lifecycle.ImageCountMoreThan:
		s.CountUnit = ""
	case lifecycle.SinceImagePulled:
		transition = true
	case lifecycle.SinceImageTransitioned:
		s.StorageClass, transition = lifecycle.Archive, false
		s.CountNumber = rapid.IntRange(90, 91).Draw(t, "archived days")
	}
	r.Action = lifecycle.Action{Type: lifecycle.ActionExpire}
	if transition {
		r.Action = lifecycle.Action{Type: lifecycle.ActionTransition, TargetStorageClass: lifecycle.Archive}
	}
	return r
}

// drawImages draws a repository: lists of lists, referrers of referrers, of
// children and in lists, archived and restored images, times that are equal.
// What an image refers to comes before it; the slice is shuffled then.
func drawImages(t *rapid.T) []lifecycle.Image {
	n := rapid.IntRange(0, 12).Draw(t, "images")
	images := make([]lifecycle.Image, n)
	digests := rapid.Permutation(strings.Split("abcdefghijklmnop", "")).Draw(t, "digests")
	for i := range images {
		m := lifecycle.Image{Digest: "sha256:" + digests[i], Subject: -1, Size: int64(i)}
		m.Tags = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "ab", "a-1", "c-2", "b-1", "x"}), 0, 4, rapid.ID[string]).Draw(t, "tags")
		m.PushedAt, m.LastPulledAt = drawAgo(t, "pushed"), drawSometimes(t, "pulled")
		m.ArchivedAt = drawSometimes(t, "archived")
		if m.ArchivedAt != 0 {
			m.Archived = rapid.Bool().Draw(t, "is archived")
			m.ActivatedAt = drawSometimes(t, "activated")
		}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "refers") == 0 {
			m.Subject = rapid.Int32Range(0, int32(i)-1).Draw(t, "subject")
		}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "is list") == 0 {
			m.Children = rapid.SliceOfN(rapid.Int32Range(0, int32(i)-1), 1, 4).Draw(t, "children")
		}
		images[i] = m
	}
	return shuffle(t, images)
}

// shuffle is the same repository in another order.
func shuffle(t *rapid.T, images []lifecycle.Image) []lifecycle.Image {
	from := make([]int, len(images))
	for i := range from {
		from[i] = i
	}
	if len(from) > 1 {
		from = rapid.Permutation(from).Draw(t, "order")
	}
	return pick(images, from)
}

// pick is the repository of the images from, and the references among them.
func pick(images []lifecycle.Image, from []int) []lifecycle.Image {
	out := make([]lifecycle.Image, len(from))
	for i, j := range from {
		m := images[j]
		if m.Subject >= 0 {
			m.Subject = int32(slices.Index(from, int(m.Subject)))
		}
		m.Children = nil
		for _, c := range images[j].Children {
			if k := slices.Index(from, int(c)); k >= 0 {
				m.Children = append(m.Children, int32(k))
			}
		}
		out[i] = m
	}
	return out
}

// carryOut is the repository after what e decided.
func carryOut(e *lifecycle.Evaluation) []lifecycle.Image {
	images := slices.Clone(e.Images)
	gone := map[int]bool{}
	for i, o := range e.Due() {
		switch o {
		case lifecycle.Expire:
			gone[i] = true
		case lifecycle.Transition:
			images[i].Archived, images[i].ArchivedAt = true, e.Now
		}
	}
	var stay []int
	for i := range images {
		if !gone[i] {
			stay = append(stay, i)
		}
	}
	return pick(images, stay)
}

func TestEvaluateAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		e := lifecycle.Evaluate(p, images, now)
		n := naive{p.Rules, images, now}
		var due, withheld int
		for i := range images {
			v, want := e.Verdicts[i], n.outcome(i)
			if v.Outcome != want || v.Due() != (n.acts(i) != lifecycle.Keep) {
				t.Fatalf("%s: %+v, want outcome %d, held %t\n%s", images[i].Digest, v, want, n.held(i), p.JSON())
			}
			if !n.refers(i) && int(v.Rule) != n.owner(i) {
				t.Fatalf("%s: rule %d, want %d", images[i].Digest, v.Rule, n.owner(i))
			}
			switch {
			case v.Due():
				due++
			case want != lifecycle.Keep:
				withheld++
			}
			checkReason(t, n, e, i)
		}
		if s := e.Summary; s.Expire.Images+s.Transition.Images != due || s.Withheld.Images != withheld || s.Images.Images != len(images) {
			t.Fatalf("%+v, want %d due, %d withheld", s, due, withheld)
		}
		for k, r := range p.Rules {
			selected := 0
			for i := range images {
				if n.selects(r, i) {
					selected++
				}
			}
			if selected != e.Summary.Rules[k].Selected {
				t.Fatalf("rule %d selects %d, want %d", k, e.Summary.Rules[k].Selected, selected)
			}
		}
	})
}

// checkReason: the reason names the rule from which the image is shielded, if
// there is one, and the list that holds it.
func checkReason(t *rapid.T, n naive, e *lifecycle.Evaluation, i int) {
	v, reason := e.Verdicts[i], e.Reason(i).String()
	want := ""
	if owner := n.owner(i); owner >= 0 && v.Outcome == lifecycle.Keep {
		for _, r := range n.rules[owner+1:] {
			if n.marks(r, i) {
				want = fmt.Sprint("shields it from rule ", r.Priority)
				break
			}
		}
	}
	if strings.Contains(reason, "shields") != (want != "") || !strings.HasSuffix(reason, want) {
		t.Fatalf("%s: reason %q, want …%q", n.images[i].Digest, reason, want)
	}
	if strings.Contains(reason, "withheld") != (v.HeldBy >= 0) {
		t.Fatalf("%+v: reason %q", v, reason)
	}
}

func TestOrderHasNoInfluence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		all := func(images []lifecycle.Image) (texts []string, due []string) {
			e := lifecycle.Evaluate(p, images, now)
			for i := range images {
				texts = append(texts, fmt.Sprint(images[i].Digest, e.Verdicts[i].Outcome, e.Verdicts[i].Due(), e.Reason(i)))
			}
			slices.Sort(texts)
			for i := range e.Due() {
				due = append(due, images[i].Digest)
			}
			return texts, due
		}
		texts, due := all(images)
		otherTexts, otherDue := all(shuffle(t, images))
		if !slices.Equal(texts, otherTexts) || !slices.Equal(due, otherDue) {
			t.Fatalf("%v %v\n%v %v", texts, due, otherTexts, otherDue)
		}
	})
}

// What doc.go says of evaluating again at the same moment.
func TestAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		e := lifecycle.Evaluate(p, images, now)
		for round := 0; ; round++ {
			if round > 2*len(images) {
				t.Fatal("there is no end")
			}
			withheld := map[string]bool{}
			orphans := false // the exception: a held referrer whose subject goes
			for i := range e.Images {
				v, m := &e.Verdicts[i], &e.Images[i]
				if v.Outcome != lifecycle.Keep && !v.Due() {
					withheld[m.Digest] = true
				}
				orphans = orphans || v.Follows && e.Verdicts[m.Subject].Due() && e.Verdicts[m.Subject].Outcome == lifecycle.Expire && v.HeldBy >= 0
			}
			next := lifecycle.Evaluate(p, carryOut(e), now)
			acted := false
			for i := range next.Due() {
				acted = true
				root := i
				for !withheld[next.Images[root].Digest] && next.Images[root].Subject >= 0 {
					root = int(next.Images[root].Subject)
				}
				if !withheld[next.Images[root].Digest] && !orphans {
					t.Fatalf("round %d: %s was not withheld, now %s", round, next.Images[i].Digest, next.Reason(i))
				}
			}
			if !acted {
				return
			}
			e = next
		}
	})
}
