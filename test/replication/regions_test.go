package replication

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/test/harness"
)

// everywhere is the configuration of a team that releases to three regions,
// with the filter that it meant.
const everywhere = `{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"123456789012"},{"region":"ap-southeast-1","registryId":"123456789012"}],
	"repositoryFilters":[{"filter":"production/","filterType":"PREFIX_MATCH"}]}]}`

// TestThreeRegions: images of every kind are where the configuration, set
// through aws, says, and nothing else is.
func TestThreeRegions(t *testing.T) {
	w := newWorld(t, nil, virginia, ireland, singapore)
	out := w.aws(virginia, "put-replication-configuration", "--replication-configuration", everywhere)
	if !strings.Contains(out, `"filter": "production/"`) {
		t.Errorf("put-replication-configuration: %s", out)
	}
	trap := w.awsCommand(virginia, "put-replication-configuration", "--replication-configuration", strings.Replace(everywhere, "production/", "production/*", 1)).Fails(t)
	if !strings.Contains(trap, "InvalidParameterException") || !strings.Contains(trap, "must satisfy regular expression") {
		t.Errorf("production/* is answered with %s", trap)
	}
	w.create(virginia, "production/web")
	w.create(virginia, "staging/web")
	c := w.registry(virginia)
	ctx := t.Context()
	both := []string{ireland, singapore}
	str := must[string](t)

	config, base := content(500), content(300<<10)
	first := str(c.PushImage(ctx, "production/web", "v1", config, base, content(20<<10)))
	str(c.PushImage(ctx, "staging/web", "v1", config, base))
	for region, s := range w.replicated(virginia, "production/web", tag("v1")) {
		if s != types.ReplicationStatusComplete {
			t.Errorf("%s: %s", region, s)
		}
	}
	status := w.aws(virginia, "describe-image-replication-status", "--repository-name", "production/web", "--image-id", "imageTag=v1")
	if strings.Count(status, `"COMPLETE"`) != 2 || strings.Contains(status, "failureCode") {
		t.Errorf("describe-image-replication-status: %s", status)
	}

	// A quick retag ends on the last one, and the one before lands too.
	var last string
	for range 5 {
		last = str(c.PushImage(ctx, "production/web", "latest", content(400), base))
	}
	w.replicated(virginia, "production/web", tag("latest"))
	// By digest only; an index; a referrer, pushed before its subject's turn.
	loose := str(c.PushImage(ctx, "production/web", "", content(300), base))
	child := str(c.PushImage(ctx, "production/web", "", content(301), content(5000)))
	childManifest, _, err := c.GetManifest(ctx, "production/web", child)
	if err != nil {
		t.Fatal(err)
	}
	index := harness.Index(harness.Describe(harness.ManifestType, childManifest))
	many := str(c.PutManifest(ctx, "production/web", "multi", harness.IndexType, index))
	str(c.PutBlob(ctx, "production/web", []byte("{}")))
	signature := about(harness.Describe(harness.ManifestType, childManifest))
	referrer := str(c.PutManifest(ctx, "production/web", harness.Digest(signature), harness.ManifestType, signature))
	for _, id := range []types.ImageIdentifier{digest(loose), tag("multi"), digest(referrer)} {
		w.replicated(virginia, "production/web", id)
	}
	for _, region := range both {
		w.pulls(region, "production/web", "v1", first)
		w.pulls(region, "production/web", "latest", last)
		w.pulls(region, "production/web", loose, loose)
		w.pulls(region, "production/web", "multi", many)
		w.pulls(region, "production/web", referrer, referrer)
		w.lacks(region, "staging/web", "v1")
		list, err := w.api(region).ListImages(ctx, &ecr.ListImagesInput{RepositoryName: new("production/web")})
		here, err2 := w.api(virginia).ListImages(ctx, &ecr.ListImagesInput{RepositoryName: new("production/web")})
		if err != nil || err2 != nil || len(list.ImageIds) != len(here.ImageIds) {
			t.Errorf("%s lists %d images, %s %d: %v %v", region, len(list.ImageIds), virginia, len(here.ImageIds), err, err2)
		}
	}
}

// about is a manifest whose subject is another.
func about(subject harness.Descriptor) []byte {
	empty := harness.Describe("application/vnd.oci.empty.v1+json", []byte("{}"))
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": harness.ManifestType, "artifactType": "application/x.signature",
		"config": empty, "layers": []harness.Descriptor{empty}, "subject": subject})
	if err != nil {
		panic(err) // descriptors
	}
	return b
}

// TestOneHop: what came by replication does not go on.
func TestOneHop(t *testing.T) {
	w := newWorld(t, nil, virginia, ireland, singapore)
	w.configure(virginia, map[string][]string{"": {ireland}})
	w.configure(ireland, map[string][]string{"": {singapore}})
	w.create(virginia, "chain")
	str := must[string](t)
	first := str(w.registry(virginia).PushImage(t.Context(), "chain", "one", content(100), content(5000)))
	w.replicated(virginia, "chain", tag("one"))
	second := str(w.registry(ireland).PushImage(t.Context(), "chain", "two", content(100), content(5000)))
	w.replicated(ireland, "chain", tag("two"))
	w.pulls(ireland, "chain", "one", first)
	w.pulls(singapore, "chain", "two", second)
	w.lacks(singapore, "chain", "one")
	w.lacks(virginia, "chain", "two")
}
