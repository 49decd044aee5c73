package stsapi

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// getCallerIdentity tells anybody with a key who they are; no policy is asked
// (STS API, GetCallerIdentity).
func (s *Server) getCallerIdentity(_ context.Context, c ecr.Caller, _ *sdk.GetCallerIdentityInput) (*sdk.GetCallerIdentityOutput, error) {
	return &sdk.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.ARN, UserId: &c.ID}, nil
}

func (s *Server) assumeRole(ctx context.Context, c ecr.Caller, in *sdk.AssumeRoleInput) (*sdk.AssumeRoleOutput, error) {
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, noMFA()
	}
	got, err := s.id.AssumeRole(ctx, c, identity.AssumeRoleInput{
		RoleARN: *in.RoleArn, SessionName: *in.RoleSessionName, Duration: duration(in.DurationSeconds),
		Policy: aws.ToString(in.Policy), PolicyARNs: policyARNs(in.PolicyArns), Tags: tags(in.Tags), TransitiveTags: in.TransitiveTagKeys,
		ExternalID: aws.ToString(in.ExternalId), SourceIdentity: aws.ToString(in.SourceIdentity),
	})
	if err != nil {
		return nil, err
	}
	return &sdk.AssumeRoleOutput{AssumedRoleUser: assumed(got), Credentials: credentials(got.Credentials), SourceIdentity: rpc.Opt(got.SourceIdentity)}, nil
}

func (s *Server) assumeRoleWithWebIdentity(ctx context.Context, c ecr.Caller, in *sdk.AssumeRoleWithWebIdentityInput) (*sdk.AssumeRoleWithWebIdentityOutput, error) {
	issuer, err := s.web.Issuer(*in.WebIdentityToken)
	if err != nil {
		return nil, err
	}
	got, who, err := s.id.AssumeRoleWithWebIdentity(ctx, c, identity.AssumeRoleInput{
		RoleARN: *in.RoleArn, SessionName: *in.RoleSessionName, Duration: duration(in.DurationSeconds),
		Policy: aws.ToString(in.Policy), PolicyARNs: policyARNs(in.PolicyArns),
	}, issuer, func(ctx context.Context, p identity.OIDCProvider) (identity.WebIdentity, error) {
		return s.web.Verify(ctx, *in.WebIdentityToken, p)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.AssumeRoleWithWebIdentityOutput{
		AssumedRoleUser: assumed(got), Credentials: credentials(got.Credentials),
		Audience: &who.Audience, Provider: &who.Issuer, SubjectFromWebIdentityToken: &who.Subject,
	}, nil
}

func (s *Server) getSessionToken(ctx context.Context, c ecr.Caller, in *sdk.GetSessionTokenInput) (*sdk.GetSessionTokenOutput, error) {
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, noMFA()
	}
	got, err := s.id.GetSessionToken(ctx, c, duration(in.DurationSeconds))
	if err != nil {
		return nil, err
	}
	return &sdk.GetSessionTokenOutput{Credentials: credentials(got)}, nil
}

func noMFA() error {
	return ecr.Errorf(ecr.AccessDenied, "MultiFactorAuthentication failed: Ecru knows no MFA devices. Call without SerialNumber and TokenCode.")
}

func (s *Server) getAccessKeyInfo(ctx context.Context, c ecr.Caller, in *sdk.GetAccessKeyInfoInput) (*sdk.GetAccessKeyInfoOutput, error) {
	account, err := s.id.AccessKeyAccount(ctx, c, *in.AccessKeyId)
	if err != nil {
		return nil, err
	}
	return &sdk.GetAccessKeyInfoOutput{Account: &account}, nil
}

func (s *Server) decodeAuthorizationMessage(ctx context.Context, c ecr.Caller, in *sdk.DecodeAuthorizationMessageInput) (*sdk.DecodeAuthorizationMessageOutput, error) {
	text, err := s.id.DecodeAuthorizationMessage(ctx, c, *in.EncodedMessage)
	if err != nil {
		return nil, err
	}
	return &sdk.DecodeAuthorizationMessageOutput{DecodedMessage: &text}, nil
}

func duration(seconds *int32) time.Duration { return time.Duration(aws.ToInt32(seconds)) * time.Second }

func policyARNs(list []types.PolicyDescriptorType) (out []string) {
	for _, p := range list {
		out = append(out, aws.ToString(p.Arn))
	}
	return out
}

func tags(list []types.Tag) (out []ecr.Tag) {
	for _, t := range list {
		out = append(out, ecr.Tag{Key: *t.Key, Value: *t.Value})
	}
	return out
}

func assumed(r identity.AssumedRole) *types.AssumedRoleUser {
	return &types.AssumedRoleUser{Arn: &r.ARN, AssumedRoleId: &r.ID}
}

func credentials(c identity.Credentials) *types.Credentials {
	return &types.Credentials{AccessKeyId: &c.AccessKeyID, SecretAccessKey: &c.Secret, SessionToken: &c.SessionToken, Expiration: &c.Expires}
}
