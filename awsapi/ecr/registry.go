package ecrapi

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
)

func (s *Server) getAccountSetting(ctx context.Context, c call, in *sdk.GetAccountSettingInput) (*sdk.GetAccountSettingOutput, error) {
	value, err := s.reg.GetAccountSetting(ctx, c.Caller, *in.Name)
	if err != nil {
		return nil, err
	}
	return &sdk.GetAccountSettingOutput{Name: in.Name, Value: &value}, nil
}

func (s *Server) putAccountSetting(ctx context.Context, c call, in *sdk.PutAccountSettingInput) (*sdk.PutAccountSettingOutput, error) {
	if err := s.reg.PutAccountSetting(ctx, c.Caller, *in.Name, *in.Value); err != nil {
		return nil, err
	}
	return &sdk.PutAccountSettingOutput{Name: in.Name, Value: in.Value}, nil
}
