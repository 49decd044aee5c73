package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

func newVuln() *cobra.Command {
	f := new(endpointFlags)
	cmd := &cobra.Command{
		Use:   "vuln",
		Short: "Find the images that have a vulnerability, or a package",
		Long: "Find the images that have a vulnerability, or a package, as a list of work: images are in groups by the base\n" +
			"image or the layer that brought it, the group first of which one rebuild mends most. Every image that was\n" +
			"scanned is known, also where the vulnerability is set aside. It is an operation of Ecru's, not of AWS ECR.",
		Example: "  ecru vuln who CVE-2021-44228\n  ecru vuln where 'org.apache.logging.log4j:log4j-core@>=2.0,<2.17.1'",
	}
	f.add(cmd)
	cmd.AddCommand(newVulnWho(f), newVulnWhere(f))
	return cmd
}

func newVulnWho(f *endpointFlags) *cobra.Command {
	return newVulnQuery(f, &cobra.Command{
		Use:   "who VULNERABILITY",
		Short: "Which images have this vulnerability?",
		Long: "Which images have this vulnerability, named by its CVE or by any other of its names?\n\n" +
			"Exit status: 0 also if no image has it, 1 an error.",
		Example: "  ecru vuln who CVE-2021-44228\n  ecru vuln who GHSA-jfh8-c2jp-5v3q --team-tag owner --json",
	}, func(arg string) (q ext.FindVulnerableImagesInput, err error) {
		if arg == "" {
			return q, fmt.Errorf("name a vulnerability, such as CVE-2021-44228")
		}
		q.VulnerabilityId = &arg
		return q, nil
	})
}

func newVulnWhere(f *endpointFlags) *cobra.Command {
	var ecosystem string
	cmd := newVulnQuery(f, &cobra.Command{
		Use:   "where PACKAGE[@VERSION-RANGE]",
		Short: "Which images have this package, in these versions?",
		Long: "Which images have this package, named as advisories name it (of Debian and Alpine the source package, of Java\n" +
			"group:artifact)? VERSION-RANGE is a version, or bounds with a comma between; versions are compared as the\n" +
			"package's ecosystem does.\n\nExit status: 0 also if no image has it, 1 an error.",
		Example: "  ecru vuln where openssl\n  ecru vuln where 'lodash@<4.17.21' --ecosystem npm\n  ecru vuln where 'org.apache.logging.log4j:log4j-core@>=2.0,<2.17.1'",
	}, func(arg string) (ext.FindVulnerableImagesInput, error) {
		q, err := packageRange(arg)
		if ecosystem != "" {
			q.Ecosystem = &ecosystem
		}
		return q, err
	})
	cmd.Flags().StringVar(&ecosystem, "ecosystem", "", "only packages of this ecosystem, as OSV names it, such as Debian:12 or npm")
	return cmd
}

// packageRange reads PACKAGE[@VERSION-RANGE]; names of npm begin with an @.
func packageRange(arg string) (q ext.FindVulnerableImagesInput, err error) {
	name := arg
	if i := strings.LastIndexByte(arg, '@'); i > 0 {
		versions := arg[i+1:]
		if name = arg[:i]; versions == "" {
			return q, fmt.Errorf("%q: there is no version after the @", arg)
		}
		q.VersionRange = &versions
	}
	if name == "" || name == "@" {
		return q, fmt.Errorf("%q: name a package, such as openssl or 'lodash@<4.17.21'", arg)
	}
	q.PackageName = &name
	return q, nil
}

func newVulnQuery(f *endpointFlags, cmd *cobra.Command, query func(string) (ext.FindVulnerableImagesInput, error)) *cobra.Command {
	var team string
	cmd.Args = permissionsOr(f, cobra.ExactArgs(1))
	cmd.Flags().StringVar(&team, "team-tag", "team", "key of the repositories' tag that names the team")
	cmd.RunE = f.with([]string{"ecr:FindVulnerableImages"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		q, err := query(args[0])
		if err != nil {
			return err
		}
		images, err := e.Vulnerable(cmd.Context(), q, counter(cmd, "images"))
		if err != nil {
			return err
		}
		b := advisor.Worklist(images, team)
		if f.json {
			return printJSON(cmd.OutOrStdout(), b)
		}
		return printBlast(cmd.OutOrStdout(), args[0], b)
	})
	return cmd
}

func printBlast(out io.Writer, what string, b advisor.Blast) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "%d images have %s\n", b.Images, what)
	for i := range b.Groups {
		g := &b.Groups[i]
		switch {
		case g.Base != "":
			fmt.Fprintf(w, "\n%d. rebuild %s", i+1, g.Base)
		default:
			fmt.Fprintf(w, "\n%d. from layer %s, of a base that is not in the registry", i+1, g.Layer)
		}
		fmt.Fprintf(w, ": %d images in %d repositories", len(g.Images), len(g.Repositories))
		if len(g.Teams) > 0 {
			fmt.Fprintf(w, ", teams: %s", strings.Join(g.Teams, ", "))
		}
		for _, fix := range g.FixedIn {
			fmt.Fprintf(w, "\n   %s is fixed in %s", fix.Package, fix.Version)
		}
		fmt.Fprint(w, "\nREPOSITORY\tTAGS\tDIGEST\tTEAM\tLAST PULLED\tPACKAGES\n")
		for n := range g.Images {
			m := &g.Images[n]
			pulled := "never"
			if m.LastPulledAt != nil {
				pulled = m.LastPulledAt.Format(time.DateOnly)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Repository, cmp.Or(strings.Join(m.Tags, ","), "-"), m.Digest, cmp.Or(m.Team, "-"), pulled, packagesText(m))
		}
	}
	return w.Flush()
}

// packagesText are the packages of an image, each once.
func packagesText(m *advisor.BlastImage) string {
	var out []string
	seen := map[string]bool{}
	for _, p := range m.Packages {
		text := p.Name + " " + p.Version
		if p.Severity != "" {
			text += " (" + p.Severity + ")"
		}
		if p.Suppressed {
			text += " suppressed"
		}
		if !seen[text] {
			seen[text] = true
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}
