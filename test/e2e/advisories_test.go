package e2e

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/test/harness"
)

// osvFolder writes advisories of an ecosystem in OSV.dev's layout.
func osvFolder(t *testing.T, dir, ecosystem string, ids ...string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	folder := filepath.Join(dir, ecosystem)
	must(os.MkdirAll(folder, 0o755))
	var list, all bytes.Buffer
	z := zip.NewWriter(&all)
	for _, id := range ids {
		w, err := z.Create(id + ".json")
		must(err)
		_, err = fmt.Fprintf(w, `{"id":%q,"modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":%q,"name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`, id, ecosystem)
		must(err)
		fmt.Fprintf(&list, "2026-01-01T00:00:00Z,%s\n", id)
	}
	must(z.Close())
	must(os.WriteFile(filepath.Join(folder, "all.zip"), all.Bytes(), 0o644))
	must(os.WriteFile(filepath.Join(folder, "modified_id.csv"), list.Bytes(), 0o644))
	f, err := os.OpenFile(filepath.Join(dir, "ecosystems.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(err)
	_, err = io.WriteString(f, ecosystem+"\n")
	must(err)
	must(f.Close())
}

// TestAdvisories has a server load advisories from a folder at its start, and
// others by hand, with Debian's aws looking on.
func TestAdvisories(t *testing.T) {
	source := t.TempDir()
	osvFolder(t, source, "npm", "GHSA-1", "GHSA-2")
	osvFolder(t, source, "Red Hat", "RHSA-1")
	s := harness.New(t, "--advisories", source)
	aws := harness.AWS(t, s, harness.RootKey, harness.RootValue)
	path := models(t, s)
	describe := func(args ...string) map[string]any {
		t.Helper()
		c := aws.Command(append([]string{"describe-advisory-sources"}, args...)...)
		c.Env = append(c.Env, path)
		return jsonOf(t, c.Must(t))
	}
	ecru := func(args ...string) harness.Command {
		c := s.Ecru(append([]string{"advisories"}, args...)...)
		c.Env = append(c.Env, aws.Environ()...)
		return c
	}
	deadline := time.Now().Add(time.Minute)
	out := describe()
	for length(at(out, "sources")) < 2 || at(out, "updateState") != nil {
		if time.Now().After(deadline) {
			t.Fatalf("the advisories were not loaded: %v\n%s", out, s.Log())
		}
		out = describe()
	}
	equal(t, "ecosystem", at(out, "sources", 0, "ecosystem"), "Red Hat")
	equal(t, "records", at(out, "sources", 1, "records"), 2.0)
	equal(t, "source", at(out, "sources", 1, "source"), source)
	equal(t, "a page", length(at(describe("--max-items", "1"), "sources")), 1)

	more := t.TempDir()
	osvFolder(t, more, "npm", "GHSA-1", "GHSA-2", "GHSA-3")
	osvFolder(t, more, "Debian", "DSA-1")
	file := filepath.Join(t.TempDir(), "advisories.zip")
	ecru("pack", more, "-o", file).Must(t)
	ecru("load", file, "--wait", "--endpoint-url", s.URL).Must(t)
	out = describe()
	equal(t, "sources", length(at(out, "sources")), 3)
	equal(t, "ecosystem", at(out, "sources", 0, "ecosystem"), "Debian")
	equal(t, "records", at(out, "sources", 2, "records"), 3.0)
	contains(t, fmt.Sprint(at(out, "sources", 2, "source")), s.Host+"/ecru/advisories@sha256:")
	contains(t, ecru("status", "--endpoint-url", s.URL).Must(t), "Red Hat", "npm", "2026-01-01")
	contains(t, ecru("status", "--max-age", "1h", "--endpoint-url", s.URL).Fails(t), "exit status 2", "too old")

	pulled := filepath.Join(t.TempDir(), "pulled.zip")
	pull := ecru("pull", s.Host+"/ecru/advisories:latest", "-o", pulled)
	contains(t, pull.Fails(t), "Not Authorized")
	bad := ecru("load", "--repository", "none", filepath.Join(more, "nothing.zip"), "--endpoint-url", s.URL)
	contains(t, bad.Fails(t), "no such file")
	c := aws.Command("start-advisory-update", "--repository-name", "ecru/advisories")
	c.Env = append(c.Env, path)
	contains(t, c.Fails(t), "InvalidParameterException", "imageDigest or imageTag")
	c = aws.Command("start-advisory-update", "--repository-name", "ecru/advisories", "--image-tag", "none")
	c.Env = append(c.Env, path)
	contains(t, c.Fails(t), "ImageNotFoundException")
	if strings.Contains(s.Log(), "panic") {
		t.Error("the server panicked")
	}
}
