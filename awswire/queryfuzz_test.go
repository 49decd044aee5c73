package awswire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzDecodeQuery decodes forms for operations that have every type: no input
// may panic, and what is taken means the same when it is sent again as the SDKs
// send it, and is well-formed XML.
func FuzzDecodeQuery(f *testing.F) {
	i, s := iamService(f), stsService(f)
	ops := []*Operation{thingModel(f), s.bind(f, "AssumeRole"), i.bind(f, "TagRole"), i.bind(f, "SimulateCustomPolicy"), i.bind(f, "UpdateAccountPasswordPolicy"), i.bind(f, "ListRoles")}
	f.Add(0, "Flat.1=a&One.1=b&FlatMap.1.Name=k&FlatMap.1.value=v&Map.entry.1.key=k&Map.entry.1.value.Map=&Named.entry.1.K=k&Named.entry.1.V=1&things.item.1=-1&Inner.Inner.x=1&When=2026-11-24T10:00:00.5%2B01:00&Blob=AP8=&Double=1e-3&Bool=true&Long=1e2")
	f.Add(0, "Double=NaN&Map.entry.2.key=k&Map.entry.1.key=k&Inner=&Blob=A%0AP8=")
	f.Add(1, "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/ci&RoleSessionName=xy&DurationSeconds=900&Tags.member.1.Key=k&Tags.member.1.Value=v&TransitiveTagKeys.member.1=k")
	f.Add(2, "RoleName=ci&Tags.member.2.Key=k&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Value=&RoleName.x=")
	f.Add(2, "RoleName=ci&Tags=&Tags.member=&Tags-member=&Tags.member.18446744073709551617=1&Tags.=")
	f.Add(3, "PolicyInputList.member.1=%7B%7D&ActionNames.member.1=ecr:x&ContextEntries.member.1.ContextKeyValues.member.1=v")
	f.Add(4, "MinimumPasswordLength=8&RequireSymbols=true&HardExpiry=false")
	f.Add(5, "MaxItems=10&PathPrefix=/&Marker=%ff")
	f.Fuzz(func(t *testing.T, op int, body string) {
		form, err := url.ParseQuery(body)
		if err != nil || op < 0 {
			return
		}
		o := ops[op%len(ops)]
		in := reflect.New(o.in.typ)
		if err := o.DecodeQuery(form, in.Interface()); err != nil {
			var d *DecodeError
			var c *ConstraintError
			if !errors.As(err, &d) && !errors.As(err, &c) || !utf8.ValidString(err.Error()) {
				t.Fatalf("error %T %q", err, err)
			}
			return
		}
		again := url.Values{}
		encodeQuery(again, "", o.in, in.Elem())
		back := reflect.New(o.in.typ)
		if err := o.DecodeQuery(again, back.Interface()); err != nil {
			t.Fatalf("%s became %s: %v", body, again.Encode(), err)
		}
		if x, err := o.in.appendXML(nil, in.Elem()); err == nil {
			wellFormed(t, append(append([]byte("<x>"), x...), "</x>"...))
			y, err := o.in.appendXML(nil, back.Elem())
			if err != nil || string(x) != string(y) {
				t.Fatalf("%s became %s: %s, %s, %v", body, again.Encode(), x, y, err)
			}
		} else if !strings.Contains(err.Error(), "cannot be sent") {
			t.Fatal(err)
		}
	})
}

// encodeQuery sets the parameters of a value, as a client does.
func encodeQuery(form url.Values, name string, n *node, v reflect.Value) {
	if n.ptr {
		v = v.Elem()
	}
	dot := func(base string, segments ...string) string {
		return strings.TrimPrefix(strings.Join(append([]string{base}, segments...), "."), ".")
	}
	base := name
	if !n.flat && (n.kind == kindList || n.kind == kindMap) {
		base = dot(name, n.item.name)
	}
	switch n.kind {
	case kindStruct:
		form.Set(dot(name, "unknown"), "") // else nothing says that it is there
		for _, m := range n.members {
			if f := v.Field(m.field); !m.node.absent(f) {
				encodeQuery(form, dot(name, m.name), m.node, f)
			}
		}
	case kindList:
		if v.Len() == 0 {
			form.Set(name, "")
		}
		for i := range v.Len() {
			encodeQuery(form, dot(base, strconv.Itoa(i+1)), n.elem, v.Index(i))
		}
	case kindMap:
		if v.Len() == 0 {
			form.Set(name, "")
		}
		for i, k := range slices.Backward(sortedKeys(v)) {
			entry := dot(base, strconv.Itoa(v.Len()-i))
			form.Set(dot(entry, n.k.name), k.String())
			encodeQuery(form, dot(entry, n.v.name), n.elem, v.MapIndex(k))
		}
	case kindTime:
		form.Set(name, v.Interface().(time.Time).Format(time.RFC3339Nano))
	case kindBlob:
		form.Set(name, base64.StdEncoding.EncodeToString(v.Bytes()))
	case kindFloat:
		form.Set(name, string(appendFloatXML(nil, v.Float(), n.typ.Bits())))
	default:
		form.Set(name, fmt.Sprint(v))
	}
}
