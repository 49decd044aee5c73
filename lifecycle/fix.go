package lifecycle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Fix is p as it was meant where its rules ask for tags of entries that no tag
// has together: one rule an entry, each with the description, count and action
// of the rule that it comes from. Priorities are 1, 2, 3 in the order of p; all
// other rules are as they were. A rule that the split shadows is left out, and
// so is an entry that cannot match.
//
// Where images of the repository have tags of several entries of a rule that
// counts, a rule for these images comes before the single ones. So what is
// among the youngest of any entry is kept, whatever other tags it has.
func Fix(p *Policy, images []Image) (*Policy, error) {
	var out, parts []Rule
	for _, r := range byPriority(p.Rules) {
		pieces := []Rule{r}
		split := r.Selection.TagStatus == Tagged && apart(r.Selection.needed())
		if split {
			pieces = r.split(images)
		}
		for _, piece := range pieces {
			before := parts
			if split {
				before = out
			}
			if slices.ContainsFunc(before, func(e Rule) bool { return e.Selection.includes(&piece.Selection) }) {
				continue
			}
			out = append(out, piece)
			if split {
				parts = append(parts, piece)
			}
		}
	}
	for i := range out {
		out[i].Priority = i + 1
	}
	switch n := len(out); {
	case n > MaxRules:
		return nil, fmt.Errorf("one rule an entry makes %d rules, at most %d are allowed: leave some out first", n, MaxRules)
	case n == 0:
		return nil, errors.New("no rule of the policy can match anything: there is nothing to repair")
	}
	fixed := &Policy{Rules: out}
	if _, err := Parse(fixed.JSON()); err != nil {
		return nil, fmt.Errorf("the repaired policy would not be accepted: %w", err)
	}
	return fixed, nil
}

// split is a rule an entry of r.
func (r *Rule) split(images []Image) (out []Rule) {
	needed := r.Selection.needed()
	var sets [][]matcher
	if r.Selection.CountType == ImageCountMoreThan {
		sets = together(needed, images, r.Selection.StorageClass == Archive)
	}
	for _, m := range needed {
		sets = append(sets, []matcher{m})
	}
	for _, set := range sets {
		piece := *r
		piece.Selection.TagPrefixes, piece.Selection.TagPatterns = nil, nil
		for _, m := range set {
			if len(r.Selection.TagPrefixes) > 0 {
				piece.Selection.TagPrefixes = append(piece.Selection.TagPrefixes, m.text)
				continue
			}
			if m.prefix {
				m.text += "*"
			}
			piece.Selection.TagPatterns = append(piece.Selection.TagPatterns, m.text)
		}
		if !piece.Selection.selectsNothing() {
			out = append(out, piece)
		}
	}
	return out
}

// together are the sets of two or more of the entries of which images have
// tags, the largest first.
func together(entries []matcher, images []Image, archived bool) (out [][]matcher) {
	seen := map[string]bool{}
	for i := range images {
		m := &images[i]
		if m.Archived != archived || len(m.Tags) < 2 {
			continue
		}
		var set []matcher
		var key strings.Builder
		for n, e := range entries {
			if e.any(m.Tags) {
				set = append(set, e)
				fmt.Fprintf(&key, "%d ", n)
			}
		}
		if len(set) > 1 && !seen[key.String()] {
			seen[key.String()] = true
			out = append(out, set)
		}
	}
	slices.SortStableFunc(out, func(a, b []matcher) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), slices.CompareFunc(a, b, func(x, y matcher) int { return strings.Compare(x.text, y.text) }))
	})
	return out
}
