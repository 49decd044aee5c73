package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ecruhq/ecru/"

// floors are the packages from the lowest up: a package imports those of lower
// floors only. What is on one floor does not know each other, but for pairs.
var floors = [][]string{
	{"internal/strictjson"},
	{"ecr", "oci", "iam", "lifecycle", "vuln", "price", "awswire"},
	{"blob"},
	{"meta", "blob/disk", "blob/mem"},
	{"job", "scan/extract"},
	{"advisory"},
	{"registry", "identity"},
	{"gc", "audit", "expiry", "replicate", "scan", "scan/feed"},
	{"awsapi/rpc", "awsapi/ecr/ext"},
	{"authn", "ociapi", "awsapi/ecr", "awsapi/iam", "awsapi/sts", "awsapi/cloudtrail"},
	{"daemon", "advisor"},
	{"cmd/ecru"},
	{"test/harness"},
	{"bench", "test/e2e", "test/oci", "test/crash", "test/hostile", "test/replication"},
}

// pairs are the imports on one floor that there are reasons for.
var pairs = map[[2]string]string{
	{"ecr", "iam"}: "docs/decisions/0001-caller-carries-policies.md",
}

// support is imported by tests only; it may import anything.
var support = []string{"blob/blobtest", "authn/authntest", "internal/pgtest", "internal/archtest"}

func floorOf(pkg string) int {
	return slices.IndexFunc(floors, func(f []string) bool { return slices.Contains(f, pkg) })
}

// TestImportsGoDown parses every file of the module.
func TestImportsGoDown(t *testing.T) {
	seen := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return fs.SkipDir
			}
			if m, _ := filepath.Glob(filepath.Join(path, "go.mod")); m != nil && path != root {
				return fs.SkipDir // another module
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		seen[filepath.ToSlash(rel)] = true
		return checkFile(t, filepath.ToSlash(rel), path)
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range seen {
		if floorOf(pkg) < 0 && !slices.Contains(support, pkg) {
			t.Errorf("%s is on no floor: add it to the list here, after a look at DESIGN.md", pkg)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d packages were found", len(seen))
	}
}

func checkFile(t *testing.T, pkg, path string) error {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	test := strings.HasSuffix(path, "_test.go") || slices.Contains(support, pkg)
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		imported, ok := strings.CutPrefix(imported, module)
		if !ok || imported == pkg || test {
			continue // tests may look from anywhere
		}
		if pairs[[2]string{pkg, imported}] != "" {
			continue
		}
		if slices.Contains(support, imported) {
			t.Errorf("%s imports %s, which is for tests", path, imported)
		} else if floorOf(imported) >= floorOf(pkg) {
			t.Errorf("%s imports %s: imports go down only", path, imported)
		}
	}
	return nil
}
