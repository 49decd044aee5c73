package registry

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
)

const (
	// scanPage is how many images one read transaction of an evaluation reads,
	// and tagPage how many tags.
	scanPage = 20_000
	tagPage  = 50_000
)

// A snapshot is what is known of a repository's images, or of some of them, in
// the form that the pure evaluation takes.
type snapshot struct {
	images []lifecycle.Image
	rows   []int64 // of images, ascending
}

func (s *snapshot) index(row int64) (int32, bool) {
	i, ok := slices.BinarySearch(s.rows, row)
	return int32(i), ok
}

// add adds images, whose rows must be higher than those that are there, and
// notes their subjects.
func (s *snapshot) add(images []meta.ScannedImage, subjects map[int32]string) {
	for i := range images {
		if d := images[i].SubjectDigest; d != "" {
			subjects[int32(len(s.rows))] = d
		}
		s.rows = append(s.rows, images[i].Row)
		s.images = append(s.images, images[i].Image)
	}
}

// connect sets children and subjects, as far as they are in the snapshot.
func (s *snapshot) connect(edges []meta.Edge, subjects map[int32]string) {
	seen := map[meta.Edge]bool{}
	for _, e := range edges {
		if seen[e] {
			continue
		}
		seen[e] = true
		p, ok := s.index(e.Parent)
		c, ok2 := s.index(e.Child)
		if ok && ok2 {
			s.images[p].Children = append(s.images[p].Children, c)
		}
	}
	if len(subjects) == 0 {
		return
	}
	byDigest := make(map[string]int32, len(s.images))
	for i := range s.images {
		byDigest[s.images[i].Digest] = int32(i)
	}
	for i, digest := range subjects {
		if subject, ok := byDigest[digest]; ok {
			s.images[i].Subject = subject
		}
	}
}

// snapshot reads all images of a repository in short transactions, one after
// the other: what changes meanwhile may be seen in part. Who acts on it must
// look again (see confirm).
func (r *Registry) snapshot(ctx context.Context, repo int64) (*snapshot, error) {
	s, subjects := &snapshot{}, map[int32]string{}
	var edges []meta.Edge
	for after := int64(0); ; {
		var page []meta.ScannedImage
		err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
			if page, err = tx.ScanImages(repo, after, scanPage); err != nil || len(page) == 0 {
				return err
			}
			more, err := tx.ScanEdges(repo, after, page[len(page)-1].Row)
			edges = append(edges, more...)
			return err
		})
		if err != nil {
			return nil, err
		}
		s.add(page, subjects)
		if len(page) < scanPage {
			break
		}
		after = page[len(page)-1].Row
	}
	for after := ""; ; {
		var page []meta.TagAt
		err := r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.ScanTags(repo, after, tagPage)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			if i, ok := s.index(t.Image); ok {
				s.images[i].Tags = append(s.images[i].Tags, t.Name)
			}
		}
		if len(page) < tagPage {
			break
		}
		after = page[len(page)-1].Name
	}
	s.connect(edges, subjects)
	return s, ctx.Err()
}

// A decision is an evaluation with what guards withhold of it.
type decision struct {
	*lifecycle.Evaluation
	guarded map[int]lifecycle.Withheld // by image
}

// decide evaluates a policy on images that guards may keep.
func (s *snapshot) decide(p *lifecycle.Policy, g *lifecycle.Guards, now time.Time) *decision {
	d := &decision{Evaluation: lifecycle.Evaluate(p, s.images, now), guarded: map[int]lifecycle.Withheld{}}
	for _, w := range g.Apply(d.Evaluation) {
		d.guarded[w.Image] = w
	}
	return d
}

// due reports whether something is to be done with an image.
func (d *decision) due(i int) bool {
	_, guarded := d.guarded[i]
	return d.Verdicts[i].Due() && !guarded
}

// withheld gives the images that a rule acts on but for an index or a guard,
// each with a code and the reason.
func (d *decision) withheld() iter.Seq2[int, [2]string] {
	return func(yield func(int, [2]string) bool) {
		for i := range d.Verdicts {
			v := &d.Verdicts[i]
			if v.Outcome == lifecycle.Keep || d.due(i) {
				continue
			}
			why := [2]string{"ImageReferencedByManifestList", ""}
			if w, guarded := d.guarded[i]; guarded {
				why = [2]string{"ImageGuarded", w.Reason}
			} else {
				why[1] = "Requested image referenced by manifest list: [" + d.Images[v.HeldBy].Digest + "]"
			}
			if !yield(i, why) {
				return
			}
		}
	}
}

