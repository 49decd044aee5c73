package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/ecruhq/ecru/registry"
)

// A Config is all that can be configured. Each field is one setting with one
// name: --name as a flag, ECRU_NAME in the environment, name: in the file.
type Config struct {
	Listen       string
	Data         string
	Region       string
	Account      string
	ExternalURL  string
	RegistryHost string
	Database     string

	RootAccessKeyID     string
	RootSecretAccessKey string
	MasterKey           string

	TLSCert       string
	TLSKey        string
	TLSSelfSigned bool

	MetricsListen  string
	LogLevel       string
	LogFormat      string
	AccessLog      bool
	TrustedProxies []string
	ReadyFile      string

	ShutdownGrace time.Duration
	IdleTimeout   time.Duration
	GCInterval    time.Duration
	GCGrace       time.Duration
	TrashDelay    time.Duration
	OrphanAge     time.Duration
	UploadTTL     time.Duration
	LinkTTL       time.Duration
	PullFlush     time.Duration

	MaxRepositories int64
	MaxImages       int64
	MaxTags         int64
	MaxLayer        Bytes
}

// Bytes is a size that is written as 20MiB.
type Bytes int64

var units = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String implements pflag.Value.
func (b *Bytes) String() string {
	for _, u := range units {
		if int64(*b) >= u.size && int64(*b)%u.size == 0 {
			return strconv.FormatInt(int64(*b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*b), 10) + "B"
}

// Set implements pflag.Value.
func (b *Bytes) Set(s string) error {
	for _, u := range append(slices.Clone(units), struct {
		name string
		size int64
	}{"", 1}) {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			if err != nil || n < 0 || n > (1<<62)/u.size {
				break
			}
			*b = Bytes(n * u.size)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size such as 512MiB or 50GiB", s)
}

// Type implements pflag.Value.
func (b *Bytes) Type() string { return "size" }

// Flags declares every setting on f, with its default.
func (c *Config) Flags(f *pflag.FlagSet) {
	limits, times := registry.DefaultLimits(), registry.DefaultTimes()
	f.StringVar(&c.Listen, "listen", "127.0.0.1:5000", "address to serve the registry and the API on")
	f.StringVar(&c.Data, "data", "./ecru-data", "folder for everything that Ecru keeps")
	f.StringVar(&c.Region, "region", "us-east-1", "region that this server is")
	f.StringVar(&c.Account, "account", "123456789012", "account that a bare host name means")
	f.StringVar(&c.ExternalURL, "external-url", "", "URL by which clients reach this server, if not the listen address, such as https://ecr.example.com")
	f.StringVar(&c.RegistryHost, "registry-host", "", "host in repository URIs; {account} and {region} are filled in, such as {account}.dkr.ecr.{region}.example.com")
	f.StringVar(&c.Database, "database", "", "postgres://… URL of the metadata database; empty means SQLite in the data folder")
	f.StringVar(&c.RootAccessKeyID, "root-access-key-id", "", "access key ID of the account's root user; empty means one that is made at the first start")
	f.StringVar(&c.RootSecretAccessKey, "root-secret-access-key", "", "secret of that key; better given as ECRU_ROOT_SECRET_ACCESS_KEY")
	f.StringVar(&c.MasterKey, "master-key", "", "key that seals secrets, 32 bytes in base64; better given as ECRU_MASTER_KEY; empty means the file master.key in the data folder")
	f.StringVar(&c.TLSCert, "tls-cert", "", "file of the TLS certificate chain, PEM; read again when it changes")
	f.StringVar(&c.TLSKey, "tls-key", "", "file of the certificate's key, PEM")
	f.BoolVar(&c.TLSSelfSigned, "tls-self-signed", false, "make a certificate authority in the data folder and serve TLS with it")
	f.StringVar(&c.MetricsListen, "metrics-listen", "auto", "loopback address for /metrics and /debug/pprof; auto means the port after --listen's, off means none")
	f.StringVar(&c.LogLevel, "log-level", "info", "least level that is logged: debug, info, warn, error")
	f.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	f.BoolVar(&c.AccessLog, "access-log", false, "log every request")
	f.StringSliceVar(&c.TrustedProxies, "trusted-proxies", nil, "addresses or networks whose X-Forwarded-For is believed")
	f.StringVar(&c.ReadyFile, "ready-file", "", "file to write the server's URL to as soon as it answers")
	f.DurationVar(&c.ShutdownGrace, "shutdown-grace", 30*time.Second, "how long requests in flight may take to end when the server stops")
	f.DurationVar(&c.IdleTimeout, "idle-timeout", 2*time.Minute, "how long a transfer may stand still before it is cut")
	f.DurationVar(&c.GCInterval, "gc-interval", time.Minute, "how often garbage collection looks for due work")
	f.DurationVar(&c.GCGrace, "gc-grace", times.Grace, "how long a layer stays that no image refers to")
	f.DurationVar(&c.TrashDelay, "trash-delay", times.Trash, "how long the bytes of a layer stay after its last repository let it go; longer than --link-ttl")
	f.DurationVar(&c.OrphanAge, "orphan-age", times.Orphan, "age from which stored bytes that nothing names are freed")
	f.DurationVar(&c.UploadTTL, "upload-ttl", times.Upload, "how long an upload may rest between two requests")
	f.DurationVar(&c.LinkTTL, "link-ttl", times.Link, "how long a link of GetDownloadUrlForLayer is good")
	f.DurationVar(&c.PullFlush, "pull-flush", times.Pulls, "how often counted pulls are written")
	f.Int64Var(&c.MaxRepositories, "max-repositories", limits.Repositories, "repositories in an account")
	f.Int64Var(&c.MaxImages, "max-images-per-repository", limits.ImagesPerRepository, "images in a repository")
	f.Int64Var(&c.MaxTags, "max-tags-per-image", limits.TagsPerImage, "tags on an image")
	c.MaxLayer = Bytes(limits.LayerBytes)
	f.Var(&c.MaxLayer, "max-layer-size", "size of a layer")
}

// secret reports whether a setting must not be shown.
func secret(name string) bool {
	return name == "root-secret-access-key" || name == "master-key" || name == "database"
}

func variable(name string) string {
	return "ECRU_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Sources tells where each setting's value comes from.
type Sources map[string]string

// Load completes flags that were parsed: what was not given as a flag is taken
// from the environment, then from the file (if path is not empty), then its
// default. A key of the file that is no setting is an error that names it.
func Load(f *pflag.FlagSet, path string, getenv func(string) (string, bool)) (Sources, error) {
	from := Sources{}
	given := map[string]bool{}
	f.VisitAll(func(flag *pflag.Flag) {
		from[flag.Name] = "default"
		if flag.Changed {
			from[flag.Name], given[flag.Name] = "flag", true
		}
	})
	if path != "" {
		if err := loadFile(f, path, given, from); err != nil {
			return nil, err
		}
	}
	var err error
	f.VisitAll(func(flag *pflag.Flag) {
		value, ok := getenv(variable(flag.Name))
		if !ok || given[flag.Name] || err != nil {
			return
		}
		if setErr := set(flag, []string{value}); setErr != nil {
			err = fmt.Errorf("%s: %w", variable(flag.Name), setErr)
		}
		from[flag.Name] = variable(flag.Name)
	})
	return from, err
}

func loadFile(f *pflag.FlagSet, path string, given map[string]bool, from Sources) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: want settings, one a line, as name: value", path, root.Line)
	}
	seen := map[string]bool{}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		flag := f.Lookup(key.Value)
		if flag == nil || key.Value == "config" || key.Value == "print-config" || key.Value == "help" {
			return fmt.Errorf("%s:%d: there is no setting %q (ecru serve --help lists them)", path, key.Line, key.Value)
		}
		if seen[key.Value] {
			return fmt.Errorf("%s:%d: %s is set twice", path, key.Line, key.Value)
		}
		seen[key.Value] = true
		if given[key.Value] {
			continue
		}
		values, err := scalars(value)
		if err == nil {
			err = set(flag, values)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", path, key.Line, key.Value, err)
		}
		from[key.Value] = path
	}
	return nil
}

func scalars(n *yaml.Node) ([]string, error) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	out := make([]string, 0, len(nodes))
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("want a value or a list of values")
		}
		out = append(out, n.Value)
	}
	return out, nil
}

