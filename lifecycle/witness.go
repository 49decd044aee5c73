package lifecycle

// Witnesses gives the images by whose number those of due count out: for each
// rule that acts on one of due, or on what one of due follows, because there
// are more than it keeps, the images that it keeps.
//
// A part of the repository is enough to decide again about due, at the same
// moment: due itself and the witnesses, what these refer to as their subjects,
// on to the end, the manifest lists that refer to due or to their subjects,
// with the subjects of these, and what refers to due. Evaluated alone, a part
// acts on nothing that the whole keeps, for in a part images only move up; and
// as long as nothing has changed, on all of due. So what is evaluated without
// a lock can be confirmed with one, at the price of a part.
func (e *Evaluation) Witnesses(due []int) []int {
	asked := make([]bool, len(e.rules))
	any := false
	for _, i := range due {
		if v := &e.Verdicts[i]; v.Rule >= 0 && v.Outcome != Keep && e.rules[v.Rule].count == ImageCountMoreThan {
			asked[v.Rule], any = true, true
		}
	}
	if !any {
		return nil
	}
	left := make([]int, len(e.rules))
	for n := range e.rules {
		if asked[n] {
			left[n] = e.rules[n].keep
		}
	}
	var out []int
	for _, i := range e.order {
		if e.Verdicts[i].Follows {
			continue
		}
		witness, more := false, false
		for n := range e.rules {
			if left[n] == 0 {
				continue
			}
			more = true
			if e.rules[n].selects(&e.Images[i]) {
				left[n]--
				witness = true
			}
		}
		if !more {
			break
		}
		if witness {
			out = append(out, int(i))
		}
	}
	return out
}
