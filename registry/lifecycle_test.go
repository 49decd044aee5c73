package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

const day = 24 * time.Hour

// rules writes a policy of rules, each a selection and perhaps " => archive".
func rules(list ...string) string {
	for i, r := range list {
		selection, to, _ := strings.Cut(r, " => ")
		action := `{"type":"expire"}`
		if to == "archive" {
			action = `{"type":"transition","targetStorageClass":"archive"}`
		}
		list[i] = fmt.Sprintf(`{"rulePriority":%d,"selection":{%s},"action":%s}`, i+1, selection, action)
	}
	return `{"rules":[` + strings.Join(list, ",") + `]}`
}

func keep(n int, more string) string {
	return fmt.Sprintf(`%s,"countType":"imageCountMoreThan","countNumber":%d`, more, n)
}

func older(days int, more string) string {
	return fmt.Sprintf(`%s,"countType":"sinceImagePushed","countUnit":"days","countNumber":%d`, more, days)
}

const anyTag, untagged = `"tagStatus":"any"`, `"tagStatus":"untagged"`

func prefix(p ...string) string {
	b, _ := json.Marshal(p)
	return `"tagStatus":"tagged","tagPrefixList":` + string(b)
}

func (w *world) put(id ecr.RepositoryID, policy string) {
	w.tb.Helper()
	w.ok(w.PutLifecyclePolicy(context.Background(), root, id, policy))
}

// tags lists the tags of a repository, and the digests of untagged images, all
// of any class.
func (w *world) tags(id ecr.RepositoryID) []string {
	w.tb.Helper()
	ids, next, err := w.ListImages(context.Background(), root, id, ecr.ImageFilter{Status: "ANY"}, ecr.Page{Limit: 1000})
	w.ok(err)
	if next != "" {
		w.tb.Fatal("more than a page")
	}
	var out []string
	for _, i := range ids {
		if i.Tag == "" {
			i.Tag = i.Digest
		}
		out = append(out, i.Tag)
	}
	slices.Sort(out)
	return out
}

func (w *world) wantTags(id ecr.RepositoryID, want ...string) {
	w.tb.Helper()
	slices.Sort(want)
	if got := w.tags(id); !slices.Equal(got, want) {
		w.tb.Errorf("images: %q, want %q", got, want)
	}
}

func (w *world) run(id ecr.RepositoryID) ecr.LifecycleRun {
	w.tb.Helper()
	run, err := w.ExpireImages(context.Background(), id)
	w.ok(err)
	return run
}

// preview makes a preview and returns it with all its results.
func (w *world) preview(id ecr.RepositoryID, text string) (ecr.LifecyclePreview, []ecr.PreviewResult) {
	w.tb.Helper()
	ctx := context.Background()
	_, err := w.StartLifecyclePolicyPreview(ctx, root, id, text)
	w.ok(err)
	if worked, err := w.RunPreview(ctx); err != nil || !worked {
		w.tb.Fatalf("preview: %t, %v", worked, err)
	}
	p, results, next, err := w.GetLifecyclePolicyPreview(ctx, root, id, ecr.PreviewFilter{}, ecr.Page{})
	for err == nil && next != "" {
		var more []ecr.PreviewResult
		p, more, next, err = w.GetLifecyclePolicyPreview(ctx, root, id, ecr.PreviewFilter{}, ecr.Page{Token: next})
		results = append(results, more...)
	}
	w.ok(err)
	return p, results
}

func (w *world) index(id ecr.RepositoryID, tag string, children ...*ecr.Manifest) *ecr.Manifest {
	w.tb.Helper()
	var list []string
	for _, c := range children {
		list = append(list, descriptor(c.Digest, len(c.Payload)))
	}
	m, err := w.PutImage(context.Background(), root, id, registry.PutImageInput{Tag: tag,
		Manifest: []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(list, ",") + `]}`)})
	w.ok(err)
	return m
}

// signature pushes an image whose subject is m.
func (w *world) signature(id ecr.RepositoryID, tag string, m *ecr.Manifest) *ecr.Manifest {
	w.tb.Helper()
	w.layer(id, "signature of "+m.Digest)
	s, err := w.PutImage(context.Background(), root, id, registry.PutImageInput{Tag: tag,
		Manifest: manifest(`,"subject":`+descriptor(m.Digest, len(m.Payload)), "signature of "+m.Digest)})
	w.ok(err)
	return s
}

