package registry

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// A cache keeps what pulls read: per repository its record, manifests and
// links. It is exact where this process is the only writer of these records:
// a write drops its repository's entry after its commit and before it is
// answered, so that whoever knows of a write reads it. Elsewhere it is off.
type cache struct {
	on   bool
	seed maphash.Seed

	mu      sync.RWMutex
	entries map[ecr.RepositoryID]*entry
	size    atomic.Int64

	// generations count the drops, so that a record that was read before a
	// drop is not put in after it. Repositories share them by hash.
	generations [256]atomic.Uint64
}

// What is kept is bounded roughly: bytes of all, repositories, and what one
// record is taken to weigh.
const (
	cacheBytes   = 32 << 20
	cacheEntries = 10_000
	cacheItem    = 512
)

// An entry is what is kept of one repository. Once dropped it is reachable
// only by requests that began before.
type entry struct {
	repo  *ecr.Repository
	rules rules

	mu      sync.RWMutex
	tags    map[string]*ecr.Manifest
	digests map[string]*ecr.Manifest
	links   map[string]meta.Link
	weight  int64 // bytes, as counted in cache.size
	dropped bool  // no longer in the cache: add nothing
	moves   int64 // how often tags were dropped
}

func newCache(on bool) *cache {
	return &cache{on: on, seed: maphash.MakeSeed(), entries: map[ecr.RepositoryID]*entry{}}
}

func (c *cache) generation(id ecr.RepositoryID) *atomic.Uint64 {
	return &c.generations[maphash.Comparable(c.seed, id)%uint64(len(c.generations))]
}

func (c *cache) get(id ecr.RepositoryID) *entry {
	if !c.on {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[id]
}

// put keeps e unless its repository was dropped since generation was read.
func (c *cache) put(id ecr.RepositoryID, e *entry, generation uint64) {
	if !c.on {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation(id).Load() != generation || c.entries[id] != nil {
		return
	}
	c.trim()
	c.entries[id] = e
	c.size.Add(e.weight)
}

// trim drops entries, whichever, while there are too many; the caller holds mu.
func (c *cache) trim() {
	for id, e := range c.entries {
		if len(c.entries) < cacheEntries && c.size.Load() < cacheBytes {
			return
		}
		c.remove(id, e)
	}
}

// drop forgets a repository.
func (c *cache) drop(id ecr.RepositoryID) {
	if !c.on {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation(id).Add(1)
	if e := c.entries[id]; e != nil {
		c.remove(id, e)
	}
}

// dropTags forgets where tags of a repository point, and nothing else of it:
// an image never changes, and only a deletion, which drops the repository,
// ends one.
func (c *cache) dropTags(id ecr.RepositoryID, tags []string) {
	e := c.get(id)
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moves++
	for _, t := range tags {
		delete(e.tags, t)
	}
}

// dropAccount forgets the repositories of an account.
func (c *cache) dropAccount(account string) {
	c.dropIf(func(e *entry) bool { return e.repo.ID.Account == account })
}

// dropRows forgets repositories by their records.
func (c *cache) dropRows(rows map[int64]bool) {
	if len(rows) > 0 {
		c.dropIf(func(e *entry) bool { return rows[e.repo.Row] })
	}
}

func (c *cache) dropIf(which func(*entry) bool) {
	if !c.on {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.generations {
		c.generations[i].Add(1)
	}
	for id, e := range c.entries {
		if which(e) {
			c.remove(id, e)
		}
	}
}

// remove takes e out; the caller holds mu.
func (c *cache) remove(id ecr.RepositoryID, e *entry) {
	delete(c.entries, id)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = true
	c.size.Add(-e.weight)
}

// manifest returns what was kept of ref.
func (e *entry) manifest(ref ecr.ImageID) *ecr.Manifest {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if ref.Tag != "" {
		return e.tags[ref.Tag]
	}
	return e.digests[ref.Digest]
}

// begin is to be called before what addManifest adds is read.
func (e *entry) begin() (moves int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.moves
}

// addManifest keeps m, by its tag only if none was moved since begin.
func (c *cache) addManifest(e *entry, m *ecr.Manifest, begun int64) {
	if len(m.Payload) > cacheBytes/64 {
		return
	}
	c.add(e, func() int64 {
		if m.Tag != "" && e.moves == begun {
			e.tags[m.Tag] = m
		}
		if e.digests[m.Digest] != nil {
			return cacheItem
		}
		e.digests[m.Digest] = m
		return int64(len(m.Payload)) + cacheItem
	})
}

func (e *entry) link(digest string) (meta.Link, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	l, ok := e.links[digest]
	return l, ok
}

func (c *cache) addLink(e *entry, l meta.Link) {
	c.add(e, func() int64 {
		old, ok := e.links[l.Layer.Digest]
		e.links[l.Layer.Digest] = l
		more := int64(len(l.Payload) - len(old.Payload))
		if ok {
			return more
		}
		return more + cacheItem
	})
}

// add runs put, which adds to e and returns the bytes that it took, unless e
// was dropped.
func (c *cache) add(e *entry, put func() int64) {
	if !c.on {
		return
	}
	e.mu.Lock()
	if !e.dropped {
		n := put()
		e.weight += n
		c.size.Add(n)
	}
	e.mu.Unlock()
	if c.size.Load() >= cacheBytes {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.trim()
	}
}

// open is the door for pulls: it finds the repository, in the cache if it is
// there, and decides.
func (r *Registry) open(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID) (*entry, error) {
	e := r.cache.get(id)
	if e == nil {
		var err error
		if e, err = r.load(ctx, id); err != nil && !errors.Is(err, meta.ErrNotFound) {
			return nil, err
		}
	}
	var err error
	if e == nil {
		if err = r.ask(ctx, c, action, id, id.ARN(r.cfg.Region)); err == nil {
			err = repositoryNotFound(id)
		}
		return nil, err
	}
	if err = r.allowEntry(c, action, e); err != nil {
		return nil, r.denied(ctx, c, action, id, err)
	}
	return e, nil
}

func (r *Registry) allowEntry(c ecr.Caller, action string, e *entry) error {
	return r.allow(c, action, e.repo.ID.ARN(r.cfg.Region), e.repo.ID.Account, e.rules, e.repo.Tags, nil)
}

func (r *Registry) load(ctx context.Context, id ecr.RepositoryID) (*entry, error) {
	generation := r.cache.generation(id).Load()
	e := &entry{tags: map[string]*ecr.Manifest{}, digests: map[string]*ecr.Manifest{}, links: map[string]meta.Link{}, weight: 2 * cacheItem}
	err := r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		e.repo, err = tx.Repository(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if e.rules, err = r.rules(e.repo); err != nil {
		return nil, err
	}
	r.cache.put(id, e, generation)
	return e, nil
}
