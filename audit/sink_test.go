package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sunk returns a world whose trail has a sink, and the sink's folder.
func sunk(tb testing.TB, size int64, files int) (w *world, dir string) {
	tb.Helper()
	w, dir = newWorld(tb), tb.TempDir()
	w.cfg.Sink = &Sink{Path: filepath.Join(dir, "audit.jsonl"), Size: size, Files: files}
	return w, dir
}

// restart returns the trail of another process, with a sink like the one
// before, which ends without notice.
func (w *world) restart() *Log {
	w.tb.Helper()
	s := w.cfg.Sink
	_ = s.Close()
	w.cfg.Sink = &Sink{Path: s.Path, Size: s.Size, Files: s.Files}
	w.tb.Cleanup(func() { w.cfg.Sink.Close() })
	return w.log()
}

// sunkFiles returns the contents of a sink's files, the oldest first.
func sunkFiles(tb testing.TB, dir string) (out [][]byte) {
	tb.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "audit.jsonl*"))
	ok(tb, err)
	if len(names) == 0 {
		tb.Fatal("there is no file")
	}
	slices.Sort(names)
	names = append(names[1:], names[0]) // the one without a number is the newest
	for _, name := range names {
		b, err := os.ReadFile(name)
		ok(tb, err)
		out = append(out, b)
	}
	return out
}

// verifyFiles verifies files one after another and returns the last report,
// with the problems of all.
func verifyFiles(tb testing.TB, l *Log, files ...[]byte) (r Report) {
	tb.Helper()
	var before *Report
	var problems []string
	for _, b := range files {
		got, err := l.VerifyFile(bytes.NewReader(b), before)
		ok(tb, err)
		problems = append(problems, got.Problems...)
		before, r = &got, got
	}
	r.Problems = problems
	return r
}

// checkSink checks that the files hold every record that is kept, from first
// to last, once and in order.
func checkSink(t *testing.T, w *world, dir string, first, last int64) {
	t.Helper()
	seq := first
	sealed := map[int64]string{}
	for _, r := range w.records() {
		sealed[r.Seq] = string(r.Record)
	}
	files := sunkFiles(t, dir)
	for line := range bytes.Lines(bytes.Join(files, nil)) {
		var m map[string]json.RawMessage
		var chain link
		ok(t, json.Unmarshal(line, &m))
		ok(t, json.Unmarshal(m["chain"], &chain))
		if chain.Sequence != seq {
			t.Fatalf("record %d where %d should be", chain.Sequence, seq)
		}
		record, _, _ := strings.Cut(string(line), `,"chain":`)
		if record+"}" != sealed[seq] {
			t.Errorf("record %d is %s\nwant %s", seq, record, sealed[seq])
		}
		seq++
	}
	if seq != last+1 {
		t.Errorf("the files end at record %d, want %d", seq-1, last)
	}
	if r := verifyFiles(t, w.log(), files...); len(r.Problems) > 0 || r.Last != last {
		t.Errorf("report %+v", r)
	}
}

func TestSink(t *testing.T) {
	w, dir := sunk(t, 4000, 0)
	l := w.restart()
	filled(w, l, 20)
	checkSink(t, w, dir, 1, 20)
	if n := len(sunkFiles(t, dir)); n != 5 {
		t.Errorf("%d files, want 5: one for each 5 records", n)
	}
	l = w.restart() // with a file that has just been begun
	filled(w, l, 3)
	l = w.restart() // with one that has some
	for range 2*batch + 5 {
		w.read(l, "GetA")
	}
	w.settled(l)
	checkSink(t, w, dir, 1, 23+2*batch+5)
	info, err := os.Stat(w.cfg.Sink.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others may read it", info.Mode(), err)
	}
}

// Of the renamed files the newest are kept.
func TestSinkDeletes(t *testing.T) {
	w, dir := sunk(t, 4000, 2)
	l := w.restart()
	ok(t, os.WriteFile(w.cfg.Sink.Path+".gz", []byte("not the sink's"), 0o600))
	ok(t, os.WriteFile(w.cfg.Sink.Path+".000000000001x", []byte("nor this"), 0o600))
	filled(w, l, 23)
	ok(t, os.Remove(w.cfg.Sink.Path+".gz"))
	ok(t, os.Remove(w.cfg.Sink.Path+".000000000001x"))
	checkSink(t, w, dir, 11, 23)
	filled(w, w.restart(), 1)
	checkSink(t, w, dir, 11, 24)
}

