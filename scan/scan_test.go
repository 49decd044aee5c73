package scan_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/vuln"
)

var enhanced = ecr.ScanConfiguration{Type: ecr.ScanEnhanced, Rules: []ecr.ScanRule{{Frequency: ecr.ScanContinuous, Filters: []string{"team/*"}}}}

// TestScanOnPush: what is pushed is scanned; basic scanning shows the operating
// system's packages, enhanced all, over the same inventory; new advisories are
// found in it without reading a layer again.
func TestScanOnPush(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.advise("Debian", osv("DEBIAN-CVE-2026-1", "Debian:12", "openssl", "3.0.11-1", "HIGH"))
		w.advise("npm", osv("GHSA-1", "npm", "lodash", "4.17.21", "CRITICAL"), osv("GHSA-2", "npm", "other", "9.0.0", "LOW"))
		base, top := debian("3.0.9-1"), npm("lodash", "4.17.15")
		digest := w.push("v1", base, top)
		r := w.scanned(ecr.ImageID{Tag: "v1"})
		if r.Scan.Status != ecr.ScanComplete || !slices.Equal(names(r), []string{"CVE-2026-1"}) || !maps.Equal(r.Scan.Counts, map[string]int{"HIGH": 1}) {
			t.Fatalf("basic: %+v %v", r.Scan, names(r))
		}
		f := r.Findings[0]
		if f.Packages[0].LayerDigest != sum(base) || f.Fixed != "3.0.11-1" || f.Advisory == nil || f.Advisory.ID != "DEBIAN-CVE-2026-1" || f.FirstAt.IsZero() {
			t.Errorf("finding %+v", f)
		}
		_, err := w.PutRegistryScanningConfiguration(ctx, root, enhanced)
		w.ok(err)
		w.await("the switch to enhanced scanning", func() bool {
			r, err = w.findings(ecr.ImageID{Digest: digest})
			return err == nil && r.Scan.Status == ecr.ScanActive
		})
		if !slices.Equal(names(r), []string{"GHSA-1", "CVE-2026-1"}) || r.Findings[0].Packages[0].LayerDigest != sum(top) || r.Findings[0].Config.User != "nobody" {
			t.Fatalf("enhanced: %v", names(r))
		}
		w.rest()
		read := w.counter("ecru_scan_extracted_bytes_total")
		w.pass(time.Hour)
		w.advise("npm", osv("GHSA-3", "npm", "lodash", "5.0.0", "MEDIUM"), osv("GHSA-1", "npm", "lodash", "4.0.0", "CRITICAL"))
		w.await("the change of advisories", func() bool {
			list, _, err := w.DescribeImages(ctx, root, app, []ecr.ImageID{{Tag: "v1"}}, ecr.ImageFilter{}, ecr.Page{})
			w.ok(err)
			return maps.Equal(list[0].Scan.Counts, map[string]int{"HIGH": 1, "MEDIUM": 1})
		})
		r = w.scanned(ecr.ImageID{Tag: "v1"})
		if !slices.Equal(names(r), []string{"CVE-2026-1", "GHSA-3"}) || !r.Findings[1].FirstAt.Equal(w.time()) || r.Findings[0].FirstAt.Equal(w.time()) {
			t.Errorf("after the change: %v, first seen %v", names(r), r.Findings[1].FirstAt)
		}
		if now := w.counter("ecru_scan_extracted_bytes_total"); now != read || read != float64(len(base)+len(top)) {
			t.Errorf("bytes read of layers: %v, then %v, want %d and no more", read, now, len(base)+len(top))
		}
		w.ok(w.db.View(ctx, func(tx *meta.Tx) error {
			inv, err := tx.ImageInventory(r.Image.Row)
			if err != nil {
				return err
			}
			seen, err := tx.Seen(inv.Other)
			gone := 0
			for _, s := range seen {
				if !s.GoneAt.IsZero() {
					gone++
				}
			}
			if len(seen) != 2 || gone != 1 {
				t.Errorf("history: %+v", seen)
			}
			return err
		}))
		w.events(ecr.ImageScanned, ecr.FindingsChanged)
	})
}

