package identity_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

// A second account, and what both can use.
const (
	stranger  = "210987654321"
	readOnly  = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
	pullOnly  = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
	powerUser = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
	trustRoot = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}}`
)

func rootOf(account string) ecr.Caller { return ecr.Caller{Principal: identity.Root(account)} }

func resource(kind, name string) string { return "arn:aws:iam::" + account + ":" + kind + "/" + name }

// grant is a policy that allows actions on everything.
func grant(actions ...string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["%s"],"Resource":"*"}}`, strings.Join(actions, `","`))
}

func create(t *testing.T, id *identity.Identity, k identity.Kind, name string, s identity.Settings) identity.Entity {
	t.Helper()
	if k == identity.Role && s.Trust == "" {
		s.Trust = trustRoot
	}
	e, err := id.Create(t.Context(), root(), k, name, s)
	ok(t, err)
	return e
}

// user makes a user of an account with an inline policy, unless that is empty,
// and a key, and returns it as a caller.
func user(t *testing.T, id *identity.Identity, account, name, document string) ecr.Caller {
	t.Helper()
	_, err := id.Create(t.Context(), rootOf(account), identity.User, name, identity.Settings{})
	ok(t, err)
	if document != "" {
		ok(t, id.PutPolicy(t.Context(), rootOf(account), identity.User, name, "own", document))
	}
	k, _, err := id.CreateAccessKey(t.Context(), rootOf(account), name)
	ok(t, err)
	return again(t, id, ecr.Caller{AccessKeyID: k.ID})
}

// again is a caller who comes with the same credentials now.
func again(t *testing.T, id *identity.Identity, c ecr.Caller) ecr.Caller {
	t.Helper()
	var err error
	if c.SessionToken != "" {
		_, c.Principal, err = id.SessionKey(t.Context(), c.AccessKeyID, c.SessionToken)
	} else {
		_, c.Principal, err = id.SecretKey(t.Context(), c.AccessKeyID)
	}
	ok(t, err)
	return c
}

// may reports whether the policies of a principal allow it an action in the
// account.
func may(p *iam.Principal, action string) bool {
	return iam.Evaluate(&iam.Request{Principal: p, Action: action, Resource: "arn:aws:ecr:us-east-1:" + account + ":repository/x", Account: account}).Allowed
}

func lastEvent(t *testing.T, w *world) (last ecr.Event) {
	t.Helper()
	ok(t, w.db.View(t.Context(), func(tx *meta.Tx) error {
		for {
			events, err := tx.Events(last.ID, 1000)
			if err != nil || len(events) == 0 {
				return err
			}
			last = events[len(events)-1]
		}
	}))
	return last
}

// A call is one call of the core, and what it needs.
type call struct {
	action, resource string
	read             bool // changes nothing
	do               func(context.Context, ecr.Caller) error
}

// wantEvent checks the last event of the log.
func wantEvent(t *testing.T, w *world, what string, kind ecr.EventType, action string, c ecr.Caller) {
	t.Helper()
	code := ""
	if kind == ecr.CallDenied {
		code = "AccessDenied"
	}
	e := lastEvent(t, w)
	if c.RequestID == "" { // it was given one
		c.RequestID = e.RequestID
	}
	got := []any{e.At.UTC(), e.Type, e.Action, e.Repository, e.Principal, e.UserAgent, e.RequestID, e.Code}
	want := []any{w.now.UTC(), kind, action, ecr.RepositoryID{Account: c.Account}, c.ARN, c.UserAgent, c.RequestID, code}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the last event is\n%v, want\n%v", what, got, want)
	}
}

