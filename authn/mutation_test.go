package authn_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestMutatedRequests changes one thing of a signed request, 10,000 times:
// something that is signed is refused, whatever it is; what is not signed
// changes nothing of who calls.
func TestMutatedRequests(t *testing.T) {
	at := now
	a, _ := setup(t, &at)
	const body = `{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]}`
	target := "/?Action=x&Version=1&b=2"
	random := rand.New(rand.NewPCG(1, 2))
	refused, same := 0, 0
	for n := range 10_000 {
		r := request(http.MethodPost, target, body)
		r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.BatchGetImage")
		sign(t, r, body, at)
		sent, what := mutateRequest(random, r, body)
		c, err := a.API(r, []byte(sent), "ecr", "id")
		switch {
		case what == "":
			same++
			if err != nil || c.Account != account {
				t.Fatalf("%d: a change of nothing: %v", n, err)
			}
		case err == nil:
			t.Fatalf("%d: %s was changed, and the request taken: %s %s %v %q", n, what, r.Method, r.RequestURI, r.Header, sent)
		default:
			refused++
		}
	}
	if refused < 8000 || same < 100 {
		t.Errorf("%d refused, %d taken", refused, same)
	}
}

// flip changes, drops or adds one byte of a text.
func flip(random *rand.Rand, s string) string {
	if s == "" {
		return "x"
	}
	b, i := []byte(s), random.IntN(len(s))
	switch random.IntN(3) {
	case 0:
		b[i] ^= byte(1 + random.IntN(15))
	case 1:
		b = slices.Delete(b, i, i+1)
	default:
		b = slices.Insert(b, i, byte('0'+random.IntN(70)))
	}
	return string(b)
}

// mutateRequest changes a request in one place, and returns its body and what
// was changed: "" if that changes nothing that counts.
func mutateRequest(random *rand.Rand, r *http.Request, body string) (sent, what string) {
	sent = body
	switch random.IntN(8) {
	case 0:
		r.Method = http.MethodPut
		return sent, "the method"
	case 1:
		return flip(random, body), "the body"
	case 2:
		r.Host = flip(random, r.Host)
		return sent, "the host"
	case 3:
		name := []string{"X-Amz-Date", "X-Amz-Target", "Authorization"}[random.IntN(3)]
		old := r.Header.Get(name)
		r.Header.Set(name, flip(random, old))
		if strings.Join(strings.Fields(r.Header.Get(name)), " ") == strings.Join(strings.Fields(old), " ") || name == "Authorization" && equalAuthorization(old, r.Header.Get(name)) {
			return sent, ""
		}
		return sent, name
	case 4:
		r.URL.RawQuery += "&c=3"
		r.RequestURI = r.URL.RequestURI()
		return sent, "the query"
	case 5:
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "b=2", "b=3", 1)
		r.RequestURI = r.URL.RequestURI()
		return sent, "the query"
	case 6:
		r.RequestURI = strings.Replace(r.RequestURI, "/?", "/v2/?", 1)
		r.URL.Path = "/v2/"
		return sent, "the path"
	}
	r.Header.Set("X-Not-Signed", "x")
	return sent, ""
}

// equalAuthorization reports whether two headers say the same: the signature's
// digits have no case, and spaces around members do not count.
func equalAuthorization(a, b string) bool {
	plain := func(s string) string {
		head, signature, _ := strings.Cut(s, "Signature=")
		return strings.ReplaceAll(head, " ", "") + "Signature=" + strings.ToLower(strings.TrimSpace(signature))
	}
	return plain(a) == plain(b)
}
