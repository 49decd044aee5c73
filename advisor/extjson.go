package advisor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// encode is a structure in the form of the SDK's as AWS JSON: members have the
// fields' names in lowerCamelCase, what is nil and empty texts that are not
// behind a pointer are left out, and times are seconds since 1970.
func encode(in any) ([]byte, error) {
	v := reflect.ValueOf(in)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("%T is not a pointer to a structure", in)
	}
	return json.Marshal(tree(v.Elem()))
}

// tree is a Go value as encoding/json is to have it.
func tree(v reflect.Value) any {
	if t, ok := v.Interface().(time.Time); ok {
		return json.Number(fmt.Sprintf("%d.%03d", t.Unix(), t.Nanosecond()/int(time.Millisecond)))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return tree(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			f, field := v.Field(i), v.Type().Field(i)
			if field.IsExported() && !unset(f) {
				out[memberName(v.Type(), field.Name)] = tree(f)
			}
		}
		return out
	case reflect.Slice:
		if b, ok := v.Interface().([]byte); ok {
			return b // base64
		}
		out := make([]any, v.Len())
		for i := range out {
			out[i] = tree(v.Index(i))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for _, k := range v.MapKeys() {
			out[k.String()] = tree(v.MapIndex(k))
		}
		return out
	}
	return v.Interface()
}

func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}

// memberName is what a field of a structure is called on the wire. ECR's Tag is
// the one whose members begin with capitals.
func memberName(of reflect.Type, field string) string {
	if of == reflect.TypeFor[types.Tag]() {
		return field
	}
	r, n := utf8.DecodeRuneInString(field)
	return string(unicode.ToLower(r)) + field[n:]
}

// decode is encode's opposite. Members that out does not have are passed over.
func decode(answer []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	dst := reflect.ValueOf(out)
	if dst.Kind() != reflect.Pointer || dst.IsNil() {
		return fmt.Errorf("%T is not a pointer", out)
	}
	if err := assign(v, dst.Elem()); err != nil {
		return fmt.Errorf("the answer does not have the form of %T: %w", out, err)
	}
	return nil
}

// assign sets dst to a value of the answer; null leaves it as it is.
func assign(v any, dst reflect.Value) error {
	if v == nil {
		return nil
	}
	switch dst.Type() {
	case reflect.TypeFor[time.Time]():
		return assignTime(v, dst)
	case reflect.TypeFor[*time.Time]():
		dst.Set(reflect.ValueOf(new(time.Time)))
		return assignTime(v, dst.Elem())
	}
	switch v := v.(type) {
	case map[string]any:
		return assignObject(v, dst)
	case []any:
		if dst.Kind() != reflect.Slice {
			return fmt.Errorf("a list for Go's %s", dst.Type())
		}
		dst.Set(reflect.MakeSlice(dst.Type(), len(v), len(v)))
		for i := range v {
			if err := assign(v[i], dst.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, dst.Addr().Interface())
}

func assignObject(v map[string]any, dst reflect.Value) error {
	switch dst.Kind() {
	case reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		return assignObject(v, dst.Elem())
	case reflect.Struct:
		for i := range dst.NumField() {
			field := dst.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			if err := assign(v[memberName(dst.Type(), field.Name)], dst.Field(i)); err != nil {
				return fmt.Errorf("%s: %w", field.Name, err)
			}
		}
		return nil
	case reflect.Map:
		dst.Set(reflect.MakeMap(dst.Type()))
		for k, item := range v {
			e := reflect.New(dst.Type().Elem()).Elem()
			if err := assign(item, e); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
			dst.SetMapIndex(reflect.ValueOf(k).Convert(dst.Type().Key()), e)
		}
		return nil
	}
	return fmt.Errorf("an object for Go's %s", dst.Type())
}

func assignTime(v any, dst reflect.Value) error {
	n, ok := v.(json.Number)
	if !ok {
		return fmt.Errorf("a time that is no number")
	}
	f, err := n.Float64()
	if err != nil {
		return err
	}
	dst.Set(reflect.ValueOf(time.UnixMilli(int64(math.Round(f * 1000))).UTC()))
	return nil
}
