package daemon

import (
	"io"
	"net/http"
	"strings"
	"testing"

	iamapi "github.com/ecruhq/ecru/awsapi/iam"
)

// TestBadForms: a form that is too large or none at all is refused as such, and
// neither protocol's services answer the other's requests.
func TestBadForms(t *testing.T) {
	r := start(t)
	for name, tt := range map[string]struct{ body, target, want string }{
		"too large":           {"Version=" + iamapi.Version + "&Action=GetUser&x=" + strings.Repeat("x", formLimit), "", "may have at most 1048576 bytes"},
		"no form":             {"a=%zz", "", "is not a form"},
		"of a JSON service":   {"Version=AmazonEC2ContainerRegistry_V20150921&Action=ListImages", "", "InvalidAction"},
		"JSON for IAM":        {"{}", iamapi.Version + ".GetUser", "UnknownOperationException"},
		"an unsigned request": {"Version=" + iamapi.Version + "&Action=GetUser", "", "MissingAuthenticationToken"},
	} {
		req, err := http.NewRequest(http.MethodPost, r.URL()+"/", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.target != "" {
			req.Header.Set("X-Amz-Target", tt.target)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode < 400 || !strings.Contains(string(b), tt.want) {
			t.Errorf("%s: %d %s, want %s", name, res.StatusCode, b, tt.want)
		}
	}
}
