// Package pgtest gives tests a PostgreSQL server of their own: in a temporary
// folder, on a socket in it and on no port.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Server is a running PostgreSQL.
type Server struct {
	dir string
	cmd *exec.Cmd
	n   int
}

// ErrMissing means that PostgreSQL's programs are not installed.
var ErrMissing = errors.New("pgtest: PostgreSQL is not installed (Debian: apt-get install postgresql)")

// Main is a TestMain: it sets server to one that runs while the tests do, and
// leaves it nil where PostgreSQL is not installed, which with CI set is a
// failure.
func Main(m *testing.M, server **Server) int {
	s, err := Start()
	if err != nil && (!errors.Is(err, ErrMissing) || os.Getenv("CI") != "") {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err == nil {
		*server = s
		defer s.Stop()
	}
	return m.Run()
}

// Start starts a server. It does not survive power loss: it is for tests of
// queries.
func Start() (*Server, error) {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		return nil, ErrMissing
	}
	bin := bins[len(bins)-1]
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(bin); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(bin string) error {
	// PostgreSQL refuses to run as root.
	var attr *syscall.SysProcAttr
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "ecru", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	initdb.SysProcAttr, initdb.Dir = attr, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	s.cmd.SysProcAttr, s.cmd.Dir = attr, s.dir
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		if ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) url(database string) string {
	q := url.Values{"host": {s.dir}, "user": {"ecru"}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// Database creates an empty database and returns its URL. It is not safe for
// concurrent use.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	s.n++
	name := "t" + strconv.Itoa(s.n)
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, "create database "+name); err != nil {
		tb.Fatal(err)
	}
	return s.url(name)
}

// Stop stops the server and removes its files.
func (s *Server) Stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.cmd.Process.Signal(syscall.SIGINT)
		s.cmd.Wait()
	}
	os.RemoveAll(s.dir)
}
