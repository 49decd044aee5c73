package ociapi

import "github.com/ecruhq/ecru/ecr"

// operations are the kinds of requests by the operations of ECR's API that the
// audit trail names them after; "" is not recorded.
var operations = [numKinds]string{
	kindPing:           "",
	kindBlobGet:        "GetDownloadUrlForLayer",
	kindBlobHead:       "BatchCheckLayerAvailability",
	kindBlobDelete:     "BatchDeleteImage",
	kindManifestGet:    "BatchGetImage",
	kindManifestHead:   "BatchGetImage",
	kindManifestPut:    "PutImage",
	kindManifestDelete: "BatchDeleteImage",
	kindUploadStart:    "InitiateLayerUpload",
	kindUploadPatch:    "UploadLayerPart",
	kindUploadPut:      "CompleteLayerUpload",
	kindUploadStatus:   "UploadLayerPart",
	kindUploadCancel:   "CompleteLayerUpload",
	kindTags:           "ListImages",
	kindReferrers:      "ListImageReferrers",
	kindCatalog:        "DescribeRepositories",
}

// note notes what is asked for the audit trail.
func note(c *ecr.Caller, r request) {
	if c.Call == nil {
		return
	}
	c.Call.Name = operations[r.kind]
	c.Call.Repository.Name = r.name
	c.Call.Digest, c.Call.Tag, c.Call.Layer = r.ref.Digest, r.ref.Tag, r.digest
	if r.kind == kindReferrers {
		c.Call.Digest, c.Call.Layer = r.digest, ""
	}
}

// noteFailure notes the error that a call is answered with.
func noteFailure(c ecr.Caller, code, message string) {
	if c.Call != nil {
		c.Call.Fail(code, message)
	}
}
