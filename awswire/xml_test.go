package awswire

import (
	"encoding/xml"
	"io"
	"math"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// wellFormed reads a whole document.
func wellFormed(t *testing.T, doc []byte) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(string(doc))); ; {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("not XML: %v: %s", err, doc)
		}
	}
}

func TestAppendXML(t *testing.T) {
	i, s := iamService(t), stsService(t)
	const iamNS, stsNS = `xmlns="https://iam.amazonaws.com/doc/2010-05-08/"`, `xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`
	whole := time.Date(2026, 11, 24, 11, 0, 0, 999, time.FixedZone("", 3600))
	part := time.Date(2026, 11, 24, 10, 0, 0, 120e6+999, time.UTC)
	tests := []struct {
		name, op string
		service  service
		out      any
		want     string // without the envelope's end
	}{
		{"the example of the documentation", "GetCallerIdentity", s,
			&sts.GetCallerIdentityOutput{Account: aws.String("123456789012"), Arn: aws.String("arn:aws:iam::123456789012:user/Alice"), UserId: aws.String("AIDACKCEVSQ6C2EXAMPLE")},
			`<GetCallerIdentityResponse ` + stsNS + `><GetCallerIdentityResult><Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/Alice</Arn><UserId>AIDACKCEVSQ6C2EXAMPLE</UserId></GetCallerIdentityResult>`},
		{"no output, no result", "DeleteRole", i, &iam.DeleteRoleOutput{}, `<DeleteRoleResponse ` + iamNS + `>`},
		{"a result without members", "UpdateRole", i, &iam.UpdateRoleOutput{}, `<UpdateRoleResponse ` + iamNS + `><UpdateRoleResult></UpdateRoleResult>`},
		{"nil goes, an empty list and false stay", "ListRoles", i, &iam.ListRolesOutput{Roles: []iamtypes.Role{}},
			`<ListRolesResponse ` + iamNS + `><ListRolesResult><IsTruncated>false</IsTruncated><Roles></Roles></ListRolesResult>`},
		{"items, an empty string, an empty enum", "ListAccessKeys", i, &iam.ListAccessKeysOutput{AccessKeyMetadata: []iamtypes.AccessKeyMetadata{{UserName: aws.String("")}, {Status: "Active"}}},
			`<ListAccessKeysResponse ` + iamNS + `><ListAccessKeysResult><AccessKeyMetadata><member><UserName></UserName></member><member><Status>Active</Status></member></AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult>`},
		{"a map, by key", "GetAccountSummary", i, &iam.GetAccountSummaryOutput{SummaryMap: map[string]int32{"Users": 2, "Roles": 0}},
			`<GetAccountSummaryResponse ` + iamNS + `><GetAccountSummaryResult><SummaryMap><entry><key>Roles</key><value>0</value></entry><entry><key>Users</key><value>2</value></entry></SummaryMap></GetAccountSummaryResult>`},
		{"a blob, and a time of whole seconds in UTC", "GetCredentialReport", i, &iam.GetCredentialReportOutput{Content: []byte{0, 255, 62}, GeneratedTime: &whole},
			`<GetCredentialReportResponse ` + iamNS + `><GetCredentialReportResult><Content>AP8+</Content><GeneratedTime>2026-11-24T10:00:00Z</GeneratedTime></GetCredentialReportResult>`},
		{"a time with milliseconds", "GetCredentialReport", i, &iam.GetCredentialReportOutput{GeneratedTime: &part},
			`<GetCredentialReportResponse ` + iamNS + `><GetCredentialReportResult><GeneratedTime>2026-11-24T10:00:00.12Z</GeneratedTime></GetCredentialReportResult>`},
		{"text is escaped, and what XML cannot hold replaced", "DecodeAuthorizationMessage", s, &sts.DecodeAuthorizationMessageOutput{DecodedMessage: aws.String("<a b=\"c\">&amp;'\r\n\t\x00\x1b\ufffe\uffff\xff\xed\xa0\x80é\U0001F600]]>")},
			`<DecodeAuthorizationMessageResponse ` + stsNS + `><DecodeAuthorizationMessageResult><DecodedMessage>&lt;a b=&quot;c&quot;&gt;&amp;amp;'&#xD;` + "\n\t\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdé\U0001F600" + `]]&gt;</DecodedMessage></DecodeAuthorizationMessageResult>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.service.bind(t, tt.op).AppendXML([]byte("<!---->"), tt.out, "id&1")
			want := "<!---->" + tt.want + `<ResponseMetadata><RequestId>id&amp;1</RequestId></ResponseMetadata></` + tt.op + `Response>`
			if err != nil || string(got) != want {
				t.Errorf("got  %s, %v\nwant %s", got, err, want)
			}
			wellFormed(t, got)
		})
	}
}

func TestAppendXMLErrors(t *testing.T) {
	i := iamService(t)
	far := time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := i.bind(t, "GetCredentialReport").AppendXML(nil, &iam.GetCredentialReportOutput{GeneratedTime: &far}, ""); err == nil {
		t.Error("the year 12000 is sent")
	}
	if _, err := i.bind(t, "GetRole").AppendXML(nil, &iam.GetUserOutput{}, ""); err == nil {
		t.Error("another operation's output is taken")
	}
	ct := cloudTrailService(t)
	if _, err := ct.bind(t, "LookupEvents").AppendXML(nil, reflect.New(ct.bind(t, "LookupEvents").out.typ).Interface(), ""); err != errNoXML {
		t.Errorf("a service without the query protocol: %v", err)
	}
	if _, err := ct.AppendErrorXML(nil, "X", "", "", true); err != errNoXML {
		t.Errorf("an error of a service without the query protocol: %v", err)
	}
}

func TestAppendErrorXML(t *testing.T) {
	i, s := iamService(t), stsService(t)
	tests := []struct {
		name    string
		service service
		code    string
		sender  bool
		want    string
	}{
		{"an exception has its code", i, "NoSuchEntityException", true, `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>NoSuchEntity</Code>`},
		{"a code that is its name", s, "ExpiredTokenException", true, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>ExpiredTokenException</Code>`},
		{"one that all services have", s, "AccessDenied", true, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>`},
		{"the receiver's fault", i, "ServiceFailureException", false, `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Receiver</Type><Code>ServiceFailure</Code>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.service.AppendErrorXML(nil, tt.code, "no <role>", "id", tt.sender)
			if want := tt.want + `<Message>no &lt;role&gt;</Message></Error><RequestId>id</RequestId></ErrorResponse>`; err != nil || string(got) != want {
				t.Errorf("got  %s, %v\nwant %s", got, err, want)
			}
			wellFormed(t, got)
		})
	}
}

