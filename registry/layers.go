package registry

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/blob"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

func layerNotFound(id ecr.RepositoryID, digest string) *ecr.Error {
	return ecr.Errorf(ecr.LayersNotFound, "The layer with digest '%s' does not exist in the repository with name '%s' in the registry with id '%s'", digest, id.Name, id.Account)
}

// link returns the repository's link to a digest, or LayersNotFound.
func (r *Registry) link(ctx context.Context, e *entry, digest string) (meta.Link, error) {
	if l, ok := e.link(digest); ok {
		return l, nil
	}
	var links []meta.Link
	err := r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		links, err = tx.Links(e.repo.Row, []string{digest})
		return err
	})
	if err != nil {
		return meta.Link{}, err
	}
	if len(links) == 0 {
		return meta.Link{}, layerNotFound(e.repo.ID, digest)
	}
	links[0].Layer.Available = true
	r.cache.addLink(e, links[0])
	return links[0], nil
}

// lease promises that the layer stays for half of the grace time at least, so
// that a push that has seen it can count on it. It writes only if an earlier
// promise is about to end.
func (r *Registry) lease(ctx context.Context, e *entry, l meta.Link) error {
	now := r.now()
	if l.ReviewAfter.IsZero() || l.ReviewAfter.After(now.Add(r.cfg.Times.Grace/2)) {
		return nil
	}
	l.ReviewAfter = now.Add(r.cfg.Times.Grace)
	ok := false
	err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
		ok, err = tx.Lease(e.repo.Row, l.Blob, l.ReviewAfter)
		return err
	})
	if err != nil {
		return err
	}
	if !ok {
		r.cache.drop(e.repo.ID)
		return layerNotFound(e.repo.ID, l.Layer.Digest)
	}
	r.cache.addLink(e, l)
	return nil
}

// StatLayer describes a layer of a repository, and promises that it stays long
// enough for a push to use it. Errors: RepositoryNotFound, LayersNotFound.
func (r *Registry) StatLayer(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, digest string) (ecr.Layer, error) {
	e, err := r.open(ctx, c, "ecr:BatchCheckLayerAvailability", id)
	if err != nil {
		return ecr.Layer{}, err
	}
	l, err := r.link(ctx, e, digest)
	if err != nil {
		return ecr.Layer{}, err
	}
	return l.Layer, r.lease(ctx, e, l)
}

// CheckLayers is StatLayer for up to 100 digests. Those that are not there
// come back with Available unset.
func (r *Registry) CheckLayers(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, digests []string) (layers []ecr.Layer, failures []ecr.LayerFailure, err error) {
	e, err := r.open(ctx, c, "ecr:BatchCheckLayerAvailability", id)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range digests {
		switch {
		case d == "":
			failures = append(failures, ecr.LayerFailure{Code: "MissingLayerDigest", Reason: "Invalid request parameters: layer digest cannot be null"})
			continue
		case !digestForm.MatchString(d):
			failures = append(failures, ecr.LayerFailure{Digest: d, Code: "InvalidLayerDigest",
				Reason: "Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"})
			continue
		}
		l, err := r.link(ctx, e, d)
		if err == nil {
			err = r.lease(ctx, e, l)
		}
		var known *ecr.Error
		switch {
		case err == nil:
			layers = append(layers, l.Layer)
		case errors.As(err, &known) && known.Code == ecr.LayersNotFound:
			layers = append(layers, ecr.Layer{Digest: d})
		default:
			return nil, nil, err
		}
	}
	return layers, failures, nil
}

// A LayerReader gives the bytes of one layer. Nothing is open before Range.
type LayerReader struct {
	ecr.Layer
	// URL, if not empty, is where the client is to be sent instead.
	URL string

	blobs   blob.Store
	key     blob.Key
	payload []byte // all bytes, if there is no object
}

