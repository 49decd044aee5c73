// Package iamapi is AWS Identity and Access Management's API, the query
// protocol: it decodes a request into the SDK's types, makes one call to the
// core and encodes the answer. It serves what a registry needs of it; the
// table in docs/iam-api.md says which operations.
package iamapi

import (
	_ "embed"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecruhq/ecru/awsapi/rpc"
	"github.com/ecruhq/ecru/awswire"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// modelGz is IAM's public API model; see NOTICE.
//
//go:embed iam.json.gz
var modelGz []byte

const (
	// Source is IAM as the audit trail names it.
	Source = "iam.amazonaws.com"
	// Version is what a form that belongs here has as its Version.
	Version = "2010-05-08"
)

// newer are the fields of the SDK that the model does not have yet.
var newer = []string{
	"types.Role.SourceRoleTemplate",
	"iam.SimulateCustomPolicyInput.OrderedOrganizationPolicyInputList",
	"iam.SimulatePrincipalPolicyInput.PolicyExclusionList",
}

// A Server answers IAM requests. Its methods are safe for concurrent use.
type Server struct {
	id *identity.Identity
	*rpc.Server[ecr.Caller]
}

// New returns a server on the core. An error means that the API model and the
// SDK's types do not agree.
func New(id *identity.Identity, log *slog.Logger) (*Server, error) {
	model, err := awswire.Load(modelGz)
	if err != nil {
		return nil, fmt.Errorf("iamapi: %w", err)
	}
	model.Omit(newer...)
	s := &Server{id: id}
	s.Server, err = rpc.New(rpc.Service{Source: Source, Model: model, Query: true, Exceptions: &rpc.QueryExceptions, Unknown: unknown, Deny: id.EncodeDenial, Log: log}, rpc.Caller,
		slices.Concat(s.users(), s.roles(), s.groups(), s.policies(), s.providers()))
	return s, err
}

func unknown(action string) error {
	return ecr.Errorf(ecr.UnknownOperation, "The operation %.64q of IAM is not served here: docs/iam-api.md lists those that are.", strings.ToValidUTF8(action, "?"))
}

// none is the output of operations that answer nothing.
func none[T any](err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return new(T), nil
}

func fromTags(list []types.Tag) []ecr.Tag {
	return rpc.Each(list, func(t types.Tag) ecr.Tag { return ecr.Tag{Key: *t.Key, Value: rpc.Str(t.Value)} })
}

func toTags(list []ecr.Tag) []types.Tag {
	return rpc.Each(list, func(t ecr.Tag) types.Tag { return types.Tag{Key: &t.Key, Value: &t.Value} })
}

// defaultItems is the length of a page unless MaxItems says otherwise.
const defaultItems = 100

// items is the length of a page that a request asks for.
func items(limit *int32) int {
	if limit == nil {
		return defaultItems
	}
	return int(*limit)
}

// page cuts a list that was read with one more than the page holds.
func page[T any](list []T, limit *int32, key func(T) string) (out []T, truncated bool, marker *string) {
	n := items(limit)
	if len(list) <= n {
		return list, false, nil
	}
	last := key(list[n-1])
	return list[:n], true, &last
}

// part is page for a list that is read whole, because it is short by its
// quota. A marker is the key of the last one before.
func part[T any](list []T, marker *string, limit *int32, key func(T) string) (out []T, truncated bool, next *string) {
	if marker != nil {
		i := slices.IndexFunc(list, func(t T) bool { return key(t) > *marker })
		if i < 0 {
			i = len(list)
		}
		list = list[i:]
	}
	return page(list, limit, key)
}

// document is a policy as IAM's answers have it: percent-encoded by RFC 3986.
func document(text string) *string {
	out := strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	return &out
}

func boundary(arn string) *types.AttachedPermissionsBoundary {
	if arn == "" {
		return nil
	}
	return &types.AttachedPermissionsBoundary{PermissionsBoundaryArn: &arn, PermissionsBoundaryType: "Policy"} // as IAM answers, whatever the SDK's constant
}

// under keeps the policies whose paths begin with prefix.
func under(arns []string, prefix *string) []string {
	return slices.DeleteFunc(arns, func(arn string) bool {
		_, path, _ := strings.Cut(arn, ":policy")
		return !strings.HasPrefix(path, rpc.Str(prefix))
	})
}

// tagPage is a page of tags, in the order of their keys.
func tagPage(tags []ecr.Tag, marker *string, limit *int32) (out []types.Tag, truncated bool, next *string) {
	tags = slices.SortedFunc(slices.Values(tags), func(a, b ecr.Tag) int { return strings.Compare(a.Key, b.Key) })
	tags, truncated, next = part(tags, marker, limit, func(t ecr.Tag) string { return t.Key })
	return toTags(tags), truncated, next
}

func attached(arns []string) []types.AttachedPolicy {
	return rpc.Each(arns, func(arn string) types.AttachedPolicy {
		name := arn[strings.LastIndexByte(arn, '/')+1:]
		return types.AttachedPolicy{PolicyArn: &arn, PolicyName: &name}
	})
}

func self[T any](t T) T { return t }
