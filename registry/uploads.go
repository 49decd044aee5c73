package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

const (
	actInitiate = "ecr:InitiateLayerUpload"
	actPart     = "ecr:UploadLayerPart"
	actComplete = "ecr:CompleteLayerUpload"
)

// InitiateUpload begins an upload. Its record is written with the next commit,
// within a tenth of a second, or not at all if the upload is over by then: an
// upload whose server was killed before may be unknown afterwards, like one
// that has expired.
// Errors: RepositoryNotFound, unless a template creates the repository.
func (r *Registry) InitiateUpload(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (ecr.Upload, error) {
	if err := r.ensure(ctx, c, actInitiate, id); err != nil {
		return ecr.Upload{}, err
	}
	e, err := r.open(ctx, c, actInitiate, id)
	if err != nil {
		return ecr.Upload{}, err
	}
	up := &meta.Upload{
		Upload:        ecr.Upload{ID: uuid.NewString(), Repository: id, ExpiresAt: r.now().Add(r.cfg.Times.Upload)},
		RepositoryRow: e.repo.Row, Key: blob.NewKey(),
	}
	record := *up
	soon, err := r.db.UpdateSoon(ctx, func(tx *meta.Tx) error { return tx.InsertUpload(&record) })
	if err != nil {
		return ecr.Upload{}, err
	}
	if !r.db.Shared() {
		s := r.sessions.enter(up.ID)
		s.lock <- struct{}{}
		s.up, s.soon = up, soon
		r.release(up.ID, s)
	}
	return record.Upload, nil
}

// UploadStatus tells how far an upload has come.
// Errors: RepositoryNotFound, UploadNotFound.
func (r *Registry) UploadStatus(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, uploadID string) (ecr.Upload, error) {
	s, _, err := r.acquire(ctx, c, actPart, id, uploadID)
	if err != nil {
		return ecr.Upload{}, err
	}
	defer r.release(uploadID, s)
	return s.up.Upload, nil
}

// AppendUpload appends body to an upload. off < 0 means at its end; any other
// must be its end, or the error is InvalidLayerPart and the Upload says where
// that is. length < 0 means unknown. What arrived of a body that broke off is
// kept: the error is InvalidLayerPart, and the Upload says how much there is.
// When it returns nil the bytes survive power loss.
// Errors: RepositoryNotFound, UploadNotFound, InvalidLayerPart, LimitExceeded.
func (r *Registry) AppendUpload(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, uploadID string, off int64, body io.Reader, length int64) (ecr.Upload, error) {
	s, _, err := r.acquire(ctx, c, actPart, id, uploadID)
	if err != nil {
		return ecr.Upload{}, err
	}
	defer r.release(uploadID, s)
	// A client that goes away ends body, and what came of it is recorded.
	return r.append(context.WithoutCancel(ctx), s, off, body, length)
}

func (r *Registry) append(ctx context.Context, s *session, off int64, body io.Reader, length int64) (ecr.Upload, error) {
	if err := checkOffset(s.up, off); err != nil {
		return s.up.Upload, err
	}
	up := s.up
	rc, err := r.receive(ctx, up, "sha256", body, length)
	if err != nil && !errors.As(err, new(sourceError)) {
		return up.Upload, r.abandon(s, rc, err)
	}
	return r.keep(ctx, s, rc, err)
}

// keep records what an upload has by now. With cause, which ended a body
// early, that is its error.
func (r *Registry) keep(ctx context.Context, s *session, rc *receipt, cause error) (ecr.Upload, error) {
	up := s.up
	err := rc.save(up)
	if err == nil {
		up.ExpiresAt = r.now().Add(r.cfg.Times.Upload)
		record := *up
		err = r.db.Update(ctx, func(tx *meta.Tx) error { return tx.SaveUpload(&record) })
	}
	if err != nil {
		s.up = nil
		return up.Upload, lostUpload(up, err)
	}
	up.Epoch++
	if up.Data != nil { // not kept in memory between requests
		s.up = nil
	}
	if cause != nil {
		return up.Upload, &ecr.Error{Code: ecr.InvalidLayerPart, Err: cause,
			Message: fmt.Sprintf("The body ended early: %d bytes of the upload are kept", up.Size)}
	}
	return up.Upload, nil
}

func checkOffset(up *meta.Upload, off int64) error {
	if off >= 0 && off != up.Size {
		return &ecr.Error{Code: ecr.InvalidLayerPart,
			Message: fmt.Sprintf("The part begins at byte %d, but the upload with id '%s' has %d bytes", off, up.ID, up.Size),
			Members: map[string]any{"lastValidByteReceived": up.Size - 1, "uploadId": up.ID,
				"registryId": up.Repository.Account, "repositoryName": up.Repository.Name}}
	}
	return nil
}

// lostUpload is UploadNotFound if another request, or its deadline, took the
// upload away meanwhile.
func lostUpload(up *meta.Upload, err error) error {
	if errors.Is(err, meta.ErrNotFound) {
		return uploadNotFound(up.Repository, up.ID)
	}
	return err
}

// A receipt has all bytes of an upload: few in memory, many in an object whose
// writer and hash have seen them.
type receipt struct {
	data      []byte // while w is nil
	w         blob.Writer
	h         hash.Hash
	algorithm string // of h
}

func (rc *receipt) size() int64 {
	if rc.w == nil {
		return int64(len(rc.data))
	}
	return rc.w.Size()
}

// save writes into up how to go on from here.
func (rc *receipt) save(up *meta.Upload) (err error) {
	up.Size = rc.size()
	if rc.w == nil {
		up.Data = rc.data
		return nil
	}
	up.Data = nil
	if up.Store, err = rc.w.Suspend(true); err != nil {
		return err
	}
	up.Hash, err = rc.h.(encoding.BinaryMarshaler).MarshalBinary()
	return err
}

// receive continues an upload with body, which may be nil. Where it makes the
// object its hash is of the algorithm, else SHA-256. A sourceError leaves the
// receipt good.
func (r *Registry) receive(ctx context.Context, up *meta.Upload, algorithm string, body io.Reader, length int64) (rc *receipt, err error) {
	if length >= 0 && up.Size+length > r.cfg.Limits.LayerBytes {
		return nil, r.tooLarge()
	}
	if up.Store == nil {
		return r.receiveFew(ctx, up, algorithm, body, length)
	}
	rc = &receipt{algorithm: "sha256", h: oci.NewHash("sha256")}
	if err := rc.h.(encoding.BinaryUnmarshaler).UnmarshalBinary(up.Hash); err != nil {
		return nil, err
	}
	if rc.w, err = r.blobs.Resume(ctx, up.Key, up.Store); err != nil || body == nil {
		return rc, err
	}
	return rc, r.copyBody(rc, body, length, 0)
}

// receiveFew is receive for an upload that has no object: it makes one when
// there are more bytes than the database takes.
func (r *Registry) receiveFew(ctx context.Context, up *meta.Upload, algorithm string, body io.Reader, length int64) (rc *receipt, err error) {
	rc = &receipt{data: up.Data}
	if body == nil {
		return rc, nil
	}
	var got int64
	var broken error
	if room := r.cfg.Limits.InlineBytes - up.Size; room >= max(length, 0) {
		few := bytes.NewBuffer(append(make([]byte, 0, up.Size+max(length, 0)+bytes.MinRead), up.Data...))
		got, broken = few.ReadFrom(io.LimitReader(body, room+1))
		if broken != nil || got <= room && length >= 0 && got != length {
			broken = sourceError{cmp.Or(broken, io.ErrUnexpectedEOF)}
		}
		rc.data = few.Bytes()
		if got <= room {
			return rc, broken
		}
	}
	few := rc.data
	*rc = receipt{algorithm: algorithm, h: oci.NewHash(algorithm)}
	if rc.w, err = r.createObject(ctx, up); err != nil {
		return nil, err
	}
	rc.h.Write(few)
	if _, err := rc.w.Write(few); err != nil || broken != nil {
		return rc, cmp.Or(err, broken)
	}
	return rc, r.copyBody(rc, body, length, got)
}

// copyBody copies the rest of a body of which got bytes have been read.
func (r *Registry) copyBody(rc *receipt, body io.Reader, length, got int64) error {
	n, err := copyHashed(rc.w, rc.h, body, r.cfg.Limits.LayerBytes-rc.size())
	if errors.Is(err, errTooLong) {
		return r.tooLarge()
	}
	if err == nil && length >= 0 && got+n != length {
		err = sourceError{io.ErrUnexpectedEOF}
	}
	return err
}

// createObject creates the object of an upload that has no bytes yet. Where a
// request left some of which nothing is recorded (its process was killed) the
// upload gets another key: a key is not written twice.
func (r *Registry) createObject(ctx context.Context, up *meta.Upload) (blob.Writer, error) {
	w, err := r.blobs.Create(ctx, up.Key)
	if !errors.Is(err, fs.ErrExist) {
		return w, err
	}
	record, key := *up, blob.NewKey()
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.RekeyUpload(&record, key); err != nil {
			return lostUpload(&record, err)
		}
		return tx.Trash(record.Key, r.now())
	})
	if err != nil {
		return nil, err
	}
	up.Key = key
	up.Epoch++
	return r.blobs.Create(ctx, key)
}