// Range returns n bytes from off, or all to the end if n < 0. On disk it is an
// *os.File that stands at off and goes on to the end: the caller stops at n.
func (l *LayerReader) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if l.payload == nil {
		return l.blobs.Open(ctx, l.key, off, n)
	}
	b := l.payload[min(off, l.Size):]
	if n >= 0 {
		b = b[:min(n, int64(len(b)))]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// OpenLayer returns a reader of a layer. Errors: RepositoryNotFound,
// LayersNotFound.
func (r *Registry) OpenLayer(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, digest string) (*LayerReader, error) {
	e, err := r.open(ctx, c, "ecr:GetDownloadUrlForLayer", id)
	if err != nil {
		return nil, err
	}
	return r.reader(ctx, e, digest)
}

func (r *Registry) reader(ctx context.Context, e *entry, digest string) (*LayerReader, error) {
	l, err := r.link(ctx, e, digest)
	if err != nil {
		return nil, err
	}
	if l.Inline {
		if l, err = r.payload(ctx, e, l); err != nil {
			return nil, err
		}
		return &LayerReader{Layer: l.Layer, payload: l.Payload}, nil
	}
	u, err := r.blobs.URL(ctx, l.Key, r.cfg.Times.Link)
	if err != nil {
		return nil, err
	}
	return &LayerReader{Layer: l.Layer, URL: u, blobs: r.blobs, key: l.Key}, nil
}

// payload completes a link to a layer that is in the database.
func (r *Registry) payload(ctx context.Context, e *entry, l meta.Link) (meta.Link, error) {
	if l.Payload != nil {
		return l, nil
	}
	err := r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		l.Payload, err = tx.BlobPayload(l.Blob)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) { // collected since the link was read
		r.cache.drop(e.repo.ID)
		return l, layerNotFound(e.repo.ID, l.Layer.Digest)
	}
	if err != nil {
		return l, err
	}
	if l.Payload == nil {
		l.Payload = []byte{} // of no bytes
	}
	r.cache.addLink(e, l)
	return l, nil
}

// LayerURL returns path and query of a link to a layer that is good for
// Times.Link without other credentials (ECR API, GetDownloadUrlForLayer).
func (r *Registry) LayerURL(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, digest string) (pathQuery string, l ecr.Layer, err error) {
	e, err := r.open(ctx, c, "ecr:GetDownloadUrlForLayer", id)
	if err != nil {
		return "", ecr.Layer{}, err
	}
	link, err := r.link(ctx, e, digest)
	if err != nil {
		return "", ecr.Layer{}, err
	}
	expires := strconv.FormatInt(r.now().Add(r.cfg.Times.Link).Unix(), 10)
	path := "/layers/" + id.Account + "/" + id.Name + "/" + digest
	q := url.Values{"expires": {expires}, "signature": {r.sign(path, expires)}}
	return path + "?" + q.Encode(), link.Layer, nil
}

