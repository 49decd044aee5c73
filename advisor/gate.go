package advisor

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

// GateOptions say how to judge an image.
type GateOptions struct {
	Gate      vuln.Gate // without Baseline
	Platforms []string  // of an index; empty means all
	Baseline  *Reference
	// Wait is how long to wait for scans that have not finished.
	Wait     time.Duration
	Progress func(line string) // nil: nothing is told
	Now      func() time.Time
}

// What a gate waits between two looks at a scan, and for how long after its push
// an image whose scan is not there yet counts as one that is about to be scanned.
const (
	firstLook = time.Second
	lastLook  = 15 * time.Second
	scanSoon  = 2 * time.Minute
)

// LeftOutSuppressed is the reason why a finding does not count that an override
// sets aside; vuln.LeftOutBaseline and its like are the others.
const LeftOutSuppressed = "SUPPRESSED"

// A GateReport is a verdict with what it rests on.
type GateReport struct {
	Target  *Target
	Options GateOptions
	Verdict vuln.GateVerdict
	Images  []GatedImage // as Verdict.Images
	Notes   []string     // what a reader should know, beside the verdict
	// Baseline is what the baseline's reference named; nil without one.
	Baseline *Target
	JudgedAt time.Time
}

// A GatedImage is an image with the verdict on it. LeftOut has for each finding
// why it does not count, or "".
type GatedImage struct {
	ScannedImage
	Verdict vuln.ImageVerdict
	LeftOut []string
}

// Suppressed is how many findings are set aside.
func (m *GatedImage) Suppressed() (n int) {
	for i := range m.LeftOut {
		if m.LeftOut[i] == LeftOutSuppressed {
			n++
		}
	}
	return n
}

// Gate judges the images that a reference leads to. It resolves the reference
// once; what it judges is Target.Digest of the report. An error means that it could
// not read; all else is a verdict.
func (e *Endpoint) Gate(ctx context.Context, ref Reference, o GateOptions) (*GateReport, error) {
	if err := o.Gate.Check(); err != nil {
		return nil, err
	}
	t, err := e.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := t.Only(o.Platforms); err != nil {
		return nil, err
	}
	deadline := o.Now().Add(o.Wait)
	r := &GateReport{Target: t, Options: o}
	var unsettled []string
	if o.Baseline != nil {
		if unsettled, err = e.baseline(ctx, r, deadline); err != nil {
			return nil, fmt.Errorf("baseline: %w", err)
		}
	}
	scanned, err := e.settle(ctx, t, &o, deadline)
	if err != nil {
		return nil, err
	}
	r.judge(scanned, unsettled)
	return r, nil
}

// baseline reads the findings of the baseline into the gate. The reasons say why
// they cannot be relied on.
func (e *Endpoint) baseline(ctx context.Context, r *GateReport, deadline time.Time) (reasons []string, err error) {
	if r.Baseline, err = e.Resolve(ctx, *r.Options.Baseline); err != nil {
		return nil, err
	}
	if err := r.Baseline.Only(r.Options.Platforms); err != nil {
		return nil, err
	}
	scanned, err := e.settle(ctx, r.Baseline, &r.Options, deadline)
	if err != nil {
		return nil, err
	}
	r.Options.Gate.Baseline = map[string]bool{}
	var images []vuln.GateImage
	for _, m := range scanned {
		images = append(images, m.gateImage(r.Baseline))
		for i := range m.Findings {
			r.Options.Gate.Baseline[m.Findings[i].Key()] = true
		}
	}
	// Of the baseline only whether its scans can be relied on is of interest.
	plain := vuln.Gate{Max: map[vuln.Severity]int{vuln.Critical: math.MaxInt}}
	for _, v := range plain.Judge(images, 0).Images {
		if v.Outcome == vuln.NoVerdict {
			reasons = append(reasons, "baseline "+v.Name+": "+strings.Join(v.Reasons, "; "))
		}
	}
	return reasons, nil
}

