package meta_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

var eu = ecr.Destination{Region: "eu-west-1", Account: "123456789012"}

func TestReplications(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		ap := ecr.Destination{Region: "ap-south-1", Account: "123456789012"}
		rep := func(n int, tag string, to ecr.Destination, at time.Time) ecr.Replication {
			return ecr.Replication{Repository: app, Image: ecr.ImageID{Digest: digest(n), Tag: tag}, To: to, Status: ecr.ReplicationInProgress, QueuedAt: at}
		}
		update(t, db, func(tx *meta.Tx) error {
			return errors.Join(tx.QueueReplication(rep(1, "v1", eu, t0)), tx.QueueReplication(rep(2, "v1", eu, t0.Add(time.Second))),
				tx.QueueReplication(rep(1, "v1", eu, t0.Add(time.Hour))), // waits already, since t0
				tx.QueueReplication(rep(3, "", eu, t0)), tx.QueueReplication(rep(1, "v1", ap, t0)))
		})
		pending := func(tag, of string) (out []string) {
			t.Helper()
			view(t, db, func(tx *meta.Tx) error {
				list, err := tx.PendingReplications(app, ecr.ImageID{Tag: tag, Digest: of}, eu, 10)
				for _, r := range list {
					out = append(out, r.Image.Digest)
				}
				return err
			})
			return out
		}
		if got := pending("v1", ""); !slices.Equal(got, []string{digest(1), digest(2)}) {
			t.Errorf("v1: %v", got)
		}
		if got := pending("", digest(3)); !slices.Equal(got, []string{digest(3)}) {
			t.Errorf("without a tag: %v", got)
		}
		done := rep(1, "v1", eu, t0)
		done.Status, done.EndedAt = ecr.ReplicationComplete, t0.Add(time.Minute)
		bad := rep(3, "", eu, t0)
		bad.Status, bad.Code, bad.Reason, bad.EndedAt = ecr.ReplicationFailed, "AccessDenied", "no", t0.Add(time.Minute)
		update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.FinishReplication(done), tx.FinishReplication(bad)) })
		view(t, db, func(tx *meta.Tx) error {
			counts, err := tx.CountReplications()
			want := []meta.ReplicationCount{
				{Account: app.Account, To: ap, Pending: 1, Oldest: t0},
				{Account: app.Account, To: eu, Pending: 1, Oldest: t0.Add(time.Second), Failed: 1},
			}
			if err != nil || !slices.Equal(counts, want) {
				t.Errorf("counts %+v, %v", counts, err)
			}
			of, err := tx.ReplicationsOf(app, digest(1))
			if err != nil || len(of) != 2 || of[0].To != ap || of[1].Status != ecr.ReplicationComplete || !of[1].EndedAt.Equal(done.EndedAt) {
				t.Errorf("of the first image: %+v, %v", of, err)
			}
			failed, err := tx.UnfinishedReplications(app.Account, ecr.ReplicationFailed, 10)
			if err != nil || len(failed) != 1 || failed[0] != bad {
				t.Errorf("failed: %+v, %v", failed, err)
			}
			waiting, err := tx.UnfinishedReplications(app.Account, ecr.ReplicationInProgress, 1)
			if err != nil || len(waiting) != 1 || waiting[0].To != ap {
				t.Errorf("waiting: %+v, %v", waiting, err)
			}
			return nil
		})
		update(t, db, func(tx *meta.Tx) error {
			return errors.Join(tx.QueueReplication(rep(1, "v1", eu, t0.Add(time.Hour))), // pushed anew
				tx.ForgetReplications(app, ecr.ImageID{Digest: digest(2), Tag: "v1"}), tx.ForgetReplications(app, ecr.ImageID{Digest: digest(3)}))
		})
		if got := pending("v1", ""); !slices.Equal(got, []string{digest(1)}) {
			t.Errorf("after deletions: %v", got)
		}
		update(t, db, func(tx *meta.Tx) error { return tx.ForgetReplications(app, ecr.ImageID{}) })
		if got := pending("v1", ""); got != nil {
			t.Errorf("after the repository's deletion: %v", got)
		}
	})
}

func TestReplicationConfigurationAndUploads(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		cfg := &ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{{Destinations: []ecr.Destination{eu}, Prefixes: []string{"team/"}}}}
		update(t, db, func(tx *meta.Tx) error {
			none, err := tx.LockReplicationConfiguration(app.Account)
			if err != nil || len(none.Rules) != 0 {
				t.Errorf("before: %+v, %v", none, err)
			}
			return errors.Join(tx.PutReplicationConfiguration(app.Account, &ecr.ReplicationConfiguration{}), tx.PutReplicationConfiguration(app.Account, cfg),
				tx.PutReplicationUpload(eu, "team/app", digest(1), "/one", t0), tx.PutReplicationUpload(eu, "team/app", digest(1), "/two", t0),
				tx.PutReplicationUpload(eu, "team/app", digest(2), "/old", t0.Add(-time.Hour)))
		})
		update(t, db, func(tx *meta.Tx) error {
			got, err := tx.ReplicationConfiguration(app.Account)
			if err != nil || !got.Matches("team/app", eu) || got.Matches("other", eu) {
				t.Errorf("configuration %+v, %v", got, err)
			}
			at, err := tx.ReplicationUpload(eu, "team/app", digest(1))
			if err != nil || at != "/two" {
				t.Errorf("upload at %q, %v", at, err)
			}
			n, err := tx.ExpireReplicationUploads(t0)
			if err != nil || n != 1 {
				t.Errorf("%d expired, %v", n, err)
			}
			if err := tx.DeleteReplicationUpload(eu, "team/app", digest(1)); err != nil {
				return err
			}
			if _, err := tx.ReplicationUpload(eu, "team/app", digest(1)); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("after the end: %v", err)
			}
			return nil
		})
	})
}

