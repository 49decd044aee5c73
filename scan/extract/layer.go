package extract

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/ecruhq/ecru/vuln"
)

// Read makes the inventory of a layer in this process; an Extractor does it in
// another, which is the way for bytes from strangers. Whatever the bytes are, the
// outcome is in the layer's Status. Large files of the archive wait in dir.
func Read(ctx context.Context, blob io.Reader, lim Limits, dir string) vuln.Layer {
	r := &reader{
		lim: lim.withDefaults(), spool: &spool{dir: dir},
		files: map[string]vuln.File{}, links: map[string]string{}, releases: map[string]vuln.OSRelease{},
	}
	defer r.spool.close()
	return r.finish(r.read(ctx, blob))
}

// A reader collects what one archive tells.
type reader struct {
	lim   Limits
	spool *spool

	layer    vuln.Layer
	limited  string // the first bound that was met without an end to the reading
	kept     int64  // bytes of text held
	files    map[string]vuln.File
	links    map[string]string
	releases map[string]vuln.OSRelease
	owned    []uint64 // files of the operating system's packages that are evidence by their paths
	ownedAll []uint64 // all their files, as long as there is room
}

// read goes through the archive. What it found before an error stays.
func (r *reader) read(ctx context.Context, blob io.Reader) error {
	s, err := openStream(ctx, blob, r.lim)
	if err != nil {
		return err
	}
	defer s.close()
	defer func() { r.layer.Bytes = s.n }()
	archive, err := s.archive()
	if err != nil {
		return err
	}
	tr := tar.NewReader(archive)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if r.layer.Entries++; r.layer.Entries > r.lim.Entries {
			return limitf("the layer has more than %d entries", r.lim.Entries)
		}
		if err := r.entry(ctx, h, tr); err != nil {
			return err
		}
		if r.kept > maxKept {
			return limitf("the inventory of the layer is larger than %d MiB", maxKept/mib)
		}
	}
}

// entry takes one entry of the archive. Only errors of the stream end it.
func (r *reader) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	name, escapes := clean(h.Name)
	switch {
	case len(name) > maxPath:
		r.limit("the layer has paths of more than %d bytes", maxPath)
		return nil
	case escapes:
		r.warn(name, errors.New("its path leads out of the layer; taken from the root"))
	}
	if name == "" {
		return nil
	}
	if dir, base := path.Split(name); strings.HasPrefix(base, whiteout) {
		r.whiteout(strings.TrimSuffix(dir, "/"), strings.TrimPrefix(base, whiteout))
		return nil
	}
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	// Of a path that is there twice the last counts.
	delete(r.files, name)
	delete(r.links, name)
	delete(r.releases, name)
	r.layer.Paths = append(r.layer.Paths, vuln.PathHash(name))
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return r.file(ctx, name, h.Size, content)
	case tar.TypeLink:
		r.hardLink(name, h.Linkname)
	case tar.TypeSymlink:
		if len(h.Linkname) > 0 && len(h.Linkname) <= maxPath {
			r.keep(name, h.Linkname)
			r.links[name] = h.Linkname
		}
	}
	return nil // devices, pipes: no more than a path
}

// The names of whiteouts (OCI image spec, layer.md "Whiteouts").
const (
	whiteout       = ".wh."
	opaqueWhiteout = ".wh..opq" // after the prefix
)

func (r *reader) whiteout(dir, base string) {
	switch {
	case base == opaqueWhiteout:
		r.keep(dir)
		r.layer.Opaque = append(r.layer.Opaque, dir)
	case base == "" || strings.HasPrefix(base, whiteout):
		// Names that AUFS keeps for itself; nothing of the image's.
	default:
		name := path.Join(dir, base)
		r.keep(name)
		r.layer.Whiteouts = append(r.layer.Whiteouts, name)
	}
}

// hardLink gives a path the evidence of another. Its content came before it.
func (r *reader) hardLink(name, target string) {
	target, _ = clean(target)
	e := classify(name)
	if f, ok := r.files[target]; ok {
		program := f.Kind == vuln.Go || f.Kind == vuln.Cargo
		if e != nil && e.kind == f.Kind || e == nil && program {
			f.Path = name
			r.addFile(f)
		}
	} else if o, ok := r.releases[target]; ok && isOSRelease(name) {
		o.Path = name
		r.releases[name] = o
	} else if e != nil && e.kind != "" {
		r.warn(name, errors.New("it is a hard link to a file that was not seen to be evidence"))
	}
}

// file reads a file that is evidence.
func (r *reader) file(ctx context.Context, name string, size int64, content io.Reader) error {
	src := &watched{r: content} // errors of the archive, apart from those of a file's reader
	in := &input{reader: r, path: name, size: size, content: src}
	e := classify(name)
	if e == nil {
		e = in.sniff()
	}
	switch {
	case src.err != nil:
		return src.err
	case e == nil:
		return nil
	case size > e.max:
		r.limit("%s has %d bytes; of files of its kind %d MiB are read", clip(name), size, e.max/mib)
		return nil
	}
	pkgs, err := guarded(ctx, e, in)
	switch {
	case src.err != nil:
		return src.err
	case err != nil:
		r.warn(name, err)
	}
	if len(pkgs) > 0 {
		r.addFile(vuln.File{Path: name, Kind: cmp.Or(in.kind, e.kind), Packages: pkgs})
	}
	return nil
}

// guarded calls an extractor; where it panics, that is an error of its file.
func guarded(ctx context.Context, e *evidence, in *input) (pkgs []vuln.Package, err error) {
	defer func() {
		if p := recover(); p != nil {
			pkgs, err = nil, fmt.Errorf("its reader failed: %v", p)
		}
	}()
	return e.read(ctx, in)
}

// An input is a file of the archive for an extractor.
type input struct {
	reader  *reader
	path    string
	size    int64
	content io.Reader
	kind    vuln.Kind // set by an extractor whose evidence may be of several
}

// clean brings a path of the archive into the form of vuln.File.Path, and tells
// whether it had led out of the layer: who unpacks it stops there, or takes it
// from the root as here.
func clean(name string) (p string, escapes bool) {
	name = strings.TrimLeft(name, "/")
	c := path.Clean(name)
	escapes = c == ".." || strings.HasPrefix(c, "../")
	return strings.TrimPrefix(path.Clean("/"+name), "/"), escapes
}