// rest waits until no image is left to be scanned.
func (w *world) rest() {
	w.t.Helper()
	w.await("the end of all scans", func() (idle bool) {
		w.ok(w.db.View(context.Background(), func(tx *meta.Tx) error {
			b, err := tx.Backlog(registry.ScanQueue)
			idle = b.Waiting+b.Running == 0
			return err
		}))
		return idle
	})
}

// events checks that the log has each of these.
func (w *world) events(types ...ecr.EventType) {
	w.t.Helper()
	w.ok(w.db.View(context.Background(), func(tx *meta.Tx) error {
		all, err := tx.Events(0, 100_000)
		for _, typ := range types {
			if !slices.ContainsFunc(all, func(e ecr.Event) bool { return e.Type == typ }) {
				w.t.Errorf("no event %s", typ)
			}
		}
		return err
	}))
}

// TestSharedLayers: 47 tags on one base; the base is read once, and the 48th tag
// costs its own layer alone.
func TestSharedLayers(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.advise("Debian", osv("DEBIAN-CVE-2026-1", "Debian:12", "openssl", "3.0.11-1", "HIGH"))
		base := debian("3.0.9-1")
		want := float64(len(base))
		push := func(i int) {
			top := npm(fmt.Sprintf("pkg%d", i), "1.0.0")
			w.push(fmt.Sprintf("v%d", i), base, top)
			want += float64(len(top))
		}
		for i := range 47 {
			push(i)
		}
		for i := range 47 {
			w.scanned(ecr.ImageID{Tag: fmt.Sprintf("v%d", i)})
		}
		if got := w.counter("ecru_scan_extracted_bytes_total"); got != want || w.counter("ecru_scan_layers_total") != 48 {
			t.Errorf("47 tags: %v bytes of %v layers were read, want %v bytes of 48", got, w.counter("ecru_scan_layers_total"), want)
		}
		push(48)
		r := w.scanned(ecr.ImageID{Tag: "v48"})
		if got := w.counter("ecru_scan_extracted_bytes_total"); got != want || r.Scan.Counts["HIGH"] != 1 {
			t.Errorf("the 48th tag: %v bytes, want %v; %v", got, want, r.Scan.Counts)
		}
		list, next, err := w.FindVulnerableImages(context.Background(), root, account, registry.VulnerableQuery{Vulnerability: "CVE-2026-1"}, ecr.Page{Limit: 40})
		w.ok(err)
		more, last, err := w.FindVulnerableImages(context.Background(), root, account, registry.VulnerableQuery{Vulnerability: "DEBIAN-CVE-2026-1"}, ecr.Page{Limit: 40, Token: next})
		w.ok(err)
		if len(list) != 40 || len(more) != 8 || last != "" {
			t.Errorf("%d and %d images have the vulnerability, want 40 and 8", len(list), len(more))
		}
	})
}

