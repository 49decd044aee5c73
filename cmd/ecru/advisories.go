package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
	"github.com/ecruhq/ecru/scan/feed"
)

func newAdvisories() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "advisories",
		Short: "Carry advisories of vulnerabilities to servers, and see how old they are",
		Long: "Carry advisories of vulnerabilities to servers, and see how old they are. A server with a network reads them\n" +
			"itself (ecru serve --advisories osv.dev). For one without, pack them where there is a network, carry the file,\n" +
			"and load it; or push them to a registry that the server reaches, and name that as oci:REFERENCE.",
		Example: "  ecru advisories pack osv.dev -o advisories.zip\n  ecru advisories load advisories.zip --wait\n  ecru advisories status --max-age 168h",
	}
	cmd.AddCommand(newAdvisoriesPack(), newAdvisoriesPull(), newAdvisoriesLoad(), newAdvisoriesStatus())
	return cmd
}

func newAdvisoriesPack() *cobra.Command {
	var o feed.Options
	var out, push string
	cmd := &cobra.Command{
		Use:   "pack SOURCE",
		Short: "Pack advisories into one file, or push them as an artifact",
		Long: "Pack advisories into one zip file, or push them to a registry as an OCI artifact, one layer a file. SOURCE is\n" +
			"osv.dev, the URL of a mirror, a folder or zip file in OSV.dev's layout, or oci:REFERENCE. Credentials of\n" +
			"registries are docker's.",
		Example: "  ecru advisories pack osv.dev -o advisories.zip --ecosystems Debian,npm,PyPI\n  ecru advisories pack ./osv --push registry.example.com/advisories:latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (out == "") == (push == "") {
				return errors.New("say where to: -o FILE or --push REFERENCE")
			}
			return packTo(cmd, args[0], o, out, func(file string) error {
				if push == "" {
					return nil
				}
				digest, err := feed.Push(cmd.Context(), file, push)
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", push, digest)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "zip file to write")
	cmd.Flags().StringVar(&push, "push", "", "reference to push the artifact to, such as registry.example.com/advisories:latest")
	cmd.Flags().StringSliceVar(&o.Ecosystems, "ecosystems", nil, "ecosystems to pack; empty means all of which there can be packages in images")
	cmd.Flags().StringVar(&o.KEV, "kev", "", "URL of CISA's catalogue, if not from the source")
	cmd.Flags().StringVar(&o.EPSS, "epss", "", "URL of EPSS's scores, if not from the source")
	return cmd
}

// packTo packs a source into a file that is complete or not there, and calls
// then with its name. Without a name it is a temporary one.
func packTo(cmd *cobra.Command, source string, o feed.Options, out string, then func(file string) error) error {
	f, err := os.CreateTemp(dirOf(out), ".advisories-*.zip")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if it was renamed
	p, err := feed.Pack(cmd.Context(), source, o, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "packed %d ecosystems, %d files, %d bytes\n", len(p.Ecosystems), p.Files, p.Bytes)
	file := f.Name()
	if out != "" {
		if err := errors.Join(os.Chmod(file, 0o644), os.Rename(file, out)); err != nil {
			return err
		}
		file = out
	}
	return then(file)
}

func dirOf(out string) string {
	if out == "" {
		return ""
	}
	return filepath.Dir(out)
}

func newAdvisoriesPull() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     "pull REFERENCE",
		Short:   "Write an artifact of advisories as a zip file",
		Example: "  ecru advisories pull registry.example.com/advisories:latest -o advisories.zip",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return errors.New("say where to: -o FILE")
			}
			return packTo(cmd, "oci:"+args[0], feed.Options{}, out, func(string) error { return nil })
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "zip file to write")
	return cmd
}

