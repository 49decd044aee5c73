package meta_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/meta"
)

// postgres is nil where PostgreSQL is not installed.
var postgres *pgtest.Server

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, &postgres))
}

// both runs a test on an empty database of each kind.
func both(t *testing.T, test func(t *testing.T, db *meta.DB)) {
	open := func(t *testing.T, url string) *meta.DB {
		db, err := meta.Open(t.Context(), meta.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	t.Run("SQLite", func(t *testing.T) { test(t, open(t, filepath.Join(t.TempDir(), "meta.db"))) })
	t.Run("PostgreSQL", func(t *testing.T) {
		if postgres == nil {
			t.Skip(pgtest.ErrMissing)
		}
		test(t, open(t, postgres.Database(t)))
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func update(t *testing.T, db *meta.DB, fn func(tx *meta.Tx) error) {
	t.Helper()
	must(t, db.Update(t.Context(), fn))
}

func view(t *testing.T, db *meta.DB, fn func(tx *meta.Tx) error) {
	t.Helper()
	must(t, db.View(t.Context(), fn))
}

var (
	t0   = time.UnixMilli(1_700_000_000_000).UTC()
	app  = ecr.RepositoryID{Account: "123456789012", Name: "team/app"}
	base = ecr.Repository{ID: app, CreatedAt: t0, Mutability: ecr.Mutable, Encryption: ecr.Encryption{Type: "AES256"}}
)

func newRepository(t *testing.T, db *meta.DB, name string) *ecr.Repository {
	t.Helper()
	r := base
	r.ID.Name = name
	update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(&r) })
	return &r
}

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// newLayer gives a repository a layer under a fresh key.
func newLayer(t *testing.T, db *meta.DB, repo *ecr.Repository, n int) (l meta.Link) {
	t.Helper()
	update(t, db, func(tx *meta.Tx) error {
		l.Layer = ecr.Layer{Digest: digest(n), Size: int64(n)}
		id, key, err := tx.PutBlob(l.Layer, blob.NewKey(), nil)
		l.Blob, l.Key = id, key
		if err != nil {
			return err
		}
		return tx.PutLink(repo.Row, id, t0.Add(time.Hour))
	})
	return l
}

func newImage(t *testing.T, db *meta.DB, repo *ecr.Repository, n int, tag string, layers []meta.Link, children []meta.Child) *ecr.Image {
	t.Helper()
	i := &ecr.Image{Digest: digest(n), MediaType: "m", Status: ecr.ImageActive, PushedAt: t0, Size: int64(n), ManifestSize: 2}
	update(t, db, func(tx *meta.Tx) error {
		if err := tx.InsertImage(repo.Row, i, []byte("{}"), layers, children); err != nil {
			return err
		}
		if tag == "" {
			return nil
		}
		_, err := tx.PutTag(repo.Row, tag, i.Row, t0, false)
		return err
	})
	return i
}

func TestRepositories(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		want := base
		want.Tags = []ecr.Tag{{Key: "team", Value: "a"}}
		want.Mutability, want.MutabilityExclusion = ecr.ImmutableWithExclusion, []string{"dev-*"}
		update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(&want) })
		view(t, db, func(tx *meta.Tx) error {
			got, err := tx.Repository(app)
			if err != nil {
				return err
			}
			if fmt.Sprint(*got) != fmt.Sprint(want) {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
			if _, err := tx.Repository(ecr.RepositoryID{Account: "210987654321", Name: app.Name}); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("another account's: %v", err)
			}
			return nil
		})
		if err := db.Update(t.Context(), func(tx *meta.Tx) error { r := base; return tx.InsertRepository(&r) }); !errors.Is(err, meta.ErrExists) {
			t.Errorf("second insert: %v", err)
		}
		for _, n := range []string{"a-b", "a.b", "a/b", "ab", "a_b"} {
			newRepository(t, db, n)
		}
		view(t, db, func(tx *meta.Tx) error {
			names, err := tx.RepositoryNames(app.Account, "a.b", 3)
			if want := []string{"a/b", "a_b", "ab"}; !slices.Equal(names, want) {
				t.Errorf("names after a.b: %v, want %v (byte order on both databases)", names, want)
			}
			return err
		})
	})
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		boom := errors.New("boom")
		err := db.Update(t.Context(), func(tx *meta.Tx) error {
			r := base
			if err := tx.InsertRepository(&r); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		err = db.Update(t.Context(), func(tx *meta.Tx) error { panic("in fn") })
		if err == nil || !strings.Contains(err.Error(), "in fn") {
			t.Errorf("a panic came back as %v", err)
		}
		view(t, db, func(tx *meta.Tx) error {
			if _, err := tx.Repository(app); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("after a failed update: %v", err)
			}
			return nil
		})
		if err := db.View(t.Context(), func(tx *meta.Tx) error { r := base; return tx.InsertRepository(&r) }); err == nil {
			t.Error("a view could write")
		}
		newRepository(t, db, "the/database/still/works")
	})
}

