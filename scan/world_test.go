package scan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/blob/mem"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/scan"
	"github.com/ecruhq/ecru/scan/extract"
)

const account = "123456789012"

var (
	app  = ecr.RepositoryID{Account: account, Name: "team/app"}
	root = ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::" + account + ":root", Account: account, Root: true}}
)

// postgres is nil where PostgreSQL is not installed.
var postgres *pgtest.Server

// TestMain makes the test binary a worker when an Extractor runs it as one.
func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, extract.Subcommand); i > 0 {
		os.Exit(extract.Main(context.Background(), os.Args[i+1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(pgtest.Main(m, &postgres))
}

// A world is a registry with a scanner that works, and a clock.
type world struct {
	*registry.Registry
	t       testing.TB
	db      *meta.DB
	store   *advisory.Store
	metrics *prometheus.Registry

	mu  sync.Mutex
	now time.Time
}

// both runs a test in a world on each kind of database.
func both(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newWorld(t, filepath.Join(t.TempDir(), "meta.db"))) })
	t.Run("PostgreSQL", func(t *testing.T) {
		if postgres == nil {
			t.Skip(pgtest.ErrMissing)
		}
		test(t, newWorld(t, postgres.Database(t)))
	})
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	// The clock is behind, so that what a test lets pass never makes jobs wait.
	w := &world{t: t, now: time.Now().AddDate(-1, 0, 0).Truncate(time.Millisecond), metrics: prometheus.NewRegistry()}
	db, err := meta.Open(context.Background(), meta.Options{URL: url})
	w.ok(err)
	w.db = db
	limits := registry.DefaultLimits()
	limits.InlineBytes = 512
	w.Registry = registry.New(db, new(mem.Store), registry.Config{
		Region: "us-east-1", Host: func(string) string { return "registry.test" }, Scheme: "https",
		Limits: limits, Times: registry.DefaultTimes(), LinkKey: make([]byte, 32), Now: w.time,
	})
	w.store = advisory.New(db, w.time, nil)
	s, err := scan.New(db, w.Registry, w.store, scan.Config{Extract: extract.Config{Workers: 2, Dir: t.TempDir()}, Metrics: w.metrics})
	w.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = w.CreateRepository(context.Background(), root, app, ecr.Repository{ScanOnPush: true})
	w.ok(err)
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantCode(what string, err error, want ecr.Code) {
	w.t.Helper()
	var e *ecr.Error
	if !errors.As(err, &e) || e.Code != want {
		w.t.Fatalf("%s: %v, want code %d", what, err, want)
	}
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

// await waits until there is what is wanted; something must be written when it
// comes.
func (w *world) await(what string, there func() bool) {
	w.t.Helper()
	limit := time.After(time.Minute)
	for {
		changed := w.db.Changed()
		if there() {
			return
		}
		select {
		case <-changed:
		case <-time.After(500 * time.Millisecond): // what jobs write without an event
		case <-limit:
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// counter is the sum of a metric.
func (w *world) counter(name string) (sum float64) {
	families, err := w.metrics.Gather()
	w.ok(err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func sum(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// layer is an archive of files, gzip.
func layer(files map[string]string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	tw := tar.NewWriter(z)
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		must(tw.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n])), Typeflag: tar.TypeReg, Format: tar.FormatPAX}))
		_, err := io.WriteString(tw, files[n])
		must(err)
	}
	must(tw.Close())
	must(z.Close())
	return b.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err) // of writing to memory
	}
}

const osRelease = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"

func dpkg(name, version string) string {
	return "Package: " + name + "\nStatus: install ok installed\nArchitecture: amd64\nVersion: " + version + "\nMaintainer: M <m@example.com>\nDescription: d\n\n"
}

// debian is a base layer with one package.
func debian(version string) []byte {
	return layer(map[string]string{"etc/os-release": osRelease, "var/lib/dpkg/status": dpkg("openssl", version)})
}

func npm(name, version string) []byte {
	return layer(map[string]string{"app/node_modules/" + name + "/package.json": `{"name":"` + name + `","version":"` + version + `"}`})
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func describe(mediaType string, b []byte) descriptor { return descriptor{mediaType, sum(b), len(b)} }

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// push pushes an image and returns its digest.
func (w *world) push(tag string, layers ...[]byte) string {
	w.t.Helper()
	config := []byte(`{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05Z","config":{"User":"nobody","Entrypoint":["/app"]},"author":"` + tag + `"}`)
	m := map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": describe(configType, config)}
	var list []descriptor
	for _, l := range layers {
		list = append(list, describe(layerType, l))
	}
	m["layers"] = list
	w.blobs(append(layers, config)...)
	return w.manifest(tag, m)
}

func (w *world) blobs(blobs ...[]byte) {
	w.t.Helper()
	for _, b := range blobs {
		_, err := w.UploadLayer(context.Background(), root, app, bytes.NewReader(b), int64(len(b)), sum(b))
		w.ok(err)
	}
}

func (w *world) manifest(tag string, m map[string]any) string {
	w.t.Helper()
	b, err := json.Marshal(m)
	w.ok(err)
	put, err := w.PutImage(context.Background(), root, app, registry.PutImageInput{Manifest: b, Tag: tag})
	w.ok(err)
	return put.Digest
}

// advise has advisories of a feed: OSV records.
func (w *world) advise(feed string, records ...string) {
	w.t.Helper()
	ctx := context.Background()
	var f meta.Feed
	w.ok(w.db.Update(ctx, func(tx *meta.Tx) (err error) {
		f, err = tx.EnsureFeed(feed)
		return err
	}))
	c, err := advisory.NewCompiler(advisory.Options{})
	w.ok(err)
	var list []advisory.Compiled
	for _, r := range records {
		var id struct{ ID string }
		w.ok(json.Unmarshal([]byte(r), &id))
		one, err := c.Compile(advisory.Record{ID: id.ID, JSON: []byte(r)})
		w.ok(err)
		list = append(list, one)
	}
	w.ok(w.store.Put(ctx, f.Row, list))
	_, err = w.store.Rematch(ctx)
	w.ok(err)
}

// osv is a record about the versions of a package before fixed.
func osv(id, ecosystem, name, fixed, severity string) string {
	kind := "ECOSYSTEM"
	if ecosystem == "npm" {
		kind = "SEMVER"
	}
	return `{"id":"` + id + `","modified":"2026-01-02T03:04:05Z","summary":"about ` + name + `","details":"Details of ` + id + `.","database_specific":{"severity":"` + severity + `"},
		"affected":[{"package":{"ecosystem":"` + ecosystem + `","name":"` + name + `"},"ranges":[{"type":"` + kind + `","events":[{"introduced":"0"},{"fixed":"` + fixed + `"}]}]}]}`
}

func (w *world) findings(ref ecr.ImageID) (*registry.ScanResult, error) {
	return w.DescribeImageScanFindings(context.Background(), root, app, ref, ecr.Page{})
}

// scanned waits for the end of a scan and returns what it found.
func (w *world) scanned(ref ecr.ImageID) (out *registry.ScanResult) {
	w.t.Helper()
	w.await("the scan of "+ref.Tag+ref.Digest, func() bool {
		r, err := w.findings(ref)
		w.ok(err)
		out = r
		return r.Scan.Status != ecr.ScanPending && r.Scan.Status != ecr.ScanInProgress
	})
	return out
}

// names are the vulnerabilities of a result, in its order.
func names(r *registry.ScanResult) (out []string) {
	for _, f := range r.Findings {
		out = append(out, f.Vulnerability)
	}
	return out
}
