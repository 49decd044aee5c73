package iam

import (
	"slices"
	"strings"
)

// Access levels of actions (Service Authorization Reference, "Access levels in
// policy summaries").
const (
	LevelList        = "List"
	LevelRead        = "Read"
	LevelWrite       = "Write"
	LevelTagging     = "Tagging"
	LevelPermissions = "Permissions management"
)

// An Action is something that a policy can name.
type Action struct {
	Name       string // ecr:PutImage
	Level      string
	Repository bool // it takes the resource type repository; else it takes * alone
}

// Actions returns the actions of Amazon ECR and of Ecru's own operations beside
// them, sorted by name. The slice is the caller's.
func Actions() []Action {
	all := append(ecrActions(), Extensions()...)
	slices.SortFunc(all, func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Extensions returns the actions that Ecru has and ECR has not, sorted by name.
func Extensions() []Action {
	return []Action{
		{"ecr:DeleteImageScanFindingsOverride", LevelWrite, true},
		{"ecr:DescribeAdvisorySources", LevelList, false},
		{"ecr:DescribeLifecyclePolicyRun", LevelRead, true},
		{"ecr:ExplainLifecyclePolicyPreview", LevelRead, true},
		{"ecr:FindVulnerableImages", LevelList, false},
		{"ecr:GetImageInventory", LevelRead, true},
		{"ecr:GetImageSbom", LevelRead, true},
		{"ecr:GetLifecycleGuards", LevelRead, true},
		{"ecr:ListExpiredImages", LevelList, true},
		{"ecr:ListImageScanFindingsOverrides", LevelList, true},
		{"ecr:ListImagesInUse", LevelList, false},
		{"ecr:PutImageScanFindingsOverride", LevelWrite, true},
		{"ecr:PutImagesInUse", LevelWrite, false},
		{"ecr:RestoreExpiredImages", LevelWrite, true},
		{"ecr:RunLifecyclePolicy", LevelWrite, true},
		{"ecr:StartAdvisoryUpdate", LevelWrite, false},
	}
}

// ecrActions are those of ECR (Service Authorization Reference, "Actions,
// resources, and condition keys for Amazon Elastic Container Registry").
// ListImageReferrers is none of them: it asks for BatchGetImage. Those of
// backfills are taken to be named after their operations, which are newer.
func ecrActions() []Action {
	return []Action{
		{"ecr:BatchCheckLayerAvailability", LevelRead, true},
		{"ecr:BatchDeleteImage", LevelWrite, true},
		{"ecr:BatchGetImage", LevelRead, true},
		{"ecr:BatchGetRepositoryScanningConfiguration", LevelRead, true},
		{"ecr:BatchImportUpstreamImage", LevelWrite, true},
		{"ecr:CompleteLayerUpload", LevelWrite, true},
		{"ecr:CreatePullThroughCacheRule", LevelWrite, false},
		{"ecr:CreateRepository", LevelWrite, true},
		{"ecr:CreateRepositoryCreationTemplate", LevelWrite, false},
		{"ecr:DeleteLifecyclePolicy", LevelWrite, true},
		{"ecr:DeletePullThroughCacheRule", LevelWrite, false},
		{"ecr:DeleteRegistryPolicy", LevelPermissions, false},
		{"ecr:DeleteRepository", LevelWrite, true},
		{"ecr:DeleteRepositoryCreationTemplate", LevelWrite, false},
		{"ecr:DeleteRepositoryPolicy", LevelPermissions, true},
		{"ecr:DeleteSigningConfiguration", LevelWrite, false},
		{"ecr:DeregisterPullTimeUpdateExclusion", LevelWrite, false},
		{"ecr:DescribeImageReplicationStatus", LevelRead, true},
		{"ecr:DescribeImageScanFindings", LevelRead, true},
		{"ecr:DescribeImageSigningStatus", LevelRead, true},
		{"ecr:DescribeImages", LevelList, true},
		{"ecr:DescribePullThroughCacheRules", LevelList, false},
		{"ecr:DescribeRegistry", LevelRead, false},
		{"ecr:DescribeReplicationBackfillResults", LevelRead, false},
		{"ecr:DescribeRepositories", LevelRead, true},
		{"ecr:DescribeRepositoryCreationTemplates", LevelRead, false},
		{"ecr:GetAccountSetting", LevelRead, false},
		{"ecr:GetAuthorizationToken", LevelRead, false},
		{"ecr:GetDownloadUrlForLayer", LevelRead, true},
		{"ecr:GetImageCopyStatus", LevelRead, true},
		{"ecr:GetLifecyclePolicy", LevelRead, true},
		{"ecr:GetLifecyclePolicyPreview", LevelRead, true},
		{"ecr:GetRegistryPolicy", LevelRead, false},
		{"ecr:GetRegistryScanningConfiguration", LevelRead, false},
		{"ecr:GetRepositoryPolicy", LevelRead, true},
		{"ecr:GetSigningConfiguration", LevelRead, false},
		{"ecr:InitiateLayerUpload", LevelWrite, true},
		{"ecr:ListImages", LevelList, true},
		{"ecr:ListPullTimeUpdateExclusions", LevelList, false},
		{"ecr:ListReplicationBackfills", LevelList, false},
		{"ecr:ListTagsForResource", LevelRead, true},
		{"ecr:PutAccountSetting", LevelWrite, false},
		{"ecr:PutImage", LevelWrite, true},
		{"ecr:PutImageScanningConfiguration", LevelWrite, true},
		{"ecr:PutImageTagMutability", LevelWrite, true},
		{"ecr:PutLifecyclePolicy", LevelWrite, true},
		{"ecr:PutRegistryPolicy", LevelPermissions, false},
		{"ecr:PutRegistryScanningConfiguration", LevelWrite, false},
		{"ecr:PutReplicationConfiguration", LevelWrite, false},
		{"ecr:PutSigningConfiguration", LevelWrite, false},
		{"ecr:RegisterPullTimeUpdateExclusion", LevelWrite, false},
		{"ecr:ReplicateImage", LevelWrite, true},
		{"ecr:SetRepositoryPolicy", LevelPermissions, true},
		{"ecr:StartImageScan", LevelWrite, true},
		{"ecr:StartLifecyclePolicyPreview", LevelWrite, true},
		{"ecr:StartReplicationBackfill", LevelWrite, false},
		{"ecr:StopReplicationBackfill", LevelWrite, false},
		{"ecr:TagResource", LevelTagging, true},
		{"ecr:UntagResource", LevelTagging, true},
		{"ecr:UpdateImageStorageClass", LevelWrite, true},
		{"ecr:UpdatePullThroughCacheRule", LevelWrite, false},
		{"ecr:UpdateRepositoryCreationTemplate", LevelWrite, false},
		{"ecr:UploadLayerPart", LevelWrite, true},
		{"ecr:ValidatePullThroughCacheRule", LevelRead, false},
	}
}

// stsActions are those of STS that a trust policy or an identity policy names.
func stsActions() []string {
	return []string{
		"sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity", "sts:AssumeRoot",
		"sts:DecodeAuthorizationMessage", "sts:GetAccessKeyInfo", "sts:GetCallerIdentity", "sts:GetFederationToken",
		"sts:GetServiceBearerToken", "sts:GetSessionToken", "sts:SetContext", "sts:SetSourceIdentity", "sts:TagSession",
	}
}

// Matches reports whether an Action element's pattern takes in an action. *
// and ? are wildcards; case does not matter.
func Matches(pattern, action string) bool {
	p := parsePattern(pattern, false)
	return p.matches(nil, action, true)
}

// nearest returns the name among names that s was likely meant to be: one that
// ends in it, as BatchGetImage does in GetImage, or else the fewest edits from
// it, within a third of its length; "" if there is none. Case does not count.
func nearest(s string, names []string) string {
	s = strings.ToLower(s)
	_, bare, _ := strings.Cut(s, ":")
	best, least := "", len(s)/3+1
	for _, n := range names {
		lower := strings.ToLower(n)
		if len(bare) >= len("GetImage") && strings.HasSuffix(lower, bare) {
			return n
		}
		if abs(len(n)-len(s)) >= least {
			continue
		}
		if d := edits(s, lower); d < least {
			best, least = n, d
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// edits is how many bytes must be put in, taken out, replaced or swapped with
// their neighbour to make b of a.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
