package lifecycle_test

import (
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/lifecycle"
)

// naive is the algorithm of ECR behaviour, §2, word by word: each question is
// asked of all images anew.
type naive struct {
	rules  []lifecycle.Rule
	images []lifecycle.Image
	now    time.Time
}

// selects: "storage class and tag requirement hold (tagged: AND rule;
// untagged: no tags; any: all)".
func (n naive) selects(r lifecycle.Rule, i int) bool {
	m, s := n.images[i], r.Selection
	if n.refers(i) { // decided: a referrer of what is there is in no selection
		return false
	}
	if (s.StorageClass == lifecycle.Archive) != m.Archived {
		return false
	}
	switch s.TagStatus {
	case lifecycle.Any:
		return true
	case lifecycle.Untagged:
		return len(m.Tags) == 0
	}
	for _, entry := range s.TagPrefixes {
		if !slices.ContainsFunc(m.Tags, func(tag string) bool { return strings.HasPrefix(tag, entry) }) {
			return false
		}
	}
	for _, entry := range s.TagPatterns {
		if !slices.ContainsFunc(m.Tags, func(tag string) bool { return naiveMatch(entry, tag) }) {
			return false
		}
	}
	return true
}

// pushedAt: "If an image was ever restored, lastActivatedAt replaces
// pushed_at".
func (n naive) pushedAt(i int) time.Time {
	if m := n.images[i]; m.ActivatedAt != 0 {
		return m.ActivatedAt.Time()
	}
	return n.images[i].PushedAt.Time()
}

// marks: "Every rule is evaluated independently on its whole selection,
// ignoring other rules".
func (n naive) marks(r lifecycle.Rule, i int) bool {
	if !n.selects(r, i) {
		return false
	}
	m := n.images[i]
	limit := n.now.AddDate(0, 0, -r.Selection.CountNumber)
	switch r.Selection.CountType {
	case lifecycle.ImageCountMoreThan:
		younger := 0
		for j := range n.images {
			if !n.selects(r, j) || i == j {
				continue
			}
			a, b := n.pushedAt(j), n.pushedAt(i)
			if a.After(b) || a.Equal(b) && n.images[j].Digest > m.Digest {
				younger++
			}
		}
		return younger >= r.Selection.CountNumber
	case lifecycle.SinceImagePushed:
		return n.pushedAt(i).Before(limit)
	case lifecycle.SinceImageTransitioned:
		return m.ArchivedAt.Time().Before(limit)
	}
	switch at := m.LastPulledAt.Time(); {
	case m.LastPulledAt == 0:
		return n.pushedAt(i).Before(limit)
	case m.ActivatedAt != 0 && at.Before(m.ActivatedAt.Time()):
		return m.ActivatedAt.Time().Before(limit)
	default:
		return at.Before(limit)
	}
}

// owner: "first rule (by priority) selecting I".
func (n naive) owner(i int) int {
	owner := -1
	for k, r := range n.rules {
		if n.selects(r, i) && (owner < 0 || r.Priority < n.rules[owner].Priority) {
			owner = k
		}
	}
	return owner
}

// refers says that the image has a subject in the repository.
func (n naive) refers(i int) bool { return n.images[i].Subject >= 0 }

// outcome: "act on I iff owner marked it"; "Referrers: expired/archived
// automatically after their subject".
func (n naive) outcome(i int) lifecycle.Outcome {
	m := n.images[i]
	if n.refers(i) {
		s := int(m.Subject)
		switch does := n.acts(s); {
		case does == lifecycle.Expire:
			return lifecycle.Expire
		case (does == lifecycle.Transition || n.images[s].Archived) && !m.Archived:
			return lifecycle.Transition
		}
		return lifecycle.Keep
	}
	switch k := n.owner(i); {
	case k < 0 || !n.marks(n.rules[k], i):
		return lifecycle.Keep
	case n.rules[k].Action.Type == lifecycle.ActionTransition:
		return lifecycle.Transition
	}
	return lifecycle.Expire
}

// held: "image referenced by a list is marked/counted but not acted on while
// the list exists; a later run takes it after the list is expired/archived".
func (n naive) held(i int) bool {
	return slices.ContainsFunc(n.images, func(list lifecycle.Image) bool {
		return !list.Archived && slices.Contains(list.Children, int32(i))
	})
}

func (n naive) acts(i int) lifecycle.Outcome {
	if n.held(i) {
		return lifecycle.Keep
	}
	return n.outcome(i)
}
