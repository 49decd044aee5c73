package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Media types of an artifact of advisories. Its layers are files of the layout;
// the annotation org.opencontainers.image.title is their name there.
const (
	ArtifactType   = "application/vnd.ecru.advisories.v1"
	layerType      = ArtifactType + ".file"
	manifestType   = "application/vnd.oci.image.manifest.v1+json"
	emptyType      = "application/vnd.oci.empty.v1+json"
	titleNote      = "org.opencontainers.image.title"
	maxManifest    = 4 << 20
	maxArtifactLen = 3 * 1000 // layers
)

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Data        []byte            `json:"data,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A body is the bytes of a layer.
type body struct {
	io.ReadCloser
	size int64
}

// An artifact is a source in a registry.
type artifact struct {
	name   string
	layers map[string]descriptor // by their names in the layout
	blob   func(ctx context.Context, digest string) (body, error)
}

// newArtifact reads a manifest.
func newArtifact(name string, payload []byte, blob func(context.Context, string) (body, error)) (*artifact, error) {
	if len(payload) > maxManifest {
		return nil, fmt.Errorf("%s: a manifest of %d bytes", name, len(payload))
	}
	var m manifest
	if err := json.Unmarshal(payload, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if m.ArtifactType != ArtifactType {
		return nil, fmt.Errorf("%s is not an artifact of advisories: its type is %.100q, not %s; ecru advisories pack makes one", name, m.ArtifactType, ArtifactType)
	}
	if len(m.Layers) > maxArtifactLen {
		return nil, fmt.Errorf("%s: %d layers; at most %d are read", name, len(m.Layers), maxArtifactLen)
	}
	a := &artifact{name: name, layers: map[string]descriptor{}, blob: blob}
	for _, l := range m.Layers {
		title := l.Annotations[titleNote]
		if !fs.ValidPath(title) || len(title) > 512 || strings.ContainsAny(title, "\\\x00") {
			return nil, fmt.Errorf("%s: a layer is named %.100q by %s, which is no file of advisories", name, title, titleNote)
		}
		a.layers[title] = l
	}
	return a, nil
}

func (a *artifact) String() string { return a.name }

func (a *artifact) close() error { return nil }

func (a *artifact) open(ctx context.Context, name, etag string) (*file, error) {
	l, ok := a.layers[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if etag != "" && etag == l.Digest {
		return nil, errNotModified
	}
	b, err := a.blob(ctx, l.Digest)
	if err != nil {
		return nil, err
	}
	if b.size != l.Size {
		b.Close()
		return nil, fmt.Errorf("%s: the layer has %d bytes, the manifest says %d", name, b.size, l.Size)
	}
	return &file{sized{io.LimitReader(b, l.Size), b}, l.Digest, l.Size}, nil
}

// sized ends where the layer does: a file may go on.
type sized struct {
	io.Reader
	io.Closer
}

// A remoteArtifact is an artifact that is looked up when it is first needed.
type remoteArtifact struct {
	ref    name.Reference
	opts   []remote.Option
	lookUp sync.Once
	a      *artifact
	err    error
}

// newRemote reads a reference: HOST/REPOSITORY:TAG or @DIGEST. Credentials are
// docker's.
func newRemote(ref string) (*remoteArtifact, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, fmt.Errorf("%q does not name an artifact, such as registry.example.com/advisories:latest: %w", ref, err)
	}
	return &remoteArtifact{ref: r, opts: []remote.Option{remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("ecru")}}, nil
}

func (r *remoteArtifact) String() string { return ociStart + r.ref.String() }

func (r *remoteArtifact) close() error { return nil }

func (r *remoteArtifact) open(ctx context.Context, name, etag string) (*file, error) {
	r.lookUp.Do(func() { r.a, r.err = r.artifact(ctx) })
	if r.err != nil {
		return nil, r.err
	}
	return r.a.open(ctx, name, etag)
}

func (r *remoteArtifact) options(ctx context.Context) []remote.Option {
	return append([]remote.Option{remote.WithContext(ctx)}, r.opts...)
}

func (r *remoteArtifact) artifact(ctx context.Context) (*artifact, error) {
	d, err := remote.Get(r.ref, r.options(ctx)...)
	if err != nil {
		return nil, err
	}
	return newArtifact(r.String(), d.Manifest, func(ctx context.Context, digest string) (body, error) {
		l, err := remote.Layer(r.ref.Context().Digest(digest), r.options(ctx)...)
		if err != nil {
			return body{}, err
		}
		size, err := l.Size()
		if err != nil {
			return body{}, err
		}
		rc, err := l.Compressed() // checks the digest
		if err != nil {
			return body{}, err
		}
		return body{rc, size}, nil
	})
}

var errNoAdvisories = errors.New("there are no advisories")
