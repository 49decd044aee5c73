package advisor

import (
	"slices"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/ecr"
)

func TestParseReplication(t *testing.T) {
	const document = `{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"123456789012"}],"repositoryFilters":[{"filter":"production/","filterType":"PREFIX_MATCH"}]},{"destinations":[]}]}`
	for name, text := range map[string]string{"alone": document, "a request": `{"replicationConfiguration":` + document + `}`} {
		cfg, err := ParseReplication([]byte(text))
		if err != nil || len(cfg.Rules) != 2 || cfg.Rules[0].Destinations[0].String() != "eu-west-1/123456789012" || cfg.Rules[0].Prefixes[0] != "production/" {
			t.Errorf("%s: %+v, %v", name, cfg, err)
		}
	}
	for _, text := range []string{"", "{}", "[]", `{"rules":1}`, strings.Replace(document, "PREFIX_MATCH", "WILDCARD", 1)} {
		if cfg, err := ParseReplication([]byte(text)); err == nil {
			t.Errorf("%s is taken for %+v", text, cfg)
		}
	}
}

func TestLintReplication(t *testing.T) {
	own, other := ecr.Destination{Region: "us-east-1", Account: "123456789012"}, ecr.Destination{Region: "eu-west-1", Account: "123456789012"}
	repositories := []string{"production/web", "staging/web"}
	tests := []struct {
		name string
		rule ecr.ReplicationRule
		want string // in the only finding; "" for none
	}{
		{"a prefix", ecr.ReplicationRule{Destinations: []ecr.Destination{other}, Prefixes: []string{"production/"}}, ""},
		{"all", ecr.ReplicationRule{Destinations: []ecr.Destination{other}}, ""},
		{"the trap", ecr.ReplicationRule{Destinations: []ecr.Destination{other}, Prefixes: []string{"production/*"}}, `say "production/"`},
		{"nothing", ecr.ReplicationRule{Destinations: []ecr.Destination{other}, Prefixes: []string{"released/"}}, "matches no repository"},
		{"nowhere", ecr.ReplicationRule{}, "no destinations"},
		{"itself", ecr.ReplicationRule{Destinations: []ecr.Destination{own}}, "the source itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := LintReplication(&ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{tt.rule}}, own, repositories)
			if tt.want == "" && len(got) != 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("findings %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	set := func(digests ...string) map[string]bool {
		m := map[string]bool{}
		for _, d := range digests {
			m[d] = true
		}
		return m
	}
	here := listing{set("a", "b", "c"), map[string]string{"one": "a", "two": "b", "three": "c"}}
	there := listing{set("a", "b", "extra"), map[string]string{"one": "a", "two": "a", "more": "extra"}}
	var got []string
	for _, d := range differences("r", here, there) {
		got = append(got, d.String())
	}
	want := []string{"r@c is missing", "r:three is missing (c)", "r:two is a there, b here"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
