package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/identity"
	"github.com/ecruhq/ecru/meta"
)

// admin is the root user of the account, who may look up.
func admin() ecr.Caller { return ecr.Caller{Principal: identity.Root(account)} }

// names are the operations of records, in order.
func names(list []meta.AuditRecord) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Name)
	}
	return strings.Join(out, " ")
}

func TestLookup(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		l := w.log()
		call := func(name string, change func(c *ecr.Caller)) {
			c := w.caller(name)
			change(&c)
			l.Observe(t.Context(), c)
			w.advance(time.Second)
		}
		call("PutImage", func(c *ecr.Caller) {})
		call("BatchGetImage", func(c *ecr.Caller) { c.Call.Repository.Name = "team/web" })
		call("DeleteRepository", func(c *ecr.Caller) { c.AccessKeyID = "ASIASESSION" })
		call("ListUsers", func(c *ecr.Caller) {
			c.Principal, c.Call.Service, c.Call.Repository = identity.Root(account), "iam.amazonaws.com", ecr.RepositoryID{}
		})
		call("DescribeImages", func(c *ecr.Caller) {
			c.Principal = &iam.Principal{ARN: "arn:aws:sts::" + account + ":assumed-role/ci/build-7", Account: account, ID: "AROACI:build-7",
				RoleARN: "arn:aws:iam::" + account + ":role/ci", Issued: t0}
		})
		call("ListImages", func(c *ecr.Caller) { // in another account
			c.Principal, c.Call.Repository = identity.Root(stranger), ecr.RepositoryID{Account: stranger, Name: app.Name}
		})
		call("GetAuthorizationToken", func(c *ecr.Caller) { c.Principal, c.Call.Repository = nil, ecr.RepositoryID{} }) // nobody's
		w.settled(l)
		const all = "DescribeImages ListUsers DeleteRepository BatchGetImage PutImage"
		arn := app.ARN(region)
		at := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }
		for _, tt := range []struct {
			name string
			q    Query
			want string
		}{
			{"all", Query{}, all},
			{"EventId", Query{Attribute: "EventId", Value: "00000000-0000-0000-0000-000000000002"}, "BatchGetImage"},
			{"EventName", Query{Attribute: "EventName", Value: "PutImage"}, "PutImage"},
			{"EventName, in another case", Query{Attribute: "EventName", Value: "putImage"}, ""},
			{"ReadOnly", Query{Attribute: "ReadOnly", Value: "true"}, "DescribeImages ListUsers BatchGetImage"},
			{"not ReadOnly", Query{Attribute: "ReadOnly", Value: "false"}, "DeleteRepository PutImage"},
			{"Username", Query{Attribute: "Username", Value: "jane"}, "DeleteRepository BatchGetImage PutImage"},
			{"Username, root", Query{Attribute: "Username", Value: "root"}, "ListUsers"},
			{"Username, of a session", Query{Attribute: "Username", Value: "build-7"}, "DescribeImages"},
			{"ResourceType", Query{Attribute: "ResourceType", Value: "AWS::ECR::Repository"}, "DescribeImages DeleteRepository BatchGetImage PutImage"},
			{"ResourceType, of none", Query{Attribute: "ResourceType", Value: "AWS::S3::Bucket"}, ""},
			{"ResourceName, an ARN", Query{Attribute: "ResourceName", Value: arn}, "DescribeImages DeleteRepository PutImage"},
			{"ResourceName, a repository", Query{Attribute: "ResourceName", Value: "team/web"}, "BatchGetImage"},
			{"EventSource", Query{Attribute: "EventSource", Value: "iam.amazonaws.com"}, "ListUsers"},
			{"AccessKeyId", Query{Attribute: "AccessKeyId", Value: "ASIASESSION"}, "DeleteRepository"},
			{"no text for SQL", Query{Attribute: "EventName", Value: "x' or '1'='1"}, ""},
			{"from", Query{From: at(3)}, "DescribeImages ListUsers"},
			{"to", Query{To: at(1)}, "BatchGetImage PutImage"},
			{"from and to", Query{From: at(1), To: at(1)}, "BatchGetImage"},
			{"later", Query{From: at(100)}, ""},
			{"with an attribute", Query{From: at(1), To: at(2), Attribute: "Username", Value: "jane"}, "DeleteRepository BatchGetImage"},
			{"with one without an index", Query{From: at(1), To: at(2), Attribute: "ReadOnly", Value: "true"}, "BatchGetImage"},
		} {
			tt.q.Limit = 50
			got, next, err := l.Lookup(t.Context(), admin(), tt.q)
			if err != nil || names(got) != tt.want || next != "" {
				t.Errorf("%s: %s, next %q, %v\nwant %s", tt.name, names(got), next, err, tt.want)
			}
		}
		other := ecr.Caller{Principal: identity.Root(stranger)}
		if got, _, err := l.Lookup(t.Context(), other, Query{Limit: 50}); err != nil || names(got) != "ListImages" {
			t.Errorf("another account sees %s, %v", names(got), err)
		}
		if got, _, err := l.Lookup(t.Context(), other, Query{Limit: 50, Attribute: "ResourceName", Value: arn}); err != nil || len(got) != 0 {
			t.Errorf("another account sees %s of the repository, %v", names(got), err)
		}
		_, _, err := l.Lookup(t.Context(), admin(), Query{Limit: 50, Attribute: "Region"})
		wantCode(t, "no attribute", err, ecr.InvalidParameter)
	})
}