// Concurrent updates share commits on SQLite; one that fails among them must
// not take the others with it.
func TestConcurrentUpdates(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		var wg sync.WaitGroup
		for n := range 64 {
			wg.Go(func() {
				r := base
				r.ID.Name = fmt.Sprintf("r%02d", n)
				err := db.Update(t.Context(), func(tx *meta.Tx) error {
					if err := tx.InsertRepository(&r); err != nil {
						return err
					}
					if n%3 == 0 {
						return errors.New("refused")
					}
					return nil
				})
				if (err != nil) != (n%3 == 0) {
					t.Errorf("%d: %v", n, err)
				}
			})
		}
		wg.Wait()
		view(t, db, func(tx *meta.Tx) error {
			n, err := tx.CountRepositories(app.Account)
			if n != 42 {
				t.Errorf("%d repositories, want 42", n)
			}
			return err
		})
	})
}

func TestImages(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		repo := newRepository(t, db, "r")
		one, two := newLayer(t, db, repo, 1), newLayer(t, db, repo, 2)
		a := newImage(t, db, repo, 10, "v1", []meta.Link{one, two}, nil)
		b := newImage(t, db, repo, 11, "", []meta.Link{two}, nil)
		index := newImage(t, db, repo, 12, "latest", nil, []meta.Child{{Row: a.Row}, {Row: b.Row}})

		update(t, db, func(tx *meta.Tx) error {
			if _, err := tx.PutTag(repo.Row, "v0", a.Row, t0, false); err != nil {
				return err
			}
			before, err := tx.PutTag(repo.Row, "v1", b.Row, t0, false)
			if before != a.Row {
				t.Errorf("v1 was on %d, want %d", before, a.Row)
			}
			return err
		})
		view(t, db, func(tx *meta.Tx) error {
			images, err := tx.Images(repo.Row, ecr.ImageFilter{}, 0, 10)
			must(t, err)
			var got []string
			for _, i := range images {
				got = append(got, fmt.Sprint(i.Digest[len(i.Digest)-1:], i.Tags))
			}
			if want := []string{"a[v0]", "b[v1]", "c[latest]"}; !slices.Equal(got, want) {
				t.Errorf("images %v, want %v", got, want)
			}
			ids, _, err := tx.ImageIDs(repo.Row, ecr.ImageFilter{TagStatus: "TAGGED"}, meta.ImageCursor{Tag: "latest"}, 1)
			must(t, err)
			if len(ids) != 1 || ids[0].Tag != "v0" {
				t.Errorf("tagged after latest: %v", ids)
			}
			got, err = tx.Parents(a.Row, 5)
			if !slices.Equal(got, []string{index.Digest}) {
				t.Errorf("parents %v", got)
			}
			return err
		})
		update(t, db, func(tx *meta.Tx) error {
			must(t, tx.AddPulls(a.Row, 3, t0.Add(time.Hour)))
			must(t, tx.AddPulls(a.Row, 2, time.Time{}))
			return tx.AddPulls(999, 1, t0)
		})
		view(t, db, func(tx *meta.Tx) error {
			i, err := tx.Image(repo.Row, a.Digest)
			must(t, err)
			if !i.LastPulledAt.Equal(t0.Add(time.Hour)) {
				t.Errorf("last pulled at %v", i.LastPulledAt)
			}
			r, err := tx.Repository(repo.ID)
			if r.ImageCount != 3 || r.SizeBytes != 33 {
				t.Errorf("counters: %d images, %d bytes", r.ImageCount, r.SizeBytes)
			}
			return err
		})
		update(t, db, func(tx *meta.Tx) error { return tx.DeleteImage(repo.Row, index, t0) })
		update(t, db, func(tx *meta.Tx) error { return tx.DeleteImage(repo.Row, a, t0.Add(2*time.Hour)) })
		view(t, db, func(tx *meta.Tx) error {
			links, err := tx.Links(repo.Row, []string{digest(1)})
			must(t, err)
			if !links[0].ReviewAfter.Equal(t0.Add(2 * time.Hour)) {
				t.Errorf("the layer of a deleted image is reviewed after %v", links[0].ReviewAfter)
			}
			tags, err := tx.TagNames(repo.Row, "", 10)
			if !slices.Equal(tags, []string{"v1"}) {
				t.Errorf("tags left: %v", tags)
			}
			return err
		})
	})
}

