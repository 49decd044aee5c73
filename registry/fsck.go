package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

// FsckOptions say what Fsck does.
type FsckOptions struct {
	// Repair sets right what can be derived from what is there. It deletes
	// nothing. No server may be running on the stores.
	Repair bool
	// Quick compares the sizes of objects and does not read them.
	Quick bool
	// Progress, if not nil, is told how far a stage has come.
	Progress func(stage string, done, total int64)
}

// An FsckReport is what Fsck found.
type FsckReport struct {
	Blobs, Images int64 // looked at
	Inline        int64 // of the blobs: kept in the database, without an object
	Findings      []meta.Fault
	// Orphans are objects that no record names: what a crash left, and
	// uploads of a running server that are not recorded yet. Garbage
	// collection frees them when they are old enough.
	Orphans     int64
	OrphanBytes int64
}

// maxFindings bounds the findings of one kind.
const maxFindings = 1000

// fsckBatch is how many rows are held at a time.
const fsckBatch = 200

// Fsck verifies every record against the others and against the store: each
// blob's object is there, with its size and its digest; each manifest has its
// digest; tags, links, edges and counters agree. Without Repair it can run
// beside a server.
func (r *Registry) Fsck(ctx context.Context, o FsckOptions) (*FsckReport, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	rep := new(FsckReport)
	for _, stage := range []func(context.Context, FsckOptions, *FsckReport) error{r.fsckRows, r.fsckBlobs, r.fsckManifests, r.fsckExpired, r.fsckOrphans} {
		if err := stage(ctx, o, rep); err != nil {
			return rep, err
		}
	}
	return rep, nil
}

func (r *Registry) fsckRows(ctx context.Context, o FsckOptions, rep *FsckReport) error {
	o.Progress("records", 0, 1)
	err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if rep.Blobs, rep.Images, err = tx.CountObjects(); err != nil {
			return err
		}
		rep.Findings, err = tx.Faults(maxFindings)
		return err
	})
	if err != nil || !o.Repair || len(rep.Findings) == 0 {
		return err
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		return tx.Mend(rep.Findings, r.now().Add(r.cfg.Times.Grace).UnixMilli())
	})
}

func (r *Registry) fsckBlobs(ctx context.Context, o FsckOptions, rep *FsckReport) error {
	done, total := int64(0), rep.Blobs
	for after := int64(0); ; {
		var batch []meta.Link
		err := r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
			batch, err = tx.AllBlobs(after, fsckBatch)
			return err
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, b := range batch {
			after = b.Blob
			done++
			if b.Inline {
				rep.Inline++
			}
			o.Progress("blobs", done, max(done, total))
			bad := r.verifyObject(ctx, b, o.Quick)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if bad == nil || r.gone(ctx, b) {
				continue
			}
			rep.Findings = append(rep.Findings, meta.Fault{Kind: "bad object", Subject: b.Layer.Digest, Detail: bad.Error()})
		}
	}
}

// gone reports whether a blob was collected since it was listed.
func (r *Registry) gone(ctx context.Context, b meta.Link) bool {
	var now []meta.Link
	err := r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		now, err = tx.AllBlobs(b.Blob-1, 1)
		return err
	})
	return err == nil && (len(now) == 0 || now[0].Blob != b.Blob)
}

// verifyInline compares bytes that are in the database with their digest.
func (r *Registry) verifyInline(ctx context.Context, b meta.Link) error {
	var payload []byte
	err := r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		payload, err = tx.BlobPayload(b.Blob)
		return err
	})
	if err != nil {
		return err
	}
	algorithm := oci.Digest(b.Layer.Digest).Algorithm()
	if oci.NewHash(algorithm) == nil {
		return fmt.Errorf("digest of an unknown algorithm")
	}
	if got := oci.Of(algorithm, payload); string(got) != b.Layer.Digest || int64(len(payload)) != b.Layer.Size {
		return fmt.Errorf("%d bytes in the database have the digest %s, want %d bytes", len(payload), got, b.Layer.Size)
	}
	return nil
}

// verifyObject compares a blob's bytes with its record.
func (r *Registry) verifyObject(ctx context.Context, b meta.Link, quick bool) error {
	if b.Inline {
		return r.verifyInline(ctx, b)
	}
	info, err := r.blobs.Stat(ctx, b.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("object %s is missing", b.Key)
	}
	if err != nil {
		return err
	}
	if info.Size != b.Layer.Size {
		return fmt.Errorf("object %s has %d bytes, want %d", b.Key, info.Size, b.Layer.Size)
	}
	if quick {
		return nil
	}
	algorithm := oci.Digest(b.Layer.Digest).Algorithm()
	h := oci.NewHash(algorithm)
	if h == nil {
		return fmt.Errorf("digest of an unknown algorithm")
	}
	src, err := r.blobs.Open(ctx, b.Key, 0, -1)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := copyHashed(io.Discard, h, src, b.Layer.Size); err != nil {
		return err
	}
	if got := oci.Sum(algorithm, h); string(got) != b.Layer.Digest {
		return fmt.Errorf("the bytes of object %s have the digest %s", b.Key, got)
	}
	return nil
}

func (r *Registry) fsckManifests(ctx context.Context, o FsckOptions, rep *FsckReport) error {
	return r.fsckPayloads(ctx, o, rep, "manifests", rep.Images, (*meta.Tx).AllManifests)
}

// fsckExpired verifies the manifests of images that expired and can be
// restored.
func (r *Registry) fsckExpired(ctx context.Context, o FsckOptions, rep *FsckReport) error {
	return r.fsckPayloads(ctx, o, rep, "expired manifests", 0, (*meta.Tx).AllExpired)
}

func (r *Registry) fsckPayloads(ctx context.Context, o FsckOptions, rep *FsckReport, stage string, total int64, list func(*meta.Tx, int64, int) ([]ecr.Manifest, error)) error {
	done := int64(0)
	for after := int64(0); ; {
		err := r.db.ViewOne(ctx, func(tx *meta.Tx) error {
			batch, err := list(tx, after, fsckBatch/10)
			if len(batch) == 0 {
				after = -1
			}
			for _, m := range batch {
				after = m.Row
				done++
				o.Progress(stage, done, max(done, total))
				if got := oci.Of(oci.Digest(m.Digest).Algorithm(), m.Payload); string(got) != m.Digest {
					rep.Findings = append(rep.Findings, meta.Fault{Kind: "bad manifest", Subject: m.Repository.Name + "@" + m.Digest,
						Detail: fmt.Sprintf("its bytes have the digest %s", got)})
				}
			}
			return err
		})
		if err != nil || after < 0 {
			return err
		}
	}
}

func (r *Registry) fsckOrphans(ctx context.Context, o FsckOptions, rep *FsckReport) error {
	var batch []blob.Info
	done := int64(0)
	flush := func() error {
		keys := make([]blob.Key, len(batch))
		for i, info := range batch {
			keys[i] = info.Key
		}
		var known map[blob.Key]bool
		err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
			known, err = tx.Known(keys)
			return err
		})
		for _, info := range batch {
			if !known[info.Key] {
				rep.Orphans++
				rep.OrphanBytes += info.Size
			}
		}
		batch = batch[:0]
		return err
	}
	for info, err := range r.blobs.Keys(ctx) {
		if err != nil {
			return err
		}
		done++
		o.Progress("objects", done, max(done, rep.Blobs))
		if batch = append(batch, info); len(batch) == fsckBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
