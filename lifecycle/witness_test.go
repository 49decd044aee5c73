package lifecycle_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/lifecycle"
)

// A part that has what Witnesses asks for decides about due as the whole does;
// whatever else is in it or was taken from the witnesses, it acts on nothing
// that the whole keeps.
func TestWitnesses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		whole := lifecycle.Evaluate(p, images, now)
		var due []int
		for i := range whole.Due() {
			if rapid.IntRange(0, 3).Draw(t, "asked") > 0 {
				due = append(due, i)
			}
		}
		witnesses := whole.Witnesses(due)
		lost := len(witnesses) > 0 && rapid.IntRange(0, 2).Draw(t, "some are lost") == 0
		if lost {
			witnesses = witnesses[1:]
		}
		part := partOf(images, due, witnesses, rapid.SliceOfN(rapid.IntRange(0, max(len(images)-1, 0)), 0, 2).Draw(t, "more"))
		e := lifecycle.Evaluate(p, pick(images, part), now)
		for n, i := range part {
			in, want := e.Verdicts[n], whole.Verdicts[i]
			asked := slices.Contains(due, i)
			mild := in.Follows && in.Outcome == lifecycle.Transition // its subject is archived, and stays in the part
			if in.Due() && asked && (!want.Due() || in.Outcome != want.Outcome && !mild) {
				t.Fatalf("image %d: the part says %v, the whole %v", i, in, want)
			}
			if !lost && asked && (in.Due() != want.Due() || in.Outcome != want.Outcome || in.Rule != want.Rule) {
				t.Fatalf("image %d was due: the part says %v, the whole %v", i, in, want)
			}
			if in.Outcome != lifecycle.Keep && want.Outcome == lifecycle.Keep && !in.Follows && !want.Follows {
				t.Fatalf("image %d: the part marks what the whole keeps: %v, %v", i, in, want)
			}
		}
	})
}

// partOf closes the indexes over what Witnesses says.
func partOf(images []lifecycle.Image, due, witnesses, more []int) []int {
	var part []int
	add := func(i int) {
		if i < len(images) && !slices.Contains(part, i) {
			part = append(part, i)
		}
	}
	subjects := func() {
		for n := 0; n < len(part); n++ {
			if s := images[part[n]].Subject; s >= 0 {
				add(int(s))
			}
		}
	}
	for _, i := range due {
		add(i)
	}
	for n := 0; n < len(part); n++ {
		for i := range images {
			if images[i].Subject == int32(part[n]) {
				add(i)
			}
		}
	}
	subjects()
	for _, i := range slices.Clone(part) {
		for list := range images {
			if slices.Contains(images[list].Children, int32(i)) {
				add(list)
			}
		}
	}
	for _, i := range append(slices.Clone(witnesses), more...) {
		add(i)
	}
	subjects()
	return part
}
