package e2e

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecruhq/ecru/test/harness"
)

// must fails the test on an error.
func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantError checks an API error's code and that its message has the texts.
func wantError(t *testing.T, err error, code string, texts ...string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Errorf("got error %v, want %s", err, code)
		return
	}
	if api.ErrorCode() != code {
		t.Errorf("got error %v, want %s", err, code)
	}
	contains(t, api.ErrorMessage(), texts...)
}

// root returns a registry client with a token of the root user.
func root(t *testing.T, s *harness.Server) *harness.Client {
	t.Helper()
	password, err := harness.Password(t.Context(), s.Root())
	return s.Registry(must(t, password, err))
}

func createRepository(t *testing.T, s *harness.Server, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := s.Root().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// pushSmall pushes an image whose content is made from text.
func pushSmall(t *testing.T, c *harness.Client, repo, ref, text string) string {
	t.Helper()
	digest, err := c.PushImage(t.Context(), repo, ref, []byte(`{"architecture":"amd64","os":"linux","comment":"`+text+`"}`), []byte("layer of "+text))
	return must(t, digest, err)
}

func TestAccountSettings(t *testing.T) {
	s := harness.New(t)
	c := s.Root()
	for _, v := range []string{"ENABLED", "DISABLED"} {
		put, err := c.PutAccountSetting(t.Context(), &ecr.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String(v)})
		equal(t, "value put", aws.ToString(must(t, put, err).Value), v)
		get, err := c.GetAccountSetting(t.Context(), &ecr.GetAccountSettingInput{Name: aws.String("BLOB_MOUNTING")})
		equal(t, "value got", aws.ToString(must(t, get, err).Value), v)
	}
	_, err := c.PutAccountSetting(t.Context(), &ecr.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("PERHAPS")})
	if err == nil {
		t.Error("an unknown value was taken")
	}
}

func TestCreateOnPushThroughATemplate(t *testing.T) {
	s := harness.New(t)
	c, reg := s.Root(), root(t, s)
	_, err := reg.PutBlob(t.Context(), "team/new", []byte("x"))
	var status *harness.StatusError
	if !errors.As(err, &status) || status.Status != http.StatusNotFound {
		t.Fatalf("push without repository and template: %v, want HTTP 404", err)
	}
	contains(t, string(status.Body), "NAME_UNKNOWN")
	_, err = c.CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String("team"), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush},
		ImageTagMutability: types.ImageTagMutabilityImmutable,
		ResourceTags:       []types.Tag{{Key: aws.String("made"), Value: aws.String("by template")}},
		CustomRoleArn:      aws.String("arn:aws:iam::123456789012:role/ecr-template"),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String("team"), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush}})
	wantError(t, err, "TemplateAlreadyExistsException")
	pushSmall(t, reg, "team/new", "v1", "first")
	out, err := c.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"team/new"}})
	equal(t, "mutability", must(t, out, err).Repositories[0].ImageTagMutability, types.ImageTagMutabilityImmutable)
	tags, err := c.ListTagsForResource(t.Context(), &ecr.ListTagsForResourceInput{ResourceArn: out.Repositories[0].RepositoryArn})
	equal(t, "tags", len(must(t, tags, err).Tags), 1)
	_, err = reg.PutBlob(t.Context(), "other/new", []byte("x"))
	if !errors.As(err, &status) || status.Status != http.StatusNotFound {
		t.Errorf("push beside the template: %v, want HTTP 404", err)
	}
	list, err := c.DescribeRepositoryCreationTemplates(t.Context(), &ecr.DescribeRepositoryCreationTemplatesInput{})
	equal(t, "templates", len(must(t, list, err).RepositoryCreationTemplates), 1)
	if _, err := c.DeleteRepositoryCreationTemplate(t.Context(), &ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("team")}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteRepositoryCreationTemplate(t.Context(), &ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("team")})
	wantError(t, err, "TemplateNotFoundException")
}

