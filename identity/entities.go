package identity

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// A Kind is what an entity of IAM is.
type Kind string

const (
	User  Kind = "user"
	Role  Kind = "role"
	Group Kind = "group"
)

// title is the kind as in the names of actions.
func (k Kind) title() string { return strings.ToUpper(string(k[:1])) + string(k[1:]) }

// prefix begins the unique IDs of a kind (IAM user guide, "Unique identifiers").
func (k Kind) prefix() string {
	switch k {
	case Role:
		return "AROA"
	case Group:
		return "AGPA"
	}
	return "AIDA"
}

// An Entity is an IAM user, role or group.
type Entity struct {
	Kind      Kind
	Account   string
	Name      string
	ID        string
	ARN       string
	CreatedAt time.Time
	Settings
}

// Settings are what an entity is created with. Zero values mean IAM's defaults.
type Settings struct {
	Path        string // begins and ends with /
	Description string // of a role
	Trust       string // of a role: who may assume it
	MaxSession  time.Duration
	Boundary    string // ARN of a managed policy
	Tags        []ecr.Tag
}

func arn(e meta.Principal) string {
	return "arn:aws:iam::" + e.Account + ":" + e.Kind + e.Path + e.Name
}

func asEntity(e meta.Principal) Entity {
	return Entity{Kind: Kind(e.Kind), Account: e.Account, Name: e.Name, ID: e.UniqueID, ARN: arn(e), CreatedAt: e.CreatedAt,
		Settings: Settings{Path: e.Path, Description: e.Description, Trust: e.Trust, MaxSession: e.MaxSession, Boundary: e.Boundary, Tags: e.Tags}}
}

