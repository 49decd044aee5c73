package awswire

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// DecodeQuery decodes the parameters of a request of the query protocol, from
// its body or URL, into a new value of the operation's input, in, which must be
// a pointer to it, and validates it by the model. Action, Version and other
// parameters that the model does not know are ignored. The error is a
// *DecodeError or a *ConstraintError, and then in holds nothing of use. Of
// several errors the first by name is returned. Nothing of form is kept.
func (o *Operation) DecodeQuery(form url.Values, in any) error {
	dst, err := o.in.target(in)
	if err != nil {
		return err
	}
	v, err := parseQuery(form, o.in)
	if err != nil {
		return err
	}
	return o.in.decode(&v, dst)
}

// parseQuery makes a tree of parameters. They have no types: unlike JSON, it
// takes the plan to tell a list from a structure and a number from a string.
func parseQuery(form url.Values, n *node) (value, error) {
	q := queryParser{form: form, names: make([]string, 0, len(form))}
	count, size := 0, 0
	for name, values := range form {
		if count += len(values); count > MaxValues {
			return value{}, &DecodeError{Msg: fmt.Sprintf("more than %d parameters", MaxValues)}
		}
		if len(values) > 0 {
			q.names = append(q.names, name)
			size += len(values[0])
		}
	}
	slices.SortFunc(q.names, compareNames)
	q.text = make([]byte, 0, size)
	kids, err := q.members(n, q.names, 0, 1)
	return value{kind: object, kids: kids}, err
}

// A queryParser reads parameters in the order of their names, in which those
// that start with the same segments are neighbours.
type queryParser struct {
	form  url.Values
	names []string
	text  []byte // of all values that the tree holds; never grows
}

