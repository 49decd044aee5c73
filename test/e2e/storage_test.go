package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/test/harness"
)

// TestStorageClass archives an image and restores it, by the SDK: Debian's aws
// and boto3 are older than the operation.
func TestStorageClass(t *testing.T) {
	s := harness.New(t)
	createRepository(t, s, "team/app")
	reg := root(t, s)
	digest := pushSmall(t, reg, "team/app", "v1", "to archive")
	set := func(class types.TargetStorageClass) types.ImageStatus {
		t.Helper()
		out, err := s.Root().UpdateImageStorageClass(t.Context(), &ecr.UpdateImageStorageClassInput{RepositoryName: aws.String("team/app"),
			ImageId: &types.ImageIdentifier{ImageTag: aws.String("v1")}, TargetStorageClass: class})
		return must(t, out, err).ImageStatus
	}
	equal(t, "archived", set(types.TargetStorageClassArchive), types.ImageStatusArchived)
	if _, _, err := reg.PullImage(t.Context(), "team/app", "v1"); err == nil || !strings.Contains(err.Error(), "is archived") {
		t.Errorf("a pull of what is archived: %v", err)
	}
	batch, err := s.Root().BatchGetImage(t.Context(), &ecr.BatchGetImageInput{RepositoryName: aws.String("team/app"), ImageIds: []types.ImageIdentifier{{ImageDigest: &digest}}})
	if must(t, batch, err); len(batch.Failures) != 1 || batch.Failures[0].FailureCode != types.ImageFailureCodeImageInaccessible {
		t.Errorf("BatchGetImage: %+v", batch.Failures)
	}
	list, err := s.Root().DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("team/app"), ImageIds: []types.ImageIdentifier{{ImageDigest: &digest}}})
	if must(t, list, err); len(list.ImageDetails) != 1 || list.ImageDetails[0].LastArchivedAt == nil {
		t.Errorf("DescribeImages: %+v", list.ImageDetails)
	}
	equal(t, "restored", set(types.TargetStorageClassStandard), types.ImageStatusActive)
	got, _, err := reg.PullImage(t.Context(), "team/app", "v1")
	equal(t, "pulled", must(t, got, err), digest)
}