func TestLifecyclePolicy(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	text := " " + rules(keep(2, anyTag)) + "\n"
	_, err := w.GetLifecyclePolicy(t.Context(), root, app)
	w.wantCode("none", err, ecr.LifecyclePolicyNotFound)
	err = w.PutLifecyclePolicy(t.Context(), root, app, `{"rules":[{}]}`)
	w.wantCode("no policy", err, ecr.InvalidParameter)
	if want := `Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: object has missing required properties (["action","rulePriority","selection"])'`; err == nil || err.Error() != want {
		t.Errorf("no policy: %v, want %s", err, want)
	}
	w.wantCode("no repository", w.PutLifecyclePolicy(t.Context(), root, in("none"), text), ecr.RepositoryNotFound)
	w.put(app, text)
	p, err := w.GetLifecyclePolicy(t.Context(), root, app)
	if err != nil || p.Text != text || !p.EvaluatedAt.IsZero() || p.Version != 1 || p.DueAt.After(w.time().Add(day)) {
		t.Errorf("put: %+v, %v", p, err)
	}
	w.pass(time.Hour)
	w.run(app)
	at := w.time()
	w.pass(time.Hour)
	w.put(app, text) // the same again
	again, err := w.GetLifecyclePolicy(t.Context(), root, app)
	if err != nil || again.ID != p.ID || again.Version != 2 || !again.EvaluatedAt.Equal(at) {
		t.Errorf("put again: %+v, %v", again, err)
	}
	w.put(app, rules(keep(3, anyTag)))
	other, err := w.GetLifecyclePolicy(t.Context(), root, app)
	if err != nil || other.ID == p.ID || !other.EvaluatedAt.IsZero() {
		t.Errorf("another: %+v, %v", other, err)
	}
	if _, err := w.PutImageTagMutability(t.Context(), root, app, ecr.Immutable, nil); err != nil { // leaves it alone
		t.Fatal(err)
	}
	gone, err := w.DeleteLifecyclePolicy(t.Context(), root, app)
	if err != nil || gone.Text != other.Text {
		t.Errorf("deleted: %+v, %v", gone, err)
	}
	_, err = w.DeleteLifecyclePolicy(t.Context(), root, app)
	w.wantCode("deleted twice", err, ecr.LifecyclePolicyNotFound)
	_, err = w.ExpireImages(t.Context(), app)
	w.wantCode("run without", err, ecr.LifecyclePolicyNotFound)
	w.sound()
}

func TestLifecycleOfTemplates(t *testing.T) {
	w := newWorld(t)
	bad := ecr.Template{Prefix: "ci", AppliedFor: []string{"CREATE_ON_PUSH"}, LifecyclePolicy: `{}`}
	_, err := w.CreateTemplate(t.Context(), root, bad)
	w.wantCode("a template with a bad policy", err, ecr.InvalidParameter)
	good := bad
	good.LifecyclePolicy = rules(keep(1, anyTag))
	_, err = w.CreateTemplate(t.Context(), root, good)
	w.ok(err)
	_, err = w.UpdateTemplate(t.Context(), root, "ci", registry.TemplateUpdate{LifecyclePolicy: &bad.LifecyclePolicy})
	w.wantCode("an update with a bad policy", err, ecr.InvalidParameter)
	id := in("ci/made")
	w.layer(id, "a") // creates it
	p, err := w.GetLifecyclePolicy(t.Context(), root, id)
	if err != nil || p.Text != good.LifecyclePolicy || p.DueAt.After(w.time().Add(day)) {
		t.Errorf("of a repository that a push made: %+v, %v", p, err)
	}
	w.sound()
}

