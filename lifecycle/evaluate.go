package lifecycle

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"
	"time"
)

// An Outcome is what a policy does with an image.
type Outcome uint8

const (
	Keep       Outcome = iota
	Expire             // delete the image with all of its tags
	Transition         // move it to the archive class
)

// String is the outcome as the API's ImageActionType spells it; "" for Keep.
func (o Outcome) String() string { return [...]string{"", "EXPIRE", "TRANSITION"}[min(o, Transition)] }

// A Verdict is what a policy says about one image.
type Verdict struct {
	// Rule is the index in Evaluation.Rules of the first rule that selects
	// the image: no later one acts on it. For an image that follows its
	// subject it is the rule that acts on the subject. -1 if there is none.
	Rule int32
	// Position counts the images of the rule's selection from the youngest,
	// which is 1. It is 0 where Rule says nothing about the image itself.
	Position int32
	// HeldBy is the index of a manifest list that refers to the image and
	// for which the outcome is withheld (ImageReferencedByManifestList): the
	// one of the lowest digest. -1 if nothing is withheld.
	HeldBy int32
	// Follows says that the image refers to a subject that is in the
	// repository, and shares its fate instead of being selected by rules.
	Follows bool
	Outcome Outcome
}

// Due reports whether the outcome is to be carried out.
func (v *Verdict) Due() bool { return v.Outcome != Keep && v.HeldBy < 0 }

// A Tally counts images.
type Tally struct {
	Images int   `json:"images"`
	Bytes  int64 `json:"bytes"` // sum of the images' sizes; layers that they share count each time
}

func (t *Tally) add(m *Image) { t.Images++; t.Bytes += m.Size }

// A RuleTally counts the images of one rule; those that follow a subject are
// in none.
type RuleTally struct {
	Selected int   // match the selection
	Owned    Tally // of these, no earlier rule selects them
	Due      Tally // of these, the action is to be carried out
	Withheld Tally // of the owned, the action is withheld
}

// A Summary counts what an evaluation decided.
type Summary struct {
	Images     Tally // all
	Expire     Tally // due
	Transition Tally // due
	Withheld   Tally
	Rules      []RuleTally // one for each of Evaluation.Rules
}

// An Evaluation is the decision about all images of a repository at one moment.
// It refers to the images that it was made of, which must not change.
type Evaluation struct {
	Rules    []Rule // by priority
	Images   []Image
	Now      Instant
	Verdicts []Verdict // one for each of Images
	Summary  Summary

	rules []rule
	order []int32 // indexes of images, youngest first
}

// A rule is a rule made ready.
type rule struct {
	tagStatus TagStatus
	archive   bool
	match     []matcher
	count     CountType
	keep      int     // how many the rule keeps, with imageCountMoreThan
	before    Instant // what is older is marked, with the other count types
	outcome   Outcome
	selected  int
	last      int32 // the oldest image that is kept, if more are selected than keep
}

// Evaluate decides what p does with images at the moment now (ECR behaviour,
// §2 "Evaluation algorithm"; the decisions that it leaves open are in the
// package's comment). The order of images has no influence. Indexes that lead
// out of images are ignored.
//
// The time is O(n log n) for the order and O(rules · tags) an image for the
// rest. Beside images, 20 bytes an image are kept, and up to 28 more are used
// on the way.
func Evaluate(p *Policy, images []Image, now time.Time) *Evaluation {
	e := &Evaluation{Rules: byPriority(p.Rules), Images: images, Now: At(now)}
	e.rules = make([]rule, len(e.Rules))
	for i := range e.Rules {
		e.rules[i] = e.Rules[i].compile(e.Now)
	}
	e.Verdicts = make([]Verdict, len(images))
	e.order = youngestFirst(images)
	e.applyRules()
	held := e.holders()
	for i := range e.Verdicts {
		e.hold(int32(i), held)
	}
	e.follow(held)
	e.sum()
	return e
}

func (r *Rule) compile(now Instant) rule {
	c := rule{
		tagStatus: r.Selection.TagStatus,
		archive:   r.Selection.StorageClass == Archive,
		match:     r.Selection.matchers(),
		count:     r.Selection.CountType,
		before:    math.MinInt64,
		outcome:   Expire,
		last:      -1,
	}
	if r.Action.Type == ActionTransition {
		c.outcome = Transition
	}
	if c.count == ImageCountMoreThan {
		c.keep = r.Selection.CountNumber
	} else if n := r.Selection.CountNumber; n <= maxDays && now > 0 {
		c.before = now - Instant(n)*Instant(day)
	}
	return c
}

const (
	day     = 24 * time.Hour
	maxDays = 100 * 365 // no image is older; an Instant holds twice of it
)

// selects reports whether the image is in the rule's selection.
func (r *rule) selects(m *Image) bool {
	if m.Archived != r.archive {
		return false
	}
	switch r.tagStatus {
	case Any:
		return true
	case Untagged:
		return len(m.Tags) == 0
	}
	return len(m.Tags) > 0 && all(r.match, m.Tags)
}

// marks reports whether the rule would act on an image of its selection that
// is at position in it.
func (r *rule) marks(m *Image, position int) bool {
	if r.count == ImageCountMoreThan {
		return position > r.keep
	}
	at, _ := m.since(r.count)
	return at != 0 && at < r.before
}

