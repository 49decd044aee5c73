package ecrapi

import (
	"context"
	"encoding/base64"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
)

// getAuthorizationToken answers with one entry for each registry that is
// asked for, all with the same token: it is the caller's, not a registry's.
func (s *Server) getAuthorizationToken(ctx context.Context, c call, in *sdk.GetAuthorizationTokenInput) (*sdk.GetAuthorizationTokenOutput, error) {
	password, expires, err := s.id.GetAuthorizationToken(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	token := base64.StdEncoding.EncodeToString([]byte("AWS:" + password))
	//lint:ignore SA1019 deprecated, and still sent by clients
	registries := in.RegistryIds
	if len(registries) == 0 {
		registries = []string{c.Account}
	}
	return &sdk.GetAuthorizationTokenOutput{AuthorizationData: rpc.Each(registries, func(account string) types.AuthorizationData {
		endpoint := s.reg.ProxyEndpoint(account)
		return types.AuthorizationData{AuthorizationToken: &token, ExpiresAt: &expires, ProxyEndpoint: &endpoint}
	})}, nil
}
