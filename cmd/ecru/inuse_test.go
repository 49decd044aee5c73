package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/daemon"
)

func TestInUse(t *testing.T) {
	data, url := serving(t)
	id, secret, err := daemon.ReadCredentials(data)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL", url)
	t.Setenv("AWS_ACCESS_KEY_ID", id)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_REGION", "eu-west-1")
	one, two := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
	out, err := run(t, one+" docker.io/library/nginx:1\n"+two+"\n"+one, "in-use", "report", "-", "--source", "prod")
	if err != nil || out != "2 images reported as in use by prod, for 24h0m0s; 1 references passed over\n" {
		t.Errorf("%v, %q", err, out)
	}
	out, err = run(t, "", "in-use", "report", one, "x:1", "--source", "dev", "--ttl", "90m", "--json")
	var report struct {
		Reported   int
		PassedOver []struct{ Reference, Code string }
	}
	if err != nil || json.Unmarshal([]byte(out), &report) != nil || report.Reported != 1 || report.PassedOver[0].Reference != "x:1" || report.PassedOver[0].Code != "InvalidReference" {
		t.Errorf("%v, %q", err, out)
	}
	out, err = run(t, "", "in-use", "list")
	if lines := strings.Split(out, "\n"); err != nil || len(lines) != 5 || !strings.HasPrefix(lines[1], "(any)       "+one+"  dev ") || !strings.HasPrefix(lines[3], "(any)       "+two+"  prod ") {
		t.Errorf("%v, %q", err, out)
	}
	for name, args := range map[string][]string{
		"--source":      {"in-use", "report", one},
		"--ttl":         {"in-use", "report", one, "--source", "a", "--ttl", "1s"},
		"--allow-empty": {"in-use", "report", "-", "--source", "prod", "--replace"},
		"no references": {"in-use", "report", "-", "--source", "prod"},
	} {
		if out, err := run(t, " \n", args...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
	if _, err := run(t, "", "in-use", "report", "-", "--source", "prod", "--replace", "--allow-empty"); err != nil {
		t.Error(err)
	}
	out, err = run(t, "", "in-use", "list", "--json")
	var list []struct{ ImageDigest, Source string }
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].Source != "dev" || list[0].ImageDigest != one {
		t.Errorf("%v, %q", err, out)
	}
}

func TestReferencesAreBounded(t *testing.T) {
	if _, err := references(bytes.NewReader(bytes.Repeat([]byte("x "), maxReferencesBytes)), nil); err == nil {
		t.Error("a long input is taken")
	}
	o := reporting{source: "a", ttl: 3600e9}
	if _, err := o.input(slices.Repeat([]string{"x"}, maxReferences+1)); err == nil || !strings.Contains(err.Error(), "in parts") {
		t.Errorf("too many references: %v", err)
	}
}

func TestEnvBotocore(t *testing.T) {
	data, _ := serving(t)
	dir := filepath.Join(t.TempDir(), "it's models")
	t.Setenv("AWS_DATA_PATH", "/other"+string(os.PathListSeparator)+dir)
	for range 2 { // again is no error
		out, err := run(t, "", "env", "--data", data, "--botocore", dir)
		if want := "export AWS_DATA_PATH=" + quote(dir+":/other") + "\n"; err != nil || !strings.HasSuffix(out, want) {
			t.Errorf("%v, %q, want %q", err, out, want)
		}
	}
	for _, name := range []string{"service-2.sdk-extras.json", "paginators-1.sdk-extras.json"} {
		text, err := os.ReadFile(filepath.Join(dir, "ecr", "2015-09-21", name))
		if err != nil || !bytes.Contains(text, []byte("ListImagesInUse")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := run(t, "", "env", "--data", data, "--botocore", "a:b"); err == nil {
		t.Error("a folder that AWS_DATA_PATH cannot name is taken")
	}
}