// TestOverride: a finding that is set aside is listed, and not counted, until it
// expires; events tell of that a week before, and then.
func TestOverride(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.advise("Debian", osv("DEBIAN-CVE-2026-1", "Debian:12", "openssl", "3.0.11-1", "HIGH"))
		digest := w.push("v1", debian("3.0.9-1"))
		r := w.scanned(ecr.ImageID{Tag: "v1"})
		arn := r.Findings[0].ARN
		put := ecr.Override{Account: account, Repository: app.Name, Digest: digest, Status: "FALSE_POSITIVE", Description: "not called"}
		o, err := w.PutImageScanFindingsOverride(ctx, root, put, arn)
		w.ok(err)
		if o.Vulnerability != "CVE-2026-1" || o.Package != "openssl" || o.ExpiresAt.Sub(o.CreatedAt) != 90*24*time.Hour || o.Author != root.ARN {
			t.Fatalf("override %+v", o)
		}
		r = w.scanned(ecr.ImageID{Tag: "v1"})
		if len(r.Findings) != 1 || r.Findings[0].Override == nil || r.Scan.Counts["HIGH"] != 0 || r.Scan.Suppressed["HIGH"] != 1 {
			t.Fatalf("set aside: %+v, %+v", r.Scan, r.Findings)
		}
		summary := func() map[string]int {
			list, _, err := w.DescribeImages(ctx, root, app, []ecr.ImageID{{Tag: "v1"}}, ecr.ImageFilter{}, ecr.Page{})
			w.ok(err)
			return list[0].Scan.Counts
		}
		w.await("the summary without it", func() bool { return summary()["HIGH"] == 0 })
		tell := func() { t.Helper(); _, err := w.TellOverrides(ctx, 10); w.ok(err) }
		w.pass(84 * 24 * time.Hour)
		tell()
		w.events(ecr.OverridePut, ecr.OverrideExpiring)
		if r = w.scanned(ecr.ImageID{Tag: "v1"}); r.Scan.Counts["HIGH"] != 0 {
			t.Error("it counts before its override has expired")
		}
		w.pass(6 * 24 * time.Hour)
		if r = w.scanned(ecr.ImageID{Tag: "v1"}); r.Scan.Counts["HIGH"] != 1 || r.Findings[0].Override != nil {
			t.Errorf("after the override has expired: %+v", r.Scan)
		}
		tell()
		w.events(ecr.OverrideExpired)
		w.await("the summary with it again", func() bool { return summary()["HIGH"] == 1 })
		list, _, err := w.ListImageScanFindingsOverrides(ctx, root, account, app.Name, "", "CVE-2026-1", ecr.Page{})
		if err != nil || len(list) != 1 {
			t.Errorf("overrides: %v, %v", list, err)
		}
		_, err = w.DeleteImageScanFindingsOverride(ctx, root, account, o.ID)
		w.ok(err)
		_, err = w.DeleteImageScanFindingsOverride(ctx, root, account, o.ID)
		w.wantCode("deleted twice", err, ecr.OverrideNotFound)
		_, err = w.PutImageScanFindingsOverride(ctx, root, ecr.Override{Account: account, Status: "ACCEPTED", Description: "all"}, "")
		w.wantCode("an override of everything", err, ecr.Validation)
		_, err = w.PutImageScanFindingsOverride(ctx, root, put, arn+"0")
		w.wantCode("an unknown finding", err, ecr.InvalidParameter)
	})
}

