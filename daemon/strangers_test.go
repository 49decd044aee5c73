package daemon

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecruhq/ecru/audit"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// TestStrangersAreRecorded: who comes with wrong credentials is in the trail,
// and who comes without any, as docker does first, is not.
func TestStrangersAreRecorded(t *testing.T) {
	h := newHoles(t)
	get := func(path, token string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, h.URL()+path, http.NoBody)
		h.ok(r, err)
		if token != "" {
			r.SetBasicAuth("AWS", token)
		}
		if status, body := h.do(r); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	get("/v2/a/b/manifests/v1", "wrong")
	get("/v2/a/b/manifests/v1", "")
	get("/v2/", "")
	thief := &holeUser{creds: aws.Credentials{AccessKeyID: h.users[mine].creds.AccessKeyID, SecretAccessKey: "guessed"}}
	for target, s := range h.handler.services {
		if s.name == "sts" {
			h.api(target, s, "AssumeRole", thief)
			h.api(target, s, "AssumeRole", nil)
			h.api(target, s, "AssumeRoleWithWebIdentity", nil)
		}
	}
	h.ok(nil, h.core.Audit.Settle(t.Context()))
	list, _, err := h.core.Audit.Lookup(t.Context(), ecr.Caller{Principal: identity.Root(mine)}, audit.Query{Limit: 50})
	h.ok(list, err)
	found := map[string]int{}
	for _, r := range list {
		var record ecr.TrailRecord
		h.ok(nil, json.Unmarshal(r.Record, &record))
		if record.UserIdentity.Type == "Unknown" {
			found[record.EventName+" "+record.ErrorCode]++
			if record.SourceIPAddress != "127.0.0.1" || record.UserAgent == "" || strings.Contains(string(r.Record), "guessed") {
				t.Errorf("%s", r.Record)
			}
		}
	}
	for _, want := range []string{"BatchGetImage UNAUTHORIZED", "AssumeRole SignatureDoesNotMatch", "AssumeRoleWithWebIdentity InvalidIdentityToken"} {
		if found[want] != 1 {
			t.Errorf("%s: %d records", want, found[want])
		}
	}
	if len(found) != 3 {
		t.Errorf("records of strangers: %v", found)
	}
}
