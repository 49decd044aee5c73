package awswire

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A DecodeError says that a request is not of the protocol's form, or that a
// value is not of its member's type. AWS calls it SerializationException. The
// message is safe to show.
type DecodeError struct {
	Path string // the member, or "" if the whole request is meant
	Msg  string
}

func (e *DecodeError) Error() string {
	if e.Path == "" {
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

// A ConstraintError says which constraint of the model a request fails. It is
// safe to show.
type ConstraintError struct {
	// Path is the member as on the wire, as in "repositoryName" or
	// "imageIds.1.member.imageTag".
	Path string
	// Constraint is the rule in ECR's words, as in "Member must have length
	// less than or equal to 100".
	Constraint string
}

// Error returns ECR's sentence.
func (e *ConstraintError) Error() string {
	return "Invalid parameter at '" + e.Path + "' failed to satisfy constraint: '" + e.Constraint + "'"
}

func failed(constraint string) error { return &ConstraintError{Constraint: constraint} }

func mistyped(want string) error { return &DecodeError{Msg: "must be " + want} }

// at puts the name of a member, or what stands for it, before an error's path.
func at(name string, err error) error {
	var c *ConstraintError
	var d *DecodeError
	switch {
	case errors.As(err, &c):
		c.Path = join(name, c.Path)
	case errors.As(err, &d):
		d.Path = join(name, d.Path)
	}
	return err
}

func join(name, path string) string {
	if path == "" {
		return name
	}
	return name + "." + path
}

// atItem puts a list item's position, counted from 1, before an error's path.
func atItem(i int, err error) error { return at(strconv.Itoa(i+1)+".member", err) }

// atKey puts a map's key, shortened, before an error's path.
func atKey(key string, err error) error {
	const most = 64
	if len(key) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(key[cut]) {
			cut--
		}
		key = key[:cut] + "…"
	}
	return at(strings.ToValidUTF8(key, "?")+".member", err)
}
