package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
		known["ECRU_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))] = true
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

// endpoint returns the URL of the server: what is given, AWS_ENDPOINT_URL, or
// what the server wrote into its data folder.
func endpoint(given, data string) (string, error) {
	for _, url := range []string{given, os.Getenv("AWS_ENDPOINT_URL_ECR"), os.Getenv("AWS_ENDPOINT_URL")} {
		if url != "" {
			return strings.TrimSuffix(url, "/"), nil
		}
	}
	text, err := os.ReadFile(filepath.Join(data, daemon.EndpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no server is known: start one (ecru serve), or name its data folder (--data) or its URL (--endpoint-url)")
	}
	return strings.TrimSpace(string(text)), err
}
