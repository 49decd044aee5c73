package daemon

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ecruhq/ecru/authn"
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
	MasterKeyWrap       string

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

	LifecycleInterval time.Duration
	LifecycleHour     int
	LifecycleUndo     time.Duration
	GuardPulledWithin time.Duration

	AuditMaxAge   time.Duration
	AuditMaxBytes Bytes
	AuditLog      string
	AuditLogSize  Bytes
	AuditLogFiles int

	OIDCKeys []string

	ScanWorkers           int
	Advisories            string
	AdvisoriesInterval    time.Duration
	AdvisoriesEcosystems  []string
	AdvisoriesNoMalicious bool
	AdvisoriesKEV         string
	AdvisoriesEPSS        string
	ReplicationRegions    []string
	ReplicationClientCA   string

	MaxRepositories int64
	MaxImages       int64
	MaxTags         int64
	MaxLayer        Bytes
}

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
	f.StringVar(&c.MasterKeyWrap, "master-key-wrap", "", "key service whose key wraps the one in that file: kms:KEY (AWS KMS, found as the AWS SDK finds it) or vault:[MOUNT/]KEY (Vault's transit engine, by VAULT_ADDR and VAULT_TOKEN)")
	f.StringVar(&c.TLSCert, "tls-cert", "", "file of the TLS certificate chain, PEM; read again when it changes")
	f.StringVar(&c.TLSKey, "tls-key", "", "file of the certificate's key, PEM")
	f.BoolVar(&c.TLSSelfSigned, "tls-self-signed", false, "make a certificate authority in the data folder and serve TLS with it")
	f.StringVar(&c.MetricsListen, "metrics-listen", "auto", "loopback address for /metrics and /debug/pprof; auto means the port after --listen's, off means none")
	f.StringVar(&c.LogLevel, "log-level", "info", "least level that is logged: debug, info, warn, error")
	f.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	f.BoolVar(&c.AccessLog, "access-log", false, "log every request")
	f.StringSliceVar(&c.TrustedProxies, "trusted-proxies", nil, "addresses or networks whose X-Forwarded-For is believed")
	f.StringVar(&c.ReadyFile, "ready-file", "", "file to write the server's URL to as soon as it answers; removed at the start. The data folder's file endpoint holds the same")
	f.DurationVar(&c.ShutdownGrace, "shutdown-grace", 30*time.Second, "how long requests in flight may take to end when the server stops")
	f.DurationVar(&c.IdleTimeout, "idle-timeout", 2*time.Minute, "how long a transfer may stand still before it is cut")
	f.DurationVar(&c.GCInterval, "gc-interval", time.Minute, "how often garbage collection looks for due work")
	f.DurationVar(&c.GCGrace, "gc-grace", times.Grace, "how long a layer stays that no image refers to")
	f.DurationVar(&c.TrashDelay, "trash-delay", times.Trash, "how long the bytes of a layer stay after its last repository let it go; longer than --link-ttl")
	f.DurationVar(&c.OrphanAge, "orphan-age", times.Orphan, "age from which stored bytes that nothing names are freed")
	f.DurationVar(&c.UploadTTL, "upload-ttl", times.Upload, "how long an upload may rest between two requests")
	f.DurationVar(&c.LinkTTL, "link-ttl", times.Link, "how long a link of GetDownloadUrlForLayer is good")
	f.DurationVar(&c.PullFlush, "pull-flush", times.Pulls, "how often counted pulls are written")
	l := registry.DefaultLifecycle()
	f.DurationVar(&c.LifecycleInterval, "lifecycle-interval", l.Interval, "how often a lifecycle policy is applied, and the longest that one waits after it was put")
	f.IntVar(&c.LifecycleHour, "lifecycle-hour", l.Hour, "hour of the day, UTC, in which lifecycle policies are applied, once a day, from 0 to 23; -1 means any, by --lifecycle-interval")
	f.DurationVar(&c.LifecycleUndo, "lifecycle-undo", l.Undo, "how long images that a lifecycle policy deleted can be restored, and keep their bytes; 0 means not at all")
	f.DurationVar(&c.GuardPulledWithin, "guard-pulled-within", 0, "keep images that were pulled so recently from lifecycle policies, where a repository's tag ecru:keep-pulled-within does not say otherwise; 0 means not")
	f.DurationVar(&c.AuditMaxAge, "audit-max-age", 90*24*time.Hour, "how long audit records, and events, are kept; 0 means for ever")
	c.AuditMaxBytes = 10 << 30
	f.Var(&c.AuditMaxBytes, "audit-max-size", "size of the audit records that are kept, without indexes; 0 means without bound")
	f.StringVar(&c.AuditLog, "audit-log", "", "file that sealed audit records are written to as well, one JSON object a line; empty means none")
	c.AuditLogSize = 100 << 20
	f.Var(&c.AuditLogSize, "audit-log-size", "size from which that file is renamed and another begun")
	f.IntVar(&c.AuditLogFiles, "audit-log-files", 10, "renamed files that are kept; 0 means all")
	f.StringSliceVar(&c.OIDCKeys, "oidc-keys", nil, "keys of OIDC issuers that this server cannot reach, each as ISSUER-URL=FILE with a JWKS document")
	f.IntVar(&c.ScanWorkers, "scan-workers", 1, "layers that are read for their packages at once; 0 means that this process scans no images")
	f.StringVar(&c.Advisories, "advisories", "", "where advisories of vulnerabilities are from, in OSV.dev's layout: osv.dev, the URL of a mirror, a folder, a zip file, or oci:REFERENCE; empty means that they are loaded by ecru advisories load alone")
	f.DurationVar(&c.AdvisoriesInterval, "advisories-interval", time.Hour, "how often advisories are updated from there")
	f.StringSliceVar(&c.AdvisoriesEcosystems, "advisories-ecosystems", nil, "ecosystems (directories of the source) that are read, such as Debian,npm; empty means all of which there can be packages in images")
	f.BoolVar(&c.AdvisoriesNoMalicious, "advisories-no-malicious", false, "leave out records of malicious packages, which are most of npm's")
	f.StringVar(&c.AdvisoriesKEV, "advisories-kev", "", "URL of CISA's catalogue of known exploited vulnerabilities, JSON; empty means from the source, or with osv.dev from CISA")
	f.StringVar(&c.AdvisoriesEPSS, "advisories-epss", "", "URL of the scores of EPSS, CSV in gzip; empty means from the source, or with osv.dev from EPSS")
	f.StringSliceVar(&c.ReplicationRegions, "replication-region", nil, replicationUsage)
	f.StringVar(&c.ReplicationClientCA, "replication-client-ca", "", "file of the authority that must have signed the certificates which other regions show when they replicate to this one, PEM; empty: they need none")
	f.Int64Var(&c.MaxRepositories, "max-repositories", limits.Repositories, "repositories in an account")
	f.Int64Var(&c.MaxImages, "max-images-per-repository", limits.ImagesPerRepository, "images in a repository")
	f.Int64Var(&c.MaxTags, "max-tags-per-image", limits.TagsPerImage, "tags on an image")
	c.MaxLayer = Bytes(limits.LayerBytes)
	f.Var(&c.MaxLayer, "max-layer-size", "size of a layer")
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
	if c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://") {
		return fmt.Errorf("database: want a URL that begins with postgres://, or nothing for SQLite in the data folder") // it may hold a password
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
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %q is not an address such as 127.0.0.1:5000 or :5000", c.Listen)
	}
	if err := c.checkNames(); err != nil {
		return err
	}
	if err := c.checkNumbers(); err != nil {
		return err
	}
	if c.LifecycleHour < -1 || c.LifecycleHour > 23 {
		return fmt.Errorf("lifecycle-hour: %d is not an hour of the day: 0 to 23 are, and -1 means any", c.LifecycleHour)
	}
	if c.LifecycleUndo < 0 || c.GuardPulledWithin < 0 {
		return fmt.Errorf("lifecycle-undo and guard-pulled-within: must not be less than 0")
	}
	if c.AuditMaxAge < 0 || c.AuditLogFiles < 0 {
		return fmt.Errorf("audit-max-age and audit-log-files: must not be less than 0")
	}
	if c.TrashDelay < c.LinkTTL {
		return fmt.Errorf("trash-delay: must be at least link-ttl (%s), or links break while they are good", c.LinkTTL)
	}
	if _, err := c.proxies(); err != nil {
		return err
	}
	if _, err := c.peers(); err != nil {
		return err
	}
	if c.ReplicationClientCA != "" && c.TLSCert == "" && !c.TLSSelfSigned {
		return fmt.Errorf("replication-client-ca: clients show certificates over TLS only: set tls-cert and tls-key, or tls-self-signed")
	}
	if err := new(slog.LevelVar).UnmarshalText([]byte(c.LogLevel)); err != nil {
		return fmt.Errorf("log-level: %q is not debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log-format: %q is not text or json", c.LogFormat)
	}
	_, _, err := c.metricsAddress(0)
	return err
}

