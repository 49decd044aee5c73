package advisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/oci"
)

// appID is how the advisor's own calls are told from pulls in the trail.
const appID = "ecru-advisor"

// Evidence says how good a history is.
type Evidence struct {
	// Oldest is the oldest record of any repository that was seen: before it the
	// trail has nothing, or nothing was done. Zero: no record was seen.
	Oldest time.Time
	// Records are those that were looked at, Own the advisor's own pulls.
	Records, Own int
	// Unidentified are pushes whose image is not known.
	Unidentified int
	// Merged are records that stand for several calls, of which only the first
	// one's images are known.
	Merged int
}

// Events that a history is made of.
var (
	pushEvents = []string{"PutImage", "BatchDeleteImage"}
	pullEvents = []string{"BatchGetImage", "GetDownloadUrlForLayer"}
)

// History reads what the audit trail has about a repository since a time
// (CloudTrail API, LookupEvents): pushes and deletions, and pulls if asked for.
// Calls that failed, and the advisor's own, are left out. progress, if not nil,
// is told of the records seen.
func (e *Endpoint) History(ctx context.Context, c *Contents, since time.Time, pulls bool, progress func(records int)) (*lifecycle.History, *Evidence, error) {
	h := &historian{contents: c, account: e.Account, history: &lifecycle.History{Images: c.Images, Layers: c.Layers, Gone: map[string]lifecycle.GoneImage{}}}
	names := pushEvents
	if pulls {
		names = append(names[:len(names):len(names)], pullEvents...)
	}
	for _, name := range names {
		in := &cloudtrail.LookupEventsInput{StartTime: &since, LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: &name}}}
		pages := cloudtrail.NewLookupEventsPaginator(e.CloudTrail, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, nil, err
			}
			for i := range page.Events {
				h.record(aws.ToTime(page.Events[i].EventTime), aws.ToString(page.Events[i].CloudTrailEvent))
			}
			if progress != nil {
				progress(h.evidence.Records)
			}
		}
	}
	for _, list := range [][]lifecycle.Push{h.history.Pushes, h.history.Deletes} {
		slices.Reverse(list) // the newest came first
	}
	slices.Reverse(h.history.Pulls)
	return h.history, &h.evidence, nil
}

// A historian reads records into a history.
type historian struct {
	contents *Contents
	account  string
	history  *lifecycle.History
	evidence Evidence
}

// A trailRecord is what is read of a record (CloudTrail user guide, "CloudTrail
// record contents").
type trailRecord struct {
	EventSource, EventName, ErrorCode, UserAgent string
	UserIdentity                                 struct{ ARN string }
	RequestParameters                            struct {
		RegistryID, RepositoryName string
		ImageIDs                   []trailImage
		ImageTag, ImageDigest      string
		ImageManifest              string
		LayerDigest                string
	}
	ResponseElements struct {
		Image struct {
			ImageID trailImage
		}
	}
	AdditionalEventData struct {
		Calls    int
		Registry bool
	}
}

type trailImage struct{ ImageDigest, ImageTag string }

// record takes up a record. Records that are not what they should be are passed
// over, as those of other services are.
func (h *historian) record(at time.Time, text string) {
	h.evidence.Records++
	if h.evidence.Oldest.IsZero() || at.Before(h.evidence.Oldest) {
		h.evidence.Oldest = at
	}
	var r trailRecord
	if json.Unmarshal([]byte(text), &r) != nil || r.EventSource != "ecr.amazonaws.com" || r.ErrorCode != "" {
		return
	}
	q := &r.RequestParameters
	if q.RepositoryName != h.contents.Name || q.RegistryID != "" && q.RegistryID != h.account {
		return
	}
	if strings.Contains(r.UserAgent, "app/"+appID) {
		h.evidence.Own++
		return
	}
	// Records are to the second: what was pushed in it is taken to be older than
	// what was pulled or deleted in it.
	when, end := lifecycle.At(at), lifecycle.At(at.Truncate(time.Second))+lifecycle.Instant(time.Second-1)
	switch r.EventName {
	case "PutImage":
		h.push(when, &r)
	case "BatchDeleteImage":
		for _, id := range q.ImageIDs {
			h.history.Deletes = append(h.history.Deletes, lifecycle.Push{At: end, Digest: id.ImageDigest, Tag: id.ImageTag})
		}
	case "BatchGetImage":
		h.merged(&r)
		for _, id := range q.ImageIDs {
			h.pull(end, &r, lifecycle.Pull{Digest: id.ImageDigest, Tag: id.ImageTag})
		}
	case "GetDownloadUrlForLayer":
		h.merged(&r)
		h.pull(end, &r, lifecycle.Pull{Layer: q.LayerDigest})
	}
}