// loadPermissions are those that loading needs.
func loadPermissions() []string {
	return []string{"ecr:StartAdvisoryUpdate", "ecr:DescribeAdvisorySources", "ecr:CreateRepository", "ecr:DescribeRepositories", "ecr:GetAuthorizationToken",
		"ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
		"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
}

func newAdvisoriesLoad() *cobra.Command {
	f := new(endpointFlags)
	var repository string
	var wait bool
	cmd := &cobra.Command{
		Use:   "load [SOURCE]",
		Short: "Load advisories into a server, or have it update them from its source",
		Long: "Load advisories into a running server: they are pushed into one of its repositories as an artifact, and it\n" +
			"loads that. What it has already is not sent again. SOURCE is as for pack. Without SOURCE the server updates\n" +
			"them from the source of its own configuration.",
		Example: "  ecru advisories load advisories.zip --wait\n  ecru advisories load",
		Args:    cobra.MaximumNArgs(1),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&repository, "repository", "ecru/advisories", "repository to push to; it is made if there is none")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the end of it")
	cmd.RunE = f.with(loadPermissions(), func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		in := &ext.StartAdvisoryUpdateInput{}
		if len(args) == 1 {
			digest, err := pushTo(cmd, e, args[0], repository)
			if err != nil {
				return err
			}
			in.RepositoryName, in.ImageDigest = &repository, &digest
		}
		if err := e.Call(cmd.Context(), "StartAdvisoryUpdate", in, new(ext.StartAdvisoryUpdateOutput)); err != nil {
			return err
		}
		if !wait {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "the update has begun; see ecru advisories status")
			return err
		}
		return awaitUpdate(cmd.Context(), e)
	})
	return cmd
}

// pushTo packs a source and pushes it into a repository of the server.
func pushTo(cmd *cobra.Command, e *advisor.Endpoint, source, repository string) (digest string, err error) {
	ctx := cmd.Context()
	_, err = e.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &repository})
	if _, there := errors.AsType[*types.RepositoryAlreadyExistsException](err); err != nil && !there {
		return "", err
	}
	repos, err := e.ECR.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{repository}})
	if err != nil {
		return "", err
	}
	token, err := e.ECR.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", err
	}
	if len(repos.Repositories) != 1 || len(token.AuthorizationData) != 1 {
		return "", errors.New("the server's answer is not ECR's")
	}
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(token.AuthorizationData[0].AuthorizationToken))
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return "", errors.New("the server's token is not user:password")
	}
	ref := aws.ToString(repos.Repositories[0].RepositoryUri) + ":latest"
	err = packTo(cmd, source, feed.Options{}, "", func(file string) (err error) {
		digest, err = feed.Push(ctx, file, ref, remote.WithAuth(&authn.Basic{Username: user, Password: password}), remote.WithUserAgent("ecru"))
		return err
	})
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "pushed %s, %s\n", ref, digest)
	}
	return digest, err
}

// updatePoll is how often it is asked for how an update stands.
const updatePoll = time.Second

