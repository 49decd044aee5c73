package ociapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/ecruhq/ecru/ecr"
)

// A failure is how an error looks on the wire (OCI Distribution 1.1, "Error
// Codes", and ECR's own choices where those are known).
type failure struct {
	status int
	code   string
}

// failures has a row for every code of the core; TestEveryCode finds empty
// ones. Rows of errors that no request to /v2/ can have are for completeness.
var failures = [ecr.NumCodes]failure{
	ecr.Internal:                    {500, "UNKNOWN"},
	ecr.AccessDenied:                {403, "DENIED"},
	ecr.InvalidParameter:            {405, "UNSUPPORTED"},
	ecr.Validation:                  {400, "UNSUPPORTED"},
	ecr.RepositoryNotFound:          {404, "NAME_UNKNOWN"},
	ecr.RepositoryAlreadyExists:     {400, "NAME_INVALID"},
	ecr.RepositoryNotEmpty:          {400, "UNSUPPORTED"},
	ecr.RepositoryPolicyNotFound:    {404, "UNSUPPORTED"},
	ecr.RegistryPolicyNotFound:      {404, "UNSUPPORTED"},
	ecr.LifecyclePolicyNotFound:     {404, "UNSUPPORTED"},
	ecr.ScanNotFound:                {404, "UNSUPPORTED"},
	ecr.UnsupportedImageType:        {400, "UNSUPPORTED"},
	ecr.ImageIsArchived:             {400, "UNSUPPORTED"},
	ecr.OverrideNotFound:            {404, "UNSUPPORTED"},
	ecr.ImageNotFound:               {404, "MANIFEST_UNKNOWN"},
	ecr.ImageAlreadyExists:          {400, "TAG_INVALID"},
	ecr.ImageTagAlreadyExists:       {400, "TAG_INVALID"},
	ecr.ImageDigestDoesNotMatch:     {400, "DIGEST_INVALID"},
	ecr.InvalidManifest:             {400, "MANIFEST_INVALID"},
	ecr.StorageClassNotSupported:    {400, "UNSUPPORTED"},
	ecr.LayersNotFound:              {404, "BLOB_UNKNOWN"},
	ecr.ReferencedImagesNotFound:    {404, "MANIFEST_BLOB_UNKNOWN"},
	ecr.LayerInaccessible:           {404, "BLOB_UNKNOWN"},
	ecr.LayerAlreadyExists:          {400, "BLOB_UPLOAD_INVALID"},
	ecr.LayerReferenced:             {405, "UNSUPPORTED"},
	ecr.LayerPartTooSmall:           {400, "BLOB_UPLOAD_INVALID"},
	ecr.InvalidLayer:                {400, "DIGEST_INVALID"},
	ecr.InvalidLayerPart:            {416, "BLOB_UPLOAD_INVALID"},
	ecr.EmptyUpload:                 {400, "BLOB_UPLOAD_INVALID"},
	ecr.UploadNotFound:              {404, "BLOB_UPLOAD_UNKNOWN"},
	ecr.LimitExceeded:               {413, "SIZE_INVALID"},
	ecr.InvalidTagParameter:         {400, "UNSUPPORTED"},
	ecr.TooManyTags:                 {400, "UNSUPPORTED"},
	ecr.TemplateAlreadyExists:       {400, "UNSUPPORTED"},
	ecr.TemplateNotFound:            {404, "UNSUPPORTED"},
	ecr.ExclusionAlreadyExists:      {400, "UNSUPPORTED"},
	ecr.ExclusionNotFound:           {404, "UNSUPPORTED"},
	ecr.BackfillUnderWay:            {400, "UNSUPPORTED"},
	ecr.BackfillNotFound:            {404, "UNSUPPORTED"},
	ecr.BackfillInvalidStatus:       {400, "UNSUPPORTED"},
	ecr.NoSuchEntity:                {404, "UNSUPPORTED"},
	ecr.EntityAlreadyExists:         {400, "UNSUPPORTED"},
	ecr.DeleteConflict:              {400, "UNSUPPORTED"},
	ecr.MalformedPolicy:             {400, "UNSUPPORTED"},
	ecr.PackedPolicyTooLarge:        {400, "UNSUPPORTED"},
	ecr.InvalidIdentityToken:        {401, "UNAUTHORIZED"},
	ecr.ExpiredIdentityToken:        {401, "UNAUTHORIZED"},
	ecr.IdentityProviderUnreachable: {503, "UNAVAILABLE"},
	ecr.InvalidToken:                {400, "UNSUPPORTED"},
	ecr.InvalidMessage:              {400, "UNSUPPORTED"},
	ecr.Throttled:                   {429, "TOOMANYREQUESTS"},
	ecr.NotAuthenticated:            {401, "UNAUTHORIZED"},
	ecr.BadCredentials:              {401, "UNAUTHORIZED"},
	ecr.InvalidSignature:            {401, "UNAUTHORIZED"},
	ecr.ExpiredCredentials:          {403, "DENIED"},
	ecr.UnknownOperation:            {404, "UNSUPPORTED"},
	ecr.Unavailable:                 {503, "UNAVAILABLE"},

	ecr.LifecyclePolicyPreviewNotFound:   {404, "UNSUPPORTED"},
	ecr.LifecyclePolicyPreviewInProgress: {400, "UNSUPPORTED"},
}

