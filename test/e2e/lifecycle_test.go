package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to make images old

	"github.com/ecruhq/ecru/test/harness"
)

// grownOld pushes images, stops the server, has them grow old in its database
// and starts it again. Of an image with several tags the age is that of the
// first.
func grownOld(t *testing.T, repo string, images []struct {
	tags string // with commas
	days float64
}) *harness.Server {
	t.Helper()
	opt := harness.Options{Binary: harness.Binary(t), Data: filepath.Join(t.TempDir(), "data")}
	s, err := harness.Start(opt)
	must(t, s, err)
	createRepository(t, s, repo)
	reg := root(t, s)
	ages := map[string]float64{}
	for n, i := range images {
		digest := ""
		for tag := range strings.SplitSeq(i.tags, ",") {
			digest = pushSmall(t, reg, repo, tag, fmt.Sprint("image ", n))
		}
		ages[digest] = i.days
	}
	must(t, s, s.Stop())
	db, err := sql.Open("sqlite", filepath.Join(opt.Data, "meta.db"))
	must(t, db, err)
	for digest, days := range ages {
		r, err := db.Exec(`update images set pushed_at = pushed_at - ? where digest = ?`, int64(days*24*3600*1000), digest)
		must(t, r, err)
	}
	must(t, db, db.Close())
	s, err = harness.Start(opt)
	must(t, s, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server log:\n%s", s.Log())
		}
	})
	return s
}

