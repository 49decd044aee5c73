package feed

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ecruhq/ecru/vuln"
)

// A Packed counts what was packed.
type Packed struct {
	Ecosystems []string
	Files      int
	Bytes      int64
}

// Pack writes the advisories of a source, which is named as in Config, into a
// zip file in the layout: of each ecosystem the list and all.zip, and KEV and
// EPSS if they are to be had.
func Pack(ctx context.Context, source string, o Options, w io.Writer) (Packed, error) {
	cfg := Config{Source: source, Options: o}
	src, err := cfg.source()
	if err != nil {
		return Packed{}, err
	}
	if src == nil {
		return Packed{}, errors.New("name a source of advisories")
	}
	defer src.close()
	u := &updater{src: src, o: o}
	names, err := u.wanted(ctx)
	if err != nil {
		return Packed{}, err
	}
	p := &packer{ctx: ctx, src: src, zip: zip.NewWriter(w)}
	if err := p.put(ecosystemsFile, time.Time{}, strings.NewReader(strings.Join(names, "\n")+"\n")); err != nil {
		return Packed{}, err
	}
	for _, n := range names {
		if err := p.ecosystem(n); err != nil {
			return Packed{}, fmt.Errorf("%s: %w", n, err)
		}
	}
	if source == osvDev {
		o.KEV, o.EPSS = or(o.KEV, kevURL), or(o.EPSS, epssURL)
	}
	for _, l := range []struct{ file, address string }{{kevFile, o.KEV}, {epssFile, o.EPSS}} {
		if err := p.list(l.file, l.address); err != nil {
			return Packed{}, fmt.Errorf("%s: %w", l.file, err)
		}
	}
	p.Ecosystems = names
	return p.Packed, p.zip.Close()
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

type packer struct {
	Packed
	ctx context.Context // of the one call of Pack
	src source
	zip *zip.Writer
}

// put adds a file as it is: what is in it is compressed already, or small.
func (p *packer) put(name string, modified time.Time, r io.Reader) error {
	h := &zip.FileHeader{Name: name, Method: zip.Store, Modified: modified}
	if strings.HasSuffix(name, ".csv") || strings.HasSuffix(name, ".json") {
		h.Method = zip.Deflate
	}
	w, err := p.zip.CreateHeader(h)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	p.Files++
	p.Bytes += n
	return err
}

// copy adds a file of the source.
func (p *packer) copy(name string) error {
	f, err := p.src.open(p.ctx, name, "")
	if err != nil {
		return err
	}
	defer f.Close()
	return p.put(name, time.Time{}, io.LimitReader(f, maxAll))
}

func (p *packer) ecosystem(name string) error {
	if err := p.copy(name + "/" + listFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := p.copy(name + "/" + allFile)
	if t, ok := p.src.(*tree); ok && errors.Is(err, fs.ErrNotExist) {
		return p.loose(t, name)
	}
	return err
}

// loose makes all.zip of records that are files of their own.
func (p *packer) loose(t *tree, dir string) error {
	records, err := fs.ReadDir(t.fs, dir)
	if err != nil {
		return err
	}
	w, err := p.zip.CreateHeader(&zip.FileHeader{Name: dir + "/" + allFile, Method: zip.Store})
	if err != nil {
		return err
	}
	all, n := zip.NewWriter(w), 0
	for _, r := range records {
		if !strings.HasSuffix(r.Name(), ".json") {
			continue
		}
		f, err := t.open(p.ctx, path.Join(dir, r.Name()), "")
		if err != nil {
			return err
		}
		b, err := readAll(f, vuln.MaxRecord)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name(), err)
		}
		e, err := all.Create(r.Name())
		if err != nil {
			return err
		}
		if _, err := e.Write(b); err != nil {
			return err
		}
		n++
		p.Bytes += int64(len(b))
	}
	if n == 0 {
		return fmt.Errorf("neither %s nor records", allFile)
	}
	p.Files++
	return all.Close()
}