// fail answers a request that failed. What the caller may not know is logged,
// once, with the request ID.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, c ecr.Caller, err error) {
	var known *ecr.Error
	var route *routeError
	switch {
	case errors.As(err, &route):
		if route.allow != "" {
			w.Header().Set("Allow", route.allow)
		}
		noteFailure(c, route.code, route.message)
		writeError(w, r, failure{route.status, route.code}, route.message)
	case errors.As(err, &known) && known.Code > ecr.Internal && known.Code < ecr.NumCodes:
		s.failKnown(w, r, c, known)
	default:
		level := slog.LevelError
		if r.Context().Err() != nil {
			level = slog.LevelDebug // the client has gone
		}
		s.opt.Log.Log(r.Context(), level, "request failed", "request_id", c.RequestID, "method", r.Method, "path", r.URL.Path, "error", err)
		noteFailure(c, failures[ecr.Internal].code, "internal error")
		writeError(w, r, failures[ecr.Internal], "internal error; the server's log has more under request ID "+c.RequestID)
	}
}

func (s *Server) failKnown(w http.ResponseWriter, r *http.Request, c ecr.Caller, e *ecr.Error) {
	row := failures[e.Code]
	code := row.code
	if e.Code == ecr.AccessDenied {
		code = "AccessDenied"
	}
	noteFailure(c, code, e.Message)
	if e.Err != nil {
		s.opt.Log.Debug("request refused", "request_id", c.RequestID, "error", e.Err)
	}
	if e.Denial != nil && s.opt.Deny != nil {
		w.Header().Set("X-Ecru-Authorization-Message", s.opt.Deny(e.Denial))
	}
	message := e.Message
	switch e.Code {
	case ecr.NotAuthenticated, ecr.BadCredentials:
		scheme := "http"
		if r.TLS != nil || c.TLS {
			scheme = "https"
		}
		w.Header().Set("Www-Authenticate", `Basic realm=`+strconv.Quote(scheme+"://"+r.Host+"/")+`,service="ecr.amazonaws.com"`)
		if e.Code == ecr.NotAuthenticated {
			h := w.Header()
			h.Set("Content-Type", "text/plain; charset=utf-8")
			h.Set("Content-Length", strconv.Itoa(len("Not Authorized\n")))
			w.WriteHeader(row.status)
			if r.Method != http.MethodHead {
				w.Write([]byte("Not Authorized\n"))
			}
			return
		}
	case ecr.ImageNotFound:
		if e.Err == nil { // else there is more to say: it is archived
			message = "Requested image not found"
		}
	}
	writeError(w, r, row, message)
}

// errorBody is OCI Distribution 1.1's, "Error Codes".
type errorBody struct {
	Errors []errorItem `json:"errors"`
}

type errorItem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func writeError(w http.ResponseWriter, r *http.Request, f failure, message string) {
	writeJSON(w, r, f.status, "application/json; charset=utf-8", errorBody{[]errorItem{{f.code, message}}})
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // not with the types that come here
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	b = append(b, '\n')
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}
