package awswire

import (
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"time"
)

// DecodeJSON decodes a request of AWS JSON 1.0 or 1.1 into a new value of the
// operation's input, in, which must be a pointer to it, and validates it by the
// model. The error is a *DecodeError or a *ConstraintError, and then in holds
// nothing of use. Nothing of body is kept; the caller bounds its size.
func (o *Operation) DecodeJSON(body []byte, in any) error {
	dst, err := o.in.target(in)
	if err != nil {
		return err
	}
	v, err := parseJSON(body)
	if err != nil {
		return err
	}
	return o.in.decode(&v, dst)
}

// target returns what in points at, if it is of n's type.
func (n *node) target(in any) (reflect.Value, error) {
	dst := reflect.ValueOf(in)
	if dst.Kind() != reflect.Pointer || dst.IsNil() || dst.Type().Elem() != n.typ {
		return reflect.Value{}, fmt.Errorf("awswire: %T is not a pointer to %s", in, n.typ)
	}
	return dst.Elem(), nil
}

// decode is the way of every protocol from its tree to a Go structure.
func (n *node) decode(v *value, dst reflect.Value) error {
	if err := n.validate(v); err != nil {
		return err
	}
	return n.assign(v, dst)
}

// assign sets dst to a value that validation has passed.
func (n *node) assign(v *value, dst reflect.Value) error {
	if n.ptr {
		p := reflect.New(n.typ)
		dst.Set(p)
		dst = p.Elem()
	}
	switch n.kind {
	case kindStruct:
		for i := range v.kids {
			kid := &v.kids[i]
			if kid.member == nil {
				continue
			}
			if err := kid.member.node.assign(kid, dst.Field(kid.member.field)); err != nil {
				return at(kid.member.name, err)
			}
		}
	case kindList:
		items := reflect.MakeSlice(n.typ, len(v.kids), len(v.kids))
		dst.Set(items)
		for i := range v.kids {
			if err := n.elem.assign(&v.kids[i], items.Index(i)); err != nil {
				return atItem(i, err)
			}
		}
	case kindMap:
		return n.assignMap(v, dst)
	case kindString:
		dst.SetString(string(v.raw))
	case kindBool:
		dst.SetBool(v.truth)
	case kindInt:
		i, err := v.integer(n.typ.Bits())
		dst.SetInt(i)
		return err
	case kindFloat:
		f, err := v.float()
		dst.SetFloat(f)
		return err
	case kindTime:
		t, err := v.time()
		dst.Set(reflect.ValueOf(t))
		return err
	case kindBlob:
		b, err := v.blob()
		dst.SetBytes(b)
		return err
	}
	return nil
}

func (n *node) assignMap(v *value, dst reflect.Value) error {
	m := reflect.MakeMapWithSize(n.typ, len(v.kids))
	dst.Set(m)
	for i := range v.kids {
		kid := &v.kids[i]
		e := reflect.New(n.typ.Elem()).Elem()
		if err := n.elem.assign(kid, e); err != nil {
			return atKey(string(kid.key), err)
		}
		m.SetMapIndex(reflect.ValueOf(string(kid.key)).Convert(n.typ.Key()), e)
	}
	return nil
}

// maxSeconds bounds timestamps: the last second of the year 9999.
const maxSeconds = 253402300799

// time returns a timestamp: a number of seconds since 1970, kept to the
// millisecond.
func (v *value) time() (time.Time, error) {
	if v.kind != number {
		return time.Time{}, mistyped("a timestamp in seconds, not " + v.kind.String())
	}
	f, err := v.float()
	if err != nil || math.Abs(f) > maxSeconds {
		return time.Time{}, mistyped("a timestamp in seconds, before the year 10000")
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
}

// blobSize returns how many bytes a blob of valid base64 holds.
func (v *value) blobSize() (int64, error) {
	if v.kind != text {
		return 0, mistyped("a base64 string, not " + v.kind.String())
	}
	size := len(v.raw) / 4 * 3
	for i := len(v.raw) - 1; i >= 0 && i >= len(v.raw)-2 && v.raw[i] == '='; i-- {
		size--
	}
	return int64(size), nil
}

func (v *value) blob() ([]byte, error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(v.raw)))
	n, err := base64.StdEncoding.Decode(b, v.raw)
	if err != nil {
		return nil, mistyped("base64 (RFC 4648, section 4)")
	}
	return b[:n], nil
}