// Every page of ImageIDs, one entry long, must come once and in one order.
func TestImageIDsPages(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		repo := newRepository(t, db, "r")
		for n := range 4 {
			i := newImage(t, db, repo, 10+n, "", nil, nil)
			for k := range n {
				update(t, db, func(tx *meta.Tx) error {
					_, err := tx.PutTag(repo.Row, fmt.Sprintf("t%d-%d", n, k), i.Row, t0, false)
					return err
				})
			}
		}
		for _, status := range []string{"", "TAGGED", "UNTAGGED"} {
			view(t, db, func(tx *meta.Tx) error {
				f := ecr.ImageFilter{TagStatus: status}
				all, _, err := tx.ImageIDs(repo.Row, f, meta.ImageCursor{}, 100)
				must(t, err)
				var paged []ecr.ImageID
				var c meta.ImageCursor
				for range len(all) + 1 {
					ids, rows, err := tx.ImageIDs(repo.Row, f, c, 1)
					must(t, err)
					if len(ids) == 0 {
						break
					}
					paged = append(paged, ids...)
					c = meta.ImageCursor{Row: rows[0], Tag: ids[0].Tag}
				}
				if !slices.Equal(all, paged) || len(all) == 0 {
					t.Errorf("%q: in pages %v, at once %v", status, paged, all)
				}
				return nil
			})
		}
	})
}

func TestReferrers(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		repo := newRepository(t, db, "r")
		for n, typ := range []string{"sig", "sbom", "sig"} {
			i := &ecr.Image{Digest: digest(20 + n), Subject: digest(1), ArtifactType: typ, Status: ecr.ImageActive, PushedAt: t0,
				Annotations: map[string]string{"n": fmt.Sprint(n)}}
			update(t, db, func(tx *meta.Tx) error { return tx.InsertImage(repo.Row, i, []byte("{}"), nil, nil) })
		}
		view(t, db, func(tx *meta.Tx) error {
			all, err := tx.Referrers(repo.Row, digest(1), nil, digest(20), 5)
			must(t, err)
			if len(all) != 2 || all[0].Annotations["n"] != "1" {
				t.Errorf("referrers after the first: %v", all)
			}
			sigs, err := tx.Referrers(repo.Row, digest(1), []string{"sig"}, "", 5)
			if len(sigs) != 2 {
				t.Errorf("%d signatures, want 2", len(sigs))
			}
			return err
		})
	})
}

func TestReviewLink(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		repo, other := newRepository(t, db, "r"), newRepository(t, db, "other")
		used, unused := newLayer(t, db, repo, 1), newLayer(t, db, repo, 2)
		shared := newLayer(t, db, repo, 3)
		newLayer(t, db, other, 3)
		newImage(t, db, repo, 10, "v1", []meta.Link{used}, nil)
		newImage(t, db, other, 10, "v1", []meta.Link{shared}, nil)

		review := func(now time.Time) (removed int) {
			var due []meta.DueLink
			view(t, db, func(tx *meta.Tx) (err error) { due, err = tx.DueLinks(now, 100); return err })
			for _, d := range due {
				update(t, db, func(tx *meta.Tx) error {
					gone, err := tx.ReviewLink(d, now, now)
					if gone {
						removed++
					}
					return err
				})
			}
			return removed
		}
		if n := review(t0.Add(time.Minute)); n != 0 {
			t.Errorf("%d links removed before their time", n)
		}
		update(t, db, func(tx *meta.Tx) error { _, err := tx.Lease(repo.Row, unused.Blob, t0.Add(2*time.Hour)); return err })
		if n := review(t0.Add(90 * time.Minute)); n != 1 {
			t.Errorf("%d links removed, want only r's link to the shared layer", n)
		}
		if n := review(t0.Add(3 * time.Hour)); n != 1 {
			t.Errorf("%d links removed, want the unused one", n)
		}
		view(t, db, func(tx *meta.Tx) error {
			links, err := tx.Links(repo.Row, []string{digest(1), digest(2), digest(3)})
			must(t, err)
			if len(links) != 1 || links[0].Layer.Digest != digest(1) || !links[0].ReviewAfter.IsZero() {
				t.Errorf("links left: %+v", links)
			}
			due, err := tx.DueTrash(t0.Add(4*time.Hour), 10)
			if len(due) != 1 || due[0].Key != unused.Key {
				t.Errorf("trash: %+v, want %s", due, unused.Key)
			}
			known, _ := tx.Known([]blob.Key{unused.Key, used.Key, "nobody"})
			if len(known) != 2 {
				t.Errorf("known: %v", known)
			}
			return err
		})
	})
}

