package extract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

// Subcommand is the argument by which a program that calls Main is a worker.
const Subcommand = "extract-layer"

// killAfter is how long after Limits.Time a worker is killed that has not
// answered.
const killAfter = 10 * time.Second

// A Config tells an Extractor how to work.
type Config struct {
	// Command is the program that is run as a worker, with its first arguments;
	// Subcommand and the limits are appended. Empty: this executable.
	Command []string
	// Dir holds files of workers for as long as they run: evidence that its
	// parser wants as a file, or that is too large for memory. Empty: os.TempDir.
	Dir string
	// Workers is how many layers are read at once; 0: one.
	Workers int
	Limits  Limits
}

// An Extractor makes inventories of layers, each in a process of its own, so
// that what a layer does to a parser ends with that layer. It is safe for
// concurrent use.
type Extractor struct {
	cfg   Config
	args  []string
	free  chan struct{}
	grace time.Duration // killAfter; less in tests
}

// New returns an Extractor. It starts nothing.
func New(cfg Config) (*Extractor, error) {
	if len(cfg.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("extract: the path of this program: %w", err)
		}
		cfg.Command = []string{self}
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 1
	}
	cfg.Limits = cfg.Limits.withDefaults()
	limits, err := json.Marshal(cfg.Limits)
	if err != nil {
		return nil, err
	}
	e := &Extractor{cfg: cfg, free: make(chan struct{}, cfg.Workers), grace: killAfter}
	e.args = append(append(e.args, cfg.Command[1:]...), Subcommand, string(limits))
	return e, nil
}

// Extract reads a layer's blob of size bytes and returns its inventory. It waits
// for a free worker. Whatever the bytes are, the outcome is in the layer's
// Status; an error means that there is no outcome: the blob could not be read to
// its end, has another size, ctx has ended, or no worker could be run. Blob is
// not read on after Extract has returned, and not always to its end.
func (e *Extractor) Extract(ctx context.Context, blob io.Reader, size int64) (vuln.Layer, error) {
	select {
	case e.free <- struct{}{}:
		defer func() { <-e.free }()
	case <-ctx.Done():
		return vuln.Layer{}, ctx.Err()
	}
	dir, err := os.MkdirTemp(e.cfg.Dir, "ecru-extract-")
	if err != nil {
		return vuln.Layer{}, fmt.Errorf("extract: a folder for the worker: %w", err)
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return vuln.Layer{}, err
	}
	return e.run(ctx, dir, blob, size)
}

// run gives the blob to a worker and reads its answer.
func (e *Extractor) run(ctx context.Context, dir string, blob io.Reader, size int64) (vuln.Layer, error) {
	limit, stop := context.WithTimeout(ctx, e.cfg.Limits.Time+e.grace)
	defer stop()
	cmd := e.command(limit, dir)
	answer := &bounded{max: maxEncoded}
	complaint := &bounded{max: 64 * kib}
	cmd.Stdout, cmd.Stderr = answer, complaint
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return vuln.Layer{}, fmt.Errorf("extract: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return vuln.Layer{}, fmt.Errorf("extract: starting a worker: %w", err)
	}
	readErr := feed(stdin, blob, size)
	if readErr != nil {
		stop()
	}
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return vuln.Layer{}, ctx.Err()
	case readErr != nil:
		return vuln.Layer{}, readErr
	case limit.Err() != nil:
		return e.ended(vuln.LayerLimited, fmt.Sprintf("reading the layer took longer than %v", e.cfg.Limits.Time)), nil
	case waitErr != nil:
		return e.died(waitErr, complaint.buf.Bytes())
	}
	layer, err := Decode(answer.buf.Bytes())
	if err != nil || layer.Extractor != Version {
		return e.ended(vuln.LayerFailed, "the worker's answer is no inventory"), nil
	}
	return layer, nil
}

// command is a worker that works in dir. It has nothing of the server's
// environment, which has credentials.
func (e *Extractor) command(ctx context.Context, dir string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.cfg.Command[0], e.args...)
	cmd.Env = []string{"TMPDIR=" + dir, "GOTRACEBACK=single", "GOMAXPROCS=2"}
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// feed copies the blob to a worker. A worker that wants no more of it is fine.
func feed(w io.WriteCloser, blob io.Reader, size int64) error {
	defer w.Close()
	src := &watched{r: blob}
	// Not io.Copy: an end of the pipe must be told from an end of the blob.
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, src, make([]byte, 256*kib))
	if src.err != nil {
		return fmt.Errorf("extract: reading the layer: %w", src.err)
	}
	if err != nil {
		return nil // the worker has closed its end: its answer or its death says why
	}
	if n != size {
		return fmt.Errorf("extract: the layer has %d bytes, not the %d that were announced", n, size)
	}
	return nil
}

// died is the outcome of a layer of which the reader did not live to answer.
func (e *Extractor) died(err error, stderr []byte) (vuln.Layer, error) {
	exit := new(exec.ExitError)
	if !errors.As(err, &exit) {
		return vuln.Layer{}, fmt.Errorf("extract: waiting for a worker: %w", err)
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	switch {
	case exit.ExitCode() == exitUsage:
		return vuln.Layer{}, fmt.Errorf("extract: a worker could not start: %s", firstLine(stderr))
	case outOfMemory(stderr):
		return e.ended(vuln.LayerLimited, fmt.Sprintf("reading the layer took more than %d MiB of memory", e.cfg.Limits.Memory/mib)), nil
	case status.Signaled() && status.Signal() == syscall.SIGXCPU:
		return e.ended(vuln.LayerLimited, fmt.Sprintf("reading the layer took longer than %v", e.cfg.Limits.Time)), nil
	case status.Signaled():
		return e.ended(vuln.LayerFailed, fmt.Sprintf("the reader of the layer was ended by a signal (%v)", status.Signal())), nil
	}
	return e.ended(vuln.LayerFailed, "the reader of the layer crashed: "+firstLine(stderr)), nil
}

// ended is the inventory of a layer that none was made of.
func (e *Extractor) ended(s vuln.LayerStatus, message string) vuln.Layer {
	return vuln.Layer{Extractor: Version, Status: s, Message: message}
}

func outOfMemory(stderr []byte) bool {
	for _, sign := range []string{"out of memory", "cannot allocate memory", "failed to allocate", "failed to create new OS thread"} {
		if bytes.Contains(stderr, []byte(sign)) {
			return true
		}
	}
	return false
}

// firstLine is the first line of a program's complaint, fit to be shown.
func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	if len(line) == 0 {
		return "it said nothing"
	}
	return printable(string(line[:min(len(line), 200)]))
}

// printable is s as text that can be stored and shown anywhere.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// A watched reader remembers why it ended, if not by the end of the data.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// A bounded buffer keeps the first max bytes, and takes no more.
type bounded struct {
	buf bytes.Buffer
	max int64
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.max - int64(b.buf.Len())
	b.buf.Write(p[:min(int64(len(p)), room)])
	return len(p), nil
}
