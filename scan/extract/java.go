package extract

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"

	"github.com/ecruhq/ecru/vuln"
)

// Bounds of archives in archives.
const (
	maxDepth       = 8
	maxInnerMemory = 128 * mib // held at once of archives that are inflated
	maxManifest    = 4 * mib   // of META-INF/MANIFEST.MF and pom.properties
	maxMembers     = 400_000   // of an archive
)

// readJava reads a Java archive and those within it. Scalibr tells what each one
// is; the way through the archives is ours, because scalibr's holds each in
// memory, all the way down, and reads manifests of any size.
func readJava(ctx context.Context, in *input) ([]vuln.Package, error) {
	depth, opened, yes, no := int32(1), int64(1)<<60, true, false
	ex, err := archive.New(&cpb.PluginConfig{PluginSpecific: []*cpb.PluginSpecificConfig{{
		Config: &cpb.PluginSpecificConfig_JavaArchive{JavaArchive: &cpb.JavaArchiveConfig{
			MaxZipDepth: depth, MaxOpenedBytes: opened, ExtractFromFilename: &yes, HashJars: &no,
		}},
	}}})
	if err != nil {
		return nil, err
	}
	if err := in.reader.spool.fill(in.content, in.size); err != nil {
		return nil, err
	}
	j := &jars{ex: ex, left: in.reader.lim.Nested, memory: maxInnerMemory}
	err = j.read(ctx, in.path, in.reader.spool.reader(), 1)
	return j.found, err
}

// jars goes through an archive and those within it.
type jars struct {
	ex     filesystem.Extractor
	found  []vuln.Package
	left   int64 // bytes of inner archives that may still be read
	memory int64 // bytes of inner archives that may still be held
}

func (j *jars) read(ctx context.Context, name string, r *io.SectionReader, depth int) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if depth > maxDepth {
		return limitf("it has archives in archives, more than %d deep", maxDepth)
	}
	if r.Size() < 30 {
		return nil // no more than an empty archive
	}
	z, err := zip.NewReader(r, r.Size())
	if err != nil {
		return fmt.Errorf("it is not a zip archive: %w", err)
	}
	if len(z.File) > maxMembers {
		return limitf("it has more than %d members", maxMembers)
	}
	var errs error
	inner := 0
	for _, f := range z.File {
		base := strings.ToLower(path.Base(f.Name))
		switch {
		case (base == "manifest.mf" || base == "pom.properties") && f.UncompressedSize64 > uint64(maxManifest):
			return limitf("its %s has more than %d MiB", base, maxManifest/mib)
		case archive.IsArchive(f.Name) && !f.FileInfo().IsDir():
			inner++
			err := j.inner(ctx, r, f, path.Join(name, f.Name), depth)
			if limit := new(limitError); errors.As(err, &limit) {
				return err
			}
			if err != nil && errs == nil {
				errs = fmt.Errorf("%s: %w", clip(f.Name), err)
			}
		}
	}
	found, err := scalibr(ctx, j.ex, name, r.Size(), io.NewSectionReader(r, 0, r.Size()))
	if inner == 0 && err != nil && errs == nil { // else it is its complaint of the depth
		errs = err
	}
	j.found = append(j.found, packages(found)...)
	if len(j.found) > maxPackages {
		j.found = j.found[:maxPackages]
		return limitf("it has more than %d packages", maxPackages)
	}
	return errs
}

// inner reads an archive that is in another: in place if it is stored, else in
// memory.
func (j *jars) inner(ctx context.Context, outer *io.SectionReader, f *zip.File, name string, depth int) error {
	size := f.UncompressedSize64
	if size > uint64(j.left) {
		return limitf("the archives in it have more bytes than are read")
	}
	j.left -= int64(size)
	if off, err := f.DataOffset(); err == nil && f.Method == zip.Store && f.CompressedSize64 == size {
		return j.read(ctx, name, io.NewSectionReader(outer, off, int64(size)), depth+1)
	}
	if size > uint64(j.memory) {
		return limitf("the compressed archives in it have more bytes than are held (%d MiB)", maxInnerMemory/mib)
	}
	src, err := f.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	b := bytes.Buffer{}
	if n, err := io.Copy(&b, io.LimitReader(src, int64(size))); err != nil || n != int64(size) {
		return fmt.Errorf("inflating it: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	j.memory -= int64(size)
	defer func() { j.memory += int64(size) }()
	return j.read(ctx, name, io.NewSectionReader(bytes.NewReader(b.Bytes()), 0, int64(size)), depth+1)
}
