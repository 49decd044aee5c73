package vuln

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// maxVersion bounds the length of a version that is compared at all.
const maxVersion = 256

var errVersion = errors.New("the version cannot be compared")

// A version is parsed once and compared with many.
type version struct {
	ecosystem string // its family
	text      string
	parsed    semantic.Version
}

// parseVersion never panics; errVersion is what it says of ecosystems without
// an order and of versions that their order does not know.
func parseVersion(ecosystem, text string) (v version, err error) {
	if text == "" || len(text) > maxVersion {
		return v, errVersion
	}
	defer recovered(&err)
	family := comparator(ecosystem)
	parsed, err := semantic.Parse(text, family)
	if err != nil {
		return v, fmt.Errorf("%w: %w", errVersion, err)
	}
	return version{family, text, parsed}, nil
}

// compare is <0 if v is before other.
func (v version) compare(other string) (c int, err error) {
	if v.text == other {
		return 0, nil
	}
	if other == "" || len(other) > maxVersion {
		return 0, errVersion
	}
	defer recovered(&err)
	return v.parsed.CompareStr(other)
}

// recovered: versions come from images and feeds; a library that fails on one
// must not take the process along.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errVersion, r)
	}
}

// comparator is the family whose order the library knows. Distributions of rpms
// that it has not heard of have Red Hat's.
func comparator(ecosystem string) string {
	family, _, _ := strings.Cut(ecosystem, ":")
	switch family {
	case "Amazon Linux", "Oracle Linux", "Azure Linux", "Photon OS", "Fedora", "CBL-Mariner":
		return "Red Hat"
	}
	return family
}
