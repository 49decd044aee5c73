package daemon

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/ecr"
)

// An awsRegion is a region of AWS, or of whoever speaks its API: credentials
// come from where the AWS SDK finds them.
type awsRegion struct {
	client *sdk.Client
}

func newAWSRegion(ctx context.Context, region, profile string) (*awsRegion, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(region)}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	return &awsRegion{sdk.NewFromConfig(cfg)}, nil
}

// login asks for a token, of which half the life is used.
func (a *awsRegion) login(ctx context.Context, _ string, to ecr.Destination) (user, password string, renew time.Time, err error) {
	out, err := a.client.GetAuthorizationToken(ctx, &sdk.GetAuthorizationTokenInput{})
	if err != nil {
		return "", "", time.Time{}, err
	}
	if len(out.AuthorizationData) == 0 {
		return "", "", time.Time{}, fmt.Errorf("GetAuthorizationToken of %s gives no token", to.Region)
	}
	data := out.AuthorizationData[0]
	b, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	if err != nil {
		return "", "", time.Time{}, err
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok {
		return "", "", time.Time{}, fmt.Errorf("the token of %s is not user and password", to.Region)
	}
	now := time.Now()
	return user, password, now.Add(aws.ToTime(data.ExpiresAt).Sub(now) / 2), nil
}

// create makes a repository; AWS makes none for a push of somebody else than
// its own replication, but for a template.
func (a *awsRegion) create(ctx context.Context, to ecr.Destination, repository string) error {
	_, err := a.client.CreateRepository(ctx, &sdk.CreateRepositoryInput{RegistryId: &to.Account, RepositoryName: &repository})
	if _, ok := errors.AsType[*types.RepositoryAlreadyExistsException](err); ok {
		return nil
	}
	return err
}
