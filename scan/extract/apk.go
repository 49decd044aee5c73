package extract

import (
	"bytes"
	"context"
	"path"

	"github.com/google/osv-scalibr/extractor/filesystem/os/apk/apkutil"

	"github.com/ecruhq/ecru/vuln"
)

// readApk reads apk's database with scalibr's scanner. Scalibr's extractor drops
// the lists of files, fails the database for one line of more than 64 KiB, and
// holds all of it at once.
func readApk(ctx context.Context, in *input) ([]vuln.Package, error) {
	var out []vuln.Package
	err := paragraphs(in.content, func(chunk []byte) error {
		s := apkutil.NewScanner(bytes.NewReader(chunk))
		s.DiscardLongLines()
		for s.Scan() {
			if p := in.apkRecord(s.FullRecord()); p.Name != "" && p.Version != "" {
				out = append(out, p)
			}
			if len(out) > maxPackages {
				return limitf("it has more than %d packages", maxPackages)
			}
		}
		if err := s.Err(); err != nil {
			return err
		}
		return ctx.Err()
	})
	return out[:min(len(out), maxPackages)], err
}

// apkRecord takes a package, and notes its files: F names a folder, each R a file
// in the last folder.
func (in *input) apkRecord(record []apkutil.KeyValue) vuln.Package {
	var p vuln.Package
	folder := ""
	for _, kv := range record {
		switch kv.Key {
		case "P":
			p.Name = kv.Value
		case "V":
			p.Version = kv.Value
		case "A":
			p.Arch = kv.Value
		case "o":
			p.SourceName = kv.Value
		case "L":
			p.Licenses = licences([]string{kv.Value})
		case "F":
			folder = kv.Value
		case "R":
			in.reader.own(path.Join(folder, kv.Value))
		}
	}
	if p.SourceName != "" {
		p.SourceVersion = p.Version // the packages of one origin have one version
	}
	return p
}