// checkCalls makes each call twice: who may do anything else is denied, and
// that is recorded; who may do only that, and only to that resource, succeeds,
// and a change is recorded.
func checkCalls(t *testing.T, w *world, calls []call) {
	t.Helper()
	caller := func(element, resource string) ecr.Caller {
		policy, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow",`+element+`,"Resource":"`+resource+`"}}`), iam.Identity)
		ok(t, err)
		p := &iam.Principal{ARN: resource + "-caller", Account: account, ID: "AIDATEST", Name: "caller", Policies: []*iam.Policy{policy}}
		return ecr.Caller{Principal: p, UserAgent: "test", RequestID: "request-1"}
	}
	for _, k := range calls {
		w.now = w.now.Add(time.Second)
		other := caller(`"NotAction":"`+k.action+`"`, "*")
		wantCode(t, k.action+" denied", k.do(t.Context(), other), ecr.AccessDenied)
		wantEvent(t, w, k.action+" denied", ecr.CallDenied, k.action, other)
		c := caller(`"Action":"`+k.action+`"`, k.resource)
		if err := k.do(t.Context(), c); err != nil {
			t.Errorf("%s on %s: %v", k.action, k.resource, err)
		} else if k.read {
			wantEvent(t, w, k.action, ecr.CallDenied, k.action, other) // nothing new
		} else {
			wantEvent(t, w, k.action, ecr.IdentityChanged, k.action, c)
		}
	}
}

func TestEntityCalls(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	var calls []call
	for _, k := range []identity.Kind{identity.User, identity.Role, identity.Group} {
		title, arn := strings.ToUpper(string(k[:1]))+string(k[1:]), resource(string(k), "team/x")
		create := func(ctx context.Context, c ecr.Caller) error {
			s := identity.Settings{Path: "/team/"}
			if k == identity.Role {
				s.Trust = trustRoot
			}
			_, err := id.Create(ctx, c, k, "x", s)
			return err
		}
		calls = append(calls, call{"iam:Create" + title, arn, false, create})
		calls = append(calls, call{"iam:Get" + title, arn, true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.Get(ctx, c, k, "x")
			return err
		}}, call{"iam:List" + title + "s", resource(string(k), "*"), true, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.List(ctx, c, k, "", "", 10)
			return err
		}})
		if k == identity.Role {
			calls = append(calls, roleCalls(id, arn)...)
		}
		if k != identity.Group {
			calls = append(calls, call{"iam:Tag" + title, arn, false, func(ctx context.Context, c ecr.Caller) error {
				return id.Tag(ctx, c, k, "x", []ecr.Tag{{Key: "a", Value: "b"}})
			}}, call{"iam:List" + title + "Tags", arn, true, func(ctx context.Context, c ecr.Caller) error {
				_, err := id.ListTags(ctx, c, k, "x")
				return err
			}}, call{"iam:Untag" + title, arn, false, func(ctx context.Context, c ecr.Caller) error {
				return id.Untag(ctx, c, k, "x", []string{"a"})
			}}, call{"iam:Put" + title + "PermissionsBoundary", arn, false, func(ctx context.Context, c ecr.Caller) error {
				return id.PutBoundary(ctx, c, k, "x", readOnly)
			}}, call{"iam:Delete" + title + "PermissionsBoundary", arn, false, func(ctx context.Context, c ecr.Caller) error {
				return id.PutBoundary(ctx, c, k, "x", "")
			}})
		}
		calls = append(calls, call{"iam:Delete" + title, arn, false, func(ctx context.Context, c ecr.Caller) error { return id.Delete(ctx, c, k, "x") }})
	}
	checkCalls(t, w, calls)
}

func roleCalls(id *identity.Identity, arn string) []call {
	return []call{
		{"iam:UpdateRole", arn, false, func(ctx context.Context, c ecr.Caller) error { return id.UpdateRole(ctx, c, "x", nil, nil) }},
		{"iam:UpdateRoleDescription", arn, false, func(ctx context.Context, c ecr.Caller) error {
			_, err := id.UpdateRoleDescription(ctx, c, "x", "text")
			return err
		}},
		{"iam:UpdateAssumeRolePolicy", arn, false, func(ctx context.Context, c ecr.Caller) error {
			return id.UpdateAssumeRolePolicy(ctx, c, "x", trustRoot)
		}},
		{"iam:ListInstanceProfilesForRole", arn, true, func(ctx context.Context, c ecr.Caller) error { return id.HasNoInstanceProfiles(ctx, c, "x") }},
	}
}

