package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/iam"
)

// An endpointFlags is how advisor commands find the registry that they read.
type endpointFlags struct {
	advisor.Options
	json        bool
	permissions bool
}

func (f *endpointFlags) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&f.EndpointURL, "endpoint-url", "", "URL of the server; empty means AWS_ENDPOINT_URL, or AWS")
	cmd.PersistentFlags().StringVar(&f.Profile, "profile", "", "profile of ~/.aws/config")
	cmd.PersistentFlags().StringVar(&f.Region, "region", "", "region; empty means AWS_REGION or the profile's")
	cmd.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.PersistentFlags().BoolVar(&f.permissions, "permissions", false, "print the policy that the command needs, and do nothing else")
}

// with runs fn on the endpoint, unless only the permissions are asked for.
func (f *endpointFlags) with(permissions []string, fn func(*cobra.Command, *advisor.Endpoint, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if f.permissions {
			return printJSON(cmd.OutOrStdout(), map[string]any{"Version": "2012-10-17",
				"Statement": []any{map[string]any{"Effect": "Allow", "Action": permissions, "Resource": "*"}}})
		}
		o := f.Options
		if o.EndpointURL == "" {
			o.EndpointURL = os.Getenv("AWS_ENDPOINT_URL")
		}
		e, err := advisor.Connect(cmd.Context(), o)
		if err != nil {
			return err
		}
		return fn(cmd, e, args)
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func newAccess() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "access",
		Short: "Explain and judge who may do what",
		Long: "Explain and judge who may do what, here or on AWS: the policies are read by the API and evaluated on this\n" +
			"machine. Only read permissions are needed; --permissions prints them.\n\n" +
			"Exit status: 0 fine, 1 an error, 2 findings (of lint), or not allowed (of explain).",
		Example: "  ecru access explain ci ecr:PutImage my-app\n" +
			"  ecru access who-can ecr:BatchDeleteImage my-app\n" +
			"  ecru access lint\n" +
			"  ecru access suggest ci --since 720h",
	}
	f := new(endpointFlags)
	f.add(cmd)
	cmd.AddCommand(newExplain(f), newWhoCan(f), newLint(f), newSuggest(f))
	return cmd
}

// explainPermissions are what explain and who-can call.
var explainPermissions = []string{"iam:GetAccountAuthorizationDetails", "ecr:DescribeRepositories", "ecr:GetRegistryPolicy", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource"}

// A question is the flags that explain and who-can share.
type question struct {
	account string
	context []string
}

func (q *question) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.account, "account", "", "account of the repository; empty means the caller's")
	cmd.Flags().StringArrayVar(&q.context, "context", nil, "condition key of the request as KEY=VALUE, such as aws:SourceIp=10.0.0.7; may be repeated")
}

// of builds the question about an action.
func (q *question) of(action string) (advisor.Question, error) {
	if !strings.Contains(action, ":") {
		action = "ecr:" + action
	}
	out := advisor.Question{Action: action, Context: map[string][]string{"aws:SecureTransport": {"true"}}, Time: time.Now()}
	given := map[string][]string{}
	for _, pair := range q.context {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return out, fmt.Errorf("--context %q: want KEY=VALUE", pair)
		}
		given[key] = append(given[key], value)
	}
	for key, values := range given {
		for old := range out.Context {
			if strings.EqualFold(old, key) {
				delete(out.Context, old)
			}
		}
		out.Context[key] = values
	}
	known := false
	for _, a := range iam.Actions() {
		known = known || strings.EqualFold(a.Name, action)
	}
	if strings.HasPrefix(strings.ToLower(action), "ecr:") && !known {
		return out, fmt.Errorf("ECR has no action %s", action)
	}
	return out, nil
}

// repository is the repository of the arguments, or "" for the registry.
func repository(args []string, at int) string {
	if len(args) > at && args[at] != "*" {
		return args[at]
	}
	return ""
}

