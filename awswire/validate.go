package awswire

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// validate checks a value, which is not null, by its plan, and notes on the
// members of objects what they mean. It stops at the first failure: missing
// members first, then the others in the order of the request. Errors are
// *DecodeError and *ConstraintError.
func (n *node) validate(v *value) error {
	switch n.kind {
	case kindStruct:
		return n.validateStruct(v)
	case kindList:
		return n.validateList(v)
	case kindMap:
		return n.validateMap(v)
	case kindString:
		return n.validateString(v)
	case kindBool:
		if v.kind != boolean {
			return mistyped("a boolean, not " + v.kind.String())
		}
	case kindInt:
		i, err := v.integer(n.typ.Bits())
		if err != nil {
			return err
		}
		return n.inRange(i)
	case kindFloat:
		f, err := v.float()
		if err != nil {
			return err
		}
		if n.tooSmall != "" && !(f >= float64(n.min)) {
			return failed(n.tooSmall)
		}
		if n.tooBig != "" && !(f <= float64(n.max)) {
			return failed(n.tooBig)
		}
	case kindTime:
		_, err := v.time()
		return err
	case kindBlob:
		size, err := v.blobSize()
		if err != nil {
			return err
		}
		return n.inRange(size)
	}
	return nil
}

// inRange checks a size or a number.
func (n *node) inRange(i int64) error {
	if n.tooSmall != "" && i < n.min {
		return failed(n.tooSmall)
	}
	if n.tooBig != "" && i > n.max {
		return failed(n.tooBig)
	}
	return nil
}

const notNull = "Member must not be null"

func (n *node) validateStruct(v *value) error {
	if v.kind != object {
		return mistyped("an object, not " + v.kind.String())
	}
	var seen [maxMembers / 64]uint64
	for i := range v.kids {
		kid := &v.kids[i]
		m := n.byName[string(kid.key)]
		if m == nil || kid.kind == null {
			continue
		}
		kid.member = m
		seen[m.index/64] |= 1 << (m.index % 64)
	}
	for _, m := range n.members {
		if m.required && seen[m.index/64]&(1<<(m.index%64)) == 0 {
			return at(m.name, failed(notNull))
		}
	}
	for i := range v.kids {
		kid := &v.kids[i]
		if kid.member == nil {
			continue
		}
		if err := kid.member.node.validate(kid); err != nil {
			return at(kid.member.name, err)
		}
	}
	return nil
}

func (n *node) validateList(v *value) error {
	if v.kind != list {
		return mistyped("a list, not " + v.kind.String())
	}
	if err := n.inRange(int64(len(v.kids))); err != nil {
		return err
	}
	for i := range v.kids {
		kid := &v.kids[i]
		if kid.kind == null {
			return atItem(i, failed(notNull))
		}
		if err := n.elem.validate(kid); err != nil {
			return atItem(i, err)
		}
	}
	return nil
}

func (n *node) validateMap(v *value) error {
	if v.kind != object {
		return mistyped("an object, not " + v.kind.String())
	}
	if err := n.inRange(int64(len(v.kids))); err != nil {
		return err
	}
	for i := range v.kids {
		kid := &v.kids[i]
		if err := n.key.validateString(&value{kind: text, raw: kid.key}); err != nil {
			return atKey(string(kid.key), err)
		}
		if kid.kind == null {
			return atKey(string(kid.key), failed(notNull))
		}
		if err := n.elem.validate(kid); err != nil {
			return atKey(string(kid.key), err)
		}
	}
	return nil
}

func (n *node) validateString(v *value) error {
	if v.kind != text {
		return mistyped("a string, not " + v.kind.String())
	}
	if n.tooSmall != "" || n.tooBig != "" {
		if err := n.inRange(int64(utf8.RuneCount(v.raw))); err != nil {
			return err
		}
	}
	if n.enum != nil {
		if _, ok := n.enum[string(v.raw)]; !ok {
			return failed(n.notInEnum)
		}
	}
	if n.pattern != nil && !n.pattern.Match(v.raw) {
		return failed(n.noMatch)
	}
	return nil
}

// integer returns a number that has no fraction and fits into bits. 1e3 and
// 1.0 are integers.
func (v *value) integer(bits int) (int64, error) {
	if v.kind != number {
		return 0, mistyped("an integer, not " + v.kind.String())
	}
	if i, err := strconv.ParseInt(string(v.raw), 10, bits); err == nil {
		return i, nil
	}
	f, err := strconv.ParseFloat(string(v.raw), 64)
	const exact = 1 << 53
	if err != nil || f != math.Trunc(f) || math.Abs(f) > min(exact, float64(uint64(1)<<(bits-1)-1)) {
		return 0, mistyped("an integer of " + strconv.Itoa(bits) + " bits")
	}
	return int64(f), nil
}

// float returns a number; NaN and the infinities are strings, as AWS has them.
func (v *value) float() (float64, error) {
	switch {
	case v.kind == number:
		f, err := strconv.ParseFloat(string(v.raw), 64)
		if err != nil {
			return 0, mistyped("a number of 64 bits")
		}
		return f, nil
	case v.kind == text:
		switch string(v.raw) {
		case "NaN":
			return math.NaN(), nil
		case "Infinity":
			return math.Inf(1), nil
		case "-Infinity":
			return math.Inf(-1), nil
		}
	}
	return 0, mistyped("a number, not " + v.kind.String())
}
