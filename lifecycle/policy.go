package lifecycle

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Bounds of a policy (Amazon ECR quotas; ECR API, LifecyclePolicyText).
const (
	MaxText      = 30720 // characters
	MaxRules     = 50
	MaxWildcards = 4  // in one pattern
	MinArchived  = 90 // days that an archived image stays before a rule may expire it
)

// A TagStatus says which images a selection looks at.
type TagStatus string

const (
	Tagged   TagStatus = "tagged"
	Untagged TagStatus = "untagged"
	Any      TagStatus = "any"
)

// A StorageClass is the class of storage that an image is in.
type StorageClass string

const (
	Standard StorageClass = "standard"
	Archive  StorageClass = "archive"
)

// A CountType says what CountNumber limits.
type CountType string

const (
	ImageCountMoreThan     CountType = "imageCountMoreThan"
	SinceImagePushed       CountType = "sinceImagePushed"
	SinceImagePulled       CountType = "sinceImagePulled"
	SinceImageTransitioned CountType = "sinceImageTransitioned"
)

// Days is the only unit of a count.
const Days = "days"

// An ActionType is what a rule does with the images that it marks.
type ActionType string

const (
	ActionExpire     ActionType = "expire"
	ActionTransition ActionType = "transition" // to Archive
)

// A Policy is a lifecycle policy. It has no state of its own: a policy that is
// built by hand is as good as a parsed one if Parse accepts its JSON.
type Policy struct {
	Rules []Rule `json:"rules"` // by priority, lowest number first
}

// A Rule is one rule of a policy.
type Rule struct {
	Priority    int       `json:"rulePriority"`
	Description string    `json:"description,omitempty"`
	Selection   Selection `json:"selection"`
	Action      Action    `json:"action"`
}

// A Selection says which images a rule is about and how many, or for how long,
// it keeps them. The entries of a list are AND-ed: an image is selected only
// if for each entry it has a tag that matches.
type Selection struct {
	TagStatus    TagStatus    `json:"tagStatus"`
	TagPatterns  []string     `json:"tagPatternList,omitempty"`
	TagPrefixes  []string     `json:"tagPrefixList,omitempty"`
	StorageClass StorageClass `json:"storageClass,omitempty"` // "" means Standard; Parse fills it in
	CountType    CountType    `json:"countType"`
	CountUnit    string       `json:"countUnit,omitempty"` // Days, or "" with ImageCountMoreThan
	CountNumber  int          `json:"countNumber"`
}

// An Action is what happens to the images that a rule marks.
type Action struct {
	Type               ActionType   `json:"type"`
	TargetStorageClass StorageClass `json:"targetStorageClass,omitempty"` // Archive, or "" with ActionExpire
}

// JSON writes p in its canonical form: rules by priority, members in the order
// of ECR's documentation, no white space, and nothing that is the default.
// Parsed again, it is the same policy.
func (p *Policy) JSON() []byte {
	canonical := Policy{Rules: byPriority(p.Rules)}
	if len(p.Rules) == 0 {
		canonical.Rules = []Rule{}
	}
	for i := range canonical.Rules {
		if s := &canonical.Rules[i].Selection; s.StorageClass == Standard {
			s.StorageClass = ""
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(canonical); err != nil {
		return nil // strings and numbers can be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// byPriority returns a copy of rules in the order in which they are applied.
func byPriority(rules []Rule) []Rule {
	sorted := slices.Clone(rules)
	slices.SortStableFunc(sorted, func(a, b Rule) int { return a.Priority - b.Priority })
	return sorted
}
