package vuln

import (
	"reflect"
	"testing"
)

func advisory(id string, fixed string, set func(*Advisory)) *Advisory {
	a := &Advisory{ID: id, Affected: []Affected{{Key: Key{"Debian:11", "a"}, Intervals: []Interval{{Fixed: fixed}}}}}
	if set != nil {
		set(a)
	}
	return a
}

// TestBulletins: a bulletin makes a match for each of its CVEs but those that
// have a record of their own about the package, whatever that says.
func TestBulletins(t *testing.T) {
	bulletin := advisory("DSA-1-1", "2.0", func(a *Advisory) { a.Upstream = []string{"CVE-1-1", "CVE-1-2", "CVE-1-3"} })
	affected := advisory("DEBIAN-CVE-1-2", "3.0", func(a *Advisory) { a.Upstream = []string{"CVE-1-2"} })
	not := advisory("DEBIAN-CVE-1-3", "0.5", nil)
	elsewhere := advisory("DEBIAN-CVE-1-1", "0.5", func(a *Advisory) { a.Affected[0].Name = "b" })
	withdrawn := advisory("DEBIAN-CVE-1-1", "0.5", func(a *Advisory) { a.Withdrawn = 1 })
	ms := identity("Debian:11", "a", "1.0").Match([]*Advisory{bulletin, affected, not, elsewhere, withdrawn, bulletin}, nil)
	if len(ms) != 2 || ms[0].Vulnerability != "CVE-1-1" || ms[0].Fixed != "2.0" || !reflect.DeepEqual(ms[0].Advisories, []string{"DSA-1-1"}) ||
		ms[1].Vulnerability != "CVE-1-2" || ms[1].Fixed != "3.0" || !reflect.DeepEqual(ms[1].Advisories, []string{"DEBIAN-CVE-1-2"}) {
		t.Errorf("%+v", ms)
	}
	alone := advisory("DSA-2-1", "2.0", nil)
	if ms := identity("Debian:11", "a", "1.0").Match([]*Advisory{alone}, nil); len(ms) != 1 || ms[0].Vulnerability != "DSA-2-1" {
		t.Errorf("a bulletin without CVEs: %+v", ms)
	}
}

// TestAliases: records that name each other, also by way of a third name, are
// one match; the best record is first.
func TestAliases(t *testing.T) {
	named := func(names ...string) func(*Advisory) { return func(a *Advisory) { a.Aliases = names } }
	list := []*Advisory{
		advisory("PYSEC-1", "2.0", named("CVE-1-1")),
		advisory("GHSA-x", "2.5", named("CVE-1-1", "SNYK-1")),
		advisory("ZZ-1", "2.0", named("SNYK-1")),
		advisory("GHSA-y", "2.0", nil),
	}
	ms := identity("Debian:11", "a", "1.0").Match(list, nil)
	want := []string{"GHSA-x", "PYSEC-1", "ZZ-1"}
	if len(ms) != 2 || ms[0].Vulnerability != "CVE-1-1" || !reflect.DeepEqual(ms[0].Advisories, want) || ms[0].Fixed != "2.5" || ms[0].Fix != FixYes ||
		!reflect.DeepEqual(ms[0].Aliases, []string{"GHSA-x", "PYSEC-1", "SNYK-1", "ZZ-1"}) || ms[1].Vulnerability != "GHSA-y" {
		t.Errorf("%+v", ms)
	}
	unfixed := advisory("GHSA-z", "", named("CVE-1-1"))
	if ms := identity("Debian:11", "a", "1.0").Match(append(list, unfixed), nil); ms[0].Fix != FixPartial || ms[0].Fixed != "2.0" {
		t.Errorf("one of the records knows no fix: %+v", ms[0])
	}
}

// TestVersionsThatDoNotCompare are matched by their text alone.
func TestVersionsThatDoNotCompare(t *testing.T) {
	a := &Advisory{ID: "X-1", Affected: []Affected{{Key: Key{"Nowhere", "a"}, Intervals: []Interval{{}}, Versions: []string{"1.0"}}}}
	if !a.Affects(identity("Nowhere", "a", "1.0")) || a.Affects(identity("Nowhere", "a", "1.1")) {
		t.Error("an ecosystem without an order")
	}
}
