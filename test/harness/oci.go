package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A Client speaks the OCI Distribution API, plainly: one method a request.
// It is safe for concurrent use.
type Client struct {
	Base     string // http://host:port
	Password string // of the user AWS; "" sends no credentials
	Host     string // Host header, if not Base's
	HTTP     *http.Client
}

// Registry returns a client with the password, and connections of its own.
func (s *Server) Registry(password string) *Client {
	return &Client{Base: s.URL, Password: password, HTTP: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// A Response is an answer whose body has been read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// maxAnswer bounds the bodies that Do reads.
const maxAnswer = 1 << 30

// Do sends a request. path begins with / or is an absolute URL; header holds
// key, value pairs. length < 0 sends the body chunked.
func (c *Client) Do(ctx context.Context, method, path string, body io.Reader, length int64, header ...string) (*Response, error) {
	if !strings.Contains(path, "://") {
		path = c.Base + path
	}
	req, err := http.NewRequestWithContext(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = length
	}
	if c.Host != "" {
		req.Host = c.Host
	}
	if c.Password != "" {
		req.SetBasicAuth("AWS", c.Password)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return &Response{res.StatusCode, res.Header, b}, nil
}

// A StatusError is an answer with a status that was not wanted.
type StatusError struct {
	Method, Path string
	Response
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: HTTP %d: %s", e.Method, e.Path, e.Status, bytes.TrimSpace(e.Body[:min(len(e.Body), 500)]))
}

// Want is Do, and a StatusError if the answer has another status.
func (c *Client) Want(ctx context.Context, status int, method, path string, body []byte, header ...string) (*Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	res, err := c.Do(ctx, method, path, r, int64(len(body)), header...)
	if err == nil && res.Status != status {
		err = &StatusError{method, path, *res}
	}
	return res, err
}

// Digest returns the sha256 digest of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// StartUpload opens an upload and returns its absolute location.
func (c *Client) StartUpload(ctx context.Context, repo string) (string, error) {
	res, err := c.Want(ctx, http.StatusAccepted, "POST", "/v2/"+repo+"/blobs/uploads/", []byte{})
	if err != nil {
		return "", err
	}
	return c.locate(res)
}

func (c *Client) locate(res *Response) (string, error) {
	base, err := url.Parse(c.Base)
	if err != nil {
		return "", err
	}
	loc, err := base.Parse(res.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	if loc.Path == "/" || loc.Path == "" {
		return "", fmt.Errorf("an answer without a Location")
	}
	loc.Scheme, loc.Host = base.Scheme, base.Host // a Location may name the host by another name
	return loc.String(), nil
}

// PutBlob pushes a blob by POST and PUT.
func (c *Client) PutBlob(ctx context.Context, repo string, b []byte) (string, error) {
	loc, err := c.StartUpload(ctx, repo)
	if err != nil {
		return "", err
	}
	return c.FinishUpload(ctx, loc, b, Digest(b))
}

// FinishUpload sends the last bytes of an upload with its digest.
func (c *Client) FinishUpload(ctx context.Context, loc string, rest []byte, digest string) (string, error) {
	if rest == nil {
		rest = []byte{}
	}
	_, err := c.Want(ctx, http.StatusCreated, "PUT", withDigest(loc, digest), rest, "Content-Type", "application/octet-stream")
	return digest, err
}

func withDigest(loc, digest string) string {
	sep := "?"
	if strings.Contains(loc, "?") {
		sep = "&"
	}
	return loc + sep + "digest=" + url.QueryEscape(digest)
}

// PatchUpload sends the bytes of an upload from off on, and returns where the
// next ones go.
func (c *Client) PatchUpload(ctx context.Context, loc string, off int, chunk []byte) (string, error) {
	res, err := c.Want(ctx, http.StatusAccepted, "PATCH", loc, chunk, "Content-Type", "application/octet-stream",
		"Content-Range", fmt.Sprintf("%d-%d", off, off+len(chunk)-1))
	if err != nil {
		return "", err
	}
	return c.locate(res)
}

// UploadSize asks how many bytes of an upload there are.
func (c *Client) UploadSize(ctx context.Context, loc string) (int, error) {
	res, err := c.Want(ctx, http.StatusNoContent, "GET", loc, nil)
	if err != nil {
		return 0, err
	}
	r := res.Header.Get("Range")
	if r == "" {
		return 0, nil
	}
	_, last, ok := strings.Cut(r, "-")
	n, err := strconv.Atoi(last)
	if !ok || err != nil {
		return 0, fmt.Errorf("upload status: Range %q", r)
	}
	// The specification cannot say "nothing": 0-0 is nothing or one byte.
	if n == 0 {
		return 0, nil
	}
	return n + 1, nil
}

// GetBlob pulls a blob and checks it against its digest.
func (c *Client) GetBlob(ctx context.Context, repo, digest string) ([]byte, error) {
	res, err := c.Want(ctx, http.StatusOK, "GET", "/v2/"+repo+"/blobs/"+digest, nil)
	if err != nil {
		return nil, err
	}
	if got := Digest(res.Body); strings.HasPrefix(digest, "sha256:") && got != digest {
		return nil, fmt.Errorf("blob %s: its %d bytes have the digest %s", digest, len(res.Body), got)
	}
	return res.Body, nil
}

// Media types of the manifests that Image and Index build.
const (
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
	IndexType    = "application/vnd.oci.image.index.v1+json"
	ConfigType   = "application/vnd.oci.image.config.v1+json"
	LayerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// PutManifest pushes a manifest under a tag or digest, and returns its digest
// as the server has it.
func (c *Client) PutManifest(ctx context.Context, repo, ref, mediaType string, manifest []byte) (string, error) {
	res, err := c.Want(ctx, http.StatusCreated, "PUT", "/v2/"+repo+"/manifests/"+ref, manifest, "Content-Type", mediaType)
	if err != nil {
		return "", err
	}
	return res.Header.Get("Docker-Content-Digest"), nil
}

// GetManifest pulls a manifest by tag or digest, and checks it against the
// digest that the server names.
func (c *Client) GetManifest(ctx context.Context, repo, ref string) (manifest []byte, digest string, err error) {
	res, err := c.Want(ctx, http.StatusOK, "GET", "/v2/"+repo+"/manifests/"+ref, nil, "Accept", ManifestType+", "+IndexType)
	if err != nil {
		return nil, "", err
	}
	digest = res.Header.Get("Docker-Content-Digest")
	if got := Digest(res.Body); strings.HasPrefix(digest, "sha256:") && got != digest {
		return nil, "", fmt.Errorf("manifest %s: its %d bytes have the digest %s, not %s", ref, len(res.Body), got, digest)
	}
	return res.Body, digest, nil
}

// A Descriptor names content in a manifest.
type Descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int       `json:"size"`
	Platform  *Platform `json:"platform,omitempty"`
}

// A Platform is a descriptor's platform in an index.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// Describe describes b.
func Describe(mediaType string, b []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: Digest(b), Size: len(b)}
}

// Image returns the manifest of an image with this configuration and layers.
func Image(config []byte, layers ...[]byte) []byte {
	m := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        Descriptor   `json:"config"`
		Layers        []Descriptor `json:"layers"`
	}{2, ManifestType, Describe(ConfigType, config), []Descriptor{}}
	for _, l := range layers {
		m.Layers = append(m.Layers, Describe(LayerType, l))
	}
	return encode(m)
}

// Index returns an index of manifests.
func Index(manifests ...Descriptor) []byte {
	return encode(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []Descriptor `json:"manifests"`
	}{2, IndexType, manifests})
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of strings and numbers
	}
	return b
}

