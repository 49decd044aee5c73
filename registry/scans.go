package registry

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/vuln"
)

const (
	// scanAgain is how long an image must rest between two basic scans (ECR
	// service quotas, "Rate of image scans").
	scanAgain = 24 * time.Hour
	// scanSoon is how long after its push an image counts as one that is about
	// to be scanned, if nothing is recorded yet.
	scanSoon = 5 * time.Minute
)

// StartImageScan has an image scanned, or the images that an index names.
// Errors: RepositoryNotFound, ImageNotFound, ImageIsArchived,
// UnsupportedImageType, LimitExceeded if it has been scanned within a day;
// Validation while the registry's scan type is ENHANCED.
func (r *Registry) StartImageScan(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID) (img *ecr.Image, s ecr.Scan, err error) {
	if ref == (ecr.ImageID{}) {
		return nil, s, ecr.InvalidParam("imageId", "both tag and digest cannot be null")
	}
	err = r.update(ctx, c, "ecr:StartImageScan", id, func(tx *meta.Tx, repo *ecr.Repository) error {
		cfg, err := scanConfiguration(tx, id.Account)
		if err != nil {
			return err
		}
		if cfg.Type == ecr.ScanEnhanced {
			return ecr.Errorf(ecr.Validation, "This feature is disabled")
		}
		if img, err = findImage(tx, repo, ref); err != nil {
			return err
		}
		if img.Status == ecr.ImageArchived {
			return ecr.Errorf(ecr.ImageIsArchived, "The image with digest '%s' in the repository with name '%s' is archived. Restore it (update-image-storage-class) to scan it.", img.Digest, id.Name)
		}
		images, err := r.scanned(tx, img)
		if err != nil {
			return err
		}
		begun := 0
		for _, one := range images {
			if err := r.mayScan(tx, one, cfg.Type); err != nil {
				if one.Row == img.Row || !isCode(err, ecr.LimitExceeded) {
					return err
				}
				continue
			}
			begun++
			if err := r.request(tx, one, cfg.Type, true); err != nil {
				return err
			}
		}
		if begun == 0 {
			return errScanQuota()
		}
		s = ecr.Scan{Image: img.Row, Type: cfg.Type, Status: ecr.ScanInProgress}
		return nil
	})
	return img, s, err
}

func errScanQuota() error {
	return ecr.Errorf(ecr.LimitExceeded, "The scan quota per image has been exceeded. Wait and try again.")
}

// mayScan refuses a scan too soon after the one before, unless that failed.
func (r *Registry) mayScan(tx *meta.Tx, img *ecr.Image, t ecr.ScanType) error {
	if !isImage(img) {
		return ecr.Errorf(ecr.UnsupportedImageType, "The image with digest '%s' is of a type that cannot be scanned", img.Digest)
	}
	s, err := tx.Scan(img.Row, t)
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.Status != ecr.ScanFailed && r.now().Sub(s.RequestedAt) < scanAgain {
		return errScanQuota()
	}
	return nil
}

// isImage reports whether what an image is made for is to be run.
func isImage(img *ecr.Image) bool {
	return img.Subject == "" && (imageConfig(img.ArtifactType) || isIndex(img))
}

func isIndex(img *ecr.Image) bool {
	return img.MediaType == "application/vnd.oci.image.index.v1+json" || img.MediaType == "application/vnd.docker.distribution.manifest.list.v2+json"
}

// scanned returns what is scanned of an image: itself, or those that an index
// names and that are images of their own.
func (r *Registry) scanned(tx *meta.Tx, img *ecr.Image) ([]*ecr.Image, error) {
	if !isIndex(img) {
		return []*ecr.Image{img}, nil
	}
	children, err := tx.ChildImages(img.Row)
	if err != nil {
		return nil, err
	}
	var out []*ecr.Image
	for _, child := range children {
		child.Repository = img.Repository
		if isImage(child) && !isIndex(child) {
			out = append(out, child)
		}
	}
	if out == nil {
		return nil, ecr.Errorf(ecr.UnsupportedImageType, "The image with digest '%s' names no image that can be scanned", img.Digest)
	}
	return out, nil
}

