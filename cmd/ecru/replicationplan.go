package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/ecr"
)

var planPermissions = []string{"ecr:DescribeRegistry", "ecr:DescribeRepositories", "ecr:ListImages", "ecr:BatchGetImage"}

func newReplicationPlan() *cobra.Command {
	f := new(endpointFlags)
	var file string
	var transfer, storage float64
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Tell what a replication configuration would copy",
		Long: "Tell what a replication configuration would copy if all that matches now were to be copied: repositories,\n" +
			"images, bytes (each layer once), and money if prices are given. Filters that match nothing, and those with a\n" +
			"wildcard, which ECR takes literally, are pointed out. It reads the registry by its API, here or on AWS.\n\n" +
			"Exit status: 0 fine, 1 an error, 2 findings.",
		Example: "  ecru replication plan                                   # of the configuration that is set\n" +
			"  ecru replication plan --configuration replication.json --transfer-per-gb 0.02 --storage-per-gb-month 0.10",
		Args: cobra.NoArgs,
	}
	f.add(cmd)
	cmd.Flags().StringVar(&file, "configuration", "", "file with the configuration, as aws ecr takes it; - means standard input; empty means the one that is set")
	cmd.Flags().Float64Var(&transfer, "transfer-per-gb", 0, "price of a GB between the regions")
	cmd.Flags().Float64Var(&storage, "storage-per-gb-month", 0, "price of a GB kept for a month")
	cmd.RunE = f.with(planPermissions, func(cmd *cobra.Command, e *advisor.Endpoint, _ []string) error {
		cfg, err := planned(cmd, e, file)
		if err != nil {
			return err
		}
		plan, err := e.PlanReplication(cmd.Context(), cfg, repositoriesRead(cmd.ErrOrStderr(), f.json))
		if err != nil {
			return err
		}
		if f.json {
			err = printJSON(cmd.OutOrStdout(), plan)
		} else {
			err = printPlan(cmd.OutOrStdout(), plan, transfer, storage)
		}
		if err == nil && len(plan.Findings) > 0 {
			err = exitStatus{code: 2}
		}
		return err
	})
	return cmd
}

// planned returns the configuration of a file, or the one that is set.
func planned(cmd *cobra.Command, e *advisor.Endpoint, file string) (*ecr.ReplicationConfiguration, error) {
	if file == "" {
		return e.Replication(cmd.Context())
	}
	in := cmd.InOrStdin()
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		in = opened
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput))
	if err != nil {
		return nil, err
	}
	return advisor.ParseReplication(text)
}

// repositoriesRead tells of repositories on a terminal's standard error.
func repositoriesRead(out io.Writer, quiet bool) func(string) {
	if quiet {
		return nil
	}
	n := 0
	return func(repository string) {
		n++
		if n%50 == 0 {
			fmt.Fprintf(out, "%d repositories read, now %s\n", n, repository)
		}
	}
}

