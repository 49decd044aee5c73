package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/price"
)

// lintPermissions are what lint calls.
var lintPermissions = []string{"ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy"}

// A lintRun is one lint command.
type lintRun struct {
	f       *endpointFlags
	all     bool
	fix     bool
	policy  string
	least   string
	prices  string
	book    *price.Book
	given   *lifecycle.Policy
	results []linted
}

// linted is what was found of a repository's policy, or of a file.
type linted struct {
	Repository string              `json:"repository,omitempty"`
	File       string              `json:"file,omitempty"`
	Images     *int                `json:"images,omitempty"`
	Findings   []lifecycle.Finding `json:"findings"`
}

// lifecycleSeverities are those of findings, the worst first.
var lifecycleSeverities = []string{lifecycle.SeverityError, lifecycle.SeverityWarning, lifecycle.SeveritySuggest}

func newLifecycleLint(f *endpointFlags) *cobra.Command {
	l := &lintRun{f: f}
	cmd := &cobra.Command{
		Use:   "lint [REPOSITORY…|--all]",
		Short: "Find what is wrong with lifecycle policies",
		Long: "Find what is wrong with the lifecycle policies of repositories, or with --policy of a file: rules that ask for\n" +
			"tags of each prefix where either was meant, that never match or are shadowed, archiving that saves nothing,\n" +
			"production images without a count, leftovers without a rule. With repositories it counts their images; with a\n" +
			"file alone nothing is asked of a server. Manifests are not read.\n\n" +
			"--fix prints the policy repaired, one rule a prefix, and nothing else. Look at it with simulate before you put it.\n\n" +
			"Exit status: 0 nothing found, or repaired; 1 an error; 2 findings.",
		Example: "  ecru lifecycle lint my-app\n" +
			"  ecru lifecycle lint --all --json\n" +
			"  ecru lifecycle lint --policy policy.json\n" +
			"  ecru lifecycle lint my-app --fix > repaired.json",
		Args: func(_ *cobra.Command, args []string) error { return l.check(args) },
	}
	cmd.Flags().BoolVar(&l.all, "all", false, "all repositories of the account")
	cmd.Flags().BoolVar(&l.fix, "fix", false, "print the repaired policy of one repository or file")
	cmd.Flags().StringVar(&l.least, "severity", lifecycle.SeverityWarning, "least severity that is shown and counts: "+strings.Join(lifecycleSeverities, ", "))
	policyFlag(cmd, &l.policy)
	priceFlag(cmd, &l.prices)
	stored := f.with(lintPermissions, l.repositories)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if f.permissions {
			return stored(cmd, args)
		}
		if l.book, err = priceBook(l.prices); err != nil {
			return err
		}
		if l.policy != "" {
			if l.given, err = readPolicy(cmd, l.policy); err != nil {
				return err
			}
		}
		if l.given == nil || l.all || len(args) > 0 {
			return stored(cmd, args)
		}
		if l.fix {
			return printFixed(cmd.OutOrStdout(), l.given, nil)
		}
		l.results = []linted{{File: l.policy, Findings: lifecycle.Lint(l.given, l.facts())}}
		return l.print(cmd.OutOrStdout())
	}
	return cmd
}

func (l *lintRun) check(args []string) error {
	switch {
	case l.f.permissions:
		return nil
	case !slices.Contains(lifecycleSeverities, l.least):
		return fmt.Errorf("--severity %q: want one of %s", l.least, strings.Join(lifecycleSeverities, ", "))
	case l.all && len(args) > 0:
		return errors.New("--all, or repositories: not both")
	case !l.all && len(args) == 0 && l.policy == "":
		return errors.New("name repositories, or give --all or --policy FILE")
	case l.fix && (l.all || len(args) > 1):
		return errors.New("--fix repairs the policy of one repository or file")
	}
	return nil
}

// facts are what is known without a repository. A GB is of those that come on
// top of the first: what a small registry pays.
func (l *lintRun) facts() lifecycle.Facts {
	gb := l.book.BytesPerGB
	return lifecycle.Facts{Now: time.Now(), Storage: l.book.StorageMonth(gb), Archive: l.book.ArchiveMonth(gb), ArchiveDays: l.book.ArchiveMinimumDays, Money: l.book.Money}
}

func (l *lintRun) repositories(cmd *cobra.Command, e *advisor.Endpoint, names []string) (err error) {
	if l.all {
		if names, err = e.RepositoryNames(cmd.Context()); err != nil {
			return err
		}
	}
	pr := newTeller(cmd)
	defer pr.end()
	tell := pr.of("repositories")
	for i, name := range names {
		if err := l.repository(cmd, e, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tell(i + 1)
	}
	pr.end()
	if l.fix {
		return nil
	}
	return l.print(cmd.OutOrStdout())
}

func (l *lintRun) repository(cmd *cobra.Command, e *advisor.Endpoint, name string) error {
	p, err := l.given, error(nil)
	if p == nil {
		if p, err = e.LifecyclePolicy(cmd.Context(), name); err != nil {
			return err
		}
	}
	c, err := e.Contents(cmd.Context(), name, nil)
	if err != nil {
		return err
	}
	if l.fix {
		if p == nil {
			return errors.New("it has no lifecycle policy")
		}
		return printFixed(cmd.OutOrStdout(), p, c.Images)
	}
	n := len(c.Images)
	out := linted{Repository: name, Images: &n, Findings: []lifecycle.Finding{}}
	if p == nil {
		out.Findings = append(out.Findings, lifecycle.Finding{Code: "NO_POLICY", Severity: lifecycle.SeverityWarning,
			Message: fmt.Sprintf("it has no lifecycle policy: its %d images stay for ever", n), Fix: "put one; ecru lifecycle simulate tells what it would do"})
	} else {
		facts := l.facts()
		facts.Known, facts.Images, facts.Lists = true, c.Images, c.Lists
		out.Findings = append(out.Findings, lifecycle.Lint(p, facts)...)
	}
	l.results = append(l.results, out)
	return nil
}

// printFixed prints a repaired policy, and nothing else.
func printFixed(w io.Writer, p *lifecycle.Policy, images []lifecycle.Image) error {
	fixed, err := lifecycle.Fix(p, images)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, fixed.JSON(), "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, b.String())
	return err
}

func (l *lintRun) print(w io.Writer) error {
	limit := slices.Index(lifecycleSeverities, l.least)
	found := 0
	for i := range l.results {
		r := &l.results[i]
		r.Findings = slices.DeleteFunc(r.Findings, func(f lifecycle.Finding) bool { return slices.Index(lifecycleSeverities, f.Severity) > limit })
		if r.Findings == nil {
			r.Findings = []lifecycle.Finding{}
		}
		found += len(r.Findings)
	}
	if l.f.json {
		if l.results == nil {
			l.results = []linted{}
		}
		if err := printJSON(w, l.results); err != nil {
			return err
		}
	} else {
		for _, r := range l.results {
			printFindings(w, r)
		}
		if found == 0 {
			fmt.Fprintf(w, "%d policies, nothing found\n", len(l.results))
		}
	}
	if found > 0 {
		return exitStatus{code: 2}
	}
	return nil
}

func printFindings(w io.Writer, r linted) {
	if len(r.Findings) == 0 {
		return
	}
	fmt.Fprintln(w, r.Repository+r.File)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "  %s  %s\n    %s\n    %s\n", f.Severity, f.Code, f.Message, f.Fix)
	}
}