// compareNames is the order of the bytes, but '.' comes first: a name is
// followed by those that go on after it with a dot.
func compareNames(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '.':
			return -1
		case y == '.':
			return 1
		default:
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// group returns the segment that starts at byte off of the first name, and how
// many names have it there.
func group(names []string, off int) (segment string, n int) {
	segment, _, _ = strings.Cut(names[0][off:], ".")
	end := off + len(segment)
	for n = 1; n < len(names); n++ {
		s := names[n]
		if len(s) < end || s[off:end] != segment || len(s) > end && s[end] != '.' {
			break
		}
	}
	return segment, n
}

// members reads a structure, whose members' names start at byte off of names.
func (q *queryParser) members(n *node, names []string, off, depth int) ([]value, error) {
	kids := make([]value, 0, min(len(names), len(n.members)))
	for len(names) > 0 {
		segment, count := group(names, off)
		if m := n.byName[segment]; m != nil {
			v, err := q.value(m.node, names[:count], off+len(segment), depth)
			if err != nil {
				return nil, at(m.name, err)
			}
			v.key = m.key
			kids = append(kids, v)
		}
		names = names[count:]
	}
	return kids, nil
}

// value reads what names say about one value: the first may be just its name,
// which ends at byte end; the others go on with a dot.
func (q *queryParser) value(n *node, names []string, end, depth int) (value, error) {
	bare := len(names[0]) == end
	inner := names
	if bare {
		inner = names[1:]
	}
	switch n.kind {
	case kindStruct, kindList, kindMap:
	default:
		if !bare || len(inner) > 0 {
			return value{}, mistyped("a single value, without parts")
		}
		return q.scalar(n, names[0])
	}
	if bare && len(inner) > 0 {
		return value{}, &DecodeError{Msg: "has both a value and parts"}
	}
	if bare {
		v, err := q.string(names[0])
		if err == nil && len(v.raw) == 0 && n.kind != kindStruct {
			v.kind = list // how an empty list is sent
			if n.kind == kindMap {
				v.kind = object
			}
		}
		return v, err
	}
	if depth == MaxDepth {
		return value{}, &DecodeError{Msg: fmt.Sprintf("nested more than %d deep", MaxDepth)}
	}
	off := end + 1
	if n.kind == kindStruct {
		kids, err := q.members(n, inner, off, depth+1)
		return value{kind: object, kids: kids}, err
	}
	if !n.flat {
		segment, count := group(inner, off)
		if off += len(segment) + 1; segment != n.item.name || count != len(inner) || len(inner[0]) < off {
			return value{}, mistyped("a list, as in ." + n.item.name + ".1")
		}
	}
	if n.kind == kindMap {
		return q.entries(n, inner, off, depth+1)
	}
	return q.items(n, inner, off, depth+1)
}

// items reads a list, whose indexes start at byte off of names.
func (q *queryParser) items(n *node, names []string, off, depth int) (value, error) {
	kids := make([]value, countGroups(names, off))
	for len(names) > 0 {
		segment, count := group(names, off)
		i, err := index(segment, len(kids))
		if err != nil {
			return value{}, err
		}
		if kids[i], err = q.value(n.elem, names[:count], off+len(segment), depth); err != nil {
			return value{}, atItem(i, err)
		}
		names = names[count:]
	}
	return value{kind: list, kids: kids}, nil
}

// entries reads a map, whose indexes start at byte off of names.
func (q *queryParser) entries(n *node, names []string, off, depth int) (value, error) {
	kids := make([]value, countGroups(names, off))
	for len(names) > 0 {
		segment, count := group(names, off)
		i, err := index(segment, len(kids))
		if err != nil {
			return value{}, err
		}
		if kids[i], err = q.entry(n, names[:count], off+len(segment), depth); err != nil {
			return value{}, err
		}
		names = names[count:]
	}
	if twice(kids) {
		return value{}, &DecodeError{Msg: "a key stands twice in one map"}
	}
	return value{kind: object, kids: kids}, nil
}

// entry reads a key and its value, which is null if there is none.
func (q *queryParser) entry(n *node, names []string, end, depth int) (v value, err error) {
	if len(names[0]) == end {
		return v, mistyped("an entry with a " + n.k.name + " and a " + n.v.name)
	}
	var key value
	for len(names) > 0 {
		segment, count := group(names, end+1)
		to := end + 1 + len(segment)
		switch segment {
		case n.k.name:
			key, err = q.value(n.key, names[:count], to, depth)
		case n.v.name:
			v, err = q.value(n.elem, names[:count], to, depth)
		}
		if err != nil {
			return v, err
		}
		names = names[count:]
	}
	if key.kind != text {
		return v, &DecodeError{Msg: "an entry has no " + n.k.name}
	}
	v.key = key.raw
	return v, nil
}

// countGroups returns how many different segments start at byte off.
func countGroups(names []string, off int) int {
	n := 0
	for len(names) > 0 {
		_, count := group(names, off)
		names = names[count:]
		n++
	}
	return n
}

// index returns the position of one of n items that are numbered from 1. As
// the items have different numbers, all of them are there if none is above n.
func index(segment string, n int) (int, error) {
	i := 0
	for _, c := range []byte(segment) {
		if c < '0' || c > '9' || i == 0 && c == '0' || i > n {
			i = 0
			break
		}
		i = 10*i + int(c-'0')
	}
	if i == 0 || i > n {
		return 0, mistyped("a list that is numbered from 1, without gaps")
	}
	return i - 1, nil
}

// scalar reads a value that has no parts. What has not the form of its type
// stays a string, which validation refuses.
func (q *queryParser) scalar(n *node, name string) (value, error) {
	v, err := q.string(name)
	if err != nil {
		return v, err
	}
	switch n.kind {
	case kindBool:
		switch string(v.raw) {
		case "true", "false":
			v = value{kind: boolean, truth: len(v.raw) == 4}
		}
	case kindInt, kindFloat:
		p := parser{in: v.raw}
		if _, err := p.number(); err == nil && p.pos == len(v.raw) {
			v.kind = number
		}
	case kindTime:
		t, err := time.Parse(time.RFC3339, string(v.raw))
		if err != nil {
			return v, mistyped("a timestamp as in 2006-01-02T15:04:05Z")
		}
		if v.raw, err = appendTime(nil, t); err != nil {
			return v, mistyped("a timestamp before the year 10000")
		}
		v.kind = number
	}
	return v, nil
}

// string reads a parameter's value, which must be there once.
func (q *queryParser) string(name string) (value, error) {
	values := q.form[name]
	if len(values) != 1 {
		return value{}, &DecodeError{Msg: "is there more than once"}
	}
	if !utf8.ValidString(values[0]) {
		return value{}, &DecodeError{Msg: "invalid UTF-8"}
	}
	start := len(q.text)
	q.text = append(q.text, values[0]...)
	return value{kind: text, raw: q.text[start:len(q.text):len(q.text)]}, nil
}