func newExplain(f *endpointFlags) *cobra.Command {
	q := new(question)
	cmd := &cobra.Command{
		Use:   "explain PRINCIPAL ACTION [REPOSITORY]",
		Short: "May this principal do this to that, and which statement decides?",
		Long: "May this principal (the name or ARN of a user or role) do this to that, and which statement decides?\n" +
			"Without a repository, or with *, it asks for actions on the registry as a whole.\n\n" +
			"Exit status: 0 allowed, 1 an error, 2 not allowed.",
		Example: "  ecru access explain ci ecr:PutImage my-app\n" +
			"  ecru access explain arn:aws:iam::123456789012:role/deploy ecr:BatchGetImage my-app --context aws:SourceIp=10.0.0.7",
		Args: permissionsOr(f, cobra.RangeArgs(2, 3)),
	}
	q.add(cmd)
	cmd.RunE = f.with(explainPermissions, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		ask, err := q.of(args[1])
		if err != nil {
			return err
		}
		ids, r, err := q.read(cmd, e, repository(args, 2))
		if err != nil {
			return err
		}
		p, err := ids.Find(args[0])
		if err != nil {
			return err
		}
		a := advisor.Explain(p, r, ask)
		if f.json {
			err = printJSON(cmd.OutOrStdout(), a)
		} else {
			printAnswer(cmd.OutOrStdout(), a)
		}
		if err == nil && !a.Allowed {
			return exitStatus{code: 2}
		}
		return err
	})
	return cmd
}

// permissionsOr takes no arguments with --permissions.
func permissionsOr(f *endpointFlags, args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if f.permissions {
			return nil
		}
		return args(cmd, given)
	}
}

// read reads the identities and the repository.
func (q *question) read(cmd *cobra.Command, e *advisor.Endpoint, name string) (*advisor.Identities, *advisor.Resource, error) {
	ids, err := e.Identities(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	for _, w := range ids.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
	}
	r, err := e.Repository(cmd.Context(), q.account, name)
	return ids, r, err
}

func printAnswer(w io.Writer, a advisor.Answer) {
	verdict := "ALLOWED"
	if !a.Allowed {
		verdict = "DENIED"
	}
	fmt.Fprintf(w, "%s  %s may", verdict, a.Principal)
	if !a.Allowed {
		fmt.Fprint(w, " not")
	}
	fmt.Fprintf(w, " %s on %s\n  %s\n", a.Action, a.Resource, a.Reason)
	if len(a.Missing) > 0 {
		fmt.Fprintf(w, "  conditions ask for %s, which the request was taken not to have: give it with --context\n", strings.Join(a.Missing, ", "))
	}
}

func newWhoCan(f *endpointFlags) *cobra.Command {
	q := new(question)
	cmd := &cobra.Command{
		Use:     "who-can ACTION [REPOSITORY]",
		Short:   "Which principals may do this?",
		Example: "  ecru access who-can ecr:BatchDeleteImage my-app",
		Args:    permissionsOr(f, cobra.RangeArgs(1, 2)),
	}
	q.add(cmd)
	cmd.RunE = f.with(explainPermissions, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		ask, err := q.of(args[0])
		if err != nil {
			return err
		}
		ids, r, err := q.read(cmd, e, repository(args, 1))
		if err != nil {
			return err
		}
		list := advisor.WhoCan(ids, r, ask)
		if f.json {
			if list == nil {
				list = []advisor.Answer{}
			}
			return printJSON(cmd.OutOrStdout(), list)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "PRINCIPAL\tWHY")
		for _, a := range list {
			why := a.Reason
			if a.Other {
				why += ", if its own account allows it too"
			}
			fmt.Fprintf(w, "%s\t%s\n", a.Principal, why)
		}
		return w.Flush()
	})
	return cmd
}

// severities are those of findings, the worst first.
var severities = []string{iam.SeverityError, iam.SeveritySecurity, iam.SeverityWarning, iam.SeveritySuggest}

func newLint(f *endpointFlags) *cobra.Command {
	var kind, least string
	cmd := &cobra.Command{
		Use:   "lint [FILE…]",
		Short: "Find what is wrong with policies: those in files, or all that are stored",
		Long: "Find what is wrong with policies: those in files (- is standard input), or without files all that the account\n" +
			"has made: of users, roles and groups, trust policies, of repositories and of the registry. Findings have the\n" +
			"names that IAM Access Analyzer has for them; those that begin with ECRU_ it does not have.\n\n" +
			"Exit status: 0 nothing found, 1 an error, 2 findings.",
		Example: "  ecru access lint policy.json\n  ecru access lint --severity SECURITY_WARNING --json",
	}
	cmd.Flags().StringVar(&kind, "kind", "auto", "where the files' policies are meant to stand: identity, resource, trust, auto")
	cmd.Flags().StringVar(&least, "severity", iam.SeveritySuggest, "least severity that is shown and counts: "+strings.Join(severities, ", "))
	stored := f.with([]string{"iam:GetAccountAuthorizationDetails", "ecr:DescribeRepositories", "ecr:GetRegistryPolicy", "ecr:GetRepositoryPolicy"},
		func(cmd *cobra.Command, e *advisor.Endpoint, _ []string) error {
			list, err := e.Documents(cmd.Context(), counter(cmd, "repositories"))
			if err != nil {
				return err
			}
			return printLint(cmd.OutOrStdout(), list, least, f.json)
		})
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		if len(files) == 0 || f.permissions {
			return stored(cmd, files)
		}
		list, err := policyFiles(files, kind)
		if err != nil {
			return err
		}
		return printLint(cmd.OutOrStdout(), list, least, f.json)
	}
	return cmd
}