// TestLifecycleByAWS pastes the policy that users paste, and has it previewed,
// applied and undone.
func TestLifecycleByAWS(t *testing.T) {
	type image = struct {
		tags string
		days float64
	}
	var images []image
	for i := range 12 { // both kinds of tag: what rule 1 selects
		images = append(images, image{fmt.Sprintf("prod-%d,release-%d", i, i), float64(100 - i)})
	}
	for i := range 12 { // one kind: no rule selects them
		images = append(images, image{fmt.Sprintf("prod-only-%d", i), float64(200 - i)})
	}
	images = append(images, image{"staging-old", 31}, image{"staging-young", 29},
		image{"dev-old", 40}, image{"dev-all,test-all,feature-all", 8}, image{"dev-young,test-young,feature-young", 6})
	s := grownOld(t, "team/app", images)
	reg := root(t, s)
	pushSmall(t, reg, "team/app", "moved", "loses its tag")
	pushSmall(t, reg, "team/app", "moved", "takes it")

	aws := harness.AWS(t, s, harness.RootKey, harness.RootValue)
	do := func(args ...string) map[string]any {
		t.Helper()
		out := aws.Command(append(args, "--repository-name", "team/app")...).Must(t)
		if strings.TrimSpace(out) == "" {
			return nil
		}
		return jsonOf(t, out)
	}
	fails := func(args ...string) string {
		t.Helper()
		return aws.Command(append(args, "--repository-name", "team/app")...).Fails(t)
	}
	text, err := os.ReadFile("../../lifecycle/testdata/s2.json")
	must(t, text, err)
	policy := "file://" + writeFile(t, t.TempDir(), "policy.json", text)

	contains(t, fails("get-lifecycle-policy"), "LifecyclePolicyNotFoundException", "Lifecycle policy does not exist for the repository with name 'team/app' in the registry with id '123456789012'")
	contains(t, fails("start-lifecycle-policy-preview"), "LifecyclePolicyNotFoundException")
	contains(t, fails("get-lifecycle-policy-preview"), "LifecyclePolicyPreviewNotFoundException")
	contains(t, fails("put-lifecycle-policy", "--lifecycle-policy-text", strings.Replace(string(text), `"untagged"`, `"sometimes"`, 1)),
		`Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: instance value (sometimes) not found in enum :(possible values: ["any","tagged","untagged"])'`)

	equal(t, "text put", at(do("put-lifecycle-policy", "--lifecycle-policy-text", policy), "lifecyclePolicyText"), string(text))
	equal(t, "text got", at(do("get-lifecycle-policy"), "lifecyclePolicyText"), string(text))
	equal(t, "status", at(do("start-lifecycle-policy-preview"), "status"), "IN_PROGRESS")
	do("wait", "lifecycle-policy-preview-complete")
	preview := do("get-lifecycle-policy-preview")
	equal(t, "status", at(preview, "status"), "COMPLETE")
	equal(t, "expiring", at(preview, "summary", "expiringImageTotalCount"), 4.0)
	var gone []string
	for i := range length(at(preview, "previewResults")) {
		r := at(preview, "previewResults", i)
		gone = append(gone, fmt.Sprintf("%v %v %v", at(r, "imageTags"), at(r, "appliedRulePriority"), at(r, "action", "type")))
	}
	// Not expired: what has only one kind of tag, however old, and what is
	// untagged for less than a day.
	want := []string{"[prod-0 release-0] 1 EXPIRE", "[prod-1 release-1] 1 EXPIRE", "[staging-old] 2 EXPIRE", "[dev-all feature-all test-all] 3 EXPIRE"}
	if !slices.Equal(gone, want) {
		t.Errorf("preview:\n%s\nwant\n%s", strings.Join(gone, "\n"), strings.Join(want, "\n"))
	}
	equal(t, "tagged", length(at(do("get-lifecycle-policy-preview", "--filter", "tagStatus=TAGGED"), "previewResults")), 4)
	equal(t, "untagged", length(at(do("get-lifecycle-policy-preview", "--filter", "tagStatus=UNTAGGED"), "previewResults")), 0)
	equal(t, "by tag", length(at(do("get-lifecycle-policy-preview", "--image-ids", "imageTag=staging-old"), "previewResults")), 1)
	before := length(at(do("list-images"), "imageIds"))

	ecru := func(args ...string) harness.Command {
		c := s.Ecru(append([]string{"lifecycle", "--endpoint-url", s.URL, "--region", harness.Region}, args...)...)
		c.Env = append(c.Env, "AWS_ACCESS_KEY_ID="+harness.RootKey, "AWS_SECRET_ACCESS_KEY="+harness.RootValue)
		return c
	}
	contains(t, ecru("run", "team/app").Must(t), "has not been applied yet")
	contains(t, ecru("run", "team/app", "--now").Must(t), "4 images expired, 0 archived, 0 withheld")
	equal(t, "images left", length(at(do("list-images"), "imageIds")), before-8) // one for each tag
	contains(t, fails("describe-images", "--image-ids", "imageTag=staging-old"), "ImageNotFoundException")
	if at(do("get-lifecycle-policy"), "lastEvaluatedAt") == 0.0 {
		t.Error("lastEvaluatedAt is not set")
	}

	undo := ecru("undo", "team/app").Must(t)
	contains(t, undo, "staging-old", "dev-all,feature-all,test-all", "prod-0,release-0", "limit 30 d")
	pushSmall(t, reg, "team/app", "prod-0", "another")
	out := ecru("undo", "team/app", "--all").Must(t)
	contains(t, out, "other images have prod-0", "4 images restored, 0 not.")
	equal(t, "images again", length(at(do("list-images"), "imageIds")), before)
	old := jsonOf(t, aws.Command("describe-images", "--repository-name", "team/app", "--image-ids", "imageTag=staging-old").Must(t))
	pushed, err := time.Parse(time.RFC3339Nano, fmt.Sprint(at(old, "imageDetails", 0, "imagePushedAt")))
	if err != nil {
		seconds, ok := at(old, "imageDetails", 0, "imagePushedAt").(float64)
		if !ok {
			t.Fatal(err)
		}
		pushed = time.Unix(int64(seconds), 0)
	}
	if d := time.Since(pushed); d < 30*24*time.Hour {
		t.Errorf("restored as pushed %v ago", d)
	}
	if _, _, err := reg.PullImage(t.Context(), "team/app", "staging-old"); err != nil { // with its layers
		t.Error(err)
	}

	trail := harness.AWSServices(t, s, harness.RootKey, harness.RootValue, "")
	for _, name := range []string{"PolicyExecutionEvent", "DryRunEvent"} {
		event := eventually(t, func() any {
			out := jsonOf(t, trail.Command("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue="+name).Must(t))
			return at(out, "Events", 0, "CloudTrailEvent")
		})
		var record map[string]any
		if err := json.Unmarshal([]byte(fmt.Sprint(event)), &record); err != nil {
			t.Fatal(err)
		}
		equal(t, "eventType", at(record, "eventType"), "AwsServiceEvent")
		equal(t, "images", length(at(record, "serviceEventDetails", "lifecycleEventImageActions")), 4)
		equal(t, "repository", at(record, "serviceEventDetails", "repositoryName"), "team/app")
	}
	equal(t, "deleted", at(do("delete-lifecycle-policy"), "lifecyclePolicyText"), string(text))
	contains(t, fails("delete-lifecycle-policy"), "LifecyclePolicyNotFoundException")
}

// eventually asks again until there is an answer.
func eventually(t *testing.T, ask func() any) any {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		if v := ask(); v != nil {
			return v
		}
		select {
		case <-limit:
			t.Fatal("there is no answer")
		case <-tick.C:
		}
	}
}

func TestBoto3Lifecycle(t *testing.T) { boto3(t, "boto3_lifecycle_test.py") }
