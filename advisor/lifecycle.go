package advisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"golang.org/x/sync/errgroup"

	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/oci"
)

// Contents are the images of a repository, as lifecycle policies see them.
type Contents struct {
	Name   string
	Images []lifecycle.Image
	Lists  int // manifest lists among Images

	// Of ReadManifests: the layers of each image, and how many manifests could
	// not be read, such as those of archived images.
	Layers [][]lifecycle.Layer
	Unread int

	lists []bool
	index map[string]int32 // by digest
}

// RepositoryNames returns the names of all repositories of the caller's account.
func (e *Endpoint) RepositoryNames(ctx context.Context) (names []string, err error) {
	pages := sdk.NewDescribeRepositoriesPaginator(e.ECR, &sdk.DescribeRepositoriesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Repositories {
			names = append(names, aws.ToString(r.RepositoryName))
		}
	}
	return names, nil
}

// LifecyclePolicy returns the policy of a repository; nil: it has none.
func (e *Endpoint) LifecyclePolicy(ctx context.Context, name string) (*lifecycle.Policy, error) {
	out, err := e.ECR.GetLifecyclePolicy(ctx, &sdk.GetLifecyclePolicyInput{RepositoryName: &name})
	if _, none := errors.AsType[*types.LifecyclePolicyNotFoundException](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := lifecycle.Parse([]byte(aws.ToString(out.LifecyclePolicyText)))
	if err != nil {
		return nil, fmt.Errorf("the lifecycle policy of %s cannot be read: %w", name, err)
	}
	return p, nil
}

// Contents reads the images of a repository. What manifest lists refer to is not
// known before ReadManifests. progress, if not nil, is told of the images seen.
func (e *Endpoint) Contents(ctx context.Context, name string, progress func(images int)) (*Contents, error) {
	c := &Contents{Name: name, index: map[string]int32{}}
	var subjects []string
	pages := sdk.NewDescribeImagesPaginator(e.ECR, &sdk.DescribeImagesInput{RepositoryName: &name, MaxResults: aws.Int32(1000),
		Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for i := range page.ImageDetails {
			d := &page.ImageDetails[i]
			c.index[aws.ToString(d.ImageDigest)] = int32(len(c.Images))
			c.Images = append(c.Images, image(d))
			subjects = append(subjects, aws.ToString(d.SubjectManifestDigest))
			list := isList(aws.ToString(d.ImageManifestMediaType))
			c.lists = append(c.lists, list)
			if list {
				c.Lists++
			}
		}
		if progress != nil {
			progress(len(c.Images))
		}
	}
	for i, digest := range subjects {
		c.refer(i, digest)
	}
	return c, nil
}

// refer notes the subject of an image, if it is in the repository.
func (c *Contents) refer(i int, subject string) {
	if s, ok := c.index[subject]; ok && subject != "" {
		c.Images[i].Subject = s
	}
}

func isList(mediaType string) bool {
	return mediaType == oci.MediaTypeIndex || mediaType == oci.MediaTypeDockerList
}

func image(d *types.ImageDetail) lifecycle.Image {
	return lifecycle.Image{
		Digest: aws.ToString(d.ImageDigest), Tags: d.ImageTags, Size: aws.ToInt64(d.ImageSizeInBytes), Subject: -1,
		PushedAt: lifecycle.At(aws.ToTime(d.ImagePushedAt)), LastPulledAt: lifecycle.At(aws.ToTime(d.LastRecordedPullTime)),
		ArchivedAt: lifecycle.At(aws.ToTime(d.LastArchivedAt)), ActivatedAt: lifecycle.At(aws.ToTime(d.LastActivatedAt)),
		Archived: d.ImageStatus == types.ImageStatusArchived,
	}
}

const (
	// manifestBatch is how many images one BatchGetImage asks for (ECR API).
	manifestBatch = 100
	// manifestCalls is how many are on their way at once.
	manifestCalls = 4
)

// ReadManifests reads the manifests of lists, or of all images, and notes what
// lists refer to, subjects and layers. The registry counts it as pulls. progress,
// if not nil, is told of the manifests read.
func (e *Endpoint) ReadManifests(ctx context.Context, c *Contents, all bool, progress func(manifests int)) error {
	var want []int
	for i := range c.Images {
		if (all || c.lists[i]) && !c.Images[i].Archived {
			want = append(want, i)
		} else if all || c.lists[i] {
			c.Unread++
		}
	}
	if all {
		c.Layers = make([][]lifecycle.Layer, len(c.Images))
	}
	var mu sync.Mutex
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(manifestCalls)
	for len(want) > 0 {
		n := min(len(want), manifestBatch)
		batch := want[:n]
		want = want[n:]
		g.Go(func() error {
			out, err := e.manifests(ctx, c, batch)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			c.note(out, len(batch))
			if done += len(batch); progress != nil {
				progress(done)
			}
			return nil
		})
	}
	return g.Wait()
}

func (e *Endpoint) manifests(ctx context.Context, c *Contents, batch []int) ([]types.Image, error) {
	in := &sdk.BatchGetImageInput{RepositoryName: &c.Name,
		AcceptedMediaTypes: []string{oci.MediaTypeManifest, oci.MediaTypeIndex, oci.MediaTypeDockerManifest, oci.MediaTypeDockerList, oci.MediaTypeArtifact}}
	for _, i := range batch {
		in.ImageIds = append(in.ImageIds, types.ImageIdentifier{ImageDigest: &c.Images[i].Digest})
	}
	out, err := e.ECR.BatchGetImage(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Images, nil
}

// note takes up what the manifests of a batch say.
func (c *Contents) note(list []types.Image, asked int) {
	read := 0
	for i := range list {
		if list[i].ImageId == nil {
			continue
		}
		n, ok := c.index[aws.ToString(list[i].ImageId.ImageDigest)]
		m, err := oci.Parse([]byte(aws.ToString(list[i].ImageManifest)), aws.ToString(list[i].ImageManifestMediaType))
		if !ok || err != nil {
			continue
		}
		read++
		for _, d := range m.Manifests {
			if child, ok := c.index[string(d.Digest)]; ok {
				c.Images[n].Children = append(c.Images[n].Children, child)
			}
		}
		if m.Subject != nil {
			c.refer(int(n), string(m.Subject.Digest))
		}
		if c.Layers == nil || m.IsIndex() {
			continue
		}
		for _, d := range m.Blobs() {
			c.Layers[n] = append(c.Layers[n], lifecycle.Layer{Digest: string(d.Digest), Size: d.Size})
		}
	}
	c.Unread += max(asked-read, 0)
}

// MovesPullTimes reports whether what the caller reads moves the time of an
// image's last pull: unless the registry has an exclusion for it (ECR API,
// RegisterPullTimeUpdateExclusion). It is true also if that cannot be found out.
func (e *Endpoint) MovesPullTimes(ctx context.Context) bool {
	in := new(sdk.ListPullTimeUpdateExclusionsInput)
	for {
		page, err := e.ECR.ListPullTimeUpdateExclusions(ctx, in)
		if err != nil {
			return true
		}
		for _, arn := range page.PullTimeUpdateExclusions {
			if arn == e.Caller || isRoleOf(arn, e.Caller) {
				return false
			}
		}
		if in.NextToken = page.NextToken; aws.ToString(in.NextToken) == "" {
			return true
		}
	}
}

// isRoleOf reports whether a session's ARN is of the role.
func isRoleOf(role, session string) bool {
	_, rest, ok := strings.Cut(session, ":assumed-role/")
	name, _, ok2 := strings.Cut(rest, "/")
	return ok && ok2 && strings.Contains(role, ":role/") && strings.HasSuffix(role, "/"+name)
}

// CountsPulls reports whether a policy looks at the time of the last pull.
func CountsPulls(p *lifecycle.Policy) bool {
	if p == nil {
		return false
	}
	for i := range p.Rules {
		if p.Rules[i].Selection.CountType == lifecycle.SinceImagePulled {
			return true
		}
	}
	return false
}
