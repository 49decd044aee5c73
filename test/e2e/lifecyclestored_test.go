package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/test/harness"
)

// TestLifecycleStored judges policies that are stored, and one that looks at pulls.
func TestLifecycleStored(t *testing.T) {
	s := harness.New(t)
	createRepository(t, s, "shop", "bare")
	reg := root(t, s)
	for i := range 3 {
		pushSmall(t, reg, "shop", fmt.Sprintf("prod-%d", i), fmt.Sprint(i))
	}
	put := func(text string) {
		t.Helper()
		_, err := s.Root().PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: aws.String("shop"), LifecyclePolicyText: &text})
		if err != nil {
			t.Fatal(err)
		}
	}
	s2, err := os.ReadFile(filepath.Join("..", "..", "lifecycle", "testdata", "s2.json"))
	put(string(must(t, s2, err)))
	out := finds(t, lifecycleCommand(t, s, "lint", "--all"))
	contains(t, out, "bare\n", "NO_POLICY", "shop\n", "0 of 3 images have both, 3 have a tag of one or more")
	fixed := lifecycleCommand(t, s, "lint", "shop", "--fix").Must(t)
	put(fixed)
	contains(t, lifecycleCommand(t, s, "lint", "shop").Must(t), "nothing found")
	contains(t, lifecycleCommand(t, s, "simulate", "shop").Must(t), "Would expire 0 of 3 images", "Frees 0 B")
	contains(t, lifecycleCommand(t, s, "backtest", "shop").Must(t), "SAFE")
	contains(t, lifecycleCommand(t, s, "rollback-window", "shop", "--prefix", "prod-").Must(t), "ENOUGH", "rule 1 keeps 10")
	contains(t, lifecycleCommand(t, s, "rollback-window", "bare", "--prefix", "prod-").Must(t), "no rule selects tags of this prefix")
	contains(t, lifecycleCommand(t, s, "simulate", "bare").Fails(t), "bare has no lifecycle policy: give one with --policy FILE")

	put(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"sinceImagePulled","countUnit":"days","countNumber":30},"action":{"type":"transition","targetStorageClass":"archive"}}]}`)
	contains(t, lifecycleCommand(t, s, "simulate", "shop").Must(t), "manifests were not read: that counts as pulls, which a rule looks at", "arn:aws:iam::123456789012:root")
	out = finds(t, lifecycleCommand(t, s, "lint", "shop"))
	contains(t, out, "rule 1 saves nothing: a GB costs $0.10 a month archived and $0.10 as it is")
}
