package e2e

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecruhq/ecru/test/harness"
)

const pullOnly = `{"Version":"2012-10-17","Statement":[
  {"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
  {"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchCheckLayerAvailability"],
   "Resource":"arn:aws:ecr:us-east-1:123456789012:repository/team/*"}]}`

// newUser makes a user with a key by the ecru command, beside the running
// server, and returns the key.
func newUser(t *testing.T, s *harness.Server, name string) (key, secret string) {
	t.Helper()
	contains(t, s.Ecru("user", "create", name, "--data", s.Data()).Must(t), "arn:aws:iam::123456789012:user/"+name)
	for line := range strings.Lines(s.Ecru("user", "key", "create", name, "--data", s.Data()).Must(t)) {
		line = strings.NewReplacer("export ", "", "'", "", "\n", "").Replace(line)
		if v, ok := strings.CutPrefix(line, "AWS_ACCESS_KEY_ID="); ok {
			key = v
		}
		if v, ok := strings.CutPrefix(line, "AWS_SECRET_ACCESS_KEY="); ok {
			secret = v
		}
	}
	if key == "" || secret == "" {
		t.Fatal("ecru user key create printed no key")
	}
	return key, secret
}

// within waits until fn returns true: the server sees what the ecru command
// changed within 5 seconds.
func within(t *testing.T, limit time.Duration, what string, fn func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

const changeSeen = 10 * time.Second

func TestUserWithALimitedPolicy(t *testing.T) {
	s := harness.New(t)
	createRepository(t, s, "team/app", "other/app")
	admin := root(t, s)
	digest := pushSmall(t, admin, "team/app", "v1", "mine")
	pushSmall(t, admin, "other/app", "v1", "theirs")
	key, secret := newUser(t, s, "ci")
	user := s.ECR(key, secret)

	var token string
	_, err := harness.Password(t.Context(), user)
	wantError(t, err, "AccessDeniedException",
		"User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr:GetAuthorizationToken on resource: *",
		"because no identity-based policy allows the ecr:GetAuthorizationToken action")
	s.Ecru("user", "policy", "put", "ci", "pull", writeFile(t, t.TempDir(), "p.json", []byte(pullOnly)), "--data", s.Data()).Must(t)
	within(t, changeSeen, "the new policy allows GetAuthorizationToken", func() bool {
		token, err = harness.Password(t.Context(), user)
		return err == nil
	})
	reg := s.Registry(token)

	t.Run("what the policy allows", func(t *testing.T) {
		got, _, err := reg.PullImage(t.Context(), "team/app", "v1")
		equal(t, "digest", must(t, got, err), digest)
	})
	t.Run("what it does not", func(t *testing.T) {
		for _, try := range []struct{ method, path, action, repo string }{
			{"POST", "/v2/team/app/blobs/uploads/", "ecr:InitiateLayerUpload", "team/app"},
			{"GET", "/v2/other/app/manifests/v1", "ecr:BatchGetImage", "other/app"},
			{"GET", "/v2/absent/manifests/v1", "ecr:BatchGetImage", "absent"},
			{"GET", "/v2/team/app/tags/list", "ecr:ListImages", "team/app"},
			{"DELETE", "/v2/team/app/manifests/" + digest, "ecr:BatchDeleteImage", "team/app"},
		} {
			res, err := reg.Do(t.Context(), try.method, try.path, nil, 0)
			equal(t, try.method+" "+try.path, must(t, res, err).Status, http.StatusForbidden)
			contains(t, string(res.Body), "DENIED", "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: "+try.action+
				" on resource: arn:aws:ecr:us-east-1:123456789012:repository/"+try.repo+" because no identity-based policy allows the "+try.action+" action")
		}
		_, err := user.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/app"), Force: true})
		wantError(t, err, "AccessDeniedException", "ecr:DeleteRepository")
	})
	t.Run("a managed policy", func(t *testing.T) {
		arn := "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
		s.Ecru("user", "policy", "attach", "ci", arn, "--data", s.Data()).Must(t)
		within(t, changeSeen, "PowerUser may push", func() bool {
			_, err := reg.PutBlob(t.Context(), "other/app", []byte("now allowed"))
			return err == nil
		})
		s.Ecru("user", "policy", "detach", "ci", arn, "--data", s.Data()).Must(t)
		within(t, changeSeen, "a detached policy allows nothing", func() bool {
			_, err := reg.PutBlob(t.Context(), "other/app", []byte("no more"))
			var status *harness.StatusError
			return errors.As(err, &status) && status.Status == http.StatusForbidden
		})
	})
	t.Run("a deleted key and its tokens are refused", func(t *testing.T) {
		contains(t, s.Ecru("user", "list", "--data", s.Data()).Must(t), "arn:aws:iam::123456789012:user/ci")
		s.Ecru("user", "key", "delete", "ci", key, "--data", s.Data()).Must(t)
		within(t, changeSeen, "the key is refused", func() bool {
			_, err := user.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
			return err != nil && strings.Contains(err.Error(), "UnrecognizedClientException")
		})
		within(t, changeSeen, "its token is refused", func() bool {
			_, _, err := reg.GetManifest(t.Context(), "team/app", "v1")
			var status *harness.StatusError
			return errors.As(err, &status) && status.Status == http.StatusUnauthorized
		})
		s.Ecru("user", "policy", "delete", "ci", "pull", "--data", s.Data()).Must(t)
		s.Ecru("user", "delete", "ci", "--data", s.Data()).Must(t)
	})
}