// judge gives the verdict.
func (r *GateReport) judge(scanned []*ScannedImage, unsettled []string) {
	r.JudgedAt = r.Options.Now()
	now := r.JudgedAt.UnixMilli()
	var images []vuln.GateImage
	for _, m := range scanned {
		images = append(images, m.gateImage(r.Target))
	}
	r.Verdict = r.Options.Gate.Judge(images, now)
	if len(unsettled) > 0 {
		r.Verdict.Outcome = vuln.NoVerdict
		r.Verdict.Reasons = append(unsettled, r.Verdict.Reasons...)
	}
	unknown := 0
	for i, m := range scanned {
		g := GatedImage{ScannedImage: *m, Verdict: r.Verdict.Images[i], LeftOut: make([]string, len(m.Findings))}
		for n := range m.Findings {
			f := &m.Findings[n]
			if g.LeftOut[n] = r.Options.Gate.LeftOut(&f.GateFinding, now); f.Suppressed {
				g.LeftOut[n] = LeftOutSuppressed
			}
			if g.LeftOut[n] == "" && f.Fix == "" {
				unknown++
			}
		}
		r.Images = append(r.Images, g)
	}
	if unknown > 0 && (r.Options.Gate.FixableOnly || r.Options.Gate.UnfixedFor > 0) {
		r.Notes = append(r.Notes, fmt.Sprintf("of %d findings ECR does not tell whether there is a fix: they count", unknown))
	}
	if n := r.Target.Attestations; n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d attestations of the build beside the images are passed over", n))
	}
}

// settle reads the scans of all images, and again those that have not finished
// until the deadline.
func (e *Endpoint) settle(ctx context.Context, t *Target, o *GateOptions, deadline time.Time) ([]*ScannedImage, error) {
	out := make([]*ScannedImage, len(t.Images))
	pause, again := firstLook, false
	for {
		left := 0
		for i, p := range t.Images {
			if out[i] != nil && !t.unfinished(out[i], o) && !(again && out[i].torn()) {
				continue
			}
			var err error
			if out[i], err = e.Scan(ctx, t.Reference, p); err != nil {
				return nil, err
			}
			if t.unfinished(out[i], o) {
				left++
			}
		}
		if left == 0 && !again && slices.ContainsFunc(out, (*ScannedImage).torn) {
			again = true // findings changed while their pages were read
			continue
		}
		rest := deadline.Sub(o.Now())
		if left == 0 || rest <= 0 {
			return out, nil
		}
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("%s: waiting for the scan of %d of %d images, %s more at most", t.Reference, left, len(out), rest.Round(time.Second)))
		}
		timer := time.NewTimer(min(pause, rest))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
		pause = min(pause*3/2, lastLook)
	}
}

// unfinished reports whether there may be more to say of an image soon.
func (t *Target) unfinished(m *ScannedImage, o *GateOptions) bool {
	switch m.Status {
	case "IN_PROGRESS", "PENDING":
		return true
	case "":
		return !t.PushedAt.IsZero() && o.Now().Sub(t.PushedAt) < scanSoon
	}
	return false
}

// torn reports whether the pages of the findings do not add up.
func (m *ScannedImage) torn() bool {
	all, open := m.listed()
	return m.Counts != nil && !same(m.Counts, all) && !same(m.Counts, open)
}

// listed counts the findings, and those that are not set aside.
func (m *ScannedImage) listed() (all, open vuln.Counts) {
	all, open = vuln.Counts{}, vuln.Counts{}
	for i := range m.Findings {
		all[m.Findings[i].Severity]++
		if !m.Findings[i].Suppressed {
			open[m.Findings[i].Severity]++
		}
	}
	return all, open
}

func (m *ScannedImage) open() []vuln.GateFinding {
	var out []vuln.GateFinding
	for i := range m.Findings {
		if !m.Findings[i].Suppressed {
			out = append(out, m.Findings[i].GateFinding)
		}
	}
	return out
}

// gateImage is the image in the gate's words. ECR's counts leave out what is set
// aside here; where they count it they must add up too.
func (m *ScannedImage) gateImage(t *Target) vuln.GateImage {
	g := vuln.GateImage{Name: m.title(t), Status: m.Status, Detail: m.Description, Findings: m.open(), Counts: m.Counts}
	all, open := m.listed()
	if m.Counts != nil && same(m.Counts, all) {
		g.Counts = open
	}
	return g
}

func same(a, b vuln.Counts) bool {
	for _, s := range vuln.Severities() {
		if a[s] != b[s] {
			return false
		}
	}
	return true
}

// title is what an image is called in a report.
func (m *ScannedImage) title(t *Target) string {
	if m.Name != "" {
		return m.Name
	}
	if m.Digest == t.Digest {
		return t.Reference.String()
	}
	return m.Digest
}
