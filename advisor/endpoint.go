// Package advisor reads an ECR endpoint, Ecru's or AWS's own, through the AWS
// SDK, and judges what it reads with the pure functions of the floor of words.
// It only reads.
package advisor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Options say which endpoint is meant. What is empty comes from where the AWS
// CLI takes it: the environment and ~/.aws.
type Options struct {
	EndpointURL string
	Profile     string
	Region      string
}

// An Endpoint is a registry with the services around it, as one caller sees
// them.
type Endpoint struct {
	ECR        *ecr.Client
	IAM        *iam.Client
	STS        *sts.Client
	CloudTrail *cloudtrail.Client

	Region  string
	Account string // the caller's
	Caller  string // its ARN
}

// WholeAnswers is an HTTP client that reads each answer before it hands it over.
// With the SDK at its present version and a server that is near, the connection
// is sometimes closed under a large answer ("use of closed network connection").
type WholeAnswers struct{ aws.HTTPClient }

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 64 << 20

// Do implements aws.HTTPClient.
func (c WholeAnswers) Do(r *http.Request) (*http.Response, error) {
	res, err := c.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, err
}

// Connect finds the credentials and asks who they are of.
func Connect(ctx context.Context, o Options) (*Endpoint, error) {
	opts := []func(*config.LoadOptions) error{config.WithAppID(appID)}
	if o.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		opts = append(opts, config.WithRegion(o.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, err
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	cfg.HTTPClient = WholeAnswers{cfg.HTTPClient}
	if o.EndpointURL != "" {
		cfg.BaseEndpoint = &o.EndpointURL
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("no region: give --region or set AWS_REGION")
	}
	e := &Endpoint{ECR: ecr.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg), STS: sts.NewFromConfig(cfg), CloudTrail: cloudtrail.NewFromConfig(cfg), Region: cfg.Region}
	who, err := e.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, err
	}
	e.Account, e.Caller = aws.ToString(who.Account), aws.ToString(who.Arn)
	return e, nil
}
