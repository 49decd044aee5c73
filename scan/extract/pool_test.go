package extract

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ecruhq/ecru/vuln"
)

func TestWorkerGivesWhatReadGives(t *testing.T) {
	blob := gzipped(t, archiveOf(t,
		item{name: "usr/lib/node_modules/left-pad/package.json", body: `{"name":"left-pad","version":"1.3.0"}`},
		item{name: "etc/os-release", body: "ID=debian\nVERSION_ID=\"12\"\n"},
		item{name: "lib", typ: '2', link: "usr/lib"},
		item{name: "opt/.wh.old"},
	))
	want := read(t, blob)
	if len(want.Files) != 1 || len(want.OSReleases) != 1 || len(want.Links) != 1 || len(want.Whiteouts) != 1 {
		t.Fatalf("%+v", want)
	}
	e := newExtractor(t, Limits{})
	got, err := e.Extract(t.Context(), iotest.OneByteReader(bytes.NewReader(blob)), int64(len(blob)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if left, err := os.ReadDir(e.cfg.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What the store does wrong is no property of the layer, and must not become its
// inventory.
func TestErrorsThatAreNotTheLayers(t *testing.T) {
	blob := gzipped(t, archiveOf(t, item{name: "a", body: strings.Repeat("x", 1<<20)}))
	e := newExtractor(t, Limits{})
	broken := errors.New("the disk is gone")
	if l, err := e.Extract(t.Context(), iotest.TimeoutReader(bytes.NewReader(blob)), int64(len(blob))); err == nil && len(blob) > 256<<10 {
		t.Errorf("a read that timed out gave %+v", l)
	}
	if l, err := e.Extract(t.Context(), iotest.ErrReader(broken), int64(len(blob))); !errors.Is(err, broken) {
		t.Errorf("a broken store gave %+v, %v", l, err)
	}
	if l, err := e.Extract(t.Context(), bytes.NewReader(blob[:len(blob)/2]), int64(len(blob))); err == nil {
		t.Errorf("half of the blob gave %+v", l)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if l, err := e.Extract(ctx, bytes.NewReader(blob), int64(len(blob))); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that had ended gave %+v, %v", l, err)
	}
	e, err := New(Config{Command: []string{"/nowhere/ecru"}})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := e.Extract(t.Context(), bytes.NewReader(blob), int64(len(blob))); err == nil {
		t.Errorf("no worker gave %+v", l)
	}
}

// A worker that hangs, crashes, lies, or takes too much is the end of one layer.
func TestWorkersThatFail(t *testing.T) {
	tests := []struct {
		name, script string
		status       vuln.LayerStatus
		message      string
	}{
		{"hangs", "while :; do :; done", vuln.LayerLimited, "longer than 1ns"},
		{"crashes", "echo 'panic: oh' >&2; echo goroutine 1 >&2; exit 2", vuln.LayerFailed, "the reader of the layer crashed: panic: oh"},
		{"is killed", "kill -9 $$", vuln.LayerFailed, "killed"},
		{"has no memory", "echo 'fatal error: runtime: out of memory' >&2; exit 2", vuln.LayerLimited, "1024 MiB of memory"},
		{"says nothing", "exit 0", vuln.LayerFailed, "no inventory"},
		{"writes without end", "yes", vuln.LayerLimited, "longer than 1ns"},
		{"lies", "printf '\\001nonsense'", vuln.LayerFailed, "no inventory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := New(Config{Command: []string{"/bin/sh", "-c", tt.script}, Dir: t.TempDir(), Limits: Limits{Time: time.Nanosecond}})
			if err != nil {
				t.Fatal(err)
			}
			e.grace = time.Second
			l, err := e.Extract(t.Context(), strings.NewReader("blob"), 4)
			if err != nil || l.Status != tt.status || !strings.Contains(l.Message, tt.message) || l.Extractor != Version {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
}

func TestWorkerHasNoSecrets(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "do not tell")
	e, err := New(Config{Command: []string{"/bin/sh", "-c", "env >&2; exit 2"}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := e.Extract(t.Context(), strings.NewReader("blob"), 4)
	if err != nil || l.Status != vuln.LayerFailed {
		t.Fatalf("%+v, %v", l, err)
	}
	if strings.Contains(l.Message, "do not tell") {
		t.Error("a worker sees the server's environment")
	}
	if env := e.command(t.Context(), "/scratch").Env; len(env) != 3 {
		t.Errorf("environment: %q", env)
	}
}

func TestCommandOfPeople(t *testing.T) {
	var out, complaint bytes.Buffer
	if code := Main(t.Context(), nil, strings.NewReader(""), &out, &complaint); code != exitUsage || out.Len() != 0 || !strings.Contains(complaint.String(), "not for people") {
		t.Errorf("%d, %q, %q", code, out.String(), complaint.String())
	}
}
