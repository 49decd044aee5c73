package registry

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/blob/mem"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

// TestLifecycleOnPostgres runs the tests of this file on PostgreSQL, with fewer
// repositories each.
func TestLifecycleOnPostgres(t *testing.T) {
	pg, err := pgtest.Start()
	if errors.Is(err, pgtest.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	if before == "100" { // nobody asked for more
		checks.Set("12")
	}
	t.Cleanup(func() { checks.Set(before) })
	t.Run("PreviewIsRun", func(t *testing.T) { previewIsRun(t, pg.Database(t)) })
	t.Run("ChangesBesideRun", func(t *testing.T) { changesBesideRun(t, pg.Database(t)) })
	t.Run("UndoOfRuns", func(t *testing.T) { undoOfRuns(t, pg.Database(t)) })
	t.Run("RunsBesidePushes", func(t *testing.T) { runsBesidePushes(t, pg.Database(t)) })
}

func TestRunsBesidePushes(t *testing.T) { runsBesidePushes(t, "") }

// runsBesidePushes has runs go on while images are pushed and tags move: what
// was acknowledged as one of the last three of prod is there.
func runsBesidePushes(t *testing.T, url string) {
	s := newShelf(t, url)
	ctx := t.Context()
	id := ecr.RepositoryID{Account: s.root.Account, Name: "busy/app"}
	ok := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	_, err := s.CreateRepository(ctx, s.root, id, ecr.Repository{LifecyclePolicy: `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPrefixList":["prod-"],"countType":"imageCountMoreThan","countNumber":3},"action":{"type":"expire"}},` +
		`{"rulePriority":2,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`})
	ok(err)
	_, err = s.UploadLayer(ctx, s.root, id, strings.NewReader("x"), 1, string(oci.Of("sha256", []byte("x"))))
	ok(err)
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		expired := int64(0)
		for {
			run, err := s.ExpireImages(ctx, id)
			ok(err)
			expired += run.Expired
			select {
			case <-stop:
				done <- expired
				return
			default:
			}
		}
	}()
	layer := fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":1}`, oci.Of("sha256", []byte("x")))
	var last []string // digests, the newest last
	for i := range 120 {
		m, err := s.PutImage(ctx, s.root, id, PutImageInput{Tag: fmt.Sprintf("prod-%d", i), MoreTags: []string{"prod-latest"}, Manifest: []byte(
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + layer + `,"layers":[]` + fmt.Sprintf(`,"annotations":{"n":"%d"}}`, i))})
		ok(err)
		if last = append(last, m.Digest); len(last) > 3 {
			last = last[1:]
		}
		for _, d := range last {
			_, err := s.GetManifest(ctx, s.root, id, ecr.ImageID{Digest: d}, true)
			ok(err)
		}
	}
	close(stop)
	if n := <-done; n == 0 {
		t.Error("nothing expired meanwhile")
	}
	rep, err := s.Fsck(ctx, FsckOptions{})
	if ok(err); len(rep.Findings) > 0 {
		t.Error(rep.Findings)
	}
}

// A shelf is a registry in which one repository after the other is filled.
type shelf struct {
	*Registry
	mu    sync.Mutex
	clock time.Time
	root  ecr.Caller
	n     int
}

// now is later at each look, by a millisecond.
func (s *shelf) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(time.Millisecond)
	return s.clock
}

func (s *shelf) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