func TestEntities(t *testing.T) {
	for k, prefix := range map[identity.Kind]string{identity.User: "AIDA", identity.Role: "AROA", identity.Group: "AGPA"} {
		t.Run(string(k), func(t *testing.T) {
			w := newWorld(t)
			id := w.open(t, master, "us-east-1")
			ctx := t.Context()
			want := identity.Settings{Path: "/a/b/", Tags: []ecr.Tag{{Key: "team", Value: "x"}}}
			if k == identity.Role {
				want.Trust, want.Description, want.MaxSession = trustRoot, "builds", 2*time.Hour
			}
			made, err := id.Create(ctx, root(), k, "x", want)
			ok(t, err)
			if made.ARN != resource(string(k), "a/b/x") || !strings.HasPrefix(made.ID, prefix) || len(made.ID) != 21 || !made.CreatedAt.Equal(w.now) || !reflect.DeepEqual(made.Settings, want) {
				t.Errorf("made %+v", made)
			}
			got, err := id.Get(ctx, root(), k, "x")
			if err != nil || !reflect.DeepEqual(got, made) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, made)
			}

			_, err = id.Create(ctx, root(), k, "x", identity.Settings{Path: "/", Trust: want.Trust})
			wantCode(t, "the same name at another path", err, ecr.EntityAlreadyExists)
			for _, o := range []identity.Kind{identity.User, identity.Role, identity.Group} {
				if o != k {
					create(t, id, o, "x", identity.Settings{})
				}
			}
			theirs, err := id.Create(ctx, rootOf(stranger), k, "x", identity.Settings{Trust: want.Trust})
			if err != nil || theirs.ID == made.ID || theirs.ARN != "arn:aws:iam::"+stranger+":"+string(k)+"/x" {
				t.Errorf("in another account: %+v, %v", theirs, err)
			}
			ok(t, id.Delete(ctx, rootOf(stranger), k, "x"))
			if got, err := id.Get(ctx, root(), k, "x"); err != nil || got.ID != made.ID {
				t.Errorf("after another account deleted its own: %+v, %v", got, err)
			}

			ok(t, id.Delete(ctx, root(), k, "x"))
			_, err = id.Get(ctx, root(), k, "x")
			wantCode(t, "get after delete", err, ecr.NoSuchEntity)
			wantCode(t, "delete after delete", id.Delete(ctx, root(), k, "x"), ecr.NoSuchEntity)
			if again := create(t, id, k, "x", identity.Settings{}); again.ID == made.ID {
				t.Error("a unique ID was used twice")
			}
		})
	}
}

func TestMissingEntities(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	second := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"get":                       second(id.Get(ctx, root(), identity.Role, "x")),
		"tags":                      second(id.ListTags(ctx, root(), identity.User, "x")),
		"tag":                       id.Tag(ctx, root(), identity.User, "x", []ecr.Tag{{Key: "a"}}),
		"untag":                     id.Untag(ctx, root(), identity.User, "x", []string{"a"}),
		"boundary":                  id.PutBoundary(ctx, root(), identity.Role, "x", readOnly),
		"update role":               id.UpdateRole(ctx, root(), "x", nil, nil),
		"role description":          second(id.UpdateRoleDescription(ctx, root(), "x", "")),
		"trust":                     id.UpdateAssumeRolePolicy(ctx, root(), "x", trustRoot),
		"instance profiles":         id.HasNoInstanceProfiles(ctx, root(), "x"),
		"put policy":                id.PutPolicy(ctx, root(), identity.Group, "x", "p", grant("ecr:*")),
		"delete policy":             id.DeletePolicy(ctx, root(), identity.Group, "x", "p"),
		"attach":                    id.Attach(ctx, root(), identity.Group, "x", readOnly),
		"detach":                    id.Detach(ctx, root(), identity.Group, "x", readOnly),
		"keys":                      second(id.ListAccessKeys(ctx, root(), "x")),
		"add to a group":            id.AddUserToGroup(ctx, root(), "x", "y"),
		"a path is not of the name": id.Delete(ctx, root(), identity.User, "team/x"),
	} {
		wantCode(t, name, err, ecr.NoSuchEntity)
	}
	nobody := ecr.Caller{Principal: &iam.Principal{ARN: resource("user", "nobody"), Account: account}}
	wantCode(t, "who may not look does not learn that it is not there", second(id.Get(ctx, nobody, identity.Role, "x")), ecr.AccessDenied)
}

