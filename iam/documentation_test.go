package iam_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/iam"
)

// Sources of a decision, for short.
const (
	byRoot     = iam.ByRoot
	byIdentity = iam.ByIdentity
	byResource = iam.ByResource
	byRegistry = iam.ByRegistry
	byBoundary = iam.ByBoundary
	bySession  = iam.BySession
)

// An example of the IAM user guide, retold for a registry. Policies are
// statements; who is one of cast.
type example struct {
	who                                             string
	identity, boundary, session, resource, registry string
	action, on                                      string // default: ecr:BatchGetImage on repo
	context                                         string // key=value,value key=value
	allowed                                         bool
	by                                              iam.Source
	statement                                       int // its index; none = nobody spoke
}

const none = -1

// cast is who appears in the examples.
func cast(name string) iam.Principal {
	switch name {
	case "root":
		return iam.Principal{ARN: "arn:aws:iam::" + own + ":root", Account: own, Root: true}
	case "stranger":
		return iam.Principal{ARN: "arn:aws:iam::" + other + ":user/bob", Account: other, Name: "bob"}
	case "session": // of the role ci/deployer
		return iam.Principal{ARN: "arn:aws:sts::" + own + ":assumed-role/deployer/run-1", RoleARN: "arn:aws:iam::" + own + ":role/ci/deployer", Account: own,
			Tags: map[string]string{"team": "team"}, Issued: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	case "untagged":
		return iam.Principal{ARN: "arn:aws:iam::" + own + ":user/team", Account: own, Name: "team"}
	}
	return iam.Principal{ARN: "arn:aws:iam::" + own + ":user/team", Account: own, Name: "team", Tags: map[string]string{"Team": "team"}}
}

func (e example) run(t *testing.T) {
	p := cast(e.who)
	p.Policies, p.Session = list(parse(t, iam.Identity, e.identity)), list(parse(t, iam.Identity, e.session))
	p.Boundary = parse(t, iam.Identity, e.boundary)
	values := map[string][]string{}
	for _, pair := range strings.Fields(e.context) {
		key, v, _ := strings.Cut(pair, "=")
		values[strings.ToLower(key)] = strings.Split(v, ",")
	}
	r := &iam.Request{Principal: &p, Action: e.action, Resource: e.on, Account: own, Time: time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC),
		Context:        func(key string) []string { return values[key] },
		ResourcePolicy: parse(t, iam.Resource, e.resource), RegistryPolicy: parse(t, iam.Resource, e.registry)}
	if r.Action == "" {
		r.Action = "ecr:BatchGetImage"
	}
	if r.Resource == "" {
		r.Resource = repo
	}
	d, statement := iam.Evaluate(r), none
	if d.Statement != nil {
		statement = d.Statement.Index
	}
	if d.Allowed != e.allowed || d.By != e.by || statement != e.statement {
		t.Errorf("allowed=%t by %d, statement %d; want %t by %d, statement %d", d.Allowed, d.By, statement, e.allowed, e.by, e.statement)
	}
}

const (
	repos       = "arn:aws:ecr:*:" + own + ":repository/"
	allowImages = `{"Effect":"Allow","Action":["ecr:Batch*","ecr:PutImage"],"Resource":"*"}`
	allowLists  = `{"Effect":"Allow","Action":"ecr:List*","Resource":"*"}`
	theRole     = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + own + `:role/ci/deployer"},"Action":"ecr:*"}`
	theSession  = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::` + own + `:assumed-role/deployer/run-1"},"Action":"ecr:*"}`
	theUser     = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + own + `:user/team"},"Action":"ecr:*"}`
	theStranger = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + other + `:user/bob"},"Action":"ecr:BatchGetImage"}`
	elsewhere   = `{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"ecr:*"}`
)