// What expires, is archived, is held by an index, and follows its subject.
func TestExpireImages(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	old := w.image(app, "prod-1", "a", "shared")
	w.signature(app, "", old)
	amd := w.image(app, "", "amd64")
	arm := w.image(app, "", "arm64")
	w.index(app, "multi", amd, arm)
	w.image(app, "dev-1", "d", "shared")
	w.pass(5 * day)
	w.image(app, "prod-2", "b")
	w.image(app, "prod-3", "c")
	w.put(app, rules(keep(2, prefix("prod-")), older(3, prefix("dev-"))+" => archive", older(3, untagged)))

	run := w.run(app)
	if run.Expired != 2 || run.Archived != 1 || run.Withheld != 2 || run.EndedAt.IsZero() || run.Error != "" {
		t.Errorf("run: %+v", run)
	}
	w.wantTags(app, "prod-2", "prod-3", "multi", "dev-1", amd.Digest, arm.Digest)
	_, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: "dev-1"}, true)
	w.wantCode("an archived image", err, ecr.ImageNotFound)
	if again := w.run(app); again.Expired+again.Archived != 0 {
		t.Errorf("again: %+v", again)
	}
	w.put(app, rules(older(3, prefix("multi")), older(3, untagged)))
	if run := w.run(app); run.Expired != 1 {
		t.Errorf("the index: %+v", run)
	}
	if run := w.run(app); run.Expired != 2 { // which are free now
		t.Errorf("its children: %+v", run)
	}
	p, err := w.GetLifecyclePolicy(t.Context(), root, app)
	if err != nil || p.LastRun.Expired != 2 || !p.EvaluatedAt.Equal(w.time()) || !p.DueAt.After(w.time()) || p.DueAt.After(w.time().Add(day)) {
		t.Errorf("after the run: %+v, %v", p, err)
	}
	w.sound()
	repos, _, err := w.DescribeRepositories(t.Context(), root, account, []string{"team/app"}, ecr.Page{})
	if err != nil || repos[0].ImageCount != 3 {
		t.Errorf("%+v, %v", repos, err)
	}
}

// A subject with more referrers than a transaction takes, and more images than
// one takes.
func TestExpireManyImages(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	subject := w.image(app, "signed", "s")
	w.layer(app, "x")
	for i := range 450 {
		tag, more := fmt.Sprintf("v%d", i), fmt.Sprintf(`,"annotations":{"n":"%d"}`, i)
		if i%2 == 0 {
			tag, more = "", more+`,"subject":`+descriptor(subject.Digest, len(subject.Payload))
		}
		_, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: manifest(more, "x"), Tag: tag})
		w.ok(err)
	}
	w.pass(2 * day)
	last := w.image(app, "last", "l")
	w.put(app, rules(keep(1, anyTag)))
	if run := w.run(app); run.Expired != 451 {
		t.Errorf("run: %+v", run)
	}
	w.wantTags(app, "last")
	if _, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Digest: last.Digest}, true); err != nil {
		t.Error(err)
	}
	w.sound()
}

