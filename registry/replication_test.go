package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
)

var eu = ecr.Destination{Region: "eu-west-1", Account: account}

func reachEU(c *registry.Config) { c.Regions = []string{"eu-west-1"} }

// replicator is an account's registry in another region.
func replicator(t *testing.T, account string) ecr.Caller {
	t.Helper()
	c := user(t, account, `{"Effect":"Allow","Action":["ecr:CreateRepository","ecr:ReplicateImage","ecr:TagResource"],"Resource":"*"}`)
	c.Principal = &iam.Principal{ARN: ecr.ReplicationARN(account, "eu-west-1"), Account: account, RoleARN: ecr.ReplicationRoleARN(account), Policies: c.Policies}
	c.Replication = "eu-west-1"
	return c
}

func TestReplicationConfiguration(t *testing.T) {
	w := newWorld(t, reachEU)
	rule := func(to ...ecr.Destination) ecr.ReplicationConfiguration {
		return ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{{Destinations: to, Prefixes: []string{"team/"}}}}
	}
	var many []ecr.Destination
	for n := range 26 {
		many = append(many, ecr.Destination{Region: "eu-west-1", Account: strings.Repeat("1", 10) + string(rune('0'+n/10)) + string(rune('0'+n%10))})
	}
	tests := []struct {
		name string
		cfg  ecr.ReplicationConfiguration
		want string // in the error; "" for none
	}{
		{"another region", rule(eu), ""},
		{"another account", rule(ecr.Destination{Region: "us-east-1", Account: other}), ""},
		{"itself", rule(ecr.Destination{Region: "us-east-1", Account: account}), "Replication destination cannot be the same as the source registry"},
		{"an unknown region", rule(ecr.Destination{Region: "ap-south-1", Account: account}), "region ap-south-1 is unknown to this server"},
		{"25 destinations", rule(many[:25]...), ""},
		{"26 destinations", rule(many...), "at most 25 unique destinations"},
		{"none", ecr.ReplicationConfiguration{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := w.PutReplicationConfiguration(t.Context(), root, tt.cfg)
			if tt.want != "" {
				w.wantCode(tt.name, err, ecr.InvalidParameter)
				if err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
				return
			}
			w.ok(err)
			got, err := w.DescribeRegistry(t.Context(), root, account)
			if err != nil || len(got.All()) != len(tt.cfg.All()) {
				t.Errorf("configuration %+v, %v", got, err)
			}
		})
	}
}

// TestReplicationPrincipal: what another region's registry may do, and what its
// pushes leave in the event log.
func TestReplicationPrincipal(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	fromOwn, fromOther := replicator(t, account), replicator(t, other)
	layers := []string{"{}", "layer"}
	push := func(c ecr.Caller, tag string) error {
		for _, l := range layers {
			if _, err := w.UploadLayer(ctx, c, app, strings.NewReader(l), int64(len(l)), sum([]byte(l))); err != nil {
				return err
			}
		}
		_, err := w.PutImage(ctx, c, app, registry.PutImageInput{Manifest: manifest("", layers...), Tag: tag})
		return err
	}
	w.wantCode("another account without a policy", push(fromOther, "v1"), ecr.AccessDenied)
	_, _, err := w.DescribeImages(ctx, root, app, nil, ecr.ImageFilter{}, ecr.Page{})
	w.wantCode("a denied replication made the repository", err, ecr.RepositoryNotFound)
	w.ok(push(fromOwn, "v1"))
	for name, err := range map[string]error{
		"a pull of a manifest": second(w.GetManifest(ctx, fromOwn, app, ecr.ImageID{Tag: "v1"}, false)),
		"a pull of a layer":    second(w.OpenLayer(ctx, fromOwn, app, sum([]byte("layer")))),
		"a list":               third(w.ListTags(ctx, fromOwn, app, "", 10)),
		"a deletion":           w.DeleteManifest(ctx, fromOwn, app, ecr.ImageID{Tag: "v1"}),
	} {
		w.wantCode(name, err, ecr.AccessDenied)
	}
	if _, err := w.GetManifest(ctx, fromOwn, app, ecr.ImageID{Tag: "v1"}, true); err != nil {
		t.Errorf("a look at what is there: %v", err)
	}
	_, err = w.PutRegistryPolicy(ctx, root, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+other+`:root"},
		"Action":["ecr:ReplicateImage"],"Resource":"arn:aws:ecr:us-east-1:`+account+`:repository/team/*"}]}`)
	w.ok(err)
	w.ok(push(fromOther, "v2"))
	elsewhere := in("new/app")
	_, err = w.UploadLayer(ctx, fromOther, elsewhere, strings.NewReader("x"), 1, sum([]byte("x")))
	w.wantCode("another repository", err, ecr.AccessDenied)

	var replicated []ecr.Event
	w.ok(w.db.View(ctx, func(tx *meta.Tx) error {
		events, err := tx.Events(0, 100)
		for _, e := range events {
			if e.Type == ecr.ImageReplicated {
				replicated = append(replicated, e)
			}
		}
		return err
	}))
	if len(replicated) != 2 || replicated[0].Tag != "v1" || replicated[1].Tag != "v2" || replicated[0].Repository != app {
		t.Fatalf("events %+v", replicated)
	}
	for n, want := range []string{account, other} {
		if from, ok := ecr.ReplicationSource(replicated[n].Principal); !ok || from != (ecr.Destination{Region: "eu-west-1", Account: want}) {
			t.Errorf("the source of event %d is %v", n, from)
		}
	}
	w.sound()
}

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

