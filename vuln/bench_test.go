package vuln

import (
	"fmt"
	"slices"
	"testing"
)

// allEcosystems are the folders of the test set.
var allEcosystems = []string{
	"AlmaLinux", "Alpine", "Bitnami", "Chainguard", "Debian", "Go", "Maven", "NuGet", "Packagist", "PyPI",
	"Red Hat", "Rocky Linux", "RubyGems", "SwiftURL", "Ubuntu", "Wolfi", "crates.io", "npm",
}

// TestAllCompile: every record of the test set, and how much of it cannot be
// compared.
func TestAllCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole test set: without -short")
	}
	f := load(t, allEcosystems...)
	git := 0
	for _, a := range f.all {
		git += a.Skipped
	}
	t.Logf("%d records, %d advisories, %d packages, %d ranges left out", f.records, len(f.all), len(f.byKey), git)
	if f.records < 27000 || git != 1391 { // the ranges of commits
		t.Errorf("%d records, %d ranges left out", f.records, git)
	}
}

func BenchmarkCompile(b *testing.B) {
	var raw [][]byte
	bytes := 0
	for _, eco := range allEcosystems {
		rawRecords(b, eco, func(_ string, data []byte) { raw, bytes = append(raw, data), bytes+len(data) })
	}
	b.SetBytes(int64(bytes / len(raw)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = ParseOSV(raw[i%len(raw)]) // bulletins about bugs are refused
	}
}

// distinct makes n identities of packages that have advisories.
func distinct(f *feed, n int) []Identity {
	var out []Identity
	for round := 0; len(out) < n; round++ {
		for k := range f.byKey {
			out = append(out, Identity{Key: k, Version: fmt.Sprintf("%d.%d.%d", round%3, round%7, round)})
			if len(out) == n {
				break
			}
		}
	}
	return out
}

func BenchmarkMatch(b *testing.B) {
	f := load(b, "Debian", "npm", "PyPI", "Go", "Maven", "crates.io", "Alpine")
	for _, n := range []int{900, 100_000} {
		ids := distinct(f, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			found := 0
			for b.Loop() {
				found = 0
				for _, id := range ids {
					found += len(f.match(id))
				}
			}
			b.ReportMetric(float64(found), "matches")
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "packages/s")
		})
	}
}

// BenchmarkMerge: 220 packages of the system and 470 others, in 12 layers.
func BenchmarkMerge(b *testing.B) {
	var system []Package
	for i := range 220 {
		system = append(system, pkg(fmt.Sprint("p", i), "1"))
	}
	layers := []*Layer{layerOf(dpkg(system...)).withLinks(Link{"lib", "usr/lib"}, Link{"bin", "usr/bin"})}
	var files []File
	for i := range 470 {
		files = append(files, File{Path: fmt.Sprintf("app/node_modules/m%d/package.json", i), Kind: NPM, Packages: []Package{pkg("m", fmt.Sprint(i))}})
	}
	layers = append(layers, layerOf(files...))
	for i := range 10 {
		top := layerOf()
		for n := range 2000 {
			top.Paths = append(top.Paths, PathHash(fmt.Sprintf("usr/share/%d/%d", i, n)))
		}
		slices.Sort(top.Paths)
		layers = append(layers, top)
	}
	for b.Loop() {
		if n := len(Merge(layers).Packages); n != 690 {
			b.Fatalf("%d packages", n)
		}
	}
}