func TestPreview(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	_, _, _, err := w.GetLifecyclePolicyPreview(t.Context(), root, app, ecr.PreviewFilter{}, ecr.Page{})
	w.wantCode("none", err, ecr.LifecyclePolicyPreviewNotFound)
	_, err = w.StartLifecyclePolicyPreview(t.Context(), root, app, "")
	w.wantCode("no policy", err, ecr.LifecyclePolicyNotFound)
	var digests []string
	for i := range 7 {
		digests = append(digests, w.image(app, []string{"", fmt.Sprint("v", i)}[i%2], fmt.Sprint("layer", i)).Digest)
		w.pass(time.Hour)
	}
	policy := rules(keep(2, anyTag))
	p, err := w.StartLifecyclePolicyPreview(t.Context(), root, app, policy)
	if err != nil || p.Status != ecr.PreviewInProgress || p.Policy != policy {
		t.Errorf("started: %+v, %v", p, err)
	}
	_, err = w.StartLifecyclePolicyPreview(t.Context(), root, app, policy)
	w.wantCode("twice", err, ecr.LifecyclePolicyPreviewInProgress)
	w.restart() // and taken up after it
	if worked, err := w.RunPreview(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	if worked, err := w.RunPreview(t.Context()); worked || err != nil {
		t.Error("there was another", err)
	}
	get := func(f ecr.PreviewFilter, page ecr.Page) (digests []string, next string) {
		t.Helper()
		p, results, next, err := w.GetLifecyclePolicyPreview(t.Context(), root, app, f, page)
		w.ok(err)
		if p.Status != ecr.PreviewComplete || p.Expiring != 5 {
			t.Errorf("%+v", p)
		}
		for _, r := range results {
			if r.Rule != 1 || r.Action != "EXPIRE" || !strings.Contains(r.Reason, "keeps 2") {
				t.Errorf("%+v", r)
			}
			digests = append(digests, r.Digest)
		}
		return digests, next
	}
	want := func(what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	got, next := get(ecr.PreviewFilter{}, ecr.Page{Limit: 3})
	want("a page", got, digests[:3])
	got, end := get(ecr.PreviewFilter{}, ecr.Page{Limit: 3, Token: next})
	want("the last page", got, digests[3:5])
	if end != "" {
		t.Error("there is a page after the last")
	}
	got, _ = get(ecr.PreviewFilter{TagStatus: "TAGGED"}, ecr.Page{})
	want("tagged", got, []string{digests[1], digests[3]})
	got, _ = get(ecr.PreviewFilter{TagStatus: "UNTAGGED"}, ecr.Page{})
	want("untagged", got, []string{digests[0], digests[2], digests[4]})
	got, _ = get(ecr.PreviewFilter{IDs: []ecr.ImageID{{Tag: "v1"}, {Digest: digests[2]}, {Digest: digests[3], Tag: "v1"}, {Digest: digests[6]}, {Tag: "none"}}}, ecr.Page{})
	want("by ID", got, []string{digests[1], digests[2]})
	w.wantTags(app, "v1", "v3", "v5", digests[0], digests[2], digests[4], digests[6]) // it deleted nothing

	w.put(app, rules(keep(1, anyTag)))
	if _, results := w.preview(app, ""); len(results) != 6 {
		t.Errorf("the stored policy: %+v", results)
	}
	_, _, _, err = w.GetLifecyclePolicyPreview(t.Context(), root, app, ecr.PreviewFilter{}, ecr.Page{Token: next})
	w.wantCode("a token of the preview before", err, ecr.InvalidParameter)
	w.pass(day)
	w.ok(w.ClearPreviews(t.Context()))
	p, results, _, err := w.GetLifecyclePolicyPreview(t.Context(), root, app, ecr.PreviewFilter{}, ecr.Page{})
	if err != nil || p.Status != ecr.PreviewExpired || len(results) != 0 {
		t.Errorf("a day later: %+v, %v", p, err)
	}
	w.ok(w.db.View(t.Context(), func(tx *meta.Tx) error {
		if id, _, err := tx.StalePreview(); err != meta.ErrNotFound {
			t.Errorf("preview %d is left: %v", id, err)
		}
		return nil
	}))
	w.ok2(w.DeleteRepository(t.Context(), root, app, true))
	w.ok(w.ClearPreviews(t.Context()))
	w.sound()
}

func (w *world) ok2(_ any, err error) {
	w.tb.Helper()
	w.ok(err)
}

// A preview that breaks off again and again fails.
func TestPreviewThatBreaksOff(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.image(app, "v1", "a")
	_, err := w.StartLifecyclePolicyPreview(t.Context(), root, app, rules(keep(1, anyTag)))
	w.ok(err)
	for i := range 3 { // processes that end before they are done
		w.ok(w.db.Update(t.Context(), func(tx *meta.Tx) error {
			_, _, err := tx.ClaimPreview(meta.Claim{Owner: fmt.Sprint(i), Now: w.time(), Until: w.time().Add(time.Hour), Alone: true})
			return err
		}))
	}
	if _, err := w.RunPreview(t.Context()); err == nil {
		t.Error("it did not fail")
	}
	p, _, _, err := w.GetLifecyclePolicyPreview(t.Context(), root, app, ecr.PreviewFilter{}, ecr.Page{})
	if err != nil || p.Status != ecr.PreviewFailed {
		t.Errorf("%+v, %v", p, err)
	}
	if p, _ := w.preview(app, rules(keep(1, anyTag))); p.Status != ecr.PreviewComplete {
		t.Errorf("started anew: %+v", p)
	}
}
