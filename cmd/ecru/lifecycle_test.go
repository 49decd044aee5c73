package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/lifecycle"
)

const (
	trap  = `{"rules":[{"rulePriority":7,"description":"Keep 10","selection":{"tagStatus":"tagged","tagPrefixList":["prod-","release-"],"countType":"imageCountMoreThan","countNumber":10},"action":{"type":"expire"}},{"rulePriority":9,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":1},"action":{"type":"expire"}}]}`
	store = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":30},"action":{"type":"transition","targetStorageClass":"archive"}}]}`
	cheap = `{"currency":"EUR","source":"our own disks","date":"2026-10-01","bytesPerGB":1000000000,"storage":[{"perGBMonth":0.03}],"archive":[{"perGBMonth":0.01}]}`
)

func policyFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Without a repository nothing is asked of a server.
func TestLifecycleLintFile(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	found := func(err error) bool {
		var status exitStatus
		return errors.As(err, &status) && status.code == 2
	}
	file := policyFile(t, trap)
	out, err := run(t, "", "lifecycle", "lint", "--policy", file)
	if !found(err) || !strings.Contains(out, "rule 7 needs a tag of each prefix") || !strings.HasPrefix(out, file+"\n") || strings.Contains(out, "SUGGESTION") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = run(t, trap, "lifecycle", "lint", "--policy", "-", "--json", "--severity", "SUGGESTION")
	var list []linted
	if !found(err) || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || len(list[0].Findings) != 2 || list[0].Images != nil {
		t.Errorf("%v: %s", err, out)
	}
	out, err = run(t, "", "lifecycle", "lint", "--policy", file, "--fix")
	p, parse := lifecycle.Parse([]byte(out))
	if err != nil || parse != nil || len(p.Rules) != 3 || p.Rules[0].Description != "Keep 10" || p.Rules[1].Selection.TagPrefixes[0] != "release-" || p.Rules[2].Priority != 3 {
		t.Errorf("%v, %v: %s", err, parse, out)
	}
	if out, err = run(t, out, "lifecycle", "lint", "--policy", "-"); err != nil || out != "1 policies, nothing found\n" {
		t.Errorf("the repaired policy: %v: %s", err, out)
	}
	out, err = run(t, store, "lifecycle", "lint", "--policy", "-")
	if !found(err) || !strings.Contains(out, "a GB costs $0.10 a month archived and $0.10 as it is, is paid for 90 days at least") {
		t.Errorf("archive: %v: %s", err, out)
	}
	if out, err = run(t, store, "lifecycle", "lint", "--policy", "-", "--price-book", policyFile(t, cheap)); err != nil {
		t.Errorf("archive that is cheaper: %v: %s", err, out)
	}
}

func TestLifecycleArguments(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	bad := policyFile(t, `{"rules":[]}`)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"lint"}, "name repositories, or give --all or --policy FILE"},
		{[]string{"lint", "a", "--all"}, "not both"},
		{[]string{"lint", "a", "b", "--fix"}, "one repository or file"},
		{[]string{"lint", "a", "--severity", "LOUD"}, "want one of ERROR, WARNING, SUGGESTION"},
		{[]string{"lint", "--policy", bad}, "is not a lifecycle policy: array is too short"},
		{[]string{"lint", "--policy", bad + "x"}, "no such file"},
		{[]string{"lint", "--policy", bad, "--price-book", bad}, "the price book is not what it should be"},
		{[]string{"simulate"}, "name one repository"},
		{[]string{"backtest", "a", "b"}, "name one repository"},
		{[]string{"rollback-window"}, "name one repository"},
	} {
		if out, err := run(t, "", append([]string{"lifecycle"}, tt.args...)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q\n%s", tt.args, err, tt.want, out)
		}
	}
	for _, name := range []string{"lint", "simulate", "backtest", "rollback-window"} {
		out, err := run(t, "", "lifecycle", name, "--permissions")
		if err != nil || !strings.Contains(out, `"ecr:DescribeImages"`) || strings.Contains(out, "Put") || strings.Contains(out, "Delete") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
	r := rollbackRun{prefix: "prod-", days: 5, record: 90}
	for want, set := range map[string]func(*rollbackRun){
		"--prefix":          func(r *rollbackRun) { r.prefix = "" },
		"--deploys-per-day": func(r *rollbackRun) { r.perDay = -1 },
		"--margin":          func(r *rollbackRun) { r.margin = 11 },
		"--days":            func(r *rollbackRun) { r.days = 0 },
		"--record-days":     func(r *rollbackRun) { r.record = 1e9 },
	} {
		bad := r
		set(&bad)
		if err := bad.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

func TestForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{size(0), "0 B"}, {size(1023), "1023 B"}, {size(1536), "1.5 KiB"}, {size(200 << 20), "200 MiB"}, {size(1 << 62), "4096 PiB"},
		{short("sha256:0123456789abcdef"), "0123456789ab"}, {short("x"), "x"}, {tagList(nil), ""}, {tagList([]string{"a", "b", "c", "d", "e"}), "a b c and 2 more"}, {date(0), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	var b strings.Builder
	g := newGrid(&b, "a", "b")
	g.row("x\ty\nz", 7)
	g.flush()
	if b.String() != "A      B\nx y z  7\n" {
		t.Errorf("got %q", b.String())
	}
}