// "Policy evaluation logic": which policy decides, and which statement of it.
func TestDocumentedLogic(t *testing.T) {
	tests := map[string]example{
		"the first allow is named":                          {identity: allowLists + "," + allowImages + "," + allowAll, allowed: true, by: byIdentity, statement: 1},
		"a deny after an allow":                             {identity: allowImages + "," + denyAll, by: byIdentity, statement: 1},
		"a deny outranks the resource's allow":              {identity: denyAll, resource: theUser, by: byIdentity, statement: 0},
		"nobody speaks":                                     {identity: allowLists, by: byIdentity, statement: none},
		"root, though nobody allows it":                     {who: "root", by: byRoot, allowed: true, statement: none},
		"root, denied by the resource":                      {who: "root", resource: theUser + "," + denyEveryone, by: byResource, statement: 1},
		"cross-account: the resource is silent":             {who: "stranger", identity: allowImages, resource: elsewhere, by: byResource, statement: none},
		"cross-account: the identity is silent":             {who: "stranger", resource: theStranger, by: byIdentity, statement: none},
		"cross-account: both by name":                       {who: "stranger", identity: allowImages, resource: elsewhere + "," + theStranger, allowed: true, by: byResource, statement: 1},
		"cross-account: both, for the whole account":        {who: "stranger", identity: allowImages, resource: elsewhere + "," + theOther, allowed: true, by: byResource, statement: 1},
		"cross-account: everybody is somebody":              {who: "stranger", identity: allowImages, resource: everybody, allowed: true, by: byResource, statement: 0},
		"cross-account: within the boundary only":           {who: "stranger", identity: allowImages, boundary: allowLists, resource: theOther, by: byBoundary, statement: none},
		"cross-account: another action than the resource":   {who: "stranger", identity: allowImages, resource: theStranger, action: "ecr:PutImage", by: byResource, statement: none},
		"boundary and identity: both":                       {identity: allowImages, boundary: allowLists + "," + allowPull, allowed: true, by: byIdentity, statement: 0},
		"boundary and identity: identity alone":             {identity: allowImages, boundary: allowPull, action: "ecr:PutImage", by: byBoundary, statement: none},
		"boundary and identity: boundary alone":             {identity: allowLists, boundary: allowAll, by: byIdentity, statement: none},
		"boundary: a user named by the resource is free":    {boundary: allowLists, resource: theUser, allowed: true, by: byResource, statement: 0},
		"boundary: its deny binds him all the same":         {boundary: allowLists + "," + denyAll, resource: theUser, by: byBoundary, statement: 1},
		"boundary: a role named by the resource is bound":   {who: "session", boundary: allowLists, resource: theRole, by: byBoundary, statement: none},
		"boundary: a session named by the resource is not":  {who: "session", boundary: allowLists, resource: theSession, allowed: true, by: byResource, statement: 0},
		"session and role: both":                            {who: "session", identity: allowImages, session: allowPull, allowed: true, by: byIdentity, statement: 0},
		"session and role: role alone":                      {who: "session", identity: allowImages, session: allowPull, action: "ecr:PutImage", by: bySession, statement: none},
		"session and role: session alone":                   {who: "session", identity: allowLists, session: allowAll, by: byIdentity, statement: none},
		"session: bound, where the resource names the role": {who: "session", session: allowLists, resource: theRole, by: bySession, statement: none},
		"session: free, where the resource names it":        {who: "session", session: allowLists, resource: theSession, allowed: true, by: byResource, statement: 0},
		"session: its deny binds it all the same":           {who: "session", session: denyAll, resource: theSession, by: bySession, statement: 0},
		"session, boundary and role: all":                   {who: "session", identity: allowAll, boundary: allowImages, session: allowPull, allowed: true, by: byIdentity, statement: 0},
		"account: the resource leaves it to its identity":   {resource: theAccount, identity: allowLists + "," + allowPull, allowed: true, by: byIdentity, statement: 1},
		"registry: its deny is its own":                     {identity: allowImages, resource: theUser, registry: theUser + "," + denyEveryone, by: byRegistry, statement: 1},
		"registry: the resource's allow stands beside it":   {resource: theUser, registry: elsewhere, allowed: true, by: byResource, statement: 0},
	}
	for name, e := range tests {
		t.Run(name, e.run)
	}
}

