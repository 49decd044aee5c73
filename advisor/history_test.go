package advisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/lifecycle"
)

const image1 = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` +
	`1111111111111111111111111111111111111111111111111111111111111111","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222","size":3}]}`

var recorded = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func newHistorian() *historian {
	c := &Contents{Name: "app", Images: []lifecycle.Image{{Digest: "sha256:a", Tags: []string{"v1"}, Subject: -1, PushedAt: lifecycle.At(recorded.Add(500 * time.Millisecond))},
		{Digest: "sha256:b", Subject: -1, PushedAt: lifecycle.At(recorded.Add(time.Second))}}, index: map[string]int32{"sha256:a": 0, "sha256:b": 1}}
	return &historian{contents: c, account: "123456789012", history: &lifecycle.History{Gone: map[string]lifecycle.GoneImage{}}}
}

// inQuotes is a text as it stands in a JSON string.
func inQuotes(text string) string { return strings.Trim(fmt.Sprintf("%q", text), `"`) }

func TestRecords(t *testing.T) {
	const gone = "sha256:8c6a5fca48b1b3a1c0d2b2bd8a1b2d25c4bb2f7b0a7d9e6fe0e7c8e4d4f3a2b1"
	for _, tt := range []struct {
		name   string
		record string // after source and user agent
		want   string
	}{
		{"AWS, docker push", `"eventName":"PutImage","requestParameters":{"repositoryName":"app","registryId":"123456789012","imageTag":"v2","imageManifest":"` + inQuotes(image1) + `"},"responseElements":{"image":{"imageId":{"imageDigest":"` + gone + `","imageTag":"v2"}}}`,
			"push " + gone + " v2; gone 2 layers"},
		{"Ecru, docker push", `"eventName":"PutImage","requestParameters":{"registryId":"123456789012","repositoryName":"app","imageIds":[{"imageDigest":"sha256:a","imageTag":"v1"}]},"responseElements":null`, "push sha256:a v1; "},
		{"Ecru, put-image, with the manifest's head only", `"eventName":"PutImage","requestParameters":{"repositoryName":"app","imageTag":"v1","imageManifest":"{\"schema…"},"responseElements":null`, "push sha256:a v1; "},
		{"of which nothing is known", `"eventName":"PutImage","requestParameters":{"repositoryName":"app","imageTag":"v9","imageManifest":"{\"schema…"},"responseElements":null`, "unidentified; "},
		{"put-image, whole", `"eventName":"PutImage","requestParameters":{"repositoryName":"app","imageManifest":"` + inQuotes(image1) + `"}`, "push sha256:"},
		{"batch-get-image", `"eventName":"BatchGetImage","requestParameters":{"repositoryName":"app","imageIds":[{"imageTag":"v1"},{"imageDigest":"sha256:b"}]}`, "pull v1 1; pull sha256:b 1; "},
		{"docker pull, many at once", `"eventName":"BatchGetImage","requestParameters":{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]},"additionalEventData":{"calls":7,"registry":true}`, "pull v1 7; "},
		{"batch-get-image, many at once", `"eventName":"BatchGetImage","requestParameters":{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]},"additionalEventData":{"calls":7}`, "pull v1 7; merged; "},
		{"a layer", `"eventName":"GetDownloadUrlForLayer","requestParameters":{"repositoryName":"app","layerDigest":"sha256:l"}`, "pull sha256:l 1; "},
		{"a deletion", `"eventName":"BatchDeleteImage","requestParameters":{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]}`, "delete v1; "},
		{"another repository", `"eventName":"BatchGetImage","requestParameters":{"repositoryName":"apple","imageIds":[{"imageTag":"v1"}]}`, ""},
		{"another account", `"eventName":"BatchGetImage","requestParameters":{"repositoryName":"app","registryId":"210987654321","imageIds":[{"imageTag":"v1"}]}`, ""},
		{"what failed", `"eventName":"BatchGetImage","errorCode":"AccessDenied","requestParameters":{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]}`, ""},
		{"no image", `"eventName":"BatchGetImage","requestParameters":{"repositoryName":"app","imageIds":[{}]}`, ""},
		{"nothing", `"eventName":"GetDownloadUrlForLayer","requestParameters":null`, ""},
	} {
		h := newHistorian()
		h.record(recorded, `{"eventSource":"ecr.amazonaws.com","userAgent":"docker/27",`+tt.record+`}`)
		got := h.String()
		if tt.name == "put-image, whole" {
			if !strings.HasPrefix(got, tt.want) || !strings.Contains(got, "gone 2 layers") {
				t.Errorf("%s: %q", tt.name, got)
			}
		} else if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		own := newHistorian()
		own.record(recorded, `{"eventSource":"ecr.amazonaws.com","userAgent":"aws-sdk-go-v2/1.47.7 app/ecru-advisor",`+tt.record+`}`)
		if got := own.String(); got != "" {
			t.Errorf("%s: the advisor's own is in the history: %q", tt.name, got)
		}
	}
	h := newHistorian()
	for _, text := range []string{"", "null", "[]", `{"eventSource":"sts.amazonaws.com","eventName":"BatchGetImage"}`, `{"eventSource":7}`} {
		h.record(recorded, text)
	}
	if h.String() != "" || h.evidence.Records != 5 || !h.evidence.Oldest.Equal(recorded) {
		t.Errorf("%q %+v", h, h.evidence)
	}
}

