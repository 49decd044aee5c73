package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/lifecycle"
)

// rollbackPermissions are what rollback-window calls.
var rollbackPermissions = []string{"cloudtrail:LookupEvents", "ecr:DescribeImages", "ecr:GetLifecyclePolicy"}

// A rollbackRun is one rollback-window command.
type rollbackRun struct {
	f                            *endpointFlags
	policy, prefix               string
	perDay, days, margin, record float64
}

// A rollbackReport says how many images a prefix needs, as JSON.
type rollbackReport struct {
	Repository string    `json:"repository"`
	Prefix     string    `json:"prefix"`
	Days       float64   `json:"windowDays"`
	Margin     float64   `json:"margin"`
	Images     int       `json:"images"`
	From       time.Time `json:"evidenceFrom"`

	Planned  *int          `json:"plannedNeed"` // from --deploys-per-day; null if it is not given
	Busiest  recordedNeed  `json:"busiestWindow"`
	Furthest *recordedNeed `json:"furthestRollback"` // null: no pull of the prefix is on record
	Need     int           `json:"need"`

	Keeps  *int   `json:"keeps"` // null: all
	Why    string `json:"why"`
	Enough bool   `json:"enough"`
}

// recordedNeed is a number on record, with the images that it needs.
type recordedNeed struct {
	Count int       `json:"count"`
	At    time.Time `json:"at"`
	Of    string    `json:"of,omitempty"`
	Need  int       `json:"need"`
}

func newRollbackWindow(f *endpointFlags) *cobra.Command {
	r := &rollbackRun{f: f}
	cmd := &cobra.Command{
		Use:   "rollback-window REPOSITORY --prefix PREFIX",
		Short: "How many images must be kept for a rollback, and does the policy keep them?",
		Long: "How many images of a tag prefix must be kept for a rollback within some days, and does the policy, that of a file\n" +
			"or the stored one, keep as many? It is the most of:\n" +
			"  deploys a day × days, if --deploys-per-day is given;\n" +
			"  the pushes of the busiest such window on record, for a mean understates it;\n" +
			"  how far back the furthest pull on record reached;\n" +
			"each with a margin on top, rounded up. 2 a day for 5 days are 10, and 12 with 20 %.\n\n" +
			"Exit status: 0 the policy keeps enough, 1 an error, 2 it does not.",
		Example: "  ecru lifecycle rollback-window my-app --prefix prod-\n" +
			"  ecru lifecycle rollback-window my-app --prefix prod- --deploys-per-day 2 --days 5 --margin 0.2 --policy policy.json",
		Args: oneRepository(f),
	}
	policyFlag(cmd, &r.policy)
	cmd.Flags().StringVar(&r.prefix, "prefix", "", "what the tags of production images begin with")
	cmd.Flags().Float64Var(&r.perDay, "deploys-per-day", 0, "deploys a day that are planned; 0 means what is on record only")
	cmd.Flags().Float64Var(&r.days, "days", 5, "how many days back a rollback goes")
	cmd.Flags().Float64Var(&r.margin, "margin", 0.2, "what is kept on top, as a share")
	cmd.Flags().Float64Var(&r.record, "record-days", 90, "how many days of the audit trail are looked at; CloudTrail keeps 90")
	cmd.RunE = f.with(rollbackPermissions, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		if err := r.check(); err != nil {
			return err
		}
		out, err := r.run(cmd, e, args[0])
		if err != nil {
			return err
		}
		if f.json {
			err = printJSON(cmd.OutOrStdout(), out)
		} else {
			out.print(cmd.OutOrStdout(), r)
		}
		if err == nil && !out.Enough {
			return exitStatus{code: 2}
		}
		return err
	})
	return cmd
}

func (r *rollbackRun) check() error {
	const most = 10_000
	switch {
	case r.prefix == "":
		return errors.New("--prefix: say what the tags of production images begin with, such as prod-")
	case !(r.perDay >= 0 && r.perDay <= most):
		return fmt.Errorf("--deploys-per-day %g: want 0 to %d", r.perDay, most)
	case !(r.margin >= 0 && r.margin <= 10):
		return fmt.Errorf("--margin %g: want 0 to 10; 0.2 is 20 %%", r.margin)
	}
	if err := checkDays("days", r.days); err != nil {
		return err
	}
	return checkDays("record-days", r.record)
}

