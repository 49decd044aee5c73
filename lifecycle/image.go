package lifecycle

import "time"

// An Instant is a moment in nanoseconds since 1970 UTC; 0 is never. It is
// a third of a time.Time.
type Instant int64

// At is t as an Instant. The zero time is never.
func At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixNano())
}

// Time is the inverse of At.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

// An Image is what the evaluation knows of an image. The strings and slices
// are only read, and none is copied.
type Image struct {
	Digest string   // unique in the repository
	Tags   []string // nil if it has none
	// Children are the images that this manifest list refers to, as indexes
	// into the same slice; nil if it is no list. What is not in the
	// repository is left out.
	Children []int32

	PushedAt     Instant
	LastPulledAt Instant // 0 if no pull was recorded
	ArchivedAt   Instant // when it was archived last, 0 if never
	ActivatedAt  Instant // when it was restored last, 0 if never

	Size int64 // bytes, for sums only

	// Subject is the index of the image that this one refers to; -1 if it
	// refers to none, or to one that is not in the repository.
	Subject int32
	// Archived says that it is in the archive class. An image that is being
	// restored (ACTIVATING) is not.
	Archived bool
}

// age is the moment from which an image is ordered: the last time that it came
// into its storage class (ECR behaviour, §2 steps 2 and 7).
func (m *Image) age() Instant {
	switch {
	case m.Archived && m.ArchivedAt != 0:
		return m.ArchivedAt
	case m.ActivatedAt != 0:
		return m.ActivatedAt
	}
	return m.PushedAt
}

// since is the moment from which a count of days runs, and what happened then;
// 0 if it is not known.
func (m *Image) since(c CountType) (Instant, string) {
	switch {
	case c == SinceImageTransitioned:
		return m.ArchivedAt, "archived"
	case c == SinceImagePulled && m.LastPulledAt != 0 && m.LastPulledAt >= m.ActivatedAt:
		return m.LastPulledAt, "pulled"
	case m.ActivatedAt != 0:
		return m.ActivatedAt, "restored"
	}
	return m.PushedAt, "pushed"
}
