package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

func TestOrDenied(t *testing.T) {
	for code, want := range map[string]int{"AccessDeniedException": 4, "AccessDenied": 4, "RepositoryNotFoundException": 0} {
		err := orDenied(fmt.Errorf("reading: %w", &smithy.OperationError{Err: &smithy.GenericAPIError{Code: code}}))
		status := exitStatus{}
		if errors.As(err, &status); status.code != want || err == nil {
			t.Errorf("%s: %v, exit status %d, want %d", code, err, status.code, want)
		}
	}
	if orDenied(nil) != nil {
		t.Error("no error is denied")
	}
}

func TestPackageRange(t *testing.T) {
	for arg, want := range map[string][2]string{
		"openssl": {"openssl", ""}, "lodash@<4.17.21": {"lodash", "<4.17.21"}, "@angular/core": {"@angular/core", ""},
		"@angular/core@>=1,<2": {"@angular/core", ">=1,<2"}, "org.a:b@1": {"org.a:b", "1"},
	} {
		q, err := packageRange(arg)
		if err != nil || aws.ToString(q.PackageName) != want[0] || aws.ToString(q.VersionRange) != want[1] || q.VulnerabilityId != nil {
			t.Errorf("%s: %v %v, %v", arg, aws.ToString(q.PackageName), aws.ToString(q.VersionRange), err)
		}
	}
	for _, arg := range []string{"", "@", "lodash@"} {
		if _, err := packageRange(arg); err == nil {
			t.Errorf("%q: want an error", arg)
		}
	}
}

func TestMoment(t *testing.T) {
	for text, want := range map[string]int64{"2027-03-31": 1806451200, "2027-03-31T12:00:00Z": 1806494400, "2027-03-31T12:00:00+02:00": 1806487200} {
		got, err := parseTime(text)
		if err != nil || !got.Equal(time.Unix(want, 0)) {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	if _, err := parseTime("tomorrow"); err == nil {
		t.Error("want an error")
	}
}

// TestGatePermissions: what the commands say that they need is asked of no server.
func TestGatePermissions(t *testing.T) {
	for args, want := range map[string]string{
		"gate": "ecr:DescribeImageScanFindings", "vuln who": "ecr:FindVulnerableImages", "vuln where": "ecr:FindVulnerableImages", "sbom": "ecr:GetImageSbom",
		"suppress add": "ecr:PutImageScanFindingsOverride", "suppress list": "ecr:ListImageScanFindingsOverrides",
		"suppress expire": "ecr:DeleteImageScanFindingsOverride", "suppress export": "ecr:GetImageSbom",
	} {
		out, err := run(t, "", append(strings.Fields(args), "--permissions")...)
		if err != nil || !strings.Contains(out, `"`+want+`"`) {
			t.Errorf("%s: %v, %s", args, err, out)
		}
	}
}
