package e2e

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

	"github.com/ecruhq/ecru/test/harness"
)

// A record is an advisory of the tests' own. Without fixed there is no fix.
type record struct{ ecosystem, name, cve, fixed, vector string }

const (
	criticalVector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	highVector     = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
)

// advisoriesOf is a folder of advisories in OSV.dev's layout.
func advisoriesOf(t *testing.T, records ...record) string {
	t.Helper()
	dir := t.TempDir()
	feeds := map[string]map[string]string{}
	for _, r := range records {
		feed, _, _ := strings.Cut(r.ecosystem, ":")
		id := strings.ToUpper(feed) + "-" + r.cve
		events, kind := `{"introduced":"0"}`, "ECOSYSTEM"
		if r.fixed != "" {
			events += `,{"fixed":"` + r.fixed + `"}`
		}
		if feed == "npm" {
			kind = "SEMVER"
		}
		if feeds[feed] == nil {
			feeds[feed] = map[string]string{}
		}
		feeds[feed][id] = `{"id":"` + id + `","modified":"2026-01-02T03:04:05Z","aliases":["` + r.cve + `"],"summary":"about ` + r.name + `",
			"severity":[{"type":"CVSS_V3","score":"` + r.vector + `"}],"affected":[{"package":{"ecosystem":"` + r.ecosystem + `","name":"` + r.name + `"},
			"ranges":[{"type":"` + kind + `","events":[` + events + `]}]}]}`
	}
	write := func(name, text string) {
		name = filepath.Join(dir, name)
		must(t, name, errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)))
	}
	names := slices.Sorted(maps.Keys(feeds))
	write("ecosystems.txt", strings.Join(names, "\n")+"\n")
	for _, feed := range names {
		list := ""
		write(filepath.Join(feed, "all.zip"), "")
		f, err := os.Create(filepath.Join(dir, feed, "all.zip"))
		must(t, f, err)
		z := zip.NewWriter(f)
		for _, id := range slices.Sorted(maps.Keys(feeds[feed])) {
			list += "2026-01-02T03:04:05Z," + id + "\n"
			write(filepath.Join(feed, id+".json"), feeds[feed][id])
			w, err := z.Create(id + ".json")
			must(t, w, err)
			_, err = w.Write([]byte(feeds[feed][id]))
			must(t, w, err)
		}
		must(t, z, errors.Join(z.Close(), f.Close()))
		write(filepath.Join(feed, "modified_id.csv"), list)
	}
	return dir
}

// A gateWorld is a server with advisories and images that were pushed to it.
type gateWorld struct {
	*testing.T
	s                         *harness.Server
	key, secret               string
	base, v1, odd, arm, index string // digests
}

func newGateWorld(t *testing.T) *gateWorld {
	w := &gateWorld{T: t, key: harness.RootKey, secret: harness.RootValue}
	w.s = harness.New(t)
	for name, scanned := range map[string]bool{"team/base": true, "team/app": true, "team/unscanned": false} {
		_, err := w.s.Root().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name,
			ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: scanned}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("payments")}}})
		must(t, name, err)
	}
	osv := advisoriesOf(t,
		record{"Debian:12", "openssl", "CVE-2099-0001", "3.0.2-1", criticalVector}, record{"Debian:12", "zlib", "CVE-2099-0002", "", highVector},
		record{"npm", "lodash", "CVE-2099-0003", "4.17.21", criticalVector})
	out, code := w.ecru("advisories", "load", osv, "--wait")
	if code != 0 {
		t.Fatal(out)
	}
	c := root(t, w.s)
	push := func(repo, ref, config string, layers ...[]byte) string {
		digest, err := c.PushImage(t.Context(), repo, ref, []byte(config), layers...)
		return must(t, digest, err)
	}
	const amd64, arm64 = `{"architecture":"amd64","os":"linux"}`, `{"architecture":"arm64","os":"linux"}`
	base := tarOf(t, map[string]string{"etc/os-release": bookworm, "var/lib/dpkg/status": dpkgStatus("openssl=3.0.1-1", "zlib=1.2.13-1")})
	top := tarOf(t, map[string]string{"app/node_modules/lodash/package.json": `{"name":"lodash","version":"4.17.15"}`})
	clean := tarOf(t, map[string]string{"etc/os-release": bookworm, "var/lib/dpkg/status": dpkgStatus("openssl=3.0.5-1")})
	w.base = push("team/base", "1", amd64, base)
	w.v1 = push("team/app", "v1", amd64, base, top)
	w.arm = push("team/app", "", arm64, clean)
	w.odd = push("team/app", "odd", amd64, tarOf(t, map[string]string{"readme": "no operating system"}))
	push("team/unscanned", "v1", amd64, base)
	manifest := func(digest string) harness.Descriptor {
		b, _, err := c.GetManifest(t.Context(), "team/app", digest)
		must(t, b, err)
		return harness.Describe(harness.ManifestType, b)
	}
	one, two := manifest(w.v1), manifest(w.arm)
	one.Platform, two.Platform = &harness.Platform{OS: "linux", Architecture: "amd64"}, &harness.Platform{OS: "linux", Architecture: "arm64"}
	digest, err := c.PutManifest(t.Context(), "team/app", "multi", harness.IndexType, harness.Index(one, two))
	w.index = must(t, digest, err)
	return w
}

