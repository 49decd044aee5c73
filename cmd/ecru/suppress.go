package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

func newSuppress() *cobra.Command {
	f := new(endpointFlags)
	cmd := &cobra.Command{
		Use:   "suppress",
		Short: "Set findings of scans aside, for a reason and a time",
		Long: "Set findings of scans aside, for a reason and a time. They stay on record and are marked; counts and the gate\n" +
			"pass them over. When the time is up they are back; events tell of it a week before and on the day. It is an\n" +
			"operation of Ecru's, not of AWS ECR.",
		Example: "  ecru suppress add CVE-2023-4911 --repository my-app --status not-affected --reason 'no setuid programs'\n" +
			"  ecru suppress list --repository my-app\n  ecru suppress expire 12\n  ecru suppress export --openvex my-app:v42 > my-app.vex.json",
	}
	f.add(cmd)
	cmd.AddCommand(newSuppressAdd(f), newSuppressList(f), newSuppressExpire(f), newSuppressExport(f))
	return cmd
}

// A suppressing is the flags of an override that is to be made.
type suppressing struct {
	repository, digest, pkg, path, arn, status, reason string
	lasts                                              time.Duration
	until                                              string
}

func newSuppressAdd(f *endpointFlags) *cobra.Command {
	var o suppressing
	cmd := &cobra.Command{
		Use:   "add [VULNERABILITY]",
		Short: "Set findings aside",
		Long: "Set findings aside: of a vulnerability, a package, a path, or what is all of these. They are those of one image\n" +
			"(--repository and --digest), of a repository, or of the registry. One of the same findings is replaced.\n\n" +
			"The status is not-affected, fixed or false-positive if the finding is wrong here, and accepted if it is right.",
		Example: "  ecru suppress add CVE-2023-4911 --repository my-app --status not-affected --reason 'no setuid programs'\n" +
			"  ecru suppress add --path app/testdata/ --repository my-app --status false-positive --reason 'fixtures of tests'\n" +
			"  ecru suppress add CVE-2024-1234 --status accepted --reason RISK-77 --until 2027-03-31",
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&o.repository, "repository", "", "only in this repository")
	cmd.Flags().StringVar(&o.digest, "digest", "", "only in the image with this digest, in --repository")
	cmd.Flags().StringVar(&o.pkg, "package", "", "only of this package")
	cmd.Flags().StringVar(&o.path, "path", "", "only of packages at this path in the image; with a slash at its end, of all below")
	cmd.Flags().StringVar(&o.arn, "finding-arn", "", "the ARN of an enhanced finding, instead of a vulnerability and a package")
	cmd.Flags().StringVar(&o.status, "status", "", "not-affected, fixed, false-positive or accepted")
	cmd.Flags().StringVar(&o.reason, "reason", "", "why")
	cmd.Flags().DurationVar(&o.lasts, "expires", 90*24*time.Hour, "after how long it expires")
	cmd.Flags().StringVar(&o.until, "until", "", "when it expires, as 2027-03-31 or 2027-03-31T12:00:00Z, instead of --expires")
	cmd.RunE = f.with([]string{"ecr:PutImageScanFindingsOverride"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		in, err := o.input(cmd, args)
		if err != nil {
			return err
		}
		out := new(ext.PutImageScanFindingsOverrideOutput)
		if err := e.Call(cmd.Context(), "PutImageScanFindingsOverride", in, out); err != nil {
			return err
		}
		if out.ImageScanFindingsOverride == nil {
			return fmt.Errorf("PutImageScanFindingsOverride answered nothing")
		}
		s := suppressed(out.ImageScanFindingsOverride)
		if f.json {
			return printJSON(cmd.OutOrStdout(), s)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s in %s is set aside as %s until %s\n", s.ID, s.what(), s.where(), s.Status, s.ExpiresAt.Format(time.RFC3339))
		return err
	})
	return cmd
}

// input is the override as the API has it.
func (o *suppressing) input(cmd *cobra.Command, args []string) (*ext.PutImageScanFindingsOverrideInput, error) {
	in := &ext.PutImageScanFindingsOverrideInput{Override: strings.ToUpper(strings.ReplaceAll(o.status, "-", "_")), Description: &o.reason}
	switch in.Override {
	case "NOT_AFFECTED", "FIXED", "FALSE_POSITIVE", "ACCEPTED":
	default:
		return nil, fmt.Errorf("--status %q: want not-affected, fixed, false-positive or accepted", o.status)
	}
	if strings.TrimSpace(o.reason) == "" {
		return nil, fmt.Errorf("--reason: say why, for those who read it later")
	}
	if len(args) == 1 {
		in.VulnerabilityId = optional(args[0])
	}
	in.RepositoryName, in.ImageDigest, in.PackageName = optional(o.repository), optional(o.digest), optional(o.pkg)
	in.Path, in.FindingArn = optional(o.path), optional(o.arn)
	if in.VulnerabilityId == nil && in.PackageName == nil && in.Path == nil && in.FindingArn == nil {
		return nil, fmt.Errorf("say what to set aside: a vulnerability, --package, --path or --finding-arn")
	}
	until := time.Now().Add(o.lasts)
	if o.until != "" {
		if cmd.Flags().Changed("expires") {
			return nil, fmt.Errorf("--until and --expires: give one of them")
		}
		var err error
		if until, err = parseTime(o.until); err != nil {
			return nil, fmt.Errorf("--until: %w", err)
		}
	}
	if !until.After(time.Now()) {
		return nil, fmt.Errorf("it would have expired at %s: that is over", until.Format(time.RFC3339))
	}
	in.ExpiresAt = &until
	return in, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// parseTime reads a day, or a time, of UTC unless it says otherwise.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: want 2027-03-31 or 2027-03-31T12:00:00Z", text)
}

// A suppression is an override as it is printed.
type suppression struct {
	ID            string    `json:"overrideId"`
	Registry      string    `json:"registryId"`
	Repository    string    `json:"repositoryName,omitempty"`
	Digest        string    `json:"imageDigest,omitempty"`
	Vulnerability string    `json:"vulnerabilityId,omitempty"`
	Package       string    `json:"packageName,omitempty"`
	Path          string    `json:"path,omitempty"`
	Status        string    `json:"override"`
	Reason        string    `json:"description"`
	Author        string    `json:"author"`
	CreatedAt     time.Time `json:"createdAt"`
	ExpiresAt     time.Time `json:"expiresAt"`
	State         string    `json:"status"`
}

func suppressed(o *ext.ImageScanFindingsOverride) suppression {
	return suppression{
		ID: aws.ToString(o.OverrideId), Registry: aws.ToString(o.RegistryId), Repository: aws.ToString(o.RepositoryName), Digest: aws.ToString(o.ImageDigest),
		Vulnerability: aws.ToString(o.VulnerabilityId), Package: aws.ToString(o.PackageName), Path: aws.ToString(o.Path), Status: o.Override,
		Reason: aws.ToString(o.Description), Author: aws.ToString(o.Author), CreatedAt: aws.ToTime(o.CreatedAt), ExpiresAt: aws.ToTime(o.ExpiresAt), State: o.Status,
	}
}

// what and where are what a suppression is about.
func (s *suppression) what() string {
	var out []string
	for _, part := range []string{s.Vulnerability, s.Package, s.Path} {
		if part != "" {
			out = append(out, part)
		}
	}
	return strings.Join(out, " ")
}

func (s *suppression) where() string {
	if s.Digest != "" {
		return s.Repository + "@" + s.Digest
	}
	return cmp.Or(s.Repository, "all repositories")
}

// suppressions reads all overrides of a registry, of what is not "" alone.
func suppressions(ctx context.Context, e *advisor.Endpoint, registry, repository, vulnerability string) ([]suppression, error) {
	in := &ext.ListImageScanFindingsOverridesInput{
		RegistryId: optional(registry), RepositoryName: optional(repository), VulnerabilityId: optional(vulnerability), MaxResults: aws.Int32(1000),
	}
	list := []suppression{}
	for {
		out := new(ext.ListImageScanFindingsOverridesOutput)
		if err := e.Call(ctx, "ListImageScanFindingsOverrides", in, out); err != nil {
			return nil, err
		}
		for i := range out.ImageScanFindingsOverrides {
			list = append(list, suppressed(&out.ImageScanFindingsOverrides[i]))
		}
		if out.NextToken == nil {
			return list, nil
		}
		in.NextToken = out.NextToken
	}
}

func newSuppressList(f *endpointFlags) *cobra.Command {
	var repository, vulnerability string
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what is set aside",
		Example: "  ecru suppress list --repository my-app\n  ecru suppress list --all --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&repository, "repository", "", "only what is for this repository and its images alone")
	cmd.Flags().StringVar(&vulnerability, "vulnerability", "", "only of this vulnerability")
	cmd.Flags().BoolVar(&all, "all", false, "what has expired, too")
	cmd.RunE = f.with([]string{"ecr:ListImageScanFindingsOverrides"}, func(cmd *cobra.Command, e *advisor.Endpoint, _ []string) error {
		list, err := suppressions(cmd.Context(), e, "", repository, vulnerability)
		if err != nil {
			return err
		}
		shown := []suppression{}
		for _, s := range list {
			if all || s.State != "EXPIRED" {
				shown = append(shown, s)
			}
		}
		if f.json {
			return printJSON(cmd.OutOrStdout(), shown)
		}
		return printSuppressions(cmd.OutOrStdout(), shown)
	})
	return cmd
}

func printSuppressions(out io.Writer, list []suppression) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tWHAT\tWHERE\tAS\tEXPIRES\tBY\tREASON")
	for i := range list {
		s := &list[i]
		expires := s.ExpiresAt.Format(time.RFC3339)
		if s.State == "EXPIRED" {
			expires += " (expired)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.what(), s.where(), s.Status, expires, s.Author, strings.Join(strings.Fields(s.Reason), " "))
	}
	return w.Flush()
}

func newSuppressExpire(f *endpointFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "expire ID…",
		Short:   "End suppressions now: what they set aside counts again",
		Example: "  ecru suppress expire 12 13",
		Args:    permissionsOr(f, cobra.MinimumNArgs(1)),
	}
	cmd.RunE = f.with([]string{"ecr:DeleteImageScanFindingsOverride"}, func(cmd *cobra.Command, e *advisor.Endpoint, ids []string) error {
		ended := []suppression{}
		for _, id := range ids {
			out := new(ext.DeleteImageScanFindingsOverrideOutput)
			if err := e.Call(cmd.Context(), "DeleteImageScanFindingsOverride", &ext.DeleteImageScanFindingsOverrideInput{OverrideId: &id}, out); err != nil {
				return err
			}
			if out.ImageScanFindingsOverride == nil {
				return fmt.Errorf("DeleteImageScanFindingsOverride answered nothing")
			}
			s := suppressed(out.ImageScanFindingsOverride)
			ended = append(ended, s)
			if !f.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s in %s counts again\n", s.ID, s.what(), s.where())
			}
		}
		if f.json {
			return printJSON(cmd.OutOrStdout(), ended)
		}
		return nil
	})
	return cmd
}
