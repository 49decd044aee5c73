package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/internal/strictjson"
)

func TestObject(t *testing.T) {
	known := []string{"layers", "size"}
	tests := []struct {
		text string
		want string // part of the error, "" for none
	}{
		{`{}`, ""},
		{` {"a" : [1, -2.5e3, true, false, null, "x\né", {"a":{}}]} `, ""},
		{`{"free":{"Layers":1,"layers":2}}`, ""},
		{`{"a":1,"a":2}`, "duplicate key"},
		{`{"a":1,"\u0061":2}`, "duplicate key"},
		{`{"x":[{"a":1,"b":2,"a":3}]}`, "duplicate key"},
		{`{"Layers":[]}`, `key "Layers" is not "layers"`},
		{`{"x":{"SIZE":1}}`, `key "SIZE" is not "size"`},
		{`[]`, "not a JSON object"}, {``, "not a JSON object"}, {`{`, "not a JSON object"}, {`{"a"}`, "not a JSON object"},
		{`{"a":1}}`, "not a JSON object"}, {`{"a":01}`, "not a JSON object"}, {`{"a":+1}`, "not a JSON object"}, {`{"a":1,}`, "not a JSON object"},
		{`{"a":[1,]}`, "not a JSON object"}, {"{\"a\":\"\n\"}", "not a JSON object"}, {`{"a":"\x"}`, "not a JSON object"}, {"{\"a\":\"\xff\"}", "not a JSON object"},
		{`{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "nested deeper"},
		{`{"a0":0,"a1":0,"a2":0,"a3":0,"a4":0,"a5":0,"a6":0,"a7":0,"a8":0,"a9":0,"b0":0,"b1":0,"b2":0,"b3":0,"b4":0,"b5":0,"b6":0,"a0":1}`, "duplicate key"},
	}
	for _, tt := range tests {
		err := strictjson.Object([]byte(tt.text), known, "free")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: %v, want %q", tt.text, err, tt.want)
		}
	}
}

// What is accepted and valid as JSON is an object; what is a valid object
// without repeated keys is accepted.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[{"b":"c\u00e9\\"}],"d":-1.5e+7}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := strictjson.Object(b, []string{"layers"}, "annotations")
		var m map[string]any
		valid := json.Unmarshal(b, &m) == nil && m != nil
		if err == strictjson.ErrSyntax && valid && len(b) < 1000 && json.Valid(b) && strings.ToValidUTF8(string(b), "") == string(b) {
			t.Errorf("refused %q: %v", b, err)
		}
	})
}
