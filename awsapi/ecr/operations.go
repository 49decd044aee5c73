package ecrapi

import (
	"fmt"
	"slices"

	"github.com/ecruhq/ecru/ecr"
)

// handlers is the table of what is served.
func (s *Server) handlers() []handler {
	return []handler{
		// repositories.go
		op("CreateRepository", s.createRepository),
		op("DeleteRepository", s.deleteRepository),
		op("DescribeRepositories", s.describeRepositories),
		op("PutImageTagMutability", s.putImageTagMutability),
		op("PutImageScanningConfiguration", s.putImageScanningConfiguration),
		op("TagResource", s.tagResource),
		op("UntagResource", s.untagResource),
		op("ListTagsForResource", s.listTagsForResource),

		// images.go
		op("PutImage", s.putImage),
		op("BatchGetImage", s.batchGetImage),
		op("BatchDeleteImage", s.batchDeleteImage),
		op("DescribeImages", s.describeImages),
		op("ListImages", s.listImages),
		op("ListImageReferrers", s.listImageReferrers),

		// layers.go
		op("BatchCheckLayerAvailability", s.batchCheckLayerAvailability),
		op("GetDownloadUrlForLayer", s.getDownloadURLForLayer),
		op("InitiateLayerUpload", s.initiateLayerUpload),
		op("UploadLayerPart", s.uploadLayerPart),
		op("CompleteLayerUpload", s.completeLayerUpload),

		// auth.go
		op("GetAuthorizationToken", s.getAuthorizationToken),

		// registry.go
		op("DescribeRegistry", s.describeRegistry),
		op("GetAccountSetting", s.getAccountSetting),
		op("PutAccountSetting", s.putAccountSetting),

		// policies.go
		op("SetRepositoryPolicy", s.setRepositoryPolicy),
		op("GetRepositoryPolicy", s.getRepositoryPolicy),
		op("DeleteRepositoryPolicy", s.deleteRepositoryPolicy),
		op("PutRegistryPolicy", s.putRegistryPolicy),
		op("GetRegistryPolicy", s.getRegistryPolicy),
		op("DeleteRegistryPolicy", s.deleteRegistryPolicy),

		// templates.go
		op("CreateRepositoryCreationTemplate", s.createTemplate),
		op("UpdateRepositoryCreationTemplate", s.updateTemplate),
		op("DeleteRepositoryCreationTemplate", s.deleteTemplate),
		op("DescribeRepositoryCreationTemplates", s.describeTemplates),

		// pulltime.go
		op("RegisterPullTimeUpdateExclusion", s.registerPullTimeExclusion),
		op("DeregisterPullTimeUpdateExclusion", s.deregisterPullTimeExclusion),
		op("ListPullTimeUpdateExclusions", s.listPullTimeExclusions),
	}
}

// notBuilt holds the operations of ECR that this version does not serve.
var notBuilt = [...]string{
	"BatchGetRepositoryScanningConfiguration",
	"CreatePullThroughCacheRule",
	"DeleteLifecyclePolicy",
	"DeletePullThroughCacheRule",
	"DeleteSigningConfiguration",
	"DescribeImageReplicationStatus",
	"DescribeImageScanFindings",
	"DescribeImageSigningStatus",
	"DescribePullThroughCacheRules",
	"DescribeReplicationBackfillResults",
	"GetLifecyclePolicy",
	"GetLifecyclePolicyPreview",
	"GetRegistryScanningConfiguration",
	"GetSigningConfiguration",
	"ListReplicationBackfills",
	"PutLifecyclePolicy",
	"PutRegistryScanningConfiguration",
	"PutReplicationConfiguration",
	"PutSigningConfiguration",
	"StartImageScan",
	"StartLifecyclePolicyPreview",
	"StartReplicationBackfill",
	"StopReplicationBackfill",
	"UpdateImageStorageClass",
	"UpdatePullThroughCacheRule",
	"ValidatePullThroughCacheRule",
}

// unknown is the error of an operation that is not served.
func unknown(action string) error {
	if slices.Contains(notBuilt[:], action) {
		return ecr.Errorf(ecr.UnknownOperation, "The operation %s is not built yet in this version of Ecru.", action)
	}
	if len(action) > 64 {
		action = action[:64] + "…"
	}
	return ecr.Errorf(ecr.UnknownOperation, "ECR has no operation %q.", action)
}

// exclusive refuses paging together with a list of names, which is the
// member called list.
func exclusive[T any](list string, names []T, token *string, limit *int32) error {
	why := fmt.Sprintf("Member must be null when %s is given", list)
	switch {
	case len(names) == 0:
		return nil
	case token != nil:
		return ecr.InvalidParam("nextToken", why)
	case limit != nil:
		return ecr.InvalidParam("maxResults", why)
	}
	return nil
}

// page is the part of a list that a request asks for.
func page(token *string, limit *int32) ecr.Page {
	p := ecr.Page{Token: str(token)}
	if limit != nil {
		p.Limit = int(*limit)
	}
	return p
}

// str is a member's value, or "" if it is absent.
func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// opt is a member that is left out when it is empty.
func opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// each turns a list into another, never nil: an empty list is sent as one.
func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}

// A wireError is a failure below the API: the request is not in its form.
type wireError struct {
	name    string
	status  int
	message string
}

func (e *wireError) Error() string { return e.name + ": " + e.message }
