package lifecycle_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/lifecycle"
)

func TestReasons(t *testing.T) {
	p := mustParse(t, policy(
		tags("tagPrefixList", `["v"]`, keeps("2")),
		tags("tagPatternList", `["once"]`, pulled("3")+" => "+archive),
		`"tagStatus":"untagged",`+pushed("1"),
		`"tagStatus":"any",`+transitioned("90"),
		`"tagStatus":"any",`+keeps("1")))
	tests := []struct{ image, want string }{
		{"A 5 v1", "rule 1: 4th youngest of 4, keeps 2"},
		{"B 4 v2", "rule 1: 3rd youngest of 4, keeps 2"},
		{"C 3 v3", "kept by rule 1: 2nd youngest of 4, keeps 2; this shields it from rule 5"},
		{"D 0 v4", "kept by rule 1: 1st youngest of 4, keeps 2; this shields it from rule 5"},
		{"E 22", "rule 3: pushed 22 d ago, limit 1 d"},
		{"F 1.5", "rule 3: pushed 1 d 12h0m ago, limit 1 d; withheld: manifest list L refers to it"},
		{"G 1", "kept by rule 3: pushed 1 d ago, limit 1 d; this shields it from rule 5"},
		{"H 99 once pulled=4.5", "rule 2: pulled 4 d ago, limit 3 d"},
		{"I 99 once restored=4 pulled=5", "rule 2: restored 4 d ago, limit 3 d"},
		{"J 99 x archived=100", "rule 4: archived 100 d ago, limit 90 d"},
		{"L 2 list children=F", "rule 5: 5th youngest of 11, keeps 1"},
		{"S 1 subject=L", "follows its subject L: rule 5"},
		{"T 1 subject=S", "follows its subject S: rule 5"},
		{"U 1 subject=D", "stays with its subject D"},
		{"W 1 subject=J", "follows its subject J: rule 4"},
		{"X 9 x archived=3", "kept by rule 4: archived 3 d ago, limit 90 d"},
		{"Y 9 subject=X", "follows its subject X, which is archived"},
		{"Z 9 subject=Y", "follows its subject Y"},
		{"a -1", "kept by rule 3: pushed -1 d ago, limit 1 d"},
	}
	var lines []string
	for _, tt := range tests {
		lines = append(lines, tt.image)
	}
	e := lifecycle.Evaluate(p, repository(t, strings.Join(lines, ";")), now)
	for i, tt := range tests {
		if got := e.Reason(i).String(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.image, got, tt.want)
		}
	}
	same := mustParse(t, policy(`"tagStatus":"any",`+pulled("3")+" => "+archive))
	e = lifecycle.Evaluate(same, repository(t, "A 9 restored=4 pulled=4; M 1 x children=B; L 1 x children=B; B 9"), now)
	if got := e.Reason(0).String(); got != "rule 1: pulled 4 d ago, limit 3 d" {
		t.Errorf("pulled when it was restored: %q", got)
	}
	if got := e.Reason(3).String(); got != "rule 1: pushed 9 d ago, limit 3 d; withheld: manifest list L refers to it" {
		t.Errorf("in two lists: %q", got)
	}
	none := lifecycle.Evaluate(mustParse(t, policy(tags("tagPrefixList", `["v"]`, keeps("1")))), repository(t, "A 9 x"), now)
	if got := none.Reason(0).String(); got != "no rule selects it" {
		t.Errorf("got %q", got)
	}
}

func TestOrdinals(t *testing.T) {
	var images []string
	for i := range 125 {
		images = append(images, fmt.Sprintf("A%03d %d", i, i+1))
	}
	e := lifecycle.Evaluate(mustParse(t, policy(`"tagStatus":"any",`+keeps("1"))), repository(t, strings.Join(images, ";")), now)
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 101: "101st", 111: "111th", 112: "112th", 122: "122nd"} {
		if got := e.Reason(n - 1).String(); !strings.Contains(got, " "+want+" youngest of 125") {
			t.Errorf("%d: %s", n, got)
		}
	}
}
