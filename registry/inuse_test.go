package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/registry"
)

func uris(uris ...string) (out []ecr.ImageReference) {
	for _, u := range uris {
		out = append(out, ecr.ImageReference{URI: u})
	}
	return out
}

// inUse lists the reports as repository@digest:source, of which digests are
// names.
func (w *world) inUse(c ecr.Caller, names map[string]string) string {
	w.tb.Helper()
	var out []string
	for p := (ecr.Page{Limit: 2}); ; {
		list, next, err := w.ListImagesInUse(w.tb.Context(), c, "", "", p)
		w.ok(err)
		for _, u := range list {
			out = append(out, u.Repository+"@"+names[u.Digest]+":"+u.Source)
		}
		if next == "" {
			return strings.Join(out, " ")
		}
		p.Token = next
	}
}

func TestImagesInUse(t *testing.T) {
	w := newWorld(t)
	w.create("team/app", "web")
	one, two := w.image(app, "v1", "one"), w.image(app, "v2", "two")
	web := w.image(in("web"), "latest", "web")
	loose := "sha256:" + strings.Repeat("ab", 32)
	names := map[string]string{one.Digest: "one", two.Digest: "two", web.Digest: "web", loose: "loose"}
	report := func(c ecr.Caller, source string, replace bool, refs ...ecr.ImageReference) (int, string) {
		t.Helper()
		n, failures, err := w.PutImagesInUse(t.Context(), c, registry.InUseReport{Source: source, TTL: time.Hour, Images: refs, Replace: replace})
		w.ok(err)
		var codes []string
		for _, f := range failures {
			if f.Reason == "" {
				t.Errorf("%+v has no reason", f)
			}
			codes = append(codes, f.Code)
		}
		return n, strings.Join(codes, " ")
	}
	expect := func(want string) {
		t.Helper()
		if got := w.inUse(root, names); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	n, failed := report(root, "k8s", false, uris("registry.test/team/app:v1", "registry.test:5000/team/app@"+one.Digest, "team/app:v1",
		"docker-pullable://10.0.0.7/web", "docker.io/library/nginx:1.27", "team/app:v9", "team/app@"+loose, "UP:1", "@x", loose)...)
	if n != 3 || failed != "RepositoryNotFound ImageNotFound ImageNotFound InvalidReference InvalidReference" {
		t.Errorf("%d reported, failures %s", n, failed)
	}
	expect("@loose:k8s team/app@one:k8s web@web:k8s")
	n, failed = report(root, "host", false, ecr.ImageReference{Repository: "team/app", Tag: "v2"}, ecr.ImageReference{Repository: "team/app", Digest: two.Digest, Tag: "v2"},
		ecr.ImageReference{Digest: web.Digest}, ecr.ImageReference{Repository: "web"}, ecr.ImageReference{URI: "web", Tag: "x"}, ecr.ImageReference{Digest: "sha256:1"})
	if n != 2 || failed != "InvalidReference InvalidReference InvalidReference" {
		t.Errorf("%d reported, failures %s", n, failed)
	}
	report(root, "k8s", true, uris("web")...)
	expect("@web:host team/app@two:host web@web:k8s")
	w.pass(30 * time.Minute)
	report(root, "k8s", false, uris("team/app:v2")...)
	w.pass(30 * time.Minute)
	expect("team/app@two:k8s")
	guards, err := w.LifecycleGuards(t.Context(), root, app)
	w.ok(err)
	if got := guards.InUse[two.Digest]; len(guards.InUse) != 1 || got.Source != "k8s" || !got.At.Time().Equal(w.time().Add(-30*time.Minute)) {
		t.Errorf("%+v", guards)
	}
	w.pass(31 * time.Minute)
	expect("")
	w.restart()
	report(root, "k8s", false, uris(loose)...)
	w.restart()
	expect("@loose:k8s")
	w.sound()
}

func TestImagesInUseIsBounded(t *testing.T) {
	w := newWorld(t, func(c *registry.Config) { c.Limits.ImagesInUse = 3 })
	put := func(in registry.InUseReport) error {
		_, _, err := w.PutImagesInUse(t.Context(), root, in)
		return err
	}
	var many []ecr.ImageReference
	for i := range 4 {
		many = append(many, ecr.ImageReference{Digest: fmt.Sprintf("sha256:%064x", i)})
	}
	hour := time.Hour
	w.ok(put(registry.InUseReport{Source: "a", TTL: hour, Images: many[:3]}))
	w.wantCode("a fourth", put(registry.InUseReport{Source: "b", TTL: hour, Images: many[3:]}), ecr.LimitExceeded)
	w.ok(put(registry.InUseReport{Source: "a", TTL: hour, Images: many[1:], Replace: true}))
	if got := w.inUse(root, map[string]string{}); got != "@:a @:a @:a" {
		t.Errorf("%s", got)
	}
	w.pass(hour)
	w.ok(put(registry.InUseReport{Source: "b", TTL: hour, Images: many[3:]}))
	for name, in := range map[string]registry.InUseReport{
		"no source":    {TTL: hour},
		"a bad source": {Source: "a b", TTL: hour},
		"a long one":   {Source: strings.Repeat("a", 129), TTL: hour},
		"no time":      {Source: "a"},
		"a long time":  {Source: "a", TTL: 366 * 24 * hour},
		"too many":     {Source: "a", TTL: hour, Images: slices.Repeat(many[:1], registry.MaxInUseReport+1)},
	} {
		w.wantCode(name, put(in), ecr.InvalidParameter)
	}
	_, _, err := w.ListImagesInUse(t.Context(), root, "", "", ecr.Page{Limit: 1001})
	w.wantCode("a large page", err, ecr.InvalidParameter)
}

func TestImagesInUseNeedsPermission(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	img := w.image(app, "v1", "one")
	jane := user(t, account, `{"Effect":"Allow","Action":["ecr:PutImagesInUse","ecr:ListImagesInUse"],"Resource":"*"}`)
	in := registry.InUseReport{Source: "a", TTL: time.Hour, Images: uris("team/app:v1", "team/app@"+img.Digest, "none:v1")}
	n, failures, err := w.PutImagesInUse(t.Context(), jane, in)
	w.ok(err)
	if n != 0 || len(failures) != 3 {
		t.Errorf("%d reported, %+v", n, failures)
	}
	for _, f := range failures { // what is there looks like what is not
		if f.Code != "RepositoryNotFound" {
			t.Errorf("%+v", f)
		}
	}
	nobody := user(t, account, `{"Effect":"Allow","Action":"ecr:DescribeImages","Resource":"*"}`)
	_, _, err = w.PutImagesInUse(t.Context(), nobody, in)
	w.wantCode("report", err, ecr.AccessDenied)
	_, _, err = w.ListImagesInUse(t.Context(), nobody, "", "", ecr.Page{})
	w.wantCode("list", err, ecr.AccessDenied)
	_, err = w.LifecycleGuards(t.Context(), nobody, app)
	w.wantCode("guards", err, ecr.AccessDenied)
}

func TestGuardTags(t *testing.T) {
	w := newWorld(t)
	w.create("team/app")
	arn := app.ARN("us-east-1")
	w.ok(w.TagResource(t.Context(), root, arn, []ecr.Tag{{Key: lifecycle.TagPulledWithin, Value: "30d"}, {Key: lifecycle.TagKeepLast, Value: "prod-:10/release-:5"}}))
	g, err := w.LifecycleGuards(t.Context(), root, app)
	w.ok(err)
	if g.PulledWithin != 30*24*time.Hour || len(g.KeepLast) != 2 || g.KeepLast[1] != (lifecycle.PrefixCount{Prefix: "release-", Count: 5}) {
		t.Errorf("%+v", g)
	}
	bad := []ecr.Tag{{Key: lifecycle.TagKeepLast, Value: "prod-"}}
	w.wantCode("a bad guard", w.TagResource(t.Context(), root, arn, bad), ecr.InvalidTagParameter)
	_, err = w.CreateRepository(t.Context(), root, in("new"), ecr.Repository{Tags: bad})
	w.wantCode("a bad guard of a new repository", err, ecr.InvalidTagParameter)
	_, err = w.CreateTemplate(t.Context(), root, ecr.Template{Prefix: "x", AppliedFor: []string{"CREATE_ON_PUSH"}, Tags: bad})
	w.wantCode("a bad guard of a template", err, ecr.InvalidTagParameter)
}

func FuzzInUseURI(f *testing.F) {
	for _, s := range []string{"a/b:c", "host:5000/a/b@sha256:00", "docker-pullable://x/y", "sha256:" + strings.Repeat("0", 64), "@", ":", "", "a@b@c", "://"} {
		f.Add(s)
	}
	w := newWorld(f)
	w.create("team/app")
	f.Fuzz(func(t *testing.T, uri string) {
		n, failures, err := w.PutImagesInUse(t.Context(), root, registry.InUseReport{Source: "a", TTL: time.Hour, Images: uris(uri), Replace: true})
		if err != nil || n+len(failures) != 1 {
			t.Errorf("%q: %d reported, %v, %v", uri, n, failures, err)
		}
	})
}
