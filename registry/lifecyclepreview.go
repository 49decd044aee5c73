package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
)

const (
	// previewBatch is how many results one transaction writes or clears.
	previewBatch = 500
	// previewAttempts is how often a preview is begun, at most.
	previewAttempts = 3
	// trailPreviewed is how many images of a preview the audit trail names.
	trailPreviewed = 1000
)

// StartLifecyclePolicyPreview begins to find out what a lifecycle policy would
// do with a repository; an empty text means the policy that is stored. Nothing
// is deleted. RunPreview does the work.
// Errors: RepositoryNotFound, InvalidParameter, LifecyclePolicyNotFound,
// LifecyclePolicyPreviewInProgress.
func (r *Registry) StartLifecyclePolicyPreview(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, text string) (ecr.LifecyclePreview, error) {
	const action = "ecr:StartLifecyclePolicyPreview"
	var invalid error
	if text != "" {
		_, invalid = parseLifecycle(text)
	}
	out := ecr.LifecyclePreview{Repository: id, Status: ecr.PreviewInProgress}
	err := r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
		if invalid != nil {
			return invalid
		}
		out.Policy = text
		if text == "" {
			stored, err := lifecyclePolicy(tx, repo)
			if err != nil {
				return err
			}
			out.Policy = stored.Text
		}
		out.StartedAt = r.now()
		err := tx.StartPreview(repo.Row, out.Policy, out.StartedAt, out.StartedAt.Add(r.cfg.Lifecycle.Preview))
		if errors.Is(err, meta.ErrExists) {
			return ecr.Errorf(ecr.LifecyclePolicyPreviewInProgress, "A lifecycle policy preview is in progress already for the repository with name '%s' in the registry with id '%s'", id.Name, id.Account)
		}
		if err != nil {
			return err
		}
		return tx.Append(r.event(c, ecr.RepositoryChanged, action, id))
	})
	if err == nil {
		r.previewWork.wake()
	}
	return out, err
}

// GetLifecyclePolicyPreview returns a repository's preview, and a page of its
// results, the oldest image first. While it is in progress, and once it is
// expired, it has none.
// Errors: RepositoryNotFound, LifecyclePolicyPreviewNotFound.
func (r *Registry) GetLifecyclePolicyPreview(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, f ecr.PreviewFilter, p ecr.Page) (out ecr.LifecyclePreview, results []ecr.PreviewResult, next string, err error) {
	n, err := limit(p, 100, 100)
	if err != nil {
		return out, nil, "", err
	}
	after, of, err := decodeCursor(p.Token)
	if err != nil {
		return out, nil, "", err
	}
	action := "ecr:GetLifecyclePolicyPreview"
	if f.Explain {
		action = "ecr:ExplainLifecyclePolicyPreview"
	}
	err = r.view(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
		if out, err = tx.Preview(repo.Row); errors.Is(err, meta.ErrNotFound) {
			return ecr.Errorf(ecr.LifecyclePolicyPreviewNotFound, "Lifecycle policy preview does not exist for the repository with name '%s' in the registry with id '%s'", id.Name, id.Account)
		}
		if err != nil {
			return err
		}
		if of != "" && of != fmt.Sprint(out.Row) {
			return ecr.InvalidParam("NextToken", "Invalid next token provided") // of another preview
		}
		if out.Status != ecr.PreviewComplete {
			return nil
		}
		results, err = previewResults(tx, repo, out.Row, f, after, n+1)
		return err
	})
	if err != nil {
		return out, nil, "", err
	}
	if len(results) > n {
		results = results[:n]
		next = encodeCursor(results[n-1].Seq, fmt.Sprint(out.Row))
	}
	return out, results, next, nil
}

