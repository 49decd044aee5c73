package replication

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/test/harness"
)

const (
	virginia  = "us-east-1"
	ireland   = "eu-west-1"
	singapore = "ap-southeast-1"
)

// A region is a server of its own.
type region struct {
	name   string
	opt    harness.Options
	key    string // public
	server *harness.Server
	in     map[string]*link // from other regions
}

// A world is regions that know each other.
type world struct {
	t       testing.TB
	regions map[string]*region

	partners map[string]*ecr.Client // of the other account, by region
}

// newWorld starts regions. Options are for each other's entries, by region.
func newWorld(t testing.TB, options map[string]string, names ...string) *world {
	t.Helper()
	w := &world{t: t, regions: map[string]*region{}, partners: map[string]*ecr.Client{}}
	for _, name := range names {
		r := w.add(name, harness.Binary(t))
		for _, other := range names {
			if other != name {
				r.in[other] = newLink(t)
			}
		}
	}
	for _, r := range w.regions {
		r.opt.Args = []string{"--region", r.name, "--metrics-listen", "auto"}
		for _, other := range w.regions {
			if other != r {
				r.opt.Args = append(r.opt.Args, "--replication-region",
					strings.TrimSpace(fmt.Sprintf("%s=%s key=%s %s", other.name, other.in[r.name].url(), other.key, options[other.name])))
			}
		}
		w.start(r.name)
	}
	w.stopAtEnd()
	return w
}

// newWorldIn starts regions in network namespaces of their own.
func newWorldIn(t *testing.T, spaces map[string]*netns, names ...string) *world {
	t.Helper()
	w := &world{t: t, regions: map[string]*region{}}
	dir := t.TempDir()
	for _, name := range names {
		w.add(name, spaces[name].binary(dir))
	}
	for _, r := range w.regions {
		r.opt.Args = []string{"--region", r.name, "--metrics-listen", "auto", "--listen", "0.0.0.0:5000", "--external-url", "http://" + spaces[r.name].mgmt() + ":5000"}
		for _, other := range w.regions {
			if other != r {
				r.opt.Args = append(r.opt.Args, "--replication-region", fmt.Sprintf("%s=http://%s:5000 key=%s", other.name, spaces[other.name].data(), other.key))
			}
		}
		w.start(r.name)
	}
	w.stopAtEnd()
	return w
}

// add makes a region with a key of its own.
func (w *world) add(name, binary string) *region {
	w.t.Helper()
	var secret [32]byte
	rand.Read(secret[:])
	r := &region{name: name, in: map[string]*link{}, opt: harness.Options{Binary: binary, Data: filepath.Join(w.t.TempDir(), name),
		Env: []string{"ECRU_MASTER_KEY=" + base64.StdEncoding.EncodeToString(secret[:])}}}
	key := harness.Command{Env: append(harness.Environ(), r.opt.Env...), Args: []string{r.opt.Binary, "replication", "key", "--data", r.opt.Data, "--region", name}}
	r.key = strings.TrimSpace(key.Must(w.t))
	w.regions[name] = r
	return r
}

func (w *world) stopAtEnd() {
	t := w.t
	t.Cleanup(func() {
		for _, r := range w.regions {
			if r.server.Running() {
				if err := r.server.Stop(); err != nil {
					t.Error(err)
				}
			}
			if t.Failed() {
				t.Logf("log of %s:\n%s", r.name, r.server.Log())
			}
		}
	})
}

// start starts a region's server, and leads the lines to it.
func (w *world) start(name string) {
	w.t.Helper()
	r := w.regions[name]
	var err error
	if r.server, err = harness.Start(r.opt); err != nil {
		w.t.Fatal(err)
	}
	for _, k := range r.in {
		k.set(func() { k.to = r.server.Host })
	}
}

// direct starts a region anew with the other's own address.
func (w *world) direct(from, to string) {
	w.t.Helper()
	r := w.regions[from]
	for i, a := range r.opt.Args {
		r.opt.Args[i] = strings.Replace(a, w.regions[to].in[from].url(), w.regions[to].server.URL, 1)
	}
	if err := r.server.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.start(from)
}

// api is the SDK's client of a region's account.
func (w *world) api(name string) *ecr.Client {
	return ecr.New(ecr.Options{
		Region: name, BaseEndpoint: aws.String(w.regions[name].server.URL), RetryMaxAttempts: 1,
		HTTPClient:  advisor.WholeAnswers{HTTPClient: http.DefaultClient},
		Credentials: credentials.NewStaticCredentialsProvider(harness.RootKey, harness.RootValue, ""),
	})
}

