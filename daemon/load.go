package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Bytes is a size that is written as 20MiB.
type Bytes int64

var units = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String implements pflag.Value.
func (b *Bytes) String() string {
	for _, u := range units {
		if int64(*b) >= u.size && int64(*b)%u.size == 0 {
			return strconv.FormatInt(int64(*b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*b), 10) + "B"
}

// Set implements pflag.Value.
func (b *Bytes) Set(s string) error {
	for _, u := range append(slices.Clone(units), struct {
		name string
		size int64
	}{"", 1}) {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			if err != nil || n < 0 || n > (1<<62)/u.size {
				break
			}
			*b = Bytes(n * u.size)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size such as 512MiB or 50GiB", s)
}

// Type implements pflag.Value.
func (b *Bytes) Type() string { return "size" }

// secret reports whether a setting must not be shown.
func secret(name string) bool {
	return name == "root-secret-access-key" || name == "master-key" || name == "database"
}

// Variable is the name of a setting in the environment.
func Variable(name string) string {
	return "ECRU_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Sources tells where each setting's value comes from.
type Sources map[string]string

// Load completes the settings f, which have been parsed as flags: what was not
// given as a flag is taken from the environment, then from the file (if path is
// not empty), then its default. A key of the file that is no setting is an
// error that names it and its line.
func Load(f *pflag.FlagSet, path string, getenv func(string) (string, bool)) (Sources, error) {
	from := Sources{}
	given := map[string]bool{}
	f.VisitAll(func(flag *pflag.Flag) {
		from[flag.Name] = "default"
		if flag.Changed {
			from[flag.Name], given[flag.Name] = "flag", true
		}
	})
	if path != "" {
		if err := loadFile(f, path, given, from); err != nil {
			return nil, err
		}
	}
	var err error
	f.VisitAll(func(flag *pflag.Flag) {
		value, ok := getenv(Variable(flag.Name))
		if !ok || given[flag.Name] || err != nil {
			return
		}
		if setErr := set(flag, []string{value}); setErr != nil {
			err = fmt.Errorf("%s: %w", Variable(flag.Name), setErr)
		}
		from[flag.Name] = Variable(flag.Name)
	})
	return from, err
}

func loadFile(f *pflag.FlagSet, path string, given map[string]bool, from Sources) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: want one document, without a --- after it", path)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: want settings, one a line, as name: value", path, root.Line)
	}
	seen := map[string]bool{}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		flag := f.Lookup(key.Value)
		if flag == nil {
			return fmt.Errorf("%s:%d: there is no setting %q (ecru serve --help lists them)", path, key.Line, key.Value)
		}
		if seen[key.Value] {
			return fmt.Errorf("%s:%d: %s is set twice", path, key.Line, key.Value)
		}
		seen[key.Value] = true
		if given[key.Value] {
			continue
		}
		values, err := scalars(value)
		if err == nil {
			err = set(flag, values)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", path, key.Line, key.Value, err)
		}
		from[key.Value] = path
	}
	return nil
}

func scalars(n *yaml.Node) ([]string, error) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	out := make([]string, 0, len(nodes))
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("want a value or a list of values")
		}
		out = append(out, n.Value)
	}
	return out, nil
}

// set gives a flag its value as Load does: without marking it as given.
func set(flag *pflag.Flag, values []string) error {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		var all []string
		for _, v := range values {
			for part := range strings.SplitSeq(v, ",") {
				if part = strings.TrimSpace(part); part != "" {
					all = append(all, part)
				}
			}
		}
		return list.Replace(all)
	}
	if len(values) != 1 {
		return fmt.Errorf("want one value")
	}
	return flag.Value.Set(values[0])
}

// Print writes the settings as a configuration file, with where each comes
// from. Secrets are not shown.
func Print(f *pflag.FlagSet, from Sources) string {
	var b strings.Builder
	f.VisitAll(func(flag *pflag.Flag) {
		value, note := scalar(flag.Value.String()), ""
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			items := slices.Clone(list.GetSlice())
			for i, item := range items {
				items[i] = scalar(item)
			}
			value = "[" + strings.Join(items, ", ") + "]"
		}
		if secret(flag.Name) && flag.Value.String() != "" {
			value, note = `""`, "set, not shown; "
		}
		fmt.Fprintf(&b, "%s: %s # %s%s\n", flag.Name, value, note, from[flag.Name])
	})
	return b.String()
}

// plainScalar is what YAML reads as written, whatever stands around it.
var plainScalar = regexp.MustCompile(`^[A-Za-z0-9./][A-Za-z0-9./_-]*$`)

// scalar writes a value so that YAML reads it back. The escapes of Go's
// quotation are a part of YAML's.
func scalar(s string) string {
	if plainScalar.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
