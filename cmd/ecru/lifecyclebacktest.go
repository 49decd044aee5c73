package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/lifecycle"
)

// backtestPermissions are what backtest calls.
var backtestPermissions = simulatePermissions

// A backtestReport is what a replay found, as JSON.
type backtestReport struct {
	Repository string       `json:"repository"`
	Safe       bool         `json:"safe"`
	From       time.Time    `json:"from"`
	To         time.Time    `json:"to"`
	Evidence   time.Time    `json:"evidenceFrom"` // the oldest record that was seen, if later than From
	Pulls      int          `json:"pulls"`
	Pushes     int          `json:"pushes"`
	Taken      int          `json:"imagesTaken"` // of those that are there
	Failures   []failedPull `json:"failures"`
	Complete   completeness `json:"completeness"`
	Notes      []string     `json:"notes"`
	images     int
}

// completeness is what the evidence does not say.
type completeness struct {
	NoPush       int `json:"imagesWithoutPush"`
	Unknown      int `json:"pullsOfUnknownImages"`
	Unresolved   int `json:"unresolvedPulls"`
	Shared       int `json:"sharedRecords"`
	Merged       int `json:"mergedRecords"`
	Unidentified int `json:"unidentifiedPushes"`
	Own          int `json:"ownPulls"`
}

type failedPull struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Calls    int       `json:"calls"`
	Tag      string    `json:"imageTag,omitempty"`
	Layer    string    `json:"layerDigest,omitempty"`
	Digest   string    `json:"imageDigest"`
	Tags     []string  `json:"imageTags"`
	PushedAt time.Time `json:"imagePushedAt"`
	GoneAt   time.Time `json:"goneAt"`
	Archived bool      `json:"archived"`
	Reason   string    `json:"reason"`
}

func newBacktest(f *endpointFlags) *cobra.Command {
	var file string
	var days float64
	var read bool
	var soon time.Duration
	cmd := &cobra.Command{
		Use:   "backtest REPOSITORY",
		Short: "Which pulls on record would have failed under a policy?",
		Long: "Which pulls of the past days would have failed if a policy, that of a file or the stored one, had been in force?\n" +
			"The pushes and pulls that the audit trail has (CloudTrail LookupEvents) are replayed, and the policy is carried\n" +
			"out at once where AWS takes up to a day: the strict side. If there are none the policy is safe, as far as the\n" +
			"evidence goes; the report says how far that is, and what is missing in it.\n\n" +
			"Exit status: 0 no pull would have failed, 1 an error, 2 some would have.",
		Example: "  ecru lifecycle backtest my-app --policy policy.json\n  ecru lifecycle backtest my-app --policy policy.json --days 30 --json",
		Args:    oneRepository(f),
	}
	policyFlag(cmd, &file)
	cmd.Flags().Float64Var(&days, "days", 90, "how many days back; CloudTrail keeps 90")
	cmd.Flags().BoolVar(&read, "read-manifests", false, "read manifests even if it moves the time of the last pull")
	cmd.Flags().DurationVar(&soon, "soon", lifecycle.Soon, "how long after a push the policy is carried out, up to 24h")
	cmd.RunE = f.with(backtestPermissions, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		if err := checkDays("days", days); err != nil {
			return err
		}
		if soon < 0 || soon > 24*time.Hour {
			return fmt.Errorf("--soon %v: want 0s to 24h", soon)
		}
		p, err := policyOf(cmd, e, file, args[0])
		if err != nil {
			return err
		}
		r, err := backtest(cmd, e, p, args[0], days, read, soon)
		if err != nil {
			return err
		}
		if f.json {
			err = printJSON(cmd.OutOrStdout(), r)
		} else {
			r.print(cmd.OutOrStdout())
		}
		if err == nil && !r.Safe {
			return exitStatus{code: 2}
		}
		return err
	})
	return cmd
}

