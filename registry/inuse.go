package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
)

// Bounds of reports of images in use.
const (
	MaxInUseReport = 5000 // images in one report
	MinInUseTTL    = time.Minute
	MaxInUseTTL    = 365 * 24 * time.Hour
)

// An InUseReport says which images a source uses.
type InUseReport struct {
	Source  string
	TTL     time.Duration // after which the report is forgotten
	Images  []ecr.ImageReference
	Replace bool // forget what the source reported before
}

// sourceForm is what a source may be called.
var sourceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,127}$`)

// PutImagesInUse records which images of the caller's account a source uses,
// and returns how many. Tags are resolved now: what they come to point at later
// is another image. What names no image is a failure of its own, and the rest
// is recorded. To tell what a tag points at, the caller needs
// ecr:DescribeImages on the repository; without it the image is not found.
// Errors: LimitExceeded.
func (r *Registry) PutImagesInUse(ctx context.Context, c ecr.Caller, in InUseReport) (reported int, failures []ecr.InUseFailure, err error) {
	if err := in.check(); err != nil {
		return 0, nil, err
	}
	err = r.updateRegistry(ctx, c, "ecr:PutImagesInUse", c.Account, func(tx *meta.Tx) error {
		now := r.now()
		list, failed, err := r.resolveInUse(tx, c, in.Images)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].Source, list[i].ReportedAt, list[i].ExpiresAt = in.Source, now, now.Add(in.TTL)
		}
		reported, failures = len(list), failed
		if err := tx.ForgetImagesInUse(c.Account, now); err != nil {
			return err
		}
		if in.Replace {
			if err := tx.DeleteImagesInUse(c.Account, in.Source); err != nil {
				return err
			}
		}
		if err := tx.PutImagesInUse(c.Account, list); err != nil {
			return err
		}
		n, err := tx.CountImagesInUse(c.Account)
		if err == nil && n > r.cfg.Limits.ImagesInUse {
			err = ecr.Errorf(ecr.LimitExceeded, "The maximum number of reported images in use per registry (%d) has been reached: report with replace, or with a shorter time to live", r.cfg.Limits.ImagesInUse)
		}
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return reported, failures, nil
}

func (in *InUseReport) check() error {
	switch {
	case !sourceForm.MatchString(in.Source):
		return ecr.InvalidParam("source", "must satisfy regular expression '"+sourceForm.String()+"'")
	case in.TTL < MinInUseTTL || in.TTL > MaxInUseTTL:
		return ecr.InvalidParam("ttlSeconds", fmt.Sprintf("Member must have value between %d and %d", MinInUseTTL/time.Second, MaxInUseTTL/time.Second))
	case len(in.Images) > MaxInUseReport:
		return ecr.InvalidParam("images", fmt.Sprintf("Member must have length less than or equal to %d", MaxInUseReport))
	}
	return nil
}

// resolveInUse finds the images that references name, each once.
func (r *Registry) resolveInUse(tx *meta.Tx, c ecr.Caller, refs []ecr.ImageReference) (list []ecr.ImageInUse, failures []ecr.InUseFailure, err error) {
	f := finder{r, tx, c, map[string]*ecr.Repository{}}
	seen := map[ecr.ImageInUse]bool{}
	for _, ref := range refs {
		use, err := f.find(ref)
		if known, ok := errors.AsType[*ecr.Error](err); ok && inUseFailures(known.Code) != "" {
			failures = append(failures, ecr.InUseFailure{Reference: ref, Code: inUseFailures(known.Code), Reason: known.Message})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if !seen[use] {
			seen[use] = true
			list = append(list, use)
		}
	}
	return list, failures, nil
}

func inUseFailures(c ecr.Code) string {
	switch c {
	case ecr.InvalidParameter:
		return "InvalidReference"
	case ecr.RepositoryNotFound:
		return "RepositoryNotFound"
	case ecr.ImageNotFound:
		return "ImageNotFound"
	}
	return ""
}

// wholeDigest is a digest that cannot be taken for a repository with a tag.
var wholeDigest = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)

// A finder finds images of the caller's account.
type finder struct {
	r     *Registry
	tx    *meta.Tx
	c     ecr.Caller
	repos map[string]*ecr.Repository // nil: there is none, or not for the caller
}

func (f *finder) find(ref ecr.ImageReference) (use ecr.ImageInUse, err error) {
	if ref.URI != "" {
		if ref, err = splitURI(ref); err != nil {
			return use, err
		}
	}
	switch {
	case ref.Digest != "" && !digestForm.MatchString(ref.Digest):
		return use, ecr.Errorf(ecr.InvalidParameter, "%q is no digest", ref.Digest)
	case ref.Repository == "" && wholeDigest.MatchString(ref.Digest):
		return ecr.ImageInUse{Digest: ref.Digest}, nil
	case ref.Repository == "" || ref.Digest == "" && ref.Tag == "":
		return use, ecr.Errorf(ecr.InvalidParameter, "An image needs a digest, or a repository and a tag")
	case ref.Digest == "" && !tagForm.MatchString(ref.Tag):
		return use, ecr.Errorf(ecr.InvalidParameter, "%q is no tag", ref.Tag)
	case checkName(ref.Repository) != nil:
		return use, ecr.Errorf(ecr.InvalidParameter, "%q is no name of a repository", ref.Repository)
	}
	id := ecr.RepositoryID{Account: f.c.Account, Name: ref.Repository}
	repo, err := f.repository(id)
	if err != nil {
		return use, err
	}
	if repo == nil {
		return use, repositoryNotFound(id)
	}
	name := ecr.ImageID{Digest: ref.Digest}
	if ref.Digest == "" {
		name.Tag = ref.Tag
	}
	img, err := findImage(f.tx, repo, name)
	if err != nil {
		return use, err
	}
	return ecr.ImageInUse{Repository: id.Name, Digest: img.Digest}, nil
}

// repository returns a repository that the caller may describe the images of,
// or nil.
func (f *finder) repository(id ecr.RepositoryID) (*ecr.Repository, error) {
	if repo, known := f.repos[id.Name]; known {
		return repo, nil
	}
	repo, err := f.tx.Repository(id)
	if errors.Is(err, meta.ErrNotFound) {
		repo, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if repo != nil {
		err = f.r.allowIn(f.tx, f.c, "ecr:DescribeImages", id, repo, nil)
		if denied, ok := errors.AsType[*ecr.Error](err); ok && denied.Code == ecr.AccessDenied {
			repo, err = nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	f.repos[id.Name] = repo
	return repo, nil
}

// maxURI bounds a reference, in bytes.
const maxURI = 1024

// splitURI takes a reference apart, as Kubernetes and docker write it. The host
// is passed over: a registry has several names, and what is another registry's
// is not found here.
func splitURI(ref ecr.ImageReference) (out ecr.ImageReference, err error) {
	if ref.Repository != "" || ref.Digest != "" || ref.Tag != "" {
		return out, ecr.Errorf(ecr.InvalidParameter, "imageUri stands alone: repositoryName, imageDigest and imageTag must be null beside it")
	}
	if len(ref.URI) > maxURI {
		return out, ecr.Errorf(ecr.InvalidParameter, "An imageUri has at most %d bytes", maxURI)
	}
	rest := ref.URI
	if _, after, ok := strings.Cut(rest, "://"); ok { // docker-pullable://
		rest = after
	}
	if wholeDigest.MatchString(rest) {
		return ecr.ImageReference{Digest: rest}, nil
	}
	rest, out.Digest, _ = strings.Cut(rest, "@")
	if host, path, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		rest = path
	}
	out.Repository, out.Tag, _ = strings.Cut(rest, ":")
	if out.Digest == "" && out.Tag == "" {
		out.Tag = "latest"
	}
	return out, nil
}

// ListImagesInUse returns a page of the reports of the caller's account that
// have not expired: all, or those of a repository or a source.
func (r *Registry) ListImagesInUse(ctx context.Context, c ecr.Caller, repository, source string, p ecr.Page) (list []ecr.ImageInUse, next string, err error) {
	const action = "ecr:ListImagesInUse"
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	_, place, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	var after ecr.ImageInUse
	after.Repository, place, _ = strings.Cut(place, " ")
	after.Digest, after.Source, _ = strings.Cut(place, " ")
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if err := r.allowAll(tx, c, action, c.Account); err != nil {
			return err
		}
		list, err = tx.ImagesInUse(c.Account, repository, source, after, r.now(), n+1)
		return err
	})
	if err != nil {
		return nil, "", r.denied(ctx, c, action, ecr.RepositoryID{Account: c.Account}, err)
	}
	if len(list) > n {
		list = list[:n]
		last := list[n-1]
		next = encodeCursor(0, last.Repository+" "+last.Digest+" "+last.Source)
	}
	return list, next, nil
}

// LifecycleGuards returns what holds the lifecycle policy of a repository back.
// Errors: RepositoryNotFound.
func (r *Registry) LifecycleGuards(ctx context.Context, c ecr.Caller, id ecr.RepositoryID) (g lifecycle.Guards, err error) {
	err = r.view(ctx, c, "ecr:GetLifecycleGuards", id, func(tx *meta.Tx, repo *ecr.Repository) (err error) {
		g, err = r.guards(tx, repo, r.now())
		return err
	})
	return g, err
}

// guards returns what guards the images of a repository at a moment: its
// resource tags, the server's own settings, and what is reported as in use. Tags that are older than the
// check of guards, and wrong, are an error.
func (r *Registry) guards(tx *meta.Tx, repo *ecr.Repository, now time.Time) (lifecycle.Guards, error) {
	tags := make(map[string]string, len(repo.Tags))
	for _, t := range repo.Tags {
		tags[t.Key] = t.Value
	}
	g, err := lifecycle.ParseGuards(tags)
	if err != nil {
		return g, ecr.Errorf(ecr.InvalidTagParameter, "The repository with name '%s' has an invalid tag: %v", repo.ID.Name, err)
	}
	if g.PulledWithin == 0 { // the tag says nothing
		g.PulledWithin = r.cfg.Lifecycle.GuardPulledWithin
	}
	g.InUse, err = r.inUse(tx, repo.ID, now)
	return g, err
}

// inUse returns the images of a repository that are in use at a moment, by
// digest, with the latest report of each; nil if there are none.
func (r *Registry) inUse(tx *meta.Tx, id ecr.RepositoryID, now time.Time) (map[string]lifecycle.Use, error) {
	list, err := tx.InUseIn(id, now)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	out := make(map[string]lifecycle.Use, len(list))
	for _, u := range list { // the latest comes last
		out[u.Digest] = lifecycle.Use{Source: u.Source, At: lifecycle.At(u.ReportedAt)}
	}
	return out, nil
}
