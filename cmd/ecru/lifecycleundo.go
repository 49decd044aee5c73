package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

// undoBatch is how many images one call restores.
const undoBatch = 100

func newLifecycleUndo(f *endpointFlags) *cobra.Command {
	var list, all bool
	var digests []string
	cmd := &cobra.Command{
		Use:   "undo REPOSITORY",
		Short: "List and restore what a lifecycle policy deleted",
		Long: "List the images that the lifecycle policy of a repository deleted and that can be restored, for a week unless the\n" +
			"server is set otherwise, or restore them: with the time of their push, and with those of their tags that no\n" +
			"other image has now. An index comes back with its images, and an image with its signatures. Change the policy\n" +
			"next: if it stays as it is, it deletes them again, a day later at the earliest. Only an Ecru server can do this.\n\n" +
			"Exit status: 0 fine, 1 an error, 2 something was not restored.",
		Example: "  ecru lifecycle undo my-app\n" +
			"  ecru lifecycle undo my-app --digest sha256:4bcf…\n" +
			"  ecru lifecycle undo my-app --all",
		Args: f.repositoryArg,
		RunE: f.with([]string{"ecr:ListExpiredImages", "ecr:RestoreExpiredImages"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
			u := &undoing{f: f, cmd: cmd, e: e, repository: args[0], out: cmd.OutOrStdout()}
			switch {
			case list && (all || digests != nil) || all && digests != nil:
				return errors.New("--list, --digest and --all exclude each other")
			case all:
				return u.all()
			case digests != nil:
				return u.some(digests)
			}
			return u.list()
		}),
	}
	cmd.Flags().BoolVar(&list, "list", false, "list what can be restored; also without any flag")
	cmd.Flags().BoolVar(&all, "all", false, "restore all that can be restored")
	cmd.Flags().StringSliceVar(&digests, "digest", nil, "restore these images")
	return cmd
}

// An undoing is one use of the command.
type undoing struct {
	f          *endpointFlags
	cmd        *cobra.Command
	e          *advisor.Endpoint
	repository string
	out        io.Writer
}

// pages calls fn with what can be restored, page by page.
func (u *undoing) pages(fn func([]ext.ExpiredImage) error) error {
	n := int32(undoBatch)
	in := &ext.ListExpiredImagesInput{RepositoryName: &u.repository, MaxResults: &n}
	for {
		out := new(ext.ListExpiredImagesOutput)
		if err := u.e.Call(u.cmd.Context(), "ListExpiredImages", in, out); err != nil {
			return err
		}
		if err := fn(out.Images); err != nil || out.NextToken == nil {
			return err
		}
		in.NextToken = out.NextToken
	}
}

func (u *undoing) list() error {
	images := []ext.ExpiredImage{}
	if err := u.pages(func(page []ext.ExpiredImage) error { images = append(images, page...); return nil }); err != nil {
		return err
	}
	if u.f.json {
		return printJSON(u.out, images)
	}
	if len(images) == 0 {
		_, err := fmt.Fprintln(u.out, "There is nothing to restore.")
		return err
	}
	w := tabwriter.NewWriter(u.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DIGEST\tTAGS\tPUSHED\tEXPIRED\tUNTIL\tREASON")
	for _, i := range images {
		tags := strings.Join(i.ImageTags, ",")
		if tags == "" {
			tags = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", value(i.ImageDigest), tags, moment(i.ImagePushedAt), moment(i.ExpiredAt), moment(i.RestorableUntil), value(i.Reason))
	}
	return w.Flush()
}

// all restores what can be restored; what came back with something else is no
// failure.
func (u *undoing) all() error {
	total := new(ext.RestoreExpiredImagesOutput)
	back := map[string]bool{}
	err := u.pages(func(page []ext.ExpiredImage) error {
		var digests []string
		for _, i := range page {
			if d := value(i.ImageDigest); !back[d] {
				digests = append(digests, d)
			}
		}
		if digests == nil {
			return nil
		}
		out, err := u.restore(digests)
		if err != nil {
			return err
		}
		for _, i := range out.Images {
			back[value(i.ImageDigest)] = true
		}
		total.Images, total.Failures = append(total.Images, out.Images...), append(total.Failures, out.Failures...)
		return nil
	})
	return errors.Join(u.print(total), err, failed(total))
}

func (u *undoing) some(digests []string) error {
	total := new(ext.RestoreExpiredImagesOutput)
	for len(digests) > 0 {
		n := min(undoBatch, len(digests))
		out, err := u.restore(digests[:n])
		if err != nil {
			return errors.Join(u.print(total), err)
		}
		digests = digests[n:]
		total.Images, total.Failures = append(total.Images, out.Images...), append(total.Failures, out.Failures...)
	}
	return errors.Join(u.print(total), failed(total))
}

func (u *undoing) restore(digests []string) (*ext.RestoreExpiredImagesOutput, error) {
	out := new(ext.RestoreExpiredImagesOutput)
	return out, u.e.Call(u.cmd.Context(), "RestoreExpiredImages", &ext.RestoreExpiredImagesInput{RepositoryName: &u.repository, ImageDigests: digests}, out)
}

func failed(out *ext.RestoreExpiredImagesOutput) error {
	if len(out.Failures) > 0 {
		return exitStatus{code: 2}
	}
	return nil
}

func (u *undoing) print(out *ext.RestoreExpiredImagesOutput) (err error) {
	if u.f.json {
		return printJSON(u.out, out)
	}
	for _, i := range out.Images {
		text := "restored " + value(i.ImageDigest)
		if len(i.ImageTags) > 0 {
			text += " with " + strings.Join(i.ImageTags, ", ")
		}
		if len(i.TakenTags) > 0 {
			text += "; other images have " + strings.Join(i.TakenTags, ", ")
		}
		if _, err := fmt.Fprintln(u.out, text); err != nil {
			return err
		}
	}
	for _, f := range out.Failures {
		fmt.Fprintf(u.cmd.ErrOrStderr(), "not restored: %s: %s\n", value(f.ImageDigest), value(f.FailureReason))
	}
	_, err = fmt.Fprintf(u.out, "%d images restored, %d not.\n", len(out.Images), len(out.Failures))
	return err
}