// "Condition operators", "Creating a condition with multiple keys or values",
// "Policy elements: Variables and tags", "NotPrincipal", and the examples of
// identity-based policies.
func TestDocumentedElements(t *testing.T) {
	const (
		outside  = allowImages + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8:1234:5678::/64"]}}}`
		insecure = `{"Effect":"Deny","Principal":"*","Action":"ecr:*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`
		tagsOnly = `{"Effect":"Allow","Action":"ecr:TagResource","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["env","team"]}}}`
		tagsSome = `{"Effect":"Allow","Action":"ecr:TagResource","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["env","team"]},"Null":{"aws:TagKeys":"false"}}}`
		noSecret = allowAll + `,{"Effect":"Deny","Action":"ecr:TagResource","Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":"secret*"}}}`
		ours     = allowImages + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}`
		oursTwo  = allowImages + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:SourceVpce":"vpce-1"},"BoolIfExists":{"aws:ViaAWSService":"false"}}}`
		typed    = `{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringLikeIfExists":{"ecr:Kind":["small*","medium*"]}}}`
		mfa      = allowImages + `,{"Effect":"Deny","NotAction":"ecr:List*","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}`
		abac     = `{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/Team}"}}}`
		ownHome  = `{"Effect":"Allow","Action":"ecr:*","Resource":"` + repos + `${aws:username}/*"}`
		teamHome = `{"Effect":"Allow","Action":"ecr:*","Resource":"` + repos + `${aws:PrincipalTag/team, 'shared'}/*"}`
		revoked  = allowImages + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-03-01T12:30:00Z"}}}`
		earlier  = allowImages + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-03-01T12:00:00Z"}}}`
		permKeys = `{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"Null":{"aws:TokenIssueTime":"true"}}}`
		window   = `{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-03-01"},"DateLessThan":{"aws:CurrentTime":"2026-03-01T13:00:01Z"}}}`
		over     = `{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01"},"DateLessThan":{"aws:CurrentTime":"2026-03-01T13:00:00Z"}}}`
		notTeam  = everybody + `,{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::` + own + `:user/team","arn:aws:iam::` + own + `:role/ci/deployer"]},"Action":"ecr:*"}`
		byARN    = `{"Effect":"Allow","Principal":"*","Action":"ecr:*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::` + own + `:role/ci/*"}}}`
		accounts = `{"Effect":"Allow","Principal":"*","Action":"ecr:*","Condition":{"StringEquals":{"aws:PrincipalAccount":["` + own + `","` + other + `"]}}}`
		someNot  = allowAll + `,{"Effect":"Deny","Action":"*","NotResource":["` + repos + `team/*","` + repos + `base"]}`
		starTag  = `{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/any":"${*}"}}}`
	)
	const finance = `"aws:SourceArn":"arn:aws:ecr:*:111122223333:finance/*"`
	tests := map[string]example{
		"ARN: an asterisk stays in its part":            {identity: `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnLike":{` + finance + `}}}`, context: "aws:SourceArn=arn:aws:ecr:us-east-2:999999999999:store/abc:111122223333:finance/document.txt", by: byIdentity, statement: none},
		"ARN: in a string it does not":                  {identity: `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{` + finance + `}}}`, context: "aws:SourceArn=arn:aws:ecr:us-east-2:999999999999:store/abc:111122223333:finance/document.txt", allowed: true, by: byIdentity, statement: 0},
		"address: inside, version 4":                    {identity: outside, context: "aws:SourceIp=192.0.2.7", allowed: true, by: byIdentity, statement: 0},
		"address: inside, version 6":                    {identity: outside, context: "aws:SourceIp=2001:db8:1234:5678::9", allowed: true, by: byIdentity, statement: 0},
		"address: outside":                              {identity: outside, context: "aws:SourceIp=203.0.113.7", by: byIdentity, statement: 1},
		"address: unknown is outside":                   {identity: outside, by: byIdentity, statement: 1},
		"transport: not secure":                         {identity: allowImages, resource: insecure, context: "aws:SecureTransport=false", by: byResource, statement: 0},
		"transport: secure":                             {identity: allowImages, resource: insecure, context: "aws:SecureTransport=true", allowed: true, by: byIdentity, statement: 0},
		"all values: each is listed":                    {identity: tagsOnly, action: "ecr:TagResource", context: "aws:TagKeys=team,env", allowed: true, by: byIdentity, statement: 0},
		"all values: one is not":                        {identity: tagsOnly, action: "ecr:TagResource", context: "aws:TagKeys=team,cost", by: byIdentity, statement: none},
		"all values: no key at all is true":             {identity: tagsOnly, action: "ecr:TagResource", allowed: true, by: byIdentity, statement: 0},
		"all values: Null asks for the key":             {identity: tagsSome, action: "ecr:TagResource", by: byIdentity, statement: none},
		"all values: Null, and the key is there":        {identity: tagsSome, action: "ecr:TagResource", context: "aws:TagKeys=env", allowed: true, by: byIdentity, statement: 0},
		"any value: one is enough":                      {identity: noSecret, action: "ecr:TagResource", context: "aws:TagKeys=team,secret-1", by: byIdentity, statement: 1},
		"any value: no key at all is false":             {identity: noSecret, action: "ecr:TagResource", allowed: true, by: byIdentity, statement: 0},
		"negated: a missing key differs":                {identity: ours, by: byIdentity, statement: 1},
		"negated: the key is right":                     {identity: ours, context: "aws:PrincipalOrgID=o-1", allowed: true, by: byIdentity, statement: 0},
		"negated, if it exists: a missing key denies":   {identity: oursTwo, by: byIdentity, statement: 1},
		"negated, if it exists: another value":          {identity: oursTwo, context: "aws:SourceVpce=vpce-2 aws:ViaAWSService=false", by: byIdentity, statement: 1},
		"negated, if it exists: both must hold":         {identity: oursTwo, context: "aws:SourceVpce=vpce-2 aws:ViaAWSService=true", allowed: true, by: byIdentity, statement: 0},
		"if it exists: it does not":                     {identity: typed, allowed: true, by: byIdentity, statement: 0},
		"if it exists: it does, and differs":            {identity: typed, context: "ecr:Kind=large", by: byIdentity, statement: none},
		"if it exists: second factor unknown":           {identity: mfa, by: byIdentity, statement: 1},
		"if it exists: second factor given":             {identity: mfa, context: "aws:MultiFactorAuthPresent=true", allowed: true, by: byIdentity, statement: 0},
		"tags: of principal and resource are equal":     {identity: abac, context: "aws:ResourceTag/Team=team", allowed: true, by: byIdentity, statement: 0},
		"tags: they differ":                             {identity: abac, context: "aws:ResourceTag/Team=blue", by: byIdentity, statement: none},
		"tags: values have a case":                      {identity: abac, context: "aws:ResourceTag/Team=Team", by: byIdentity, statement: none},
		"tags: neither has one":                         {who: "untagged", identity: abac, by: byIdentity, statement: none},
		"tags: the principal has none":                  {who: "untagged", identity: abac, context: "aws:ResourceTag/Team=team", by: byIdentity, statement: none},
		"tags: of the session":                          {who: "session", identity: abac, context: "aws:ResourceTag/Team=team", allowed: true, by: byIdentity, statement: 0},
		"revoked: older sessions":                       {who: "session", identity: revoked, by: byIdentity, statement: 1},
		"revoked: sessions from then on":                {who: "session", identity: earlier, allowed: true, by: byIdentity, statement: 0},
		"revoked: long-term keys have no issue time":    {identity: revoked, allowed: true, by: byIdentity, statement: 0},
		"Null: long-term keys only":                     {identity: permKeys, allowed: true, by: byIdentity, statement: 0},
		"Null: not of a session":                        {who: "session", identity: permKeys, by: byIdentity, statement: none},
		"window: within":                                {identity: window, allowed: true, by: byIdentity, statement: 0},
		"window: over, to the second":                   {identity: over, by: byIdentity, statement: none},
		"all but: the user":                             {resource: notTeam, allowed: true, by: byResource, statement: 0},
		"all but: a session of the role":                {who: "session", resource: notTeam, allowed: true, by: byResource, statement: 0},
		"all but: another account":                      {who: "stranger", identity: allowAll, resource: notTeam, by: byResource, statement: 1},
		"all but: root is not named either":             {who: "root", resource: notTeam, by: byResource, statement: 1},
		"everybody whose ARN is such":                   {who: "session", resource: byARN, allowed: true, by: byResource, statement: 0},
		"everybody whose ARN is such, and his is not":   {resource: byARN, by: byIdentity, statement: none},
		"everybody of an account":                       {who: "stranger", identity: allowAll, resource: accounts, allowed: true, by: byResource, statement: 0},
		"a wildcard in the action":                      {identity: allowImages, action: "ecr:BatchDeleteImage", allowed: true, by: byIdentity, statement: 0},
		"a wildcard stays in its service":               {identity: allowImages, action: "batch:BatchGetImage", by: byIdentity, statement: none},
		"variable: his own name":                        {identity: ownHome, allowed: true, by: byIdentity, statement: 0},
		"variable: another name":                        {identity: ownHome, on: "arn:aws:ecr:us-east-1:" + own + ":repository/bob/app", by: byIdentity, statement: none},
		"variable: a session has no user name":          {who: "session", identity: ownHome, by: byIdentity, statement: none},
		"variable: the tag":                             {identity: teamHome, allowed: true, by: byIdentity, statement: 0},
		"variable: the default":                         {who: "untagged", identity: teamHome, on: "arn:aws:ecr:us-east-1:" + own + ":repository/shared/app", allowed: true, by: byIdentity, statement: 0},
		"variable: no default where there is a tag":     {identity: teamHome, on: "arn:aws:ecr:us-east-1:" + own + ":repository/shared/app", by: byIdentity, statement: none},
		"variable: a literal asterisk":                  {identity: starTag, context: "aws:ResourceTag/any=*", allowed: true, by: byIdentity, statement: 0},
		"variable: a literal asterisk is no wildcard":   {identity: starTag, context: "aws:ResourceTag/any=x", by: byIdentity, statement: none},
		"all resources but: one of them":                {identity: someNot, allowed: true, by: byIdentity, statement: 0},
		"all resources but: not one of them":            {identity: someNot, on: "arn:aws:ecr:us-east-1:" + own + ":repository/bob/app", by: byIdentity, statement: 1},
		"all resources but: calls without any resource": {identity: someNot, action: "ecr:GetAuthorizationToken", on: "*", by: byIdentity, statement: 1},
	}
	for name, e := range tests {
		t.Run(name, e.run)
	}
}
