package crash

import "testing"

func TestLedger(t *testing.T) {
	l := newLedger()
	must := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s: %q", what, keys(l.allowed("tag")))
		}
	}
	is := func(values ...string) bool {
		a := l.allowed("tag")
		for _, v := range values {
			if !a[v] {
				return false
			}
		}
		return len(a) == len(values)
	}
	must("nothing was written", is(absent))
	one := l.begin("tag", "1")
	must("a write in flight may have happened", is(absent, "1"))
	one()
	must("an acknowledged write has happened", is("1"))
	two, three := l.begin("tag", "2"), l.begin("tag", "3")
	must("two in flight", is("1", "2", "3"))
	two()
	must("of overlapping writes either may be the last", is("2", "3"))
	three()
	must("also when both are acknowledged", is("2", "3"))
	l.begin("tag", absent)()
	must("a deletion after them", is(absent))
	if l.observe("tag", "2") == nil {
		t.Error("a deleted tag that is there was not found")
	}
	l.begin("tag", "4")
	if err := l.observe("tag", "4"); err != nil {
		t.Error(err)
	}
	must("what was seen stays", is("4"))
}
