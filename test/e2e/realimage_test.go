package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/klauspost/compress/gzip"

	"github.com/ecruhq/ecru/test/harness"
)

// A debianRange says that a source package has a vulnerability before fixed, or
// in every version.
type debianRange struct{ id, fixed string }

// bookwormRanges are the advisories of Debian 12 by source package, read with no
// code of Ecru's. Vulnerabilities go by the name of their CVE.
func bookwormRanges(t *testing.T, dir string) map[string][]debianRange {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(dir, "Debian", "all.zip"))
	must(t, z, err)
	defer z.Close()
	out := map[string][]debianRange{}
	for _, f := range z.File {
		r, err := f.Open()
		b, readErr := io.ReadAll(must(t, r, err))
		must(t, b, readErr)
		var a struct {
			ID, Withdrawn string
			Upstream      []string
			Affected      []struct {
				Package struct{ Ecosystem, Name string }
				Ranges  []struct{ Events []map[string]string }
			}
		}
		must(t, 0, json.Unmarshal(b, &a))
		for _, of := range a.Affected {
			if of.Package.Ecosystem != "Debian:12" || a.Withdrawn != "" {
				continue
			}
			id := a.ID
			if len(a.Upstream) == 1 {
				id = a.Upstream[0]
			}
			for _, g := range of.Ranges {
				one := debianRange{id: id}
				for _, e := range g.Events {
					if e["fixed"] != "" {
						one.fixed = e["fixed"]
					}
					if from := e["introduced"]; from != "" && from != "0" {
						t.Fatalf("%s begins at %s: this test does not know such ranges", a.ID, from)
					}
				}
				out[of.Package.Name] = append(out[of.Package.Name], one)
			}
		}
	}
	return out
}

// vulnerable are "id source" of what the ranges say of packages, "source
// version", in the order of versions that dpkg has.
func vulnerable(t *testing.T, ranges map[string][]debianRange, sources []string) (open, fixed []string) {
	t.Helper()
	for _, s := range sources {
		name, version, _ := strings.Cut(s, " ")
		for _, r := range ranges[name] {
			if r.fixed == "" || exec.CommandContext(t.Context(), "dpkg", "--compare-versions", version, "lt", r.fixed).Run() == nil {
				open = append(open, r.id+" "+name)
			} else {
				fixed = append(fixed, r.id+" "+name)
			}
		}
	}
	slices.Sort(open)
	return slices.Compact(open), fixed
}

