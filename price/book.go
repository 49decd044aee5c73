// Package price is what storage and transfer cost: a book of prices, which is
// data with a source and a date, and sums by it. All functions are pure.
package price

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Book is the prices of one region of AWS, or what somebody reckons that
// storage costs on machines of their own. Its JSON form is a price book file.
type Book struct {
	Region   string `json:"region"`
	Currency string `json:"currency"` // USD
	Source   string `json:"source"`   // where the prices were read
	Date     string `json:"date"`     // when, as 2026-06-30

	BytesPerGB int64 `json:"bytesPerGB"` // what a GB is on the bill

	Storage []Tier `json:"storage"` // the standard class
	Archive []Tier `json:"archive"`
	// ArchiveRestorePerGB is paid for what is taken out of the archive.
	ArchiveRestorePerGB float64 `json:"archiveRestorePerGB"`
	// ArchiveMinimumDays are paid for what is archived, however soon it goes.
	ArchiveMinimumDays int `json:"archiveMinimumDays"`

	Transfer Transfer `json:"transfer"`
}

// A Tier is the price of the gigabytes of a month up to a number of them.
type Tier struct {
	UpToGB     float64 `json:"upToGB,omitempty"` // 0 means without limit: only the last tier
	PerGBMonth float64 `json:"perGBMonth"`
}

// Transfer is what moving bytes costs.
type Transfer struct {
	SameRegionPerGB float64 `json:"sameRegionPerGB"`
	InternetPerGB   float64 `json:"internetPerGB"` // out of AWS
	NATPerGB        float64 `json:"natPerGB"`      // through a NAT gateway
	EndpointMonth   float64 `json:"endpointMonth"` // an interface endpoint in one zone
	EndpointPerGB   float64 `json:"endpointPerGB"`
}

//go:embed us-east-1.json
var usEast1 []byte

// Default is the book that comes with the program: us-east-1.
func Default() (*Book, error) { return Parse(usEast1) }

const (
	// MaxText bounds a price book file, in bytes.
	MaxText = 64 << 10
	// maxTiers and maxPrice bound what is no mistake.
	maxTiers = 20
	maxPrice = 1e9
)

// Parse reads a price book. Every member but the prices of transfer and of the
// archive's restores must be there, and none that is not known may be.
func Parse(text []byte) (*Book, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("the price book has %d bytes, at most %d are allowed", len(text), MaxText)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	b := new(Book)
	if err := d.Decode(b); err != nil {
		return nil, fmt.Errorf("the price book is not what it should be: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the price book has more than one JSON value")
	}
	return b, b.check()
}

func (b *Book) check() error {
	if _, err := time.Parse(time.DateOnly, b.Date); err != nil {
		return fmt.Errorf("price book: date is %q, want a day such as 2026-06-30", b.Date)
	}
	if b.Currency == "" || b.Source == "" {
		return errors.New("price book: currency and source must be given")
	}
	if b.BytesPerGB < 1_000_000_000 || b.BytesPerGB > 1<<30 {
		return fmt.Errorf("price book: bytesPerGB is %d, want 1000000000 to 1073741824", b.BytesPerGB)
	}
	if b.ArchiveMinimumDays < 0 || b.ArchiveMinimumDays > 3650 {
		return fmt.Errorf("price book: archiveMinimumDays is %d, want 0 to 3650", b.ArchiveMinimumDays)
	}
	t := b.Transfer
	for _, p := range []float64{b.ArchiveRestorePerGB, t.SameRegionPerGB, t.InternetPerGB, t.NATPerGB, t.EndpointMonth, t.EndpointPerGB} {
		if p < 0 || p > maxPrice {
			return fmt.Errorf("price book: a price is %g, want 0 to %g", p, float64(maxPrice))
		}
	}
	if err := checkTiers("storage", b.Storage); err != nil {
		return err
	}
	return checkTiers("archive", b.Archive)
}

func checkTiers(name string, tiers []Tier) error {
	if len(tiers) == 0 || len(tiers) > maxTiers {
		return fmt.Errorf("price book: %s has %d tiers, want 1 to %d", name, len(tiers), maxTiers)
	}
	before := 0.0
	for i, t := range tiers {
		last := i == len(tiers)-1
		switch {
		case t.PerGBMonth < 0 || t.PerGBMonth > maxPrice:
			return fmt.Errorf("price book: %s tier %d costs %g, want 0 to %g", name, i+1, t.PerGBMonth, float64(maxPrice))
		case last && t.UpToGB != 0:
			return fmt.Errorf("price book: the last tier of %s must be without upToGB", name)
		case !last && t.UpToGB <= before:
			return fmt.Errorf("price book: %s tier %d goes up to %g GB, which is not more than the one before", name, i+1, t.UpToGB)
		}
		before = t.UpToGB
	}
	return nil
}

// GB is a number of bytes as the bill counts them.
func (b *Book) GB(bytes int64) float64 { return float64(bytes) / float64(b.BytesPerGB) }

// StorageMonth is what it costs to keep so many bytes for a month.
func (b *Book) StorageMonth(bytes int64) float64 { return sum(b.Storage, b.GB(bytes)) }

// ArchiveMonth is what it costs to keep so many bytes archived for a month.
func (b *Book) ArchiveMonth(bytes int64) float64 { return sum(b.Archive, b.GB(bytes)) }

// sum is the price of so many gigabytes.
func sum(tiers []Tier, gb float64) (cost float64) {
	from := 0.0
	for _, t := range tiers {
		to := gb
		if t.UpToGB != 0 && t.UpToGB < gb {
			to = t.UpToGB
		}
		if to > from {
			cost += (to - from) * t.PerGBMonth
			from = to
		}
	}
	return cost
}

// Money writes an amount in the book's currency: "$1.20", "1.20 EUR", or "<$0.01".
func (b *Book) Money(amount float64) string {
	sign := ""
	if amount < 0 {
		sign, amount = "-", -amount
	}
	text := fmt.Sprintf("%.2f", amount)
	if amount > 0 && amount < 0.01 {
		sign, text = "<"+sign, "0.01"
	}
	if b.Currency == "USD" {
		return sign + "$" + text
	}
	return sign + text + " " + b.Currency
}