func awaitUpdate(ctx context.Context, e *advisor.Endpoint) error {
	for {
		out := new(ext.DescribeAdvisorySourcesOutput)
		if err := e.Call(ctx, "DescribeAdvisorySources", &ext.DescribeAdvisorySourcesInput{MaxResults: aws.Int32(1)}, out); err != nil {
			return err
		}
		if out.UpdateState == "" {
			return nil
		}
		if out.UpdateError != nil && out.UpdateState != "running" {
			return fmt.Errorf("the update failed: %s", *out.UpdateError)
		}
		timer := time.NewTimer(updatePoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// A sourceStatus is a row of the status, as JSON has it.
type sourceStatus struct {
	Ecosystem  string     `json:"ecosystem"`
	Source     string     `json:"source,omitempty"`
	Records    int64      `json:"records"`
	Newest     *time.Time `json:"newestModifiedAt,omitempty"`
	Loaded     *time.Time `json:"loadedAt,omitempty"`
	Checked    *time.Time `json:"checkedAt,omitempty"`
	AgeSeconds int64      `json:"ageSeconds"`
	Failure    string     `json:"failure,omitempty"`
	TooOld     bool       `json:"tooOld"`
}

func newAdvisoriesStatus() *cobra.Command {
	f := new(endpointFlags)
	var maxAge time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the advisories of a server, and how old they are",
		Long: "Show the advisories of a server, by ecosystem. How old they are is counted from the newest of what their source\n" +
			"has, or from when it last answered, whichever is longer ago.\n\n" +
			"Exit status: 0 all is well, 1 an error, 2 some are older than --max-age, were never loaded, or there are none.",
		Example: "  ecru advisories status --max-age 168h",
		Args:    cobra.NoArgs,
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&maxAge, "max-age", 0, "age from which advisories are too old; 0 means never")
	cmd.RunE = f.with([]string{"ecr:DescribeAdvisorySources"}, func(cmd *cobra.Command, e *advisor.Endpoint, _ []string) error {
		rows, state, failure, err := sourceStatuses(cmd.Context(), e, maxAge)
		if err != nil {
			return err
		}
		if f.json {
			err = printJSON(cmd.OutOrStdout(), map[string]any{"sources": rows, "updateState": state, "updateError": failure})
		} else {
			err = printSources(cmd.OutOrStdout(), rows, state, failure)
		}
		if err != nil {
			return err
		}
		old := len(rows) == 0
		for _, r := range rows {
			old = old || r.TooOld
		}
		if old {
			return exitStatus{code: 2}
		}
		return nil
	})
	return cmd
}

func sourceStatuses(ctx context.Context, e *advisor.Endpoint, maxAge time.Duration) (rows []sourceStatus, state, failure string, err error) {
	rows = []sourceStatus{}
	in := &ext.DescribeAdvisorySourcesInput{MaxResults: aws.Int32(1000)}
	for {
		out := new(ext.DescribeAdvisorySourcesOutput)
		if err := e.Call(ctx, "DescribeAdvisorySources", in, out); err != nil {
			return nil, "", "", err
		}
		for _, s := range out.Sources {
			age := aws.ToInt64(s.AgeSeconds)
			rows = append(rows, sourceStatus{
				Ecosystem: aws.ToString(s.Ecosystem), Source: aws.ToString(s.Source), Records: aws.ToInt64(s.Records), Newest: s.NewestModifiedAt,
				Loaded: s.LoadedAt, Checked: s.CheckedAt, AgeSeconds: age, Failure: aws.ToString(s.Failure),
				TooOld: s.LoadedAt == nil || maxAge > 0 && age > int64(maxAge/time.Second),
			})
		}
		state, failure = out.UpdateState, aws.ToString(out.UpdateError)
		if out.NextToken == nil {
			return rows, state, failure, nil
		}
		in.NextToken = out.NextToken
	}
}

func printSources(w io.Writer, rows []sourceStatus, state, failure string) error {
	if len(rows) == 0 {
		fmt.Fprintln(w, "there are no advisories: start the server with --advisories osv.dev, or see ecru advisories load")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(rows) > 0 {
		fmt.Fprintln(t, "ECOSYSTEM\tRECORDS\tNEWEST\tAGE\tSOURCE\t")
	}
	for _, r := range rows {
		newest, age, note := "-", "-", ""
		if r.Newest != nil {
			newest = r.Newest.UTC().Format("2006-01-02 15:04")
		}
		if r.Loaded != nil {
			age = days(time.Duration(r.AgeSeconds) * time.Second)
		}
		if r.TooOld {
			note = "too old"
		}
		if r.Loaded == nil {
			note = "never loaded"
		}
		if r.Failure != "" {
			note = strings.TrimPrefix(note+"; failed: "+r.Failure, "; ")
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", r.Ecosystem, r.Records, newest, age, cmp.Or(r.Source, "-"), note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if state != "" {
		fmt.Fprintf(w, "an update is %s\n", state)
	}
	if failure != "" {
		fmt.Fprintf(w, "the last attempt failed: %s\n", failure)
	}
	return nil
}

// days is an age for people.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Truncate(time.Minute).String()
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
