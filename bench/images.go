package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func digest(b ...[]byte) string {
	h := sha256.New()
	for _, p := range b {
		h.Write(p)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// A small image: a configuration of about 1 KiB, a layer of about 4 KiB.
type small struct {
	blobs    [2][]byte
	digests  [2]string
	manifest []byte
}

var serial atomic.Uint64 // makes every image of a run another one

func newSmall(rng *rand.ChaCha8) small {
	var s small
	s.blobs[0] = make([]byte, 1024)
	s.blobs[1] = make([]byte, 4096)
	for i, b := range s.blobs {
		_, _ = rng.Read(b) // documented to return no error
		copy(b, strconv.FormatUint(serial.Add(1), 36)+" ")
		s.digests[i] = digest(b)
	}
	s.manifest = manifestOf(s.digests[0], len(s.blobs[0]), s.digests[1], len(s.blobs[1]), "")
	return s
}

func manifestOf(config string, configSize int, layer string, layerSize int, note string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}],"annotations":{"note":%q}}`,
		manifestType, config, configSize, layer, layerSize, note)
}

// sampleManifest is what the limit serves: as large as that of a usual image.
func sampleManifest() (manifest []byte, sum string) {
	m := manifestOf(digest([]byte("config")), 1024, digest([]byte("layer")), 4096, "")
	return m, digest(m)
}

func newRandom(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// push pushes a small image as docker does: per blob HEAD, POST, PUT; then the
// manifest. To the limit it sends the same bytes in three requests.
func (w *wire) push(repo, tag string, s small) error {
	if w.target.name == "limit" {
		for _, b := range [][]byte{s.blobs[0], s.blobs[1], s.manifest} {
			if _, err := w.do(201, call{method: "PUT", path: "/put", body: [][]byte{b}}); err != nil {
				return err
			}
		}
		return nil
	}
	for i, b := range s.blobs {
		if _, err := w.do(404, call{method: "HEAD", path: "/v2/" + repo + "/blobs/" + s.digests[i]}); err != nil {
			return err
		}
		if err := w.upload(repo, s.digests[i], b); err != nil {
			return err
		}
	}
	return w.putManifest(repo, tag, s.manifest)
}

func (w *wire) putManifest(repo, tag string, manifest []byte) error {
	_, err := w.do(201, call{method: "PUT", path: "/v2/" + repo + "/manifests/" + tag, mediaType: manifestType, body: [][]byte{manifest}})
	return err
}

// upload pushes a blob by POST and PUT.
func (w *wire) upload(repo, digest string, body ...[]byte) error {
	a, err := w.do(202, call{method: "POST", path: "/v2/" + repo + "/blobs/uploads/"})
	if err != nil {
		return err
	}
	_, err = w.do(201, call{method: "PUT", path: withDigest(a.location, digest), mediaType: "application/octet-stream", body: body})
	return err
}

func withDigest(location, digest string) string {
	sep := "?"
	for _, c := range location {
		if c == '?' {
			sep = "&"
		}
	}
	return location + sep + "digest=" + url.QueryEscape(digest)
}

// warmUp pushes one image.
func warmUp(t target) error {
	w, err := t.dial()
	if err != nil {
		return err
	}
	defer w.close()
	return w.push("warm/up", "v"+strconv.FormatUint(serial.Add(1), 10), newSmall(newRandom(rand.Uint64())))
}

// rate runs work in so many clients for a while, and returns how often it was
// done in a second.
func rate(t target, clients int, d time.Duration, work func(w *wire, rng *rand.ChaCha8, client, n int) error) (float64, error) {
	var group errgroup.Group
	var done atomic.Int64
	start := make(chan struct{})
	var deadline time.Time
	for i := range clients {
		w, err := t.dial()
		if err != nil {
			return 0, err
		}
		group.Go(func() error {
			defer w.close()
			rng := newRandom(rand.Uint64())
			<-start
			for n := 0; time.Now().Before(deadline); n++ {
				if err := work(w, rng, i, n); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	began := time.Now()
	deadline = began.Add(d)
	close(start)
	err := group.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

// each runs work once for every number below n, in so many clients, and
// returns how often it was done in a second.
func each(t target, clients, n int, work func(w *wire, i int) error) (float64, error) {
	var group errgroup.Group
	var mu sync.Mutex
	next := 0
	began := time.Now()
	for range clients {
		w, err := t.dial()
		if err != nil {
			return 0, err
		}
		group.Go(func() error {
			defer w.close()
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return nil
				}
				if err := work(w, i); err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	return float64(n) / time.Since(began).Seconds(), err
}
