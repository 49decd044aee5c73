package lifecycle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Severities of findings: a part of the policy does not do what it was written
// for; it does what its author will hardly want; it could be better.
const (
	SeverityError   = "ERROR"
	SeverityWarning = "WARNING"
	SeveritySuggest = "SUGGESTION"
)

// Codes of findings.
const (
	FindTagsOfEach     = "TAGS_OF_EACH"            // the entries of a list are AND-ed
	FindRedundantEntry = "REDUNDANT_ENTRY"         // another entry of the list implies it
	FindNeverMatches   = "NEVER_MATCHES"           // no tag can match
	FindShadowed       = "SHADOWED"                // earlier rules own all that it selects
	FindSelectsNone    = "SELECTS_NONE"            // no image of the repository now
	FindArchiveCosts   = "ARCHIVE_SAVES_NOTHING"   // the archive costs as much
	FindProductionAge  = "PRODUCTION_BY_AGE"       // what runs goes when nobody deploys
	FindProductionRest = "PRODUCTION_NO_COUNT"     // no rule counts production images
	FindNoUntagged     = "NO_UNTAGGED_RULE"        // build leftovers stay
	FindChildrenCount  = "UNTAGGED_COUNTS_LISTS"   // parts of manifest lists use the count up
	FindChildrenStay   = "UNTAGGED_HAS_CHILDREN"   // parts of manifest lists stay
	FindUnruled        = "PRODUCTION_KEPT_FOREVER" // no rule selects production images
)

// A Finding is something that is wrong with a policy, or may be.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Rule     int    `json:"rulePriority,omitempty"` // 0: the policy as a whole
	Message  string `json:"message"`                // what is wrong
	Fix      string `json:"fix"`                    // what to write instead
}

// Facts are what is known beside a policy.
type Facts struct {
	// Images are those of the repository, if Known. Their Children may be left
	// out if Lists counts the manifest lists among them.
	Known  bool
	Images []Image
	Lists  int
	Now    time.Time
	// Storage and Archive are what a GB costs in a month in each class, as
	// Money writes it; both 0: not known.
	Storage, Archive float64
	ArchiveDays      int // are paid at least
	Money            func(float64) string
}

// Lint finds what is wrong with p: for certain, if the finding speaks of the
// policy alone, and at present, if it counts images. Findings are in the order
// of rules, the whole policy's first.
func Lint(p *Policy, f Facts) []Finding {
	l := &linter{facts: f, rules: byPriority(p.Rules)}
	if f.Known {
		l.now = Evaluate(p, f.Images, f.Now)
	}
	for i := range l.rules {
		l.checkEntries(i)
		l.checkReach(i)
		l.checkArchive(i)
		l.checkProduction(i)
		l.checkChildren(i)
	}
	l.checkUntagged()
	l.checkProductionRest()
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return cmp.Compare(a.Rule, b.Rule) })
	return l.findings
}

// A linter goes over one policy.
type linter struct {
	facts    Facts
	rules    []Rule
	now      *Evaluation // nil if the images are not known
	findings []Finding
}

func (l *linter) add(rule int, severity, code, message, fix string) {
	f := Finding{Code: code, Severity: severity, Message: message, Fix: fix}
	if rule >= 0 {
		f.Rule = l.rules[rule].Priority
	}
	l.findings = append(l.findings, f)
}

// kind is what the entries of a selection are.
func (s *Selection) kind() string {
	if len(s.TagPrefixes) > 0 {
		return "prefix"
	}
	return "pattern"
}

// checkEntries looks at lists whose entries are AND-ed (ECR behaviour, §2
// "TRAP").
func (l *linter) checkEntries(i int) {
	r := &l.rules[i]
	s := &r.Selection
	list := s.matchers()
	if s.TagStatus != Tagged || len(list) < 2 {
		return
	}
	needed := s.needed()
	if apart(needed) {
		severity := SeverityError
		count := ""
		if l.now != nil {
			each, some := l.countEntries(i, needed)
			count = fmt.Sprintf(": %d of %s have %s, %d have a tag of one or more", each, images(len(l.now.Images)), allOf(len(needed)), some)
			if each > 0 {
				severity = SeverityWarning
			}
		}
		l.add(i, severity, FindTagsOfEach, fmt.Sprintf("rule %d needs a tag of each %s in the list%s", r.Priority, s.kind(), count),
			fmt.Sprintf("write one rule a %s; ecru lifecycle lint --fix does it", s.kind()))
		return
	}
	if len(needed) < len(list) {
		l.add(i, SeveritySuggest, FindRedundantEntry, fmt.Sprintf("rule %d lists %d entries, of which %d say it all: entries are AND-ed, so the others change nothing", r.Priority, len(list), len(needed)),
			"leave out the entries that others imply; if either was meant, write one rule an entry")
	}
}

