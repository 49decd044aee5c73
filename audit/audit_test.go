package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// Each call has one record, whatever became of it.
func TestRecords(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		l, id := w.log(), w.identity()
		iam := func(name string, c ecr.Caller) ecr.Caller {
			c.Call = &ecr.Call{Service: "iam.amazonaws.com", Name: name, Region: region, Parameters: []byte(`{"userName":"x"}`)}
			return c
		}
		change := iam("CreateUser", w.caller(""))
		change.Principal, change.AccessKeyID = identity.Root(account), "AKIAROOT"
		_, err := id.Create(t.Context(), change, identity.User, "x", identity.Settings{})
		ok(t, err)
		l.Observe(t.Context(), change)

		void := iam("CreateUser", w.caller(""))
		void.Principal = identity.Root(account)
		void.Call.Recorded = ecr.RecordedChange // the change was undone with its transaction
		void.Call.Fail("EntityAlreadyExists", "User with name x already exists.")
		l.Observe(t.Context(), void)

		w.advance(time.Second)
		denied := iam("DeleteUser", w.caller(""))
		if err := id.Delete(t.Context(), denied, identity.User, "x"); err == nil {
			t.Fatal("jane may delete users")
		}
		denied.Call.Fail("AccessDeniedException", denied.Call.Message)
		l.Observe(t.Context(), denied)

		read := w.caller("BatchGetImage")
		read.Call.Digest, read.Call.Registry, read.UserAgent = "sha256:0", true, "docker/29"
		l.Observe(t.Context(), read)

		for _, c := range []ecr.Caller{{}, {RequestID: "x"}, w.caller("")} { // no API's call
			l.Observe(t.Context(), c)
		}
		nobody := ecr.Caller{RequestID: "nobody", Call: &ecr.Call{Service: "ecr.amazonaws.com", Name: "DescribeRepositories", Region: region}}
		nobody.Call.Fail("UnrecognizedClientException", strings.Repeat("é", 1024))
		l.Observe(t.Context(), nobody)

		checkRecords(t, w, l, map[string]string{
			change.RequestID: `{"userIdentity":{"type":"Root","principalId":"123456789012","arn":"arn:aws:iam::123456789012:root","accountId":"123456789012","accessKeyId":"AKIAROOT"},
				"eventTime":"2026-11-24T12:00:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","requestParameters":{"userName":"x"},"recipientAccountId":"123456789012"}`,
			void.RequestID: `{"userIdentity":{"type":"Root","principalId":"123456789012","arn":"arn:aws:iam::123456789012:root","accountId":"123456789012","accessKeyId":"AKIAJANE"},
				"eventTime":"2026-11-24T12:00:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","requestParameters":{"userName":"x"},"recipientAccountId":"123456789012",
				"errorCode":"EntityAlreadyExists","errorMessage":"User with name x already exists."}`,
			denied.RequestID: `{"userIdentity":{"type":"IAMUser","principalId":"AIDAJANE","arn":"arn:aws:iam::123456789012:user/jane","accountId":"123456789012","accessKeyId":"AKIAJANE","userName":"jane"},
				"eventTime":"2026-11-24T12:00:01Z","eventSource":"iam.amazonaws.com","eventName":"DeleteUser","requestParameters":{"userName":"x"},"recipientAccountId":"123456789012","errorCode":"AccessDenied",
				"errorMessage":"User: arn:aws:iam::123456789012:user/jane is not authorized to perform: iam:DeleteUser on resource: arn:aws:iam::123456789012:user/x because no identity-based policy allows the iam:DeleteUser action"}`,
			read.RequestID: `{"userIdentity":{"type":"IAMUser","principalId":"AIDAJANE","arn":"arn:aws:iam::123456789012:user/jane","accountId":"123456789012","accessKeyId":"AKIAJANE","userName":"jane"},
				"eventTime":"2026-11-24T12:00:01Z","eventSource":"ecr.amazonaws.com","eventName":"BatchGetImage","userAgent":"docker/29","readOnly":true,
				"requestParameters":{"registryId":"123456789012","repositoryName":"team/app","imageIds":[{"imageDigest":"sha256:0"}]},"additionalEventData":{"registry":true},
				"resources":[{"ARN":"arn:aws:ecr:eu-central-1:123456789012:repository/team/app","accountId":"123456789012","type":"AWS::ECR::Repository"}],"recipientAccountId":"123456789012"}`,
			"nobody": `{"userIdentity":{"type":"Unknown"},"eventTime":"2026-11-24T12:00:01Z","eventSource":"ecr.amazonaws.com","eventName":"DescribeRepositories","readOnly":true,"userAgent":"",
				"sourceIPAddress":"localhost","requestParameters":null,"recipientAccountId":"","errorCode":"UnrecognizedClientException","errorMessage":"` + strings.Repeat("é", 512) + `…"}`,
		})
	})
}