func (r *Registry) tooLarge() error {
	return ecr.Errorf(ecr.LimitExceeded, "The layer is larger than the maximum layer size (%d MiB)", r.cfg.Limits.LayerBytes>>20)
}

// abandon ends a failed request on an upload whose bytes on the store may be
// anything after its recorded size: they are dropped when it is resumed.
func (r *Registry) abandon(s *session, rc *receipt, err error) error {
	up := s.up
	s.up = nil
	if rc == nil || rc.w == nil {
		return err
	}
	if up.Store == nil { // nothing was recorded: the key must not be created twice
		r.discard(up, rc.w.Abort())
		return err
	}
	if _, suspendErr := rc.w.Suspend(false); suspendErr != nil {
		return errors.Join(err, suspendErr)
	}
	return err
}

// discard ends an upload whose object has been given up; abortErr is what came
// of freeing it.
func (r *Registry) discard(up *meta.Upload, abortErr error) {
	record := *up
	err := r.db.Update(context.Background(), func(tx *meta.Tx) error {
		if err := tx.DeleteUpload(&record); err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		return tx.Trash(record.Key, r.now())
	})
	if err = errors.Join(err, abortErr); err != nil {
		r.cfg.Log.Warn("an abandoned upload was not freed", "upload", up.ID, "error", err)
	}
}

