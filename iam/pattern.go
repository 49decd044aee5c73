package iam

import (
	"strings"
	"unicode/utf8"
)

// A token is a byte of a pattern, or one of the following.
type token int32

const (
	anyRun token = -1 - iota // *
	anyOne                   // ?
	varRef                   // a policy variable; what it stands for follows the pattern
)

// A pattern is text with wildcards and, from version 2012-10-17 on, variables
// (IAM reference, "Policy elements: Variables and tags").
type pattern struct {
	tokens  []token
	vars    []variable // one for each varRef, in order
	literal string     // the text, if there is neither wildcard nor variable
	plain   bool       // literal is valid
}

type variable struct {
	key      string // in lower case
	fallback string
	hasFall  bool
}

// parsePattern reads a pattern; variables stay text unless they are enabled.
func parsePattern(s string, variables bool) pattern {
	var p pattern
	p.plain, p.literal = true, s
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '*':
			p.tokens, p.plain = append(p.tokens, anyRun), false
		case s[i] == '?':
			p.tokens, p.plain = append(p.tokens, anyOne), false
		case variables && strings.HasPrefix(s[i:], "${") && strings.IndexByte(s[i:], '}') > 0:
			end := i + strings.IndexByte(s[i:], '}')
			p.variable(s[i+2 : end])
			p.plain = false
			i = end
		default:
			p.tokens = append(p.tokens, token(s[i]))
		}
	}
	return p
}

// variable adds what stands between ${ and }.
func (p *pattern) variable(name string) {
	switch name {
	case "*", "?", "$":
		p.tokens = append(p.tokens, token(name[0]))
		return
	}
	key, fallback, has := strings.Cut(name, ",")
	v := variable{key: strings.ToLower(strings.TrimSpace(key))}
	if has {
		v.fallback, v.hasFall = strings.Trim(strings.TrimSpace(fallback), "'"), true
	}
	p.tokens, p.vars = append(p.tokens, varRef), append(p.vars, v)
}

// expand returns the tokens with the variables' values in them, literal; ok is
// false if one has no value.
func (p *pattern) expand(r *Request) (tokens []token, ok bool) {
	if len(p.vars) == 0 {
		return p.tokens, true
	}
	n := 0
	for _, t := range p.tokens {
		if t != varRef {
			tokens = append(tokens, t)
			continue
		}
		v := p.vars[n]
		n++
		values := r.values(v.key)
		value := v.fallback
		if len(values) == 1 {
			value = values[0]
		} else if !v.hasFall {
			return nil, false
		}
		for i := range len(value) {
			tokens = append(tokens, token(value[i]))
		}
	}
	return tokens, true
}

// matches reports whether p stands for the whole of s.
func (p *pattern) matches(r *Request, s string, fold bool) bool {
	if p.plain {
		return p.literal == s || fold && equalFold(p.literal, s)
	}
	tokens, ok := p.expand(r)
	return ok && glob(tokens, s, fold)
}

// glob matches tokens without variables against s; fold ignores the case of
// ASCII letters. Its time is at most len(tokens)·len(s).
func glob(tokens []token, s string, fold bool) bool {
	star, mark := -1, 0
	t, i := 0, 0
	for i < len(s) {
		switch {
		case t < len(tokens) && tokens[t] == anyRun:
			star, mark = t, i
			t++
		case t < len(tokens) && tokens[t] == anyOne:
			_, size := utf8.DecodeRuneInString(s[i:])
			t, i = t+1, i+size
		case t < len(tokens) && same(tokens[t], s[i], fold):
			t++
			i++
		case star >= 0:
			mark++
			t, i = star+1, mark
		default:
			return false
		}
	}
	for t < len(tokens) && tokens[t] == anyRun {
		t++
	}
	return t == len(tokens)
}

// equalFold compares without the case of ASCII letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if !same(token(a[i]), b[i], true) {
			return false
		}
	}
	return true
}

func same(t token, c byte, fold bool) bool {
	if t == token(c) {
		return true
	}
	return fold && t|0x20 == token(c|0x20) && c|0x20 >= 'a' && c|0x20 <= 'z' && t > 0
}

// matchesARN matches a resource name: each of the first five segments by
// itself, and the rest as one, in which wildcards pass over : and /. A pattern
// with fewer segments, such as *, is matched as plain text. ok is false if a
// variable has no value.
func (p *pattern) matchesARN(r *Request, arn string) (matches, ok bool) {
	if p.plain {
		return p.literal == arn, true
	}
	tokens, ok := p.expand(r)
	return ok && globARN(tokens, arn), ok
}

func globARN(tokens []token, arn string) bool {
	if n := colons(tokens); n < 5 {
		return glob(tokens, arn, false)
	}
	for range 5 {
		i := indexColon(tokens)
		segment, rest, found := strings.Cut(arn, ":")
		if !found || !glob(tokens[:i], segment, false) {
			return false
		}
		tokens, arn = tokens[i+1:], rest
	}
	return glob(tokens, arn, false)
}

func colons(tokens []token) (n int) {
	for _, t := range tokens {
		if t == ':' {
			n++
		}
	}
	return n
}

func indexColon(tokens []token) int {
	for i, t := range tokens {
		if t == ':' {
			return i
		}
	}
	return -1
}
