package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

func TestPushAndPull(t *testing.T) {
	for name, inline := range inlines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inline).onDisk()
			w.create("team/app")
			big := strings.Repeat("0123456789abcdef", 200_000) // of several chunks
			m := w.image(app, "v1", "config", "layer", big)
			got, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: "v1"}, false)
			w.ok(err)
			if !bytes.Equal(got.Payload, manifest("", "config", "layer", big)) || got.Digest != m.Digest || got.Size != int64(len("configlayer")+len(big)) {
				t.Errorf("manifest %s of size %d", got.Digest, got.Size)
			}
			for _, l := range []string{"config", "layer", big} {
				data, err := w.read(app, sum([]byte(l)))
				if err != nil || data != l {
					t.Errorf("a layer came back different: %v", err)
				}
			}
			w.ok(w.FlushPulls(t.Context()))
			images, _, err := w.DescribeImages(t.Context(), root, app, []ecr.ImageID{{Tag: "v1"}}, ecr.ImageFilter{}, ecr.Page{})
			w.ok(err)
			if !images[0].LastPulledAt.Equal(w.time()) || !slices.Equal(images[0].Tags, []string{"v1"}) {
				t.Errorf("described as %+v", images[0])
			}
			again, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: m.Payload, Tag: "v1"})
			w.wantCode("the same push again", err, ecr.ImageAlreadyExists)
			if again == nil || again.Digest != m.Digest {
				t.Error("the image that exists must come with the error")
			}
			w.restart()
			if _, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Digest: m.Digest}, true); err != nil {
				t.Errorf("after a restart: %v", err)
			}
			w.sound()
		})
	}
}

func TestPutImageRefuses(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.layer(app, "config")
	put := func(m string, change func(*registry.PutImageInput)) error {
		in := registry.PutImageInput{Manifest: []byte(m), Tag: "v1"}
		if change != nil {
			change(&in)
		}
		_, err := w.PutImage(t.Context(), root, app, in)
		return err
	}
	good := string(manifest("", "config"))
	w.wantCode("no JSON", put("{", nil), ecr.InvalidManifest)
	w.wantCode("a layer that is not there", put(string(manifest("", "config", "missing")), nil), ecr.LayersNotFound)
	w.wantCode("a size that lies", put(strings.Replace(good, `"size":6`, `"size":7`, 1), nil), ecr.InvalidManifest)
	w.wantCode("another digest", put(good, func(in *registry.PutImageInput) { in.Digest = sum([]byte("x")) }), ecr.ImageDigestDoesNotMatch)
	w.wantCode("a bad tag", put(good, func(in *registry.PutImageInput) { in.Tag = "../x" }), ecr.InvalidParameter)
	w.wantCode("another content type", put(good, func(in *registry.PutImageInput) { in.MediaType = "text/plain" }), ecr.InvalidManifest)
	w.wantCode("a child that is not there", put(`{"schemaVersion":2,"manifests":[`+descriptor(sum([]byte("x")), 1)+`]}`, nil), ecr.ReferencedImagesNotFound)
	_, err := w.PutImage(t.Context(), root, in("none"), registry.PutImageInput{Manifest: []byte(good), Tag: "v1"})
	w.wantCode("no repository", err, ecr.RepositoryNotFound)
	tags, _, err := w.ListTags(t.Context(), root, app, "", 0)
	if err != nil || len(tags) != 0 {
		t.Errorf("a refused push left %v, %v", tags, err)
	}
	w.sound()
}

