package ecr

import (
	"strings"
	"time"
)

// A ScanType says what of an image is looked at (ECR API, ScanType).
type ScanType string

const (
	ScanBasic    ScanType = "BASIC"    // the operating system's packages
	ScanEnhanced ScanType = "ENHANCED" // all packages, and new advisories as they come
)

// A ScanFrequency says when an image is scanned (ECR API, ScanFrequency).
type ScanFrequency string

const (
	ScanManual     ScanFrequency = "MANUAL" // when it is asked for; with ScanEnhanced never
	ScanOnPush     ScanFrequency = "SCAN_ON_PUSH"
	ScanContinuous ScanFrequency = "CONTINUOUS_SCAN"
)

// A ScanConfiguration is the scanning configuration of a registry. The zero
// value is that of a registry where nobody has set one.
type ScanConfiguration struct {
	Type  ScanType   `json:"type"`
	Rules []ScanRule `json:"rules"`
}

// A ScanRule has repositories scanned at a frequency.
type ScanRule struct {
	Frequency ScanFrequency `json:"frequency"`
	Filters   []string      `json:"filters"`
}

// For returns how images of a repository are scanned, and the filters that say
// so. Of two frequencies the more frequent counts. scanOnPush is the
// repository's own setting, which basic scanning adds to the registry's.
func (c ScanConfiguration) For(repository string, scanOnPush bool) (f ScanFrequency, filters []string) {
	f = ScanManual
	for _, rule := range c.Rules {
		if rule.Frequency == ScanManual || rule.Frequency == ScanOnPush && f == ScanContinuous {
			continue
		}
		var by []string
		for _, filter := range rule.Filters {
			if scanFilter(filter, repository) {
				by = append(by, filter)
			}
		}
		if by != nil {
			f, filters = rule.Frequency, by
		}
	}
	if f == ScanManual && scanOnPush && c.Type != ScanEnhanced {
		f = ScanOnPush
	}
	return f, filters
}

// scanFilter reports whether a filter is for a repository. Without a * it is
// for every name that contains it (ECR user guide, "Using filters").
func scanFilter(filter, name string) bool {
	if !strings.Contains(filter, "*") {
		return strings.Contains(name, filter)
	}
	return Wildcard(filter, name)
}

// A ScanStatus says where the scan of an image stands (ECR API, ScanStatus).
type ScanStatus string

const (
	ScanPending     ScanStatus = "PENDING"
	ScanInProgress  ScanStatus = "IN_PROGRESS"
	ScanComplete    ScanStatus = "COMPLETE"
	ScanActive      ScanStatus = "ACTIVE" // complete, and kept up to date
	ScanFailed      ScanStatus = "FAILED"
	ScanUnsupported ScanStatus = "UNSUPPORTED_IMAGE"
	ScanUnavailable ScanStatus = "FINDINGS_UNAVAILABLE"
	ScanArchived    ScanStatus = "IMAGE_ARCHIVED"
)

// Done reports whether there are findings to show.
func (s ScanStatus) Done() bool { return s == ScanComplete || s == ScanActive }

// A Scan is where the scan of one image, of one type, stands.
type Scan struct {
	Image       int64 // row
	Type        ScanType
	Status      ScanStatus
	Description string
	RequestedAt time.Time // when it was begun last
	FirstAt     time.Time // when it was complete first; zero if never
	CompletedAt time.Time // when it was complete last; zero if never
	// Counts are the findings by severity in ECR's words; Suppressed are those
	// among them that are set aside.
	Counts     map[string]int
	Suppressed map[string]int
	// SourceAt is how new the advisories were that Counts go by.
	SourceAt time.Time
}
