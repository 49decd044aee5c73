package awswire

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxMembers is how many members a structure may have: validation keeps the
// ones that it has seen in a set of this size.
const maxMembers = 256

// A node is the plan for one shape in one Go type: what validation, assignment
// and encoding need to know.
type node struct {
	kind nodeKind
	ptr  bool         // the Go value is a pointer to typ
	typ  reflect.Type // pointer taken off

	key     *node     // of a map's keys
	elem    *node     // of a list's items or a map's values
	members []*member // of a structure, by name
	byName  map[string]*member

	// Of a list or map in a query or XML.
	flat bool
	item tag // "member", "entry" or what the model says
	k, v tag // of an entry: "key", "value" or what the model says

	// Constraints. An empty constraint text means none.
	min, max         int64
	tooSmall, tooBig string
	enum             map[string]struct{}
	notInEnum        string
	pattern          *regexp.Regexp
	noMatch          string
}

// A member is a structure's member and its Go field.
type member struct {
	name     string // on the wire
	field    int    // index of the Go field
	index    int    // in node.members
	required bool
	node     *node
	key      []byte // name
	prefix   []byte // `"name":`
	tag      tag
}

// A tag is a name in a query, and an element in XML.
type tag struct {
	name        string
	open, close []byte
}

func newTag(name string) tag {
	return tag{name, []byte("<" + name + ">"), []byte("</" + name + ">")}
}

type nodeKind uint8

const (
	kindStruct nodeKind = iota
	kindList
	kindMap
	kindString
	kindBool
	kindInt   // integer and long
	kindFloat // float and double
	kindTime
	kindBlob
)

type nodeKey struct {
	shape string
	typ   reflect.Type
}

// An Operation knows the Go types of one operation. It does not change and may
// be used concurrently.
type Operation struct {
	Name    string
	in, out *node
	xml     envelope
}

// Bind plans an operation for the Go types of its input and output. It is an
// error if a modelled member finds no Go field that fits it, or an exported Go
// field that Omit does not name no member; the model is of no further use then.
// Bind is not safe for concurrent use on one Model.
func Bind[In, Out any](m *Model, name string) (*Operation, error) {
	return m.BindTypes(name, reflect.TypeFor[In](), reflect.TypeFor[Out]())
}

// BindTypes is Bind for types known only at run time.
func (m *Model) BindTypes(name string, in, out reflect.Type) (*Operation, error) {
	op, ok := m.ops[name]
	if !ok {
		return nil, fmt.Errorf("the API model has no operation %q", name)
	}
	o := &Operation{Name: name, xml: m.envelope(name, op.Wrap)}
	var err error
	if o.in, err = m.root(op.In, in); err != nil {
		return nil, fmt.Errorf("%s: input: %w", name, err)
	}
	if o.out, err = m.root(op.Out, out); err != nil {
		return nil, fmt.Errorf("%s: output: %w", name, err)
	}
	return o, nil
}

// Omit names exported Go fields that the model has no member for, because the
// SDK is newer: "types.Role.SourceRoleTemplate". They are neither decoded nor
// encoded. It is to be called before Bind, for which the name of a field that
// does have a member is an error, so that the list does not outlive its reason.
func (m *Model) Omit(fields ...string) {
	for _, f := range fields {
		m.omit[f] = true
	}
}

// root plans an operation's input or output, which has no shape if it has no
// members.
func (m *Model) root(shape string, typ reflect.Type) (*node, error) {
	if typ.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%s is not a structure", typ)
	}
	if shape == "" {
		return &node{kind: kindStruct, typ: typ}, nil
	}
	return m.plan(shape, typ)
}

// plan returns the node of a shape in a Go type. A shape may contain itself:
// the node is known before its members are.
func (m *Model) plan(name string, typ reflect.Type) (*node, error) {
	key := nodeKey{name, typ}
	if n := m.nodes[key]; n != nil {
		return n, nil
	}
	n := &node{typ: typ}
	if typ.Kind() == reflect.Pointer {
		n.ptr, n.typ = true, typ.Elem()
	}
	m.nodes[key] = n
	s := m.shapes[name]
	err := m.fill(n, s)
	if err == nil {
		err = n.constrain(s)
	}
	if err != nil {
		delete(m.nodes, key)
		return nil, fmt.Errorf("shape %s: %w", name, err)
	}
	return n, nil
}

