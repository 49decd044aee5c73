package meta_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

func TestImagesInUse(t *testing.T) {
	both(t, func(t *testing.T, db *meta.DB) {
		const account = "123456789012"
		use := func(repo string, n int, source string, from, to time.Duration) ecr.ImageInUse {
			return ecr.ImageInUse{Repository: repo, Digest: digest(n), Source: source, ReportedAt: t0.Add(from), ExpiresAt: t0.Add(to)}
		}
		put := func(list ...ecr.ImageInUse) {
			t.Helper()
			update(t, db, func(tx *meta.Tx) error { return tx.PutImagesInUse(account, list) })
		}
		show := func(list []ecr.ImageInUse) string {
			var out []string
			for _, u := range list {
				out = append(out, fmt.Sprintf("%s/%s/%s", u.Repository, strings.TrimLeft(strings.TrimPrefix(u.Digest, "sha256:"), "0"), u.Source))
			}
			return strings.Join(out, " ")
		}
		put(use("b", 1, "x", 0, time.Hour), use("a", 2, "y", 0, time.Hour), use("", 3, "x", 0, 3*time.Hour), use("a", 2, "x", 0, 2*time.Hour))
		put(use("b", 1, "x", time.Minute, 2*time.Hour)) // again, later
		update(t, db, func(tx *meta.Tx) error {
			return tx.PutImagesInUse("210987654321", []ecr.ImageInUse{use("a", 9, "z", 0, time.Hour)})
		})
		view(t, db, func(tx *meta.Tx) error {
			for _, tt := range []struct {
				repository, source string
				after              ecr.ImageInUse
				at                 time.Duration
				limit              int
				want               string
			}{
				{"", "", ecr.ImageInUse{}, 0, 9, "/3/x a/2/x a/2/y b/1/x"},
				{"", "", ecr.ImageInUse{}, 0, 2, "/3/x a/2/x"},
				{"", "", use("a", 2, "x", 0, 0), 0, 9, "a/2/y b/1/x"},
				{"", "", ecr.ImageInUse{}, time.Hour, 9, "/3/x a/2/x b/1/x"},
				{"a", "", ecr.ImageInUse{}, 0, 9, "a/2/x a/2/y"},
				{"", "x", ecr.ImageInUse{}, 0, 9, "/3/x a/2/x b/1/x"},
				{"b", "y", ecr.ImageInUse{}, 0, 9, ""},
			} {
				got, err := tx.ImagesInUse(account, tt.repository, tt.source, tt.after, t0.Add(tt.at), tt.limit)
				if err != nil {
					return err
				}
				if show(got) != tt.want {
					t.Errorf("%+v: got %s", tt, show(got))
				}
			}
			got, err := tx.InUseIn(ecr.RepositoryID{Account: account, Name: "b"}, t0)
			if err == nil && (show(got) != "/3/x b/1/x" || !got[1].ReportedAt.Equal(t0.Add(time.Minute)) || !got[1].ExpiresAt.Equal(t0.Add(2*time.Hour))) {
				t.Errorf("in b: %+v", got)
			}
			return err
		})
		count := func(want int64) {
			t.Helper()
			view(t, db, func(tx *meta.Tx) error {
				n, err := tx.CountImagesInUse(account)
				if n != want {
					t.Errorf("%d reports, want %d", n, want)
				}
				return err
			})
		}
		count(4)
		update(t, db, func(tx *meta.Tx) error { return tx.ForgetImagesInUse(account, t0.Add(time.Hour)) })
		count(3)
		update(t, db, func(tx *meta.Tx) error { return tx.DeleteImagesInUse(account, "x") })
		count(0)
		var many []ecr.ImageInUse
		for n := range 1234 {
			many = append(many, use("a", n+1, "x", 0, time.Hour))
		}
		put(many...)
		count(1234)
	})
}
