package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

func newInUse() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "in-use",
		Short: "Tell the server which images are in use, so that nothing expires them",
		Long: "Tell the server which images are in use, so that lifecycle policies neither expire nor archive them. A report\n" +
			"expires: repeat it more often than that, from cron or a CronJob. It is an operation of Ecru's, not of AWS ECR.",
		Example: "  " + kubectlExample + "\n  ecru in-use list",
	}
	f := new(endpointFlags)
	f.add(cmd)
	cmd.AddCommand(newInUseReport(f), newInUseList(f))
	return cmd
}

const (
	kubectlExample = `kubectl get pods -A -o jsonpath='{.items[*].status.containerStatuses[*].imageID}' | ecru in-use report - --source prod --replace`
	dockerExample  = `docker ps -q | xargs docker inspect --format '{{.Image}}' | sort -u |
    xargs docker image inspect --format '{{join .RepoDigests " "}}' | ecru in-use report - --source "$(hostname)" --replace`
)

// Bounds of a report.
const (
	maxReferences      = 5000
	maxReferencesBytes = 4 << 20
)

// A reporting is the flags of a report.
type reporting struct {
	source         string
	ttl            time.Duration
	replace, empty bool
}

func newInUseReport(f *endpointFlags) *cobra.Command {
	var o reporting
	cmd := &cobra.Command{
		Use:   "report [REFERENCE…|-]",
		Short: "Report images as in use",
		Long: "Report images as in use: references from the arguments, or from standard input, apart by white space. A\n" +
			"reference is [HOST/]REPOSITORY@DIGEST, [HOST/]REPOSITORY:TAG or a digest, as Kubernetes and docker write it;\n" +
			"the host is passed over. Tags are resolved by the server now; what they come to point at later is another\n" +
			"image. What is not in the registry is counted and passed over: a cluster runs images from elsewhere too.\n\n" +
			"With --replace the report replaces what the source reported before; else it adds to it.",
		Example: "  " + kubectlExample + "\n  " + dockerExample + "\n  ecru in-use report my-app:v41 my-app:v42 --source release-notes --ttl 720h",
	}
	cmd.Flags().StringVar(&o.source, "source", "", "who reports, such as the name of a cluster")
	cmd.Flags().DurationVar(&o.ttl, "ttl", 24*time.Hour, "after how long the report expires")
	cmd.Flags().BoolVar(&o.replace, "replace", false, "replace what the source reported before")
	cmd.Flags().BoolVar(&o.empty, "allow-empty", false, "with --replace, let an empty list withdraw the source's report")
	cmd.RunE = f.with([]string{"ecr:PutImagesInUse", "ecr:DescribeImages"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		refs, err := references(cmd.InOrStdin(), args)
		if err != nil {
			return err
		}
		in, err := o.input(refs)
		if err != nil {
			return err
		}
		out := new(ext.PutImagesInUseOutput)
		if err := e.Call(cmd.Context(), "PutImagesInUse", in, out); err != nil {
			return err
		}
		if f.json {
			return printJSON(cmd.OutOrStdout(), map[string]any{"reported": aws.ToInt32(out.Reported), "passedOver": passedOver(out.Failures)})
		}
		for _, p := range passedOver(out.Failures) {
			fmt.Fprintf(cmd.ErrOrStderr(), "passed over: %s: %s\n", p.Reference, p.Reason)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d images reported as in use by %s, for %s; %d references passed over\n",
			aws.ToInt32(out.Reported), o.source, o.ttl, len(out.Failures))
		return err
	})
	return cmd
}

// A passed is a reference that names no image of the registry.
type passed struct {
	Reference string `json:"reference"`
	Code      string `json:"code"`
	Reason    string `json:"reason"`
}

func passedOver(failures []ext.InUseFailure) []passed {
	out := []passed{}
	for _, f := range failures {
		p := passed{Code: f.FailureCode, Reason: aws.ToString(f.FailureReason)}
		if f.Image != nil {
			p.Reference = aws.ToString(f.Image.ImageUri)
		}
		out = append(out, p)
	}
	return out
}