func printPlan(out io.Writer, plan *advisor.ReplicationPlan, transfer, storage float64) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	head := "DESTINATION\tREPOSITORIES\tIMAGES\tTAGS\tBYTES"
	if transfer > 0 {
		head += "\tTRANSFER, ONCE"
	}
	if storage > 0 {
		head += "\tSTORAGE, A MONTH"
	}
	fmt.Fprintln(w, head)
	for _, d := range plan.Destinations {
		fmt.Fprintf(w, "%s/%s\t%d\t%d\t%d\t%d", d.Region, d.Account, d.Repositories, d.Images, d.Tags, d.Bytes)
		if transfer > 0 {
			fmt.Fprintf(w, "\t%.2f", float64(d.Bytes)/1e9*transfer)
		}
		if storage > 0 {
			fmt.Fprintf(w, "\t%.2f", float64(d.Bytes)/1e9*storage)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, finding := range plan.Findings {
		fmt.Fprintf(out, "warning: %s\n", finding)
	}
	return nil
}

var verifyPermissions = []string{"ecr:DescribeRegistry", "ecr:DescribeRepositories", "ecr:ListImages", "ecr:StartReplicationBackfill", "ecr:DescribeReplicationBackfillResults"}

func newReplicationVerify() *cobra.Command {
	f := new(endpointFlags)
	var region, account string
	var there advisor.Options
	var repair bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare a destination with its source, and repair it",
		Long: "Compare, digest by digest, what a destination has with what the source's configuration sends there. What is\n" +
			"only at the destination is left out: deletions are not replicated. With --repair a backfill of the source\n" +
			"sends what is missing, and the comparison is made again.\n\nExit status: 0 equal, 1 an error, 2 differences.",
		Example: "  ecru replication verify --to eu-west-1 --to-endpoint-url https://ecr.eu.example.com\n" +
			"  ecru replication verify --to eu-west-1 --to-profile eu --repair",
		Args: cobra.NoArgs,
	}
	f.add(cmd)
	cmd.Flags().StringVar(&region, "to", "", "region of the destination")
	cmd.Flags().StringVar(&account, "to-account", "", "account of the destination; empty means the source's")
	cmd.Flags().StringVar(&there.EndpointURL, "to-endpoint-url", "", "URL of the destination's server; empty means AWS")
	cmd.Flags().StringVar(&there.Profile, "to-profile", "", "profile of ~/.aws/config for the destination; empty means the source's credentials")
	cmd.Flags().BoolVar(&repair, "repair", false, "send what is missing")
	cmd.RunE = f.with(verifyPermissions, func(cmd *cobra.Command, e *advisor.Endpoint, _ []string) error {
		if region == "" {
			return fmt.Errorf("name the destination's region with --to")
		}
		there.Region = region
		if there.Profile == "" {
			there.Profile = f.Profile
		}
		other, err := advisor.Connect(cmd.Context(), there)
		if err != nil {
			return fmt.Errorf("destination: %w", err)
		}
		to := ecr.Destination{Region: region, Account: account}
		if account == "" {
			to.Account = e.Account
		}
		return verify(cmd, f, e, other, to, repair)
	})
	return cmd
}

func verify(cmd *cobra.Command, f *endpointFlags, e, other *advisor.Endpoint, to ecr.Destination, repair bool) error {
	ctx := cmd.Context()
	cfg, err := e.Replication(ctx)
	if err != nil {
		return err
	}
	result, err := e.CompareReplica(ctx, cfg, other, to, repositoriesRead(cmd.ErrOrStderr(), f.json))
	if err != nil {
		return err
	}
	if repair && len(result.Differences) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d differences; sending what is missing to %s\n", len(result.Differences), to)
		if err := backfill(ctx, e, to, cmd.ErrOrStderr()); err != nil {
			return err
		}
		if result, err = e.CompareReplica(ctx, cfg, other, to, nil); err != nil {
			return err
		}
	}
	if f.json {
		err = printJSON(cmd.OutOrStdout(), result)
	} else {
		for _, d := range result.Differences {
			fmt.Fprintln(cmd.OutOrStdout(), d)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d repositories with %d images compared with %s: %d differences\n", result.Repositories, result.Images, to, len(result.Differences))
	}
	if err == nil && len(result.Differences) > 0 {
		err = exitStatus{code: 2}
	}
	return err
}

// backfill has the source send all that its configuration sends to a
// destination, and waits for the end.
func backfill(ctx context.Context, e *advisor.Endpoint, to ecr.Destination, out io.Writer) error {
	started, err := e.ECR.StartReplicationBackfill(ctx, &sdk.StartReplicationBackfillInput{Destination: &types.ReplicationDestination{Region: &to.Region, RegistryId: &to.Account}})
	if err != nil {
		return err
	}
	told := ""
	for {
		now, err := e.ECR.DescribeReplicationBackfillResults(ctx, &sdk.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: started.ReplicationBackfillId})
		if err != nil {
			return err
		}
		line := string(now.Status)
		if p := now.Progress; p != nil {
			line += fmt.Sprintf(": %d of %d sent, %d failed", *p.CompletedReplicationCount, *p.TotalReplicationCount, *p.FailedReplicationCount)
			if len(p.FailureCodes) > 0 {
				line += " (" + strings.Join(p.FailureCodes, ", ") + ")"
			}
		}
		if line != told {
			fmt.Fprintln(out, line)
			told = line
		}
		switch now.Status {
		case types.ReplicationBackfillStatusComplete, types.ReplicationBackfillStatusFailed, types.ReplicationBackfillStatusStopped:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
