package registry

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/ecruhq/ecru/ecr"
)

// encodeCursor makes an opaque nextToken of a place in a list.
func encodeCursor(row int64, name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("1:" + strconv.FormatInt(row, 10) + ":" + name))
}

// decodeCursor is the way back; an empty token is the start.
func decodeCursor(token string) (row int64, name string, err error) {
	if token == "" {
		return 0, "", nil
	}
	invalid := ecr.InvalidParam("NextToken", "Invalid next token provided")
	b, decodeErr := base64.RawURLEncoding.DecodeString(token)
	if decodeErr != nil || len(b) > 1024 {
		return 0, "", invalid
	}
	rest, ok := strings.CutPrefix(string(b), "1:")
	number, name, ok2 := strings.Cut(rest, ":")
	row, parseErr := strconv.ParseInt(number, 10, 64)
	if !ok || !ok2 || parseErr != nil || row < 0 || clean(name, 1024) != name {
		return 0, "", invalid
	}
	return row, name, nil
}

// limit returns how many items a page has.
func limit(p ecr.Page, def, most int) (int, error) {
	switch {
	case p.Limit == 0:
		return def, nil
	case p.Limit < 0:
		return 0, ecr.InvalidParam("maxResults", "Member must have value greater than or equal to 1")
	case p.Limit > most:
		return 0, ecr.InvalidParam("maxResults", "Member must have value less than or equal to "+strconv.Itoa(most))
	}
	return p.Limit, nil
}
