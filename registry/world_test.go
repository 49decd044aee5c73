package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/blob/disk"
	"github.com/ecruhq/ecru/blob/mem"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

const (
	account = "123456789012"
	other   = "210987654321"
)

var (
	app  = ecr.RepositoryID{Account: account, Name: "team/app"}
	root = ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::" + account + ":root", Account: account, Root: true}}
)

// A world is a registry on stores of its own, with a clock.
type world struct {
	*registry.Registry
	tb    testing.TB
	db    *meta.DB
	blobs blob.Store
	dir   string
	cfg   registry.Config

	mu  sync.Mutex
	now time.Time
}

func newWorld(tb testing.TB, change ...func(*registry.Config)) *world {
	tb.Helper()
	w := &world{tb: tb, dir: tb.TempDir(), blobs: new(mem.Store), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	w.cfg = registry.Config{
		Region: "us-east-1", Host: func(string) string { return "registry.test" }, Scheme: "https",
		Limits: registry.DefaultLimits(), Times: registry.DefaultTimes(), LinkKey: make([]byte, 32), Now: w.time,
	}
	w.cfg.Limits.InlineBytes = 0 // so that small layers are objects too
	for _, c := range change {
		c(&w.cfg)
	}
	w.openDB(nil)
	tb.Cleanup(func() { w.db.Close() })
	return w
}

// upTo has layers of at most n bytes kept in the database.
func upTo(n int64) func(*registry.Config) {
	return func(c *registry.Config) { c.Limits.InlineBytes = n }
}

// inlines are kinds of worlds: with no, some and all layers in the database.
var inlines = map[string]func(*registry.Config){"objects": upTo(0), "some inline": upTo(6), "inline": upTo(1 << 20)}

// onDisk gives the world a blob store on disk.
func (w *world) onDisk() *world {
	w.tb.Helper()
	s, err := disk.Open(filepath.Join(w.dir, "blobs"))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { s.Close() })
	w.blobs = s
	w.Registry = registry.New(w.db, w.blobs, w.cfg)
	return w
}

func (w *world) openDB(fault func(string) error) {
	w.tb.Helper()
	db, err := meta.Open(context.Background(), meta.Options{URL: filepath.Join(w.dir, "meta.db"), Fault: fault})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.db = db
	w.Registry = registry.New(db, w.blobs, w.cfg)
}

// restart opens the stores again, as a new process would.
func (w *world) restart() {
	w.tb.Helper()
	if err := w.db.Close(); err != nil {
		w.tb.Fatal(err)
	}
	w.openDB(nil)
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) ok(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) create(names ...string) {
	w.tb.Helper()
	for _, n := range names {
		_, err := w.CreateRepository(context.Background(), root, ecr.RepositoryID{Account: account, Name: n}, ecr.Repository{})
		w.ok(err)
	}
}

func in(name string) ecr.RepositoryID { return ecr.RepositoryID{Account: account, Name: name} }

func sum(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// layer pushes a layer in one request.
func (w *world) layer(id ecr.RepositoryID, data string) string {
	w.tb.Helper()
	d, err := pushLayer(w.Registry, id, data)
	w.ok(err)
	return d
}

func pushLayer(r *registry.Registry, id ecr.RepositoryID, data string) (string, error) {
	d := sum([]byte(data))
	_, err := r.UploadLayer(context.Background(), root, id, strings.NewReader(data), int64(len(data)), d)
	return d, err
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func descriptor(digest string, size int) string {
	return fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":%d}`, digest, size)
}

// manifest is a manifest of layers, given by their content; the first is the
// config. more is put at its end.
func manifest(more string, layers ...string) []byte {
	var d []string
	for _, l := range layers {
		d = append(d, descriptor(sum([]byte(l)), len(l)))
	}
	return []byte(`{"schemaVersion":2,"mediaType":"` + manifestType + `","config":` + d[0] + `,"layers":[` + strings.Join(d[1:], ",") + `]` + more + `}`)
}

// image pushes the layers of an image and its manifest.
func (w *world) image(id ecr.RepositoryID, tag string, layers ...string) *ecr.Manifest {
	w.tb.Helper()
	for _, l := range layers {
		w.layer(id, l)
	}
	m, err := w.PutImage(context.Background(), root, id, registry.PutImageInput{Manifest: manifest("", layers...), Tag: tag})
	w.ok(err)
	return m
}

func (w *world) wantCode(what string, err error, want ecr.Code) {
	w.tb.Helper()
	var e *ecr.Error
	if !errors.As(err, &e) || e.Code != want {
		w.tb.Errorf("%s: %v, want code %d", what, err, want)
	}
}

// read returns a layer's bytes.
func (w *world) read(id ecr.RepositoryID, digest string) (string, error) {
	l, err := w.OpenLayer(context.Background(), root, id, digest)
	if err != nil {
		return "", err
	}
	src, err := l.Range(context.Background(), 0, -1)
	if err != nil {
		return "", err
	}
	defer src.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, src)
	return b.String(), err
}

// user returns a caller with the policy of one statement.
func user(tb testing.TB, account, statement string) ecr.Caller {
	tb.Helper()
	p, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":[`+statement+`]}`), iam.Identity)
	if err != nil {
		tb.Fatal(err)
	}
	return ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::" + account + ":user/jane", Account: account, Name: "jane", Policies: []*iam.Policy{p}}}
}

// sound fails the test unless fsck finds nothing.
func (w *world) sound() {
	w.tb.Helper()
	rep, err := w.Fsck(context.Background(), registry.FsckOptions{})
	w.ok(err)
	for _, f := range rep.Findings {
		w.tb.Errorf("fsck: %s: %s: %s", f.Kind, f.Subject, f.Detail)
	}
}
