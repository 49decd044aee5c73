package extract

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	scalibrlog "github.com/google/osv-scalibr/log"
)

// exitUsage is the exit status of a worker that has not begun.
const exitUsage = 64

// exitMemory is the exit status of one that needed too much memory.
const exitMemory = 65

// Main is a worker's life: it bounds itself, reads a layer from stdin, writes
// the encoded inventory to stdout, and returns its exit status. Args are what
// followed Subcommand. It changes the process that calls it (limits, priority,
// loggers, os.Stdout), which must do nothing else.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var lim Limits
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &lim) != nil {
		fmt.Fprintln(stderr, "this command reads one layer for ecru serve; it is not for people")
		return exitUsage
	}
	lim = lim.withDefaults()
	if err := confine(lim); err != nil {
		fmt.Fprintln(stderr, "confining the worker:", err)
		return exitUsage
	}
	scalibrlog.SetLogger(silent{})
	os.Stdout = os.Stderr // parsers print; the answer must stay whole
	ctx, stop := context.WithTimeout(ctx, lim.Time)
	defer stop()
	go watchMemory(ctx, lim.Memory, stderr)
	layer := Read(ctx, bufio.NewReaderSize(stdin, int(256*kib)), lim, os.TempDir())
	if _, err := stdout.Write(Encode(layer)); err != nil {
		return 1
	}
	return 0
}

// watchMemory ends the process when it holds more than max bytes. RLIMIT_DATA
// alone would do, but not always with a reason that can be told from a crash.
func watchMemory(ctx context.Context, max int64, stderr io.Writer) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(held)
		if int64(held[0].Value.Uint64()-held[1].Value.Uint64()) > max {
			fmt.Fprintln(stderr, "out of memory")
			os.Exit(exitMemory)
		}
	}
}

// confine gives up what a reader of layers does not need. Memory is bounded
// twice: the collector works to stay within a quarter, RLIMIT_DATA ends the
// process at 256 MiB above the whole, which watchMemory keeps: Go maps 64 MiB
// at a time. (RLIMIT_AS would count address space that Go reserves and
// never uses.) The priority is lowered of the whole process group, which is the
// process: Linux has priorities by thread.
func confine(lim Limits) error {
	debug.SetMemoryLimit(lim.Memory / 4)
	seconds := uint64(lim.Time.Seconds()*2) + 20 // of two processors
	for _, l := range []struct {
		what string
		res  int
		max  uint64
	}{
		{"data", unix.RLIMIT_DATA, uint64(lim.Memory + 256*mib)},
		{"cpu", unix.RLIMIT_CPU, seconds},
		{"fsize", unix.RLIMIT_FSIZE, uint64(maxLarge)},
		{"core", unix.RLIMIT_CORE, 0},
		{"nofile", unix.RLIMIT_NOFILE, 64},
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.res, &now); err != nil {
			return fmt.Errorf("rlimit %s: %w", l.what, err)
		}
		max := min(l.max, now.Max)
		if err := unix.Setrlimit(l.res, &unix.Rlimit{Cur: max, Max: max}); err != nil {
			return fmt.Errorf("rlimit %s: %w", l.what, err)
		}
	}
	if err := unix.Setpriority(unix.PRIO_PGRP, 0, 10); err != nil {
		return fmt.Errorf("setpriority: %w", err)
	}
	// Where memory is short, this process goes before the server. Not all
	// systems let it be said.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("900"), 0)
	return nil
}

// silent drops what scalibr logs: it is about the layer's content.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Infof(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
func (silent) Error(...any)          {}
func (silent) Warn(...any)           {}
func (silent) Info(...any)           {}
func (silent) Debug(...any)          {}

// clip is s as a warning: printable, bounded.
func clip(s string) string {
	if len(s) > maxWarning {
		s = s[:maxWarning] + "…"
	}
	return strings.TrimSpace(printable(s))
}
