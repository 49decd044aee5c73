package advisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// targetPrefix is what stands before the dot in X-Amz-Target.
const targetPrefix = "AmazonEC2ContainerRegistry_V20150921."

// Call calls an operation of Ecru's own, one of ext.Operations, on the endpoint
// of ECR, with the credentials and the retries of its client. in and out point
// at the operation's types. Errors are as of the SDK's client: a smithy.APIError
// has the code and the message. Where the endpoint does not have the operation,
// the error says so.
func (e *Endpoint) Call(ctx context.Context, op string, in, out any) error {
	o := e.ECR.Options()
	err := call(ctx, &o, op, in, out)
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "UnknownOperationException" {
		return e.notHad(ctx, &o, op, err)
	}
	if err != nil {
		return &smithy.OperationError{ServiceID: "ECR", OperationName: op, Err: err}
	}
	return nil
}

// notHad explains why an endpoint does not know an operation of Ecru's.
func (e *Endpoint) notHad(ctx context.Context, o *ecr.Options, op string, err error) error {
	url, resolved := address(ctx, o)
	if resolved != nil {
		return resolved
	}
	host := strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://")
	for _, aws := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"} {
		if strings.HasSuffix(strings.TrimSuffix(host, "/"), aws) {
			return fmt.Errorf("%s is an operation of Ecru's, and %s is AWS ECR: set AWS_ENDPOINT_URL or --endpoint-url to an Ecru server (%w)", op, host, err)
		}
	}
	return fmt.Errorf("%s is an operation of Ecru's that the server at %s does not have: it is an older Ecru, or something else (%w)", op, host, err)
}

func address(ctx context.Context, o *ecr.Options) (string, error) {
	at, err := o.EndpointResolverV2.ResolveEndpoint(ctx, ecr.EndpointParameters{Region: &o.Region, Endpoint: o.BaseEndpoint})
	if err != nil {
		return "", err
	}
	return at.URI.String(), nil
}

// call makes a call as often as the client's retryer says.
func call(ctx context.Context, o *ecr.Options, op string, in, out any) error {
	url, err := address(ctx, o)
	if err != nil {
		return err
	}
	body, err := encode(in)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		answer, err := send(ctx, o, url, op, body)
		if err == nil {
			return decode(answer, out)
		}
		if ctx.Err() != nil || attempt >= o.Retryer.MaxAttempts() || !o.Retryer.IsErrorRetryable(err) {
			return err
		}
		wait, err2 := o.Retryer.RetryDelay(attempt, err)
		if err2 != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// send makes one attempt at a call and returns the answer's body.
func send(ctx context.Context, o *ecr.Options, url, op string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", targetPrefix+op)
	r.Header.Set("User-Agent", "ecru")
	if o.Credentials == nil {
		return nil, errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile")
	}
	creds, err := o.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, creds, r, hex.EncodeToString(sum[:]), "ecr", o.Region, time.Now()); err != nil {
		return nil, err
	}
	res, err := o.HTTPClient.Do(r)
	if err != nil {
		return nil, &smithyhttp.RequestSendError{Err: err}
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return answer, nil
	}
	return nil, failure(res, answer)
}

// failure is what an answer that is none means.
func failure(res *http.Response, answer []byte) error {
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	api := &smithy.GenericAPIError{Code: "UnknownError", Message: http.StatusText(res.StatusCode)}
	if json.Unmarshal(answer, &e) == nil && e.Type != "" {
		api.Code, api.Message = e.Type[strings.LastIndexByte(e.Type, '#')+1:], e.Message
	}
	if res.StatusCode >= 500 {
		api.Fault = smithy.FaultServer
	} else {
		api.Fault = smithy.FaultClient
	}
	return &awshttp.ResponseError{
		RequestID:     res.Header.Get("X-Amzn-Requestid"),
		ResponseError: &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: res}, Err: api},
	}
}
