package registry

import (
	"testing"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/vuln"
)

func TestCheckScanConfiguration(t *testing.T) {
	rule := func(f ...ecr.ScanFrequency) (rules []ecr.ScanRule) {
		for _, one := range f {
			rules = append(rules, ecr.ScanRule{Frequency: one, Filters: []string{"*"}})
		}
		return rules
	}
	for _, c := range []struct {
		cfg ecr.ScanConfiguration
		ok  bool
	}{
		{ecr.ScanConfiguration{Type: ecr.ScanBasic}, true},
		{ecr.ScanConfiguration{Type: ecr.ScanBasic, Rules: rule(ecr.ScanOnPush)}, true},
		{ecr.ScanConfiguration{Type: ecr.ScanBasic, Rules: rule(ecr.ScanContinuous)}, false},
		{ecr.ScanConfiguration{Type: ecr.ScanEnhanced, Rules: rule(ecr.ScanOnPush, ecr.ScanContinuous)}, true},
		{ecr.ScanConfiguration{Type: ecr.ScanEnhanced, Rules: rule(ecr.ScanOnPush, ecr.ScanOnPush)}, false},
		{ecr.ScanConfiguration{Type: ecr.ScanEnhanced, Rules: rule(ecr.ScanManual)}, false},
	} {
		if err := checkScanConfiguration(c.cfg); (err == nil) != c.ok || err != nil && !isCode(err, ecr.Validation) {
			t.Errorf("%+v: %v, want ok=%v", c.cfg, err, c.ok)
		}
	}
}

// FuzzParseVersions: any range is refused or can be asked of any version.
func FuzzParseVersions(f *testing.F) {
	for _, s := range []string{">=2.0,<2.17.1", "1.2.3", "<=5", "=1:2.3-4", ">=1,<=2", "<", ",", ">= 1 , < 2"} {
		f.Add(s, "1.5")
	}
	f.Fuzz(func(t *testing.T, text, version string) {
		within, err := parseVersions(text)
		if err != nil {
			if !isCode(err, ecr.InvalidParameter) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for _, eco := range []string{"npm", "Debian:12", "Maven", "nowhere"} {
			versionIn(vuln.Identity{Key: vuln.Key{Ecosystem: eco, Name: "a"}, Version: version}, within)
		}
	})
}
