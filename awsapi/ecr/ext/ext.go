// Package ext has the types of the operations that Ecru adds to ECR's API, in
// the form that the AWS SDK's have: one file a resource. Their model is in
// awsapi/ecr/ecru, one file a resource too.
//
// An operation is a row in Operations, types here, its model there, a handler in
// awsapi/ecr, and an action in iam.
package ext

import "reflect"

// An Operation has the name on the wire, and the types of input and output.
type Operation struct {
	Name    string
	In, Out reflect.Type
}

// Operations returns all operations.
func Operations() []Operation {
	return []Operation{
		// inuse.go
		operation[PutImagesInUseInput, PutImagesInUseOutput]("PutImagesInUse"),
		operation[ListImagesInUseInput, ListImagesInUseOutput]("ListImagesInUse"),
		operation[GetLifecycleGuardsInput, GetLifecycleGuardsOutput]("GetLifecycleGuards"),

		// scanning.go
		operation[PutImageScanFindingsOverrideInput, PutImageScanFindingsOverrideOutput]("PutImageScanFindingsOverride"),
		operation[ListImageScanFindingsOverridesInput, ListImageScanFindingsOverridesOutput]("ListImageScanFindingsOverrides"),
		operation[DeleteImageScanFindingsOverrideInput, DeleteImageScanFindingsOverrideOutput]("DeleteImageScanFindingsOverride"),
		operation[FindVulnerableImagesInput, FindVulnerableImagesOutput]("FindVulnerableImages"),
		operation[GetImageInventoryInput, GetImageInventoryOutput]("GetImageInventory"),
		operation[GetImageSbomInput, GetImageSbomOutput]("GetImageSbom"),

		// advisories.go
		operation[DescribeAdvisorySourcesInput, DescribeAdvisorySourcesOutput]("DescribeAdvisorySources"),
		operation[StartAdvisoryUpdateInput, StartAdvisoryUpdateOutput]("StartAdvisoryUpdate"),

		// lifecycle.go
		operation[RunLifecyclePolicyInput, RunLifecyclePolicyOutput]("RunLifecyclePolicy"),
		operation[DescribeLifecyclePolicyRunInput, DescribeLifecyclePolicyRunOutput]("DescribeLifecyclePolicyRun"),
		operation[ExplainLifecyclePolicyPreviewInput, ExplainLifecyclePolicyPreviewOutput]("ExplainLifecyclePolicyPreview"),
		operation[ListExpiredImagesInput, ListExpiredImagesOutput]("ListExpiredImages"),
		operation[RestoreExpiredImagesInput, RestoreExpiredImagesOutput]("RestoreExpiredImages"),
	}
}

func operation[In, Out any](name string) Operation {
	return Operation{name, reflect.TypeFor[In](), reflect.TypeFor[Out]()}
}
