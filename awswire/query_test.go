package awswire

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// A service is a model with the SDK's client for it.
type service struct {
	*Model
	client reflect.Type
}

func loadService(t testing.TB, file string, client reflect.Type, omit ...string) service {
	t.Helper()
	gz, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(gz)
	if err != nil {
		t.Fatal(err)
	}
	m.Omit(omit...)
	return service{m, client}
}

func iamService(t testing.TB) service {
	return loadService(t, "iam.json.gz", reflect.TypeFor[*iam.Client](),
		"types.Role.SourceRoleTemplate",
		"iam.SimulateCustomPolicyInput.OrderedOrganizationPolicyInputList",
		"iam.SimulatePrincipalPolicyInput.PolicyExclusionList")
}

func stsService(t testing.TB) service {
	return loadService(t, "sts.json.gz", reflect.TypeFor[*sts.Client](),
		"sts.AssumeRoleInput.MinimumSessionTokenSize",
		"sts.AssumeRoleWithSAMLInput.MinimumSessionTokenSize",
		"sts.AssumeRoleWithWebIdentityInput.MinimumSessionTokenSize",
		"sts.AssumeRootInput.MinimumSessionTokenSize",
		"sts.GetFederationTokenInput.MinimumSessionTokenSize",
		"sts.GetSessionTokenInput.MinimumSessionTokenSize")
}

func cloudTrailService(t testing.TB) service {
	return loadService(t, "cloudtrail.json.gz", reflect.TypeFor[*cloudtrail.Client]())
}

func (s service) bind(t testing.TB, op string) *Operation {
	t.Helper()
	f, ok := s.client.MethodByName(op)
	if !ok {
		t.Fatalf("the SDK has no operation %s", op)
	}
	o, err := s.BindTypes(op, f.Type.In(2).Elem(), f.Type.Out(0).Elem())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func parseForm(t testing.TB, body string) url.Values {
	t.Helper()
	form, err := url.ParseQuery(body)
	if err != nil {
		t.Fatal(err)
	}
	return form
}

// TestDecodeQuery has bodies as the AWS CLI and the SDKs send them.
func TestDecodeQuery(t *testing.T) {
	i, s := iamService(t), stsService(t)
	twelve := make([]iamtypes.Tag, 12)
	var twelveBody strings.Builder
	for n := range twelve {
		twelve[n] = iamtypes.Tag{Key: aws.String(fmt.Sprintf("k%d", n+1)), Value: aws.String("")}
		fmt.Fprintf(&twelveBody, "&Tags.member.%d.Key=k%d&Tags.member.%d.Value=", n+1, n+1, n+1)
	}
	tests := []struct {
		name, body string
		service    service
		want       any
	}{
		{"no parameters of its own", "Action=GetCallerIdentity&Version=2011-06-15", s, &sts.GetCallerIdentityInput{}},
		{"strings, escaped twice, and a number", "Action=AssumeRole&Version=2011-06-15&DurationSeconds=900&ExternalId=a%2Fb&Policy=%7B%22a%22%3A+%22%2520%22%7D&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci&RoleSessionName=x", s,
			&sts.AssumeRoleInput{DurationSeconds: aws.Int32(900), ExternalId: aws.String("a/b"), Policy: aws.String(`{"a": "%20"}`), RoleArn: aws.String("arn:aws:iam::123456789012:role/ci"), RoleSessionName: aws.String("x")}},
		{"lists of structures and of strings", "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci&RoleSessionName=x&PolicyArns.member.1.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FX&Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.2.Key=b&Tags.member.2.Value=&TransitiveTagKeys.member.1=a&TransitiveTagKeys.member.2=b", s,
			&sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/ci"), RoleSessionName: aws.String("x"), PolicyArns: []ststypes.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/X")}},
				Tags: []ststypes.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("")}}, TransitiveTagKeys: []string{"a", "b"}}},
		{"an empty list", "Action=TagRole&Version=2010-05-08&RoleName=ci&Tags=", i, &iam.TagRoleInput{RoleName: aws.String("ci"), Tags: []iamtypes.Tag{}}},
		{"a list of more than nine, in order", "Action=TagRole&Version=2010-05-08&RoleName=ci" + twelveBody.String(), i, &iam.TagRoleInput{RoleName: aws.String("ci"), Tags: twelve}},
		{"booleans", "Action=UpdateAccountPasswordPolicy&Version=2010-05-08&AllowUsersToChangePassword=false&HardExpiry=false&RequireSymbols=true", i,
			&iam.UpdateAccountPasswordPolicyInput{HardExpiry: aws.Bool(false), RequireSymbols: true}},
		{"a list in a list", "Action=SimulatePrincipalPolicy&Version=2010-05-08&ActionNames.member.1=ecr%3AGetAuthorizationToken&ContextEntries.member.1.ContextKeyName=aws%3ASourceIp&ContextEntries.member.1.ContextKeyType=ip&ContextEntries.member.1.ContextKeyValues.member.1=10.0.0.1&ContextEntries.member.1.ContextKeyValues.member.2=10.0.0.2&PolicySourceArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Auser%2Fu", i,
			&iam.SimulatePrincipalPolicyInput{ActionNames: []string{"ecr:GetAuthorizationToken"}, PolicySourceArn: aws.String("arn:aws:iam::123456789012:user/u"),
				ContextEntries: []iamtypes.ContextEntry{{ContextKeyName: aws.String("aws:SourceIp"), ContextKeyType: iamtypes.ContextKeyTypeEnumIp, ContextKeyValues: []string{"10.0.0.1", "10.0.0.2"}}}}},
		{"what the model does not know is ignored", "Action=GetUser&Version=2010-05-08&SignatureVersion=2&New.member.7.x=1&New=2&new=&.=&%00=&=x&UserName=u", i, &iam.GetUserInput{UserName: aws.String("u")}},
		{"unknown members of an item", "Action=TagRole&RoleName=ci&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.1.New.entry.1=x", i, &iam.TagRoleInput{RoleName: aws.String("ci"), Tags: []iamtypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}},
		{"an ARN with characters above the first plane", "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2F%F0%9F%98%80&RoleSessionName=ab", s, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/\U0001F600"), RoleSessionName: aws.String("ab")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			form := parseForm(t, tt.body)
			got := reflect.New(reflect.TypeOf(tt.want).Elem()).Interface()
			err := tt.service.bind(t, form.Get("Action")).DecodeQuery(form, got)
			if tt.name == "strings, escaped twice, and a number" || strings.HasPrefix(tt.name, "lists of") {
				// A session name of one character fails its constraint.
				var c *ConstraintError
				if !errors.As(err, &c) || c.Path != "RoleSessionName" || c.Constraint != "Member must have length greater than or equal to 2" {
					t.Fatalf("error %v", err)
				}
				form.Set("RoleSessionName", "xy")
				reflect.ValueOf(tt.want).Elem().FieldByName("RoleSessionName").Set(reflect.ValueOf(aws.String("xy")))
				got = reflect.New(reflect.TypeOf(tt.want).Elem()).Interface()
				err = tt.service.bind(t, form.Get("Action")).DecodeQuery(form, got)
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
	_ = time.Now
}
