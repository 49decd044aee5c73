package lifecycle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkTags checks the lists against the tag status; patterns and prefixes
// say which of the lists are there.
func (s *Selection) checkTags(patterns, prefixes bool) error {
	switch {
	case s.TagStatus != Tagged && (patterns || prefixes):
		return fmt.Errorf("Must not specify tagPrefixList or tagPatternList when tagStatus=%s.", strings.ToUpper(string(s.TagStatus)))
	case s.TagStatus != Tagged:
		return nil
	case patterns && prefixes:
		return errors.New("Must not specify both tagPrefixList and tagPatternList.")
	case len(s.TagPatterns) == 0 && len(s.TagPrefixes) == 0:
		return errors.New("Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.")
	}
	for _, pattern := range s.TagPatterns {
		if n := strings.Count(pattern, "*"); n > MaxWildcards {
			return fmt.Errorf("Tag pattern '%s' has %d wildcards, the maximum is %d.", pattern, n, MaxWildcards)
		}
	}
	return nil
}

// check checks what the members of a rule must be together (ECR behaviour, §2
// "Combinations").
func (r *Rule) check() error {
	s := &r.Selection
	switch {
	case s.CountType == SinceImageTransitioned && s.StorageClass != Archive:
		return errors.New("Must specify storageClass=ARCHIVE when countType=sinceImageTransitioned.")
	case s.CountType != SinceImageTransitioned && s.StorageClass == Archive:
		return fmt.Errorf("Must not specify storageClass=ARCHIVE when countType=%s.", s.CountType)
	case s.CountType == SinceImageTransitioned && r.Action.Type != ActionExpire:
		return errors.New("Must specify action type=EXPIRE when countType=sinceImageTransitioned.")
	case s.CountType == SinceImagePulled && r.Action.Type != ActionTransition:
		return errors.New("Must specify action type=TRANSITION when countType=sinceImagePulled.")
	case s.CountType == SinceImageTransitioned && s.CountNumber < MinArchived:
		return fmt.Errorf("Images must be archived for at least %d days before they can expire (minimum: %[1]d, found: %d)", MinArchived, s.CountNumber)
	}
	return nil
}

// checkRules checks the rules, in order of priority, against each other (ECR
// behaviour, §2 "Cross-rule").
func checkRules(rules []Rule) error {
	for i := 1; i < len(rules); i++ {
		if rules[i].Priority == rules[i-1].Priority {
			return fmt.Errorf("Rule priority must be unique, rulePriority %d is used more than once", rules[i].Priority)
		}
	}
	untagged := map[StorageClass]bool{}
	catchAll := map[StorageClass]bool{}
	prefixes := map[string]bool{}
	for i := range rules {
		s := &rules[i].Selection
		if catchAll[s.StorageClass] {
			return errors.New("Rule for tagStatus=ANY must have the lowest priority per storage class")
		}
		switch {
		case s.TagStatus == Any:
			catchAll[s.StorageClass] = true
		case s.TagStatus == Untagged && untagged[s.StorageClass]:
			return errors.New("Only one rule can select Untagged images per storage class")
		case s.TagStatus == Untagged:
			untagged[s.StorageClass] = true
		case len(s.TagPrefixes) > 0:
			set := slices.Clone(s.TagPrefixes)
			slices.Sort(set)
			list := quoted(slices.Compact(set))
			key := string(s.StorageClass) + list
			if prefixes[key] {
				return fmt.Errorf("Only one rule can select tagPrefixList %s per storage class", list)
			}
			prefixes[key] = true
		}
	}
	return nil
}
