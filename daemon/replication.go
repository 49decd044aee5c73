package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/replicate"
)

// replicationUsage describes the setting replication-region, of which
// docs/replication.md has all.
const replicationUsage = `regions that this one replicates with, each as "REGION=URL option=value ..."; options: key, accounts, ca, cert, cert-key, workers, bandwidth, window, tags, deletes, login, profile, user, password-file`

// A peer is an entry of replication-region.
type peer struct {
	region identity.Region
	target replicate.Target

	ca, cert, certKey  string
	user, passwordFile string
	aws                bool // credentials as the AWS SDK finds them
	profile            string
}

// peers reads the setting replication-region.
func (c *Config) peers() (out []peer, err error) {
	for _, entry := range c.ReplicationRegions {
		p, err := parsePeer(entry)
		if err != nil {
			return nil, fmt.Errorf("replication-region: %w", err)
		}
		for _, other := range out {
			if other.target.Region == p.target.Region {
				return nil, fmt.Errorf("replication-region: %s is there twice", p.target.Region)
			}
		}
		out = append(out, *p)
	}
	return out, nil
}

// regionNames returns the regions that can be replicated to, other than its
// own.
func regionNames(peers []peer) (out []string) {
	for _, p := range peers {
		out = append(out, p.target.Region)
	}
	return out
}

func parsePeer(entry string) (*peer, error) {
	fields := strings.Fields(entry)
	if len(fields) == 0 {
		return nil, fmt.Errorf("%q is not REGION=URL", entry)
	}
	name, where, ok := strings.Cut(fields[0], "=")
	if !ok || len(name) < 2 || len(name) > 25 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, fmt.Errorf("%q is not REGION=URL, such as eu-west-1=https://ecr.eu.example.com", fields[0])
	}
	p := &peer{region: identity.Region{Name: name}, target: replicate.Target{Region: name, URL: where}}
	if where == "aws" {
		p.aws, p.target.URL = true, "https://{account}.dkr.ecr."+name+".amazonaws.com"
		where = p.target.URL
	}
	u, err := url.Parse(strings.ReplaceAll(where, "{account}", "123456789012"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%s: %q is not the URL of a host, such as https://ecr.eu.example.com, and not aws", name, where)
	}
	for _, option := range fields[1:] {
		key, value, _ := strings.Cut(option, "=")
		if err := p.set(key, value); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, key, err)
		}
	}
	if (p.cert == "") != (p.certKey == "") {
		return nil, fmt.Errorf("%s: cert and cert-key go together", name)
	}
	if (p.user == "") != (p.passwordFile == "") {
		return nil, fmt.Errorf("%s: user and password-file go together", name)
	}
	if p.aws && p.user != "" || p.profile != "" && !p.aws {
		return nil, fmt.Errorf("%s: login=aws goes with profile, and without user", name)
	}
	p.target.Plain = p.user != ""
	return p, nil
}

// set takes one option.
func (p *peer) set(key, value string) (err error) {
	if value == "" && key != "deletes" {
		return errors.New("want option=value")
	}
	switch key {
	case "key":
		for text := range strings.SplitSeq(value, "+") {
			k, err := identity.ParseRegionKey(text)
			if err != nil {
				return err
			}
			p.region.Keys = append(p.region.Keys, k)
		}
	case "accounts":
		p.region.Accounts = strings.Split(value, "+")
		if i := slices.IndexFunc(p.region.Accounts, func(a string) bool { return len(a) != 12 || strings.Trim(a, "0123456789") != "" }); i >= 0 {
			return fmt.Errorf("%q is not an account: twelve digits are", p.region.Accounts[i])
		}
	case "ca":
		p.ca = value
	case "cert":
		p.cert = value
	case "cert-key":
		p.certKey = value
	case "user":
		p.user = value
	case "login":
		if value != "aws" {
			return fmt.Errorf("%q is not aws", value)
		}
		p.aws = true
	case "profile":
		p.profile = value
	case "password-file":
		p.passwordFile = value
	case "workers":
		p.target.Workers, err = strconv.Atoi(value)
		if err != nil || p.target.Workers < 1 || p.target.Workers > 64 {
			return fmt.Errorf("%q is not a number of workers from 1 to 64", value)
		}
	case "bandwidth":
		var b Bytes
		if err := b.Set(value); err != nil {
			return err
		}
		if p.target.Bandwidth = int64(b); b < 1<<10 {
			return fmt.Errorf("%s a second is too little: 1KiB at least", value)
		}
	case "window":
		p.target.Window, err = parseWindow(value)
		return err
	case "tags":
		p.target.Tags = strings.Split(value, "|")
	case "deletes":
		if value != "" && value != "true" && value != "false" {
			return fmt.Errorf("%q is not true or false", value)
		}
		p.target.Deletes = value != "false"
	default:
		return errors.New("there is no such option; there are key, accounts, ca, cert, cert-key, workers, bandwidth, window, tags, deletes, login, profile, user, password-file")
	}
	return nil
}

