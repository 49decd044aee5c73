package extract

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"

	"github.com/ecruhq/ecru/vuln"
)

// scalibr calls an extractor of osv-scalibr for one file of the archive.
func scalibr(ctx context.Context, ex filesystem.Extractor, name string, size int64, content io.Reader) ([]*extractor.Package, error) {
	inv, err := ex.Extract(ctx, &filesystem.ScanInput{
		FS: emptyFS{}, Path: name, Info: fileInfo{name: path.Base(name), size: size}, Reader: content,
	})
	return inv.Packages, err
}

// packages converts what scalibr found.
func packages(found []*extractor.Package) []vuln.Package {
	var out []vuln.Package
	for _, p := range found {
		if len(out) == maxPackages {
			break
		}
		out = append(out, vuln.Package{Name: p.Name, Version: p.Version, Licenses: licences(p.Licenses)})
	}
	return out
}

func licences(ls []string) []string {
	return slices.DeleteFunc(slices.Clone(ls), func(s string) bool { return s == "" })
}

// readPython reads the metadata of an installed distribution (dist-info or
// egg-info).
func readPython(ctx context.Context, in *input) ([]vuln.Package, error) {
	ex, err := wheelegg.New(&cpb.PluginConfig{})
	if err != nil {
		return nil, err
	}
	found, err := scalibr(ctx, ex, in.path, in.size, in.content)
	return packages(found), err
}

// readEgg reads a distribution that is installed as an archive. (A wheel is an
// archive too, but not an installed one.)
func readEgg(ctx context.Context, in *input) ([]vuln.Package, error) {
	ex, err := wheelegg.New(&cpb.PluginConfig{})
	if err != nil {
		return nil, err
	}
	if err := in.reader.spool.fill(in.content, in.size); err != nil {
		return nil, err
	}
	found, err := scalibr(ctx, ex, in.path, in.size, in.reader.spool.reader())
	return packages(found), err
}

// readGem reads a specification that RubyGems wrote when it installed a gem.
func readGem(ctx context.Context, in *input) ([]vuln.Package, error) {
	ex, err := gemspec.New(&cpb.PluginConfig{})
	if err != nil {
		return nil, err
	}
	found, err := scalibr(ctx, ex, in.path, in.size, in.content)
	return packages(found), err
}

// readNuGetDeps reads the libraries of a .NET program. Scalibr gives them in the
// random order of a map, with the program itself, which is no package of NuGet's,
// and runtime packs with a prefix that their package does not have.
func readNuGetDeps(ctx context.Context, in *input) ([]vuln.Package, error) {
	ex, err := depsjson.New(&cpb.PluginConfig{})
	if err != nil {
		return nil, err
	}
	found, err := scalibr(ctx, ex, in.path, in.size, in.content)
	found = slices.DeleteFunc(found, func(p *extractor.Package) bool {
		m, ok := p.Metadata.(*depsjson.Metadata)
		return ok && m.Type != "package" && m.Type != "runtimepack"
	})
	pkgs := packages(found)
	for i := range pkgs {
		pkgs[i].Name = strings.TrimPrefix(pkgs[i].Name, "runtimepack.")
	}
	slices.SortFunc(pkgs, func(a, b vuln.Package) int {
		return strings.Compare(a.Name+"\x00"+a.Version, b.Name+"\x00"+b.Version)
	})
	return pkgs, err
}

// errBeyond is what extractors get that look for other files.
var errBeyond = errors.New("a layer is read file by file")

// emptyFS is the file system around a file: nothing. What scalibr looks for
// there (os-release, mostly in another layer) is known when layers are merged.
type emptyFS struct{}

func (emptyFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (emptyFS) Stat(name string) (fs.FileInfo, error) {
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

func (emptyFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: errBeyond}
}

// fileInfo is what is known of a regular file.
type fileInfo struct {
	name string
	size int64
}

func (i fileInfo) Name() string     { return i.name }
func (i fileInfo) Size() int64      { return i.size }
func (fileInfo) Mode() fs.FileMode  { return 0o755 }
func (fileInfo) ModTime() time.Time { return time.Time{} }
func (fileInfo) IsDir() bool        { return false }
func (fileInfo) Sys() any           { return nil }