// Pages hold every record once that was there at first, whatever comes in
// between.
func TestLookupPages(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		l := w.log()
		for n := range 500 {
			if w.read(l, [...]string{"BatchGetImage", "PutImage"}[n%2]); n%7 == 0 { // several in a second
				w.advance(time.Second)
			}
		}
		w.settled(l)
		for _, q := range []Query{
			{Limit: 50}, {Limit: 7}, {Limit: 49, From: t0.Add(10 * time.Second), To: t0.Add(19 * time.Second)},
			{Limit: 25, Attribute: "EventName", Value: "PutImage"}, {Limit: 25, Attribute: "ReadOnly", Value: "true"},
		} {
			var want, got []int64
			for _, r := range slices.Backward(w.records()) {
				if (q.Attribute == "" || (r.Name == "PutImage") == (q.Value == "PutImage")) && !r.At.Before(q.From) && (q.To.IsZero() || !r.At.After(q.To)) {
					want = append(want, r.Seq)
				}
			}
			for more := true; more; more = q.Token != "" {
				page, next, err := l.Lookup(t.Context(), admin(), q)
				ok(t, err)
				if len(page) > q.Limit || len(page) < q.Limit && next != "" {
					t.Errorf("%+v: a page of %d, next %q", q, len(page), next)
				}
				for _, r := range page {
					got = append(got, r.Seq)
				}
				q.Token = next
				w.read(l, "BatchGetImage")
				w.read(l, "PutImage")
				w.settled(l)
			}
			if !slices.Equal(got, want) || len(want) < 70 {
				t.Errorf("%+v: %d records in pages, want %d", q, len(got), len(want))
			}
		}
	})
}

// A page looks at so many records only, if it must look at each.
func TestLookupScan(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	c := w.caller("ListUsers")
	c.Call.Service, c.Call.Repository = "iam.amazonaws.com", ecr.RepositoryID{}
	l.Observe(t.Context(), c)
	for n := range scan {
		w.read(l, fmt.Sprint("Put", n)) // none is like another
	}
	w.settled(l)
	for _, q := range []Query{{Attribute: "EventSource", Value: "iam.amazonaws.com"}, {Attribute: "ReadOnly", Value: "true"}, {Attribute: "ResourceType"}} {
		q.Limit = 50
		got, next, err := l.Lookup(t.Context(), admin(), q)
		if err != nil || len(got) != 0 || next == "" {
			t.Fatalf("%s: %s, next %q, %v", q.Attribute, names(got), next, err)
		}
		q.Token = next
		got, next, err = l.Lookup(t.Context(), admin(), q)
		if err != nil || names(got) != "ListUsers" || next != "" {
			t.Errorf("%s: %s, next %q, %v", q.Attribute, names(got), next, err)
		}
	}
}

func TestLookupDenied(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	w.read(l, "BatchGetImage")
	w.settled(l)
	c := w.caller("LookupEvents")
	c.Call.Service, c.Call.Repository = "cloudtrail.amazonaws.com", ecr.RepositoryID{}
	got, next, err := l.Lookup(t.Context(), c, Query{Limit: 50, Attribute: "no such", Token: "?"})
	wantCode(t, "denied", err, ecr.AccessDenied)
	if len(got) != 0 || next != "" {
		t.Errorf("a denied caller got %d records", len(got))
	}
	c.Call.Fail("AccessDeniedException", err.Error())
	l.Observe(t.Context(), c)
	list := w.settled(l)
	if r := trail(t, list[len(list)-1]); len(list) != 2 || r.EventName != "LookupEvents" || r.ErrorCode != "AccessDenied" || !strings.Contains(r.ErrorMessage, "cloudtrail:LookupEvents") || r.RecipientAccountID != account {
		t.Errorf("%d records, the last %+v", len(list), r)
	}
	_, _, err = l.Lookup(t.Context(), ecr.Caller{}, Query{Limit: 50})
	wantCode(t, "nobody", err, ecr.NotAuthenticated)
}

func badTokens() []string {
	out := []string{"x", "?", "MQ", strings.Repeat("A", 10_000), "MS4x=", "MS4x\n"}
	for _, s := range []string{".", "1", "1.", ".1", "0.1", "1.0", "-1.1", "1.-1", "1.1x", "1.1.1", "01.1", "+1.1", " 1.1", "1. 1", "1.1 ", "0x1.1", "1e3.1", "99999999999999999999.1", "1.99999999999999999999"} {
		out = append(out, base64.RawURLEncoding.EncodeToString([]byte(s)))
	}
	return out
}

func TestBadTokens(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	for _, token := range badTokens() {
		_, _, err := l.Lookup(t.Context(), admin(), Query{Limit: 50, Token: token})
		var e *ecr.Error
		if !errors.As(err, &e) || e.Code != ecr.InvalidToken {
			plain, _ := base64.RawURLEncoding.DecodeString(token)
			t.Errorf("token %.20q, of %.20q: %v", token, plain, err)
		}
	}
}

// A token that is accepted is one that a page gave.
func FuzzToken(f *testing.F) {
	f.Add(base64.RawURLEncoding.EncodeToString([]byte("1795521600000.7")))
	for _, s := range badTokens() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		at, seq, err := parseToken(token)
		if err == nil && base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", at.UnixMilli(), seq)) != token {
			t.Errorf("%q is read as %v, %d", token, at, seq)
		}
	})
}