// counter shows progress on a terminal.
func counter(cmd *cobra.Command, what string) func(int) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(n int) { fmt.Fprintf(cmd.ErrOrStderr(), "\r%d %s\033[K", n, what) }
}

func policyFiles(files []string, kind string) (list []advisor.Document, err error) {
	kinds := map[string]iam.Kind{"identity": iam.Identity, "resource": iam.Resource, "trust": iam.Trust}
	k, ok := kinds[kind]
	if !ok && kind != "auto" {
		return nil, fmt.Errorf("--kind %q: want identity, resource, trust or auto", kind)
	}
	for _, name := range files {
		in := os.Stdin
		if name != "-" {
			if in, err = os.Open(name); err != nil {
				return nil, err
			}
		}
		text, err := io.ReadAll(io.LimitReader(in, maxInput))
		in.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		d := advisor.Document{Name: name, Kind: k, Text: string(text)}
		if kind == "auto" {
			d.Kind = advisor.KindOf(d.Text)
		}
		list = append(list, d)
	}
	return list, nil
}

func printLint(w io.Writer, list []advisor.Document, least string, asJSON bool) error {
	rank := map[string]int{}
	for i, s := range severities {
		rank[s] = i
	}
	limit, ok := rank[least]
	if !ok {
		return fmt.Errorf("--severity %q: want one of %s", least, strings.Join(severities, ", "))
	}
	found, out := false, []advisor.Linted{}
	for _, d := range list {
		l := d.Lint()
		shown := []iam.Finding{}
		for _, finding := range l.Findings {
			if rank[finding.Severity] <= limit {
				shown = append(shown, finding)
			}
		}
		l.Findings = shown
		found = found || len(shown) > 0 || l.Error != ""
		if len(shown) > 0 || l.Error != "" || asJSON {
			out = append(out, l)
		}
	}
	if asJSON {
		if err := printJSON(w, out); err != nil {
			return err
		}
	} else {
		for _, l := range out {
			printLinted(w, l)
		}
		if !found {
			fmt.Fprintf(w, "%d policies, nothing found\n", len(list))
		}
	}
	if found {
		return exitStatus{code: 2}
	}
	return nil
}

func printLinted(w io.Writer, l advisor.Linted) {
	fmt.Fprintln(w, l.Policy)
	if l.Error != "" {
		fmt.Fprintf(w, "  ERROR  it is not a policy: %s\n", l.Error)
	}
	for _, f := range l.Findings {
		where := fmt.Sprintf("statement %d", f.Statement+1)
		if f.Sid != "" {
			where += " (" + f.Sid + ")"
		}
		fmt.Fprintf(w, "  %s  %s, %s\n    %s\n    %s\n", f.Severity, f.Code, where, f.Message, f.Fix)
	}
}

func newSuggest(f *endpointFlags) *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "suggest PRINCIPAL",
		Short: "Write the least policy for what a principal was seen doing",
		Long: "Write the least policy that allows what a principal (the name or ARN of a user or role) was seen doing with\n" +
			"ECR in the audit trail. What it does seldom may be missing: look before you attach it.",
		Example: "  ecru access suggest ci --since 720h > ci-policy.json",
		Args:    permissionsOr(f, cobra.ExactArgs(1)),
	}
	cmd.Flags().DurationVar(&since, "since", 30*24*time.Hour, "how far back to look")
	cmd.RunE = f.with([]string{"iam:GetAccountAuthorizationDetails", "cloudtrail:LookupEvents"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		ids, err := e.Identities(cmd.Context())
		if err != nil {
			return err
		}
		p, err := ids.Find(args[0])
		if err != nil {
			return err
		}
		uses, err := e.Uses(cmd.Context(), p, time.Now().Add(-since), counter(cmd, "records"))
		if err != nil {
			return err
		}
		policy, notes := iam.Suggest(uses)
		if f.json {
			return printJSON(cmd.OutOrStdout(), map[string]any{"principal": p.ARN, "calls": len(uses), "policy": json.RawMessage(policy), "notes": notes})
		}
		for _, n := range notes {
			fmt.Fprintln(cmd.ErrOrStderr(), "note: "+n)
		}
		if policy == nil {
			return fmt.Errorf("%s did nothing with ECR in this time", p.ARN)
		}
		fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(policy)))
		return nil
	})
	return cmd
}
