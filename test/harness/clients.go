package harness

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Programs that the tests call, where Debian puts them.
const (
	AWSProgram      = "/usr/bin/aws"
	PythonProgram   = "/usr/bin/python3"
	Boto3Module     = "/usr/lib/python3/dist-packages/boto3/__init__.py"
	DockerProgram   = "/usr/bin/docker"
	DockerdProgram  = "/usr/sbin/dockerd"
	PodmanProgram   = "/usr/bin/podman"
	SkopeoProgram   = "/usr/bin/skopeo"
	RegistryProgram = "/usr/bin/docker-registry"
)

// clientEnviron is a small environment with an empty home.
func clientEnviron(home string, more ...string) []string {
	return append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "TMPDIR=" + home,
		"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "XDG_RUNTIME_DIR=" + home}, more...)
}

// AWSEnviron is the environment of Debian's aws and boto3 with an access key.
func AWSEnviron(tb testing.TB, key, secret string) []string {
	home := shortDir(tb)
	return clientEnviron(home, "AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY="+secret,
		"AWS_DEFAULT_REGION="+Region, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
		"AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "credentials"))
}

// shortDir is a temporary folder with a short path: sockets live in some.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ecru")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("a temporary folder stays behind: %v", err)
		}
	})
	return dir
}

// A Tool is a client program that keeps its state in a folder of its own.
type Tool struct {
	env    []string
	prefix []string
	Home   string
}

// Shell is a script that runs in the tool's environment, with more variables.
func (t *Tool) Shell(script string, more ...string) Command {
	return Command{Env: append(append([]string{}, t.env...), more...), Dir: t.Home, Args: []string{"/bin/sh", "-ec", script}}
}

// Command is the tool with these arguments.
func (t *Tool) Command(args ...string) Command {
	return Command{Env: t.env, Dir: t.Home, Args: append(append([]string{}, t.prefix...), args...)}
}

// Docker starts a docker daemon of the test's own and returns docker, talking
// to it. The daemon makes no network and no firewall rule.
func Docker(tb testing.TB) *Tool {
	tb.Helper()
	Need(tb, DockerProgram, DockerdProgram)
	if os.Getuid() != 0 {
		Unavailable(tb, "dockerd needs root")
	}
	dir := shortDir(tb)
	socket := "unix://" + filepath.Join(dir, "s")
	t := &Tool{Home: dir, prefix: []string{DockerProgram},
		env: clientEnviron(dir, "DOCKER_HOST="+socket, "DOCKER_CONFIG="+filepath.Join(dir, "config"))}
	logFile := filepath.Join(dir, "log")
	log, err := os.Create(logFile)
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(DockerdProgram, "--config-file", filepath.Join(dir, "daemon.json"),
		"--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", socket)
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd.Env, cmd.Stdout, cmd.Stderr = t.env, log, log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tb.Cleanup(func() { stopProcess(tb, cmd, ended) })
	if why := awaitDocker(tb.Context(), t, ended); why != nil {
		b, _ := os.ReadFile(logFile)
		Unavailable(tb, "dockerd does not run here: "+why.Error()+"\n"+string(b[max(0, len(b)-4096):]))
	}
	return t
}

func awaitDocker(ctx context.Context, t *Tool, ended chan error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := t.Command("version").Output(ctx)
		if err == nil {
			return nil
		}
		select {
		case end := <-ended:
			ended <- end
			return errors.Join(errors.New("it ended"), end)
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// stopProcess ends a process with SIGTERM, or with SIGKILL if that takes long.
func stopProcess(tb testing.TB, cmd *exec.Cmd, ended chan error) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		tb.Errorf("%s did not stop on SIGTERM", cmd.Path)
		_ = cmd.Process.Kill()
		<-ended
	}
}

// Podman returns podman with image stores of its own.
func Podman(tb testing.TB) *Tool {
	tb.Helper()
	Need(tb, PodmanProgram)
	if os.Getuid() != 0 {
		Unavailable(tb, "podman with stores of its own needs root")
	}
	dir := shortDir(tb)
	return &Tool{Home: dir,
		env: clientEnviron(dir, "REGISTRY_AUTH_FILE="+filepath.Join(dir, "auth.json")),
		prefix: []string{PodmanProgram, "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"),
			"--tmpdir", filepath.Join(dir, "tmp"), "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"}}
}

// Skopeo returns skopeo.
func Skopeo(tb testing.TB) *Tool {
	tb.Helper()
	Need(tb, SkopeoProgram)
	dir := shortDir(tb)
	return &Tool{Home: dir, env: clientEnviron(dir, "REGISTRY_AUTH_FILE="+filepath.Join(dir, "auth.json")),
		prefix: []string{SkopeoProgram, "--insecure-policy", "--tmpdir", dir}}
}

// AWS returns Debian's aws for ECR with an access key. It ignores
// AWS_ENDPOINT_URL.
func AWS(tb testing.TB, s *Server, key, secret string) *Tool {
	tb.Helper()
	t := AWSServices(tb, s, key, secret, "")
	t.prefix = append(t.prefix, "ecr")
	return t
}

// AWSServices returns Debian's aws for any service, with an access key and the
// token of its session, if it has one.
func AWSServices(tb testing.TB, s *Server, key, secret, session string) *Tool {
	tb.Helper()
	Need(tb, AWSProgram)
	env := AWSEnviron(tb, key, secret)
	if session != "" {
		env = append(env, "AWS_SESSION_TOKEN="+session)
	}
	return &Tool{Home: strings.TrimPrefix(env[1], "HOME="), env: env, prefix: []string{AWSProgram, "--endpoint-url", s.URL, "--output", "json"}}
}

// Environ is the tool's environment.
func (t *Tool) Environ() []string { return t.env }
