package advisor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

// A Blast is where a vulnerability or a package is, as a list of work: the group
// first of which one rebuild mends most.
type Blast struct {
	Images int          `json:"images"`
	Groups []BlastGroup `json:"groups"`
}

// A BlastGroup is images that have it from one source: a base image of the
// registry, or a layer whose image the registry does not have.
type BlastGroup struct {
	Base         string       `json:"baseImage,omitempty"` // repository@digest; the first to rebuild
	Layer        string       `json:"layerDigest,omitempty"`
	Repositories []string     `json:"repositories"`
	Teams        []string     `json:"teams"`
	FixedIn      []BlastFix   `json:"fixedIn"`
	Images       []BlastImage `json:"images"` // in the order in which to rebuild them
	open         int          // images where it is not set aside
}

// A BlastFix is the version in which a package is fixed.
type BlastFix struct {
	Package string `json:"packageName"`
	Version string `json:"version"`
}

// A BlastImage is an image that has it.
type BlastImage struct {
	Registry     string         `json:"registryId"`
	Repository   string         `json:"repositoryName"`
	Digest       string         `json:"imageDigest"`
	Tags         []string       `json:"imageTags"`
	Team         string         `json:"team,omitempty"`
	PushedAt     *time.Time     `json:"imagePushedAt,omitempty"`
	LastPulledAt *time.Time     `json:"lastRecordedPullTime,omitempty"`
	Base         string         `json:"baseImage,omitempty"`
	Packages     []BlastPackage `json:"packages"`
	depth        int            // how many bases lie under it
}

// A BlastPackage is one of its packages.
type BlastPackage struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Path       string `json:"filePath,omitempty"`
	Layer      string `json:"layerDigest,omitempty"`
	Severity   string `json:"severity,omitempty"`
	FixedIn    string `json:"fixedInVersion,omitempty"`
	Suppressed bool   `json:"suppressed"`
}

// Name is repository@digest.
func (b *BlastImage) Name() string { return b.Repository + "@" + b.Digest }

// Suppressed reports whether it is set aside for all packages of the image.
func (b *BlastImage) Suppressed() bool {
	return !slices.ContainsFunc(b.Packages, func(p BlastPackage) bool { return !p.Suppressed })
}

// maxVulnerable bounds the images of a blast.
const maxVulnerable = 500_000

// Vulnerable reads all images that have what q names. Only Ecru knows.
func (e *Endpoint) Vulnerable(ctx context.Context, q ext.FindVulnerableImagesInput, progress func(int)) ([]ext.VulnerableImage, error) {
	var out []ext.VulnerableImage
	q.MaxResults = aws.Int32(1000)
	for {
		page := new(ext.FindVulnerableImagesOutput)
		if err := e.Call(ctx, "FindVulnerableImages", &q, page); err != nil {
			return nil, err
		}
		out = append(out, page.Images...)
		if progress != nil {
			progress(len(out))
		}
		if page.NextToken == nil || len(out) > maxVulnerable {
			return out, nil
		}
		q.NextToken = page.NextToken
	}
}

// Worklist puts images in order. team is the key of the repositories' tag that
// names who they are of.
func Worklist(list []ext.VulnerableImage, team string) Blast {
	images := map[string]*BlastImage{}
	var order []string
	for i := range list {
		b := blastImage(&list[i], team)
		if images[b.Name()] == nil {
			order = append(order, b.Name())
		}
		images[b.Name()] = b
	}
	bases := map[string]bool{}
	for _, b := range images {
		bases[b.Base] = b.Base != ""
	}
	groups := map[[2]string]*BlastGroup{}
	for _, name := range order {
		b := images[name]
		key := source(b, images, bases)
		g := groups[key]
		if g == nil {
			g = &BlastGroup{Base: key[0], Layer: key[1]}
			groups[key] = g
		}
		g.Images = append(g.Images, *b)
	}
	out := Blast{Images: len(images), Groups: []BlastGroup{}}
	for _, g := range groups {
		g.tidy()
		out.Groups = append(out.Groups, *g)
	}
	slices.SortFunc(out.Groups, func(a, b BlastGroup) int {
		return cmp.Or(b.open-a.open, len(b.Images)-len(a.Images), cmp.Compare(a.Base+a.Layer, b.Base+b.Layer))
	})
	return out
}

func blastImage(v *ext.VulnerableImage, team string) *BlastImage {
	b := &BlastImage{
		Registry: aws.ToString(v.RegistryId), Repository: aws.ToString(v.RepositoryName), Digest: aws.ToString(v.ImageDigest), Tags: listed(v.ImageTags),
		PushedAt: given(aws.ToTime(v.ImagePushedAt)), LastPulledAt: given(aws.ToTime(v.LastRecordedPullTime)), Base: aws.ToString(v.BaseImage), Packages: []BlastPackage{},
	}
	for _, t := range v.RepositoryTags {
		if aws.ToString(t.Key) == team {
			b.Team = aws.ToString(t.Value)
		}
	}
	for _, p := range v.Packages {
		b.Packages = append(b.Packages, BlastPackage{
			Name: aws.ToString(p.Name), Version: aws.ToString(p.Version), Path: aws.ToString(p.FilePath), Layer: aws.ToString(p.SourceLayerHash),
			Severity: aws.ToString(p.Severity), FixedIn: aws.ToString(p.FixedInVersion), Suppressed: aws.ToBool(p.Suppressed),
		})
	}
	return b
}

// source is what an image has it from: its lowest base that has it (and itself, if
// it is one), or else the layer.
func source(b *BlastImage, images map[string]*BlastImage, bases map[string]bool) [2]string {
	root, seen := b.Name(), map[string]bool{b.Name(): true}
	for at := b; at != nil && at.Base != "" && !seen[at.Base]; at = images[at.Base] {
		root = at.Base
		seen[root] = true
		b.depth++
	}
	if b.depth > 0 || bases[b.Name()] {
		return [2]string{root, ""}
	}
	if len(b.Packages) > 0 && b.Packages[0].Layer != "" {
		return [2]string{"", b.Packages[0].Layer}
	}
	return [2]string{b.Name(), ""}
}

// tidy puts the images in the order of rebuilding, what was pulled last first, and
// sums up.
func (g *BlastGroup) tidy() {
	pulled := func(b *BlastImage) int64 {
		if b.LastPulledAt == nil {
			return 0
		}
		return b.LastPulledAt.UnixMilli()
	}
	slices.SortFunc(g.Images, func(a, b BlastImage) int {
		return cmp.Or(a.depth-b.depth, cmp.Compare(pulled(&b), pulled(&a)), cmp.Compare(a.Name(), b.Name()))
	})
	g.Repositories, g.Teams, g.FixedIn = []string{}, []string{}, []BlastFix{}
	for i := range g.Images {
		b := &g.Images[i]
		if !b.Suppressed() {
			g.open++
		}
		g.Repositories = append(g.Repositories, b.Repository)
		if b.Team != "" {
			g.Teams = append(g.Teams, b.Team)
		}
		for _, p := range b.Packages {
			if fix := (BlastFix{p.Name, p.FixedIn}); p.FixedIn != "" && !slices.Contains(g.FixedIn, fix) {
				g.FixedIn = append(g.FixedIn, fix)
			}
		}
	}
	for _, l := range []*[]string{&g.Repositories, &g.Teams} {
		slices.Sort(*l)
		*l = slices.Compact(*l)
	}
	slices.SortFunc(g.FixedIn, func(a, b BlastFix) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version))
	})
}