func TestTagsMove(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	one, two := w.image(app, "latest", "one"), w.image(app, "latest", "two")
	got, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: "latest"}, false)
	w.ok(err)
	if got.Digest != two.Digest {
		t.Error("latest did not move")
	}
	untagged, _, err := w.ListImages(t.Context(), root, app, ecr.ImageFilter{TagStatus: "UNTAGGED"}, ecr.Page{})
	if err != nil || len(untagged) != 1 || untagged[0].Digest != one.Digest {
		t.Errorf("untagged: %v, %v", untagged, err)
	}
	m, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: one.Payload, Digest: one.Digest, MoreTags: []string{"a", "b", "a"}})
	w.ok(err)
	tags, _, err := w.ListTags(t.Context(), root, app, "", 0)
	if err != nil || fmt.Sprint(tags) != "[a b latest]" || m.Digest != one.Digest {
		t.Errorf("tags %v, %v", tags, err)
	}
	w.sound()
}

func TestImmutable(t *testing.T) {
	tests := []struct {
		mode    ecr.Mutability
		filters []string
		tag     string
		moves   bool
	}{
		{ecr.Mutable, nil, "v1", true},
		{ecr.Immutable, nil, "v1", false},
		{ecr.ImmutableWithExclusion, []string{"dev-*"}, "v1", false},
		{ecr.ImmutableWithExclusion, []string{"dev-*"}, "dev-1", true},
		{ecr.MutableWithExclusion, []string{"v*"}, "v1", false},
		{ecr.MutableWithExclusion, []string{"v*"}, "dev-1", true},
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.create("team/app")
		w.image(app, tt.tag, "one")
		_, err := w.PutImageTagMutability(t.Context(), root, app, tt.mode, tt.filters)
		w.ok(err)
		w.layer(app, "two")
		_, err = w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: manifest("", "two"), Tag: tt.tag})
		if tt.moves {
			w.ok(err)
			continue
		}
		w.wantCode(fmt.Sprint(tt), err, ecr.ImageTagAlreadyExists)
		ids, _, err := w.ListImages(t.Context(), root, app, ecr.ImageFilter{}, ecr.Page{})
		if err != nil || len(ids) != 1 {
			t.Errorf("%v: the refused image was kept: %v, %v", tt, ids, err)
		}
		w.sound()
	}
	w := newWorld(t)
	w.create("team/app")
	_, err := w.PutImageTagMutability(t.Context(), root, app, ecr.ImmutableWithExclusion, nil)
	w.wantCode("filters missing", err, ecr.InvalidParameter)
	_, err = w.PutImageTagMutability(t.Context(), root, app, ecr.Mutable, []string{"x"})
	w.wantCode("filters too many", err, ecr.InvalidParameter)
}

func TestDelete(t *testing.T) {
	for name, inline := range inlines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inline)
			w.create("team/app")
			child := w.image(app, "child", "one")
			index := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + descriptor(child.Digest, len(child.Payload)) + `]}`)
			list, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: index, Tag: "latest", MoreTags: []string{"stable"}})
			w.ok(err)
			if list.Size != child.Size {
				t.Errorf("the index has size %d, want its largest child's %d", list.Size, child.Size)
			}
			deleted, failures, err := w.BatchDeleteImage(t.Context(), root, app, []ecr.ImageID{{Digest: child.Digest}, {Tag: "none"}, {}, {Digest: "x"}})
			w.ok(err)
			var codes []string
			for _, f := range failures {
				codes = append(codes, f.Code)
			}
			slices.Sort(codes)
			if len(deleted) != 0 || fmt.Sprint(codes) != "[ImageNotFound ImageReferencedByManifestList InvalidImageDigest MissingDigestAndTag]" {
				t.Errorf("deleted %v, failures %v", deleted, codes)
			}
			w.ok(w.DeleteManifest(t.Context(), root, app, ecr.ImageID{Tag: "child"})) // the tag alone
			if _, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Digest: child.Digest}, true); err != nil {
				t.Errorf("untagged, and gone: %v", err)
			}
			deleted, _, err = w.BatchDeleteImage(t.Context(), root, app, []ecr.ImageID{{Tag: "stable"}, {Tag: "latest"}, {Digest: child.Digest}})
			if err != nil || len(deleted) != 3 {
				t.Errorf("deleted %v, %v", deleted, err)
			}
			if _, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Digest: list.Digest}, true); err == nil {
				t.Error("the index is left after its last tag")
			}
			w.sound()
			_, err = w.DeleteRepository(t.Context(), root, app, false)
			w.ok(err)
			_, err = w.DescribeImageOf(t, app)
			w.wantCode("the repository", err, ecr.RepositoryNotFound)
		})
	}
}

