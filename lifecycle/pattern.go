package lifecycle

import "strings"

// Match reports whether pattern stands for the whole of tag. A * stands for
// any run of characters, also for none; everything else is itself, so that a
// pattern without * is a tag's exact name. The time is linear in both.
func Match(pattern, tag string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == tag
	}
	tag, ok := strings.CutPrefix(tag, first)
	for ok {
		first, rest, wild = strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(tag, first)
		}
		_, tag, ok = strings.Cut(tag, first) // the leftmost place leaves the most
	}
	return false
}

// A matcher is one entry of a list of prefixes or patterns.
type matcher struct {
	text   string
	prefix bool // text is a prefix, not a pattern
}

// matchers are the entries of s, of which each must match.
func (s *Selection) matchers() []matcher {
	var list []matcher
	for _, p := range s.TagPrefixes {
		list = append(list, matcher{p, true})
	}
	for _, p := range s.TagPatterns {
		if head := strings.TrimRight(p, "*"); head != p && !strings.Contains(head, "*") {
			list = append(list, matcher{head, true})
		} else {
			list = append(list, matcher{p, false})
		}
	}
	return list
}

func (m matcher) any(tags []string) bool {
	for _, tag := range tags {
		if m.prefix && strings.HasPrefix(tag, m.text) || !m.prefix && Match(m.text, tag) {
			return true
		}
	}
	return false
}

// all reports whether each matcher finds a tag; false if there are none.
func all(list []matcher, tags []string) bool {
	for _, m := range list {
		if !m.any(tags) {
			return false
		}
	}
	return len(list) > 0
}