// set gives a flag its value as Load does: without marking it as given.
func set(flag *pflag.Flag, values []string) error {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		var all []string
		for _, v := range values {
			for part := range strings.SplitSeq(v, ",") {
				if part = strings.TrimSpace(part); part != "" {
					all = append(all, part)
				}
			}
		}
		return list.Replace(all)
	}
	if len(values) != 1 {
		return fmt.Errorf("want one value")
	}
	return flag.Value.Set(values[0])
}

// Print writes the settings as a configuration file, with where each comes
// from. Secrets are not shown.
func Print(f *pflag.FlagSet, from Sources) string {
	var b strings.Builder
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "config" || flag.Name == "print-config" || flag.Name == "help" {
			return
		}
		value := flag.Value.String()
		switch {
		case secret(flag.Name) && value != "":
			value = `"" # set, not shown;`
		case value == "" || strings.ContainsAny(value, "{}[]#: ,"):
			value = strconv.Quote(value) + " #"
			if list, ok := flag.Value.(pflag.SliceValue); ok {
				value = "[" + strings.Join(list.GetSlice(), ", ") + "] #"
			}
		default:
			value += " #"
		}
		fmt.Fprintf(&b, "%s: %s %s\n", flag.Name, value, from[flag.Name])
	})
	return b.String()
}