func TestErrorOf(t *testing.T) {
	i, s, ct := iamService(t), stsService(t), cloudTrailService(t)
	tests := []struct {
		service   service
		exception string
		code      string
		status    int
		ok        bool
	}{
		{i, "NoSuchEntityException", "NoSuchEntity", 404, true},
		{i, "EntityAlreadyExistsException", "EntityAlreadyExists", 409, true},
		{i, "CredentialReportNotReadyException", "ReportInProgress", 404, true},
		{i, "ServiceFailureException", "ServiceFailure", 500, true},
		{i, "ServiceAccessNotEnabledException", "ServiceAccessNotEnabledException", 400, true}, // the model says nothing
		{s, "IDPRejectedClaimException", "IDPRejectedClaim", 403, true},
		{ct, "InvalidTimeRangeException", "InvalidTimeRangeException", 400, true},
		{i, "NoSuchEntity", "", 0, false},
		{i, "Role", "", 0, false}, // a shape, no exception
	}
	for _, tt := range tests {
		if code, status, ok := tt.service.ErrorOf(tt.exception); code != tt.code || status != tt.status || ok != tt.ok {
			t.Errorf("%s: %s %d %v", tt.exception, code, status, ok)
		}
	}
	if i.APIVersion() != "2010-05-08" || i.XMLNamespace() != "https://iam.amazonaws.com/doc/2010-05-08/" || ct.XMLNamespace() != "" {
		t.Error("version or namespace", i.APIVersion(), i.XMLNamespace(), ct.XMLNamespace())
	}
}

