package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/daemon"
)

// A client says which server to ask, and as whom.
type client struct {
	endpoint string
	data     string // folder of the root access key, if the environment has none
	region   string
}

// token asks the server for a password for its registry.
func (c client) token(ctx context.Context) (password, registry string, expires time.Time, err error) {
	id, secret, session := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
	if id == "" {
		if id, secret, err = daemon.ReadCredentials(c.data); err != nil {
			return "", "", time.Time{}, fmt.Errorf("no access key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (eval \"$(ecru env)\"), or name the data folder with --data: %w", err)
		}
	}
	hc, err := httpClient()
	if err != nil {
		return "", "", time.Time{}, err
	}
	api := ecr.New(ecr.Options{
		Region: c.region, BaseEndpoint: &c.endpoint, HTTPClient: hc,
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, session),
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

// httpClient trusts AWS_CA_BUNDLE, as the aws CLI does.
func httpClient() (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if file := os.Getenv("AWS_CA_BUNDLE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("AWS_CA_BUNDLE: %s has no certificate", file)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, Timeout: 30 * time.Second}, nil
}

// region is the one of the environment.
func region() string {
	return envOr("AWS_REGION", envOr("AWS_DEFAULT_REGION", envOr("ECRU_REGION", "us-east-1")))
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
