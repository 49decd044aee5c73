package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/ecruhq/ecru/daemon"
)

// serving starts a daemon and returns its data folder and URL.
func serving(t *testing.T) (data, url string) {
	t.Helper()
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECR", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE",
		"AWS_REGION", "AWS_DEFAULT_REGION", "ECRU_DATA", "ECRU_REGION", "ECRU_ROOT_ACCESS_KEY_ID", "ECRU_ROOT_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	data = filepath.Join(t.TempDir(), "it's data")
	var cfg daemon.Config
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	cfg.Flags(f)
	if err := f.Parse([]string{"--listen", "127.0.0.1:0", "--data", data, "--region", "eu-west-1"}); err != nil {
		t.Fatal(err)
	}
	s, err := daemon.Start(t.Context(), cfg, slog.New(slog.DiscardHandler), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	res, err := http.Get(s.URL() + "/livez") // before it answers it has written where it is
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return data, s.URL()
}

// run runs a command line and returns its output.
func run(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestEnv(t *testing.T) {
	data, url := serving(t)
	id, secret, err := daemon.ReadCredentials(data)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://another.example") // is not what the data folder says
	out, err := run(t, "", "env", "--data", data)
	want := "export AWS_ENDPOINT_URL='" + url + "'\nexport AWS_ACCESS_KEY_ID='" + id + "'\nexport AWS_SECRET_ACCESS_KEY='" + secret +
		"'\nexport AWS_REGION='eu-west-1'\nexport AWS_DEFAULT_REGION='eu-west-1'\n"
	if err != nil || out != want {
		t.Errorf("%v, %q, want %q", err, out, want)
	}
	out, err = run(t, "", "env", "--data", data, "--shell", "fish")
	if err != nil || !strings.Contains(out, "set -gx AWS_REGION 'eu-west-1'\n") {
		t.Errorf("%v, %q", err, out)
	}
	if _, err := run(t, "", "env", "--data", filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "ecru serve --data") {
		t.Errorf("without a server: %v", err)
	}
	if quote(`it's`) != `'it'\''s'` || quoteFish(`a\'b`) != `'a\\\'b'` || word("plain/path") != "plain/path" || word("two words") != "'two words'" {
		t.Error("quoted wrongly")
	}
}

func TestDockerCredential(t *testing.T) {
	data, url := serving(t)
	host := hostOf(url)
	for _, server := range []string{host, url, "localhost" + host[strings.LastIndex(host, ":"):]} {
		out, err := run(t, server+"\n", "docker-credential", "get", "--data", data)
		var got struct{ ServerURL, Username, Secret string }
		if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.ServerURL != server || got.Username != "AWS" || got.Secret == "" {
			t.Errorf("%s: %v, %q", server, err, out)
		}
	}
	for stdin, want := range map[string]string{"docker.io": errNotFound.Error(), "https://evil.example/v2/": errNotFound.Error(), "": "no registry"} {
		out, err := run(t, stdin, "docker-credential", "get", "--data", data)
		var status exitStatus
		if !errors.As(err, &status) || status.code != 1 || !strings.Contains(out, want) {
			t.Errorf("%q: %v, %q, want %q on standard output", stdin, err, out, want)
		}
	}
	for verb, want := range map[string]string{"list": "{}\n", "store": "", "erase": ""} {
		if out, err := run(t, "{}", "docker-credential", verb, "--data", data); err != nil || out != want {
			t.Errorf("%s: %v, %q", verb, err, out)
		}
	}
}

func TestCredentialProvider(t *testing.T) {
	data, url := serving(t)
	const request = `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":`
	out, err := run(t, request+`"`+hostOf(url)+`/team/app:v1"}`, "credential-provider", "--data", data)
	var got struct {
		APIVersion, Kind, CacheKeyType, CacheDuration string
		Auth                                          map[string]struct{ Username, Password string }
	}
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.APIVersion != "credentialprovider.kubelet.k8s.io/v1" || got.Kind != "CredentialProviderResponse" ||
		got.CacheKeyType != "Registry" || got.CacheDuration == "" || got.Auth[hostOf(url)].Username != "AWS" || got.Auth[hostOf(url)].Password == "" {
		t.Errorf("%v, %q", err, out)
	}
	for _, bad := range []string{"", "{}", request + `"busybox"}`, strings.Replace(request, "/v1", "/v9", 1) + `"a/b"}`} {
		if out, err := run(t, bad, "credential-provider", "--data", data); err == nil {
			t.Errorf("%q was answered with %q", bad, out)
		}
	}
}

func TestLogin(t *testing.T) {
	data, url := serving(t)
	host := hostOf(url)
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	path := filepath.Join(dir, "config.json")
	config := func() (out struct {
		Auths       map[string]struct{ Auth string }
		CredHelpers map[string]string
		CredsStore  string
		Proxies     map[string]any
	}) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &out)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out, err := run(t, "", "login", "--data", data); err != nil || !strings.Contains(out, "Logged in to "+host) {
		t.Fatalf("%v, %q", err, out)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || config().Auths[host].Auth == "" {
		t.Errorf("no configuration: %v, %v, %+v", info, err, config())
	}

	// Other content stays, and a link stays a link.
	real := filepath.Join(t.TempDir(), "real.json")
	if err := os.WriteFile(real, []byte(`{"auths":{"docker.io":{"auth":"eA=="}},"proxies":{"default":{}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.Symlink(real, path)); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "", "login", "--data", data); err != nil {
		t.Fatal(err)
	}
	if c := config(); c.Auths["docker.io"].Auth != "eA==" || c.Auths[host].Auth == "" || c.Proxies["default"] == nil {
		t.Errorf("other content was lost: %+v", c)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}

	// A credential store is used.
	kept := filepath.Join(bin, "kept")
	program := func(name, script string) {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	program("docker-credential-vault", `read line; echo "$1 $line" > `+kept+"\n")
	if err := os.WriteFile(real, []byte(`{"credsStore":"vault"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "", "login", "--data", data); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(kept); err != nil || !strings.HasPrefix(string(text), `store {"ServerURL":"`+host+`","Username":"AWS"`) {
		t.Errorf("the store got %q, %v", text, err)
	}
	if c := config(); c.Auths[host].Auth != "" {
		t.Error("the token is in the file as well")
	}

	// Ecru's own helper is asked for, and only when it can be found.
	if _, err := run(t, "", "login", "--data", data, "--keep", "helper"); err == nil || !strings.Contains(err.Error(), "ln -s") {
		t.Errorf("without the helper: %v", err)
	}
	program("docker-credential-ecru", "")
	if out, err := run(t, "", "login", "--data", data, "--keep", "helper"); err != nil || config().CredHelpers[host] != "ecru" {
		t.Errorf("%v, %q, %+v", err, out, config())
	}
	if err := os.WriteFile(real, []byte(`not json`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "", "login", "--data", data); err == nil {
		t.Error("a file that is not JSON was taken")
	}
	if text, err := os.ReadFile(real); err != nil || string(text) != "not json" {
		t.Errorf("it is %q now, %v", text, err)
	}
}

func TestPrintConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ecru.yaml")
	if err := os.WriteFile(file, []byte("region: of-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ECRU_ACCOUNT", "000000000001")
	out, err := run(t, "", "serve", "--print-config", "--config", file, "--log-level", "debug")
	for _, want := range []string{"region: of-file # " + file, `account: 000000000001`, "log-level: debug # flag"} {
		if err != nil || !strings.Contains(out, want) && !strings.Contains(strings.ReplaceAll(out, `"`, ""), want) {
			t.Errorf("%v, no %q in\n%s", err, want, out)
		}
	}
	if _, err := run(t, "", "serve", "--print-config", "--config", filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a configuration that is not there")
	}
}

// TestHelp: every command that is shown has an example, and its help names no missing flag.
func TestHelp(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Runnable() && !c.Hidden && c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
	}
}