// TestReplicationTemplates: a repository that replication makes takes the
// template for it, and no other.
func TestReplicationTemplates(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for prefix, purpose := range map[string]string{"team": "REPLICATION", "push": "CREATE_ON_PUSH"} {
		_, err := w.CreateTemplate(ctx, root, ecr.Template{Prefix: prefix, AppliedFor: []string{purpose}, Mutability: ecr.Immutable})
		w.ok(err)
	}
	c := replicator(t, account)
	for name, want := range map[string]ecr.Mutability{"team/app": ecr.Immutable, "push/app": ecr.Mutable, "other": ecr.Mutable} {
		_, err := w.UploadLayer(ctx, c, in(name), strings.NewReader("x"), 1, sum([]byte("x")))
		w.ok(err)
		repos, _, err := w.DescribeRepositories(ctx, root, account, []string{name}, ecr.Page{})
		if err != nil || repos[0].Mutability != want {
			t.Errorf("%s: %+v, %v", name, repos, err)
		}
	}
}

// TestQueueReplications: what the events of pushes, restorations and deletions
// come to.
func TestQueueReplications(t *testing.T) {
	w := newWorld(t, reachEU)
	ctx := t.Context()
	w.create("team/app", "private")
	w.ok(w.PutReplicationConfiguration(ctx, root, ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{{Destinations: []ecr.Destination{eu}, Prefixes: []string{"team/"}}}}))
	var after int64
	queued := func() (out []string) {
		t.Helper()
		w.ok(w.db.Update(ctx, func(tx *meta.Tx) error {
			events, err := tx.Events(after, 1000)
			if err != nil {
				return err
			}
			list, err := w.QueueReplications(tx, events, func(_ ecr.Destination, tag string) bool { return tag != "unwanted" })
			for _, r := range list {
				out = append(out, r.Image.Tag)
			}
			if len(events) > 0 {
				after = events[len(events)-1].ID
			}
			return err
		}))
		return out
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if got := queued(); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	img := w.image(app, "v1", "{}", "layer")
	w.image(app, "unwanted", "{}", "other layer")
	w.image(in("private"), "v1", "{}", "layer")
	expect("pushes", "v1")
	status := func() []ecr.Replication {
		t.Helper()
		_, list, err := w.DescribeImageReplicationStatus(ctx, root, app, ecr.ImageID{Digest: img.Digest})
		w.ok(err)
		return list
	}
	if s := status(); len(s) != 1 || s[0].Status != ecr.ReplicationInProgress || s[0].To != eu {
		t.Errorf("status %+v", s)
	}
	pending, err := w.PendingReplications(ctx, app, ecr.ImageID{Tag: "v1"}, eu, 10)
	w.ok(err)
	pending[0].Status = ecr.ReplicationComplete
	w.ok(w.SetReplicationStatus(ctx, pending...))
	if s := status(); len(s) != 1 || s[0].Status != ecr.ReplicationComplete || s[0].EndedAt.IsZero() {
		t.Errorf("status %+v", s)
	}
	_, err = w.UpdateImageStorageClass(ctx, root, app, ecr.ImageID{Tag: "v1"}, true)
	w.ok(err)
	expect("archived")
	_, err = w.UpdateImageStorageClass(ctx, root, app, ecr.ImageID{Tag: "v1"}, false)
	w.ok(err)
	expect("restored", "v1")
	_, err = w.PutImage(ctx, replicator(t, account), app, registry.PutImageInput{Manifest: img.Payload, Tag: "came"})
	w.ok(err)
	expect("replicated: one hop")
	w.ok(w.DeleteManifest(ctx, root, app, ecr.ImageID{Digest: img.Digest}))
	expect("deleted")
	counts, err := w.CountReplications(ctx)
	if err != nil || len(counts) != 0 {
		t.Errorf("after the deletion: %+v, %v", counts, err)
	}
	_, _, err = w.DescribeImageReplicationStatus(ctx, root, app, ecr.ImageID{Digest: img.Digest})
	w.wantCode("the status of no image", err, ecr.ImageNotFound)
}

