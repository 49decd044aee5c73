package lifecycle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Layer is a layer or a config of an image.
type Layer struct {
	Digest string
	Size   int64 // bytes
}

// Freed is how many bytes of layers go with the images that expire in e: what no
// image that stays has. layers are those of each of e.Images.
func Freed(e *Evaluation, layers [][]Layer) int64 {
	kept := map[string]bool{}
	for i := range e.Images {
		if v := &e.Verdicts[i]; !v.Due() || v.Outcome != Expire {
			for _, l := range layers[i] {
				kept[l.Digest] = true
			}
		}
	}
	var freed int64
	for i := range e.Images {
		for _, l := range layers[i] {
			if !kept[l.Digest] {
				kept[l.Digest] = true
				freed += l.Size
			}
		}
	}
	return freed
}

// Unique is how many bytes layers take, each counted once.
func Unique(layers [][]Layer) (bytes int64) {
	seen := map[string]bool{}
	for _, list := range layers {
		for _, l := range list {
			if !seen[l.Digest] {
				seen[l.Digest] = true
				bytes += l.Size
			}
		}
	}
	return bytes
}

// Kind is what a tag has in common with those of other builds: what comes before
// the first digit, or up to the first separator: "prod-" of prod-17, "v" of v1.2.
// A commit's hash has none.
func Kind(tag string) string {
	for i, r := range tag {
		switch {
		case r >= '0' && r <= '9':
			if i > 0 && isHex(tag) {
				return ""
			}
			return tag[:i]
		case r == '-' || r == '_' || r == '.':
			return tag[:i+1]
		}
	}
	if isHex(tag) && len(tag) >= 7 {
		return ""
	}
	return tag
}

func isHex(tag string) bool {
	return strings.Trim(tag, "0123456789abcdef") == "" && len(tag) >= 7
}

// A Push is an image that was pushed, or a tag that was moved to one.
type Push struct {
	At     Instant
	Digest string
	Tag    string // "" if it was pushed by digest
}

// A Rate is how often images of a kind are pushed.
type Rate struct {
	Kinds  []string `json:"kinds"` // of their tags; none: untagged
	PerDay float64  `json:"perDay"`
	Size   int64    `json:"averageBytes"`
}

// Rates are what was pushed a day from a time on: the images that are there and
// were pushed since, and those that only pushes tell of. Sizes of the latter are
// taken to be those of their kind. The kinds with the most pushes come first.
// Referrers and the untagged parts of lists are not counted by themselves; the
// latter add to the size of their list.
func Rates(images []Image, pushes []Push, from, now time.Time) []Rate {
	days := now.Sub(from).Hours() / 24
	if days <= 0 {
		return nil
	}
	tags := map[string]map[string]bool{} // of each image that was pushed
	size := map[string]int64{}
	part := map[string]bool{}
	for i := range images {
		m := &images[i]
		size[m.Digest] += m.Size
		if m.Subject >= 0 {
			part[m.Digest] = true
		}
		for _, c := range m.Children {
			if c >= 0 && int(c) < len(images) && len(images[c].Tags) == 0 {
				part[images[c].Digest] = true
				size[m.Digest] += images[c].Size
			}
		}
	}
	note := func(digest, tag string) {
		if part[digest] {
			return
		}
		if tags[digest] == nil {
			tags[digest] = map[string]bool{}
		}
		if tag != "" {
			tags[digest][Kind(tag)] = true
		}
	}
	for i := range images {
		if m := &images[i]; m.PushedAt >= At(from) && m.PushedAt <= At(now) {
			note(m.Digest, "")
			for _, tag := range m.Tags {
				note(m.Digest, tag)
			}
		}
	}
	for _, p := range pushes {
		if p.At >= At(from) && p.At <= At(now) {
			note(p.Digest, p.Tag)
		}
	}
	return sumRates(tags, size, days)
}

