package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/test/harness"
)

const keepTen = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPrefixList":["prod-"],"countType":"imageCountMoreThan","countNumber":10},"action":{"type":"expire"}},
 {"rulePriority":2,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":1},"action":{"type":"expire"}}]}`

// lifecycleCommand is ecru lifecycle with the root key, as a user types it.
func lifecycleCommand(t *testing.T, s *harness.Server, args ...string) harness.Command {
	t.Helper()
	c := s.Ecru(append([]string{"lifecycle", "--endpoint-url", s.URL}, args...)...)
	c.Env = harness.AWSServices(t, s, harness.RootKey, harness.RootValue, "").Environ()
	return c
}

// finds is a command that ends with status 2; it returns what it printed.
func finds(t *testing.T, c harness.Command) string {
	t.Helper()
	out, err := c.Output(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Fatalf("%v: %v, want exit status 2\n%s", c.Args, err, out)
	}
	return out
}

// TestLifecycleAdvisor asks before a policy is put what it would do: to images
// that were pushed and pulled by the registry's own protocol and by the API.
func TestLifecycleAdvisor(t *testing.T) {
	s := harness.New(t)
	createRepository(t, s, "shop", "empty")
	reg := root(t, s)
	base := []byte(strings.Repeat("base", 5000))
	push := func(tag string) string {
		t.Helper()
		digest, err := reg.PushImage(t.Context(), "shop", tag, fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","comment":%q}`, tag), base, []byte(strings.Repeat(tag, 1000)))
		return must(t, digest, err)
	}
	for i := 1; i <= 12; i++ {
		push(fmt.Sprintf("prod-%d", i))
	}
	old := push("release-1")
	push("release-1") // the same again
	arm, amd := push(""), push("list-part")
	_, err := reg.PutManifest(t.Context(), "shop", "release-2", harness.IndexType, harness.Index(
		harness.Descriptor{MediaType: harness.ManifestType, Digest: arm, Size: 500}, harness.Descriptor{MediaType: harness.ManifestType, Digest: amd, Size: 500}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := reg.PullImage(t.Context(), "shop", "prod-9"); err != nil {
		t.Fatal(err)
	}
	s2 := filepath.Join("..", "..", "lifecycle", "testdata", "s2.json")
	ten := writeFile(t, t.TempDir(), "ten.json", []byte(keepTen))

	t.Run("lint", func(t *testing.T) {
		out := finds(t, lifecycleCommand(t, s, "lint", "shop", "--policy", s2))
		contains(t, out, "rule 1 needs a tag of each prefix in the list: 0 of 16 images have both, 14 have a tag of one or more", "TAGS_OF_EACH", "all 3")
		fixed := lifecycleCommand(t, s, "lint", "shop", "--policy", s2, "--fix").Must(t)
		if rules := at(jsonOf(t, fixed), "rules"); length(rules) != 7 || at(rules, 0, "description") != "Keep last 10 production images" || length(at(rules, 0, "selection", "tagPrefixList")) != 1 {
			t.Errorf("repaired: %s", fixed)
		}
		contains(t, lifecycleCommand(t, s, "lint", "shop", "--policy", writeFile(t, t.TempDir(), "fixed.json", []byte(fixed))).Must(t), "nothing found")
		c := lifecycleCommand(t, s, "lint", "--policy", "-", "--json")
		c.Stdin = keepTen
		equal(t, "no findings", strings.Contains(c.Must(t), `"findings": []`), true)
		contains(t, lifecycleCommand(t, s, "lint").Fails(t), "name repositories, or give --all")
		contains(t, lifecycleCommand(t, s, "lint", "none", "--policy", ten).Fails(t), "RepositoryNotFoundException")
	})
	t.Run("simulate", func(t *testing.T) { simulatePolicy(t, s, ten) })
	t.Run("backtest", func(t *testing.T) { backtestPolicy(t, s, reg, ten, old) })
	t.Run("rollback-window", func(t *testing.T) { rollbackWindow(t, s, ten) })
	t.Run("nothing was changed", func(t *testing.T) {
		out, err := s.Root().DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("shop"), MaxResults: aws.Int32(1000)})
		equal(t, "images", len(must(t, out, err).ImageDetails), 16)
	})
	t.Run("permissions", func(t *testing.T) { leastAdvisor(t, s, ten) })
}

func simulatePolicy(t *testing.T, s *harness.Server, policy string) {
	out := lifecycleCommand(t, s, "simulate", "shop", "--policy", policy, "--read-manifests").Must(t)
	contains(t, out, "prod-1 ", "prod-2 ", "rule 1: 12th youngest of 12, keeps 10", "Would expire 2 of 16 images", "Frees ", "a month", "Ahead, if pushes go on")
	v := jsonOf(t, lifecycleCommand(t, s, "simulate", "shop", "--policy", policy, "--read-manifests", "--json").Must(t))
	// Of two images: a layer of 6,000 bytes each, and a configuration; the base stays.
	freed, _ := at(v, "freedBytes").(float64)
	if freed < 12_000 || freed > 12_200 {
		t.Errorf("freed %v, want the two layers and configurations", freed)
	}
	equal(t, "expired", at(v, "expire", "images"), 2.0)
	equal(t, "the oldest first", at(v, "actions", 0, "imageTags", 0), "prod-1")
	equal(t, "ahead", at(v, "ahead", 1, "days"), 90.0)
	with, _ := at(v, "ahead", 1, "with", "images", "images").(float64)
	without, _ := at(v, "ahead", 1, "without", "images", "images").(float64)
	if with >= without || without < 50 {
		t.Errorf("in 90 days: %v images with the policy, %v without", with, without)
	}
	contains(t, lifecycleCommand(t, s, "simulate", "empty", "--policy", policy, "--read-manifests").Must(t), "empty: 0 images", "there were none")
}

func backtestPolicy(t *testing.T, s *harness.Server, reg *harness.Client, policy, old string) {
	run := func(args ...string) harness.Command {
		return lifecycleCommand(t, s, append([]string{"backtest", "shop", "--policy", policy, "--days", "1", "--read-manifests"}, args...)...)
	}
	// Images are young, so a policy that is carried out at once is needed to
	// fail a pull.
	within(t, changeSeen, "the pulls are in the trail", func() bool {
		out, err := run("--soon", "0s", "--json").Output(t.Context())
		var v map[string]any
		return err == nil && json.Unmarshal([]byte(out), &v) == nil && at(v, "safe") == true && at(v, "pulls") == 4.0
	})
	contains(t, run().Must(t), "SAFE by this evidence")
	for _, ref := range []string{"prod-1", "prod-12", old} {
		if _, _, err := reg.PullImage(t.Context(), "shop", ref); err != nil {
			t.Fatal(err)
		}
	}
	within(t, changeSeen, "the pull of what would be gone is found", func() bool {
		out, err := run("--soon", "0s", "--json").Output(t.Context())
		var v map[string]any
		if err == nil || json.Unmarshal([]byte(out), &v) != nil || at(v, "safe") != false {
			return false
		}
		failures := at(v, "failures")
		for i := range length(failures) {
			f := at(failures, i)
			if at(f, "imageTags", 0) != "prod-1" || at(f, "by") != "arn:aws:iam::123456789012:root" {
				t.Fatalf("%v would have failed", f)
			}
		}
		return length(failures) == 3 // the manifest, the configuration, its own layer; the base is in others
	})
	within(t, changeSeen, "its own reading is told apart", func() bool {
		own, _ := at(jsonOf(t, run("--json").Must(t)), "completeness", "ownPulls").(float64)
		return own > 0
	})
	contains(t, finds(t, run("--soon", "0s")), "NOT SAFE: 3 pulls", "prod-1", "11th youngest of 11, keeps 10", "layer ")
}

func rollbackWindow(t *testing.T, s *harness.Server, policy string) {
	run := func(args ...string) harness.Command {
		return lifecycleCommand(t, s, append([]string{"rollback-window", "shop", "--prefix", "prod-", "--policy", policy}, args...)...)
	}
	out := finds(t, run("--deploys-per-day", "2", "--days", "5"))
	contains(t, out, "NOT ENOUGH: 15 are needed, and 10 are sure to be kept (rule 1 keeps 10)", "2 deploys a day for 5 days", "prod-1, 11 back")
	v := jsonOf(t, finds(t, run("--margin", "0", "--deploys-per-day", "5", "--days", "3", "--json")))
	equal(t, "the plan", at(v, "plannedNeed"), 15.0)
	equal(t, "the busiest", at(v, "busiestWindow", "count"), 12.0)
	equal(t, "the furthest", at(v, "furthestRollback", "count"), 11.0)
	twenty := writeFile(t, t.TempDir(), "twenty.json", []byte(strings.ReplaceAll(keepTen, `"countNumber":10`, `"countNumber":20`)))
	contains(t, lifecycleCommand(t, s, "rollback-window", "shop", "--prefix", "prod-", "--policy", twenty).Must(t), "ENOUGH: 15 are needed, and 20 are sure")
	contains(t, lifecycleCommand(t, s, "rollback-window", "shop", "--policy", policy).Fails(t), "--prefix")
}

// leastAdvisor: what --permissions prints is enough.
func leastAdvisor(t *testing.T, s *harness.Server, policy string) {
	s.Ecru("user", "create", "least", "--data", s.Data()).Must(t)
	var key, secret string
	for line := range strings.Lines(s.Ecru("user", "key", "create", "least", "--data", s.Data()).Must(t)) {
		name, value, _ := strings.Cut(strings.NewReplacer("export ", "", "'", "", "\n", "").Replace(line), "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			key = value
		case "AWS_SECRET_ACCESS_KEY":
			secret = value
		}
	}
	admin := harness.AWSServices(t, s, harness.RootKey, harness.RootValue, "")
	for _, args := range [][]string{{"lint", "shop"}, {"rollback-window", "shop", "--prefix", "release-"}, {"simulate", "shop"}, {"backtest", "shop"}} {
		document := s.Ecru("lifecycle", args[0], "--permissions").Must(t)
		admin.Command("iam", "put-user-policy", "--user-name", "least", "--policy-name", "least", "--policy-document", document).Must(t)
		c := s.Ecru(append(append([]string{"lifecycle", "--endpoint-url", s.URL}, args...), "--policy", policy)...)
		c.Env = harness.AWSServices(t, s, key, secret, "").Environ()
		within(t, changeSeen, args[0]+" with its own permissions", func() bool {
			out, err := c.Output(t.Context())
			return err == nil && out != "" && !strings.Contains(out, "AccessDenied")
		})
	}
}
