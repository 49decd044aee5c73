package ecrapi

import (
	"fmt"
	"slices"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
)

// handlers is the table of what is served.
func (s *Server) handlers() []rpc.Handler[call] {
	return []rpc.Handler[call]{
		// repositories.go
		rpc.Op("CreateRepository", s.createRepository),
		rpc.Op("DeleteRepository", s.deleteRepository),
		rpc.Op("DescribeRepositories", s.describeRepositories),
		rpc.Op("PutImageTagMutability", s.putImageTagMutability),
		rpc.Op("PutImageScanningConfiguration", s.putImageScanningConfiguration),
		rpc.Op("TagResource", s.tagResource),
		rpc.Op("UntagResource", s.untagResource),
		rpc.Op("ListTagsForResource", s.listTagsForResource),

		// images.go
		rpc.Op("PutImage", s.putImage),
		rpc.Op("BatchGetImage", s.batchGetImage),
		rpc.Op("BatchDeleteImage", s.batchDeleteImage),
		rpc.Op("DescribeImages", s.describeImages),
		rpc.Op("ListImages", s.listImages),
		rpc.Op("ListImageReferrers", s.listImageReferrers),
		rpc.Op("UpdateImageStorageClass", s.updateImageStorageClass),

		// layers.go
		rpc.Op("BatchCheckLayerAvailability", s.batchCheckLayerAvailability),
		rpc.Op("GetDownloadUrlForLayer", s.getDownloadURLForLayer),
		rpc.Op("InitiateLayerUpload", s.initiateLayerUpload),
		rpc.Op("UploadLayerPart", s.uploadLayerPart),
		rpc.Op("CompleteLayerUpload", s.completeLayerUpload),

		// scanning.go
		rpc.Op("PutRegistryScanningConfiguration", s.putRegistryScanningConfiguration),
		rpc.Op("GetRegistryScanningConfiguration", s.getRegistryScanningConfiguration),
		rpc.Op("BatchGetRepositoryScanningConfiguration", s.batchGetRepositoryScanningConfiguration),
		rpc.Op("StartImageScan", s.startImageScan),
		rpc.Op("DescribeImageScanFindings", s.describeImageScanFindings),

		// auth.go
		rpc.Op("GetAuthorizationToken", s.getAuthorizationToken),

		// registry.go
		rpc.Op("GetAccountSetting", s.getAccountSetting),
		rpc.Op("PutAccountSetting", s.putAccountSetting),

		// replication.go
		rpc.Op("DescribeRegistry", s.describeRegistry),
		rpc.Op("PutReplicationConfiguration", s.putReplicationConfiguration),
		rpc.Op("DescribeImageReplicationStatus", s.describeImageReplicationStatus),
		rpc.Op("StartReplicationBackfill", s.startReplicationBackfill),
		rpc.Op("StopReplicationBackfill", s.stopReplicationBackfill),
		rpc.Op("DescribeReplicationBackfillResults", s.describeReplicationBackfillResults),
		rpc.Op("ListReplicationBackfills", s.listReplicationBackfills),

		// policies.go
		rpc.Op("SetRepositoryPolicy", s.setRepositoryPolicy),
		rpc.Op("GetRepositoryPolicy", s.getRepositoryPolicy),
		rpc.Op("DeleteRepositoryPolicy", s.deleteRepositoryPolicy),
		rpc.Op("PutRegistryPolicy", s.putRegistryPolicy),
		rpc.Op("GetRegistryPolicy", s.getRegistryPolicy),
		rpc.Op("DeleteRegistryPolicy", s.deleteRegistryPolicy),

		// lifecycle.go
		rpc.Op("PutLifecyclePolicy", s.putLifecyclePolicy),
		rpc.Op("GetLifecyclePolicy", s.getLifecyclePolicy),
		rpc.Op("DeleteLifecyclePolicy", s.deleteLifecyclePolicy),
		rpc.Op("StartLifecyclePolicyPreview", s.startLifecyclePolicyPreview),
		rpc.Op("GetLifecyclePolicyPreview", s.getLifecyclePolicyPreview),

		// templates.go
		rpc.Op("CreateRepositoryCreationTemplate", s.createTemplate),
		rpc.Op("UpdateRepositoryCreationTemplate", s.updateTemplate),
		rpc.Op("DeleteRepositoryCreationTemplate", s.deleteTemplate),
		rpc.Op("DescribeRepositoryCreationTemplates", s.describeTemplates),

		// pulltime.go
		rpc.Op("RegisterPullTimeUpdateExclusion", s.registerPullTimeExclusion),
		rpc.Op("DeregisterPullTimeUpdateExclusion", s.deregisterPullTimeExclusion),
		rpc.Op("ListPullTimeUpdateExclusions", s.listPullTimeExclusions),
	}
}

// notBuilt holds the operations of ECR that this version does not serve.
var notBuilt = [...]string{
	"CreatePullThroughCacheRule",
	"DeletePullThroughCacheRule",
	"DeleteSigningConfiguration",
	"DescribeImageSigningStatus",
	"DescribePullThroughCacheRules",
	"GetSigningConfiguration",
	"PutSigningConfiguration",
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
	p := ecr.Page{Token: rpc.Str(token)}
	if limit != nil {
		p.Limit = int(*limit)
	}
	return p
}
