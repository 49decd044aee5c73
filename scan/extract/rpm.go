package extract

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	rpmdb "github.com/erikvarga/go-rpmdb/pkg"
	_ "modernc.org/sqlite" // the driver that go-rpmdb asks for by name

	"github.com/ecruhq/ecru/vuln"
)

// readRPM reads rpm's database, in any of its three forms. Scalibr's extractor
// uses the same reader; it drops the modularity label, without which fixes of one
// module stream are held against another, the release as a field, and the lists
// of files.
func readRPM(ctx context.Context, in *input) ([]vuln.Package, error) {
	if err := in.reader.spool.fillFile(in.content, in.size); err != nil {
		return nil, err
	}
	found, err := rpmPackages(ctx, in.reader.spool.path(), in.reader.lim.Database)
	if err != nil {
		return nil, err
	}
	var out []vuln.Package
	for _, f := range found {
		if len(out) == maxPackages {
			return out, limitf("it has more than %d packages", maxPackages)
		}
		if f.Name == "gpg-pubkey" {
			continue // a key, kept as if it were a package
		}
		out = append(out, rpmPackage(f))
		if names, err := f.InstalledFileNames(); err == nil {
			for _, n := range names {
				in.reader.own(n)
			}
		}
	}
	return out, nil
}

// rpmPackages lists a database. The reader follows pages in circles, and runs
// whatever query a database defines as its table, without looking at the context
// at all times: one that does not end in time is left behind, and ends with the
// process.
func rpmPackages(ctx context.Context, file string, most time.Duration) ([]*rpmdb.PackageInfo, error) {
	ctx, stop := context.WithTimeout(ctx, most)
	defer stop()
	type result struct {
		pkgs []*rpmdb.PackageInfo
		err  error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- result{err: fmt.Errorf("its reader failed: %v", p)}
			}
		}()
		db, err := rpmdb.Open(file)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer db.Close()
		pkgs, err := db.ListPackagesWithContext(ctx)
		done <- result{pkgs, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			return nil, limitf("reading the rpm database took longer than %v", most)
		}
		return r.pkgs, r.err
	case <-ctx.Done():
		return nil, limitf("reading the rpm database took longer than %v", most)
	}
}

func rpmPackage(f *rpmdb.PackageInfo) vuln.Package {
	p := vuln.Package{
		Name: f.Name, Version: f.Version, Release: f.Release, Arch: f.Arch,
		Module: f.Modularitylabel, Licenses: licences([]string{f.License}),
	}
	if f.Release != "" {
		p.Version += "-" + f.Release
	}
	if f.EpochNum() != 0 {
		p.Epoch = strconv.Itoa(f.EpochNum())
		p.Version = p.Epoch + ":" + p.Version
	}
	p.SourceName, p.SourceVersion = sourceRPM(f.SourceRpm)
	return p
}

// sourceRPM takes the name and version of a source package from its file's name,
// name-version-release.src.rpm.
func sourceRPM(file string) (name, version string) {
	s, ok := strings.CutSuffix(file, ".src.rpm")
	if !ok {
		if s, ok = strings.CutSuffix(file, ".nosrc.rpm"); !ok {
			return "", ""
		}
	}
	release := strings.LastIndexByte(s, '-')
	if release <= 0 {
		return "", ""
	}
	i := strings.LastIndexByte(s[:release], '-')
	if i <= 0 {
		return "", ""
	}
	return s[:i], s[i+1:]
}
