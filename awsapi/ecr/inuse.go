package ecrapi

import (
	"context"
	"time"

	"github.com/ecruhq/ecru/awsapi/ecr/ext"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/registry"
)

// inUseTTL is how long a report lasts that does not say.
const inUseTTL = 24 * time.Hour

func (s *Server) putImagesInUse(ctx context.Context, c call, in *ext.PutImagesInUseInput) (*ext.PutImagesInUseOutput, error) {
	report := registry.InUseReport{Source: *in.Source, TTL: inUseTTL, Images: rpc.Each(in.Images, inUseReference), Replace: in.Replace != nil && *in.Replace}
	if in.TtlSeconds != nil {
		report.TTL = time.Duration(*in.TtlSeconds) * time.Second
	}
	n, failures, err := s.reg.PutImagesInUse(ctx, c.Caller, report)
	if err != nil {
		return nil, err
	}
	reported := int32(n)
	return &ext.PutImagesInUseOutput{Reported: &reported, Failures: rpc.Each(failures, inUseFailure)}, nil
}

func inUseReference(r ext.InUseReference) ecr.ImageReference {
	return ecr.ImageReference{Repository: rpc.Str(r.RepositoryName), Digest: rpc.Str(r.ImageDigest), Tag: rpc.Str(r.ImageTag), URI: rpc.Str(r.ImageUri)}
}

func inUseFailure(f ecr.InUseFailure) ext.InUseFailure {
	r := f.Reference
	return ext.InUseFailure{
		Image:       &ext.InUseReference{RepositoryName: rpc.Opt(r.Repository), ImageDigest: rpc.Opt(r.Digest), ImageTag: rpc.Opt(r.Tag), ImageUri: rpc.Opt(r.URI)},
		FailureCode: f.Code, FailureReason: rpc.Opt(f.Reason),
	}
}

func (s *Server) listImagesInUse(ctx context.Context, c call, in *ext.ListImagesInUseInput) (*ext.ListImagesInUseOutput, error) {
	list, next, err := s.reg.ListImagesInUse(ctx, c.Caller, rpc.Str(in.RepositoryName), rpc.Str(in.Source), page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &ext.ListImagesInUseOutput{Images: rpc.Each(list, inUseImage), NextToken: rpc.Opt(next)}, nil
}

func inUseImage(u ecr.ImageInUse) ext.InUseImage {
	return ext.InUseImage{RepositoryName: rpc.Opt(u.Repository), ImageDigest: &u.Digest, Source: &u.Source, ReportedAt: &u.ReportedAt, ExpiresAt: &u.ExpiresAt}
}

func (s *Server) getLifecycleGuards(ctx context.Context, c call, in *ext.GetLifecycleGuardsInput) (*ext.GetLifecycleGuardsOutput, error) {
	id := c.repository(in.RegistryId, in.RepositoryName)
	g, err := s.reg.LifecycleGuards(ctx, c.Caller, id)
	if err != nil {
		return nil, err
	}
	used := int32(len(g.InUse))
	out := &ext.GetLifecycleGuardsOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name, ImagesInUse: &used,
		KeepLast: rpc.Each(g.KeepLast, func(k lifecycle.PrefixCount) ext.GuardPrefixCount {
			n := int32(k.Count)
			return ext.GuardPrefixCount{Prefix: &k.Prefix, Count: &n}
		}),
	}
	if g.PulledWithin > 0 {
		seconds := int64(g.PulledWithin / time.Second)
		out.PulledWithinSeconds = &seconds
	}
	return out, nil
}