// confirm decides again about as much of a repository as the decision about the
// images of due needs (lifecycle, Evaluation.Witnesses), as it is in this
// transaction, and returns which of them are still to be acted on, with what
// refers to them: indexes of the decision, what refers to another before that.
func (x *execution) confirm(tx *meta.Tx, repo *ecr.Repository, due, witnesses []int64) (*snapshot, *decision, []int, error) {
	part := &partial{tx: tx, repo: repo.Row, have: map[int64]*meta.ScannedImage{}}
	if err := part.load(due, witnesses); err != nil {
		return nil, nil, nil, err
	}
	guards, err := x.r.guards(tx, repo, x.now)
	if err != nil {
		return nil, nil, nil, err
	}
	s := part.snapshot()
	d := s.decide(x.policy, &guards, x.now)
	var todo []int
	for row := range part.depth {
		if n, ok := s.index(row); ok && d.due(int(n)) {
			todo = append(todo, int(n))
		}
	}
	slices.SortFunc(todo, func(a, b int) int {
		return cmp.Or(part.depth[s.rows[b]]-part.depth[s.rows[a]], a-b)
	})
	return s, d, todo, nil
}

// A partial is a part of a repository while it is loaded.
type partial struct {
	tx    *meta.Tx
	repo  int64
	have  map[int64]*meta.ScannedImage
	edges []meta.Edge
	depth map[int64]int // of those to act on: how many steps they are from one of due
}

// load loads due, what refers to them, their subjects, the indexes that name
// any of these and, for guards, what these name; the witnesses, and of all the
// subjects.
func (p *partial) load(due, witnesses []int64) error {
	if err := p.rows(due); err != nil {
		return err
	}
	p.depth = make(map[int64]int, len(due))
	level := due
	for depth := 0; len(level) > 0; depth++ {
		var digests []string
		for _, row := range level {
			if _, seen := p.depth[row]; p.have[row] == nil || seen {
				continue
			}
			p.depth[row] = depth
			digests = append(digests, p.have[row].Digest)
		}
		var err error
		if level, err = p.tx.RowsReferring(p.repo, digests); err != nil {
			return err
		}
		if err := p.rows(level); err != nil {
			return err
		}
	}
	if err := p.subjects(); err != nil {
		return err
	}
	all := make([]int64, 0, len(p.have))
	for row := range p.have {
		all = append(all, row)
	}
	above, err := p.tx.EdgesTo(all)
	if err != nil {
		return err
	}
	below, err := p.tx.EdgesFrom(all)
	if err != nil {
		return err
	}
	p.edges = append(above, below...)
	more := slices.Clone(witnesses)
	for _, e := range p.edges {
		more = append(more, e.Parent, e.Child)
	}
	if err := p.rows(more); err != nil {
		return err
	}
	return p.subjects()
}

// rows loads images, unless they are loaded.
func (p *partial) rows(ids []int64) error {
	var missing []int64
	for _, id := range ids {
		if p.have[id] == nil {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	images, err := p.tx.ScanRows(p.repo, slices.Compact(missing))
	if err != nil {
		return err
	}
	if err := p.tx.FillTags(images); err != nil {
		return err
	}
	for i := range images {
		p.have[images[i].Row] = &images[i]
	}
	return nil
}

// subjects loads the subjects of all that is loaded, on to the end.
func (p *partial) subjects() error {
	asked := map[string]bool{}
	for {
		var digests []string
		for _, m := range p.have {
			if d := m.SubjectDigest; d != "" && !asked[d] {
				asked[d] = true
				digests = append(digests, d)
			}
		}
		if len(digests) == 0 {
			return nil
		}
		slices.Sort(digests)
		ids, err := p.tx.RowsOf(p.repo, digests)
		if err != nil {
			return err
		}
		if err := p.rows(ids); err != nil {
			return err
		}
	}
}

func (p *partial) snapshot() *snapshot {
	images := make([]meta.ScannedImage, 0, len(p.have))
	for _, m := range p.have {
		images = append(images, *m)
	}
	slices.SortFunc(images, func(a, b meta.ScannedImage) int { return cmp.Compare(a.Row, b.Row) })
	s, subjects := &snapshot{}, map[int32]string{}
	s.add(images, subjects)
	s.connect(p.edges, subjects)
	return s
}
