package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecruhq/ecru/internal/strictjson"
)

// Texts that ECR gives as they are (ECR behaviour, §2 "Validation errors").
var (
	errUnmappable = errors.New("Could not map policyString into LifecyclePolicy.")
	errNoSchema   = errors.New("instance failed to match exactly one schema (matched 0 out of 2)")
)

// A schema says which members an object must and may have, each sorted.
type schema struct{ required, optional []string }

var (
	policySchema    = schema{required: []string{"rules"}}
	ruleSchema      = schema{required: []string{"action", "rulePriority", "selection"}, optional: []string{"description"}}
	selectionSchema = schema{
		required: []string{"countNumber", "countType", "tagStatus"},
		optional: []string{"countUnit", "storageClass", "tagPatternList", "tagPrefixList"},
	}
	actionSchema = schema{required: []string{"type"}, optional: []string{"targetStorageClass"}}
)

// Parse reads a policy (ECR behaviour, §2 "Grammar"). The error's text is what
// ECR says after "Lifecycle policy validation failure: ", of the first failure
// in the order of the document; failures between rules come last. Members that
// the grammar does not have, nulls and repeated names are refused. The lower
// bound of a text's length is its caller's: it depends on the operation.
func Parse(text []byte) (*Policy, error) {
	if n := utf8.RuneCount(text); n > MaxText {
		return nil, fmt.Errorf("policyString is too long (length: %d, maximum allowed: %d)", n, MaxText)
	}
	if strictjson.Object(text, nil, "") != nil {
		return nil, errUnmappable
	}
	root, err := policySchema.object(bytes.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	list, err := array(root["rules"])
	if err != nil {
		return nil, err
	}
	switch n := len(list); {
	case n == 0:
		return nil, errors.New("array is too short: must have at least 1 elements but instance has 0 elements")
	case n > MaxRules:
		return nil, fmt.Errorf("array is too long: must have at most %d elements but instance has %d elements", MaxRules, n)
	}
	p := &Policy{Rules: make([]Rule, len(list))}
	for i, raw := range list {
		if p.Rules[i], err = parseRule(raw); err != nil {
			return nil, err
		}
	}
	p.Rules = byPriority(p.Rules)
	if err := checkRules(p.Rules); err != nil {
		return nil, err
	}
	return p, nil
}

func parseRule(raw json.RawMessage) (r Rule, err error) {
	m, err := ruleSchema.object(raw)
	if err != nil {
		return r, err
	}
	if r.Priority, err = positive(m["rulePriority"]); err != nil {
		return r, err
	}
	if raw, ok := m["description"]; ok {
		if r.Description, err = text(raw); err != nil {
			return r, err
		}
	}
	if r.Selection, err = parseSelection(m["selection"]); err != nil {
		return r, err
	}
	if r.Action, err = parseAction(m["action"]); err != nil {
		return r, err
	}
	return r, r.check()
}

func parseSelection(raw json.RawMessage) (s Selection, err error) {
	m, err := selectionSchema.object(raw)
	if err != nil {
		return s, err
	}
	if s.TagStatus, err = enum(m["tagStatus"], Any, Tagged, Untagged); err != nil {
		return s, err
	}
	if s.TagPatterns, err = parseTags(m["tagPatternList"]); err != nil {
		return s, err
	}
	if s.TagPrefixes, err = parseTags(m["tagPrefixList"]); err != nil {
		return s, err
	}
	if err := s.checkTags(m["tagPatternList"] != nil, m["tagPrefixList"] != nil); err != nil {
		return s, err
	}
	s.StorageClass = Standard
	if raw, ok := m["storageClass"]; ok {
		if s.StorageClass, err = enum(raw, Archive, Standard); err != nil {
			return s, err
		}
	}
	return s, s.parseCount(m)
}

// parseCount reads what is counted. ECR has one schema for counts and one for
// ages, and says only that neither fits.
func (s *Selection) parseCount(m map[string]json.RawMessage) error {
	count, err := text(m["countType"])
	if err != nil {
		return err
	}
	switch s.CountType = CountType(count); s.CountType {
	case ImageCountMoreThan:
		if m["countUnit"] != nil {
			return errNoSchema
		}
	case SinceImagePushed, SinceImagePulled, SinceImageTransitioned:
		raw := m["countUnit"]
		if raw == nil || typeOf(raw) == "null" {
			return errNoSchema
		}
		if s.CountUnit, err = enum(raw, Days); err != nil {
			return err
		}
	default:
		return errNoSchema
	}
	s.CountNumber, err = positive(m["countNumber"])
	return err
}

func parseAction(raw json.RawMessage) (a Action, err error) {
	m, err := actionSchema.object(raw)
	if err != nil {
		return a, err
	}
	if a.Type, err = enum(m["type"], ActionExpire, ActionTransition); err != nil {
		return a, err
	}
	target, given := m["targetStorageClass"]
	if given != (a.Type == ActionTransition) || given && typeOf(target) == "null" {
		return a, errNoSchema
	}
	if given {
		a.TargetStorageClass, err = enum(target, Archive)
	}
	return a, err
}

// parseTags reads a list of tag prefixes or patterns; raw may be absent.
func parseTags(raw json.RawMessage) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	list, err := array(raw)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, raw := range list {
		tag, err := text(raw)
		if err != nil {
			return nil, err
		}
		if tag == "" {
			return nil, errors.New(`string "" is too short (length: 0, required minimum: 1)`)
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

// object reads the members of an object, which must be what s says.
func (s schema) object(raw json.RawMessage) (map[string]json.RawMessage, error) {
	if typeOf(raw) != "object" {
		return nil, wrongType(raw, "object")
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil, errUnmappable
	}
	var missing, unknown []string
	for _, name := range s.required {
		if _, ok := m[name]; !ok {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("object has missing required properties (%s)", quoted(missing))
	}
	for name := range m {
		if !slices.Contains(s.required, name) && !slices.Contains(s.optional, name) {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		slices.Sort(unknown)
		return nil, fmt.Errorf("object instance has properties which are not allowed by the schema: (%s)", quoted(unknown))
	}
	return m, nil
}

func array(raw json.RawMessage) (list []json.RawMessage, err error) {
	if typeOf(raw) != "array" {
		return nil, wrongType(raw, "array")
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil, errUnmappable
	}
	return list, nil
}

func text(raw json.RawMessage) (s string, err error) {
	if typeOf(raw) != "string" {
		return "", wrongType(raw, "string")
	}
	if json.Unmarshal(raw, &s) != nil {
		return "", errUnmappable
	}
	return s, nil
}

// enum reads a string that must be one of values, which are sorted.
func enum[S ~string](raw json.RawMessage, values ...S) (S, error) {
	s, err := text(raw)
	if err != nil {
		return "", err
	}
	if !slices.Contains(values, S(s)) {
		return "", fmt.Errorf("instance value (%s) not found in enum :(possible values: %s)", s, quoted(values))
	}
	return S(s), nil
}

// positive reads an integer from 1 to what 32 bits hold.
func positive(raw json.RawMessage) (int, error) {
	if typeOf(raw) != "integer" {
		return 0, wrongType(raw, "integer")
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	switch {
	case raw[0] == '-' || err == nil && n < 1:
		return 0, fmt.Errorf("numeric instance is lower than the required minimum (minimum: 1, found: %s)", raw)
	case err != nil:
		return 0, fmt.Errorf("numeric instance is greater than the required maximum (maximum: %d, found: %s)", 1<<31-1, raw)
	}
	return int(n), nil
}

// typeOf tells the primitive type of a valid JSON value, as JSON schema names
// them.
func typeOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	if strings.ContainsAny(string(raw), ".eE") {
		return "number"
	}
	return "integer"
}

func wrongType(raw json.RawMessage, allowed string) error {
	return fmt.Errorf("instance type (%s) does not match any allowed primitive type (allowed: [%q])", typeOf(raw), allowed)
}

// quoted writes a list as ECR's validator does: JSON without spaces.
func quoted[S ~string](list []S) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(list) != nil {
		return "[]" // strings can be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}
