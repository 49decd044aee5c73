package identity

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

const regionAccount = "123456789012"

// regionsOf returns the tokens of two regions, of which the second knows the
// first for accounts.
func regionsOf(t *testing.T, now func() time.Time, accounts ...string) (a, b *Regions) {
	t.Helper()
	keys := func() *Keyring {
		k, err := ParseKeyring(NewMasterKey())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a, err := NewRegions(keys(), "us-east-1", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseRegionKey(a.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	b, err = NewRegions(keys(), "eu-west-1", []Region{{Name: "us-east-1", Keys: []ed25519.PublicKey{key}, Accounts: accounts}}, now)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestRegions(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	clock := now
	a, b := regionsOf(t, func() time.Time { return clock })
	token, renew := a.Token(regionAccount, "eu-west-1")
	if strings.Contains(token, ":") || !renew.After(now) {
		t.Errorf("token %q, to be renewed at %v", token, renew)
	}
	p, region, err := b.Open(token)
	if err != nil {
		t.Fatal(err)
	}
	from, ok := ecr.ReplicationSource(p.ARN)
	if region != "us-east-1" || !ok || from != (ecr.Destination{Region: "us-east-1", Account: regionAccount}) || p.Account != regionAccount {
		t.Errorf("%+v of %s, whose source is %v", p, region, from)
	}
	refused := func(name, token string, want ecr.Code) {
		t.Helper()
		_, _, err := b.Open(token)
		var known *ecr.Error
		if !errors.As(err, &known) || known.Code != want {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for i := range token {
		refused("a changed token", token[:i]+string(token[i]^1)+token[i+1:], ecr.BadCredentials)
	}
	elsewhere, _ := a.Token(regionAccount, "ap-south-1")
	refused("a token for another region", elsewhere, ecr.BadCredentials)
	own, _ := b.Token(regionAccount, "eu-west-1")
	if _, _, err := b.Open(own); err != nil {
		t.Errorf("a region does not know itself: %v", err)
	}
	if _, _, err := a.Open(own); err == nil {
		t.Error("a region that is not configured came in")
	}
	for name, move := range map[string]time.Duration{"too old": 16 * time.Minute, "from the future": -6 * time.Minute} {
		clock = now.Add(move)
		refused(name, token, ecr.ExpiredCredentials)
	}
	for _, move := range []time.Duration{14 * time.Minute, -4 * time.Minute} {
		clock = now.Add(move)
		if _, _, err := b.Open(token); err != nil {
			t.Errorf("clocks that differ by %v: %v", move, err)
		}
	}
}

// TestRegionAccounts: a region speaks for the accounts that it is trusted for.
func TestRegionAccounts(t *testing.T) {
	a, b := regionsOf(t, time.Now, "111111111111")
	for account, want := range map[string]bool{"111111111111": true, "222222222222": false} {
		token, _ := a.Token(account, "eu-west-1")
		if _, _, err := b.Open(token); (err == nil) != want {
			t.Errorf("account %s: %v", account, err)
		}
	}
}

func FuzzOpenRegionToken(f *testing.F) {
	keys, err := ParseKeyring(NewMasterKey())
	if err != nil {
		f.Fatal(err)
	}
	r, err := NewRegions(keys, "us-east-1", nil, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	token, _ := r.Token(regionAccount, "us-east-1")
	f.Add(token[:len(token)-1])
	f.Add("ecru1.e30.")
	f.Add("ecru1..")
	f.Fuzz(func(t *testing.T, s string) {
		if p, _, err := r.Open(s); err == nil && s != token || err != nil && p != nil {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	})
}