// checkNames checks the names by which clients reach the server.
func (c *Config) checkNames() error {
	if c.ExternalURL != "" {
		u, err := url.Parse(c.ExternalURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("external-url: %q is not a URL of a host, such as https://ecr.example.com", c.ExternalURL)
		}
	}
	if c.RegistryHost == "" {
		return nil
	}
	host := c.host(c.RegistryHost, c.Account)
	if u, err := url.Parse("//" + host); err != nil || u.Host != host || strings.ContainsAny(host, "{}@") {
		return fmt.Errorf("registry-host: %q is not a host, such as ecr.example.com:5000 or {account}.dkr.ecr.{region}.example.com", c.RegistryHost)
	}
	return nil
}

func (c *Config) checkNumbers() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"shutdown-grace", c.ShutdownGrace}, {"idle-timeout", c.IdleTimeout}, {"gc-interval", c.GCInterval}, {"gc-grace", c.GCGrace},
		{"orphan-age", c.OrphanAge}, {"upload-ttl", c.UploadTTL}, {"link-ttl", c.LinkTTL}, {"pull-flush", c.PullFlush},
		{"advisories-interval", c.AdvisoriesInterval},
		{"lifecycle-interval", c.LifecycleInterval},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s: must be longer than nothing, such as 30s or 24h", d.name)
		}
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"audit-log-size", int64(c.AuditLogSize)}, {"max-repositories", c.MaxRepositories}, {"max-images-per-repository", c.MaxImages}, {"max-tags-per-image", c.MaxTags}, {"max-layer-size", int64(c.MaxLayer)},
	} {
		if n.value <= 0 {
			return fmt.Errorf("%s: must be more than 0", n.name)
		}
	}
	return nil
}

// issuerKeys reads the keys of issuers that cannot be reached.
func (c *Config) issuerKeys() (map[string]authn.KeySet, error) {
	out := map[string]authn.KeySet{}
	for _, setting := range c.OIDCKeys {
		issuer, path, ok := strings.Cut(setting, "=")
		if !ok || !strings.HasPrefix(issuer, "https://") {
			return nil, fmt.Errorf("oidc-keys: %q is not ISSUER-URL=FILE, such as https://oidc.example.com=/etc/ecru/jwks.json", setting)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("oidc-keys: %w", err)
		}
		if out[issuer], err = authn.ParseKeySet(b); err != nil {
			return nil, fmt.Errorf("oidc-keys: %s: %w", path, err)
		}
	}
	return out, nil
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
		return "", "", notLoopback(c.MetricsListen)
	}
	return c.MetricsListen, "", nil
}

func notLoopback(address string) error {
	return fmt.Errorf("metrics-listen: %s is not a loopback address: metrics and profiles tell too much for others", address)
}
