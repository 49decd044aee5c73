package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/test/harness"
)

// ecru is the ecru command on a region's data folder.
func (w *world) ecru(in string, args ...string) harness.Command {
	r := w.regions[in]
	c := r.server.Ecru(append(args, "--data", r.opt.Data, "--region", in)...)
	c.Env = append(c.Env, r.opt.Env...)
	return c
}

// client is the ecru command as a client of a region's server.
func (w *world) client(in string, args ...string) harness.Command {
	c := w.regions[in].server.Ecru(append(args, "--region", in, "--endpoint-url", w.regions[in].server.URL)...)
	c.Env = append(c.Env, "AWS_ACCESS_KEY_ID="+harness.RootKey, "AWS_SECRET_ACCESS_KEY="+harness.RootValue, "AWS_EC2_METADATA_DISABLED=true")
	return c
}

// TestDownAndSlow: a destination that is down costs the others nothing, also
// one whose line is slow; it catches up when it is back.
func TestDownAndSlow(t *testing.T) {
	const images = 20
	w := newWorld(t, nil, virginia, ireland, singapore)
	w.create(virginia, "app")
	w.configure(virginia, map[string][]string{"": {ireland, singapore}})
	down, slow := w.regions[ireland].in[virginia], w.regions[singapore].in[virginia]
	down.set(func() { down.cut = true })
	slow.set(func() { slow.delay = 10 * time.Millisecond })
	c := w.registry(virginia)
	for n := range images {
		must[string](t)(c.PushImage(t.Context(), "app", fmt.Sprint("v", n), content(100), content(50_000)))
	}
	w.same(virginia, singapore, "app")
	var s struct {
		Destinations []struct {
			Region     string
			Pending    int
			Failed     int
			LagSeconds float64
		}
		Images []struct{ Reason, FailureCode string }
	}
	if err := json.Unmarshal([]byte(w.ecru(virginia, "replication", "status", "--json").Must(t)), &s); err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Destinations {
		if d.Region == ireland && (d.Pending != images || d.LagSeconds <= 0) || d.Failed != 0 {
			t.Errorf("status of %s: %+v", d.Region, d)
		}
	}
	if table := w.ecru(virginia, "replication", "status").Must(t); !strings.Contains(table, "eu-west-1/123456789012") {
		t.Errorf("status: %s", table)
	}
	if m := w.metrics(virginia); !strings.Contains(m, fmt.Sprintf(`ecru_replication_pending{account="123456789012",region="eu-west-1",registry="123456789012"} %d`, images)) ||
		!strings.Contains(m, "ecru_replication_lag_seconds{") || !strings.Contains(m, `ecru_replication_sent_bytes_total{region="ap-southeast-1"`) {
		t.Error("/metrics does not tell of replication")
	}
	w.stoppedWhileDown()
	bad := w.poison()
	down.set(func() { down.cut = false })
	w.same(virginia, ireland, "app")
	if s := w.replicated(virginia, "poison", digest(bad)); s[ireland] != types.ReplicationStatusFailed || s[singapore] != types.ReplicationStatusComplete {
		t.Errorf("an image whose bytes are gone: %v", s)
	}
	if out := w.ecru(virginia, "replication", "status").Fails(t); !strings.Contains(out, "are gone here") {
		t.Errorf("status: %s", out)
	}
}

// stoppedWhileDown: a backfill to a destination that is away can be stopped.
func (w *world) stoppedWhileDown() {
	w.t.Helper()
	ctx, api := w.t.Context(), w.api(virginia)
	b, err := api.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: &types.ReplicationDestination{Region: aws.String(ireland), RegistryId: aws.String(harness.Account)}})
	if err != nil {
		w.t.Fatal(err)
	}
	stopped := false
	w.eventually(func(ctx context.Context) string {
		now, err := api.DescribeReplicationBackfillResults(ctx, &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: b.ReplicationBackfillId})
		if err != nil {
			return err.Error()
		}
		if now.Status == types.ReplicationBackfillStatusInProgress && !stopped {
			_, err := api.StopReplicationBackfill(ctx, &ecr.StopReplicationBackfillInput{ReplicationBackfillId: b.ReplicationBackfillId})
			stopped = err == nil
		}
		if now.Status != types.ReplicationBackfillStatusStopped {
			return "the backfill is " + string(now.Status)
		}
		return ""
	})
}

// poison pushes an image and removes its bytes from the source's disk once the
// destination that can be reached has them.
func (w *world) poison() string {
	w.t.Helper()
	const size = 54_321
	w.create(virginia, "poison")
	pushed := must[string](w.t)(w.registry(virginia).PushImage(w.t.Context(), "poison", "v1", content(100), content(size)))
	w.same(virginia, singapore, "poison")
	removed := 0
	err := filepath.WalkDir(filepath.Join(w.regions[virginia].opt.Data, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() == size {
			removed++
			return os.Remove(path)
		}
		return err
	})
	if err != nil || removed != 1 {
		w.t.Fatalf("%d objects removed, %v", removed, err)
	}
	return pushed
}

