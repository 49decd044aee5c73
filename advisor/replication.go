package advisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/oci"
)

// ParseReplication reads a replication configuration as aws ecr takes it,
// alone or as the member of a request or an answer.
func ParseReplication(text []byte) (*ecr.ReplicationConfiguration, error) {
	type document struct {
		Rules []struct {
			Destinations      []struct{ Region, RegistryID string }
			RepositoryFilters []struct{ Filter, FilterType string }
		}
	}
	var in struct {
		document
		ReplicationConfiguration *document
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("not a replication configuration: %w", err)
	}
	doc := in.document
	if in.ReplicationConfiguration != nil {
		doc = *in.ReplicationConfiguration
	}
	if doc.Rules == nil {
		return nil, errors.New(`not a replication configuration: there are no "rules"`)
	}
	cfg := new(ecr.ReplicationConfiguration)
	for n, r := range doc.Rules {
		var rule ecr.ReplicationRule
		for _, d := range r.Destinations {
			rule.Destinations = append(rule.Destinations, ecr.Destination{Region: d.Region, Account: d.RegistryID})
		}
		for _, f := range r.RepositoryFilters {
			if f.FilterType != "PREFIX_MATCH" {
				return nil, fmt.Errorf("rule %d: filterType %q: PREFIX_MATCH is the only one", n+1, f.FilterType)
			}
			rule.Prefixes = append(rule.Prefixes, f.Filter)
		}
		cfg.Rules = append(cfg.Rules, rule)
	}
	return cfg, nil
}

// Replication returns the endpoint's own configuration.
func (e *Endpoint) Replication(ctx context.Context) (*ecr.ReplicationConfiguration, error) {
	out, err := e.ECR.DescribeRegistry(ctx, &sdk.DescribeRegistryInput{})
	if err != nil {
		return nil, err
	}
	cfg := new(ecr.ReplicationConfiguration)
	if out.ReplicationConfiguration == nil {
		return cfg, nil
	}
	for _, r := range out.ReplicationConfiguration.Rules {
		var rule ecr.ReplicationRule
		for _, d := range r.Destinations {
			rule.Destinations = append(rule.Destinations, ecr.Destination{Region: aws.ToString(d.Region), Account: aws.ToString(d.RegistryId)})
		}
		for _, f := range r.RepositoryFilters {
			rule.Prefixes = append(rule.Prefixes, aws.ToString(f.Filter))
		}
		cfg.Rules = append(cfg.Rules, rule)
	}
	return cfg, nil
}

// LintReplication returns what is likely not meant in a configuration, given
// the names of the repositories that there are.
func LintReplication(cfg *ecr.ReplicationConfiguration, own ecr.Destination, repositories []string) (findings []string) {
	for n, r := range cfg.Rules {
		if len(r.Destinations) == 0 {
			findings = append(findings, fmt.Sprintf("rule %d has no destinations: it does nothing", n+1))
		}
		if slices.Contains(r.Destinations, own) {
			findings = append(findings, fmt.Sprintf("rule %d: %s is the source itself: ECR refuses that", n+1, own))
		}
		for _, p := range r.Prefixes {
			matches := slices.ContainsFunc(repositories, func(name string) bool { return strings.HasPrefix(name, p) })
			switch meant := p[:max(strings.IndexAny(p, "*?"), 0)]; {
			case strings.ContainsAny(p, "*?"):
				findings = append(findings, fmt.Sprintf("rule %d: the filter %q is a literal prefix, and no repository's name has a %q: say %q", n+1, p, p[len(meant):len(meant)+1], meant))
			case !matches:
				findings = append(findings, fmt.Sprintf("rule %d: the filter %q matches no repository that there is", n+1, p))
			}
		}
	}
	if all := cfg.All(); len(all) > 25 {
		findings = append(findings, fmt.Sprintf("there are %d destinations: ECR takes 25", len(all)))
	}
	return findings
}

// A ReplicationPlan is what a configuration is about.
type ReplicationPlan struct {
	Destinations []PlannedReplication `json:"destinations"`
	Findings     []string             `json:"findings"`
}

// A PlannedReplication is what would be in a destination if all that matches
// now were there.
type PlannedReplication struct {
	Region       string `json:"region"`
	Account      string `json:"registryId"`
	Repositories int    `json:"repositories"`
	Images       int    `json:"images"`
	Tags         int    `json:"tags"`
	Bytes        int64  `json:"bytes"` // of manifests and layers, each layer once

	layers map[string]bool
}

// PlanReplication reads what a configuration would copy. progress, if not nil,
// is told of each repository.
func (e *Endpoint) PlanReplication(ctx context.Context, cfg *ecr.ReplicationConfiguration, progress func(repository string)) (*ReplicationPlan, error) {
	plan := &ReplicationPlan{Destinations: []PlannedReplication{}}
	for _, d := range cfg.All() {
		plan.Destinations = append(plan.Destinations, PlannedReplication{Region: d.Region, Account: d.Account, layers: map[string]bool{}})
	}
	names, err := e.repositoryNames(ctx)
	if err != nil {
		return nil, err
	}
	plan.Findings = LintReplication(cfg, ecr.Destination{Region: e.Region, Account: e.Account}, names)
	for _, name := range names {
		var to []*PlannedReplication
		for i := range plan.Destinations {
			d := &plan.Destinations[i]
			if cfg.Matches(name, ecr.Destination{Region: d.Region, Account: d.Account}) {
				d.Repositories++
				to = append(to, d)
			}
		}
		if len(to) == 0 {
			continue
		}
		if progress != nil {
			progress(name)
		}
		if err := e.planRepository(ctx, name, to); err != nil {
			return nil, fmt.Errorf("repository %s: %w", name, err)
		}
	}
	return plan, nil
}

