package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ecruhq/ecru/advisory"
	"github.com/ecruhq/ecru/meta"
)

const (
	// overlap is how far behind the high-water mark a list is read again,
	// because records that change at one time come into it one by one.
	overlap = 24 * time.Hour
	// wholeEvery is how often a list is read to its end, to find what is gone.
	wholeEvery = 24 * time.Hour
	// manyChanged: from this part of a feed on, all.zip is less work than its
	// records one by one.
	manyChanged = 20 // a twentieth
	// fewChanged are read one by one whatever part of the feed they are.
	fewChanged = 20
)

// An updater brings the feeds of one source up to date.
type updater struct {
	store *advisory.Store
	src   source
	o     Options
	now   func() time.Time
	log   *slog.Logger
	m     *metrics
}

// Options say what is taken from a source.
type Options struct {
	// Ecosystems are the directories to read; empty means all of which packages
	// can be in images.
	Ecosystems  []string
	NoMalicious bool
	// KEV and EPSS are URLs of these lists; empty means from the source, if it
	// has them.
	KEV, EPSS string
	// Temp is a folder for files while they are read; empty means the system's.
	Temp string
}

// form is what feeds that were kept in another way do not have.
func (u *updater) form() int64 {
	if u.o.NoMalicious {
		return advisory.Form*2 + 1
	}
	return advisory.Form * 2
}

// wanted are the directories of the source to read.
func (u *updater) wanted(ctx context.Context) ([]string, error) {
	names, err := ecosystems(ctx, u.src)
	if err != nil {
		return nil, err
	}
	if len(u.o.Ecosystems) == 0 {
		var all []string
		for _, n := range names {
			switch n {
			case "GIT", "OSS-Fuzz", "Android", "Linux", "UVI", "DWF", "GSD": // of no package in an image
			default:
				all = append(all, n)
			}
		}
		names = all
	} else {
		have := map[string]bool{}
		for _, n := range names {
			have[n] = true
		}
		for _, n := range u.o.Ecosystems {
			if !have[n] {
				return nil, fmt.Errorf("the source has no ecosystem %q; it has %s", n, strings.Join(names, ", "))
			}
		}
		names = u.o.Ecosystems
	}
	if len(names) > advisory.MaxFeeds {
		return nil, fmt.Errorf("the source has %d ecosystems; at most %d are read", len(names), advisory.MaxFeeds)
	}
	return names, nil
}

// all updates every feed. One that fails does not keep the others from it.
func (u *updater) all(ctx context.Context) error {
	names, err := u.wanted(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := u.feed(ctx, n, u.ecosystem); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n, err))
			continue
		}
		if err := u.rematch(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}

func (u *updater) rematch(ctx context.Context) error {
	r, err := u.store.Rematch(ctx)
	u.m.rematched.Add(float64(r.Matched))
	if r.Changed > 0 {
		u.log.InfoContext(ctx, "findings changed", "package_versions", r.Changed, "matched", r.Matched)
	}
	return err
}

// feed runs an update of a feed and records how it ended.
func (u *updater) feed(ctx context.Context, name string, update func(context.Context, *meta.Feed) error) error {
	f, err := u.store.Feed(ctx, name)
	if err != nil {
		return err
	}
	before := f
	failure := update(ctx, &f)
	if failure != nil {
		f = before
		f.Failure = shorten(failure.Error())
	} else {
		f.Failure, f.CheckedAt, f.Source = "", u.now(), u.src.String()
	}
	// How it ended counts also when the server stops.
	if err := u.store.PutFeed(context.WithoutCancel(ctx), f); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

func shorten(s string) string {
	if len(s) > 1024 {
		s = s[:1024]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
}

// ecosystem brings a feed up to date. What it has written when it fails stays,
// and is not read again the next time.
func (u *updater) ecosystem(ctx context.Context, f *meta.Feed) error {
	fresh := f.Source != u.src.String() || f.Form != u.form() || f.LoadedAt.IsZero()
	whole := fresh || u.now().Sub(f.ListedAt) >= wholeEvery
	etag, until := f.ETag, f.HighWater.Add(-overlap)
	if whole {
		etag, until = "", time.Time{}
	}
	file, err := u.src.open(ctx, f.Name+"/"+listFile, etag)
	switch {
	case errors.Is(err, errNotModified):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return u.withoutList(ctx, f, fresh)
	case err != nil:
		return err
	}
	l, err := readList(file, until)
	file.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", listFile, err)
	}
	changed, gone, err := u.store.Compare(ctx, f.Row, l.rows, l.whole, f.Form != u.form())
	if err != nil {
		return err
	}
	total := f.Records
	if l.whole {
		total = int64(len(l.rows))
	}
	if err := u.believe(f, len(gone)); err != nil {
		return err
	}
	if err := u.read(ctx, f, l, changed, total); err != nil {
		return err
	}
	if err := u.store.Drop(ctx, f.Row, gone); err != nil {
		return err
	}
	if f.Records, err = u.store.Count(ctx, f.Row); err != nil {
		return err
	}
	now := u.now()
	f.ETag, f.Form, f.LoadedAt = file.etag, u.form(), now
	if l.newest.After(f.Newest) || l.whole {
		f.Newest, f.HighWater = l.newest, l.newest
	}
	if l.whole {
		f.ListedAt = now
	}
	if len(changed)+len(gone) > 0 {
		u.log.InfoContext(ctx, "advisories updated", "ecosystem", f.Name, "changed", len(changed), "gone", len(gone), "records", f.Records)
	}
	return nil
}

// believe refuses a list that lacks most of what the same source had before: one
// that was cut, or is another's.
func (u *updater) believe(f *meta.Feed, gone int) error {
	if f.Source == u.src.String() && gone > 100 && int64(gone)*2 > f.Records {
		return fmt.Errorf("the list lacks %d of %d records that there were before, which is not believed; if it is right, load it once with ecru advisories load", gone, f.Records)
	}
	return nil
}

// read reads changed records, all at once if they are many, or if the source
// does not have them one by one.
func (u *updater) read(ctx context.Context, f *meta.Feed, l *list, changed []advisory.Listed, total int64) error {
	if len(changed) <= fewChanged || int64(len(changed))*manyChanged <= total {
		lacking, err := u.readEach(ctx, f, changed)
		if err != nil || len(lacking) == 0 {
			return err
		}
		changed = lacking
	}
	want := make(map[string]advisory.Listed, len(changed))
	for _, c := range changed {
		want[c.ID] = c
	}
	inZip, err := u.readZip(ctx, f, want)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", allFile, err)
	}
	left, err := u.afterZip(ctx, f, l, want, inZip, total)
	if err != nil {
		return err
	}
	lacking, err := u.readEach(ctx, f, left)
	if err != nil || len(lacking) == 0 {
		return err
	}
	u.log.WarnContext(ctx, "the list names records that are not there", "ecosystem", f.Name, "records", len(lacking), "first", lacking[0].ID)
	if len(lacking) > fewChanged && len(lacking)*2 > len(changed) {
		return fmt.Errorf("%d of %d records that the list names as changed are not there, such as %s", len(lacking), len(changed), lacking[0].ID)
	}
	return nil
}

