package awswire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Extend adds operations and shapes of our own to a model that is not bound
// yet, from documents in the model's own format without gzip. They may refer to
// the model's shapes and to each other's. Operations and shapes have a "doc",
// and an operation whose output is paged by nextToken and maxResults names the
// list in it under "list". A name that is taken, or a member that the format
// does not have, is an error. It returns the names of the operations, sorted.
func (m *Model) Extend(docs ...[]byte) (operations []string, err error) {
	all, err := parseExtension(docs)
	if err != nil {
		return nil, err
	}
	for name, op := range all.Ops {
		if _, taken := m.ops[name]; taken {
			return nil, fmt.Errorf("API model: the operation %s is in the model already", name)
		}
		m.ops[name] = op
	}
	for name, s := range all.Shapes {
		if m.shapes[name] != nil {
			return nil, fmt.Errorf("API model: the shape %s is in the model already", name)
		}
		m.shapes[name] = s
	}
	return slices.Sorted(maps.Keys(all.Ops)), m.check()
}

// parseExtension reads documents of operations of our own into one.
func parseExtension(docs [][]byte) (*document, error) {
	all := &document{Ops: map[string]modelOp{}, Shapes: map[string]*shape{}}
	for _, doc := range docs {
		var in document
		d := json.NewDecoder(bytes.NewReader(doc))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return nil, fmt.Errorf("API model: an extension: %w", err)
		}
		for name, op := range in.Ops {
			if _, taken := all.Ops[name]; taken || op.In == "" || op.Out == "" || op.Doc == "" {
				return nil, fmt.Errorf("API model: the operation %s stands twice, or is without in, out or doc", name)
			}
			all.Ops[name] = op
		}
		for name, s := range in.Shapes {
			if all.Shapes[name] != nil || s == nil {
				return nil, fmt.Errorf("API model: the shape %s stands twice, or is null", name)
			}
			all.Shapes[name] = s
		}
	}
	return all, nil
}

// Extras returns what the AWS CLI and boto3 must know of operations that Extend
// adds, as files for botocore's loader by their name (botocore/loaders.py,
// "Service model extras"). botocore merges them into the model that it comes
// with, so shapes that the documents do not have must be in that. Theirs are
// called otherwise there, so that none is one of a later model of ECR.
func Extras(docs ...[]byte) (map[string][]byte, error) {
	all, err := parseExtension(docs)
	if err != nil {
		return nil, err
	}
	operations, pagination := map[string]any{}, map[string]any{}
	for name, op := range all.Ops {
		errs := []any{}
		for _, e := range op.Errs {
			errs = append(errs, extra{Shape: all.extraName(e)})
		}
		operations[name] = map[string]any{
			"name": name, "http": map[string]string{"method": "POST", "requestUri": "/"},
			"input": extra{Shape: all.extraName(op.In)}, "output": extra{Shape: all.extraName(op.Out)}, "errors": errs, "documentation": op.Doc,
		}
		if op.List != "" {
			pagination[name] = map[string]string{"input_token": "nextToken", "output_token": "nextToken", "limit_key": "maxResults", "result_key": op.List}
		}
	}
	shapes := map[string]any{}
	for name, s := range all.Shapes {
		shapes[all.extraName(name)] = all.extra(s)
	}
	files := map[string][]byte{}
	for name, merge := range map[string]any{
		"service-2.sdk-extras.json":    map[string]any{"operations": operations, "shapes": shapes},
		"paginators-1.sdk-extras.json": map[string]any{"pagination": pagination},
	} {
		text, err := json.MarshalIndent(map[string]any{"version": 1.0, "merge": merge}, "", " ")
		if err != nil {
			return nil, err
		}
		files[name] = append(text, '\n')
	}
	return files, nil
}

// An extra is a shape, or a reference to one, as botocore has it.
type extra struct {
	Shape         string            `json:"shape,omitempty"`
	Type          string            `json:"type,omitempty"`
	Members       map[string]*extra `json:"members,omitempty"`
	Required      []string          `json:"required,omitempty"`
	Member        *extra            `json:"member,omitempty"`
	Key           *extra            `json:"key,omitempty"`
	Value         *extra            `json:"value,omitempty"`
	Min           *int64            `json:"min,omitempty"`
	Max           *int64            `json:"max,omitempty"`
	Pattern       string            `json:"pattern,omitempty"`
	Enum          []string          `json:"enum,omitempty"`
	Exception     bool              `json:"exception,omitempty"`
	Documentation string            `json:"documentation,omitempty"`
}

// extraName is what a shape is called for botocore.
func (d *document) extraName(name string) string {
	if d.Shapes[name] != nil {
		return "Ecru" + name
	}
	return name
}

func (d *document) extra(s *shape) *extra {
	e := &extra{
		Type: s.Type, Required: s.Required, Member: d.extraRef(s.Member), Key: d.extraRef(s.Key), Value: d.extraRef(s.Value),
		Min: s.Min, Max: s.Max, Pattern: s.Pattern, Enum: s.Enum, Exception: s.Exception, Documentation: s.Doc,
	}
	if s.Type == "structure" {
		e.Members = map[string]*extra{}
		for name, ref := range s.Members {
			e.Members[name] = d.extraRef(&ref)
		}
	}
	return e
}

func (d *document) extraRef(r *shapeRef) *extra {
	if r == nil {
		return nil
	}
	return &extra{Shape: d.extraName(r.Shape), Documentation: r.Doc}
}
