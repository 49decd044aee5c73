package e2e

import (
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/test/harness"
)

// TestCoreOnBothDatabases pushes, pulls, lists, restarts and deletes.
func TestCoreOnBothDatabases(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testCore(t) })
	t.Run("postgres", func(t *testing.T) {
		pg, err := pgtest.Start()
		if errors.Is(err, pgtest.ErrMissing) {
			harness.Unavailable(t, err.Error())
		}
		must(t, pg, err)
		t.Cleanup(pg.Stop)
		testCore(t, "--database", pg.Database(t))
	})
}

func testCore(t *testing.T, args ...string) {
	opt := harness.Options{Binary: harness.Binary(t), Data: filepath.Join(t.TempDir(), "data"), Args: args}
	s, err := harness.Start(opt)
	must(t, s, err)
	stopped := false
	defer func() {
		if !stopped {
			s.Kill()
		}
	}()
	createRepository(t, s, "core/app")
	reg := root(t, s)
	digest := pushSmall(t, reg, "core/app", "v1", "first")
	pushSmall(t, reg, "core/app", "v2", "second")
	loc, err := reg.StartUpload(t.Context(), "core/app")
	must(t, loc, err)
	chunked := make([]byte, 300_000)
	loc, err = reg.PatchUpload(t.Context(), loc, 0, chunked[:100_000])
	must(t, loc, err)

	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped = true
	base := s.URL
	s, err = harness.Start(opt)
	must(t, s, err)
	stopped = false
	again := s.Registry(reg.Password) // a token outlives the server
	loc = s.URL + loc[len(base):]
	size, err := again.UploadSize(t.Context(), loc)
	equal(t, "bytes of the upload after the restart", must(t, size, err), 100_000)
	loc, err = again.PatchUpload(t.Context(), loc, 100_000, chunked[100_000:200_000])
	must(t, loc, err)
	d, err := again.FinishUpload(t.Context(), loc, chunked[200_000:], harness.Digest(chunked))
	must(t, d, err)
	if _, err := again.GetBlob(t.Context(), "core/app", harness.Digest(chunked)); err != nil {
		t.Error(err)
	}
	got, _, err := again.PullImage(t.Context(), "core/app", "v1")
	equal(t, "v1", must(t, got, err), digest)

	c := s.Root()
	list, err := c.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: aws.String("core/app")})
	equal(t, "images", len(must(t, list, err).ImageIds), 2)
	tags, err := again.Want(t.Context(), http.StatusOK, "GET", "/v2/core/app/tags/list", nil)
	contains(t, string(must(t, tags, err).Body), `"v1"`, `"v2"`)
	_, err = c.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: aws.String("core/app"),
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}})
	if err != nil {
		t.Error(err)
	}
	if _, _, err := again.GetManifest(t.Context(), "core/app", "v1"); err == nil {
		t.Error("a deleted tag still resolves")
	}
	stopped = true
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	s.Ecru(append([]string{"fsck", "--data", opt.Data, "--region", harness.Region, "--account", harness.Account}, args...)...).Must(t)
}