// TestStatuses: what cannot be scanned is never clean.
func TestStatuses(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		digest := w.push("v1", debian("3.0.9-1"))
		if r := w.scanned(ecr.ImageID{Tag: "v1"}); r.Scan.Status != ecr.ScanUnavailable || r.Scan.Description == "" {
			t.Errorf("without advisories: %+v", r.Scan)
		}
		w.advise("Debian", osv("DEBIAN-CVE-2026-1", "Debian:12", "other", "3.0.11-1", "HIGH"))
		if r := w.scanned(ecr.ImageID{Tag: "v1"}); r.Scan.Status != ecr.ScanComplete {
			t.Errorf("with advisories that came later: %+v", r.Scan)
		}
		if whole := debian("3.0.9-2"); true {
			w.push("cut", whole[:len(whole)/2])
			if r := w.scanned(ecr.ImageID{Tag: "cut"}); r.Scan.Status != ecr.ScanFailed || r.Findings != nil {
				t.Errorf("a layer that was cut off: %+v", r.Scan)
			}
		}
		w.push("empty", layer(map[string]string{"hello": "world"}))
		if r := w.scanned(ecr.ImageID{Tag: "empty"}); r.Scan.Status != ecr.ScanUnsupported {
			t.Errorf("no packages: %+v", r.Scan)
		}
		config, chart := []byte("{}"), []byte("chart")
		w.blobs(config, chart)
		w.manifest("chart", map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": describe("application/vnd.cncf.helm.config.v1+json", config),
			"layers": []descriptor{describe("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart)}})
		if r := w.scanned(ecr.ImageID{Tag: "chart"}); r.Scan.Status != ecr.ScanUnsupported {
			t.Errorf("a chart: %+v", r.Scan)
		}
		_, _, err := w.StartImageScan(ctx, root, app, ecr.ImageID{Tag: "chart"})
		w.wantCode("scan of a chart", err, ecr.UnsupportedImageType)
		_, _, err = w.StartImageScan(ctx, root, app, ecr.ImageID{Tag: "v1"})
		w.wantCode("a second scan within a day", err, ecr.LimitExceeded)
		w.pass(25 * time.Hour)
		_, s, err := w.StartImageScan(ctx, root, app, ecr.ImageID{Tag: "v1"})
		if err != nil || s.Status != ecr.ScanInProgress {
			t.Errorf("a second scan after a day: %+v, %v", s, err)
		}
		w.scanned(ecr.ImageID{Tag: "v1"})
		_, err = w.UpdateImageStorageClass(ctx, root, app, ecr.ImageID{Digest: digest}, true)
		w.ok(err)
		if r := w.scanned(ecr.ImageID{Tag: "v1"}); r.Scan.Status != ecr.ScanArchived {
			t.Errorf("archived: %+v", r.Scan)
		}
		_, _, err = w.StartImageScan(ctx, root, app, ecr.ImageID{Tag: "v1"})
		w.wantCode("scan of an archived image", err, ecr.ImageIsArchived)
		_, err = w.PutImageScanningConfiguration(ctx, root, app, false)
		w.ok(err)
		w.push("manual", debian("3.0.1"))
		_, err = w.findings(ecr.ImageID{Tag: "manual"})
		w.wantCode("never scanned", err, ecr.ScanNotFound)
		_, _, err = w.StartImageScan(ctx, root, app, ecr.ImageID{Tag: "manual"})
		w.ok(err)
		w.scanned(ecr.ImageID{Tag: "manual"})
		_, err = w.PutRegistryScanningConfiguration(ctx, root, enhanced)
		w.ok(err)
		_, _, err = w.StartImageScan(ctx, root, app, ecr.ImageID{Tag: "manual"})
		w.wantCode("scan while enhanced", err, ecr.Validation)
	})
}

// TestIndex: the findings of an index are those of its images.
func TestIndex(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.advise("Debian", osv("DEBIAN-CVE-2026-1", "Debian:12", "openssl", "3.0.11-1", "HIGH"))
		a, b := w.push("", debian("3.0.9-1")), w.push("", debian("3.0.9-2"))
		m := map[string]any{"schemaVersion": 2, "mediaType": indexType}
		var list []map[string]any
		for _, d := range []string{a, b} {
			img, _, err := w.DescribeImages(context.Background(), root, app, []ecr.ImageID{{Digest: d}}, ecr.ImageFilter{}, ecr.Page{})
			w.ok(err)
			list = append(list, map[string]any{"mediaType": manifestType, "digest": d, "size": img[0].ManifestSize})
		}
		m["manifests"] = list
		w.manifest("multi", m)
		r := w.scanned(ecr.ImageID{Tag: "multi"})
		if r.Scan.Status != ecr.ScanComplete || r.Scan.Counts["HIGH"] != 2 || len(r.Findings) != 2 || r.Findings[0].Image.Digest == r.Findings[1].Image.Digest {
			t.Errorf("index: %+v %v", r.Scan, names(r))
		}
		one, err := w.DescribeImageScanFindings(context.Background(), root, app, ecr.ImageID{Tag: "multi"}, ecr.Page{Limit: 1})
		w.ok(err)
		two, err := w.DescribeImageScanFindings(context.Background(), root, app, ecr.ImageID{Tag: "multi"}, ecr.Page{Limit: 1, Token: one.Next})
		w.ok(err)
		if len(one.Findings) != 1 || len(two.Findings) != 1 || one.Findings[0].Image.Digest == two.Findings[0].Image.Digest || two.Next != "" {
			t.Error("the pages of the findings of an index overlap")
		}
	})
}

