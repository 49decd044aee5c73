package lifecycle

import (
	"fmt"
	"strings"
	"time"
)

// A Reason says in words why an image is kept or not. Nothing is written
// before String is called.
type Reason struct {
	e *Evaluation
	i int32
}

// Reason tells why Verdicts[i] is what it is.
func (e *Evaluation) Reason(i int) Reason { return Reason{e, int32(i)} }

// String is one line, such as "rule 4: pushed 22 d ago, limit 1 d",
// "rule 1: 14th youngest of 37, keeps 10" or "kept by rule 1: 3rd youngest of
// 37, keeps 10; this shields it from rule 4". Rules go by their priority.
func (r Reason) String() string {
	v := &r.e.Verdicts[r.i]
	var text string
	switch {
	case v.Follows:
		text = r.follows(v)
	case v.Rule < 0:
		return "no rule selects it"
	case v.Outcome == Keep:
		text = fmt.Sprintf("kept by rule %d: %s", r.priority(v.Rule), r.measure(v))
		if later := r.shielded(v); later >= 0 {
			text += fmt.Sprintf("; this shields it from rule %d", r.priority(later))
		}
	default:
		text = fmt.Sprintf("rule %d: %s", r.priority(v.Rule), r.measure(v))
	}
	if v.HeldBy >= 0 {
		text += fmt.Sprintf("; withheld: manifest list %s refers to it", r.e.Images[v.HeldBy].Digest)
	}
	return text
}

func (r Reason) priority(rule int32) int { return r.e.Rules[rule].Priority }

func (r Reason) follows(v *Verdict) string {
	s := r.e.Images[r.i].Subject
	subject := r.e.Images[s].Digest
	switch {
	case v.Outcome == Keep:
		return "stays with its subject " + subject
	case !r.e.Verdicts[s].Due():
		return fmt.Sprintf("follows its subject %s, which is archived", subject)
	case v.Rule < 0:
		return fmt.Sprintf("follows its subject %s", subject)
	}
	return fmt.Sprintf("follows its subject %s: rule %d", subject, r.priority(v.Rule))
}

// measure says what the rule found, and what it allows.
func (r Reason) measure(v *Verdict) string {
	rule, s := &r.e.rules[v.Rule], &r.e.Rules[v.Rule].Selection
	if rule.count == ImageCountMoreThan {
		return fmt.Sprintf("%s youngest of %d, keeps %d", ordinal(int(v.Position)), rule.selected, rule.keep)
	}
	at, what := r.e.Images[r.i].since(rule.count)
	if at == 0 {
		return fmt.Sprintf("%s at an unknown time, limit %d d", what, s.CountNumber)
	}
	return fmt.Sprintf("%s %s ago, limit %d d", what, age(time.Duration(r.e.Now-at), s.CountNumber), s.CountNumber)
}

// shielded is the first rule that would act on the image if its own did not
// own it, or -1.
func (r Reason) shielded(v *Verdict) int32 {
	m := &r.e.Images[r.i]
	for n := v.Rule + 1; int(n) < len(r.e.rules); n++ {
		rule := &r.e.rules[n]
		if !rule.selects(m) {
			continue
		}
		if rule.count != ImageCountMoreThan {
			if rule.marks(m, 0) {
				return n
			}
			continue
		}
		if rule.last >= 0 && compareAge(m, &r.e.Images[rule.last]) > 0 {
			return n
		}
	}
	return -1
}

// age writes a duration in days, and the rest too where the days alone do not
// tell on which side of the limit it is.
func age(d time.Duration, limit int) string {
	if d < 0 {
		return "-" + age(-d, limit)
	}
	days := int(d / day)
	rest := (d % day).Round(time.Second)
	if days != limit || rest == 0 {
		return fmt.Sprintf("%d d", days)
	}
	return fmt.Sprintf("%d d %s", days, strings.TrimSuffix(rest.String(), "0s"))
}

func ordinal(n int) string {
	suffix := "th"
	if tens := n % 100; tens < 11 || tens > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}
