// Package harness runs Ecru and the clients that talk to it as processes, each
// in folders of its own and on loopback ports that the kernel chooses.
package harness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/advisor"
)

// What every server of the harness is started with.
const (
	Region    = "us-east-1"
	Account   = "123456789012"
	RootKey   = "AKIAECRUTESTROOT0001"
	RootValue = "only-for-tests/0123456789abcdefghijklmno"
)

// Options say how to start a server.
type Options struct {
	Binary string   // the ecru program
	Data   string   // its data folder
	Args   []string // more arguments of serve
	Env    []string // more environment
}

// A Server is a running `ecru serve`.
type Server struct {
	URL   string // http://127.0.0.1:port
	Host  string // 127.0.0.1:port
	opt   Options
	ready string // the ready file
	cmd   *exec.Cmd
	log   *os.File
	done  chan struct{} // closed when the process has ended
	err   error         // how, after done
}

// startLimit is how long a server may take until it answers.
const startLimit = 60 * time.Second

// Start starts a server and returns when it answers. Its log is appended to
// DATA.log, beside the data folder.
func Start(opt Options) (*Server, error) {
	s, err := Launch(opt)
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(); err != nil {
		s.Kill()
		return nil, fmt.Errorf("%w\n%s", err, s.Log())
	}
	return s, nil
}

// Launch is Start without the wait: the server may not answer yet, and its
// address is not known.
func Launch(opt Options) (*Server, error) {
	s := &Server{opt: opt, ready: opt.Data + ".ready", done: make(chan struct{})}
	if err := os.Remove(s.ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var err error
	if s.log, err = os.OpenFile(opt.Data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data", opt.Data, "--region", Region,
		"--account", Account, "--ready-file", s.ready, "--metrics-listen", "off"}, opt.Args...)
	s.cmd = exec.Command(opt.Binary, args...)
	s.cmd.Env = append(Environ(), opt.Env...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.log.Close()
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		s.log.Close()
		close(s.done)
	}()
	return s, nil
}

func (s *Server) awaitReady() error {
	limit := time.After(startLimit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(s.ready); err == nil {
			s.URL = strings.TrimSpace(string(b))
			u, err := url.Parse(s.URL)
			if err != nil {
				return err
			}
			s.Host = u.Host
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("ecru serve ended before it was ready: %v", s.err)
		case <-limit:
			return fmt.Errorf("ecru serve was not ready after %v", startLimit)
		case <-tick.C:
		}
	}
}

// Environ is the environment of the server and of the ecru command: this
// process's without what would point a client elsewhere, and the root key.
func Environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ECRU_") && !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	return append(env, "ECRU_ROOT_ACCESS_KEY_ID="+RootKey, "ECRU_ROOT_SECRET_ACCESS_KEY="+RootValue)
}

// Kill ends the server with SIGKILL and waits for its end.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // an error means that it has ended
	<-s.done
}

// Stop asks the server to stop, waits for its end, and returns an error if it
// did not end with success.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
		if s.err != nil {
			return fmt.Errorf("ecru serve: %w\n%s", s.err, s.Log())
		}
		return nil
	case <-time.After(startLimit):
		s.Kill()
		return fmt.Errorf("ecru serve did not stop within %v of SIGTERM\n%s", startLimit, s.Log())
	}
}

// Running reports whether the process lives.
func (s *Server) Running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// PID is the server's process ID.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Data is the server's data folder.
func (s *Server) Data() string { return s.opt.Data }

// Log returns the last 8 KiB of the server's log.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.opt.Data + ".log")
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
}

// Memory returns the server's resident memory and its highest so far, in bytes.
func (s *Server) Memory() (rss, highest int64, err error) {
	return Memory(s.PID())
}

// Memory returns a process's resident memory and its highest so far, in bytes.
func Memory(pid int) (rss, highest int64, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			rss = n << 10
		case "VmHWM:":
			highest = n << 10
		}
	}
	return rss, highest, nil
}

// ECR returns the AWS SDK's client with an access key.
func (s *Server) ECR(key, secret string) *ecr.Client {
	return ecr.New(ecr.Options{
		Region:           Region,
		BaseEndpoint:     aws.String(s.URL),
		HTTPClient:       advisor.WholeAnswers{HTTPClient: http.DefaultClient},
		Credentials:      credentials.NewStaticCredentialsProvider(key, secret, ""),
		RetryMaxAttempts: 1,
	})
}

// Root returns the AWS SDK's client with the root key.
func (s *Server) Root() *ecr.Client { return s.ECR(RootKey, RootValue) }

// Password returns a registry password (the user is AWS) of the client's owner.
func Password(ctx context.Context, c *ecr.Client) (string, error) {
	out, err := c.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", err
	}
	if len(out.AuthorizationData) != 1 {
		return "", fmt.Errorf("GetAuthorizationToken: %d authorizationData, want 1", len(out.AuthorizationData))
	}
	b, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	if err != nil {
		return "", err
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok || user != "AWS" || strings.Contains(password, ":") {
		return "", fmt.Errorf("GetAuthorizationToken: the token is not AWS:password")
	}
	return password, nil
}

// Build compiles ecru into folder dir and returns the program's path.
func Build(dir string) (string, error) {
	bin := filepath.Join(dir, "ecru")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "github.com/ecruhq/ecru/cmd/ecru")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return bin, nil
}
