package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/ociapi"
)

// Every route of the registry and every operation of every API is tried by
// callers who may not. The inputs are the same for all operations: members that
// an operation does not know are passed over, so that a new operation is tried
// without a line here, or fails for want of an input.

const (
	mine   = "123456789012"
	theirs = "210987654321"
	digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var holeJSON = map[string]any{
	"registryId": mine, "repositoryName": "a/b", "repositoryNames": []string{"a/b"}, "imageIds": []any{map[string]string{"imageTag": "v1"}},
	"imageManifest": holeManifest, "imageTag": "v1", "imageId": map[string]string{"imageTag": "v1"}, "targetStorageClass": "ARCHIVE", "layerDigests": []string{digest}, "layerDigest": digest, "uploadId": "4f6a3c1e-0000-4000-8000-000000000000",
	"partFirstByte": 0, "partLastByte": 0, "layerPartBlob": "YQ==", "imageTagMutability": "MUTABLE", "imageScanningConfiguration": map[string]bool{"scanOnPush": true},
	"policyText": holePolicy, "force": true, "resourceArn": "arn:aws:ecr:us-east-1:" + mine + ":repository/a/b", "tags": []any{map[string]string{"Key": "k", "Value": "v"}},
	"tagKeys": []string{"k"}, "name": "BASIC_SCAN_TYPE_VERSION", "value": "AWS_NATIVE", "prefix": "x", "prefixes": []string{"x"}, "appliedFor": []string{"CREATE_ON_PUSH"},
	"principalArn": "arn:aws:iam::" + mine + ":user/x", "subjectId": map[string]string{"imageDigest": digest},
	"replicationConfiguration": map[string]any{"rules": []any{}}, "destination": map[string]string{"region": "eu-west-1", "registryId": mine},
	"replicationBackfillId": "4f6a3c1e-0000-4000-8000-000000000000",
	"lifecyclePolicyText":   holeLifecycle, "imageDigests": []string{digest},
	"source": "cluster", "images": []any{map[string]string{"imageDigest": digest}},
}

const holeManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
	"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digest + `","size":0},"layers":[]}`

const holeLifecycle = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`

const holePolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"ecr:ListImages"}]}`

const holeTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}]}`

func holeForm(action string) url.Values {
	form := url.Values{}
	for k, v := range map[string]string{
		"Action": action, "UserName": "somebody", "RoleName": "somerole", "GroupName": "somegroup", "PolicyName": "p", "PolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
		"PolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`, "AssumeRolePolicyDocument": holeTrust,
		"AccessKeyId": "AKIASOMEBODYSKEY0000", "Status": "Active", "OpenIDConnectProviderArn": "arn:aws:iam::" + mine + ":oidc-provider/oidc.example.com", "ClientID": "c",
		"Url": "https://oidc.example.com", "ThumbprintList.member.1": strings.Repeat("a", 40), "ClientIDList.member.1": "c", "Tags.member.1.Key": "k", "Tags.member.1.Value": "v",
		"TagKeys.member.1": "k", "VersionId": "v1", "PermissionsBoundary": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly", "Description": "d",
		"RoleArn": "arn:aws:iam::" + mine + ":role/trusting", "RoleSessionName": "session", "EncodedMessage": "abcd", "WebIdentityToken": "not.a.token",
	} {
		form.Set(k, v)
	}
	return form
}

// open are the operations that ask no policy.
var open = []string{"sts:GetCallerIdentity", "sts:GetSessionToken", "sts:AssumeRoleWithWebIdentity"}

// local are the operations of ECR that are always about the caller's own
// account.
var local = []string{
	"GetAuthorizationToken", "DescribeRegistry", "PutReplicationConfiguration", "GetAccountSetting", "PutAccountSetting", "PutRegistryPolicy", "GetRegistryPolicy", "DeleteRegistryPolicy",
	"CreateRepositoryCreationTemplate", "UpdateRepositoryCreationTemplate", "DeleteRepositoryCreationTemplate", "DescribeRepositoryCreationTemplates",
	"RegisterPullTimeUpdateExclusion", "DeregisterPullTimeUpdateExclusion", "ListPullTimeUpdateExclusions",
	"PutImagesInUse", "ListImagesInUse",
}

// A holes is a server with two users, one in each account.
type holes struct {
	*running
	t     *testing.T
	users map[string]*holeUser // by account
}

type holeUser struct {
	caller ecr.Caller
	creds  aws.Credentials
	token  string
}

