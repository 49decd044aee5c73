package feed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// write puts a layout on the disk.
func (l layout) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range l {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

const kevText = `{"vulnerabilities":[{"cveID":"CVE-2026-1","dateAdded":"2026-01-01"}]}`

func packed(t testing.TB, source string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "advisories.zip")
	f, err := os.Create(name)
	must(t, err)
	_, err = Pack(t.Context(), source, Options{}, f)
	must(t, errors.Join(err, f.Close()))
	return name
}

// TestAllSourcesAreOne: a folder, its zip file, an artifact that was pushed of
// it, what is pulled of that, and a mirror give the same.
func TestAllSourcesAreOne(t *testing.T) {
	files := layout{kevFile: kevText}
	files.publish(t, "Red Hat", many(30), always)
	dir := files.write(t)
	s := newServer(t)
	s.files = files
	reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(reg.Close)
	ref := strings.TrimPrefix(reg.URL, "http://") + "/advisories:latest"
	zip := packed(t, dir)
	digest, err := Push(t.Context(), zip, ref)
	must(t, err)
	again, err := Push(t.Context(), packed(t, zip), ref)
	must(t, err)
	if digest != again {
		t.Errorf("the same advisories were packed as %s and as %s", digest, again)
	}
	var b bytes.Buffer
	_, err = Pull(t.Context(), ref, &b)
	must(t, err)
	pulled := filepath.Join(t.TempDir(), "pulled.zip")
	must(t, os.WriteFile(pulled, b.Bytes(), 0o644))
	pinned, _, _ := strings.Cut(ref, ":latest")
	for _, source := range []string{dir, zip, "oci:" + ref, "oci:" + pinned + "@" + digest, pulled, s.URL} {
		src, err := open(source)
		must(t, err)
		db := openDB(t, filepath.Join(t.TempDir(), "meta.db"))
		u := newUpdater(t, db, src, nil, Options{})
		must(t, u.all(t.Context()))
		must(t, u.exploits(t.Context()))
		if got := kept(t, db, "Red Hat"); len(got) != 30 {
			t.Errorf("%s: %d records", source, len(got))
		}
		if f := feedOf(t, db, KEVFeed); f.Records != 1 {
			t.Errorf("%s: KEV: %+v", source, f)
		}
		f := feedOf(t, db, "Red Hat")
		if f.ETag == "" {
			t.Errorf("%s: no ETag", source)
			continue
		}
		if _, err := u.src.open(t.Context(), "Red Hat/"+listFile, f.ETag); !errors.Is(err, errNotModified) {
			t.Errorf("%s: a list that has not changed: %v", source, err)
		}
	}
}

// TestLooseRecords: a folder of records without all.zip is packed with one.
func TestLooseRecords(t *testing.T) {
	files := layout{}
	files.publish(t, "npm", many(30), always)
	delete(files, "npm/all.zip")
	delete(files, "ecosystems.txt")
	db := openDB(t, filepath.Join(t.TempDir(), "meta.db"))
	u := newUpdater(t, db, folder(t, packed(t, files.write(t))), nil, Options{})
	must(t, u.all(t.Context()))
	if got := kept(t, db, "npm"); len(got) != 30 {
		t.Errorf("%d records", len(got))
	}
}

// TestWithoutList: all.zip alone is enough.
func TestWithoutList(t *testing.T) {
	files := layout{}
	records := many(30)
	files.publish(t, "npm", records, always)
	delete(files, "npm/modified_id.csv")
	dir := files.write(t)
	db := openDB(t, filepath.Join(t.TempDir(), "meta.db"))
	u := newUpdater(t, db, folder(t, dir), nil, Options{})
	must(t, u.all(t.Context()))
	delete(records, "GHSA-0001")
	files.publish(t, "npm", records, always)
	must(t, os.WriteFile(filepath.Join(dir, "npm/all.zip"), []byte(files["npm/all.zip"]), 0o644))
	must(t, u.all(t.Context()))
	if got := kept(t, db, "npm"); len(got) != 29 || slices.Contains(got, "GHSA-0001") {
		t.Errorf("kept: %d", len(got))
	}
}

func TestBadSources(t *testing.T) {
	for _, name := range []string{"https://", "https://host/?q", "oci:", "oci:UPPER/x:y", "/nowhere/at/all", "http://host/#x"} {
		if s, err := open(name); err == nil {
			t.Errorf("%q was opened as %v", name, s)
		}
	}
	s, err := open("https://user:secret@mirror.example.com/osv/")
	must(t, err)
	if got := s.String(); got != "https://mirror.example.com/osv" {
		t.Errorf("%q", got)
	}
	for name, payload := range map[string]string{
		"an image":       `{"layers":[]}`,
		"not JSON":       `x`,
		"a bad title":    `{"artifactType":"application/vnd.ecru.advisories.v1","layers":[{"annotations":{"org.opencontainers.image.title":"../etc/passwd"}}]}`,
		"without titles": `{"artifactType":"application/vnd.ecru.advisories.v1","layers":[{}]}`,
	} {
		if _, err := newArtifact("a", []byte(payload), nil); err == nil {
			t.Errorf("%s was taken for an artifact of advisories", name)
		}
	}
	a, err := newArtifact("a", []byte(`{"artifactType":"application/vnd.ecru.advisories.v1","layers":[{"size":5,"annotations":{"org.opencontainers.image.title":"ecosystems.txt"}}]}`),
		func(context.Context, string) (body, error) {
			return body{io.NopCloser(strings.NewReader("x")), 1}, nil
		})
	must(t, err)
	if _, err := a.open(t.Context(), ecosystemsFile, ""); err == nil {
		t.Error("a layer of another size was read")
	}
	if _, err := a.open(t.Context(), "npm/all.zip", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestEcosystems(t *testing.T) {
	for text, want := range map[string]string{
		"Debian\nDebian:12\nRed Hat\n\nnpm\r\n": "Debian,Red Hat,npm",
		"../x\n":                                "",
		".git\n":                                "",
		"a/b\n":                                 "",
	} {
		got, err := ecosystems(t.Context(), folder(t, layout{ecosystemsFile: text}.write(t)))
		if strings.Join(got, ",") != want || (err == nil) != (want != "") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzReadList(f *testing.F) {
	f.Add("2026-08-27T23:05:41.835560878Z,DEBIAN-CVE-2025-6141\n2026-08-21T20:38:00Z,GO-2026-5026\n", int64(0))
	f.Add("2026-08-21T20:38:00Z,ALSA-2026:24348\r\n\n2026-08-27T00:00:00Z,b\n", int64(1_780_000_000))
	f.Add("2026-08-21T20:38:00Z,../x\n", int64(0))
	f.Fuzz(func(t *testing.T, text string, until int64) {
		l, err := readList(strings.NewReader(text), stampOf(until))
		if err != nil {
			return
		}
		for _, r := range l.rows {
			if !recordID(r.ID) || strings.ContainsAny(r.ID, "/\\") || r.Modified.After(l.newest) {
				t.Errorf("%+v", r)
			}
		}
		if l.whole && len(l.rows) == 0 {
			t.Error("a list without records")
		}
	})
}

func FuzzArtifact(f *testing.F) {
	f.Add([]byte(`{"artifactType":"application/vnd.ecru.advisories.v1","layers":[{"size":5,"annotations":{"org.opencontainers.image.title":"Red Hat/all.zip"}}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := newArtifact("a", payload, nil)
		if err != nil {
			return
		}
		for name := range a.layers {
			if !fs.ValidPath(name) {
				t.Errorf("a layer is named %q", name)
			}
		}
	})
}
