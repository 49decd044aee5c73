package lifecycle

import (
	"slices"
	"strings"
)

// maxTag is the length of a tag (OCI Distribution 1.1, "Pulling manifests").
const maxTag = 128

// wild stands for a run of characters in the letters of a matcher.
const wild = -1

// letters are a matcher's characters, with wild for what may be any.
func (m matcher) letters() []rune {
	if m.prefix {
		return append([]rune(m.text), wild)
	}
	out := make([]rune, 0, len(m.text))
	for _, r := range m.text {
		if r == '*' {
			r = wild
			if len(out) > 0 && out[len(out)-1] == wild {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// possible reports whether a tag that a registry takes can match: of letters,
// digits, "_", "." and "-", of which the last two do not begin it, and not too
// long.
func (m matcher) possible() bool {
	n := 0
	for i, r := range m.letters() {
		switch {
		case r == wild:
			continue
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
		case (r == '.' || r == '-') && i > 0:
		default:
			return false
		}
		n++
	}
	return n <= maxTag
}

// covers reports whether m matches every tag that o matches. It may say no
// where only an alphabet that ends makes it so.
func (m matcher) covers(o matcher) bool {
	if m == o || m.prefix && o.prefix {
		return strings.HasPrefix(o.text, m.text)
	}
	a, b := m.letters(), o.letters()
	if len(a) > 2*maxTag || len(b) > 2*maxTag {
		return false
	}
	// m as a pattern, o as the tag that it is asked about: a run of any
	// characters in it can only lie in one of m's.
	row := make([]bool, len(b)+1)
	row[0] = true
	for _, r := range a {
		if r == wild {
			for j := 1; j < len(row); j++ {
				row[j] = row[j] || row[j-1]
			}
			continue
		}
		for j := len(b); j > 0; j-- {
			row[j] = row[j-1] && b[j-1] == r
		}
		row[0] = false
	}
	return row[len(b)]
}

// meets reports whether one tag can match both.
func (m matcher) meets(o matcher) bool {
	if m.prefix && o.prefix {
		return strings.HasPrefix(m.text, o.text) || strings.HasPrefix(o.text, m.text)
	}
	a, b := m.letters(), o.letters()
	if len(a) > 2*maxTag || len(b) > 2*maxTag {
		return true
	}
	row := make([]bool, len(b)+1) // whether a[:i] and b[:j] can be the same
	for i := range len(a) + 1 {
		before := false // row[j-1] of the letter before
		for j := range row {
			up := row[j]
			switch {
			case i == 0:
				row[j] = j == 0 || row[j-1] && b[j-1] == wild
			case j == 0:
				row[j] = up && a[i-1] == wild
			default:
				row[j] = before && a[i-1] == b[j-1] && a[i-1] != wild ||
					a[i-1] == wild && (up || row[j-1]) || b[j-1] == wild && (up || row[j-1])
			}
			before = up
		}
	}
	return row[len(b)]
}

// needed are the entries of s without those that another one implies.
func (s *Selection) needed() []matcher {
	list := s.matchers()
	var out []matcher
	for i, m := range list {
		implied := false
		for j, o := range list {
			if i != j && m.covers(o) && (j < i || !o.covers(m)) {
				implied = true
				break
			}
		}
		if !implied {
			out = append(out, m)
		}
	}
	return out
}

// apart reports whether two of the entries cannot match the same tag: then the
// list was hardly meant to ask for tags of each.
func apart(list []matcher) bool {
	for i := range list {
		for j := range i {
			if !list[i].meets(list[j]) {
				return true
			}
		}
	}
	return false
}

// selectsNothing reports whether no image of a registry can be in s.
func (s *Selection) selectsNothing() bool {
	return s.TagStatus == Tagged && slices.ContainsFunc(s.matchers(), func(m matcher) bool { return !m.possible() })
}

// includes reports whether s selects every image that o selects.
func (s *Selection) includes(o *Selection) bool {
	if (s.StorageClass == Archive) != (o.StorageClass == Archive) {
		return false
	}
	switch {
	case s.TagStatus == Any:
		return true
	case s.TagStatus != o.TagStatus:
		return false
	case s.TagStatus == Untagged:
		return true
	}
	theirs := o.matchers()
	for _, m := range s.matchers() {
		if !slices.ContainsFunc(theirs, m.covers) {
			return false
		}
	}
	return len(theirs) > 0 && len(s.matchers()) > 0
}

// allTagged reports whether s selects every image with a tag.
func (s *Selection) allTagged() bool {
	list := s.matchers()
	for _, m := range list {
		if m != (matcher{"", true}) {
			return false
		}
	}
	return s.TagStatus == Tagged && len(list) > 0
}

// shadow returns the rules, before rules[i], that select every image that it
// does, so that it never owns one; nil if there are none. rules are by
// priority.
func shadow(rules []Rule, i int) []int {
	s := &rules[i].Selection
	tagged, untagged := -1, -1
	for j := range i {
		e := &rules[j].Selection
		if e.includes(s) {
			return []int{j}
		}
		if (e.StorageClass == Archive) != (s.StorageClass == Archive) {
			continue
		}
		if e.allTagged() {
			tagged = j
		}
		if e.TagStatus == Untagged {
			untagged = j
		}
	}
	if s.TagStatus == Any && tagged >= 0 && untagged >= 0 {
		return []int{min(tagged, untagged), max(tagged, untagged)}
	}
	return nil
}
