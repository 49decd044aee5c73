package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	ecrapi "github.com/ecruhq/ecru/awsapi/ecr"
	"github.com/ecruhq/ecru/daemon"
)

func newEnv() *cobra.Command {
	var data, region, shell, models string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the environment that points AWS tools at this server",
		Long: "Print the environment that points AWS tools at the server of a data folder, with its root access key:\n" +
			"the one in the folder, or that of ECRU_ROOT_ACCESS_KEY_ID and ECRU_ROOT_SECRET_ACCESS_KEY.\n\n" +
			"With --botocore it writes the model of the operations that Ecru adds to ECR's API into a folder, where the AWS\n" +
			"CLI and boto3 find it by AWS_DATA_PATH, so that aws ecr list-images-in-use works like ECR's own.",
		Example: "  eval \"$(ecru env)\"\n  ecru env --shell fish | source\n  eval \"$(ecru env --botocore ~/.ecru/models)\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			vars, err := environment(data, region)
			if err != nil {
				return err
			}
			if models != "" {
				path, err := writeModels(models)
				if err != nil {
					return err
				}
				vars = append(vars, [2]string{"AWS_DATA_PATH", path})
			}
			return printVars(cmd, shell, vars)
		},
	}
	cmd.Flags().StringVar(&data, "data", envOr("ECRU_DATA", "./ecru-data"), "data folder of the server")
	cmd.Flags().StringVar(&region, "region", "", "region, if not the server's")
	cmd.Flags().StringVar(&models, "botocore", "", "folder to write the models of Ecru's own operations into, for the AWS CLI and boto3")
	cmd.Flags().StringVar(&shell, "shell", "posix", "posix or fish")
	return cmd
}

// environment is what AWS's tools need for the server of a data folder. What
// the environment says already is passed over: it may be another server's.
func environment(data, region string) ([][2]string, error) {
	c := client{data: data, named: true}
	url := c.folder(daemon.EndpointFile)
	if url == "" {
		return nil, fmt.Errorf("no server has run on %s: start one with ecru serve --data %s, or name another folder with --data", data, quote(data))
	}
	if region == "" {
		region = cmp.Or(c.folder(daemon.RegionFile), "us-east-1")
	}
	id, secret := os.Getenv("ECRU_ROOT_ACCESS_KEY_ID"), os.Getenv("ECRU_ROOT_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		var err error
		if id, secret, err = daemon.ReadCredentials(data); err != nil {
			return nil, fmt.Errorf("the root access key is not to be had: set ECRU_ROOT_ACCESS_KEY_ID and ECRU_ROOT_SECRET_ACCESS_KEY as for the server: %w", err)
		}
	}
	vars := [][2]string{{"AWS_ENDPOINT_URL", url}, {"AWS_ACCESS_KEY_ID", id}, {"AWS_SECRET_ACCESS_KEY", secret},
		{"AWS_REGION", region}, {"AWS_DEFAULT_REGION", region}}
	ca, err := filepath.Abs(filepath.Join(data, daemon.CAFile))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(ca); err == nil && strings.HasPrefix(url, "https:") {
		vars = append(vars, [2]string{"AWS_CA_BUNDLE", ca})
	}
	return vars, nil
}

// writeModels writes the models of Ecru's own operations into a folder in the
// layout of botocore's loader, and returns the AWS_DATA_PATH that has it first.
func writeModels(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if strings.ContainsRune(dir, os.PathListSeparator) {
		return "", fmt.Errorf("--botocore %q: AWS_DATA_PATH cannot name a folder with %q in it", dir, os.PathListSeparator)
	}
	files, err := ecrapi.Extras()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(dir, "ecr", "2015-09-21")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return "", err
		}
	}
	path := []string{dir}
	for _, p := range filepath.SplitList(os.Getenv("AWS_DATA_PATH")) {
		if p != "" && p != dir {
			path = append(path, p)
		}
	}
	return strings.Join(path, string(os.PathListSeparator)), nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func printVars(cmd *cobra.Command, shell string, vars [][2]string) error {
	format, word := "export %s=%s\n", quote
	switch shell {
	case "posix":
	case "fish":
		format, word = "set -gx %s %s\n", quoteFish
	default:
		return fmt.Errorf("--shell: %q is not posix or fish", shell)
	}
	for _, v := range vars {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), format, v[0], word(v[1])); err != nil {
			return err
		}
	}
	return nil
}

// quote makes s one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoteFish makes s one word of fish, where \ has a meaning between quotes.
func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// plainWord is what no shell takes apart.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=-]+$`)

// word is quote for people: what needs no quotes gets none.
func word(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return quote(s)
}
