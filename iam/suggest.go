package iam

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// managedSize is the most characters, without white space, of a managed policy
// (IAM user guide, "IAM and AWS STS quotas").
const managedSize = 6144

// A Use is something that a principal did, or tried to.
type Use struct {
	Action   string // ecr:PutImage
	Resource string // the ARN that was asked for, or *
	Denied   bool
}

// Suggest writes the identity policy that allows the uses that were allowed
// and nothing else, as indented JSON, and notes on it for people. Actions with
// the same resources share a statement; actions that take no repository, and
// uses of *, are allowed on *. No resource is widened. The same uses give the
// same policy, in whatever order they come. Without a use to allow there is no
// policy, and the document is nil.
func Suggest(uses []Use) (doc []byte, notes []string) {
	s := suggestion{granted: map[string]map[string]bool{}, notes: map[string]bool{}}
	denied := map[string]int{}
	for _, u := range uses {
		if u.Denied {
			denied[fmt.Sprintf("%s on %s", brief(u.Action), brief(u.Resource))]++
			continue
		}
		s.grant(u)
	}
	for what, n := range denied {
		s.note("%s was denied (%s) and is not in the policy.", what, plural(n, "time"))
	}
	if len(s.granted) == 0 {
		s.note("No use was allowed, so there is no policy to suggest.")
		return nil, s.sorted()
	}
	doc = s.document()
	var small bytes.Buffer
	if json.Compact(&small, doc) == nil && small.Len() > managedSize {
		s.note("The policy has %d characters, more than the %d of a managed policy: split it, or use prefixes.", small.Len(), managedSize)
	}
	return doc, s.sorted()
}

// A suggestion is the policy in the making.
type suggestion struct {
	granted map[string]map[string]bool // the resources of each action
	notes   map[string]bool
}

func (s *suggestion) note(format string, args ...any) { s.notes[fmt.Sprintf(format, args...)] = true }

func (s *suggestion) sorted() []string {
	var out []string
	for n := range s.notes {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// literal writes an ARN so that a policy takes it to the letter.
func literal(arn string) string {
	return strings.NewReplacer("$", "${$}", "*", "${*}", "?", "${?}").Replace(arn)
}

// grant adds an allowed use.
func (s *suggestion) grant(u Use) {
	service, name, _ := strings.Cut(u.Action, ":")
	if service == "" || name == "" || strings.ContainsAny(u.Action, "*?") {
		s.note("%s is not an action and was left out.", brief(u.Action))
		return
	}
	action, resource := u.Action, u.Resource
	if strings.EqualFold(action, "ecr:ListImageReferrers") {
		s.note("ecr:ListImageReferrers has no action of its own: the policy allows ecr:BatchGetImage for it.")
		action = "ecr:BatchGetImage"
	}
	if strings.EqualFold(service, "ecr") {
		known := Actions()
		i := slices.IndexFunc(known, func(a Action) bool { return strings.EqualFold(a.Name, action) })
		if i < 0 {
			s.note("%s is not an action of ECR and was left out.", brief(action))
			return
		}
		action = known[i].Name
		if !known[i].Repository {
			resource = "*"
		} else if resource == "*" {
			s.note("%s was used on *, so the policy allows it on every repository.", action)
		}
	}
	switch {
	case resource == "*":
	case !strings.HasPrefix(resource, "arn:") || strings.Count(resource, ":") < 5:
		s.note("%s on %q was left out: the resource is not an ARN.", brief(action), brief(resource))
		return
	default:
		if strings.HasSuffix(resource, ":repository/*") {
			s.note("repository/${*} is the list of all repositories, as %s asks for it, and no repository.", brief(action))
		}
		resource = literal(resource)
	}
	if s.granted[action] == nil {
		s.granted[action] = map[string]bool{}
	}
	s.granted[action][resource] = true
}

// A grant is a statement: actions that have the same resources.
type grant struct {
	Sid      string
	Effect   string
	Action   []string
	Resource []string
}

// document writes the policy.
func (s *suggestion) document() []byte {
	byResources := map[string]*grant{}
	for action, set := range s.granted {
		var resources []string
		for r := range set {
			resources = append(resources, r)
		}
		if set["*"] {
			resources = []string{"*"}
		}
		slices.Sort(resources)
		key := strings.Join(resources, "\n")
		if byResources[key] == nil {
			byResources[key] = &grant{Effect: "Allow", Resource: resources}
		}
		byResources[key].Action = append(byResources[key].Action, action)
	}
	var grants []*grant
	for _, g := range byResources {
		slices.Sort(g.Action)
		grants = append(grants, g)
		s.notePrefixes(g.Resource)
	}
	slices.SortFunc(grants, func(a, b *grant) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), slices.Compare(a.Resource, b.Resource))
	})
	taken := map[string]bool{}
	for _, g := range grants {
		title := g.title()
		g.Sid = title
		for n := 2; taken[g.Sid]; n++ {
			g.Sid = fmt.Sprintf("%s%d", title, n)
		}
		taken[g.Sid] = true
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(struct {
		Version   string
		Statement []*grant
	}{"2012-10-17", grants}); err != nil {
		return nil // texts always encode
	}
	return b.Bytes()
}

// rank puts the statement on * first.
func rank(g *grant) int {
	if g.Resource[0] == "*" {
		return 0
	}
	return 1
}

// title names a statement by what it does, and to what if that is one thing.
func (g *grant) title() string {
	if rank(g) == 0 {
		return "Registry"
	}
	has := func(name string) bool { return slices.Contains(g.Action, name) }
	title := "Use"
	switch {
	case has("ecr:PutImage"):
		title = "Push"
	case has("ecr:BatchGetImage"), has("ecr:GetDownloadUrlForLayer"):
		title = "Pull"
	}
	if len(g.Resource) > 1 {
		return title + "Several"
	}
	_, name, _ := strings.Cut(g.Resource[0], "/")
	up := true
	for _, r := range []byte(name) {
		switch {
		case r >= 'a' && r <= 'z' && up:
			title, up = title+string(r-'a'+'A'), false
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			title, up = title+string(r), false
		default:
			up = true
		}
	}
	return title
}

// notePrefixes tells of repositories that a shorter pattern would take in.
func (s *suggestion) notePrefixes(resources []string) {
	under := map[string]int{}
	for _, r := range resources {
		if i := strings.LastIndexByte(r, '/'); strings.Contains(r[:max(i, 0)], ":repository/") && !strings.Contains(r, "${") {
			under[r[:i+1]]++
		}
	}
	for prefix, n := range under {
		if n > 1 {
			s.note("%s* would be shorter than the %d repositories under it, but allows those that are yet to come.", prefix, n)
		}
	}
}
