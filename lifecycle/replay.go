package lifecycle

import (
	"cmp"
	"slices"
	"time"
)

// A Replay carries a policy out over a history, a day at a time, on the strict
// side: at the beginning, at the start of each day, soon after each push or row
// of pushes, and if it looks at ages also before a pull that comes an hour or
// more later. AWS takes up to a day. Of images that were pushed before the
// beginning no pull before it is known, so a rule that counts from the last
// pull counts from the push.
type Replay struct {
	p      *Policy
	h      *History
	report Backtest
	aged   bool    // the policy looks at days
	soon   Instant // after a push the policy is carried out

	events []event
	next   int
	day    Instant // the next one that begins

	at     map[string]*actor   // all that ever was, by digest
	here   []*actor            // what is there
	images []Image             // room for it
	tags   map[string]*actor   // what each tag stands for; also one that is gone
	layers map[string][]*actor // what has a layer
	last   Instant             // when the policy was carried out last
	pushed Instant             // when something was pushed last
	dirty  bool                // since then it was not carried out
}

// Soon is how long a row of pushes, such as an image for several platforms takes,
// is left alone, if nothing else is asked for.
const Soon = time.Minute

// An actor is an image in a replay.
type actor struct {
	Image
	children []*actor
	subject  *actor
	place    int32    // in what is evaluated, if it is there; else -1
	tagged   []string // tags that it had from the beginning
	came     bool
	deleted  bool    // by somebody, not by the policy
	gone     Instant // taken by the policy, or archived
	reason   string
}

// An event is what happened at a moment; one of its pointers is set.
type event struct {
	at           Instant
	push, delete *Push
	pull         *Pull
	come         *actor // an image of which no push tells
}

// NewReplay prepares to carry p out from a time on, over all that h has on
// record until another, and so soon after pushes.
func NewReplay(p *Policy, h *History, from, to time.Time, soon time.Duration) *Replay {
	r := &Replay{p: p, h: h, soon: Instant(soon), report: Backtest{From: from, To: to}, day: At(from),
		at: map[string]*actor{}, tags: map[string]*actor{}, layers: map[string][]*actor{}}
	for i := range p.Rules {
		r.aged = r.aged || p.Rules[i].Selection.CountType != ImageCountMoreThan
	}
	r.addImages()
	r.addGone()
	r.addEvents()
	return r
}

// addImages makes actors of what is there now. What was archived or restored
// meanwhile is taken to be as it was pushed: it is p that archives.
func (r *Replay) addImages() {
	images := r.h.Images
	actors := make([]actor, len(images))
	for i := range images {
		m, a := &images[i], &actors[i]
		*a = actor{Image: Image{Digest: m.Digest, PushedAt: m.PushedAt, Size: m.Size, Subject: -1}, place: -1}
		if m.Subject >= 0 && int(m.Subject) < len(images) {
			a.subject = &actors[m.Subject]
		}
		for _, c := range m.Children {
			if c >= 0 && int(c) < len(images) {
				a.children = append(a.children, &actors[c])
			}
		}
		r.at[m.Digest] = a
		if r.h.Layers == nil {
			continue
		}
		for _, l := range r.h.Layers[i] {
			r.layers[l.Digest] = append(r.layers[l.Digest], a)
		}
	}
}

// addGone makes actors of what was pushed and is not there now.
func (r *Replay) addGone() {
	gone := map[*actor]GoneImage{}
	for i := range r.h.Pushes {
		p := &r.h.Pushes[i]
		a := r.at[p.Digest]
		if a == nil {
			a = &actor{Image: Image{Digest: p.Digest, PushedAt: p.At, Subject: -1}, place: -1}
			r.at[p.Digest] = a
			gone[a] = r.h.Gone[p.Digest]
			for _, l := range gone[a].Layers {
				r.layers[l] = append(r.layers[l], a)
			}
		}
		if a.PushedAt-p.At >= Instant(time.Second) { // records are to the second
			a.PushedAt = p.At
		}
	}
	for a, g := range gone {
		a.subject = r.at[g.Subject]
		for _, c := range g.Children {
			if child := r.at[c]; child != nil {
				a.children = append(a.children, child)
			}
		}
	}
}