// list adds KEV or EPSS.
func (p *packer) list(name, address string) error {
	src := p.src
	if address != "" {
		m, err := newMirror(address)
		if err != nil {
			return err
		}
		defer m.close()
		src = single{m}
	}
	f, err := src.open(p.ctx, name, "")
	if errors.Is(err, fs.ErrNotExist) && address == "" {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return p.put(name, time.Time{}, io.LimitReader(f, maxAll))
}

// Push puts a zip file that Pack wrote into a registry, as an artifact, and
// returns its digest. Files that the registry has are not sent again.
func Push(ctx context.Context, packed, ref string, opts ...remote.Option) (digest string, err error) {
	r, err := newRemote(ref)
	if err != nil {
		return "", err
	}
	if len(opts) > 0 {
		r.opts = opts
	}
	t, err := openTree(packed)
	if err != nil {
		return "", err
	}
	defer t.close()
	if _, err := fs.Stat(t.fs, ecosystemsFile); err != nil {
		return "", fmt.Errorf("%s: %w: ecru advisories pack makes such a file", packed, errNoAdvisories)
	}
	config := &bytesLayer{b: []byte("{}"), mediaType: emptyType}
	m := manifest{SchemaVersion: 2, MediaType: manifestType, ArtifactType: ArtifactType, Config: config.descriptor()}
	if err := remote.WriteLayer(r.ref.Context(), config, r.options(ctx)...); err != nil {
		return "", err
	}
	err = fs.WalkDir(t.fs, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		l, err := newFileLayer(t.fs, file)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, descriptor{MediaType: layerType, Digest: l.digest.String(), Size: l.size, Annotations: map[string]string{titleNote: file}})
		return remote.WriteLayer(r.ref.Context(), l, r.options(ctx)...)
	})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(payload)
	return "sha256:" + hex.EncodeToString(sum[:]), remote.Put(r.ref, rawManifest(payload), r.options(ctx)...)
}

// Pull writes an artifact as a zip file, as Pack would.
func Pull(ctx context.Context, ref string, w io.Writer) (Packed, error) {
	return Pack(ctx, ociStart+ref, Options{}, w)
}

// rawManifest is a remote.Taggable.
type rawManifest []byte

// RawManifest implements remote.Taggable.
func (m rawManifest) RawManifest() ([]byte, error) { return m, nil }

// MediaType is what it is pushed as.
func (m rawManifest) MediaType() (types.MediaType, error) { return manifestType, nil }

// A fileLayer is a layer that is a file.
type fileLayer struct {
	fs     fs.FS
	name   string
	digest v1.Hash
	size   int64
}

func newFileLayer(tree fs.FS, name string) (*fileLayer, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash, n, err := v1.SHA256(f)
	return &fileLayer{tree, name, hash, n}, err
}

func (l *fileLayer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *fileLayer) Size() (int64, error)                 { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error)  { return layerType, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)   { return l.fs.Open(l.name) }
func (l *fileLayer) Uncompressed() (io.ReadCloser, error) { return l.fs.Open(l.name) }

// A bytesLayer is a layer in memory.
type bytesLayer struct {
	b         []byte
	mediaType types.MediaType
}

func (l *bytesLayer) descriptor() descriptor {
	h, _ := l.Digest()
	return descriptor{MediaType: string(l.mediaType), Digest: h.String(), Size: int64(len(l.b)), Data: l.b}
}

func (l *bytesLayer) Digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(l.b))
	return h, err
}
func (l *bytesLayer) DiffID() (v1.Hash, error)            { return l.Digest() }
func (l *bytesLayer) Size() (int64, error)                { return int64(len(l.b)), nil }
func (l *bytesLayer) MediaType() (types.MediaType, error) { return l.mediaType, nil }
func (l *bytesLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.b)), nil
}
func (l *bytesLayer) Uncompressed() (io.ReadCloser, error) { return l.Compressed() }
