package identity_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

const account = "123456789012"

var master = identity.NewMasterKey()

// A world is a database with a clock.
type world struct {
	db  *meta.DB
	now time.Time
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	db, err := meta.Open(context.Background(), meta.Options{URL: filepath.Join(tb.TempDir(), "meta.db")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return &world{db: db, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
}

// open returns an Identity as a process would have it.
func (w *world) open(tb testing.TB, keys, region string) *identity.Identity {
	tb.Helper()
	k, err := identity.ParseKeyring(keys)
	if err != nil {
		tb.Fatal(err)
	}
	return identity.New(w.db, k, region, func() time.Time { return w.now })
}

func root() ecr.Caller { return ecr.Caller{Principal: identity.Root(account)} }

func wantCode(t *testing.T, what string, err error, want ecr.Code) {
	t.Helper()
	var e *ecr.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Errorf("%s: %v, want code %d", what, err, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRootKey(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	made, secret, err := id.EnsureRoot(t.Context(), account, "", "")
	ok(t, err)
	if !strings.HasPrefix(made, "AKIA") || len(made) != 20 || len(secret) != 40 {
		t.Errorf("made %q with a secret of %d characters", made, len(secret))
	}
	if again, _, err := id.EnsureRoot(t.Context(), account, "", ""); again != "" || err != nil {
		t.Errorf("a second start made %q, %v", again, err)
	}
	got, p, err := id.SecretKey(t.Context(), made)
	if err != nil || got != secret || !p.Root || p.Account != account {
		t.Errorf("the key is %+v, %v", p, err)
	}
	if _, _, err := id.EnsureRoot(t.Context(), account, "MYKEY", "a-secret-of-mine"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := id.SecretKey(t.Context(), made); err == nil {
		t.Error("the first key still works after another was given")
	}
	for _, bad := range [][2]string{{"x", "long-enough"}, {"MYKEY", "short"}, {"MY KEY", "long-enough"}} {
		_, _, err := id.EnsureRoot(t.Context(), account, bad[0], bad[1])
		wantCode(t, bad[0], err, ecr.InvalidParameter)
	}
}

func TestUsers(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	ctx := t.Context()
	u, err := id.Create(ctx, root(), identity.User, "ci", identity.Settings{})
	ok(t, err)
	if u.ARN != "arn:aws:iam::"+account+":user/ci" {
		t.Errorf("ARN %s", u.ARN)
	}
	_, err = id.Create(ctx, root(), identity.User, "ci", identity.Settings{})
	wantCode(t, "twice", err, ecr.EntityAlreadyExists)
	_, err = id.Create(ctx, root(), identity.User, "../ci", identity.Settings{})
	wantCode(t, "bad name", err, ecr.Validation)

	k, secret, err := id.CreateAccessKey(ctx, root(), "ci")
	ok(t, err)
	_, _, err = id.CreateAccessKey(ctx, root(), "ci")
	ok(t, err)
	_, _, err = id.CreateAccessKey(ctx, root(), "ci")
	wantCode(t, "third key", err, ecr.LimitExceeded)
	_, _, err = id.CreateAccessKey(ctx, root(), "nobody")
	wantCode(t, "key for nobody", err, ecr.NoSuchEntity)

	wantCode(t, "a policy that is none", id.PutPolicy(ctx, root(), identity.User, "ci", "p", `{"Statement":1}`), ecr.MalformedPolicy)
	ok(t, id.PutPolicy(ctx, root(), identity.User, "ci", "p", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*"}}`))
	ok(t, id.Attach(ctx, root(), identity.User, "ci", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"))
	wantCode(t, "an unknown policy", id.Attach(ctx, root(), identity.User, "ci", "arn:aws:iam::aws:policy/None"), ecr.NoSuchEntity)
	inline, err := id.ListPolicies(ctx, root(), identity.User, "ci")
	ok(t, err)
	attached, err := id.ListAttached(ctx, root(), identity.User, "ci")
	if err != nil || fmt.Sprint(inline) != "[p]" || len(attached) != 1 {
		t.Errorf("policies %v %v %v", inline, attached, err)
	}

	got, p, err := id.SecretKey(ctx, k.ID)
	if err != nil || got != secret || p.Root || p.Name != "ci" || len(p.Policies) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	may := func(action string) bool {
		return iam.Evaluate(&iam.Request{Principal: p, Action: action, Resource: "arn:aws:ecr:us-east-1:" + account + ":repository/x", Account: account}).Allowed
	}
	if !may("ecr:PutImage") || !may("ecr:BatchGetImage") || may("ecr:DeleteRepository") {
		t.Error("the user's policies do not add up")
	}
	_, err = id.Create(ctx, ecr.Caller{Principal: p}, identity.User, "friend", identity.Settings{})
	wantCode(t, "a user without the permission", err, ecr.AccessDenied)

	wantCode(t, "delete with keys", id.Delete(ctx, root(), identity.User, "ci"), ecr.DeleteConflict)
	keys, err := id.ListAccessKeys(ctx, root(), "ci")
	ok(t, err)
	for _, k := range keys {
		ok(t, id.DeleteAccessKey(ctx, root(), "ci", k.ID))
	}
	wantCode(t, "delete with policies", id.Delete(ctx, root(), identity.User, "ci"), ecr.DeleteConflict)
	ok(t, id.DeletePolicy(ctx, root(), identity.User, "ci", "p"))
	wantCode(t, "policy twice", id.DeletePolicy(ctx, root(), identity.User, "ci", "p"), ecr.NoSuchEntity)
	ok(t, id.Detach(ctx, root(), identity.User, "ci", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"))
	ok(t, id.Delete(ctx, root(), identity.User, "ci"))
	users, err := id.List(ctx, root(), identity.User, "", "", 10)
	if err != nil || len(users) != 0 {
		t.Errorf("left: %v, %v", users, err)
	}
}

// userToken makes a user that may log in, and a token of it.
func userToken(t testing.TB, id *identity.Identity, name string) (token, keyID string) {
	t.Helper()
	ctx := context.Background()
	_, err := id.Create(ctx, root(), identity.User, name, identity.Settings{})
	if err == nil {
		err = id.Attach(ctx, root(), identity.User, name, "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")
	}
	k, _, keyErr := id.CreateAccessKey(ctx, root(), name)
	_, p, secretErr := id.SecretKey(ctx, k.ID)
	token, _, tokenErr := id.GetAuthorizationToken(ctx, ecr.Caller{Principal: p, AccessKeyID: k.ID})
	if err := errors.Join(err, keyErr, secretErr, tokenErr); err != nil {
		t.Fatal(err)
	}
	return token, k.ID
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	token, keyID := userToken(t, id, "ci")
	if strings.ContainsAny(token, ":\n ") || len(token) > 1024 {
		t.Errorf("token %q", token)
	}
	p, key, err := id.OpenToken(t.Context(), token)
	if err != nil || p.Name != "ci" || key != keyID {
		t.Fatalf("%+v, %v", p, err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	for i := range len(raw) * 8 {
		bad := append([]byte(nil), raw...)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := id.OpenToken(t.Context(), base64.RawURLEncoding.EncodeToString(bad)); err == nil {
			t.Fatalf("a token with bit %d changed is good", i)
		}
	}
	for i := range token {
		if _, _, err := id.OpenToken(t.Context(), token[:i]); err == nil {
			t.Fatalf("the first %d characters of a token are good", i)
		}
	}
	_, _, err = w.open(t, master, "eu-west-1").OpenToken(t.Context(), token)
	wantCode(t, "in another region", err, ecr.BadCredentials)
	_, _, err = w.open(t, identity.NewMasterKey(), "us-east-1").OpenToken(t.Context(), token)
	wantCode(t, "with another key", err, ecr.BadCredentials)
	if _, _, err := w.open(t, identity.NewMasterKey()+"\n"+master, "us-east-1").OpenToken(t.Context(), token); err != nil {
		t.Errorf("after a new key was put in front: %v", err)
	}
	w.now = w.now.Add(identity.TokenLife)
	_, _, err = id.OpenToken(t.Context(), token)
	wantCode(t, "after its life", err, ecr.ExpiredCredentials)
}

// What another process does to a key is seen here within TTL.
func TestRevocation(t *testing.T) {
	for name, revoke := range map[string]func(id *identity.Identity, key string) error{
		"deactivated": func(id *identity.Identity, key string) error {
			return id.UpdateAccessKey(context.Background(), root(), "ci", key, false)
		},
		"deleted": func(id *identity.Identity, key string) error {
			return id.DeleteAccessKey(context.Background(), root(), "ci", key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			server, command := w.open(t, master, "us-east-1"), w.open(t, master, "us-east-1")
			token, key := userToken(t, server, "ci")
			if _, _, err := server.OpenToken(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			ok(t, revoke(command, key))
			w.now = w.now.Add(identity.TTL)
			_, _, err := server.OpenToken(t.Context(), token)
			wantCode(t, "token", err, ecr.BadCredentials)
			_, _, err = server.SecretKey(t.Context(), key)
			wantCode(t, "key", err, ecr.BadCredentials)
		})
	}
}

func TestGetAuthorizationTokenDenied(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	_, err := id.Create(t.Context(), root(), identity.User, "ci", identity.Settings{})
	ok(t, err)
	k, _, err := id.CreateAccessKey(t.Context(), root(), "ci")
	ok(t, err)
	_, p, err := id.SecretKey(t.Context(), k.ID)
	ok(t, err)
	_, _, err = id.GetAuthorizationToken(t.Context(), ecr.Caller{Principal: p, AccessKeyID: k.ID})
	wantCode(t, "token", err, ecr.AccessDenied)
	want := "User: arn:aws:iam::" + account + ":user/ci is not authorized to perform: ecr:GetAuthorizationToken on resource: * because no identity-based policy allows the ecr:GetAuthorizationToken action"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	ok(t, w.db.View(t.Context(), func(tx *meta.Tx) error {
		events, err := tx.Events(0, 100)
		if last := events[len(events)-1]; last.Type != ecr.CallDenied || last.Action != "ecr:GetAuthorizationToken" {
			t.Errorf("the last event is %+v", last)
		}
		return err
	}))
}

func TestKeyring(t *testing.T) {
	for _, bad := range []string{"", "# only a comment", "c2hvcnQ=", master + "\nx"} {
		if _, err := identity.ParseKeyring(bad); err == nil {
			t.Errorf("%q is a keyring", bad)
		}
	}
	k, err := identity.ParseKeyring("# comment\n\n" + master + "\n")
	ok(t, err)
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k)} {
		if strings.Contains(text, master) || text != "keyring of 1" {
			t.Errorf("shown as %q", text)
		}
	}
	if string(k.Derive("a")) == string(k.Derive("b")) || len(k.Derive("a")) != 32 {
		t.Error("purposes must give different keys of 32 bytes")
	}
}

// The secret of a key cannot be moved to another key's record.
func TestSecretIsBoundToItsKey(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	_, first := userToken(t, id, "one")
	_, second := userToken(t, id, "two")
	ok(t, w.db.Update(t.Context(), func(tx *meta.Tx) error {
		a, err := tx.AccessKey(first)
		ok(t, err)
		b, err := tx.AccessKey(second)
		ok(t, err)
		if strings.Contains(string(a.Secret), "AKIA") || len(a.Secret) < 60 {
			t.Errorf("the secret does not look sealed: %q", a.Secret)
		}
		b.Secret = a.Secret
		return tx.PutAccessKey(b)
	}))
	w.now = w.now.Add(identity.TTL)
	if _, _, err := id.SecretKey(t.Context(), second); err == nil {
		t.Error("the secret of another key was opened")
	}
}

func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	id := w.open(t, master, "us-east-1")
	token, _ := userToken(t, id, "ci")
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 20 {
				if _, _, err := id.OpenToken(t.Context(), token); err != nil {
					t.Error(err)
				}
				if n == 0 {
					if err := id.PutPolicy(t.Context(), root(), identity.User, "ci", "p", `{"Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}`); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkOpenToken(b *testing.B) {
	w := newWorld(b)
	id := w.open(b, master, "us-east-1")
	token, _ := userToken(b, id, "ci")
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := id.OpenToken(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("looked up again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.now = w.now.Add(identity.TTL / 10_000_000)
			if _, _, err := id.OpenToken(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