// PushImage pushes an image: configuration, layers, manifest under ref.
func (c *Client) PushImage(ctx context.Context, repo, ref string, config []byte, layers ...[]byte) (string, error) {
	for _, b := range append([][]byte{config}, layers...) {
		if _, err := c.PutBlob(ctx, repo, b); err != nil {
			return "", err
		}
	}
	m := Image(config, layers...)
	if ref == "" {
		ref = Digest(m)
	}
	return c.PutManifest(ctx, repo, ref, ManifestType, m)
}

// PullImage pulls an image with all its content and returns its digest and
// how many bytes its layers have.
func (c *Client) PullImage(ctx context.Context, repo, ref string) (digest string, size int, err error) {
	b, digest, err := c.GetManifest(ctx, repo, ref)
	if err != nil {
		return "", 0, err
	}
	var parsed struct {
		Config    *Descriptor
		Layers    []Descriptor
		Manifests []Descriptor
	}
	if err := json.Unmarshal(b, &parsed); err != nil {
		return "", 0, err
	}
	if parsed.Config != nil {
		parsed.Layers = append(parsed.Layers, *parsed.Config)
	}
	for _, l := range parsed.Layers {
		blob, err := c.GetBlob(ctx, repo, l.Digest)
		if err != nil {
			return "", 0, err
		}
		if len(blob) != l.Size {
			return "", 0, fmt.Errorf("blob %s: %d bytes, the manifest says %d", l.Digest, len(blob), l.Size)
		}
		size += len(blob)
	}
	for _, child := range parsed.Manifests {
		_, n, err := c.PullImage(ctx, repo, child.Digest)
		if err != nil {
			return "", 0, err
		}
		size += n
	}
	return digest, size, nil
}
