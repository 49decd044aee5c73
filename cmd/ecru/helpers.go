package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

// endpointFor finds the server of a registry: the one that the client is given
// or the environment names; else the registry's own host, which is spoken to
// without TLS on the loopback only.
func (c *client) endpointFor(registry string) {
	if c.findEndpoint() == nil {
		return
	}
	c.endpoint = registry
	if strings.Contains(registry, "://") {
		return
	}
	c.endpoint = "https://" + hostOf(registry)
	if loopback(hostOf(registry)) && os.Getenv("AWS_CA_BUNDLE") == "" {
		c.endpoint = "http://" + hostOf(registry)
	}
}

// loopback reports whether a host, with or without a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// serves reports whether a token of the server at known is for the registry at
// host: the same host, another name of the loopback with the same port, or
// another account of the same registry.
func serves(known, host string) bool {
	known, host = strings.ToLower(hostOf(known)), strings.ToLower(host)
	if known == host {
		return true
	}
	if loopback(known) && loopback(host) {
		_, knownPort, err := net.SplitHostPort(known)
		_, port, err2 := net.SplitHostPort(host)
		return err == nil && err2 == nil && knownPort == port
	}
	knownAccount, knownRest, ok := strings.Cut(known, ".dkr.ecr.")
	account, rest, ok2 := strings.Cut(host, ".dkr.ecr.")
	digits := func(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
	return ok && ok2 && knownRest == rest && digits(knownAccount) && digits(account)
}

// errNotFound is how docker is told that a helper has no credential, word for
// word (docker-credential-helpers, "credentials").
var errNotFound = errors.New("credentials not found in native keychain")

func newDockerCredential() *cobra.Command {
	c := client{}
	cmd := &cobra.Command{
		Use:   "docker-credential get|store|erase|list",
		Short: "Be docker's credential helper",
		Long: "Be docker's credential helper: link this program as docker-credential-ecru into the PATH, and name it in\n" +
			"docker's config.json under credHelpers (ecru login does). It asks the server for a token with the access\n" +
			"key of the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or of the data folder (ECRU_DATA). For\n" +
			"registries of another server than AWS_ENDPOINT_URL's it has no credential.",
		Example:   "  ln -s \"$(command -v ecru)\" /usr/local/bin/docker-credential-ecru\n  echo 127.0.0.1:5000 | ecru docker-credential get",
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"get", "store", "erase", "list"},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.help(cmd.Context(), args[0], cmd.InOrStdin(), cmd.OutOrStdout())
			if err != nil { // docker reads the reason from standard output
				fmt.Fprintln(cmd.OutOrStdout(), err)
				return exitStatus{code: 1}
			}
			return nil
		},
	}
	c.flags(cmd)
	return cmd
}

// help does one thing of docker's protocol.
func (c *client) help(ctx context.Context, verb string, in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(io.LimitReader(in, maxInput))
	if err != nil {
		return err
	}
	switch verb {
	case "store", "erase": // tokens are asked for anew, so there is nothing to keep
		return nil
	case "list":
		return json.NewEncoder(out).Encode(map[string]string{})
	case "get":
	default:
		return fmt.Errorf("%q is not get, store, erase or list", verb)
	}
	server := strings.TrimSpace(string(text))
	if server == "" {
		return errors.New("no registry on standard input")
	}
	c.endpointFor(server)
	password, registry, _, err := c.token(ctx)
	if err != nil {
		return err
	}
	if host := hostOf(server); !serves(c.endpoint, host) && !serves(registry, host) {
		return errNotFound
	}
	return json.NewEncoder(out).Encode(credential{ServerURL: server, Username: "AWS", Secret: password})
}

// The kubelet's protocol, credentialprovider.kubelet.k8s.io/v1.
type (
	providerRequest struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Image      string `json:"image"`
		// Of a pod, where the kubelet's configuration has tokenAttributes.
		ServiceAccountToken       string            `json:"serviceAccountToken"`
		ServiceAccountAnnotations map[string]string `json:"serviceAccountAnnotations"`
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
	annotation := ""
	cmd := &cobra.Command{
		Use:   "credential-provider",
		Short: "Be the kubelet's credential provider",
		Long: "Be the kubelet's image credential provider (" + providerVersion + "): put this program into the\n" +
			"folder of --image-credential-provider-bin-dir and name it in the kubelet's CredentialProviderConfig, with\n" +
			"args [credential-provider], matchImages for this registry's host, and the access key in env. It answers for\n" +
			"every image that the kubelet asks about: matchImages decides.\n\n" +
			"With tokenAttributes in that configuration the kubelet hands over a token of the pod's service account. It is\n" +
			"exchanged (AssumeRoleWithWebIdentity) for the role that the service account's annotation names, or else\n" +
			"AWS_ROLE_ARN, so that each pod pulls what its own role may.",
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
			if in.ServiceAccountToken != "" {
				c.webToken, c.role = webToken(in.ServiceAccountToken), cmp.Or(in.ServiceAccountAnnotations[annotation], os.Getenv("AWS_ROLE_ARN"))
			}
			c.endpointFor(host)
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
	c.flags(cmd)
	cmd.Flags().StringVar(&annotation, "role-annotation", "eks.amazonaws.com/role-arn", "annotation of service accounts that names their role")
	return cmd
}
