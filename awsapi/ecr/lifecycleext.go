package ecrapi

import (
	"context"

	"github.com/ecruhq/ecru/awsapi/ecr/ext"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

func (s *Server) runLifecyclePolicy(ctx context.Context, c call, in *ext.RunLifecyclePolicyInput) (*ext.RunLifecyclePolicyOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	p, err := s.reg.RunLifecyclePolicy(ctx, c.Caller, id)
	if err != nil {
		return nil, err
	}
	return &ext.RunLifecyclePolicyOutput{RegistryId: &id.Account, RepositoryName: &id.Name, RequestedAt: &p.DueAt}, nil
}

func (s *Server) describeLifecyclePolicyRun(ctx context.Context, c call, in *ext.DescribeLifecyclePolicyRunInput) (*ext.DescribeLifecyclePolicyRunOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	p, err := s.reg.DescribeLifecyclePolicyRun(ctx, c.Caller, id)
	if err != nil {
		return nil, err
	}
	run := &p.LastRun
	out := &ext.DescribeLifecyclePolicyRunOutput{RegistryId: &id.Account, RepositoryName: &id.Name, Status: runStatus(run), NextRunAt: &p.DueAt}
	if !run.StartedAt.IsZero() {
		out.StartedAt, out.EndedAt = &run.StartedAt, when(run.EndedAt)
		out.ExpiredImages, out.ArchivedImages, out.WithheldImages = &run.Expired, &run.Archived, &run.Withheld
		out.FailureReason = rpc.Opt(run.Error)
	}
	return out, nil
}

func runStatus(run *ecr.LifecycleRun) string {
	switch {
	case run.StartedAt.IsZero():
		return "NONE"
	case run.EndedAt.IsZero():
		return "IN_PROGRESS"
	case run.Error != "":
		return "FAILED"
	}
	return "COMPLETE"
}

func (s *Server) explainLifecyclePolicyPreview(ctx context.Context, c call, in *ext.ExplainLifecyclePolicyPreviewInput) (*ext.ExplainLifecyclePolicyPreviewOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	filter := ecr.PreviewFilter{Explain: true, Withheld: in.Withheld != nil && *in.Withheld}
	p, results, next, err := s.reg.GetLifecyclePolicyPreview(ctx, c.Caller, id, filter, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &ext.ExplainLifecyclePolicyPreviewOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name, LifecyclePolicyText: &p.Policy, Status: string(p.Status),
		Images: rpc.Each(results, explainedImage), NextToken: rpc.Opt(next),
	}
	if p.Status == ecr.PreviewComplete {
		out.ExpiringImages, out.TransitioningImages, out.WithheldImages = &p.Expiring, &p.Transitioning, &p.Withheld
	}
	return out, nil
}

func explainedImage(p ecr.PreviewResult) ext.ExplainedImage {
	out := ext.ExplainedImage{ImageDigest: &p.Digest, ImageTags: p.Tags, ImagePushedAt: &p.PushedAt, Action: p.Action, Reason: &p.Reason, WithheldReason: rpc.Opt(p.Withheld)}
	if p.Rule > 0 {
		out.AppliedRulePriority = count32(p.Rule)
	}
	return out
}

func (s *Server) listExpiredImages(ctx context.Context, c call, in *ext.ListExpiredImagesInput) (*ext.ListExpiredImagesOutput, error) {
	list, next, err := s.reg.ListExpiredImages(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &ext.ListExpiredImagesOutput{Images: rpc.Each(list, expiredImage), NextToken: rpc.Opt(next)}, nil
}

func expiredImage(e *ecr.ExpiredImage) ext.ExpiredImage {
	out := ext.ExpiredImage{
		ImageDigest: &e.Digest, ImageTags: e.Tags, ImagePushedAt: &e.PushedAt, ImageSizeInBytes: &e.Size, Reason: &e.Reason,
		ExpiredAt: &e.ExpiredAt, RestorableUntil: &e.UndoUntil,
	}
	if e.Rule > 0 {
		out.AppliedRulePriority = count32(e.Rule)
	}
	return out
}

func (s *Server) restoreExpiredImages(ctx context.Context, c call, in *ext.RestoreExpiredImagesInput) (*ext.RestoreExpiredImagesOutput, error) {
	restored, failures, err := s.reg.RestoreExpiredImages(ctx, c.Caller, c.repository(in.RegistryId, in.RepositoryName), in.ImageDigests)
	if err != nil {
		return nil, err
	}
	return &ext.RestoreExpiredImagesOutput{
		Images: rpc.Each(restored, func(r registry.Restored) ext.RestoredImage {
			return ext.RestoredImage{ImageDigest: &r.Digest, ImageTags: r.Tags, TakenTags: r.Taken}
		}),
		Failures: rpc.Each(failures, func(f ecr.ImageFailure) ext.RestoreFailure {
			return ext.RestoreFailure{ImageDigest: &f.ID.Digest, FailureCode: f.Code, FailureReason: &f.Reason}
		}),
	}, nil
}
