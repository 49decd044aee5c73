package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ecruhq/ecru/test/harness"
)

var repositories = []string{"crash/a", "crash/b"}

// sharedBlobs is how many blobs all pushers take their common layers from.
const sharedBlobs = 24

// content is the bytes of a blob: a function of its seed and size.
func content(seed uint64, size int) []byte {
	b := make([]byte, size)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(b) // documented to return no error
	return b
}

// An openUpload is a chunked upload that a pusher left behind.
type openUpload struct {
	repo, path string // of its location, without the server's address
	content    []byte
	acked      int // bytes that the server acknowledged
	sent       int // bytes that were sent, or begun to be
}

// A load is what all pushers of all rounds share.
type load struct {
	ledger *ledger
	mu     sync.Mutex
	open   []*openUpload
	count  map[string]int
}

// A pusher sends requests, one at a time, until the server is gone.
type pusher struct {
	*load
	id   string
	c    *harness.Client
	rng  *rand.Rand
	n    int
	mine []image // with a tag of their own, not deleted
}

type image struct{ repo, tag, digest string }

func blobThing(repo, digest string) string  { return "blob " + repo + " " + digest }
func imageThing(repo, digest string) string { return "image " + repo + " " + digest }
func tagThing(repo, tag string) string      { return "tag " + repo + " " + tag }

// run returns nil when the server is gone, and an error for an answer that an
// honest client must not get.
func (p *pusher) run(ctx context.Context) error {
	for {
		op, name := p.pushImage, "images"
		switch x := p.rng.IntN(20); {
		case x < 3:
			op, name = p.deleteImage, "deletes"
		case x < 4:
			op, name = p.leaveUpload, "open uploads"
		case x < 6:
			op, name = p.pushShared, "shared blobs"
		}
		switch err := op(ctx); {
		case err == nil:
			p.mu.Lock()
			p.count[name]++
			p.mu.Unlock()
		case gone(err):
			return nil
		default:
			return fmt.Errorf("%s: %w", p.id, err)
		}
	}
}

// gone reports whether a request failed because the server was killed.
func gone(err error) bool {
	var request *url.Error
	var network net.Error
	return errors.As(err, &request) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (p *pusher) repository() string { return repositories[p.rng.IntN(len(repositories))] }

// newContent makes the bytes of a blob that nobody else has.
func (p *pusher) newContent() []byte {
	size := 64 + p.rng.IntN(32<<10)
	if p.rng.IntN(12) == 0 {
		size = 1<<20 + p.rng.IntN(1<<20)
	}
	return content(p.rng.Uint64(), size)
}

func shared(n int) []byte { return content(uint64(n), 100+n*700) }

func (p *pusher) pushShared(ctx context.Context) error {
	_, err := p.pushBlob(ctx, p.repository(), shared(p.rng.IntN(sharedBlobs)))
	return err
}

// pushBlob pushes in one of three ways.
func (p *pusher) pushBlob(ctx context.Context, repo string, b []byte) (digest string, err error) {
	digest = harness.Digest(b)
	ack := p.ledger.begin(blobThing(repo, digest), digest)
	switch p.rng.IntN(3) {
	case 0:
		_, err = p.c.PutBlob(ctx, repo, b)
	case 1:
		_, err = p.c.Want(ctx, http.StatusCreated, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+digest, b,
			"Content-Type", "application/octet-stream")
	default:
		err = p.pushChunked(ctx, repo, b)
	}
	if err == nil {
		ack()
	}
	return digest, err
}

func (p *pusher) pushChunked(ctx context.Context, repo string, b []byte) error {
	up, err := p.begin(ctx, repo, b)
	if err != nil {
		return err
	}
	// Of an upload that breaks, the rest is sent after the restart.
	keep := true
	defer func() {
		if keep {
			p.leave(up)
		}
	}()
	for up.acked < len(b) && p.rng.IntN(4) > 0 {
		n := 1 + p.rng.IntN(len(b)-up.acked)
		if up.acked == 0 && n == 1 {
			break // a status of one byte looks like one of none (Range: 0-0)
		}
		if err := p.chunk(ctx, up, n); err != nil {
			return err
		}
	}
	rest := up.acked
	up.sent = len(b)
	_, err = p.c.FinishUpload(ctx, p.c.Base+up.path, b[rest:], harness.Digest(b))
	// Its end may have come through, and then the upload is no more: the
	// blob's own entry says what is allowed.
	keep = false
	return err
}

func (p *pusher) begin(ctx context.Context, repo string, b []byte) (*openUpload, error) {
	loc, err := p.c.StartUpload(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &openUpload{repo: repo, path: strings.TrimPrefix(loc, p.c.Base), content: b}, nil
}

func (p *pusher) chunk(ctx context.Context, up *openUpload, n int) error {
	up.sent = up.acked + n
	loc, err := p.c.PatchUpload(ctx, p.c.Base+up.path, up.acked, up.content[up.acked:up.sent])
	if err != nil {
		return err
	}
	up.path = strings.TrimPrefix(loc, p.c.Base)
	up.acked = up.sent
	return nil
}

func (p *pusher) leave(up *openUpload) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, up)
}

