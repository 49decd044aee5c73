package lifecycle_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ecruhq/ecru/lifecycle"
)

// large is a repository of n images: every third a tagged index with two
// children, every tenth image signed.
func large(n int) []lifecycle.Image {
	images := make([]lifecycle.Image, 0, n)
	kinds := []string{"prod-", "release-", "staging-", "dev-", "test-", "feature-", "v1."}
	for i := range n {
		m := lifecycle.Image{
			Digest:   fmt.Sprintf("sha256:%016x%048x", uint64(i)*0x9e3779b97f4a7c15, i),
			PushedAt: lifecycle.At(now.Add(-time.Duration((uint64(i)*0x9e3779b97f4a7c15)>>12) % (400 * 24 * time.Hour))),
			Subject:  -1,
			Size:     100 << 20,
		}
		switch {
		case i%10 == 9:
			m.Subject = int32(i - 9)
		case i%3 == 2:
			m.Tags = []string{kinds[i%len(kinds)] + strconv.Itoa(i), "build-" + strconv.Itoa(i)}
			m.Children = []int32{int32(i - 1), int32(i - 2)}
		}
		images = append(images, m)
	}
	return images
}

func BenchmarkEvaluate(b *testing.B) {
	p := mustParse(b, policy(
		tags("tagPrefixList", `["prod-"]`, keeps("100")), tags("tagPrefixList", `["release-"]`, keeps("100")),
		tags("tagPrefixList", `["staging-"]`, pushed("30")), tags("tagPrefixList", `["dev-"]`, pushed("7")),
		tags("tagPrefixList", `["test-"]`, pushed("7")), tags("tagPatternList", `["feature-*-wip*"]`, pushed("7")),
		tags("tagPatternList", `["v*.*"]`, pulled("90")+" => "+archive), `"tagStatus":"untagged",`+pushed("1"),
		`"tagStatus":"any",`+transitioned("365"), `"tagStatus":"any",`+keeps("1000")))
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			images := large(n)
			b.ReportAllocs()
			for b.Loop() {
				lifecycle.Evaluate(p, images, now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/image")
		})
	}
}

// A quarter of pushes and pulls, ten and fifty a day.
func BenchmarkReplay(b *testing.B) {
	p := mustParse(b, policy(tags("tagPrefixList", `["prod-"]`, keeps("100")), tags("tagPrefixList", `["dev-"]`, pushed("7")), `"tagStatus":"untagged",`+pushed("1")))
	for _, n := range []int{1000, 10_000} {
		h := &lifecycle.History{Images: large(n)}
		from := now.Add(-90 * 24 * time.Hour)
		for i := range 900 {
			at := lifecycle.At(from.Add(time.Duration(i) * 144 * time.Minute))
			h.Pushes = append(h.Pushes, lifecycle.Push{At: at, Digest: h.Images[i].Digest, Tag: "prod-r" + strconv.Itoa(i)})
			for j := range 5 {
				h.Pulls = append(h.Pulls, lifecycle.Pull{At: at + lifecycle.Instant(j)*lifecycle.Instant(20*time.Minute), Digest: h.Images[i/2].Digest})
			}
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				r := lifecycle.NewReplay(p, h, from, now, lifecycle.Soon)
				for r.Day() {
				}
			}
		})
	}
}
