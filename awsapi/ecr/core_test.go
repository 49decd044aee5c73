package ecrapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/blob/mem"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

// sdkOnCore returns the SDK's client of a server on a real core.
func sdkOnCore(t *testing.T) (*sdk.Client, string) {
	t.Helper()
	db, err := meta.Open(context.Background(), meta.Options{URL: filepath.Join(t.TempDir(), "meta.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	reg := registry.New(db, new(mem.Store), registry.Config{
		Region: "us-east-1", Scheme: "http", Limits: registry.DefaultLimits(), Times: registry.DefaultTimes(),
		Host:    func(account string) string { return account + ".registry.test" },
		LinkKey: bytes.Repeat([]byte{7}, 32),
	})
	keys, err := identity.ParseKeyring(strings.Repeat("A", 43) + "=")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(reg, identity.New(db, keys, "us-east-1", time.Now), "", slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(dispatch(s, caller()))
	t.Cleanup(srv.Close)
	return sdkClient(srv.URL), srv.URL
}

// refused checks that a call failed with an exception and a message.
func refused(t *testing.T, err error, exception, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != exception || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("error %v\nwant %s: %s", err, exception, message)
	}
}

// same compares what the client got, as JSON, with want. Times are cut out.
func same(t *testing.T, got any, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, w any
	json.Unmarshal(b, &a)
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal(bare(a))
	y, _ := json.Marshal(w)
	if !bytes.Equal(x, y) {
		t.Errorf("got  %s\nwant %s", x, y)
	}
}

// bare takes nulls, times and the SDK's metadata out of a document.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e == nil || e == "" || strings.HasSuffix(k, "At") || k == "ResultMetadata" {
				delete(v, k)
				continue
			}
			v[k] = bare(e)
		}
	case []any:
		for i := range v {
			v[i] = bare(v[i])
		}
	}
	return v
}

