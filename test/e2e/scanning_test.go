package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/test/harness"
)

// sharedAdvisories is the test set of published advisories beside the
// repository.
func sharedAdvisories(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "advisories"))
	must(t, dir, err)
	if _, err := os.Stat(dir); err != nil {
		harness.Unavailable(t, "the test set of advisories is not at ../shared/advisories")
	}
	return dir
}

// tarOf is an archive of files.
func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		must(t, 0, w.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n])), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(files[n]))
		must(t, 0, err)
	}
	must(t, 0, w.Close())
	return b.Bytes()
}

// scanLimit is how long reading all advisories of the test set may take.
const scanLimit = 5 * time.Minute

const bookworm = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n"

// dpkgStatus is a package database.
func dpkgStatus(packages ...string) string {
	var b strings.Builder
	for _, p := range packages {
		name, version, _ := strings.Cut(p, "=")
		b.WriteString("Package: " + name + "\nStatus: install ok installed\nArchitecture: amd64\nVersion: " + version + "\nMaintainer: M <m@example.com>\nDescription: d\n\n")
	}
	return b.String()
}

func TestScanning(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testScanning(t) })
	t.Run("postgres", func(t *testing.T) {
		pg, err := pgtest.Start()
		if errors.Is(err, pgtest.ErrMissing) {
			harness.Unavailable(t, err.Error())
		}
		must(t, pg, err)
		t.Cleanup(pg.Stop)
		testScanning(t, "--database", pg.Database(t))
	})
}

// testScanning scans an image against published advisories with Debian's aws:
// the waiter ends, what is found has its package and its fix, an override sets a
// finding aside, and what else is asked of an image has its answer.
func testScanning(t *testing.T, args ...string) {
	s := harness.New(t, append(args, "--advisories", sharedAdvisories(t), "--advisories-ecosystems", "Debian,npm")...)
	cli := harness.AWS(t, s, harness.RootKey, harness.RootValue)
	path := models(t, s)
	command := func(args ...string) harness.Command {
		c := cli.Command(args...)
		c.Env = append(c.Env, path)
		return c
	}
	do := func(args ...string) map[string]any { t.Helper(); return jsonOf(t, command(args...).Must(t)) }
	do("create-repository", "--repository-name", "team/app", "--image-scanning-configuration", "scanOnPush=true")
	out := do("batch-get-repository-scanning-configuration", "--repository-names", "team/app", "none")
	equal(t, "frequency", at(out, "scanningConfigurations", 0, "scanFrequency"), "SCAN_ON_PUSH")
	equal(t, "failure", at(out, "failures", 0, "failureCode"), "REPOSITORY_NOT_FOUND")
	base := tarOf(t, map[string]string{"etc/os-release": bookworm, "var/lib/dpkg/status": dpkgStatus("glibc=2.36-9", "openssl=3.0.1-1", "perl-base=5.36.0-1")})
	top := tarOf(t, map[string]string{"app/node_modules/lodash/package.json": `{"name":"lodash","version":"4.17.15"}`})
	config := []byte(`{"architecture":"amd64","os":"linux","config":{"User":"nobody"}}`)
	digest, err := root(t, s).PushImage(t.Context(), "team/app", "v1", config, base, top)
	must(t, digest, err)
	image := []string{"--repository-name", "team/app", "--image-id", "imageTag=v1"}
	describe := func() map[string]any {
		return do(append([]string{"describe-image-scan-findings"}, image...)...)
	}
	// Its packages may be read before the advisories are.
	within(t, scanLimit, "the advisories of Debian", func() bool { return at(describe(), "imageScanStatus", "status") == "COMPLETE" })
	command(append([]string{"wait", "image-scan-complete"}, image...)...).Must(t)
	found := describe()
	equal(t, "digest", at(found, "imageId", "imageDigest"), digest)
	if n := length(at(found, "imageScanFindings", "findings")); n == 0 || at(found, "imageScanFindings", "vulnerabilitySourceUpdatedAt") == nil {
		t.Fatalf("findings: %v", found)
	}
	contains(t, command(append([]string{"start-image-scan"}, image...)...).Fails(t), "LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
	enhancedScanning(t, do, describe, digest)
	fixesOf(t, s, digest)

	out = do("find-vulnerable-images", "--package-name", "lodash", "--version-range", ">=4.0,<4.17.21")
	equal(t, "image", at(out, "images", 0, "imageDigest"), digest)
	out = do(append([]string{"get-image-inventory"}, image...)...)
	equal(t, "packages", length(at(out, "packages")), 4)
	equal(t, "user", at(out, "configuration", "user"), "nobody")
	out = do(append([]string{"get-image-sbom", "--format", "SPDX"}, image...)...)
	if text, _ := at(out, "document").(string); !json.Valid([]byte(text)) || !strings.Contains(text, "pkg:npm/lodash@4.17.15") {
		t.Errorf("SBOM: %.300s", text)
	}
}

// enhancedScanning switches to it, sets a finding aside, and counts.
func enhancedScanning(t *testing.T, do func(...string) map[string]any, describe func() map[string]any, digest string) {
	do("put-registry-scanning-configuration", "--scan-type", "ENHANCED", "--rules", `[{"scanFrequency":"CONTINUOUS_SCAN","repositoryFilters":[{"filter":"team/*","filterType":"WILDCARD"}]}]`)
	within(t, scanLimit, "enhanced scanning", func() bool { return at(describe(), "imageScanStatus", "status") == "ACTIVE" })
	found := describe()
	var lodash map[string]any
	for _, f := range at(found, "imageScanFindings", "enhancedFindings").([]any) {
		if at(f, "packageVulnerabilityDetails", "vulnerablePackages", 0, "name") == "lodash" && lodash == nil {
			lodash = f.(map[string]any)
		}
	}
	if lodash == nil {
		t.Fatalf("no finding of lodash in %v", found)
	}
	equal(t, "manager", at(lodash, "packageVulnerabilityDetails", "vulnerablePackages", 0, "packageManager"), "NODEPKG")
	equal(t, "type", at(lodash, "type"), "PACKAGE_VULNERABILITY")
	equal(t, "hash", at(lodash, "resources", 0, "details", "awsEcrContainerImage", "imageHash"), digest)
	severity := at(lodash, "severity").(string)
	count := func() any { return at(describe(), "imageScanFindings", "findingSeverityCounts", severity) }
	before := count()
	out := do("put-image-scan-findings-override", "--repository-name", "team/app", "--image-digest", digest,
		"--finding-arn", at(lodash, "findingArn").(string), "--override", "FALSE_POSITIVE", "--description", "not called")
	equal(t, "package", at(out, "imageScanFindingsOverride", "packageName"), "lodash")
	after := count()
	if after == nil {
		after = 0.0
	}
	equal(t, "count with the override", after, before.(float64)-1)
	out = do("list-image-scan-findings-overrides", "--repository-name", "team/app")
	equal(t, "overrides", length(at(out, "imageScanFindingsOverrides")), 1)
	do("delete-image-scan-findings-override", "--override-id", at(out, "imageScanFindingsOverrides", 0, "overrideId").(string))
	equal(t, "count without it", count(), before)
}

// fixesOf reads with the Go SDK what Debian's aws is too old to know.
func fixesOf(t *testing.T, s *harness.Server, digest string) {
	t.Helper()
	pages := ecr.NewDescribeImageScanFindingsPaginator(s.Root(), &ecr.DescribeImageScanFindingsInput{
		RepositoryName: aws.String("team/app"), ImageId: &types.ImageIdentifier{ImageDigest: &digest}})
	got := map[string]string{}
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		for _, f := range must(t, out, err).ImageScanFindings.EnhancedFindings {
			got[aws.ToString(f.PackageVulnerabilityDetails.VulnerabilityId)] = aws.ToString(f.FixAvailable)
		}
	}
	equal(t, "a fix of lodash", got["CVE-2021-23337"], "YES")
	equal(t, "a fix of glibc that there is not", got["CVE-2010-4756"], "NO")
}

