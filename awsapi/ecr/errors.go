package ecrapi

import (
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

// exceptions maps the core's codes; TestEveryCode finds empty rows. Errors
// common to all AWS services have their documented status (ECR API, "Common
// Errors"), ECR's own have 400.
var exceptions = rpc.Exceptions{
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
	ecr.ScanNotFound:                {"ScanNotFoundException", 400},
	ecr.UnsupportedImageType:        {"UnsupportedImageTypeException", 400},
	ecr.ImageIsArchived:             {"ImageArchivedException", 400},
	ecr.OverrideNotFound:            {"InvalidParameterException", 400},
	ecr.ImageNotFound:               {"ImageNotFoundException", 400},
	ecr.ImageAlreadyExists:          {"ImageAlreadyExistsException", 400},
	ecr.ImageTagAlreadyExists:       {"ImageTagAlreadyExistsException", 400},
	ecr.ImageDigestDoesNotMatch:     {"ImageDigestDoesNotMatchException", 400},
	ecr.InvalidManifest:             {"InvalidParameterException", 400},
	ecr.StorageClassNotSupported:    {"ImageStorageClassUpdateNotSupportedException", 400},
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
	ecr.BackfillUnderWay:            {"ReplicationBackfillInProgressException", 400},
	ecr.BackfillNotFound:            {"ReplicationBackfillNotFoundException", 400},
	ecr.BackfillInvalidStatus:       {"ReplicationBackfillInvalidStatusException", 400},
	ecr.NoSuchEntity:                {"InvalidParameterException", 400}, // IAM's: no operation here has them
	ecr.EntityAlreadyExists:         {"InvalidParameterException", 400},
	ecr.DeleteConflict:              {"InvalidParameterException", 400},
	ecr.MalformedPolicy:             {"InvalidParameterException", 400},
	ecr.PackedPolicyTooLarge:        {"InvalidParameterException", 400}, // STS's
	ecr.InvalidIdentityToken:        {"InvalidParameterException", 400},
	ecr.ExpiredIdentityToken:        {"InvalidParameterException", 400},
	ecr.IdentityProviderUnreachable: {"InvalidParameterException", 400},
	ecr.InvalidToken:                {"InvalidParameterException", 400},
	ecr.InvalidMessage:              {"InvalidParameterException", 400},
	ecr.Throttled:                   {"ThrottlingException", 400},
	ecr.NotAuthenticated:            {"MissingAuthenticationTokenException", 403},
	ecr.BadCredentials:              {"UnrecognizedClientException", 403},
	ecr.InvalidSignature:            {"InvalidSignatureException", 403},
	ecr.ExpiredCredentials:          {"ExpiredTokenException", 403},
	ecr.UnknownOperation:            {"UnknownOperationException", 404},
	ecr.Unavailable:                 {"ServiceUnavailable", 503},

	ecr.LifecyclePolicyPreviewNotFound:   {"LifecyclePolicyPreviewNotFoundException", 400},
	ecr.LifecyclePolicyPreviewInProgress: {"LifecyclePolicyPreviewInProgressException", 400},
}