// DescribeImageOf is a read that fails where there is no repository.
func (w *world) DescribeImageOf(t *testing.T, id ecr.RepositoryID) (int, error) {
	images, _, err := w.DescribeImages(t.Context(), root, id, nil, ecr.ImageFilter{}, ecr.Page{})
	return len(images), err
}

func TestDeleteRepositoryByForce(t *testing.T) {
	w := newWorld(t)
	w.create("team/app", "kept")
	for n := range 250 { // more than a batch
		w.image(app, fmt.Sprint("v", n), fmt.Sprint("layer", n), "shared")
	}
	w.image(in("kept"), "v", "shared")
	_, err := w.DeleteRepository(t.Context(), root, app, false)
	w.wantCode("without force", err, ecr.RepositoryNotEmpty)
	_, err = w.DeleteRepository(t.Context(), root, app, true)
	w.ok(err)
	if data, err := w.read(in("kept"), sum([]byte("shared"))); err != nil || data != "shared" {
		t.Errorf("a layer that another repository has: %q, %v", data, err)
	}
	w.create("team/app")
	_, err = w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: "v1"}, false)
	w.wantCode("an image of the repository before", err, ecr.ImageNotFound)
	_, err = w.StatLayer(t.Context(), root, app, sum([]byte("shared")))
	w.wantCode("a layer of the repository before", err, ecr.LayersNotFound)
	w.sound()
}

