package crash

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"golang.org/x/sync/errgroup"

	"github.com/ecruhq/ecru/internal/pgtest"
	"github.com/ecruhq/ecru/test/harness"
)

var (
	rounds = flag.Int("rounds", 10, "rounds of kill -9")
	seed   = flag.Uint64("seed", 0, "seed of all choices; 0 takes one from the clock")
)

const pushers = 8

func TestKill9(t *testing.T) {
	start := *seed
	if start == 0 {
		start = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", start)
	t.Run("sqlite", func(t *testing.T) { run(t, start, *rounds) })
	t.Run("postgres", func(t *testing.T) {
		pg, err := pgtest.Start()
		if errors.Is(err, pgtest.ErrMissing) {
			harness.Unavailable(t, err.Error())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pg.Stop)
		run(t, start, max(2, *rounds/5), "--database", pg.Database(t))
	})
}

// An arena is a data folder whose server is killed round after round.
type arena struct {
	*load
	opt      harness.Options
	rng      *rand.Rand
	password string
	resumed  int
}

func run(t *testing.T, seed uint64, rounds int, args ...string) {
	a := &arena{
		load: &load{ledger: newLedger(), count: map[string]int{}},
		opt:  harness.Options{Binary: harness.Binary(t), Data: filepath.Join(t.TempDir(), "data"), Args: append(args, "--log-level", "debug")},
		rng:  rand.New(rand.NewPCG(seed, 9)),
	}
	a.opt.Args = append(a.opt.Args, "--audit-log", a.opt.Data+".audit")
	a.prepare(t)
	began := time.Now()
	for n := range rounds {
		if err := a.round(t.Context(), n); err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
	}
	took := time.Since(began)
	a.finish(t)
	t.Logf("%d rounds, %v a round; %v; %d uploads resumed; %d things in the ledger",
		rounds, (took / time.Duration(rounds)).Round(time.Millisecond), a.count, a.resumed, len(a.ledger.writes))
}

func (a *arena) prepare(t *testing.T) {
	s, err := harness.Start(a.opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	for _, name := range repositories {
		if _, err := s.Root().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	if a.password, err = harness.Password(t.Context(), s.Root()); err != nil {
		t.Fatal(err)
	}
}

// round starts the server, checks what the last one left, lets the pushers
// loose, and kills it.
func (a *arena) round(ctx context.Context, n int) error {
	if n%4 == 3 { // killed while it starts
		s, err := harness.Launch(a.opt)
		if err != nil {
			return err
		}
		timer := time.NewTimer(time.Duration(a.rng.IntN(80)) * time.Millisecond)
		<-timer.C
		s.Kill()
	}
	s, err := harness.Start(a.opt)
	if err != nil {
		return err
	}
	defer s.Kill()
	if err := a.verify(ctx, s, n%10 == 9); err != nil {
		return fmt.Errorf("%w\n%s", err, s.Log())
	}
	var group errgroup.Group
	for i := range pushers {
		p := &pusher{load: a.load, id: fmt.Sprintf("r%d-p%d", n, i), c: s.Registry(a.password), rng: rand.New(rand.NewPCG(a.rng.Uint64(), 1))}
		group.Go(func() error { return p.run(ctx) })
	}
	reader := &pusher{load: a.load, c: s.Registry(a.password), rng: rand.New(rand.NewPCG(a.rng.Uint64(), 2))}
	group.Go(func() error { return reader.read(ctx) })
	timer := time.NewTimer(time.Duration(20+a.rng.IntN(300)) * time.Millisecond)
	<-timer.C
	if !s.Running() {
		return fmt.Errorf("the server ended by itself\n%s", s.Log())
	}
	s.Kill()
	return group.Wait()
}

// verify compares the server with the ledger: all of it, or only what was
// written since the last time.
func (a *arena) verify(ctx context.Context, s *harness.Server, all bool) error {
	c := s.Registry(a.password)
	if err := a.resume(ctx, c); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, thing := range a.ledger.things() {
		if all || !a.ledger.settled(thing) {
			group.Go(func() error { return a.check(groupCtx, c, thing) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, repo := range repositories {
		if err := a.checkTags(ctx, c, repo); err != nil {
			return err
		}
	}
	return nil
}

// check reads one thing and compares it with the ledger.
func (a *arena) check(ctx context.Context, c *harness.Client, thing string) error {
	f := strings.Fields(thing)
	kind, repo, name := f[0], f[1], f[2]
	value := name
	var err error
	switch kind {
	case "blob":
		_, err = c.GetBlob(ctx, repo, name)
	default: // whole: what resolves must be complete
		value, _, err = c.PullImage(ctx, repo, name)
	}
	var status *harness.StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound && strings.HasSuffix(status.Path, "/"+name) {
		value, err = absent, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", thing, err)
	}
	return a.ledger.observe(thing, value)
}

// checkTags lists a repository's tags: each is one that a client set.
func (a *arena) checkTags(ctx context.Context, c *harness.Client, repo string) error {
	got := map[string]bool{}
	last := ""
	for {
		res, err := c.Want(ctx, http.StatusOK, "GET", "/v2/"+repo+"/tags/list?n=1000"+last, nil)
		if err != nil {
			return err
		}
		var page struct{ Tags []string }
		if err := json.Unmarshal(res.Body, &page); err != nil {
			return err
		}
		for _, tag := range page.Tags {
			if a.ledger.allowed(tagThing(repo, tag))[absent] {
				return fmt.Errorf("the list of tags has %s, which is deleted or was never set", tagThing(repo, tag))
			}
			got[tag] = true
		}
		if res.Header.Get("Link") == "" {
			break
		}
		last = "&last=" + page.Tags[len(page.Tags)-1]
	}
	for _, thing := range a.ledger.things() {
		if tag, ok := strings.CutPrefix(thing, tagThing(repo, "")); ok && !got[tag] && !a.ledger.allowed(thing)[absent] {
			return fmt.Errorf("the list of tags lacks %s", thing)
		}
	}
	return nil
}

// resume ends every upload that was left open, from the offset that the server
// reports.
func (a *arena) resume(ctx context.Context, c *harness.Client) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, up := range a.open {
		group.Go(func() error { return a.resumeOne(groupCtx, c, up) })
	}
	a.open = nil
	return group.Wait()
}

func (a *arena) resumeOne(ctx context.Context, c *harness.Client, up *openUpload) error {
	digest := harness.Digest(up.content)
	have, err := c.UploadSize(ctx, c.Base+up.path)
	var status *harness.StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound && up.acked == 0 {
		return nil // begun within milliseconds of the kill: documented to be unknown then
	}
	if err != nil {
		return fmt.Errorf("resuming an upload of which %d bytes are acknowledged: %w", up.acked, err)
	}
	if have < up.acked || have > up.sent {
		return fmt.Errorf("an upload has %d bytes, of which %d are acknowledged and %d were sent", have, up.acked, up.sent)
	}
	ack := a.ledger.begin(blobThing(up.repo, digest), digest)
	loc := c.Base + up.path
	if half := have + (len(up.content)-have)/2; half > have {
		if loc, err = c.PatchUpload(ctx, loc, have, up.content[have:half]); err != nil {
			return fmt.Errorf("resuming an upload at byte %d: %w", have, err)
		}
		have = half
	}
	if _, err := c.FinishUpload(ctx, loc, up.content[have:], digest); err != nil {
		return fmt.Errorf("ending a resumed upload: %w", err)
	}
	ack()
	a.mu.Lock()
	a.resumed++
	a.mu.Unlock()
	return nil
}

// finish checks everything once more, stops the server, and runs fsck.
func (a *arena) finish(t *testing.T) {
	s, err := harness.Start(a.opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.verify(t.Context(), s, true); err != nil {
		s.Kill()
		t.Fatalf("at the end: %v\n%s", err, s.Log())
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	folder := append([]string{"--data", a.opt.Data, "--region", harness.Region, "--account", harness.Account}, a.opt.Args...)
	t.Log(s.Ecru(append([]string{"fsck"}, folder...)...).Must(t))
	t.Log(s.Ecru(append([]string{"audit", "verify"}, folder...)...).Must(t)) // also that every change has its record
	t.Log(s.Ecru(append([]string{"audit", "verify", a.opt.Data + ".audit"}, folder...)...).Must(t))
}
