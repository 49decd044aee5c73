// Package disk keeps objects as files.
//
// Layout of the store's folder:
//
//	lock                       held (flock) by the process that writes
//	uploads/<key>              an object that is not committed
//	b/<first 2 digits>/<key>   a committed object; its digest is in the
//	                           extended attribute user.ecru.digest, where the
//	                           filesystem has those
//
// All is on one filesystem, folders are 0700 and files 0600.
package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ecruhq/ecru/blob"
)

const (
	digestAttr = "user.ecru.digest"
	// writeback is how many bytes are written before the kernel is told to
	// begin moving them to the disk, so that the fsync at the end is short.
	writeback = 8 << 20
)

// A Store is a folder of objects. It implements blob.Store.
type Store struct {
	dir     string
	lock    *os.File // nil if read-only
	uploads *os.File
	fan     [256]*os.File // the folders b/00 to b/ff, for fsync
}

var _ blob.Store = (*Store)(nil)

// Open opens the store in a folder, made if need be, and locks it against
// other processes until Close.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// OpenReadOnly opens a store that another process may be writing. Only Open,
// Stat and Keys work.
func OpenReadOnly(dir string) (*Store, error) {
	if _, err := os.Stat(filepath.Join(dir, "b")); err != nil {
		return nil, err
	}
	return &Store{dir: dir}, nil
}

