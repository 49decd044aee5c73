package registry

import (
	"context"
	"sync"
	"time"

	"github.com/ecruhq/ecru/meta"
)

// pulls counts pulls in memory until FlushPulls writes them. What is counted
// since the last flush is lost with the process, as ECR's own time of the last
// pull may lag by a day.
type pulls struct {
	mu sync.Mutex
	m  map[pullKey]*pullCount
}

type pullKey struct {
	image     int64
	account   string // of the principal
	principal string
}

type pullCount struct {
	n    int64
	last time.Time
}

// maxPulls bounds what is kept between two flushes; pulls of further images
// are not counted.
const maxPulls = 200_000

func (p *pulls) add(image int64, account, principal string, now time.Time) {
	k := pullKey{image, account, principal}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.m[k]
	if c == nil {
		if len(p.m) >= maxPulls {
			return
		}
		if p.m == nil {
			p.m = map[pullKey]*pullCount{}
		}
		c = &pullCount{}
		p.m[k] = c
	}
	c.n++
	c.last = now
}

func (p *pulls) take() map[pullKey]*pullCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.m
	p.m = nil
	return m
}

// pullBatch is how many images one transaction of FlushPulls writes.
const pullBatch = 500

// FlushPulls writes the pulls counted since the last call, in small
// transactions. Pulls by principals with a pull time exclusion are counted
// without moving the time of the last pull.
func (r *Registry) FlushPulls(ctx context.Context) error {
	taken := r.pulls.take()
	excluded, err := r.excluded(ctx, taken)
	if err != nil {
		return err
	}
	batch := make([]pullKey, 0, pullBatch)
	flush := func() error {
		err := r.db.Update(ctx, func(tx *meta.Tx) error {
			for _, k := range batch {
				last := taken[k].last
				if excluded[k.principal] {
					last = time.Time{}
				}
				if err := tx.AddPulls(k.image, taken[k].n, last); err != nil {
					return err
				}
			}
			return nil
		})
		batch = batch[:0]
		return err
	}
	for k := range taken {
		if batch = append(batch, k); len(batch) == pullBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return flush()
}

// excluded returns which of the principals have a pull time exclusion.
func (r *Registry) excluded(ctx context.Context, taken map[pullKey]*pullCount) (map[string]bool, error) {
	accounts := map[string]bool{}
	for k := range taken {
		accounts[k.account] = true
	}
	out := map[string]bool{}
	for account := range accounts {
		err := r.db.View(ctx, func(tx *meta.Tx) error {
			all, err := tx.PullTimeExclusions(account, "", int(r.cfg.Limits.PullTimeExclusions))
			for _, x := range all {
				out[x.PrincipalARN] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
