package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Guards hold back what a policy would do, without changing what it means: the
// evaluation stays as it is, and some of what is due is not carried out. They
// are Ecru's own; ECR has nothing like them. The zero value guards nothing.
type Guards struct {
	// PulledWithin keeps images that were pulled so recently from being
	// expired and from being archived. 0 is no such guard; less than 0 says
	// that a default is not wanted either.
	PulledWithin time.Duration
	// KeepLast keeps the images pushed last from being expired.
	KeepLast []PrefixCount
	// InUse has the images that are in use, by digest: they are neither
	// expired nor archived.
	InUse map[string]Use
}

// A PrefixCount is so many images that have a tag with a prefix. The prefix ""
// means every image with a tag.
type PrefixCount struct {
	Prefix string
	Count  int
}

// A Use says who reported an image as in use, and when last.
type Use struct {
	Source string
	At     Instant
}

// A Guard is a reason to hold an outcome back.
type Guard uint8

const (
	GuardInUse Guard = iota + 1
	GuardPulled
	GuardKeepLast
)

// String is the guard's name, as metrics and answers have it.
func (g Guard) String() string {
	return [...]string{"", "in-use", "pulled-within", "keep-last"}[min(g, GuardKeepLast)]
}

// Withheld is an outcome that is due and not to be carried out.
type Withheld struct {
	Image  int // the index in Evaluation.Images
	Guard  Guard
	Reason string // "pulled 3 d ago, guard keeps what was pulled within 30 d"
}

// A relation says how a guard came from one image to another.
type relation uint8

const (
	itself relation = iota
	refersTo
	referrer
	child
	subject
)

// String says what the image is to the one that the mark came from.
func (r relation) String() string {
	return [...]string{refersTo: "refers to", referrer: "is the subject of", child: "is part of", subject: "has the subject"}[min(r, subject)]
}

// A mark says why an image is guarded.
type mark struct {
	guard  Guard // 0: it is not
	how    relation
	detail int32 // of GuardKeepLast: the index in KeepLast
	by     int32 // the image that how leads to
	origin int32 // the image that a guard keeps for its own sake
}

// Apply returns which of the due outcomes of e are withheld, in the order of
// Due, and does not change e.
//
// An image is guarded for its own sake, or because it belongs to one that is.
// A list that refers to a guarded image is guarded, and a subject whose referrer
// is; so on upwards. Then all that these consist of is guarded: what a guarded
// list refers to, and what refers to a guarded subject; so on downwards. So
// images stay whole, with their signatures, while two lists that share a part
// do not keep each other.
func (g *Guards) Apply(e *Evaluation) []Withheld {
	if g.PulledWithin <= 0 && len(g.KeepLast) == 0 && len(g.InUse) == 0 {
		return nil
	}
	var due []int32
	expires := false
	for i, outcome := range e.Due() {
		due = append(due, int32(i))
		expires = expires || outcome == Expire
	}
	if due == nil {
		return nil
	}
	links := e.links()
	both := g.marks(e, false)
	links.close(both)
	var all []mark
	if expires && len(g.KeepLast) > 0 {
		all = g.marks(e, true)
		links.close(all)
	}
	var out []Withheld
	for _, i := range due {
		m := &both[i]
		if m.guard == 0 && all != nil && e.Verdicts[i].Outcome == Expire {
			m = &all[i]
		}
		if m.guard != 0 {
			out = append(out, Withheld{Image: int(i), Guard: m.guard, Reason: g.reason(e, m)})
		}
	}
	return out
}

// marks marks the images that are guarded for their own sake: against
// everything, or also those that are guarded against being expired only.
func (g *Guards) marks(e *Evaluation, keepLast bool) []mark {
	marks := make([]mark, len(e.Images))
	for i := range e.Images {
		m := &e.Images[i]
		self := mark{how: itself, origin: int32(i)}
		if _, used := g.InUse[m.Digest]; used {
			self.guard = GuardInUse
		} else if g.pulled(e, m) {
			self.guard = GuardPulled
		}
		marks[i] = self
	}
	if !keepLast {
		return marks
	}
	var latest []int32
	for n, keep := range g.KeepLast {
		latest = latest[:0]
		for i := range e.Images {
			if slices.ContainsFunc(e.Images[i].Tags, func(tag string) bool { return strings.HasPrefix(tag, keep.Prefix) }) {
				latest = append(latest, int32(i))
			}
		}
		slices.SortFunc(latest, func(a, b int32) int { return comparePush(&e.Images[a], &e.Images[b]) })
		for _, i := range latest[:min(keep.Count, len(latest))] {
			if marks[i].guard == 0 {
				marks[i].guard, marks[i].detail = GuardKeepLast, int32(n)
			}
		}
	}
	return marks
}