func sumRates(tags map[string]map[string]bool, size map[string]int64, days float64) []Rate {
	type group struct {
		kinds    []string
		n, sized int
		bytes    int64
	}
	groups := map[string]*group{}
	for digest, set := range tags {
		var kinds []string
		for kind := range set {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		key := fmt.Sprintf("%q", kinds)
		g := groups[key]
		if g == nil {
			g = &group{kinds: kinds}
			groups[key] = g
		}
		g.n++
		if n, ok := size[digest]; ok {
			g.sized++
			g.bytes += n
		}
	}
	var out []Rate
	for _, g := range groups {
		r := Rate{Kinds: g.kinds, PerDay: float64(g.n) / days}
		if g.sized > 0 {
			r.Size = g.bytes / int64(g.sized)
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Rate) int {
		return cmp.Or(cmp.Compare(b.PerDay, a.PerDay), slices.Compare(a.Kinds, b.Kinds))
	})
	return out
}

// An Outlook is a repository some days ahead.
type Outlook struct {
	Days     int   `json:"days"`
	Pushed   int   `json:"pushed"` // images by then
	Images   Tally `json:"images"` // that there are
	Expired  Tally `json:"expired"`
	Archived Tally `json:"archived"` // of those that there are
}

// Ahead carries p out day by day, with pushes at the rates, and tells the state
// on each of the days, which are ascending. A nil policy expires nothing. Nothing
// is pulled meanwhile.
func Ahead(p *Policy, images []Image, rates []Rate, now time.Time, days ...int) []Outlook {
	s := slices.Clone(images)
	if p == nil {
		p = new(Policy)
	}
	owed := make([]float64, len(rates))
	var out []Outlook
	var total Outlook
	for d := 0; len(out) < len(days); d++ {
		at := now.Add(time.Duration(d) * day)
		if d > 0 {
			before := len(s)
			s = pushDay(s, rates, owed, at, total.Pushed)
			total.Pushed += len(s) - before
		}
		e := Evaluate(p, s, at)
		total.Expired.Images += e.Summary.Expire.Images
		total.Expired.Bytes += e.Summary.Expire.Bytes
		s = After(e)
		if d == days[len(out)] {
			o := total
			o.Days = d
			for i := range s {
				o.Images.add(&s[i])
				if s[i].Archived {
					o.Archived.add(&s[i])
				}
			}
			out = append(out, o)
		}
	}
	return out
}

// pushDay adds the images of a day that ends at a time, spread over it.
func pushDay(s []Image, rates []Rate, owed []float64, end time.Time, n int) []Image {
	for i, r := range rates {
		owed[i] += r.PerDay
		k := int(owed[i] + 1e-9)
		owed[i] -= float64(k)
		for j := range k {
			n++
			at := end.Add(-day + time.Duration(j+1)*day/time.Duration(k+1))
			m := Image{Digest: fmt.Sprintf("ahead:%012d", n), PushedAt: At(at), Subject: -1, Size: r.Size}
			for _, kind := range r.Kinds {
				m.Tags = append(m.Tags, fmt.Sprintf("%s%d", kind, n))
			}
			s = append(s, m)
		}
	}
	return s
}

// After is the repository after what e decided is carried out.
func After(e *Evaluation) []Image {
	to := make([]int32, len(e.Images))
	n := int32(0)
	for i := range e.Images {
		to[i] = -1
		if v := &e.Verdicts[i]; !v.Due() || v.Outcome != Expire {
			to[i] = n
			n++
		}
	}
	move := func(i int32) int32 {
		if i < 0 || int(i) >= len(to) {
			return -1
		}
		return to[i]
	}
	out := make([]Image, 0, n)
	for i, m := range e.Images {
		if to[i] < 0 {
			continue
		}
		if v := &e.Verdicts[i]; v.Due() {
			m.Archived, m.ArchivedAt = true, e.Now
		}
		m.Subject = move(m.Subject)
		var children []int32
		for _, c := range m.Children {
			if c = move(c); c >= 0 {
				children = append(children, c)
			}
		}
		m.Children = children
		out = append(out, m)
	}
	return out
}