// ecru runs the command and returns its output and exit status.
func (w *gateWorld) ecru(args ...string) (string, int) {
	w.Helper()
	c := w.s.Ecru(args...)
	c.Env = append(harness.Environ(), "AWS_ENDPOINT_URL="+w.s.URL, "AWS_ACCESS_KEY_ID="+w.key, "AWS_SECRET_ACCESS_KEY="+w.secret,
		"AWS_REGION="+harness.Region, "AWS_EC2_METADATA_DISABLED=true", "HOME="+w.TempDir())
	out, err := c.Output(w.Context())
	if err == nil {
		return out, 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out + err.Error(), exit.ExitCode()
	}
	w.Fatal(err)
	return "", 0
}

// gate runs the gate, wants an exit status, and returns what it said.
func (w *gateWorld) gate(want int, args ...string) string {
	w.Helper()
	out, code := w.ecru(append([]string{"gate"}, args...)...)
	if code != want {
		w.Errorf("gate %s: exit status %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

// must0 runs a command that has to succeed.
func (w *gateWorld) must0(args ...string) string {
	w.Helper()
	out, code := w.ecru(args...)
	if code != 0 {
		w.Fatalf("ecru %s: exit status %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func TestGate(t *testing.T) {
	w := newGateWorld(t)
	out := w.gate(2, "team/app:v1", "--max-critical", "0", "--wait", "2m")
	contains(t, out, "EXCEEDED", "team/app@"+w.v1, "CVE-2099-0001", "openssl", "3.0.2-1")
	w.gate(0, "team/app:v1", "--max-critical", "1", "--max-high", "1")
	w.gate(2, "team/app@"+w.v1, "--max-critical", "1", "--max-high", "0")
	w.gate(0, "team/app:v1", "--max-critical", "1", "--max-high", "0", "--fixable-only")
	contains(t, w.gate(2, "team/app:multi", "--max-critical", "0", "--wait", "2m"), "team/app@"+w.index, "linux/amd64", "PASS  linux/arm64")
	contains(t, w.gate(0, "team/app:multi", "--max-critical", "0", "--platform", "linux/arm64"), "team/app@"+w.index)
	contains(t, w.gate(1, "team/app:multi", "--max-critical", "0", "--platform", "linux/s390x"), "linux/amd64, linux/arm64")
	contains(t, w.gate(3, "team/app:odd", "--max-critical", "100", "--wait", "2m"), "UNSUPPORTED_IMAGE")
	contains(t, w.gate(3, "team/unscanned:v1", "--max-critical", "100"), "never scanned")
	contains(t, w.gate(1, "team/app:none", "--max-critical", "0"), "ImageNotFoundException")
	contains(t, w.gate(1, "team/app:v1"), "threshold")
	contains(t, w.gate(1, "team/app", "--max-critical", "0"), "REPOSITORY:TAG")
	t.Run("baseline", func(t *testing.T) {
		w.gate(0, "team/app:v1", "--max-critical", "0", "--max-high", "0", "--baseline", "team/base:1", "--wait", "2m")
		contains(t, w.gate(3, "team/app:v1", "--max-critical", "0", "--baseline", "team/app:odd"), "baseline")
		w.gate(2, "team/base:1", "--max-critical", "0", "--baseline", "team/app@"+w.arm)
	})
	t.Run("formats", func(t *testing.T) { w.formats(t) })
	t.Run("others agree", func(t *testing.T) { w.othersAgree(t) })
	t.Run("suppress", func(t *testing.T) { w.suppress(t) })
	t.Run("vuln", func(t *testing.T) { w.vuln(t) })
	t.Run("sbom", func(t *testing.T) {
		contains(t, w.must0("sbom", "team/app:v1"), `"bomFormat": "CycloneDX"`, "pkg:npm/lodash@4.17.15")
		file := filepath.Join(t.TempDir(), "sbom.json")
		w.must0("sbom", "team/app:multi", "--platform", "linux/arm64", "--format", "spdx", "-o", file)
		b, err := os.ReadFile(file)
		contains(t, string(must(t, b, err)), "SPDX-2.", "openssl@3.0.5-1")
		out, code := w.ecru("sbom", "team/app:multi")
		equal(t, "of an index", code, 1)
		contains(t, out, "--platform", "linux/arm64")
	})
	t.Run("denied", func(t *testing.T) {
		key, secret := newUser(t, w.s, "nobody")
		root := *w
		w.key, w.secret = key, secret
		defer func() { *w = root }()
		contains(t, w.gate(4, "team/app:v1", "--max-critical", "0"), "AccessDenied")
	})
	t.Run("enhanced", func(t *testing.T) { w.enhanced(t) })
}

func (w *gateWorld) formats(t *testing.T) {
	for format, want := range map[string]string{"json": `"outcome": "EXCEEDED"`, "sarif": `"version": "2.1.0"`, "junit": `failures="1"`, "github": "::error title=ecru gate team/app%3Av1::EXCEEDED"} {
		file := filepath.Join(t.TempDir(), format)
		contains(t, w.gate(2, "team/app:v1", "--max-critical", "0", "--format", format, "--output", file), "team/app@"+w.v1)
		b, err := os.ReadFile(file)
		contains(t, string(must(t, b, err)), want, "CVE-2099-0001")
	}
}

// othersAgree: a gate by boto3 and one by the aws CLI come to the same.
func (w *gateWorld) othersAgree(t *testing.T) {
	harness.Need(t, harness.PythonProgram, harness.Boto3Module)
	script, err := filepath.Abs(filepath.Join("testdata", "boto3_gate_test.py"))
	must(t, script, err)
	cli := harness.AWS(t, w.s, harness.RootKey, harness.RootValue)
	for _, c := range []struct{ repository, digest, limit string }{
		{"team/app", w.v1, "0"}, {"team/app", w.v1, "1"}, {"team/app", w.arm, "0"}, {"team/app", w.odd, "9"},
	} {
		want := 0
		_, err := harness.Command{Env: harness.AWSEnviron(t, harness.RootKey, harness.RootValue),
			Args: []string{harness.PythonProgram, script, w.s.URL, c.repository, c.digest, c.limit}}.Output(t.Context())
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			want = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Images []struct {
				Status  string
				Counted map[string]float64 `json:"countedSeverityCounts"`
			}
		}
		out := w.gate(want, c.repository+"@"+c.digest, "--max-critical", c.limit, "--json")
		must(t, 0, json.NewDecoder(strings.NewReader(out)).Decode(&r))
		image := []string{"--repository-name", c.repository, "--image-id", "imageDigest=" + c.digest}
		if want != 3 {
			cli.Command(append([]string{"wait", "image-scan-complete"}, image...)...).Must(t)
		}
		told := jsonOf(t, cli.Command(append([]string{"describe-image-scan-findings"}, image...)...).Must(t))
		equal(t, "status", at(told, "imageScanStatus", "status"), any(r.Images[0].Status))
		counts, _ := at(told, "imageScanFindings", "findingSeverityCounts").(map[string]any)
		equal(t, c.digest+" counts", fmt.Sprint(counts), fmt.Sprint(r.Images[0].Counted))
	}
}

func (w *gateWorld) suppress(t *testing.T) {
	contains(t, w.must0("suppress", "add", "CVE-2099-0001", "--repository", "team/app", "--package", "openssl", "--status", "not-affected", "--reason", "no TLS here"),
		"CVE-2099-0001 openssl in team/app is set aside as NOT_AFFECTED")
	contains(t, w.gate(0, "team/app:v1", "--max-critical", "0"), "1 suppressed")
	contains(t, w.gate(0, "team/app:v1", "--max-critical", "0", "--json"), `"SUPPRESSED": 1`)
	w.gate(2, "team/base:1", "--max-critical", "0") // of another repository
	var list []struct{ OverrideID string }
	must(t, 0, json.Unmarshal([]byte(w.must0("suppress", "list", "--repository", "team/app", "--json")), &list))
	equal(t, "suppressions", len(list), 1)
	var vex struct {
		Statements []struct {
			Vulnerability   struct{ Name string }
			Status          string
			ImpactStatement string `json:"impact_statement"`
			Products        []struct {
				ID            string `json:"@id"`
				Subcomponents []struct {
					ID string `json:"@id"`
				}
			}
		}
	}
	must(t, 0, json.Unmarshal([]byte(w.must0("suppress", "export", "--openvex", "team/app:v1")), &vex))
	if len(vex.Statements) != 1 || vex.Statements[0].Status != "not_affected" || vex.Statements[0].ImpactStatement != "no TLS here" ||
		!strings.Contains(vex.Statements[0].Products[0].Subcomponents[0].ID, "pkg:deb/debian/openssl@3.0.1-1") {
		t.Errorf("VEX: %+v", vex)
	}
	contains(t, w.must0("suppress", "expire", list[0].OverrideID), "counts again")
	w.gate(2, "team/app:v1", "--max-critical", "0")
	for _, bad := range [][]string{{"CVE-1", "--reason", "x"}, {"CVE-1", "--status", "accepted"}, {"--status", "accepted", "--reason", "x"},
		{"CVE-1", "--status", "accepted", "--reason", "x", "--until", "2001-01-01"}, {"CVE-1", "--status", "accepted", "--reason", "x", "--until", "soon"}} {
		if out, code := w.ecru(append([]string{"suppress", "add"}, bad...)...); code != 1 {
			t.Errorf("%v: exit status %d\n%s", bad, code, out)
		}
	}
}

func (w *gateWorld) vuln(t *testing.T) {
	var b struct {
		Images int
		Groups []struct {
			BaseImage string
			Teams     []string
			FixedIn   []struct{ PackageName, Version string }
			Images    []struct{ RepositoryName, ImageDigest string }
		}
	}
	for _, args := range [][]string{{"who", "CVE-2099-0001"}, {"where", "openssl@<3.0.2"}} {
		must(t, 0, json.Unmarshal([]byte(w.must0(append([]string{"vuln", "--json"}, args...)...)), &b))
		if b.Images != 2 || len(b.Groups) != 1 || b.Groups[0].BaseImage != "team/base@"+w.base || len(b.Groups[0].Images) != 2 ||
			b.Groups[0].Images[0].ImageDigest != w.base || b.Groups[0].Images[1].ImageDigest != w.v1 || !slices.Equal(b.Groups[0].Teams, []string{"payments"}) {
			t.Errorf("%v: %+v", args, b)
		}
	}
	contains(t, w.must0("vuln", "who", "CVE-2099-0001"), "1. rebuild team/base@"+w.base, "fixed in 3.0.2-1", "payments", "v1")
	contains(t, w.must0("vuln", "where", "lodash@>=4,<4.17.21"), "1 images have", "lodash 4.17.15")
	contains(t, w.must0("vuln", "who", "CVE-1999-0001"), "0 images have")
}

func (w *gateWorld) enhanced(t *testing.T) {
	_, err := w.s.Root().PutRegistryScanningConfiguration(t.Context(), &ecr.PutRegistryScanningConfigurationInput{ScanType: types.ScanTypeEnhanced,
		Rules: []types.RegistryScanningRule{{ScanFrequency: types.ScanFrequencyContinuousScan, RepositoryFilters: []types.ScanningRepositoryFilter{{Filter: aws.String("*"), FilterType: types.ScanningRepositoryFilterTypeWildcard}}}}})
	must(t, 0, err)
	within(t, time.Minute, "enhanced scanning", func() bool {
		out, code := w.ecru("gate", "team/app:v1", "--max-critical", "2", "--wait", "10s")
		return code == 0 && strings.Contains(out, "ACTIVE")
	})
	contains(t, w.gate(2, "team/app:v1", "--max-critical", "0"), "CVE-2099-0001", "CVE-2099-0003", "lodash", "4.17.21")
	w.gate(0, "team/app:v1", "--max-critical", "0", "--baseline", "team/app:v1")
	w.gate(2, "team/app:v1", "--max-high", "0", "--ignore-unfixed-older-than", "720h")
	w.gate(0, "team/app:v1", "--max-high", "0", "--fixable-only")
}
