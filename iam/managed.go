package iam

import "fmt"

// managedPrefix begins the ARN of every policy that AWS manages.
const managedPrefix = "arn:aws:iam::aws:policy/"

const (
	readActions = `"ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:GetRepositoryPolicy","ecr:DescribeRepositories",
		"ecr:ListImages","ecr:DescribeImages","ecr:BatchGetImage","ecr:GetLifecyclePolicy","ecr:GetLifecyclePolicyPreview",
		"ecr:ListTagsForResource","ecr:DescribeImageScanFindings"`
	allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[%s],"Resource":"*"}]}`
)

// ManagedARNs returns the ARNs of the AWS-managed policies for ECR, in order.
func ManagedARNs() []string {
	return []string{
		managedPrefix + "AmazonEC2ContainerRegistryFullAccess", managedPrefix + "AmazonEC2ContainerRegistryPowerUser",
		managedPrefix + "AmazonEC2ContainerRegistryPullOnly", managedPrefix + "AmazonEC2ContainerRegistryReadOnly",
	}
}

// ManagedDocument returns the text of an AWS-managed policy for ECR, by its
// ARN; ok is false for any other.
func ManagedDocument(arn string) (document string, ok bool) {
	actions := ""
	switch arn {
	case managedPrefix + "AmazonEC2ContainerRegistryFullAccess":
		return `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["ecr:*","cloudtrail:LookupEvents"],"Resource":"*"},
			{"Effect":"Allow","Action":["iam:CreateServiceLinkedRole"],"Resource":"*",
			 "Condition":{"StringEquals":{"iam:AWSServiceName":["replication.ecr.amazonaws.com"]}}}]}`, true
	case managedPrefix + "AmazonEC2ContainerRegistryPowerUser":
		actions = `"ecr:GetAuthorizationToken",` + readActions + `,"ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:PutImage"`
	case managedPrefix + "AmazonEC2ContainerRegistryReadOnly":
		actions = `"ecr:GetAuthorizationToken",` + readActions
	case managedPrefix + "AmazonEC2ContainerRegistryPullOnly":
		actions = `"ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchImportUpstreamImage"`
	default:
		return "", false
	}
	return fmt.Sprintf(allow, actions), true
}

// Managed returns an AWS-managed policy for ECR by its ARN, compiled.
func Managed(arn string) (*Policy, bool) {
	document, ok := ManagedDocument(arn)
	if !ok {
		return nil, false
	}
	p, err := Parse([]byte(document), Identity)
	return p, err == nil
}