type thing struct {
	Flat    []string
	Renamed []string
	FlatMap map[string]string
	Map     map[string]*thing
	Named   map[string]int32
	Items   []int64
	Inner   *thing
	When    *time.Time
	Blob    []byte
	Double  *float64
	Bool    *bool
	Long    *int64
}

// thingModel has what no operation of IAM and STS has.
func thingModel(t testing.TB) *Operation {
	t.Helper()
	m, err := parseModel([]byte(`{"meta":{"xmlNamespace":"urn:x"},"ops":{"Op":{"in":"T","out":"T","wrap":"OpResult"}},"shapes":{
		"T":{"type":"structure","members":{"Flat":{"shape":"F"},"Renamed":{"shape":"R"},"FlatMap":{"shape":"FM"},"Map":{"shape":"M"},"Named":{"shape":"NM"},
			"Items":{"shape":"I","locationName":"things"},"Inner":{"shape":"T"},"When":{"shape":"W"},"Blob":{"shape":"B"},"Double":{"shape":"D"},"Bool":{"shape":"Y"},"Long":{"shape":"L"}}},
		"F":{"type":"list","flattened":true,"member":{"shape":"S"}},
		"R":{"type":"list","flattened":true,"member":{"shape":"S","locationName":"One"}},
		"FM":{"type":"map","flattened":true,"key":{"shape":"S","locationName":"Name"},"value":{"shape":"S"}},
		"M":{"type":"map","key":{"shape":"S"},"value":{"shape":"T"}},
		"NM":{"type":"map","key":{"shape":"S","locationName":"K"},"value":{"shape":"N","locationName":"V"}},
		"I":{"type":"list","member":{"shape":"L","locationName":"item"}},
		"S":{"type":"string"},"W":{"type":"timestamp"},"B":{"type":"blob"},"D":{"type":"double"},"Y":{"type":"boolean"},"N":{"type":"integer"},"L":{"type":"long"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	o, err := Bind[thing, thing](m, "Op")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestQueryForms has one value as it is sent in a query and answered in XML.
func TestQueryForms(t *testing.T) {
	o := thingModel(t)
	when := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	millis := time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC)
	both := func(name string, v thing, form, xml string) {
		t.Run(name, func(t *testing.T) {
			var got thing
			if err := o.DecodeQuery(parseForm(t, form), &got); err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%s is %+v, %v", form, got, err)
			}
			b, err := o.AppendXML(nil, &v, "")
			doc := strings.TrimSuffix(strings.TrimPrefix(string(b), `<OpResponse xmlns="urn:x"><OpResult>`), `</OpResult><ResponseMetadata><RequestId></RequestId></ResponseMetadata></OpResponse>`)
			if err != nil || doc != xml {
				t.Errorf("got  %s, %v\nwant %s", doc, err, xml)
			}
		})
	}
	both("flattened", thing{Flat: []string{"a", "b"}}, "Flat.1=a&Flat.2=b", "<Flat>a</Flat><Flat>b</Flat>")
	both("flattened, with a name for its items", thing{Renamed: []string{"a"}}, "One.1=a", "<One>a</One>")
	both("a flattened map", thing{FlatMap: map[string]string{"a": "1", "b": ""}}, "FlatMap.1.Name=b&FlatMap.1.value=&FlatMap.2.value=1&FlatMap.2.Name=a", "<FlatMap><Name>a</Name><value>1</value></FlatMap><FlatMap><Name>b</Name><value></value></FlatMap>")
	both("a map of structures", thing{Map: map[string]*thing{"": {Long: aws.Int64(1)}}}, "Map.entry.1.key=&Map.entry.1.value.Long=1", "<Map><entry><key></key><value><Long>1</Long></value></entry></Map>")
	both("a map with names", thing{Named: map[string]int32{"a": -1}}, "Named.entry.1.K=a&Named.entry.1.V=-1", "<Named><entry><K>a</K><V>-1</V></entry></Named>")
	both("an empty map", thing{Named: map[string]int32{}}, "Named=", "<Named></Named>")
	both("items with a name", thing{Items: []int64{1 << 40}}, "things.item.1=1099511627776", "<things><item>1099511627776</item></things>")
	both("a structure", thing{Inner: &thing{Inner: &thing{Bool: aws.Bool(true)}}}, "Inner.Inner.Bool=true", "<Inner><Inner><Bool>true</Bool></Inner></Inner>")
	both("an empty structure", thing{Inner: &thing{}}, "Inner.New=1", "<Inner></Inner>")
	both("a time", thing{When: &when}, "When=2026-11-24T10:00:00Z", "<When>2026-11-24T10:00:00Z</When>")
	both("a time before 1970", thing{When: &millis}, "When=1969-12-31T23:59:59.999Z", "<When>1969-12-31T23:59:59.999Z</When>")
	both("a blob", thing{Blob: []byte{251, 255}}, "Blob=%2B/8=", "<Blob>+/8=</Blob>")
	both("a number", thing{Double: aws.Float64(-1.5e-7)}, "Double=-1.5e-7", "<Double>-1.5e-07</Double>")
	both("infinity", thing{Double: aws.Float64(math.Inf(-1))}, "Double=-Infinity", "<Double>-Infinity</Double>")
	var got thing
	if err := o.DecodeQuery(parseForm(t, "When=2026-11-24T12:00:00.0004%2B02:00"), &got); err != nil || !got.When.Equal(when) {
		t.Errorf("a time with an offset: %v, %v", got.When, err)
	}
	if err := o.DecodeQuery(parseForm(t, "Double=NaN"), &got); err != nil || !math.IsNaN(*got.Double) {
		t.Errorf("NaN: %v", err)
	}
}

func TestQueryFormErrors(t *testing.T) {
	o := thingModel(t)
	deep := func(n int) string { return strings.Repeat("Inner.", n) + "Long=1" }
	tests := []struct{ name, form, want string }{
		{"too deep", deep(MaxDepth), strings.Repeat("Inner.", MaxDepth-1) + "Inner: nested more than 32 deep"},
		{"a key twice", "Map.entry.1.key=a&Map.entry.1.value.Long=1&Map.entry.2.key=a&Map.entry.2.value.Long=2", "Map: a key stands twice in one map"},
		{"an entry without key", "Map.entry.1.value.Long=1", "Map: an entry has no key"},
		{"an entry without value", "Map.entry.1.key=a", "Invalid parameter at 'Map.a.member' failed to satisfy constraint: 'Member must not be null'"},
		{"an entry that is a string", "Map.entry.1=a", "Map: must be an entry with a key and a value"},
		{"entries with a gap", "Map.entry.2.key=a&Map.entry.2.value.Long=1", "Map: must be a list that is numbered from 1, without gaps"},
		{"a key with parts", "Map.entry.1.key.x=a", "Map: must be a single value, without parts"},
		{"a map without entry", "Map.1.key=a", "Map: must be a list, as in .entry.1"},
		{"a flattened list with a gap", "Flat.2=a", "Flat: must be a list that is numbered from 1, without gaps"},
		{"a string for a structure", "Inner=", "Inner: must be an object, not a string"},
		{"a time in seconds", "When=1795514400", "When: must be a timestamp as in 2006-01-02T15:04:05Z"},
		{"a day", "When=2026-11-24", "When: must be a timestamp as in 2006-01-02T15:04:05Z"},
		{"a year too late", "When=9999-12-31T23:59:59-01:00", "When: must be a timestamp before the year 10000"},
		{"not base64", "Blob=-_8=", "Blob: must be base64 (RFC 4648, section 4)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := o.DecodeQuery(parseForm(t, tt.form), &thing{}); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	if err := o.DecodeQuery(parseForm(t, deep(MaxDepth-1)), &thing{}); err != nil {
		t.Errorf("%d deep: %v", MaxDepth, err)
	}
	// Names that are not known are not followed, however deep they go.
	long := url.Values{strings.Repeat("x.", 1<<20): {""}, "Inner." + strings.Repeat("x.", 1<<20): {""}}
	if err := o.DecodeQuery(long, &thing{}); err != nil {
		t.Errorf("long names: %v", err)
	}
}