// A crash may leave a part of the last line, or of the last lines, behind.
func TestSinkTorn(t *testing.T) {
	w, dir := sunk(t, 1<<20, 0)
	l := w.restart()
	filled(w, l, 3)
	whole := sunkFiles(t, dir)[0]
	for cut := 0; cut < len(whole); cut += 13 {
		l = w.restart()
		ok(t, os.WriteFile(w.cfg.Sink.Path, whole[:cut], 0o600))
		ok(t, l.Settle(t.Context()))
		if got := sunkFiles(t, dir)[0]; !bytes.Equal(got, whole) {
			t.Fatalf("cut at %d: %d bytes, want %d", cut, len(got), len(whole))
		}
	}
	l = w.restart()
	ok(t, os.WriteFile(w.cfg.Sink.Path, whole[:len(whole)-1], 0o600))
	filled(w, l, 2)
	checkSink(t, w, dir, 1, 5)
}

func TestSinkRefuses(t *testing.T) {
	for _, text := range []string{"hello\n", "hello", "{}\n", `{"a":1}` + "\n", `{"a":1}`, "\n", "\x00\x01\x02", `{"chain":{"sequence":"1"}}` + "\n"} {
		t.Run(fmt.Sprintf("%.12q", text), func(t *testing.T) {
			w, dir := sunk(t, 1<<20, 0)
			l := w.restart()
			ok(t, os.WriteFile(w.cfg.Sink.Path, []byte(text), 0o600))
			w.change("PutImage")
			if err := l.Settle(t.Context()); err == nil || !strings.Contains(err.Error(), "is not an audit log") {
				t.Errorf("error %v", err)
			}
			if b, err := os.ReadFile(w.cfg.Sink.Path); err != nil || string(b) != text {
				t.Errorf("the file is now %q, %v", b, err)
			}
			if n := len(w.records()); n != 1 {
				t.Errorf("%d records are sealed, want the one", n)
			}
			ok(t, os.Remove(w.cfg.Sink.Path))
			filled(w, l, 1)
			checkSink(t, w, dir, 1, 2)
		})
	}
}

// A sink that cannot be written goes on, once it can, where it was.
func TestSinkRecovers(t *testing.T) {
	w, dir := sunk(t, 1<<20, 0)
	w.cfg.Sink.Path = filepath.Join(dir, "log", "audit.jsonl")
	dir = filepath.Join(dir, "log")
	l := w.restart()
	w.change("PutImage")
	err := l.Settle(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the folder "+dir) || !strings.Contains(err.Error(), "is not there: make it") {
		t.Errorf("error %v", err)
	}
	ok(t, os.Mkdir(dir, 0o700))
	filled(w, l, 1)
	checkSink(t, w, dir, 1, 2)

	ok(t, w.cfg.Sink.file.Close())
	w.change("PutImage")
	_ = l.Settle(t.Context()) // it may notice only now
	filled(w, l, 1)
	checkSink(t, w, dir, 1, 4)

	ok(t, os.RemoveAll(dir))
	w.change("PutImage")
	_ = l.Settle(t.Context())
	ok(t, os.Mkdir(dir, 0o700))
	filled(w, l, 4)
	checkSink(t, w, dir, 1, 9)
	w.whole(l)
}

// A sink that is behind when records expire goes on with those that are kept.
func TestSinkBehind(t *testing.T) {
	w, dir := sunk(t, 1<<20, 0)
	with := *w.cfg.Sink
	w.cfg.Sink, w.cfg.MaxAge = nil, time.Hour
	l := w.log()
	filled(w, l, 4)
	w.advance(time.Hour + time.Minute)
	filled(w, l, 3)
	ok(t, l.Expire(t.Context()))
	w.cfg.Sink = &with
	l = w.restart()
	ok(t, l.Settle(t.Context()))
	checkSink(t, w, dir, 5, 7)
}

