package lifecycle_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/lifecycle"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// ago is so many days before now, given as "10" or "0.5"; "" is never.
func ago(t testing.TB, days string) lifecycle.Instant {
	t.Helper()
	if days == "" {
		return 0
	}
	d, err := strconv.ParseFloat(days, 64)
	if err != nil {
		t.Fatal(err)
	}
	return lifecycle.At(now.Add(-time.Duration(d * float64(24*time.Hour))))
}

// repository reads images, separated by ";". Each is its digest, the days
// since it was pushed, and its tags; then, in any order, "pulled=", "archived="
// (it is), "was=" (it was, days ago), "restored=" with days, "subject=" with
// a digest and "children=" with digests.
func repository(t testing.TB, text string) []lifecycle.Image {
	t.Helper()
	var images []lifecycle.Image
	lines := strings.Split(text, ";")
	index := func(digest string) int32 {
		return int32(slices.IndexFunc(lines, func(l string) bool { return strings.Fields(l)[0] == digest }))
	}
	for _, line := range lines {
		words := strings.Fields(line)
		m := lifecycle.Image{Digest: words[0], PushedAt: ago(t, words[1]), Subject: -1, Size: 1}
		for _, word := range words[2:] {
			key, value, ok := strings.Cut(word, "=")
			switch {
			case !ok:
				m.Tags = append(m.Tags, word)
			case key == "pulled":
				m.LastPulledAt = ago(t, value)
			case key == "archived":
				m.Archived, m.ArchivedAt = true, ago(t, value)
			case key == "was":
				m.ArchivedAt = ago(t, value)
			case key == "restored":
				m.ActivatedAt = ago(t, value)
			case key == "subject":
				m.Subject = index(value)
			case key == "children":
				for _, d := range strings.Split(value, ",") {
					m.Children = append(m.Children, index(d))
				}
			default:
				t.Fatalf("what is %s?", word)
			}
		}
		images = append(images, m)
	}
	return images
}

// outcome is what is done, oldest first: the digest of what expires, with "~"
// after it of what is archived; then "(X)" of what is withheld.
func outcome(e *lifecycle.Evaluation) string {
	var out []string
	for i, o := range e.Due() {
		d := e.Images[i].Digest
		if o == lifecycle.Transition {
			d += "~"
		}
		out = append(out, d)
	}
	for i := range e.Verdicts {
		if v := &e.Verdicts[i]; v.Outcome != lifecycle.Keep && !v.Due() {
			out = append(out, "("+e.Images[i].Digest+")")
		}
	}
	return strings.Join(out, " ")
}

func tags(kind, list, count string) string {
	return `"tagStatus":"tagged","` + kind + `":` + list + `,` + count
}

func keeps(n string) string { return `"countType":"imageCountMoreThan","countNumber":` + n }
func pushed(d string) string {
	return `"countType":"sinceImagePushed","countUnit":"days","countNumber":` + d
}
func pulled(d string) string {
	return `"countType":"sinceImagePulled","countUnit":"days","countNumber":` + d
}
func transitioned(d string) string {
	return `"storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":` + d
}

