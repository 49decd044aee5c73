package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

func TestStorageClass(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	m := w.image(app, "v1", "one", "two")
	byTag, byDigest := ecr.ImageID{Tag: "v1"}, ecr.ImageID{Digest: m.Digest}
	set := func(ref ecr.ImageID, archive bool) *ecr.Image {
		t.Helper()
		img, err := w.UpdateImageStorageClass(t.Context(), root, app, ref, archive)
		w.ok(err)
		return img
	}
	_, err := w.GetManifest(t.Context(), root, app, byTag, false) // so that it is kept
	w.ok(err)
	archivedAt := w.time()
	if img := set(byTag, true); img.Status != ecr.ImageArchived || !img.ArchivedAt.Equal(archivedAt) {
		t.Errorf("archived: %+v", img)
	}
	for name, ref := range map[string]ecr.ImageID{"tag": byTag, "digest": byDigest} {
		_, err := w.GetManifest(t.Context(), root, app, ref, name == "tag")
		w.wantCode("a pull by "+name, err, ecr.ImageNotFound)
		if err == nil || !strings.Contains(err.Error(), "is archived") {
			t.Errorf("a pull by %s: %v", name, err)
		}
		images, failures, err := w.BatchGetImage(t.Context(), root, app, []ecr.ImageID{ref}, nil)
		if err != nil || len(images) != 0 || len(failures) != 1 || failures[0].Code != "ImageInaccessible" {
			t.Errorf("BatchGetImage: %v %v %v", images, failures, err)
		}
	}
	list, _, err := w.DescribeImages(t.Context(), root, app, []ecr.ImageID{byTag}, ecr.ImageFilter{}, ecr.Page{})
	if err != nil || len(list) != 1 || list[0].Status != ecr.ImageArchived {
		t.Errorf("described: %+v, %v", list, err)
	}
	active, _, err := w.DescribeImages(t.Context(), root, app, nil, ecr.ImageFilter{}, ecr.Page{})
	if err != nil || len(active) != 0 {
		t.Errorf("listed with the active: %+v, %v", active, err)
	}
	w.pass(time.Hour)
	if again := set(byDigest, true); !again.ArchivedAt.Equal(archivedAt) {
		t.Errorf("archived twice: %+v", again)
	}
	if img := set(byTag, false); img.Status != ecr.ImageActive || !img.ActivatedAt.Equal(w.time()) || !img.ArchivedAt.Equal(archivedAt) {
		t.Errorf("restored: %+v", img)
	}
	_, err = w.GetManifest(t.Context(), root, app, byTag, false)
	w.ok(err)

	set(byTag, true)
	w.pass(time.Hour)
	w.image(app, "v2", "one", "two") // the same image, by another tag
	at := w.time()
	got, err := w.GetManifest(t.Context(), root, app, ecr.ImageID{Tag: "v2"}, false)
	if err != nil || got.Digest != m.Digest || !got.ActivatedAt.Equal(at) {
		t.Errorf("pushed anew: %+v, %v", got, err)
	}
	_, err = w.UpdateImageStorageClass(t.Context(), root, app, ecr.ImageID{Tag: "none"}, true)
	w.wantCode("no such image", err, ecr.ImageNotFound)
	_, err = w.UpdateImageStorageClass(t.Context(), root, app, ecr.ImageID{}, true)
	w.wantCode("no image", err, ecr.InvalidParameter)
	w.sound()
}

func TestStorageClassOfAnIndex(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	child := w.image(app, "amd64", "one")
	index, err := w.PutImage(t.Context(), root, app, registry.PutImageInput{Tag: "multi",
		Manifest: []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + descriptor(child.Digest, len(child.Payload)) + `]}`)})
	w.ok(err)
	_, err = w.UpdateImageStorageClass(t.Context(), root, app, ecr.ImageID{Digest: child.Digest}, true)
	w.wantCode("a child of an index", err, ecr.StorageClassNotSupported)
	for _, digest := range []string{index.Digest, child.Digest} {
		_, err = w.UpdateImageStorageClass(t.Context(), root, app, ecr.ImageID{Digest: digest}, true)
		w.ok(err)
	}
	w.sound()
}
