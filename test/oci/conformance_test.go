package oci

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/test/harness"
)

// features asks for everything that the suite knows, which is more than version
// 1.1: tags as parameters of a push by digest, for one. Off is only what Ecru
// must not have: sparse manifests, whose layers nobody pushed. The
// specification lets a registry refuse them and ECR does (LayersNotFound).
var features = []string{
	"OCI_VERSION=1.1+dev",
	"OCI_API_BLOBS_UPLOAD_CANCEL=true",
	"OCI_API_BLOBS_DIGEST_HEADER=true",
	"OCI_API_MANIFESTS_DIGEST_HEADER=true",
	"OCI_API_MANIFESTS_TAG_PARAM=true",
	"OCI_DATA_SPARSE=false",
}

// skips are the tests that may be skipped, by a part of their name, with why.
var skips = map[string]string{}

// suite is junit.xml as the suite writes it.
type suite struct {
	Cases []struct {
		Name   string `xml:"name,attr"`
		Status string `xml:"status,attr"`
		Out    string `xml:"system-out"`
		Err    string `xml:"system-err"`
	} `xml:"testsuite>testcase"`
}

// build compiles the suite, whose version test/conformance/go.mod pins.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "conformance")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/opencontainers/distribution-spec/conformance")
	cmd.Dir = "../conformance"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestConformance(t *testing.T) {
	program := build(t)
	s := harness.New(t)
	for _, name := range []string{"conformance/repo1", "conformance/repo2"} {
		if _, err := s.Root().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(name)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Root().PutAccountSetting(t.Context(), &ecr.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("ENABLED")}); err != nil {
		t.Fatal(err)
	}
	password, err := harness.Password(t.Context(), s.Root())
	if err != nil {
		t.Fatal(err)
	}
	results := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir = results
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "OCI_REGISTRY=" + s.Host, "OCI_TLS=disabled",
		"OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2", "OCI_USERNAME=AWS", "OCI_PASSWORD=" + password,
		"OCI_RESULTS_DIR=" + results}, features...)
	out, runErr := cmd.CombinedOutput()
	b, err := os.ReadFile(filepath.Join(results, "junit.xml"))
	if err != nil {
		t.Fatalf("%v; the suite ended with %v and said\n%s", err, runErr, out)
	}
	var report suite
	if err := xml.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	judge(t, report)
	if runErr != nil {
		t.Errorf("the suite ended with %v", runErr)
	}
}

// enough is well below the number of tests that the pinned version has: fewer
// mean that the suite did not do its work.
const enough = 700

func judge(t *testing.T, report suite) {
	passed := 0
	used := map[string]bool{}
	for _, c := range report.Cases {
		switch c.Status {
		case "passed":
			passed++
			t.Logf("pass %s", c.Name)
		case "skipped":
			if why := skipped(c.Name, used); why == "" {
				t.Errorf("skipped without a reason: %s: %s", c.Name, strings.TrimSpace(c.Out))
			} else {
				t.Logf("skip %s: %s", c.Name, why)
			}
		default:
			t.Errorf("%s %s: %s\n%s", c.Status, c.Name, strings.TrimSpace(c.Out), c.Err)
		}
	}
	for name := range skips {
		if !used[name] {
			t.Errorf("the reason to skip %q is not needed", name)
		}
	}
	t.Logf("%d of %d tests of the suite passed", passed, len(report.Cases))
	if passed < enough {
		t.Errorf("only %d tests passed, want at least %d", passed, enough)
	}
}

func skipped(name string, used map[string]bool) string {
	for part, why := range skips {
		if strings.Contains(name, part) {
			used[part] = true
			return why
		}
	}
	return ""
}
