package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The resource tags of a repository that set its guards.
const (
	TagPulledWithin = "ecru:keep-pulled-within" // 30d, 12h; 0d: not even the server's default
	TagKeepLast     = "ecru:keep-last"          // prod-:10/release-:5

	guardTags = "ecru:keep-" // what begins so and is neither is a mistake
)

// Bounds of guards in resource tags.
const (
	MaxPulledWithin = 3650 * day
	MaxKeepLast     = 10000 // images of one prefix
	MaxPrefixes     = 20
)

// ParseGuards reads the guards in the resource tags of a repository; InUse is
// nil. Other tags are passed over. The error says what is wrong with which tag,
// and is safe to show.
//
// A tag's value may have letters, digits, spaces and + - = . _ : / @ (ECR API,
// "Tag"), so that a list is joined by slashes, or by spaces.
func ParseGuards(tags map[string]string) (Guards, error) {
	var g Guards
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		var err error
		switch {
		case key == TagPulledWithin:
			g.PulledWithin, err = parsePulledWithin(value)
		case key == TagKeepLast:
			g.KeepLast, err = parseKeepLast(value)
		case strings.HasPrefix(strings.ToLower(key), guardTags):
			err = fmt.Errorf("is no guard: the guards are %s and %s", TagPulledWithin, TagKeepLast)
		}
		if err != nil {
			return Guards{}, fmt.Errorf("the tag %s %w", key, err)
		}
	}
	return g, nil
}

func parsePulledWithin(value string) (time.Duration, error) {
	bad := fmt.Errorf("must be a number of days or hours, such as 30d or 12h, of %d days at most; 0d is no guard", MaxPulledWithin/day)
	if value == "" {
		return 0, bad
	}
	unit := day
	switch value[len(value)-1] {
	case 'd':
	case 'h':
		unit = time.Hour
	default:
		return 0, bad
	}
	n, err := number(value[:len(value)-1], int(MaxPulledWithin/unit))
	if err != nil {
		return 0, bad
	}
	if n == 0 {
		return -1, nil
	}
	return time.Duration(n) * unit, nil
}

func parseKeepLast(value string) ([]PrefixCount, error) {
	bad := fmt.Errorf("must be prefixes of image tags with how many images to keep of each, joined by slashes, such as prod-:10/release-:5; %d prefixes and %d images of each at most", MaxPrefixes, MaxKeepLast)
	var out []PrefixCount
	parts := strings.FieldsFunc(value, func(r rune) bool { return r == '/' || r == ' ' })
	if len(parts) == 0 || len(parts) > MaxPrefixes {
		return nil, bad
	}
	for _, part := range parts {
		prefix, count, ok := strings.Cut(part, ":")
		n, err := number(count, MaxKeepLast)
		if !ok || err != nil || n == 0 || !tagPrefix(prefix) {
			return nil, bad
		}
		for _, other := range out {
			if other.Prefix == prefix {
				return nil, fmt.Errorf("has the prefix %q twice", prefix)
			}
		}
		out = append(out, PrefixCount{prefix, n})
	}
	return out, nil
}

// number reads digits alone, up to most.
func number(s string, most int) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || len(s) > 9 || int(n) > most {
		return 0, strconv.ErrRange
	}
	return int(n), nil
}

// tagPrefix reports whether s may be the beginning of an image's tag (OCI
// Distribution, "Pulling manifests").
func tagPrefix(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case (c == '.' || c == '-') && i > 0:
		default:
			return false
		}
	}
	return len(s) <= 128
}
