// Package feed brings advisories in: from a mirror of OSV.dev by HTTP, from a
// folder or a zip file in the same layout, or from an OCI artifact in a
// registry. What has come is kept by package advisory.
//
// The layout is that of OSV.dev's bucket: ecosystems.txt names the directories;
// each has modified_id.csv (modified,ID; newest first), all.zip, and a file
// ID.json for each record. Beside it there may be KEV and EPSS.
package feed

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// Names in the layout.
const (
	ecosystemsFile = "ecosystems.txt"
	listFile       = "modified_id.csv"
	allFile        = "all.zip"
	kevFile        = "kev/known_exploited_vulnerabilities.json"
	epssFile       = "epss/epss_scores-current.csv.gz"
)

// errNotModified: the file is what the caller has.
var errNotModified = errors.New("not modified")

// A source gives files of the layout. Methods are safe for concurrent use.
type source interface {
	// open opens a file. The error is errNotModified if etag, which an earlier
	// file had, is not empty and still holds; fs.ErrNotExist if there is none.
	open(ctx context.Context, name, etag string) (*file, error)
	// String is the source as it was named, without secrets.
	String() string
	close() error
}

// A file is being read.
type file struct {
	io.ReadCloser
	etag string // "" if the source has none
	size int64  // -1 if it is not known
}

// A tree is a source on this machine.
type tree struct {
	fs   fs.FS
	name string
	etag func(name string) string // nil: by size and time
	end  func() error
}

func (t *tree) String() string { return t.name }

func (t *tree) close() error { return t.end() }

func (t *tree) open(_ context.Context, name, etag string) (*file, error) {
	f, err := t.fs.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	now := fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
	if t.etag != nil {
		now = t.etag(name)
	}
	if etag != "" && now == etag {
		f.Close()
		return nil, errNotModified
	}
	return &file{f, now, info.Size()}, nil
}

// openTree opens a folder, or a zip file of one.
func openTree(name string) (*tree, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return &tree{fs: root.FS(), name: name, end: root.Close}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	z, err := newZip(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is neither a folder nor a zip file of advisories: %w", name, err)
	}
	return &tree{fs: z, name: name, end: f.Close}, nil
}

// Bounds on what is read.
const (
	maxAll       = 8 << 30   // bytes of an all.zip
	maxInZip     = 2_000_000 // records of an all.zip
	maxList      = 512 << 20 // bytes of a modified_id.csv
	maxListed    = 4_000_000 // rows of it
	maxNames     = 64 << 10  // bytes of ecosystems.txt
	maxEPSSBytes = 64 << 20  // of EPSS, compressed
	maxListLine  = 512
)

// newZip reads the directory of a zip file.
func newZip(r io.ReaderAt, size int64) (*zip.Reader, error) {
	if size > maxAll {
		return nil, fmt.Errorf("a zip file of %d bytes; at most %d are read", size, int64(maxAll))
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	if len(z.File) > maxInZip {
		return nil, fmt.Errorf("a zip file with %d entries; at most %d are read", len(z.File), maxInZip)
	}
	return z, nil
}

// readAll reads a file of at most n bytes.
func readAll(f *file, n int64) ([]byte, error) {
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, n+1))
	if err == nil && int64(len(b)) > n {
		err = fmt.Errorf("more than %d bytes", n)
	}
	return b, err
}

// ecosystems are the directories of a source.
func ecosystems(ctx context.Context, s source) ([]string, error) {
	f, err := s.open(ctx, ecosystemsFile, "")
	t, local := s.(*tree)
	if errors.Is(err, fs.ErrNotExist) && local {
		return t.directories()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w (is this the root of OSV.dev's layout?)", ecosystemsFile, err)
	}
	b, err := readAll(f, maxNames)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ecosystemsFile, err)
	}
	var list []string
	for line := range strings.Lines(string(b)) {
		name := strings.TrimSpace(line)
		// Sub-ecosystems (Debian:12) are parts of the directory without a colon.
		if name == "" || strings.Contains(name, ":") {
			continue
		}
		if !directoryName(name) {
			return nil, fmt.Errorf("%s: %q is not the name of an ecosystem", ecosystemsFile, name)
		}
		list = append(list, name)
	}
	return list, nil
}

func directoryName(name string) bool {
	return fs.ValidPath(name) && name != "." && len(name) <= 100 && !strings.ContainsAny(name, "/\\\x00") && !strings.HasPrefix(name, ".")
}

// directories are those of a tree that has no ecosystems.txt.
func (t *tree) directories() ([]string, error) {
	lists, err := fs.Glob(t.fs, "*/*")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, p := range lists {
		dir, base := path.Split(p)
		dir = strings.TrimSuffix(dir, "/")
		if (base == listFile || base == allFile) && directoryName(dir) && (len(list) == 0 || list[len(list)-1] != dir) {
			list = append(list, dir)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no advisories: no ecosystems.txt, and no folder with all.zip or modified_id.csv", t.name)
	}
	return list, nil
}

// stamp is a time of OSV's: RFC 3339, to the millisecond.
func stamp(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC().Truncate(time.Millisecond), err
}