// TestBlastRadius: images by package and versions, with what they are built on.
func TestBlastRadius(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		base := debian("3.0.9-1")
		baseDigest := w.push("base", base)
		w.scanned(ecr.ImageID{Tag: "base"})
		w.push("app", base, npm("lodash", "4.17.15"))
		w.push("new", debian("3.1.0-1"))
		w.scanned(ecr.ImageID{Tag: "app"})
		w.scanned(ecr.ImageID{Tag: "new"})
		find := func(q registry.VulnerableQuery) (tags []string) {
			t.Helper()
			list, _, err := w.FindVulnerableImages(ctx, root, account, q, ecr.Page{})
			w.ok(err)
			for _, v := range list {
				tags = append(tags, v.Image.Tags...)
				if v.Image.Tags[0] == "app" && q.Package == "openssl" && (v.Base == nil || v.Base.Digest != baseDigest) {
					t.Errorf("app is built on %v, want base", v.Base)
				}
			}
			return tags
		}
		for _, c := range []struct {
			q    registry.VulnerableQuery
			want []string
		}{
			{registry.VulnerableQuery{Package: "openssl", Versions: "<3.0.11"}, []string{"base", "app"}},
			{registry.VulnerableQuery{Package: "openssl", Versions: ">=3.0.10", Ecosystem: "Debian:12"}, []string{"new"}},
			{registry.VulnerableQuery{Package: "openssl"}, []string{"base", "app", "new"}},
			{registry.VulnerableQuery{Package: "lodash", Versions: "4.17.15"}, []string{"app"}},
			{registry.VulnerableQuery{Package: "lodash", Versions: ">=4.17.16, <5"}, nil},
			{registry.VulnerableQuery{Vulnerability: "CVE-1999-1"}, nil},
		} {
			if got := find(c.q); !slices.Equal(got, c.want) {
				t.Errorf("%+v: %v, want %v", c.q, got, c.want)
			}
		}
		for _, bad := range []registry.VulnerableQuery{{}, {Package: "a", Vulnerability: "b"}, {Package: "a", Versions: "<1,<2"}, {Package: "a", Versions: "<"}, {Package: "a", Versions: "1,2"}} {
			_, _, err := w.FindVulnerableImages(ctx, root, account, bad, ecr.Page{})
			w.wantCode(fmt.Sprint(bad), err, ecr.InvalidParameter)
		}
		_, inv, err := w.ImageInventory(ctx, root, app, ecr.ImageID{Tag: "app"})
		w.ok(err)
		if len(inv.Packages) != 2 || inv.OS.ID != "debian" || inv.Config.Platform() != "linux/amd64" {
			t.Errorf("inventory %+v", inv)
		}
	})
}

// TestAttachedSBOM: where layers tell of no packages, a bill of materials that the
// build attached does.
func TestAttachedSBOM(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.advise("npm", osv("GHSA-1", "npm", "lodash", "4.17.21", "CRITICAL"))
		_, err := w.PutRegistryScanningConfiguration(ctx, root, enhanced)
		w.ok(err)
		w.push("full", debian("3.0.9-1"), npm("lodash", "4.17.15"))
		w.scanned(ecr.ImageID{Tag: "full"})
		_, _, document, err := w.ImageSBOM(ctx, root, app, ecr.ImageID{Tag: "full"}, vuln.CycloneDXType)
		w.ok(err)
		bare := w.push("bare", layer(map[string]string{"app": "a program"}))
		if r := w.scanned(ecr.ImageID{Tag: "bare"}); r.Scan.Status != ecr.ScanUnsupported {
			t.Fatalf("bare: %+v", r.Scan)
		}
		config := []byte("{}")
		w.blobs(config, document)
		w.manifest("", map[string]any{"schemaVersion": 2, "mediaType": manifestType, "artifactType": vuln.CycloneDXType,
			"config": describe("application/vnd.oci.empty.v1+json", config), "layers": []descriptor{describe(vuln.CycloneDXType, document)},
			"subject": map[string]any{"mediaType": manifestType, "digest": bare, "size": 1}})
		w.await("the scan by the bill of materials", func() bool {
			r, err := w.findings(ecr.ImageID{Tag: "bare"})
			return err == nil && r.Scan.Counts["CRITICAL"] == 1
		})
		_, inv, err := w.ImageInventory(ctx, root, app, ecr.ImageID{Tag: "bare"})
		if err != nil || !inv.Sourced {
			t.Errorf("the source is not marked: %v", err)
		}
	})
}