func TestReferrers(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	subject := sum([]byte("a subject that does not exist"))
	w.layer(app, "c")
	for _, typ := range []string{"sig", "sbom", "sig2"} {
		m := manifest(`,"artifactType":"`+typ+`","subject":`+descriptor(subject, 1)+`,"annotations":{"of":"`+typ+`"}`, "c")
		got, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: m})
		w.ok(err)
		if got.Subject != subject {
			t.Errorf("subject %q", got.Subject)
		}
	}
	var all []string
	for page := (ecr.Page{Limit: 2}); ; {
		refs, next, err := w.ListImageReferrers(t.Context(), root, app, subject, nil, page)
		w.ok(err)
		for _, r := range refs {
			all = append(all, r.ArtifactType+r.Annotations["of"])
		}
		if next == "" {
			break
		}
		page.Token = next
	}
	slices.Sort(all)
	if fmt.Sprint(all) != "[sbomsbom sig2sig2 sigsig]" {
		t.Errorf("referrers %v", all)
	}
	refs, _, err := w.ListImageReferrers(t.Context(), root, app, subject, []string{"sbom"}, ecr.Page{})
	if err != nil || len(refs) != 1 {
		t.Errorf("of one type: %d, %v", len(refs), err)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	w.create("team/app", "bb", "cc")
	for n := range 7 {
		w.image(app, fmt.Sprintf("v%d", n), fmt.Sprint(n))
	}
	var tags []string
	for after := ""; ; {
		page, more, err := w.ListTags(t.Context(), root, app, after, 3)
		w.ok(err)
		tags = append(tags, page...)
		if !more {
			break
		}
		after = page[len(page)-1]
	}
	if fmt.Sprint(tags) != "[v0 v1 v2 v3 v4 v5 v6]" {
		t.Errorf("tags %v", tags)
	}
	seen := map[string]bool{}
	for page := (ecr.Page{Limit: 2}); ; {
		images, next, err := w.DescribeImages(t.Context(), root, app, nil, ecr.ImageFilter{}, page)
		w.ok(err)
		for _, i := range images {
			seen[i.Digest] = true
		}
		if page.Token = next; next == "" {
			break
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d images in pages, want 7", len(seen))
	}
	repos, next, err := w.DescribeRepositories(t.Context(), root, account, nil, ecr.Page{Limit: 2})
	if err != nil || len(repos) != 2 || next == "" {
		t.Errorf("%d repositories, next %q, %v", len(repos), next, err)
	}
	_, _, err = w.DescribeRepositories(t.Context(), root, account, nil, ecr.Page{Token: "junk"})
	w.wantCode("a token that is none", err, ecr.InvalidParameter)
	_, _, err = w.ListTags(t.Context(), root, app, "", 1001)
	w.wantCode("a page too large", err, ecr.InvalidParameter)
	_, _, err = w.DescribeRepositories(t.Context(), root, account, []string{"bb", "none"}, ecr.Page{})
	w.wantCode("an unknown name", err, ecr.RepositoryNotFound)
}

func TestUploads(t *testing.T) {
	for name, w := range map[string]*world{"mem": newWorld(t), "disk": newWorld(t).onDisk(),
		"some inline": newWorld(t, upTo(7)).onDisk(), "inline": newWorld(t, upTo(1000))} {
		t.Run(name, func(t *testing.T) {
			w.create("team/app")
			ctx := t.Context()
			data := "hello, chunked world"
			u, err := w.InitiateUpload(ctx, root, app)
			w.ok(err)
			u2, err := w.AppendUpload(ctx, root, app, u.ID, 0, strings.NewReader(data[:5]), 5)
			if err != nil || u2.Size != 5 {
				t.Fatalf("%+v, %v", u2, err)
			}
			u2, err = w.AppendUpload(ctx, root, app, u.ID, 7, strings.NewReader(data[7:]), -1)
			w.wantCode("a gap", err, ecr.InvalidLayerPart)
			if u2.Size != 5 {
				t.Errorf("the error says the upload has %d bytes", u2.Size)
			}
			broken := io.MultiReader(strings.NewReader(data[5:9]), iotest.ErrReader(errors.New("the client went")))
			u2, err = w.AppendUpload(ctx, root, app, u.ID, -1, broken, 10)
			w.wantCode("a body that breaks off", err, ecr.InvalidLayerPart)
			if u2.Size != 9 {
				t.Errorf("%d bytes are kept, want 9", u2.Size)
			}
			u2, err = w.AppendUpload(ctx, root, app, u.ID, 9, strings.NewReader(data[9:10]), 5)
			w.wantCode("a body shorter than it says", err, ecr.InvalidLayerPart)
			if u2.Size != 10 {
				t.Errorf("%d bytes are kept, want 10", u2.Size)
			}
			w.restart()
			got, err := w.UploadStatus(ctx, root, app, u.ID)
			if err != nil || got.Size != 10 {
				t.Fatalf("after a restart: %+v, %v", got, err)
			}
			_, err = w.UploadStatus(ctx, root, in("none"), u.ID)
			w.wantCode("through no repository", err, ecr.RepositoryNotFound)
			l, err := w.CompleteUpload(ctx, root, app, u.ID, 10, strings.NewReader(data[10:]), -1, sum([]byte(data)))
			if err != nil || l.Size != int64(len(data)) {
				t.Fatalf("%+v, %v", l, err)
			}
			if back, err := w.read(app, l.Digest); back != data || err != nil {
				t.Errorf("read %q, %v", back, err)
			}
			_, err = w.UploadStatus(ctx, root, app, u.ID)
			w.wantCode("after its end", err, ecr.UploadNotFound)

			u, err = w.InitiateUpload(ctx, root, app)
			w.ok(err)
			_, err = w.CompleteUpload(ctx, root, app, u.ID, -1, strings.NewReader("x"), 1, sum([]byte("y")))
			w.wantCode("another digest", err, ecr.InvalidLayer)
			_, err = w.StatLayer(ctx, root, app, sum([]byte("y")))
			w.wantCode("its layer", err, ecr.LayersNotFound)
			_, err = w.UploadStatus(ctx, root, app, u.ID)
			w.wantCode("an upload with a wrong digest", err, ecr.UploadNotFound)

			u, err = w.InitiateUpload(ctx, root, app)
			w.ok(err)
			w.ok(w.CancelUpload(ctx, root, app, u.ID))
			_, err = w.AppendUpload(ctx, root, app, u.ID, -1, strings.NewReader("x"), 1)
			w.wantCode("after cancel", err, ecr.UploadNotFound)
			_, err = w.UploadStatus(ctx, root, app, "../../etc/passwd")
			w.wantCode("an ID that is none", err, ecr.UploadNotFound)

			empty, err := w.UploadLayer(ctx, root, app, strings.NewReader(""), 0, sum(nil))
			if err != nil || empty.Size != 0 {
				t.Errorf("an empty layer: %+v, %v", empty, err)
			}
			w.sound()
		})
	}
}

func TestSHA512(t *testing.T) {
	for name, inline := range inlines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inline)
			w.create("team/app")
			const d = "sha512:9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043" // of hello
			for name, push := range map[string]func() error{
				"at once": func() error {
					_, err := w.UploadLayer(t.Context(), root, app, strings.NewReader("hello"), 5, d)
					return err
				},
				"in chunks": func() error {
					u, err := w.InitiateUpload(t.Context(), root, app)
					w.ok(err)
					_, err = w.AppendUpload(t.Context(), root, app, u.ID, -1, strings.NewReader("hel"), 3)
					w.ok(err)
					_, err = w.CompleteUpload(t.Context(), root, app, u.ID, -1, strings.NewReader("lo"), 2, d)
					return err
				},
			} {
				if err := push(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			u, err := w.InitiateUpload(t.Context(), root, app)
			w.ok(err)
			_, err = w.AppendUpload(t.Context(), root, app, u.ID, -1, strings.NewReader("other"), 5)
			w.ok(err)
			_, err = w.CompleteUpload(t.Context(), root, app, u.ID, -1, nil, 0, d)
			w.wantCode("other bytes in chunks", err, ecr.InvalidLayer)
			if data, err := w.read(app, d); data != "hello" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
			w.sound()
		})
	}
}

