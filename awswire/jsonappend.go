package awswire

import (
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendJSON appends an operation's output, out, which must be a pointer to
// it, as AWS JSON 1.0 and 1.1 have it. Nil members and empty enums are left
// out; false, 0, "" behind a pointer and empty lists and maps are not.
// Timestamps are seconds, to the millisecond.
func (o *Operation) AppendJSON(b []byte, out any) ([]byte, error) {
	src, err := o.out.target(out)
	if err != nil {
		return b, err
	}
	return o.out.appendJSON(b, src)
}

// absent reports whether a Go value stands for a member that is left out.
func (n *node) absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}

func (n *node) appendJSON(b []byte, v reflect.Value) ([]byte, error) {
	if n.ptr {
		v = v.Elem()
	}
	switch n.kind {
	case kindStruct:
		return n.appendStruct(b, v)
	case kindList:
		return n.appendList(b, v)
	case kindMap:
		return n.appendMap(b, v)
	case kindString:
		return appendString(b, v.String()), nil
	case kindBool:
		return strconv.AppendBool(b, v.Bool()), nil
	case kindInt:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case kindFloat:
		return appendFloat(b, v.Float(), n.typ.Bits()), nil
	case kindTime:
		return appendTime(b, v.Interface().(time.Time))
	case kindBlob:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"'), nil
	}
	return b, fmt.Errorf("awswire: %s has no JSON form", n.typ)
}

func (n *node) appendStruct(b []byte, v reflect.Value) ([]byte, error) {
	b = append(b, '{')
	first := true
	for _, m := range n.members {
		f := v.Field(m.field)
		if m.node.absent(f) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, m.prefix...)
		var err error
		if b, err = m.node.appendJSON(b, f); err != nil {
			return b, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return append(b, '}'), nil
}

func (n *node) appendList(b []byte, v reflect.Value) ([]byte, error) {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		item := v.Index(i)
		if k := item.Kind(); k == reflect.Pointer && item.IsNil() {
			return b, fmt.Errorf("awswire: item %d is nil", i)
		}
		var err error
		if b, err = n.elem.appendJSON(b, item); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

// appendMap appends a map by key, so that equal maps have equal bytes.
func (n *node) appendMap(b []byte, v reflect.Value) ([]byte, error) {
	b = append(b, '{')
	for i, key := range sortedKeys(v) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key.String()), ':')
		item := v.MapIndex(key)
		if item.Kind() == reflect.Pointer && item.IsNil() {
			return b, fmt.Errorf("awswire: the value of %q is nil", key.String())
		}
		var err error
		if b, err = n.elem.appendJSON(b, item); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
	return keys
}

// appendFloat appends a number; what JSON has no number for is a string, as
// AWS has it.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, bits)
}

func appendTime(b []byte, t time.Time) ([]byte, error) {
	ms := t.UnixMilli()
	if s := t.Unix(); s > maxSeconds || s < -maxSeconds {
		return b, fmt.Errorf("awswire: the time %v cannot be sent", t)
	}
	if ms < 0 {
		b = append(b, '-')
		ms = -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if frac := ms % 1000; frac != 0 {
		b = append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return b, nil
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0 // of what is not appended yet
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
