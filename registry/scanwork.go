package registry

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/oci"
)

// accountKey begins the key of the job that looks at all images of an account.
const accountKey = "account/"

// Descriptions of statuses (ECR user guide, "Image scanning"; DescribeImageScanFindings).
const (
	scanCompleted   = "The scan was completed successfully."
	scanUnsupported = "UnsupportedImageError: The operating system and/or package manager are not supported."
	scanContinuous  = "Continuous scan is selected for image."
	scanPending     = "Pending start of the image scan."
	scanArchived    = "The image is archived."
)

// PushEvents are those that ScanPushed is for.
func PushEvents() []ecr.EventType { return []ecr.EventType{ecr.ImagePushed, ecr.StorageRestored} }

// ScanPushed has the images of events scanned that the configuration of their
// registry says so of.
func (r *Registry) ScanPushed(tx *meta.Tx, events []ecr.Event) error {
	for _, e := range events {
		repo, err := tx.Repository(e.Repository)
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		img, err := tx.Image(repo.Row, e.Digest)
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		img.Repository = repo.ID
		if err := r.scanPushed(tx, repo, img); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registry) scanPushed(tx *meta.Tx, repo *ecr.Repository, img *ecr.Image) error {
	if isSBOM(img) {
		return r.rescanSubject(tx, repo, img)
	}
	cfg, err := scanConfiguration(tx, repo.ID.Account)
	if err != nil {
		return err
	}
	if f, _ := cfg.For(repo.ID.Name, repo.ScanOnPush); f == ecr.ScanManual || img.Subject != "" {
		return nil
	}
	return r.request(tx, img, cfg.Type, false)
}

// request has an image scanned, if it has not been, or is to be again.
func (r *Registry) request(tx *meta.Tx, img *ecr.Image, t ecr.ScanType, again bool) error {
	s, err := tx.Scan(img.Row, t)
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		return err
	}
	if err == nil && !again {
		return nil
	}
	now := r.now()
	s.Image, s.Type, s.Status, s.Description, s.RequestedAt = img.Row, t, ecr.ScanPending, scanPending, now
	if err := tx.PutScan(s); err != nil {
		return err
	}
	return tx.Enqueue(ScanQueue, strconv.FormatInt(img.Row, 10), nil, now, now)
}

// A ScanPlan is what is needed to scan an image.
type ScanPlan struct {
	Image  *ecr.Image
	Type   ecr.ScanType
	Layers []meta.LayerInventory // from the lowest
	Config string                // digest of the image's configuration
}

// PlanScan begins the scan of the image with a row, as the configuration of its
// registry is now. Layers without an inventory of the extractor's version get a
// job each in LayerQueue; the plan is nil then, as it is when there is nothing to
// scan: when their inventories are there the image is planned again.
func (r *Registry) PlanScan(ctx context.Context, image int64, extractor int) (plan *ScanPlan, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		plan = nil
		img, repo, err := tx.ImageOf(image)
		if errors.Is(err, meta.ErrNotFound) || err == nil && img.Status == ecr.ImageArchived {
			return nil
		}
		if err != nil {
			return err
		}
		cfg, err := scanConfiguration(tx, repo.ID.Account)
		if err != nil {
			return err
		}
		payload, err := tx.Payload(image)
		if err != nil {
			return err
		}
		m, err := oci.Parse(payload, img.MediaType)
		if err != nil {
			return err
		}
		p := &ScanPlan{Image: img, Type: cfg.Type}
		if m.IsIndex() {
			return r.scanChildren(tx, img, cfg.Type)
		}
		layers, ok := fileLayers(m)
		if !ok {
			return r.endScan(tx, img, ecr.Scan{Image: image, Type: cfg.Type, Status: ecr.ScanUnsupported, Description: scanUnsupported})
		}
		p.Config = string(m.Config.Digest)
		if p.Layers, err = tx.EnsureLayers(layers); err != nil {
			return err
		}
		ready, err := r.awaitLayers(tx, p, extractor)
		if ready {
			plan = p
		}
		return err
	})
	return plan, err
}

