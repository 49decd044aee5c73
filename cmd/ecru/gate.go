package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/vuln"
)

// A gating is the flags of the gate.
type gating struct {
	most      map[vuln.Severity]*int
	fixable   bool
	unfixed   time.Duration
	wait      time.Duration
	platforms []string
	baseline  string
	format    string
	output    string
}

func newGate() *cobra.Command {
	f, o := new(endpointFlags), &gating{most: map[vuln.Severity]*int{}}
	cmd := &cobra.Command{
		Use:   "gate REPOSITORY:TAG|REPOSITORY@DIGEST",
		Short: "Let an image through, or not, by what its scan found",
		Long: "Let an image through, or not, by what its scan found, here or on AWS ECR. Of an index every platform is\n" +
			"judged. The tag is resolved once: deploy the digest that is printed, and what runs is what was judged.\n" +
			"A scan that is missing, unfinished, failed or of an image that cannot be scanned never passes, nor do\n" +
			"findings that do not add up. What the registry sets aside (ecru suppress) does not count.\n\n" +
			"Thresholds are the most findings of a severity that pass; give one at least. The format is printed, or\n" +
			"written to --output; the text is printed then.\n\n" +
			"Exit status: 0 it passes, 1 an error, 2 a threshold is exceeded, 3 no verdict, 4 access denied.",
		Example: "  ecru gate my-app:v42 --max-critical 0 --max-high 2 --wait 5m\n" +
			"  ecru gate my-app:v42 --max-critical 0 --fixable-only --format sarif --output gate.sarif\n" +
			"  ecru gate my-app:v42 --max-high 0 --baseline my-app:prod    # only what is new counts\n" +
			"  deploy=$(ecru gate my-app:v42 --max-critical 0 --json | jq -er 'select(.outcome == \"PASS\").deploy')",
		Args: permissionsOr(f, cobra.ExactArgs(1)),
	}
	f.add(cmd)
	for _, s := range vuln.Severities() {
		o.most[s] = cmd.Flags().Int("max-"+strings.ToLower(string(s)), 0, "most findings that pass of severity "+string(s))
	}
	cmd.Flags().BoolVar(&o.fixable, "fixable-only", false, "do not count findings without a fix")
	cmd.Flags().DurationVar(&o.unfixed, "ignore-unfixed-older-than", 0, "do not count findings that were first observed longer ago and have no fix")
	cmd.Flags().DurationVar(&o.wait, "wait", 0, "how long to wait for a scan that has not finished")
	cmd.Flags().StringSliceVar(&o.platforms, "platform", nil, "judge only these platforms of an index, such as linux/amd64")
	cmd.Flags().StringVar(&o.baseline, "baseline", "", "do not count findings that this image has too")
	cmd.Flags().StringVar(&o.format, "format", "text", fmt.Sprint("one of ", advisor.GateFormats()))
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "file to write the format to")
	run := f.with([]string{"ecr:DescribeImages", "ecr:BatchGetImage", "ecr:DescribeImageScanFindings"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		return o.run(cmd, e, f, args[0])
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return orDenied(run(cmd, args)) }
	return cmd
}

// orDenied gives denied access an exit status of its own.
func orDenied(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok && slices.Contains([]string{"AccessDeniedException", "AccessDenied"}, api.ErrorCode()) {
		return exitStatus{code: 4, err: err}
	}
	return err
}

func (o *gating) options(cmd *cobra.Command) (out advisor.GateOptions, err error) {
	out = advisor.GateOptions{
		Gate:      vuln.Gate{Max: map[vuln.Severity]int{}, FixableOnly: o.fixable, UnfixedFor: o.unfixed},
		Platforms: o.platforms, Wait: o.wait, Now: time.Now,
		Progress: func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) },
	}
	for s, n := range o.most {
		if cmd.Flags().Changed("max-" + strings.ToLower(string(s))) {
			out.Gate.Max[s] = *n
		}
	}
	if o.wait < 0 {
		return out, fmt.Errorf("--wait %s: it is not negative", o.wait)
	}
	if o.baseline != "" {
		ref, err := advisor.ParseReference(o.baseline)
		if err != nil {
			return out, fmt.Errorf("--baseline: %w", err)
		}
		out.Baseline = &ref
	}
	return out, out.Gate.Check()
}

func (o *gating) run(cmd *cobra.Command, e *advisor.Endpoint, f *endpointFlags, text string) error {
	form := advisor.GateFormat(o.format)
	if f.json {
		form = "json"
	}
	if !slices.Contains(advisor.GateFormats(), form) {
		return fmt.Errorf("--format %q: want one of %v", form, advisor.GateFormats())
	}
	ref, err := advisor.ParseReference(text)
	if err != nil {
		return err
	}
	options, err := o.options(cmd)
	if err != nil {
		return err
	}
	r, err := e.Gate(cmd.Context(), ref, options)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := r.Write(&b, form); err != nil {
		return err
	}
	if o.output != "" {
		if err := os.WriteFile(o.output, b.Bytes(), 0o644); err != nil {
			return err
		}
		b.Reset()
		if err := r.WriteText(&b); err != nil {
			return err
		}
	}
	if _, err := cmd.OutOrStdout().Write(b.Bytes()); err != nil {
		return err
	}
	if code := r.ExitCode(); code != 0 {
		return exitStatus{code: code}
	}
	return nil
}