func (r *Registry) sign(path, expires string) string {
	h := hmac.New(sha256.New, r.cfg.LinkKey)
	io.WriteString(h, expires+"\n"+path)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// OpenSignedLayer opens what LayerURL links to. Errors: AccessDenied for a
// link that Ecru did not make, ExpiredCredentials for one that is too old,
// LayersNotFound.
func (r *Registry) OpenSignedLayer(ctx context.Context, path string, q url.Values) (*LayerReader, error) {
	expires, signature := q.Get("expires"), q.Get("signature")
	if !hmac.Equal([]byte(signature), []byte(r.sign(path, expires))) {
		return nil, ecr.Errorf(ecr.AccessDenied, "The signature of this link is not valid")
	}
	at, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || r.now().After(time.Unix(at, 0)) {
		return nil, ecr.Errorf(ecr.ExpiredCredentials, "This link has expired: ask GetDownloadUrlForLayer for a new one")
	}
	rest := strings.TrimPrefix(path, "/layers/")
	account, rest, _ := strings.Cut(rest, "/")
	slash := strings.LastIndexByte(rest, '/')
	if slash < 0 {
		return nil, ecr.Errorf(ecr.AccessDenied, "The signature of this link is not valid")
	}
	id, digest := ecr.RepositoryID{Account: account, Name: rest[:slash]}, rest[slash+1:]
	e := r.cache.get(id)
	if e == nil {
		if e, err = r.load(ctx, id); errors.Is(err, meta.ErrNotFound) {
			return nil, layerNotFound(id, digest)
		} else if err != nil {
			return nil, err
		}
	}
	return r.reader(ctx, e, digest)
}

// MountLayer links a layer of from into to, without its bytes being sent
// (OCI Distribution 1.1, end-11). If from has no name, any repository of the
// account that the caller may pull from will do. Whatever keeps it from that,
// but a denial in to itself, is LayersNotFound: the client uploads the layer
// instead.
func (r *Registry) MountLayer(ctx context.Context, c ecr.Caller, to, from ecr.RepositoryID, digest string) (l ecr.Layer, err error) {
	const action = "ecr:InitiateLayerUpload"
	if err := r.ensure(ctx, c, action, to); err != nil {
		return l, err
	}
	err = r.update(ctx, c, action, to, func(tx *meta.Tx, repo *ecr.Repository) error {
		link, err := r.mountable(tx, c, to, from, digest)
		if err != nil {
			return err
		}
		l = link.Layer
		l.Available = true
		if err := tx.PutLink(repo.Row, link.Blob, r.now().Add(r.cfg.Times.Grace)); err != nil {
			return err
		}
		e := r.event(c, ecr.LayerMounted, action, to)
		e.Digest = digest
		return tx.Append(e)
	})
	return l, err
}

// maxSources is how many repositories are looked at for a layer to mount.
const maxSources = 20

// mountable returns a link that the caller may use as the source of a mount.
func (r *Registry) mountable(tx *meta.Tx, c ecr.Caller, to, from ecr.RepositoryID, digest string) (none meta.Link, err error) {
	missing := layerNotFound(from, digest)
	if to.Account != from.Account {
		return none, missing
	}
	setting, err := setting(tx, to.Account, blobMounting)
	if err != nil {
		return none, err
	}
	if setting != "ENABLED" {
		return none, missing
	}
	var sources []*ecr.Repository
	if from.Name == "" {
		sources, err = tx.RepositoriesWith(to.Account, digest, maxSources)
	} else if source, lookup := tx.Repository(from); lookup == nil {
		sources = append(sources, source)
	} else if !errors.Is(lookup, meta.ErrNotFound) {
		err = lookup
	}
	if err != nil {
		return none, err
	}
	action := "ecr:GetDownloadUrlForLayer"
	if c.Replication != "" { // it may read nothing, so there is nothing to gain by a mount
		action = actReplicate
	}
	for _, source := range sources {
		if r.allowIn(tx, c, action, source.ID, source, nil) != nil {
			continue
		}
		links, err := tx.LockLinks(source.Row, []string{digest})
		if err != nil || len(links) > 0 {
			return append(links, none)[0], err
		}
	}
	return none, missing
}

// DeleteLayer removes a repository's link to a layer that no image of it
// refers to (OCI Distribution 1.1, end-10); ECR has no such call. Errors:
// LayersNotFound, LayerReferenced.
func (r *Registry) DeleteLayer(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, digest string) error {
	const action = "ecr:BatchDeleteImage"
	if _, err := oci.ParseDigest(digest); err != nil {
		return layerNotFound(id, digest)
	}
	return r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
		links, err := tx.Links(repo.Row, []string{digest})
		if err != nil {
			return err
		}
		if len(links) == 0 {
			return layerNotFound(id, digest)
		}
		err = tx.Unlink(repo.Row, links[0].Blob, r.now().Add(r.cfg.Times.Trash))
		if errors.Is(err, meta.ErrExists) {
			return ecr.Errorf(ecr.LayerReferenced, "The layer with digest '%s' is part of an image of the repository with name '%s': delete the image, and garbage collection frees the layer", digest, id.Name)
		}
		if errors.Is(err, meta.ErrNotFound) {
			return layerNotFound(id, digest)
		}
		if err != nil {
			return err
		}
		e := r.event(c, ecr.LayerUnlinked, action, id)
		e.Digest = digest
		return tx.Append(e)
	})
}
