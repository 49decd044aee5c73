package ecr

import (
	"slices"
	"testing"
)

func TestScanConfigurationFor(t *testing.T) {
	push := ScanRule{Frequency: ScanOnPush, Filters: []string{"prod*", "base", "a*b"}}
	always := ScanRule{Frequency: ScanContinuous, Filters: []string{"*critical"}}
	basic := ScanConfiguration{Type: ScanBasic, Rules: []ScanRule{push}}
	both := ScanConfiguration{Type: ScanEnhanced, Rules: []ScanRule{always, push}}
	for _, c := range []struct {
		cfg     ScanConfiguration
		name    string
		onPush  bool
		want    ScanFrequency
		filters []string
	}{
		{ScanConfiguration{}, "app", false, ScanManual, nil},
		{ScanConfiguration{}, "app", true, ScanOnPush, nil},
		{basic, "prod/app", false, ScanOnPush, []string{"prod*"}},
		{basic, "my/prod", false, ScanManual, nil},
		{basic, "my/database", false, ScanOnPush, []string{"base"}}, // without a * it is contained
		{basic, "axxb", false, ScanOnPush, []string{"a*b"}},
		{basic, "axxbc", false, ScanManual, nil},
		{basic, "axxbc", true, ScanOnPush, nil},
		{both, "prod/critical", false, ScanContinuous, []string{"*critical"}},
		{ScanConfiguration{Type: ScanEnhanced, Rules: []ScanRule{push, always}}, "prod/critical", false, ScanContinuous, []string{"*critical"}},
		{both, "prod/app", false, ScanOnPush, []string{"prod*"}},
		{both, "other", true, ScanManual, nil}, // the repository's own setting is basic scanning's
		{ScanConfiguration{Rules: []ScanRule{{Frequency: ScanOnPush, Filters: []string{"*"}}}}, "any/thing", false, ScanOnPush, []string{"*"}},
	} {
		f, filters := c.cfg.For(c.name, c.onPush)
		if f != c.want || !slices.Equal(filters, c.filters) {
			t.Errorf("%s, %s, %v: %s by %q, want %s by %q", c.cfg.Type, c.name, c.onPush, f, filters, c.want, c.filters)
		}
	}
}