func (e *Endpoint) repositoryNames(ctx context.Context) (names []string, err error) {
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

// planRepository adds the images of a repository to destinations.
func (e *Endpoint) planRepository(ctx context.Context, name string, to []*PlannedReplication) error {
	here, err := e.images(ctx, name)
	if err != nil {
		return err
	}
	digests := make([]string, 0, len(here.digests))
	for d := range here.digests {
		digests = append(digests, d)
	}
	for _, d := range to {
		d.Images += len(here.digests)
		d.Tags += len(here.tags)
	}
	for part := range slices.Chunk(digests, 100) {
		in := &sdk.BatchGetImageInput{RepositoryName: &name}
		for _, d := range part {
			in.ImageIds = append(in.ImageIds, types.ImageIdentifier{ImageDigest: &d})
		}
		out, err := e.ECR.BatchGetImage(ctx, in)
		if err != nil {
			return err
		}
		for _, img := range out.Images {
			payload := aws.ToString(img.ImageManifest)
			m, err := oci.Parse([]byte(payload), aws.ToString(img.ImageManifestMediaType))
			if err != nil {
				continue // of a type that carries no layers known here
			}
			for _, d := range to {
				d.Bytes += int64(len(payload))
				for _, l := range m.Blobs() {
					if !d.layers[string(l.Digest)] {
						d.layers[string(l.Digest)] = true
						d.Bytes += l.Size
					}
				}
			}
		}
	}
	return nil
}

// A listing is what a repository holds.
type listing struct {
	digests map[string]bool
	tags    map[string]string // to digests
}

// images lists a repository that may not exist.
func (e *Endpoint) images(ctx context.Context, name string) (out listing, err error) {
	return listImages(ctx, e.ECR, "", name)
}

func listImages(ctx context.Context, c *sdk.Client, account, name string) (listing, error) {
	out := listing{map[string]bool{}, map[string]string{}}
	in := &sdk.ListImagesInput{RepositoryName: &name}
	if account != "" {
		in.RegistryId = &account
	}
	pages := sdk.NewListImagesPaginator(c, in, func(o *sdk.ListImagesPaginatorOptions) { o.Limit = 1000 })
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, absent := errors.AsType[*types.RepositoryNotFoundException](err); absent {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		for _, id := range page.ImageIds {
			out.digests[aws.ToString(id.ImageDigest)] = true
			if id.ImageTag != nil {
				out.tags[*id.ImageTag] = aws.ToString(id.ImageDigest)
			}
		}
	}
	return out, nil
}

// A Difference is what a destination does not have as the source has it.
type Difference struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"`          // at the source
	Tag        string `json:"tag,omitempty"`   // "" for the image itself
	There      string `json:"there,omitempty"` // the digest that the tag has at the destination, if another
}

// String says it in a line.
func (d Difference) String() string {
	switch {
	case d.Tag == "":
		return fmt.Sprintf("%s@%s is missing", d.Repository, d.Digest)
	case d.There == "":
		return fmt.Sprintf("%s:%s is missing (%s)", d.Repository, d.Tag, d.Digest)
	}
	return fmt.Sprintf("%s:%s is %s there, %s here", d.Repository, d.Tag, d.There, d.Digest)
}

// A Comparison is of a source and one destination.
type Comparison struct {
	Repositories int          `json:"repositories"`
	Images       int          `json:"images"`
	Differences  []Difference `json:"differences"`
}

// CompareReplica compares, digest by digest, the repositories that a
// configuration sends to a destination, which is read through there. What is
// only at the destination is no difference: deletions are not replicated.
func (e *Endpoint) CompareReplica(ctx context.Context, cfg *ecr.ReplicationConfiguration, there *Endpoint, to ecr.Destination, progress func(repository string)) (*Comparison, error) {
	names, err := e.repositoryNames(ctx)
	if err != nil {
		return nil, err
	}
	out := &Comparison{Differences: []Difference{}}
	for _, name := range names {
		if !cfg.Matches(name, to) {
			continue
		}
		if progress != nil {
			progress(name)
		}
		here, err := e.images(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", name, err)
		}
		other, err := listImages(ctx, there.ECR, to.Account, name)
		if err != nil {
			return nil, fmt.Errorf("repository %s at %s: %w", name, to, err)
		}
		out.Repositories++
		out.Images += len(here.digests)
		out.Differences = append(out.Differences, differences(name, here, other)...)
	}
	return out, nil
}

func differences(name string, here, there listing) (out []Difference) {
	for digest := range here.digests {
		if !there.digests[digest] {
			out = append(out, Difference{Repository: name, Digest: digest})
		}
	}
	for tag, digest := range here.tags {
		if got := there.tags[tag]; got != digest {
			out = append(out, Difference{Repository: name, Digest: digest, Tag: tag, There: got})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return strings.Compare(a.Tag+"\x00"+a.Digest, b.Tag+"\x00"+b.Digest)
	})
	return out
}
