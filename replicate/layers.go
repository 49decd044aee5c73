package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

const (
	// chunk is how many bytes a request carries at most. What a destination has
	// confirmed of a layer is not sent again, so it is also how much can be lost
	// when one dies.
	chunk = 32 << 20
	// small is the size up to which a layer is sent without asking whether the
	// destination has it in another repository: that would cost as much.
	small = 4 << 10
	// restarts is how often an upload that the destination has lost is begun
	// anew before the job ends, to be tried again.
	restarts = 3
)

// A sourceError is a failure to read what is to be sent.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// layer makes the destination's repository have a layer.
func (c *copier) layer(ctx context.Context, digest string) error {
	unlock, err := c.r.layers.lock(ctx, c.to.String()+"@"+digest)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := c.want(ctx, []int{http.StatusOK, http.StatusNotFound}, http.MethodHead, "/v2/"+c.repo.Name+"/blobs/"+digest, nil)
	if err != nil || a.status == http.StatusOK {
		return err
	}
	src, err := c.r.reg.ReplicationLayer(ctx, c.repo, digest)
	if e, ok := errors.AsType[*ecr.Error](err); ok {
		return &refusal{Code: "LayerInaccessible", Message: e.Message}
	}
	if err != nil {
		return err
	}
	for range restarts {
		if err = c.upload(ctx, src); !errors.Is(err, errLost) {
			break
		}
		if err := c.r.reg.SetReplicationUpload(ctx, c.to, c.repo.Name, digest, ""); err != nil {
			return err
		}
	}
	if errors.Is(err, errLost) {
		return &unreachable{err: err, what: "UploadLost", one: true}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &refusal{Code: "LayerInaccessible", Message: "the bytes of layer " + digest + " are gone here: ecru fsck tells more"}
	}
	return err
}

// errLost means that the destination does not know an upload any more.
var errLost = errors.New("the destination lost the upload")

// upload sends a layer that the destination's repository does not have.
func (c *copier) upload(ctx context.Context, src *registry.LayerReader) error {
	size := src.Size
	blobs := "/v2/" + c.repo.Name + "/blobs/uploads/"
	if size <= small {
		a, err := c.begin(ctx, blobs+"?digest="+url.QueryEscape(src.Digest),
			c.part(ctx, src, 0, size), "Content-Type", "application/octet-stream")
		if err != nil {
			return err
		}
		if a.status == http.StatusCreated {
			c.r.metrics.sent(c.to, size)
			return nil
		}
		location, err := a.location() // it takes no layer in one request
		if err != nil {
			return err
		}
		return c.finish(ctx, location, src, 0, size)
	}
	location, off, err := c.resume(ctx, src.Digest, size)
	if err != nil {
		return err
	}
	resumed := location != ""
	if !resumed {
		a, err := c.begin(ctx, blobs+"?mount="+url.QueryEscape(src.Digest), payloadBody(nil))
		if err != nil || a.status == http.StatusCreated {
			return err
		}
		if location, err = a.location(); err != nil {
			return err
		}
	}
	if size > chunk {
		return c.chunks(ctx, location, src, off, size)
	}
	err = c.finish(ctx, location, src, off, size)
	if _, broken := errors.AsType[*unreachable](err); broken && !resumed {
		if kept := c.r.reg.SetReplicationUpload(ctx, c.to, c.repo.Name, src.Digest, location); kept != nil {
			return kept
		}
	}
	if err == nil && resumed {
		return c.r.reg.SetReplicationUpload(ctx, c.to, c.repo.Name, src.Digest, "")
	}
	return err
}

// begin starts an upload, or does all of it, and makes the repository first
// where the destination makes none of its own.
func (c *copier) begin(ctx context.Context, ref string, b *body, header ...string) (*answer, error) {
	post := func() (*answer, error) {
		return c.want(ctx, []int{http.StatusCreated, http.StatusAccepted}, http.MethodPost, ref, b, header...)
	}
	a, err := post()
	no, refused := errors.AsType[*refusal](err)
	if !refused || no.Code != "RepositoryNotFound" || c.t.Create == nil {
		return a, err
	}
	if err := c.t.Create(ctx, c.to, c.repo.Name); err != nil {
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			return nil, &refusal{Code: api.ErrorCode(), Message: "the repository cannot be made: " + api.ErrorMessage()}
		}
		return nil, &unreachable{err: err}
	}
	return post()
}

