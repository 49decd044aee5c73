package ecrapi

import (
	"embed"
	"io/fs"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/awswire"
)

// own has the model of the operations of Ecru's own, in the format of ECR's:
// one file a resource. Their types are in awsapi/ecr/ext.
//
//go:embed ecru/*.json
var own embed.FS

// extensions is the table of the operations that ECR does not have.
func (s *Server) extensions() []rpc.Handler[call] {
	return []rpc.Handler[call]{
		// inuse.go
		rpc.Op("PutImagesInUse", s.putImagesInUse),
		rpc.Op("ListImagesInUse", s.listImagesInUse),
		rpc.Op("GetLifecycleGuards", s.getLifecycleGuards),

		// overrides.go
		rpc.Op("PutImageScanFindingsOverride", s.putImageScanFindingsOverride),
		rpc.Op("ListImageScanFindingsOverrides", s.listImageScanFindingsOverrides),
		rpc.Op("DeleteImageScanFindingsOverride", s.deleteImageScanFindingsOverride),

		// inventories.go
		rpc.Op("FindVulnerableImages", s.findVulnerableImages),
		rpc.Op("GetImageInventory", s.getImageInventory),
		rpc.Op("GetImageSbom", s.getImageSBOM),

		// advisories.go
		rpc.Op("DescribeAdvisorySources", s.describeAdvisorySources),
		rpc.Op("StartAdvisoryUpdate", s.startAdvisoryUpdate),

		// lifecycle.go
		rpc.Op("RunLifecyclePolicy", s.runLifecyclePolicy),
		rpc.Op("DescribeLifecyclePolicyRun", s.describeLifecyclePolicyRun),
		rpc.Op("ExplainLifecyclePolicyPreview", s.explainLifecyclePolicyPreview),
		rpc.Op("ListExpiredImages", s.listExpiredImages),
		rpc.Op("RestoreExpiredImages", s.restoreExpiredImages),
	}
}

func extensionDocs() (docs [][]byte, err error) {
	err = fs.WalkDir(own, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		doc, err := own.ReadFile(path)
		docs = append(docs, doc)
		return err
	})
	return docs, err
}

// Extras returns what the AWS CLI and boto3 must know of the operations of
// Ecru's own, as files by their name in the folder ecr/2015-09-21 of a
// AWS_DATA_PATH.
func Extras() (map[string][]byte, error) {
	docs, err := extensionDocs()
	if err != nil {
		return nil, err
	}
	return awswire.Extras(docs...)
}
