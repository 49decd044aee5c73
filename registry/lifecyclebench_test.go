package registry

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

// stocked is a repository of n images, each third untagged, as insertions into
// the database alone.
func stocked(b *testing.B, s *shelf, n int) *ecr.Repository {
	id := ecr.RepositoryID{Account: s.root.Account, Name: fmt.Sprint("bench/n", n)}
	repo, err := s.CreateRepository(context.Background(), s.root, id, ecr.Repository{})
	if err != nil {
		b.Fatal(err)
	}
	prefixes := []string{"prod-", "staging-", "dev-", "feature-"}
	for start := 0; start < n; start += 1000 {
		err := s.db.Update(context.Background(), func(tx *meta.Tx) error {
			for i := start; i < min(n, start+1000); i++ {
				img := &ecr.Image{Digest: string(oci.Of("sha256", []byte(strconv.Itoa(i)))), MediaType: "m", Status: ecr.ImageActive, Size: 100,
					PushedAt: s.clock.Add(-time.Duration(i%(400*24)) * time.Hour)}
				if i%3 > 0 {
					img.Tags = []string{prefixes[i%4] + strconv.Itoa(i)}
				}
				if err := tx.InsertImage(repo.Row, img, []byte("{}"), nil, nil); err != nil {
					return err
				}
				for _, t := range img.Tags {
					if _, err := tx.PutTag(repo.Row, t, img.Row, s.clock, true); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return repo
}

const benchPolicy = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPrefixList":["prod-"],"countType":"imageCountMoreThan","countNumber":100},"action":{"type":"expire"}},` +
	`{"rulePriority":2,"selection":{"tagStatus":"tagged","tagPrefixList":["dev-"],"countType":"sinceImagePushed","countUnit":"days","countNumber":7},"action":{"type":"expire"}},` +
	`{"rulePriority":3,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":1},"action":{"type":"expire"}}]}`

// BenchmarkPlan reads and evaluates a repository: what a run does before it
// deletes, and a preview.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := newShelf(b, "")
			repo := stocked(b, s, n)
			p, err := lifecycle.Parse([]byte(benchPolicy))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, d, err := s.evaluate(context.Background(), repo.Row, repo.ID, p, s.clock)
				if err != nil || d.Summary.Expire.Images == 0 {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/image")
		})
	}
}

// BenchmarkExpire carries a run out: batches of expireBatch images.
func BenchmarkExpire(b *testing.B) {
	expired := int64(0)
	for b.Loop() {
		b.StopTimer()
		s := newShelf(b, "")
		repo := stocked(b, s, 10_000)
		if err := s.PutLifecyclePolicy(context.Background(), s.root, repo.ID, benchPolicy); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		run, err := s.ExpireImages(context.Background(), repo.ID)
		if err != nil {
			b.Fatal(err)
		}
		expired += run.Expired
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(expired), "ns/expired")
}