func TestUploadEpoch(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		repo := newRepository(t, db, "r")
		u := &meta.Upload{Upload: ecr.Upload{ID: "u", ExpiresAt: t0}, RepositoryRow: repo.Row, Key: blob.NewKey()}
		update(t, db, func(tx *meta.Tx) error { return tx.InsertUpload(u) })
		stalled := *u
		u.Size, u.Hash, u.Store = 5, []byte{1}, []byte{2}
		update(t, db, func(tx *meta.Tx) error { return tx.SaveUpload(u) })
		for name, fn := range map[string]func(*meta.Tx) error{
			"save":   func(tx *meta.Tx) error { return tx.SaveUpload(&stalled) },
			"delete": func(tx *meta.Tx) error { return tx.DeleteUpload(&stalled) },
		} {
			if err := db.Update(t.Context(), fn); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("%s by a writer that was overtaken: %v", name, err)
			}
		}
		view(t, db, func(tx *meta.Tx) error {
			got, err := tx.Upload(repo.Row, "u")
			if err == nil && (got.Size != 5 || string(got.Hash) != "\x01" || got.Epoch != 1) {
				t.Errorf("upload: %+v", got)
			}
			return err
		})
		update(t, db, func(tx *meta.Tx) error {
			ids, err := tx.ExpireUploads(t0.Add(time.Second), t0, 10)
			if !slices.Equal(ids, []string{"u"}) {
				t.Errorf("expired: %v", ids)
			}
			return err
		})
	})
}

// What Update has acknowledged is there after a fault in the commit; what it
// has refused before the commit is not.
func TestFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	fail := ""
	open := func() *meta.DB {
		db, err := meta.Open(t.Context(), meta.Options{URL: path, Fault: func(point string) error {
			if point == fail {
				return errors.New("injected")
			}
			return nil
		}})
		must(t, err)
		return db
	}
	db := open()
	for _, point := range []string{"before", "after"} {
		fail = point
		r := base
		r.ID.Name = point
		if err := db.Update(context.Background(), func(tx *meta.Tx) error { return tx.InsertRepository(&r) }); err == nil {
			t.Errorf("%s: no error", point)
		}
	}
	fail = ""
	must(t, db.Close())
	db = open()
	defer db.Close()
	view(t, db, func(tx *meta.Tx) error {
		names, err := tx.RepositoryNames(app.Account, "", 10)
		if !slices.Equal(names, []string{"after"}) {
			t.Errorf("after the faults there are %v, want what failed after its commit", names)
		}
		return err
	})
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Update(context.Background(), func(*meta.Tx) error { return nil }); !errors.Is(err, meta.ErrClosed) {
		t.Errorf("update after Close: %v", err)
	}
}

// Two processes that open one database at once must both find its schema.
func TestRacingMigrations(t *testing.T) {
	urls := map[string]string{"SQLite": filepath.Join(t.TempDir(), "meta.db")}
	if postgres != nil {
		urls["PostgreSQL"] = postgres.Database(t)
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					db, err := meta.Open(t.Context(), meta.Options{URL: url})
					if err != nil {
						t.Error(err)
						return
					}
					if err := db.Check(t.Context()); err != nil {
						t.Error(err)
					}
					if err := db.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	}
}
