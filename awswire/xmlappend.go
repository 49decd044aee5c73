package awswire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

var errNoXML = errors.New("awswire: the API model has no XML namespace: the service does not speak the query protocol")

// An envelope is what stands around an operation's output and request ID in
// XML. It is empty if the service does not speak the query protocol.
type envelope struct {
	head, middle, tail []byte
}

// envelope returns an operation's. The result's element is there even if the
// output has no members, wherever the model names it: the SDK's clients look
// for it.
func (m *Model) envelope(op, wrap string) envelope {
	if m.meta.XMLNamespace == "" {
		return envelope{}
	}
	head := append([]byte("<"+op+`Response xmlns="`), appendText(nil, m.meta.XMLNamespace)...)
	head = append(head, `">`...)
	var middle []byte
	if wrap != "" {
		result := newTag(wrap)
		head = append(head, result.open...)
		middle = append(middle, result.close...)
	}
	return envelope{
		head:   head,
		middle: append(middle, "<ResponseMetadata><RequestId>"...),
		tail:   []byte("</RequestId></ResponseMetadata></" + op + "Response>"),
	}
}

// AppendXML appends an operation's output, out, which must be a pointer to it,
// as the query protocol has it. Nil members and empty enums are left out;
// false, 0, "" behind a pointer and empty lists and maps are not, except
// flattened ones, which have no element of their own. Timestamps are ISO 8601
// in UTC, to the millisecond. It is an error if the model has no XML namespace.
func (o *Operation) AppendXML(b []byte, out any, requestID string) ([]byte, error) {
	if o.xml.head == nil {
		return b, errNoXML
	}
	src, err := o.out.target(out)
	if err != nil {
		return b, err
	}
	b = append(b, o.xml.head...)
	if b, err = o.out.appendXML(b, src); err != nil {
		return b, err
	}
	b = append(b, o.xml.middle...)
	b = appendText(b, requestID)
	return append(b, o.xml.tail...), nil
}

// appendXML appends what stands inside of a value's element.
func (n *node) appendXML(b []byte, v reflect.Value) ([]byte, error) {
	if n.ptr {
		v = v.Elem()
	}
	switch n.kind {
	case kindStruct:
		return n.appendMembersXML(b, v)
	case kindList:
		return n.appendItemsXML(b, v, n.item)
	case kindMap:
		return n.appendEntriesXML(b, v, n.item)
	case kindString:
		return appendText(b, v.String()), nil
	case kindBool:
		return strconv.AppendBool(b, v.Bool()), nil
	case kindInt:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case kindFloat:
		return appendFloatXML(b, v.Float(), n.typ.Bits()), nil
	case kindTime:
		return appendISO8601(b, v.Interface().(time.Time))
	case kindBlob:
		return base64.StdEncoding.AppendEncode(b, v.Bytes()), nil
	}
	return b, fmt.Errorf("awswire: %s has no XML form", n.typ)
}

func (n *node) appendMembersXML(b []byte, v reflect.Value) ([]byte, error) {
	var err error
	for _, m := range n.members {
		f := v.Field(m.field)
		switch {
		case m.node.absent(f):
			continue
		case m.node.flat && m.node.kind == kindList:
			b, err = m.node.appendItemsXML(b, f, m.tag)
		case m.node.flat:
			b, err = m.node.appendEntriesXML(b, f, m.tag)
		default:
			b = append(b, m.tag.open...)
			b, err = m.node.appendXML(b, f)
			b = append(b, m.tag.close...)
		}
		if err != nil {
			return b, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return b, nil
}

func (n *node) appendItemsXML(b []byte, v reflect.Value, item tag) ([]byte, error) {
	for i := range v.Len() {
		e := v.Index(i)
		if e.Kind() == reflect.Pointer && e.IsNil() {
			return b, fmt.Errorf("awswire: item %d is nil", i)
		}
		b = append(b, item.open...)
		var err error
		if b, err = n.elem.appendXML(b, e); err != nil {
			return b, err
		}
		b = append(b, item.close...)
	}
	return b, nil
}

// appendEntriesXML appends a map by key, so that equal maps have equal bytes.
func (n *node) appendEntriesXML(b []byte, v reflect.Value, entry tag) ([]byte, error) {
	for _, key := range sortedKeys(v) {
		e := v.MapIndex(key)
		if e.Kind() == reflect.Pointer && e.IsNil() {
			return b, fmt.Errorf("awswire: the value of %q is nil", key.String())
		}
		b = append(append(b, entry.open...), n.k.open...)
		b = appendText(b, key.String())
		b = append(append(b, n.k.close...), n.v.open...)
		var err error
		if b, err = n.elem.appendXML(b, e); err != nil {
			return b, err
		}
		b = append(append(b, n.v.close...), entry.close...)
	}
	return b, nil
}

func appendFloatXML(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, bits)
}

// appendISO8601 appends a time in UTC; the fraction only if there is one.
func appendISO8601(b []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return b, fmt.Errorf("awswire: the time %v cannot be sent", t)
	}
	return t.AppendFormat(b, "2006-01-02T15:04:05.999Z"), nil
}

// appendText appends text for an element or an attribute. What XML 1.0 cannot
// hold (section 2.2), and bytes that are not UTF-8, become U+FFFD; a carriage
// return is a reference, as parsers make a newline of it (section 2.11), and so
// is a quote.
func appendText(b []byte, s string) []byte {
	start := 0 // of what is not appended yet
	for i := 0; i < len(s); {
		c := s[i]
		size := 1
		esc := ""
		switch {
		case c == '&':
			esc = "&amp;"
		case c == '<':
			esc = "&lt;"
		case c == '>':
			esc = "&gt;"
		case c == '"':
			esc = "&quot;"
		case c == '\r':
			esc = "&#xD;"
		case c < ' ' && c != '\t' && c != '\n':
			esc = "\ufffd"
		case c >= utf8.RuneSelf:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
				esc = "\ufffd"
			}
		}
		if esc != "" {
			b = append(append(b, s[start:i]...), esc...)
			start = i + size
		}
		i += size
	}
	return append(b, s[start:]...)
}
