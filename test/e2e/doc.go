// Package e2e drives a running Ecru with the clients that people use: aws, boto3, docker, podman, skopeo, the AWS SDK.
package e2e