// CompleteUpload appends body, which may be nil, and ends the upload: its
// bytes become the layer digest of the repository. off and length are as for
// AppendUpload. When it returns nil the layer survives power loss.
// Errors: those of AppendUpload; InvalidLayer if digest is not that of the
// bytes, which ends the upload too.
func (r *Registry) CompleteUpload(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, uploadID string, off int64, body io.Reader, length int64, digest string) (ecr.Layer, error) {
	d, err := oci.ParseDigest(digest)
	if err != nil {
		return ecr.Layer{}, invalidDigest(digest)
	}
	s, e, err := r.acquire(ctx, c, actComplete, id, uploadID)
	if err != nil {
		return ecr.Layer{}, err
	}
	defer r.release(uploadID, s)
	ctx = context.WithoutCancel(ctx) // as in AppendUpload
	if err := checkOffset(s.up, off); err != nil {
		return ecr.Layer{}, err
	}
	if body != nil && length != 0 {
		if err := r.allowEntry(c, actPart, e); err != nil {
			return ecr.Layer{}, r.denied(ctx, c, actPart, id, err)
		}
	}
	if length == 0 {
		body = nil
	}
	rc, err := r.receive(ctx, s.up, d.Algorithm(), body, length)
	if errors.As(err, new(sourceError)) {
		// The client can ask how much came and go on from there.
		if rc.w != nil && rc.algorithm != "sha256" { // only SHA-256 can be continued
			return ecr.Layer{}, r.abandon(s, rc, err)
		}
		_, err := r.keep(ctx, s, rc, err)
		return ecr.Layer{}, err
	}
	if err != nil {
		return ecr.Layer{}, r.abandon(s, rc, err)
	}
	return r.finish(ctx, c, s, rc, []string{string(d)})
}

func invalidDigest(digest string) error {
	return ecr.Errorf(ecr.InvalidLayer, "Invalid parameter at 'layerDigests' failed to satisfy constraint: '%s is not a sha256 or sha512 digest'", clean(digest, 200))
}

// finish makes the bytes of an upload a layer of its repository, if its
// digest is one of digests.
func (r *Registry) finish(ctx context.Context, c ecr.Caller, s *session, rc *receipt, digests []string) (ecr.Layer, error) {
	up := s.up
	s.up = nil // whatever comes: it has ended, or is read again
	digest, err := r.match(rc, digests)
	if err != nil {
		var abortErr error
		if rc.w != nil {
			abortErr = rc.w.Abort()
		}
		r.discard(up, abortErr)
		return ecr.Layer{}, err
	}
	layer := ecr.Layer{Digest: digest, Size: rc.size(), Available: true}
	if rc.w == nil {
		return layer, r.adopt(ctx, c, up, layer, append([]byte{}, rc.data...), s.soon.Cancel())
	}
	if err := rc.w.Commit(digest); err != nil {
		r.discard(up, nil)
		return ecr.Layer{}, err
	}
	if wrong := r.verifyOther(ctx, up, rc, digest); wrong != nil {
		r.discard(up, nil)
		return ecr.Layer{}, wrong
	}
	return layer, r.adopt(ctx, c, up, layer, nil, s.soon.Cancel())
}