// checkRecords checks the trail against records by request ID, which leave out
// what they have in common, and that another Settle adds none.
func checkRecords(t *testing.T, w *world, l *Log, want map[string]string) {
	t.Helper()
	w.settled(l)
	list := w.settled(l)
	if len(list) != len(want) {
		t.Errorf("%d records, want %d", len(list), len(want))
	}
	for _, r := range list {
		full := map[string]any{"eventVersion": "1.09", "awsRegion": region, "sourceIPAddress": "192.0.2.7", "userAgent": "aws-cli/2", "responseElements": nil, "readOnly": false,
			"eventType": "AwsApiCall", "managementEvent": true, "eventCategory": "Management", "requestID": r.EventID, "eventID": r.EventID}
		if err := json.Unmarshal([]byte(want[r.EventID]), &full); err != nil {
			t.Fatalf("%s: %v", r.Record, err)
		}
		var got map[string]any
		ok(t, json.Unmarshal(r.Record, &got))
		a, _ := json.MarshalIndent(got, "", " ")
		b, _ := json.MarshalIndent(full, "", " ")
		if string(a) != string(b) {
			t.Errorf("got  %s\nwant %s", a, b)
		}
	}
	if r := w.whole(l); r.First != 1 || r.Last != int64(len(list)) || r.Unsealed != 0 {
		t.Errorf("report %+v", r)
	}
}

// A denial that could not be written is answered with another error, and has a
// record of that.
func TestDenialThatIsNotWritten(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	c := w.caller("DescribeRepositories")
	w.failing("before", 1)
	err := w.identity().Authorize(t.Context(), c, "ecr:DescribeRepositories", "*")
	var known *ecr.Error
	if err == nil || errors.As(err, &known) {
		t.Fatalf("error %v, want one that is nobody's business", err)
	}
	c.Call.Fail("ServerException", "An internal error occurred.")
	l.Observe(t.Context(), c)
	list := w.settled(l)
	if len(list) != 1 || trail(t, list[0]).ErrorCode != "ServerException" {
		t.Errorf("%d records, want one of the failure", len(list))
	}
}

// counted returns how many calls the records stand for, by name.
func counted(t *testing.T, w *world) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, r := range w.records() {
		calls := 1
		if m := trail(t, r).AdditionalEventData; m != nil && m.Calls > 0 {
			calls = m.Calls
		}
		n[r.Name] += calls
	}
	return n
}

// Of very many calls at once those that are alike share records, which count
// them; none is lost, even if the first writes fail.
func TestManyAlike(t *testing.T) {
	const each = 10_000 / 16
	for _, failures := range []int64{0, 1, 3} {
		t.Run(fmt.Sprint("failures ", failures), func(t *testing.T) {
			w := newWorld(t)
			l := w.log()
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for n := range each {
						w.read(l, [...]string{"GetA", "GetB", "GetC"}[n%3])
					}
				})
			}
			wg.Wait()
			w.failing("before", failures)
			for range failures {
				if err := l.Settle(t.Context()); err == nil {
					t.Error("Settle did not fail")
				}
				w.read(l, "GetA") // more while it cannot be written
			}
			list := w.settled(l)
			if n := len(list); n > apart+3+int(failures) {
				t.Errorf("%d records", n)
			}
			got := counted(t, w)
			if sum := got["GetA"] + got["GetB"] + got["GetC"]; sum != 10_000+int(failures) || got["GetB"] != 16*208 || got["GetC"] != 16*208 {
				t.Errorf("the records stand for %d calls: %v", sum, got)
			}
			w.whole(l)
		})
	}
}

