package registry_test

import (
	"strings"
	"testing"

	"github.com/ecruhq/ecru/ecr"
)

func TestRepositoryPolicy(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.image(app, "v1", "config", "layer")
	ctx := t.Context()
	puller := user(t, other, `{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`)
	pull := func(c ecr.Caller) error {
		_, err := w.GetManifest(ctx, c, app, ecr.ImageID{Tag: "v1"}, true)
		return err
	}
	w.wantCode("another account without a policy", pull(puller), ecr.AccessDenied)
	_, err := w.GetRepositoryPolicy(ctx, root, app)
	w.wantCode("no policy yet", err, ecr.RepositoryPolicyNotFound)
	_, err = w.DeleteRepositoryPolicy(ctx, root, app)
	w.wantCode("no policy to delete", err, ecr.RepositoryPolicyNotFound)

	kept, err := w.SetRepositoryPolicy(ctx, root, app, `{"Version":"2012-10-17","Statement":[{"Sid":"Pull","Effect":"Allow","Principal":{"AWS":"`+other+`"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}],"Id":"<x>"}`, false)
	want := "{\n  \"Version\" : \"2012-10-17\",\n  \"Statement\" : [ {\n    \"Sid\" : \"Pull\",\n    \"Effect\" : \"Allow\",\n    \"Principal\" : {\n      \"AWS\" : \"" + other +
		"\"\n    },\n    \"Action\" : [ \"ecr:BatchGetImage\", \"ecr:GetDownloadUrlForLayer\" ]\n  } ],\n  \"Id\" : \"<x>\"\n}"
	if err != nil || kept != want {
		t.Fatalf("kept as\n%s\n%v, want\n%s", kept, err, want)
	}
	if got, err := w.GetRepositoryPolicy(ctx, root, app); got != want || err != nil {
		t.Errorf("given back as %q, %v", got, err)
	}
	w.ok(pull(puller))
	w.wantCode("an account that may not itself", pull(user(t, other, `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`)), ecr.AccessDenied)
	_, err = w.SetRepositoryPolicy(ctx, puller, app, want, false)
	w.wantCode("a puller who sets the policy", err, ecr.AccessDenied)
	if got, err := w.DeleteRepositoryPolicy(ctx, root, app); got != want || err != nil {
		t.Errorf("deleted %q, %v", got, err)
	}
	w.wantCode("after its end", pull(puller), ecr.AccessDenied)

	lock := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"ecr:SetRepositoryPolicy"}}`
	_, err = w.SetRepositoryPolicy(ctx, root, app, lock, false)
	w.wantCode("a policy that locks its author out", err, ecr.InvalidParameter)
	_, err = w.SetRepositoryPolicy(ctx, root, app, lock, true)
	w.ok(err)
	for what, text := range map[string]string{"not JSON": "{", "no principal": `{"Statement":{"Effect":"Allow","Action":"ecr:*"}}`, "too long": strings.Repeat(" ", 10241)} {
		_, err = w.SetRepositoryPolicy(ctx, root, app, text, true)
		w.wantCode(what, err, ecr.InvalidParameter)
	}
}

// TestRegistryPolicy: it takes part in every decision, at once.
func TestRegistryPolicy(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	w.image(app, "v1", "config", "layer")
	ctx := t.Context()
	dev := user(t, account, `{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`)
	pull := func(c ecr.Caller) error {
		_, err := w.GetManifest(ctx, c, app, ecr.ImageID{Tag: "v1"}, true)
		return err
	}
	create := func(c ecr.Caller, name string) error {
		_, err := w.CreateRepository(ctx, c, in(name), ecr.Repository{})
		return err
	}
	w.ok(pull(dev))
	_, err := w.GetRegistryPolicy(ctx, root)
	w.wantCode("no policy yet", err, ecr.RegistryPolicyNotFound)
	_, err = w.PutRegistryPolicy(ctx, root, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Deny","Principal":"*","Action":["ecr:BatchGetImage","ecr:CreateRepository","ecr:DescribeRegistry"],"Resource":"*","Condition":{"StringLike":{"aws:PrincipalArn":"*:user/*"}}},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+other+`:root"},"Action":["ecr:CreateRepository"],"Resource":"arn:aws:ecr:us-east-1:`+account+`:repository/mirror/*"}]}`)
	w.ok(err)
	w.wantCode("a pull that the registry denies", pull(dev), ecr.AccessDenied)
	w.wantCode("a repository that the registry denies", create(dev, "new"), ecr.AccessDenied)
	_, err = w.DescribeRegistry(ctx, dev, account)
	w.wantCode("an action without a resource", err, ecr.AccessDenied)
	w.ok(pull(root))
	mirror := user(t, other, `{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`)
	mirror.ARN = strings.Replace(mirror.ARN, ":user/", ":service/", 1) // not one of the denied
	w.ok(create(mirror, "mirror/app"))
	w.wantCode("another prefix", create(mirror, "app"), ecr.AccessDenied)
	if _, err = w.DeleteRegistryPolicy(ctx, root); err != nil {
		t.Error(err)
	}
	w.ok(pull(dev))
	_, err = w.DeleteRegistryPolicy(ctx, root)
	w.wantCode("no policy to delete", err, ecr.RegistryPolicyNotFound)
}

// TestRequestTags: aws:RequestTag is known when a request's tags are allowed.
func TestRequestTags(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	tagger := user(t, account, `{"Effect":"Allow","Action":"ecr:TagResource","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"red"}}}`)
	arn := app.ARN("us-east-1")
	w.ok(w.TagResource(t.Context(), tagger, arn, []ecr.Tag{{Key: "team", Value: "red"}}))
	w.wantCode("another value", w.TagResource(t.Context(), tagger, arn, []ecr.Tag{{Key: "team", Value: "blue"}}), ecr.AccessDenied)
}
