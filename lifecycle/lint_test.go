package lifecycle_test

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecruhq/ecru/lifecycle"
)

// found is the findings of a policy as "CODE rule", the most severe with "!".
func found(list []lifecycle.Finding) string {
	var out []string
	for _, f := range list {
		s := f.Code
		if f.Rule > 0 {
			s += fmt.Sprintf(" %d", f.Rule)
		}
		switch f.Severity {
		case lifecycle.SeverityError:
			s += "!"
		case lifecycle.SeveritySuggest:
			s += "?"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestLint(t *testing.T) {
	none := `"tagStatus":"untagged",` + pushed("1")
	any5 := `"tagStatus":"any",` + keeps("5")
	prefix := func(list, count string) string { return tags("tagPrefixList", list, count) }
	pattern := func(list, count string) string { return tags("tagPatternList", list, count) }
	tests := []struct {
		name   string
		rules  []string
		images string // "": not known
		want   string
	}{
		{"nothing wrong", []string{prefix(`["prod-"]`, keeps("10")), prefix(`["dev-"]`, pushed("7")), none}, "A 1 prod-1; B 2 dev-1", ""},
		{"nothing wrong, without a repository", []string{prefix(`["prod-"]`, keeps("10")), any5}, "", ""},

		{"tags of each prefix", []string{prefix(`["a-","b-"]`, keeps("10")), none}, "A 1 a-1; B 2 b-1", "TAGS_OF_EACH 1!"},
		{"that some images have", []string{prefix(`["a-","b-"]`, keeps("10")), none}, "A 1 a-1 b-1; B 2 b-1", "TAGS_OF_EACH 1"},
		{"without a repository", []string{prefix(`["a-","b-"]`, keeps("10")), any5}, "", "TAGS_OF_EACH 1!"},
		{"tags of each pattern", []string{pattern(`["a-*","b-*"]`, keeps("10")), any5}, "", "TAGS_OF_EACH 1!"},
		{"two of three are apart", []string{pattern(`["*","a*","b*"]`, keeps("10")), any5}, "", "TAGS_OF_EACH 1!"},
		{"one tag can have both", []string{pattern(`["v*","*-arm64"]`, keeps("10")), any5}, "", ""},
		{"a prefix that another implies", []string{prefix(`["a","a-"]`, keeps("10")), any5}, "", "REDUNDANT_ENTRY 1?"},
		{"the same twice", []string{prefix(`["a","a"]`, keeps("10")), any5}, "", "REDUNDANT_ENTRY 1?"},
		{"one entry", []string{prefix(`["a"]`, keeps("10")), any5}, "", ""},

		{"a slash is in no tag", []string{prefix(`["production/"]`, keeps("10")), any5}, "", "NEVER_MATCHES 1!"},
		{"a * in a prefix", []string{prefix(`["a*"]`, keeps("10")), any5}, "", "NEVER_MATCHES 1!"},
		{"a long tag", []string{pattern(`["`+strings.Repeat("a", 129)+`"]`, keeps("10")), any5}, "", "NEVER_MATCHES 1!"},
		{"a * in a pattern", []string{pattern(`["a*"]`, keeps("10")), any5}, "", ""},

		{"shadowed by a shorter prefix", []string{prefix(`["a"]`, keeps("9")), prefix(`["a-"]`, keeps("1")), any5}, "", "SHADOWED 2!"},
		{"not by a longer one", []string{prefix(`["a-"]`, keeps("9")), prefix(`["a"]`, keeps("1")), any5}, "", ""},
		{"shadowed by a pattern", []string{pattern(`["*-*"]`, keeps("9")), prefix(`["a-"]`, keeps("1")), any5}, "", "SHADOWED 2!"},
		{"not by one that asks for more", []string{pattern(`["a*","*z"]`, keeps("9")), prefix(`["a-"]`, keeps("1")), any5}, "", ""},
		{"shadowed by a part of its list", []string{pattern(`["a*"]`, keeps("9")), pattern(`["a*","*z"]`, keeps("1")), any5}, "", "SHADOWED 2!"},
		{"tagged and untagged are all", []string{pattern(`["*"]`, keeps("9")), none, any5}, "A 1 a", "SHADOWED 3!"},
		{"untagged alone is not", []string{pattern(`["a*"]`, keeps("9")), none, any5}, "A 1 a1", ""},
		{"another class does not shadow", []string{any5, `"tagStatus":"any",` + transitioned("90")}, "", ""},

		{"selects none", []string{prefix(`["dve-"]`, pushed("7")), none}, "A 1 dev-1", "SELECTS_NONE 1?"},
		{"owns none", []string{prefix(`["a-"]`, pushed("7")), prefix(`["b-"]`, pushed("7")), none}, "A 1 a-1 b-1", "SELECTS_NONE 2?"},

		{"archive", []string{any5 + " => " + archive}, "", "ARCHIVE_SAVES_NOTHING 1"},
		{"expiry of what is archived", []string{any5, `"tagStatus":"any",` + transitioned("365")}, "", ""},

		{"production by age", []string{prefix(`["prod-"]`, pushed("30")), any5}, "", "PRODUCTION_BY_AGE 1"},
		{"a product is not production", []string{prefix(`["product-"]`, pushed("30")), any5}, "", ""},
		{"production among the rest", []string{prefix(`["dev-"]`, keeps("1")), any5}, "A 1 dev-1; B 2 v7-release", "PRODUCTION_NO_COUNT 2"},
		{"production that nothing selects", []string{prefix(`["dev-"]`, keeps("1")), none}, "A 1 dev-1; B 2 prod", "PRODUCTION_KEPT_FOREVER?"},
		{"signatures of production", []string{prefix(`["dev-"]`, keeps("1")), none}, "A 1 dev-1; S 2 prod.sig subject=A", ""},

		{"no rule for untagged images", []string{prefix(`["a-"]`, keeps("1"))}, "A 1 a-1", "NO_UNTAGGED_RULE?"},
		{"of which there are some", []string{prefix(`["a-"]`, keeps("1"))}, "A 1 a-1; B 2", "NO_UNTAGGED_RULE"},
		{"any is also untagged", []string{any5}, "A 1; B 2", ""},
		{"but not of the archive", []string{prefix(`["a-"]`, keeps("1")), `"tagStatus":"any",` + transitioned("90")}, "A 1 a-1; B 2", "NO_UNTAGGED_RULE"},

		{"parts of lists", []string{none, any5}, "L 1 a children=A; A 1", "UNTAGGED_HAS_CHILDREN 1?"},
		{"parts of lists are counted", []string{`"tagStatus":"untagged",` + keeps("3"), any5}, "L 1 a children=A; A 1", "UNTAGGED_COUNTS_LISTS 1"},
		{"no lists", []string{`"tagStatus":"untagged",` + keeps("3"), any5}, "A 1", ""},
		{"lists may be", []string{`"tagStatus":"untagged",` + keeps("3")}, "", "UNTAGGED_COUNTS_LISTS 1?"},
	}
	for _, tt := range tests {
		f := lifecycle.Facts{Now: now, Storage: 0.1, Archive: 0.1, ArchiveDays: 90}
		if tt.images != "" {
			f.Known, f.Images = true, repository(t, tt.images)
			for _, m := range f.Images {
				if len(m.Children) > 0 {
					f.Lists++
				}
			}
		}
		list := lifecycle.Lint(mustParse(t, policy(tt.rules...)), f)
		if got := found(list); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		for _, f := range list {
			if f.Message == "" || f.Fix == "" {
				t.Errorf("%s: %+v", tt.name, f)
			}
		}
	}
	cheap := lifecycle.Facts{Storage: 0.1, Archive: 0.07, Now: now}
	if got := found(lifecycle.Lint(mustParse(t, policy(any5+" => "+archive)), cheap)); got != "" {
		t.Errorf("an archive that is cheaper: %s", got)
	}
}

func s2(t testing.TB) *lifecycle.Policy {
	t.Helper()
	text, err := os.ReadFile("testdata/s2.json")
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, string(text))
}

func TestLintSaysHowMany(t *testing.T) {
	list := make([]string, 412)
	for i := range list {
		list[i] = fmt.Sprintf("D%d 9 %s-%d", i, []string{"prod", "release", "staging"}[i%3], i)
	}
	f := lifecycle.Lint(s2(t), lifecycle.Facts{Known: true, Images: repository(t, strings.Join(list, ";")), Now: now})
	i := slices.IndexFunc(f, func(f lifecycle.Finding) bool { return f.Rule == 1 })
	if want := "rule 1 needs a tag of each prefix in the list: 0 of 412 images have both, 275 have a tag of one or more"; i < 0 || f[i].Message != want {
		t.Errorf("got %+v, want %q", f, want)
	}
}

// A rule that is said never to act owns no image, whatever the repository.
func TestNeverIsTrue(t *testing.T) {
	checked := 0
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		e := lifecycle.Evaluate(p, images, now)
		for _, f := range lifecycle.Lint(p, lifecycle.Facts{}) {
			if f.Code != lifecycle.FindShadowed && f.Code != lifecycle.FindNeverMatches {
				continue
			}
			n := slices.IndexFunc(e.Rules, func(r lifecycle.Rule) bool { return r.Priority == f.Rule })
			if owned := e.Summary.Rules[n].Owned.Images; owned > 0 {
				t.Fatalf("%s, and it owns %d in %s", f.Message, owned, p.JSON())
			}
			checked++
		}
	})
	if checked == 0 {
		t.Error("no rule was said never to act")
	}
}

