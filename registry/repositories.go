package registry

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/meta"
)

// repositoryPattern is ECR's grammar of repository names (API model,
// RepositoryName), as it stands in its errors.
const repositoryPattern = `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`

// A pathComponent is one of the parts that slashes join; it may have the
// separators of the OCI grammar, which are more than the pattern tells.
var pathComponent = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

// checkName checks a repository's name.
func checkName(name string) error {
	if len(name) < 2 {
		return ecr.InvalidParam("repositoryName", "Member must have length greater than or equal to 2")
	}
	if len(name) > 256 {
		return ecr.InvalidParam("repositoryName", "Member must have length less than or equal to 256")
	}
	for part := range strings.SplitSeq(name, "/") {
		if !pathComponent.MatchString(part) {
			return ecr.InvalidParam("repositoryName", "must satisfy regular expression '"+repositoryPattern+"'")
		}
	}
	return nil
}

// checkAccount checks a registry ID.
func checkAccount(account string) error {
	if len(account) != 12 || strings.Trim(account, "0123456789") != "" {
		return ecr.InvalidParam("registryId", "must satisfy regular expression '[0-9]{12}'")
	}
	return nil
}

// settle checks the settings of a new repository and fills in the defaults.
func settle(repo *ecr.Repository) error {
	if repo.Mutability == "" {
		repo.Mutability = ecr.Mutable
	}
	if err := checkMutability(repo.Mutability, repo.MutabilityExclusion); err != nil {
		return err
	}
	switch repo.Encryption.Type {
	case "":
		repo.Encryption.Type = "AES256"
	case "AES256":
	default:
		return ecr.InvalidParam("encryptionConfiguration", "Ecru encrypts with the disk that it is given: only AES256 is accepted, a key of KMS is not")
	}
	if repo.Encryption.KMSKey != "" {
		return ecr.InvalidParam("encryptionConfiguration", "kmsKey can be given only with encryptionType KMS")
	}
	if repo.Policy != "" {
		text, err := settlePolicy("repository", repo.Policy)
		if err != nil {
			return err
		}
		repo.Policy = text
	}
	if repo.LifecyclePolicy != "" {
		if _, err := parseLifecycle(repo.LifecyclePolicy); err != nil {
			return err
		}
	}
	tags, err := mergeTags(nil, repo.Tags)
	repo.Tags = tags
	return err
}

func checkMutability(m ecr.Mutability, exclusions []string) error {
	const field = "imageTagMutabilityExclusionFilters"
	switch m {
	case ecr.Mutable, ecr.Immutable:
		if len(exclusions) > 0 {
			return ecr.InvalidParam(field, "ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as "+string(m))
		}
	case ecr.ImmutableWithExclusion, ecr.MutableWithExclusion:
		if len(exclusions) == 0 {
			return ecr.InvalidParam(field, "ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as "+string(m))
		}
	default:
		return ecr.InvalidParam("imageTagMutability", "Member must satisfy enum value set: [MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]")
	}
	if len(exclusions) > 5 {
		return ecr.InvalidParam(field, "Member must have length less than or equal to 5")
	}
	for _, e := range exclusions {
		if strings.Count(e, "*") > 2 {
			return ecr.InvalidParam(field, "a filter can have at most 2 wildcards")
		}
	}
	return nil
}

// CreateRepository creates a repository with in's settings; zero values mean
// ECR's defaults. Setting tags needs ecr:TagResource too.
// Errors: RepositoryAlreadyExists, LimitExceeded, InvalidTagParameter,
// TooManyTags.
func (r *Registry) CreateRepository(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, in ecr.Repository) (*ecr.Repository, error) {
	if err := checkAccount(id.Account); err != nil {
		return nil, err
	}
	if err := checkName(id.Name); err != nil {
		return nil, err
	}
	repo := in
	if err := settle(&repo); err != nil {
		return nil, err
	}
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		return r.create(tx, c, id, &repo)
	})
	r.cache.drop(id)
	if err != nil {
		return nil, r.denied(ctx, c, "ecr:CreateRepository", id, err)
	}
	return &repo, nil
}

