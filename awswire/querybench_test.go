package awswire

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

func BenchmarkGetCallerIdentity(b *testing.B) {
	o := stsService(b).bind(b, "GetCallerIdentity")
	form := parseForm(b, "Action=GetCallerIdentity&Version=2011-06-15")
	out := &sts.GetCallerIdentityOutput{Account: aws.String("123456789012"), Arn: aws.String("arn:aws:iam::123456789012:user/Alice"), UserId: aws.String("AIDACKCEVSQ6C2EXAMPLE")}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var in sts.GetCallerIdentityInput
		if err := o.DecodeQuery(form, &in); err != nil {
			b.Fatal(err)
		}
		buf, _ = o.AppendXML(buf[:0], out, "00000000-1111-2222-3333-444444444444")
	}
}

func assumeRole(b *testing.B) (*Operation, url.Values) {
	return stsService(b).bind(b, "AssumeRole"), parseForm(b, "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci&RoleSessionName=build-1234&Tags.member.1.Key=team&Tags.member.1.Value=web&TransitiveTagKeys.member.1=team")
}

func BenchmarkAssumeRole(b *testing.B) {
	o, form := assumeRole(b)
	now := time.Now().Truncate(time.Second)
	token := strings.Repeat("FwoGZXIvYXdzEB", 30)
	out := &sts.AssumeRoleOutput{
		AssumedRoleUser: &types.AssumedRoleUser{Arn: aws.String("arn:aws:sts::123456789012:assumed-role/ci/build-1234"), AssumedRoleId: aws.String("AROA3XFRBF535PLBIFPI4:build-1234")},
		Credentials:     &types.Credentials{AccessKeyId: aws.String("ASIAIOSFODNN7EXAMPLE"), SecretAccessKey: aws.String("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), SessionToken: &token, Expiration: &now},
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var in sts.AssumeRoleInput
		if err := o.DecodeQuery(form, &in); err != nil {
			b.Fatal(err)
		}
		buf, _ = o.AppendXML(buf[:0], out, "00000000-1111-2222-3333-444444444444")
	}
}

// BenchmarkDecodeQueryMany is the largest form that is taken: what it costs to
// refuse it.
func BenchmarkDecodeQueryMany(b *testing.B) {
	o, _ := assumeRole(b)
	form := url.Values{}
	for i := range MaxValues {
		form["TransitiveTagKeys.member."+strconv.Itoa(i+1)] = []string{"k"}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := o.DecodeQuery(form, &sts.AssumeRoleInput{}); err == nil {
			b.Fatal("taken")
		}
	}
}
