package advisor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

// vulnerable is NAME[<BASE][/LAYER][!], with ! set aside.
func vulnerable(spec string) ext.VulnerableImage {
	spec, aside := strings.CutSuffix(spec, "!")
	spec, layer, _ := strings.Cut(spec, "/")
	name, base, hasBase := strings.Cut(spec, "<")
	v := ext.VulnerableImage{RepositoryName: &name, ImageDigest: aws.String("d"), Packages: []ext.VulnerableImagePackage{{
		Name: aws.String("openssl"), Version: aws.String("1"), FixedInVersion: aws.String("2"), SourceLayerHash: &layer, Suppressed: &aside,
	}}}
	if hasBase {
		base += "@d"
		v.BaseImage = &base
	}
	return v
}

func TestWorklist(t *testing.T) {
	for name, c := range map[string]struct{ images, want string }{
		"none":                          {"", ""},
		"one image":                     {"a/l", "l: a"},
		"the same layer":                {"b/l a/l c/m", "l: a b | m: c"},
		"a base":                        {"app<base/l base/l", "base@d: base app"},
		"bases on bases":                {"app<mid/l mid<base/l base/l other<base/l", "base@d: base mid other app"},
		"a base that was not listed":    {"app<base/l", "base@d: app"},
		"most first":                    {"a/l b/m c/m", "m: b c | l: a"},
		"what is set aside comes later": {"a/l! b/l! c/m", "m: c | l: a b"},
		"a circle":                      {"a<b/l b<a/l", "b@d: a | a@d: b"},
		"a layer is not told":           {"a", "a@d: a"},
		"twice":                         {"a/l a/l", "l: a"},
	} {
		var list []ext.VulnerableImage
		for _, spec := range strings.Fields(c.images) {
			list = append(list, vulnerable(spec))
		}
		var got []string
		b := Worklist(list, "team")
		n := 0
		for _, g := range b.Groups {
			text := g.Base + g.Layer + ":"
			for _, m := range g.Images {
				text += " " + m.Repository
			}
			got = append(got, text)
			n += len(g.Images)
			if !slices.Equal(g.FixedIn, []BlastFix{{"openssl", "2"}}) {
				t.Errorf("%s: fixed in %v", name, g.FixedIn)
			}
		}
		want := strings.Split(c.want, " | ")
		if c.want == "" {
			want = nil
		}
		if name == "a circle" { // which of the two comes first is of no account
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) || n != b.Images {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWorklistTeams(t *testing.T) {
	var in ext.FindVulnerableImagesOutput
	answer := `{"images":[{"repositoryName":"a","imageDigest":"d","repositoryTags":[{"Key":"owner","Value":"payments"},{"Key":"team","Value":"x"}],
		"lastRecordedPullTime":1700000000,"packages":[{"name":"openssl","sourceLayerHash":"l"}]},
		{"repositoryName":"b","imageDigest":"d","lastRecordedPullTime":1800000000,"packages":[{"name":"openssl","sourceLayerHash":"l"}]}]}`
	if err := decode([]byte(answer), &in); err != nil {
		t.Fatal(err)
	}
	g := Worklist(in.Images, "owner").Groups[0]
	if !slices.Equal(g.Teams, []string{"payments"}) || g.Images[0].Repository != "b" || !g.Images[0].LastPulledAt.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("%+v", g)
	}
}

func BenchmarkWorklist(b *testing.B) {
	var list []ext.VulnerableImage
	for i := range 100_000 {
		list = append(list, vulnerable(fmt.Sprintf("app%d<base%d/l", i, i%500)))
	}
	for b.Loop() {
		Worklist(list, "team")
	}
}