// pulled reports whether an image was pulled recently. A pull after the moment
// of the evaluation is one.
func (g *Guards) pulled(e *Evaluation, m *Image) bool {
	return g.PulledWithin > 0 && m.LastPulledAt != 0 && time.Duration(e.Now-m.LastPulledAt) <= g.PulledWithin
}

// comparePush orders images from the one pushed last.
func comparePush(a, b *Image) int {
	if a.PushedAt != b.PushedAt {
		if a.PushedAt > b.PushedAt {
			return -1
		}
		return 1
	}
	return strings.Compare(b.Digest, a.Digest)
}

// links are the references among images, both ways. The images that i belongs
// to, or that belong to it, are to[at[i]:at[i+1]].
type links struct {
	up, down edges
}

type edges struct {
	at, to []int32
	how    []relation
}

func (e *Evaluation) links() *links {
	l := new(links)
	n := len(e.Images)
	each := func(add func(parent, part int32, up, down relation)) {
		for i := range e.Images {
			for _, c := range e.Images[i].Children {
				if c >= 0 && int(c) < n && int(c) != i {
					add(int32(i), c, refersTo, child)
				}
			}
			if s := e.subject(int32(i)); s >= 0 {
				add(s, int32(i), referrer, subject)
			}
		}
	}
	l.up.at, l.down.at = make([]int32, n+1), make([]int32, n+1)
	each(func(parent, part int32, _, _ relation) {
		l.up.at[part+1]++
		l.down.at[parent+1]++
	})
	for _, g := range []*edges{&l.up, &l.down} {
		for i := range n {
			g.at[i+1] += g.at[i]
		}
		g.to, g.how = make([]int32, g.at[n]), make([]relation, g.at[n])
	}
	filled := [2][]int32{slices.Clone(l.up.at), slices.Clone(l.down.at)}
	each(func(parent, part int32, up, down relation) {
		k := &filled[0][part]
		l.up.to[*k], l.up.how[*k] = parent, up
		*k++
		k = &filled[1][parent]
		l.down.to[*k], l.down.how[*k] = part, down
		*k++
	})
	return l
}

// close carries marks up to what the marked images belong to, and then down to
// all that these consist of.
func (l *links) close(marks []mark) {
	l.up.spread(marks)
	l.down.spread(marks)
}

// spread carries marks along edges, to those that are nearest first.
func (g *edges) spread(marks []mark) {
	var todo []int32
	for i := range marks {
		if marks[i].guard != 0 {
			todo = append(todo, int32(i))
		}
	}
	for n := 0; n < len(todo); n++ {
		from := todo[n]
		for k := g.at[from]; k < g.at[from+1]; k++ {
			to := g.to[k]
			if marks[to].guard != 0 {
				continue
			}
			marks[to] = marks[from]
			marks[to].how, marks[to].by = g.how[k], from
			todo = append(todo, to)
		}
	}
}

// reason says why an image is guarded, as "in use: reported by cluster-a 2 h
// ago", or "refers to sha256:…, which is in use: …".
func (g *Guards) reason(e *Evaluation, m *mark) string {
	text := g.self(e, m)
	if m.how == itself {
		return text
	}
	what := m.how.String() + " " + e.Images[m.by].Digest
	if m.by == m.origin {
		return what + ": " + text
	}
	return fmt.Sprintf("%s, which belongs to %s: %s", what, e.Images[m.origin].Digest, text)
}

// self says why the origin of a mark is guarded for its own sake.
func (g *Guards) self(e *Evaluation, m *mark) string {
	switch image := &e.Images[m.origin]; m.guard {
	case GuardInUse:
		u := g.InUse[image.Digest]
		return fmt.Sprintf("in use: reported by %s %s ago", u.Source, rough(time.Duration(e.Now-u.At)))
	case GuardPulled:
		return fmt.Sprintf("pulled %s ago, guard keeps what was pulled within %s", rough(time.Duration(e.Now-image.LastPulledAt)), rough(g.PulledWithin))
	default:
		keep := g.KeepLast[m.detail]
		if keep.Prefix == "" {
			return fmt.Sprintf("one of the last %d with a tag", keep.Count)
		}
		return fmt.Sprintf("one of the last %d of %s", keep.Count, keep.Prefix)
	}
}

// rough writes a duration in the largest unit of which there are two or more.
func rough(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d >= 2*day || d == day:
		return fmt.Sprintf("%d d", d/day)
	case d >= 2*time.Hour || d == time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