// The examples of "Examples of lifecycle policies in Amazon ECR", in its
// order, with repositories of our own where it has none.
func TestDocumentedExamples(t *testing.T) {
	const (
		three = "A 10 beta-1 prod-1; B 9 beta-2 prod-2; C 8 beta-3"
		alpha = "A 12 alpha-1; B 11 beta-1; C 10 alpha-2 beta-2; D 4 alpha-3; E 3 beta-3; F 2 alpha-4 beta-4"
	)
	prod, beta := `["prod*"]`, `["beta*"]`
	tests := []struct {
		name   string
		images string
		rules  []string
		want   string
	}{
		{"age: prod* over 14 days", "A 15 prod; B 15 prod1; C 14 prod2; D 3 prod3; E 99 dev; F 99", []string{tags("tagPatternList", prod, pushed("14"))}, "A B"},
		{"last pull: any, archived after 90 days", "A 200 x pulled=91; B 200 pulled=90; C 91 y; D 89; E 300 pulled=200 was=95 restored=10; F 300 pulled=200 was=195 restored=91", []string{`"tagStatus":"any",` + pulled("90") + " => " + archive},
			"A~ C~ F~"},
		{"time in archive: expired after 365 days", "A 900 x archived=366; B 900 archived=365; C 900 y; D 900 archived=366", []string{`"tagStatus":"any",` + transitioned("365")}, "A D"},
		{"count: one untagged", "A 3; B 2; C 1; D 9 x", []string{`"tagStatus":"untagged",` + keeps("1")}, "A B"},
		{"several rules, A", three, []string{tags("tagPatternList", prod, keeps("1")), tags("tagPatternList", beta, keeps("1"))}, "A"},
		{"several rules, B", three, []string{tags("tagPatternList", beta, keeps("1")), tags("tagPatternList", prod, keeps("1"))}, "A B"},
		{"several rules, A by prefix", three, []string{tags("tagPrefixList", `["prod"]`, keeps("1")), tags("tagPrefixList", `["beta"]`, keeps("1"))}, "A"},
		{"several rules, B by prefix", three, []string{tags("tagPrefixList", `["beta"]`, keeps("1")), tags("tagPrefixList", `["prod"]`, keeps("1"))}, "A B"},
		{"several tags, A: all entries must match", alpha, []string{tags("tagPatternList", `["alpha*","beta*"]`, pushed("5"))}, "C"},
		{"several tags, A by prefix", alpha, []string{tags("tagPrefixList", `["alpha","beta"]`, pushed("5"))}, "C"},
		{"several tags, B: other tags do not matter", "A 10 alpha-1 beta-1 gamma-1; B 9 alpha-2 beta-2; C 8 alpha-3 beta-3 gamma-2", []string{tags("tagPatternList", `["alpha*","beta*"]`, keeps("1"))}, "A B"},
		{"all images, A", "A 4 alpha-1; B 3 beta-1; C 2; D 1 alpha-2", []string{`"tagStatus":"any",` + keeps("1")}, "A B C"},
		{"all images, B: all kinds of rules", "A 4 alpha-1 beta-1; B 3; C 2 alpha-2; D 1 git-hash; E 1", []string{tags("tagPatternList", `["alpha*"]`, keeps("1")), `"tagStatus":"untagged",` + pushed("1"), `"tagStatus":"any",` + keeps("1")}, "A B D"},
		{"archive: prod* after 30 days", "A 31 prod; B 30 prod1; C 31 dev; D 31 prod archived=5", []string{tags("tagPatternList", prod, pushed("30")+" => "+archive)}, "A~"},
		{"archive: not pulled in 90 days", "A 91; B 91 x pulled=89", []string{`"tagStatus":"any",` + pulled("90") + " => " + archive}, "A~"},
		{"archive, then expire: one rule for any in each class", "A 31 x; B 30; C 500 archived=366; D 500 y archived=300; E 500 was=200 restored=31", []string{`"tagStatus":"any",` + pushed("30") + " => " + archive, `"tagStatus":"any",` + transitioned("365")},
			"C A~ E~"},
	}
	for _, tt := range tests {
		e := lifecycle.Evaluate(mustParse(t, policy(tt.rules...)), repository(t, tt.images), now)
		if got := outcome(e); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What the guide says in words, and the decisions of the package's comment.
func TestEvaluate(t *testing.T) {
	any1, none1 := `"tagStatus":"any",`+keeps("1"), `"tagStatus":"untagged",`+pushed("1")
	old := `"tagStatus":"any",` + pushed("5")
	tests := []struct {
		name   string
		images string
		rules  []string
		want   string
	}{
		{"a rule shields what it keeps from later rules", "A 50 prod-1; B 50 dev-1", []string{tags("tagPrefixList", `["prod-"]`, keeps("10")), old}, "B"},
		{"later rules count what earlier ones own", "A 9 prod-1; B 8 x; C 7 prod-2; D 6 x", []string{tags("tagPrefixList", `["prod-"]`, keeps("9")), `"tagStatus":"any",` + keeps("2")}, "B"},
		{"an image with many tags counts once", "A 9 v1 v2 v3; B 8 v4", []string{tags("tagPrefixList", `["v"]`, keeps("2"))}, ""},
		{"one tag may match several entries", "A 9 alpha-beta", []string{tags("tagPatternList", `["alpha*","*beta"]`, pushed("1"))}, "A"},
		{"rules of one class do not see the other", "A 9; B 8 archived=7; C 7", []string{any1}, "A"},
		{"a restored image is as young as its restoration", "A 99 was=50 restored=2; B 9; C 3", []string{any1}, "B C"},
		{"and so is its age", "A 99 was=50 restored=2; B 99 was=50 restored=6; C 6", []string{old}, "B C"},
		{"of the same age the lower digest is older", "B 9; A 9; C 9", []string{`"tagStatus":"any",` + keeps("2")}, "A"},
		{"exactly N days is not more", "A 5; B 5.00001; C 4.9", []string{old}, "B"},
		{"what was pushed in the future is young", "A -3; B 6", []string{old}, "B"},
		{"a century is never over", "A 9000", []string{`"tagStatus":"any",` + pushed("2147483647")}, ""},
		{"a pull after the restoration counts", "A 99 was=50 restored=20 pulled=3; B 99 was=50 restored=20 pulled=30", []string{`"tagStatus":"any",` + pulled("10") + " => " + archive}, "B~"},

		{"children are untagged, and stay with their list", "L 9 prod children=A,B; A 9; B 9; C 9", []string{none1}, "C (A) (B)"},
		{"a list frees its children in a later run", "L 9 dev children=A; A 9", []string{old}, "L (A)"},
		{"children count", "L 1 prod children=A; A 2; B 3; C 4", []string{`"tagStatus":"untagged",` + keeps("2")}, "C"},
		{"a list in a list", "L 9 prod children=M; M 9 children=A; A 9", []string{none1}, "(M) (A)"},
		{"an archived list protects nothing", "L 9 prod archived=5 children=A,B; A 9; B 9 archived=95", []string{none1, `"tagStatus":"untagged",` + transitioned("90")}, "B A"},
		{"one of two lists is enough", "L 9 prod archived=5 children=A; M 9 prod children=A; A 9", []string{none1}, "(A)"},
		{"archiving is withheld too", "L 2 prod children=A; A 9", []string{old + " => " + archive}, "(A)"},

		{"a referrer stays with its subject", "A 2 prod; S 9 subject=A", []string{none1}, ""},
		{"and goes with it, in turn", "A 9 dev; S 2 subject=A; T 1 sbom subject=S; B 1 x", []string{old}, "A S T"},
		{"and is archived with it", "A 9 dev; S 2 subject=A; T 1 subject=S archived=1", []string{old + " => " + archive}, "A~ S~"},
		{"also if the subject was archived before", "A 9 dev archived=3; S 2 subject=A; T 1 subject=S", []string{none1}, "S~ T~"},
		{"an archived referrer expires with its subject", "A 9 dev; S 2 archived=1 subject=A", []string{old}, "A S"},
		{"referrers do not count", "A 9 v1; S 8 v1.sig subject=A; B 7 v2; T 6 v2.sig subject=B", []string{`"tagStatus":"any",` + keeps("2")}, ""},
		{"a referrer of a child stays as the child does", "L 2 prod children=A; A 9; S 9 subject=A", []string{none1}, "(A)"},
		{"a list holds a referrer", "L 2 prod children=S; A 9; S 9 subject=A; T 9 subject=S", []string{none1}, "A (S)"},
	}
	for _, tt := range tests {
		e := lifecycle.Evaluate(mustParse(t, policy(tt.rules...)), repository(t, tt.images), now)
		if got := outcome(e); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What no registry holds does no harm: indexes that lead nowhere, referrers in
// a circle, lists in themselves, a policy that Parse would refuse.
func TestEvaluateNonsense(t *testing.T) {
	images := repository(t, "A 9; B 9; C 9; D 9; E 9 x archived=200; F 0 y")
	images[0].Subject, images[1].Subject = 1, 0
	images[2].Subject, images[2].Children = 2, []int32{2, -1, 99}
	images[3].Subject, images[3].PushedAt = 77, 0
	p := mustParse(t, policy(`"tagStatus":"any",`+pushed("1"), `"tagStatus":"any",`+transitioned("90")))
	e := lifecycle.Evaluate(p, images, now)
	if got := outcome(e); got != "E C" {
		t.Errorf("got %q", got)
	}
	for i := range images {
		if e.Reason(i).String() == "" {
			t.Errorf("no reason for %s", images[i].Digest)
		}
	}
	unsorted := &lifecycle.Policy{Rules: []lifecycle.Rule{p.Rules[1], p.Rules[0], {Selection: lifecycle.Selection{TagStatus: lifecycle.Tagged}}}}
	e = lifecycle.Evaluate(unsorted, images, now)
	if got := outcome(e); got != "E C" || e.Summary.Rules[0].Selected != 0 {
		t.Errorf("unsorted: got %q, %+v", got, e.Summary.Rules)
	}
	if got := lifecycle.Evaluate(p, nil, time.Time{}); len(got.Verdicts) != 0 || got.Summary.Images.Images != 0 {
		t.Errorf("no images: %+v", got)
	}
}

// The policy that teams paste: rules 1 and 3 ask for tags of every prefix.
func TestProductionTrap(t *testing.T) {
	text, err := os.ReadFile("testdata/s2.json")
	if err != nil {
		t.Fatal(err)
	}
	var images []string
	for i := range 15 {
		n, days := strconv.Itoa(i), strconv.Itoa(100-i)
		images = append(images, "P"+n+" "+days+" prod-"+n, "R"+n+" "+days+" release-"+n, "D"+n+" "+days+" dev-"+n)
	}
	images = append(images, "B0 99 prod-x release-x", "S0 31 staging-a", "S1 30 staging-b", "F0 99 dev-f test-f feature-f", "U0 2", "U1 0.5")
	e := lifecycle.Evaluate(mustParse(t, string(text)), repository(t, strings.Join(images, ";")), now)
	if got := outcome(e); got != "F0 S0 U0" {
		t.Errorf("as pasted: got %q", got)
	}
	for n, want := range []int{1, 2, 1, 2} {
		if got := e.Summary.Rules[n].Selected; got != want {
			t.Errorf("rule %d selects %d images, want %d", n+1, got, want)
		}
	}
	repaired := policy(tags("tagPrefixList", `["prod-"]`, keeps("10")), tags("tagPrefixList", `["release-"]`, keeps("10")))
	e = lifecycle.Evaluate(mustParse(t, repaired), repository(t, strings.Join(images, ";")), now)
	if got, want := outcome(e), "P0 R0 B0 P1 R1 P2 R2 P3 R3 P4 R4"; got != want {
		t.Errorf("repaired: got %q, want %q", got, want)
	}
}