// leaveUpload sends some chunks and leaves the upload open.
func (p *pusher) leaveUpload(ctx context.Context) error {
	up, err := p.begin(ctx, p.repository(), p.newContent())
	if err != nil {
		return err
	}
	defer p.leave(up)
	for range p.rng.IntN(3) {
		if err := p.chunk(ctx, up, 1+p.rng.IntN(len(up.content)/4)); err != nil {
			return err
		}
	}
	return nil
}

// pushImage pushes an image of new and shared layers; its tag is its own, the
// pusher's moving one, or the moving one of all.
func (p *pusher) pushImage(ctx context.Context) error {
	repo := p.repository()
	p.n++
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","comment":"%s image %d"}`, p.id, p.n)
	layers := [][]byte{p.newContent()}
	for range p.rng.IntN(3) {
		layers = append(layers, shared(p.rng.IntN(sharedBlobs)))
	}
	for _, b := range append([][]byte{config}, layers...) {
		if _, err := p.pushBlob(ctx, repo, b); err != nil {
			return err
		}
	}
	m := harness.Image(config, layers...)
	img := image{repo, fmt.Sprintf("%s-%d", p.id, p.n), harness.Digest(m)}
	own := true
	switch p.rng.IntN(4) {
	case 0:
		img.tag, own = p.id+"-moving", false
	case 1:
		img.tag, own = "moving", false
	}
	ackImage := p.ledger.begin(imageThing(repo, img.digest), img.digest)
	ackTag := p.ledger.begin(tagThing(repo, img.tag), img.digest)
	if _, err := p.c.PutManifest(ctx, repo, img.tag, harness.ManifestType, m); err != nil {
		return err
	}
	ackImage()
	ackTag()
	if own {
		p.mine = append(p.mine, img)
	}
	return nil
}

// deleteImage deletes an image that has a tag of its own.
func (p *pusher) deleteImage(ctx context.Context) error {
	if len(p.mine) == 0 {
		return nil
	}
	i := p.rng.IntN(len(p.mine))
	img := p.mine[i]
	p.mine = append(p.mine[:i], p.mine[i+1:]...)
	ref := img.digest
	ackImage, ackTag := func() {}, p.ledger.begin(tagThing(img.repo, img.tag), absent)
	if p.rng.IntN(2) == 0 {
		ref = img.tag // OCI: the image stays, untagged
	} else {
		ackImage = p.ledger.begin(imageThing(img.repo, img.digest), absent)
	}
	if _, err := p.c.Want(ctx, http.StatusAccepted, "DELETE", "/v2/"+img.repo+"/manifests/"+ref, nil); err != nil {
		return err
	}
	ackImage()
	ackTag()
	return nil
}

// read pulls the moving tags, whole, until the server is gone.
func (p *pusher) read(ctx context.Context) error {
	for {
		_, _, err := p.c.PullImage(ctx, p.repository(), "moving")
		if gone(err) {
			return nil
		}
		var status *harness.StatusError
		notYet := errors.As(err, &status) && status.Status == http.StatusNotFound && strings.HasSuffix(status.Path, "/moving")
		if err != nil && !notYet {
			return fmt.Errorf("reading while others push: %w", err)
		}
		p.mu.Lock()
		p.count["pulls"]++
		p.mu.Unlock()
	}
}
