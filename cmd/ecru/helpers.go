package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// maxInput bounds what a helper reads.
const maxInput = 1 << 20

// A credential is docker's, in the protocol of its credential helpers.
type credential struct {
	ServerURL string
	Username  string
	Secret    string
}

// endpointOf returns the URL of the server with a registry's host: that of the
// environment, else the host itself, which is spoken to without TLS only on
// the loopback.
func endpointOf(server string) string {
	for _, name := range []string{"AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL"} {
		if url := os.Getenv(name); url != "" {
			return url
		}
	}
	if strings.Contains(server, "://") {
		return server
	}
	host := hostOf(server)
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if ip := net.ParseIP(name); name == "localhost" || strings.HasSuffix(name, ".localhost") || ip != nil && ip.IsLoopback() {
		if os.Getenv("AWS_CA_BUNDLE") == "" {
			return "http://" + host
		}
	}
	return "https://" + host
}

func newDockerCredential() *cobra.Command {
	c := client{}
	cmd := &cobra.Command{
		Use:   "docker-credential get|store|erase|list",
		Short: "Be docker's credential helper",
		Long: "Be docker's credential helper: link this program as docker-credential-ecru into the PATH, and name it in\n" +
			"docker's config.json under credHelpers. It asks the server for a token with the access key of the\n" +
			"environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or of the data folder (ECRU_DATA).",
		Example:   "  ln -s \"$(command -v ecru)\" /usr/local/bin/docker-credential-ecru\n  echo 127.0.0.1:5000 | ecru docker-credential get",
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"get", "store", "erase", "list"},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := json.NewEncoder(cmd.OutOrStdout())
			in, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxInput))
			if err != nil {
				return err
			}
			switch args[0] {
			case "store", "erase": // tokens are asked for anew, so there is nothing to keep
				return nil
			case "list":
				return out.Encode(map[string]string{})
			case "get":
				server := strings.TrimSpace(string(in))
				if server == "" {
					return fmt.Errorf("no registry on standard input")
				}
				c.endpoint = endpointOf(server)
				password, _, _, err := c.token(cmd.Context())
				if err != nil {
					return err
				}
				return out.Encode(credential{ServerURL: server, Username: "AWS", Secret: password})
			}
			return fmt.Errorf("%q is not get, store, erase or list", args[0])
		},
	}
	cmd.Flags().StringVar(&c.data, "data", envOr("ECRU_DATA", "./ecru-data"), "data folder of the server")
	cmd.Flags().StringVar(&c.region, "region", region(), "region of the server")
	return cmd
}

// The kubelet's protocol, credentialprovider.kubelet.k8s.io/v1.
type (
	providerRequest struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Image      string `json:"image"`
	}
	providerResponse struct {
		APIVersion    string                  `json:"apiVersion"`
		Kind          string                  `json:"kind"`
		CacheKeyType  string                  `json:"cacheKeyType"`
		CacheDuration string                  `json:"cacheDuration"`
		Auth          map[string]providerAuth `json:"auth"`
	}
	providerAuth struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
)

const providerVersion = "credentialprovider.kubelet.k8s.io/v1"

func newCredentialProvider() *cobra.Command {
	c := client{}
	cmd := &cobra.Command{
		Use:   "credential-provider",
		Short: "Be the kubelet's credential provider",
		Long: "Be the kubelet's image credential provider (" + providerVersion + "): put this program into the\n" +
			"folder of --image-credential-provider-bin-dir and name it in the kubelet's CredentialProviderConfig, with\n" +
			"args [credential-provider], matchImages for this registry's host, and the access key in env.",
		Example: `  echo '{"apiVersion":"` + providerVersion + `","kind":"CredentialProviderRequest","image":"127.0.0.1:5000/hello:v1"}' | ecru credential-provider`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var in providerRequest
			if err := json.NewDecoder(io.LimitReader(cmd.InOrStdin(), maxInput)).Decode(&in); err != nil {
				return fmt.Errorf("standard input is not a CredentialProviderRequest: %w", err)
			}
			if in.APIVersion != providerVersion || in.Kind != "CredentialProviderRequest" {
				return fmt.Errorf("standard input is a %s of %s, not a CredentialProviderRequest of %s", in.Kind, in.APIVersion, providerVersion)
			}
			host := hostOf(in.Image)
			if host == "" || !strings.Contains(in.Image, "/") {
				return fmt.Errorf("image %q names no registry", in.Image)
			}
			c.endpoint = endpointOf(host)
			password, _, expires, err := c.token(cmd.Context())
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(providerResponse{
				APIVersion: providerVersion, Kind: "CredentialProviderResponse", CacheKeyType: "Registry",
				CacheDuration: (time.Until(expires) / 2).Truncate(time.Second).String(),
				Auth:          map[string]providerAuth{host: {"AWS", password}},
			})
		},
	}
	cmd.Flags().StringVar(&c.data, "data", envOr("ECRU_DATA", "./ecru-data"), "data folder of the server")
	cmd.Flags().StringVar(&c.region, "region", region(), "region of the server")
	return cmd
}
