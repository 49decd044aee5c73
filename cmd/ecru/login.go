package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
)

// helperName is what docker calls Ecru's credential helper: it runs
// docker-credential-ecru.
const helperName = "ecru"

// Ways to keep a login.
const (
	keepAuto   = "auto"
	keepHelper = "helper"
	keepFile   = "file"
)

func newLogin() *cobra.Command {
	var c client
	var authFile, keep string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Write docker's credential for this registry",
		Long: "Write docker's credential for this registry. With --keep auto: if docker has a credential store it is kept\n" +
			"there; if docker-credential-ecru is on the PATH (a link to this program) docker is told to ask it, and\n" +
			"never needs another login; else a token that is good for 12 hours is written to docker's configuration.",
		Example: "  ecru login\n  ecru login --endpoint-url https://ecr.example.com\n  ecru login --authfile \"$XDG_RUNTIME_DIR/containers/auth.json\"   # podman",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.findEndpoint(); err != nil {
				return err
			}
			password, registry, expires, err := c.token(cmd.Context())
			if err != nil {
				return err
			}
			if authFile == "" {
				if authFile, err = dockerConfig(); err != nil {
					return err
				}
			}
			host := hostOf(registry)
			how, lasts, err := storeLogin(cmd.Context(), authFile, host, password, keep)
			if err != nil {
				return err
			}
			if !lasts {
				how += ", until " + expires.Local().Format("2006-01-02 15:04")
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Logged in to %s: %s.\n", host, how)
			return err
		},
	}
	cmd.Flags().StringVar(&c.endpoint, "endpoint-url", "", "URL of the server; else AWS_ENDPOINT_URL, else that of the data folder's server")
	c.flags(cmd)
	cmd.Flags().StringVar(&authFile, "authfile", "", "file to write to, for podman; else docker's config.json")
	cmd.Flags().StringVar(&keep, "keep", keepAuto, "auto; helper, to have docker-credential-ecru asked; or file, to write a token to the file whatever else is set up")
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
// and says how, and whether it lasts longer than the password. What else is in
// the file stays as it is.
func storeLogin(ctx context.Context, path, host, password, keep string) (how string, lasts bool, err error) {
	config := map[string]json.RawMessage{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", false, err
	}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &config); err != nil {
			return "", false, fmt.Errorf("%s is not a docker configuration: %w", path, err)
		}
	}
	helpers, store := map[string]string{}, ""
	if err := errors.Join(member(path, config, "credHelpers", &helpers), member(path, config, "credsStore", &store)); err != nil {
		return "", false, err
	}
	helper, err := chooseHelper(keep, cmp.Or(helpers[host], store))
	switch {
	case err != nil:
		return "", false, err
	case helper == helperName:
		if helpers == nil {
			helpers = map[string]string{}
		}
		how = "docker asks docker-credential-" + helperName
		if cmp.Or(helpers[host], store) != helperName {
			helpers[host] = helperName
			err = writeConfig(path, config, "credHelpers", helpers)
		}
		return how, true, err
	case helper != "":
		return "token in docker-credential-" + helper, false, runHelper(ctx, helper, host, password)
	}
	return "token in " + path, false, storeFile(path, config, host, password, helpers, store)
}

// storeFile writes a token to docker's configuration, and has docker look for
// it there.
func storeFile(path string, config map[string]json.RawMessage, host, password string, helpers map[string]string, store string) error {
	delete(helpers, host)
	if store != "" {
		if helpers == nil {
			helpers = map[string]string{}
		}
		helpers[host] = "" // no helper for this one: without it docker would ask the store
	}
	if len(helpers) > 0 || config["credHelpers"] != nil {
		raw, err := json.Marshal(helpers)
		if err != nil {
			return err
		}
		config["credHelpers"] = raw
	}
	auths := map[string]json.RawMessage{}
	if err := member(path, config, "auths", &auths); err != nil {
		return err
	}
	if auths == nil { // "auths": null
		auths = map[string]json.RawMessage{}
	}
	token, err := json.Marshal(map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte("AWS:" + password))})
	if err != nil {
		return err
	}
	auths[host] = token
	return writeConfig(path, config, "auths", auths)
}

// chooseHelper returns the helper to keep a login with, or nothing for a token
// in the file. set is the one that the configuration names.
func chooseHelper(keep, set string) (string, error) {
	_, missing := exec.LookPath("docker-credential-" + helperName)
	switch keep {
	case keepFile:
		return "", nil
	case keepHelper:
		if missing != nil {
			return "", fmt.Errorf("docker-credential-%s is not on the PATH: ln -s \"$(command -v ecru)\" /usr/local/bin/docker-credential-%s", helperName, helperName)
		}
		return helperName, nil
	case keepAuto:
		if set == "" && missing == nil {
			return helperName, nil
		}
		return set, nil
	}
	return "", fmt.Errorf("--keep: %q is not %s, %s or %s", keep, keepAuto, keepHelper, keepFile)
}

// member reads a member of a configuration, if it is there.
func member(path string, config map[string]json.RawMessage, name string, v any) error {
	raw := config[name]
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s, %s: %w", path, name, err)
	}
	return nil
}

// runHelper keeps a credential in a credential store of docker's.
func runHelper(ctx context.Context, helper, host, password string) error {
	in, err := json.Marshal(credential{ServerURL: host, Username: "AWS", Secret: password})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, "store")
	cmd.Stdin = bytes.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker-credential-%s store: %w: %s", helper, err, bytes.TrimSpace(out))
	}
	return nil
}

// writeConfig writes a configuration with one member replaced: whole or not at
// all, for its owner only. If path is a link, what it links to is written.
func writeConfig(path string, config map[string]json.RawMessage, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	config[name] = raw
	text, err := json.MarshalIndent(config, "", "\t")
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
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
	if err := os.Rename(f.Name(), path); err != nil {
		os.Remove(f.Name())
		return err
	}
	return nil
}