func TestBackfills(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		first := &ecr.Backfill{ID: "a", Account: app.Account, To: eu, Status: ecr.BackfillPreparing, StartedAt: t0}
		second := &ecr.Backfill{ID: "b", Account: app.Account, To: eu, Status: ecr.BackfillStopped, StartedAt: t0.Add(time.Second), EndedAt: t0.Add(time.Minute)}
		update(t, db, func(tx *meta.Tx) error {
			return errors.Join(tx.InsertBackfill(first), tx.InsertBackfill(second), tx.AddBackfillItem("a", "team/app", ecr.ImageID{Digest: digest(1), Tag: "v1"}),
				tx.AddBackfillItem("a", "team/app", ecr.ImageID{Digest: digest(2)}), tx.AddBackfillItem("b", "team/app", ecr.ImageID{Digest: digest(2)}),
				tx.SetBackfillCursor("a", meta.BackfillCursor{Repository: "team/app", Image: 7}))
		})
		update(t, db, func(tx *meta.Tx) error {
			b, err := tx.LockBackfill(app.Account, "a")
			if err != nil {
				return err
			}
			at, err := tx.BackfillCursor("a")
			if err != nil || at != (meta.BackfillCursor{Repository: "team/app", Image: 7}) {
				t.Errorf("cursor %+v, %v", at, err)
			}
			items, err := tx.BackfillItems("a", ecr.ReplicationInProgress, 0, 10)
			if err != nil || len(items) != 2 || items[0].Image.Tag != "v1" {
				t.Fatalf("items %+v, %v", items, err)
			}
			items[0].Status = ecr.ReplicationComplete
			items[1].Status, items[1].Code, items[1].SubCodes = ecr.ReplicationFailed, "AccessDenied", []string{"AccessDenied"}
			for _, i := range items {
				if fresh, err := tx.FinishBackfillItem(i); err != nil || !fresh {
					t.Errorf("finish: %v, %v", fresh, err)
				}
				if fresh, err := tx.FinishBackfillItem(i); err != nil || fresh {
					t.Errorf("finished twice: %v, %v", fresh, err)
				}
			}
			b.Status, b.Prepared, b.Total, b.Completed, b.Failed, b.EndedAt = ecr.BackfillComplete, true, 2, 1, 1, t0.Add(time.Hour)
			return tx.UpdateBackfill(b)
		})
		view(t, db, func(tx *meta.Tx) error {
			b, err := tx.Backfill(app.Account, "a")
			if err != nil || b.Status != ecr.BackfillComplete || !b.Prepared || b.Total != 2 || !slices.Equal(b.Codes, []string{"AccessDenied"}) {
				t.Errorf("the first: %+v, %v", b, err)
			}
			if _, err := tx.Backfill("210987654321", "a"); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("another account's: %v", err)
			}
			failed, err := tx.BackfillItems("a", ecr.ReplicationFailed, 0, 10)
			if err != nil || len(failed) != 1 || !slices.Equal(failed[0].SubCodes, []string{"AccessDenied"}) {
				t.Errorf("failed: %+v, %v", failed, err)
			}
			ended, err := tx.BackfillItems("a", "", failed[0].Row-1, 10)
			if err != nil || len(ended) != 1 {
				t.Errorf("ended, the second page: %+v, %v", ended, err)
			}
			list, err := tx.Backfills(app.Account, time.Time{}, "", 1)
			if err != nil || len(list) != 1 || list[0].ID != "b" {
				t.Errorf("list: %+v, %v", list, err)
			}
			list, err = tx.Backfills(app.Account, list[0].StartedAt, list[0].ID, 10)
			if err != nil || len(list) != 1 || list[0].ID != "a" {
				t.Errorf("the second page: %+v, %v", list, err)
			}
			active, err := tx.ActiveBackfills(app.Account)
			if err != nil || len(active) != 0 {
				t.Errorf("active: %+v, %v", active, err)
			}
			return nil
		})
		for n, want := range []bool{false, false, true} { // its image, itself, nothing
			update(t, db, func(tx *meta.Tx) error {
				done, err := tx.ExpireBackfill(t0.Add(30*time.Minute), 10)
				if done != want {
					t.Errorf("step %d of the expiry: %v", n, done)
				}
				return err
			})
		}
		view(t, db, func(tx *meta.Tx) error {
			if list, err := tx.Backfills(app.Account, time.Time{}, "", 10); err != nil || len(list) != 1 {
				t.Errorf("after the expiry: %+v, %v", list, err)
			}
			return nil
		})
	})
}