// TestAttachSBOM: a repository that wants so has bills of materials among the
// referrers of its images.
func TestAttachSBOM(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.advise("Debian", osv("DEBIAN-CVE-2026-1", "Debian:12", "openssl", "3.0.11-1", "HIGH"))
		w.ok(w.TagResource(ctx, root, app.ARN("us-east-1"), []ecr.Tag{{Key: registry.AttachTag, Value: "cyclonedx/spdx"}}))
		digest := w.push("v1", debian("3.0.9-1"))
		var refs []*ecr.Image
		w.await("both documents", func() bool {
			var err error
			refs, _, err = w.ListImageReferrers(ctx, root, app, digest, nil, ecr.Page{})
			w.ok(err)
			return len(refs) == 2
		})
		types := []string{refs[0].ArtifactType, refs[1].ArtifactType}
		slices.Sort(types)
		if !slices.Equal(types, []string{vuln.SPDXType, vuln.CycloneDXType}) {
			t.Errorf("referrers %v", types)
		}
		w.scanned(ecr.ImageID{Tag: "v1"})
		w.pass(25 * time.Hour)
		_, _, err := w.StartImageScan(ctx, root, app, ecr.ImageID{Tag: "v1"})
		w.ok(err)
		w.await("the second scan", func() bool {
			r, err := w.findings(ecr.ImageID{Tag: "v1"})
			return err == nil && r.Scan.CompletedAt.Equal(w.time())
		})
		if refs, _, err = w.ListImageReferrers(ctx, root, app, digest, nil, ecr.Page{}); err != nil || len(refs) != 2 {
			t.Errorf("after a second scan: %d referrers, %v", len(refs), err)
		}
		_, err = w.findings(ecr.ImageID{Digest: refs[0].Digest})
		w.wantCode("the scan of a bill of materials", err, ecr.ScanNotFound)
	})
}

// TestAdvisoriesThatComeLater: a scan says of which packages there are no
// advisories for as long as there are none, also if these find nothing.
func TestAdvisoriesThatComeLater(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		_, err := w.PutRegistryScanningConfiguration(context.Background(), root, enhanced)
		w.ok(err)
		w.advise("Debian", osv("DEBIAN-CVE-2026-1", "Debian:12", "openssl", "3.0.11-1", "HIGH"))
		w.push("v1", debian("3.0.9-1"), npm("lodash", "4.17.15"))
		r := w.scanned(ecr.ImageID{Tag: "v1"})
		if r.Scan.Status != ecr.ScanActive || !strings.Contains(r.Scan.Description, "npm") {
			t.Errorf("without advisories of npm: %+v", r.Scan)
		}
		w.advise("npm", osv("GHSA-2", "npm", "other", "9.0.0", "LOW"))
		r, err = w.findings(ecr.ImageID{Tag: "v1"})
		w.ok(err)
		if r.Scan.Status != ecr.ScanActive || r.Scan.Description != "Continuous scan is selected for image." || !maps.Equal(r.Scan.Counts, map[string]int{"HIGH": 1}) {
			t.Errorf("with advisories of npm: %+v", r.Scan)
		}
	})
}
