package awswire

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"
)

func TestPatterns(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{`[0-9]{12}`, "123456789012", true},
		{`[0-9]{12}`, "1234567890123", false},
		{`a|b`, "ab", false},
		{`^$|x`, "", true},
		{`^$|x`, "x", true},
		{`^\S+$`, "a\n", false},
		{`[\u0020-\u00FF]+`, "aé", true},
		{`[\u0020-\u00FF]+`, "aĀ", false},
		{`[\u0009\u0041]`, "u", false},
		{`\\u0041`, `\u0041`, true},
		{`\\u0041`, "A", false},
	}
	for _, tt := range tests {
		re, err := compilePattern(tt.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := re.MatchString(tt.text); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.text, got)
		}
	}
	if _, err := compilePattern(`a(?!b)`); err == nil {
		t.Error("look-ahead is taken")
	}
}

func TestLoadErrors(t *testing.T) {
	gz := func(s string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.Bytes()
	}
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"not gzip", []byte("not gzip at all"), "gzip: invalid header"},
		{"not JSON", gz("{"), "JSON"},
		{"an unknown shape", gz(`{"ops":{"A":{"in":"B"}}}`), `A names the unknown shape "B"`},
		{"an unknown member shape", gz(`{"shapes":{"S":{"type":"list","member":{"shape":"B"}}}}`), `S names the unknown shape "B"`},
		{"an unknown required member", gz(`{"shapes":{"S":{"type":"structure","required":["x"]}}}`), `requires a member "x"`},
		{"too large", gz(strings.Repeat(" ", maxModel+1)), "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Load(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestBindErrors(t *testing.T) {
	const doc = `{"meta":{"targetPrefix":"T","jsonVersion":"1.0"},
		"ops":{"Op":{"in":"In","out":"Out"},"Look":{"in":"Look"}},
		"shapes":{
			"In":{"type":"structure","members":{"name":{"shape":"S"},"count":{"shape":"N"}}},
			"Out":{"type":"structure","members":{"when":{"shape":"T"}}},
			"Look":{"type":"structure","members":{"name":{"shape":"L"}}},
			"S":{"type":"string"},"N":{"type":"integer"},"T":{"type":"timestamp"},"L":{"type":"string","pattern":"(?=a)"}}}`
	type in struct {
		Name  *string
		Count *int32
	}
	type out struct {
		When           *time.Time
		ResultMetadata struct{}
	}
	bind := func(f func(*Model) error) error {
		m, err := parseModel([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return f(m)
	}
	tests := []struct {
		name string
		err  error
		want string // "" = none
	}{
		{"good", bind(func(m *Model) error { _, err := Bind[in, out](m, "Op"); return err }), ""},
		{"an unknown operation", bind(func(m *Model) error { _, err := Bind[in, out](m, "No"); return err }), `no operation "No"`},
		{"a member without a field", bind(func(m *Model) error { _, err := Bind[struct{ Name *string }, out](m, "Op"); return err }), `no field for the member "count"`},
		{"a field without a member", bind(func(m *Model) error {
			_, err := Bind[struct {
				Name  *string
				Count *int32
				More  bool
			}, out](m, "Op")
			return err
		}), "no member for the field More"},
		{"a field of another type", bind(func(m *Model) error {
			_, err := Bind[struct {
				Name  *string
				Count *int64
			}, out](m, "Op")
			return err
		}), `"integer" does not fit Go's int64`},
		{"not a structure", bind(func(m *Model) error { _, err := Bind[*in, out](m, "Op"); return err }), "is not a structure"},
		{"a pattern with look-around", bind(func(m *Model) error { _, err := Bind[struct{ Name *string }, struct{}](m, "Look"); return err }), "pattern"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == "" && tt.err != nil || tt.want != "" && (tt.err == nil || !strings.Contains(tt.err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", tt.err, tt.want)
			}
		})
	}
}

// TestRecursion binds a shape that contains itself.
func TestRecursion(t *testing.T) {
	m, err := parseModel([]byte(`{"ops":{"Op":{"in":"E","out":"E"}},"shapes":{"S":{"type":"string"},
		"E":{"type":"structure","members":{"not":{"shape":"E"},"or":{"shape":"L"},"name":{"shape":"S"}}},
		"L":{"type":"list","member":{"shape":"E"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	type expr struct {
		Not  *expr
		Or   []expr
		Name *string
	}
	o, err := Bind[expr, expr](m, "Op")
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"not":{"or":[{"name":"a"},{"not":{}}]}}`
	var e expr
	if err := o.DecodeJSON([]byte(body), &e); err != nil {
		t.Fatal(err)
	}
	if got, err := o.AppendJSON(nil, &e); string(got) != body {
		t.Errorf("got %s, %v", got, err)
	}
}
