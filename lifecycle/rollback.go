package lifecycle

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Window is how many images a prefix needs for a rollback over so many days:
// deploys a day times days, and a margin on top (0.2 is 20 %), rounded up.
func Window(deploysPerDay, days, margin float64) int {
	return withMargin(deploysPerDay*days, margin)
}

// withMargin rounds up, but not what binary fractions add.
func withMargin(n, margin float64) int {
	x := math.Round(n*(1+margin)*1e6) / 1e6
	return int(math.Ceil(min(x, math.MaxInt32)))
}

// A Rollback is what is on record about the images of a prefix.
type Rollback struct {
	Prefix string
	Images int // that are there, not archived
	Pushed int // on record, or there with a known time

	// Busiest is the most that were pushed in one window, which begins at
	// BusiestFrom.
	Busiest     int
	BusiestFrom Instant
	// Furthest is how many images back from the newest a pull has reached: 0 is
	// the newest. FurthestAt is when; 0: no pull is on record.
	Furthest   int
	FurthestAt Instant
	FurthestOf string // what was pulled

	// Keeps is how many of the youngest the policy is sure to keep. Unbounded
	// says that no rule ever takes one.
	Keeps     int
	Unbounded bool
	Why       string // which rule
}

// Rollbacks looks for the images with a tag that begins with prefix, at the pushes
// of any window of so many days, and at how far back pulls have reached. A nil
// policy keeps everything.
func Rollbacks(p *Policy, h *History, prefix string, days float64, now time.Time) Rollback {
	out := Rollback{Prefix: prefix}
	pushed := h.pushed(prefix)
	for i := range h.Images {
		if m := &h.Images[i]; !m.Archived && m.Subject < 0 && m.has(prefix) {
			out.Images++
		}
	}
	out.Pushed = len(pushed)
	window := Instant(days * float64(day))
	first := 0
	for i := range pushed {
		for pushed[i].At-pushed[first].At >= window {
			first++
		}
		if n := i - first + 1; n > out.Busiest {
			out.Busiest, out.BusiestFrom = n, pushed[first].At
		}
	}
	out.reach(pushed, h)
	out.keeps(p, h.Images, now)
	return out
}

func (m *Image) has(prefix string) bool {
	return slices.ContainsFunc(m.Tags, func(tag string) bool { return strings.HasPrefix(tag, prefix) })
}

// pushed are the images that ever had a tag with the prefix, by when they first
// had it.
func (h *History) pushed(prefix string) []Push {
	var list []Push
	for _, p := range h.Pushes {
		if p.Tag != "" && strings.HasPrefix(p.Tag, prefix) {
			list = append(list, p)
		}
	}
	onRecord := map[string]bool{}
	for _, p := range list {
		onRecord[p.Digest] = true
	}
	for i := range h.Images {
		if m := &h.Images[i]; m.PushedAt != 0 && m.Subject < 0 && !onRecord[m.Digest] && m.has(prefix) {
			list = append(list, Push{At: m.PushedAt, Digest: m.Digest})
		}
	}
	slices.SortStableFunc(list, func(a, b Push) int {
		if a.At != b.At {
			return int(max(-1, min(1, a.At-b.At)))
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(p Push) bool {
		again := seen[p.Digest]
		seen[p.Digest] = true
		return again
	})
}

// reach finds the pull that went furthest back.
func (r *Rollback) reach(pushed []Push, h *History) {
	place := map[string]int{}
	for i, p := range pushed {
		place[p.Digest] = i
	}
	moves := slices.Clone(h.Pushes)
	slices.SortStableFunc(moves, func(a, b Push) int { return int(max(-1, min(1, a.At-b.At))) })
	stands := map[string]string{} // what tags without a push on record stand for
	for i := range h.Images {
		for _, tag := range h.Images[i].Tags {
			stands[tag] = h.Images[i].Digest
		}
	}
	for _, p := range moves {
		delete(stands, p.Tag)
	}
	pulls := slices.Clone(h.Pulls)
	slices.SortStableFunc(pulls, func(a, b Pull) int { return int(max(-1, min(1, a.At-b.At))) })
	next, newest := 0, -1
	for _, pull := range pulls {
		for ; next < len(moves) && moves[next].At <= pull.At; next++ {
			if moves[next].Tag != "" {
				stands[moves[next].Tag] = moves[next].Digest
			}
		}
		for newest+1 < len(pushed) && pushed[newest+1].At <= pull.At {
			newest++
		}
		digest := pull.Digest
		if digest == "" {
			digest = stands[pull.Tag]
		}
		i, ok := place[digest]
		if !ok || pull.Layer != "" || i > newest {
			continue
		}
		if back := newest - i; r.FurthestAt == 0 || back > r.Furthest {
			r.Furthest, r.FurthestAt, r.FurthestOf = back, pull.At, pull.Tag
			if pull.Tag == "" {
				r.FurthestOf = pull.Digest
			}
		}
	}
}

// keeps finds how many of the youngest images the policy is sure to keep: the
// least that a rule which may own one keeps.
func (r *Rollback) keeps(p *Policy, images []Image, now time.Time) {
	r.Unbounded, r.Why = true, "no rule selects tags of this prefix: all are kept"
	if p == nil {
		return
	}
	e := Evaluate(p, images, now)
	for i := range e.Rules {
		s := &e.Rules[i].Selection
		if !s.takes(r.Prefix) {
			continue
		}
		keeps, why := e.sure(i, r.Prefix)
		if r.Unbounded || keeps < r.Keeps {
			r.Unbounded, r.Keeps, r.Why = false, keeps, why
		}
		if s.includes(&Selection{TagStatus: Tagged, TagPrefixes: []string{r.Prefix}}) {
			return // later rules own none
		}
	}
}

// sure is how many images with the prefix a rule keeps whatever happens.
func (e *Evaluation) sure(rule int, prefix string) (int, string) {
	s, priority := &e.Rules[rule].Selection, e.Rules[rule].Priority
	verb := "expires"
	if e.Rules[rule].Action.Type == ActionTransition {
		verb = "archives"
	}
	if s.CountType != ImageCountMoreThan {
		return 0, fmt.Sprintf("rule %d %s them by age, %d days, however few there are", priority, verb, s.CountNumber)
	}
	why := fmt.Sprintf("rule %d keeps %d", priority, s.CountNumber)
	if s.narrow(prefix) {
		return s.CountNumber, why
	}
	// The count is shared: what else the rule selects uses it up.
	mine, all := 0, 0
	for _, i := range e.order {
		if m := &e.Images[i]; all < s.CountNumber && !e.Verdicts[i].Follows && e.rules[rule].selects(m) {
			all++
			if m.has(prefix) {
				mine++
			}
		}
	}
	if all == mine {
		return s.CountNumber, why
	}
	return mine, why + fmt.Sprintf(" of all that it selects, of which %d have this prefix now", mine)
}

// takes reports whether an image whose tags all begin with prefix is in s, so far
// as that can be said: of a longer prefix or pattern it is assumed.
func (s *Selection) takes(prefix string) bool {
	if s.StorageClass == Archive || s.TagStatus == Untagged {
		return false
	}
	if s.TagStatus == Any {
		return true
	}
	list := s.needed()
	for _, m := range list {
		if !m.meets(matcher{prefix, true}) {
			return false
		}
	}
	return len(list) > 0 && !s.selectsNothing() && !apart(list)
}

// narrow reports whether all that s selects has a tag that begins with prefix.
func (s *Selection) narrow(prefix string) bool {
	return slices.ContainsFunc(s.matchers(), func(m matcher) bool { return matcher{prefix, true}.covers(m) })
}
