package replication

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/test/harness"
)

const partner = "222222222222"

// account makes a user of another account in a region, who may do everything
// there with ECR, and returns a client.
func (w *world) account(in, account string) *ecr.Client {
	w.t.Helper()
	s := w.regions[in].server
	run := func(args ...string) string {
		c := s.Ecru(append(args, "--data", s.Data(), "--region", in, "--account", account)...)
		c.Env = append(c.Env, w.regions[in].opt.Env...)
		return c.Must(w.t)
	}
	run("user", "create", "admin")
	run("user", "policy", "attach", "admin", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess")
	var id, secret string
	for line := range strings.Lines(run("user", "key", "create", "admin")) {
		line = strings.NewReplacer("export ", "", "'", "", "\n", "").Replace(line)
		switch name, value, _ := strings.Cut(line, "="); name {
		case "AWS_ACCESS_KEY_ID":
			id = value
		case "AWS_SECRET_ACCESS_KEY":
			secret = value
		}
	}
	if id == "" || secret == "" {
		w.t.Fatal("user key create prints no key")
	}
	return ecr.New(ecr.Options{Region: in, BaseEndpoint: aws.String(s.URL), RetryMaxAttempts: 1,
		HTTPClient:  advisor.WholeAnswers{HTTPClient: http.DefaultClient},
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, "")})
}

// TestOtherAccount: another account's registry, in another region and in the
// same one, takes images if its policy says so, by its template; a tag that is
// immutable there stays.
func TestOtherAccount(t *testing.T) {
	w := newWorld(t, nil, virginia, ireland)
	ctx := t.Context()
	str := must[string](t)
	w.create(virginia, "shared/app")
	cfg := &types.ReplicationConfiguration{Rules: []types.ReplicationRule{{Destinations: []types.ReplicationDestination{
		{Region: aws.String(ireland), RegistryId: aws.String(partner)}, {Region: aws.String(virginia), RegistryId: aws.String(partner)}}}}}
	if _, err := w.api(virginia).PutReplicationConfiguration(ctx, &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: cfg}); err != nil {
		t.Fatal(err)
	}
	c := w.registry(virginia)
	layer := content(50_000)
	str(c.PushImage(ctx, "shared/app", "v1", content(100), layer))
	for region, s := range w.replicated(virginia, "shared/app", tag("v1")) {
		if s != types.ReplicationStatusFailed {
			t.Errorf("%s: %s without a registry policy", region, s)
		}
	}
	out, err := w.api(virginia).DescribeImageReplicationStatus(ctx, &ecr.DescribeImageReplicationStatusInput{RepositoryName: aws.String("shared/app"), ImageId: &types.ImageIdentifier{ImageTag: aws.String("v1")}})
	if err != nil || len(out.ReplicationStatuses) != 2 || aws.ToString(out.ReplicationStatuses[0].FailureCode) != "AccessDenied" || *out.ReplicationStatuses[0].RegistryId != partner {
		t.Errorf("status %+v, %v", out, err)
	}

	for _, region := range []string{ireland, virginia} {
		theirs := w.account(region, partner)
		w.partners[region] = theirs
		policy := `{"Version":"2012-10-17","Statement":[{"Sid":"replication","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + harness.Account + `:root"},
			"Action":["ecr:CreateRepository","ecr:ReplicateImage"],"Resource":["arn:aws:ecr:` + region + `:` + partner + `:repository/shared/*"]}]}`
		if _, err := theirs.PutRegistryPolicy(ctx, &ecr.PutRegistryPolicyInput{PolicyText: &policy}); err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{Prefix: aws.String("shared"),
			AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForReplication}, ImageTagMutability: types.ImageTagMutabilityImmutable}); err != nil {
			t.Fatal(err)
		}
	}
	second := str(c.PushImage(ctx, "shared/app", "v2", content(101), layer))
	w.allComplete("shared/app", tag("v2"))
	third := str(c.PushImage(ctx, "shared/app", "v2", content(102), layer))
	w.allComplete("shared/app", digest(third))
	for _, region := range []string{ireland, virginia} {
		host := partner + ".dkr.ecr." + region + ".example.com"
		r := w.partner(region, host)
		for ref, want := range map[string]string{"v2": second, third: third} {
			if got, _, err := r.PullImage(ctx, "shared/app", ref); err != nil || got != want {
				t.Errorf("%s: %s is %s, %v, want %s", region, ref, got, err, want)
			}
		}
	}
}

func (w *world) allComplete(repo string, id types.ImageIdentifier) {
	w.t.Helper()
	for region, s := range w.replicated(virginia, repo, id) {
		if s != types.ReplicationStatusComplete {
			w.t.Errorf("%s: %s of %s", region, s, repo)
		}
	}
}

// partner is a client of the other account's registry.
func (w *world) partner(region, host string) *harness.Client {
	w.t.Helper()
	password, err := harness.Password(w.t.Context(), w.partners[region])
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.regions[region].server.Registry(password)
	c.Host = host
	return c
}
