package ecrapi

import (
	"context"
	"fmt"
	"strconv"

	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/vuln"
)

func (s *Server) startImageScan(ctx context.Context, c call, in *sdk.StartImageScanInput) (*sdk.StartImageScanOutput, error) {
	id, ref := c.repository(in.RegistryId, in.RepositoryName), imageIDIn(*in.ImageId)
	img, scan, err := s.reg.StartImageScan(ctx, c.Caller, id, ref)
	if err != nil {
		return nil, err
	}
	out := imageID(ecr.ImageID{Digest: img.Digest, Tag: ref.Tag})
	return &sdk.StartImageScanOutput{RegistryId: &id.Account, RepositoryName: &id.Name, ImageId: &out, ImageScanStatus: scanStatus(scan)}, nil
}

func scanStatus(s ecr.Scan) *types.ImageScanStatus {
	return &types.ImageScanStatus{Status: types.ScanStatus(s.Status), Description: rpc.Opt(s.Description)}
}

func severityCounts(counts map[string]int) map[string]int32 {
	out := make(map[string]int32, len(counts))
	for s, n := range counts {
		out[s] = int32(n)
	}
	return out
}

// scanSummary is what DescribeImages tells of a scan.
func scanSummary(s *ecr.Scan) (*types.ImageScanStatus, *types.ImageScanFindingsSummary) {
	if s == nil {
		return nil, nil
	}
	if !s.Status.Done() {
		return scanStatus(*s), nil
	}
	return scanStatus(*s), &types.ImageScanFindingsSummary{
		FindingSeverityCounts: severityCounts(s.Counts), ImageScanCompletedAt: when(s.CompletedAt), VulnerabilitySourceUpdatedAt: when(s.SourceAt),
	}
}

func (s *Server) describeImageScanFindings(ctx context.Context, c call, in *sdk.DescribeImageScanFindingsInput) (*sdk.DescribeImageScanFindingsOutput, error) {
	id, ref := c.repository(in.RegistryId, in.RepositoryName), imageIDIn(*in.ImageId)
	r, err := s.reg.DescribeImageScanFindings(ctx, c.Caller, id, ref, page(in.NextToken, in.MaxResults))
	if err != nil {
		return nil, err
	}
	of := imageID(ecr.ImageID{Digest: r.Image.Digest, Tag: ref.Tag})
	out := &sdk.DescribeImageScanFindingsOutput{
		RegistryId: &id.Account, RepositoryName: &id.Name, ImageId: &of, ImageScanStatus: scanStatus(r.Scan), NextToken: rpc.Opt(r.Next),
	}
	if !r.Scan.Status.Done() {
		return out, nil
	}
	out.ImageScanFindings = &types.ImageScanFindings{
		FindingSeverityCounts: severityCounts(r.Scan.Counts), ImageScanCompletedAt: when(r.Scan.CompletedAt), VulnerabilitySourceUpdatedAt: when(r.Scan.SourceAt),
	}
	if r.Scan.Type == ecr.ScanEnhanced {
		out.ImageScanFindings.EnhancedFindings = rpc.Each(r.Findings, s.enhancedFinding)
	} else {
		out.ImageScanFindings.Findings = rpc.Each(r.Findings, basicFinding)
	}
	return out, nil
}

// description is an advisory's own words.
func description(f *registry.FoundIn) *string {
	if f.Advisory == nil {
		return nil
	}
	if f.Advisory.Details != "" {
		return &f.Advisory.Details
	}
	return rpc.Opt(f.Advisory.Summary)
}

// basicFinding is a finding of basic scanning. ecru:override says that an
// override sets it aside; fixed_version and ecru:fix_available are Ecru's too.
func basicFinding(f registry.FoundIn) types.ImageScanFinding {
	uri := vuln.AdvisoryURL(f.Vulnerability)
	if f.Advisory != nil {
		uri = f.Advisory.URL()
	}
	out := types.ImageScanFinding{Name: &f.Vulnerability, Description: description(&f), Uri: &uri, Severity: types.FindingSeverity(f.Rating.Severity)}
	add := func(key, value string) {
		if value != "" {
			out.Attributes = append(out.Attributes, types.Attribute{Key: &key, Value: &value})
		}
	}
	add("package_name", f.Identity.Name)
	add("package_version", f.Identity.Version)
	two, three := false, false
	for _, v := range f.Rating.CVSS {
		switch {
		case v.Version == "2.0" && !two:
			two = true
			add("CVSS2_VECTOR", v.Vector)
			add("CVSS2_SCORE", score(v.Score))
		case (v.Version == "3.1" || v.Version == "3.0") && !three:
			three = true
			add("CVSS3_VECTOR", v.Vector)
			add("CVSS3_SCORE", score(v.Score))
		}
	}
	add("fixed_version", f.Fixed)
	add("ecru:fix_available", string(f.Fix))
	if f.Override != nil {
		add("ecru:override", f.Override.Status)
	}
	return out
}

func score(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) }