// compareAge orders images from the youngest. Of two of the same age, the one
// with the lower digest counts as the older.
func compareAge(a, b *Image) int {
	if c := cmp.Compare(b.age(), a.age()); c != 0 {
		return c
	}
	return strings.Compare(b.Digest, a.Digest)
}

func youngestFirst(images []Image) []int32 {
	type key struct {
		at Instant
		i  int32
	}
	keys := make([]key, len(images))
	for i := range images {
		keys[i] = key{images[i].age(), int32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if c := cmp.Compare(b.at, a.at); c != 0 {
			return c
		}
		return compareAge(&images[a.i], &images[b.i])
	})
	order := make([]int32, len(keys))
	for n, k := range keys {
		order[n] = k.i
	}
	return order
}

// applyRules is steps 2 and 3: every rule counts its whole selection, and the
// first rule that selects an image decides.
func (e *Evaluation) applyRules() {
	for _, i := range e.order {
		m, v := &e.Images[i], &e.Verdicts[i]
		*v = Verdict{Rule: -1, HeldBy: -1, Follows: e.subject(i) >= 0}
		if v.Follows {
			continue
		}
		for n := range e.rules {
			r := &e.rules[n]
			if !r.selects(m) {
				continue
			}
			r.selected++
			if r.selected == r.keep {
				r.last = i
			}
			if v.Rule >= 0 {
				continue
			}
			v.Rule, v.Position = int32(n), int32(r.selected)
			if r.marks(m, r.selected) {
				v.Outcome = r.outcome
			}
		}
	}
}

// subject is the index of the image that i refers to, or -1.
func (e *Evaluation) subject(i int32) int32 {
	if s := e.Images[i].Subject; s >= 0 && int(s) < len(e.Images) && s != i {
		return s
	}
	return -1
}

// holders gives for each image a list that protects it, or -1 (step 4): one
// that is not archived, for what is archived first is no obstacle. It is nil
// if there are no lists.
func (e *Evaluation) holders() []int32 {
	var held []int32
	for i := range e.Images {
		list := &e.Images[i]
		if list.Archived {
			continue
		}
		for _, c := range list.Children {
			if c < 0 || int(c) >= len(e.Images) || int(c) == i {
				continue
			}
			if held == nil {
				held = slices.Repeat([]int32{-1}, len(e.Images))
			}
			if held[c] < 0 || list.Digest < e.Images[held[c]].Digest {
				held[c] = int32(i)
			}
		}
	}
	return held
}

// hold withholds what was decided about i if a list protects it.
func (e *Evaluation) hold(i int32, held []int32) {
	if v := &e.Verdicts[i]; held != nil && v.Outcome != Keep {
		v.HeldBy = held[i]
	}
}

// follow is step 5: from the subjects down, an image does what its subject
// does. What refers to itself in a circle, which digests rule out, is kept.
func (e *Evaluation) follow(held []int32) {
	var first, next []int32 // referrers of each image, as linked lists
	for i := range e.Verdicts {
		if !e.Verdicts[i].Follows {
			continue
		}
		if first == nil {
			first = slices.Repeat([]int32{-1}, len(e.Images))
			next = slices.Clone(first)
		}
		s := e.subject(int32(i))
		next[i], first[s] = first[s], int32(i)
	}
	var todo []int32
	for i := range first {
		if first[i] < 0 || e.Verdicts[i].Follows {
			continue
		}
		todo = append(todo, int32(i))
		for len(todo) > 0 {
			s := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for r := first[s]; r >= 0; r = next[r] {
				e.inherit(r, s)
				e.hold(r, held)
				if first[r] >= 0 {
					todo = append(todo, r)
				}
			}
		}
	}
}

// inherit gives the image i what happens to its subject s, or happened to it
// before.
func (e *Evaluation) inherit(i, s int32) {
	v, from := &e.Verdicts[i], &e.Verdicts[s]
	switch {
	case from.Due() && (from.Outcome == Expire || !e.Images[i].Archived):
		v.Rule, v.Outcome = from.Rule, from.Outcome
	case e.Images[s].Archived && !e.Images[i].Archived:
		v.Outcome = Transition
	}
}

func (e *Evaluation) sum() {
	s := &e.Summary
	s.Rules = make([]RuleTally, len(e.rules))
	for n := range e.rules {
		s.Rules[n].Selected = e.rules[n].selected
	}
	for i := range e.Verdicts {
		v, m := &e.Verdicts[i], &e.Images[i]
		s.Images.add(m)
		due, withheld, owned := new(Tally), new(Tally), new(Tally)
		if v.Rule >= 0 && !v.Follows {
			r := &s.Rules[v.Rule]
			due, withheld, owned = &r.Due, &r.Withheld, &r.Owned
		}
		owned.add(m)
		switch {
		case v.Outcome == Keep:
			continue
		case !v.Due():
			s.Withheld.add(m)
			withheld.add(m)
			continue
		case v.Outcome == Expire:
			s.Expire.add(m)
		default:
			s.Transition.add(m)
		}
		due.add(m)
	}
}

// Due gives the images whose outcome is to be carried out, the oldest first
// (step 7): what a run does and a preview lists, in order.
func (e *Evaluation) Due() iter.Seq2[int, Outcome] {
	return func(yield func(int, Outcome) bool) {
		for _, i := range slices.Backward(e.order) {
			if v := &e.Verdicts[i]; v.Due() && !yield(int(i), v.Outcome) {
				return
			}
		}
	}
}
