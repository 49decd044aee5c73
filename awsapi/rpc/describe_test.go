package rpc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"pgregory.net/rapid"

	core "github.com/ecruhq/ecru/ecr"
)

func TestDescribe(t *testing.T) {
	noon := time.Date(2026, 11, 24, 13, 0, 0, 5, time.FixedZone("", 3600))
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"nothing", &sts.GetCallerIdentityInput{}, `{}`},
		{"names", &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String("a")}, `{"openIDConnectProviderArn":"a"}`},
		{"empty is not absent", &iam.UpdateRoleDescriptionInput{RoleName: aws.String("r"), Description: aws.String("")}, `{"roleName":"r","description":""}`},
		{"lists of structures", &sts.AssumeRoleInput{RoleArn: aws.String("r"), Tags: []ststypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}, {Key: aws.String("l")}}, PolicyArns: []ststypes.PolicyDescriptorType{}},
			`{"roleArn":"r","policyArns":[],"tags":[{"key":"k","value":"v"},{"key":"l"}]}`},
		{"lists of texts", &iam.UntagUserInput{TagKeys: []string{"a", `"<&>`}}, `{"tagKeys":["a","\"\u003c\u0026\u003e"]}`},
		{"long lists", &iam.UntagUserInput{TagKeys: slices.Repeat([]string{"a"}, 103)}, `{"tagKeys":["a"` + strings.Repeat(`,"a"`, 99) + `],"tagKeysOmitted":3}`},
		{"numbers and booleans", &iam.ListPoliciesInput{MaxItems: aws.Int32(5), OnlyAttached: true, Scope: iamtypes.PolicyScopeTypeLocal}, `{"maxItems":5,"onlyAttached":true,"scope":"Local"}`},
		{"nested structures", &ecr.PutImageScanningConfigurationInput{ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{}}, `{"imageScanningConfiguration":{"scanOnPush":false}}`},
		{"times", &cloudtrail.LookupEventsInput{StartTime: &noon}, `{"startTime":"2026-11-24T12:00:00Z"}`},
		{"blobs", &ecr.UploadLayerPartInput{UploadId: aws.String("u"), PartFirstByte: aws.Int64(0), LayerPartBlob: []byte("secret")}, `{"partFirstByte":0,"uploadId":"u"}`},
		{"a web identity token", &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("r"), WebIdentityToken: aws.String("secret")}, `{"roleArn":"r","webIdentityToken":"HIDDEN_DUE_TO_SECURITY_REASONS"}`},
		{"an MFA code", &sts.GetSessionTokenInput{TokenCode: aws.String("secret")}, `{"tokenCode":"HIDDEN_DUE_TO_SECURITY_REASONS"}`},
		{"a SAML assertion", &sts.AssumeRoleWithSAMLInput{SAMLAssertion: aws.String("secret")}, `{"sAMLAssertion":"HIDDEN_DUE_TO_SECURITY_REASONS"}`},
		{"an encoded message", &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("secret")}, `{"encodedMessage":"HIDDEN_DUE_TO_SECURITY_REASONS"}`},
		{"passwords", &iam.ChangePasswordInput{OldPassword: aws.String("secret"), NewPassword: aws.String("secret")}, `{"newPassword":"HIDDEN_DUE_TO_SECURITY_REASONS","oldPassword":"HIDDEN_DUE_TO_SECURITY_REASONS"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			call := new(core.Call)
			describe(call, tt.in)
			var got, want any
			if err := json.Unmarshal(call.Parameters, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %s\nwant %s", call.Parameters, tt.want)
			}
		})
	}
	describe(nil, &sts.GetCallerIdentityInput{})
}

func TestDescribeRepository(t *testing.T) {
	for in, want := range map[any]core.RepositoryID{
		&ecr.PutImageInput{RepositoryName: aws.String("a/b"), RegistryId: aws.String("123456789012")}: {Account: "123456789012", Name: "a/b"},
		&ecr.PutImageInput{RepositoryName: aws.String("a/b")}:                                         {Name: "a/b"},
		&ecr.DescribeRepositoriesInput{RepositoryNames: []string{"a/b"}}:                              {},
		&iam.GetUserInput{UserName: aws.String("ann")}:                                                {},
	} {
		call := new(core.Call)
		if describe(call, in); call.Repository != want {
			t.Errorf("%T: %+v, want %+v", in, call.Repository, want)
		}
	}
}

// TestDescribeLongTexts cuts texts, between characters.
func TestDescribeLongTexts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		keeps      int // bytes of text; all of it if negative
	}{
		{"as long as may be", strings.Repeat("x", maxText), -1},
		{"one byte more", strings.Repeat("x", maxText+1), maxText},
		{"much more", strings.Repeat("x", 1<<20), maxText},
		{"a character of two bytes across the bound", "x" + strings.Repeat("é", maxText), maxText - 1},
		{"a character of three bytes across the bound", strings.Repeat("€", maxText), maxText - maxText%3},
		{"a character of four bytes across the bound", "xxx" + strings.Repeat("😀", maxText), maxText - 1},
		{"a character that ends at the bound", strings.Repeat("é", maxText), maxText},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call := new(core.Call)
			describe(call, &ecr.PutImageInput{ImageManifest: &tt.text})
			var got struct{ ImageManifest string }
			if err := json.Unmarshal(call.Parameters, &got); err != nil {
				t.Fatal(err)
			}
			want := tt.text
			if tt.keeps >= 0 {
				want = tt.text[:tt.keeps] + "…"
			}
			if got.ImageManifest != want {
				t.Errorf("%d bytes that end in %q, want %d that end in %q", len(got.ImageManifest), tail(got.ImageManifest), len(want), tail(want))
			}
		})
	}
}

func tail(s string) string { return s[max(0, len(s)-10):] }

// TestDescribeAnything looks for what every record must be, whatever a request
// has.
func TestDescribeAnything(t *testing.T) {
	inputs := []any{
		sts.AssumeRoleInput{}, sts.AssumeRoleWithWebIdentityInput{}, sts.GetSessionTokenInput{}, iam.CreateRoleInput{}, iam.ListPoliciesInput{},
		ecr.UploadLayerPartInput{}, ecr.PutImageInput{}, ecr.BatchGetImageInput{}, ecr.CreateRepositoryInput{}, cloudtrail.LookupEventsInput{},
	}
	rapid.Check(t, func(r *rapid.T) {
		in := reflect.New(reflect.TypeOf(rapid.SampledFrom(inputs).Draw(r, "input"))).Elem()
		fill(r, in)
		call := new(core.Call)
		describe(call, in.Addr().Interface())
		if !json.Valid(call.Parameters) || !utf8.Valid(call.Parameters) {
			r.Fatalf("%s is no JSON", call.Parameters)
		}
		var got map[string]any
		if err := json.Unmarshal(call.Parameters, &got); err != nil {
			r.Fatal(err)
		}
		wellFormed(r, in, got)
	})
}

// wellFormed compares a record with the structure that it tells of.
func wellFormed(r *rapid.T, in reflect.Value, got map[string]any) {
	names := 0
	for i := range in.NumField() {
		f, field := in.Field(i), in.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name := string(unicode.ToLower(rune(field.Name[0]))) + field.Name[1:]
		value, has := got[name]
		if has {
			names++
		}
		blob := f.Type() == reflect.TypeFor[[]byte]()
		if !has && !f.IsZero() && !blob || has && blob {
			r.Fatalf("%s of %+v: %v", name, got, has)
		}
		switch s, ok := value.(string); {
		case secrets[field.Name] && has && s != hidden:
			r.Fatalf("%s is %q", name, s)
		case ok && len(s) > 3*maxText+len("…"): // what is not UTF-8 becomes three bytes each
			r.Fatalf("%s has %d bytes", name, len(s))
		}
	}
	if names != len(got) {
		r.Fatalf("%v has other members than %s", got, in.Type())
	}
}

// fill gives an input of the SDK random members.
func fill(r *rapid.T, v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1<<35).Draw(r, "time"), 0)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && rapid.Bool().Draw(r, "set") {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(r, "items"), 3))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) })).Draw(r, "text")
		v.SetString(strings.Repeat(text, rapid.SampledFrom([]int{1, 1, 1, 500}).Draw(r, "times")))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(r, "bool"))
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(rapid.Int32().Draw(r, "int")))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(r, "byte")))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	default:
		panic(fmt.Sprintf("fill knows no %s", v.Type()))
	}
}
