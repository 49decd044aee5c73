package iam_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ecruhq/ecru/iam"
)

// A question is a request whose policies are still text: the evaluator under
// test compiles them, and the reference reads them as they stand. The reference
// is slow and follows the IAM user guide sentence by sentence; it takes only
// documents that Parse has accepted.
type question struct {
	request           iam.Request
	principal         iam.Principal
	identity, session []string
	boundary          string // "" = none, as for the next two
	resource          string
	registry          string
	trust             bool // may the principal assume the role?
}

// A voice is what policies that stand side by side say about a question.
type voice struct {
	denies  bool
	self    bool // allows the principal by its own name, or has no Principal
	someone bool // allows it as a session of its role, or as anybody
	account bool // allows its account
}

func (v voice) allows() bool { return v.self || v.someone }

// allowed is the answer ("Policy evaluation logic", "Determining whether a
// request is allowed or denied within an account", "Cross-account policy
// evaluation logic").
func (q *question) allowed() bool {
	p := &q.principal
	resource := q.hear(q.resource, q.registry)
	if q.trust {
		if resource.denies || !resource.allows() && !resource.account {
			return false
		}
		if p.Federated != "" {
			return true
		}
	}
	identity, boundary, session := q.hear(q.identity...), q.hear(q.boundary), q.hear(q.session...)
	if identity.denies || boundary.denies || session.denies || resource.denies {
		return false
	}
	inBoundary := q.boundary == "" || boundary.allows()
	inSession := len(q.session) == 0 || session.allows()
	byItself := p.Root || identity.allows() && inBoundary && inSession
	switch {
	case p.Account != q.request.Account:
		return byItself && (resource.allows() || resource.account)
	case byItself:
		return true
	case resource.self && p.RoleARN != "":
		return true // the session itself is named: nothing implicit limits it
	case resource.self:
		return inSession
	}
	return resource.someone && inBoundary && inSession
}

// hear reads the documents that are not "".
func (q *question) hear(docs ...string) (v voice) {
	for _, doc := range docs {
		if doc == "" {
			continue
		}
		version, statements := reading(doc)
		for _, s := range statements {
			self, someone, account := q.applies(s, version == "2012-10-17")
			if s["Effect"] == "Deny" {
				v.denies = v.denies || self || someone || account
				continue
			}
			v.self, v.someone, v.account = v.self || self, v.someone || someone, v.account || account
		}
	}
	return v
}

// reading is a document as JSON has it; numbers keep their text.
func reading(doc string) (version string, statements []map[string]any) {
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(doc))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return "", nil
	}
	version, _ = m["Version"].(string)
	list, ok := m["Statement"].([]any)
	if !ok {
		list = []any{m["Statement"]}
	}
	for _, s := range list {
		if s, ok := s.(map[string]any); ok {
			statements = append(statements, s)
		}
	}
	return version, statements
}

// texts is a value, or a list of values, as text.
func texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case json.Number:
		return []string{v.String()}
	case bool:
		return []string{strconv.FormatBool(v)}
	case []any:
		for _, one := range v {
			out = append(out, texts(one)...)
		}
	}
	return out
}

// applies tells whether a statement is about the question, and as whom it names
// the principal.
func (q *question) applies(s map[string]any, variables bool) (self, someone, account bool) {
	if !q.actionFits(s) || !q.resourceFits(s, variables) {
		return false, false, false
	}
	operators, _ := s["Condition"].(map[string]any)
	for operator, keys := range operators {
		for key, values := range keys.(map[string]any) {
			if !q.holds(operator, key, texts(values), variables) {
				return false, false, false
			}
		}
	}
	if p, ok := s["Principal"]; ok {
		return q.named(p)
	}
	if p, ok := s["NotPrincipal"]; ok {
		return false, !q.excepted(p), false
	}
	return true, false, false
}

func (q *question) actionFits(s map[string]any) bool {
	fits := func(pattern string) bool {
		symbols, _ := q.symbols(strings.ToLower(pattern), false)
		return like(symbols, strings.ToLower(q.request.Action))
	}
	if not, ok := s["NotAction"]; ok {
		return !slices.ContainsFunc(texts(not), fits)
	}
	return slices.ContainsFunc(texts(s["Action"]), fits)
}