// previewResults finds results; an ID by tag means the image that has the tag
// now, and one with both only if the image had the tag.
func previewResults(tx *meta.Tx, repo *ecr.Repository, preview int64, f ecr.PreviewFilter, after int64, n int) ([]ecr.PreviewResult, error) {
	tags := map[string]string{}
	ids := f.IDs
	f.IDs = nil
	for _, ref := range ids {
		if ref == (ecr.ImageID{}) {
			return nil, ecr.InvalidParam("imageIds", "both tag and digest cannot be null")
		}
		if ref.Digest == "" {
			img, err := tx.ImageTagged(repo.Row, ref.Tag)
			if errors.Is(err, meta.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			ref = ecr.ImageID{Digest: img.Digest}
		}
		tags[ref.Digest] = ref.Tag
		f.IDs = append(f.IDs, ref)
	}
	if len(ids) > 0 && len(f.IDs) == 0 {
		return nil, nil
	}
	results, err := tx.PreviewResults(preview, f, after, n)
	return slices.DeleteFunc(results, func(p ecr.PreviewResult) bool {
		tag := tags[p.Digest]
		return tag != "" && !slices.Contains(p.Tags, tag)
	}), err
}

// PreviewWork is told when there is a preview to work on. Other processes tell
// nothing here.
func (r *Registry) PreviewWork() <-chan struct{} { return r.previewWork }

// RunPreview works on one preview that nobody works on, and reports whether
// there was one. What another process has left unfinished is begun anew, three
// times at most. The server's own.
func (r *Registry) RunPreview(ctx context.Context) (worked bool, err error) {
	var p ecr.LifecyclePreview
	var attempts int64
	err = r.db.Update(ctx, func(tx *meta.Tx) (err error) {
		p, attempts, err = tx.ClaimPreview(r.claim())
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if attempts > 1 {
		if err := r.clearResults(ctx, p.Row); err != nil {
			return true, err
		}
	}
	if attempts > previewAttempts {
		err = fmt.Errorf("it broke off %d times", previewAttempts)
	} else {
		err = r.preview(ctx, &p)
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, errPreviewLost) {
		return true, ctx.Err()
	}
	p.Status = ecr.PreviewFailed
	return true, errors.Join(fmt.Errorf("preview of a lifecycle policy: %w", err), r.db.Update(ctx, func(tx *meta.Tx) error {
		return tx.EndPreview(p, clean(err.Error(), 1000), r.now())
	}))
}

var errPreviewLost = errors.New("the preview is not this process's any more")

// preview does the work of a preview that is claimed.
func (r *Registry) preview(ctx context.Context, p *ecr.LifecyclePreview) error {
	policy, err := lifecycle.Parse([]byte(p.Policy))
	if err != nil {
		return err
	}
	if err := r.FlushPulls(ctx); err != nil {
		return err
	}
	var repo *ecr.Repository
	err = r.db.ViewOne(ctx, func(tx *meta.Tx) (err error) {
		repo, err = tx.Repository(p.Repository)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return errPreviewLost
	}
	if err != nil {
		return err
	}
	now := r.now()
	_, d, err := r.evaluate(ctx, repo.Row, repo.ID, policy, now)
	if errors.Is(err, errPolicyChanged) {
		return errPreviewLost
	}
	if err != nil {
		return err
	}
	results := resultsOf(d)
	for i := range results {
		switch {
		case results[i].Withheld != "":
			p.Withheld++
		case results[i].Action == lifecycle.Expire.String():
			p.Expiring++
		default:
			p.Transitioning++
		}
	}
	p.Status = ecr.PreviewComplete
	for batch := range slices.Chunk(results, previewBatch) {
		if err := r.holdPreview(ctx, p, func(tx *meta.Tx) error { return tx.PutPreviewResults(p.Row, batch) }); err != nil {
			return err
		}
	}
	return r.holdPreview(ctx, p, func(tx *meta.Tx) error {
		record, err := tx.LifecyclePolicy(repo.Row)
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		if record.Text != p.Policy {
			record = ecr.LifecyclePolicy{}
		}
		if err := r.appendPreview(tx, p.Repository, trailPolicyOf(policy, record), d); err != nil {
			return err
		}
		return tx.EndPreview(*p, "", r.now())
	})
}

// holdPreview runs fn in a transaction, if the preview is still this process's.
func (r *Registry) holdPreview(ctx context.Context, p *ecr.LifecyclePreview, fn func(*meta.Tx) error) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		err := tx.HoldPreview(p.Row, r.process, r.now().Add(lease))
		if errors.Is(err, meta.ErrNotFound) {
			return errPreviewLost
		}
		if err != nil {
			return err
		}
		return fn(tx)
	})
}

// resultsOf lists what is due, in order, and then what is withheld.
func resultsOf(d *decision) []ecr.PreviewResult {
	var out []ecr.PreviewResult
	add := func(i int, withheld string) {
		m, v := &d.Images[i], &d.Verdicts[i]
		p := ecr.PreviewResult{Seq: int64(len(out) + 1), Digest: m.Digest, Tags: m.Tags, PushedAt: m.PushedAt.Time(), Archived: m.Archived,
			Action: v.Outcome.String(), Reason: d.Reason(i).String(), Withheld: withheld}
		if v.Rule >= 0 {
			p.Rule = int64(d.Rules[v.Rule].Priority)
		}
		out = append(out, p)
	}
	for i := range d.Due() {
		if d.due(i) {
			add(i, "")
		}
	}
	for i, why := range d.withheld() {
		add(i, why[1])
	}
	return out
}

// appendPreview tells the audit trail what a preview found, of as many images
// as it takes.
func (r *Registry) appendPreview(tx *meta.Tx, id ecr.RepositoryID, p trailPolicy, d *decision) error {
	var actions []trailImageAction
	for i := range d.Due() {
		if len(actions) == trailPreviewed {
			break
		}
		if d.due(i) {
			actions = append(actions, trailAction(d.Evaluation, i))
		}
	}
	return r.appendLifecycle(tx, ecr.LifecyclePolicyPreviewed, "DryRunEvent", id, p, actions, nil)
}

// ClearPreviews ends previews whose time is over and frees their results, and
// those of previews that were replaced. The server's own.
func (r *Registry) ClearPreviews(ctx context.Context) error {
	err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.ExpirePreviews(r.now(), previewBatch) })
	for err == nil && ctx.Err() == nil {
		var id int64
		var orphan bool
		err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
			id, orphan, err = tx.StalePreview()
			return err
		})
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err = r.clearResults(ctx, id); err == nil && orphan {
			err = r.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeletePreview(id) })
		}
	}
	return errors.Join(err, ctx.Err())
}

// clearResults frees the results of a preview, bit by bit.
func (r *Registry) clearResults(ctx context.Context, preview int64) error {
	for n := int64(previewBatch); n == previewBatch; {
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			n, err = tx.ClearPreviewResults(preview, previewBatch)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
