package ecrapi

import (
	"context"
	"time"

	"github.com/ecruhq/ecru/awsapi/ecr/ext"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
)

func (s *Server) describeAdvisorySources(ctx context.Context, c call, in *ext.DescribeAdvisorySourcesInput) (*ext.DescribeAdvisorySourcesOutput, error) {
	feeds, u, next, err := s.reg.DescribeAdvisorySources(ctx, c.Caller, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &ext.DescribeAdvisorySourcesOutput{
		Sources: rpc.Each(feeds, advisorySource), UpdateState: string(u.State), UpdateError: rpc.Opt(u.Error), NextToken: rpc.Opt(next),
	}, nil
}

func advisorySource(f registry.AdvisoryFeed) ext.AdvisorySource {
	out := ext.AdvisorySource{
		Ecosystem: &f.Name, Source: rpc.Opt(f.Source), Records: &f.Records, Failure: rpc.Opt(f.Failure),
		NewestModifiedAt: moment(f.Newest), LoadedAt: moment(f.LoadedAt), CheckedAt: moment(f.CheckedAt),
	}
	if !f.LoadedAt.IsZero() {
		age := int64(f.Age / time.Second)
		out.AgeSeconds = &age
	}
	return out
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Server) startAdvisoryUpdate(ctx context.Context, c call, in *ext.StartAdvisoryUpdateInput) (*ext.StartAdvisoryUpdateOutput, error) {
	ref := ecr.ImageID{Digest: rpc.Str(in.ImageDigest), Tag: rpc.Str(in.ImageTag)}
	named := ref != (ecr.ImageID{})
	if named != (in.RepositoryName != nil) || ref.Digest != "" && ref.Tag != "" {
		return nil, ecr.InvalidParam("repositoryName", "An artifact of advisories is named by repositoryName with imageDigest or imageTag; without any of them the update is from the server's source")
	}
	var id ecr.RepositoryID
	if named {
		id = c.repository(in.RegistryId, in.RepositoryName)
	}
	if err := s.reg.StartAdvisoryUpdate(ctx, c.Caller, id, ref); err != nil {
		return nil, err
	}
	return &ext.StartAdvisoryUpdateOutput{}, nil
}