// resourceFits: a variable without a value is no resource. In a NotResource
// element it voids the statement; but what is denied stays so.
func (q *question) resourceFits(s map[string]any, variables bool) bool {
	void := false
	fits := func(pattern string) bool {
		symbols, ok := q.symbols(pattern, variables)
		void = void || !ok
		return ok && likeARN(symbols, q.request.Resource)
	}
	if not, ok := s["NotResource"]; ok {
		return !slices.ContainsFunc(texts(not), fits) && (!void || s["Effect"] == "Deny")
	}
	if resource, ok := s["Resource"]; ok {
		return slices.ContainsFunc(texts(resource), fits)
	}
	return true
}

var rootARN = regexp.MustCompile(`^arn:[^:]*:(?:iam|sts):[^:]*:([0-9]{12}):root$`)

// accountOf is the account that an AWS principal means as a whole, or "".
func accountOf(aws string) string {
	if m := rootARN.FindStringSubmatch(aws); m != nil {
		return m[1]
	}
	if len(aws) == 12 && strings.Trim(aws, "0123456789") == "" {
		return aws
	}
	return ""
}

// named reads a Principal element ("AWS JSON policy elements: Principal").
func (q *question) named(element any) (self, someone, account bool) {
	p := &q.principal
	kinds, _ := element.(map[string]any)
	if p.Federated != "" {
		return slices.Contains(texts(kinds["Federated"]), p.Federated), false, false
	}
	if element == "*" {
		return false, true, false
	}
	for _, aws := range texts(kinds["AWS"]) {
		whole := accountOf(aws) == p.Account
		self = self || aws == p.ARN || whole && p.Root
		account = account || whole
		someone = someone || aws == "*" || p.RoleARN != "" && aws == p.RoleARN
	}
	return self, someone, account
}

// excepted tells whether a NotPrincipal element leaves the principal alone
// ("AWS JSON policy elements: NotPrincipal"). An account, or a role, that stands
// beside one of its own users or sessions only prepares for that name: the
// user's manual has Bob listed with his account, and everyone but Bob denied.
func (q *question) excepted(element any) bool {
	p := &q.principal
	self, someone, account := q.named(element)
	if self || element == "*" || p.Federated != "" {
		return self || someone
	}
	kinds, _ := element.(map[string]any)
	byRole, members, sessions := false, false, false
	for _, aws := range texts(kinds["AWS"]) {
		switch {
		case aws == "*":
			return true
		case accountOf(aws) != "":
		case p.RoleARN != "" && aws == p.RoleARN:
			byRole, members = true, true
		case strings.Contains(aws, ":"+p.Account+":"):
			members = true
			session := p.ARN[:strings.LastIndexByte(p.ARN, '/')+1]
			sessions = sessions || p.RoleARN != "" && strings.HasPrefix(aws, session)
		}
	}
	return byRole && !sessions || account && !members
}

// value gives the values of a condition key ("AWS global condition context
// keys"), nil if the request has none.
func (q *question) value(key string) []string {
	p, r := &q.principal, &q.request
	user := !p.Root && p.RoleARN == ""
	for _, known := range []struct {
		key, value string
		present    bool
	}{
		{"aws:PrincipalArn", p.ARN, p.RoleARN == ""},
		{"aws:PrincipalArn", p.RoleARN, p.RoleARN != ""},
		{"aws:PrincipalAccount", p.Account, true},
		{"aws:PrincipalType", "Account", p.Root},
		{"aws:PrincipalType", "AssumedRole", !p.Root && p.RoleARN != ""},
		{"aws:PrincipalType", "User", user},
		{"aws:userid", p.ID, p.ID != ""},
		{"aws:username", p.Name, user && p.Name != ""},
		{"aws:TokenIssueTime", p.Issued.UTC().Format(time.RFC3339), !p.Issued.IsZero()},
		{"aws:SourceIdentity", p.SourceIdentity, p.SourceIdentity != ""},
		{"aws:FederatedProvider", p.Federated, p.Federated != ""},
		{"aws:CurrentTime", r.Time.UTC().Format(time.RFC3339), true},
		{"aws:EpochTime", strconv.FormatInt(r.Time.Unix(), 10), true},
	} {
		if strings.EqualFold(key, known.key) && known.present {
			return []string{known.value}
		}
	}
	for tag, value := range p.Tags {
		if strings.EqualFold(key, "aws:PrincipalTag/"+tag) {
			return []string{value}
		}
	}
	if r.Context == nil {
		return nil
	}
	return r.Context(strings.ToLower(key))
}