func TestEntityValidation(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	tags := func(n int) (tags []ecr.Tag) {
		for i := range n {
			tags = append(tags, ecr.Tag{Key: fmt.Sprint("key", i)})
		}
		return tags
	}
	const fine = ecr.NumCodes
	tests := []struct {
		what string
		kind identity.Kind
		name string
		s    identity.Settings
		want ecr.Code
	}{
		{"all characters of a name", identity.User, "aZ0+=,.@_-", identity.Settings{}, fine},
		{"a name of 64", identity.User, strings.Repeat("n", 64), identity.Settings{}, fine},
		{"no name", identity.User, "", identity.Settings{}, ecr.Validation},
		{"a name of 65", identity.Group, strings.Repeat("n", 65), identity.Settings{}, ecr.Validation},
		{"a path in a name", identity.Role, "a/b", identity.Settings{Trust: trustRoot}, ecr.Validation},
		{"a wildcard in a name", identity.User, "a*", identity.Settings{}, ecr.Validation},
		{"a line break in a name", identity.User, "a\n", identity.Settings{}, ecr.Validation},
		{"not ASCII", identity.User, "ä", identity.Settings{}, ecr.Validation},
		{"a path of 512", identity.User, "path512", identity.Settings{Path: "/" + strings.Repeat("p", 510) + "/"}, fine},
		{"a path of 513", identity.User, "x", identity.Settings{Path: "/" + strings.Repeat("p", 511) + "/"}, ecr.Validation},
		{"a path without end", identity.User, "x", identity.Settings{Path: "/a"}, ecr.Validation},
		{"a path without beginning", identity.User, "x", identity.Settings{Path: "a/"}, ecr.Validation},
		{"an empty folder", identity.User, "x", identity.Settings{Path: "//"}, ecr.Validation},
		{"a blank in a path", identity.User, "x", identity.Settings{Path: "/a b/"}, ecr.Validation},
		{"a line break in a path", identity.User, "x", identity.Settings{Path: "/a/\n"}, ecr.Validation},
		{"50 tags", identity.User, "tags50", identity.Settings{Tags: tags(50)}, fine},
		{"51 tags", identity.User, "x", identity.Settings{Tags: tags(51)}, ecr.LimitExceeded},
		{"a tag of AWS", identity.User, "x", identity.Settings{Tags: []ecr.Tag{{Key: "aws:x"}}}, ecr.Validation},
		{"a tag of AWS in capitals", identity.Role, "x", identity.Settings{Trust: trustRoot, Tags: []ecr.Tag{{Key: "AWS:x"}}}, ecr.Validation},
		{"a tag without key", identity.User, "x", identity.Settings{Tags: []ecr.Tag{{Value: "v"}}}, ecr.Validation},
		{"a key of 129", identity.User, "x", identity.Settings{Tags: []ecr.Tag{{Key: strings.Repeat("k", 129)}}}, ecr.Validation},
		{"a value of 257", identity.User, "x", identity.Settings{Tags: []ecr.Tag{{Key: "k", Value: strings.Repeat("v", 257)}}}, ecr.Validation},
		{"the longest tag", identity.User, "longtag", identity.Settings{Tags: []ecr.Tag{{Key: strings.Repeat("k", 128), Value: strings.Repeat("v", 256)}}}, fine},
		{"sessions of 12 hours", identity.Role, "hours12", identity.Settings{Trust: trustRoot, MaxSession: 12 * time.Hour}, fine},
		{"sessions of more", identity.Role, "x", identity.Settings{Trust: trustRoot, MaxSession: 12*time.Hour + time.Second}, ecr.Validation},
		{"sessions of less than one", identity.Role, "x", identity.Settings{Trust: trustRoot, MaxSession: time.Hour - time.Second}, ecr.Validation},
		{"sessions that never were", identity.Role, "x", identity.Settings{Trust: trustRoot, MaxSession: -time.Hour}, ecr.Validation},
		{"no trust", identity.Role, "x", identity.Settings{}, ecr.MalformedPolicy},
		{"an identity policy as trust", identity.Role, "x", identity.Settings{Trust: grant("sts:AssumeRole")}, ecr.MalformedPolicy},
		{"a trust with a resource", identity.Role, "x", identity.Settings{Trust: strings.Replace(trustRoot, `"Action"`, `"Resource":"*","Action"`, 1)}, ecr.MalformedPolicy},
		{"wildcards in a principal", identity.Role, "x", identity.Settings{Trust: strings.Replace(trustRoot, account, "arn:aws:iam::"+account+":user/*", 1)}, ecr.MalformedPolicy},
		{"AWS's boundary", identity.User, "bound", identity.Settings{Boundary: readOnly}, fine},
		{"a boundary that is not there", identity.User, "x", identity.Settings{Boundary: resource("policy", "none")}, ecr.NoSuchEntity},
		{"a boundary that is no policy", identity.Role, "x", identity.Settings{Trust: trustRoot, Boundary: "none"}, ecr.NoSuchEntity},
	}
	for _, tt := range tests {
		_, err := id.Create(t.Context(), root(), tt.kind, tt.name, tt.s)
		if tt.want == fine {
			if err != nil {
				t.Errorf("%s: %v", tt.what, err)
			}
			continue
		}
		wantCode(t, tt.what, err, tt.want)
	}
	for _, k := range []identity.Kind{identity.User, identity.Role, identity.Group} {
		if _, err := id.Get(t.Context(), root(), k, "x"); err == nil {
			t.Errorf("a %s was made of invalid settings", k)
		}
	}
}