// enhancedFinding is a finding of enhanced scanning, in the form of Amazon
// Inspector's.
func (s *Server) enhancedFinding(f registry.FoundIn) types.EnhancedImageScanFinding {
	title := fmt.Sprintf("%s - %s", f.Vulnerability, f.Identity.Name)
	status, kind, exploit := "ACTIVE", "PACKAGE_VULNERABILITY", "NO"
	if f.Override != nil {
		status = "SUPPRESSED"
	}
	if f.Exploitable() {
		exploit = "YES"
	}
	severity := string(f.Rating.Severity)
	out := types.EnhancedImageScanFinding{
		AwsAccountId: &f.Image.Repository.Account, FindingArn: &f.ARN, Title: &title, Description: description(&f), Type: &kind,
		Status: &status, Severity: &severity, ExploitAvailable: &exploit, FixAvailable: rpc.Opt(string(f.Fix)),
		FirstObservedAt: when(f.FirstAt), LastObservedAt: when(f.LastAt), UpdatedAt: when(f.LastAt),
		PackageVulnerabilityDetails: vulnerabilityDetails(&f), Resources: []types.Resource{s.scannedResource(&f)},
		Remediation: &types.Remediation{Recommendation: &types.Recommendation{Text: remediation(&f)}},
	}
	if len(f.Rating.CVSS) > 0 {
		best := f.Rating.CVSS[0]
		out.Score = best.Score
		out.ScoreDetails = &types.ScoreDetails{Cvss: &types.CvssScoreDetails{
			Version: &best.Version, Score: best.Score, ScoreSource: &best.Source, ScoringVector: &best.Vector, Adjustments: []types.CvssScoreAdjustment{},
		}}
	}
	return out
}

func remediation(f *registry.FoundIn) *string {
	text := "None Provided"
	if f.Fixed != "" {
		text = fmt.Sprintf("Upgrade %s to %s or later.", f.Identity.Name, f.Fixed)
	}
	return &text
}

func vulnerabilityDetails(f *registry.FoundIn) *types.PackageVulnerabilityDetails {
	d := &types.PackageVulnerabilityDetails{
		VulnerabilityId: &f.Vulnerability, RelatedVulnerabilities: f.Aliases,
		VulnerablePackages: rpc.Each(f.Packages, func(p registry.FoundPackage) types.VulnerablePackage { return vulnerablePackage(p, f.Fixed) }),
		Cvss: rpc.Each(f.Rating.CVSS, func(v vuln.CVSS) types.CvssScore {
			return types.CvssScore{Version: &v.Version, BaseScore: v.Score, ScoringVector: &v.Vector, Source: &v.Source}
		}),
	}
	a := f.Advisory
	if a == nil {
		return d
	}
	source, url := a.Source(), a.URL()
	d.Source, d.SourceUrl = &source, &url
	if a.Published != 0 {
		d.VendorCreatedAt = when(milli(a.Published))
	}
	if a.Modified != 0 {
		d.VendorUpdatedAt = when(milli(a.Modified))
	}
	if f.Rating.Origin == vuln.FromVendor {
		d.VendorSeverity = rpc.Opt(string(f.Rating.Severity))
	}
	for _, ref := range a.References {
		d.ReferenceUrls = append(d.ReferenceUrls, ref.URL)
	}
	return d
}

func vulnerablePackage(p registry.FoundPackage, fixed string) types.VulnerablePackage {
	out := types.VulnerablePackage{
		Name: &p.Name, Version: &p.Version, Arch: rpc.Opt(p.Arch), Release: rpc.Opt(p.Release), FilePath: rpc.Opt(p.Path),
		FixedInVersion: rpc.Opt(fixed), PackageManager: rpc.Opt(packageManager(p.Kind)), SourceLayerHash: rpc.Opt(p.LayerDigest),
	}
	if n, err := strconv.ParseInt(p.Epoch, 10, 32); err == nil {
		epoch := int32(n)
		out.Epoch = &epoch
	}
	return out
}

// packageManager is Amazon Inspector's name of a kind of packages.
func packageManager(k vuln.Kind) string {
	switch k {
	case vuln.Dpkg, vuln.Apk, vuln.RPM:
		return "OS"
	case vuln.NPM:
		return "NODEPKG"
	case vuln.PyPI:
		return "PYTHONPKG"
	case vuln.Maven:
		return "JAR"
	case vuln.Go:
		return "GOBINARY"
	case vuln.Gem:
		return "GEMSPEC"
	case vuln.Cargo:
		return "RUSTBINARY"
	case vuln.Composer:
		return "PHPCOMPOSER"
	case vuln.NuGet:
		return "DOTNETDEPS"
	}
	return string(k)
}

// scannedResource is the image that a finding was found in.
func (s *Server) scannedResource(f *registry.FoundIn) types.Resource {
	img := f.Image
	arn, kind := img.Repository.ARN(s.reg.Region())+"/"+img.Digest, "AWS_ECR_CONTAINER_IMAGE"
	return types.Resource{
		Id: &arn, Type: &kind, Tags: map[string]string{},
		Details: &types.ResourceDetails{AwsEcrContainerImage: &types.AwsEcrContainerImageDetails{
			Architecture: rpc.Opt(f.Config.Architecture), Author: rpc.Opt(f.Config.Author), Platform: rpc.Opt(f.Config.Platform()),
			ImageHash: &img.Digest, ImageTags: img.Tags, PushedAt: when(img.PushedAt),
			Registry: &img.Repository.Account, RepositoryName: &img.Repository.Name,
		}},
	}
}
