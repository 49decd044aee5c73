package awswire

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// maxModel bounds a model's size, unpacked.
const maxModel = 8 << 20

// A Model is the public API model of one service, reduced to operations and
// shapes. It does not change after Load and may be used concurrently; Bind, Omit
// and Extend are the exceptions.
type Model struct {
	meta   meta
	ops    map[string]modelOp
	shapes map[string]*shape

	nodes map[nodeKey]*node // by Bind
	omit  map[string]bool   // Go fields without a member, by Omit
}

type meta struct {
	APIVersion   string `json:"apiVersion"`
	JSONVersion  string `json:"jsonVersion"`
	TargetPrefix string `json:"targetPrefix"`
	XMLNamespace string `json:"xmlNamespace"`
}

type modelOp struct {
	In   string   `json:"in"`
	Out  string   `json:"out"`
	Errs []string `json:"err"`
	Wrap string   `json:"wrap"` // the element that holds the output in XML

	// Of operations that Extend adds.
	Doc  string `json:"doc"`
	List string `json:"list"` // the member of the output that is paged by nextToken and maxResults
}

type shape struct {
	Type     string              `json:"type"`
	Members  map[string]shapeRef `json:"members"`
	Required []string            `json:"required"`
	Member   *shapeRef           `json:"member"` // of a list
	Key      *shapeRef           `json:"key"`    // of a map
	Value    *shapeRef           `json:"value"`
	Min      *int64              `json:"min"`
	Max      *int64              `json:"max"`
	Pattern  string              `json:"pattern"`
	Enum     []string            `json:"enum"`
	Union    bool                `json:"union"`

	// Flattened lists and maps have no element of their own in XML, and no
	// "member" or "entry" in a query.
	Flattened bool `json:"flattened"`

	Exception bool      `json:"exception"`
	Error     errorInfo `json:"error"` // of an exception

	Doc string `json:"doc"` // of shapes that Extend adds
}

type errorInfo struct {
	Code   string `json:"code"`
	Status int    `json:"httpStatusCode"`
}

type shapeRef struct {
	Shape        string `json:"shape"`
	LocationName string `json:"locationName"`
	Doc          string `json:"doc"`
}

// wireName is the member's name in a request: its locationName, else its own.
func (r shapeRef) wireName(member string) string {
	if r.LocationName != "" {
		return r.LocationName
	}
	return member
}

// Load reads a reduced API model: gzip of JSON.
func Load(gz []byte) (*Model, error) {
	zr, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return nil, fmt.Errorf("API model: %w", err)
	}
	doc, err := io.ReadAll(io.LimitReader(zr, maxModel+1))
	if err != nil {
		return nil, fmt.Errorf("API model: %w", err)
	}
	if len(doc) > maxModel {
		return nil, fmt.Errorf("API model: larger than %d bytes", maxModel)
	}
	return parseModel(doc)
}

// A document is a model as it is kept.
type document struct {
	Meta   meta               `json:"meta"`
	Ops    map[string]modelOp `json:"ops"`
	Shapes map[string]*shape  `json:"shapes"`
}

func parseModel(doc []byte) (*Model, error) {
	var in document
	if err := json.Unmarshal(doc, &in); err != nil {
		return nil, fmt.Errorf("API model: %w", err)
	}
	m := &Model{meta: in.Meta, ops: in.Ops, shapes: in.Shapes, nodes: map[nodeKey]*node{}, omit: map[string]bool{}}
	return m, m.check()
}

// check makes sure that every shape that is named exists.
func (m *Model) check() error {
	var errs []error
	want := func(by, name string) {
		if m.shapes[name] == nil {
			errs = append(errs, fmt.Errorf("API model: %s names the unknown shape %q", by, name))
		}
	}
	for name, op := range m.ops {
		for _, s := range append([]string{op.In, op.Out}, op.Errs...) {
			if s != "" {
				want(name, s)
			}
		}
	}
	for name, s := range m.shapes {
		if s == nil {
			errs = append(errs, fmt.Errorf("API model: shape %q is null", name))
			continue
		}
		for _, ref := range s.Members {
			want(name, ref.Shape)
		}
		for _, ref := range []*shapeRef{s.Member, s.Key, s.Value} {
			if ref != nil {
				want(name, ref.Shape)
			}
		}
		for _, r := range s.Required {
			if _, ok := s.Members[r]; !ok {
				errs = append(errs, fmt.Errorf("API model: shape %q requires a member %q that it lacks", name, r))
			}
		}
	}
	return errors.Join(errs...)
}

// TargetPrefix is what stands before the dot in X-Amz-Target.
func (m *Model) TargetPrefix() string { return m.meta.TargetPrefix }

// JSONContentType is the Content-Type of requests and answers.
func (m *Model) JSONContentType() string { return "application/x-amz-json-" + m.meta.JSONVersion }

// APIVersion is the version of the API, as the query protocol's Version has it.
func (m *Model) APIVersion() string { return m.meta.APIVersion }

// XMLNamespace is the namespace of answers of the query protocol; "" if the
// service does not speak it.
func (m *Model) XMLNamespace() string { return m.meta.XMLNamespace }

// XMLContentType is the Content-Type of answers of the query protocol.
func (m *Model) XMLContentType() string { return "text/xml" }

// Operations returns the names of the operations, sorted.
func (m *Model) Operations() []string { return slices.Sorted(maps.Keys(m.ops)) }

// Exceptions returns the names of the modelled exceptions, sorted.
func (m *Model) Exceptions() []string {
	var names []string
	for name, s := range m.shapes {
		if s.Exception {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Errors returns the exceptions that the model lists for an operation.
func (m *Model) Errors(operation string) []string { return slices.Clone(m.ops[operation].Errs) }

// Doc returns what an operation that Extend added does, or "".
func (m *Model) Doc(operation string) string { return m.ops[operation].Doc }
