package iam

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every operation of ECR's API model is an action, and every action is an
// operation but for those that are permissions only.
func TestActionsAreTheModels(t *testing.T) {
	f, err := os.Open("../awsapi/ecr/ecr.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var model struct{ Ops map[string]struct{} }
	if err := json.NewDecoder(z).Decode(&model); err != nil {
		t.Fatal(err)
	}
	if len(model.Ops) < 50 {
		t.Fatalf("%d operations in the model", len(model.Ops))
	}
	want := []string{"ecr:BatchImportUpstreamImage", "ecr:GetImageCopyStatus", "ecr:ReplicateImage"}
	for op := range model.Ops {
		if op != "ListImageReferrers" {
			want = append(want, "ecr:"+op)
		}
	}
	slices.Sort(want)
	var got []string
	for _, a := range ecrActions() {
		got = append(got, a.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("actions\n%q\nwant, sorted,\n%q", got, want)
	}
}

// Every operation of Ecru's own is an action, and the other way round.
func TestExtensionsAreTheModels(t *testing.T) {
	files, err := filepath.Glob("../awsapi/ecr/ecru/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var want, got []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var model struct{ Ops map[string]struct{} }
		if err := json.Unmarshal(text, &model); err != nil {
			t.Fatal(name, err)
		}
		for op := range model.Ops {
			want = append(want, "ecr:"+op)
		}
	}
	slices.Sort(want)
	for _, a := range Extensions() {
		got = append(got, a.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("actions\n%q\nwant, sorted,\n%q", got, want)
	}
	all := Actions()
	if len(all) != len(ecrActions())+len(got) || !slices.IsSortedFunc(all, func(a, b Action) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d actions in all, or not sorted", len(all))
	}
}

func TestActionsAreClassed(t *testing.T) {
	levels := map[string]int{}
	for _, a := range Actions() {
		levels[a.Level]++
		if strings.Contains(a.Name, "Registry") && a.Repository || strings.Contains(a.Name, "PullThroughCache") && a.Repository {
			t.Errorf("%s takes a repository", a.Name)
		}
		if strings.HasSuffix(a.Name, "Image") && !a.Repository {
			t.Errorf("%s takes no repository", a.Name)
		}
	}
	for _, level := range []string{LevelList, LevelRead, LevelWrite, LevelTagging, LevelPermissions} {
		if levels[level] == 0 {
			t.Errorf("no action of level %s", level)
		}
		delete(levels, level)
	}
	if len(levels) > 0 {
		t.Errorf("other levels: %v", levels)
	}
	a := Actions()
	a[0].Name = "changed"
	if Actions()[0].Name == "changed" {
		t.Error("the table is shared")
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, action string
		want            bool
	}{
		{"*", "ecr:PutImage", true},
		{"ecr:*", "ecr:PutImage", true},
		{"ECR:putimage", "ecr:PutImage", true},
		{"ecr:Put*", "ecr:PutImage", true},
		{"ecr:PutImag?", "ecr:PutImage", true},
		{"ecr:Put", "ecr:PutImage", false},
		{"s3:*", "ecr:PutImage", false},
		{"ecr:${aws:username}", "ecr:PutImage", false},
		{"", "ecr:PutImage", false},
	} {
		if got := Matches(tt.pattern, tt.action); got != tt.want {
			t.Errorf("Matches(%q, %q) = %t", tt.pattern, tt.action, got)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"ecr:PutImage", "ecr:PutRegistryPolicy", "ecr:BatchGetImage"}
	for s, want := range map[string]string{
		"ecr:PutImages": "ecr:PutImage", "ecr:PtuImage": "ecr:PutImage", "ecr:getimage": "ecr:BatchGetImage", "ecr:BatchGetImages": "ecr:BatchGetImage",
		"ecr:DoSomethingElseEntirely": "", "": "",
	} {
		if got := nearest(s, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", s, got, want)
		}
	}
	if edits("abcd", "abdc") != 1 || edits("", "abc") != 3 || edits("abc", "abc") != 0 || edits("kitten", "sitting") != 3 {
		t.Error("edits")
	}
}

// A pattern covers another one if it takes in all that the other does.
func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"*", "*", true}, {"*", "", true}, {"", "", true}, {"", "a", false}, {"a*c", "abbc", true}, {"a*c", "a*bc", true}, {"a*c", "abcd", false},
		{"a?c", "abc", true}, {"a?c", "a?c", true}, {"a?c", "a*c", false}, {"a*", "a?", true}, {"*a*a*", "aba", true}, {"*a*a*", "ab", false},
		{"**", "*", true}, {"abc", "a*", false}, {"arn:aws:ecr:*", "arn:aws:ecr:a:b:c", true},
		{"arn:aws:ecr:*:1:r/a*", "arn:aws:ecr:*:1:r/ab", true}, {"arn:aws:ecr:eu-*:1:r/a", "arn:aws:ecr:*:1:r/a", false},
		{"arn:aws:ecr:*:1:r/*", "arn:aws:ecr:x:2:1:r/a", false}, {"arn:aws:ecr:*:*:*", "arn:aws:ecr", false},
		{"a:b:c:d:e:${*}", "a:b:c:d:e:${*}", true}, {"a:b:c:d:e:${*}", "a:b:c:d:e:${x}", false},
	} {
		if got := coversARN(tt.a, tt.b); got != tt.want {
			t.Errorf("coversARN(%q, %q) = %t", tt.a, tt.b, got)
		}
	}
}
