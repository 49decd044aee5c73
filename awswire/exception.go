package awswire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// AppendErrorJSON appends an error as AWS JSON 1.0 and 1.1 have it. The name
// may be one that the model does not have, as the errors common to all services
// are; then only the message is sent. Further members are strings, integers or
// booleans; one that the model does not have, or has with another type, is left
// out and named in the error, while the bytes are good to send.
func (m *Model) AppendErrorJSON(b []byte, name, message string, members map[string]any) ([]byte, error) {
	b = append(b, `{"__type":`...)
	b = appendString(b, name)
	b = append(b, `,"message":`...)
	b = appendString(b, message)
	var err error
	for _, k := range slices.Sorted(maps.Keys(members)) {
		text, ok := m.exceptionMember(name, k, members[k])
		if !ok {
			err = fmt.Errorf("awswire: the exception %s has no member %s that holds %T", name, k, members[k])
			continue
		}
		b = append(b, ',')
		b = append(appendString(b, k), ':')
		b = append(b, text...)
	}
	return append(b, '}'), err
}

// exceptionMember returns a member's value as JSON, if the model agrees with
// its type.
func (m *Model) exceptionMember(exception, name string, v any) ([]byte, bool) {
	s := m.shapes[exception]
	if s == nil || !s.Exception {
		return nil, false
	}
	ref, ok := s.Members[name]
	if !ok || name == "message" || name == "Message" {
		return nil, false
	}
	switch typ := m.shapes[ref.Shape].Type; v := v.(type) {
	case string:
		return appendString(nil, v), typ == "string"
	case bool:
		return strconv.AppendBool(nil, v), typ == "boolean"
	case int:
		return strconv.AppendInt(nil, int64(v), 10), typ == "integer" || typ == "long"
	case int64:
		return strconv.AppendInt(nil, v, 10), typ == "integer" || typ == "long"
	}
	return nil, false
}