func TestRepositoriesOnCore(t *testing.T) {
	ctx := t.Context()
	c, _ := sdkOnCore(t)
	const record = `{"RegistryId":"123456789012","RepositoryName":"team/web","RepositoryArn":"arn:aws:ecr:us-east-1:123456789012:repository/team/web",
		"RepositoryUri":"123456789012.registry.test/team/web","EncryptionConfiguration":{"EncryptionType":"AES256"},"ImageScanningConfiguration":{"ScanOnPush":%v},
		"ImageTagMutability":%s}`
	filters := `"IMMUTABLE_WITH_EXCLUSION","ImageTagMutabilityExclusionFilters":[{"Filter":"dev*","FilterType":"WILDCARD"}]`
	name := aws.String("team/web")

	made, err := c.CreateRepository(ctx, &sdk.CreateRepositoryInput{
		RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityImmutableWithExclusion,
		ImageTagMutabilityExclusionFilters: []types.ImageTagMutabilityExclusionFilter{{Filter: aws.String("dev*"), FilterType: "WILDCARD"}},
		ImageScanningConfiguration:         &types.ImageScanningConfiguration{ScanOnPush: true},
		Tags:                               []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}},
	})
	same(t, made, err, `{"Repository":`+fmt.Sprintf(record, true, filters)+`}`)
	if made.Repository.CreatedAt == nil || made.Repository.CreatedAt.IsZero() {
		t.Error("no creation time")
	}
	_, err = c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: name})
	refused(t, err, "RepositoryAlreadyExistsException", "The repository with name 'team/web' already exists in the registry with id '123456789012'")
	_, err = c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: name, RegistryId: aws.String("999999999999")})
	refused(t, err, "AccessDeniedException", "User: arn:aws:iam::123456789012:root is not authorized to perform: ecr:CreateRepository")

	list, err := c.DescribeRepositories(ctx, &sdk.DescribeRepositoriesInput{})
	same(t, list, err, `{"Repositories":[`+fmt.Sprintf(record, true, filters)+`]}`)
	_, err = c.DescribeRepositories(ctx, &sdk.DescribeRepositoriesInput{RepositoryNames: []string{"team/web", "none"}})
	refused(t, err, "RepositoryNotFoundException", "The repository with name 'none' does not exist in the registry with id '123456789012'")
	_, err = c.DescribeRepositories(ctx, &sdk.DescribeRepositoriesInput{NextToken: aws.String("?")})
	refused(t, err, "InvalidParameterException", "")

	mut, err := c.PutImageTagMutability(ctx, &sdk.PutImageTagMutabilityInput{RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityMutable})
	same(t, mut, err, `{"RegistryId":"123456789012","RepositoryName":"team/web","ImageTagMutability":"MUTABLE"}`)
	scan, err := c.PutImageScanningConfiguration(ctx, &sdk.PutImageScanningConfigurationInput{RepositoryName: name, ImageScanningConfiguration: &types.ImageScanningConfiguration{}})
	same(t, scan, err, `{"RegistryId":"123456789012","RepositoryName":"team/web","ImageScanningConfiguration":{"ScanOnPush":false}}`)

	arn := made.Repository.RepositoryArn
	_, err = c.TagResource(ctx, &sdk.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: aws.String("env"), Value: aws.String("")}}})
	same(t, struct{}{}, err, `{}`)
	_, err = c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"team"}})
	same(t, struct{}{}, err, `{}`)
	tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "env" || *tags.Tags[0].Value != "" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	_, err = c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: aws.String("arn:x")})
	refused(t, err, "InvalidParameterException", "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")

	for i := range 4 {
		if _, err := c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: aws.String(fmt.Sprintf("page%d", i))}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for p := sdk.NewDescribeRepositoriesPaginator(c, &sdk.DescribeRepositoriesInput{MaxResults: aws.Int32(2)}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Repositories {
			names = append(names, *r.RepositoryName)
		}
	}
	if got := strings.Join(names, " "); got != "page0 page1 page2 page3 team/web" {
		t.Errorf("pages: %s", got)
	}

	gone, err := c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: name})
	same(t, gone, err, `{"Repository":`+fmt.Sprintf(record, false, `"MUTABLE"`)+`}`)
	_, err = c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: name})
	refused(t, err, "RepositoryNotFoundException", "")
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// upload pushes a layer in one part.
func upload(t *testing.T, c *sdk.Client, repo *string, content []byte) (*sdk.CompleteLayerUploadOutput, error) {
	t.Helper()
	ctx := t.Context()
	up, err := c.InitiateLayerUpload(ctx, &sdk.InitiateLayerUploadInput{RepositoryName: repo})
	if err != nil {
		t.Fatal(err)
	}
	if *up.PartSize != 10485760 {
		t.Errorf("part size %d", *up.PartSize)
	}
	last := int64(len(content) - 1)
	part, err := c.UploadLayerPart(ctx, &sdk.UploadLayerPartInput{
		RepositoryName: repo, UploadId: up.UploadId, PartFirstByte: aws.Int64(0), PartLastByte: &last, LayerPartBlob: content,
	})
	if err != nil {
		t.Fatal(err)
	}
	if *part.LastByteReceived != last || *part.UploadId != *up.UploadId || *part.RepositoryName != *repo || *part.RegistryId != "123456789012" {
		t.Errorf("part %+v", part)
	}
	_, err = c.UploadLayerPart(ctx, &sdk.UploadLayerPartInput{
		RepositoryName: repo, UploadId: up.UploadId, PartFirstByte: aws.Int64(0), PartLastByte: &last, LayerPartBlob: content,
	})
	var wrong *types.InvalidLayerPartException
	if last < 5<<20 {
		refused(t, err, "LayerPartTooSmallException", "")
	} else if !errors.As(err, &wrong) || *wrong.LastValidByteReceived != last || *wrong.UploadId != *up.UploadId {
		t.Errorf("the same part again: %v", err)
	}
	return c.CompleteLayerUpload(ctx, &sdk.CompleteLayerUploadInput{RepositoryName: repo, UploadId: up.UploadId, LayerDigests: []string{digest(content)}})
}