// A symbol is a character of a pattern; wild ones are * and ?.
type symbol struct {
	char rune
	wild bool
}

var variable = regexp.MustCompile(`^\$\{([^}]*)\}`)

// symbols reads a pattern, with the values of variables in it; ok is false if
// one has no value ("IAM policy elements: Variables and tags").
func (q *question) symbols(pattern string, variables bool) (out []symbol, ok bool) {
	literally := func(s string) {
		for _, c := range s {
			out = append(out, symbol{c, false})
		}
	}
	for pattern != "" {
		if m := variable.FindStringSubmatch(pattern); m != nil && variables {
			pattern = pattern[len(m[0]):]
			if m[1] == "*" || m[1] == "?" || m[1] == "$" {
				literally(m[1])
				continue
			}
			key, fallback, has := strings.Cut(m[1], ",")
			values := q.value(strings.TrimSpace(key))
			switch {
			case len(values) == 1:
				literally(values[0])
			case has:
				literally(strings.Trim(strings.TrimSpace(fallback), "'"))
			default:
				return nil, false
			}
			continue
		}
		c, n := utf8.DecodeRuneInString(pattern)
		out, pattern = append(out, symbol{c, c == '*' || c == '?'}), pattern[n:]
	}
	return out, true
}

// like follows every way through the pattern at once: at[i] means that the
// symbols so far can stand for the first i characters.
func like(pattern []symbol, s string) bool {
	text := []rune(s)
	at := make([]bool, len(text)+1)
	at[0] = true
	for _, p := range pattern {
		next := make([]bool, len(text)+1)
		for i := range at {
			switch {
			case p.wild && p.char == '*':
				next[i] = at[i] || i > 0 && next[i-1]
			case i > 0:
				next[i] = at[i-1] && (p.wild || p.char == text[i-1])
			}
		}
		at = next
	}
	return at[len(text)]
}

// likeARN compares the six parts of an ARN each for itself; a pattern that has
// fewer is plain text.
func likeARN(pattern []symbol, arn string) bool {
	parts := [][]symbol{nil}
	for _, p := range pattern {
		if p.char == ':' && len(parts) < 6 {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], p)
	}
	if len(parts) < 6 {
		return like(pattern, arn)
	}
	of := strings.SplitN(arn, ":", 6)
	for i := range parts {
		if len(of) < 6 || !like(parts[i], of[i]) {
			return false
		}
	}
	return true
}

// The reference itself, where its answer is plain to see.
func TestReference(t *testing.T) {
	bob := iam.Principal{ARN: "arn:aws:iam::" + own + ":user/bob", Account: own, Name: "bob"}
	const pull = `"Action":"ecr:BatchGetImage","Resource":"*"`
	tests := []struct {
		statement string
		want      bool
	}{
		{`{"Effect":"Allow",` + pull + `}`, true},
		{`{"Effect":"Deny",` + pull + `}`, false},
		{`{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*"}`, false},
		{`{"Effect":"Allow",` + pull + `,"Condition":{"StringEquals":{"aws:username":["ann","bob"]}}}`, true},
		{`{"Effect":"Allow",` + pull + `,"Condition":{"StringEquals":{"aws:username":"ann"}}}`, false},
		{`{"Effect":"Allow",` + pull + `,"Condition":{"StringLike":{"aws:username":"${none, 'b*'}"}}}`, false},
		{`{"Effect":"Allow",` + pull + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/*"}}}`, true},
		{`{"Effect":"Allow",` + pull + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:*:iam:*:*:user/x*"}}}`, false},
	}
	for _, tt := range tests {
		q := question{principal: bob, identity: []string{`{"Version":"2012-10-17","Statement":` + tt.statement + `}`},
			request: iam.Request{Action: "ecr:BatchGetImage", Resource: repo, Account: own}}
		if got := q.allowed(); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.statement, got, tt.want)
		}
	}
}
