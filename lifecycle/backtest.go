package lifecycle

import "time"

// A Pull is a pull on record.
type Pull struct {
	At Instant
	// What was asked for: an image by Digest or by Tag, or a Layer.
	Digest, Tag, Layer string
	By                 string // who pulled
	Calls              int    // for how many calls the record stands; 0 means one
}

// A History is a repository with what is on record about it, in any order but
// that of one moment.
type History struct {
	Images []Image // that are there now
	Pushes []Push
	Pulls  []Pull // that succeeded
	// Deletes are images, or if only Tag is given tags, that somebody deleted.
	Deletes []Push
	Layers  [][]Layer // of each of Images; nil if they are not known
	// Gone is what pushes tell of images that are not there now, by digest.
	Gone map[string]GoneImage
}

// A GoneImage is what its push tells of an image.
type GoneImage struct {
	Children []string
	Subject  string
	Layers   []string
}

// A Failure is a pull that would have failed.
type Failure struct {
	Pull   Pull
	Digest string // the image; of a layer, the one that had it last
	Tags   []string
	Pushed Instant
	Gone   Instant // when the policy would have taken it
	Reason string
	// Archived says that it would be there, but could not be pulled.
	Archived bool
}

// A Backtest is what a replay found.
type Backtest struct {
	From, To time.Time
	Failures []Failure // in the order of time
	Pulls    int       // calls that were looked at
	Pushes   int
	// Unknown are pulls of images whose push is not on record and that are gone
	// now: nobody knows how old they were.
	Unknown int
	// Unresolved are pulls of tags and layers of which nobody knows what they
	// stood for.
	Unresolved int
	// Shared are records of pulls that stand for several calls.
	Shared int
	// NoPush are images of this time whose push is not on record.
	NoPush int
	// Taken are the images that are there and that the policy would have taken.
	Taken int
}

// Safe reports whether no pull on record would have failed.
func (b *Backtest) Safe() bool { return len(b.Failures) == 0 }