// create authorizes and inserts a repository whose settings are settled.
func (r *Registry) create(tx *meta.Tx, c ecr.Caller, id ecr.RepositoryID, repo *ecr.Repository) error {
	request := requestTags(repo.Tags)
	if err := r.allowIn(tx, c, "ecr:CreateRepository", id, nil, request); err != nil {
		return err
	}
	if len(repo.Tags) > 0 {
		if err := r.allowIn(tx, c, "ecr:TagResource", id, nil, request); err != nil {
			return err
		}
	}
	n, err := tx.CountRepositories(id.Account)
	if err != nil {
		return err
	}
	if n >= r.cfg.Limits.Repositories {
		return ecr.Errorf(ecr.LimitExceeded, "The maximum number of repositories per registry (%d) has been reached in the registry with id '%s'", r.cfg.Limits.Repositories, id.Account)
	}
	repo.ID, repo.CreatedAt = id, r.now()
	if err := tx.InsertRepository(repo); errors.Is(err, meta.ErrExists) {
		return ecr.Errorf(ecr.RepositoryAlreadyExists, "The repository with name '%s' already exists in the registry with id '%s'", id.Name, id.Account)
	} else if err != nil {
		return err
	}
	if repo.LifecyclePolicy != "" {
		if err := tx.PutLifecyclePolicy(repo.Row, r.policyRecord(repo.LifecyclePolicy, ecr.LifecyclePolicy{})); err != nil {
			return err
		}
	}
	return tx.Append(r.event(c, ecr.RepositoryCreated, "ecr:CreateRepository", id))
}

// deleteBatch is how many images or links one transaction deletes.
const deleteBatch = 200

// DeleteRepository deletes a repository; with force, its images first, in
// batches: if that breaks off, say because the server stops, part of the
// images are gone and the call can be repeated.
// Errors: RepositoryNotFound, RepositoryNotEmpty.
func (r *Registry) DeleteRepository(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, force bool) (*ecr.Repository, error) {
	const action = "ecr:DeleteRepository"
	for {
		var deleted *ecr.Repository
		err := r.update(ctx, c, action, id, func(tx *meta.Tx, repo *ecr.Repository) error {
			deleted = nil
			now := r.now()
			images, err := tx.Images(repo.Row, ecr.ImageFilter{Status: "ANY"}, 0, deleteBatch)
			if err != nil {
				return err
			}
			if len(images) > 0 {
				if !force {
					return ecr.Errorf(ecr.RepositoryNotEmpty, "The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", id.Name, id.Account)
				}
				return r.deleteImages(tx, c, action, repo, images)
			}
			if n, err := r.forgetExpired(tx, repo.Row, now); err != nil || n > 0 {
				return err
			}
			n, err := tx.UnlinkAll(repo.Row, now.Add(r.cfg.Times.Trash), deleteBatch)
			if err != nil || n > 0 {
				return err
			}
			if err := tx.DeleteRepository(repo.Row, now.Add(r.cfg.Times.Trash)); err != nil {
				return err
			}
			deleted = repo
			return tx.Append(r.event(c, ecr.RepositoryDeleted, action, id))
		})
		if err != nil || deleted != nil {
			return deleted, err
		}
	}
}

func (r *Registry) deleteImages(tx *meta.Tx, c ecr.Caller, action string, repo *ecr.Repository, images []*ecr.Image) error {
	for _, i := range images {
		if err := tx.ForgetParents(i.Row); err != nil {
			return err
		}
		if err := r.deleteImage(tx, c, action, repo, i); err != nil {
			return err
		}
	}
	return nil
}

