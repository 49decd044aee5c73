package registry

import (
	"time"

	"github.com/ecruhq/ecru/meta"
)

// forgetExpired gives up what is kept of a repository's expired images, some at
// a time, and returns how many.
func (r *Registry) forgetExpired(tx *meta.Tx, repo int64, now time.Time) (int, error) {
	keys, err := tx.ExpiredOf(repo, deleteBatch)
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		if err := tx.ForgetExpired(key, now); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}
