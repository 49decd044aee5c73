package ecr

import "time"

// A RepositoryID names a repository in this server's region.
type RepositoryID struct {
	Account string // twelve digits: the registry ID
	Name    string
}

// ARN returns the repository's resource name, arn:aws:ecr:R:A:repository/N.
func (id RepositoryID) ARN(region string) string {
	return "arn:aws:ecr:" + region + ":" + id.Account + ":repository/" + id.Name
}

// A Mutability says whether tags may move (ECR API, ImageTagMutability).
type Mutability string

const (
	Mutable                Mutability = "MUTABLE"
	Immutable              Mutability = "IMMUTABLE"
	ImmutableWithExclusion Mutability = "IMMUTABLE_WITH_EXCLUSION"
	MutableWithExclusion   Mutability = "MUTABLE_WITH_EXCLUSION"
)

// A Tag is a resource tag: a key and a value on a repository.
type Tag struct {
	Key, Value string
}

// Encryption is the encryption configuration of a repository. It cannot be
// changed after creation.
type Encryption struct {
	Type   string // AES256, KMS or KMS_DSSE
	KMSKey string
}

// A Repository is a repository's record: its settings and its counters.
type Repository struct {
	ID                  RepositoryID
	Row                 int64 // the record's key in the metadata database
	CreatedAt           time.Time
	Mutability          Mutability
	MutabilityExclusion []string // tag wildcards, iff Mutability is *_WITH_EXCLUSION
	ScanOnPush          bool
	Encryption          Encryption
	Policy              string // repository policy, "" if none
	LifecyclePolicy     string // "" if none
	RegistryPolicy      string // that of its registry, "" if none; read only
	Tags                []Tag  // by key
	ImageCount          int64
	SizeBytes           int64 // sum of the images' sizes, shared layers counted for each
}

// TagImmutable reports whether tag, once set in r, may not be set again.
func (r *Repository) TagImmutable(tag string) bool {
	switch r.Mutability {
	case Immutable:
		return true
	case ImmutableWithExclusion:
		return !matchAny(r.MutabilityExclusion, tag)
	case MutableWithExclusion:
		return matchAny(r.MutabilityExclusion, tag)
	}
	return false
}

func matchAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if Wildcard(p, s) {
			return true
		}
	}
	return false
}

// Wildcard reports whether pattern matches the whole of s; '*' in it stands
// for any run of characters.
func Wildcard(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// A Template is a repository creation template.
type Template struct {
	Account             string
	Prefix              string // "ROOT" catches all
	Description         string
	AppliedFor          []string // REPLICATION, PULL_THROUGH_CACHE, CREATE_ON_PUSH
	Mutability          Mutability
	MutabilityExclusion []string
	Encryption          Encryption
	Policy              string
	LifecyclePolicy     string
	Tags                []Tag
	CustomRoleARN       string
	CreatedAt           time.Time
	UpdatedAt           time.Time
}
