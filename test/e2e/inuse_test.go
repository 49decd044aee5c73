package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

// models writes the models of Ecru's own operations and returns the
// environment that names them.
func models(t *testing.T, s *harness.Server) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "models")
	env := s.Ecru("env", "--data", s.Data(), "--botocore", dir).Must(t)
	if want := "export AWS_DATA_PATH='" + dir + "'"; !strings.Contains(env, want) {
		t.Fatalf("%q is missing in:\n%s", want, env)
	}
	return "AWS_DATA_PATH=" + dir
}

// TestOwnOperations calls Ecru's own operations with Debian's aws.
func TestOwnOperations(t *testing.T) {
	s := harness.New(t)
	aws := harness.AWS(t, s, harness.RootKey, harness.RootValue)
	path := models(t, s)
	command := func(args ...string) harness.Command {
		c := aws.Command(args...)
		c.Env = append(c.Env, path)
		return c
	}
	do := func(args ...string) map[string]any { t.Helper(); return jsonOf(t, command(args...).Must(t)) }
	do("create-repository", "--repository-name", "team/app", "--tags", "Key=ecru:keep-pulled-within,Value=30d", "Key=ecru:keep-last,Value=prod-:10/release-:5")
	config, layer := []byte(`{"architecture":"amd64","os":"linux"}`), []byte("layer")
	awsLayers(t, aws, s, layer, config)
	manifest := harness.Image(config, layer)
	digest := at(do("put-image", "--repository-name", "team/app", "--image-tag", "v1", "--image-manifest", string(manifest)), "image", "imageId", "imageDigest").(string)

	out := do("put-images-in-use", "--source", "prod", "--images", "imageUri="+s.Host+"/team/app:v1", "imageUri=docker.io/library/nginx:1",
		"repositoryName=team/app,imageDigest="+digest, "--replace", "--ttl-seconds", "3600")
	equal(t, "reported", at(out, "reported"), 1.0)
	equal(t, "failures", length(at(out, "failures")), 1)
	equal(t, "failure", at(out, "failures", 0, "failureCode"), "RepositoryNotFound")
	report := s.Ecru("in-use", "report", "team/app@"+digest, "--source", "dev", "--endpoint-url", s.URL)
	report.Env = aws.Environ()
	contains(t, report.Must(t), "1 images reported as in use by dev")
	out = do("list-images-in-use", "--page-size", "1") // the CLI follows nextToken
	equal(t, "images", length(at(out, "images")), 2)
	equal(t, "source", at(out, "images", 0, "source"), "dev")
	equal(t, "digest", at(out, "images", 1, "imageDigest"), digest)
	out = do("get-lifecycle-guards", "--repository-name", "team/app")
	equal(t, "pulledWithinSeconds", at(out, "pulledWithinSeconds"), 30*86400.0)
	equal(t, "prefix", at(out, "keepLast", 1, "prefix"), "release-")
	equal(t, "imagesInUse", at(out, "imagesInUse"), 1.0)
	contains(t, command("get-lifecycle-guards", "--repository-name", "none").Fails(t), "RepositoryNotFoundException")
	contains(t, command("put-images-in-use", "--source", "prod", "--images", "imageUri=a/b", "--ttl-seconds", "1").Fails(t), "ttlSeconds", "valid min value: 60")
	contains(t, command("tag-resource", "--resource-arn", "arn:aws:ecr:us-east-1:123456789012:repository/team/app", "--tags", "Key=ecru:keep-last,Value=prod-").Fails(t),
		"InvalidTagParameterException", "prod-:10/release-:5")
	contains(t, command("put-images-in-use", "help").Must(t), "lifecycle policies neither expire nor archive")
}

func TestBoto3Extensions(t *testing.T) {
	harness.Need(t, harness.PythonProgram, harness.Boto3Module)
	s := harness.New(t)
	script, err := filepath.Abs(filepath.Join("testdata", "boto3_inuse_test.py"))
	must(t, script, err)
	harness.Command{Env: append(harness.AWSEnviron(t, harness.RootKey, harness.RootValue), models(t, s)),
		Args: []string{harness.PythonProgram, script, s.URL}}.Must(t)
}
