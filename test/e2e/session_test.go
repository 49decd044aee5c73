package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

// TestTheLinesThatServePrints types what a fresh server says to type next.
func TestTheLinesThatServePrints(t *testing.T) {
	docker := harness.Docker(t)
	harness.Need(t, harness.AWSProgram)
	// Without a root key of ours: the first start makes one.
	s, err := harness.Start(harness.Options{Binary: harness.Binary(t), Data: filepath.Join(t.TempDir(), "data"),
		Env: []string{"ECRU_ROOT_ACCESS_KEY_ID=", "ECRU_ROOT_SECRET_ACCESS_KEY="}})
	must(t, s, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	var lines []string
	_, printed, _ := strings.Cut(s.Log(), "Type next")
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "  ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) != 3 {
		t.Fatalf("serve printed %d lines to type next, want 3:\n%s", len(lines), s.Log())
	}
	aws := []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER="}
	out := docker.Shell(strings.Join(lines, "\n"), aws...).Must(t)
	contains(t, out, "Logged in", s.Host+"/hello", "Image is up to date", "digest: sha256:")

	t.Run("docker asks the credential helper", func(t *testing.T) {
		bin := filepath.Join(docker.Home, "bin")
		if err := os.Mkdir(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(harness.Binary(t), filepath.Join(bin, "docker-credential-ecru")); err != nil {
			t.Fatal(err)
		}
		out := docker.Shell("rm -r config\n"+lines[0]+"\ncat config/config.json\ndocker pull "+s.Host+"/hello:v1",
			append(aws, "PATH="+bin+":/usr/sbin:/usr/bin:/sbin:/bin")...).Must(t)
		contains(t, out, "docker-credential-ecru", "credHelpers", "Image is up to date")
		if strings.Contains(out, `"auth":`) {
			t.Errorf("a token was written although docker asks the helper:\n%s", out)
		}
	})
	t.Run("files are the owner's alone", func(t *testing.T) {
		public := map[string]bool{"endpoint": true, "region": true, "ca.pem": true}
		files := 0
		err := filepath.WalkDir(s.Data(), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o077 != 0 && !public[d.Name()] {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			files++
			return nil
		})
		if err != nil || files == 0 {
			t.Errorf("%d files, %v", files, err)
		}
	})
}
