package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ecruhq/ecru/daemon"
)

// settings returns the flags of a command that are settings of the server.
func settings(cmd *cobra.Command) *pflag.FlagSet {
	names := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(daemon.Config).Flags(names)
	out := pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if names.Lookup(f.Name) != nil {
			out.AddFlag(f)
		}
	})
	return out
}

// load completes the settings of a command from the environment and a file,
// and warns of variables that look like settings and are none.
func load(cmd *cobra.Command, file string) (daemon.Sources, error) {
	if file == "" {
		file = os.Getenv("ECRU_CONFIG")
	}
	flags := settings(cmd)
	known := map[string]bool{"ECRU_CONFIG": true}
	flags.VisitAll(func(f *pflag.Flag) {
		known[daemon.Variable(f.Name)] = true
	})
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "ECRU_") && !known[name] {
			fmt.Fprintf(cmd.ErrOrStderr(), "ecru: warning: %s is no setting (ecru serve --help lists them)\n", name)
		}
	}
	return daemon.Load(flags, file, os.LookupEnv)
}

// dataConfig declares the settings that a command on a data folder needs, and
// hides the others.
func dataConfig(cmd *cobra.Command) *daemon.Config {
	cfg := new(daemon.Config)
	cfg.Flags(cmd.PersistentFlags())
	cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		switch f.Name {
		case "data", "region", "account", "database":
		default:
			f.Hidden = true
		}
	})
	return cfg
}

// newConfig is a page of help: cobra lists a command that does nothing as a
// topic.
func newConfig() *cobra.Command {
	var b strings.Builder
	b.WriteString("Every setting of the server has one name, and can be given in three places. A flag wins over the\n" +
		"environment, that over the file, and that over the default:\n\n" +
		"  ecru serve --gc-grace 24h\n" +
		"  ECRU_GC_GRACE=24h ecru serve\n" +
		"  ecru serve --config ecru.yaml    # or ECRU_CONFIG; with the line  gc-grace: 24h\n\n" +
		"A key in the file that is no setting is an error, such a variable a warning. Times are written 90s, 30m\n" +
		"or 24h, sizes 512MiB or 50GiB, lists [a, b] or a,b. ecru serve --print-config prints the settings in\n" +
		"force as such a file, with where each comes from. Secrets are best given in the environment or a file.\n\n")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(daemon.Config).Flags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		otherwise := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			otherwise = " (" + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "  %s, %s%s\n      %s\n", f.Name, daemon.Variable(f.Name), otherwise, f.Usage)
	})
	return &cobra.Command{Use: "config", Short: "How the server is configured", Long: b.String()}
}
