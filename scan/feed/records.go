package feed

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

const (
	// compilers is how many records are compiled at once.
	compilers = 2
	// fetchers is how many records are asked for at once.
	fetchers = 8
	// A batch of records is written when it has so many, or so many bytes.
	batchRecords = 250
	batchBytes   = 8 << 20
)

// A read is a record that has been read, or has not: then there is nothing to
// write.
type read struct {
	record advisory.Compiled
	bytes  int
	none   bool
}

// write runs do for every item, on some goroutines, each with a compiler, and
// writes what comes of it in batches. When one fails, what the others have read
// is still written.
func write[T any](ctx context.Context, u *updater, f *meta.Feed, goroutines int, items []T, do func(context.Context, *advisory.Compiler, T) (read, error)) error {
	g, gctx := errgroup.WithContext(ctx)
	results := make(chan read, 2*batchRecords)
	var next atomic.Int64
	for range min(goroutines, len(items)) {
		g.Go(func() error {
			c, err := advisory.NewCompiler(advisory.Options{NoMalicious: u.o.NoMalicious})
			if err != nil {
				return err
			}
			for gctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return nil
				}
				r, err := do(gctx, c, items[i])
				if err != nil {
					return err
				}
				if !r.none {
					results <- r // is always taken
				}
			}
			return gctx.Err()
		})
	}
	failed := make(chan error, 1)
	go func() {
		err := g.Wait()
		close(results)
		failed <- err
	}()
	werr := u.writeAll(ctx, f, results)
	err := <-failed
	if werr != nil {
		return werr
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// writeAll takes all results, also when it fails.
func (u *updater) writeAll(ctx context.Context, f *meta.Feed, results <-chan read) (err error) {
	var batch []advisory.Compiled
	bytes, done := 0, 0
	flush := func() {
		if err == nil && len(batch) > 0 {
			err = u.store.Put(ctx, f.Row, batch)
			done += len(batch)
			u.progress(ctx, f, done)
		}
		batch, bytes = batch[:0], 0
	}
	for r := range results {
		batch = append(batch, r.record)
		if bytes += r.bytes; len(batch) == batchRecords || bytes > batchBytes {
			flush()
		}
	}
	flush()
	return err
}

// progress tells of every 10,000 records.
func (u *updater) progress(ctx context.Context, f *meta.Feed, done int) {
	if done/10_000 != (done-batchRecords)/10_000 {
		u.log.InfoContext(ctx, "advisories are being read", "ecosystem", f.Name, "records", done)
	}
}

// readZip reads the records of all.zip that are wanted (nil: all of them), and
// returns the IDs of all that are in it.
func (u *updater) readZip(ctx context.Context, f *meta.Feed, want map[string]advisory.Listed) (map[string]bool, error) {
	file, size, err := u.fetch(ctx, f.Name+"/"+allFile)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	z, err := newZip(file, size)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(z.File))
	var entries []*zip.File
	for _, e := range z.File {
		id, ok := strings.CutSuffix(e.Name, ".json")
		if !ok || !recordID(id) || ids[id] {
			continue
		}
		ids[id] = true
		if _, ok := want[id]; ok || want == nil {
			entries = append(entries, e)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("it has no records")
	}
	return ids, write(ctx, u, f, compilers, entries, func(ctx context.Context, c *advisory.Compiler, e *zip.File) (read, error) {
		b, err := unzip(e)
		if err != nil {
			return read{}, fmt.Errorf("%s: %w", e.Name, err)
		}
		id := strings.TrimSuffix(e.Name, ".json")
		l := want[id]
		l.ID = id
		return u.compile(ctx, c, advisory.Record{ID: id, JSON: b}, l), nil
	})
}

func unzip(e *zip.File) ([]byte, error) {
	if e.UncompressedSize64 > vuln.MaxRecord {
		return nil, fmt.Errorf("%d bytes; at most %d are read", e.UncompressedSize64, vuln.MaxRecord)
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	return readAll(&file{ReadCloser: r}, vuln.MaxRecord)
}

// readEach reads records one by one, and returns those that are not there.
func (u *updater) readEach(ctx context.Context, f *meta.Feed, list []advisory.Listed) (lacking []advisory.Listed, err error) {
	var mu sync.Mutex
	err = write(ctx, u, f, fetchers, list, func(ctx context.Context, c *advisory.Compiler, l advisory.Listed) (read, error) {
		b, err := u.fetchRecord(ctx, f.Name+"/"+l.ID+".json")
		if errors.Is(err, fs.ErrNotExist) {
			mu.Lock()
			defer mu.Unlock()
			lacking = append(lacking, l)
			return read{none: true}, nil
		}
		if err != nil {
			return read{}, fmt.Errorf("%s: %w", l.ID, err)
		}
		return u.compile(ctx, c, advisory.Record{ID: l.ID, Modified: l.Modified, JSON: b}, l), nil
	})
	return lacking, err
}

func (u *updater) fetchRecord(ctx context.Context, name string) (b []byte, err error) {
	for n := 1; ; n++ {
		var in *file
		if in, err = u.src.open(ctx, name, ""); err != nil {
			return nil, err
		}
		b, err = readAll(in, vuln.MaxRecord)
		var soon temporary
		if err == nil || n == tries || ctx.Err() != nil || !errors.As(err, &soon) {
			return b, err
		}
	}
}

// compile never fails: a record that is not one is told of and left out.
func (u *updater) compile(ctx context.Context, c *advisory.Compiler, r advisory.Record, l advisory.Listed) read {
	compiled, err := c.Compile(r)
	if err != nil {
		u.m.unreadable.Inc()
		u.log.WarnContext(ctx, "a record of advisories is left out", "id", r.ID, "error", err)
		compiled = advisory.Unreadable(l)
	}
	return read{record: compiled, bytes: len(r.JSON)}
}