// resume returns where the upload of a layer that broke off goes on; "" if
// there is none.
func (c *copier) resume(ctx context.Context, digest string, size int64) (location string, off int64, err error) {
	location, err = c.r.reg.ReplicationUpload(ctx, c.to, c.repo.Name, digest)
	if err != nil || location == "" {
		return "", 0, err
	}
	location, off, err = c.status(ctx, location)
	if _, refused := errors.AsType[*refusal](err); refused || err == nil && off > size {
		return "", 0, nil
	}
	return location, off, err
}

// status asks how far an upload has come.
func (c *copier) status(ctx context.Context, location string) (next string, off int64, err error) {
	a, err := c.want(ctx, []int{http.StatusNoContent, http.StatusAccepted}, http.MethodGet, location, nil)
	if err != nil {
		return "", 0, err
	}
	if next, err = a.location(); err != nil {
		next = location
	}
	return next, received(a), nil
}

// received is how many bytes of an upload an answer says have come. 0-0 is one
// byte or none (OCI Distribution 1.1 has no form for none), and taken for none.
func received(a *answer) int64 {
	_, last, ok := strings.Cut(a.header.Get("Range"), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n <= 0 || n >= 1<<62 {
		return 0
	}
	return n + 1
}

// finish sends the rest of a layer in the request that ends its upload.
func (c *copier) finish(ctx context.Context, location string, src *registry.LayerReader, off, size int64) error {
	header := []string{"Content-Type", "application/octet-stream"}
	if off > 0 && off < size {
		header = append(header, "Content-Range", fmt.Sprintf("%d-%d", off, size-1))
	}
	a, err := c.do(ctx, http.MethodPut, withDigest(location, src.Digest), c.part(ctx, src, off, size-off), header...)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusCreated:
		c.r.metrics.sent(c.to, size-off)
		return nil
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %v", errLost, a.refusal())
	}
	return a.refusal()
}

// chunks sends a layer in parts, and keeps where it goes on if that breaks off.
func (c *copier) chunks(ctx context.Context, location string, src *registry.LayerReader, off, size int64) error {
	for off < size {
		if err := c.r.reg.SetReplicationUpload(ctx, c.to, c.repo.Name, src.Digest, location); err != nil {
			return err
		}
		n := min(chunk, size-off)
		a, err := c.do(ctx, http.MethodPatch, location, c.part(ctx, src, off, n), "Content-Type", "application/octet-stream",
			"Content-Range", fmt.Sprintf("%d-%d", off, off+n-1))
		if err != nil {
			return err
		}
		switch a.status {
		case http.StatusAccepted, http.StatusCreated, http.StatusNoContent:
		default:
			return fmt.Errorf("%w: %v", errLost, a.refusal())
		}
		if location, err = a.location(); err != nil {
			return err
		}
		off += n
		c.r.metrics.sent(c.to, n)
	}
	if err := c.finish(ctx, location, src, size, size); err != nil {
		return err
	}
	return c.r.reg.SetReplicationUpload(ctx, c.to, c.repo.Name, src.Digest, "")
}

// part is n bytes of a layer as a body.
func (c *copier) part(ctx context.Context, src *registry.LayerReader, off, n int64) *body {
	return &body{length: n, open: func() (io.ReadCloser, error) {
		f, err := src.Range(ctx, off, n)
		if err != nil {
			return nil, &sourceError{err}
		}
		return &reader{ctx: ctx, src: f, left: n, rate: &c.t.rate}, nil
	}}
}

// A reader gives a part of a layer, at the rate that its destination may have.
type reader struct {
	ctx  context.Context // of the request that reads it
	src  io.ReadCloser
	left int64
	rate *limiter
}

func (r *reader) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), r.left)]
	n, err := r.src.Read(b)
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		return n, &sourceError{err}
	}
	if waited := r.rate.grant(r.ctx, n); waited != nil {
		return n, waited
	}
	return n, nil
}

func (r *reader) Close() error { return r.src.Close() }
