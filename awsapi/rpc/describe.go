package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ecruhq/ecru/ecr"
)

// hidden is what stands for a secret in the audit trail (CloudTrail's words).
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// secrets are the members of inputs that no record may hold.
var secrets = map[string]bool{
	"WebIdentityToken": true, "SAMLAssertion": true, "TokenCode": true, "Password": true, "OldPassword": true, "NewPassword": true,
	"SecretAccessKey": true, "PrivateKey": true, "EncodedMessage": true,
}

// Bounds of a record.
const (
	maxText  = 4096 // of a text, in bytes
	maxItems = 100  // of a list; ECR's own are not longer
)

// describe notes the input of a call as a record has it: a JSON object with
// the members' names in lowerCamelCase, without what is absent, without blobs
// and secrets, and of a long list the beginning and how many items are omitted
// (CloudTrail user guide, "CloudTrail record contents", requestParameters).
func describe(call *ecr.Call, in any) {
	if call == nil {
		return
	}
	v := reflect.ValueOf(in).Elem()
	if account := text(v, "RegistryId"); account != "" {
		call.Repository.Account = account
	}
	call.Repository.Name = text(v, "RepositoryName")
	var b bytes.Buffer
	appendStruct(&b, v)
	call.Parameters = b.Bytes()
}

// text is a member of an input that is a string behind a pointer, or "".
func text(v reflect.Value, name string) string {
	if f := v.FieldByName(name); f.IsValid() {
		if p, ok := f.Interface().(*string); ok && p != nil {
			return *p
		}
	}
	return ""
}

func appendStruct(b *bytes.Buffer, v reflect.Value) {
	b.WriteByte('{')
	first := true
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		if !field.IsExported() || field.Anonymous || f.Kind() != reflect.Bool && f.Kind() != reflect.Int32 && f.IsZero() || f.Type() == reflect.TypeFor[[]byte]() {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		r, n := utf8.DecodeRuneInString(field.Name)
		appendJSON(b, string(unicode.ToLower(r))+field.Name[n:])
		b.WriteByte(':')
		if secrets[field.Name] {
			appendJSON(b, hidden)
			continue
		}
		if f.Kind() == reflect.Slice && f.Len() > maxItems {
			appendValue(b, f.Slice(0, maxItems))
			fmt.Fprintf(b, `,"%sOmitted":%d`, string(unicode.ToLower(r))+field.Name[n:], f.Len()-maxItems)
			continue
		}
		appendValue(b, f)
	}
	b.WriteByte('}')
}

func appendValue(b *bytes.Buffer, v reflect.Value) {
	if t, ok := v.Interface().(time.Time); ok {
		appendJSON(b, t.UTC().Format(time.RFC3339))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		appendValue(b, v.Elem())
	case reflect.Struct:
		appendStruct(b, v)
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			appendValue(b, v.Index(i))
		}
		b.WriteByte(']')
	case reflect.String:
		s := v.String()
		if len(s) > maxText {
			cut := maxText
			for !utf8.RuneStart(s[cut]) {
				cut--
			}
			s = s[:cut] + "…"
		}
		appendJSON(b, s)
	default: // booleans, numbers, and maps of texts
		appendJSON(b, v.Interface())
	}
}

// appendJSON appends what encoding/json can always encode.
func appendJSON(b *bytes.Buffer, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte("null")
	}
	b.Write(text)
}
