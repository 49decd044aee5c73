package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/test/harness"
)

const garbageRequests = 10_000

// TestGarbage sends requests that are random, or good ones with random damage.
func TestGarbage(t *testing.T) {
	v := newVictim(t)
	for _, tag := range []string{"v1", "kept"} { // some of the garbage deletes v1
		if _, err := v.reg.PushImage(t.Context(), "app", tag, []byte(`{"comment":"`+tag+`"}`), []byte("layer")); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	statuses := map[int]int{}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range garbageRequests / 8 {
				request := v.garbage(t, rng)
				r := v.send(t, request)
				tellsNothing(t, request, r)
				if r.status >= 500 && r.status != http.StatusNotImplemented && r.status != http.StatusHTTPVersionNotSupported {
					t.Errorf("HTTP %d %.200q for %.500q", r.status, r.body, request)
				}
				mu.Lock()
				statuses[r.status]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("answers: %v", statuses)
	if d, _, err := v.reg.PullImage(t.Context(), "app", "kept"); err != nil {
		t.Errorf("the image from before: %s, %v", d, err)
	}
}

// garbage makes one request.
func (v *victim) garbage(t *testing.T, rng *rand.Rand) string {
	if rng.IntN(4) == 0 {
		b := make([]byte, rng.IntN(400))
		for i := range b {
			b[i] = byte(rng.UintN(256))
		}
		return string(b)
	}
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	body := pick("", "{}", "[[[[", strings.Repeat("x", rng.IntN(3000)), string(harness.Image([]byte("{}"), []byte("layer"))))
	more := "Content-Length: " + strconv.Itoa(len(body)) + "\r\n" +
		pick("", "Content-Type: "+harness.ManifestType+"\r\n", "Content-Type: application/x-amz-json-1.1\r\n", "Range: bytes=1-0\r\n", "Range: bytes=-99999999999999999999\r\n",
			"Content-Range: 0-"+strconv.Itoa(rng.IntN(9999))+"\r\n", "X-Amz-Target: AmazonEC2ContainerRegistry_V20150921."+pick("PutImage", "ListImages", "x")+"\r\n",
			"If-None-Match: \x01\r\n", "Accept: "+strings.Repeat("a/b,", rng.IntN(2000))+"\r\n", "Expect: 100-continue\r\n", "Content-Encoding: gzip\r\n")
	target := pick("/v2/", "/v2/app/tags/list", "/v2/app/manifests/v1", "/v2/app/blobs/"+harness.Digest([]byte("layer")), "/v2/app/blobs/uploads/",
		"/v2/app/referrers/sha256:"+zeros, "/v2/_catalog", "/", "/layers/x", "/livez", "/readyz?verbose") +
		pick("", "?n=-1", "?n=99999999999999999999", "?n=0", "?n=1&last=%ff%fe", "?digest=x", "?mount=sha256:"+zeros+"&from=app", "?from=..&mount=x",
			"?artifactType=%00", "?%zz", "?"+strings.Repeat("a=b&", rng.IntN(3000)), "?X-Amz-Signature=x&X-Amz-Credential=a/b/c/d/e")
	request := []byte(v.authorized(t, pick("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"), target, more, body))
	for range rng.IntN(4) { // damage
		if len(request) == 0 {
			break
		}
		switch i := rng.IntN(len(request)); rng.IntN(3) {
		case 0:
			request[i] = byte(rng.UintN(256))
		case 1:
			request = append(request[:i], request[i+1:]...)
		default:
			request = request[:i+1]
		}
	}
	return string(request)
}

// TestGarbageOperations sends signed requests with damaged JSON.
func TestGarbageOperations(t *testing.T) {
	v := newVictim(t)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	operations := []string{"CreateRepository", "DescribeRepositories", "PutImage", "BatchGetImage", "ListImages", "DescribeImages", "BatchDeleteImage",
		"UploadLayerPart", "CompleteLayerUpload", "BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "TagResource", "CreateRepositoryCreationTemplate",
		"PutImageTagMutability", "GetAuthorizationToken", "PutAccountSetting", "ListImageReferrers", "DeleteRepository"}
	parts := []string{`{"repositoryName":"app"`, `"imageIds":[{"imageTag":"x"},{}]`, `"imageManifest":"{}"`, `"nextToken":"AAAA"`, `"maxResults":-1`, `"maxResults":1e99`,
		`"tags":[{"Key":"","Value":null}]`, `"uploadId":"x"`, `"layerPartBlob":"!!"`, `"partFirstByte":-1`, `"partLastByte":9223372036854775807`, `"layerDigests":[null]`,
		`"resourceArn":"arn:aws:ecr:::"`, `"prefix":"../"`, `"appliedFor":["X"]`, `"filter":{"tagStatus":7}`, `"imageTagMutability":"MUTABLE"`, `"registryId":"000000000000"`, `"name":"\ud800"`, `"value":[]`}
	for range 1000 {
		body := parts[0]
		for range rng.IntN(5) {
			body += "," + parts[1+rng.IntN(len(parts)-1)]
		}
		body += "}"
		if rng.IntN(3) == 0 {
			i := rng.IntN(len(body))
			body = body[:i] + string(rune(rng.IntN(300))) + body[i:]
		}
		operation := operations[rng.IntN(len(operations))]
		r := v.call(t, operation, []byte(body))
		if r.status != http.StatusOK && (r.status < 400 || r.status > 499) {
			t.Errorf("%s %s: HTTP %d %s", operation, body, r.status, r.body)
		}
		tellsNothing(t, body, r)
	}
	// Some of it may have deleted the repository: honest work needs it.
	if r := v.call(t, "CreateRepository", []byte(`{"repositoryName":"app"}`)); r.status != 200 && !strings.Contains(r.body, "RepositoryAlreadyExists") {
		t.Errorf("HTTP %d %s", r.status, r.body)
	}
	if r := v.call(t, "PutImageTagMutability", []byte(`{"repositoryName":"app","imageTagMutability":"MUTABLE"}`)); r.status != 200 {
		t.Errorf("HTTP %d %s", r.status, r.body)
	}
}

// descriptors is how many files the server has open.
func (v *victim) descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(v.PID()), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestSlowClients opens connections that stand still in each way, and checks
// that others are served meanwhile and that the server cuts them.
func TestSlowClients(t *testing.T) {
	v := newVictim(t, "--idle-timeout", "1s")
	large := bytes.Repeat([]byte("0123456789abcdef"), 4<<20) // 64 MiB: more than socket buffers hold
	digest, err := v.reg.PutBlob(t.Context(), "app", large)
	if err != nil {
		t.Fatal(err)
	}
	v.reg.HTTP.CloseIdleConnections()
	before := v.descriptors(t)
	upload := func() string { // one each: requests to the same one wait for each other
		loc, err := v.reg.StartUpload(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(loc, v.URL)
	}
	fixed := func(request string) func() string { return func() string { return request } }
	for kind, request := range map[string]func() string{
		"a header that does not end": fixed("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "),
		"a body that does not come":  func() string { return v.authorized(t, "PATCH", upload(), "Content-Length: 1000000\r\n", "some bytes") },
		"a short body":               func() string { return v.authorized(t, "PATCH", upload(), "Content-Length: 1000\r\n", "some bytes") },
		"an API body":                fixed("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonEC2ContainerRegistry_V20150921.PutImage\r\nContent-Length: 1000\r\n\r\n{"),
		"a manifest":                 fixed(v.authorized(t, "PUT", "/v2/app/manifests/slow", "Content-Length: 1000\r\nContent-Type: "+harness.ManifestType+"\r\n", "{")),
		"an answer that is not read": fixed(v.authorized(t, "GET", "/v2/app/blobs/"+digest, "", "")),
	} {
		t.Run(kind, func(t *testing.T) { v.standStill(t, before, request) })
	}
	var status *harness.StatusError
	if _, _, err := v.reg.GetManifest(t.Context(), "app", "slow"); !errors.As(err, &status) || status.Status != http.StatusNotFound {
		t.Errorf("half a manifest: %v, want HTTP 404", err)
	}
}

// standStill sends a request on many connections and then nothing, pushes
// honestly meanwhile, and waits for the server to have as few open files as
// before.
func (v *victim) standStill(t *testing.T, before int, request func() string) {
	const connections = 100
	for range connections {
		c, err := net.Dial("tcp", v.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, request()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for i := range 10 {
		if _, err := v.reg.PushImage(t.Context(), "app", fmt.Sprint("meanwhile-", i), []byte("{}"), []byte(fmt.Sprint("layer", i))); err != nil {
			t.Fatalf("an honest push meanwhile: %v", err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("10 honest pushes beside %d slow clients took %v", connections, took)
	}
	// Headers have 20 seconds, all else the idle timeout of this test.
	for deadline := time.Now().Add(40 * time.Second); ; {
		v.reg.HTTP.CloseIdleConnections()
		open := v.descriptors(t)
		if open <= before+8 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d files are open after 40 s, before there were %d: the slow clients are not cut", open, before)
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Logf("cut after %v", time.Since(began).Round(100*time.Millisecond))
}