func (r *rollbackRun) run(cmd *cobra.Command, e *advisor.Endpoint, repo string) (*rollbackReport, error) {
	p, err := r.stored(cmd, e, repo)
	if err != nil {
		return nil, err
	}
	pr := newTeller(cmd)
	defer pr.end()
	c, err := e.Contents(cmd.Context(), repo, pr.of("images"))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	from := now.Add(-time.Duration(r.record * float64(24*time.Hour)))
	h, evidence, err := e.History(cmd.Context(), c, from, true, pr.of("records"))
	if err != nil {
		return nil, err
	}
	found := lifecycle.Rollbacks(p, h, r.prefix, r.days, now)
	out := &rollbackReport{Repository: repo, Prefix: r.prefix, Days: r.days, Margin: r.margin, Images: found.Images, From: evidence.Oldest.UTC(), Why: found.Why,
		Busiest: recordedNeed{Count: found.Busiest, At: found.BusiestFrom.Time(), Need: lifecycle.Window(float64(found.Busiest), 1, r.margin)}}
	out.Need = out.Busiest.Need
	if r.perDay > 0 {
		n := lifecycle.Window(r.perDay, r.days, r.margin)
		out.Planned, out.Need = &n, max(out.Need, n)
	}
	if found.FurthestAt != 0 {
		// What was pulled is kept too, beside all that are newer.
		n := lifecycle.Window(float64(found.Furthest+1), 1, r.margin)
		out.Furthest = &recordedNeed{Count: found.Furthest, At: found.FurthestAt.Time().Truncate(time.Second), Of: found.FurthestOf, Need: n}
		out.Need = max(out.Need, n)
	}
	out.Enough = found.Unbounded || found.Keeps >= out.Need
	if !found.Unbounded {
		out.Keeps = &found.Keeps
	}
	return out, nil
}

// stored is the policy of the file, or the stored one; nil if there is none.
func (r *rollbackRun) stored(cmd *cobra.Command, e *advisor.Endpoint, repo string) (*lifecycle.Policy, error) {
	if r.policy != "" {
		return readPolicy(cmd, r.policy)
	}
	return e.LifecyclePolicy(cmd.Context(), repo)
}

func (o *rollbackReport) print(w io.Writer, r *rollbackRun) {
	fmt.Fprintf(w, "%s, tags %s…: %d images; a rollback of %g days, margin %g %%\n\n", o.Repository, o.Prefix, o.Images, o.Days, o.Margin*100)
	t := newGrid(w, "from", "what", "images needed")
	if o.Planned != nil {
		t.row("the plan", fmt.Sprintf("%g deploys a day for %g days", r.perDay, o.Days), *o.Planned)
	}
	busiest := "no push is on record"
	if o.Busiest.Count > 0 {
		busiest = fmt.Sprintf("%d pushes from %s on", o.Busiest.Count, date(lifecycle.At(o.Busiest.At)))
	}
	t.row("the busiest window", busiest, o.Busiest.Need)
	if o.Furthest != nil {
		t.row("the furthest rollback", fmt.Sprintf("%s, %d back, pulled %s", o.Furthest.Of, o.Furthest.Count, date(lifecycle.At(o.Furthest.At))), o.Furthest.Need)
	} else {
		t.row("the furthest rollback", "no pull is on record", 0)
	}
	t.flush()
	keeps := "all"
	if o.Keeps != nil {
		keeps = fmt.Sprint(*o.Keeps)
	}
	verdict := "ENOUGH"
	if !o.Enough {
		verdict = "NOT ENOUGH"
	}
	fmt.Fprintf(w, "\n%s: %d are needed, and %s are sure to be kept (%s)\n", verdict, o.Need, keeps, o.Why)
	if !o.From.IsZero() {
		fmt.Fprintf(w, "The oldest record seen is of %s.\n", o.From.Format(time.DateTime))
	}
}