func allOf(n int) string {
	if n == 2 {
		return "both"
	}
	return fmt.Sprintf("all %d", n)
}

func images(n int) string {
	if n == 1 {
		return "1 image"
	}
	return fmt.Sprintf("%d images", n)
}

// countEntries counts the images of the rule's class that have a tag of each
// entry, and of at least one.
func (l *linter) countEntries(i int, needed []matcher) (each, some int) {
	for n := range l.now.Images {
		m := &l.now.Images[n]
		if m.Archived != l.now.rules[i].archive || l.now.Verdicts[n].Follows {
			continue
		}
		if slices.ContainsFunc(needed, func(e matcher) bool { return e.any(m.Tags) }) {
			some++
		}
		if all(needed, m.Tags) {
			each++
		}
	}
	return each, some
}

// checkReach finds rules that never own an image.
func (l *linter) checkReach(i int) {
	r := &l.rules[i]
	s := &r.Selection
	if s.selectsNothing() {
		for _, m := range s.matchers() {
			if !m.possible() {
				l.add(i, SeverityError, FindNeverMatches, fmt.Sprintf("rule %d never matches: no tag can match %q", r.Priority, m.text),
					"tags are of letters, digits, _, . and -, do not begin with . or -, and have at most 128 characters; a * in a prefix is a *")
				return
			}
		}
	}
	if by := shadow(l.rules, i); by != nil {
		names := fmt.Sprintf("rule %d, which comes first, selects", l.rules[by[0]].Priority)
		if len(by) == 2 {
			names = fmt.Sprintf("rules %d and %d, which come first, select", l.rules[by[0]].Priority, l.rules[by[1]].Priority)
		}
		l.add(i, SeverityError, FindShadowed, fmt.Sprintf("rule %d never acts: %s every image that it selects, and shields it also where it is kept", r.Priority, names),
			"give the narrower rule the lower priority number, or leave this one out")
		return
	}
	if l.now == nil || s.TagStatus != Tagged || apart(s.needed()) || s.selectsNothing() {
		return
	}
	if t := l.now.Summary.Rules[i]; t.Selected == 0 {
		l.add(i, SeveritySuggest, FindSelectsNone, fmt.Sprintf("rule %d selects none of %s at present", r.Priority, images(len(l.now.Images))), "check the spelling, or leave it for images to come")
	} else if t.Owned.Images == 0 {
		l.add(i, SeveritySuggest, FindSelectsNone, fmt.Sprintf("rule %d selects %s, all of which earlier rules own", r.Priority, images(t.Selected)), "check the order of the rules")
	}
}

// checkArchive compares what archiving saves with what it costs.
func (l *linter) checkArchive(i int) {
	r, f := &l.rules[i], &l.facts
	if r.Action.Type != ActionTransition || f.Storage == 0 && f.Archive == 0 || f.Archive < f.Storage {
		return
	}
	bill := fmt.Sprintf("a GB costs %s a month archived and %s as it is", f.money(f.Archive), f.money(f.Storage))
	l.add(i, SeverityWarning, FindArchiveCosts, fmt.Sprintf("rule %d saves nothing: %s, is paid for %d days at least, and cannot be pulled", r.Priority, bill, f.ArchiveDays),
		"expire what nobody needs, and keep the rest; archive only what must be kept for its own sake")
}

func (f *Facts) money(amount float64) string {
	if f.Money == nil {
		return fmt.Sprintf("%.2f", amount)
	}
	return f.Money(amount)
}

// production reports whether a tag, a prefix or a pattern speaks of what runs
// in production.
func production(text string) bool {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
	return slices.ContainsFunc(words, func(w string) bool {
		switch w {
		case "prod", "production", "prd", "release", "released", "live", "stable":
			return true
		}
		return false
	})
}

