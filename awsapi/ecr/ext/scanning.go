package ext

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

type PutImageScanFindingsOverrideInput struct {
	RegistryId      *string
	RepositoryName  *string
	ImageDigest     *string
	FindingArn      *string
	VulnerabilityId *string
	PackageName     *string
	Path            *string
	Override        string
	Description     *string
	ExpiresAt       *time.Time
}

type PutImageScanFindingsOverrideOutput struct {
	ImageScanFindingsOverride *ImageScanFindingsOverride
}

type ListImageScanFindingsOverridesInput struct {
	RegistryId      *string
	RepositoryName  *string
	ImageDigest     *string
	VulnerabilityId *string
	NextToken       *string
	MaxResults      *int32
}

type ListImageScanFindingsOverridesOutput struct {
	ImageScanFindingsOverrides []ImageScanFindingsOverride
	NextToken                  *string
}

type DeleteImageScanFindingsOverrideInput struct {
	RegistryId *string
	OverrideId *string
}

type DeleteImageScanFindingsOverrideOutput struct {
	ImageScanFindingsOverride *ImageScanFindingsOverride
}

type ImageScanFindingsOverride struct {
	OverrideId      *string
	RegistryId      *string
	RepositoryName  *string
	ImageDigest     *string
	VulnerabilityId *string
	PackageName     *string
	Path            *string
	Override        string
	Description     *string
	Author          *string
	CreatedAt       *time.Time
	ExpiresAt       *time.Time
	Status          string
}

type FindVulnerableImagesInput struct {
	RegistryId      *string
	VulnerabilityId *string
	PackageName     *string
	Ecosystem       *string
	VersionRange    *string
	NextToken       *string
	MaxResults      *int32
}

type FindVulnerableImagesOutput struct {
	Images    []VulnerableImage
	NextToken *string
}

type VulnerableImage struct {
	RegistryId           *string
	RepositoryName       *string
	RepositoryTags       []types.Tag
	ImageDigest          *string
	ImageTags            []string
	ImagePushedAt        *time.Time
	LastRecordedPullTime *time.Time
	BaseImage            *string
	Packages             []VulnerableImagePackage
}

type VulnerableImagePackage struct {
	Name            *string
	Version         *string
	PackageManager  *string
	FilePath        *string
	SourceLayerHash *string
	Severity        *string
	FixedInVersion  *string
	Suppressed      *bool
}

type GetImageInventoryInput struct {
	RegistryId     *string
	RepositoryName *string
	ImageId        *types.ImageIdentifier
	NextToken      *string
	MaxResults     *int32
}

type GetImageInventoryOutput struct {
	RegistryId      *string
	RepositoryName  *string
	ImageId         *types.ImageIdentifier
	Source          string
	OperatingSystem *string
	Platform        *string
	Configuration   *InventoryConfiguration
	Layers          []InventoryLayer
	Packages        []InventoryPackage
	NextToken       *string
}

type InventoryConfiguration struct {
	User       *string
	Entrypoint []string
	Command    []string
	Author     *string
	CreatedAt  *time.Time
}

type InventoryLayer struct {
	LayerDigest   *string
	Status        *string
	InflatedBytes *int64
}

type InventoryPackage struct {
	Name                   *string
	Version                *string
	SourceName             *string
	SourceVersion          *string
	Arch                   *string
	PackageManager         *string
	FilePath               *string
	Licenses               []string
	SourceLayerHash        *string
	OwnedByOperatingSystem *bool
}

type GetImageSbomInput struct {
	RegistryId     *string
	RepositoryName *string
	ImageId        *types.ImageIdentifier
	Format         string
}

type GetImageSbomOutput struct {
	RegistryId     *string
	RepositoryName *string
	ImageId        *types.ImageIdentifier
	MediaType      *string
	Source         string
	Document       *string
}
