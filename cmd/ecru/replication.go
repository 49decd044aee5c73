package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/daemon"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

func newReplication() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replication",
		Short: "Copies of images in other regions: keys, status, plans, comparison",
		Long: "Copies of images in other regions. What is replicated is set with aws ecr put-replication-configuration;\n" +
			"regions know each other by the setting replication-region, in which each names the others' keys.",
		Example: "  ecru replication key\n" +
			"  ecru serve --replication-region \"eu-west-1=https://ecr.eu.example.com key=KEY-PRINTED-THERE\"\n" +
			"  ecru replication plan --configuration replication.json\n" +
			"  ecru replication status --watch\n" +
			"  ecru replication verify --to eu-west-1 --to-endpoint-url https://ecr.eu.example.com --repair",
	}
	cmd.AddCommand(newReplicationKey(), newReplicationStatus(), newReplicationPlan(), newReplicationVerify())
	return cmd
}

func newReplicationKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print the key by which other regions know this one",
		Long: "Print the public key by which other regions know this one, for their setting replication-region. It follows\n" +
			"from the master key of the data folder, which is made if there is none.",
		Example: "  ecru replication key --data /var/lib/ecru",
		Args:    cobra.NoArgs,
	}
	cfg := dataConfig(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := load(cmd, ""); err != nil {
			return err
		}
		key, err := cfg.ReplicationKey(cmd.Context())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	}
	return cmd
}

// statusRows is how many images that wait, or have failed, are shown.
const statusRows = 20

func newReplicationStatus() *cobra.Command {
	var watch, asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what waits for each destination, and what was refused",
		Long: "Show what waits for each destination, since when, and what was refused, and why. It reads the database of\n" +
			"the data folder, also while the server runs.\n\nExit status: 0 nothing has failed, 1 an error, 2 images have failed.",
		Example: "  ecru replication status\n  ecru replication status --watch\n  ecru replication status --json",
		Args:    cobra.NoArgs,
	}
	cfg := dataConfig(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "show it anew every two seconds")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if _, err := load(cmd, ""); err != nil {
			return err
		}
		core, err := cfg.Open(cmd.Context(), true)
		if err != nil {
			return err
		}
		defer core.Close()
		for {
			s, err := replicationStatus(cmd.Context(), core, cfg.Account)
			if err != nil {
				return err
			}
			if watch && !asJSON {
				fmt.Fprint(cmd.OutOrStdout(), "\x1b[H\x1b[2J") // from the top of an empty screen
			}
			if err := s.print(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
			if !watch {
				if s.failed() {
					return exitStatus{code: 2}
				}
				return nil
			}
			select {
			case <-cmd.Context().Done():
				return nil
			case <-time.After(2 * time.Second):
			}
		}
	}
	return cmd
}

// A statusReport is what ecru replication status prints.
type statusReport struct {
	Destinations []destinationStatus `json:"destinations"`
	Images       []imageStatus       `json:"images"`
}

type destinationStatus struct {
	Region     string  `json:"region"`
	RegistryID string  `json:"registryId"`
	Pending    int64   `json:"pending"`
	Failed     int64   `json:"failed"`
	Lag        float64 `json:"lagSeconds"`
}

type imageStatus struct {
	Repository  string    `json:"repositoryName"`
	Digest      string    `json:"imageDigest"`
	Tag         string    `json:"imageTag,omitempty"`
	Destination string    `json:"destination"`
	Status      string    `json:"status"`
	Code        string    `json:"failureCode,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Since       time.Time `json:"since"`
}

func replicationStatus(ctx context.Context, core *daemon.Core, account string) (*statusReport, error) {
	c := ecr.Caller{Principal: identity.Root(account), UserAgent: "ecru replication status"}
	counts, list, err := core.Registry.ReplicationOverview(ctx, c, account, statusRows)
	if err != nil {
		return nil, err
	}
	s := &statusReport{Destinations: []destinationStatus{}, Images: []imageStatus{}}
	for _, n := range counts {
		s.Destinations = append(s.Destinations, destinationStatus{n.To.Region, n.To.Account, n.Pending, n.Failed, lag(n)})
	}
	for _, r := range list {
		s.Images = append(s.Images, imageStatus{r.Repository.Name, r.Image.Digest, r.Image.Tag, r.To.String(), string(r.Status), r.Code, r.Reason, r.QueuedAt})
	}
	return s, nil
}

func lag(n meta.ReplicationCount) float64 {
	if n.Oldest.IsZero() {
		return 0
	}
	return max(0, time.Since(n.Oldest).Seconds())
}

func (s *statusReport) failed() bool {
	for _, d := range s.Destinations {
		if d.Failed > 0 {
			return true
		}
	}
	return false
}

func (s *statusReport) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(s)
	}
	if len(s.Destinations) == 0 {
		_, err := fmt.Fprintln(out, "Nothing is replicated: aws ecr put-replication-configuration says what is.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DESTINATION\tPENDING\tFAILED\tLAG")
	for _, d := range s.Destinations {
		fmt.Fprintf(w, "%s/%s\t%d\t%d\t%s\n", d.Region, d.RegistryID, d.Pending, d.Failed, (time.Duration(d.Lag * float64(time.Second))).Truncate(time.Second))
	}
	if len(s.Images) > 0 {
		fmt.Fprintln(w, "\nIMAGE\tDESTINATION\tSTATUS\tREASON")
	}
	for _, i := range s.Images {
		name := i.Repository + "@" + i.Digest[:min(len(i.Digest), 19)]
		if i.Tag != "" {
			name = i.Repository + ":" + i.Tag
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, i.Destination, i.Status, i.Reason)
	}
	return w.Flush()
}