// metrics is what a region's /metrics shows.
func (w *world) metrics(in string) string {
	w.t.Helper()
	_, rest, ok := strings.Cut(w.regions[in].server.Log(), "Metrics and profiles: ")
	address, _, _ := strings.Cut(rest, "\n")
	if !ok {
		w.t.Fatal("the server does not say where its metrics are")
	}
	res, err := http.Get(address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// TestExtensions: a destination that takes some tags, and deletions; and one
// with little bandwidth.
func TestExtensions(t *testing.T) {
	w := newWorld(t, map[string]string{ireland: "tags=release-*|v* deletes", singapore: "bandwidth=1MiB"}, virginia, ireland, singapore)
	ctx := t.Context()
	w.create(virginia, "app")
	w.configure(virginia, map[string][]string{"": {ireland, singapore}})
	c := w.registry(virginia)
	str := must[string](t)
	start := time.Now()
	layer := content(1 << 20)
	release := str(c.PushImage(ctx, "app", "release-1", content(100), layer))
	dev := str(c.PushImage(ctx, "app", "dev-1", content(101), layer))
	loose := str(c.PushImage(ctx, "app", "", content(102), layer))
	for _, id := range []types.ImageIdentifier{digest(release), digest(dev), digest(loose)} {
		w.replicated(virginia, "app", id)
	}
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("1 MiB at 1 MiB a second took %v", took)
	}
	w.pulls(ireland, "app", "release-1", release)
	w.lacks(ireland, "app", "dev-1")
	w.lacks(ireland, "app", loose)
	w.pulls(singapore, "app", "dev-1", dev)
	if _, err := w.api(virginia).BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: aws.String("app"), ImageIds: []types.ImageIdentifier{digest(release)}}); err != nil {
		t.Fatal(err)
	}
	w.eventually(func(context.Context) string {
		if held, err := w.contents(ctx, ireland, "app"); err != nil || len(held) > 0 {
			return fmt.Sprint("still there: ", held, err)
		}
		return ""
	})
	w.pulls(singapore, "app", "release-1", release)
}

// TestPlanAndVerify: the commands that say what would be copied, and what was
// not.
func TestPlanAndVerify(t *testing.T) {
	w := newWorld(t, nil, virginia, ireland)
	ctx := t.Context()
	w.create(virginia, "production/app")
	c := w.registry(virginia)
	str := must[string](t)
	layer := content(10_000)
	first := str(c.PushImage(ctx, "production/app", "v1", content(100), layer))
	second := str(c.PushImage(ctx, "production/app", "v2", content(100), layer))

	file := filepath.Join(t.TempDir(), "replication.json")
	write := func(filter string) {
		t.Helper()
		text := `{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"123456789012"}],"repositoryFilters":[{"filter":"` + filter + `","filterType":"PREFIX_MATCH"}]}]}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("production/*")
	trap := w.client(virginia, "replication", "plan", "--configuration", file).Fails(t)
	if !strings.Contains(trap, `say "production/"`) {
		t.Errorf("plan of the trap: %s", trap)
	}
	write("production/")
	plan := w.client(virginia, "replication", "plan", "--configuration", file, "--json").Must(t)
	var p struct {
		Destinations []struct {
			Images, Tags, Repositories int
			Bytes                      int64
		}
	}
	if err := json.Unmarshal([]byte(plan), &p); err != nil || len(p.Destinations) != 1 || p.Destinations[0].Images != 2 || p.Destinations[0].Bytes < 10_200 || p.Destinations[0].Bytes > 12_000 {
		t.Errorf("plan: %s, %v", plan, err)
	}

	w.configure(virginia, map[string][]string{"production/": {ireland}})
	verify := []string{"replication", "verify", "--to", ireland, "--to-endpoint-url", w.regions[ireland].server.URL}
	found := w.client(virginia, verify...).Fails(t)
	if !strings.Contains(found, "production/app@"+first+" is missing") || !strings.Contains(found, "4 differences") {
		t.Errorf("verify: %s", found)
	}
	w.create(ireland, "production/app")
	other := str(w.registry(ireland).PushImage(ctx, "production/app", "v2", content(100), layer))
	found = w.client(virginia, verify...).Fails(t)
	if !strings.Contains(found, "production/app:v2 is "+other+" there, "+second+" here") {
		t.Errorf("verify: %s", found)
	}
	repaired := w.client(virginia, append(verify, "--repair")...).Must(t)
	if !strings.Contains(repaired, "1 repositories with 2 images compared with eu-west-1/123456789012: 0 differences") {
		t.Errorf("verify --repair: %s", repaired)
	}
	w.pulls(ireland, "production/app", "v2", second)
}
