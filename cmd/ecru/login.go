package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// helperName is what docker calls Ecru's credential helper: it runs
// docker-credential-ecru.
const helperName = "ecru"

func newLogin() *cobra.Command {
	var c client
	var given, authFile string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Write docker's credential for this registry",
		Long: "Write docker's credential for this registry. If docker has a credential store it is kept there; if\n" +
			"docker-credential-ecru is on the PATH (a link to this program) docker is told to ask it, and never\n" +
			"needs another login; else a token that is good for 12 hours is written to docker's configuration.",
		Example: "  ecru login\n  ecru login --endpoint-url https://ecr.example.com\n  ecru login --authfile \"$XDG_RUNTIME_DIR/containers/auth.json\"   # podman",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.endpoint, err = endpoint(given, c.data); err != nil {
				return err
			}
			password, registry, expires, err := c.token(cmd.Context())
			if err != nil {
				return err
			}
			host := hostOf(registry)
			if authFile == "" {
				if authFile, err = dockerConfig(); err != nil {
					return err
				}
			}
			how, err := storeLogin(authFile, host, password)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Logged in to %s: %s", host, how)
			if !strings.Contains(how, "asks") {
				fmt.Fprintf(cmd.OutOrStdout(), ", until %s", expires.Local().Format("2006-01-02 15:04"))
			}
			fmt.Fprintln(cmd.OutOrStdout(), ".")
			return nil
		},
	}
	cmd.Flags().StringVar(&given, "endpoint-url", "", "URL of the server; else AWS_ENDPOINT_URL, else that of the data folder's server")
	cmd.Flags().StringVar(&c.data, "data", envOr("ECRU_DATA", "./ecru-data"), "data folder of the server")
	cmd.Flags().StringVar(&c.region, "region", region(), "region of the server")
	cmd.Flags().StringVar(&authFile, "authfile", "", "file to write to, for podman; else docker's config.json")
	return cmd
}

func dockerConfig() (string, error) {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".docker", "config.json"), err
}

// storeLogin keeps a credential the way that docker's configuration asks for,
// and says how. What else is in the file stays as it is.
func storeLogin(path, host, password string) (how string, err error) {
	config := map[string]json.RawMessage{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &config); err != nil {
			return "", fmt.Errorf("%s is not a docker configuration: %w", path, err)
		}
	}
	helpers := map[string]string{}
	if raw := config["credHelpers"]; raw != nil {
		if err := json.Unmarshal(raw, &helpers); err != nil {
			return "", fmt.Errorf("%s, credHelpers: %w", path, err)
		}
	}
	var store string
	if raw := config["credsStore"]; raw != nil {
		if err := json.Unmarshal(raw, &store); err != nil {
			return "", fmt.Errorf("%s, credsStore: %w", path, err)
		}
	}
	helper := helpers[host]
	if helper == "" {
		helper = store
	}
	if helper == "" {
		if _, err := exec.LookPath("docker-credential-" + helperName); err == nil {
			helpers[host] = helperName
			return "docker asks docker-credential-ecru", writeMember(path, config, "credHelpers", helpers)
		}
	}
	switch helper {
	case helperName:
		return "docker asks docker-credential-ecru", nil
	case "":
		auths := map[string]map[string]json.RawMessage{}
		if raw := config["auths"]; raw != nil {
			if err := json.Unmarshal(raw, &auths); err != nil {
				return "", fmt.Errorf("%s, auths: %w", path, err)
			}
		}
		token, err := json.Marshal(base64.StdEncoding.EncodeToString([]byte("AWS:" + password)))
		if err != nil {
			return "", err
		}
		auths[host] = map[string]json.RawMessage{"auth": token}
		return "token in " + path, writeMember(path, config, "auths", auths)
	}
	return "token in docker-credential-" + helper, runHelper(helper, host, password)
}

// runHelper keeps a credential in a credential store of docker's.
func runHelper(helper, host, password string) error {
	in, err := json.Marshal(credential{ServerURL: host, Username: "AWS", Secret: password})
	if err != nil {
		return err
	}
	cmd := exec.Command("docker-credential-"+helper, "store")
	cmd.Stdin = bytes.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker-credential-%s store: %w: %s", helper, err, bytes.TrimSpace(out))
	}
	return nil
}

// writeMember writes a configuration with one member replaced: whole or not at
// all, for its owner only.
func writeMember(path string, config map[string]json.RawMessage, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	config[name] = raw
	text, err := json.MarshalIndent(config, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".config-*") // 0600
	if err != nil {
		return err
	}
	_, writeErr := f.Write(append(text, '\n'))
	if err := errors.Join(writeErr, f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), path)
}