// pushDirectory pushes layers as one image with skopeo, and returns its digest.
func pushDirectory(t *testing.T, s *harness.Server, repo, tag string, blobs ...[]byte) string {
	t.Helper()
	l := newLayout(t, filepath.Join(t.TempDir(), "layout"))
	ids := make([]string, len(blobs))
	for i, b := range blobs {
		z, err := gzip.NewReader(bytes.NewReader(b))
		plain, readErr := io.ReadAll(must(t, z, err))
		must(t, plain, readErr)
		ids[i] = `"` + harness.Digest(plain) + `"`
		l.put(t, b)
	}
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}`, strings.Join(ids, ","))
	m := l.put(t, harness.Image(l.put(t, []byte(config)), blobs...))
	l.tag(t, harness.Describe(harness.ManifestType, m), "multi")
	pushLayout(t, s, l.dir, repo, tag, harness.Digest(m))
	return harness.Digest(m)
}

// A realWorld is a server with images of published packages.
type realWorld struct {
	*testing.T
	s   *harness.Server
	aws func(args ...string) harness.Command
}

// sameSet compares without regard to order and repetition.
func (w *realWorld) sameSet(what string, got, want []string) {
	w.Helper()
	got, want = slices.Compact(slices.Sorted(slices.Values(got))), slices.Compact(slices.Sorted(slices.Values(want)))
	missing := func(from, in []string) []string {
		return slices.DeleteFunc(slices.Clone(from), func(s string) bool { return slices.Contains(in, s) })
	}
	if !slices.Equal(got, want) {
		w.Errorf("%s: %d, want %d; more: %q, missing: %q", what, len(got), len(want), missing(got, want), missing(want, got))
	}
	w.Logf("%s: %d", what, len(want))
}

// packages are those of an image's inventory by package manager; and the source
// package of each of Debian's.
func (w *realWorld) packages(tag string) (all map[string][]string, sources map[string]string) {
	w.Helper()
	all, sources = map[string][]string{}, map[string]string{}
	out := jsonOf(w.T, w.aws("get-image-inventory", "--repository-name", "team/real", "--image-id", "imageTag="+tag).Must(w.T))
	for _, p := range at(out, "packages").([]any) {
		name, manager := at(p, "name").(string), at(p, "packageManager").(string)
		all[manager] = append(all[manager], name+" "+at(p, "version").(string))
		if source, ok := at(p, "sourceName").(string); ok && manager == "OS" {
			sources[name] = source
		}
	}
	return all, sources
}

// TestRealImage scans images of a Debian from debootstrap and of packages from
// public registries: the packages are what their own tools say, the findings
// what the advisories say, and nothing that is fixed is reported.
func TestRealImage(t *testing.T) {
	advisories := sharedAdvisories(t)
	debian, languages := realDebian(t), realLanguages(t)
	s := harness.New(t, "--advisories", advisories, "--advisories-ecosystems", "Debian,npm,Go,PyPI")
	createRepository(t, s, "team/real")
	cli, path := harness.AWS(t, s, harness.RootKey, harness.RootValue), models(t, s)
	w := &realWorld{t, s, func(args ...string) harness.Command {
		c := cli.Command(args...)
		c.Env = append(c.Env, path)
		return c
	}}
	w.aws("put-image-scanning-configuration", "--repository-name", "team/real", "--image-scanning-configuration", "scanOnPush=true").Must(t)
	old := oldStatus(t, debian.blob)
	pushDirectory(t, s, "team/real", "new", debian.blob, languages.blob)
	pushDirectory(t, s, "team/real", "old", debian.blob, compress(t, tarOf(t, map[string]string{"var/lib/dpkg/status": old})))

	ranges := bookwormRanges(t, advisories)
	w.waits("new")
	got, sources := w.packages("new")
	for manager, want := range languages.packages {
		w.sameSet(manager, got[manager], want)
	}
	w.sameSet("OS", got["OS"], debian.packages["OS"])
	open, fixed := vulnerable(t, ranges, debian.sources)
	if len(fixed) < 20 {
		t.Errorf("of the packages only %d vulnerabilities are fixed: the test shows little", len(fixed))
	}
	found := w.basic("new", sources)
	w.sameSet("findings", found, open)
	for _, f := range fixed {
		if slices.Contains(found, f) && !slices.Contains(open, f) {
			t.Errorf("%s is fixed, and reported", f)
		}
	}

	w.waits("old")
	_, sources = w.packages("old")
	before := slices.DeleteFunc(slices.Clone(debian.sources), func(s string) bool { return strings.HasPrefix(s, "glibc ") })
	open, _ = vulnerable(t, ranges, append(before, "glibc "+oldGlibc))
	found = w.basic("old", sources)
	w.sameSet("findings with an old glibc", found, open)
	if n := len(slices.DeleteFunc(found, func(f string) bool { return !strings.HasSuffix(f, " glibc") })); n != 23 {
		t.Errorf("glibc %s has %d findings, want the 23 of the data set's README", oldGlibc, n)
	}
	w.languages()
}

// oldGlibc is the version that Debian 12 had when it was released.
const oldGlibc = "2.36-9"

// oldStatus is the package database of a layer with an old glibc: what is in
// an upper layer counts.
func oldStatus(t *testing.T, blob []byte) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tar", "-xzOf", "-", "./var/lib/dpkg/status")
	cmd.Stdin = bytes.NewReader(blob)
	status, err := cmd.Output()
	must(t, status, err)
	records := strings.Split(string(status), "\n\n")
	version := regexp.MustCompile(`(?m)^Version: .*$`)
	n := 0
	for i, r := range records {
		if strings.Contains(r, "\nSource: glibc\n") {
			records[i] = version.ReplaceAllString(r, "Version: "+oldGlibc)
			n++
		}
	}
	if n == 0 {
		t.Fatal("no package of glibc")
	}
	return strings.Join(records, "\n\n")
}

// waits until an image's scan has ended: its packages may be read before the
// advisories are.
func (w *realWorld) waits(tag string) {
	w.Helper()
	image := []string{"--repository-name", "team/real", "--image-id", "imageTag=" + tag}
	within(w.T, scanLimit, "the scan of "+tag, func() bool {
		out, err := w.aws(append([]string{"describe-image-scan-findings"}, image...)...).Output(w.Context())
		return err == nil && at(jsonOf(w.T, out), "imageScanStatus", "status") == "COMPLETE"
	})
	w.aws(append([]string{"wait", "image-scan-complete"}, image...)...).Must(w.T)
}

// basic are the findings of aws ecr describe-image-scan-findings, "id source".
func (w *realWorld) basic(tag string, sources map[string]string) []string {
	w.Helper()
	out := jsonOf(w.T, w.aws("describe-image-scan-findings", "--repository-name", "team/real", "--image-id", "imageTag="+tag).Must(w.T))
	var found []string
	list, _ := at(out, "imageScanFindings", "findings").([]any)
	for _, f := range list {
		name := ""
		for _, a := range at(f, "attributes").([]any) {
			if at(a, "key") == "package_name" {
				name = at(a, "value").(string)
			}
		}
		if source := sources[name]; source != "" {
			name = source
		}
		found = append(found, at(f, "name").(string)+" "+name)
	}
	counted := 0.0
	counts, _ := at(out, "imageScanFindings", "findingSeverityCounts").(map[string]any)
	for n := range maps.Values(counts) {
		counted += n.(float64)
	}
	if int(counted) != len(list) {
		w.Errorf("%s: %d findings, and counts of %v", tag, len(list), counts)
	}
	return found
}

// languages switches to enhanced scanning and compares with what the data set's
// README and the advisories say of the packages, with the Go SDK.
func (w *realWorld) languages() {
	_, err := w.s.Root().PutRegistryScanningConfiguration(w.Context(), &ecr.PutRegistryScanningConfigurationInput{
		ScanType: types.ScanTypeEnhanced, Rules: []types.RegistryScanningRule{{ScanFrequency: types.ScanFrequencyContinuousScan,
			RepositoryFilters: []types.ScanningRepositoryFilter{{Filter: aws.String("*"), FilterType: types.ScanningRepositoryFilterTypeWildcard}}}}})
	must(w.T, 0, err)
	in := &ecr.DescribeImageScanFindingsInput{RepositoryName: aws.String("team/real"), ImageId: &types.ImageIdentifier{ImageTag: aws.String("new")}}
	within(w.T, scanLimit, "enhanced scanning", func() bool {
		out, err := w.s.Root().DescribeImageScanFindings(w.Context(), in)
		return err == nil && out.ImageScanStatus.Status == types.ScanStatusActive
	})
	got := map[string][]string{}
	pages := ecr.NewDescribeImageScanFindingsPaginator(w.s.Root(), in)
	for pages.HasMorePages() {
		out, err := pages.NextPage(w.Context())
		must(w.T, out, err)
		for _, f := range out.ImageScanFindings.EnhancedFindings {
			d := f.PackageVulnerabilityDetails
			for _, p := range d.VulnerablePackages {
				line := aws.ToString(d.VulnerabilityId) + " fix " + aws.ToString(f.FixAvailable) + " " + aws.ToString(p.FixedInVersion)
				got[aws.ToString(p.Name)] = append(got[aws.ToString(p.Name)], line)
			}
		}
	}
	for name, want := range map[string][]string{
		"lodash":            {"CVE-2021-23337 fix YES 4.17.21", "NSWG-ECO-516 fix YES 4.17.19"},
		"minimist":          {"CVE-2021-44906 fix YES 1.2.6"},
		"express":           {"CVE-2024-29041 fix YES 4.19.2"},
		"golang.org/x/text": {"CVE-2022-32149 fix YES 0.3.8", "CVE-2026-56852 fix YES 0.39.0"},
		"requests":          {"CVE-2023-32681 fix YES 2.31.0"},
	} {
		w.sameSet("findings of "+name, got[name], want)
	}
	for _, f := range got["libc6"] {
		if strings.HasPrefix(f, "CVE-2010-4756 ") && !strings.HasPrefix(f, "CVE-2010-4756 fix NO") {
			w.Errorf("libc6: %s", f)
		}
	}
}
