package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ecruhq/ecru/authn/authntest"
	"github.com/ecruhq/ecru/test/harness"
)

const otherAccount = "210987654321"

// statement is a policy with one statement that allows.
func statement(elements string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + elements + `}]}`
}

const pushTeam = `{"Version":"2012-10-17","Statement":[
  {"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
  {"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload",
   "ecr:PutImage","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn:aws:ecr:us-east-1:123456789012:repository/team/*"}]}`

// session is the aws tool with the credentials that an STS call answered.
func session(t *testing.T, s *harness.Server, out map[string]any) *harness.Tool {
	t.Helper()
	text := func(name string) string {
		v, _ := at(out, "Credentials", name).(string)
		return v
	}
	return harness.AWSServices(t, s, text("AccessKeyId"), text("SecretAccessKey"), text("SessionToken"))
}

// login logs docker in as whoever the aws tool is.
func login(t *testing.T, s *harness.Server, docker, aws *harness.Tool) {
	t.Helper()
	c := docker.Command("login", "-u", "AWS", "--password-stdin", s.Host)
	c.Stdin = aws.Command("ecr", "get-login-password").Must(t)
	contains(t, c.Must(t), "Login Succeeded")
}

// TestAccess goes the way of a team: users, roles and keys by aws iam, a role
// assumed by aws sts, pushes and pulls of docker within an account and across,
// and what the audit trail has of them.
func TestAccess(t *testing.T) {
	docker := harness.Docker(t)
	s := harness.New(t)
	createRepository(t, s, "team/app", "other/app")
	admin := harness.AWSServices(t, s, harness.RootKey, harness.RootValue, "")
	do := func(aws *harness.Tool, args ...string) map[string]any {
		t.Helper()
		out := aws.Command(args...).Must(t)
		if strings.TrimSpace(out) == "" {
			return nil
		}
		return jsonOf(t, out)
	}
	do(admin, "iam", "create-user", "--user-name", "alice")
	do(admin, "iam", "put-user-policy", "--user-name", "alice", "--policy-name", "sts", "--policy-document", statement(`"Action":"sts:AssumeRole","Resource":"*"`))
	key := do(admin, "iam", "create-access-key", "--user-name", "alice")
	do(admin, "iam", "create-role", "--role-name", "ci", "--assume-role-policy-document",
		statement(`"Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"`))
	do(admin, "iam", "put-role-policy", "--role-name", "ci", "--policy-name", "push", "--policy-document", pushTeam)
	id, _ := at(key, "AccessKey", "AccessKeyId").(string)
	secret, _ := at(key, "AccessKey", "SecretAccessKey").(string)
	alice := harness.AWSServices(t, s, id, secret, "")
	equal(t, "alice", at(do(alice, "sts", "get-caller-identity"), "Arn"), "arn:aws:iam::123456789012:user/alice")
	ci := session(t, s, do(alice, "sts", "assume-role", "--role-arn", "arn:aws:iam::123456789012:role/ci", "--role-session-name", "build-1"))
	equal(t, "the session", at(do(ci, "sts", "get-caller-identity"), "Arn"), "arn:aws:sts::123456789012:assumed-role/ci/build-1")
	contains(t, alice.Command("sts", "assume-role", "--role-arn", "arn:aws:iam::123456789012:role/none", "--role-session-name", "build-1").Fails(t), "AccessDenied")

	team, other := s.Host+"/team/app:v1", s.Host+"/other/app:v1"
	docker.Command("import", writeFile(t, docker.Home, "fs.tar", fileSystem(t, 9, 300_000)), team).Must(t)
	docker.Command("tag", team, other).Must(t)
	t.Run("docker with an assumed role", func(t *testing.T) {
		login(t, s, docker, ci)
		docker.Command("push", team).Must(t)
		contains(t, docker.Command("pull", team).Must(t), "up to date")
		contains(t, docker.Command("push", other).Fails(t), "denied", "arn:aws:sts::123456789012:assumed-role/ci/build-1 is not authorized to perform: ecr:",
			"on resource: arn:aws:ecr:us-east-1:123456789012:repository/other/app because no identity-based policy allows the ecr:")
	})
	t.Run("docker across accounts", func(t *testing.T) { acrossAccounts(t, s, docker, admin, team) })
	t.Run("the audit trail", func(t *testing.T) { auditTrail(t, s, admin) })
	t.Run("ecru access", func(t *testing.T) { explainAccess(t, s, admin) })
	t.Run("a role that is gone", func(t *testing.T) {
		login(t, s, docker, ci)
		do(admin, "iam", "delete-role-policy", "--role-name", "ci", "--policy-name", "push")
		do(admin, "iam", "delete-role", "--role-name", "ci")
		within(t, changeSeen, "the session ends with its role", func() bool {
			_, err := ci.Command("sts", "get-caller-identity").Output(t.Context())
			return err != nil && strings.Contains(err.Error(), "InvalidClientTokenId")
		})
		contains(t, docker.Command("pull", team).Fails(t), "authorization token is not valid")
	})
}

