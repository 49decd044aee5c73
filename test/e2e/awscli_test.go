package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

// jsonOf decodes a command's output.
func jsonOf(t *testing.T, out string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return v
}

// at follows names and list positions in decoded JSON; nil if the way ends.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func length(v any) int {
	l, _ := v.([]any)
	return len(l)
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func writeFile(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAWSCommandLine(t *testing.T) {
	s := harness.New(t)
	aws := harness.AWS(t, s, harness.RootKey, harness.RootValue)
	do := func(args ...string) map[string]any {
		t.Helper()
		out := aws.Command(args...).Must(t)
		if strings.TrimSpace(out) == "" {
			return nil
		}
		return jsonOf(t, out)
	}
	fails := func(args ...string) string { t.Helper(); return aws.Command(args...).Fails(t) }

	t.Run("repositories", func(t *testing.T) {
		out := do("create-repository", "--repository-name", "team/app", "--tags", "Key=owner,Value=me")
		equal(t, "repositoryUri", at(out, "repository", "repositoryUri"), s.Host+"/team/app")
		equal(t, "repositoryArn", at(out, "repository", "repositoryArn"), "arn:aws:ecr:us-east-1:123456789012:repository/team/app")
		equal(t, "imageTagMutability", at(out, "repository", "imageTagMutability"), "MUTABLE")
		contains(t, fails("create-repository", "--repository-name", "team/app"), "RepositoryAlreadyExistsException",
			"The repository with name 'team/app' already exists in the registry with id '123456789012'")
		out = do("describe-repositories", "--repository-names", "team/app")
		equal(t, "repositories", length(at(out, "repositories")), 1)
		contains(t, fails("describe-repositories", "--repository-names", "none"), "RepositoryNotFoundException",
			"The repository with name 'none' does not exist in the registry with id '123456789012'")
		contains(t, fails("create-repository", "--repository-name", "Bad_Name"), "InvalidParameterException", "repositoryName", "must satisfy regular expression")
		arn := "arn:aws:ecr:us-east-1:123456789012:repository/team/app"
		do("tag-resource", "--resource-arn", arn, "--tags", "Key=stage,Value=prod")
		do("untag-resource", "--resource-arn", arn, "--tag-keys", "owner")
		out = do("list-tags-for-resource", "--resource-arn", arn)
		equal(t, "tag", at(out, "tags", 0, "Key"), "stage")
		equal(t, "tags", length(at(out, "tags")), 1)
	})
	layer := []byte("layer of the aws command line")
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	t.Run("layers", func(t *testing.T) { awsLayers(t, aws, s, layer, config) })
	t.Run("images", func(t *testing.T) { awsImages(t, aws, harness.Image(config, layer)) })
	t.Run("registry", func(t *testing.T) { awsRegistry(t, aws) })
	t.Run("an operation that is not built yet", func(t *testing.T) {
		contains(t, fails("describe-pull-through-cache-rules"), "UnknownOperationException")
	})
	t.Run("a wrong secret", func(t *testing.T) {
		wrong := harness.AWS(t, s, harness.RootKey, "wrong/"+harness.RootValue)
		contains(t, wrong.Command("describe-repositories").Fails(t), "InvalidSignatureException")
		unknown := harness.AWS(t, s, "AKIANOBODYNOBODY0000", harness.RootValue)
		contains(t, unknown.Command("describe-repositories").Fails(t), "UnrecognizedClientException")
	})
	t.Run("delete", func(t *testing.T) {
		contains(t, fails("delete-repository", "--repository-name", "team/app"), "RepositoryNotEmptyException",
			"The repository with name 'team/app' in registry with id '123456789012' cannot be deleted because it still contains images")
		do("delete-repository", "--repository-name", "team/app", "--force")
		equal(t, "repositories", length(at(do("describe-repositories"), "repositories")), 0)
	})
}

// awsLayers uploads blobs by the API's own calls, and fetches one by the link
// that the API gives.
func awsLayers(t *testing.T, aws *harness.Tool, s *harness.Server, blobs ...[]byte) {
	for _, b := range blobs {
		up := jsonOf(t, aws.Command("initiate-layer-upload", "--repository-name", "team/app").Must(t))
		id, _ := at(up, "uploadId").(string)
		file := writeFile(t, aws.Home, "part", b)
		part := jsonOf(t, aws.Command("upload-layer-part", "--repository-name", "team/app", "--upload-id", id, "--part-first-byte", "0",
			"--part-last-byte", strconv.Itoa(len(b)-1), "--layer-part-blob", "fileb://"+file).Must(t))
		equal(t, "lastByteReceived", at(part, "lastByteReceived"), float64(len(b)-1))
		contains(t, aws.Command("complete-layer-upload", "--repository-name", "team/app", "--upload-id", id,
			"--layer-digests", harness.Digest(b)).Must(t), harness.Digest(b))
	}
	digest := harness.Digest(blobs[0])
	out := jsonOf(t, aws.Command("batch-check-layer-availability", "--repository-name", "team/app", "--layer-digests", digest).Must(t))
	equal(t, "layerAvailability", at(out, "layers", 0, "layerAvailability"), "AVAILABLE")
	out = jsonOf(t, aws.Command("get-download-url-for-layer", "--repository-name", "team/app", "--layer-digest", digest).Must(t))
	link, _ := at(out, "downloadUrl").(string)
	get := func(link string) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", link, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, b
	}
	status, body := get(link)
	equal(t, "status of the link", status, 200)
	equal(t, "digest of its bytes", harness.Digest(body), digest)
	status, _ = get(link + "0")
	if status < 400 || status > 499 {
		t.Errorf("a changed link: HTTP %d, want an error", status)
	}
	contains(t, aws.Command("get-download-url-for-layer", "--repository-name", "team/app",
		"--layer-digest", harness.Digest([]byte("nothing"))).Fails(t), "LayersNotFoundException")
}