func TestListEntities(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	paths := []string{"/", "/a/", "/a/b/", "/ab/", "/A/"}
	for n := range 10 { // made out of order
		create(t, id, identity.User, fmt.Sprintf("u%02d", (n*7)%10), identity.Settings{Path: paths[(n*7)%10%len(paths)]})
	}
	create(t, id, identity.Group, "u99", identity.Settings{})
	_, err := id.Create(t.Context(), rootOf(stranger), identity.User, "u98", identity.Settings{})
	ok(t, err)
	names := func(path, after string, limit int) (names []string) {
		list, err := id.List(t.Context(), root(), identity.User, path, after, limit)
		ok(t, err)
		for _, e := range list {
			names = append(names, strings.TrimPrefix(e.Name, "u"))
		}
		return names
	}
	for _, tt := range []struct {
		path, after string
		limit       int
		want        string
	}{
		{"", "", 100, "[00 01 02 03 04 05 06 07 08 09]"},
		{"/", "", 4, "[00 01 02 03]"},
		{"", "u03", 4, "[04 05 06 07]"},
		{"", "u03x", 1, "[04]"}, // need not be there
		{"", "u09", 4, "[]"},
		{"/a/", "", 100, "[01 02 06 07]"},
		{"/a/", "u02", 1, "[06]"},
		{"/a", "", 100, "[01 02 03 06 07 08]"},
		{"/%/", "", 100, "[]"},
	} {
		if got := fmt.Sprint(names(tt.path, tt.after, tt.limit)); got != tt.want {
			t.Errorf("path %q after %q limit %d: %s, want %s", tt.path, tt.after, tt.limit, got, tt.want)
		}
	}
	var all []string
	for after := ""; ; {
		page := names("", after, 3)
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
		after = "u" + page[len(page)-1]
	}
	if len(all) != 10 || !slices.IsSorted(all) {
		t.Errorf("all pages: %v", all)
	}
}

// What an entity still has must go first.
func TestDeleteConflict(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	create(t, id, identity.User, "member", identity.Settings{})
	var key string
	type reason struct {
		kind      identity.Kind
		message   string
		give, end func() error
	}
	tests := []reason{{identity.User, "must delete access keys first", func() error {
		k, _, err := id.CreateAccessKey(ctx, root(), "x")
		key = k.ID
		return errors.Join(err, id.UpdateAccessKey(ctx, root(), "x", key, false))
	}, func() error { return id.DeleteAccessKey(ctx, root(), "x", key) }}, {identity.Group, "must remove users from group first",
		func() error { return id.AddUserToGroup(ctx, root(), "x", "member") },
		func() error { return id.RemoveUserFromGroup(ctx, root(), "x", "member") }}}
	for _, k := range []identity.Kind{identity.User, identity.Role, identity.Group} {
		tests = append(tests, reason{k, "must delete policies first",
			func() error { return id.PutPolicy(ctx, root(), k, "x", "p", grant("ecr:*")) },
			func() error { return id.DeletePolicy(ctx, root(), k, "x", "p") }}, reason{k, "must detach all policies first",
			func() error { return id.Attach(ctx, root(), k, "x", readOnly) },
			func() error { return id.Detach(ctx, root(), k, "x", readOnly) }})
	}
	for _, tt := range tests {
		create(t, id, tt.kind, "x", identity.Settings{})
		ok(t, tt.give())
		err := id.Delete(ctx, root(), tt.kind, "x")
		wantCode(t, tt.message, err, ecr.DeleteConflict)
		if err == nil || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s: %v, want %q", tt.kind, err, tt.message)
		}
		ok(t, tt.end())
		ok(t, id.Delete(ctx, root(), tt.kind, "x"))
	}
}