func acrossAccounts(t *testing.T, s *harness.Server, docker, admin *harness.Tool, image string) {
	of := []string{"--data", s.Data(), "--account", otherAccount}
	s.Ecru(append([]string{"user", "create", "bob"}, of...)...).Must(t)
	s.Ecru(append([]string{"user", "policy", "attach", "bob", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"}, of...)...).Must(t)
	var key, secret string
	for line := range strings.Lines(s.Ecru(append([]string{"user", "key", "create", "bob"}, of...)...).Must(t)) {
		name, value, _ := strings.Cut(strings.NewReplacer("export ", "", "'", "", "\n", "").Replace(line), "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			key = value
		case "AWS_SECRET_ACCESS_KEY":
			secret = value
		}
	}
	bob := harness.AWSServices(t, s, key, secret, "")
	login(t, s, docker, bob)
	contains(t, docker.Command("pull", image).Fails(t), "arn:aws:iam::210987654321:user/bob is not authorized to perform: ecr:BatchGetImage",
		"because no resource-based policy allows the ecr:BatchGetImage action")
	admin.Command("ecr", "set-repository-policy", "--repository-name", "team/app", "--policy-text",
		statement(`"Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]`)).Must(t)
	docker.Command("rmi", "-f", image).Must(t)
	contains(t, docker.Command("pull", image).Must(t), "Downloaded newer image", "Digest: sha256:")
	contains(t, strings.ToLower(docker.Command("push", image).Fails(t)), "denied", "because no resource-based policy allows the ecr:")
}

// lookup returns what cloudtrail lookup-events finds by an attribute.
func lookup(t *testing.T, aws *harness.Tool, key, value string) (events []map[string]any) {
	t.Helper()
	out := jsonOf(t, aws.Command("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey="+key+",AttributeValue="+value).Must(t))
	for i := range length(at(out, "Events")) {
		text, _ := at(out, "Events", i, "CloudTrailEvent").(string)
		events = append(events, jsonOf(t, text))
	}
	return events
}

func auditTrail(t *testing.T, s *harness.Server, admin *harness.Tool) {
	within(t, changeSeen, "bob's pull is in the trail", func() bool { return len(lookup(t, admin, "Username", "bob")) > 0 })
	pushes := lookup(t, admin, "EventName", "PutImage")
	found := map[string]bool{}
	for _, e := range pushes {
		if at(e, "errorCode") == nil {
			found["a push"] = true
			equal(t, "who pushed", at(e, "userIdentity", "sessionContext", "sessionIssuer", "arn"), "arn:aws:iam::123456789012:role/ci")
			equal(t, "what was pushed", at(e, "requestParameters", "repositoryName"), "team/app")
			equal(t, "from where", at(e, "sourceIPAddress"), "127.0.0.1")
		}
	}
	for _, e := range lookup(t, admin, "ResourceName", "other/app") {
		found["a denied push"] = found["a denied push"] || at(e, "errorCode") == "AccessDenied" && at(e, "userIdentity", "type") == "AssumedRole"
	}
	for _, e := range lookup(t, admin, "Username", "bob") {
		pull := at(e, "eventName") == "BatchGetImage"
		found["a pull"] = found["a pull"] || pull && at(e, "errorCode") == nil
		found["a denied pull"] = found["a denied pull"] || pull && at(e, "errorCode") == "AccessDenied"
	}
	for _, e := range lookup(t, admin, "EventName", "AssumeRole") {
		found["a role assumed"] = found["a role assumed"] || at(e, "requestParameters", "roleArn") == "arn:aws:iam::123456789012:role/ci"
	}
	for _, e := range lookup(t, admin, "EventName", "CreateUser") {
		found["a user"] = found["a user"] || at(e, "requestParameters", "userName") == "alice" && at(e, "userIdentity", "type") == "Root"
	}
	for _, what := range []string{"a push", "a denied push", "a pull", "a denied pull", "a role assumed", "a user"} {
		if !found[what] {
			t.Errorf("the trail has no record of %s", what)
		}
	}
	contains(t, s.Ecru("audit", "verify", "--data", s.Data()).Must(t), "whole")
}

func explainAccess(t *testing.T, s *harness.Server, admin *harness.Tool) {
	access := func(args ...string) harness.Command {
		c := s.Ecru(append([]string{"access", "--endpoint-url", s.URL}, args...)...)
		c.Env = admin.Environ()
		return c
	}
	contains(t, access("explain", "ci", "ecr:PutImage", "team/app").Must(t), "ALLOWED", "statement 2 of inline policy push of role ci")
	_, err := access("explain", "ci", "ecr:PutImage", "other/app").Output(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("explain of what is denied: %v", err)
	}
	out := access("who-can", "ecr:BatchGetImage", "team/app").Must(t)
	contains(t, out, "role/ci", "arn:aws:iam::210987654321:root", "if its own account allows it too", "123456789012:root")
	if strings.Contains(out, "alice") {
		t.Errorf("alice may pull: %s", out)
	}
	found := access("lint", "--json")
	_, err = found.Output(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("lint: %v", err)
	}
	contains(t, access("suggest", "ci").Must(t), "ecr:PutImage", "ecr:GetAuthorizationToken", "repository/team/app")
}

// TestWebIdentity has a cluster's issuer vouch for pods.
func TestWebIdentity(t *testing.T) {
	issuer := authntest.New(t, jose.RS256)
	_, thumbprint := issuer.Thumbprints()
	keys := writeFile(t, t.TempDir(), "jwks.json", issuer.KeySet())
	t.Run("by discovery", func(t *testing.T) {
		s := harness.New(t)
		webIdentity(t, s, issuer, thumbprint)
		if issuer.Requests("/.well-known/openid-configuration") == 0 {
			t.Error("the issuer was not asked")
		}
	})
	t.Run("by a file of keys", func(t *testing.T) {
		issuer.SetOff(true)
		webIdentity(t, harness.New(t, "--oidc-keys", issuer.URL+"="+keys), issuer, thumbprint)
	})
}

func webIdentity(t *testing.T, s *harness.Server, issuer *authntest.Issuer, thumbprint string) {
	createRepository(t, s, "pods/app", "pods/other")
	pushSmall(t, root(t, s), "pods/app", "v1", "for pods")
	admin := harness.AWSServices(t, s, harness.RootKey, harness.RootValue, "")
	admin.Command("iam", "create-open-id-connect-provider", "--url", issuer.URL, "--client-id-list", "sts.amazonaws.com", "--thumbprint-list", thumbprint).Must(t)
	name := strings.TrimPrefix(issuer.URL, "https://")
	admin.Command("iam", "create-role", "--role-name", "pod", "--assume-role-policy-document",
		statement(`"Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/`+name+`"},"Action":"sts:AssumeRoleWithWebIdentity",
			"Condition":{"StringEquals":{"`+name+`:sub":"system:serviceaccount:production:api","`+name+`:aud":"sts.amazonaws.com"}}`)).Must(t)
	admin.Command("iam", "put-role-policy", "--role-name", "pod", "--policy-name", "pull", "--policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		 {"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn:aws:ecr:us-east-1:123456789012:repository/pods/app"}]}`).Must(t)
	token := issuer.Token(issuer.Claims("system:serviceaccount:production:api", "sts.amazonaws.com", time.Now()))
	assume := func(token string) harness.Command {
		return admin.Command("sts", "assume-role-with-web-identity", "--no-sign-request", "--role-arn", "arn:aws:iam::123456789012:role/pod",
			"--role-session-name", "api", "--web-identity-token", token)
	}
	out := jsonOf(t, assume(token).Must(t))
	equal(t, "subject", at(out, "SubjectFromWebIdentityToken"), "system:serviceaccount:production:api")
	equal(t, "who", at(jsonOf(t, session(t, s, out).Command("sts", "get-caller-identity").Must(t)), "Arn"), "arn:aws:sts::123456789012:assumed-role/pod/api")
	contains(t, assume(issuer.Token(issuer.Claims("system:serviceaccount:dev:api", "sts.amazonaws.com", time.Now()))).Fails(t), "AccessDenied", "sts:AssumeRoleWithWebIdentity")
	contains(t, assume(issuer.Token(issuer.Claims("system:serviceaccount:production:api", "somebody.else", time.Now()))).Fails(t), "InvalidIdentityToken", "Incorrect token audience")
	contains(t, assume(issuer.Token(issuer.Claims("system:serviceaccount:production:api", "sts.amazonaws.com", time.Now().Add(-48*time.Hour)))).Fails(t), "ExpiredToken")

	// The kubelet hands the pod's token over, and pulls what the pod may.
	provider := s.Ecru("credential-provider")
	provider.Env = append(provider.Env, "AWS_ENDPOINT_URL="+s.URL, "AWS_REGION=us-east-1", "HOME="+t.TempDir(), "PATH="+filepath.Dir(harness.Binary(t)))
	provider.Dir = t.TempDir()
	provider.Stdin = `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"` + s.Host + `/pods/app:v1",
		"serviceAccountToken":"` + token + `","serviceAccountAnnotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::123456789012:role/pod"}}`
	answer := jsonOf(t, provider.Must(t))
	password, _ := at(answer, "auth", s.Host, "password").(string)
	reg := s.Registry(password)
	if _, _, err := reg.PullImage(t.Context(), "pods/app", "v1"); err != nil {
		t.Errorf("the pod cannot pull: %v", err)
	}
	if _, _, err := reg.PullImage(t.Context(), "pods/other", "v1"); err == nil || !strings.Contains(err.Error(), "assumed-role/pod/production.api is not authorized") {
		t.Errorf("the pod pulls what it may not: %v", err)
	}
	// In a pod or a CI job the token is in a file.
	helper := s.Ecru("docker-credential", "get")
	helper.Env = append(helper.Env, "AWS_ENDPOINT_URL="+s.URL, "AWS_REGION=us-east-1", "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/pod",
		"AWS_WEB_IDENTITY_TOKEN_FILE="+writeFile(t, t.TempDir(), "token", []byte(token+"\n")), "HOME="+t.TempDir())
	helper.Dir, helper.Stdin = t.TempDir(), s.Host
	password, _ = at(jsonOf(t, helper.Must(t)), "Secret").(string)
	if _, _, err := s.Registry(password).PullImage(t.Context(), "pods/app", "v1"); err != nil {
		t.Errorf("with the token's file: %v", err)
	}
	within(t, changeSeen, "the exchange is in the trail", func() bool {
		for _, e := range lookup(t, admin, "EventName", "AssumeRoleWithWebIdentity") {
			if at(e, "errorCode") == nil && at(e, "userIdentity", "type") == "WebIdentityUser" && at(e, "requestParameters", "webIdentityToken") == "HIDDEN_DUE_TO_SECURITY_REASONS" {
				return true
			}
		}
		return false
	})
}