// awaitLayers records that a plan waits for the inventories of its layers, and
// has those made that are missing; it reports whether none is.
func (r *Registry) awaitLayers(tx *meta.Tx, p *ScanPlan, extractor int) (ready bool, err error) {
	ids := make([]int64, len(p.Layers))
	var missing []string
	for i, l := range p.Layers {
		ids[i] = l.ID
		if l.Extractor != extractor && !slices.Contains(missing, l.Digest) {
			missing = append(missing, l.Digest)
		}
	}
	if err := tx.LinkLayers(p.Image.Row, ids); err != nil {
		return false, err
	}
	s, err := tx.Scan(p.Image.Row, p.Type)
	now := r.now()
	if errors.Is(err, meta.ErrNotFound) {
		s = ecr.Scan{Image: p.Image.Row, Type: p.Type, RequestedAt: now}
	} else if err != nil {
		return false, err
	}
	s.Status, s.Description = ecr.ScanInProgress, ""
	if err := tx.PutScan(s); err != nil {
		return false, err
	}
	for _, d := range missing {
		if err := tx.Enqueue(LayerQueue, d, nil, now, now); err != nil {
			return false, err
		}
	}
	return len(missing) == 0, nil
}

// scanChildren has the images scanned that an index names and that have not
// been.
func (r *Registry) scanChildren(tx *meta.Tx, index *ecr.Image, t ecr.ScanType) error {
	children, err := tx.ChildImages(index.Row)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := r.request(tx, child, t, false); err != nil {
			return err
		}
	}
	return nil
}

// fileLayers returns the layers of an image, from the lowest; ok is false if the
// manifest is of something else than an image: a signature, a chart, an SBOM.
func fileLayers(m *oci.Manifest) (digests []string, ok bool) {
	if m.Config == nil || m.Subject != nil || !imageConfig(m.Config.MediaType) || m.ArtifactType != "" && !imageConfig(m.ArtifactType) {
		return nil, false
	}
	for _, l := range m.Layers {
		if strings.Contains(l.MediaType, "in-toto") || strings.Contains(l.MediaType, "cosign") {
			return nil, false
		}
	}
	kept := map[string]bool{}
	for _, b := range m.Blobs() { // without those that are elsewhere
		kept[string(b.Digest)] = true
	}
	for _, l := range m.Layers {
		if kept[string(l.Digest)] {
			digests = append(digests, string(l.Digest))
		}
	}
	return digests, len(digests) > 0
}

func imageConfig(mediaType string) bool {
	return mediaType == "application/vnd.oci.image.config.v1+json" || mediaType == "application/vnd.docker.container.image.v1+json"
}

// ScanLayer returns a reader of a layer that is to be inventoried, whichever
// repository has it, and its record; the reader is nil if no repository has it
// any more.
func (r *Registry) ScanLayer(ctx context.Context, digest string) (l *LayerReader, known meta.LayerInventory, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		var err error
		if known, err = tx.LayerInventory(digest); err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		link, err := tx.LayerBlob(digest)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		l = &LayerReader{Layer: link.Layer, blobs: r.blobs, key: link.Key, payload: link.Payload}
		if link.Inline && link.Payload == nil {
			l.payload = []byte{}
		}
		return nil
	})
	return l, known, err
}

// readBlob returns the bytes of a blob of at most so many; nil if there is none.
func (r *Registry) readBlob(ctx context.Context, digest string, most int64) ([]byte, error) {
	l, _, err := r.ScanLayer(ctx, digest)
	if err != nil || l == nil || l.Size > most {
		return nil, err
	}
	rc, err := l.Range(ctx, 0, l.Size)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, l.Size))
}

// maxConfig bounds the configuration of an image that is looked at.
const maxConfig = 4 << 20

// LayerBodies returns the stored inventories of a plan's layers.
func (r *Registry) LayerBodies(ctx context.Context, p *ScanPlan) (bodies [][]byte, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		bodies = nil
		for _, l := range p.Layers {
			b, err := tx.LayerBody(l.ID)
			if err != nil {
				return err
			}
			bodies = append(bodies, b)
		}
		return nil
	})
	return bodies, err
}

// PutLayerInventory keeps what a layer was found to have, unless body is nil:
// it is there already. Images that wait for it are planned again.
func (r *Registry) PutLayerInventory(ctx context.Context, l meta.LayerInventory, body []byte) error {
	for after := int64(0); ; {
		var images []int64
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			if after == 0 && body != nil {
				if l.ID, err = tx.PutLayerInventory(l, body); err != nil {
					return err
				}
			}
			images, err = tx.AwaitingLayer(l.ID, after, deleteBatch)
			now := r.now()
			for _, image := range images {
				if err := tx.Enqueue(ScanQueue, strconv.FormatInt(image, 10), nil, now, now); err != nil {
					return err
				}
			}
			return err
		})
		if err != nil || len(images) < deleteBatch {
			return err
		}
		after = images[len(images)-1]
	}
}