// addEvents orders what happened.
func (r *Replay) addEvents() {
	from, to := At(r.report.From), At(r.report.To)
	first := map[string]Instant{} // push on record, by digest
	moved := map[string]bool{}    // tags with one
	for i := range r.h.Pushes {
		p := &r.h.Pushes[i]
		if at, ok := first[p.Digest]; !ok || p.At < at {
			first[p.Digest] = p.At
		}
		moved[p.Tag] = true
		r.events = append(r.events, event{at: p.At, push: p})
	}
	for i := range r.h.Deletes {
		p := &r.h.Deletes[i]
		r.events = append(r.events, event{at: p.At, delete: p})
	}
	for i := range r.h.Pulls {
		if p := &r.h.Pulls[i]; p.At >= from {
			r.events = append(r.events, event{at: p.At, pull: p})
		}
	}
	for i := range r.h.Images {
		m := &r.h.Images[i]
		a := r.at[m.Digest]
		for _, tag := range m.Tags {
			if !moved[tag] {
				a.tagged = append(a.tagged, tag)
			}
		}
		at, ok := first[m.Digest]
		if !ok || at > a.PushedAt || len(a.tagged) > 0 {
			r.events = append(r.events, event{at: a.PushedAt, come: a})
		}
		if !ok && a.PushedAt >= from {
			r.report.NoPush++
		}
	}
	r.events = slices.DeleteFunc(r.events, func(e event) bool { return e.at > to })
	slices.SortStableFunc(r.events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order(), b.order()))
	})
}

// order is of what happens in the same second: a pull is of what was pushed in
// it, and was before what was deleted in it.
func (e *event) order() int {
	switch {
	case e.delete != nil:
		return 2
	case e.pull != nil:
		return 1
	}
	return 0
}

// Day replays one day, and reports whether there are more.
func (r *Replay) Day() bool {
	to := At(r.report.To)
	if r.day > to {
		return false
	}
	r.play(r.day)
	r.settle(r.day)
	if !r.dirty {
		r.carryOut(r.day)
	}
	r.day += Instant(day)
	r.play(min(r.day, to+1))
	return r.day <= to
}

// play plays the events before a moment.
func (r *Replay) play(end Instant) {
	from := At(r.report.From)
	for ; r.next < len(r.events) && r.events[r.next].at < end; r.next++ {
		e := &r.events[r.next]
		if e.at >= from {
			r.settle(e.at)
		}
		switch {
		case e.delete != nil:
			r.delete(e.delete)
		case e.pull != nil:
			if r.aged && !r.dirty && e.at-r.last >= Instant(time.Hour) {
				r.carryOut(e.at)
			}
			r.pull(e.pull)
		default:
			r.arrive(e)
			r.dirty, r.pushed = true, e.at
		}
	}
}

// settle carries the policy out if something was pushed and the time for it has
// come by now.
func (r *Replay) settle(now Instant) {
	if due := max(r.pushed+r.soon, At(r.report.From)); r.dirty && due <= now {
		r.carryOut(due)
	}
}

// arrive is a push, or an image that is known to be there.
func (r *Replay) arrive(e *event) {
	a, tags := e.come, []string(nil)
	if e.push != nil {
		a = r.at[e.push.Digest]
		if e.at >= At(r.report.From) {
			r.report.Pushes++
		}
		if e.push.Tag != "" {
			tags = []string{e.push.Tag}
		}
	} else {
		tags = a.tagged
	}
	switch {
	case !a.came:
		a.came = true
		r.here = append(r.here, a)
	case a.gone != 0 && a.Archived:
		a.Archived, a.ActivatedAt, a.gone = false, e.at, 0
	case a.gone != 0 || a.deleted: // it comes anew
		a.PushedAt, a.ArchivedAt, a.ActivatedAt, a.LastPulledAt, a.Archived = e.at, 0, 0, 0, false
		for _, tag := range a.Tags { // they went with it
			r.untag(tag)
		}
		a.gone, a.deleted = 0, false
		r.here = append(r.here, a)
	}
	for _, tag := range tags {
		r.untag(tag)
		r.tags[tag] = a
		a.Tags = append(a.Tags, tag)
	}
}