func newHoles(t *testing.T) *holes {
	h := &holes{start(t), t, map[string]*holeUser{}}
	for _, account := range []string{mine, theirs} {
		u := &holeUser{caller: ecr.Caller{Principal: identity.Root(account)}}
		h.ok(h.core.Identity.Create(t.Context(), u.caller, identity.User, "x", identity.Settings{}))
		k, secret, err := h.core.Identity.CreateAccessKey(t.Context(), u.caller, "x")
		h.ok(k, err)
		u.creds = aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: secret}
		h.users[account] = u
		h.let(account, `{"Effect":"Allow","Action":"*","Resource":"*"}`)
		_, p, err := h.core.Identity.SecretKey(t.Context(), k.ID)
		h.ok(p, err)
		u.token, _, err = h.core.Identity.GetAuthorizationToken(t.Context(), ecr.Caller{Principal: p, AccessKeyID: k.ID})
		h.ok(u.token, err)
	}
	h.ok(h.core.Identity.Create(t.Context(), h.users[mine].caller, identity.Role, "trusting", identity.Settings{Trust: holeTrust}))
	return h
}

func (h *holes) ok(_ any, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// let gives the user of an account its policy.
func (h *holes) let(account, statements string) {
	h.t.Helper()
	c := h.users[account].caller
	h.ok(nil, h.core.Identity.PutPolicy(h.t.Context(), c, identity.User, "x", "p", `{"Version":"2012-10-17","Statement":[`+statements+`]}`))
}

// fresh makes the repository, which an operation may have deleted or opened.
func (h *holes) fresh() {
	h.t.Helper()
	c := h.users[mine].caller
	id := ecr.RepositoryID{Account: mine, Name: "a/b"}
	h.core.Registry.DeleteRegistryPolicy(h.t.Context(), c)
	h.core.Registry.DeleteRepositoryPolicy(h.t.Context(), c, id)
	h.core.Registry.CreateRepository(h.t.Context(), c, id, ecr.Repository{})
}

// api makes a call and returns the code of its error, or "".
func (h *holes) api(target string, s service, action string, u *holeUser) string {
	h.t.Helper()
	body := holeForm(action)
	switch action {
	case "AssumeRole": // tags need another action too
		body.Del("Tags.member.1.Key")
		body.Del("Tags.member.1.Value")
	case "UpdateAssumeRolePolicy":
		body.Set("PolicyDocument", holeTrust)
	case "GetAccessKeyInfo":
		body.Set("AccessKeyId", h.users[mine].creds.AccessKeyID)
	}
	body.Set("Version", target)
	text := body.Encode()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if strings.Contains(target, "_") {
		b, err := json.Marshal(holeJSON)
		h.ok(b, err)
		text = string(b)
		header = http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target + "." + action}}
	}
	r, err := http.NewRequest(http.MethodPost, h.URL()+"/", strings.NewReader(text))
	h.ok(r, err)
	r.Header = header
	if u != nil {
		sum := sha256.Sum256([]byte(text))
		h.ok(nil, v4.NewSigner().SignHTTP(h.t.Context(), u.creds, r, hex.EncodeToString(sum[:]), s.name, "us-east-1", time.Now()))
	}
	status, answer := h.do(r)
	if status == http.StatusOK {
		return ""
	}
	var e struct {
		Type string `json:"__type"`
	}
	if json.Unmarshal([]byte(answer), &e) == nil {
		return strings.TrimSuffix(e.Type, "Exception")
	}
	_, code, _ := strings.Cut(answer, "<Code>")
	code, _, _ = strings.Cut(code, "</Code>")
	return strings.TrimSuffix(code, "Exception")
}

func (h *holes) do(r *http.Request) (int, string) {
	h.t.Helper()
	res, err := http.DefaultClient.Do(r)
	h.ok(res, err)
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	h.ok(b, err)
	return res.StatusCode, string(b)
}

func statements(effect, element, action string) string {
	return fmt.Sprintf(`{"Effect":%q,%q:%q,"Resource":"*"}`, effect, element, action)
}

func TestNoHoleInTheAPIs(t *testing.T) {
	h := newHoles(t)
	tried := 0
	for target, s := range h.handler.services {
		for _, operation := range s.Operations() {
			action := s.name + ":" + operation
			if operation == "ListImageReferrers" {
				action = "ecr:BatchGetImage"
			}
			t.Run(action, func(t *testing.T) { h.tryOperation(t, target, s, operation, action) })
			tried++
		}
	}
	if tried < 120 {
		t.Errorf("only %d operations were tried", tried)
	}
}

