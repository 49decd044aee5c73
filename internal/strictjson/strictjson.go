// Package strictjson checks JSON texts that meet the network: it refuses what
// parsers disagree about.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a text.
const maxDepth = 64

// ErrSyntax is the error of a text that is no JSON object.
var ErrSyntax = errors.New("not a JSON object")

// A checker walks a text once.
type checker struct {
	b     []byte
	i     int
	known []string
	free  string
}

// Object checks that b is one JSON object in UTF-8 and nothing else, nested at
// most 64 deep, in which no object has a key twice. Keys that differ from one
// of known by case alone are refused, as encoding/json would take them for it;
// but not inside of members with the name free.
func Object(b []byte, known []string, free string) error {
	if !utf8.Valid(b) {
		return ErrSyntax
	}
	c := &checker{b: b, known: known, free: free}
	c.space()
	if c.peek() != '{' {
		return ErrSyntax
	}
	if err := c.value(0, true); err != nil {
		return err
	}
	c.space()
	if c.i != len(b) {
		return ErrSyntax
	}
	return nil
}

func (c *checker) space() {
	for c.i < len(c.b) && (c.b[c.i] == ' ' || c.b[c.i] == '\n' || c.b[c.i] == '\t' || c.b[c.i] == '\r') {
		c.i++
	}
}

// value passes over one value. Known says that the keys of objects in it are
// those of the format and not free ones.
func (c *checker) value(depth int, known bool) error {
	if depth > maxDepth {
		return fmt.Errorf("JSON nested deeper than %d", maxDepth)
	}
	if c.i >= len(c.b) {
		return ErrSyntax
	}
	switch c.b[c.i] {
	case '{':
		return c.object(depth, known)
	case '[':
		return c.array(depth, known)
	case '"':
		_, err := c.string()
		return err
	}
	start := c.i
	for c.i < len(c.b) && strings.IndexByte("+-.0123456789eEtrufalsn", c.b[c.i]) >= 0 {
		c.i++
	}
	if !json.Valid(c.b[start:c.i]) {
		return ErrSyntax
	}
	return nil
}

func (c *checker) object(depth int, known bool) error {
	c.i++
	var few [16]string
	keys := few[:0]
	var many map[string]bool
	for n := 0; ; n++ {
		c.space()
		if c.peek() == '}' && n == 0 {
			c.i++
			return nil
		}
		key, err := c.string()
		if err != nil {
			return err
		}
		switch {
		case many != nil:
			if many[key] {
				return fmt.Errorf("duplicate key %q", key)
			}
			many[key] = true
		default:
			for _, k := range keys {
				if k == key {
					return fmt.Errorf("duplicate key %q", key)
				}
			}
			if keys = append(keys, key); len(keys) == len(few) {
				many = make(map[string]bool, 64)
				for _, k := range keys {
					many[k] = true
				}
			}
		}
		if known {
			if err := c.checkKey(key); err != nil {
				return err
			}
		}
		c.space()
		if c.next() != ':' {
			return ErrSyntax
		}
		c.space()
		if err := c.value(depth+1, known && key != c.free); err != nil {
			return err
		}
		c.space()
		switch c.next() {
		case ',':
		case '}':
			return nil
		default:
			return ErrSyntax
		}
	}
}

func (c *checker) array(depth int, known bool) error {
	c.i++
	for n := 0; ; n++ {
		c.space()
		if c.peek() == ']' && n == 0 {
			c.i++
			return nil
		}
		if err := c.value(depth+1, known); err != nil {
			return err
		}
		c.space()
		switch c.next() {
		case ',':
		case ']':
			return nil
		default:
			return ErrSyntax
		}
	}
}

func (c *checker) peek() byte {
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

func (c *checker) next() byte {
	v := c.peek()
	c.i++
	return v
}

// string passes over a string and returns it, with its escapes undone.
func (c *checker) string() (string, error) {
	if c.peek() != '"' {
		return "", ErrSyntax
	}
	start := c.i
	escaped := false
	for c.i++; c.i < len(c.b); c.i++ {
		switch v := c.b[c.i]; {
		case v == '\\':
			escaped = true
			c.i++
		case v < ' ':
			return "", ErrSyntax
		case v == '"':
			c.i++
			if !escaped {
				return string(c.b[start+1 : c.i-1]), nil
			}
			var s string
			if json.Unmarshal(c.b[start:c.i], &s) != nil {
				return "", ErrSyntax
			}
			return s, nil
		}
	}
	return "", ErrSyntax
}

// checkKey refuses a key that a parser which folds case would take for one of
// the format's.
func (c *checker) checkKey(key string) error {
	for _, k := range c.known {
		if len(k) == len(key) && k != key && strings.EqualFold(k, key) {
			return fmt.Errorf("key %q is not %q", key, k)
		}
	}
	return nil
}
