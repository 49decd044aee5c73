package advisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecruhq/ecru/vuln"
)

// Statuses of scans that ECR has no word for, since it answers with an error.
const (
	notInRepository = "IMAGE_NOT_FOUND"
	archivedImage   = "IMAGE_ARCHIVED"
)

// maxFindings bounds the findings of one image.
const maxFindings = 200_000

// A ScannedImage is what ECR tells of the scan of one image.
type ScannedImage struct {
	Platform
	Status      string // "" if it was never scanned
	Description string
	ScannedAt   time.Time
	SourceAt    time.Time   // of the advisories
	Counts      vuln.Counts // as ECR counts; nil if it did not
	Findings    []ScanFinding
}

// A ScanFinding is a finding as ECR tells of it, of basic or of enhanced scanning.
type ScanFinding struct {
	vuln.GateFinding
	Version     string // of the package
	FixedIn     string
	Path        string
	Title       string
	Description string
	URI         string
	Score       float64 // 0 if not known
	Suppressed  bool    // an override, or a rule of Amazon Inspector's, sets it aside
}

// Scan reads where the scan of an image stands, with all findings.
func (e *Endpoint) Scan(ctx context.Context, ref Reference, p Platform) (*ScannedImage, error) {
	out := &ScannedImage{Platform: p}
	in := &ecr.DescribeImageScanFindingsInput{
		RepositoryName: &ref.Repository, ImageId: &types.ImageIdentifier{ImageDigest: &p.Digest}, MaxResults: aws.Int32(1000),
	}
	if ref.Registry != "" {
		in.RegistryId = &ref.Registry
	}
	for {
		page, err := e.ECR.DescribeImageScanFindings(ctx, in)
		if err != nil {
			return out, out.refused(err)
		}
		if page.ImageId != nil && aws.ToString(page.ImageId.ImageDigest) != p.Digest {
			return nil, fmt.Errorf("DescribeImageScanFindings told of %s instead of %s", aws.ToString(page.ImageId.ImageDigest), p.Digest)
		}
		out.add(page)
		if page.NextToken == nil {
			return out, nil
		}
		if len(out.Findings) > maxFindings {
			return nil, fmt.Errorf("%s has more than %d findings", ref.At(p.Digest), maxFindings)
		}
		in.NextToken = page.NextToken
	}
}

// refused turns an error that tells of the scan into a status.
func (m *ScannedImage) refused(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return err
	}
	switch api.ErrorCode() {
	case "ScanNotFoundException":
		m.Status = ""
	case "UnsupportedImageTypeException":
		m.Status = string(types.ScanStatusUnsupportedImage)
	case "ImageArchivedException":
		m.Status = archivedImage
	case "ImageNotFoundException":
		m.Status = notInRepository
	default:
		return err
	}
	m.Description, m.Counts, m.Findings = api.ErrorMessage(), nil, nil
	return nil
}

// add adds a page. A status that changes from page to page is that of the last.
func (m *ScannedImage) add(page *ecr.DescribeImageScanFindingsOutput) {
	m.Status, m.Description = "UNKNOWN", "the answer has no status"
	if s := page.ImageScanStatus; s != nil && s.Status != "" {
		m.Status, m.Description = string(s.Status), aws.ToString(s.Description)
	}
	f := page.ImageScanFindings
	if f == nil {
		return
	}
	m.ScannedAt, m.SourceAt = aws.ToTime(f.ImageScanCompletedAt), aws.ToTime(f.VulnerabilitySourceUpdatedAt)
	if f.FindingSeverityCounts != nil {
		m.Counts = vuln.Counts{}
		for s, n := range f.FindingSeverityCounts {
			m.Counts[severity(s)] += int(n)
		}
	}
	for i := range f.Findings {
		m.Findings = append(m.Findings, basicFinding(&f.Findings[i]))
	}
	for i := range f.EnhancedFindings {
		m.Findings = append(m.Findings, enhancedFinding(&f.EnhancedFindings[i]))
	}
}

// severity is a severity in ECR's words; Amazon Inspector has one more.
func severity(s string) vuln.Severity {
	v := vuln.Severity(strings.ToUpper(s))
	if slices.Contains(vuln.Severities(), v) {
		return v
	}
	return vuln.Undefined
}

func basicFinding(f *types.ImageScanFinding) ScanFinding {
	out := ScanFinding{Description: aws.ToString(f.Description), URI: aws.ToString(f.Uri)}
	out.Vulnerability, out.Severity = aws.ToString(f.Name), severity(string(f.Severity))
	for _, a := range f.Attributes {
		value := aws.ToString(a.Value)
		switch aws.ToString(a.Key) {
		case "package_name":
			out.Package = value
		case "package_version":
			out.Version = value
		case "fixed_version":
			out.FixedIn = value
			if out.Fix == "" {
				out.Fix = vuln.FixYes
			}
		case "ecru:fix_available":
			out.Fix = vuln.Fix(value)
		case "ecru:override":
			out.Suppressed = true
		case "CVSS3_SCORE":
			out.Score = number(value)
		case "CVSS2_SCORE":
			if out.Score == 0 {
				out.Score = number(value)
			}
		}
	}
	out.Title = out.Vulnerability + " - " + out.Package
	return out
}

// number is a CVSS score, or 0.
func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= 10) {
		return 0
	}
	return n
}

func enhancedFinding(f *types.EnhancedImageScanFinding) ScanFinding {
	out := ScanFinding{Title: aws.ToString(f.Title), Description: aws.ToString(f.Description), Score: number(strconv.FormatFloat(f.Score, 'f', -1, 64))}
	out.Severity, out.Fix = severity(aws.ToString(f.Severity)), vuln.Fix(aws.ToString(f.FixAvailable))
	out.Suppressed = aws.ToString(f.Status) == "SUPPRESSED"
	if f.FirstObservedAt != nil {
		out.Since = f.FirstObservedAt.UnixMilli()
	}
	d := f.PackageVulnerabilityDetails
	if d == nil {
		out.Vulnerability = out.Title
		return out
	}
	out.Vulnerability, out.URI = aws.ToString(d.VulnerabilityId), aws.ToString(d.SourceUrl)
	var names, versions, fixes, paths []string
	for _, p := range d.VulnerablePackages {
		names, versions = append(names, aws.ToString(p.Name)), append(versions, aws.ToString(p.Version))
		fixes, paths = append(fixes, aws.ToString(p.FixedInVersion)), append(paths, aws.ToString(p.FilePath))
	}
	out.Package, out.Version, out.FixedIn, out.Path = joined(names), joined(versions), joined(fixes), joined(paths)
	return out
}

// joined are the texts, each once, in order.
func joined(texts []string) string {
	texts = slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return s == "" || s == "NotAvailable" })
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ", ")
}