// TestBackfillFails: a backfill fails when half of its images do, from 100 on.
func TestBackfillFails(t *testing.T) {
	w := newWorld(t, reachEU)
	ctx := t.Context()
	w.create("team/app", "private", "team/other")
	var last *ecr.Manifest
	for n := range 120 {
		last = w.image(app, "", "{}", strings.Repeat("x", n+1))
	}
	w.image(in("private"), "v1", "{}", "layer")
	w.ok(w.PutReplicationConfiguration(ctx, root, ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{{Destinations: []ecr.Destination{eu}, Prefixes: []string{"team/"}}}}))
	all := func(ecr.Destination, string) bool { return true }
	b, err := w.StartBackfill(ctx, root, account, eu)
	w.ok(err)
	for b.Status == ecr.BackfillPreparing {
		if b, err = w.PrepareBackfill(ctx, account, b.ID, all); err != nil {
			t.Fatal(err)
		}
	}
	if b.Total != 120 || b.Status != ecr.BackfillInProgress {
		t.Fatalf("prepared: %+v", b)
	}
	finished := 0
	for b.Status == ecr.BackfillInProgress {
		var items []ecr.BackfillItem
		b, items, err = w.NextBackfillItems(ctx, account, b.ID, 1)
		w.ok(err)
		for _, i := range items {
			i.Status = ecr.ReplicationComplete
			if finished%2 == 0 {
				i.Status, i.Code = ecr.ReplicationFailed, "AccessDenied"
			}
			finished++
			w.ok(w.FinishBackfillItem(ctx, b, i, "no"))
		}
	}
	if b.Status != ecr.BackfillFailed || finished != 100 || b.Failed != 50 || b.Code == "" {
		t.Errorf("after %d: %+v", finished, b)
	}
	_, items, next, err := w.DescribeBackfill(ctx, root, account, b.ID, ecr.ReplicationFailed, ecr.Page{Limit: 30})
	if err != nil || len(items) != 30 || next == "" || items[0].Code != "AccessDenied" {
		t.Errorf("results: %d, %q, %v", len(items), next, err)
	}
	_, items, next, err = w.DescribeBackfill(ctx, root, account, b.ID, ecr.ReplicationFailed, ecr.Page{Limit: 30, Token: next})
	if err != nil || len(items) != 20 || next != "" {
		t.Errorf("the second page: %d, %q, %v", len(items), next, err)
	}
	_, list, err := w.DescribeImageReplicationStatus(ctx, root, app, ecr.ImageID{Digest: last.Digest})
	if err != nil || len(list) != 0 {
		t.Errorf("the status of an image that it did not come to: %+v, %v", list, err)
	}
	w.pass(91 * 24 * time.Hour)
	w.ok(w.ExpireBackfills(ctx))
	_, _, _, err = w.DescribeBackfill(ctx, root, account, b.ID, "", ecr.Page{})
	w.wantCode("after 90 days", err, ecr.BackfillNotFound)
}
