package replication

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ecruhq/ecru/test/harness"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the chaos")

// TestChaos: three regions in network namespaces replicate to each other while
// lines are cut and delayed and servers killed. In the end each has what it
// should, byte for byte, and little more was sent than had to be.
func TestChaos(t *testing.T) {
	const images = 200
	names := []string{virginia, ireland, singapore}
	spaces := newNamespaces(t, names...)
	t.Logf("seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	w := newWorldIn(t, spaces, names...)
	for _, name := range names {
		others := slices.DeleteFunc(slices.Clone(names), func(o string) bool { return o == name })
		w.configure(name, map[string][]string{"production/": others})
		for n := range 2 {
			w.create(name, fmt.Sprintf("production/%s/app%d", name, n))
		}
		w.create(name, "staging/"+name)
	}
	before := map[string]int64{}
	for _, name := range names {
		before[name] = spaces[name].sent()
	}
	p := &pusher{w: w, names: names, rng: rng, up: map[string]*sync.RWMutex{}, layers: map[string]map[string]bool{}, clients: map[string]*harness.Client{}}
	for _, name := range names {
		p.up[name], p.layers[name] = new(sync.RWMutex), map[string]bool{}
		p.clients[name] = w.registry(name) // a password outlives its server
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { chaos(t, w, spaces, names, p, rand.New(rand.NewPCG(*seed, 1)), stop) })
	for n := range images {
		p.push(n)
	}
	close(stop)
	wg.Wait()
	for _, name := range names {
		spaces[name].cut(false)
		spaces[name].delay(0)
	}
	start := time.Now()
	for _, from := range names {
		for _, to := range names {
			for n := range 2 {
				if from != to {
					w.same(from, to, fmt.Sprintf("production/%s/app%d", from, n))
				}
			}
			if from != to {
				w.lacks(to, "staging/"+from, "v1")
			}
		}
	}
	t.Logf("all was everywhere %v after the lines were whole", time.Since(start))
	var sent int64
	for _, name := range names {
		sent += spaces[name].sent() - before[name]
	}
	w.checkBytes(names)
	missing := p.lacked
	t.Logf("%d bytes on the lines, headers included, for %d that were missing: %.3f", sent, missing, float64(sent)/float64(missing))
	if float64(sent) > 1.05*float64(missing) {
		t.Errorf("%d bytes were sent for %d that were missing", sent, missing)
	}
}

// A pusher pushes random images to random regions.
type pusher struct {
	w     *world
	names []string
	rng   *rand.Rand
	up    map[string]*sync.RWMutex // held for writing while a region is down

	clients map[string]*harness.Client

	pool   [][]byte
	layers map[string]map[string]bool // what a region has, by digest
	lacked int64                      // bytes that regions did not have when others pushed them
}

// layer is a layer of an earlier image, or a new one.
func (p *pusher) layer() []byte {
	if len(p.pool) > 0 && p.rng.IntN(4) == 0 {
		return p.pool[p.rng.IntN(len(p.pool))]
	}
	b := content(200_000 + p.rng.IntN(600_000))
	p.pool = append(p.pool, b)
	return b
}

// push pushes one image and waits out the region's being down.
func (p *pusher) push(n int) {
	name := p.names[p.rng.IntN(len(p.names))]
	repo := fmt.Sprintf("production/%s/app%d", name, p.rng.IntN(2))
	if p.rng.IntN(20) == 0 {
		repo = "staging/" + name
	}
	ref := []string{fmt.Sprint("v", p.rng.IntN(40)), "latest", ""}[p.rng.IntN(3)]
	config, layers := content(1000+p.rng.IntN(1000)), [][]byte{p.layer(), p.layer()}
	p.up[name].RLock()
	defer p.up[name].RUnlock()
	if _, err := p.clients[name].PushImage(p.w.t.Context(), repo, ref, config, layers...); err != nil {
		p.w.t.Errorf("push %d to %s: %v", n, name, err)
		return
	}
	for _, region := range p.names {
		if region != name && repo == "staging/"+name {
			continue
		}
		for _, b := range append([][]byte{config, harness.Image(config, layers...)}, layers...) {
			if d := harness.Digest(b); !p.layers[region][d] {
				p.layers[region][d] = true
				if region != name {
					p.lacked += int64(len(b))
				}
			}
		}
	}
}

// chaos cuts, delays and kills, one thing at a time, until stop.
func chaos(t *testing.T, w *world, spaces map[string]*netns, names []string, p *pusher, rng *rand.Rand, stop chan struct{}) {
	pause := func(most int) bool {
		select {
		case <-stop:
			return false
		case <-time.After(time.Duration(50+rng.IntN(most)) * time.Millisecond):
			return true
		}
	}
	kills, delayed := 0, true
	for pause(400) {
		name := names[rng.IntN(len(names))]
		switch what := rng.IntN(5); {
		case what == 0 && kills < 3:
			kills++
			p.up[name].Lock()
			w.regions[name].server.Kill()
			w.start(name)
			p.clients[name].HTTP.CloseIdleConnections()
			p.up[name].Unlock()
		case what < 3:
			spaces[name].cut(true)
			pause(1500)
			spaces[name].cut(false)
		default:
			if delayed = spaces[name].delay(5 + rng.IntN(40)); delayed {
				pause(1000)
				spaces[name].delay(0)
			}
		}
	}
	t.Logf("%d servers were killed", kills)
	if !delayed {
		t.Log("this kernel has no netem: nothing was delayed but in TestDownAndSlow")
	}
}

// checkBytes pulls every image of every region, which checks its digests.
func (w *world) checkBytes(names []string) {
	w.t.Helper()
	for _, from := range names {
		for n := range 2 {
			repo := fmt.Sprintf("production/%s/app%d", from, n)
			all, err := w.contents(context.Background(), from, repo)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, in := range names {
				c := w.registry(in)
				for ref, digest := range all {
					if got, _, err := c.PullImage(w.t.Context(), repo, ref); err != nil || got != digest {
						w.t.Errorf("%s: %s:%s is %q, %v, want %s", in, repo, ref, got, err, digest)
					}
				}
			}
		}
	}
}
