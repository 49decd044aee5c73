package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// sessions are the uploads that this process has seen. An upload has one
// request at a time; its record in memory is the one in the database, or newer
// by what is queued to be written.
type sessions struct {
	mu sync.Mutex
	m  map[string]*session
}

// maxSessions bounds the sessions kept in memory; the others are read again.
const maxSessions = 10_000

type session struct {
	lock chan struct{}  // full while a request has the upload
	up   *meta.Upload   // nil: to be read; belongs to who holds lock
	soon *meta.Deferred // the insertion of up's record, while that may be put off; as up
	used int            // requests that hold or want the lock; guarded by sessions.mu
}

// enter returns the session of an upload, made if need be.
func (s *sessions) enter(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]*session{}
	}
	e := s.m[id]
	if e == nil {
		for k, old := range s.m {
			if len(s.m) < maxSessions {
				break
			}
			if old.used == 0 {
				delete(s.m, k)
			}
		}
		e = &session{lock: make(chan struct{}, 1)}
		s.m[id] = e
	}
	e.used++
	return e
}

// leave ends a request's use; gone forgets the upload.
func (s *sessions) leave(id string, e *session, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.used--
	if gone && s.m[id] == e {
		delete(s.m, id)
	}
}

// forget drops uploads that have ended elsewhere.
func (s *sessions) forget(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.m, id)
	}
}

// busyWait is how long a request waits for another on the same upload: that
// one may be a connection that is dead and not yet known to be.
const busyWait = time.Minute

func uploadNotFound(id ecr.RepositoryID, uploadID string) *ecr.Error {
	return ecr.Errorf(ecr.UploadNotFound, "Upload with id '%s' does not exist in the repository with name '%s' in the registry with id '%s'", clean(uploadID, 64), id.Name, id.Account)
}

// acquire authorizes and takes an upload for this request. The caller calls
// release, once.
func (r *Registry) acquire(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, uploadID string) (*session, *entry, error) {
	e, err := r.open(ctx, c, action, id)
	if err != nil {
		return nil, nil, err
	}
	if u, err := uuid.Parse(uploadID); err != nil || u.String() != uploadID {
		return nil, nil, uploadNotFound(id, uploadID)
	}
	s := r.sessions.enter(uploadID)
	timer := time.NewTimer(busyWait)
	defer timer.Stop()
	select {
	case s.lock <- struct{}{}:
	case <-timer.C:
		r.sessions.leave(uploadID, s, false)
		return nil, nil, ecr.Errorf(ecr.InvalidLayerPart, "Another request is writing to the upload with id '%s'", uploadID)
	case <-ctx.Done():
		r.sessions.leave(uploadID, s, false)
		return nil, nil, ctx.Err()
	}
	if err := r.read(ctx, s, e, id, uploadID); err != nil {
		s.up = nil
		r.release(uploadID, s)
		return nil, nil, err
	}
	return s, e, nil
}

// read brings s.up up to date.
func (r *Registry) read(ctx context.Context, s *session, e *entry, id ecr.RepositoryID, uploadID string) error {
	if s.up == nil || r.db.Shared() {
		err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
			s.up, err = tx.Upload(e.repo.Row, uploadID)
			return err
		})
		if errors.Is(err, meta.ErrNotFound) {
			return uploadNotFound(id, uploadID)
		}
		if err != nil {
			return err
		}
		s.up.Repository = id
	}
	if s.up.RepositoryRow != e.repo.Row || r.now().After(s.up.ExpiresAt) {
		return uploadNotFound(id, uploadID)
	}
	return nil
}

// release gives the upload free. With s.up nil it is forgotten: it has ended,
// or is to be read again.
func (r *Registry) release(uploadID string, s *session) {
	gone := s.up == nil
	<-s.lock
	r.sessions.leave(uploadID, s, gone)
}
