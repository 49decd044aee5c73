package ecr

import (
	"fmt"

	"github.com/ecruhq/ecru/iam"
)

// A Code says what kind of failure an Error is. Each edge maps every code to
// its own wire form, in a table.
type Code int

const (
	Internal Code = iota
	AccessDenied
	InvalidParameter
	Validation
	RepositoryNotFound
	RepositoryAlreadyExists
	RepositoryNotEmpty
	RepositoryPolicyNotFound
	RegistryPolicyNotFound
	LifecyclePolicyNotFound
	LifecyclePolicyPreviewNotFound
	LifecyclePolicyPreviewInProgress
	ScanNotFound
	UnsupportedImageType
	ImageIsArchived // it cannot be scanned
	OverrideNotFound
	ImageNotFound
	ImageAlreadyExists
	ImageTagAlreadyExists
	ImageDigestDoesNotMatch
	InvalidManifest
	StorageClassNotSupported // the image must stay in its storage class
	LayersNotFound
	ReferencedImagesNotFound
	LayerInaccessible
	LayerAlreadyExists
	LayerReferenced
	LayerPartTooSmall
	InvalidLayer
	InvalidLayerPart
	EmptyUpload
	UploadNotFound
	LimitExceeded
	InvalidTagParameter
	TooManyTags
	TemplateAlreadyExists
	TemplateNotFound
	ExclusionAlreadyExists
	ExclusionNotFound
	BackfillUnderWay // one for that destination's region
	BackfillNotFound
	BackfillInvalidStatus
	NoSuchEntity
	EntityAlreadyExists
	DeleteConflict
	MalformedPolicy
	PackedPolicyTooLarge
	InvalidIdentityToken
	ExpiredIdentityToken // of a web identity
	IdentityProviderUnreachable
	InvalidToken   // of a page
	InvalidMessage // no encoded authorization message of this server
	Throttled
	NotAuthenticated // no credentials
	BadCredentials   // unknown key, tampered token
	InvalidSignature // not the key's, or of another time, region or service
	ExpiredCredentials
	UnknownOperation
	Unavailable // shutting down, or a store cannot be reached

	NumCodes // not a code
)

// An Error is a failure that a caller may be told about.
type Error struct {
	Code    Code
	Message string         // safe to show
	Members map[string]any // further members of the wire form, by ECR's names; safe to show
	Err     error          // cause: logged, never shown
	Denial  *Denial        // what was refused, with AccessDenied by a policy
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// A Denial is what a policy refused, for who may decode it (STS API,
// DecodeAuthorizationMessage).
type Denial struct {
	Caller   Caller
	Action   string // ecr:PutImage
	Resource string // ARN or *
	Decision iam.Decision
}

// Denied returns the error of a decision that does not allow.
func Denied(c Caller, action, resource string, d iam.Decision) *Error {
	e := Errorf(AccessDenied, "User: %s is not authorized to perform: %s on resource: %s %s", c.ARN, action, resource, d.Reason())
	e.Denial = &Denial{c, action, resource, d}
	return e
}

// Errorf returns an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// InvalidParam returns ECR's InvalidParameter error for one constraint:
// Invalid parameter at 'Field' failed to satisfy constraint: 'c'.
func InvalidParam(field, constraint string) *Error {
	return Errorf(InvalidParameter, "Invalid parameter at '%s' failed to satisfy constraint: '%s'", field, constraint)
}