func awsImages(t *testing.T, aws *harness.Tool, manifest []byte) {
	do := func(args ...string) map[string]any { t.Helper(); return jsonOf(t, aws.Command(args...).Must(t)) }
	fails := func(args ...string) string { t.Helper(); return aws.Command(args...).Fails(t) }
	digest := harness.Digest(manifest)
	file := "file://" + writeFile(t, aws.Home, "manifest.json", manifest)
	out := do("put-image", "--repository-name", "team/app", "--image-tag", "v1", "--image-manifest", file)
	equal(t, "imageDigest", at(out, "image", "imageId", "imageDigest"), digest)
	contains(t, fails("put-image", "--repository-name", "team/app", "--image-tag", "v1", "--image-manifest", file),
		"ImageAlreadyExistsException", "Image with digest '"+digest+"' and tag 'v1' already exists in the repository with name 'team/app' in registry with id '123456789012'")
	do("put-image", "--repository-name", "team/app", "--image-tag", "v2", "--image-manifest", file)
	missing := "file://" + writeFile(t, aws.Home, "missing.json", harness.Image([]byte("{}")))
	contains(t, fails("put-image", "--repository-name", "team/app", "--image-tag", "v3", "--image-manifest", missing), "LayersNotFoundException")

	out = do("batch-get-image", "--repository-name", "team/app", "--image-ids", "imageTag=v1", "imageTag=none")
	equal(t, "imageManifest", at(out, "images", 0, "imageManifest"), string(manifest))
	equal(t, "failureCode", at(out, "failures", 0, "failureCode"), "ImageNotFound")
	equal(t, "failureReason", at(out, "failures", 0, "failureReason"), "Requested image not found")
	out = do("list-images", "--repository-name", "team/app")
	equal(t, "imageIds", length(at(out, "imageIds")), 2)
	out = do("list-images", "--repository-name", "team/app", "--max-items", "1")
	if at(out, "NextToken") == nil {
		t.Error("list-images --max-items 1 of 2: no NextToken")
	}
	out = do("describe-images", "--repository-name", "team/app")
	equal(t, "imageDetails", length(at(out, "imageDetails")), 1)
	equal(t, "imageTags", length(at(out, "imageDetails", 0, "imageTags")), 2)
	contains(t, fails("describe-images", "--repository-name", "team/app", "--image-ids", "imageTag=none"), "ImageNotFoundException",
		"The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the repository with name 'team/app' in the registry with id '123456789012'")
	do("put-image-tag-mutability", "--repository-name", "team/app", "--image-tag-mutability", "IMMUTABLE")
	out = do("describe-repositories", "--repository-names", "team/app")
	equal(t, "imageTagMutability", at(out, "repositories", 0, "imageTagMutability"), "IMMUTABLE")
	do("put-image-tag-mutability", "--repository-name", "team/app", "--image-tag-mutability", "MUTABLE")
	out = do("batch-delete-image", "--repository-name", "team/app", "--image-ids", "imageTag=v2")
	equal(t, "deleted tag", at(out, "imageIds", 0, "imageTag"), "v2")
	out = do("batch-delete-image", "--repository-name", "team/app", "--image-ids", "imageTag=none")
	equal(t, "failureCode", at(out, "failures", 0, "failureCode"), "ImageNotFound")
}

func awsRegistry(t *testing.T, aws *harness.Tool) {
	do := func(args ...string) map[string]any { t.Helper(); return jsonOf(t, aws.Command(args...).Must(t)) }
	password := strings.TrimSpace(aws.Command("get-login-password").Must(t))
	if password == "" || strings.Contains(password, ":") {
		t.Errorf("get-login-password: %q", password)
	}
	out := do("get-authorization-token")
	token, _ := at(out, "authorizationData", 0, "authorizationToken").(string)
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || !strings.HasPrefix(string(b), "AWS:") {
		t.Errorf("authorizationToken is not base64 of AWS:… (%v)", err)
	}
	out = do("describe-registry")
	equal(t, "registryId", at(out, "registryId"), harness.Account)
}
