package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binaryVar carries the program's path from Main to the tests of a process.
const binaryVar = "ECRU_TEST_BINARY"

// Main is a TestMain: it builds ecru once for all tests of the package, or
// takes the program that ECRU_TEST_BINARY names.
func Main(m *testing.M) int {
	if os.Getenv(binaryVar) == "" {
		dir, err := os.MkdirTemp("", "ecru-test")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin, err := Build(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv(binaryVar, bin)
		defer os.Unsetenv(binaryVar)
	}
	return m.Run()
}

// Binary is the ecru program of this test process.
func Binary(tb testing.TB) string {
	tb.Helper()
	bin := os.Getenv(binaryVar)
	if bin == "" {
		tb.Fatal("the package has no TestMain that calls harness.Main")
	}
	return bin
}

// New starts a server with an empty data folder; it is stopped at the test's
// end, and must then have lived and stop with success.
func New(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s, err := Start(Options{Binary: Binary(tb), Data: filepath.Join(tb.TempDir(), "data"), Args: args})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("server log:\n%s", s.Log())
		}
	})
	return s
}

// Need skips the test, loudly, if a program is not installed; with CI set it
// fails instead.
func Need(tb testing.TB, files ...string) {
	tb.Helper()
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			Unavailable(tb, fmt.Sprintf("%s is not installed (run test/setup)", f))
		}
	}
}

// Unavailable skips the test, loudly, for what this machine lacks; with CI set
// it fails instead.
func Unavailable(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv("CI") != "" {
		tb.Fatal(why)
	}
	fmt.Fprintf(os.Stderr, "\n**** SKIPPED: %s: %s\n\n", tb.Name(), why)
	tb.Skip(why)
}

// commandLimit bounds every command that Run starts.
const commandLimit = 3 * time.Minute

// A Command is a program with arguments and the environment that it runs in.
type Command struct {
	Env   []string // nil: this process's
	Dir   string
	Stdin string
	Args  []string // Args[0] is the program
}

// Output runs the command and returns its standard output; the error holds its
// standard error.
func (c Command) Output(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.Stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(c.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Must is Output for a command that has to succeed.
func (c Command) Must(tb testing.TB) string {
	tb.Helper()
	out, err := c.Output(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Fails is Output for a command that has to fail; it returns all that it said.
func (c Command) Fails(tb testing.TB) string {
	tb.Helper()
	out, err := c.Output(tb.Context())
	if err == nil {
		tb.Fatalf("%s: succeeded, want failure\n%s", strings.Join(c.Args, " "), out)
	}
	return err.Error()
}

// Ecru is the ecru command on the server's data folder.
func (s *Server) Ecru(args ...string) Command {
	return Command{Env: Environ(), Args: append([]string{s.opt.Binary}, args...)}
}