// fill sets n's kind and what it contains, and checks that the Go type fits.
func (m *Model) fill(n *node, s *shape) error {
	fits := false
	var err error
	kind := n.typ.Kind()
	switch s.Type {
	case "structure":
		n.kind, fits = kindStruct, kind == reflect.Struct && !s.Union
		if fits {
			err = m.planMembers(n, s)
		}
	case "list":
		n.kind, fits = kindList, kind == reflect.Slice && !n.ptr && s.Member != nil
		if fits {
			n.flat, n.item = s.Flattened, newTag(s.Member.wireName("member"))
			n.elem, err = m.plan(s.Member.Shape, n.typ.Elem())
		}
	case "map":
		n.kind, fits = kindMap, kind == reflect.Map && !n.ptr && s.Key != nil && s.Value != nil && n.typ.Key().Kind() == reflect.String
		if fits {
			n.flat, n.item, n.k, n.v = s.Flattened, newTag("entry"), newTag(s.Key.wireName("key")), newTag(s.Value.wireName("value"))
			if n.key, err = m.plan(s.Key.Shape, n.typ.Key()); err != nil {
				return err
			}
			n.elem, err = m.plan(s.Value.Shape, n.typ.Elem())
		}
	case "string":
		n.kind, fits = kindString, kind == reflect.String
	case "boolean":
		n.kind, fits = kindBool, kind == reflect.Bool
	case "integer":
		n.kind, fits = kindInt, kind == reflect.Int32
	case "long":
		n.kind, fits = kindInt, kind == reflect.Int64
	case "float":
		n.kind, fits = kindFloat, kind == reflect.Float32
	case "double":
		n.kind, fits = kindFloat, kind == reflect.Float64
	case "timestamp":
		n.kind, fits = kindTime, n.typ == reflect.TypeFor[time.Time]()
	case "blob":
		n.kind, fits = kindBlob, n.typ == reflect.TypeFor[[]byte]() && !n.ptr
	}
	if !fits {
		return fmt.Errorf("the type %q does not fit Go's %s", s.Type, n.typ)
	}
	return err
}

func (m *Model) planMembers(n *node, s *shape) error {
	if len(s.Members) > maxMembers {
		return fmt.Errorf("more than %d members", maxMembers)
	}
	n.byName = make(map[string]*member, len(s.Members))
	fields := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.Members)) {
		ref := s.Members[name]
		f, ok := n.typ.FieldByName(goName(name))
		if !ok || len(f.Index) != 1 {
			return fmt.Errorf("Go's %s has no field for the member %q", n.typ, name)
		}
		fields[f.Name] = true
		inner, err := m.plan(ref.Shape, f.Type)
		if err != nil {
			return fmt.Errorf("member %s: %w", name, err)
		}
		wire := ref.wireName(name)
		if s := m.shapes[ref.Shape]; inner.flat && inner.kind == kindList && s.Member.LocationName != "" {
			wire = s.Member.LocationName // what the items are called is the list's name
		}
		mem := &member{
			name: wire, field: f.Index[0], index: len(n.members),
			required: slices.Contains(s.Required, name), node: inner,
			key:    []byte(wire),
			prefix: append(appendString(nil, wire), ':'),
			tag:    newTag(wire),
		}
		n.members = append(n.members, mem)
		n.byName[wire] = mem
	}
	if len(n.byName) != len(n.members) {
		return fmt.Errorf("two members have one name on the wire")
	}
	for i := range n.typ.NumField() {
		f := n.typ.Field(i)
		omit := m.omit[n.typ.String()+"."+f.Name]
		if omit && fields[f.Name] {
			return fmt.Errorf("the model has a member for the field %s of Go's %s, which is to be omitted", f.Name, n.typ)
		}
		if f.IsExported() && !fields[f.Name] && !omit && f.Name != "ResultMetadata" {
			return fmt.Errorf("the model has no member for the field %s of Go's %s", f.Name, n.typ)
		}
	}
	return nil
}

// goName is how the SDK names the field of a member.
func goName(member string) string {
	r, n := utf8.DecodeRuneInString(member)
	return string(unicode.ToUpper(r)) + member[n:]
}

// constrain sets n's constraints, with their texts.
func (n *node) constrain(s *shape) error {
	what := "length"
	switch n.kind {
	case kindInt, kindFloat:
		what = "value"
	}
	if s.Min != nil {
		n.min, n.tooSmall = *s.Min, fmt.Sprintf("Member must have %s greater than or equal to %d", what, *s.Min)
	}
	if s.Max != nil {
		n.max, n.tooBig = *s.Max, fmt.Sprintf("Member must have %s less than or equal to %d", what, *s.Max)
	}
	if len(s.Enum) > 0 {
		n.enum = make(map[string]struct{}, len(s.Enum))
		for _, e := range s.Enum {
			n.enum[e] = struct{}{}
		}
		n.notInEnum = "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
	}
	if s.Pattern != "" {
		n.noMatch = "must satisfy regular expression '" + s.Pattern + "'"
		var err error
		n.pattern, err = compilePattern(s.Pattern)
		return err
	}
	return nil
}