func (s *Store) open() (err error) {
	for _, d := range []string{s.dir, filepath.Join(s.dir, "uploads"), filepath.Join(s.dir, "b")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("the store in %s is in use by another process: %w", s.dir, err)
	}
	if s.uploads, err = os.Open(filepath.Join(s.dir, "uploads")); err != nil {
		return err
	}
	for i := range s.fan {
		d := filepath.Join(s.dir, "b", fmt.Sprintf("%02x", i))
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if s.fan[i], err = os.Open(d); err != nil {
			return err
		}
	}
	for _, d := range []string{filepath.Join(s.dir, "b"), s.dir, filepath.Dir(s.dir)} {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Close releases the lock. No Writer may be in use.
func (s *Store) Close() error {
	var errs []error
	for _, f := range append(s.fan[:], s.uploads, s.lock) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// check refuses a key that NewKey would not make, so that no key leads out of
// the store.
func check(key blob.Key) error {
	if !key.Valid() {
		return fmt.Errorf("blob: invalid key %q: %w", string(key), fs.ErrNotExist)
	}
	return nil
}

func (s *Store) pending(key blob.Key) string { return filepath.Join(s.dir, "uploads", string(key)) }

func (s *Store) final(key blob.Key) string {
	return filepath.Join(s.dir, "b", string(key[:2]), string(key))
}

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	if err := errors.Join(ctx.Err(), check(key)); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(s.final(key)); err == nil {
		return nil, fmt.Errorf("blob: %s: %w", key, fs.ErrExist)
	}
	f, err := os.OpenFile(s.pending(key), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &writer{s: s, key: key, f: f, fresh: true}, nil
}

// Resume implements blob.Store.
func (s *Store) Resume(ctx context.Context, key blob.Key, state []byte) (blob.Writer, error) {
	if err := errors.Join(ctx.Err(), check(key)); err != nil {
		return nil, err
	}
	if len(state) != 8 {
		return nil, fmt.Errorf("blob: %s: the state of an upload has %d bytes, want 8", key, len(state))
	}
	size := int64(binary.BigEndian.Uint64(state))
	f, err := os.OpenFile(s.pending(key), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := resume(f, size); err != nil {
		f.Close()
		return nil, err
	}
	return &writer{s: s, key: key, f: f, size: size, started: size}, nil
}

func resume(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if size < 0 || info.Size() < size {
		return fmt.Errorf("blob: %s has %d bytes, want %d: %w", f.Name(), info.Size(), size, fs.ErrNotExist)
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err = f.Seek(size, io.SeekStart)
	return err
}

// Open implements blob.Store; the reader is an *os.File.
func (s *Store) Open(ctx context.Context, key blob.Key, off, n int64) (io.ReadCloser, error) {
	if err := errors.Join(ctx.Err(), check(key)); err != nil {
		return nil, err
	}
	f, err := os.Open(s.final(key))
	if err != nil {
		return nil, err
	}
	if off != 0 {
		if _, err := f.Seek(off, io.SeekStart); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key blob.Key) (blob.Info, error) {
	if err := errors.Join(ctx.Err(), check(key)); err != nil {
		return blob.Info{}, err
	}
	return stat(s.final(key), key, true)
}

func stat(path string, key blob.Key, committed bool) (blob.Info, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return blob.Info{}, err
	}
	i := blob.Info{Key: key, Size: info.Size(), Committed: committed, ModTime: info.ModTime()}
	if committed {
		var buf [256]byte
		if n, err := unix.Lgetxattr(path, digestAttr, buf[:]); err == nil {
			i.Digest = string(buf[:n])
		}
	}
	return i, nil
}

// URL implements blob.Store: the bytes are read through us.
func (s *Store) URL(context.Context, blob.Key, time.Duration) (string, error) { return "", nil }

// Delete implements blob.Store. That the object stays deleted after power loss
// is not promised: who condemned it runs again.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	if err := errors.Join(ctx.Err(), check(key)); err != nil {
		return err
	}
	for _, path := range []string{s.pending(key), s.final(key)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Keys implements blob.Store. It holds the names of one of the 256 folders,
// and of all uncommitted objects, in memory.
func (s *Store) Keys(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		pending, err := names(filepath.Join(s.dir, "uploads"), "")
		if err != nil {
			yield(blob.Info{}, err)
			return
		}
		for i := range s.fan {
			prefix := fmt.Sprintf("%02x", i)
			committed, err := names(filepath.Join(s.dir, "b", prefix), prefix)
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			first, _ := slices.BinarySearch(pending, prefix+"~")
			all := merge(pending[:first], committed)
			pending = pending[first:]
			for _, e := range all {
				if ctx.Err() != nil {
					yield(blob.Info{}, ctx.Err())
					return
				}
				info, err := s.either(blob.Key(e))
				if errors.Is(err, fs.ErrNotExist) {
					continue // deleted meanwhile
				}
				if !yield(info, err) || err != nil {
					return
				}
			}
		}
	}
}

// either describes an object that is committed or not.
func (s *Store) either(key blob.Key) (blob.Info, error) {
	info, err := stat(s.pending(key), key, false)
	if errors.Is(err, fs.ErrNotExist) {
		return stat(s.final(key), key, true)
	}
	return info, err
}

// names returns the keys in a folder that begin with prefix, in order.
func names(dir, prefix string) (keys []string, err error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	all, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n string) bool { return !blob.Key(n).Valid() || !strings.HasPrefix(n, prefix) })
	slices.Sort(all)
	return all, nil
}

// merge returns the union of two lists, in order.
func merge(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// A writer writes uploads/<key>.
type writer struct {
	s       *Store
	key     blob.Key
	f       *os.File
	size    int64
	started int64 // bytes whose writeback has begun
	fresh   bool  // the file's name may not be on disk
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.size += int64(n)
	if w.size-w.started >= writeback {
		// Advice only: Commit and Suspend wait for the disk.
		_ = unix.SyncFileRange(int(w.f.Fd()), w.started, w.size-w.started, unix.SYNC_FILE_RANGE_WRITE)
		w.started = w.size
	}
	return n, err
}

func (w *writer) Size() int64 { return w.size }

func (w *writer) Suspend(durable bool) ([]byte, error) {
	var errs []error
	if durable {
		errs = append(errs, w.f.Sync())
		if w.fresh {
			errs = append(errs, w.s.uploads.Sync())
		}
	}
	errs = append(errs, w.f.Close())
	return binary.BigEndian.AppendUint64(nil, uint64(w.size)), errors.Join(errs...)
}

// Commit renames before it syncs: no record names the object yet, so that a
// power cut between the two leaves an orphan; and the sync of the file then
// carries the rename along, which leaves little to do for the folder's.
func (w *writer) Commit(digest string) error {
	defer w.f.Close()
	if err := unix.Fsetxattr(int(w.f.Fd()), digestAttr, []byte(digest), 0); err != nil &&
		!errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("blob: keep the digest of %s: %w", w.key, err)
	}
	if err := os.Rename(w.s.pending(w.key), w.s.final(w.key)); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	fan, err := strconv.ParseUint(string(w.key[:2]), 16, 8)
	if err != nil {
		return err
	}
	return w.s.fan[fan].Sync()
}

func (w *writer) Abort() error {
	return errors.Join(w.f.Close(), os.Remove(w.s.pending(w.key)))
}