func (h *historian) String() (out string) {
	for _, p := range h.history.Pushes {
		out += "push " + p.Digest + " " + p.Tag + "; "
		if g, ok := h.history.Gone[p.Digest]; ok {
			out += fmt.Sprintf("gone %d layers", len(g.Layers))
		}
	}
	for _, p := range h.history.Pulls {
		out += fmt.Sprintf("pull %s%s%s %d; ", p.Digest, p.Tag, p.Layer, p.Calls)
	}
	for _, p := range h.history.Deletes {
		out += "delete " + p.Digest + p.Tag + "; "
	}
	if h.evidence.Unidentified > 0 {
		out += "unidentified; "
	}
	if h.evidence.Merged > 0 {
		out += "merged; "
	}
	return out
}

// Records come over the network: none may do harm, and what is taken up has a
// time and says what it is about.
func FuzzRecord(f *testing.F) {
	f.Add(`{"eventSource":"ecr.amazonaws.com","eventName":"PutImage","requestParameters":{"repositoryName":"app","imageManifest":"` + inQuotes(image1) + `"}}`)
	f.Add(`{"eventSource":"ecr.amazonaws.com","eventName":"BatchGetImage","requestParameters":{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]},"additionalEventData":{"calls":-7}}`)
	f.Add(`{"eventSource":"ecr.amazonaws.com","eventName":"BatchDeleteImage","requestParameters":{"repositoryName":"app","imageIds":[null]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		h := newHistorian()
		h.record(recorded, text)
		for _, p := range h.history.Pulls {
			if p.At == 0 || p.Calls < 1 || p.Digest+p.Tag+p.Layer == "" {
				t.Errorf("%+v", p)
			}
		}
		for _, p := range h.history.Pushes {
			if p.Digest == "" {
				t.Errorf("%+v", p)
			}
		}
		r := lifecycle.NewReplay(&lifecycle.Policy{}, h.history, recorded.Add(-time.Hour), recorded.Add(time.Hour), lifecycle.Soon)
		for r.Day() {
		}
		if report := r.Report(); !report.Safe() {
			t.Errorf("%+v", report)
		}
	})
}

func TestIsRoleOf(t *testing.T) {
	session := "arn:aws:sts::123456789012:assumed-role/advisor/me"
	for role, want := range map[string]bool{"arn:aws:iam::123456789012:role/advisor": true, "arn:aws:iam::123456789012:role/ops/advisor": true,
		"arn:aws:iam::123456789012:role/other": false, "arn:aws:iam::123456789012:user/advisor": false, "": false} {
		if got := isRoleOf(role, session); got != want {
			t.Errorf("%s: %t", role, got)
		}
	}
	if isRoleOf("arn:aws:iam::123456789012:role/advisor", "arn:aws:iam::123456789012:user/advisor") {
		t.Error("a user is no session")
	}
}