// tamperings are what may be done to lines, which are of one file.
func tamperings(lines []string) map[string][]string {
	last := len(lines) - 1
	swapped := slices.Clone(lines)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	changed := func(i int, old, new string) []string {
		out := slices.Clone(lines)
		out[i] = strings.Replace(out[i], old, new, 1)
		return out
	}
	return map[string][]string{
		"first gone":                     lines[1:],
		"one gone":                       slices.Concat(lines[:2], lines[3:]),
		"last gone":                      lines[:last],
		"all gone":                       {},
		"swapped":                        swapped,
		"twice":                          slices.Concat(lines[:2], lines[1:]),
		"truncated":                      slices.Concat(lines[:last], []string{lines[last][:40]}),
		"without its end":                slices.Concat(lines[:last], []string{strings.TrimSuffix(lines[last], "\n")}),
		"truncated within":               slices.Concat(lines[:1], []string{lines[1][:40]}, lines[2:]),
		"no JSON":                        changed(1, "{", ""),
		"an empty line":                  slices.Concat(lines[:2], []string{"\n"}, lines[2:]),
		"a record without a seal":        changed(1, `"seal":"`, `"seals":"`),
		"a member behind the chain":      changed(1, "\"}}\n", "\"},\"sourceIPAddress\":\"203.0.113.9\"}\n"),
		"a member within the chain":      changed(1, `"chain":{`, `"chain":{"sourceIPAddress":"203.0.113.9",`),
		"a member before the chain":      changed(1, `,"chain"`, `,"sourceIPAddress":"203.0.113.9","chain"`),
		"another chain behind the chain": changed(1, "\"}}\n", "\"},\"Chain\":{}}\n"),
		"a space":                        changed(1, `,"chain":{`, `,"chain": {`),
	}
}

func TestVerifyFileFindsTampering(t *testing.T) {
	w, dir := sunk(t, 4000, 0)
	l := w.restart()
	filled(w, l, 14)
	files := sunkFiles(t, dir)
	if len(files) != 3 {
		t.Fatalf("%d files", len(files))
	}
	lines := slices.Collect(strings.Lines(string(files[1])))
	for name, tampered := range tamperings(lines) {
		if r := verifyFiles(t, l, files[0], []byte(strings.Join(tampered, "")), files[2]); len(r.Problems) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	if r := verifyFiles(t, l, files[0], files[2]); len(r.Problems) == 0 {
		t.Error("a file gone: not found")
	}
	if r := verifyFiles(t, l, files[1], files[2]); len(r.Problems) > 0 || r.Last != 14 {
		t.Errorf("without the first file: %+v", r)
	}
	if r := verifyFiles(t, l, slices.Concat(files...)); len(r.Problems) > 0 || r.First != 1 || r.Last != 14 || !r.From.Equal(t0) || !r.To.Equal(t0.Add(13*time.Second)) {
		t.Errorf("in one: %+v", r)
	}
	if r := verifyFiles(t, l, files[0], nil, files[1]); len(r.Problems) > 0 || r.Last != 10 {
		t.Errorf("an empty file between: %+v", r)
	}
	if r := verifyFiles(t, l, files[0], nil); r.Last >= r.First {
		t.Errorf("an empty file has the records %d to %d", r.First, r.Last)
	}
	before := verifyFiles(t, l, files[0])
	at := len(lines[0])
	for i := range lines[1] { // each byte of a line
		for _, flip := range []byte{0x01, 0x20} {
			b := bytes.Clone(files[1])
			b[at+i] ^= flip
			r, err := l.VerifyFile(bytes.NewReader(b), &before)
			if err != nil || len(r.Problems) == 0 {
				t.Errorf("byte %d as %q in …%s: not found, %v", i, b[at+i], lines[1][max(0, i-20):i+1], err)
			}
		}
	}
}

// What only looks like a file of a sink is refused, and does no harm.
func FuzzVerifyFile(f *testing.F) {
	w, dir := sunk(f, 1<<20, 0)
	l := w.restart()
	filled(w, l, 3)
	whole := sunkFiles(f, dir)[0]
	f.Add(whole)
	for _, s := range []string{"", "\n", "{}\n", `,"chain":{"sequence":1,"seal":""}}` + "\n", `{,"chain":{"sequence":-1}}` + "\n", `{"a":1,"chain":{"sequence":9223372036854775807,"seal":"AA=="}}` + "\n"} {
		f.Add([]byte(s))
		f.Add(append(bytes.Clone(whole), s...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, after := range []*Report{nil, {Last: 2, head: []byte("x")}} {
			r, err := l.VerifyFile(bytes.NewReader(b), after)
			if err != nil || len(r.Problems) > maxProblems {
				t.Errorf("%d problems, %v", len(r.Problems), err)
			}
			if after == nil && len(r.Problems) == 0 && r.Last >= r.First && r.First == 1 && !bytes.HasPrefix(whole, b) {
				t.Errorf("a file that no sink wrote is whole: %q", b)
			}
		}
	})
}

// A sink whose path is a folder says so.
func TestSinkIsFolder(t *testing.T) {
	w, dir := sunk(t, 1<<20, 0)
	w.cfg.Sink.Path = dir
	w.change("PutImage")
	if err := w.restart().Settle(t.Context()); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
}
