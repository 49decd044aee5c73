package awswire

import (
	"fmt"
	"regexp"
)

// escapes are the \uXXXX of a model's pattern, and whatever else a backslash
// stands before, so that an escaped backslash is not taken for the start of one.
var escapes = regexp.MustCompile(`\\u[0-9A-Fa-f]{4}|\\(?s:.)`)

// compilePattern returns a model's pattern as RE2, matching the whole string.
// Look-around has no such form and is an error.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	re2 := escapes.ReplaceAllStringFunc(pattern, func(e string) string {
		if len(e) == 6 {
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
