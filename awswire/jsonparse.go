package awswire

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of one request, besides the size of its body.
const (
	MaxDepth  = 32      // how deep containers nest
	MaxValues = 1 << 16 // how many values there are, unknown members' included
)

// parseJSON reads a request's body (RFC 8259) into a tree. Text without
// escapes stays part of body, which must not change while the tree is used.
func parseJSON(body []byte) (value, error) {
	p := parser{in: body}
	p.space()
	if p.pos == len(p.in) {
		return value{kind: object}, nil
	}
	v, err := p.value(0)
	if err != nil {
		return value{}, err
	}
	p.space()
	if p.pos != len(p.in) {
		return value{}, p.errorf("more than one document")
	}
	return v, nil
}

type parser struct {
	in    []byte
	pos   int
	count int
	stack []value // kids of the containers that are open
}

func (p *parser) errorf(format string, args ...any) error {
	return &DecodeError{Msg: fmt.Sprintf("malformed JSON at byte %d: ", p.pos) + fmt.Sprintf(format, args...)}
}

func (p *parser) space() {
	for p.pos < len(p.in) {
		switch p.in[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.in) {
		return p.in[p.pos]
	}
	return 0
}

func (p *parser) value(depth int) (value, error) {
	if p.count++; p.count > MaxValues {
		return value{}, p.errorf("more than %d values", MaxValues)
	}
	switch c := p.peek(); {
	case c == '"':
		raw, err := p.text()
		return value{kind: text, raw: raw}, err
	case c == '{' || c == '[':
		if depth == MaxDepth {
			return value{}, p.errorf("nested more than %d deep", MaxDepth)
		}
		if c == '{' {
			return p.object(depth + 1)
		}
		return p.list(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		raw, err := p.number()
		return value{kind: number, raw: raw}, err
	}
	for _, w := range [...]struct {
		word string
		v    value
	}{{"null", value{}}, {"true", value{kind: boolean, truth: true}}, {"false", value{kind: boolean}}} {
		if bytes.HasPrefix(p.in[p.pos:], []byte(w.word)) {
			p.pos += len(w.word)
			return w.v, nil
		}
	}
	return value{}, p.errorf("a value is expected")
}

// close takes the kids since base off the stack.
func (p *parser) close(base int) []value {
	var kids []value
	if n := len(p.stack) - base; n > 0 {
		kids = make([]value, n)
		copy(kids, p.stack[base:])
		clear(p.stack[base:])
		p.stack = p.stack[:base]
	}
	return kids
}

func (p *parser) list(depth int) (value, error) {
	p.pos++
	base := len(p.stack)
	p.space()
	if p.peek() == ']' {
		p.pos++
		return value{kind: list}, nil
	}
	for {
		p.space()
		v, err := p.value(depth)
		if err != nil {
			return value{}, err
		}
		p.stack = append(p.stack, v)
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return value{kind: list, kids: p.close(base)}, nil
		default:
			return value{}, p.errorf("',' or ']' is expected")
		}
	}
}

func (p *parser) object(depth int) (value, error) {
	p.pos++
	base := len(p.stack)
	p.space()
	if p.peek() == '}' {
		p.pos++
		return value{kind: object}, nil
	}
	for {
		p.space()
		if p.peek() != '"' {
			return value{}, p.errorf("a member's name is expected")
		}
		key, err := p.text()
		if err != nil {
			return value{}, err
		}
		p.space()
		if p.peek() != ':' {
			return value{}, p.errorf("':' is expected")
		}
		p.pos++
		p.space()
		v, err := p.value(depth)
		if err != nil {
			return value{}, err
		}
		v.key = key
		p.stack = append(p.stack, v)
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			kids := p.close(base)
			if twice(kids) {
				return value{}, p.errorf("a name stands twice in one object")
			}
			return value{kind: object, kids: kids}, nil
		default:
			return value{}, p.errorf("',' or '}' is expected")
		}
	}
}

// twice reports whether two members have the same name.
func twice(members []value) bool {
	if len(members) <= 16 {
		for i := range members {
			for j := range i {
				if bytes.Equal(members[i].key, members[j].key) {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[string]struct{}, len(members))
	for i := range members {
		seen[string(members[i].key)] = struct{}{}
	}
	return len(seen) != len(members)
}

// number reads a number's literal.
func (p *parser) number() ([]byte, error) {
	start := p.pos
	if p.peek() == '-' {
		p.pos++
	}
	switch {
	case p.peek() == '0':
		p.pos++
	case !p.digits():
		return nil, p.errorf("a digit is expected")
	}
	if p.peek() == '.' {
		p.pos++
		if !p.digits() {
			return nil, p.errorf("a digit is expected")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if !p.digits() {
			return nil, p.errorf("a digit is expected")
		}
	}
	return p.in[start:p.pos], nil
}

func (p *parser) digits() bool {
	start := p.pos
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos > start
}

// text reads a string. It is part of the input unless it has escapes.
func (p *parser) text() ([]byte, error) {
	p.pos++
	start := p.pos
	ascii := true
	for p.pos < len(p.in) {
		switch c := p.in[p.pos]; {
		case c == '"':
			raw := p.in[start:p.pos]
			if !ascii && !utf8.Valid(raw) {
				return nil, p.errorf("invalid UTF-8")
			}
			p.pos++
			return raw, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return nil, p.errorf("a control character in a string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
		p.pos++
	}
	return nil, p.errorf("a string does not end")
}

// escaped reads the rest of a string that started at start, from its first
// backslash on.
func (p *parser) escaped(start int) ([]byte, error) {
	out := append(make([]byte, 0, 2*(p.pos-start)+64), p.in[start:p.pos]...)
	for p.pos < len(p.in) {
		c := p.in[p.pos]
		p.pos++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return nil, p.errorf("invalid UTF-8")
			}
			return out, nil
		case c < ' ':
			return nil, p.errorf("a control character in a string")
		case c != '\\':
			out = append(out, c)
			continue
		}
		c = p.peek()
		p.pos++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, err := p.rune()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
		default:
			p.pos--
			return nil, p.errorf("an unknown escape")
		}
	}
	return nil, p.errorf("a string does not end")
}

// rune reads what stands after \u, with the second half of a surrogate pair.
func (p *parser) rune() (rune, error) {
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !bytes.HasPrefix(p.in[p.pos:], []byte(`\u`)) {
		return 0, p.errorf("an unpaired surrogate")
	}
	p.pos += 2
	low, err := p.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, p.errorf("an unpaired surrogate")
	}
	return r, nil
}

func (p *parser) hex4() (rune, error) {
	if len(p.in)-p.pos < 4 {
		return 0, p.errorf("four hexadecimal digits are expected")
	}
	n, err := strconv.ParseUint(string(p.in[p.pos:p.pos+4]), 16, 16)
	if err != nil {
		return 0, p.errorf("four hexadecimal digits are expected")
	}
	p.pos += 4
	return rune(n), nil
}