// production reports whether the entries of a selection speak of production.
func (s *Selection) production() bool {
	return slices.ContainsFunc(s.TagPrefixes, production) || slices.ContainsFunc(s.TagPatterns, production)
}

// checkProduction finds rules that let the running version go by its age.
func (l *linter) checkProduction(i int) {
	r := &l.rules[i]
	s := &r.Selection
	if s.production() && r.Action.Type == ActionExpire && s.CountType == SinceImagePushed {
		l.add(i, SeverityWarning, FindProductionAge, fmt.Sprintf("rule %d expires production images by age: what runs goes %d days after its push if nothing newer is deployed", r.Priority, s.CountNumber),
			"keep a number of them with imageCountMoreThan; ecru lifecycle rollback-window says how many")
	}
}

// checkProductionRest finds production images that no rule counts.
func (l *linter) checkProductionRest() {
	if l.now == nil {
		return
	}
	rest, free := map[int32]int{}, 0
	for i := range l.now.Images {
		v, m := &l.now.Verdicts[i], &l.now.Images[i]
		switch {
		case m.Archived || v.Follows || !slices.ContainsFunc(m.Tags, production):
		case v.Rule < 0:
			free++
		case !l.rules[v.Rule].Selection.production():
			rest[v.Rule]++
		}
	}
	for i := range l.rules {
		if n := rest[int32(i)]; n > 0 && l.rules[i].Action.Type == ActionExpire {
			l.add(i, SeverityWarning, FindProductionRest, fmt.Sprintf("rule %d owns %s with production tags, and no rule of their own keeps a number of them", l.rules[i].Priority, images(n)),
				"put a rule for their prefix before it, with imageCountMoreThan")
		}
	}
	if free > 0 {
		l.add(-1, SeveritySuggest, FindUnruled, fmt.Sprintf("no rule selects %s with production tags: they stay, and are paid for, for ever", images(free)),
			"add one rule a prefix, with imageCountMoreThan; ecru lifecycle rollback-window says how many")
	}
}

// checkUntagged finds that build leftovers stay.
func (l *linter) checkUntagged() {
	for i := range l.rules {
		s := &l.rules[i].Selection
		if s.StorageClass != Archive && (s.TagStatus == Untagged || s.TagStatus == Any) {
			return
		}
	}
	severity, count := SeveritySuggest, ""
	if l.now != nil {
		n := 0
		for i := range l.now.Images {
			if m := &l.now.Images[i]; len(m.Tags) == 0 && !m.Archived && !l.now.Verdicts[i].Follows {
				n++
			}
		}
		if n > 0 {
			severity, count = SeverityWarning, fmt.Sprintf("; there are %d", n)
		}
	}
	l.add(-1, severity, FindNoUntagged, "no rule selects untagged images: what loses its tag to a newer push stays for ever"+count,
		`add a rule with "tagStatus":"untagged" and sinceImagePushed`)
}

// checkChildren looks at rules for untagged images, which parts of manifest
// lists are too.
func (l *linter) checkChildren(i int) {
	r := &l.rules[i]
	s := &r.Selection
	if s.TagStatus != Untagged || s.StorageClass == Archive || l.facts.Known && l.facts.Lists == 0 {
		return
	}
	lists := "manifest lists"
	if l.facts.Known {
		lists = fmt.Sprintf("%d manifest lists", l.facts.Lists)
		if l.facts.Lists == 1 {
			lists = "1 manifest list"
		}
	}
	switch {
	case s.CountType == ImageCountMoreThan && l.facts.Known:
		l.add(i, SeverityWarning, FindChildrenCount, fmt.Sprintf("rule %d counts untagged images, and the parts of %s are untagged too: they use the %d up and stay, so leftovers go at once", r.Priority, lists, s.CountNumber),
			"use sinceImagePushed for untagged images")
	case s.CountType == ImageCountMoreThan:
		l.add(i, SeveritySuggest, FindChildrenCount, fmt.Sprintf("rule %d counts untagged images, and parts of manifest lists are untagged too: they use the %d up and stay", r.Priority, s.CountNumber),
			"use sinceImagePushed for untagged images")
	default:
		l.add(i, SeveritySuggest, FindChildrenStay, fmt.Sprintf("rule %d also marks the untagged parts of %s: they stay as long as their list does, and go in the run after it", r.Priority, lists),
			"nothing to do; count on less space from this rule")
	}
}
