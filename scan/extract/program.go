package extract

import (
	"bytes"
	"compress/zlib"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	rustaudit "github.com/rust-secure-code/go-rustaudit"

	"github.com/ecruhq/ecru/vuln"
)

// readProgram reads what a program says that it was built from: a Go program its
// modules, a Rust program of cargo-auditable its crates.
func readProgram(_ context.Context, in *input) ([]vuln.Package, error) {
	if err := in.reader.spool.fill(in.content, in.size); err != nil {
		return nil, err
	}
	r := in.reader.spool.reader()
	if info, err := buildinfo.Read(r); err == nil {
		return goPackages(info), nil
	}
	pkgs, err := cratePackages(r)
	if len(pkgs) > 0 {
		in.kind = vuln.Cargo
	}
	return pkgs, err
}

// goPackages lists a Go program's modules and its standard library, which the
// advisories call stdlib (scalibr says go). Modules without a version, built from
// a folder, are nothing that an advisory can name.
func goPackages(info *buildinfo.BuildInfo) []vuln.Package {
	var out []vuln.Package
	toolchain, _, _ := strings.Cut(info.GoVersion, " ")
	if v, ok := strings.CutPrefix(toolchain, "go"); ok {
		v, _, _ = strings.Cut(v, "-X:") // experiments
		out = append(out, vuln.Package{Name: "stdlib", Version: v})
	}
	add := func(m *debug.Module) {
		if m.Replace != nil && m.Replace.Path != "" {
			m = m.Replace
		}
		if v := strings.TrimPrefix(m.Version, "v"); v != "" && v != "(devel)" {
			out = append(out, vuln.Package{Name: m.Path, Version: v})
		}
	}
	add(&info.Main)
	for _, m := range info.Deps {
		if len(out) >= maxPackages {
			break
		}
		add(m)
	}
	return out
}

// maxCrates bounds the list in a Rust program, compressed and not.
const maxCrates = 8 * mib

// cratePackages lists the crates of a program of cargo-auditable, in the form of
// go-rustaudit. That library, and with it scalibr, inflates the list without a
// bound.
func cratePackages(r io.ReaderAt) ([]vuln.Package, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, nil // no program, or of another system
	}
	section := f.Section(".dep-v0")
	if section == nil {
		return nil, nil
	}
	if section.Size > uint64(maxCrates) || section.FileSize > uint64(maxCrates) {
		return nil, limitf("its list of crates has more than %d MiB", maxCrates/mib)
	}
	packed, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("its list of crates: %w", err)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("its list of crates: %w", err)
	}
	defer z.Close()
	list, err := io.ReadAll(io.LimitReader(z, maxCrates+1))
	if err != nil {
		return nil, fmt.Errorf("its list of crates: %w", err)
	}
	if int64(len(list)) > maxCrates {
		return nil, limitf("its list of crates has more than %d MiB", maxCrates/mib)
	}
	var info rustaudit.VersionInfo
	if err := json.Unmarshal(list, &info); err != nil {
		return nil, errors.New("its list of crates is not the JSON expected")
	}
	var out []vuln.Package
	for _, p := range info.Packages {
		if p.Kind == rustaudit.Runtime && p.Name != "" && p.Version != "" && len(out) < maxPackages {
			out = append(out, vuln.Package{Name: p.Name, Version: p.Version})
		}
	}
	return out, nil
}