// parseWindow reads 22:00-06:00.
func parseWindow(text string) (w replicate.Window, err error) {
	from, to, ok := strings.Cut(text, "-")
	clock := func(s string) time.Duration {
		t, parseErr := time.Parse("15:04", s)
		if parseErr != nil {
			ok = false
		}
		return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
	}
	w = replicate.Window{From: clock(from), To: clock(to)}
	if !ok || w.From == w.To {
		return w, fmt.Errorf("%q is not a part of the day in UTC, such as 22:00-06:00", text)
	}
	return w, nil
}

// tls is how the region is to be trusted.
func (p *peer) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.ca != "" {
		pem, err := os.ReadFile(p.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", p.ca)
		}
	}
	if p.cert != "" {
		pair, err := tls.LoadX509KeyPair(p.cert, p.certKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// replicationTargets returns how every region is reached, this one included.
func (s *Server) replicationTargets(ctx context.Context) ([]replicate.Target, error) {
	peers, err := s.cfg.peers()
	if err != nil {
		return nil, err
	}
	var out []replicate.Target
	for _, p := range peers {
		trust, err := p.tls()
		if err != nil {
			return nil, fmt.Errorf("replication-region: %s: %w", p.target.Region, err)
		}
		t := p.target
		t.Client = replicate.NewClient(trust, nil)
		t.Login = s.regionLogin
		switch {
		case p.user != "":
			t.Login = p.basic
		case p.aws:
			region, err := newAWSRegion(ctx, t.Region, p.profile)
			if err != nil {
				return nil, fmt.Errorf("replication-region: %s: %w", t.Region, err)
			}
			t.Login, t.Create = region.login, region.create
		}
		if t.Region != s.cfg.Region {
			out = append(out, t)
		}
	}
	return append(out, s.ownTarget()), nil
}

// regionLogin gives the credentials by which another region knows this one.
func (s *Server) regionLogin(_ context.Context, from string, to ecr.Destination) (user, password string, renew time.Time, err error) {
	password, renew = s.core.Regions.Token(from, to.Region)
	return "replication", password, renew, nil
}

// basic reads the password of a registry that is not Ecru's.
func (p *peer) basic(context.Context, string, ecr.Destination) (user, password string, renew time.Time, err error) {
	b, err := os.ReadFile(p.passwordFile)
	return p.user, strings.TrimSpace(string(b)), time.Now().Add(time.Minute), err
}

// ownTarget is this server, for other accounts in its own region: reached at
// its listener, known by its certificate.
func (s *Server) ownTarget() replicate.Target {
	address := s.listener.Addr().(*net.TCPAddr)
	local := *address
	if local.IP.IsUnspecified() {
		local.IP = net.IPv4(127, 0, 0, 1)
		if address.IP.To4() == nil {
			local.IP = net.IPv6loopback
		}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", local.String())
	}
	scheme := "http"
	var trust *tls.Config
	if s.certificate != nil {
		scheme = "https"
		trust = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			own, err := s.certificate.get(nil)
			if err != nil {
				return err
			}
			if len(raw) == 0 || !slices.Equal(raw[0], own.Certificate[0]) {
				return errors.New("another server answers at this server's address")
			}
			return nil
		}}
	}
	return replicate.Target{Region: s.cfg.Region, URL: scheme + "://" + local.String(), Client: replicate.NewClient(trust, dial), Login: s.regionLogin}
}

// ReplicationKey returns what other regions must know of the one in the data
// folder, whose master key is made if there is none yet.
func (c *Config) ReplicationKey(ctx context.Context) (string, error) {
	if err := makeFolder(c.Data); err != nil {
		return "", err
	}
	keys, err := c.keyring(ctx, true)
	if err != nil {
		return "", err
	}
	r, err := identity.NewRegions(keys, c.Region, nil, time.Now)
	if err != nil {
		return "", err
	}
	return r.PublicKey(), nil
}

// clientCertificates has clients that have a certificate show it.
func (c *Config) clientCertificates(t *tls.Config) error {
	if c.ReplicationClientCA == "" {
		return nil
	}
	pem, err := os.ReadFile(c.ReplicationClientCA)
	if err != nil {
		return fmt.Errorf("replication-client-ca: %w", err)
	}
	t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("replication-client-ca: %s holds no certificate in PEM", c.ReplicationClientCA)
	}
	return nil
}
