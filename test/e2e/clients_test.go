package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

func password(t *testing.T, s *harness.Server) string {
	t.Helper()
	p, err := harness.Password(t.Context(), s.Root())
	return must(t, p, err)
}

func TestDocker(t *testing.T) {
	docker := harness.Docker(t)
	s := harness.New(t)
	createRepository(t, s, "docker/app")
	image := s.Host + "/docker/app"

	t.Run("a push without login is refused", func(t *testing.T) {
		docker.Command("import", writeFile(t, docker.Home, "fs.tar", fileSystem(t, 7, 3_000_000)), image+":v1").Must(t)
		contains(t, docker.Command("push", image+":v1").Fails(t), "no basic auth credentials")
		login := docker.Command("login", "-u", "AWS", "--password-stdin", s.Host)
		login.Stdin = "wrong"
		contains(t, strings.ToLower(login.Fails(t)), "unauthorized")
	})
	login := docker.Command("login", "-u", "AWS", "--password-stdin", s.Host)
	login.Stdin = password(t, s)
	contains(t, login.Must(t), "Login Succeeded")

	t.Run("push and pull", func(t *testing.T) {
		id := docker.Command("images", "-q", "--no-trunc", image+":v1").Must(t)
		out := docker.Command("push", image+":v1").Must(t)
		digest := out[strings.Index(out, "sha256:"):][:71]
		docker.Command("rmi", "-f", strings.TrimSpace(id)).Must(t)
		contains(t, docker.Command("pull", image+":v1").Must(t), digest)
		equal(t, "image ID after the pull", docker.Command("images", "-q", "--no-trunc", image+":v1").Must(t), id)
		docker.Command("rmi", "-f", strings.TrimSpace(id)).Must(t)
		docker.Command("pull", image+"@"+digest).Must(t)
		_, got, err := root(t, s).GetManifest(t.Context(), "docker/app", digest)
		equal(t, "digest at the server", must(t, got, err), digest)
	})
	t.Run("a second push sends no layer", func(t *testing.T) {
		docker.Command("pull", image+":v1").Must(t)
		docker.Command("tag", image+":v1", image+":v2").Must(t)
		contains(t, docker.Command("push", image+":v2").Must(t), "Layer already exists")
	})
	t.Run("a repository that does not exist", func(t *testing.T) {
		docker.Command("tag", image+":v1", s.Host+"/none:v1").Must(t)
		contains(t, docker.Command("push", s.Host+"/none:v1").Fails(t),
			"The repository with name 'none' does not exist in the registry with id '123456789012'")
		contains(t, docker.Command("pull", image+":none").Fails(t), "manifest", "not found")
	})
	t.Run("one platform of an index", func(t *testing.T) {
		_, index := multiArch(t, filepath.Join(docker.Home, "layout"))
		pushLayout(t, s, filepath.Join(docker.Home, "layout"), "docker/app", "multi", index)
		contains(t, docker.Command("pull", "--platform", "linux/arm64", image+":multi").Must(t), index)
		equal(t, "architecture", strings.TrimSpace(docker.Command("inspect", "--format", "{{.Architecture}}", image+":multi").Must(t)), "arm64")
	})
}

// pushLayout copies the layout's "multi" with skopeo and checks the digest.
func pushLayout(t *testing.T, s *harness.Server, dir, repo, tag, digest string) {
	t.Helper()
	skopeo := harness.Skopeo(t)
	skopeo.Command("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "AWS:"+password(t, s),
		"oci:"+dir+":multi", "docker://"+s.Host+"/"+repo+":"+tag).Must(t)
	_, got, err := root(t, s).GetManifest(t.Context(), repo, tag)
	equal(t, "digest of the index at the server", must(t, got, err), digest)
}

func TestSkopeo(t *testing.T) {
	skopeo := harness.Skopeo(t)
	s := harness.New(t)
	createRepository(t, s, "skopeo/app", "skopeo/copy")
	login := skopeo.Command("login", "--tls-verify=false", "-u", "AWS", "--password-stdin", s.Host)
	login.Stdin = password(t, s)
	login.Must(t)
	_, index := multiArch(t, filepath.Join(skopeo.Home, "layout"))
	pushLayout(t, s, filepath.Join(skopeo.Home, "layout"), "skopeo/app", "multi", index)
	remote := "docker://" + s.Host + "/skopeo/"

	t.Run("an index comes back whole", func(t *testing.T) {
		back := newLayout(t, filepath.Join(skopeo.Home, "back"))
		skopeo.Command("copy", "--all", "--preserve-digests", "--src-tls-verify=false", remote+"app:multi", "oci:"+back.dir+":multi").Must(t)
		equal(t, "digest", back.tagged(t), index)
	})
	t.Run("from repository to repository", func(t *testing.T) {
		skopeo.Command("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", remote+"app:multi", remote+"copy:multi").Must(t)
		digest, size, err := root(t, s).PullImage(t.Context(), "skopeo/copy", "multi")
		equal(t, "digest", must(t, digest, err), index)
		if size < 400_000 {
			t.Errorf("the copy has %d bytes of layers", size)
		}
	})
	t.Run("inspect and list", func(t *testing.T) {
		out := jsonOf(t, skopeo.Command("inspect", "--tls-verify=false", remote+"app:multi").Must(t))
		equal(t, "digest", at(out, "Digest"), index)
		equal(t, "tags", length(at(out, "RepoTags")), 1)
		contains(t, skopeo.Command("list-tags", "--tls-verify=false", remote+"app").Must(t), `"multi"`)
	})
	t.Run("delete", func(t *testing.T) {
		skopeo.Command("delete", "--tls-verify=false", remote+"copy:multi").Must(t)
		contains(t, skopeo.Command("inspect", "--tls-verify=false", remote+"copy:multi").Fails(t), "unknown")
	})
}

func TestPodman(t *testing.T) {
	podman := harness.Podman(t)
	s := harness.New(t)
	createRepository(t, s, "podman/app")
	image := s.Host + "/podman/app"
	login := podman.Command("login", "--tls-verify=false", "-u", "AWS", "--password-stdin", s.Host)
	login.Stdin = password(t, s)
	contains(t, login.Must(t), "Login Succeeded")
	podman.Command("import", writeFile(t, podman.Home, "fs.tar", fileSystem(t, 9, 2_000_000)), image+":v1").Must(t)
	id := podman.Command("images", "-q", "--no-trunc", image+":v1").Must(t)
	digestFile := filepath.Join(podman.Home, "digest")
	podman.Command("push", "--tls-verify=false", "--digestfile", digestFile, image+":v1").Must(t)
	podman.Command("rmi", image+":v1").Must(t)
	podman.Command("pull", "--tls-verify=false", image+":v1").Must(t)
	equal(t, "image ID after the pull", podman.Command("images", "-q", "--no-trunc", image+":v1").Must(t), id)
	want := podman.Command("inspect", "--format", "{{.Digest}}", image+":v1").Must(t)
	_, got, err := root(t, s).GetManifest(t.Context(), "podman/app", "v1")
	equal(t, "digest at the server", must(t, got, err), strings.TrimSpace(want))

	_, index := multiArch(t, filepath.Join(podman.Home, "layout"))
	pushLayout(t, s, filepath.Join(podman.Home, "layout"), "podman/app", "multi", index)
	podman.Command("pull", "--tls-verify=false", "--arch", "arm64", image+":multi").Must(t)
	equal(t, "architecture", strings.TrimSpace(podman.Command("inspect", "--format", "{{.Architecture}}", image+":multi").Must(t)), "arm64")
}
