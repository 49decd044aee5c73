package iamapi

import (
	"context"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

func (s *Server) providers() []rpc.Handler[ecr.Caller] {
	return []rpc.Handler[ecr.Caller]{
		rpc.Op("CreateOpenIDConnectProvider", func(ctx context.Context, c ecr.Caller, in *sdk.CreateOpenIDConnectProviderInput) (*sdk.CreateOpenIDConnectProviderOutput, error) {
			p, err := s.id.CreateOIDCProvider(ctx, c, *in.Url, in.ClientIDList, in.ThumbprintList, fromTags(in.Tags))
			return &sdk.CreateOpenIDConnectProviderOutput{OpenIDConnectProviderArn: &p.ARN, Tags: toTags(p.Tags)}, err
		}),
		rpc.Op("GetOpenIDConnectProvider", func(ctx context.Context, c ecr.Caller, in *sdk.GetOpenIDConnectProviderInput) (*sdk.GetOpenIDConnectProviderOutput, error) {
			p, err := s.id.GetOIDCProvider(ctx, c, "iam:GetOpenIDConnectProvider", *in.OpenIDConnectProviderArn)
			return &sdk.GetOpenIDConnectProviderOutput{Url: &p.URL, ClientIDList: rpc.Each(p.ClientIDs, self), ThumbprintList: rpc.Each(p.Thumbprints, self), Tags: toTags(p.Tags), CreateDate: &p.CreatedAt}, err
		}),
		rpc.Op("ListOpenIDConnectProviders", func(ctx context.Context, c ecr.Caller, _ *sdk.ListOpenIDConnectProvidersInput) (*sdk.ListOpenIDConnectProvidersOutput, error) {
			list, err := s.id.ListOIDCProviders(ctx, c)
			return &sdk.ListOpenIDConnectProvidersOutput{OpenIDConnectProviderList: rpc.Each(list, func(p identity.OIDCProvider) types.OpenIDConnectProviderListEntry {
				return types.OpenIDConnectProviderListEntry{Arn: &p.ARN}
			})}, err
		}),
		rpc.Op("DeleteOpenIDConnectProvider", func(ctx context.Context, c ecr.Caller, in *sdk.DeleteOpenIDConnectProviderInput) (*sdk.DeleteOpenIDConnectProviderOutput, error) {
			return none[sdk.DeleteOpenIDConnectProviderOutput](s.id.DeleteOIDCProvider(ctx, c, *in.OpenIDConnectProviderArn))
		}),
		rpc.Op("AddClientIDToOpenIDConnectProvider", func(ctx context.Context, c ecr.Caller, in *sdk.AddClientIDToOpenIDConnectProviderInput) (*sdk.AddClientIDToOpenIDConnectProviderOutput, error) {
			return none[sdk.AddClientIDToOpenIDConnectProviderOutput](s.id.UpdateOIDCProvider(ctx, c, "iam:AddClientIDToOpenIDConnectProvider", *in.OpenIDConnectProviderArn, nil, nil, func(p *identity.OIDCProvider) {
				if !slices.Contains(p.ClientIDs, *in.ClientID) {
					p.ClientIDs = append(p.ClientIDs, *in.ClientID)
				}
			}))
		}),
		rpc.Op("RemoveClientIDFromOpenIDConnectProvider", func(ctx context.Context, c ecr.Caller, in *sdk.RemoveClientIDFromOpenIDConnectProviderInput) (*sdk.RemoveClientIDFromOpenIDConnectProviderOutput, error) {
			return none[sdk.RemoveClientIDFromOpenIDConnectProviderOutput](s.id.UpdateOIDCProvider(ctx, c, "iam:RemoveClientIDFromOpenIDConnectProvider", *in.OpenIDConnectProviderArn, nil, nil, func(p *identity.OIDCProvider) {
				p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == *in.ClientID })
			}))
		}),
		rpc.Op("UpdateOpenIDConnectProviderThumbprint", func(ctx context.Context, c ecr.Caller, in *sdk.UpdateOpenIDConnectProviderThumbprintInput) (*sdk.UpdateOpenIDConnectProviderThumbprintOutput, error) {
			return none[sdk.UpdateOpenIDConnectProviderThumbprintOutput](s.id.UpdateOIDCProvider(ctx, c, "iam:UpdateOpenIDConnectProviderThumbprint", *in.OpenIDConnectProviderArn, nil, nil, func(p *identity.OIDCProvider) {
				p.Thumbprints = in.ThumbprintList
			}))
		}),
		rpc.Op("TagOpenIDConnectProvider", func(ctx context.Context, c ecr.Caller, in *sdk.TagOpenIDConnectProviderInput) (*sdk.TagOpenIDConnectProviderOutput, error) {
			return none[sdk.TagOpenIDConnectProviderOutput](s.id.UpdateOIDCProvider(ctx, c, "iam:TagOpenIDConnectProvider", *in.OpenIDConnectProviderArn, fromTags(in.Tags), nil, func(p *identity.OIDCProvider) {
				p.Tags = identity.MergeTags(p.Tags, fromTags(in.Tags))
			}))
		}),
		rpc.Op("UntagOpenIDConnectProvider", func(ctx context.Context, c ecr.Caller, in *sdk.UntagOpenIDConnectProviderInput) (*sdk.UntagOpenIDConnectProviderOutput, error) {
			return none[sdk.UntagOpenIDConnectProviderOutput](s.id.UpdateOIDCProvider(ctx, c, "iam:UntagOpenIDConnectProvider", *in.OpenIDConnectProviderArn, nil, in.TagKeys, func(p *identity.OIDCProvider) {
				p.Tags = identity.RemoveTags(p.Tags, in.TagKeys)
			}))
		}),
		rpc.Op("ListOpenIDConnectProviderTags", func(ctx context.Context, c ecr.Caller, in *sdk.ListOpenIDConnectProviderTagsInput) (*sdk.ListOpenIDConnectProviderTagsOutput, error) {
			p, err := s.id.GetOIDCProvider(ctx, c, "iam:ListOpenIDConnectProviderTags", *in.OpenIDConnectProviderArn)
			out, more, marker := tagPage(p.Tags, in.Marker, in.MaxItems)
			return &sdk.ListOpenIDConnectProviderTagsOutput{Tags: out, IsTruncated: more, Marker: marker}, err
		}),
	}
}