func TestFix(t *testing.T) {
	none := `"tagStatus":"untagged",` + pushed("1")
	for _, tt := range []struct {
		name   string
		rules  []string
		images string
		want   []string
	}{
		{"nothing to do", []string{tags("tagPrefixList", `["a","a-"]`, keeps("5")), none}, "", []string{tags("tagPrefixList", `["a","a-"]`, keeps("5")), none}},
		{"one rule a pattern", []string{tags("tagPatternList", `["a-*","*-b"]`, keeps("5")), tags("tagPatternList", `["a-*","b-*-c*"]`, pushed("5"))}, "",
			[]string{tags("tagPatternList", `["a-*","*-b"]`, keeps("5")), tags("tagPatternList", `["a-*"]`, pushed("5")), tags("tagPatternList", `["b-*-c*"]`, pushed("5"))}},
		{"an entry that has a rule already", []string{tags("tagPrefixList", `["a"]`, keeps("9")), tags("tagPrefixList", `["a","b"]`, keeps("5")), none}, "",
			[]string{tags("tagPrefixList", `["a"]`, keeps("9")), tags("tagPrefixList", `["b"]`, keeps("5")), none}},
		{"a rule for what was split off", []string{tags("tagPrefixList", `["a","b"]`, keeps("5")), tags("tagPrefixList", `["a"]`, keeps("9")), none}, "",
			[]string{tags("tagPrefixList", `["a"]`, keeps("5")), tags("tagPrefixList", `["b"]`, keeps("5")), none}},
		{"an entry that cannot match", []string{tags("tagPrefixList", `["a-","b/"]`, keeps("5"))}, "", []string{tags("tagPrefixList", `["a-"]`, keeps("5"))}},
		{"images with tags of both", []string{tags("tagPrefixList", `["a-","b-","c-"]`, keeps("5"))}, "A 1 a-1 b-1; B 2 c-1; C 3 c-1 c-2",
			[]string{tags("tagPrefixList", `["a-","b-"]`, keeps("5")), tags("tagPrefixList", `["a-"]`, keeps("5")), tags("tagPrefixList", `["b-"]`, keeps("5")), tags("tagPrefixList", `["c-"]`, keeps("5"))}},
		{"which do not matter by age", []string{tags("tagPrefixList", `["a-","b-"]`, pushed("5"))}, "A 1 a-1 b-1",
			[]string{tags("tagPrefixList", `["a-"]`, pushed("5")), tags("tagPrefixList", `["b-"]`, pushed("5"))}},
	} {
		var images []lifecycle.Image
		if tt.images != "" {
			images = repository(t, tt.images)
		}
		got, err := lifecycle.Fix(mustParse(t, policy(tt.rules...)), images)
		if want := mustParse(t, policy(tt.want...)); err != nil || string(got.JSON()) != string(want.JSON()) {
			t.Errorf("%s: %v, got %s", tt.name, err, got.JSON())
		}
	}
	if _, err := lifecycle.Fix(mustParse(t, policy(tags("tagPrefixList", `["/","*"]`, keeps("5")))), nil); err == nil || !strings.Contains(err.Error(), "nothing to repair") {
		t.Errorf("nothing is left: %v", err)
	}
	var list []string
	for i := range 51 {
		list = append(list, fmt.Sprintf(`"x%02d-"`, i))
	}
	if _, err := lifecycle.Fix(mustParse(t, policy(tags("tagPrefixList", "["+strings.Join(list, ",")+"]", keeps("5")))), nil); err == nil || !strings.Contains(err.Error(), "makes 51 rules") {
		t.Errorf("too many rules: %v", err)
	}
}

