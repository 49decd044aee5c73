// Command bench compares Ecru with Debian's docker-registry and with what the
// machine can do at best: bare servers that only move, hash and sync bytes.
//
// All servers run on loopback, on the same disk, in one run; rounds are
// interleaved, and figures are medians. Ecru answers with authorization on,
// the others have none to check.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/ecruhq/ecru/test/harness"
)

type options struct {
	peer      string
	scenarios string
	json      string
	rounds    int
	quick     bool

	duration  time.Duration // of a round of a rate
	largeSize int
	mounts    int
	tagCounts []int
}

func main() {
	var o options
	var limitDir string
	flag.StringVar(&o.peer, "peer", "", "URL of a running registry to compare with, instead of starting docker-registry")
	flag.StringVar(&o.scenarios, "scenarios", ".", "regular expression: which scenarios to run")
	flag.StringVar(&o.json, "json", "", "file to write all figures to")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds of every scenario (default 5, with -quick 2)")
	flag.BoolVar(&o.quick, "quick", false, "short rounds and small data: shows that it runs, not how fast")
	flag.StringVar(&limitDir, "serve-limit", "", "be the bare server on this folder (used by bench itself)")
	flag.Parse()
	if limitDir != "" {
		exit(serveLimit(limitDir))
	}
	o.duration, o.largeSize, o.mounts, o.tagCounts = 3*time.Second, largeSize, 1000, []int{1000, 10_000, 100_000}
	if o.quick {
		o.duration, o.largeSize, o.mounts, o.tagCounts = 500*time.Millisecond, 64*mib, 100, []int{1000, 10_000}
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 2
		}
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(o options) error {
	pattern, err := regexp.Compile(o.scenarios)
	if err != nil {
		return err
	}
	if _, err := os.Stat(harness.RegistryProgram); err != nil && o.peer == "" {
		return errors.New("docker-registry is not installed: run test/setup, or name another registry with -peer")
	}
	b, err := newBed(o)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	r := &report{Memory: map[string]int64{}, Syncs: map[string]string{}}
	for _, name := range []string{"ecru", "peer"} {
		if r.Syncs[name], err = b.syncCalls(name); err != nil {
			return fmt.Errorf("%s: counting fsync: %w", name, err)
		}
	}
	for _, s := range scenarios(o) {
		if !pattern.MatchString(s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s\n", s.name)
		if err := b.measure(s, o, r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	r.print(os.Stdout, o)
	if o.json != "" {
		return r.write(o.json)
	}
	return nil
}

// newBed builds Ecru, in a folder on the working directory's disk.
func newBed(o options) (*bed, error) {
	parent := "."
	if _, err := os.Stat("bench"); err == nil {
		parent = filepath.Join("bench", "tmp")
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(parent, "bench-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	program, err := harness.Build(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &bed{dir: dir, program: program, peerURL: o.peer}, nil
}

// measure runs a scenario: in every round each server once, the first one
// changing.
func (b *bed) measure(s scenario, o options, r *report) (err error) {
	running := map[string]*process{}
	prepared := map[string]any{}
	stop := func(name string) error {
		p := running[name]
		if p == nil {
			return nil
		}
		delete(running, name)
		r.remember(s, p)
		return p.stop()
	}
	defer func() {
		for _, name := range s.servers {
			err = errors.Join(err, stop(name))
		}
	}()
	rows := r.rows(s)
	for round := range o.rounds {
		for i := range s.servers {
			name := s.servers[(i+round)%len(s.servers)]
			if running[name] == nil {
				p, err := b.start(name)
				if err != nil {
					return err
				}
				running[name] = p
				if prepared[name], err = s.prepare(p, o); err != nil {
					return err
				}
			}
			syscall.Sync() // nobody pays for what another left to be written
			figures, err := s.measure(running[name], o, prepared[name], round)
			if err != nil {
				return err
			}
			for k, f := range figures {
				rows[k].Samples[name] = append(rows[k].Samples[name], f)
			}
			if s.restart {
				if err := stop(name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
