package daemon

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// BenchmarkManifestGet is a manifest GET through the whole handler, without the
// network: the token, the policies of the caller, of the repository and of the
// registry, the manifest, the audit record. "root" has no policies to evaluate.
func BenchmarkManifestGet(b *testing.B) {
	var cfg Config
	flags(b, &cfg, "--listen", "127.0.0.1:0", "--data", filepath.Join(b.TempDir(), "data"))
	s, err := Start(b.Context(), cfg, slog.New(slog.DiscardHandler), b.Output())
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, root := b.Context(), ecr.Caller{Principal: identity.Root(cfg.Account)}
	id := ecr.RepositoryID{Account: cfg.Account, Name: "team/app"}
	_, err = s.core.Registry.CreateRepository(ctx, root, id, ecr.Repository{})
	must(err)
	_, err = s.core.Registry.SetRepositoryPolicy(ctx, root, id, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]},
		{"Effect":"Deny","Principal":"*","Action":"ecr:*","Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","10.0.0.0/8"]}}}]}`, true)
	must(err)
	_, err = s.core.Registry.PutRegistryPolicy(ctx, root, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Deny","Principal":"*","Action":"ecr:DeleteRepository","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalTag/role":"admin"}}}]}`)
	must(err)
	push := httptest.NewRequest(http.MethodPut, "/v2/team/app/manifests/v1", strings.NewReader(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	push.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	push.SetBasicAuth("AWS", benchToken(b, s, "root"))
	w := httptest.NewRecorder()
	if s.handler.ServeHTTP(w, push); w.Code != http.StatusCreated {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, user := range []string{"ci", "root"} {
		b.Run(user, func(b *testing.B) {
			token := benchToken(b, s, user)
			r := httptest.NewRequest(http.MethodGet, "/v2/team/app/manifests/v1", http.NoBody)
			r.SetBasicAuth("AWS", token)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				s.handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}

// benchToken returns a registry password of a user with three statements, or of
// the root user.
func benchToken(b *testing.B, s *Server, name string) string {
	root := ecr.Caller{Principal: identity.Root(s.cfg.Account)}
	key, _, err := ReadCredentials(s.cfg.Data)
	if name != "root" {
		id := s.core.Identity
		if _, err := id.Create(b.Context(), root, identity.User, name, identity.Settings{}); err != nil {
			b.Fatal(err)
		}
		err = id.PutPolicy(b.Context(), root, identity.User, name, "p", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
			{"Effect":"Allow","Action":["ecr:PutImage","ecr:InitiateLayerUpload"],"Resource":"arn:aws:ecr:us-east-1:123456789012:repository/other/*"},
			{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn:aws:ecr:us-east-1:123456789012:repository/team/*"}]}`)
		if err != nil {
			b.Fatal(err)
		}
		k, _, keyErr := id.CreateAccessKey(b.Context(), root, name)
		key, err = k.ID, keyErr
	}
	if err != nil {
		b.Fatal(err)
	}
	_, p, err := s.core.Identity.SecretKey(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	token, _, err := s.core.Identity.GetAuthorizationToken(b.Context(), ecr.Caller{Principal: p, AccessKeyID: key})
	if err != nil {
		b.Fatal(err)
	}
	return token
}

// BenchmarkPush is a push of a small image through the whole handler, without
// the network: two layers in one request each, and the manifest; with the audit
// trail settled as it is while the server runs.
func BenchmarkPush(b *testing.B) {
	var cfg Config
	flags(b, &cfg, "--listen", "127.0.0.1:0", "--data", filepath.Join(b.TempDir(), "data"))
	s, err := Start(b.Context(), cfg, slog.New(slog.DiscardHandler), b.Output())
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { s.core.Audit.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	root := ecr.Caller{Principal: identity.Root(cfg.Account)}
	if _, err := s.core.Registry.CreateRepository(ctx, root, ecr.RepositoryID{Account: cfg.Account, Name: "team/app"}, ecr.Repository{}); err != nil {
		b.Fatal(err)
	}
	token := benchToken(b, s, "root")
	send := func(method, path, body string, want int) {
		r := httptest.NewRequest(method, "/v2/team/app/"+path, strings.NewReader(body))
		r.SetBasicAuth("AWS", token)
		w := httptest.NewRecorder()
		if s.handler.ServeHTTP(w, r); w.Code != want {
			b.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	var count atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := count.Add(1)
			var parts []string
			for _, kind := range []string{"config", "layer"} {
				data := fmt.Sprintf("%s %d", kind, n)
				digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(data)))
				send(http.MethodHead, "blobs/"+digest, "", http.StatusNotFound)
				send(http.MethodPost, "blobs/uploads/?digest="+digest, data, http.StatusCreated)
				parts = append(parts, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d}`, digest, len(data)))
			}
			send(http.MethodPut, fmt.Sprintf("manifests/v%d", n), `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":`+parts[0]+`,"layers":[`+parts[1]+`]}`, http.StatusCreated)
		}
	})
}