func TestLayerParts(t *testing.T) {
	for name, inline := range inlines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inline, func(c *registry.Config) { c.Limits.MinPartBytes = 4; c.Limits.LayerBytes = 20 })
			w.create("team/app")
			ctx := t.Context()
			u, err := w.InitiateUpload(ctx, root, app)
			w.ok(err)
			_, err = w.CompleteLayerUpload(ctx, root, app, u.ID, []string{sum(nil)})
			w.wantCode("nothing uploaded", err, ecr.EmptyUpload)
			_, err = w.UploadLayerPart(ctx, root, app, u.ID, 0, 9, []byte("abcd"))
			w.wantCode("a length that lies", err, ecr.InvalidLayerPart)
			_, err = w.UploadLayerPart(ctx, root, app, u.ID, 0, 3, []byte("abcd"))
			w.ok(err)
			_, err = w.UploadLayerPart(ctx, root, app, u.ID, 4, 5, []byte("ef"))
			w.ok(err)
			_, err = w.UploadLayerPart(ctx, root, app, u.ID, 6, 9, []byte("ghij"))
			w.wantCode("a part after a short one", err, ecr.LayerPartTooSmall)
			l, err := w.CompleteLayerUpload(ctx, root, app, u.ID, []string{sum([]byte("abcdef"))})
			if err != nil || l.Size != 6 {
				t.Fatalf("%+v, %v", l, err)
			}
			u, err = w.InitiateUpload(ctx, root, app)
			w.ok(err)
			_, err = w.UploadLayerPart(ctx, root, app, u.ID, 0, 5, []byte("abcdef"))
			w.ok(err)
			_, err = w.CompleteLayerUpload(ctx, root, app, u.ID, []string{sum([]byte("abcdef"))})
			w.wantCode("the same layer again", err, ecr.LayerAlreadyExists)
			_, err = w.UploadLayer(ctx, root, app, strings.NewReader(strings.Repeat("x", 21)), -1, sum([]byte("x")))
			w.wantCode("too large", err, ecr.LimitExceeded)
			w.sound()
		})
	}
}