func TestUpdateRole(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	made := create(t, id, identity.Role, "x", identity.Settings{Description: "first"})
	want := func(description string, longest time.Duration, trust string) {
		t.Helper()
		got, err := id.Get(ctx, root(), identity.Role, "x")
		if err != nil || got.Description != description || got.MaxSession != longest || got.Trust != trust || got.ID != made.ID {
			t.Errorf("%+v, %v", got, err)
		}
	}
	want("first", time.Hour, trustRoot)
	longest, second, empty := 3*time.Hour, "second", ""
	ok(t, id.UpdateRole(ctx, root(), "x", nil, &longest))
	want("first", longest, trustRoot)
	ok(t, id.UpdateRole(ctx, root(), "x", &second, nil))
	want("second", longest, trustRoot)
	for _, bad := range []time.Duration{0, time.Hour - 1, 12*time.Hour + 1, -time.Hour} {
		wantCode(t, bad.String(), id.UpdateRole(ctx, root(), "x", &empty, &bad), ecr.Validation)
	}
	want("second", longest, trustRoot)
	e, err := id.UpdateRoleDescription(ctx, root(), "x", "third")
	if err != nil || e.Description != "third" {
		t.Errorf("%+v, %v", e, err)
	}
	ok(t, id.UpdateRole(ctx, root(), "x", &empty, nil))
	want("", longest, trustRoot)

	for _, bad := range []string{"", "{}", grant("sts:AssumeRole"), strings.Replace(trustRoot, "Allow", "allow", 1)} {
		wantCode(t, bad, id.UpdateAssumeRolePolicy(ctx, root(), "x", bad), ecr.MalformedPolicy)
	}
	want("", longest, trustRoot)
	other := strings.Replace(trustRoot, account, stranger, 1)
	ok(t, id.UpdateAssumeRolePolicy(ctx, root(), "x", other))
	want("", longest, other)
}

func TestTags(t *testing.T) {
	id := newWorld(t).open(t, master, "us-east-1")
	ctx := t.Context()
	create(t, id, identity.User, "x", identity.Settings{Tags: []ecr.Tag{{Key: "Team", Value: "one"}}})
	want := func(want string) {
		t.Helper()
		tags, err := id.ListTags(ctx, root(), identity.User, "x")
		if err != nil || fmt.Sprint(tags) != want {
			t.Errorf("%v, %v, want %s", tags, err, want)
		}
	}
	want("[{Team one}]")
	ok(t, id.Tag(ctx, root(), identity.User, "x", []ecr.Tag{{Key: "stage", Value: ""}, {Key: "team", Value: "two"}}))
	want("[{team two} {stage }]") // one key whatever its case
	ok(t, id.Untag(ctx, root(), identity.User, "x", []string{"stage", "none"}))
	want("[{team two}]")
	for _, bad := range []string{"", "aws:x", "Aws:x", strings.Repeat("k", 129)} {
		wantCode(t, bad, id.Tag(ctx, root(), identity.User, "x", []ecr.Tag{{Key: "good"}, {Key: bad}}), ecr.Validation)
	}
	want("[{team two}]")
	var many []ecr.Tag
	for n := range 49 {
		many = append(many, ecr.Tag{Key: fmt.Sprint(n)})
	}
	ok(t, id.Tag(ctx, root(), identity.User, "x", many))
	wantCode(t, "the 51st", id.Tag(ctx, root(), identity.User, "x", []ecr.Tag{{Key: "more"}}), ecr.LimitExceeded)
	ok(t, id.Tag(ctx, root(), identity.User, "x", []ecr.Tag{{Key: "TEAM", Value: "three"}})) // not one more
	if tags, _ := id.ListTags(ctx, root(), identity.User, "x"); len(tags) != 50 || tags[0] != (ecr.Tag{Key: "TEAM", Value: "three"}) {
		t.Errorf("%d tags, the first %v", len(tags), tags[0])
	}
}
