package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

// runPoll is how often the end of a run is asked for.
const runPoll = 500 * time.Millisecond

func newLifecycleRun(f *endpointFlags) *cobra.Command {
	var now, wait bool
	cmd := &cobra.Command{
		Use:   "run REPOSITORY",
		Short: "Tell when a lifecycle policy was applied, or apply it now",
		Long: "Tell when the lifecycle policy of a repository was applied last and what it did, or with --now have it\n" +
			"applied at once, instead of within a day, and wait for the end. What expires can be restored for a time:\n" +
			"see ecru lifecycle undo. Only an Ecru server can do this.\n\n" +
			"Exit status: 0 fine, 1 an error, also of the run.",
		Example: "  ecru lifecycle run my-app\n  ecru lifecycle run my-app --now",
		Args:    f.repositoryArg,
		RunE: f.with([]string{"ecr:DescribeLifecyclePolicyRun", "ecr:RunLifecyclePolicy"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
			since := time.Time{}
			if now {
				var out ext.RunLifecyclePolicyOutput
				if err := e.Call(cmd.Context(), "RunLifecyclePolicy", &ext.RunLifecyclePolicyInput{RepositoryName: &args[0]}, &out); err != nil {
					return err
				}
				since = *out.RequestedAt
			}
			run, err := describeRun(cmd.Context(), e, args[0], since, now && wait)
			if err != nil {
				return err
			}
			if err := f.printRun(cmd.OutOrStdout(), run); err != nil {
				return err
			}
			if now && wait && run.Status == "FAILED" {
				return fmt.Errorf("the run failed: %s", value(run.FailureReason))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&now, "now", false, "apply the policy now")
	cmd.Flags().BoolVar(&wait, "wait", true, "with --now, wait for the end of the run")
	return cmd
}

// repositoryArg wants one repository, unless only the permissions are asked for.
func (f *endpointFlags) repositoryArg(cmd *cobra.Command, args []string) error {
	if f.permissions {
		return nil
	}
	return cobra.ExactArgs(1)(cmd, args)
}

// describeRun asks for the last run; with wait, until one that began at since or
// later has ended.
func describeRun(ctx context.Context, e *advisor.Endpoint, repository string, since time.Time, wait bool) (*ext.DescribeLifecyclePolicyRunOutput, error) {
	for {
		out := new(ext.DescribeLifecyclePolicyRunOutput)
		if err := e.Call(ctx, "DescribeLifecyclePolicyRun", &ext.DescribeLifecyclePolicyRunInput{RepositoryName: &repository}, out); err != nil {
			return nil, err
		}
		if !wait || out.EndedAt != nil && !out.StartedAt.Before(since) {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("interrupted: the run goes on by itself; ecru lifecycle run tells how")
		case <-time.After(runPoll):
		}
	}
}

func (f *endpointFlags) printRun(w io.Writer, run *ext.DescribeLifecyclePolicyRunOutput) (err error) {
	if f.json {
		return printJSON(w, run)
	}
	switch run.Status {
	case "NONE":
		_, err = fmt.Fprintln(w, "The policy has not been applied yet.")
	case "IN_PROGRESS":
		_, err = fmt.Fprintf(w, "The policy is being applied since %s: %d images expired, %d archived so far.\n", moment(run.StartedAt), value(run.ExpiredImages), value(run.ArchivedImages))
	default:
		_, err = fmt.Fprintf(w, "The policy was applied at %s: %d images expired, %d archived, %d withheld.\n", moment(run.EndedAt), value(run.ExpiredImages), value(run.ArchivedImages), value(run.WithheldImages))
		if reason := value(run.FailureReason); err == nil && reason != "" {
			_, err = fmt.Fprintf(w, "It did not get to the end: %s\n", reason)
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "Next: %s\n", moment(run.NextRunAt))
	}
	return err
}

// value is what p points at, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// moment is a time as people read it here.
func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
