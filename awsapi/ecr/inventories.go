package ecrapi

import (
	"context"
	"strconv"

	"github.com/ecruhq/ecru/awsapi/ecr/ext"
	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/vuln"
)

func (s *Server) findVulnerableImages(ctx context.Context, c call, in *ext.FindVulnerableImagesInput) (*ext.FindVulnerableImagesOutput, error) {
	q := registry.VulnerableQuery{
		Vulnerability: rpc.Str(in.VulnerabilityId), Package: rpc.Str(in.PackageName), Ecosystem: rpc.Str(in.Ecosystem), Versions: rpc.Str(in.VersionRange),
	}
	list, next, err := s.reg.FindVulnerableImages(ctx, c.Caller, c.registry(in.RegistryId), q, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	return &ext.FindVulnerableImagesOutput{Images: rpc.Each(list, vulnerableImage), NextToken: rpc.Opt(next)}, nil
}

func vulnerableImage(v registry.Vulnerable) ext.VulnerableImage {
	img := v.Image
	out := ext.VulnerableImage{
		RegistryId: &img.Repository.Account, RepositoryName: &img.Repository.Name, RepositoryTags: tagsOut(v.RepositoryTags),
		ImageDigest: &img.Digest, ImageTags: img.Tags, ImagePushedAt: when(img.PushedAt), LastRecordedPullTime: when(img.LastPulledAt),
		Packages: rpc.Each(v.Packages, func(p registry.VulnerablePackage) ext.VulnerableImagePackage {
			return ext.VulnerableImagePackage{
				Name: &p.Name, Version: &p.Version, PackageManager: rpc.Opt(packageManager(p.Kind)), FilePath: rpc.Opt(p.Path), SourceLayerHash: rpc.Opt(p.LayerDigest),
				Severity: rpc.Opt(string(p.Severity)), FixedInVersion: rpc.Opt(p.Fixed), Suppressed: &p.Suppressed,
			}
		}),
	}
	if v.Base != nil {
		base := v.Base.Repository.Name + "@" + v.Base.Digest
		out.BaseImage = &base
	}
	return out
}

func (s *Server) getImageInventory(ctx context.Context, c call, in *ext.GetImageInventoryInput) (*ext.GetImageInventoryOutput, error) {
	id, ref := c.repository(in.RegistryId, in.RepositoryName), imageIDIn(*in.ImageId)
	img, inv, err := s.reg.ImageInventory(ctx, c.Caller, id, ref)
	if err != nil {
		return nil, err
	}
	from, next, err := packagePage(len(inv.Packages), in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	of, cfg := imageID(ecr.ImageID{Digest: img.Digest, Tag: ref.Tag}), inv.Config
	out := &ext.GetImageInventoryOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name, ImageId: &of, Source: source(inv),
		OperatingSystem: rpc.Opt(inv.OS.PrettyName), Platform: rpc.Opt(cfg.Platform()),
		Configuration: &ext.InventoryConfiguration{User: rpc.Opt(cfg.User), Entrypoint: cfg.Entrypoint, Command: cfg.Command, Author: rpc.Opt(cfg.Author), CreatedAt: when(cfg.Created)},
		Layers: rpc.Each(inv.Layers, func(l registry.ScannedLayer) ext.InventoryLayer {
			return ext.InventoryLayer{LayerDigest: &l.Digest, Status: &l.Status, InflatedBytes: &l.Inflated}
		}),
		Packages: []ext.InventoryPackage{},
	}
	for n := from; n < next; n++ {
		out.Packages = append(out.Packages, inventoryPackage(inv.Found(n)))
	}
	if next < len(inv.Packages) {
		token := strconv.Itoa(next)
		out.NextToken = &token
	}
	return out, nil
}

// packagePage is the part of an image's packages that a request asks for. An
// inventory does not change, so that a number tells where the next one begins.
func packagePage(n int, token *string, limit *int32) (from, to int, err error) {
	size := 1000
	if limit != nil {
		size = int(*limit)
	}
	if token != nil {
		if from, err = strconv.Atoi(*token); err != nil || from < 0 || from > n {
			return 0, 0, ecr.InvalidParam("NextToken", "Invalid next token provided")
		}
	}
	return from, min(n, from+size), nil
}

func inventoryPackage(p registry.FoundPackage) ext.InventoryPackage {
	return ext.InventoryPackage{
		Name: &p.Name, Version: &p.Version, SourceName: rpc.Opt(p.SourceName), SourceVersion: rpc.Opt(p.SourceVersion), Arch: rpc.Opt(p.Arch),
		PackageManager: rpc.Opt(packageManager(p.Kind)), FilePath: rpc.Opt(p.Path), Licenses: p.Licenses, SourceLayerHash: rpc.Opt(p.LayerDigest),
		OwnedByOperatingSystem: &p.Owned,
	}
}

func source(inv *registry.Inventory) string {
	if inv.Sourced {
		return "SBOM"
	}
	return "LAYERS"
}

func (s *Server) getImageSBOM(ctx context.Context, c call, in *ext.GetImageSbomInput) (*ext.GetImageSbomOutput, error) {
	id, ref := c.repository(in.RegistryId, in.RepositoryName), imageIDIn(*in.ImageId)
	mediaType := vuln.CycloneDXType
	if in.Format == "SPDX" {
		mediaType = vuln.SPDXType
	}
	img, inv, document, err := s.reg.ImageSBOM(ctx, c.Caller, id, ref, mediaType)
	if err != nil {
		return nil, err
	}
	of, text := imageID(ecr.ImageID{Digest: img.Digest, Tag: ref.Tag}), string(document)
	return &ext.GetImageSbomOutput{RegistryId: &id.Account, RepositoryName: &id.Name, ImageId: &of, MediaType: &mediaType, Source: source(inv), Document: &text}, nil
}