// merged counts records that stand for calls about other images too: those of
// the registry's own protocol share one only if they are about the same image.
func (h *historian) merged(r *trailRecord) {
	if r.AdditionalEventData.Calls > 1 && !r.AdditionalEventData.Registry {
		h.evidence.Merged++
	}
}

func (h *historian) pull(at lifecycle.Instant, r *trailRecord, p lifecycle.Pull) {
	if p.Digest == "" && p.Tag == "" && p.Layer == "" {
		return
	}
	p.At, p.By, p.Calls = at, r.UserIdentity.ARN, max(r.AdditionalEventData.Calls, 1)
	h.history.Pulls = append(h.history.Pulls, p)
}

// push takes up a PutImage. The digest is what the answer says, or the request,
// or that of the manifest; Ecru's records have only the head of a long one.
func (h *historian) push(at lifecycle.Instant, r *trailRecord) {
	q := &r.RequestParameters
	p := lifecycle.Push{At: at, Digest: r.ResponseElements.Image.ImageID.ImageDigest, Tag: q.ImageTag}
	if p.Tag == "" {
		p.Tag = r.ResponseElements.Image.ImageID.ImageTag
	}
	if len(q.ImageIDs) > 0 {
		p.Digest, p.Tag = q.ImageIDs[0].ImageDigest, q.ImageIDs[0].ImageTag
	}
	if p.Digest == "" {
		p.Digest = q.ImageDigest
	}
	manifest, err := oci.Parse([]byte(q.ImageManifest), "")
	if p.Digest == "" && err == nil {
		sum := sha256.Sum256([]byte(q.ImageManifest))
		p.Digest = "sha256:" + hex.EncodeToString(sum[:])
	}
	if p.Digest == "" {
		p.Digest = h.pushedAt(at, p.Tag)
	}
	if p.Digest == "" {
		h.evidence.Unidentified++
		return
	}
	i, there := h.contents.index[p.Digest]
	if there && h.contents.Images[i].PushedAt.Time().Truncate(time.Second).Equal(at.Time()) {
		p.At = h.contents.Images[i].PushedAt // to more than the second
	}
	h.history.Pushes = append(h.history.Pushes, p)
	if !there && err == nil {
		h.history.Gone[p.Digest] = goneImage(manifest)
	}
}

// near is how far the time of a record may be from that of the image.
const near = lifecycle.Instant(2 * time.Second)

// pushedAt is the image that is there and was pushed at a time: the one with the
// tag, or the only one; else "".
func (h *historian) pushedAt(at lifecycle.Instant, tag string) string {
	var found []string
	for i := range h.contents.Images {
		m := &h.contents.Images[i]
		if d := m.PushedAt - at; d < -near || d > near {
			continue
		}
		if slices.Contains(m.Tags, tag) {
			return m.Digest
		}
		found = append(found, m.Digest)
	}
	if len(found) == 1 {
		return found[0]
	}
	return ""
}

func goneImage(m *oci.Manifest) (g lifecycle.GoneImage) {
	for _, d := range m.Manifests {
		g.Children = append(g.Children, string(d.Digest))
	}
	if m.Subject != nil {
		g.Subject = string(m.Subject.Digest)
	}
	for _, d := range m.Blobs() {
		g.Layers = append(g.Layers, string(d.Digest))
	}
	return g
}