// untag takes a tag from what it stands for, which it returns.
func (r *Replay) untag(tag string) *actor {
	a := r.tags[tag]
	if a != nil {
		a.Tags = slices.DeleteFunc(slices.Clone(a.Tags), func(t string) bool { return t == tag })
		delete(r.tags, tag)
	}
	return a
}

// delete is what somebody deleted: an image, or a tag, with which its image goes
// if it was the last one (ECR API, BatchDeleteImage).
func (r *Replay) delete(p *Push) {
	a := r.at[p.Digest]
	if p.Digest == "" {
		if a = r.untag(p.Tag); a != nil && len(a.Tags) > 0 {
			return
		}
	}
	if a == nil || !a.came || a.gone != 0 && !a.Archived || a.deleted {
		return
	}
	for _, tag := range slices.Clone(a.Tags) {
		r.untag(tag)
	}
	a.deleted, a.gone, a.Archived = true, 0, false
	r.here = slices.DeleteFunc(r.here, func(b *actor) bool { return a == b })
}

// carryOut evaluates the policy for what is there, and does what is due.
func (r *Replay) carryOut(now Instant) {
	for i, a := range r.here {
		a.place = int32(i)
	}
	images := slices.Grow(r.images[:0], len(r.here))
	for _, a := range r.here {
		m := a.Image
		if a.subject != nil {
			m.Subject = a.subject.place
		}
		for _, c := range a.children {
			if c.place >= 0 {
				m.Children = append(m.Children, c.place)
			}
		}
		images = append(images, m)
	}
	r.images = images
	for _, a := range r.here {
		a.place = -1
	}
	e := Evaluate(r.p, images, now.Time())
	for i, o := range e.Due() {
		a := r.here[i]
		a.reason, a.gone = e.Reason(i).String(), now
		if o == Transition {
			a.Archived, a.ArchivedAt = true, now
		} else {
			a.Archived = false
		}
	}
	r.here = slices.DeleteFunc(r.here, func(a *actor) bool { return a.gone != 0 && !a.Archived })
	r.last, r.dirty = now, false
}

// pull asks whether a pull would succeed.
func (r *Replay) pull(p *Pull) {
	calls := max(p.Calls, 1)
	r.report.Pulls += calls
	if calls > 1 {
		r.report.Shared++
	}
	a := r.at[p.Digest]
	switch {
	case p.Layer != "":
		r.pullLayer(p, calls)
		return
	case p.Digest == "":
		if a = r.tags[p.Tag]; a == nil {
			r.report.Unresolved += calls
			return
		}
	}
	switch {
	case a == nil || !a.came:
		r.report.Unknown += calls
	case a.gone != 0:
		r.fail(p, a)
	default:
		a.LastPulledAt = p.At
	}
}

// pullLayer is of a layer, which is there while one of its images is.
func (r *Replay) pullLayer(p *Pull, calls int) {
	var last *actor
	for _, a := range r.layers[p.Layer] {
		switch {
		case !a.came || a.deleted:
		case a.gone == 0:
			return
		case last == nil || a.gone > last.gone:
			last = a
		}
	}
	if last == nil {
		r.report.Unresolved += calls
		return
	}
	r.fail(p, last)
}

func (r *Replay) fail(p *Pull, a *actor) {
	r.report.Failures = append(r.report.Failures, Failure{Pull: *p, Digest: a.Digest, Tags: slices.Sorted(slices.Values(a.Tags)), Pushed: a.PushedAt,
		Gone: a.gone, Reason: a.reason, Archived: a.Archived})
}

// Report is what was found so far.
func (r *Replay) Report() Backtest {
	out := r.report
	for i := range r.h.Images {
		if r.at[r.h.Images[i].Digest].gone != 0 {
			out.Taken++
		}
	}
	return out
}
