package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/registry"
)

func newFsck() *cobra.Command {
	var o registry.FsckOptions
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Verify every record against every object",
		Long: "Verify every record against every object: that each layer's bytes are there and have their digest, that each\n" +
			"manifest has its digest, that tags, links and counters agree. It can run beside the server; with --repair,\n" +
			"which sets right what can be derived and deletes nothing, the server must be stopped.\n\n" +
			"Exit status: 0 all is well, 1 an error, 2 something is wrong.",
		Example: "  ecru fsck --data /var/lib/ecru\n  ecru fsck --data /var/lib/ecru --quick --json\n  ecru fsck --data /var/lib/ecru --repair",
		Args:    cobra.NoArgs,
	}
	cfg := dataConfig(cmd)
	cmd.Flags().BoolVar(&o.Repair, "repair", false, "set right what can be; the server must be stopped")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "compare sizes only, do not read the layers")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "show no progress, which is shown on a terminal only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := load(cmd, ""); err != nil {
			return err
		}
		core, err := cfg.Open(cmd.Context(), !o.Repair)
		if err != nil {
			return err
		}
		defer core.Close()
		if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			quiet = true
		}
		if !quiet {
			o.Progress = progress(os.Stderr)
		}
		rep, err := core.Registry.Fsck(cmd.Context(), o)
		if !quiet {
			fmt.Fprint(os.Stderr, "\r\033[K")
		}
		if err != nil {
			return err
		}
		if err := printReport(cmd.OutOrStdout(), rep, asJSON); err != nil {
			return err
		}
		for _, f := range rep.Findings {
			if !f.Mended {
				return exitStatus{code: 2}
			}
		}
		return nil
	}
	return cmd
}

// progress shows how far a stage is, a few times a second.
func progress(w io.Writer) func(string, int64, int64) {
	var last time.Time
	return func(stage string, done, total int64) {
		if now := time.Now(); now.Sub(last) > 200*time.Millisecond {
			last = now
			fmt.Fprintf(w, "\r\033[K%s: %d of %d", stage, done, total)
		}
	}
}

func printReport(w io.Writer, rep *registry.FsckReport, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(rep)
	}
	for _, f := range rep.Findings {
		mended := ""
		if f.Mended {
			mended = " (repaired)"
		}
		fmt.Fprintf(w, "%s: %s: %s%s\n", f.Kind, f.Subject, f.Detail, mended)
	}
	_, err := fmt.Fprintf(w, "%d blobs and %d images verified, %d findings; %d objects (%d bytes) have no record, garbage collection frees them in time\n",
		rep.Blobs, rep.Images, len(rep.Findings), rep.Orphans, rep.OrphanBytes)
	return err
}