// match returns the one of digests that the bytes have. A digest by another
// algorithm than the running hash's is taken on trust, to be verified.
func (r *Registry) match(rc *receipt, digests []string) (string, error) {
	if rc.w == nil {
		for _, d := range digests {
			if string(oci.Of(oci.Digest(d).Algorithm(), rc.data)) == d {
				return d, nil
			}
		}
		return "", wrongDigest(string(oci.Of(oci.Digest(digests[0]).Algorithm(), rc.data)), digests[0])
	}
	sum := string(oci.Sum(rc.algorithm, rc.h))
	for _, d := range digests {
		if d == sum {
			return d, nil
		}
	}
	for _, d := range digests {
		if oci.Digest(d).Algorithm() != rc.algorithm {
			return d, nil
		}
	}
	return "", wrongDigest(sum, digests[0])
}

func wrongDigest(sum, given string) error {
	return ecr.Errorf(ecr.InvalidLayer, "The layer digest calculated by Ecru, %s, does not match the digest that was given, %s", sum, given)
}

// verifyOther reads a committed object again if its digest is by another
// algorithm than the one that ran while it came in.
func (r *Registry) verifyOther(ctx context.Context, up *meta.Upload, rc *receipt, digest string) error {
	algorithm := oci.Digest(digest).Algorithm()
	if algorithm == rc.algorithm {
		return nil
	}
	src, err := r.blobs.Open(ctx, up.Key, 0, -1)
	if err != nil {
		return err
	}
	defer src.Close()
	h := oci.NewHash(algorithm)
	if _, err := copyHashed(io.Discard, h, src, rc.w.Size()); err != nil {
		return err
	}
	if sum := string(oci.Sum(algorithm, h)); sum != digest {
		return wrongDigest(sum, digest)
	}
	return nil
}

// adopt records a committed object, or a payload if that is not nil, as a layer
// of the repository, in one transaction with the end of the upload. If the
// region has the bytes already the new object goes to the trash. Unwritten says
// that the upload was over before its record was due to be written.
func (r *Registry) adopt(ctx context.Context, c ecr.Caller, up *meta.Upload, layer ecr.Layer, payload []byte, unwritten bool) error {
	now := r.now()
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		repo, err := tx.LockRepository(up.Repository)
		if err := r.decide(tx, c, actComplete, up.Repository, repo, nil, err); err != nil {
			return err
		}
		if repo.Row != up.RepositoryRow {
			return uploadNotFound(up.Repository, up.ID)
		}
		if !unwritten {
			if err := tx.DeleteUpload(up); err != nil {
				return lostUpload(up, err)
			}
		}
		blobID, kept, err := tx.PutBlob(layer, up.Key, payload)
		if err != nil {
			return err
		}
		if kept != up.Key && payload == nil {
			if err := tx.Trash(up.Key, now); err != nil {
				return err
			}
		}
		if err := tx.PutLink(repo.Row, blobID, now.Add(r.cfg.Times.Grace)); err != nil {
			return err
		}
		e := r.event(c, ecr.LayerPushed, actComplete, up.Repository)
		e.Digest = layer.Digest
		return tx.Append(e)
	})
	var known *ecr.Error
	if errors.As(err, &known) {
		if payload == nil {
			r.discardLate(up)
		}
		return r.denied(ctx, c, actComplete, up.Repository, err)
	}
	// After any other error the outcome is unknown: the object is the blob's,
	// or the upload's until its deadline.
	return err
}

// discardLate frees the object of a writer that came too late for its upload's
// record: unless, in one snapshot, something has it.
func (r *Registry) discardLate(up *meta.Upload) {
	err := r.db.Update(context.Background(), func(tx *meta.Tx) error {
		known, err := tx.Known([]blob.Key{up.Key})
		if err != nil || known[up.Key] {
			return err
		}
		return tx.Trash(up.Key, r.now())
	})
	if err != nil {
		r.cfg.Log.Warn("a late upload was not freed", "upload", up.ID, "error", err)
	}
}

// CancelUpload ends an upload and frees its bytes.
// Errors: RepositoryNotFound, UploadNotFound.
func (r *Registry) CancelUpload(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, uploadID string) error {
	s, _, err := r.acquire(ctx, c, actPart, id, uploadID)
	if err != nil {
		return err
	}
	defer r.release(uploadID, s)
	up := s.up
	s.up = nil
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.DeleteUpload(up); err != nil {
			return lostUpload(up, err)
		}
		return tx.Trash(up.Key, r.now())
	})
	if err != nil {
		return err
	}
	return r.blobs.Delete(ctx, up.Key)
}

// UploadLayer is a whole upload in one call (OCI Distribution 1.1, end-4b).
func (r *Registry) UploadLayer(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, body io.Reader, length int64, digest string) (ecr.Layer, error) {
	if _, err := oci.ParseDigest(digest); err != nil {
		return ecr.Layer{}, invalidDigest(digest)
	}
	up, err := r.InitiateUpload(ctx, c, id)
	if err != nil {
		return ecr.Layer{}, err
	}
	return r.CompleteUpload(ctx, c, id, up.ID, 0, body, length, digest)
}
