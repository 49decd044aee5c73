package awswire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// ErrorOf returns an exception's code on the wire of the query protocol, which
// is not always its name (NoSuchEntityException is NoSuchEntity), and its HTTP
// status: 400 where the model does not say. It is false for a name that is no
// exception of the model.
func (m *Model) ErrorOf(exception string) (code string, status int, ok bool) {
	s := m.shapes[exception]
	if s == nil || !s.Exception {
		return "", 0, false
	}
	code, status = s.Error.Code, s.Error.Status
	if code == "" {
		code = exception
	}
	if status == 0 {
		status = 400
	}
	return code, status, true
}

// AppendErrorXML appends an error as the query protocol has it. The code is an
// exception's name, which becomes its code on the wire, or any other code,
// which is sent as it is. The sender is at fault, or else the receiver. It is
// an error if the model has no XML namespace.
func (m *Model) AppendErrorXML(b []byte, code, message, requestID string, sender bool) ([]byte, error) {
	if m.meta.XMLNamespace == "" {
		return b, errNoXML
	}
	if c, _, ok := m.ErrorOf(code); ok {
		code = c
	}
	fault := "Receiver"
	if sender {
		fault = "Sender"
	}
	b = append(b, `<ErrorResponse xmlns="`...)
	b = appendText(b, m.meta.XMLNamespace)
	b = append(b, `"><Error><Type>`...)
	b = append(b, fault...)
	b = append(b, `</Type><Code>`...)
	b = appendText(b, code)
	b = append(b, `</Code><Message>`...)
	b = appendText(b, message)
	b = append(b, `</Message></Error><RequestId>`...)
	b = appendText(b, requestID)
	return append(b, `</RequestId></ErrorResponse>`...), nil
}

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