// DescribeRepositories returns the named repositories, or without names a page
// of the account's. Repositories that the caller's policies do not let it
// describe by name are refused; the list needs ecr:DescribeRepositories on
// the registry.
// Errors: RepositoryNotFound for the first name that is unknown.
func (r *Registry) DescribeRepositories(ctx context.Context, c ecr.Caller, account string, names []string, p ecr.Page) (repos []*ecr.Repository, next string, err error) {
	const action = "ecr:DescribeRepositories"
	if len(names) > 0 {
		for _, name := range names {
			err := r.view(ctx, c, action, ecr.RepositoryID{Account: account, Name: name}, func(_ *meta.Tx, repo *ecr.Repository) error {
				repos = append(repos, repo)
				return nil
			})
			if err != nil {
				return nil, "", err
			}
		}
		return repos, "", nil
	}
	n, err := limit(p, 100, 1000)
	if err != nil {
		return nil, "", err
	}
	_, after, err := decodeCursor(p.Token)
	if err != nil {
		return nil, "", err
	}
	if err := r.allowList(ctx, c, action, account); err != nil {
		return nil, "", err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		repos, err = tx.Repositories(account, after, n+1)
		return err
	})
	if len(repos) > n {
		repos = repos[:n]
		next = encodeCursor(0, repos[n-1].ID.Name)
	}
	return repos, next, err
}

// Catalog returns the names of an account's repositories that follow after, in
// order, and whether there are more (OCI Distribution, and Docker's _catalog).
func (r *Registry) Catalog(ctx context.Context, c ecr.Caller, account, after string, n int) (names []string, more bool, err error) {
	n, err = limit(ecr.Page{Limit: n}, 100, 1000)
	if err != nil {
		return nil, false, err
	}
	if err := r.allowList(ctx, c, "ecr:DescribeRepositories", account); err != nil {
		return nil, false, err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		names, err = tx.RepositoryNames(account, after, n+1)
		return err
	})
	if len(names) > n {
		names, more = names[:n], true
	}
	return names, more, err
}

// allowList decides on an action over all repositories of an account: its
// resource is arn:…:repository/*.
func (r *Registry) allowList(ctx context.Context, c ecr.Caller, action, account string) error {
	id := ecr.RepositoryID{Account: account, Name: "*"}
	return r.ask(ctx, c, action, id, id.ARN(r.cfg.Region))
}

// change updates a repository's settings.
func (r *Registry) change(ctx context.Context, c ecr.Caller, action string, id ecr.RepositoryID, request map[string][]string, fn func(*ecr.Repository) error) (out *ecr.Repository, err error) {
	defer r.cache.drop(id)
	err = r.updateKeeping(ctx, c, action, id, request, func(tx *meta.Tx, repo *ecr.Repository) error {
		if err := fn(repo); err != nil {
			return err
		}
		out = repo
		if err := tx.UpdateRepository(repo); err != nil {
			return err
		}
		return tx.Append(r.event(c, ecr.RepositoryChanged, action, id))
	})
	return out, err
}

// PutImageTagMutability sets whether tags may move. Tags that exist stay.
func (r *Registry) PutImageTagMutability(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, m ecr.Mutability, exclusions []string) (*ecr.Repository, error) {
	if err := checkMutability(m, exclusions); err != nil {
		return nil, err
	}
	return r.change(ctx, c, "ecr:PutImageTagMutability", id, nil, func(repo *ecr.Repository) error {
		repo.Mutability, repo.MutabilityExclusion = m, exclusions
		return nil
	})
}

// PutImageScanningConfiguration sets the repository's scanOnPush flag.
func (r *Registry) PutImageScanningConfiguration(ctx context.Context, c ecr.Caller, id ecr.RepositoryID, scanOnPush bool) (*ecr.Repository, error) {
	return r.change(ctx, c, "ecr:PutImageScanningConfiguration", id, nil, func(repo *ecr.Repository) error {
		repo.ScanOnPush = scanOnPush
		return nil
	})
}

