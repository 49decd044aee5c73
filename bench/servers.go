package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/test/harness"
)

// A process is a server under measurement with its process.
type process struct {
	target
	pid  int    // 0: not ours
	dir  string // its folder
	stop func() error
}

// A bed holds the programs, and folders on the disk under measurement.
type bed struct {
	dir     string // everything is below it
	program string // ecru
	peerURL string // of a peer that runs already, or ""
	n       int
}

func (b *bed) folder(name string) (string, error) {
	b.n++
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.n))
	return dir, os.MkdirAll(dir, 0o755)
}

// start starts a server with an empty store.
func (b *bed) start(name string) (*process, error) {
	switch name {
	case "ecru":
		return b.startEcru()
	case "peer":
		return b.startPeer()
	}
	return b.startLimit()
}

func (b *bed) startEcru() (*process, error) {
	dir, err := b.folder("ecru")
	if err != nil {
		return nil, err
	}
	s, err := harness.Start(harness.Options{Binary: b.program, Data: filepath.Join(dir, "data"), Args: []string{"--log-level", "warn"}})
	if err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(s.Stop(), os.RemoveAll(dir)) }
	password, err := prepareEcru(s)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &process{target{"ecru", s.Host, basic(password)}, s.PID(), dir, stop}, nil
}

// prepareEcru lets a push create its repository, and allows mounts.
func prepareEcru(s *harness.Server) (password string, err error) {
	ctx := context.Background()
	_, err = s.Root().CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String("ROOT"), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush}})
	if err != nil {
		return "", err
	}
	if _, err := s.Root().PutAccountSetting(ctx, &ecr.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("ENABLED")}); err != nil {
		return "", err
	}
	return harness.Password(ctx, s.Root())
}

const peerConfig = `version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: %s
  delete:
    enabled: true
http:
  addr: %s
`

func (b *bed) startPeer() (*process, error) {
	if b.peerURL != "" {
		addr := strings.TrimSuffix(strings.TrimPrefix(b.peerURL, "http://"), "/")
		return &process{target{"peer", addr, ""}, 0, "", func() error { return nil }}, nil
	}
	dir, err := b.folder("peer")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, peerConfig, dir, addr), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(harness.RegistryProgram, "serve", config)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(end(cmd), os.RemoveAll(dir)) }
	for began := time.Now(); ; {
		res, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			res.Body.Close()
			return &process{target{"peer", addr, ""}, cmd.Process.Pid, dir, stop}, nil
		}
		if time.Since(began) > 20*time.Second {
			return nil, errors.Join(fmt.Errorf("docker-registry does not answer: %w", err), stop())
		}
		<-time.After(10 * time.Millisecond)
	}
}

// freeAddress is a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (b *bed) startLimit() (*process, error) {
	dir, err := b.folder("limit")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-serve-limit", dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(end(cmd), os.RemoveAll(dir)) }
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &process{target{"limit", strings.TrimSpace(addr), ""}, cmd.Process.Pid, dir, stop}, nil
}

// end stops a server that need not stop gracefully.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// syncCalls counts the calls of fsync and fdatasync that a server makes while
// one small image is pushed.
func (b *bed) syncCalls(name string) (string, error) {
	const strace = "/usr/bin/strace"
	if _, err := os.Stat(strace); err != nil {
		return "unknown: strace is not installed", nil
	}
	dir, err := b.folder("strace")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	trace := filepath.Join(dir, "trace")
	p, err := b.start(name)
	if err != nil {
		return "", err
	}
	defer p.stop()
	if p.pid == 0 {
		return "unknown: not started by this program", nil
	}
	if err := warmUp(p.target); err != nil {
		return "", err
	}
	cmd := exec.Command(strace, "-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs", "-o", trace, "-p", fmt.Sprint(p.pid))
	if err := cmd.Start(); err != nil {
		return "", err
	}
	if err := attached(p.pid); err != nil {
		return "", errors.Join(err, end(cmd))
	}
	pushErr := warmUp(p.target)
	_ = cmd.Process.Signal(syscall.SIGINT) // detaches; its exit status is the signal's
	_ = cmd.Wait()
	if pushErr != nil {
		return "", pushErr
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d calls of fsync, %d of fdatasync", bytes.Count(text, []byte(" fsync(")), bytes.Count(text, []byte(" fdatasync("))), nil
}

// attached waits until a process is traced.
func attached(pid int) error {
	for range 500 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return err
		}
		if _, rest, ok := bytes.Cut(b, []byte("TracerPid:\t")); ok && !bytes.HasPrefix(rest, []byte("0\n")) {
			<-time.After(200 * time.Millisecond) // its other threads follow
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
	return errors.New("strace did not attach")
}
