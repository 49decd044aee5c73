package awswire

import (
	"fmt"
	"regexp"
)

// escapes are the \uXXXX of a model's pattern, and whatever else a backslash
// stands before, so that an escaped backslash is not taken for the start of one.
// STS writes the planes above the first with five and six digits.
var escapes = regexp.MustCompile(`\\u(?:10000|10FFFF|[0-9A-Fa-f]{4})|\\(?s:.)`)

// IAM's account alias: single hyphens, inside. The same without look-around;
// the length is a constraint of its own as well.
const (
	accountAlias    = `^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`
	accountAliasRE2 = `[a-z0-9](?:-?[a-z0-9]){1,62}`
)

// compilePattern returns a model's pattern as RE2, matching the whole string.
// Look-around has no such form and is an error, but for the account alias.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	re2 := pattern
	if pattern == accountAlias {
		re2 = accountAliasRE2
	}
	re2 = escapes.ReplaceAllStringFunc(re2, func(e string) string {
		if len(e) >= 6 {
			return `\x{` + e[2:] + `}`
		}
		return e
	})
	re, err := regexp.Compile(`\A(?:` + re2 + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return re, nil
}