// Calls that are observed while others are written are counted once.
func TestObserveWhileSettling(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 2500 {
				w.read(l, [...]string{"GetA", "GetB"}[n%2])
			}
		})
	}
	done := make(chan struct{})
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		for {
			select {
			case <-done:
				return
			default:
				if err := l.Settle(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	wg.Wait()
	close(done)
	<-settled
	w.settled(l)
	if got := counted(t, w); got["GetA"] != 5000 || got["GetB"] != 5000 {
		t.Errorf("the records stand for %v", got)
	}
	w.whole(l)
}

// A commit that fails with effect may give a call two records, and never none.
func TestCommitOfUnknownOutcome(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	want := map[string]bool{}
	for range 300 {
		want[w.read(l, "GetA").RequestID] = true
	}
	w.failing("after", 1)
	if err := l.Settle(t.Context()); err == nil {
		t.Error("Settle did not fail")
	}
	for _, r := range w.settled(l) {
		delete(want, r.EventID)
	}
	if len(want) > 0 {
		t.Errorf("%d calls have no record", len(want))
	}
	w.whole(l)
}

// Who brings one record more than may wait, waits until they are written.
func TestBackpressure(t *testing.T) {
	w := newWorld(t)
	l := w.log()
	for n := range most - 1 {
		w.read(l, fmt.Sprint("Get", n))
	}
	if n := len(w.records()); n != 0 {
		t.Fatalf("%d records before there are too many", n)
	}
	w.read(l, "GetLast")
	if n := len(w.records()); n != most {
		t.Errorf("%d records, want all %d", n, most)
	}
	if len(l.pending) != 0 || len(l.alike) != 0 {
		t.Errorf("%d pending and %d alike are left in memory", len(l.pending), len(l.alike))
	}
	w.whole(l)
}

// Run settles once a second, and what has come in at its end.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	synctest.Test(t, func(t *testing.T) {
		w := openWorld(t, path)
		w.cfg.Now, w.cfg.MaxAge = time.Now, time.Hour
		l := w.log()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { l.Run(ctx); close(ended) }()
		w.read(l, "GetA")
		<-time.After(interval + time.Millisecond)
		if n := len(w.records()); n != 1 {
			t.Errorf("%d records after a second", n)
		}
		<-time.After(time.Hour + 2*time.Minute)
		if n := len(w.records()); n != 0 {
			t.Errorf("%d records after the longest time that they are kept", n)
		}
		w.read(l, "GetB")
		cancel()
		<-ended
		if list := w.records(); len(list) != 1 || list[0].Name != "GetB" {
			t.Errorf("%d records at the end", len(list))
		}
		w.whole(l)
		ok(t, w.raw.Close())
		ok(t, w.db.Close())
	})
}

// Two servers on one database seal into one chain, from its beginning on.
func TestTwoServers(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		other := w.open()
		for round := range 20 {
			for _, table := range []string{"audit_records", "audit_chain", "events"} {
				w.sql("delete from " + table)
			}
			one, two := w.log(), New(other, w.identity(), keyring(t, master), w.cfg)
			for range 3 {
				w.change("PutImage")
			}
			var wg sync.WaitGroup
			for _, l := range []*Log{one, two} {
				wg.Go(func() {
					if round%2 == 0 {
						w.read(l, "GetA")
					}
					l.Settle(context.Background()) // one may have to try again
				})
			}
			wg.Wait()
			ok(t, one.Settle(t.Context()))
			ok(t, two.Settle(t.Context()))
			want := 3
			if round%2 == 0 {
				want = 5
			}
			if r := w.whole(one); r.Last != int64(want) || r.Unsealed != 0 {
				t.Fatalf("round %d: %+v", round, r)
			}
		}
	})
}