func TestImmutableTags(t *testing.T) {
	s := harness.New(t)
	c, reg := s.Root(), root(t, s)
	_, err := c.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("fixed"),
		ImageTagMutability: types.ImageTagMutabilityImmutableWithExclusion,
		ImageTagMutabilityExclusionFilters: []types.ImageTagMutabilityExclusionFilter{
			{FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard, Filter: aws.String("dev-*")}}})
	if err != nil {
		t.Fatal(err)
	}
	first := pushSmall(t, reg, "fixed", "v1", "first")
	pushSmall(t, reg, "fixed", "dev-1", "first")
	pushSmall(t, reg, "fixed", "dev-1", "second")
	_, err = reg.PushImage(t.Context(), "fixed", "v1", []byte(`{}`), []byte("other"))
	var status *harness.StatusError
	if !errors.As(err, &status) || status.Status < 400 || status.Status > 499 {
		t.Fatalf("moving an immutable tag: %v, want an error", err)
	}
	contains(t, string(status.Body), "TAG_INVALID", "The image tag 'v1' already exists in the 'fixed' repository and cannot be overwritten because the")
	_, digest, err := reg.GetManifest(t.Context(), "fixed", "v1")
	equal(t, "v1", must(t, digest, err), first)
	manifest := harness.Image([]byte(`{}`), []byte("other"))
	_, err = c.PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: aws.String("fixed"), ImageTag: aws.String("v1"), ImageManifest: aws.String(string(manifest))})
	wantError(t, err, "ImageTagAlreadyExistsException")
}

// hostOf makes the SDK's client send another Host header, before it signs.
func hostOf(host string) func(*ecr.Options) {
	return func(o *ecr.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Build.Add(middleware.BuildMiddlewareFunc("Host", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
				in.Request.(*smithyhttp.Request).Host = host
				return next.HandleBuild(ctx, in)
			}), middleware.After)
		})
	}
}

func TestHostNameSelectsTheAccount(t *testing.T) {
	s := harness.New(t)
	createRepository(t, s, "app")
	reg := root(t, s)
	want := pushSmall(t, reg, "app", "v1", "mine")
	reg.Host = harness.Account + ".dkr.ecr." + harness.Region + ".localhost"
	_, digest, err := reg.GetManifest(t.Context(), "app", "v1")
	equal(t, "by the account's host name", must(t, digest, err), want)
	out, err := s.Root().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{}, hostOf("api.ecr."+harness.Region+".localhost"))
	equal(t, "repositories by the API's host name", len(must(t, out, err).Repositories), 1)

	reg.Host = "999999999999.dkr.ecr." + harness.Region + ".localhost"
	_, _, err = reg.GetManifest(t.Context(), "app", "v1")
	var status *harness.StatusError
	if !errors.As(err, &status) || status.Status != http.StatusForbidden {
		t.Fatalf("another account's registry: %v, want HTTP 403", err)
	}
	contains(t, string(status.Body), "DENIED")
	reg.Host = harness.Account + ".dkr.ecr.eu-west-1.localhost"
	_, _, err = reg.GetManifest(t.Context(), "app", "v1")
	if !errors.As(err, &status) || status.Status < 400 || status.Status > 499 {
		t.Errorf("a host of another region: %v, want an error", err)
	}
}

func TestRepositoriesAreReadOnlyThroughLinks(t *testing.T) {
	s := harness.New(t)
	createRepository(t, s, "one", "two")
	reg := root(t, s)
	secret := []byte("only in repository one")
	digest, err := reg.PutBlob(t.Context(), "one", secret)
	must(t, digest, err)
	if _, err := reg.GetBlob(t.Context(), "one", digest); err != nil {
		t.Error(err)
	}
	_, err = reg.GetBlob(t.Context(), "two", digest)
	var status *harness.StatusError
	if !errors.As(err, &status) || status.Status != http.StatusNotFound {
		t.Errorf("a blob through a repository that does not link it: %v, want HTTP 404", err)
	}
}

func TestUnknownOperation(t *testing.T) {
	s := harness.New(t)
	_, err := s.Root().DescribePullThroughCacheRules(t.Context(), &ecr.DescribePullThroughCacheRulesInput{})
	wantError(t, err, "UnknownOperationException")
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		equal(t, "status", answer.HTTPStatusCode(), http.StatusNotFound)
		if answer.ServiceRequestID() == "" {
			t.Error("no request ID")
		}
	}
}

func TestWithoutCredentialsThereIsOnlyAChallenge(t *testing.T) {
	s := harness.New(t)
	createRepository(t, s, "app")
	anonymous := s.Registry("")
	for _, path := range []string{"/v2/", "/v2/app/tags/list", "/v2/none/tags/list", "/v2/_catalog", "/v2/app/manifests/v1"} {
		res, err := anonymous.Do(t.Context(), "GET", path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, path, res.Status, http.StatusUnauthorized)
		if h := res.Header.Get("WWW-Authenticate"); !strings.HasPrefix(h, "Basic realm=") {
			t.Errorf("%s: WWW-Authenticate: %q", path, h)
		}
	}
}
