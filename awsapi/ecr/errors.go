package ecrapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/ecruhq/ecru/ecr"
)

// An exception is how this API names a failure.
type exception struct {
	name   string
	status int
}

// exceptions maps the core's codes; TestEveryCode finds empty rows. Errors
// common to all AWS services have their documented status (ECR API, "Common
// Errors"), ECR's own have 400.
var exceptions = [ecr.NumCodes]exception{
	ecr.Internal:                    {"ServerException", 500},
	ecr.AccessDenied:                {"AccessDeniedException", 403},
	ecr.InvalidParameter:            {"InvalidParameterException", 400},
	ecr.Validation:                  {"ValidationException", 400},
	ecr.RepositoryNotFound:          {"RepositoryNotFoundException", 400},
	ecr.RepositoryAlreadyExists:     {"RepositoryAlreadyExistsException", 400},
	ecr.RepositoryNotEmpty:          {"RepositoryNotEmptyException", 400},
	ecr.RepositoryPolicyNotFound:    {"RepositoryPolicyNotFoundException", 400},
	ecr.RegistryPolicyNotFound:      {"RegistryPolicyNotFoundException", 400},
	ecr.LifecyclePolicyNotFound:     {"LifecyclePolicyNotFoundException", 400},
	ecr.ImageNotFound:               {"ImageNotFoundException", 400},
	ecr.ImageAlreadyExists:          {"ImageAlreadyExistsException", 400},
	ecr.ImageTagAlreadyExists:       {"ImageTagAlreadyExistsException", 400},
	ecr.ImageDigestDoesNotMatch:     {"ImageDigestDoesNotMatchException", 400},
	ecr.InvalidManifest:             {"InvalidParameterException", 400},
	ecr.LayersNotFound:              {"LayersNotFoundException", 400},
	ecr.ReferencedImagesNotFound:    {"ReferencedImagesNotFoundException", 400},
	ecr.LayerInaccessible:           {"LayerInaccessibleException", 400},
	ecr.LayerAlreadyExists:          {"LayerAlreadyExistsException", 400},
	ecr.LayerReferenced:             {"InvalidParameterException", 400}, // no operation of ECR deletes layers
	ecr.LayerPartTooSmall:           {"LayerPartTooSmallException", 400},
	ecr.InvalidLayer:                {"InvalidLayerException", 400},
	ecr.InvalidLayerPart:            {"InvalidLayerPartException", 400},
	ecr.EmptyUpload:                 {"EmptyUploadException", 400},
	ecr.UploadNotFound:              {"UploadNotFoundException", 400},
	ecr.LimitExceeded:               {"LimitExceededException", 400},
	ecr.InvalidTagParameter:         {"InvalidTagParameterException", 400},
	ecr.TooManyTags:                 {"TooManyTagsException", 400},
	ecr.TemplateAlreadyExists:       {"TemplateAlreadyExistsException", 400},
	ecr.TemplateNotFound:            {"TemplateNotFoundException", 400},
	ecr.ExclusionAlreadyExists:      {"ExclusionAlreadyExistsException", 400},
	ecr.ExclusionNotFound:           {"ExclusionNotFoundException", 400},
	ecr.NoSuchEntity:                {"InvalidParameterException", 400}, // IAM's: no operation here has them
	ecr.EntityAlreadyExists:         {"InvalidParameterException", 400},
	ecr.DeleteConflict:              {"InvalidParameterException", 400},
	ecr.MalformedPolicy:             {"InvalidParameterException", 400},
	ecr.PackedPolicyTooLarge:        {"InvalidParameterException", 400}, // STS's
	ecr.InvalidIdentityToken:        {"InvalidParameterException", 400},
	ecr.IdentityProviderUnreachable: {"InvalidParameterException", 400},
	ecr.Throttled:                   {"ThrottlingException", 400},
	ecr.NotAuthenticated:            {"MissingAuthenticationTokenException", 403},
	ecr.BadCredentials:              {"UnrecognizedClientException", 403},
	ecr.InvalidSignature:            {"InvalidSignatureException", 403},
	ecr.ExpiredCredentials:          {"ExpiredTokenException", 403},
	ecr.UnknownOperation:            {"UnknownOperationException", 404},
	ecr.Unavailable:                 {"ServiceUnavailable", 503},
}

const internalMessage = "An internal error occurred. The server's log has the details under the request ID."

// explain says how an error looks on the wire, and logs it if the caller may
// not know its details.
func (s *Server) explain(requestID string, err error) (name string, status int, message string, members map[string]any) {
	var wire *wireError
	if errors.As(err, &wire) {
		return wire.name, wire.status, wire.message, nil
	}
	e, known := errors.AsType[*ecr.Error](err)
	if !known || e.Code <= ecr.Internal || e.Code >= ecr.NumCodes {
		s.logFailure(requestID, slog.LevelError, err)
		return exceptions[ecr.Internal].name, http.StatusInternalServerError, internalMessage, nil
	}
	if e.Err != nil {
		level := slog.LevelDebug
		if e.Code == ecr.Unavailable {
			level = slog.LevelWarn
		}
		s.logFailure(requestID, level, err)
	}
	row := exceptions[e.Code]
	return row.name, row.status, e.Message, e.Members
}

func (s *Server) logFailure(requestID string, level slog.Level, err error) {
	if errors.Is(err, context.Canceled) {
		level = slog.LevelDebug // the client is gone
	}
	s.log.Log(context.Background(), level, "request failed", "request_id", requestID, "error", err)
}