// registry is a client of a region's registry.
func (w *world) registry(name string) *harness.Client {
	w.t.Helper()
	password, err := harness.Password(w.t.Context(), w.api(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.regions[name].server.Registry(password)
}

// aws runs Debian's aws for a region.
func (w *world) aws(name string, args ...string) string {
	w.t.Helper()
	return w.awsCommand(name, args...).Must(w.t)
}

func (w *world) awsCommand(name string, args ...string) harness.Command {
	tool := harness.AWS(w.t, w.regions[name].server, harness.RootKey, harness.RootValue)
	return tool.Command(append([]string{"--region", name}, args...)...)
}

// configure sets what a region replicates: prefix → regions.
func (w *world) configure(from string, rules map[string][]string) {
	w.t.Helper()
	cfg := types.ReplicationConfiguration{Rules: []types.ReplicationRule{}}
	for prefix, to := range rules {
		rule := types.ReplicationRule{}
		if prefix != "" {
			rule.RepositoryFilters = []types.RepositoryFilter{{Filter: aws.String(prefix), FilterType: types.RepositoryFilterTypePrefixMatch}}
		}
		for _, name := range to {
			rule.Destinations = append(rule.Destinations, types.ReplicationDestination{Region: aws.String(name), RegistryId: aws.String(harness.Account)})
		}
		cfg.Rules = append(cfg.Rules, rule)
	}
	if _, err := w.api(from).PutReplicationConfiguration(w.t.Context(), &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: &cfg}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(in, name string) {
	w.t.Helper()
	if _, err := w.api(in).CreateRepository(w.t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
		w.t.Fatal(err)
	}
}

// limit is how long anything may take.
const limit = 90 * time.Second

// eventually waits until check returns "".
func (w *world) eventually(check func(ctx context.Context) string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		why := check(ctx)
		if why == "" {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("after %v: %s", limit, why)
		case <-tick.C:
		}
	}
}

// replicated waits until an image has gone everywhere that it goes to, and
// returns its status per region.
func (w *world) replicated(from, repo string, id types.ImageIdentifier) map[string]types.ReplicationStatus {
	w.t.Helper()
	status := map[string]types.ReplicationStatus{}
	w.eventually(func(ctx context.Context) string {
		out, err := w.api(from).DescribeImageReplicationStatus(ctx, &ecr.DescribeImageReplicationStatusInput{RepositoryName: &repo, ImageId: &id})
		if err != nil {
			return err.Error()
		}
		clear(status)
		for _, s := range out.ReplicationStatuses {
			status[*s.Region] = s.Status
			if s.Status == types.ReplicationStatusInProgress {
				return fmt.Sprintf("%s of %s is in progress", *s.Region, repo)
			}
		}
		if len(status) == 0 {
			return "no status of " + repo
		}
		return ""
	})
	return status
}

// pulls checks that a region serves an image with all its bytes.
func (w *world) pulls(in, repo, ref, digest string) {
	w.t.Helper()
	got, _, err := w.registry(in).PullImage(w.t.Context(), repo, ref)
	if err != nil || got != digest {
		w.t.Errorf("%s: %s:%s is %q, %v, want %s", in, repo, ref, got, err, digest)
	}
}

// lacks checks that a region has no such image.
func (w *world) lacks(in, repo, ref string) {
	w.t.Helper()
	if _, digest, err := w.registry(in).GetManifest(w.t.Context(), repo, ref); err == nil {
		w.t.Errorf("%s has %s:%s, %s", in, repo, ref, digest)
	}
}

func tag(s string) types.ImageIdentifier    { return types.ImageIdentifier{ImageTag: &s} }
func digest(s string) types.ImageIdentifier { return types.ImageIdentifier{ImageDigest: &s} }

// content is n random bytes.
func content(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// code is the code of an error of the API.
func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// contents returns what a repository holds: each tag, and each digest, with its
// digest.
func (w *world) contents(ctx context.Context, in, repo string) (map[string]string, error) {
	out := map[string]string{}
	pages := ecr.NewListImagesPaginator(w.api(in), &ecr.ListImagesInput{RepositoryName: &repo, MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, id := range page.ImageIds {
			out[*id.ImageDigest] = *id.ImageDigest
			if id.ImageTag != nil {
				out[*id.ImageTag] = *id.ImageDigest
			}
		}
	}
	return out, nil
}

// same waits until two regions hold the same in a repository.
func (w *world) same(a, b, repo string) {
	w.t.Helper()
	w.eventually(func(ctx context.Context) string {
		here, err := w.contents(ctx, a, repo)
		if err != nil {
			return err.Error()
		}
		there, err := w.contents(ctx, b, repo)
		if err != nil {
			return err.Error()
		}
		if !maps.Equal(here, there) {
			return fmt.Sprintf("%s has %d tags and images of %s, %s %d", a, len(here), repo, b, len(there))
		}
		return ""
	})
}