// TestScanThisMachine: what is found in an image with the package database of
// the machine is what dpkg-query says.
func TestScanThisMachine(t *testing.T) {
	query, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n").Output()
	if err != nil {
		harness.Unavailable(t, "dpkg-query: "+err.Error())
	}
	var want []string
	for line := range strings.Lines(string(query)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "ii" {
			want = append(want, f[1]+" "+f[2])
		}
	}
	slices.Sort(want)
	files := map[string]string{}
	for _, name := range []string{"etc/os-release", "var/lib/dpkg/status"} {
		b, err := os.ReadFile("/" + name)
		must(t, b, err)
		files[name] = string(b)
	}
	s := harness.New(t)
	createRepository(t, s, "team/machine")
	_, err = root(t, s).PushImage(t.Context(), "team/machine", "v1", []byte(`{"os":"linux","architecture":"amd64"}`), tarOf(t, files))
	must(t, 0, err)
	script, err := filepath.Abs(filepath.Join("testdata", "boto3_scanning_test.py"))
	must(t, script, err)
	harness.Need(t, harness.PythonProgram, harness.Boto3Module)
	out := harness.Command{Env: append(harness.AWSEnviron(t, harness.RootKey, harness.RootValue), models(t, s)),
		Args: []string{harness.PythonProgram, script, s.URL}}.Must(t)
	got := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(slices.Compact(got), slices.Compact(want)) {
		t.Errorf("the inventory has %d packages, dpkg-query %d: %.500v\n%.500v", len(got), len(want), got, want)
	}
}
