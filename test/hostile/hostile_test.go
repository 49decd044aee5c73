package hostile

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecruhq/ecru/test/harness"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestPathTraversal(t *testing.T) {
	v := newVictim(t)
	for _, target := range []string{
		"/v2/../../../../etc/passwd", "/v2/..%2f..%2f..%2fetc/passwd", "/v2/%2e%2e/%2e%2e/etc/passwd",
		"/v2/app/blobs/../../../../../../etc/passwd", "/v2/app/blobs/sha256:..%2f..%2f..%2f..%2fetc%2fpasswd",
		"/v2/app/blobs/sha256:" + zeros + "%2f..%2f..", "/v2/app/manifests/..%2f..%2f..%2fetc%2fpasswd", "/v2/app/manifests/..",
		"/v2/app/blobs/uploads/..%2f..%2fecru.db", "/v2/app/blobs/uploads/../../../../etc/passwd",
		"/v2/app/../app/tags/list", "/v2//app/tags/list", "/v2/app//tags/list", "/v2/app/%00/tags/list", "/v2/app%00/tags/list",
		"/v2/\\..\\..\\windows/tags/list", "/v2/APP/tags/list", "/v2/./tags/list", "/v2/-/tags/list",
		"/layers/../../etc/passwd", "/layers/..%2f..%2fetc%2fpasswd?X-Sig=1", "/etc/passwd", "//etc/passwd",
		"/v2/app/referrers/..%2f..", "/v2/" + strings.Repeat("a/", 300) + "tags/list", "/v2/" + strings.Repeat("a", 10_000) + "/tags/list",
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			refused(t, method+" "+target, v.send(t, v.authorized(t, method, target, "Content-Length: 0\r\n", "")))
		}
	}
}

func TestWrongDigests(t *testing.T) {
	v := newVictim(t)
	body, other := []byte("the bytes that come"), []byte("the bytes that were announced")
	for _, digest := range []string{
		harness.Digest(other), "sha256:" + zeros, "sha256:" + zeros[:63], "sha256:" + strings.ToUpper(harness.Digest(body)[7:]),
		"md5:d41d8cd98f00b204e9800998ecf8427e", "sha256", "sha256:", ":", zeros, "sha512:" + zeros, "sha512:" + zeros + zeros,
		"sha256:" + harness.Digest(body)[7:] + "0", "sha256%3A", "", "sha256:" + strings.Repeat("f", 5000),
	} {
		for _, how := range []string{"POST", "PUT", "PATCH then PUT"} {
			res := v.pushUnder(t, how, digest, body)
			refused(t, how+" "+digest, reply{res.Status, res.Header, string(res.Body)})
		}
	}
	for _, b := range [][]byte{body, other} {
		res, err := v.reg.Do(t.Context(), "GET", "/v2/app/blobs/"+harness.Digest(b), nil, 0)
		if err != nil || res.Status != http.StatusNotFound {
			t.Errorf("a refused blob: %v %v, want HTTP 404", res, err)
		}
	}
	manifest := harness.Image([]byte("{}"))
	for _, ref := range []string{"sha256:" + zeros, harness.Digest(other), "sha256:1", "sha512:" + zeros + zeros} {
		res, err := v.reg.Do(t.Context(), "PUT", "/v2/app/manifests/"+ref, bytes.NewReader(manifest), int64(len(manifest)), "Content-Type", harness.ManifestType)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, "PUT manifest "+ref, reply{res.Status, res.Header, string(res.Body)})
	}
}

