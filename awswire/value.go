package awswire

// kind is the type of a value as the wire shows it.
type kind uint8

const (
	null kind = iota
	boolean
	number // a literal, as in JSON
	text
	list
	object
)

// A value is a node of the tree between wire and Go. Its bytes may be part of
// the request's body.
type value struct {
	kind   kind
	truth  bool    // of a boolean
	raw    []byte  // text, without escapes; a number's literal
	key    []byte  // the name, if the value stands in an object
	kids   []value // of a list or an object, in wire order
	member *member // by validation: what key means; nil if the model does not know it
}

func (k kind) String() string {
	switch k {
	case boolean:
		return "a boolean"
	case number:
		return "a number"
	case text:
		return "a string"
	case list:
		return "a list"
	case object:
		return "an object"
	}
	return "null"
}