func backtest(cmd *cobra.Command, e *advisor.Endpoint, p *lifecycle.Policy, repo string, days float64, read bool, soon time.Duration) (*backtestReport, error) {
	ctx := cmd.Context()
	now := time.Now()
	from := now.Add(-time.Duration(days * float64(24*time.Hour)))
	c, why, err := readContents(cmd, e, p, repo, true, read)
	if err != nil {
		return nil, err
	}
	pr := newTeller(cmd)
	defer pr.end()
	h, evidence, err := e.History(ctx, c, from, true, pr.of("records"))
	if err != nil {
		return nil, err
	}
	replay, tell := lifecycle.NewReplay(p, h, from, now, soon), pr.of("days replayed")
	for n := 1; replay.Day(); n++ {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		tell(n)
	}
	b := replay.Report()
	out := &backtestReport{Repository: repo, Safe: b.Safe(), From: b.From.UTC(), To: b.To.UTC(), Evidence: b.From.UTC(), Pulls: b.Pulls, Pushes: b.Pushes, Taken: b.Taken,
		Failures: []failedPull{}, Notes: []string{}, images: len(c.Images),
		Complete: completeness{b.NoPush, b.Unknown, b.Unresolved, b.Shared, evidence.Merged, evidence.Unidentified, evidence.Own}}
	if evidence.Oldest.After(b.From) || evidence.Oldest.IsZero() {
		out.Evidence = evidence.Oldest.UTC()
	}
	for _, x := range b.Failures {
		tags := x.Tags
		if tags == nil {
			tags = []string{}
		}
		out.Failures = append(out.Failures, failedPull{x.Pull.At.Time().Truncate(time.Second), x.Pull.By, max(x.Pull.Calls, 1), x.Pull.Tag, x.Pull.Layer, x.Digest, tags, x.Pushed.Time(), x.Gone.Time(), x.Archived, x.Reason})
	}
	if why != "" {
		out.Notes = append(out.Notes, why)
	}
	out.addNotes(c)
	return out, nil
}

// addNotes says what the evidence does not.
func (r *backtestReport) addNotes(c *advisor.Contents) {
	note := func(n int, format string) {
		if n > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf(format, n))
		}
	}
	if r.Evidence.IsZero() {
		r.Notes = append(r.Notes, "the trail has no record of pushes and pulls of this time: nothing is proved")
	} else if r.Evidence.After(r.From) {
		r.Notes = append(r.Notes, fmt.Sprintf("the oldest record seen is of %s: of the time before there is no evidence, unless nothing was done in it", r.Evidence.Format(time.DateTime)))
	}
	note(r.Complete.NoPush, "%d images of this time have no push on record; they are taken to have come when the registry says")
	note(r.Complete.Unknown, "%d pulls were of images that are gone and whose push is not on record: how old they were is not known, so they are not judged")
	note(r.Complete.Unresolved, "%d pulls were of tags or layers that nothing on record tells the image of: they are not judged")
	note(r.Complete.Shared, "%d records stand for several calls; the policy is judged at the time of the first")
	note(r.Complete.Merged, "%d records stand for calls about other images too, which they do not name")
	note(r.Complete.Unidentified, "%d pushes are on record whose image is not known")
	if c.Layers != nil {
		note(c.Unread, "%d manifests could not be read, such as those of archived images")
	}
}

func (r *backtestReport) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %s to %s: %d pulls and %d pushes on record; the policy would have taken %d of the %d images that are there\n", r.Repository,
		r.From.Format(time.DateTime), r.To.Format(time.DateTime), r.Pulls, r.Pushes, r.Taken, r.images)
	if r.Safe {
		fmt.Fprintln(w, "SAFE by this evidence: no pull would have failed")
	} else {
		calls := 0
		for _, x := range r.Failures {
			calls += x.Calls
		}
		fmt.Fprintf(w, "NOT SAFE: %d pulls would have failed\n\n", calls)
		t := newGrid(w, "pulled", "what", "image", "tags", "by", "gone since", "why")
		for _, x := range r.Failures {
			what := x.Tag
			switch {
			case x.Layer != "":
				what = "layer " + short(x.Layer)
			case what == "":
				what = short(x.Digest)
			}
			if x.Calls > 1 {
				what += fmt.Sprintf(" (%d times)", x.Calls)
			}
			why := x.Reason
			if x.Archived {
				why = "archived by " + why
			}
			t.row(date(lifecycle.At(x.At)), what, short(x.Digest), tagList(x.Tags), x.By, date(lifecycle.At(x.GoneAt)), why)
		}
		t.flush()
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "\nnote: "+n)
	}
}