func TestMount(t *testing.T) {
	for name, inline := range inlines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inline)
			w.create("team/app", "to")
			d := w.layer(app, "layer")
			to := in("to")
			if l, err := w.MountLayer(t.Context(), root, to, app, d); err != nil || l.Size != 5 {
				t.Fatalf("%+v, %v", l, err)
			}
			if data, err := w.read(to, d); data != "layer" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
			w.create("anywhere")
			if _, err := w.MountLayer(t.Context(), root, in("anywhere"), ecr.RepositoryID{Account: account}, d); err != nil {
				t.Errorf("without a source: %v", err)
			}
			_, err := w.MountLayer(t.Context(), root, to, app, sum([]byte("none")))
			w.wantCode("a layer that is not there", err, ecr.LayersNotFound)
			_, err = w.MountLayer(t.Context(), root, to, in("none"), d)
			w.wantCode("from no repository", err, ecr.LayersNotFound)
			_, err = w.MountLayer(t.Context(), root, to, ecr.RepositoryID{Account: other, Name: "x"}, d)
			w.wantCode("from another account", err, ecr.LayersNotFound)
			pusher := user(t, account, `{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/to"}`)
			for _, from := range []ecr.RepositoryID{app, {Account: account}} {
				w.create("secret" + from.Name)
				d := w.layer(in("secret"+from.Name), "secret"+from.Name)
				_, err = w.MountLayer(t.Context(), pusher, to, ecr.RepositoryID{Account: account, Name: "secret" + from.Name}, d)
				w.wantCode("from what the caller may not read", err, ecr.LayersNotFound)
			}
			w.ok(w.PutAccountSetting(t.Context(), root, "BLOB_MOUNTING", "DISABLED"))
			_, err = w.MountLayer(t.Context(), root, to, app, d)
			w.wantCode("with mounting off", err, ecr.LayersNotFound)
			w.sound()
		})
	}
}

