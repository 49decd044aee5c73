package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/price"
)

func newLifecycle() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lifecycle",
		Short: "Judge lifecycle policies before they delete anything, apply them, undo what they did",
		Long: "Judge lifecycle policies before they delete anything, here or on AWS: repositories are read by the API and\n" +
			"policies evaluated on this machine, with the code that the server runs. Only read permissions are needed;\n" +
			"--permissions prints them. run and undo change something, and need an Ecru server. docs/lifecycle.md tells more.\n\n" +
			"Exit status: 0 fine, 1 an error, 2 findings (of lint), pulls that would have failed (of backtest), or too few\n" +
			"images kept (of rollback-window).",
		Example: "  ecru lifecycle lint --all\n" +
			"  ecru lifecycle lint --policy policy.json --fix > repaired.json\n" +
			"  ecru lifecycle simulate my-app --policy repaired.json\n" +
			"  ecru lifecycle backtest my-app --policy repaired.json --days 90\n" +
			"  ecru lifecycle rollback-window my-app --prefix prod-\n" +
			"  ecru lifecycle run my-app --now\n" +
			"  ecru lifecycle undo my-app --all",
	}
	f := new(endpointFlags)
	f.add(cmd)
	cmd.AddCommand(newLifecycleLint(f), newSimulate(f), newBacktest(f), newRollbackWindow(f), newLifecycleRun(f), newLifecycleUndo(f))
	return cmd
}

// policyFlag adds --policy.
func policyFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "policy", "", "file with the policy, - is standard input; empty means the one that is stored")
}

// maxPolicy bounds a policy file, in bytes: its characters have up to four.
const maxPolicy = 4*lifecycle.MaxText + 1

// readPolicy reads a policy file.
func readPolicy(cmd *cobra.Command, name string) (*lifecycle.Policy, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxPolicy))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p, err := lifecycle.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a lifecycle policy: %w", name, err)
	}
	return p, nil
}

// policyOf is the policy of a file, or the stored one, which must be there.
func policyOf(cmd *cobra.Command, e *advisor.Endpoint, file, repo string) (*lifecycle.Policy, error) {
	if file != "" {
		return readPolicy(cmd, file)
	}
	p, err := e.LifecyclePolicy(cmd.Context(), repo)
	if err == nil && p == nil {
		err = fmt.Errorf("%s has no lifecycle policy: give one with --policy FILE", repo)
	}
	return p, err
}

// priceBook reads a price book file; an empty name means the book that comes
// with the program.
func priceBook(name string) (*price.Book, error) {
	if name == "" {
		return price.Default()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, price.MaxText+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b, err := price.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func priceFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "price-book", "", "file with prices; empty means those of us-east-1 that come with the program")
}

// readContents reads the images of a repository with what lists refer to, and,
// if all, with their layers. The registry counts that as pulls: where a rule
// looks at them and the caller is not excluded, nothing is read but with force,
// and why says so.
func readContents(cmd *cobra.Command, e *advisor.Endpoint, p *lifecycle.Policy, repo string, all, force bool) (c *advisor.Contents, why string, err error) {
	pr := newTeller(cmd)
	defer pr.end()
	if c, err = e.Contents(cmd.Context(), repo, pr.of("images")); err != nil {
		return nil, "", err
	}
	if !all && c.Lists == 0 {
		return c, "", nil
	}
	if !force && e.MovesPullTimes(cmd.Context()) {
		stored, err := e.LifecyclePolicy(cmd.Context(), repo)
		if advisor.CountsPulls(p) || err != nil || advisor.CountsPulls(stored) {
			why = "which a rule looks at"
			if err != nil {
				why = "and whether a stored rule looks at them is not known (" + err.Error() + ")"
			}
			return c, "manifests were not read: that counts as pulls, " + why + ". So parts of manifest lists and shared layers are not known. " +
				"Exclude " + e.Caller + " with aws ecr register-pull-time-update-exclusion, or give --read-manifests.", nil
		}
	}
	return c, "", e.ReadManifests(cmd.Context(), c, all, pr.of("manifests"))
}

// A teller tells on standard error how far something is: in place on a
// terminal, else with a line every few seconds.
type teller struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	last     time.Time
	drawn    bool
}

const (
	progressLine = 5 * time.Second
	progressDraw = 100 * time.Millisecond
)

func newTeller(cmd *cobra.Command) *teller {
	info, err := os.Stderr.Stat()
	return &teller{w: cmd.ErrOrStderr(), terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, last: time.Now()}
}

// of returns a function that tells how many of something there are.
func (p *teller) of(what string) func(int) {
	return func(n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		wait := progressLine
		if p.terminal {
			wait = progressDraw
		}
		if time.Since(p.last) < wait {
			return
		}
		p.last = time.Now()
		if p.terminal {
			p.drawn = true
			fmt.Fprintf(p.w, "\r%d %s\033[K", n, what)
			return
		}
		fmt.Fprintf(p.w, "%d %s\n", n, what)
	}
}

// end clears the line.
func (p *teller) end() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\033[K")
	}
}

// A grid is a table for people.
type grid struct{ w *tabwriter.Writer }

func newGrid(w io.Writer, header ...any) *grid {
	g := &grid{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	for i := range header {
		header[i] = strings.ToUpper(fmt.Sprint(header[i]))
	}
	g.row(header...)
	return g
}

// row adds a row. What would end a cell or a line in a text becomes a space.
func (g *grid) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(g.w, "\t")
		}
		fmt.Fprint(g.w, strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, fmt.Sprint(c)))
	}
	fmt.Fprintln(g.w)
}

func (g *grid) flush() { _ = g.w.Flush() } // the next write to the same output fails too

// size writes bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	x, i := float64(n), 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if i == 0 || x >= 100 {
		return fmt.Sprintf("%.0f %s", x, units[i])
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}

// short is a digest for people.
func short(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return hex[:min(12, len(hex))]
}

// tagList is the tags of an image for people.
func tagList(tags []string) string {
	const most = 3
	if len(tags) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(tags[:most], " "), len(tags)-most)
	}
	return strings.Join(tags, " ")
}

// date is a moment for people; "" if it is not known.
func date(i lifecycle.Instant) string {
	if i == 0 {
		return ""
	}
	return i.Time().Format("2006-01-02 15:04")
}

// checkDays checks a number of days that a flag gives.
func checkDays(flag string, days float64) error {
	const most = 3650
	if days > 0 && days <= most {
		return nil
	}
	return fmt.Errorf("--%s %g: want more than 0, and at most %d days", flag, days, most)
}

var errOneRepository = errors.New("name one repository")

// oneRepository takes the name of one repository, or nothing with --permissions.
func oneRepository(f *endpointFlags) cobra.PositionalArgs {
	return permissionsOr(f, func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return errOneRepository
		}
		return nil
	})
}
