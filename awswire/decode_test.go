package awswire

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

func TestConstraints(t *testing.T) {
	m := ecrModel(t)
	tests := []struct {
		name, op, body string
		want           string // path: constraint
	}{
		{"a required member", "CreateRepository", `{}`, "repositoryName: Member must not be null"},
		{"an empty body is an empty object", "CreateRepository", ``, "repositoryName: Member must not be null"},
		{"null is absent", "CreateRepository", `{"repositoryName":null}`, "repositoryName: Member must not be null"},
		{"too short", "CreateRepository", `{"repositoryName":"a"}`, "repositoryName: Member must have length greater than or equal to 2"},
		{"too long", "CreateRepository", `{"repositoryName":"` + strings.Repeat("a", 257) + `"}`, "repositoryName: Member must have length less than or equal to 256"},
		{"a pattern, as in the model", "CreateRepository", `{"repositoryName":"Bad"}`, `repositoryName: must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*'`},
		{"the whole string, at its start", "CreateRepository", `{"repositoryName":"/ab"}`, `repositoryName: must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*'`},
		{"the whole string, no newline at its end", "CreateRepository", `{"repositoryName":"ab\n"}`, `repositoryName: must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*'`},
		{"a value too large", "DescribeRepositories", `{"maxResults":1001}`, "maxResults: Member must have value less than or equal to 1000"},
		{"a value too small", "DescribeRepositories", `{"maxResults":0}`, "maxResults: Member must have value greater than or equal to 1"},
		{"an enum", "PutImageTagMutability", `{"repositoryName":"ab","imageTagMutability":"X"}`, "imageTagMutability: Member must satisfy enum value set: [MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION]"},
		{"an empty enum", "PutImageTagMutability", `{"repositoryName":"ab","imageTagMutability":""}`, "imageTagMutability: Member must satisfy enum value set: [MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION]"},
		{"a list too short", "BatchGetImage", `{"repositoryName":"ab","imageIds":[]}`, "imageIds: Member must have length greater than or equal to 1"},
		{"a list too long", "BatchGetImage", `{"repositoryName":"ab","imageIds":[{}` + strings.Repeat(",{}", 100) + `]}`, "imageIds: Member must have length less than or equal to 100"},
		{"an item, counted from 1", "BatchGetImage", `{"repositoryName":"ab","imageIds":[{"imageTag":"x"},{"imageTag":""}]}`, "imageIds.2.member.imageTag: Member must have length greater than or equal to 1"},
		{"a null in a list", "BatchGetImage", `{"repositoryName":"ab","imageIds":[null]}`, "imageIds.1.member: Member must not be null"},
		{"a required member of an item", "CreateRepository", `{"repositoryName":"ab","tags":[{"Key":"k"}]}`, "tags.1.member.Value: Member must not be null"},
		{"names are compared with case", "CreateRepository", `{"repositoryName":"ab","tags":[{"key":"k","Value":"v"}]}`, "tags.1.member.Key: Member must not be null"},
		{"characters, not bytes", "CreateRepositoryCreationTemplate", `{"prefix":"ab","appliedFor":[],"description":"` + strings.Repeat("é", 257) + `"}`, "description: Member must have length less than or equal to 256"},
		{"a list's element type", "DescribeRepositories", `{"repositoryNames":["ab","AA"]}`, `repositoryNames.2.member: must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*'`},
		{"missing comes before wrong", "PutImage", `{"repositoryName":"Z"}`, "imageManifest: Member must not be null"},
		{"a blob's size is its bytes'", "UploadLayerPart", `{"repositoryName":"ab","uploadId":"00000000-1111-2222-3333-444444444444","partFirstByte":0,"partLastByte":1,"layerPartBlob":"` + strings.Repeat("AAAA", 20971520/3+1) + `"}`, "layerPartBlob: Member must have length less than or equal to 20971520"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := bindECR(t, m, tt.op)
			err := o.DecodeJSON([]byte(tt.body), reflect.New(o.in.typ).Interface())
			var c *ConstraintError
			if !errors.As(err, &c) {
				t.Fatalf("error %v", err)
			}
			if got := c.Path + ": " + c.Constraint; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	got := (&ConstraintError{"maxResults", "x"}).Error()
	if want := "Invalid parameter at 'maxResults' failed to satisfy constraint: 'x'"; got != want {
		t.Errorf("text %s, want %s", got, want)
	}
}

func TestLengthsThatJustPass(t *testing.T) {
	m := ecrModel(t)
	for op, body := range map[string]string{
		"CreateRepository":                 `{"repositoryName":"` + strings.Repeat("a", 256) + `"}`,
		"CreateRepositoryCreationTemplate": `{"prefix":"ROOT","appliedFor":[],"description":"` + strings.Repeat("é", 256) + `"}`,
		"DescribeRepositories":             `{"maxResults":1e3}`,
		"UploadLayerPart":                  `{"repositoryName":"ab","uploadId":"00000000-1111-2222-3333-444444444444","partFirstByte":0,"partLastByte":1,"layerPartBlob":"` + strings.Repeat("AAAA", 20971520/3) + `AAA="}`,
	} {
		o := bindECR(t, m, op)
		if err := o.DecodeJSON([]byte(body), reflect.New(o.in.typ).Interface()); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	m := ecrModel(t)
	deep := func(n int) string { return `{"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	part := `{"repositoryName":"ab","uploadId":"00000000-1111-2222-3333-444444444444","partFirstByte":0,"partLastByte":1,"layerPartBlob":%s}`
	tests := []struct{ name, op, body, want string }{
		{"not an object", "DescribeRegistry", `[]`, "must be an object, not a list"},
		{"cut off", "DescribeRegistry", `{"a":1`, "malformed JSON at byte 6: ',' or '}' is expected"},
		{"two documents", "DescribeRegistry", `{} {}`, "malformed JSON at byte 3: more than one document"},
		{"a comma too many", "DescribeRegistry", `{"a":1,}`, "malformed JSON at byte 7: a member's name is expected"},
		{"a leading zero", "DescribeRegistry", `{"a":01}`, "malformed JSON at byte 6: ',' or '}' is expected"},
		{"a control character", "DescribeRegistry", "{\"a\":\"\n\"}", "malformed JSON at byte 6: a control character in a string"},
		{"invalid UTF-8", "DescribeRegistry", "{\"a\":\"\xff\"}", "malformed JSON at byte 7: invalid UTF-8"},
		{"half a pair", "DescribeRegistry", `{"a":"\ud800"}`, "malformed JSON at byte 12: an unpaired surrogate"},
		{"an unknown escape", "DescribeRegistry", `{"a":"\x"}`, "malformed JSON at byte 7: an unknown escape"},
		{"a name twice", "DescribeRegistry", `{"a":1,"b":2,"\u0061":3}`, "malformed JSON at byte 24: a name stands twice in one object"},
		{"a name twice, deep inside an unknown member", "DescribeRegistry", `{"x":[{"a":1,"a":2}]}`, "malformed JSON at byte 19: a name stands twice in one object"},
		{"too deep", "DescribeRegistry", deep(MaxDepth + 1), "malformed JSON at byte 36: nested more than 32 deep"},
		{"too many values", "DescribeRegistry", `{"x":[0` + strings.Repeat(",0", MaxValues) + `]}`, "malformed JSON at byte 131074: more than 65536 values"},
		{"a number for a string", "CreateRepository", `{"repositoryName":7}`, "repositoryName: must be a string, not a number"},
		{"a string for a number", "DescribeRepositories", `{"maxResults":"7"}`, "maxResults: must be an integer, not a string"},
		{"a fraction for an integer", "DescribeRepositories", `{"maxResults":1.5}`, "maxResults: must be an integer of 32 bits"},
		{"more than 32 bits", "DescribeRepositories", `{"maxResults":2147483648}`, "maxResults: must be an integer of 32 bits"},
		{"a string for a boolean", "DeleteRepository", `{"repositoryName":"ab","force":"true"}`, "force: must be a boolean, not a string"},
		{"an object for a list", "BatchGetImage", `{"repositoryName":"ab","imageIds":{}}`, "imageIds: must be a list, not an object"},
		{"not base64", "UploadLayerPart", fmt.Sprintf(part, `"a"`), "layerPartBlob: must be base64 (RFC 4648, section 4)"},
		{"base64 in the URL alphabet", "UploadLayerPart", fmt.Sprintf(part, `"-_8="`), "layerPartBlob: must be base64 (RFC 4648, section 4)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := bindECR(t, m, tt.op)
			err := o.DecodeJSON([]byte(tt.body), reflect.New(o.in.typ).Interface())
			var d *DecodeError
			if !errors.As(err, &d) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	o := bindECR(t, m, "DescribeRegistry")
	if err := o.DecodeJSON([]byte(deep(MaxDepth)), &ecr.DescribeRegistryInput{}); err != nil {
		t.Errorf("%d deep: %v", MaxDepth, err)
	}
}

func TestDecodeKeepsPresence(t *testing.T) {
	m := ecrModel(t)
	o := bindECR(t, m, "UpdateRepositoryCreationTemplate")
	var in ecr.UpdateRepositoryCreationTemplateInput
	body := []byte(`{"prefix":"ROOT","description":"","resourceTags":[],"future":{"deep":[1]}}`)
	if err := o.DecodeJSON(body, &in); err != nil {
		t.Fatal(err)
	}
	want := ecr.UpdateRepositoryCreationTemplateInput{Prefix: aws.String("ROOT"), Description: aws.String(""), ResourceTags: []types.Tag{}}
	if !reflect.DeepEqual(in, want) {
		t.Errorf("got %+v, want %+v", in, want)
	}
	clear(body)
	if *in.Prefix != "ROOT" {
		t.Error("the input is part of the body")
	}
}

func TestWrongTarget(t *testing.T) {
	o := bindECR(t, ecrModel(t), "DescribeRegistry")
	for _, in := range []any{nil, ecr.DescribeRegistryInput{}, (*ecr.DescribeRegistryInput)(nil), &ecr.ListImagesInput{}} {
		if o.DecodeJSON([]byte(`{}`), in) == nil {
			t.Errorf("%T is taken", in)
		}
	}
	if _, err := o.AppendJSON(nil, &ecr.ListImagesOutput{}); err == nil {
		t.Error("another operation's output is taken")
	}
}

func TestAppendJSON(t *testing.T) {
	m := ecrModel(t)
	created := time.Date(2026, 11, 24, 10, 0, 0, 120e6+999, time.UTC)
	tests := []struct {
		name, op string
		out      any
		want     string
	}{
		{"nothing", "DescribeRegistry", &ecr.DescribeRegistryOutput{}, `{}`},
		{"empty lists stay, nil ones go", "DescribeRegistry", &ecr.DescribeRegistryOutput{ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{}}}, `{"replicationConfiguration":{"rules":[]}}`},
		{"false and 0 stay, an empty enum goes", "BatchCheckLayerAvailability", &ecr.BatchCheckLayerAvailabilityOutput{Layers: []types.Layer{{LayerSize: aws.Int64(0)}}}, `{"layers":[{"layerSize":0}]}`},
		{"false stays", "ValidatePullThroughCacheRule", &ecr.ValidatePullThroughCacheRuleOutput{}, `{"isValid":false}`},
		{"tags have upper-case names", "ListTagsForResource", &ecr.ListTagsForResourceOutput{Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("")}}}, `{"tags":[{"Key":"k","Value":""}]}`},
		{"time is seconds to the millisecond", "RegisterPullTimeUpdateExclusion", &ecr.RegisterPullTimeUpdateExclusionOutput{CreatedAt: &created}, `{"createdAt":1795514400.12}`},
		{"strings are escaped as JSON asks, no more", "PutAccountSetting", &ecr.PutAccountSettingOutput{Name: aws.String("<&>\"\\\n\x01\u2028é\xff")}, `{"name":"<&>\"\\\n\u0001` + "\u2028é\ufffd" + `"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bindECR(t, m, tt.op).AppendJSON([]byte("x"), tt.out)
			if err != nil || string(got) != "x"+tt.want {
				t.Errorf("got %s, %v\nwant x%s", got, err, tt.want)
			}
			if !json.Valid(got[1:]) {
				t.Error("not JSON")
			}
		})
	}
}

func TestAppendErrorJSON(t *testing.T) {
	m := ecrModel(t)
	tests := []struct {
		name, exception string
		members         map[string]any
		want            string
		ok              bool
	}{
		{"with members", "InvalidLayerPartException", map[string]any{"uploadId": "u", "lastValidByteReceived": int64(7)}, `{"__type":"InvalidLayerPartException","message":"m","lastValidByteReceived":7,"uploadId":"u"}`, true},
		{"one that all services have", "AccessDeniedException", nil, `{"__type":"AccessDeniedException","message":"m"}`, true},
		{"a member that the model lacks", "ServerException", map[string]any{"secret": "s"}, `{"__type":"ServerException","message":"m"}`, false},
		{"a member of another type", "InvalidLayerPartException", map[string]any{"uploadId": 7}, `{"__type":"InvalidLayerPartException","message":"m"}`, false},
		{"a second message", "ServerException", map[string]any{"message": "s"}, `{"__type":"ServerException","message":"m"}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := m.AppendErrorJSON(nil, tt.exception, "m", tt.members)
			if string(got) != tt.want || (err == nil) != tt.ok {
				t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}