// scanOf returns where the scan of an image stands; ok is false if it has none.
// That of an index is as the worst of its images'.
func (r *Registry) scanOf(tx *meta.Tx, repo *ecr.Repository, cfg ecr.ScanConfiguration, img *ecr.Image) (s ecr.Scan, ok bool, err error) {
	s = ecr.Scan{Image: img.Row, Type: cfg.Type}
	if img.Status == ecr.ImageArchived {
		s.Status, s.Description = ecr.ScanArchived, scanArchived
		return s, true, nil
	}
	if isIndex(img) {
		return r.scanOfIndex(tx, repo, cfg, img)
	}
	s, err = tx.Scan(img.Row, cfg.Type)
	if errors.Is(err, meta.ErrNotFound) {
		f, _ := cfg.For(repo.ID.Name, repo.ScanOnPush)
		s = ecr.Scan{Image: img.Row, Type: cfg.Type, Status: ecr.ScanPending, Description: scanPending}
		return s, f != ecr.ScanManual && img.Subject == "" && r.now().Sub(latest(img.PushedAt, img.ActivatedAt)) < scanSoon, nil
	}
	if err == nil && s.Status == ecr.ScanUnavailable { // advisories may have come
		inv, err := inventory(tx, img.Row)
		if err != nil {
			return s, true, err
		}
		return s, true, r.settleStatus(tx, repo, inv, &s)
	}
	return s, err == nil, err
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (r *Registry) scanOfIndex(tx *meta.Tx, repo *ecr.Repository, cfg ecr.ScanConfiguration, index *ecr.Image) (all ecr.Scan, ok bool, err error) {
	all = ecr.Scan{Image: index.Row, Type: cfg.Type}
	images, err := r.scanned(tx, index)
	if isCode(err, ecr.UnsupportedImageType) {
		return all, false, nil
	}
	if err != nil {
		return all, false, err
	}
	for _, img := range images {
		s, has, err := r.scanOf(tx, repo, cfg, img)
		if err != nil {
			return all, false, err
		}
		if !has { // nothing is known of the whole
			return all, false, nil
		}
		all = worst(all, s)
	}
	return all, true, nil
}

// worst is where the scan of an index stands of which one image's stands as a,
// and another's as b.
func worst(a, b ecr.Scan) ecr.Scan {
	rank := func(s ecr.ScanStatus) int {
		return strings.Index("ACTIVE COMPLETE UNSUPPORTED_IMAGE FINDINGS_UNAVAILABLE PENDING IN_PROGRESS IMAGE_ARCHIVED FAILED", string(s))
	}
	if a.Status == "" || rank(b.Status) > rank(a.Status) {
		a.Status, a.Description = b.Status, b.Description
	}
	a.RequestedAt, a.CompletedAt = latest(a.RequestedAt, b.CompletedAt), latest(a.CompletedAt, b.CompletedAt)
	a.SourceAt = latest(a.SourceAt, b.SourceAt)
	for _, m := range []struct {
		to   *map[string]int
		from map[string]int
	}{{&a.Counts, b.Counts}, {&a.Suppressed, b.Suppressed}} {
		sum := map[string]int{}
		for _, part := range []map[string]int{*m.to, m.from} {
			for k, n := range part {
				sum[k] += n
			}
		}
		*m.to = sum
	}
	return a
}

// addScans sets where the scans of images of one repository stand.
func (r *Registry) addScans(tx *meta.Tx, repo *ecr.Repository, images []*ecr.Image) error {
	cfg, err := scanConfiguration(tx, repo.ID.Account)
	if err != nil {
		return err
	}
	rows := make([]int64, len(images))
	for i, img := range images {
		rows[i] = img.Row
	}
	scans, err := tx.Scans(rows, cfg.Type)
	if err != nil {
		return err
	}
	for _, img := range images {
		s, ok := scans[img.Row]
		if !ok || isIndex(img) || img.Status == ecr.ImageArchived {
			if s, ok, err = r.scanOf(tx, repo, cfg, img); err != nil {
				return err
			}
		}
		if ok {
			img.Scan = &s
		}
	}
	return nil
}

func scanNotFound(id ecr.RepositoryID, ref ecr.ImageID) error {
	return ecr.Errorf(ecr.ScanNotFound, "Image scan does not exist for the image with '{imageDigest:'%s', imageTag:'%s'}' in the repository with name '%s' in the registry with id '%s'",
		orNull(ref.Digest), orNull(ref.Tag), id.Name, id.Account)
}

// A ScanResult is what the scan of an image has found.
type ScanResult struct {
	Image    *ecr.Image // with tags
	Scan     ecr.Scan
	Findings []FoundIn // a page, the worst first
	Next     string
}

// A FoundIn is a finding with all that is known of it.
type FoundIn struct {
	vuln.Finding
	Image    *ecr.Image // that it was found in: one of the index's, or the image itself
	Config   ImageConfig
	Packages []FoundPackage
	ARN      string
	Advisory *vuln.Advisory // the best record; nil if it is gone
	FirstAt  time.Time
	LastAt   time.Time
	Known    bool // it is known to be exploited (CISA KEV)
	EPSS     float64
	Override *ecr.Override // that sets it aside; nil if none

	order string
}

// A FoundPackage is a package in an image with the layer that brought it.
type FoundPackage struct {
	vuln.Installed
	LayerDigest string
}

// DescribeImageScanFindings returns where the scan of an image stands, and a
// page of what it has found. Findings that are set aside are among these, and
// not in the counts. Of an index it tells what was found in any of its images.
// Errors: RepositoryNotFound, ImageNotFound, ScanNotFound.
func (r *Registry) DescribeImageScanFindings(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, ref ecr.ImageID, p ecr.Page) (out *ScanResult, err error) {
	if ref == (ecr.ImageID{}) {
		return nil, ecr.InvalidParam("imageId", "both tag and digest cannot be null")
	}
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, err
	}
	after, key, err := decodeCursor(p.Token)
	if err != nil {
		return nil, err
	}
	err = r.view(ctx, c, "ecr:DescribeImageScanFindings", id, func(tx *meta.Tx, repo *ecr.Repository) error {
		out = &ScanResult{}
		if out.Image, err = findImage(tx, repo, ref); err != nil {
			return err
		}
		if out.Image.Tags, err = tx.Tags(out.Image.Row); err != nil {
			return err
		}
		cfg, err := scanConfiguration(tx, id.Account)
		if err != nil {
			return err
		}
		var ok bool
		if out.Scan, ok, err = r.scanOf(tx, repo, cfg, out.Image); err != nil {
			return err
		}
		if !ok {
			return scanNotFound(id, ref)
		}
		if s := out.Scan.Status; !s.Done() && s != ecr.ScanUnavailable {
			return nil
		}
		return r.findings(tx, out, cfg.Type, place{after, key}, n)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