func (h *holes) tryOperation(t *testing.T, target string, s service, operation, action string) {
	h.fresh()
	expect := func(who, got string, want bool) {
		t.Helper()
		if (got == "AccessDenied") == want {
			return
		}
		t.Errorf("%s: %q", who, got)
	}
	if got := h.api(target, s, operation, nil); got != "MissingAuthenticationToken" && (action != "sts:AssumeRoleWithWebIdentity" || got != "InvalidIdentityToken") {
		t.Errorf("no credentials: %q", got)
	}
	if slices.Contains(open, action) {
		return
	}
	x := h.users[mine]
	h.let(mine, `{"Effect":"Allow","Action":"none:Such","Resource":"*"}`)
	expect("no policy", h.api(target, s, operation, x), true)
	h.let(mine, statements("Allow", "NotAction", action))
	expect("everything else", h.api(target, s, operation, x), true)
	h.let(mine, statements("Allow", "Action", "*")+","+statements("Deny", "Action", action))
	expect("an explicit deny", h.api(target, s, operation, x), true)
	if s.name == "ecr" && !slices.Contains(local, operation) || operation == "AssumeRole" {
		expect("another account", h.api(target, s, operation, h.users[theirs]), true)
	}
	h.let(mine, statements("Allow", "Action", action)+","+statements("Allow", "Action", "*:TagResource"))
	got := h.api(target, s, operation, x)
	expect("exact allow", got, false)
	if got == "ValidationError" || got == "InvalidParameter" || got == "Serialization" || got == "MalformedInput" {
		t.Errorf("the input does not get as far as the decision: %q", got)
	}
}

// routes are requests of each kind, with the action that they need.
var routes = map[string]struct{ method, path, action string }{
	"ping":            {"GET", "", ""},
	"blob_get":        {"GET", "a/b/blobs/" + digest, "ecr:GetDownloadUrlForLayer"},
	"blob_head":       {"HEAD", "a/b/blobs/" + digest, "ecr:BatchCheckLayerAvailability"},
	"blob_delete":     {"DELETE", "a/b/blobs/" + digest, "ecr:BatchDeleteImage"},
	"manifest_get":    {"GET", "a/b/manifests/v1", "ecr:BatchGetImage"},
	"manifest_head":   {"HEAD", "a/b/manifests/v1", "ecr:BatchGetImage"},
	"manifest_put":    {"PUT", "a/b/manifests/v1", "ecr:PutImage"},
	"manifest_delete": {"DELETE", "a/b/manifests/v1", "ecr:BatchDeleteImage"},
	"upload_start":    {"POST", "a/b/blobs/uploads/", "ecr:InitiateLayerUpload"},
	"upload_patch":    {"PATCH", "a/b/blobs/uploads/4f6a3c1e-0000-4000-8000-000000000000", "ecr:UploadLayerPart"},
	"upload_put":      {"PUT", "a/b/blobs/uploads/4f6a3c1e-0000-4000-8000-000000000000?digest=" + digest, "ecr:CompleteLayerUpload"},
	"upload_status":   {"GET", "a/b/blobs/uploads/4f6a3c1e-0000-4000-8000-000000000000", "ecr:UploadLayerPart"},
	"upload_cancel":   {"DELETE", "a/b/blobs/uploads/4f6a3c1e-0000-4000-8000-000000000000", "ecr:UploadLayerPart"},
	"tags":            {"GET", "a/b/tags/list", "ecr:ListImages"},
	"referrers":       {"GET", "a/b/referrers/" + digest, "ecr:BatchGetImage"},
	"catalog":         {"GET", "_catalog", "ecr:DescribeRepositories"},
}

func TestNoHoleInTheRegistry(t *testing.T) {
	h := newHoles(t)
	for _, kind := range ociapi.Routes() {
		route, ok := routes[kind]
		if !ok {
			t.Errorf("no request of the kind %s is tried: add it to routes", kind)
			continue
		}
		t.Run(kind, func(t *testing.T) { h.tryRoute(t, route.method, route.path, route.action) })
	}
}

func (h *holes) tryRoute(t *testing.T, method, path, action string) {
	h.fresh()
	status := func(token string) int {
		body := ""
		if strings.Contains(path, "/manifests/") {
			body = holeManifest
		}
		r, err := http.NewRequest(method, h.URL()+"/v2/"+path, strings.NewReader(body))
		h.ok(r, err)
		r.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		if token != "" {
			r.SetBasicAuth("AWS", token)
		}
		code, _ := h.do(r)
		return code
	}
	expect := func(who string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", who, got, want)
		}
	}
	expect("no credentials", status(""), http.StatusUnauthorized)
	expect("a wrong token", status("wrong"), http.StatusUnauthorized)
	x := h.users[mine].token
	h.let(mine, `{"Effect":"Allow","Action":"none:Such","Resource":"*"}`)
	if action == "" {
		expect("no policy", status(x), http.StatusOK)
		return
	}
	expect("no policy", status(x), http.StatusForbidden)
	h.let(mine, statements("Allow", "NotAction", action))
	expect("everything else", status(x), http.StatusForbidden)
	h.let(mine, statements("Allow", "Action", "*")+","+statements("Deny", "Action", action))
	expect("an explicit deny", status(x), http.StatusForbidden)
	expect("another account", status(h.users[theirs].token), http.StatusForbidden)
	h.let(mine, statements("Allow", "Action", action))
	if got := status(x); got == http.StatusUnauthorized || got == http.StatusForbidden {
		t.Errorf("exact allow: %d", got)
	}
}