// Bounds of IAM's quotas.
const (
	maxKeys     = 2 // of a user
	maxTags     = 50
	maxInline   = 100 // inline policies of an entity
	maxAttached = 20
)

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,64}$`)
	policyForm  = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,128}$`)
	pathForm    = regexp.MustCompile(`^/([!-.0-~]+/)*$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	secretForm  = regexp.MustCompile(`^[A-Za-z0-9+/=_.-]{8,128}$`)
)

// Durations of sessions (STS API, AssumeRole).
const (
	minSession     = 15 * time.Minute
	defaultSession = time.Hour
	maxSession     = 12 * time.Hour
)

// missing is the error of an entity that is not there.
func missing(k Kind, name string) error {
	return ecr.Errorf(ecr.NoSuchEntity, "The %s with name %s cannot be found.", k, name)
}

// settle checks settings and fills in the defaults.
func (s *Settings) settle(k Kind) error {
	if s.Path == "" {
		s.Path = "/"
	}
	if len(s.Path) > 512 || !pathForm.MatchString(s.Path) {
		return ecr.Errorf(ecr.Validation, "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	if k != Role {
		return checkTags(nil, s.Tags, nil)
	}
	if s.MaxSession == 0 {
		s.MaxSession = defaultSession
	}
	if s.MaxSession < defaultSession || s.MaxSession > maxSession {
		return ecr.Errorf(ecr.Validation, "MaxSessionDuration must be between 3600 and 43200 seconds")
	}
	if _, err := iam.Parse([]byte(s.Trust), iam.Trust); err != nil {
		return ecr.Errorf(ecr.MalformedPolicy, "The trust policy is malformed: %v", err)
	}
	return checkTags(nil, s.Tags, nil)
}

// MergeTags sets tags in old; keys are compared without case.
func MergeTags(old, tags []ecr.Tag) []ecr.Tag {
	merged := slices.Clone(old)
	for _, t := range tags {
		i := slices.IndexFunc(merged, func(o ecr.Tag) bool { return strings.EqualFold(o.Key, t.Key) })
		if i < 0 {
			merged = append(merged, t)
		} else {
			merged[i] = t
		}
	}
	return merged
}

// RemoveTags leaves out the tags with the keys, compared without case; keys that are not there are
// passed over.
func RemoveTags(tags []ecr.Tag, keys []string) []ecr.Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(t ecr.Tag) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, t.Key) })
	})
}

// checkTags merges tags into old and writes the result to out, if that is not
// nil.
func checkTags(old, tags []ecr.Tag, out *[]ecr.Tag) error {
	for i, t := range tags {
		if slices.ContainsFunc(tags[:i], func(o ecr.Tag) bool { return strings.EqualFold(o.Key, t.Key) }) {
			return ecr.Errorf(ecr.Validation, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 || strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return ecr.Errorf(ecr.Validation, "The tag %q is not valid: a key has 1 to 128 characters and does not begin with aws:, a value has at most 256", t.Key)
		}
	}
	merged := MergeTags(old, tags)
	if len(merged) > maxTags {
		return ecr.Errorf(ecr.LimitExceeded, "The number of tags has reached the maximum limit (%d)", maxTags)
	}
	if out != nil {
		*out = merged
	}
	return nil
}

// Create creates an entity in the caller's account, which may do nothing yet.
// Errors: EntityAlreadyExists, MalformedPolicy, NoSuchEntity for a boundary
// that is not there.
func (i *Identity) Create(ctx context.Context, c ecr.Caller, k Kind, name string, s Settings) (Entity, error) {
	if !nameForm.MatchString(name) {
		return Entity{}, ecr.Errorf(ecr.Validation, "The name of a %s has 1 to 64 characters of A-Z a-z 0-9 + = , . @ _ -", k)
	}
	if err := s.settle(k); err != nil {
		return Entity{}, err
	}
	e := meta.Principal{Kind: string(k), Account: c.Account, Name: name, Path: s.Path, Description: s.Description, Trust: s.Trust,
		MaxSession: s.MaxSession, Boundary: s.Boundary, Tags: s.Tags}
	c = asking(c, s.Tags, "iam:permissionsboundary", s.Boundary)
	err := i.update(ctx, c, "iam:Create"+k.title(), c.Account, arn(e), func(tx *meta.Tx) error {
		e.UniqueID, e.CreatedAt = k.prefix()+randomText(17, idAlphabet), i.now()
		if e.Boundary != "" {
			if _, err := managed(tx, c.Account, e.Boundary); err != nil {
				return err
			}
		}
		if taken, err := tx.PrincipalLike(c.Account, string(k), name); err != nil {
			return err
		} else if taken {
			return ecr.Errorf(ecr.EntityAlreadyExists, "%s with name %s already exists.", k.title(), name)
		}
		if err := tx.InsertPrincipal(&e); errors.Is(err, meta.ErrExists) {
			return ecr.Errorf(ecr.EntityAlreadyExists, "%s with name %s already exists.", k.title(), name)
		} else if err != nil {
			return err
		}
		return nil
	})
	return asEntity(e), err
}

// find looks an entity of the caller's account up for a door.
func find(c ecr.Caller, k Kind, name string, e *meta.Principal) func(*meta.Tx) (target, error) {
	return func(tx *meta.Tx) (t target, err error) {
		*e, err = tx.PrincipalNamed(c.Account, string(k), name)
		if errors.Is(err, meta.ErrNotFound) {
			return target{arn(meta.Principal{Account: c.Account, Kind: string(k), Path: "/", Name: name}), nil, func() error { return missing(k, name) }}, nil
		}
		return target{resource: arn(*e), tags: e.Tags}, err
	}
}

// change runs fn on an entity of the caller's account.
func (i *Identity) change(ctx context.Context, c ecr.Caller, action string, k Kind, name string, fn func(*meta.Tx, meta.Principal) error) error {
	var e meta.Principal
	return i.updateFound(ctx, c, action, c.Account, find(c, k, name, &e), func(tx *meta.Tx) error { return fn(tx, e) })
}

// look is change for a read.
func (i *Identity) look(ctx context.Context, c ecr.Caller, action string, k Kind, name string, fn func(*meta.Tx, meta.Principal) error) error {
	var e meta.Principal
	return i.viewFound(ctx, c, action, c.Account, find(c, k, name, &e), func(tx *meta.Tx) error { return fn(tx, e) })
}

// set changes what of an entity may change.
func (i *Identity) set(ctx context.Context, c ecr.Caller, action string, k Kind, name string, fn func(*meta.Tx, *meta.Principal) error) error {
	return i.change(ctx, c, action, k, name, func(tx *meta.Tx, e meta.Principal) error {
		if err := fn(tx, &e); err != nil {
			return err
		}
		return tx.UpdatePrincipal(&e)
	})
}

// Get returns an entity of the caller's account. Errors: NoSuchEntity.
func (i *Identity) Get(ctx context.Context, c ecr.Caller, k Kind, name string) (out Entity, err error) {
	err = i.look(ctx, c, "iam:Get"+k.title(), k, name, func(_ *meta.Tx, e meta.Principal) error {
		out = asEntity(e)
		return nil
	})
	return out, err
}

// List returns the entities of a kind in the caller's account whose paths begin
// with path and whose names follow after, in order, limit at most.
func (i *Identity) List(ctx context.Context, c ecr.Caller, k Kind, path, after string, limit int) (out []Entity, err error) {
	all := arn(meta.Principal{Account: c.Account, Kind: string(k), Path: "/", Name: "*"})
	err = i.view(ctx, c, "iam:List"+k.title()+"s", c.Account, all, func(tx *meta.Tx) error {
		list, err := tx.Principals(c.Account, string(k), path, after, limit)
		for _, e := range list {
			out = append(out, asEntity(e))
		}
		return err
	})
	return out, err
}

// Delete deletes an entity; its keys, policies and members must be gone, else
// DeleteConflict. Sessions of a role end with it. Errors: NoSuchEntity.
func (i *Identity) Delete(ctx context.Context, c ecr.Caller, k Kind, name string) error {
	return i.change(ctx, c, "iam:Delete"+k.title(), k, name, func(tx *meta.Tx, e meta.Principal) error {
		keys, keysErr := tx.AccessKeys(e.Account, e.Row)
		inline, inlineErr := tx.InlinePolicies(e.Row)
		attached, attachedErr := tx.Attachments(e.Row)
		members, membersErr := tx.Members(e.Row)
		groups, groupsErr := tx.GroupsOf(e.Row)
		if err := errors.Join(keysErr, inlineErr, attachedErr, membersErr, groupsErr); err != nil {
			return err
		}
		for _, conflict := range []struct {
			what string
			n    int
		}{{"delete access keys", len(keys)}, {"delete policies", len(inline)}, {"detach all policies", len(attached)}, {"remove users from group", len(members) + len(groups)}} {
			if conflict.n > 0 {
				return ecr.Errorf(ecr.DeleteConflict, "Cannot delete entity, must %s first.", conflict.what)
			}
		}
		return tx.DeletePrincipal(e.Row)
	})
}

// UpdateRole sets a role's description and longest session; nil leaves one as
// it is.
func (i *Identity) UpdateRole(ctx context.Context, c ecr.Caller, name string, description *string, longest *time.Duration) error {
	if longest != nil && (*longest < defaultSession || *longest > maxSession) {
		return ecr.Errorf(ecr.Validation, "MaxSessionDuration must be between 3600 and 43200 seconds")
	}
	return i.set(ctx, c, "iam:UpdateRole", Role, name, func(_ *meta.Tx, e *meta.Principal) error {
		if description != nil {
			e.Description = *description
		}
		if longest != nil {
			e.MaxSession = *longest
		}
		return nil
	})
}

// UpdateRoleDescription sets a role's description.
func (i *Identity) UpdateRoleDescription(ctx context.Context, c ecr.Caller, name, description string) (out Entity, err error) {
	err = i.set(ctx, c, "iam:UpdateRoleDescription", Role, name, func(_ *meta.Tx, e *meta.Principal) error {
		e.Description = description
		out = asEntity(*e)
		return nil
	})
	return out, err
}

// HasNoInstanceProfiles answers ListInstanceProfilesForRole: Ecru has none.
// Errors: NoSuchEntity.
func (i *Identity) HasNoInstanceProfiles(ctx context.Context, c ecr.Caller, role string) error {
	return i.look(ctx, c, "iam:ListInstanceProfilesForRole", Role, role, func(*meta.Tx, meta.Principal) error { return nil })
}

// UpdateAssumeRolePolicy sets a role's trust policy. Errors: MalformedPolicy.
func (i *Identity) UpdateAssumeRolePolicy(ctx context.Context, c ecr.Caller, name, document string) error {
	if _, err := iam.Parse([]byte(document), iam.Trust); err != nil {
		return ecr.Errorf(ecr.MalformedPolicy, "The trust policy is malformed: %v", err)
	}
	return i.set(ctx, c, "iam:UpdateAssumeRolePolicy", Role, name, func(_ *meta.Tx, e *meta.Principal) error {
		e.Trust = document
		return nil
	})
}

// Tag sets tags on an entity; others stay.
func (i *Identity) Tag(ctx context.Context, c ecr.Caller, k Kind, name string, tags []ecr.Tag) error {
	return i.set(ctx, asking(c, tags), "iam:Tag"+k.title(), k, name, func(_ *meta.Tx, e *meta.Principal) error {
		return checkTags(e.Tags, tags, &e.Tags)
	})
}

// Untag removes tags of an entity; keys that are not there are passed over.
func (i *Identity) Untag(ctx context.Context, c ecr.Caller, k Kind, name string, keys []string) error {
	return i.set(ctx, untagging(c, keys), "iam:Untag"+k.title(), k, name, func(_ *meta.Tx, e *meta.Principal) error {
		e.Tags = RemoveTags(e.Tags, keys)
		return nil
	})
}

// ListTags returns the tags of a user or a role.
func (i *Identity) ListTags(ctx context.Context, c ecr.Caller, k Kind, name string) (tags []ecr.Tag, err error) {
	err = i.look(ctx, c, "iam:List"+k.title()+"Tags", k, name, func(_ *meta.Tx, e meta.Principal) error {
		tags = e.Tags
		return nil
	})
	return tags, err
}

// PutBoundary sets the permissions boundary of a user or a role; with an empty
// ARN it removes it.
func (i *Identity) PutBoundary(ctx context.Context, c ecr.Caller, k Kind, name, policy string) error {
	action := "iam:Put" + k.title() + "PermissionsBoundary"
	if policy == "" {
		action = "iam:Delete" + k.title() + "PermissionsBoundary"
	}
	return i.set(ctx, asking(c, nil, "iam:permissionsboundary", policy), action, k, name, func(tx *meta.Tx, e *meta.Principal) error {
		if policy != "" {
			if _, err := managed(tx, c.Account, policy); err != nil {
				return err
			}
		}
		e.Boundary = policy
		return nil
	})
}
