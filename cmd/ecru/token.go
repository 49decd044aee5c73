package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/daemon"
)

// A client says which server to ask, and as whom. What is not given is looked
// for in the data folder, if that was named; else in the environment, as AWS's
// tools do; else in the data folder of the default name.
type client struct {
	endpoint string
	region   string
	data     string
	named    bool // data was named

	// A web identity token and the role that it is exchanged for; empty for
	// who asks with an access key.
	webToken webToken
	role     string
}

// A webToken is a token that an OpenID Connect issuer gave.
type webToken string

// GetIdentityToken implements stscreds.IdentityTokenRetriever.
func (t webToken) GetIdentityToken() ([]byte, error) { return []byte(t), nil }

// session is a name for the session of a token's bearer: who it is, as far as
// the token tells.
func (t webToken) session() string {
	parts := strings.Split(string(t), ".")
	var claims struct{ Sub string }
	if len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(b, &claims) != nil {
			claims.Sub = ""
		}
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("=,.@-", r) {
			return r
		}
		return '.'
	}, strings.TrimPrefix(claims.Sub, "system:serviceaccount:"))
	if len(name) < 2 {
		return "ecru"
	}
	return name[:min(len(name), 64)]
}

// webIdentity takes token and role from where AWS's SDKs look for them, if no
// access key is set.
func (c *client) webIdentity() error {
	file := os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")
	if c.webToken != "" || file == "" || os.Getenv("AWS_ACCESS_KEY_ID") != "" || c.named {
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("AWS_WEB_IDENTITY_TOKEN_FILE: %w", err)
	}
	c.webToken, c.role = webToken(strings.TrimSpace(string(b))), os.Getenv("AWS_ROLE_ARN")
	return nil
}

// credentials returns what to ask the server with.
func (c *client) credentials(region string, hc *http.Client) (aws.CredentialsProvider, error) {
	if err := c.webIdentity(); err != nil {
		return nil, err
	}
	if c.webToken == "" {
		return c.keys()
	}
	if c.role == "" {
		return nil, errors.New("a web identity token is exchanged for a role: set AWS_ROLE_ARN, or annotate the service account")
	}
	api := sts.New(sts.Options{Region: region, BaseEndpoint: &c.endpoint, HTTPClient: hc})
	return stscreds.NewWebIdentityRoleProvider(api, c.role, c.webToken, func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = c.webToken.session() }), nil
}

// flags declares what a client is given by.
func (c *client) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.data, "data", envOr("ECRU_DATA", "./ecru-data"), "data folder of the server; if given, it wins over the environment")
	cmd.Flags().StringVar(&c.region, "region", "", "region of the server; else that of the data folder or of the environment")
	cmd.PreRun = func(cmd *cobra.Command, _ []string) { c.named = cmd.Flags().Changed("data") }
}

// folder reads a line that the server wrote into its data folder; it is empty
// if there is none.
func (c *client) folder(name string) string {
	text, err := os.ReadFile(filepath.Join(c.data, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// look returns the first that is set: of the data folder if that was named, of
// the environment, of the data folder.
func (c *client) look(file string, vars ...string) string {
	if v := c.folder(file); c.named && v != "" {
		return v
	}
	for _, name := range vars {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return c.folder(file)
}

// findEndpoint sets the endpoint if it was not given.
func (c *client) findEndpoint() error {
	if c.endpoint == "" {
		c.endpoint = c.look(daemon.EndpointFile, "AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL")
	}
	c.endpoint = strings.TrimSuffix(c.endpoint, "/")
	if c.endpoint == "" {
		return errors.New("no server is known: start one (ecru serve), or name its data folder (--data) or its URL (--endpoint-url)")
	}
	return nil
}

// keys returns the access key to ask with.
func (c *client) keys() (credentials.StaticCredentialsProvider, error) {
	var none credentials.StaticCredentialsProvider
	id, secret, err := daemon.ReadCredentials(c.data)
	if err == nil && c.named {
		return credentials.NewStaticCredentialsProvider(id, secret, ""), nil
	}
	for _, of := range []string{"AWS_", "ECRU_ROOT_"} {
		if id := os.Getenv(of + "ACCESS_KEY_ID"); id != "" {
			secret := os.Getenv(of + "SECRET_ACCESS_KEY")
			if secret == "" {
				return none, fmt.Errorf("%sACCESS_KEY_ID is set and %sSECRET_ACCESS_KEY is not", of, of)
			}
			session := ""
			if of == "AWS_" {
				session = os.Getenv("AWS_SESSION_TOKEN")
			}
			return credentials.NewStaticCredentialsProvider(id, secret, session), nil
		}
	}
	if err != nil {
		return none, fmt.Errorf("no access key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (eval \"$(ecru env)\"), or name the data folder with --data: %w", err)
	}
	return credentials.NewStaticCredentialsProvider(id, secret, ""), nil
}

// token asks the server for a password for its registry.
func (c *client) token(ctx context.Context) (password, registry string, expires time.Time, err error) {
	region := c.region
	if region == "" {
		region = cmp.Or(c.look(daemon.RegionFile, "AWS_REGION", "AWS_DEFAULT_REGION", "ECRU_REGION"), "us-east-1")
	}
	hc, err := c.http()
	if err != nil {
		return "", "", time.Time{}, err
	}
	keys, err := c.credentials(region, hc)
	if err != nil {
		return "", "", time.Time{}, err
	}
	api := ecr.New(ecr.Options{
		Region: region, BaseEndpoint: &c.endpoint, HTTPClient: hc, Credentials: keys,
	})
	out, err := api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", "", time.Time{}, err
	}
	if len(out.AuthorizationData) == 0 {
		return "", "", time.Time{}, fmt.Errorf("the server gave no token")
	}
	data := out.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	if err != nil {
		return "", "", time.Time{}, fmt.Errorf("the server gave a token that cannot be read: %w", err)
	}
	_, password, _ = strings.Cut(string(plain), ":")
	return password, aws.ToString(data.ProxyEndpoint), aws.ToTime(data.ExpiresAt), nil
}

// http returns a client that trusts AWS_CA_BUNDLE, as the aws CLI does, and the
// authority that the server of the data folder made.
func (c *client) http() (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	file := os.Getenv("AWS_CA_BUNDLE")
	if own := filepath.Join(c.data, daemon.CAFile); c.endpoint == c.folder(daemon.EndpointFile) && (file == "" || c.named) {
		if _, err := os.Stat(own); err == nil {
			file = own
		}
	}
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", file)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, Timeout: 30 * time.Second}, nil
}

// hostOf strips scheme and path off a server's name.
func hostOf(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	host, _, _ := strings.Cut(rest, "/")
	return host
}
