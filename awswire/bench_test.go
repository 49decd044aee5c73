package awswire

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

func BenchmarkGetAuthorizationToken(b *testing.B) {
	o := bindECR(b, ecrModel(b), "GetAuthorizationToken")
	now := time.Now()
	body := []byte(`{"registryIds":["123456789012"]}`)
	out := &ecr.GetAuthorizationTokenOutput{AuthorizationData: []types.AuthorizationData{{
		AuthorizationToken: aws.String(strings.Repeat("QVdT", 100)), ExpiresAt: &now, ProxyEndpoint: aws.String("http://localhost:5000"),
	}}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var in ecr.GetAuthorizationTokenInput
		if err := o.DecodeJSON(body, &in); err != nil {
			b.Fatal(err)
		}
		buf, _ = o.AppendJSON(buf[:0], out)
	}
}

func BenchmarkBatchGetImage(b *testing.B) {
	o := bindECR(b, ecrModel(b), "BatchGetImage")
	manifest := `{"schemaVersion":2,"layers":[` + strings.Repeat(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":12345},`, 10) + `{}]}`
	out := &ecr.BatchGetImageOutput{Failures: []types.ImageFailure{}}
	var ids []string
	for i := range 10 {
		digest := fmt.Sprintf("sha256:%064x", i)
		ids = append(ids, `{"imageDigest":"`+digest+`"}`)
		out.Images = append(out.Images, types.Image{
			RegistryId: aws.String("123456789012"), RepositoryName: aws.String("team/web"), ImageManifest: &manifest,
			ImageId: &types.ImageIdentifier{ImageDigest: &digest}, ImageManifestMediaType: aws.String("application/vnd.oci.image.manifest.v1+json"),
		})
	}
	body := []byte(`{"repositoryName":"team/web","imageIds":[` + strings.Join(ids, ",") + `]}`)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var in ecr.BatchGetImageInput
		if err := o.DecodeJSON(body, &in); err != nil {
			b.Fatal(err)
		}
		buf, _ = o.AppendJSON(buf[:0], out)
	}
	b.SetBytes(int64(len(body) + len(buf)))
}

func BenchmarkUploadLayerPart(b *testing.B) {
	o := bindECR(b, ecrModel(b), "UploadLayerPart")
	body := []byte(`{"repositoryName":"ab","uploadId":"00000000-1111-2222-3333-444444444444","partFirstByte":0,"partLastByte":1,"layerPartBlob":"` + strings.Repeat("AQID", 10<<20/3) + `"}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var in ecr.UploadLayerPartInput
		if err := o.DecodeJSON(body, &in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad is what a server's start costs.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		m := ecrModel(b)
		for _, op := range m.Operations() {
			bindECR(b, m, op)
		}
	}
}