func TestImagesOnCore(t *testing.T) {
	ctx := t.Context()
	c, url := sdkOnCore(t)
	repo := aws.String("web")
	if _, err := c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: repo}); err != nil {
		t.Fatal(err)
	}
	config, layer := []byte(`{"architecture":"amd64","os":"linux"}`), bytes.Repeat([]byte{1, 2, 3, 255}, 2<<20)
	for _, content := range [][]byte{config, layer} {
		done, err := upload(t, c, repo, content)
		if err != nil || *done.LayerDigest != digest(content) {
			t.Fatalf("complete: %+v, %v", done, err)
		}
	}
	_, err := upload(t, c, repo, layer)
	refused(t, err, "LayerAlreadyExistsException", digest(layer))

	none := "sha256:" + strings.Repeat("0", 64)
	check, err := c.BatchCheckLayerAvailability(ctx, &sdk.BatchCheckLayerAvailabilityInput{RepositoryName: repo, LayerDigests: []string{digest(layer), none, "x"}})
	same(t, check, err, fmt.Sprintf(`{"Layers":[{"LayerDigest":%q,"LayerSize":%d,"LayerAvailability":"AVAILABLE"},{"LayerDigest":%q,"LayerAvailability":"UNAVAILABLE"}],
		"Failures":[{"LayerDigest":"x","FailureCode":"InvalidLayerDigest","FailureReason":"Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"}]}`, digest(layer), len(layer), none))
	link, err := c.GetDownloadUrlForLayer(ctx, &sdk.GetDownloadUrlForLayerInput{RepositoryName: repo, LayerDigest: aws.String(digest(layer))})
	if err != nil || *link.LayerDigest != digest(layer) || !strings.HasPrefix(*link.DownloadUrl, url+"/layers/") {
		t.Errorf("link %+v, %v", link, err)
	}
	_, err = c.GetDownloadUrlForLayer(ctx, &sdk.GetDownloadUrlForLayerInput{RepositoryName: repo, LayerDigest: &none})
	refused(t, err, "LayersNotFoundException", none)

	const mt = "application/vnd.oci.image.manifest.v1+json"
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		mt, digest(config), len(config), digest(layer), len(layer))
	d := digest([]byte(manifest))
	image := func(tag string) string {
		b, _ := json.Marshal(manifest)
		return fmt.Sprintf(`{"RegistryId":"123456789012","RepositoryName":"web","ImageId":{"ImageDigest":%q%s},"ImageManifest":%s,"ImageManifestMediaType":%q}`, d, tag, b, mt)
	}
	put, err := c.PutImage(ctx, &sdk.PutImageInput{RepositoryName: repo, ImageManifest: &manifest, ImageTag: aws.String("v1")})
	same(t, put, err, `{"Image":`+image(`,"ImageTag":"v1"`)+`}`)
	_, err = c.PutImage(ctx, &sdk.PutImageInput{RepositoryName: repo, ImageManifest: &manifest, ImageTag: aws.String("v1"), ImageDigest: &d})
	refused(t, err, "ImageAlreadyExistsException", "Image with digest '"+d+"' and tag 'v1' already exists in the repository with name 'web' in registry with id '123456789012'")
	_, err = c.PutImage(ctx, &sdk.PutImageInput{RepositoryName: repo, ImageManifest: &manifest, ImageDigest: &none})
	refused(t, err, "ImageDigestDoesNotMatchException", none)
	_, err = c.PutImage(ctx, &sdk.PutImageInput{RepositoryName: repo, ImageManifest: aws.String("{")})
	refused(t, err, "InvalidParameterException", "Invalid parameter at 'ImageManifest' failed to satisfy constraint:")

	got, err := c.BatchGetImage(ctx, &sdk.BatchGetImageInput{RepositoryName: repo, ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}, {ImageTag: aws.String("v2")}, {}}})
	same(t, got, err, `{"Images":[`+image(`,"ImageTag":"v1"`)+`],"Failures":[
		{"ImageId":{},"FailureCode":"MissingDigestAndTag","FailureReason":"Invalid request parameters: both tag and digest cannot be null"},
		{"ImageId":{"ImageTag":"v2"},"FailureCode":"ImageNotFound","FailureReason":"Requested image not found"}]}`)

	signature := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x-sig","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"by":"me"}}`,
		mt, digest(config), len(config), mt, d, len(manifest))
	if _, err := c.PutImage(ctx, &sdk.PutImageInput{RepositoryName: repo, ImageManifest: &signature}); err != nil {
		t.Fatal(err)
	}
	sig := digest([]byte(signature))
	refs, err := c.ListImageReferrers(ctx, &sdk.ListImageReferrersInput{RepositoryName: repo, SubjectId: &types.SubjectIdentifier{ImageDigest: &d}})
	same(t, refs, err, fmt.Sprintf(`{"Referrers":[{"Digest":%q,"MediaType":%q,"Size":%d,"ArtifactType":"application/x-sig","Annotations":{"by":"me"},"ArtifactStatus":"ACTIVE"}]}`, sig, mt, len(signature)))
	for status, n := range map[types.ArtifactStatusFilter]int{"ANY": 1, "ACTIVE": 1, "ARCHIVED": 0} {
		refs, err := c.ListImageReferrers(ctx, &sdk.ListImageReferrersInput{RepositoryName: repo, SubjectId: &types.SubjectIdentifier{ImageDigest: &d}, Filter: &types.ListImageReferrersFilter{ArtifactStatus: status}})
		if err != nil || len(refs.Referrers) != n {
			t.Errorf("%s: %+v, %v", status, refs, err)
		}
	}

	described, err := c.DescribeImages(ctx, &sdk.DescribeImagesInput{RepositoryName: repo, ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}, {ImageDigest: &sig}}})
	same(t, described, err, fmt.Sprintf(`{"ImageDetails":[
		{"RegistryId":"123456789012","RepositoryName":"web","ImageDigest":%q,"ImageTags":["v1"],"ImageSizeInBytes":%d,"ImageManifestMediaType":%q,"ArtifactMediaType":"application/vnd.oci.image.config.v1+json","ImageStatus":"ACTIVE"},
		{"RegistryId":"123456789012","RepositoryName":"web","ImageDigest":%q,"ImageSizeInBytes":%d,"ImageManifestMediaType":%q,"ArtifactMediaType":"application/x-sig","ImageStatus":"ACTIVE","SubjectManifestDigest":%q}]}`,
		d, len(config)+len(layer), mt, sig, len(config), mt, d))
	_, err = c.DescribeImages(ctx, &sdk.DescribeImagesInput{RepositoryName: repo, ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("T")}}})
	refused(t, err, "ImageNotFoundException", "The image with imageId {imageDigest:'null', imageTag:'T'} does not exist within the repository with name 'web' in the registry with id '123456789012'")

	ids, err := c.ListImages(ctx, &sdk.ListImagesInput{RepositoryName: repo, Filter: &types.ListImagesFilter{TagStatus: types.TagStatusTagged}})
	same(t, ids, err, fmt.Sprintf(`{"ImageIds":[{"ImageDigest":%q,"ImageTag":"v1"}]}`, d))
	ids, err = c.ListImages(ctx, &sdk.ListImagesInput{RepositoryName: repo, Filter: &types.ListImagesFilter{TagStatus: types.TagStatusUntagged}})
	same(t, ids, err, fmt.Sprintf(`{"ImageIds":[{"ImageDigest":%q}]}`, sig))

	_, err = c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: repo})
	refused(t, err, "RepositoryNotEmptyException", "The repository with name 'web' in registry with id '123456789012' cannot be deleted because it still contains images")
	gone, err := c.BatchDeleteImage(ctx, &sdk.BatchDeleteImageInput{RepositoryName: repo, ImageIds: []types.ImageIdentifier{{ImageDigest: &d}, {ImageTag: aws.String("v9")}}})
	same(t, gone, err, fmt.Sprintf(`{"ImageIds":[{"ImageDigest":%q,"ImageTag":"v1"}],"Failures":[{"ImageId":{"ImageTag":"v9"},"FailureCode":"ImageNotFound","FailureReason":"Requested image not found"}]}`, d))
	if _, err := c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: repo, Force: true}); err != nil {
		t.Error(err)
	}
}

func TestRegistryOnCore(t *testing.T) {
	ctx := t.Context()
	c, _ := sdkOnCore(t)
	reg, err := c.DescribeRegistry(ctx, &sdk.DescribeRegistryInput{})
	same(t, reg, err, `{"RegistryId":"123456789012","ReplicationConfiguration":{"Rules":[]}}`)
	set, err := c.PutAccountSetting(ctx, &sdk.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("DISABLED")})
	same(t, set, err, `{"Name":"BLOB_MOUNTING","Value":"DISABLED"}`)
	get, err := c.GetAccountSetting(ctx, &sdk.GetAccountSettingInput{Name: aws.String("BLOB_MOUNTING")})
	same(t, get, err, `{"Name":"BLOB_MOUNTING","Value":"DISABLED"}`)

	role := aws.String("arn:aws:iam::123456789012:role/scanner")
	ex, err := c.RegisterPullTimeUpdateExclusion(ctx, &sdk.RegisterPullTimeUpdateExclusionInput{PrincipalArn: role})
	same(t, ex, err, `{"PrincipalArn":"arn:aws:iam::123456789012:role/scanner"}`)
	if ex.CreatedAt == nil || ex.CreatedAt.IsZero() {
		t.Error("no creation time")
	}
	_, err = c.RegisterPullTimeUpdateExclusion(ctx, &sdk.RegisterPullTimeUpdateExclusionInput{PrincipalArn: role})
	refused(t, err, "ExclusionAlreadyExistsException", "")
	list, err := c.ListPullTimeUpdateExclusions(ctx, &sdk.ListPullTimeUpdateExclusionsInput{})
	same(t, list, err, `{"PullTimeUpdateExclusions":["arn:aws:iam::123456789012:role/scanner"]}`)
	out, err := c.DeregisterPullTimeUpdateExclusion(ctx, &sdk.DeregisterPullTimeUpdateExclusionInput{PrincipalArn: role})
	same(t, out, err, `{"PrincipalArn":"arn:aws:iam::123456789012:role/scanner"}`)
	_, err = c.DeregisterPullTimeUpdateExclusion(ctx, &sdk.DeregisterPullTimeUpdateExclusionInput{PrincipalArn: role})
	refused(t, err, "ExclusionNotFoundException", "")
}

func TestTemplatesOnCore(t *testing.T) {
	ctx := t.Context()
	c, _ := sdkOnCore(t)
	prefix := aws.String("ci")
	const rest = `"Prefix":"ci","EncryptionConfiguration":{"EncryptionType":"AES256"},"ResourceTags":[{"Key":"team","Value":"a"}],"Description":"%s","AppliedFor":["CREATE_ON_PUSH"],"ImageTagMutability":%s`
	made, err := c.CreateRepositoryCreationTemplate(ctx, &sdk.CreateRepositoryCreationTemplateInput{
		Prefix: prefix, AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush}, Description: aws.String("first"),
		ResourceTags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}},
	})
	same(t, made, err, `{"RegistryId":"123456789012","RepositoryCreationTemplate":{`+fmt.Sprintf(rest, "first", `"MUTABLE"`)+`}}`)
	_, err = c.CreateRepositoryCreationTemplate(ctx, &sdk.CreateRepositoryCreationTemplateInput{Prefix: prefix, AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush}})
	refused(t, err, "TemplateAlreadyExistsException", "")
	changed, err := c.UpdateRepositoryCreationTemplate(ctx, &sdk.UpdateRepositoryCreationTemplateInput{
		Prefix: prefix, Description: aws.String("second"), ImageTagMutability: types.ImageTagMutabilityMutableWithExclusion,
		ImageTagMutabilityExclusionFilters: []types.ImageTagMutabilityExclusionFilter{{Filter: aws.String("v*"), FilterType: "WILDCARD"}},
	})
	now := fmt.Sprintf(rest, "second", `"MUTABLE_WITH_EXCLUSION","ImageTagMutabilityExclusionFilters":[{"Filter":"v*","FilterType":"WILDCARD"}]`)
	same(t, changed, err, `{"RegistryId":"123456789012","RepositoryCreationTemplate":{`+now+`}}`)
	list, err := c.DescribeRepositoryCreationTemplates(ctx, &sdk.DescribeRepositoryCreationTemplatesInput{})
	same(t, list, err, `{"RegistryId":"123456789012","RepositoryCreationTemplates":[{`+now+`}]}`)
	gone, err := c.DeleteRepositoryCreationTemplate(ctx, &sdk.DeleteRepositoryCreationTemplateInput{Prefix: prefix})
	same(t, gone, err, `{"RegistryId":"123456789012","RepositoryCreationTemplate":{`+now+`}}`)
	_, err = c.DeleteRepositoryCreationTemplate(ctx, &sdk.DeleteRepositoryCreationTemplateInput{Prefix: prefix})
	refused(t, err, "TemplateNotFoundException", "")
}
