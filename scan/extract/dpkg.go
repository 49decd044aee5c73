package extract

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"

	"github.com/ecruhq/ecru/vuln"
)

// readDpkg reads dpkg's database, or a file of a distroless image's. Scalibr
// reads it, a few records at a time: so it never holds more than those, and one
// that is broken takes no others with it.
func readDpkg(ctx context.Context, in *input) ([]vuln.Package, error) {
	ex, err := dpkg.New(&cpb.PluginConfig{})
	if err != nil {
		return nil, err
	}
	var out []vuln.Package
	var broken error
	err = paragraphs(in.content, func(chunk []byte) error {
		pkgs, err := dpkgRecords(ctx, ex, in.path, chunk)
		if err != nil { // one by one, so that the others are seen
			pkgs = nil
			for record := range bytes.SplitSeq(chunk, []byte("\n\n")) {
				one, err := dpkgRecords(ctx, ex, in.path, append(bytes.TrimLeft(record, "\n"), "\n\n"...))
				if err != nil && broken == nil {
					broken = err
				}
				pkgs = append(pkgs, one...)
			}
		}
		if out = append(out, pkgs...); len(out) > maxPackages {
			return limitf("it has more than %d packages", maxPackages)
		}
		return ctx.Err()
	})
	if err == nil {
		err = broken
	}
	return out[:min(len(out), maxPackages)], err
}

func dpkgRecords(ctx context.Context, ex filesystem.Extractor, name string, records []byte) ([]vuln.Package, error) {
	found, err := scalibr(ctx, ex, name, int64(len(records)), bytes.NewReader(records))
	out := make([]vuln.Package, 0, len(found))
	for _, f := range found {
		p := vuln.Package{Name: f.Name, Version: f.Version}
		if m, ok := f.Metadata.(*dpkgmeta.Metadata); ok {
			p.SourceName, p.SourceVersion, p.Arch = m.SourceName, m.SourceVersion, m.Architecture
		}
		if epoch, _, ok := strings.Cut(p.Version, ":"); ok {
			p.Epoch = epoch
		}
		out = append(out, p)
	}
	return out, err
}

// Sizes of what paragraphs gives at once, and of its largest record.
const (
	chunkSize = 256 * kib
	maxRecord = 4 * mib
)

// paragraphs gives a file of records with an empty line between them in chunks of
// whole records, the last perhaps without its empty line.
func paragraphs(r io.Reader, f func(chunk []byte) error) error {
	buf := make([]byte, 0, 2*chunkSize)
	for {
		if len(buf) == cap(buf) {
			if int64(cap(buf)) >= maxRecord {
				return limitf("it has a record of more than %d MiB", maxRecord/mib)
			}
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			if len(buf) == 0 {
				return nil
			}
			return f(buf)
		}
		if err != nil {
			return err
		}
		if int64(len(buf)) < chunkSize {
			continue
		}
		if i := bytes.LastIndex(buf, []byte("\n\n")); i >= 0 {
			if err := f(buf[:i+2]); err != nil {
				return err
			}
			buf = buf[:copy(buf, buf[i+2:])]
		}
	}
}

// readDpkgList notes the files of an installed package.
func readDpkgList(_ context.Context, in *input) ([]vuln.Package, error) {
	return nil, lines(in.content, func(line string) error {
		in.reader.own(line)
		return nil
	})
}

// readDpkgSums notes the files of a package of a distroless image, of which
// there are checksums only.
func readDpkgSums(_ context.Context, in *input) ([]vuln.Package, error) {
	return nil, lines(in.content, func(line string) error {
		if _, name, ok := strings.Cut(line, "  "); ok {
			in.reader.own(name)
		}
		return nil
	})
}

// lines calls f for each line; ones of more than 64 KiB end it.
func lines(r io.Reader, f func(string) error) error {
	s := bufio.NewScanner(r)
	for s.Scan() {
		if err := f(s.Text()); err != nil {
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return errors.New("it has a line of more than 64 KiB")
	}
	return s.Err()
}
