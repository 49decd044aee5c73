package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// Details are an entity, or a managed policy, with all that decides what it
// allows.
type Details struct {
	Entity   Entity // of no kind if this is a managed policy
	Inline   []meta.InlinePolicy
	Attached []string // ARNs
	Groups   []string // of a user, names

	Policy   ManagedPolicy
	Versions []PolicyVersion
}

// key orders details: users, roles, groups, then policies by ARN.
func (d *Details) key() string {
	if d.Entity.Kind == "" {
		return "4/" + d.Policy.ARN
	}
	return detailKey(d.Entity.Kind) + d.Entity.Name
}

func detailKey(k Kind) string {
	return map[Kind]string{User: "1/", Role: "2/", Group: "3/"}[k]
}

// DetailFilter says which details are meant; none set means all.
type DetailFilter struct {
	Kinds      []Kind
	Local, AWS bool // managed policies
}

// AuthorizationDetails returns the entities and managed policies of the
// caller's account that follow marker, limit at most, and the marker of the
// next page, or "" (IAM API, GetAccountAuthorizationDetails).
func (i *Identity) AuthorizationDetails(ctx context.Context, c ecr.Caller, f DetailFilter, marker string, limit int) (out []Details, next string, err error) {
	if len(f.Kinds) == 0 && !f.Local && !f.AWS {
		f = DetailFilter{[]Kind{User, Role, Group}, true, true}
	}
	err = i.view(ctx, c, "iam:GetAccountAuthorizationDetails", c.Account, "*", func(tx *meta.Tx) error {
		out = nil
		for _, k := range []Kind{User, Role, Group} {
			if !slices.Contains(f.Kinds, k) {
				continue
			}
			after, ok := follows(marker, detailKey(k))
			if !ok || len(out) > limit {
				continue
			}
			list, err := tx.Principals(c.Account, string(k), "", after, limit+1-len(out))
			if err != nil {
				return err
			}
			for _, e := range list {
				d, err := details(tx, e)
				if err != nil {
					return err
				}
				out = append(out, d)
			}
		}
		return i.policyDetails(tx, c, f, marker, limit, &out)
	})
	if len(out) > limit {
		out = out[:limit]
		next = out[limit-1].key()
	}
	return out, next, err
}

// follows tells where in the part of the order that begins with prefix the
// page after marker begins; ok is false if it lies behind that part.
func follows(marker, prefix string) (after string, ok bool) {
	if rest, in := strings.CutPrefix(marker, prefix); in {
		return rest, true
	}
	return "", marker < prefix
}

func details(tx *meta.Tx, e meta.Principal) (d Details, err error) {
	d.Entity = asEntity(e)
	if d.Inline, err = tx.InlinePolicies(e.Row); err != nil {
		return d, err
	}
	if d.Attached, err = tx.Attachments(e.Row); err != nil || d.Entity.Kind != User {
		return d, err
	}
	groups, err := tx.GroupsOf(e.Row)
	for _, g := range groups {
		d.Groups = append(d.Groups, g.Name)
	}
	return d, err
}

func (i *Identity) policyDetails(tx *meta.Tx, c ecr.Caller, f DetailFilter, marker string, limit int, out *[]Details) error {
	after, ok := follows(marker, "4/")
	if !ok {
		return nil
	}
	if f.Local && len(*out) <= limit {
		list, err := tx.ManagedPolicies(c.Account, "", after, false, limit+1-len(*out))
		if err != nil {
			return err
		}
		for _, p := range list {
			versions, err := tx.PolicyVersions(p.ARN)
			if err != nil {
				return err
			}
			d := Details{Policy: asManaged(p, 0)}
			for _, v := range versions {
				d.Versions = append(d.Versions, PolicyVersion{v.Version, v.Document, v.Version == p.Default, v.CreatedAt})
			}
			*out = append(*out, d)
		}
	}
	for _, arn := range iam.ManagedARNs() {
		if f.AWS && arn > after && len(*out) <= limit {
			p, document, _ := awsManaged(arn)
			*out = append(*out, Details{Policy: p, Versions: []PolicyVersion{{Version: 1, Document: document, Default: true, CreatedAt: p.CreatedAt}}})
		}
	}
	for n := range *out {
		if d := &(*out)[n]; d.Entity.Kind == "" {
			var err error
			if d.Policy.Attached, err = tx.CountAttached(c.Account, d.Policy.ARN); err != nil {
				return err
			}
		}
	}
	return nil
}