// parseARN returns the repository that a resource name of this region names.
func (r *Registry) parseARN(arn string) (ecr.RepositoryID, error) {
	invalid := ecr.InvalidParam("resourceArn", "Invalid ARN")
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[2] != "ecr" || parts[3] != r.cfg.Region {
		return ecr.RepositoryID{}, invalid
	}
	name, ok := strings.CutPrefix(parts[5], "repository/")
	if !ok || checkAccount(parts[4]) != nil || checkName(name) != nil {
		return ecr.RepositoryID{}, invalid
	}
	return ecr.RepositoryID{Account: parts[4], Name: name}, nil
}

// TagResource sets resource tags on a repository; others stay.
// Errors: RepositoryNotFound, InvalidTagParameter, TooManyTags.
func (r *Registry) TagResource(ctx context.Context, c ecr.Caller, arn string, tags []ecr.Tag) error {
	id, err := r.parseARN(arn)
	if err != nil {
		return err
	}
	if _, err := mergeTags(nil, tags); err != nil {
		return err
	}
	_, err = r.change(ctx, c, "ecr:TagResource", id, requestTags(tags), func(repo *ecr.Repository) (err error) {
		repo.Tags, err = mergeTags(repo.Tags, tags)
		return err
	})
	return err
}

// UntagResource removes resource tags; keys that are not there are passed over.
func (r *Registry) UntagResource(ctx context.Context, c ecr.Caller, arn string, keys []string) error {
	id, err := r.parseARN(arn)
	if err != nil {
		return err
	}
	_, err = r.change(ctx, c, "ecr:UntagResource", id, map[string][]string{"aws:tagkeys": keys}, func(repo *ecr.Repository) error {
		repo.Tags = slices.DeleteFunc(repo.Tags, func(t ecr.Tag) bool { return slices.Contains(keys, t.Key) })
		return nil
	})
	return err
}

// ListTagsForResource returns the resource tags of a repository, by key.
func (r *Registry) ListTagsForResource(ctx context.Context, c ecr.Caller, arn string) (tags []ecr.Tag, err error) {
	id, err := r.parseARN(arn)
	if err != nil {
		return nil, err
	}
	err = r.view(ctx, c, "ecr:ListTagsForResource", id, func(_ *meta.Tx, repo *ecr.Repository) error {
		tags = repo.Tags
		return nil
	})
	return tags, err
}

// mergeTags returns old with tags set, by key, within ECR's bounds.
func mergeTags(old, tags []ecr.Tag) ([]ecr.Tag, error) {
	merged := slices.Clone(old)
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.Key == "" || len([]rune(t.Key)) > 128:
			return nil, ecr.Errorf(ecr.InvalidTagParameter, "A tag key must have 1 to 128 characters")
		case len([]rune(t.Value)) > 256:
			return nil, ecr.Errorf(ecr.InvalidTagParameter, "The value of tag '%s' has more than 256 characters", t.Key)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, ecr.Errorf(ecr.InvalidTagParameter, "Tag keys that begin with 'aws:' are reserved")
		case seen[t.Key]:
			return nil, ecr.Errorf(ecr.InvalidTagParameter, "Tag key '%s' is given more than once", t.Key)
		}
		if _, err := lifecycle.ParseGuards(map[string]string{t.Key: t.Value}); err != nil {
			return nil, ecr.Errorf(ecr.InvalidTagParameter, "Invalid tag: %v", err)
		}
		seen[t.Key] = true
		if i := slices.IndexFunc(merged, func(o ecr.Tag) bool { return o.Key == t.Key }); i >= 0 {
			merged[i] = t
		} else {
			merged = append(merged, t)
		}
	}
	if len(merged) > 50 {
		return nil, ecr.Errorf(ecr.TooManyTags, "The list of tags on the repository is over the limit. The maximum number of tags that can be applied to a repository is 50")
	}
	slices.SortFunc(merged, func(a, b ecr.Tag) int { return strings.Compare(a.Key, b.Key) })
	return merged, nil
}
