package awswire

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"

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
		"sts.AssumeRoleInput.MinimumSessionTokenSize", "sts.AssumeRoleOutput.SessionTokenSize", "sts.AssumeRoleOutput.SessionTokenUtilization",
		"sts.AssumeRoleWithSAMLInput.MinimumSessionTokenSize", "sts.AssumeRoleWithSAMLOutput.SessionTokenSize", "sts.AssumeRoleWithSAMLOutput.SessionTokenUtilization",
		"sts.AssumeRoleWithWebIdentityInput.MinimumSessionTokenSize", "sts.AssumeRoleWithWebIdentityOutput.SessionTokenSize", "sts.AssumeRoleWithWebIdentityOutput.SessionTokenUtilization",
		"sts.AssumeRootInput.MinimumSessionTokenSize", "sts.AssumeRootOutput.SessionTokenSize", "sts.AssumeRootOutput.SessionTokenUtilization",
		"sts.GetFederationTokenInput.MinimumSessionTokenSize", "sts.GetFederationTokenOutput.SessionTokenSize", "sts.GetFederationTokenOutput.SessionTokenUtilization",
		"sts.GetSessionTokenInput.MinimumSessionTokenSize", "sts.GetSessionTokenOutput.SessionTokenSize", "sts.GetSessionTokenOutput.SessionTokenUtilization")
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
		{"strings, escaped twice, and a number", "Action=AssumeRole&Version=2011-06-15&DurationSeconds=900&ExternalId=a%2Fb&Policy=%7B%22a%22%3A+%22%2520%22%7D&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci&RoleSessionName=xy", s,
			&sts.AssumeRoleInput{DurationSeconds: aws.Int32(900), ExternalId: aws.String("a/b"), Policy: aws.String(`{"a": "%20"}`), RoleArn: aws.String("arn:aws:iam::123456789012:role/ci"), RoleSessionName: aws.String("xy")}},
		{"lists of structures and of strings", "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fci&RoleSessionName=xy&PolicyArns.member.1.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FX&Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.2.Key=b&Tags.member.2.Value=&TransitiveTagKeys.member.1=a&TransitiveTagKeys.member.2=b", s,
			&sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/ci"), RoleSessionName: aws.String("xy"), PolicyArns: []ststypes.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/X")}},
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
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestDecodeQueryErrors: what is not of the protocol's form is a DecodeError,
// what fails the model a ConstraintError, as in JSON.
func TestDecodeQueryErrors(t *testing.T) {
	i, s := iamService(t), stsService(t)
	const role = "RoleName=ci&"
	many := url.Values{"RoleName": {"ci"}, "New": make([]string, MaxValues)}
	tests := []struct {
		name    string
		service service
		op      string
		body    string
		want    string
	}{
		{"a required member", i, "TagRole", "RoleName=ci", "Invalid parameter at 'Tags' failed to satisfy constraint: 'Member must not be null'"},
		{"missing comes before wrong", s, "AssumeRole", "RoleArn=x", "Invalid parameter at 'RoleSessionName' failed to satisfy constraint: 'Member must not be null'"},
		{"a required member of an item", i, "TagRole", role + "Tags.member.1.Key=k", "Invalid parameter at 'Tags.1.member.Value' failed to satisfy constraint: 'Member must not be null'"},
		{"an item without known members", i, "TagRole", role + "Tags.member.1.key=k", "Invalid parameter at 'Tags.1.member.Key' failed to satisfy constraint: 'Member must not be null'"},
		{"a pattern", i, "GetRole", "RoleName=a+b", `Invalid parameter at 'RoleName' failed to satisfy constraint: 'must satisfy regular expression '[\w+=,.@-]+''`},
		{"an enum", i, "UpdateAccessKey", "AccessKeyId=AKIAIOSFODNN7EXAMPLE&Status=On", "Invalid parameter at 'Status' failed to satisfy constraint: 'Member must satisfy enum value set: [Active, Inactive, Expired]'"},
		{"a number's range", s, "AssumeRole", "RoleArn=arn:aws:iam::123456789012:role/ci&RoleSessionName=xy&DurationSeconds=899", "Invalid parameter at 'DurationSeconds' failed to satisfy constraint: 'Member must have value greater than or equal to 900'"},
		{"a list too long", i, "UntagRole", role + items("TagKeys.member.%d=k", 51), "Invalid parameter at 'TagKeys' failed to satisfy constraint: 'Member must have length less than or equal to 50'"},
		{"an empty string", i, "GetRole", "RoleName=", "Invalid parameter at 'RoleName' failed to satisfy constraint: 'Member must have length greater than or equal to 1'"},
		{"an account alias with two hyphens", i, "CreateAccountAlias", "AccountAlias=a--b", `Invalid parameter at 'AccountAlias' failed to satisfy constraint: 'must satisfy regular expression '^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$''`},

		{"names are compared with case", i, "GetRole", "rolename=ci", "Invalid parameter at 'RoleName' failed to satisfy constraint: 'Member must not be null'"},
		{"a parameter twice", i, "GetRole", "RoleName=ci&RoleName=cd", "RoleName: is there more than once"},
		{"invalid UTF-8", i, "GetRole", "RoleName=%ff", "RoleName: invalid UTF-8"},
		{"parts of a string", i, "GetRole", "RoleName=ci&RoleName.x=y", "RoleName: must be a single value, without parts"},
		{"not a number", s, "AssumeRole", "RoleArn=arn:aws:iam::123456789012:role/ci&RoleSessionName=xy&DurationSeconds=1h", "DurationSeconds: must be an integer, not a string"},
		{"an empty number", i, "ListRoles", "MaxItems=", "MaxItems: must be an integer, not a string"},
		{"a hexadecimal number", i, "ListRoles", "MaxItems=0x10", "MaxItems: must be an integer, not a string"},
		{"more than 32 bits", i, "ListRoles", "MaxItems=4294967297", "MaxItems: must be an integer of 32 bits"},
		{"not a boolean", i, "UpdateAccountPasswordPolicy", "RequireSymbols=1", "RequireSymbols: must be a boolean, not a string"},
		{"a string for a list", i, "TagRole", role + "Tags=x", "Tags: must be a list, not a string"},
		{"a string for an item", i, "TagRole", role + "Tags.member.1=x", "Tags.1.member: must be an object, not a string"},
		{"a list without member", i, "TagRole", role + "Tags.1.Key=k", "Tags: must be a list, as in .member.1"},
		{"a list without index", i, "TagRole", role + "Tags.member=k", "Tags: must be a list, as in .member.1"},
		{"a list and a string", i, "TagRole", role + "Tags=&Tags.member.1.Key=k", "Tags: has both a value and parts"},
		{"an item and its parts", i, "TagRole", role + "Tags.member.1=&Tags.member.1.Key=k", "Tags.1.member: has both a value and parts"},
		{"from 0", i, "UntagRole", role + "TagKeys.member.0=k", "TagKeys: must be a list that is numbered from 1, without gaps"},
		{"a gap", i, "UntagRole", role + "TagKeys.member.1=k&TagKeys.member.3=l", "TagKeys: must be a list that is numbered from 1, without gaps"},
		{"a leading zero", i, "UntagRole", role + "TagKeys.member.01=k", "TagKeys: must be a list that is numbered from 1, without gaps"},
		{"a sign", i, "UntagRole", role + "TagKeys.member.%2B1=k", "TagKeys: must be a list that is numbered from 1, without gaps"},
		{"no number", i, "UntagRole", role + "TagKeys.member.=k", "TagKeys: must be a list that is numbered from 1, without gaps"},
		{"a huge index", i, "UntagRole", role + "TagKeys.member.18446744073709551617=k", "TagKeys: must be a list that is numbered from 1, without gaps"},
		{"too many parameters, unknown ones too", i, "GetRole", "", "more than 65536 parameters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.service.bind(t, tt.op)
			form := many
			if tt.name != "too many parameters, unknown ones too" { // more than url.ParseQuery takes
				form = parseForm(t, tt.body)
			}
			err := o.DecodeQuery(form, reflect.New(o.in.typ).Interface())
			var d *DecodeError
			var c *ConstraintError
			if err == nil || err.Error() != tt.want || !errors.As(err, &d) && !errors.As(err, &c) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	if s.bind(t, "AssumeRole").DecodeQuery(nil, &sts.GetCallerIdentityInput{}) == nil {
		t.Error("another operation's input is taken")
	}
}

// items repeats a parameter for the indexes from 1 to n.
func items(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"&", i+1)
	}
	return b.String()
}
