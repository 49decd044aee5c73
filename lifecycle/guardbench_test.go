package lifecycle_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecruhq/ecru/lifecycle"
)

func BenchmarkGuards(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		images := large(n)
		g := lifecycle.Guards{PulledWithin: 30 * 24 * time.Hour, KeepLast: []lifecycle.PrefixCount{{Prefix: "prod-", Count: 10}, {Prefix: "", Count: 100}}, InUse: map[string]lifecycle.Use{}}
		for i := 0; i < n; i += 100 {
			g.InUse[images[i].Digest] = lifecycle.Use{Source: "prod"}
		}
		e := lifecycle.Evaluate(mustParse(b, expireAll), images, now)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			withheld := 0
			for b.Loop() {
				withheld = len(g.Apply(e))
			}
			b.ReportMetric(float64(withheld), "withheld")
		})
	}
}
