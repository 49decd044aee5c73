package extract

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/ecruhq/ecru/vuln"
)

// installedNPM reports whether a folder (with its slash) is one that npm, yarn
// or pnpm installs a package into: node_modules/name/, node_modules/@scope/name/.
func installedNPM(dir string) bool {
	dir = path.Dir(dir) // without the slash
	if path.Base(dir) == "node_modules" {
		return false
	}
	dir = path.Dir(strings.TrimSuffix(dir, "/"))
	if strings.HasPrefix(path.Base(dir), "@") {
		dir = path.Dir(dir)
	}
	return path.Base(dir) == "node_modules"
}

// readNPM reads the name and version of an installed package. Scalibr reads every
// package.json, those of test fixtures and bundles too, and rejects files for the
// form of fields that do not matter here.
func readNPM(_ context.Context, in *input) ([]vuln.Package, error) {
	var p struct{ Name, Version string }
	if err := decodeJSON(in.content, &p); err != nil {
		return nil, err
	}
	if p.Name == "" || p.Version == "" {
		return nil, nil // a folder of a package with settings of its own
	}
	return []vuln.Package{{Name: p.Name, Version: p.Version}}, nil
}

// readComposer reads what Composer has installed beside the file. Scalibr knows
// composer.lock only, which tells what would be. Composer 1 wrote a list.
func readComposer(_ context.Context, in *input) ([]vuln.Package, error) {
	type pkg struct{ Name, Version string }
	var all json.RawMessage
	if err := decodeJSON(in.content, &all); err != nil {
		return nil, err
	}
	var v2 struct{ Packages []pkg }
	found := []pkg(nil)
	if strings.HasPrefix(strings.TrimSpace(string(all[:min(len(all), 64)])), "[") {
		if err := json.Unmarshal(all, &found); err != nil {
			return nil, jsonError(err)
		}
	} else {
		if err := json.Unmarshal(all, &v2); err != nil {
			return nil, jsonError(err)
		}
		found = v2.Packages
	}
	if len(found) > maxPackages {
		return nil, limitf("it has more than %d packages", maxPackages)
	}
	var out []vuln.Package
	for _, p := range found {
		if p.Name != "" && p.Version != "" {
			out = append(out, vuln.Package{Name: p.Name, Version: p.Version})
		}
	}
	return out, nil
}

// nuspecPath reports whether a path is one where NuGet has unpacked a package:
// packages/id/version/id.nuspec.
func nuspecPath(name string) bool {
	id := strings.TrimSuffix(path.Base(name), ".nuspec")
	folder := path.Dir(path.Dir(name))
	return strings.EqualFold(path.Base(folder), id) && strings.Contains("/"+path.Dir(folder)+"/", "packages/")
}

// readNuSpec reads the manifest of an unpacked package of NuGet, which scalibr
// does not know.
func readNuSpec(_ context.Context, in *input) ([]vuln.Package, error) {
	var spec struct {
		ID      string `xml:"metadata>id"`
		Version string `xml:"metadata>version"`
	}
	d := xml.NewDecoder(in.content)
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // ids are ASCII
	if err := d.Decode(&spec); err != nil {
		return nil, fmt.Errorf("it is not a nuspec: %w", err)
	}
	id, version := strings.TrimSpace(spec.ID), strings.TrimSpace(spec.Version)
	if id == "" || version == "" {
		return nil, errors.New("it has no id, or no version")
	}
	return []vuln.Package{{Name: id, Version: version}}, nil
}

// decodeJSON decodes one value, with or without a byte order mark before it.
func decodeJSON(r io.Reader, v any) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return jsonError(json.Unmarshal([]byte(strings.TrimPrefix(string(b), "\uFEFF")), v))
}

func jsonError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("it is not the JSON expected: %w", err)
}