func TestDeniedCallers(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	m := w.image(app, "v1", "layer")
	reader := user(t, account, `{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn:aws:ecr:*:*:repository/team/*"}`)
	stranger := user(t, other, `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	if _, err := w.GetManifest(t.Context(), reader, app, ecr.ImageID{Tag: "v1"}, false); err != nil {
		t.Errorf("a reader: %v", err)
	}
	_, err := w.PutImage(t.Context(), reader, app, registry.PutImageInput{Manifest: m.Payload, Tag: "v2"})
	w.wantCode("a reader that pushes", err, ecr.AccessDenied)
	want := "User: arn:aws:iam::" + account + ":user/jane is not authorized to perform: ecr:PutImage on resource: arn:aws:ecr:us-east-1:" + account +
		":repository/team/app because no identity-based policy allows the ecr:PutImage action"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	_, there := w.GetManifest(t.Context(), stranger, app, ecr.ImageID{Tag: "v1"}, false)
	_, absent := w.GetManifest(t.Context(), stranger, in("none"), ecr.ImageID{Tag: "v1"}, false)
	w.wantCode("a stranger", there, ecr.AccessDenied)
	w.wantCode("a stranger, and no repository", absent, ecr.AccessDenied)
	if strings.ReplaceAll(there.Error(), "team/app", "none") != absent.Error() {
		t.Errorf("a stranger can tell whether a repository exists:\n%s\n%s", there, absent)
	}
	_, err = w.GetManifest(t.Context(), ecr.Caller{}, app, ecr.ImageID{Tag: "v1"}, false)
	w.wantCode("nobody", err, ecr.NotAuthenticated)
	denied := 0
	w.ok(w.db.View(t.Context(), func(tx *meta.Tx) error {
		events, err := tx.Events(0, 1000)
		for _, e := range events {
			if e.Type == ecr.CallDenied {
				denied++
			}
		}
		return err
	}))
	if denied != 3 {
		t.Errorf("%d denied calls are in the log, want 3", denied)
	}
}

func TestTemplates(t *testing.T) {
	w := newWorld(t)
	for _, tp := range []ecr.Template{
		{Prefix: "ROOT", AppliedFor: []string{"CREATE_ON_PUSH"}},
		{Prefix: "team", AppliedFor: []string{"CREATE_ON_PUSH"}, Mutability: ecr.Immutable, Tags: []ecr.Tag{{Key: "team", Value: "a"}}},
		{Prefix: "team/deep", AppliedFor: []string{"REPLICATION"}},
	} {
		_, err := w.CreateTemplate(t.Context(), root, tp)
		w.ok(err)
	}
	_, err := w.CreateTemplate(t.Context(), root, ecr.Template{Prefix: "team", AppliedFor: []string{"REPLICATION"}})
	w.wantCode("twice", err, ecr.TemplateAlreadyExists)
	for name, want := range map[string]ecr.Mutability{"team/deep/app": ecr.Immutable, "team/x": ecr.Immutable, "teamwork": ecr.Mutable, "a/b": ecr.Mutable} {
		w.image(in(name), "v1", "layer")
		repos, _, err := w.DescribeRepositories(t.Context(), root, account, []string{name}, ecr.Page{})
		w.ok(err)
		if repos[0].Mutability != want {
			t.Errorf("%s is %s, want %s", name, repos[0].Mutability, want)
		}
	}
	pusher := user(t, account, `{"Effect":"Allow","Action":["ecr:InitiateLayerUpload","ecr:PutImage"],"Resource":"*"}`)
	creator := user(t, account, `{"Effect":"Allow","Action":"ecr:CreateRepository","Resource":"*"}`)
	for _, c := range []ecr.Caller{pusher, creator} {
		_, err = w.InitiateUpload(t.Context(), c, in("mine"))
		w.wantCode("half of what it takes", err, ecr.AccessDenied)
	}
	_, _, err = w.DescribeRepositories(t.Context(), root, account, []string{"mine"}, ecr.Page{})
	w.wantCode("a repository made by who was denied", err, ecr.RepositoryNotFound)
	text := "changed"
	got, err := w.UpdateTemplate(t.Context(), root, "team", registry.TemplateUpdate{Description: &text})
	if err != nil || got.Description != text || got.Mutability != ecr.Immutable {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = w.DeleteTemplate(t.Context(), root, "ROOT")
	w.ok(err)
	_, err = w.InitiateUpload(t.Context(), root, in("elsewhere"))
	w.wantCode("without a template", err, ecr.RepositoryNotFound)
}

func TestQuotas(t *testing.T) {
	w := newWorld(t, func(c *registry.Config) {
		c.Limits.Repositories, c.Limits.ImagesPerRepository, c.Limits.TagsPerImage = 1, 2, 2
	})
	w.create("team/app")
	_, err := w.CreateRepository(t.Context(), root, in("bb"), ecr.Repository{})
	w.wantCode("repositories", err, ecr.LimitExceeded)
	one := w.image(app, "v1", "one")
	w.image(app, "v2", "two")
	w.layer(app, "three")
	_, err = w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: manifest("", "three"), Tag: "v3"})
	w.wantCode("images", err, ecr.LimitExceeded)
	_, err = w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: one.Payload, Tag: "a"})
	w.ok(err)
	_, err = w.PutImage(t.Context(), root, app, registry.PutImageInput{Manifest: one.Payload, Tag: "b"})
	w.wantCode("tags", err, ecr.LimitExceeded)
	w.sound()
}

func TestResourceTags(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	arn := app.ARN("us-east-1")
	w.ok(w.TagResource(t.Context(), root, arn, []ecr.Tag{{Key: "b", Value: "1"}, {Key: "a", Value: "1"}}))
	w.ok(w.TagResource(t.Context(), root, arn, []ecr.Tag{{Key: "b", Value: "2"}}))
	w.ok(w.UntagResource(t.Context(), root, arn, []string{"a", "none"}))
	tags, err := w.ListTagsForResource(t.Context(), root, arn)
	if err != nil || fmt.Sprint(tags) != "[{b 2}]" {
		t.Errorf("%v, %v", tags, err)
	}
	w.wantCode("reserved", w.TagResource(t.Context(), root, arn, []ecr.Tag{{Key: "aws:x"}}), ecr.InvalidTagParameter)
	var many []ecr.Tag
	for n := range 51 {
		many = append(many, ecr.Tag{Key: fmt.Sprint(n)})
	}
	w.wantCode("too many", w.TagResource(t.Context(), root, arn, many), ecr.TooManyTags)
	w.wantCode("another region", w.TagResource(t.Context(), root, app.ARN("eu-west-1"), nil), ecr.InvalidParameter)
	jane := user(t, account, `{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"StringEquals":{"ecr:ResourceTag/b":"2"}}}`)
	if _, _, err := w.BatchGetImage(t.Context(), jane, app, nil, nil); err != nil {
		t.Errorf("a tag that lets in: %v", err)
	}
}

func TestSignedLinks(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	d := w.layer(app, "layer")
	link, _, err := w.LayerURL(t.Context(), root, app, d)
	w.ok(err)
	u, err := url.Parse(link)
	w.ok(err)
	if l, err := w.OpenSignedLayer(t.Context(), u.Path, u.Query()); err != nil || l.Size != 5 {
		t.Fatalf("%+v, %v", l, err)
	}
	later := u.Query()
	later.Set("expires", "99999999999")
	for name, try := range map[string]func() error{
		"later":       func() error { _, err := w.OpenSignedLayer(t.Context(), u.Path, later); return err },
		"other path":  func() error { _, err := w.OpenSignedLayer(t.Context(), u.Path+"x", u.Query()); return err },
		"unsigned":    func() error { _, err := w.OpenSignedLayer(t.Context(), u.Path, nil); return err },
		"other chars": func() error { _, err := w.OpenSignedLayer(t.Context(), "/layers/../x", u.Query()); return err },
	} {
		w.wantCode(name, try(), ecr.AccessDenied)
	}
	w.pass(w.cfg.Times.Link + time.Second)
	_, err = w.OpenSignedLayer(t.Context(), u.Path, u.Query())
	w.wantCode("too late", err, ecr.ExpiredCredentials)
}

func TestPullTimeExclusions(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.image(app, "v1", "layer")
	jane := user(t, account, `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	_, err := w.RegisterPullTimeExclusion(t.Context(), root, jane.ARN)
	w.ok(err)
	_, err = w.RegisterPullTimeExclusion(t.Context(), root, jane.ARN)
	w.wantCode("twice", err, ecr.ExclusionAlreadyExists)
	pulled := func(c ecr.Caller) time.Time {
		_, err := w.GetManifest(t.Context(), c, app, ecr.ImageID{Tag: "v1"}, false)
		w.ok(err)
		w.ok(w.FlushPulls(t.Context()))
		images, _, err := w.DescribeImages(t.Context(), root, app, nil, ecr.ImageFilter{}, ecr.Page{})
		w.ok(err)
		return images[0].LastPulledAt
	}
	if at := pulled(jane); !at.IsZero() {
		t.Errorf("a pull that is excluded moved the time to %v", at)
	}
	if at := pulled(root); !at.Equal(w.time()) {
		t.Errorf("another's pull: %v", at)
	}
	w.ok(w.DeregisterPullTimeExclusion(t.Context(), root, jane.ARN))
	w.wantCode("again", w.DeregisterPullTimeExclusion(t.Context(), root, jane.ARN), ecr.ExclusionNotFound)
}
