package registry

import (
	"context"
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

// ForgetExpired gives up expired images that cannot be restored any more,
// limit at most, so that garbage collection frees what only they had; it
// returns how many. The server's own.
func (r *Registry) ForgetExpired(ctx context.Context, limit int) (n int, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		keys, err := tx.OverdueExpired(r.now(), limit)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := tx.ForgetExpired(key, r.now()); err != nil {
				return err
			}
		}
		n = len(keys)
		return nil
	})
	return n, err
}
