package replication

import (
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"golang.org/x/sync/errgroup"

	"github.com/ecruhq/ecru/test/harness"
)

// TestBackfill: 1,000 images that were there before are copied; the backfill is
// stopped on its way, and another one sends what is left and nothing twice.
func TestBackfill(t *testing.T) {
	const images = 1000
	w := newWorld(t, nil, virginia, ireland)
	ctx := t.Context()
	w.create(virginia, "old/app")
	c := w.registry(virginia)
	base := content(10_000)
	push := func(n int) (string, error) {
		return c.PushImage(ctx, "old/app", fmt.Sprint("v", n), fmt.Appendf(nil, `{"n":%d}`, n), base)
	}
	last := must[string](t)(push(images - 1))
	var pushes errgroup.Group
	pushes.SetLimit(16)
	for n := range images - 1 {
		pushes.Go(func() error { _, err := push(n); return err })
	}
	if err := pushes.Wait(); err != nil {
		t.Fatal(err)
	}
	api := w.api(virginia)
	to := &types.ReplicationDestination{Region: aws.String(ireland), RegistryId: aws.String(harness.Account)}
	if _, err := api.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: to}); code(err) != "ValidationException" {
		t.Errorf("a destination that is not configured: %v", err)
	}
	w.configure(virginia, map[string][]string{"old/": {ireland}})
	start := func() string {
		t.Helper()
		out, err := api.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: to})
		if err != nil {
			t.Fatal(err)
		}
		if out.Status != types.ReplicationBackfillStatusPreparing || out.StartedAt == nil {
			t.Errorf("started as %+v", out)
		}
		return *out.ReplicationBackfillId
	}
	describe := func(ctx context.Context, id string) *ecr.DescribeReplicationBackfillResultsOutput {
		t.Helper()
		out, err := api.DescribeReplicationBackfillResults(ctx, &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: &id, MaxResults: aws.Int32(1000)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := start()
	if _, err := api.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: to}); code(err) != "ReplicationBackfillInProgressException" {
		t.Errorf("a second one at once: %v", err)
	}
	w.eventually(func(ctx context.Context) string {
		if p := describe(ctx, first).Progress; p == nil || *p.CompletedReplicationCount < 50 {
			return "it copies nothing"
		}
		return ""
	})
	if _, err := api.StopReplicationBackfill(ctx, &ecr.StopReplicationBackfillInput{ReplicationBackfillId: &first}); err != nil {
		t.Error(err)
	}
	var done *ecr.DescribeReplicationBackfillResultsOutput
	ended := func(id string) {
		t.Helper()
		w.eventually(func(ctx context.Context) string {
			if done = describe(ctx, id); done.EndedAt == nil {
				return fmt.Sprintf("%s: %+v", done.Status, done.Progress)
			}
			return ""
		})
	}
	ended(first)
	copied := *done.Progress.CompletedReplicationCount
	if done.Status != types.ReplicationBackfillStatusStopped || *done.Progress.TotalReplicationCount != images || copied >= images || len(done.Results) != int(copied) {
		t.Errorf("stopped: %s, %d of %d, %d results", done.Status, copied, *done.Progress.TotalReplicationCount, len(done.Results))
	}
	if _, err := api.StopReplicationBackfill(ctx, &ecr.StopReplicationBackfillInput{ReplicationBackfillId: &first}); code(err) != "ReplicationBackfillInvalidStatusException" {
		t.Errorf("stopped twice: %v", err)
	}
	second := start()
	w.regions[virginia].server.Kill() // on its way
	w.start(virginia)
	api = w.api(virginia)
	ended(second)
	if done.Status != types.ReplicationBackfillStatusComplete || *done.Progress.CompletedReplicationCount != images || *done.Progress.FailedReplicationCount != 0 || len(done.Results) != images {
		t.Errorf("done: %s, %+v, %d results", done.Status, done.Progress, len(done.Results))
	}
	w.pulls(ireland, "old/app", fmt.Sprint("v", images-1), last)
	w.same(virginia, ireland, "old/app")
	list, err := api.ListReplicationBackfills(ctx, &ecr.ListReplicationBackfillsInput{MaxResults: aws.Int32(1)})
	if err != nil || len(list.Backfills) != 1 || *list.Backfills[0].ReplicationBackfillId != second || list.NextToken == nil {
		t.Errorf("list: %+v, %v", list, err)
	}
	if _, err := api.DescribeReplicationBackfillResults(ctx, &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: aws.String("4f6a3c1e-0000-4000-8000-000000000000")}); code(err) != "ReplicationBackfillNotFoundException" {
		t.Errorf("an unknown one: %v", err)
	}
}