// references are the arguments, or what stands on standard input, each once.
func references(in io.Reader, args []string) ([]string, error) {
	if len(args) == 0 || len(args) == 1 && args[0] == "-" {
		if f, ok := in.(*os.File); ok && len(args) == 0 {
			if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
				return nil, fmt.Errorf("no references: give some, or - for standard input")
			}
		}
		text, err := io.ReadAll(io.LimitReader(in, maxReferencesBytes+1))
		if err != nil {
			return nil, err
		}
		if len(text) > maxReferencesBytes {
			return nil, fmt.Errorf("standard input has more than %d MiB", maxReferencesBytes>>20)
		}
		args = strings.Fields(string(text))
	}
	var refs []string
	seen := map[string]bool{}
	for _, ref := range args {
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// input is the report as the API has it.
func (o *reporting) input(refs []string) (*ext.PutImagesInUseInput, error) {
	switch {
	case o.source == "":
		return nil, fmt.Errorf("--source: say who reports, such as the name of the cluster")
	case o.ttl < time.Minute || o.ttl > 365*24*time.Hour:
		return nil, fmt.Errorf("--ttl %s: want between a minute and a year", o.ttl)
	case len(refs) > maxReferences:
		return nil, fmt.Errorf("%d references: a report has at most %d; report in parts, each with a --source of its own", len(refs), maxReferences)
	case len(refs) == 0 && o.replace && !o.empty:
		return nil, fmt.Errorf("there are no references, and --replace would withdraw what %s reported before: if that is meant, add --allow-empty", o.source)
	case len(refs) == 0 && !o.replace:
		return nil, fmt.Errorf("there are no references to report")
	}
	seconds := int32(o.ttl / time.Second)
	in := &ext.PutImagesInUseInput{Source: &o.source, TtlSeconds: &seconds, Replace: &o.replace, Images: []ext.InUseReference{}}
	for i := range refs {
		in.Images = append(in.Images, ext.InUseReference{ImageUri: &refs[i]})
	}
	return in, nil
}

func newInUseList(f *endpointFlags) *cobra.Command {
	var repository, source string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the images that are reported as in use",
		Example: "  ecru in-use list --repository my-app",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&repository, "repository", "", "only reports about this repository")
	cmd.Flags().StringVar(&source, "source", "", "only reports of this source")
	cmd.RunE = f.with([]string{"ecr:ListImagesInUse"}, func(cmd *cobra.Command, e *advisor.Endpoint, _ []string) error {
		in := &ext.ListImagesInUseInput{MaxResults: aws.Int32(1000)}
		if repository != "" {
			in.RepositoryName = &repository
		}
		if source != "" {
			in.Source = &source
		}
		images := []inUse{}
		for {
			out := new(ext.ListImagesInUseOutput)
			if err := e.Call(cmd.Context(), "ListImagesInUse", in, out); err != nil {
				return err
			}
			for _, i := range out.Images {
				images = append(images, inUse{aws.ToString(i.RepositoryName), aws.ToString(i.ImageDigest), aws.ToString(i.Source), aws.ToTime(i.ReportedAt), aws.ToTime(i.ExpiresAt)})
			}
			if out.NextToken == nil {
				break
			}
			in.NextToken = out.NextToken
		}
		if f.json {
			return printJSON(cmd.OutOrStdout(), images)
		}
		return printInUse(cmd.OutOrStdout(), images)
	})
	return cmd
}

// An inUse is a report as it is printed.
type inUse struct {
	Repository string    `json:"repositoryName,omitempty"`
	Digest     string    `json:"imageDigest"`
	Source     string    `json:"source"`
	ReportedAt time.Time `json:"reportedAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

func printInUse(out io.Writer, images []inUse) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "REPOSITORY\tDIGEST\tSOURCE\tREPORTED\tEXPIRES")
	for _, i := range images {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", cmp.Or(i.Repository, "(any)"), i.Digest, i.Source, i.ReportedAt.Format(time.RFC3339), i.ExpiresAt.Format(time.RFC3339))
	}
	return w.Flush()
}