// check refuses settings that cannot be served with, in words that say what to
// do.
func (c *Config) check() error {
	if len(c.Account) != 12 || strings.Trim(c.Account, "0123456789") != "" {
		return fmt.Errorf("account: %q is not an account: twelve digits are", c.Account)
	}
	if c.Region == "" || strings.Trim(c.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("region: %q is not a region: lower-case letters, digits and - are", c.Region)
	}
	if c.Data == "" {
		return fmt.Errorf("data: name the folder to keep everything in")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("tls-cert and tls-key go together")
	}
	if c.TLSCert != "" && c.TLSSelfSigned {
		return fmt.Errorf("tls-self-signed makes its own certificate: leave it or tls-cert away")
	}
	if (c.RootAccessKeyID == "") != (c.RootSecretAccessKey == "") {
		return fmt.Errorf("root-access-key-id and root-secret-access-key go together")
	}
	if c.ExternalURL != "" {
		u, err := url.Parse(c.ExternalURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("external-url: %q is not a URL of a host, such as https://ecr.example.com", c.ExternalURL)
		}
	}
	for name, d := range map[string]time.Duration{"gc-interval": c.GCInterval, "gc-grace": c.GCGrace, "idle-timeout": c.IdleTimeout,
		"orphan-age": c.OrphanAge, "upload-ttl": c.UploadTTL, "link-ttl": c.LinkTTL, "pull-flush": c.PullFlush, "shutdown-grace": c.ShutdownGrace} {
		if d <= 0 {
			return fmt.Errorf("%s: must be longer than nothing", name)
		}
	}
	if c.TrashDelay < c.LinkTTL {
		return fmt.Errorf("trash-delay: must be at least link-ttl (%s), or links break while they are good", c.LinkTTL)
	}
	if _, err := c.proxies(); err != nil {
		return err
	}
	_, _, err := c.metricsAddress(0)
	return err
}

func (c *Config) proxies() (out []netip.Prefix, err error) {
	for _, p := range c.TrustedProxies {
		if ip, err := netip.ParseAddr(p); err == nil {
			out = append(out, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("trusted-proxies: %q is neither an address nor a network", p)
		}
		out = append(out, prefix)
	}
	return out, nil
}

// metricsAddress returns where metrics are served, with a second choice if
// that is taken; empty means nowhere. port is the one that Listen got.
func (c *Config) metricsAddress(port int) (address, second string, err error) {
	switch c.MetricsListen {
	case "off", "":
		return "", "", nil
	case "auto":
		const any = "127.0.0.1:0"
		if _, p, err := net.SplitHostPort(c.Listen); err == nil && p != "0" && port < 65535 {
			return "127.0.0.1:" + strconv.Itoa(port+1), any, nil
		}
		return any, "", nil
	}
	host, _, err := net.SplitHostPort(c.MetricsListen)
	if err != nil {
		return "", "", fmt.Errorf("metrics-listen: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return "", "", fmt.Errorf("metrics-listen: %s is not a loopback address: metrics and profiles tell too much for others", c.MetricsListen)
	}
	return c.MetricsListen, "", nil
}