// afterZip are the records that are still to be read: all.zip may be older than
// the list, and has been known to lack records.
func (u *updater) afterZip(ctx context.Context, f *meta.Feed, l *list, want map[string]advisory.Listed, inZip map[string]bool, total int64) ([]advisory.Listed, error) {
	changed, _, err := u.store.Compare(ctx, f.Row, l.rows, l.whole, false)
	if err != nil {
		return nil, err
	}
	var left, older []advisory.Listed
	for _, w := range want {
		if !inZip[w.ID] {
			left = append(left, w)
		}
	}
	for _, c := range changed {
		if inZip[c.ID] {
			older = append(older, c)
		}
	}
	if len(older) <= fewChanged || int64(len(older))*manyChanged <= total {
		return append(left, older...), nil
	}
	u.log.WarnContext(ctx, "most records are older than their list says; they are taken as they are", "ecosystem", f.Name, "records", len(older))
	as := make([]advisory.Compiled, len(older))
	for i, o := range older {
		as[i] = advisory.Unreadable(o)
	}
	return left, u.store.Put(ctx, f.Row, as)
}

// withoutList reads a feed of which there is all.zip alone.
func (u *updater) withoutList(ctx context.Context, f *meta.Feed, fresh bool) error {
	etag := f.ETag
	if fresh {
		etag = ""
	}
	file, err := u.src.open(ctx, f.Name+"/"+allFile, etag)
	if errors.Is(err, errNotModified) {
		return nil
	}
	if err != nil {
		return err
	}
	file.Close()
	inZip, err := u.readZip(ctx, f, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", allFile, err)
	}
	rows := make([]advisory.Listed, 0, len(inZip))
	for id := range inZip {
		rows = append(rows, advisory.Listed{ID: id})
	}
	_, gone, err := u.store.Compare(ctx, f.Row, rows, true, false)
	if err != nil {
		return err
	}
	if err := u.believe(f, len(gone)); err != nil {
		return err
	}
	if err := u.store.Drop(ctx, f.Row, gone); err != nil {
		return err
	}
	if f.Records, err = u.store.Count(ctx, f.Row); err != nil {
		return err
	}
	if f.Newest, err = u.store.Newest(ctx, f.Row); err != nil {
		return err
	}
	now := u.now()
	f.ETag, f.Form, f.LoadedAt, f.ListedAt, f.HighWater = file.etag, u.form(), now, now, f.Newest
	return nil
}

// fetch copies a file of the source to the disk. The file has no name.
func (u *updater) fetch(ctx context.Context, name string) (*os.File, int64, error) {
	for n := 1; ; n++ {
		f, size, err := u.fetchOnce(ctx, name)
		var soon temporary
		if err == nil || n == tries || ctx.Err() != nil || !errors.As(err, &soon) {
			return f, size, err
		}
	}
}

func (u *updater) fetchOnce(ctx context.Context, name string) (_ *os.File, _ int64, err error) {
	in, err := u.src.open(ctx, name, "")
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	if in.size > maxAll {
		return nil, 0, fmt.Errorf("%d bytes; at most %d are read", in.size, int64(maxAll))
	}
	out, err := os.CreateTemp(u.o.Temp, "advisories-*.zip")
	if err != nil {
		return nil, 0, err
	}
	if err := os.Remove(out.Name()); err != nil {
		out.Close()
		return nil, 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, maxAll+1))
	if err == nil && n > maxAll {
		err = fmt.Errorf("more than %d bytes", int64(maxAll))
	}
	if err == nil && in.size >= 0 && n != in.size {
		err = temporary{fmt.Errorf("%d bytes came of %d", n, in.size)}
	}
	if err != nil {
		out.Close()
		return nil, 0, err
	}
	return out, n, nil
}
