package awswire

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzParseJSON compares the parser with encoding/json: what it takes must be
// JSON and mean the same; what it refuses must be one of the documented
// differences.
func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{``, `{}`, ` [1,-2.5e+3,true,null] `, `{"a":{"b":["\u00e9\ud83d\ude00\\\/"]}}`, `{"a":1,"a":2}`, `"\ud800"`, `[[[[`, `01`, "\"\xff\"", `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parseJSON(body)
		if err != nil {
			var d *DecodeError
			if !errors.As(err, &d) || !utf8.ValidString(err.Error()) {
				t.Fatalf("error %q", err)
			}
			if json.Valid(body) && !lenient(body) {
				t.Fatalf("refused %q: %v", body, err)
			}
			return
		}
		if len(bytes.TrimSpace(body)) == 0 {
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("took %q: %v", body, err)
		}
		if got := v.plain(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q means %#v, not %#v", body, want, got)
		}
	})
}

// lenient reports whether encoding/json takes body although a documented
// difference forbids it.
func lenient(body []byte) bool {
	depth, deepest := 0, 0
	for _, c := range body {
		switch c {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	if !utf8.Valid(body) || bytes.Contains(body, []byte(`\u`)) || deepest > MaxDepth || len(body) > MaxValues {
		return true
	}
	var x any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&x) != nil {
		return true
	}
	return bytes.Count(body, []byte(`:`)) > names(x) // a name twice, or a colon in a string
}

func names(x any) int {
	n := 0
	switch x := x.(type) {
	case map[string]any:
		for _, v := range x {
			n += 1 + names(v)
		}
	case []any:
		for _, v := range x {
			n += names(v)
		}
	}
	return n
}

func (v *value) plain() any {
	switch v.kind {
	case boolean:
		return v.truth
	case number:
		return json.Number(v.raw)
	case text:
		return string(v.raw)
	case list:
		l := []any{}
		for i := range v.kids {
			l = append(l, v.kids[i].plain())
		}
		return l
	case object:
		m := map[string]any{}
		for i := range v.kids {
			m[string(v.kids[i].key)] = v.kids[i].plain()
		}
		return m
	}
	return nil
}

// FuzzDecodeJSON decodes requests of operations that have every type: no
// input may panic, and what is taken can be encoded again by the same plan
// and decodes to the same.
func FuzzDecodeJSON(f *testing.F) {
	m := ecrModel(f)
	var ops []*Operation
	for _, name := range []string{"CreateRepositoryCreationTemplate", "BatchGetImage", "UploadLayerPart", "PutReplicationConfiguration", "DescribeImages"} {
		ops = append(ops, bindECR(f, m, name))
	}
	f.Add(0, []byte(`{"prefix":"ROOT","appliedFor":["CREATE_ON_PUSH"],"resourceTags":[{"Key":"k","Value":"v"}],"imageTagMutability":"MUTABLE"}`))
	f.Add(1, []byte(`{"repositoryName":"team/web","imageIds":[{"imageTag":"v1"},{"imageDigest":"sha256:00"}]}`))
	f.Add(2, []byte(`{"repositoryName":"ab","uploadId":"00000000-1111-2222-3333-444444444444","partFirstByte":0,"partLastByte":1e2,"layerPartBlob":"AAE="}`))
	f.Add(3, []byte(`{"replicationConfiguration":{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"123456789012"}]}]}}`))
	f.Add(4, []byte(`{"repositoryName":"ab","filter":{"tagStatus":"ANY"},"maxResults":10}`))
	f.Fuzz(func(t *testing.T, op int, body []byte) {
		if op < 0 {
			return
		}
		o := ops[op%len(ops)]
		in := reflect.New(o.in.typ)
		if err := o.DecodeJSON(body, in.Interface()); err != nil {
			var d *DecodeError
			var c *ConstraintError
			if !errors.As(err, &d) && !errors.As(err, &c) {
				t.Fatalf("error %T %v", err, err)
			}
			return
		}
		again, err := o.in.appendJSON(nil, in.Elem())
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(o.in.typ)
		if err := o.DecodeJSON(again, back.Interface()); err != nil || !reflect.DeepEqual(in.Interface(), back.Interface()) {
			t.Fatalf("%s became %s: %v", body, again, err)
		}
	})
}
