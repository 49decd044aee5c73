package daemon

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// flags parses arguments as a command would.
func flags(t testing.TB, c *Config, args ...string) *pflag.FlagSet {
	t.Helper()
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ecru.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := write(t, "region: of-file\ngc-grace: 3h\nlisten: 127.0.0.1:3\ntrusted-proxies: [10.0.0.0/8, 127.0.0.1]\nmax-layer-size: 7GiB\n")
	var c Config
	from, err := Load(flags(t, &c, "--listen", "127.0.0.1:1"), file, env(map[string]string{"ECRU_REGION": "of-env", "ECRU_LISTEN": "127.0.0.1:2"}))
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"a flag wins":                 c.Listen == "127.0.0.1:1" && from["listen"] == "flag",
		"then the environment":        c.Region == "of-env" && from["region"] == "ECRU_REGION",
		"then the file":               c.GCGrace.Hours() == 3 && from["gc-grace"] == file,
		"a list of the file":          len(c.TrustedProxies) == 2 && c.TrustedProxies[0] == "10.0.0.0/8",
		"a size":                      c.MaxLayer == 7<<30,
		"what nobody set has default": c.Account == "123456789012" && from["account"] == "default",
	} {
		if !ok {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"listen: 127.0.0.1:1\nregoin: x\n":   `:2: there is no setting "regoin"`,
		"region: a\nregion: b\n":             ":2",
		"gc-grace: soon\n":                   ":1: gc-grace",
		"region: {a: b}\n":                   ":1: region",
		"- region\n":                         ":1: want settings",
		"region: a\n---\nregion: b\n":        "one document",
		"max-layer-size: 12XB\n":             "is not a size",
		"max-layer-size: 9000000000000TiB\n": "is not a size",
	} {
		_, err := Load(flags(t, new(Config)), write(t, text), env(nil))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(flags(t, new(Config)), filepath.Join(t.TempDir(), "none"), env(nil)); err == nil {
		t.Error("a file that is not there")
	}
	_, err := Load(flags(t, new(Config)), "", env(map[string]string{"ECRU_GC_GRACE": "x"}))
	if err == nil || !strings.Contains(err.Error(), "ECRU_GC_GRACE") {
		t.Errorf("a bad variable: %v", err)
	}
}

// TestPrint: what is printed is a file that gives the same settings, without
// the secrets.
func TestPrint(t *testing.T) {
	var c Config
	f := flags(t, &c, "--region", "eu-west-1", "--master-key", "hush", "--root-secret-access-key", "hush", "--database", "postgres://u:hush@h/d",
		"--trusted-proxies", "10.0.0.0/8,::1", "--external-url", "https://ecr.example.com", "--max-layer-size", "512MiB", "--registry-host", "{account}.x")
	from, err := Load(f, "", env(nil))
	if err != nil {
		t.Fatal(err)
	}
	text := Print(f, from)
	if strings.Contains(text, "hush") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	var again Config
	if _, err := Load(flags(t, &again), write(t, text), env(nil)); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	c.MasterKey, c.RootSecretAccessKey, c.Database = "", "", ""
	if want := Print(flagsOf(t, c), nil); want != Print(flagsOf(t, again), nil) {
		t.Errorf("read back as %+v, want %+v", again, c)
	}
}

func flagsOf(t *testing.T, c Config) *pflag.FlagSet {
	t.Helper()
	saved := c
	f := flags(t, &c)
	c = saved
	return f
}

func TestBadSettings(t *testing.T) {
	for arg, want := range map[string]string{
		"--account=12":                        "account",
		"--region=US East":                    "region",
		"--data=":                             "data",
		"--database=mysql://h/d":              "database",
		"--tls-cert=x":                        "tls-key",
		"--root-access-key-id=AKIA":           "root-secret-access-key",
		"--listen=here":                       "listen",
		"--external-url=ftp://x":              "external-url",
		"--registry-host={accout}.example":    "registry-host",
		"--gc-grace=-1h":                      "gc-grace",
		"--max-images-per-repository=0":       "max-images-per-repository",
		"--trash-delay=1s":                    "link-ttl",
		"--trusted-proxies=everyone":          "trusted-proxies",
		"--log-level=loud":                    "log-level",
		"--log-format=xml":                    "log-format",
		"--metrics-listen=0.0.0.0:9000":       "loopback",
		"--metrics-listen=metrics.example:80": "loopback",
	} {
		var c Config
		flags(t, &c, arg)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to name %s", arg, err, want)
		}
	}
	var c Config
	flags(t, &c)
	if err := c.check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("region: a\ngc-grace: 3h # why\ntrusted-proxies: [a, b]\n")
	f.Add("a: &a [*a]\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var c Config
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		c.Flags(fs)
		if _, err := Load(fs, path, env(nil)); err == nil {
			_ = c.check()
		}
	})
}

// TestAdvisoriesSource: a source that cannot be is refused before anything is
// made.
func TestAdvisoriesSource(t *testing.T) {
	for _, source := range []string{"/nowhere/at/all", "https://", "oci:UPPER/x:y"} {
		cfg := Config{}
		flags(t, &cfg, "--data", filepath.Join(t.TempDir(), "data"), "--advisories", source)
		_, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler), io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), "advisories: ") {
			t.Errorf("%q: %v", source, err)
		}
		if _, err := os.Stat(cfg.Data); err == nil {
			t.Errorf("%q: a data folder was made", source)
		}
	}
}