func newShelf(t testing.TB, url string) *shelf {
	if url == "" {
		url = filepath.Join(t.TempDir(), "meta.db")
	}
	db, err := meta.Open(context.Background(), meta.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &shelf{clock: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		root: ecr.Caller{Principal: &iam.Principal{ARN: "arn:aws:iam::123456789012:root", Account: "123456789012", Root: true}}}
	s.Registry = New(db, new(mem.Store), Config{Region: "us-east-1", Host: func(string) string { return "registry.test" }, Limits: DefaultLimits(), Times: DefaultTimes(), LinkKey: make([]byte, 32),
		Now: s.now})
	return s
}

// An actor does things in a repository.
type actor struct {
	*shelf
	t       *rapid.T
	id      ecr.RepositoryID
	digests []string // that were ever pushed
}

func (s *shelf) repository(t *rapid.T) *actor {
	s.n++
	a := &actor{shelf: s, t: t, id: ecr.RepositoryID{Account: s.root.Account, Name: fmt.Sprintf("repo/n%d", s.n)}}
	settings := ecr.Repository{}
	if rapid.IntRange(0, 3).Draw(t, "guarded") == 0 {
		settings.Tags = []ecr.Tag{{Key: "ecru:keep-pulled-within", Value: "3d"}}
	}
	_, err := s.CreateRepository(context.Background(), s.root, a.id, settings)
	a.ok(err)
	_, err = s.UploadLayer(context.Background(), s.root, a.id, strings.NewReader("x"), 1, string(oci.Of("sha256", []byte("x"))))
	a.ok(err)
	return a
}

func (a *actor) ok(err error) {
	if err != nil {
		a.t.Fatal(err)
	}
}

// may lets errors pass that a caller may know: what is there changes.
func (a *actor) may(err error) {
	if _, known := errors.AsType[*ecr.Error](err); err != nil && !known {
		a.t.Fatal(err)
	}
}

func (a *actor) tag() string {
	return rapid.SampledFrom([]string{"", "a", "b", "ab", "a-1", "b-1", "x"}).Draw(a.t, "tag")
}

func (a *actor) digest() string { return rapid.SampledFrom(a.digests).Draw(a.t, "digest") }

// push pushes an image, an index or a referrer.
func (a *actor) push() {
	ctx := context.Background()
	a.n++
	describe := func(digest string, size int) string {
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}`, digest, size)
	}
	more := fmt.Sprintf(`,"annotations":{"n":"%d"}`, a.n)
	kind := "image"
	if len(a.digests) > 0 {
		kind = rapid.SampledFrom([]string{"image", "image", "image", "index", "referrer"}).Draw(a.t, "kind")
	}
	layer := describe(string(oci.Of("sha256", []byte("x"))), 1)
	text := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + layer + `,"layers":[]` + more
	switch kind {
	case "index":
		text = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + describe(a.digest(), 9) + `,` + describe(a.digest(), 9) + `]` + more
	case "referrer":
		text += `,"subject":` + describe(a.digest(), 9)
	}
	m, err := a.PutImage(ctx, a.root, a.id, PutImageInput{Manifest: []byte(text + "}"), Tag: a.tag()})
	if a.may(err); err == nil {
		a.digests = append(a.digests, m.Digest)
	}
}

// change changes something.
func (a *actor) change() {
	ctx := context.Background()
	ref := ecr.ImageID{Digest: a.digest()}
	switch rapid.SampledFrom([]string{"push", "retag", "retag", "untag", "delete", "archive", "restore", "pull"}).Draw(a.t, "change") {
	case "push":
		a.push()
	case "retag":
		m, err := a.GetManifest(ctx, a.root, a.id, ref, true)
		a.may(err)
		if err == nil {
			_, err = a.PutImage(ctx, a.root, a.id, PutImageInput{Manifest: m.Payload, MediaType: m.MediaType, Digest: m.Digest, Tag: a.tag()})
			a.may(err)
		}
	case "untag":
		if tag := a.tag(); tag != "" {
			a.may(a.DeleteManifest(ctx, a.root, a.id, ecr.ImageID{Tag: tag}))
		}
	case "delete":
		a.may(a.DeleteManifest(ctx, a.root, a.id, ref))
	case "archive":
		_, err := a.UpdateImageStorageClass(ctx, a.root, a.id, ref, true)
		a.may(err)
	case "restore":
		_, err := a.UpdateImageStorageClass(ctx, a.root, a.id, ref, false)
		a.may(err)
	case "pull":
		_, err := a.GetManifest(ctx, a.root, a.id, ref, false)
		a.may(err)
		a.ok(a.FlushPulls(ctx))
	}
}

func (a *actor) fill() {
	for range rapid.IntRange(1, 14).Draw(a.t, "images") {
		a.push()
		a.pass(time.Duration(rapid.SampledFrom([]int{0, 1, 20, 24, 50}).Draw(a.t, "hours")) * time.Hour)
	}
	for range rapid.IntRange(0, 4).Draw(a.t, "changes") {
		if len(a.digests) > 0 {
			a.change()
		}
		a.pass(time.Hour)
	}
}

// policies are such in which counts, ages, tags and classes play together.
func drawLifecycle(t *rapid.T) string {
	selections := []string{`"tagStatus":"tagged","tagPrefixList":["a"]`, `"tagStatus":"tagged","tagPatternList":["*b*"]`, `"tagStatus":"tagged","tagPrefixList":["a","b"]`, `"tagStatus":"untagged"`, `"tagStatus":"any"`}
	chosen := map[int]bool{}
	for range rapid.IntRange(1, 4).Draw(t, "rules") {
		chosen[rapid.IntRange(0, len(selections)-1).Draw(t, "selection")] = true
	}
	var list []string
	for i, s := range selections {
		if !chosen[i] {
			continue
		}
		count := rapid.SampledFrom([]string{`"countType":"imageCountMoreThan","countNumber":1`, `"countType":"imageCountMoreThan","countNumber":3`, `"countType":"sinceImagePushed","countUnit":"days","countNumber":2`}).Draw(t, "count")
		action := rapid.SampledFrom([]string{`{"type":"expire"}`, `{"type":"expire"}`, `{"type":"transition","targetStorageClass":"archive"}`}).Draw(t, "action")
		list = append(list, fmt.Sprintf(`{"rulePriority":%d,"selection":{%s,%s},"action":%s}`, i+1, s, count, action))
	}
	return `{"rules":[` + strings.Join(list, ",") + `]}`
}

// state is what a repository has: digest → status and tags.
func (a *actor) state() map[string]string {
	images, _, err := a.DescribeImages(context.Background(), a.root, a.id, nil, ecr.ImageFilter{Status: "ANY"}, ecr.Page{Limit: 1000})
	a.ok(err)
	out := map[string]string{}
	for _, i := range images {
		out[i.Digest] = fmt.Sprint(i.Status, i.Tags)
	}
	return out
}

// TestPreviewIsRun: a preview and a run of the same moment agree on every
// image, and the run does nothing else.
func TestPreviewIsRun(t *testing.T) { previewIsRun(t, "") }

func previewIsRun(t *testing.T, url string) {
	s := newShelf(t, url)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		a := s.repository(t)
		a.fill()
		text := drawLifecycle(t)
		a.ok(a.PutLifecyclePolicy(ctx, a.root, a.id, text))
		_, err := a.StartLifecyclePolicyPreview(ctx, a.root, a.id, "")
		a.ok(err)
		_, err = a.RunPreview(ctx)
		a.ok(err)
		p, results, next, err := a.GetLifecyclePolicyPreview(ctx, a.root, a.id, ecr.PreviewFilter{}, ecr.Page{})
		if err != nil || next != "" || p.Status != ecr.PreviewComplete {
			t.Fatal(p, next, err)
		}
		_, withheld, _, err := a.GetLifecyclePolicyPreview(ctx, a.root, a.id, ecr.PreviewFilter{Withheld: true}, ecr.Page{})
		a.ok(err)
		want := a.state()
		expired, archived := int64(0), int64(0)
		for _, r := range results {
			if r.Action == "EXPIRE" {
				delete(want, r.Digest)
				expired++
			} else {
				want[r.Digest] = strings.Replace(want[r.Digest], "ACTIVE", "ARCHIVED", 1)
				archived++
			}
		}
		run, err := a.ExpireImages(ctx, a.id)
		a.ok(err)
		if got := a.state(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s\nthe run left %v\nthe preview    %v", text, got, want)
		}
		if run.Expired != expired || run.Archived != archived || run.Withheld != int64(len(withheld)) || p.Expiring != expired || p.Transitioning != archived || p.Withheld != run.Withheld {
			t.Fatalf("run %+v, preview %+v with %d withheld", run, p, len(withheld))
		}
		rep, err := a.Fsck(ctx, FsckOptions{Quick: true})
		if a.ok(err); len(rep.Findings) > 0 {
			t.Fatal(rep.Findings)
		}
	})
}

// TestChangesBesideRun: whatever changes between the evaluation of a run and a
// transaction of it, the transaction acts on nothing that the policy keeps then.
func TestChangesBesideRun(t *testing.T) { changesBesideRun(t, "") }

func changesBesideRun(t *testing.T, url string) {
	s := newShelf(t, url)
	acted := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		a := s.repository(t)
		a.fill()
		text := drawLifecycle(t)
		a.ok(a.PutLifecyclePolicy(ctx, a.root, a.id, text))
		x := &execution{r: a.Registry, id: a.id}
		a.ok(x.begin(ctx))
		var err error
		x.policy, err = lifecycle.Parse([]byte(x.record.Text))
		a.ok(err)
		x.now = a.now()
		stale, d, err := a.evaluate(ctx, x.repo, a.id, x.policy, x.now)
		a.ok(err)
		lists := batches(d)
		if len(a.digests) > 0 {
			for range rapid.IntRange(1, 3).Draw(t, "changes beside") {
				a.change()
			}
		}
		for _, due := range lists {
			fresh, now, err := a.evaluate(ctx, x.repo, a.id, x.policy, x.now)
			a.ok(err)
			want := map[string]string{}
			for i := range now.Due() {
				if now.due(i) {
					want[fresh.images[i].Digest] = now.Verdicts[i].Outcome.String()
				}
			}
			before := a.state()
			_, err = x.batch(ctx, stale.of(due), stale.of(d.Witnesses(due)))
			a.ok(err)
			after := a.state()
			for digest, was := range before {
				is, there := after[digest]
				did := ""
				switch {
				case !there:
					did = "EXPIRE"
				case is != was:
					did = "TRANSITION"
				}
				if did == "" {
					continue
				}
				acted++
				// A referrer of an archived subject is archived where the subject is not expired with it.
				if want[digest] != did && !(did == "TRANSITION" && want[digest] == "EXPIRE") {
					t.Fatalf("%s\n%s of %s, which was %s: the policy wants %q", text, did, digest, was, want[digest])
				}
			}
		}
		a.ok(x.end(ctx, nil))
		rep, err := a.Fsck(ctx, FsckOptions{Quick: true})
		if a.ok(err); len(rep.Findings) > 0 {
			t.Fatal(rep.Findings)
		}
	})
	if acted == 0 && !testing.Short() {
		t.Error("no run acted on anything")
	}
}

// TestUndoOfRuns: whatever a run expired, restoring it brings the repository
// back as it was, and its bytes are still there.
func TestUndoOfRuns(t *testing.T) { undoOfRuns(t, "") }

func undoOfRuns(t *testing.T, url string) {
	s := newShelf(t, url)
	undone := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		a := s.repository(t)
		a.fill()
		text := strings.ReplaceAll(drawLifecycle(t), `{"type":"transition","targetStorageClass":"archive"}`, `{"type":"expire"}`)
		a.ok(a.PutLifecyclePolicy(ctx, a.root, a.id, text))
		before := a.records()
		for range 3 { // children that were held go later
			_, err := a.ExpireImages(ctx, a.id)
			a.ok(err)
			a.pass(30 * time.Hour) // longer than what nobody refers to stays
			_, _, err = a.ReviewLinks(ctx, 1000)
			a.ok(err)
		}
		list, next, err := a.ListExpiredImages(ctx, a.root, a.id, ecr.Page{Limit: 100})
		if a.ok(err); next != "" {
			t.Fatal("more than a page")
		}
		var digests []string
		for _, e := range list {
			digests = append(digests, e.Digest)
		}
		if len(digests) > 1 {
			digests = rapid.Permutation(digests).Draw(t, "order")
		}
		if len(digests) > 0 {
			undone++
			restored, failures, err := a.RestoreExpiredImages(ctx, a.root, a.id, digests)
			if a.ok(err); len(failures) > 0 || len(restored) != len(digests) {
				t.Fatalf("%d of %d restored, %v", len(restored), len(digests), failures)
			}
		}
		if got := a.records(); !slices.Equal(got, before) {
			t.Fatalf("after the undo %v\nbefore the run %v", got, before)
		}
		rep, err := a.Fsck(ctx, FsckOptions{Quick: true})
		if a.ok(err); len(rep.Findings) > 0 {
			t.Fatal(rep.Findings)
		}
	})
	if undone == 0 && !testing.Short() {
		t.Error("nothing expired")
	}
}

// records are all images with what no run changes but by expiring them: a
// referrer of an archived image is archived by any policy.
func (a *actor) records() (out []string) {
	images, _, err := a.DescribeImages(context.Background(), a.root, a.id, nil, ecr.ImageFilter{Status: "ANY"}, ecr.Page{Limit: 1000})
	a.ok(err)
	for _, i := range images {
		out = append(out, fmt.Sprint(i.Digest, i.Tags, i.Subject, i.MediaType, i.Size, i.PushedAt, i.ActivatedAt, i.LastPulledAt))
	}
	slices.Sort(out)
	return out
}
