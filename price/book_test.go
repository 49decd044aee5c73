package price

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func book(t testing.TB) *Book {
	t.Helper()
	b, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSums(t *testing.T) {
	b := book(t)
	const gb = 1 << 30
	for _, tt := range []struct {
		what string
		got  float64
		want float64
	}{
		{"nothing", b.StorageMonth(0), 0},
		{"10 GB in each of 3 regions", 3 * b.StorageMonth(10*gb), 3},
		{"archive costs the same up to 150 TB", b.ArchiveMonth(153600 * gb), b.StorageMonth(153600 * gb)},
		{"and less for what is more", b.ArchiveMonth(153700 * gb), 15360 + 7},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s: %g, want %g", tt.what, tt.got, tt.want)
		}
	}
}

func TestMoney(t *testing.T) {
	b := book(t)
	euro := *b
	euro.Currency = "EUR"
	for _, tt := range []struct{ got, want string }{
		{b.Money(1.234), "$1.23"}, {b.Money(-1.5), "-$1.50"}, {b.Money(0), "$0.00"}, {b.Money(0.0012), "<$0.01"}, {euro.Money(3), "3.00 EUR"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	good := string(usEast1)
	for _, tt := range []struct{ old, new, want string }{
		{"", "", ""},
		{`"currency": "USD"`, `"currency": ""`, "currency and source"},
		{`"2026-06-30"`, `"mid-2026"`, "want a day"},
		{`"region"`, `"regoin"`, "unknown field"},
		{`1073741824`, `1024`, "bytesPerGB"},
		{`[{"perGBMonth": 0.10}]`, `[]`, "0 tiers"},
		{`[{"perGBMonth": 0.10}]`, `[{"upToGB": 5, "perGBMonth": 0.10}]`, "without upToGB"},
		{`{"upToGB": 153600, "perGBMonth": 0.10}`, `{"perGBMonth": 0.10}`, "not more than the one before"},
		{`0.07`, `-1`, "archive tier 2 costs -1"},
		{`0.045`, `1e12`, "a price is"},
		{`"archiveMinimumDays": 90`, `"archiveMinimumDays": -1`, "archiveMinimumDays"},
	} {
		_, err := Parse([]byte(strings.Replace(good, tt.old, tt.new, 1)))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.new, err, tt.want)
		}
	}
	if _, err := Parse([]byte(good + "{}")); err == nil {
		t.Error("two values are taken")
	}
	if _, err := Parse(make([]byte, MaxText+1)); err == nil {
		t.Error("a large file is taken")
	}
}

// What is accepted is the same when written and read again, and has finite sums.
func FuzzParse(f *testing.F) {
	f.Add(usEast1)
	f.Add([]byte(`{"currency":"EUR","source":"own machines","date":"2026-01-01","bytesPerGB":1000000000,"storage":[{"perGBMonth":0.02}],"archive":[{"perGBMonth":0.02}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Parse(text)
		if err != nil {
			return
		}
		for _, n := range []int64{0, 1, 1 << 40, math.MaxInt64} {
			if s := b.StorageMonth(n) + b.ArchiveMonth(n); s < 0 || math.IsNaN(s) || math.IsInf(s, 0) {
				t.Errorf("%d bytes cost %g", n, s)
			}
		}
		written, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(written)
		if len(written) <= MaxText && (err != nil || !reflect.DeepEqual(b, again)) {
			t.Errorf("%v: %+v became %+v", err, b, again)
		}
	})
}