// FailLayer ends the scans that wait for the inventory of a layer which cannot
// be made.
func (r *Registry) FailLayer(tx *meta.Tx, digest, why string) error {
	l, err := tx.LayerInventory(digest)
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		images, err := tx.AwaitingLayer(l.ID, after, deleteBatch)
		if err != nil {
			return err
		}
		for _, image := range images {
			after = image
			if err := r.FailScan(tx, image, why); err != nil {
				return err
			}
		}
		if len(images) < deleteBatch {
			return nil
		}
	}
}

// FailScan records that the scan of an image came to nothing.
func (r *Registry) FailScan(tx *meta.Tx, image int64, why string) error {
	img, repo, err := tx.ImageOf(image)
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	cfg, err := scanConfiguration(tx, repo.ID.Account)
	if err != nil {
		return err
	}
	return r.endScan(tx, img, ecr.Scan{Image: image, Type: cfg.Type, Status: ecr.ScanFailed, Description: clean(why, 500)})
}

// endScan writes how a scan came out, with the event.
func (r *Registry) endScan(tx *meta.Tx, img *ecr.Image, s ecr.Scan) error {
	now := r.now()
	had, err := tx.Scan(s.Image, s.Type)
	if errors.Is(err, meta.ErrNotFound) {
		had.RequestedAt = now
	} else if err != nil {
		return err
	}
	s.RequestedAt, s.FirstAt = had.RequestedAt, had.FirstAt
	if s.Status != ecr.ScanFailed {
		s.CompletedAt = now
		if s.FirstAt.IsZero() {
			s.FirstAt = now
		}
	}
	if err := tx.PutScan(s); err != nil {
		return err
	}
	e := r.event(scanner(img.Repository.Account), ecr.ImageScanned, "", img.Repository)
	e.Digest, e.Code = img.Digest, string(s.Status)
	return tx.Append(e)
}

// scanner is who the events of scans are by.
func scanner(account string) ecr.Caller {
	return ecr.Caller{Principal: &iam.Principal{ARN: "ecr.amazonaws.com", Account: account}}
}

// ScanAccount has images of an account scanned because its configuration has
// changed: those of the last days that its rules are for.
func (r *Registry) ScanAccount(ctx context.Context, account string) error {
	since := r.now().Add(-enhancedAge)
	for after := ""; ; {
		var repos []*ecr.Repository
		var cfg ecr.ScanConfiguration
		err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
			if cfg, err = scanConfiguration(tx, account); err != nil {
				return err
			}
			repos, err = tx.Repositories(account, after, deleteBatch)
			return err
		})
		if err != nil || len(repos) == 0 || cfg.Type != ecr.ScanEnhanced {
			return err
		}
		for _, repo := range repos {
			after = repo.ID.Name
			if f, _ := cfg.For(repo.ID.Name, false); f == ecr.ScanManual {
				continue
			}
			if err := r.eachImage(ctx, func(tx *meta.Tx, after int64) ([]int64, error) {
				return tx.ImagesSince(repo.Row, after, since, deleteBatch)
			}, func(tx *meta.Tx, image int64) error {
				img, repo, err := tx.ImageOf(image)
				if errors.Is(err, meta.ErrNotFound) {
					return nil
				} else if err != nil {
					return err
				}
				return r.scanPushed(tx, repo, img)
			}); err != nil {
				return err
			}
		}
	}
}

// eachImage calls fn for the images that page gives, a page a transaction.
func (r *Registry) eachImage(ctx context.Context, page func(tx *meta.Tx, after int64) ([]int64, error), fn func(*meta.Tx, int64) error) error {
	for after := int64(0); ctx.Err() == nil; {
		var images []int64
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			if images, err = page(tx, after); err != nil {
				return err
			}
			for _, image := range images {
				if err := fn(tx, image); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(images) < deleteBatch {
			return err
		}
		after = images[len(images)-1]
	}
	return ctx.Err()
}

// ScanJob says what a job of ScanQueue is about: an image's row, or the account
// whose configuration has changed.
func ScanJob(key string) (image int64, account string, err error) {
	if account, ok := strings.CutPrefix(key, accountKey); ok {
		return 0, account, nil
	}
	image, err = strconv.ParseInt(key, 10, 64)
	return image, "", err
}

// SweepInventories deletes the inventories of layers that no image has, limit at
// most, and returns how many.
func (r *Registry) SweepInventories(ctx context.Context, limit int) (n int64, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) (err error) {
		n, err = tx.SweepLayerInventories(limit)
		return err
	})
	return n, err
}
