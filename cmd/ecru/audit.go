package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/audit"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Prove that the audit trail is whole",
		Long: "Prove that the audit trail is whole. To read it ask the server:\n" +
			"  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=PutImage",
		Example: "  ecru audit verify",
	}
	cmd.AddCommand(newAuditVerify())
	return cmd
}

func newAuditVerify() *cobra.Command {
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "verify [FILE…]",
		Short: "Prove that no audit record is missing or changed",
		Long: "Prove of every audit record that is kept that it is as it was written, in its place, with none missing\n" +
			"before, between and after them, and that every change in the event log has its record. It can run beside\n" +
			"the server. With files it proves the same of files that --audit-log wrote, given the oldest first.\n\n" +
			"The proof needs the master key of the data folder: who has that could have written another trail. Keep\n" +
			"the log files, or the last sequence number and seal, where the server's machine cannot change them.\n\n" +
			"Exit status: 0 all is well, 1 an error, 2 something is wrong.",
		Example: "  ecru audit verify --data /var/lib/ecru\n  ecru audit verify --data /var/lib/ecru /var/log/ecru/audit.jsonl.*",
	}
	cfg := dataConfig(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "show no progress, which is shown on a terminal only")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		if _, err := load(cmd, ""); err != nil {
			return err
		}
		core, err := cfg.OpenIdentity(cmd.Context())
		if err != nil {
			return err
		}
		defer core.Close()
		var reports []auditReport
		if len(files) == 0 {
			seen := func(int64) {}
			if info, err := os.Stderr.Stat(); !quiet && err == nil && info.Mode()&os.ModeCharDevice != 0 {
				seen = func(n int64) { fmt.Fprintf(os.Stderr, "\r%d records", n) }
				defer fmt.Fprint(os.Stderr, "\r\033[K")
			}
			r, err := core.Audit.Verify(cmd.Context(), seen)
			if err != nil {
				return err
			}
			reports = append(reports, auditReport{Report: r})
		} else if reports, err = verifyFiles(core.Audit, files); err != nil {
			return err
		}
		return printAudit(cmd.OutOrStdout(), reports, asJSON)
	}
	return cmd
}

// An auditReport is what was found of the trail, or of a file of it.
type auditReport struct {
	File string `json:"file,omitempty"`
	audit.Report
}

func verifyFiles(log *audit.Log, files []string) (out []auditReport, err error) {
	var before *audit.Report
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		r, err := log.VerifyFile(f, before)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, auditReport{name, r})
		before = &out[len(out)-1].Report
	}
	return out, nil
}

func printAudit(w io.Writer, reports []auditReport, asJSON bool) error {
	status := 0
	for _, r := range reports {
		if len(r.Problems) > 0 {
			status = 2
		}
	}
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(reports); err != nil {
			return err
		}
	} else {
		for _, r := range reports {
			printAuditReport(w, r)
		}
	}
	if status != 0 {
		return exitStatus{code: status}
	}
	return nil
}

func printAuditReport(w io.Writer, r auditReport) {
	what := "the audit trail"
	if r.File != "" {
		what = r.File
	}
	if r.Last < r.First {
		fmt.Fprintf(w, "%s: no records", what)
	} else {
		fmt.Fprintf(w, "%s: records %d to %d, %s to %s, %d bytes", what, r.First, r.Last, r.From.Format(time.RFC3339), r.To.Format(time.RFC3339), r.Bytes)
	}
	if r.Unsealed > 0 {
		fmt.Fprintf(w, ", and %d about to be sealed", r.Unsealed)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, ": whole")
		return
	}
	fmt.Fprintln(w, ": NOT whole")
	for _, p := range r.Problems {
		fmt.Fprintln(w, "  "+p)
	}
}
