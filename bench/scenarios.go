package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	mib       = 1 << 20
	largeSize = 512 * mib
	chunkSize = 16 * mib
)

// A scenario measures servers one after the other, round after round.
type scenario struct {
	name    string
	servers []string
	// restart gives every round servers with empty stores.
	restart bool
	// prepare fills a fresh server; what it returns is given to measure.
	prepare func(p *process, o options) (any, error)
	// measure returns one figure a metric.
	measure func(p *process, o options, prepared any, round int) ([]float64, error)
	metrics []metric
}

// A metric is a figure with its unit.
type metric struct {
	name, unit string
	lower      bool // less is better
}

var all = []string{"ecru", "peer", "limit"}

// scenarios returns what is measured, in order.
func scenarios(o options) []scenario {
	list := []scenario{
		smallPushes(1), smallPushes(16),
		largePush("put", o), largePush("patch", o),
		largePull(1, o), largePull(4, o),
		manifests("GET"), manifests("HEAD"),
		mounts(),
	}
	for _, n := range o.tagCounts {
		list = append(list, tagLists(n))
	}
	return list
}

func smallPushes(clients int) scenario {
	return scenario{
		name: fmt.Sprintf("push-small-%d", clients), servers: all,
		metrics: []metric{{fmt.Sprintf("push of small images, %d client%s", clients, plural(clients)), "images/s", false}},
		prepare: func(p *process, _ options) (any, error) {
			if p.name == "limit" {
				return nil, nil
			}
			return nil, warmUp(p.target)
		},
		measure: func(p *process, o options, _ any, round int) ([]float64, error) {
			r, err := rate(p.target, clients, o.duration, func(w *wire, rng *rand.ChaCha8, client, n int) error {
				return w.push("small/app", fmt.Sprintf("r%d-%d-%d", round, client, n), newSmall(rng))
			})
			return []float64{r}, err
		},
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// large is the body of a large layer: parts that repeat one random block.
func large(size int) [][]byte {
	block := make([]byte, chunkSize)
	_, _ = newRandom(rand.Uint64()).Read(block) // documented to return no error
	var parts [][]byte
	for n := 0; n < size; n += chunkSize {
		parts = append(parts, block[:min(chunkSize, size-n)])
	}
	return parts
}

func largePush(kind string, o options) scenario {
	what := "PUT"
	if kind == "patch" {
		what = "PATCH of 16 MiB"
	}
	return scenario{
		name: "push-large-" + kind, servers: all, restart: true,
		metrics: []metric{{fmt.Sprintf("push of a layer of %d MiB, %s", o.largeSize/mib, what), "MB/s", false}},
		prepare: func(p *process, o options) (any, error) {
			if p.name != "limit" {
				if err := warmUp(p.target); err != nil {
					return nil, err
				}
			}
			return large(o.largeSize), nil
		},
		measure: func(p *process, o options, prepared any, _ int) ([]float64, error) {
			w, err := p.dial()
			if err != nil {
				return nil, err
			}
			defer w.close()
			body := prepared.([][]byte)
			sum := digest(body...)
			began := time.Now()
			if kind == "put" {
				err = w.pushWhole(sum, body)
			} else {
				err = w.pushChunks(sum, body)
			}
			return []float64{float64(o.largeSize) / 1e6 / time.Since(began).Seconds()}, err
		},
	}
}

func (w *wire) pushWhole(sum string, body [][]byte) error {
	if w.target.name == "limit" {
		_, err := w.do(201, call{method: "PUT", path: "/put", body: body})
		return err
	}
	return w.upload("warm/up", sum, body...)
}

func (w *wire) pushChunks(sum string, body [][]byte) error {
	isLimit := w.target.name == "limit"
	next := "/append/" + strconv.FormatUint(serial.Add(1), 10) + "?first=0"
	if !isLimit {
		a, err := w.do(202, call{method: "POST", path: "/v2/warm/up/blobs/uploads/"})
		if err != nil {
			return err
		}
		next = a.location
	}
	var off int64
	for i, chunk := range body {
		if isLimit && i == len(body)-1 {
			next += "&last=1"
		}
		a, err := w.do(202, call{method: "PATCH", path: next, mediaType: "application/octet-stream", chunk: true, rangeFirst: off, body: [][]byte{chunk}})
		if err != nil {
			return err
		}
		off += int64(len(chunk))
		if !isLimit {
			next = a.location
		}
	}
	if isLimit {
		return nil
	}
	_, err := w.do(201, call{method: "PUT", path: withDigest(next, sum), mediaType: "application/octet-stream"})
	return err
}

func largePull(clients int, o options) scenario {
	return scenario{
		name: fmt.Sprintf("pull-large-%d", clients), servers: all,
		metrics: []metric{{fmt.Sprintf("pull of a layer of %d MiB, %d client%s", o.largeSize/mib, clients, plural(clients)), "MB/s", false}},
		prepare: func(p *process, o options) (any, error) {
			body := large(o.largeSize)
			path, err := p.placeLarge(body)
			if err == nil { // into the page cache, for all alike
				_, err = each(p.target, 1, 1, func(w *wire, _ int) error { return w.pull(path, o.largeSize) })
			}
			return path, err
		},
		measure: func(p *process, o options, prepared any, _ int) ([]float64, error) {
			r, err := each(p.target, clients, 2*clients, func(w *wire, _ int) error { return w.pull(prepared.(string), o.largeSize) })
			return []float64{r * float64(o.largeSize) / 1e6}, err
		},
	}
}

func (w *wire) pull(path string, size int) error {
	a, err := w.do(200, call{method: "GET", path: path})
	if err == nil && a.length != int64(size) {
		err = fmt.Errorf("%s: %d bytes came, want %d", w.target.name, a.length, size)
	}
	return err
}

// placeLarge puts a large blob into a server and returns its path.
func (p *process) placeLarge(body [][]byte) (string, error) {
	if p.name == "limit" {
		f, err := os.Create(filepath.Join(p.dir, "blob"))
		if err != nil {
			return "", err
		}
		defer f.Close()
		for _, b := range body {
			if _, err := f.Write(b); err != nil {
				return "", err
			}
		}
		return "/blob", nil
	}
	w, err := p.dial()
	if err != nil {
		return "", err
	}
	defer w.close()
	sum := digest(body...)
	return "/v2/large/app/blobs/" + sum, w.upload("large/app", sum, body...)
}

func manifests(method string) scenario {
	const clients = 16
	return scenario{
		name: "manifest-" + strings.ToLower(method), servers: all,
		metrics: []metric{{"manifest " + method + " by tag, 16 clients", "requests/s", false}},
		prepare: func(p *process, _ options) (any, error) {
			if p.name == "limit" {
				return "/manifest", nil
			}
			w, err := p.dial()
			if err != nil {
				return nil, err
			}
			defer w.close()
			return "/v2/small/app/manifests/v1", w.push("small/app", "v1", newSmall(newRandom(1)))
		},
		measure: func(p *process, o options, prepared any, _ int) ([]float64, error) {
			r, err := rate(p.target, clients, o.duration, func(w *wire, _ *rand.ChaCha8, _, _ int) error {
				_, err := w.do(200, call{method: method, path: prepared.(string)})
				return err
			})
			return []float64{r}, err
		},
	}
}

// mounts mounts blobs of one repository into a fresh one each round.
func mounts() scenario {
	return scenario{
		name: "mount", servers: all[:2],
		metrics: []metric{{"cross-repository mount, 1 client", "mounts/s", false}, {"cross-repository mount, 16 clients", "mounts/s", false}},
		prepare: func(p *process, o options) (any, error) {
			images := make([]small, o.mounts)
			for i := range images {
				images[i] = newSmall(newRandom(rand.Uint64()))
			}
			_, err := each(p.target, 16, len(images), func(w *wire, i int) error {
				return w.push("mount/source", "v"+strconv.Itoa(i), images[i])
			})
			return images, err
		},
		measure: func(p *process, o options, prepared any, round int) ([]float64, error) {
			images := prepared.([]small)
			var rates []float64
			for _, clients := range []int{1, 16} {
				repo := fmt.Sprintf("mount/target-%d-%d", round, clients)
				// The repository exists: its creation is not measured.
				_, err := each(p.target, 1, 1, func(w *wire, _ int) error { return w.push(repo, "v1", newSmall(newRandom(rand.Uint64()))) })
				if err != nil {
					return nil, err
				}
				r, err := each(p.target, clients, len(images), func(w *wire, i int) error {
					_, err := w.do(201, call{method: "POST", path: "/v2/" + repo + "/blobs/uploads/?mount=" + images[i].digests[1] + "&from=mount/source"})
					return err
				})
				if err != nil {
					return nil, err
				}
				rates = append(rates, r)
			}
			return rates, nil
		},
	}
}

const (
	tagPage      = 1000
	tagsPerImage = 100
)

// tagLists lists n tags in pages of 1000. The peer knows no pages of tags and
// answers with all of them at once; that is its figure for every page.
func tagLists(n int) scenario {
	name := fmt.Sprintf("%d tags", n)
	return scenario{
		name: fmt.Sprintf("tags-%d", n), servers: all[:2],
		metrics: []metric{{name + ", first page of 1000", "ms", true}, {name + ", middle page", "ms", true},
			{name + ", last page", "ms", true}, {name + ", all pages", "ms", true}},
		prepare: func(p *process, _ options) (any, error) {
			if p.name == "peer" && p.dir != "" {
				return nil, p.fillPeerTags(n)
			}
			return nil, p.pushTags(n)
		},
		measure: func(p *process, _ options, _ any, _ int) ([]float64, error) {
			var pages []float64
			var total float64
			_, err := each(p.target, 1, 1, func(w *wire, _ int) error {
				for path := "/v2/tags/app/tags/list?n=" + strconv.Itoa(tagPage); path != ""; {
					began := time.Now()
					a, err := w.do(200, call{method: "GET", path: path, keep: true})
					if err != nil {
						return err
					}
					took := time.Since(began).Seconds() * 1000
					pages = append(pages, took)
					total += took
					path = a.link
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			if want := (n + tagPage - 1) / tagPage; p.name == "ecru" && len(pages) != want {
				return nil, fmt.Errorf("ecru: %d pages of tags, want %d", len(pages), want)
			}
			return []float64{pages[0], pages[len(pages)/2], pages[len(pages)-1], total}, nil
		},
	}
}

// pushTags pushes n tags, 100 to an image.
func (p *process) pushTags(n int) error {
	s := newSmall(newRandom(rand.Uint64()))
	note := func(i int) []byte {
		return manifestOf(s.digests[0], len(s.blobs[0]), s.digests[1], len(s.blobs[1]), strconv.Itoa(i/tagsPerImage))
	}
	s.manifest = note(0)
	if _, err := each(p.target, 1, 1, func(w *wire, _ int) error { return w.push("tags/app", tagName(0), s) }); err != nil {
		return err
	}
	_, err := each(p.target, 32, n-1, func(w *wire, i int) error {
		return w.putManifest("tags/app", tagName(i+1), note(i+1))
	})
	return err
}

func tagName(i int) string { return fmt.Sprintf("build-%06d", i) }

// fillPeerTags makes n tags in the peer's folder by hand, which for 100,000
// takes seconds where pushing them takes many minutes: a tag is a folder with
// a file that names the manifest.
func (p *process) fillPeerTags(n int) error {
	w, err := p.dial()
	if err != nil {
		return err
	}
	defer w.close()
	s := newSmall(newRandom(rand.Uint64()))
	if err := w.push("tags/app", tagName(0), s); err != nil {
		return err
	}
	tags := filepath.Join(p.dir, "docker", "registry", "v2", "repositories", "tags", "app", "_manifests", "tags")
	if _, err := os.Stat(tags); err != nil {
		return err
	}
	for i := 1; i < n; i++ {
		current := filepath.Join(tags, tagName(i), "current")
		if err := os.MkdirAll(current, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(current, "link"), []byte(digest(s.manifest)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
