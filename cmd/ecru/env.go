package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/daemon"
)

func newEnv() *cobra.Command {
	var data, region, shell string
	cmd := &cobra.Command{
		Use:     "env",
		Short:   "Print the environment that points AWS tools at this server",
		Long:    "Print the environment that points AWS tools at the server of a data folder, with its root access key.",
		Example: "  eval \"$(ecru env)\"\n  ecru env --shell fish | source",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, err := endpoint("", data)
			if err != nil {
				return err
			}
			id, secret := os.Getenv("ECRU_ROOT_ACCESS_KEY_ID"), os.Getenv("ECRU_ROOT_SECRET_ACCESS_KEY")
			if id == "" {
				if id, secret, err = daemon.ReadCredentials(data); err != nil {
					return fmt.Errorf("the root access key is not to be had: %w", err)
				}
			}
			vars := [][2]string{{"AWS_ENDPOINT_URL", url}, {"AWS_ACCESS_KEY_ID", id}, {"AWS_SECRET_ACCESS_KEY", secret},
				{"AWS_REGION", region}, {"AWS_DEFAULT_REGION", region}}
			ca, err := filepath.Abs(filepath.Join(data, daemon.CAFile))
			if _, statErr := os.Stat(ca); err == nil && statErr == nil && strings.HasPrefix(url, "https:") {
				vars = append(vars, [2]string{"AWS_CA_BUNDLE", ca})
			}
			return printVars(cmd, shell, vars)
		},
	}
	cmd.Flags().StringVar(&data, "data", envOr("ECRU_DATA", "./ecru-data"), "data folder of the server")
	cmd.Flags().StringVar(&region, "region", envOr("ECRU_REGION", "us-east-1"), "region of the server")
	cmd.Flags().StringVar(&shell, "shell", "posix", "posix or fish")
	return cmd
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func printVars(cmd *cobra.Command, shell string, vars [][2]string) error {
	format := "export %s=%s\n"
	switch shell {
	case "posix":
	case "fish":
		format = "set -gx %s %s\n"
	default:
		return fmt.Errorf("--shell: %q is not posix or fish", shell)
	}
	for _, v := range vars {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), format, v[0], quote(v[1])); err != nil {
			return err
		}
	}
	return nil
}

// quote makes s one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