// What is repaired is accepted, has no trap left, and is its own repair.
func TestFixProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		if _, err := lifecycle.Fix(p, images); err != nil {
			t.Fatalf("%v: %s", err, p.JSON())
		}
		plain, err := lifecycle.Fix(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range lifecycle.Lint(plain, lifecycle.Facts{}) {
			if f.Code == lifecycle.FindTagsOfEach {
				t.Fatalf("%s after the repair of %s to %s", f.Message, p.JSON(), plain.JSON())
			}
		}
		again, err := lifecycle.Fix(plain, nil)
		if err != nil || !reflect.DeepEqual(again, plain) {
			t.Fatalf("%v: %s became %s", err, plain.JSON(), again.JSON())
		}
	})
}

// The policy of the teams, repaired, keeps the last 10 of each production
// prefix, in any repository.
func TestFixKeepsProduction(t *testing.T) {
	p := s2(t)
	expired := 0
	rapid.Check(t, func(t *rapid.T) {
		var images []lifecycle.Image
		for i := range rapid.IntRange(0, 60).Draw(t, "images") {
			m := lifecycle.Image{Digest: fmt.Sprintf("d%02d", i), Subject: -1, PushedAt: lifecycle.At(now.Add(-time.Duration(rapid.IntRange(0, 2000).Draw(t, "hours")) * time.Hour))}
			for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"prod-", "release-", "prod-", "staging-", "dev-"}), 0, 3, rapid.ID[string]).Draw(t, "kinds") {
				m.Tags = append(m.Tags, fmt.Sprint(kind, i))
			}
			images = append(images, m)
		}
		fixed, err := lifecycle.Fix(p, images)
		if err != nil {
			t.Fatal(err)
		}
		e := lifecycle.Evaluate(fixed, images, now)
		for _, prefix := range []string{"prod-", "release-"} {
			var with []int
			for i, m := range images {
				if slices.ContainsFunc(m.Tags, func(tag string) bool { return strings.HasPrefix(tag, prefix) }) {
					with = append(with, i)
				}
			}
			slices.SortFunc(with, func(a, b int) int {
				if c := images[b].PushedAt - images[a].PushedAt; c != 0 {
					return int(c / lifecycle.Instant(time.Hour))
				}
				return strings.Compare(images[b].Digest, images[a].Digest)
			})
			for n, i := range with {
				if n < 10 && e.Verdicts[i].Outcome != lifecycle.Keep {
					t.Fatalf("%s number %d goes: %s in %s", prefix, n+1, e.Reason(i), fixed.JSON())
				}
				if e.Verdicts[i].Outcome != lifecycle.Keep {
					expired++
				}
			}
		}
	})
	if expired == 0 {
		t.Error("nothing with a production tag went at all")
	}
	plain, err := lifecycle.Fix(p, nil)
	if err != nil || len(plain.Rules) != 7 || plain.Rules[1].Description != "Keep last 10 production images" {
		t.Errorf("%v: %s", err, plain.JSON())
	}
}

// The largest policies that are accepted take no more than moments.
func TestLintLarge(t *testing.T) {
	var entries []string
	for i := range 4500 {
		entries = append(entries, fmt.Sprintf(`"%x"`, i))
	}
	p := mustParse(t, policy(tags("tagPrefixList", "["+strings.Join(entries, ",")+"]", keeps("5"))))
	long := mustParse(t, policy(tags("tagPatternList", `["*`+strings.Repeat("a", 14000)+`*","*`+strings.Repeat("b", 14000)+`*"]`, keeps("5"))))
	if got := found(lifecycle.Lint(p, lifecycle.Facts{})); got != "NO_UNTAGGED_RULE?, TAGS_OF_EACH 1!" {
		t.Errorf("many entries: %s", got)
	}
	if _, err := lifecycle.Fix(p, nil); err == nil {
		t.Error("too many rules are made")
	}
	if got := found(lifecycle.Lint(long, lifecycle.Facts{})); got != "NO_UNTAGGED_RULE?, NEVER_MATCHES 1!" {
		t.Errorf("long entries: %s", got)
	}
}
