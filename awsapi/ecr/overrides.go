package ecrapi

import (
	"context"
	"strconv"
	"time"

	"github.com/ecruhq/ecru/awsapi/ecr/ext"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

func milli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func (s *Server) putImageScanFindingsOverride(ctx context.Context, c call, in *ext.PutImageScanFindingsOverrideInput) (*ext.PutImageScanFindingsOverrideOutput, error) {
	o := ecr.Override{
		Account: c.registry(in.RegistryId), Repository: rpc.Str(in.RepositoryName), Digest: rpc.Str(in.ImageDigest),
		Vulnerability: rpc.Str(in.VulnerabilityId), Package: rpc.Str(in.PackageName), Path: rpc.Str(in.Path),
		Status: in.Override, Description: rpc.Str(in.Description),
	}
	if in.ExpiresAt != nil {
		o.ExpiresAt = *in.ExpiresAt
	}
	o, err := s.reg.PutImageScanFindingsOverride(ctx, c.Caller, o, rpc.Str(in.FindingArn))
	if err != nil {
		return nil, err
	}
	out := override(o)
	return &ext.PutImageScanFindingsOverrideOutput{ImageScanFindingsOverride: &out}, nil
}

func (s *Server) listImageScanFindingsOverrides(ctx context.Context, c call, in *ext.ListImageScanFindingsOverridesInput) (*ext.ListImageScanFindingsOverridesOutput, error) {
	list, next, err := s.reg.ListImageScanFindingsOverrides(ctx, c.Caller, c.registry(in.RegistryId), rpc.Str(in.RepositoryName), rpc.Str(in.ImageDigest), rpc.Str(in.VulnerabilityId), page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &ext.ListImageScanFindingsOverridesOutput{ImageScanFindingsOverrides: rpc.Each(list, override), NextToken: rpc.Opt(next)}, nil
}

func (s *Server) deleteImageScanFindingsOverride(ctx context.Context, c call, in *ext.DeleteImageScanFindingsOverrideInput) (*ext.DeleteImageScanFindingsOverrideOutput, error) {
	id, err := strconv.ParseInt(*in.OverrideId, 10, 64)
	if err != nil {
		return nil, ecr.InvalidParam("overrideId", "Member must be the ID of an override")
	}
	o, err := s.reg.DeleteImageScanFindingsOverride(ctx, c.Caller, c.registry(in.RegistryId), id)
	if err != nil {
		return nil, err
	}
	out := override(o)
	return &ext.DeleteImageScanFindingsOverrideOutput{ImageScanFindingsOverride: &out}, nil
}

func override(o ecr.Override) ext.ImageScanFindingsOverride {
	id, status := strconv.FormatInt(o.ID, 10), "ACTIVE"
	if !o.ExpiresAt.After(time.Now()) {
		status = "EXPIRED"
	}
	return ext.ImageScanFindingsOverride{
		OverrideId: &id, RegistryId: &o.Account, RepositoryName: rpc.Opt(o.Repository), ImageDigest: rpc.Opt(o.Digest),
		VulnerabilityId: rpc.Opt(o.Vulnerability), PackageName: rpc.Opt(o.Package), Path: rpc.Opt(o.Path),
		Override: o.Status, Description: &o.Description, Author: &o.Author, CreatedAt: &o.CreatedAt, ExpiresAt: &o.ExpiresAt, Status: status,
	}
}