func (v *victim) pushUnder(t *testing.T, how, digest string, body []byte) *harness.Response {
	t.Helper()
	method, target := "POST", "/v2/app/blobs/uploads/?digest="+digest
	if how != "POST" {
		loc, err := v.reg.StartUpload(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		if how != "PUT" {
			if loc, err = v.reg.PatchUpload(t.Context(), loc, 0, body); err != nil {
				t.Fatal(err)
			}
			body = nil
		}
		method, target = "PUT", loc+"?digest="+digest
	}
	if digest == "" && how == "POST" {
		target = "/v2/app/blobs/uploads/x" // without a digest it would begin an upload
	}
	res, err := v.reg.Do(t.Context(), method, target, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestLengthsThatLie(t *testing.T) {
	v := newVictim(t)
	start := func() string {
		loc, err := v.reg.StartUpload(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(loc, v.URL)
	}
	t.Run("a body shorter than its Content-Length", func(t *testing.T) {
		loc := start()
		digest := harness.Digest([]byte("12345"))
		r := v.send(t, v.authorized(t, "PUT", loc+"?digest="+digest, "Content-Length: 1000\r\n", "12345"))
		if r.status >= 200 && r.status < 300 {
			t.Errorf("HTTP %d for a body that ended early", r.status)
		}
		if _, err := v.reg.GetBlob(t.Context(), "app", digest); err == nil {
			t.Error("what came of a body that ended early became a blob")
		}
		n, err := v.reg.UploadSize(t.Context(), v.URL+loc)
		if err != nil || n != 5 {
			t.Errorf("the upload has %d bytes (%v), want the 5 that came; the answer was HTTP %d %s", n, err, r.status, r.body)
		}
	})
	t.Run("a body longer than its Content-Length", func(t *testing.T) {
		refused(t, "longer", v.send(t, v.authorized(t, "PUT", start()+"?digest="+harness.Digest([]byte("1234567890")), "Content-Length: 5\r\n", "1234567890")))
	})
	for _, lie := range []string{
		"Content-Length: -1\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 99999999999999999999\r\n",
		"Content-Length: 5x\r\n", "Content-Length: +5\r\n", "Content-Length: 0x5\r\n",
		"Content-Length: 9000000000000000000\r\n", "Content-Length: 5\r\nContent-Range: 0-9\r\n", "Content-Length: 5\r\nContent-Range: 5-9\r\n",
		"Content-Length: 5\r\nContent-Range: 9-5\r\n", "Content-Length: 5\r\nContent-Range: -5\r\n", "Content-Length: 5\r\nContent-Range: a-b\r\n",
		"Content-Length: 5\r\nContent-Range: 0-99999999999999999999\r\n", "Content-Length: 5\r\nContent-Range: 18446744073709551612-0\r\n",
	} {
		t.Run(strings.TrimSpace(strings.ReplaceAll(lie, "\r\n", " ")), func(t *testing.T) {
			r := v.send(t, v.authorized(t, "PATCH", start(), lie, "12345"))
			refused(t, lie, r)
		})
	}
	t.Run("two framings at once", func(t *testing.T) {
		r := v.send(t, v.authorized(t, "PATCH", start(), "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nGET /v2/ HTTP/1.1\r\n\r\n"))
		if strings.Count(r.body, "HTTP/1.1") > 0 {
			t.Errorf("a smuggled request was answered: %q", r.body)
		}
	})
	for _, chunks := range []string{"ffffffffffffffff\r\nx", "5\r\n12345", "zz\r\n12345\r\n0\r\n\r\n", "-5\r\n12345\r\n"} {
		r := v.send(t, v.authorized(t, "PUT", start()+"?digest="+harness.Digest([]byte("12345")), "Transfer-Encoding: chunked\r\n", chunks))
		if r.status >= 200 && r.status < 300 || r.status >= 500 {
			t.Errorf("chunks %q: HTTP %d %q", chunks, r.status, r.body)
		}
	}
	t.Run("a manifest that lies about a layer's size", func(t *testing.T) {
		config, layer := []byte("{}"), []byte("a layer")
		for _, b := range [][]byte{config, layer} {
			if _, err := v.reg.PutBlob(t.Context(), "app", b); err != nil {
				t.Fatal(err)
			}
		}
		m := bytes.Replace(harness.Image(config, layer), []byte(`"size":7`), []byte(`"size":700`), 1)
		res, err := v.reg.Do(t.Context(), "PUT", "/v2/app/manifests/lie", bytes.NewReader(m), int64(len(m)), "Content-Type", harness.ManifestType)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, "layer size", reply{res.Status, res.Header, string(res.Body)})
	})
}

func TestManifests(t *testing.T) {
	v := newVictim(t)
	config := []byte("{}")
	if _, err := v.reg.PutBlob(t.Context(), "app", config); err != nil {
		t.Fatal(err)
	}
	good := string(harness.Image(config))
	put := func(body string) reply {
		res, err := v.reg.Do(t.Context(), "PUT", "/v2/app/manifests/x", strings.NewReader(body), int64(len(body)), "Content-Type", harness.ManifestType)
		if err != nil {
			// The server may close while a body that is too large still comes.
			return reply{status: http.StatusRequestEntityTooLarge}
		}
		return reply{res.Status, res.Header, string(res.Body)}
	}
	padded := func(size int) string {
		return strings.Replace(good, "{", `{"annotations":{"pad":"`+strings.Repeat("x", size-len(good)-len(`"annotations":{"pad":""},`))+`"},`, 1)
	}
	const most = 4 << 20
	if r := put(padded(most)); r.status != http.StatusCreated {
		t.Errorf("a manifest of 4 MiB: HTTP %d %.300s, want 201", r.status, r.body)
	}
	for name, body := range map[string]string{
		"a byte over 4 MiB":         padded(most + 1),
		"64 MiB":                    padded(64 << 20),
		"100,000 arrays deep":       strings.Replace(good, "{", `{"deep":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`,`, 1),
		"100,000 objects deep":      strings.Replace(good, "{", `{"deep":`+strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)+`,`, 1),
		"a million open brackets":   strings.Repeat("[", 1_000_000),
		"config twice":              strings.Replace(good, `"config":`, `"config":{"mediaType":"a/b","digest":"sha256:`+zeros+`","size":1},"config":`, 1),
		"layers twice":              strings.Replace(good, `"layers":[]`, `"layers":[],"layers":[]`, 1),
		"mediaType twice":           strings.Replace(good, `"schemaVersion"`, `"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion"`, 1),
		"nothing":                   "",
		"not JSON":                  "not JSON",
		"half":                      good[:len(good)/2],
		"two":                       good + good,
		"a list":                    "[]",
		"null":                      "null",
		"a string":                  `"x"`,
		"not UTF-8":                 strings.Replace(good, "schemaVersion", "schema\xff\xfeVersion", 1),
		"version 1":                 strings.Replace(good, `"schemaVersion":2`, `"schemaVersion":1`, 1),
		"a negative size":           strings.Replace(good, `"size":2`, `"size":-2`, 1),
		"a size that overflows":     strings.Replace(good, `"size":2`, `"size":99999999999999999999`, 1),
		"a digest that is a path":   strings.Replace(good, `"digest":"sha256:`, `"digest":"../../sha256:`, 1),
		"100,000 layers, all alien": strings.Replace(good, `"layers":[]`, `"layers":[`+strings.TrimSuffix(strings.Repeat(`{"digest":"x"},`, 100_000), ",")+`]`, 1),
	} {
		refused(t, name, put(body))
	}
	if _, _, err := v.reg.GetManifest(t.Context(), "app", "x"); err != nil {
		t.Errorf("the good manifest is gone: %v", err)
	}
}

// call sends a signed request to the ECR API.
func (v *victim) call(t *testing.T, operation string, body []byte) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", v.URL+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+operation)
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: harness.RootKey, SecretAccessKey: harness.RootValue}, req,
		hex.EncodeToString(sum[:]), "ecr", harness.Region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	res, err := v.reg.HTTP.Do(req)
	if err != nil {
		return reply{status: http.StatusRequestEntityTooLarge} // closed while the body came
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{}
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

func TestAPIBodies(t *testing.T) {
	v := newVictim(t)
	for name, body := range map[string]string{
		"not JSON": "x", "half": `{"repositoryName":"a`, "a list": "[]", "a name twice": `{"repositoryName":"a","repositoryName":"b"}`,
		"deep":       `{"repositoryName":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
		"wrong type": `{"repositoryName":5}`, "no name": `{}`, "a path": `{"repositoryName":"../../etc"}`, "NUL": `{"repositoryName":"a\u0000b"}`,
		"not UTF-8": "{\"repositoryName\":\"\xff\xfe\"}", "long": `{"repositoryName":"` + strings.Repeat("a", 1_000_000) + `"}`,
		"101 tags": `{"repositoryName":"t","tags":[` + strings.TrimSuffix(strings.Repeat(`{"Key":"k","Value":"v"},`, 101), ",") + `]}`,
		"100 MiB":  `{"repositoryName":"` + strings.Repeat("a", 100<<20) + `"}`,
	} {
		refused(t, name, v.call(t, "CreateRepository", []byte(body)))
	}
	for _, operation := range []string{"", "Nothing", "../CreateRepository", strings.Repeat("A", 5000), "createrepository"} {
		refused(t, operation, v.call(t, operation, []byte("{}")))
	}
}

func TestTokens(t *testing.T) {
	master := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))
	start := func(region string) *harness.Server {
		s, err := harness.Start(harness.Options{Binary: harness.Binary(t), Data: filepath.Join(t.TempDir(), "data"),
			Args: []string{"--region", region}, Env: []string{"ECRU_MASTER_KEY=" + master}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	here, there := start(harness.Region), start("eu-west-1")
	token, err := harness.Password(t.Context(), here.Root())
	if err != nil {
		t.Fatal(err)
	}
	ping := func(s *harness.Server, password string) int {
		res, err := s.Registry(password).Do(t.Context(), "GET", "/v2/", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		tellsNothing(t, "ping", reply{res.Status, res.Header, string(res.Body)})
		return res.Status
	}
	if got := ping(here, token); got != http.StatusOK {
		t.Fatalf("a good token: HTTP %d", got)
	}
	if got := ping(there, token); got != http.StatusUnauthorized {
		t.Errorf("a token in another region, under the same master key: HTTP %d, want 401", got)
	}
	for i := 0; i < len(token); i++ {
		for _, c := range []byte{'A', 'z', '0'} {
			bad := token[:i] + string(c) + token[i+1:]
			if bad != token && i < len(token)-1 { // the last letter of base64 may have bits that mean nothing
				if got := ping(here, bad); got != http.StatusUnauthorized {
					t.Fatalf("a token with byte %d changed: HTTP %d, want 401", i, got)
				}
			}
		}
	}
	for _, bad := range []string{token[:len(token)/2], token + token, token + "A", strings.Repeat("A", len(token)), "x", strings.Repeat("A", 60_000), "\x00\xff"} {
		if got := ping(here, bad); got < 400 || got > 499 {
			t.Errorf("token %.40q…: HTTP %d, want 4xx", bad, got)
		}
	}
	v := &victim{here, here.Registry(token)}
	for _, header := range []string{"Basic", "Basic !!!", "Bearer " + token, "basic", "Basic " + base64.StdEncoding.EncodeToString([]byte("root:"+token)),
		"Basic " + base64.StdEncoding.EncodeToString([]byte("AWS")), "AWS4-HMAC-SHA256 Credential=x", "Negotiate x"} {
		r := v.send(t, "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: "+header+"\r\n\r\n")
		if r.status != http.StatusUnauthorized {
			t.Errorf("Authorization: %.60s: HTTP %d, want 401", header, r.status)
		}
	}
}
