// Package extract makes the inventory of a layer (vuln.Layer) from its bytes:
// one pass over the archive, in a process of its own, nothing unpacked.
//
// Most evidence is read by the extractors of osv-scalibr, called for one file
// of the archive at a time. Extractors of our own stand where those are wrong,
// or lack what is needed; the comment of each says what that is.
//
// Layers come from strangers. What a worker does with one cannot hurt the
// server: it has no secrets, bounded memory, time and files, and its answer is
// read as hostile too. Whatever the bytes are, the outcome is an inventory whose
// Status and Message say what it is worth.
package extract

import "time"

// Version is the version of the extractors. It goes up with every change that
// lets the same bytes give another inventory, or another encoding.
const Version = 1

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// Limits bound the work on one layer. A field that is zero has its default.
type Limits struct {
	Time     time.Duration // until the worker must have answered; it is killed 10 s later
	Entries  int64         // of the archive
	Inflated int64         // bytes of the archive, inflated
	// Ratio of inflated bytes to bytes, looked at from 1 GiB inflated on: no
	// files in use come near it.
	Ratio  int64
	Memory int64 // of the worker: anonymous memory, in bytes
	// Database is the time for one rpm database: real ones take a second or two,
	// made ones can lead their reader in circles.
	Database time.Duration
	Nested   int64 // bytes inflated from the archives inside one archive
}

// DefaultLimits leave room for the largest layers that ECR takes.
func DefaultLimits() Limits {
	return Limits{
		Time:     15 * time.Minute,
		Entries:  4_000_000,
		Inflated: 200 * gib,
		Ratio:    300,
		Memory:   1 * gib,
		Database: 30 * time.Second,
		Nested:   2 * gib,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Time == 0 {
		l.Time = d.Time
	}
	if l.Entries == 0 {
		l.Entries = d.Entries
	}
	if l.Inflated == 0 {
		l.Inflated = d.Inflated
	}
	if l.Ratio == 0 {
		l.Ratio = d.Ratio
	}
	if l.Memory == 0 {
		l.Memory = d.Memory
	}
	if l.Database == 0 {
		l.Database = d.Database
	}
	if l.Nested == 0 {
		l.Nested = d.Nested
	}
	return l
}

// Bounds that no setting changes.
const (
	maxPath     = 4096     // bytes of a path; Linux knows no longer ones
	maxKept     = 96 * mib // bytes of text that the inventory of a layer holds
	maxPackages = 200_000  // of one file
	maxOwned    = 4_000_000
	maxWarnings = 50
	maxWarning  = 300
	maxName     = 512
	maxVersion  = 256
	ratioFrom   = 1 * gib
)
